from __future__ import annotations

import numpy as np
import pytest

from acceleray.errors import NumericalError
from acceleray.numerics.binomial import binomial_cdf
from acceleray.numerics.intervals import (
    expected_shortfall_interval,
    skewness_corrected,
    value_at_risk_interval,
    value_at_risk_ranks,
)


@pytest.mark.parametrize(("n", "level"), [(500, 0.99), (1000, 0.975), (4000, 0.999), (50, 0.5)])
@pytest.mark.parametrize("confidence", [0.8, 0.95, 0.99])
def test_each_rank_misses_with_at_most_half_and_the_next_one_would_not(
    n: int, level: float, confidence: float
) -> None:
    low, high = value_at_risk_ranks(n, level=level, confidence=confidence)
    half = (1.0 - confidence) / 2
    if low is not None:
        # The true quantile lies below the low order statistic when at most low - 1 losses lie below it.
        assert (
            binomial_cdf(low - 1, n=n, probability=level) < half <= binomial_cdf(low, n=n, probability=level)
        )
    if high is not None:
        # The slack is the rounding of 1 - half.
        assert 1.0 - binomial_cdf(high - 1, n=n, probability=level) <= half + 1e-15
        assert 1.0 - binomial_cdf(high - 2, n=n, probability=level) > half


def test_interval_takes_the_order_statistics_of_its_ranks() -> None:
    losses = np.random.default_rng(1).permutation(np.arange(1.0, 10_001.0))
    estimate = value_at_risk_interval(losses, level=0.99, confidence=0.95)
    assert (estimate.value, estimate.ci_low, estimate.ci_high) == (9900.0, 9880.0, 9920.0)
    assert "9880 and 9920 of 10000" in estimate.note


def test_a_bound_that_the_sample_cannot_give_is_absent_with_its_reason() -> None:
    estimate = value_at_risk_interval(np.arange(250.0), level=0.99, confidence=0.95)
    assert estimate.ci_high is None
    assert estimate.ci_low == 243.0
    assert "no upper bound: 250 independent paths" in estimate.note
    tiny = value_at_risk_interval([1.0, 2.0], level=0.01, confidence=0.95)
    assert tiny.ci_low is None


def test_too_few_tail_paths_give_no_shortfall_interval() -> None:
    estimate = expected_shortfall_interval(np.arange(250.0), level=0.99, confidence=0.95)
    assert (estimate.ci_low, estimate.ci_high) == (None, None)
    assert "only 2.5 of 250 paths" in estimate.note


def test_equal_tail_losses_give_no_shortfall_interval() -> None:
    losses = np.where(np.arange(1000) < 800, 0.0, 5.0)
    estimate = expected_shortfall_interval(losses, level=0.95, confidence=0.95)
    assert estimate.value == 5.0
    assert estimate.ci_low is None
    assert "all equal" in estimate.note


def test_without_skewness_the_interval_is_the_symmetric_one() -> None:
    terms = np.array([-1.0, 1.0] * 50)
    low, high = skewness_corrected(0.0, terms, 100, 0.95)
    half = 1.959963984540054 * np.sqrt(100 / 99) / 10
    # Rounding of a handful of operations.
    assert (low, high) == pytest.approx((-half, half), rel=1e-14)


def test_the_transformation_is_continuous_in_the_skewness() -> None:
    base = np.array([-1.0, 1.0] * 50)
    bounds = []
    for nudge in (0.9e-7, 1.1e-7):
        terms = base.copy()
        terms[1] += nudge
        bounds.append(skewness_corrected(0.0, terms, 100, 0.95))
    # The skewness is about 1e-9 on both sides of the switch; cancellation in the cube root costs eps / bend.
    assert bounds[0] == pytest.approx(bounds[1], rel=1e-7)


def test_intervals_take_one_finite_sample_and_a_fraction() -> None:
    with pytest.raises(ValueError, match="one sample"):
        value_at_risk_interval(np.zeros((2, 5)), level=0.5, confidence=0.95)
    with pytest.raises(NumericalError):
        expected_shortfall_interval([1.0, np.nan], level=0.5, confidence=0.95)
    with pytest.raises(ValueError, match="confidence"):
        value_at_risk_interval([1.0, 2.0], level=0.5, confidence=95.0)
