"""Who makes the tail of the whole book: shares of segments and obligors in VaR and ES, with their errors."""

from __future__ import annotations

import functools
import math
import operator
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

from acceleray.errors import NumericalError
from acceleray.numerics.credit_model import LossModel
from acceleray.numerics.loss_curve_contributions import (
    MAX_CONTRIBUTION_POINTS,
    ContributionSums,
)
from acceleray.risk.credit_blocks import Portfolio, contribution_points

__all__ = ["MAX_CHOSEN", "LineLayout", "Shares", "TailShares", "exact_shares", "line_shares", "spread_rest"]

FloatArray: TypeAlias = npt.NDArray[np.float64]
IntArray: TypeAlias = npt.NDArray[np.int64]
FanOut: TypeAlias = Callable[[Any, Sequence[Any], Sequence[tuple[Any, ...]], str], list[Any]]

# Obligors times lines that visit every obligor, and those of the lines that visit the cells and the largest
# obligors alone: less than a second, and some seconds, of one core for all levels together.
SHARES_BUDGET = 2e6
LINE_BUDGET = 1.5e7
# Obligors that these visit, and parts of the lines that find them.
MAX_CHOSEN = 200
_PARTS = 4
# Lines of a scramble at least.
_FEWEST_LINES = 2


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Shares:
    """Parts of one measure of the whole book, as shares of it.

    Parameters
    ----------
    obligors, obligor_errors : ndarray of shape (n_obligors,)
        Share of each obligor, and its standard error: zero where nothing is sampled, NaN where not known.
    segments, segment_errors : ndarray of shape (n_segments,)
        The same of the segments; each is the sum of its obligors.
    """

    obligors: FloatArray
    obligor_errors: FloatArray
    segments: FloatArray
    segment_errors: FloatArray


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class TailShares:
    """Who makes the tail of the whole book, at one level.

    Parameters
    ----------
    value_at_risk, shortfall : Shares
        Of VaR and of ES; both add up to one, or are all zero where the measure is.
    method : str
        What they come from.
    note : str
        How they were found, in words.
    n_paths : int or None
        Paths or lines in them; None where nothing is sampled.
    freedom : float
        Degrees of freedom of the errors; infinite where a normal law does.
    """

    value_at_risk: Shares
    shortfall: Shares
    method: str
    note: str
    n_paths: int | None
    freedom: float = math.inf


@dataclass(frozen=True, slots=True, kw_only=True)
class LineLayout:
    """Lines of a loss curve: block ``b`` of `size` lines belongs to scramble ``b % scrambles``.

    Parameters
    ----------
    size, blocks : int
        Lines of a block, a power of two, and blocks.
    scrambles : int
        Independent repetitions.
    cost : float
        What a line costs, in obligors.
    """

    size: int
    blocks: int
    scrambles: int
    cost: float


