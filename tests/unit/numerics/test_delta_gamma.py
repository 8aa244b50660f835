import numpy as np
import pytest
from scipy import stats

from acceleray.errors import NumericalError
from acceleray.numerics.delta_gamma import delta_gamma, tail_probability, tilt

X = np.array([-3.0, 0.5, 4.0, 10.0, 25.0])


def quadratic(model, z):
    n = model.slope.size
    return model.constant + z[:, :n] @ model.slope + z[:, :n] ** 2 @ model.curvature


@pytest.mark.parametrize("dof", [None, 5.0])
def test_rotation_keeps_the_quadratic_of_the_moves(dof):
    """Without merging there is nothing lost: the rotated form is the form that was given."""
    generator = np.random.default_rng(1)
    hessian = generator.normal(size=(5, 5))
    hessian += hessian.T
    gradient, root = generator.normal(size=5), np.tril(generator.normal(size=(5, 5)))
    model = delta_gamma(gradient, hessian, root, constant=2.0, dof=dof, unit_variance=False)
    z = generator.normal(size=(50, 5))
    moves = z @ model.root.T
    expected = 2.0 + moves @ gradient + 0.5 * np.einsum("ij,jk,ik->i", moves, hessian, moves)
    scale = np.abs(expected).max()
    # Slopes below a thousandth of the variance may have been dropped, and nothing else.
    np.testing.assert_allclose(quadratic(model, z), expected, atol=0.15 * scale)
    np.testing.assert_allclose(
        model.root @ model.root.T, root @ root.T, atol=1e-12 * np.abs(root @ root.T).max()
    )


def test_equal_curvatures_share_one_slope():
    model = delta_gamma([3.0, 4.0, 0.0], 2.0 * np.eye(3), np.eye(3))
    # The norm of the gradient is the slope of one axis.
    np.testing.assert_allclose(model.slope, [5.0, 0.0, 0.0], atol=1e-14)
    np.testing.assert_allclose(model.curvature, 1.0)
    z = np.random.default_rng(2).normal(size=(20, 3))
    moves = z @ model.root.T
    np.testing.assert_allclose(
        quadratic(model, z), moves @ [3.0, 4.0, 0.0] + (moves**2).sum(axis=1), rtol=1e-12, atol=1e-12
    )


def test_a_hedged_book_has_radial_axes_and_an_empty_one_no_law():
    assert delta_gamma(np.zeros(4), np.diag([1.0, 2.0, 3.0, 4.0]), np.eye(4)).n_radial == 4
    assert delta_gamma(np.full(4, 9.0), np.eye(4), np.eye(4)).n_radial == 0
    with pytest.raises(NumericalError, match="does not vary"):
        delta_gamma(np.zeros(2), np.zeros((2, 2)), np.eye(2))
    with pytest.raises(NumericalError, match="hessian was not finite"):
        delta_gamma(np.zeros(2), np.full((2, 2), np.nan), np.eye(2))
    with pytest.raises(ValueError, match="dof"):
        delta_gamma([1.0], [[0.0]], [[1.0]], dof=2.0)


def test_tail_probabilities_of_known_laws():
    """Normal, chi-squared, non-central chi-squared, t and F against SciPy."""
    chi = X[1:]
    degenerate = np.zeros((2, 2))
    n, slope, curvature = 10, 22.97, 4.95
    shift = np.sqrt(n) * slope / (2.0 * curvature)
    cases = [
        (delta_gamma([3.0, 4.0], degenerate, np.eye(2)), X, stats.norm(scale=5.0).sf(X)),
        (delta_gamma([0.0], [[2.0]], [[1.0]]), chi, stats.chi2(1).sf(chi)),
        (delta_gamma(np.zeros(3), 2.0 * np.eye(3), np.eye(3)), chi, stats.chi2(3).sf(chi)),
        (
            delta_gamma(np.full(n, slope), 2.0 * curvature * np.eye(n), np.eye(n)),
            10.0 * chi,
            stats.ncx2(n, shift**2).sf(10.0 * chi / curvature + shift**2),
        ),
        (
            delta_gamma([3.0, 4.0], degenerate, np.eye(2), dof=5.0, unit_variance=False),
            X,
            stats.t(5, scale=5).sf(X),
        ),
        (
            delta_gamma([0.0, 0.0], 2.0 * np.eye(2), np.eye(2), dof=5.0, unit_variance=False),
            chi,
            stats.f(2, 5).sf(chi / 2),
        ),
    ]
    for model, thresholds, expected in cases:
        found, error = tail_probability(model, thresholds)
        # The trapezoidal rule converges exponentially; 1e-9 leaves room for SciPy's non-central law.
        np.testing.assert_allclose(found, expected, rtol=1e-9)
        assert (error < 1e-6 * found).all()


@pytest.mark.parametrize("dof", [None, 6.0])
def test_likelihood_ratios_average_to_one_and_make_the_threshold_typical(dof):
    model = delta_gamma([2.0, 1.0, 0.0], np.diag([1.0, -0.5, 0.8]), np.eye(3), dof=dof, unit_variance=False)
    x = float(model.mean + 3.0 * model.deviation)
    found = tilt(model, [x])
    generator, n = np.random.default_rng(3), 200_000
    theta, base = found.theta[0], 1.0 - 2.0 * found.theta[0] * model.curvature
    mixing = np.ones(n) if dof is None else generator.gamma(0.5 * dof, 1.0 / found.rate[0], n)
    z = np.sqrt(mixing)[:, None] * theta * model.slope / base + generator.normal(size=(n, 3)) / np.sqrt(base)
    values = model.constant + z @ model.slope / np.sqrt(mixing) + z**2 @ model.curvature / mixing
    excess = mixing * (values - x)
    assert abs(excess.mean()) <= 4.0 * excess.std() / np.sqrt(n)
    # Density of the model over that of the tilted law.
    weights = np.exp(found.log_bound[0] - theta * excess)
    beyond = np.where(values > x, weights, 0.0)
    exact = tail_probability(model, [x])[0][0]
    assert beyond.mean() == pytest.approx(exact, abs=4.0 * beyond.std() / np.sqrt(n))
    assert (beyond <= np.exp(found.log_bound[0]) * (1 + 1e-12)).all()


def test_normal_tilt_solves_for_the_threshold():
    model = delta_gamma([3.0, 4.0], np.zeros((2, 2)), np.eye(2))
    found = tilt(model, X)
    # psi'(theta) = 25 theta.
    np.testing.assert_allclose(found.theta, X / 25.0, rtol=1e-12)
    np.testing.assert_allclose(found.log_bound, -0.5 * X**2 / 25.0, rtol=1e-12)
