from __future__ import annotations

import numpy as np
import pytest

from acceleray.errors import NumericalError
from acceleray.numerics.attribution import (
    attribution_test,
    desk_passes,
    kolmogorov_smirnov_distance,
    spearman_correlation,
)


def pair(noise: float, n: int = 250) -> tuple[np.ndarray, np.ndarray]:
    generator = np.random.default_rng(1)
    gains = generator.standard_t(4, n)
    return gains, gains + noise * generator.standard_normal(n)


@pytest.mark.parametrize("noise", [0.0, 0.3, 2.0])
def test_both_metrics_are_those_of_scipy(noise: float) -> None:
    from scipy import stats

    one, other = (np.round(gains, 1) for gains in pair(noise))
    assert np.unique(one).size < one.size
    # Ranks of 250 numbers, summed in another order.
    assert spearman_correlation(one, other) == pytest.approx(stats.spearmanr(one, other).statistic, abs=1e-12)
    assert kolmogorov_smirnov_distance(one, other) == pytest.approx(
        stats.ks_2samp(one, other).statistic, abs=1e-12
    )


def test_a_shift_is_seen_by_the_distance_alone() -> None:
    gains = np.arange(250.0)
    for shift, zone in ((22, "green"), (22.5, "amber"), (30, "amber"), (31, "red")):
        # The distance of n equally spaced gains shifted by k steps is k / n, rounded up.
        found = attribution_test(gains, gains + shift)
        assert found.spearman == 1.0
        assert found.ks == pytest.approx(np.ceil(shift) / 250, abs=1e-12)
        assert found.zone == zone


def test_lost_ranks_are_seen_by_the_correlation_alone() -> None:
    generator = np.random.default_rng(3)
    gains = np.arange(250.0)
    zones = set()
    for reshuffled in (0, 20, 60, 250):
        other = gains.copy()
        chosen = generator.choice(250, reshuffled, replace=False)
        other[chosen] = (
            other[np.sort(chosen)[::-1]] if reshuffled == 250 else other[generator.permutation(chosen)]
        )
        found = attribution_test(gains, other)
        assert found.ks == 0.0
        expected = "green" if found.spearman > 0.8 else "red" if found.spearman < 0.7 else "amber"
        assert found.zone == expected
        zones.add(expected)
    assert {"green", "red"} <= zones


def test_a_book_that_never_moves_has_no_zone() -> None:
    found = attribution_test(np.zeros(250), np.arange(250.0))
    assert (found.spearman, found.zone) == (None, None)


@pytest.mark.parametrize(
    ("exceptions", "level", "passes"),
    [(12, 0.99, True), (13, 0.99, False), (30, 0.975, True), (31, 1 - 0.025, False), (99, 0.95, None)],
)
def test_desk(exceptions: int, level: float, passes: bool | None) -> None:
    assert desk_passes(exceptions=exceptions, level=level) is passes


def test_what_cannot_be_compared_is_refused() -> None:
    with pytest.raises(NumericalError, match="not finite"):
        attribution_test([1.0, np.nan], [1.0, 2.0])
    with pytest.raises(ValueError, match="equal length"):
        attribution_test([1.0], [1.0, 2.0])
    with pytest.raises(ValueError, match="negative"):
        desk_passes(exceptions=-1, level=0.99)
