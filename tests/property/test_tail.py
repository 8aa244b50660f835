"""Coherence of the measures, and coverage of the intervals."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from scipy import stats
from tests.sampling import sample

from acceleray.numerics import tail

LEVELS = st.floats(0.01, 0.995)
LOSSES = hnp.arrays(np.float64, st.integers(1, 60), elements=st.floats(-1e6, 1e6, width=32))
SMALL = settings(max_examples=60, deadline=None)


@SMALL
@given(LOSSES, LEVELS)
def test_shortfall_is_never_below_value_at_risk_nor_above_the_worst(losses, level) -> None:
    var, es = tail.var(losses, level=level), tail.es(losses, level=level)
    # The bound below holds to the bit; the one above after a sum of n terms and a division.
    assert var <= es <= losses.max() + 1e-9
    assert var in losses


@SMALL
@given(LOSSES, LEVELS, LEVELS)
def test_monotone_in_the_level(losses, one, other) -> None:
    low, high = sorted((one, other))
    assert tail.var(losses, level=low) <= tail.var(losses, level=high)
    # 1e-9 is a few units in the last place of 1e6, divided by the smallest 1 - level.
    assert tail.es(losses, level=low) <= tail.es(losses, level=high) + 1e-7


@SMALL
@given(LOSSES, LEVELS, st.integers(-1000, 1000))
def test_cash_moves_both_by_its_amount(losses, level, cash) -> None:
    # The losses reach 1e6, so that one addition is off by up to 1e-10 and n of them by 1e-8.
    assert tail.var(losses + cash, level=level) == pytest.approx(
        tail.var(losses, level=level) + cash, abs=1e-8
    )
    assert tail.es(losses + cash, level=level) == pytest.approx(tail.es(losses, level=level) + cash, abs=1e-8)


@SMALL
@given(LOSSES, LEVELS, st.sampled_from([0.25, 2.0, 1024.0]))
def test_scaling_by_a_power_of_two_is_exact(losses, level, scale) -> None:
    # Denormal numbers lose bits when they shrink.
    losses = np.where(np.abs(losses) < 1e-100, 0.0, losses)
    assert tail.var(scale * losses, level=level) == scale * tail.var(losses, level=level)
    assert tail.es(scale * losses, level=level) == scale * tail.es(losses, level=level)


@SMALL
@given(LOSSES, LEVELS, st.randoms(use_true_random=False))
def test_the_order_of_the_paths_does_not_show_in_the_bits(losses, level, random) -> None:
    order = list(range(losses.size))
    random.shuffle(order)
    weights = 1.0 + np.arange(losses.size) % 3
    weights /= weights.sum()
    for measure in (tail.var, tail.es):
        assert measure(losses[order], level=level) == measure(losses, level=level)
    assert tail.var(losses[order], level=level, weights=weights[order]) == tail.var(
        losses, level=level, weights=weights
    )


@SMALL
@given(LOSSES, st.sampled_from([0.5, 0.9, 0.975, 0.99]))
def test_equal_weights_are_no_weights(losses, level) -> None:
    weights = np.full(losses.size, 1.0 / losses.size)
    assert tail.var(losses, level=level, weights=weights) == tail.var(losses, level=level)
    # Relative to the largest loss: 1 - level = 0.01 is known to 1e-14 only.
    slack = 1e-12 * (1.0 + np.abs(losses).max())
    assert abs(tail.es(losses, level=level, weights=weights) - tail.es(losses, level=level)) <= slack


@SMALL
@given(LOSSES, LEVELS)
def test_tail_masses_average_to_the_shortfall(losses, level) -> None:
    masses = tail.tail_masses(losses, level=level)
    assert (masses >= 0.0).all()
    assert masses.sum() == pytest.approx(1.0, rel=1e-12)
    slack = 1e-12 * (1.0 + np.abs(losses).max())
    assert abs(masses @ losses - tail.es(losses, level=level)) <= slack


@SMALL
@given(hnp.arrays(np.float64, (2, 40), elements=st.floats(-1e6, 1e6, width=32)), LEVELS)
def test_shortfall_is_subadditive(losses, level) -> None:
    apart = tail.es(losses, level=level).sum()
    assert tail.es(losses.sum(axis=0), level=level) <= apart + 1e-6


def _truth(law: str, level: float) -> tuple[float, float]:
    if law == "normal":
        quantile = stats.norm.ppf(level)
        return quantile, stats.norm.pdf(quantile) / (1 - level)
    quantile = stats.t.ppf(level, 4)
    return quantile, stats.t.pdf(quantile, 4) / (1 - level) * (4 + quantile**2) / 3


def _draw(law: str, shape: tuple[int, ...], seed: int) -> np.ndarray:
    generator = np.random.Generator(np.random.Philox(key=seed))
    return generator.standard_normal(shape) if law == "normal" else generator.standard_t(4, shape)


@pytest.mark.parametrize("law", ["normal", "t4"])
@pytest.mark.parametrize(("n", "level"), [(500, 0.975), (500, 0.99), (1000, 0.99), (4000, 0.999)])
def test_independent_intervals_cover(law: str, n: int, level: float) -> None:
    samples = _draw(law, (600, n), seed=n)
    var, es = _truth(law, level)
    hits = {"var": 0, "es": 0}
    for losses in samples:
        estimate = tail.value_at_risk_interval(losses, level=level, confidence=0.95)
        assert estimate.ci_low is not None
        # Without an upper bound the interval is one-sided.
        hits["var"] += estimate.ci_low <= var <= (np.inf if estimate.ci_high is None else estimate.ci_high)
        estimate = tail.expected_shortfall_interval(losses, level=level, confidence=0.95)
        assert estimate.ci_low is not None
        assert estimate.ci_high is not None
        hits["es"] += estimate.ci_low <= es <= estimate.ci_high
    # Three standard errors of a frequency in 600 trials below what is claimed; the symmetric interval, which
    # covers 0.76 to 0.90 here, would fail.
    floor = 0.95 - 3 * np.sqrt(0.95 * 0.05 / 600)
    assert hits["var"] / 600 >= floor
    assert hits["es"] / 600 >= floor


@pytest.mark.parametrize("law", ["normal", "t4"])
@pytest.mark.parametrize(("n", "level"), [(500, 0.99), (500, 0.975), (2000, 0.975)])
def test_overlapping_intervals_cover(law: str, n: int, level: float) -> None:
    days, trials = 10, sample(60, of=120) if n == 500 else sample(30, of=60)
    # Forty thousand independent ten-day sums stand for the truth; its own error is far below the intervals'.
    truth = _draw(law, (40_000, days), seed=1).sum(axis=1)
    var, es = tail.var(truth, level=level), tail.es(truth, level=level)
    daily = np.cumsum(_draw(law, (trials, n + days), seed=n), axis=1)
    moves = daily[:, days:] - daily[:, :-days]
    arguments = {"level": level, "confidence": 0.95, "overlap_days": days, "seed": 1}
    hits = {"var": 0, "es": 0}
    for losses in moves:
        for name, estimate, true in (
            ("var", tail.estimate_value_at_risk(losses, **arguments), var),
            ("es", tail.estimate_expected_shortfall(losses, **arguments), es),
        ):
            assert estimate.ci_low is not None
            high = np.inf if estimate.ci_high is None else estimate.ci_high
            hits[name] += estimate.ci_low <= true <= high
    # As above for these trials, 0.83 at the lowest; the plain percentile bootstrap covers 0.34 to 0.80 here.
    floor = 0.95 - 3 * np.sqrt(0.95 * 0.05 / trials)
    assert hits["var"] / trials >= floor
    assert hits["es"] / trials >= floor