def line_shares(
    fan_out: FanOut,
    shared: Sequence[Any],
    portfolio: Portfolio,
    number: int,
    model: LossModel,
    layout: LineLayout,
    losses: Mapping[float, float],
) -> dict[float, TailShares]:
    """Split the tail along the lines of the loss curve.

    Parameters
    ----------
    fan_out : callable
        Runs a function on many arguments, in this process or as Ray tasks.
    shared : sequence
        First arguments of `contribution_points`.
    portfolio : Portfolio
        The whole book under a scenario.
    number : int
        Its place among the prepared books.
    model : LossModel
        Its model.
    layout : LineLayout
        The lines of its curve.
    losses : mapping of float to float
        VaR by level.

    Returns
    -------
    dict of float to TailShares

    Raises
    ------
    NumericalError
        If no line reaches a loss.

    Notes
    -----
    Lines that visit every obligor are dear in large books. There, a few of them tell which obligors matter
    and how all others share what is left of their segment; many more lines then visit the cells, whose
    cumulants are tabulated, and the obligors that matter, whose errors they show. What is reported is the
    share in all lines together; its error is the jackknife over the scrambles.
    """
    amounts = tuple(losses.values())
    parts = min(layout.blocks, layout.scrambles)

    def added(blocks: int, n_lines: int, chosen: IntArray | None) -> list[ContributionSums]:
        calls = [(number, portfolio, block, layout.size, n_lines, amounts, chosen) for block in range(blocks)]
        return fan_out(contribution_points, shared, calls, "block of contributions")

    most = max(min(layout.size, MAX_CONTRIBUTION_POINTS // parts), 1)
    chosen: IntArray | None = None
    pilot: ContributionSums | None = None
    n_lines = _power_of_two(min(LINE_BUDGET / (layout.cost * parts), most))
    # A single line is the whole integral, and has to visit everybody anyway.
    sampled = parts > 1 and model.n_obligors > MAX_CHOSEN
    if sampled and model.n_obligors * n_lines * parts > SHARES_BUDGET:
        few = min(parts, _PARTS)
        each = _power_of_two(min(SHARES_BUDGET / (model.n_obligors * few), most))
        pilot = functools.reduce(operator.add, added(few, each, None))
        chosen = _largest(pilot)
    if parts > 1:
        n_lines = max(n_lines, min(_FEWEST_LINES, most))
    found = added(parts, n_lines, chosen)
    if any(total <= 0 for total in (*_totals(found, "at"), *_totals(found, "beyond"))):
        raise NumericalError("no line reaches the loss whose contributions were asked for")
    starts = model.cells[model.segments[:-1]]
    n_paths = parts * n_lines if parts > 1 else None
    note = "integrated, no sampling"
    if parts > 1:
        note = f"share along {n_paths} lines; jackknife over {parts} scrambles"
    return {
        level: TailShares(
            value_at_risk=_pooled(found, pilot, chosen, starts, place, "at"),
            shortfall=_pooled(found, pilot, chosen, starts, place, "beyond"),
            method="conditional",
            note=note,
            n_paths=n_paths,
            freedom=float(parts - 1) if parts > 1 else math.inf,
        )
        for place, level in enumerate(losses)
    }


def exact_shares(
    model: LossModel, amounts: tuple[FloatArray, FloatArray], levels: Sequence[float]
) -> dict[float, TailShares]:
    """Name what the exact law says: amounts at VaR and in ES, shape (n_levels, n_obligors)."""
    starts = model.cells[model.segments[:-1]]

    def shares(values: FloatArray) -> Shares:
        total = math.fsum(values)
        share = values / total if total > 0.0 else np.zeros(values.size)
        segments = np.add.reduceat(share, starts)
        return Shares(
            obligors=share,
            obligor_errors=np.zeros(share.size),
            segments=segments,
            segment_errors=np.zeros(segments.size),
        )

    return {
        level: TailShares(
            value_at_risk=shares(at),
            shortfall=shares(beyond),
            method="exact",
            note="exact, no sampling",
            n_paths=None,
        )
        for level, at, beyond in zip(levels, *amounts, strict=True)
    }


def _power_of_two(number: float) -> int:
    return 1 << (max(int(number), 1).bit_length() - 1)


def _totals(found: Sequence[ContributionSums], which: str) -> list[int]:
    """Sum over all segments and parts, for each loss."""
    sums = np.sum([getattr(each, f"segments_{which}") for each in found], axis=0)
    return [int(total) for total in sums.sum(axis=1)]


def _largest(pilot: ContributionSums) -> IntArray:
    """Obligors with the largest shares of any measure at any level, increasing."""
    shares = [
        row / total if (total := float(row.sum())) > 0.0 else row.astype(np.float64)
        for row in (*pilot.at, *pilot.beyond)
    ]
    # The order of the book decides between equal shares.
    kept = np.argsort(-np.max(shares, axis=0), kind="stable")[:MAX_CHOSEN]
    return np.asarray(np.sort(kept), dtype=np.int64)


def _pooled(
    found: Sequence[ContributionSums],
    pilot: ContributionSums | None,
    chosen: IntArray | None,
    starts: IntArray,
    place: int,
    which: str,
) -> Shares:
    """Shares of all parts together, with jackknife errors where there are several."""
    obligors = np.array([getattr(each, which)[place] for each in found], dtype=np.float64)
    segments = np.array([getattr(each, f"segments_{which}")[place] for each in found], dtype=np.float64)
    totals = segments.sum(axis=1)
    share, errors = _jackknife(obligors, totals)
    by_segment, segment_errors = _jackknife(segments, totals)
    if chosen is None or pilot is None:
        # Tables and obligors agree up to the interpolation; the obligors add up to their segment.
        own = np.add.reduceat(share, starts)
        scale = np.divide(by_segment, own, out=np.zeros_like(own), where=own > 0.0)
        share = share * np.repeat(scale, np.diff(np.append(starts, share.size)))
    else:
        share, errors = spread_rest(share, errors, by_segment, getattr(pilot, which)[place], chosen, starts)
    return Shares(obligors=share, obligor_errors=errors, segments=by_segment, segment_errors=segment_errors)


def spread_rest(
    share: FloatArray,
    errors: FloatArray,
    by_segment: FloatArray,
    pilot: npt.NDArray[np.number[Any]],
    chosen: IntArray,
    starts: IntArray,
) -> tuple[FloatArray, FloatArray]:
    """Share what the chosen obligors leave of a segment as the pilot says."""
    weights = np.array(pilot, dtype=np.float64)
    weights[chosen] = 0.0
    every, all_errors = np.zeros(weights.size), np.full(weights.size, np.nan)
    every[chosen], all_errors[chosen] = share, errors
    counts = np.diff(np.append(starts, weights.size))
    rest = by_segment - np.add.reduceat(every, starts)
    told = np.add.reduceat(weights, starts)
    # Where the pilot saw nothing of the others, all obligors of the segment are alike to it.
    others = np.ones(weights.size)
    others[chosen] = 0.0
    unseen = np.repeat(told <= 0.0, counts)
    weights = np.where(unseen, others, weights)
    told = np.add.reduceat(weights, starts)
    scale = np.divide(rest, told, out=np.zeros_like(rest), where=told > 0.0)
    return every + weights * np.repeat(scale, counts), all_errors


def _jackknife(parts: FloatArray, totals: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Ratio of sums over the parts, and its error from leaving each part out."""
    count = totals.size
    whole, total = parts.sum(axis=0), float(totals.sum())
    if count == 1:
        return whole / total, np.zeros(whole.size)
    without = totals.sum() - totals
    if not (without > 0.0).all():
        # A single part has all the tail: nothing tells how much the next would have.
        return whole / total, np.full(whole.size, np.nan)
    mean, squares = np.zeros(whole.size), np.zeros(whole.size)
    for part, left in zip(parts, without, strict=True):
        mean += (whole - part) / left
    mean /= count
    for part, left in zip(parts, without, strict=True):
        squares += ((whole - part) / left - mean) ** 2
    return whole / total, np.sqrt(squares * ((count - 1) / count))
