"""Tail measures of weighted paths that come in blocks, with intervals from sectioning over the blocks.

Each block is a complete sample of its own, so that the blocks repeat one experiment independently: the
spread of a linear statistic over the blocks is its sampling error, whatever happened inside them. The
weights of a block add up to about one over the number of blocks; see `acceleray.risk.importance`.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from scipy import special

from acceleray.errors import NumericalError
from acceleray.numerics.intervals import Estimate, check_confidence, one_sample, skewness_corrected
from acceleray.numerics.order_statistics import expected_shortfall, value_at_risk

__all__ = [
    "MIN_BLOCKS",
    "MIN_TAIL_SIZE",
    "tail_effective_size",
    "weighted_exceedance",
    "weighted_expected_shortfall",
    "weighted_value_at_risk",
]

FloatArray = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]

# With fewer blocks the variance over them is known too badly to promise a coverage
# (tests/property/test_weighted.py and benchmarks/market_coverage.py).
MIN_BLOCKS = 10
# As for plain paths: with fewer effective paths beyond the level an upper bound misses too often.
MIN_TAIL_SIZE = 4.0


def weighted_exceedance(
    losses: npt.ArrayLike,
    weights: npt.ArrayLike,
    blocks: npt.ArrayLike,
    *,
    threshold: float,
    confidence: float,
) -> Estimate:
    """Estimate the probability of a loss above a threshold.

    Parameters
    ----------
    losses, weights : array_like of shape (n_paths,)
        Loss and weight of every path; the weights add up to one.
    blocks : array_like of int, shape (n_paths,)
        Block of every path, from 0 without gaps.
    threshold : float
        Loss, in the currency of `losses`.
    confidence : float
        Two-sided coverage as a fraction.

    Returns
    -------
    Estimate
        A probability; the bounds stay inside [0, 1].

    Raises
    ------
    NumericalError
        If a loss or weight is not finite.
    """
    array, masses, members = _checked(losses, weights, blocks)
    check_confidence(confidence)
    parts = _per_block(np.where(array > threshold, masses, 0.0), members)
    value = float(parts.mean())
    if parts.size < MIN_BLOCKS:
        return Estimate(value=value, ci_low=None, ci_high=None, note=_too_few(parts.size))
    low, high = skewness_corrected(value, parts, parts.size, _widened(confidence, parts.size))
    if low is None or high is None:
        return Estimate(value=value, ci_low=None, ci_high=None, note="no interval: all blocks agree exactly")
    return Estimate(
        value=value, ci_low=max(low, 0.0), ci_high=min(high, 1.0), note=_note(confidence, parts.size)
    )


def weighted_value_at_risk(
    losses: npt.ArrayLike,
    weights: npt.ArrayLike,
    blocks: npt.ArrayLike,
    *,
    level: float,
    confidence: float,
) -> Estimate:
    """Estimate the value at risk of weighted paths.

    Parameters
    ----------
    losses, weights, blocks
        As for `weighted_exceedance`.
    level, confidence : float
        Fractions.

    Returns
    -------
    Estimate
        Value and bounds are losses of the sample; a bound that the sample does not reach is absent.

    Raises
    ------
    NumericalError
        If a loss or weight is not finite.

    Notes
    -----
    The interval inverts a test of the exceedance probability: its bounds are the quantiles at the ends of the
    interval that sectioning gives for the share of losses beyond the estimate. No density is estimated.
    """
    array, masses, members = _checked(losses, weights, blocks)
    check_confidence(confidence)
    value = float(value_at_risk(array, level=level, weights=masses))
    # Half of a tie at the quantile is counted as beyond it, so that a lattice of losses does not bias the
    # test.
    beyond = np.where(array > value, masses, 0.0) + 0.5 * np.where(array == value, masses, 0.0)
    parts = _per_block(beyond, members)
    if parts.size < MIN_BLOCKS:
        return Estimate(value=value, ci_low=None, ci_high=None, note=_too_few(parts.size))
    tail = 1.0 - level
    low_tail, high_tail = skewness_corrected(tail, parts, parts.size, _widened(confidence, parts.size))
    if low_tail is None or high_tail is None:
        return Estimate(value=value, ci_low=None, ci_high=None, note="no interval: all blocks agree exactly")
    ci_low = None if high_tail >= 1.0 else float(value_at_risk(array, level=1.0 - high_tail, weights=masses))
    # The largest loss stands for a mass of its own; inside it the sample says nothing.
    reach = float(masses[int(array.argmax())])
    ci_high = None if low_tail <= reach else float(value_at_risk(array, level=1.0 - low_tail, weights=masses))
    missing = [side for side, bound in (("lower", ci_low), ("upper", ci_high)) if bound is None]
    note = _note(confidence, parts.size)
    if missing:
        note = f"no {' and '.join(missing)} bound: the sample does not reach beyond the level; {note}"
    return Estimate(
        value=value,
        ci_low=None if ci_low is None else min(ci_low, value),
        ci_high=None if ci_high is None else max(ci_high, value),
        note=note,
    )


def weighted_expected_shortfall(
    losses: npt.ArrayLike,
    weights: npt.ArrayLike,
    blocks: npt.ArrayLike,
    *,
    level: float,
    confidence: float,
) -> Estimate:
    """Estimate the expected shortfall of weighted paths.

    Parameters
    ----------
    losses, weights, blocks
        As for `weighted_exceedance`.
    level, confidence : float
        Fractions.

    Returns
    -------
    Estimate
        Without bounds if fewer than `MIN_TAIL_SIZE` effective paths lie beyond the level.

    Raises
    ------
    NumericalError
        If a loss or weight is not finite.

    Notes
    -----
    The error of the quantile cancels to first order, so that the shortfall behaves as the mean over blocks of
    ``VaR + sum(w (loss - VaR)+) / (1 - level)``; Hall's transformation removes the skewness of that mean.
    """
    array, masses, members = _checked(losses, weights, blocks)
    check_confidence(confidence)
    value = float(expected_shortfall(array, level=level, weights=masses))
    quantile = float(value_at_risk(array, level=level, weights=masses))
    excess = np.maximum(array - quantile, 0.0) / (1.0 - level)
    parts = _per_block(masses * excess, members)
    if parts.size < MIN_BLOCKS:
        return Estimate(value=value, ci_low=None, ci_high=None, note=_too_few(parts.size))
    size = tail_effective_size(array, masses, level=level)
    if size < MIN_TAIL_SIZE:
        return Estimate(
            value=value,
            ci_low=None,
            ci_high=None,
            note=f"no interval: the tail weighs as much as {size:.3g} equal paths, "
            f"at least {MIN_TAIL_SIZE:.0f} are needed",
        )
    low, high = skewness_corrected(value, parts, parts.size, _widened(confidence, parts.size))
    if low is None:
        return Estimate(value=value, ci_low=None, ci_high=None, note="no interval: all blocks agree exactly")
    return Estimate(value=value, ci_low=low, ci_high=high, note=_note(confidence, parts.size))


def tail_effective_size(losses: npt.ArrayLike, weights: npt.ArrayLike, *, level: float) -> float:
    """Return how many equally weighted tail paths would know the tail as well: Kish's size, of the tail only.

    Notes
    -----
    Kish's size of all paths says nothing here: a good sampler gives the body few paths of large weight.
    """
    array, masses = one_sample(losses), np.asarray(weights, dtype=np.float64)
    quantile = float(value_at_risk(array, level=level, weights=masses))
    tail = masses[array > quantile]
    # The path at the quantile counts with the part of its mass beyond the level, as in the shortfall.
    part = max(1.0 - level - float(tail.sum()), 0.0)
    return (float(tail.sum()) + part) ** 2 / (float((tail**2).sum()) + part**2)


def _checked(
    losses: npt.ArrayLike, weights: npt.ArrayLike, blocks: npt.ArrayLike
) -> tuple[FloatArray, FloatArray, IntArray]:
    array = one_sample(losses)
    masses = np.asarray(weights, dtype=np.float64)
    members = np.asarray(blocks, dtype=np.int64)
    if masses.shape != array.shape or members.shape != array.shape:
        raise ValueError(
            f"losses, weights and blocks need one shape, had {array.shape}, {masses.shape}, {members.shape}"
        )
    if not np.isfinite(masses).all():
        raise NumericalError("path weights are not all finite")
    if members.min() < 0 or (np.bincount(members) == 0).any():
        raise ValueError("blocks must be numbered from 0 without gaps")
    return array, masses, members


def _per_block(terms: FloatArray, members: IntArray) -> FloatArray:
    """Sum of each block times their number: repeated, independent estimates."""
    sums = np.bincount(members, weights=terms)
    return np.asarray(sums * sums.size)


def _widened(confidence: float, n_blocks: int) -> float:
    """Coverage at which the normal quantile equals Student's for the variance of so many blocks."""
    quantile = float(special.stdtrit(n_blocks - 1, 0.5 * (1.0 + confidence)))
    return 2.0 * float(special.ndtr(quantile)) - 1.0


def _note(confidence: float, n_blocks: int) -> str:
    return f"{confidence:.3g} from sectioning over {n_blocks} independent blocks; sampling error only"


def _too_few(n_blocks: int) -> str:
    return f"no interval: {n_blocks} independent blocks, at least {MIN_BLOCKS} are needed"
