import numpy as np
import pytest
from scipy import special

from acceleray.domain.moves import MoveKind
from acceleray.errors import NumericalError
from acceleray.numerics.draws import martingale_drift, quasi_dimensions, quasi_moves, random_moves
from acceleray.numerics.moves import draw_t_mixing, gaussian_moves
from acceleray.numerics.sobol import sobol_uniforms
from acceleray.numerics.streams import Purpose, stream

ROOT = np.array([[0.02, 0.0], [0.006, 0.01]])
COVARIANCE = ROOT @ ROOT.T


def points(n_paths, *, horizon_days, step, seed=1):
    n_dims = quasi_dimensions(2, horizon_days=horizon_days, step=step)
    return sobol_uniforms(
        seed, horizon_days, block=0, block_size=n_paths, n_paths=n_paths, n_dims=n_dims, replicates=1
    )


def test_daily_draws_are_added_one_after_the_other():
    found = random_moves(stream(1, Purpose.MONTE_CARLO, 0), ROOT, 20, horizon_days=3, step="daily", dof=5.0)
    generator, expected = stream(1, Purpose.MONTE_CARLO, 0), np.zeros((20, 2))
    for _ in range(3):
        moves = gaussian_moves(generator, ROOT, 20)
        moves *= draw_t_mixing(generator, 5.0, 20, unit_variance=True)
        expected += moves
    np.testing.assert_array_equal(found, expected)


def test_one_step_has_the_covariance_of_the_horizon():
    found = random_moves(stream(1, Purpose.MONTE_CARLO, 0), ROOT, 20, horizon_days=9, step="horizon")
    np.testing.assert_array_equal(found, gaussian_moves(stream(1, Purpose.MONTE_CARLO, 0), ROOT, 20) * 3.0)


@pytest.mark.parametrize("step", ["daily", "horizon"])
@pytest.mark.parametrize("dof", [None, 6.0])
def test_quasi_moves_have_the_stated_covariance(step, dof):
    moves = quasi_moves(points(1 << 14, horizon_days=5, step=step), ROOT, horizon_days=5, step=step, dof=dof)
    # One standard error of a variance of plain paths: sqrt(2 / n) for a normal law, sqrt(5 / n) for t6.
    slack = 2.0 * np.sqrt((2.0 if dof is None else 5.0) / moves.shape[0])
    np.testing.assert_allclose(np.cov(moves.T), 5 * COVARIANCE, rtol=slack)
    np.testing.assert_allclose(moves.mean(axis=0), 0.0, atol=2e-4)


@pytest.mark.parametrize(("step", "excess"), [("daily", 0.15), ("horizon", 0.75)])
def test_the_law_over_several_days_is_that_of_the_random_sampler(step, excess):
    # A t variable with 12 degrees of freedom has kurtosis 3 + 6 / 8; a sum of five independent ones a fifth
    # of the excess.
    n, options = 1 << 16, {"horizon_days": 5, "step": step, "dof": 12.0}
    quasi = quasi_moves(points(n, horizon_days=5, step=step), ROOT, **options)[:, 1]
    random = random_moves(stream(1, Purpose.MONTE_CARLO, 0), ROOT, n, **options)[:, 1]
    levels = [0.01, 0.05, 0.3, 0.7, 0.95, 0.99]
    spread = np.sqrt(5 * COVARIANCE[1, 1])
    # Standard error of the random 1 % quantile: sqrt(0.01 * 0.99 / n) over a density of about 0.03.
    np.testing.assert_allclose(
        np.quantile(quasi, levels) / spread, np.quantile(random, levels) / spread, atol=4 * 0.013
    )
    kurtosis = np.mean(quasi**4) / np.mean(quasi**2) ** 2 - 3.0
    # One standard error of plain paths is sqrt(24 / n) = 0.02 for a normal law, about thrice that for t12.
    assert kurtosis == pytest.approx(excess, abs=0.12)


def test_normal_and_student_moves_share_their_normals():
    uniforms = points(64, horizon_days=1, step="daily")
    normal = quasi_moves(uniforms, ROOT, horizon_days=1, step="daily")
    student = quasi_moves(uniforms, ROOT, horizon_days=1, step="daily", dof=4.0)
    np.testing.assert_allclose(normal, special.ndtri(uniforms[:, 1:]) @ ROOT.T, rtol=1e-12, atol=1e-16)
    ratio = student / normal
    np.testing.assert_allclose(ratio[:, 0], ratio[:, 1], rtol=1e-12)


def test_points_of_the_wrong_dimension_are_refused():
    with pytest.raises(ValueError, match="3 draws of 2 components take 5 coordinates, there were 3"):
        quasi_moves(points(8, horizon_days=1, step="daily"), ROOT, horizon_days=3, step="daily")


def test_the_expected_level_is_todays():
    kinds = np.array([MoveKind.LOG, MoveKind.ABSOLUTE], dtype=np.int8)
    drift = martingale_drift(COVARIANCE, kinds, horizon_days=10)
    np.testing.assert_allclose(drift, [-0.5 * 10 * 4e-4, 0.0], rtol=1e-15)
    uniforms = points(1 << 14, horizon_days=10, step="daily")
    moves = quasi_moves(uniforms, ROOT, horizon_days=10, step="daily") + drift
    # Without the drift the mean would be 1.002; plain paths would miss by 0.0005.
    assert np.exp(moves[:, 0]).mean() == pytest.approx(1.0, abs=1e-5)


def test_student_logs_have_no_such_drift():
    logs, returns = np.array([1, 0], dtype=np.int8), np.array([2, 0], dtype=np.int8)
    with pytest.raises(NumericalError, match="factor column 0 has Student-t log moves"):
        martingale_drift(COVARIANCE, logs, horizon_days=1, dof=30.0)
    assert martingale_drift(COVARIANCE, returns, horizon_days=1, dof=5.0).tolist() == [0.0, 0.0]
