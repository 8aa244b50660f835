import numpy as np
import pytest
from arch import arch_model

from acceleray.numerics.volatility import filter_variance
from acceleray.risk.calibration import fit_volatility
from acceleray.risk.volatility_fits import Attempt, attempt_factor, choose, without_model


def simulated(n, *, omega=2e-6, alpha=0.1, gamma=0.0, beta=0.85, dof=None, seed=1):
    rng = np.random.default_rng(seed)
    moves, h = np.empty(n), omega / (1 - alpha - gamma / 2 - beta)
    for t in range(n):
        residual = rng.standard_normal() if dof is None else rng.standard_t(dof) * np.sqrt((dof - 2) / dof)
        moves[t] = np.sqrt(h) * residual
        h = omega + (alpha + gamma * (moves[t] < 0)) * moves[t] ** 2 + beta * h
    return moves


def fit_factor(moves, rows, *, window_days, models=("garch", "garch_t", "gjr_t")):
    (fits,) = fit_volatility(
        moves[:, None], rows, window_days=window_days, models=models, ewma_decay=0.94, distributed=False
    )
    return fits


def variance_of(window, fit):
    return filter_variance(
        window[:, None],
        omega=np.array([fit.omega]),
        alpha=np.array([fit.alpha]),
        gamma=np.array([fit.gamma]),
        beta=np.array([fit.beta]),
        initial_variance=np.array([fit.initial_variance]),
    )[:-1, 0]


def likelihood(window, fit):
    variance = variance_of(window, fit)
    return -0.5 * np.sum(np.log(variance) + window**2 / variance)


def attempt(model, *, problem=None, bic=0.0, **p_values):
    return Attempt(
        model=model,
        omega=1.0,
        alpha=0.1,
        gamma=0.0,
        beta=0.8,
        dof=None,
        initial_variance=1.0,
        bic=bic,
        scaled_omega=1.0,
        problem=problem,
        p_values=p_values,
    )


def test_parameters_are_found_again():
    (fit,) = fit_factor(simulated(4000), (4000,), window_days=4000)
    assert (fit.model, fit.note, fit.path) == ("garch", None, "garch: passed")
    assert sorted(fit.p_values) == ["jarque_bera", "ljung_box", "sign_bias"]
    assert min(fit.p_values.values()) >= 0.01
    # Asymptotic standard errors at this length are near 0.012 (alpha) and 0.02 (beta).
    assert fit.alpha == pytest.approx(0.1, abs=0.04)
    assert fit.beta == pytest.approx(0.85, abs=0.06)


def test_heavy_tails_lead_to_the_t_model():
    (fit,) = fit_factor(simulated(4000, dof=5.0), (4000,), window_days=4000)
    assert (fit.model, fit.note, fit.gamma) == ("garch_t", None, 0.0)
    # Four asymptotic standard errors at this length.
    assert fit.dof == pytest.approx(5.0, abs=1.6)
    assert sorted(fit.p_values) == ["ljung_box", "sign_bias"]
    first, second = fit.path.split("; ")
    assert first.startswith("garch: ")
    assert "jarque_bera p = " in first
    assert second == "garch_t: passed"


def test_falls_that_weigh_more_lead_to_the_asymmetric_model():
    moves = simulated(4000, alpha=0.02, gamma=0.2, beta=0.85, dof=8.0, seed=3)
    (fit,) = fit_factor(moves, (4000,), window_days=4000)
    assert (fit.model, fit.note) == ("gjr_t", None)
    assert "garch_t: " in fit.path
    assert "sign_bias p = " in fit.path
    # Asymptotic standard errors at this length are near 0.012 (alpha), 0.03 (gamma) and 0.02 (beta).
    assert fit.alpha == pytest.approx(0.02, abs=0.05)
    assert fit.gamma == pytest.approx(0.2, abs=0.12)
    assert fit.beta == pytest.approx(0.85, abs=0.08)


@pytest.mark.parametrize(
    ("name", "o", "law"), [("garch", 0, "normal"), ("garch_t", 0, "t"), ("gjr_t", 1, "t")]
)
def test_our_recursion_gives_the_variances_of_arch(name, o, law):
    moves = simulated(1000, alpha=0.03, gamma=0.1, beta=0.85, dof=6.0, seed=5)
    (fit,) = attempt_factor(moves, (1000,), window_days=1000, model=name)
    assert fit.problem is None
    scale = np.sqrt(np.mean(moves**2))
    library = arch_model(moves / scale, mean="Zero", p=1, o=o, q=1, dist=law, rescale=False)
    result = library.fit(disp="off", show_warning=False)
    np.testing.assert_allclose(
        variance_of(moves, fit), (scale * np.asarray(result.conditional_volatility)) ** 2, rtol=1e-10
    )
    assert fit.bic == result.bic


