from __future__ import annotations

import numpy as np
import pytest

from acceleray.numerics.backtest import (
    christoffersen,
    conditional_coverage,
    kupiec,
    traffic_light,
)


def test_coverage_as_expected_is_no_evidence() -> None:
    test = kupiec(exceptions=10, days=1000, level=0.99)
    # Rounding of two equal log likelihoods near 56.
    assert test.statistic == pytest.approx(0.0, abs=1e-12)
    assert test.p_value == pytest.approx(1.0, abs=1e-5)


def test_every_day_an_exception_is_finite_evidence() -> None:
    test = kupiec(exceptions=250, days=250, level=0.99)
    # -2 * 250 * log(0.01)
    assert test.statistic == pytest.approx(2302.585092994046, rel=1e-12)
    assert test.p_value == 0.0


def test_no_days_no_test() -> None:
    test = kupiec(exceptions=0, days=0, level=0.99)
    assert (test.statistic, test.p_value, test.note) == (None, None, "no days to test")
    with pytest.raises(ValueError, match="at least one day"):
        traffic_light(exceptions=0, days=0, level=0.99)


@pytest.mark.parametrize(("exceptions", "days", "level"), [(-1, 10, 0.9), (11, 10, 0.9), (1, 10, 99.0)])
def test_arguments_out_of_range(exceptions: int, days: int, level: float) -> None:
    for statistic in (kupiec, traffic_light):
        with pytest.raises(ValueError, match="must lie between"):
            statistic(exceptions=exceptions, days=days, level=level)


@pytest.mark.parametrize(
    ("hits", "reason"),
    [
        ([], "at least two days"),
        ([True], "at least two days"),
        ([False] * 250, "no exception before the last day"),
        ([False] * 249 + [True], "no exception before the last day"),
        ([True] + [False] * 249, "no exception after the first day"),
        ([True, True, True], "every day before the last"),
        ([False, True, True], "every day after the first"),
    ],
)
def test_independence_is_undefined_without_something_to_compare(hits: list[bool], reason: str) -> None:
    array = np.array(hits, dtype=bool)
    for test in (christoffersen(array), conditional_coverage(array, level=0.99)):
        assert (test.statistic, test.p_value) == (None, None)
        assert reason in test.note


def test_clustered_exceptions_are_found() -> None:
    clustered = np.zeros(250, dtype=bool)
    clustered[100:105] = True
    spread = np.zeros(250, dtype=bool)
    spread[10:250:50] = True
    assert christoffersen(clustered).p_value < 1e-5
    assert christoffersen(spread).p_value > 0.5


def test_conditional_coverage_is_the_sum_of_both_tests_on_the_transitions() -> None:
    hits = np.random.default_rng(1).random(500) < 0.03
    hits[0] = False
    joint = conditional_coverage(hits, level=0.975)
    coverage = kupiec(exceptions=int(hits[1:].sum()), days=499, level=0.975)
    # Rounding of log likelihoods near 70.
    assert joint.statistic == pytest.approx(coverage.statistic + christoffersen(hits).statistic, abs=1e-11)
    # Chi-square with two degrees of freedom is exponential.
    assert joint.p_value == pytest.approx(np.exp(-joint.statistic / 2), rel=1e-12)


def test_size_of_the_coverage_test() -> None:
    # How often a right model is rejected, by the binomial law itself: 250 days, 1%, 5% test.
    from acceleray.numerics.binomial import binomial_cdf

    accepted = [k for k in range(251) if kupiec(exceptions=k, days=250, level=0.99).p_value >= 0.05]
    low, high = accepted[0], accepted[-1]
    assert accepted == list(range(low, high + 1))
    size = 1 - (binomial_cdf(high, n=250, probability=0.01) - binomial_cdf(low - 1, n=250, probability=0.01))
    # No exception at all (8.1%) rejects, so the test is not exact; a known property, not a defect of the
    # code.
    assert 0.05 < size < 0.10


def test_hits_are_flags() -> None:
    with pytest.raises(ValueError, match="bool"):
        christoffersen(np.array([0.0, 1.0]))


def test_the_multiplier_exists_for_the_regulatory_case_only() -> None:
    assert traffic_light(exceptions=25, days=250, level=0.99).multiplier == 2.0
    assert traffic_light(exceptions=5, days=250, level=1 - 0.01).multiplier == 1.7
    assert traffic_light(exceptions=5, days=249, level=0.99).multiplier is None
    assert traffic_light(exceptions=5, days=250, level=0.975).multiplier is None
