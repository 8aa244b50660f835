import numpy as np
import pytest

from acceleray.numerics.volatility import filter_variance
from acceleray.risk.volatility_fits import fit_factor


def garch(n, omega=2e-6, alpha=0.1, beta=0.85, seed=1):
    rng = np.random.default_rng(seed)
    moves, h = np.empty(n), omega / (1 - alpha - beta)
    for t in range(n):
        moves[t] = np.sqrt(h) * rng.standard_normal()
        h = omega + alpha * moves[t] ** 2 + beta * h
    return moves


def likelihood(window, fit):
    variance = filter_variance(
        window[:, None],
        omega=np.array([fit.omega]),
        alpha=np.array([fit.alpha]),
        beta=np.array([fit.beta]),
        initial_variance=np.array([fit.initial_variance]),
    )[:-1, 0]
    return -0.5 * np.sum(np.log(variance) + window**2 / variance)


def test_parameters_are_found_again():
    (fit,) = fit_factor(garch(4000), (4000,), window_days=4000, ewma_decay=0.94)
    assert fit.model == "garch"
    assert fit.note is None
    # Asymptotic standard errors at this length are near 0.012 (alpha) and 0.02 (beta).
    assert fit.alpha == pytest.approx(0.1, abs=0.04)
    assert fit.beta == pytest.approx(0.85, abs=0.06)


def test_a_warm_start_ends_where_a_cold_one_does():
    moves = garch(1400)
    warm = fit_factor(moves, (1000, 1200, 1400), window_days=1000, ewma_decay=0.94)[-1]
    (cold,) = fit_factor(moves, (1400,), window_days=1000, ewma_decay=0.94)
    window = moves[400:]
    # The optimiser stops at 1e-6 of the mean negative log-likelihood; the parameters differ by more.
    assert likelihood(window, warm) == pytest.approx(likelihood(window, cold), abs=1e-2)


def test_a_fit_sees_only_what_was_known():
    moves = garch(1200)
    noisy = moves.copy()
    noisy[900:] = np.random.default_rng(0).normal(size=300)
    rows = (700, 900, 1200)
    before = fit_factor(moves, rows, window_days=500, ewma_decay=0.94)
    after = fit_factor(noisy, rows, window_days=500, ewma_decay=0.94)
    assert before[:2] == after[:2]
    assert before[2] != after[2]


def test_a_monthly_series_has_a_constant_variance():
    moves = np.zeros(600)
    moves[::20] = 0.001
    (fit,) = fit_factor(moves, (600,), window_days=500, ewma_decay=0.94)
    assert (fit.model, fit.alpha, fit.beta) == ("constant", 0.0, 0.0)
    assert fit.omega == fit.initial_variance == pytest.approx(1e-6 / 20)
    assert fit.note == "95% of the moves were zero"


def test_a_short_history_falls_to_ewma():
    moves = np.full(300, np.nan)
    moves[200:] = garch(100)
    (fit,) = fit_factor(moves, (300,), window_days=500, ewma_decay=0.94)
    assert (fit.model, fit.omega, fit.beta) == ("ewma", 0.0, 0.94)
    assert fit.alpha == pytest.approx(0.06)
    assert fit.note == "only 100 daily moves, GARCH needs 250"


def test_a_fit_that_is_not_stationary_falls_to_ewma_and_says_why():
    # Volatility that grows without end has no stationary variance.
    moves = np.random.default_rng(2).normal(size=800) * np.exp(np.arange(800) / 100.0) * 1e-4
    (fit,) = fit_factor(moves, (800,), window_days=800, ewma_decay=0.94)
    assert fit.model == "ewma"
    assert fit.note is not None
    assert fit.note.startswith("GARCH(1,1) did not fit: ")
