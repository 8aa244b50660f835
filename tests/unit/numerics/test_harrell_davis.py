import numpy as np
import pytest
from scipy import stats

from acceleray.numerics.harrell_davis import quantile_weights


def test_weights_are_steps_of_the_beta_distribution():
    losses = np.random.default_rng(2).standard_normal(400)
    weights = quantile_weights(losses, level=0.95)
    steps = np.diff(stats.beta.cdf(np.arange(401) / 400, 401 * 0.95, 401 * 0.05))
    expected = np.empty(400)
    expected[np.argsort(losses)] = steps
    # What is left out weighs less than a billionth of the largest, 400 times.
    assert weights == pytest.approx(expected, abs=400e-9 * steps.max())
    assert weights.sum() == pytest.approx(1.0, abs=1e-14)
    assert 0 < np.count_nonzero(weights) < 200


def test_ties_share_and_order_does_not_matter():
    losses = np.array([1.0, 2.0, 2.0, 2.0, 3.0])
    weights = quantile_weights(losses, level=0.5)
    assert weights[1] == weights[2] == weights[3]
    assert quantile_weights(losses[::-1], level=0.5).tolist() == weights[::-1].tolist()


def test_equal_probabilities_are_no_probabilities():
    losses = np.random.default_rng(3).standard_normal(200)
    plain = quantile_weights(losses, level=0.9)
    # 20 of 200 paths lie beyond, so that the effective number of paths is 200 to rounding.
    equal = quantile_weights(losses, level=0.9, weights=np.full(200, 1 / 200))
    assert equal == pytest.approx(plain, abs=1e-12)


def test_a_path_of_twice_the_probability_is_two_paths():
    losses = np.random.default_rng(4).standard_normal(300)
    probabilities = np.where(np.arange(300) % 2, 2.0, 1.0) / 450.0
    twice = np.repeat(losses, np.where(np.arange(300) % 2, 2, 1))
    average = float(quantile_weights(losses, level=0.9, weights=probabilities) @ losses)
    # Fewer paths know the quantile less well, so the weights are wider, but the centre is the same: within
    # a standard error of the quantile, 1.7 / sqrt(450), there is little curvature.
    assert average == pytest.approx(float(quantile_weights(twice, level=0.9) @ twice), abs=0.05)
