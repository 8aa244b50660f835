import numpy as np
import pytest
from scipy import stats

from acceleray.errors import NumericalError
from acceleray.numerics.streams import Purpose, stream
from acceleray.numerics.volatility import estimate_t_dof, filter_variance, simulate_paths, standardise


def arrays(*values):
    return np.array(values, dtype=float)


def test_equals_a_plain_loop_for_garch_ewma_and_constant():
    rng = np.random.default_rng(3)
    moves = rng.normal(size=(60, 3)) * 0.01
    omega, alpha, beta = arrays(1e-6, 0.0, 2e-4), arrays(0.08, 0.06, 0.0), arrays(0.9, 0.94, 0.0)
    initial = arrays(1e-4, 2e-4, 2e-4)
    found = filter_variance(moves, omega=omega, alpha=alpha, beta=beta, initial_variance=initial)
    for j in range(3):
        h = initial[j]
        for t in range(60):
            assert found[t, j] == pytest.approx(h, rel=1e-14)
            h = omega[j] + alpha[j] * moves[t, j] ** 2 + beta[j] * h
        assert found[60, j] == pytest.approx(h, rel=1e-14)


def test_equals_the_recursion_of_arch():
    from arch import arch_model

    moves = np.random.default_rng(4).standard_t(6, size=400)
    model = arch_model(moves, mean="Zero", vol="GARCH", rescale=False)
    fitted = model.fit(disp="off", show_warning=False)
    omega, alpha, beta = (arrays(value) for value in fitted.params)
    conditional = np.asarray(fitted.conditional_volatility) ** 2
    found = filter_variance(
        moves[:, None], omega=omega, alpha=alpha, beta=beta, initial_variance=conditional[:1]
    )
    np.testing.assert_allclose(found[:-1, 0], conditional, rtol=1e-12)


def test_a_fall_weighs_more_as_in_arch():
    from arch import arch_model

    moves = np.random.default_rng(14).standard_t(6, size=400)
    parameters = np.array([0.05, 0.03, 0.12, 0.85])
    model = arch_model(moves, mean="Zero", vol="GARCH", p=1, o=1, q=1, rescale=False)
    conditional = np.asarray(model.fix(parameters).conditional_volatility) ** 2
    omega, alpha, gamma, beta = (arrays(value) for value in parameters)
    how = {"omega": omega, "alpha": alpha, "beta": beta, "initial_variance": conditional[:1]}
    found = filter_variance(moves[:, None], gamma=gamma, **how)
    np.testing.assert_allclose(found[:-1, 0], conditional, rtol=1e-12)
    symmetric = filter_variance(moves[:, None], **how)
    np.testing.assert_array_equal(filter_variance(moves[:, None], gamma=0 * gamma, **how), symmetric)
    assert (found[2:] != symmetric[2:]).any()


def test_later_moves_change_no_earlier_forecast():
    moves = np.random.default_rng(5).normal(size=(50, 2))
    how = {
        "omega": arrays(0.1, 0.1),
        "alpha": arrays(0.1, 0.2),
        "beta": arrays(0.8, 0.7),
        "initial_variance": arrays(1.0, 1.0),
    }
    noisy = moves.copy()
    noisy[30:] *= 100.0
    np.testing.assert_array_equal(filter_variance(moves, **how)[:31], filter_variance(noisy, **how)[:31])


def test_a_later_start_is_the_shorter_history():
    moves = np.random.default_rng(6).normal(size=(50, 2))
    how = {
        "omega": arrays(0.1, 0.1),
        "alpha": arrays(0.1, 0.2),
        "beta": arrays(0.8, 0.7),
        "initial_variance": arrays(1.0, 2.0),
    }
    gap = moves.copy()
    gap[:20, 1] = np.nan
    found = filter_variance(gap, first_row=np.array([0, 20]), **how)
    np.testing.assert_array_equal(found[20:, 1], filter_variance(moves[20:], **how)[:, 1])
    with pytest.raises(NumericalError, match="not finite"):
        filter_variance(gap, **how)


def test_residuals_of_a_factor_that_stands_still_are_zero():
    np.testing.assert_array_equal(standardise(arrays([0.0, 0.2]), arrays([0.0, 0.04])), arrays([0.0, 1.0]))
    with pytest.raises(NumericalError, match="variance was zero"):
        standardise(arrays([0.1]), arrays([0.0]))


@pytest.mark.parametrize("gamma", [None, arrays(0.0, 0.0), arrays(0.0, 0.2)])
def test_paths_equal_a_plain_loop(gamma):
    rng = np.random.default_rng(7)
    residuals = rng.normal(size=(30, 2))
    how = {"omega": arrays(1e-6, 0.0), "alpha": arrays(0.1, 0.06), "beta": arrays(0.85, 0.94)}
    variance = arrays(1e-4, 4e-4)
    found = simulate_paths(
        stream(1, Purpose.FILTERED_HISTORICAL, 0),
        residuals,
        variance=variance,
        horizon_days=4,
        n_paths=20,
        gamma=gamma,
        **how,
    )
    picks = stream(1, Purpose.FILTERED_HISTORICAL, 0).integers(0, 30, size=(20, 4))
    for path in range(20):
        for j in range(2):
            h, total = variance[j], 0.0
            for step in range(4):
                move = residuals[picks[path, step], j] * np.sqrt(h)
                total += move
                extra = gamma[j] if gamma is not None and move < 0 else 0.0
                h = how["omega"][j] + (how["alpha"][j] + extra) * move**2 + how["beta"][j] * h
            assert found[path, j] == pytest.approx(total, rel=1e-12)


@pytest.mark.parametrize("dof", [4.0, 8.0])
def test_the_tail_index_is_found_again(dof):
    draws = stats.t.rvs(dof, size=40_000, random_state=8) * np.sqrt((dof - 2) / dof)
    # The standard error of the estimate is below 0.15 (dof 4) and 0.5 (dof 8) at this size by simulation.
    assert estimate_t_dof(draws) == pytest.approx(dof, abs=0.08 * dof)


def test_the_tail_index_stays_within_its_bounds():
    normal = np.random.default_rng(9).normal(size=20_000)
    assert estimate_t_dof(normal) > 25
    wild = stats.t.rvs(1.5, size=5_000, random_state=1)
    assert estimate_t_dof(wild / wild.std()) == pytest.approx(3.0, abs=0.01)
    with pytest.raises(NumericalError, match="no residual"):
        estimate_t_dof(np.array([np.nan]))
