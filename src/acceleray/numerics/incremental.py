"""What a book's tail measure would be less without one of its members, with a paired interval."""

from __future__ import annotations

from typing import Literal

import numpy as np
import numpy.typing as npt
from scipy import special

from acceleray.numerics.intervals import (
    MIN_TAIL_PATHS,
    Estimate,
    one_sample,
    shortfall_terms,
    skewness_corrected,
)
from acceleray.numerics.order_statistics import expected_shortfall, paths_beyond, value_at_risk
from acceleray.numerics.sectioning import sectioned_std_error

__all__ = ["contiguous_sections", "incremental_expected_shortfall", "incremental_value_at_risk"]

FloatArray = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]

# Enough to know a standard error to a fifth of itself, few enough to leave each section a tail.
_SECTIONS = 12
_FEWEST_SECTIONS = 5

_COVERS = "sampling error only"


def contiguous_sections(n_paths: int, *, level: float, length_at_least: int = 1) -> list[IntArray]:
    """Cut paths into sections of one length that each have a tail; the last few paths may be in none.

    Parameters
    ----------
    n_paths : int
        Number of paths, in order.
    level : float
        Fraction; a section needs four paths beyond it.
    length_at_least : int
        Shortest useful section.

    Returns
    -------
    list of ndarray of int64
        Twelve sections, or as many as there can be; empty if that is fewer than five.
    """
    beyond = paths_beyond(n_paths, level)
    count = min(_SECTIONS, int(beyond / MIN_TAIL_PATHS), n_paths // length_at_least)
    if count < _FEWEST_SECTIONS:
        return []
    length = n_paths // count
    return [np.arange(first * length, (first + 1) * length) for first in range(count)]


def incremental_value_at_risk(
    with_member: npt.ArrayLike,
    without_member: npt.ArrayLike,
    *,
    level: float,
    confidence: float,
    sections: list[IntArray],
) -> Estimate:
    """Estimate by how much the value at risk falls when a member is removed.

    Parameters
    ----------
    with_member, without_member : array_like of shape (n_paths,)
        Loss of the book, and of the book without the member, on the same paths.
    level, confidence : float
        Fractions.
    sections : list of ndarray of int64
        Paths of each independent section, of equal length: `contiguous_sections`, or the randomisations of
        a Sobol set. Empty where there are none.

    Returns
    -------
    Estimate
        Positive where the member adds risk. The interval comes from the scatter of the sections, so that
        what both books have in common cancels; see `acceleray.numerics.sectioning`.
    """
    return _sectioned(with_member, without_member, "VaR", level, confidence, sections)


def incremental_expected_shortfall(
    with_member: npt.ArrayLike,
    without_member: npt.ArrayLike,
    *,
    level: float,
    confidence: float,
    sections: list[IntArray] | None,
) -> Estimate:
    """Estimate by how much the expected shortfall falls when a member is removed.

    Parameters
    ----------
    with_member, without_member, level, confidence
        As for `incremental_value_at_risk`.
    sections : list of ndarray of int64 or None
        As there; None for independent paths, which need no sections.

    Returns
    -------
    Estimate

    Notes
    -----
    On independent paths the difference of the two shortfalls is, to first order, the mean of the differences
    of ``(loss - VaR)+ / (1 - level)`` path by path; its interval is that of such a mean, corrected for
    skewness.
    """
    if sections is not None:
        return _sectioned(with_member, without_member, "ES", level, confidence, sections)
    first, second = _pair(with_member, without_member)
    value = float(expected_shortfall(first, level=level) - expected_shortfall(second, level=level))
    beyond = paths_beyond(first.size, level)
    if beyond < MIN_TAIL_PATHS:
        note = f"no interval: only {beyond:.3g} of {first.size} paths lie beyond the level"
        return Estimate(value=value, ci_low=None, ci_high=None, note=note)
    terms = shortfall_terms(first, level) - shortfall_terms(second, level)
    low, high = skewness_corrected(value, terms, first.size, confidence)
    if low is None:
        note = "no interval: the tails are the same but for a constant"
        return Estimate(value=value, ci_low=None, ci_high=None, note=note)
    note = f"{confidence:.3g} skewness-corrected, paired over {first.size} independent paths; {_COVERS}"
    return Estimate(value=value, ci_low=low, ci_high=high, note=note)


def _sectioned(
    with_member: npt.ArrayLike,
    without_member: npt.ArrayLike,
    measure: Literal["VaR", "ES"],
    level: float,
    confidence: float,
    sections: list[IntArray],
) -> Estimate:
    pair = np.stack(_pair(with_member, without_member), axis=1)

    def statistic(paths: FloatArray) -> float:
        of = value_at_risk if measure == "VaR" else expected_shortfall
        first, second = of(np.ascontiguousarray(paths.T), level=level)
        return float(first - second)

    value = statistic(pair)
    if len(sections) < 2:
        note = "no interval: too few independent paths for sections that each have a tail"
        return Estimate(value=value, ci_low=None, ci_high=None, note=note)
    _, std_error = sectioned_std_error([pair[each] for each in sections], statistic)
    if not std_error:
        note = f"no interval: all {len(sections)} sections agree"
        return Estimate(value=value, ci_low=None, ci_high=None, note=note)
    half = float(special.stdtrit(len(sections) - 1, 0.5 * (1.0 + confidence))) * std_error
    note = f"{confidence:.3g} paired over {len(sections)} sections of {sections[0].size} paths; {_COVERS}"
    return Estimate(value=value, ci_low=value - half, ci_high=value + half, note=note)


def _pair(with_member: npt.ArrayLike, without_member: npt.ArrayLike) -> tuple[FloatArray, FloatArray]:
    first, second = one_sample(with_member), one_sample(without_member)
    if first.shape != second.shape:
        raise ValueError(f"both books need the same paths, had {first.size} and {second.size}")
    return first, second