def test_the_richer_model_begins_where_the_simpler_ended():
    moves = simulated(1000, alpha=0.03, gamma=0.1, beta=0.85, dof=6.0, seed=5)
    (simple,) = attempt_factor(moves, (1000,), window_days=1000, model="garch_t")
    (cold,) = attempt_factor(moves, (1000,), window_days=1000, model="gjr_t")
    (found,) = attempt_factor(moves, (1000,), window_days=1000, model="gjr_t", before=(simple,))
    # The optimiser stops at 1e-6 of the mean negative log-likelihood, about 0.5 of the criterion.
    assert found.bic == pytest.approx(cold.bic, abs=1.0)
    assert found != cold


def test_a_warm_start_ends_where_a_cold_one_does():
    moves = simulated(1400)
    warm = attempt_factor(moves, (1000, 1200, 1400), window_days=1000, model="garch")[-1]
    (cold,) = attempt_factor(moves, (1400,), window_days=1000, model="garch")
    window = moves[400:]
    # The optimiser stops at 1e-6 of the mean negative log-likelihood; the parameters differ by more.
    assert likelihood(window, warm) == pytest.approx(likelihood(window, cold), abs=1e-2)


def test_a_fit_sees_only_what_was_known():
    moves = simulated(1200, dof=5.0)
    noisy = moves.copy()
    noisy[900:] = np.random.default_rng(0).normal(size=300)
    rows = (700, 900, 1200)
    before = fit_factor(moves, rows, window_days=500)
    after = fit_factor(noisy, rows, window_days=500)
    assert before[:2] == after[:2]
    assert before[2] != after[2]


def test_the_models_behind_the_one_that_passed_play_no_part():
    moves = simulated(1200)
    rows = (700, 900, 1200)
    whole = fit_factor(moves, rows, window_days=500)
    alone = fit_factor(moves, rows, window_days=500, models=("garch",))
    assert [fit.model for fit in whole] == ["garch"] * 3
    assert whole == alone


def test_a_monthly_series_has_a_constant_variance():
    moves = np.zeros(600)
    moves[::20] = 0.001
    (fit,) = fit_factor(moves, (600,), window_days=500)
    assert (fit.model, fit.alpha, fit.beta) == ("constant", 0.0, 0.0)
    assert fit.omega == fit.initial_variance == pytest.approx(1e-6 / 20)
    assert fit.note == "95% of the moves were zero"
    assert fit.path is None


def test_a_short_history_falls_to_ewma():
    moves = np.full(300, np.nan)
    moves[200:] = simulated(100)
    (fit,) = fit_factor(moves, (300,), window_days=500)
    assert (fit.model, fit.omega, fit.beta) == ("ewma", 0.0, 0.94)
    assert fit.alpha == pytest.approx(0.06)
    assert fit.note == "only 100 daily moves, GARCH needs 250"


def test_a_history_that_becomes_long_enough():
    moves = np.full(600, np.nan)
    moves[200:] = simulated(400)
    rows = (300, 500, 600)
    assert [without_model(moves, row, window_days=500, ewma_decay=0.94) is None for row in rows] == [
        False,
        True,
        True,
    ]
    fits = fit_factor(moves, rows, window_days=500, models=("garch",))
    assert [fit.model for fit in fits] == ["ewma", "garch", "garch"]
    assert fits[1:] == fit_factor(moves, rows[1:], window_days=500, models=("garch",))


def test_a_fit_that_is_not_stationary_falls_to_ewma_and_says_why():
    # Volatility that grows without end has no stationary variance.
    moves = np.random.default_rng(2).normal(size=800) * np.exp(np.arange(800) / 100.0) * 1e-4
    (fit,) = fit_factor(moves, (800,), window_days=800, models=("garch",))
    assert fit.model == "ewma"
    assert fit.note == f"no model fitted: {fit.path}"
    assert fit.path.startswith("garch: ")


@pytest.mark.parametrize(
    ("attempts", "model", "note"),
    [
        ([attempt("garch", ljung_box=0.01)], "garch", None),
        ([attempt("garch", ljung_box=0.009), attempt("garch_t", bic=9.0, ljung_box=0.5)], "garch_t", None),
        ([attempt("garch", problem="no"), attempt("garch_t", bic=9.0, ljung_box=0.5)], "garch_t", None),
        (
            [
                attempt("garch", bic=2.0, jarque_bera=0.0),
                attempt("gjr_t", bic=1.0, ljung_box=0.0, sign_bias=0.0),
            ],
            "gjr_t",
            "no model passed; gjr_t has the best BIC and failed ljung_box, sign_bias",
        ),
        (
            [attempt("garch", bic=2.0, jarque_bera=0.0), attempt("gjr_t", bic=1.0, problem="omega was 0")],
            "garch",
            "no model passed; garch has the best BIC and failed jarque_bera",
        ),
        (
            [attempt("garch", problem="omega was 0, not positive")],
            "ewma",
            "no model fitted: garch: omega was 0, not positive",
        ),
    ],
)
def test_the_choice(attempts, model, note):
    fit = choose(attempts, np.array([0.01, -0.01]), 0.94)
    assert (fit.model, fit.note) == (model, note)
    assert fit.path == "; ".join(each.verdict() for each in attempts)
