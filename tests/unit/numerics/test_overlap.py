from __future__ import annotations

import numpy as np
import pytest

from acceleray.numerics.order_statistics import expected_shortfall, value_at_risk
from acceleray.numerics.overlap import (
    overlapping_expected_shortfall_interval,
    overlapping_value_at_risk_interval,
)


def _moves(n: int, days: int, seed: int) -> np.ndarray:
    daily = np.random.default_rng(seed).standard_normal(n + days - 1)
    sums = np.concatenate([[0.0], np.cumsum(daily)])
    return sums[days:] - sums[:-days]


ARGUMENTS = {"confidence": 0.95, "overlap_days": 10}


def test_five_hundred_ten_day_moves_give_lower_bounds_only() -> None:
    moves = _moves(500, 10, seed=1)
    for interval, measure, level in (
        (overlapping_value_at_risk_interval, value_at_risk, 0.99),
        (overlapping_expected_shortfall_interval, expected_shortfall, 0.975),
    ):
        estimate = interval(moves, level=level, seed=7, **ARGUMENTS)
        assert estimate.value == float(measure(moves, level=level))
        assert estimate.ci_low is not None
        assert estimate.ci_low < estimate.value
        assert estimate.ci_high is None
        assert "no upper bound" in estimate.note


def test_many_moves_give_both_bounds() -> None:
    moves = _moves(6000, 10, seed=2)
    for interval in (overlapping_value_at_risk_interval, overlapping_expected_shortfall_interval):
        estimate = interval(moves, level=0.975, seed=7, **ARGUMENTS)
        assert estimate.ci_low is not None
        assert estimate.ci_high is not None
        assert estimate.ci_low < estimate.value < estimate.ci_high


def test_the_seed_is_the_only_source_of_chance() -> None:
    moves = _moves(500, 10, seed=3)
    first, again, other = (
        overlapping_value_at_risk_interval(moves, level=0.9, seed=seed, **ARGUMENTS) for seed in (1, 1, 2)
    )
    assert first == again
    assert (first.value, first.ci_high) == (other.value, other.ci_high)


def test_too_few_moves_for_two_blocks() -> None:
    estimate = overlapping_value_at_risk_interval(_moves(39, 10, seed=1), level=0.9, seed=1, **ARGUMENTS)
    assert (estimate.ci_low, estimate.ci_high) == (None, None)
    assert "fewer than two blocks of 20" in estimate.note


def test_overlap_means_at_least_two_days() -> None:
    with pytest.raises(ValueError, match="overlap_days"):
        overlapping_value_at_risk_interval(
            np.arange(100.0), level=0.9, confidence=0.9, overlap_days=1, seed=1
        )
