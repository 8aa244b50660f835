"""Intervals for overlapping moves: successive windows of several days share most of their days.

Import these from `acceleray.numerics.tail`.
"""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt

from acceleray.numerics.intervals import (
    MIN_TAIL_PATHS,
    Estimate,
    check_confidence,
    one_sample,
    shortfall_terms,
    skewness_corrected,
    value_at_risk_ranks,
)
from acceleray.numerics.order_statistics import (
    FloatArray,
    expected_shortfall,
    paths_beyond,
    value_at_risk,
)

__all__ = ["overlapping_expected_shortfall_interval", "overlapping_value_at_risk_interval"]

_BOOTSTRAP_SAMPLES = 1000
_BOOTSTRAP_CHUNK = 100


def overlapping_value_at_risk_interval(
    losses: npt.ArrayLike, *, level: float, confidence: float, overlap_days: int, seed: int
) -> Estimate:
    """Estimate the value at risk of overlapping moves, bootstrapped below and by rank above.

    Parameters
    ----------
    losses : array_like of shape (n_moves,)
        Losses over overlapping windows in order of time.
    level, confidence : float
        Fractions.
    overlap_days : int
        Days that each move spans, at least 2.
    seed : int
        Of the bootstrap's Philox stream.

    Returns
    -------
    Estimate

    Raises
    ------
    NumericalError
        If any loss is not finite.

    Notes
    -----
    The lower bound is the percentile of a circular block bootstrap with blocks of ``2 * overlap_days``. Its
    upper percentile is not used: no resample reaches beyond the largest loss seen, and in simulation (491
    moves of ten days, 99%) the truth was above it in 29% to 34% of the samples. The upper bound is the order
    statistic that ``n / overlap_days`` independent paths would need, which is conservative, or None where
    they have none.
    """
    array, boot, reason = _overlapping(losses, level, confidence, overlap_days, seed)
    value = float(value_at_risk(array, level=level))
    if boot is None:
        return Estimate(value=value, ci_low=None, ci_high=None, note=reason)
    effective = array.size // overlap_days
    _, rank = value_at_risk_ranks(effective, level=level, confidence=confidence)
    high = None
    if rank is not None:
        # The same share of the sample, rounded outwards.
        high = float(np.sort(array)[min(math.ceil(array.size * rank / effective), array.size) - 1])
    note = f"{confidence:.3g} {reason}; " + (
        f"no upper bound: {effective} non-overlapping moves do not reach beyond the level"
        if high is None
        else f"upper bound as from {effective} independent moves; sampling error only"
    )
    return Estimate(value=value, ci_low=min(boot[0], value), ci_high=high, note=note)


def overlapping_expected_shortfall_interval(
    losses: npt.ArrayLike, *, level: float, confidence: float, overlap_days: int, seed: int
) -> Estimate:
    """Estimate the expected shortfall of overlapping moves, bootstrapped below and by batch means above.

    Parameters
    ----------
    losses : array_like of shape (n_moves,)
        Losses over overlapping windows in order of time.
    level, confidence : float
        Fractions.
    overlap_days : int
        Days that each move spans, at least 2.
    seed : int
        Of the bootstrap's Philox stream.

    Returns
    -------
    Estimate

    Raises
    ------
    NumericalError
        If any loss is not finite.

    Notes
    -----
    The lower bound is as in `overlapping_value_at_risk_interval`. The bootstrap's upper percentile would miss
    in 15% to 66% of the samples; the upper bound is therefore the skewness-corrected one of
    `expected_shortfall_interval` on overlapping batch means of ``2 * overlap_days`` moves, which misses in 3%
    to 6%, and is left out where fewer than four non-overlapping moves lie beyond the level.
    """
    array, boot, reason = _overlapping(losses, level, confidence, overlap_days, seed)
    value = float(expected_shortfall(array, level=level))
    if boot is None:
        return Estimate(value=value, ci_low=None, ci_high=None, note=reason)
    beyond = paths_beyond(array.size, level) / overlap_days
    high = None
    if beyond >= MIN_TAIL_PATHS:
        length = 2 * overlap_days
        terms = shortfall_terms(array, level)
        sums = np.cumsum(np.concatenate([[0.0], terms, terms[: length - 1]]))
        batches = (sums[length:] - sums[:-length]) / length
        _, high = skewness_corrected(value, batches, array.size // length, confidence)
    note = f"{confidence:.3g} {reason}; " + (
        f"no upper bound: only {beyond:.3g} non-overlapping moves lie beyond the level, "
        f"at least {MIN_TAIL_PATHS:.0f} are needed"
        if high is None
        else "upper bound from skewness-corrected batch means; sampling error only"
    )
    return Estimate(value=value, ci_low=min(boot[1], value), ci_high=high, note=note)


def _overlapping(
    losses: npt.ArrayLike, level: float, confidence: float, overlap_days: int, seed: int
) -> tuple[FloatArray, tuple[float, float] | None, str]:
    """Check overlapping moves and bootstrap the lower bounds of both measures."""
    check_confidence(confidence)
    if overlap_days < 2:
        raise ValueError(f"overlap_days must be at least 2 for overlapping moves, was {overlap_days}")
    array = one_sample(losses)
    length = 2 * overlap_days
    if array.size < 2 * length:
        return array, None, f"no interval: {array.size} moves are fewer than two blocks of {length}"
    generator = np.random.Generator(np.random.Philox(key=seed))
    n_blocks = -(-array.size // length)
    samples = np.empty((2, _BOOTSTRAP_SAMPLES))
    for first in range(0, _BOOTSTRAP_SAMPLES, _BOOTSTRAP_CHUNK):
        starts = generator.integers(0, array.size, size=(_BOOTSTRAP_CHUNK, n_blocks, 1))
        picks = ((starts + np.arange(length)) % array.size).reshape(_BOOTSTRAP_CHUNK, -1)
        resampled = array[picks[:, : array.size]]
        chunk = slice(first, first + _BOOTSTRAP_CHUNK)
        samples[0, chunk] = value_at_risk(resampled, level=level)
        samples[1, chunk] = expected_shortfall(resampled, level=level)
    low = value_at_risk(samples, level=0.5 * (1.0 - confidence))
    return array, (float(low[0]), float(low[1])), f"lower bound from a circular block bootstrap of {length}"
