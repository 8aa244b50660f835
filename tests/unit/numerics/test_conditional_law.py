"""Recursion, Fourier transform and SciPy's binomial law against each other."""

import numpy as np
import pytest
from scipy import stats

from acceleray.numerics.conditional_law import add_laws, transformed_law
from acceleray.numerics.loss_lattice import Severities


def fixed(*steps):
    return Severities(offsets=np.array(steps), starts=np.arange(len(steps) + 1), weights=np.ones(len(steps)))


def recursion(probability, counts, severity, severities, n_points):
    totals = np.zeros((1, n_points))
    p = np.atleast_2d(np.asarray(probability, float))
    add_laws(totals, p, 1.0 - p, np.ones((1, 1)), np.asarray(counts), np.asarray(severity), severities)
    return totals[0]


@pytest.mark.parametrize("n", [1, 5, 1000])
@pytest.mark.parametrize("p", [0.0, 1e-300, 1e-12, 0.003, 0.5, 0.97, 1.0])
def test_equal_obligors_are_binomial_to_the_last_digits(n, p):
    exact = stats.binom(n, p).pmf(np.arange(n + 1))
    grouped = recursion([p], [n], [0], fixed(1), n + 1)
    singly = recursion([p] * n, [1] * n, [0] * n, fixed(1), n + 1)
    large = exact > 1e-35
    # SciPy's own binomial probabilities are good to about 1e-11 of themselves.
    np.testing.assert_allclose(grouped[large], exact[large], rtol=1e-10)
    # One by one, what falls below the floor of 1e-40 is lost at every step.
    larger = exact > 1e-28
    np.testing.assert_allclose(singly[larger], grouped[larger], rtol=1e-11)
    transformed = transformed_law(np.array([p]), np.array([n]), np.array([0]), fixed(1), n_points=n + 1)
    np.testing.assert_allclose(transformed, exact, atol=1e-15 + 1e-16 * n)


def test_a_group_of_a_million_keeps_its_digits():
    n, p = 10**6, 0.03
    found = recursion([p], [n], [0], fixed(1), n + 1)
    assert found.sum() == pytest.approx(1.0, abs=1e-14)
    assert found @ np.arange(n + 1.0) == pytest.approx(n * p, rel=1e-13)
    assert (found @ (np.arange(n + 1.0) - n * p) ** 2) == pytest.approx(n * p * (1 - p), rel=1e-11)


def test_unlike_obligors_by_both_methods():
    rng = np.random.default_rng(3)
    p, counts = rng.uniform(0.0, 0.2, 30), rng.integers(1, 5, 30)
    severities = fixed(1, 2, 7, 11)
    severity = rng.integers(0, 4, 30)
    n_points = 1 + int(counts @ severities.offsets[severity])
    found = recursion(p, counts, severity, severities, n_points)
    transformed = transformed_law(p, counts, severity, severities, n_points=n_points)
    np.testing.assert_allclose(transformed, found, atol=2e-16 * 30)


def test_losses_of_random_size_by_both_methods_and_directly():
    severities = Severities(
        offsets=np.array([0, 2]), starts=np.array([0, 3, 5]), weights=np.array([0.2, 0.5, 0.3, 0.6, 0.4])
    )
    p, counts, severity = np.array([0.1, 0.3]), np.array([2, 1]), np.array([0, 1])
    one = 0.9 * np.array([1.0, 0.0, 0.0]) + 0.1 * np.array([0.2, 0.5, 0.3])
    direct = np.convolve(np.convolve(one, one), [0.7, 0.0, 0.18, 0.12])
    np.testing.assert_allclose(recursion(p, counts, severity, severities, 8), direct, rtol=1e-14)
    transformed = transformed_law(p, counts, severity, severities, n_points=8)
    np.testing.assert_allclose(transformed, direct, atol=1e-15)


def test_tilting_gives_the_transform_its_digits_back():
    n, p, loss = 500, 0.01, 80
    exact = stats.binom(n, p).pmf(loss)
    assert exact < 1e-50
    arguments = (np.array([p]), np.array([n]), np.array([0]), fixed(1))
    plain = transformed_law(*arguments, n_points=n + 1)[loss]
    assert abs(plain / exact - 1.0) > 1e6
    # The tilt at which the mean of the binomial law is the loss.
    tilt = np.log(loss / (n - loss) * (1.0 - p) / p)
    tilted = transformed_law(*arguments, n_points=n + 1, tilt=tilt)[loss]
    assert tilted == pytest.approx(exact, rel=1e-11)


def test_nodes_are_added_with_their_weights_into_each_total():
    totals = np.ones((2, 4))
    p = np.array([[0.5], [0.1]])
    weights = np.array([[1.0, 0.0], [2.0, 3.0]])
    add_laws(totals, p, 1.0 - p, weights, np.array([3]), np.array([0]), fixed(1))
    one, other = stats.binom(3, 0.5).pmf(np.arange(4)), stats.binom(3, 0.1).pmf(np.arange(4))
    np.testing.assert_allclose(totals, [1.0 + one + 2.0 * other, 1.0 + 3.0 * other], rtol=1e-14)
