from __future__ import annotations

import numpy as np
import pytest

from acceleray.numerics.backtest_overlap import overlapping_exceptions
from acceleray.numerics.binomial import binomial_cdf
from acceleray.numerics.tail_laws import normal_tail

N = 20_000


def bounds(seed: int = 1, **changes):
    arguments = {"windows": 250, "horizon_days": 10, "level": 0.99, "n_samples": N} | changes
    return overlapping_exceptions(np.random.default_rng(seed), **arguments)


def test_one_day_is_binomial() -> None:
    found = bounds(horizon_days=1)
    for count in range(8):
        expected = binomial_cdf(count, n=250, probability=0.01)
        error = np.sqrt(expected * (1 - expected) / N)
        assert found.cumulative[count] == pytest.approx(expected, abs=4 * error)
    # The equal-tailed 95% range of the binomial law with 250 trials at 1%.
    assert (found.low, found.high) == (0, 6)


def test_mean_and_variance_are_those_of_the_bivariate_normal_law() -> None:
    from scipy.stats import multivariate_normal

    windows, horizon, level = 60, 5, 0.95
    found = bounds(windows=windows, horizon_days=horizon, level=level)
    counts = np.arange(windows + 1)
    chance = np.diff(found.cumulative, prepend=0.0)
    mean, variance = counts @ chance, (counts - counts @ chance) ** 2 @ chance
    # Two windows k days apart share horizon - k days: correlation 1 - k / horizon.
    q, p = normal_tail(level).var, 1 - level
    expected = windows * p * (1 - p)
    for k in range(1, horizon):
        rho = 1 - k / horizon
        both = multivariate_normal(cov=[[1, rho], [rho, 1]]).cdf([-q, -q])
        expected += 2 * (windows - k) * (both - p**2)
    assert mean == pytest.approx(windows * p, abs=4 * np.sqrt(expected / N))
    assert found.mean == pytest.approx(mean, abs=1e-9)
    # Heavy-tailed counts: the error of their variance is a few percent.
    assert variance == pytest.approx(expected, rel=0.06)
    assert expected > 2 * windows * p * (1 - p)


def test_overlap_makes_none_and_many_likelier() -> None:
    found = bounds()
    assert found.cumulative[0] > 3 * binomial_cdf(0, n=250, probability=0.01)
    assert found.high > 10
    assert found.cumulative[found.high] >= 0.975 > found.cumulative[found.high - 1]


def test_t_days_use_the_quantile_of_their_own_sums() -> None:
    for horizon in (1, 10):
        found = bounds(horizon_days=horizon, dof=4.0, n_samples=4_000)
        assert found.mean == pytest.approx(2.5, rel=0.01)
    with pytest.raises(ValueError, match="at least 1"):
        bounds(horizon_days=0)
    with pytest.raises(ValueError, match="between 0 and 1"):
        bounds(level=99.0)


def test_p_values_and_repeatability() -> None:
    found, again = bounds(seed=3, n_samples=500), bounds(seed=3, n_samples=500)
    np.testing.assert_array_equal(found.cumulative, again.cumulative)
    assert found.p_value(0) == min(1.0, 2 * found.cumulative[0])
    assert found.p_value(found.high + 1) < 0.05 <= found.p_value(found.high)
    assert found.p_value(250) == 0.0
    with pytest.raises(ValueError, match="between 0 and 250"):
        found.p_value(251)
