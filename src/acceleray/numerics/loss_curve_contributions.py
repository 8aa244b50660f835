"""Who makes the tail: what obligors and segments add to VaR and to ES, on the lines of the loss curve."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import numpy.typing as npt
from scipy import special

from acceleray.errors import NumericalError
from acceleray.numerics.conditional_cumulants import ORDER
from acceleray.numerics.credit_model import LossModel
from acceleray.numerics.loss_curve import PreparedBook
from acceleray.numerics.loss_curve_derivatives import add_part, contribution_lines, part_lines, tail_factors
from acceleray.numerics.loss_curve_types import Groups, Obligors, Tables
from acceleray.numerics.loss_groups import list_obligors

__all__ = ["MAX_CONTRIBUTION_POINTS", "ContributionSums", "contribution_shares", "contributions_block"]

FloatArray = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]

# Finer than the curve's: one obligor of a million has a millionth of a tail probability.
CONTRIBUTION_PLACES = 50
MAX_CONTRIBUTION_POINTS = 2 ** (62 - CONTRIBUTION_PLACES)
# Numbers held at a time for the cumulants of the segments.
_HELD = 1 << 22


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class ContributionSums:
    """Sums over lines in units of ``2**-50``: integers, the same in any order.

    Parameters
    ----------
    at : ndarray of int64, shape (n_losses, n_chosen)
        Sum of ``E[X_k; L = loss]``, a density.
    beyond : ndarray of int64, shape (n_losses, n_chosen)
        Sum of ``E[X_k; L > loss]``, as a share of the largest possible loss.
    segments_at, segments_beyond : ndarray of int64, shape (n_losses, n_segments)
        The same of all that each segment loses.
    n_points : int
        Lines in the sums.
    """

    at: IntArray
    beyond: IntArray
    segments_at: IntArray
    segments_beyond: IntArray
    n_points: int

    def __add__(self, other: ContributionSums) -> ContributionSums:
        """Add the sums of other lines."""
        if self.n_points + other.n_points > MAX_CONTRIBUTION_POINTS:
            raise NumericalError(f"contributions hold at most {MAX_CONTRIBUTION_POINTS} points")
        return ContributionSums(
            at=self.at + other.at,
            beyond=self.beyond + other.beyond,
            segments_at=self.segments_at + other.segments_at,
            segments_beyond=self.segments_beyond + other.segments_beyond,
            n_points=self.n_points + other.n_points,
        )


def contributions_block(
    model: LossModel,
    book: PreparedBook,
    points: FloatArray,
    losses: npt.ArrayLike,
    *,
    chosen: IntArray | None = None,
) -> ContributionSums:
    """Add up what obligors and segments lose where the book loses certain amounts, and where it loses more.

    Parameters
    ----------
    model : LossModel
        The book.
    book : PreparedBook
        From `prepare`, of the same model.
    points : ndarray of shape (n_points, n_dims)
        Uniform points inside the unit cube; the curve's own give sums that fit it best.
    losses : array_like of shape (n_losses,)
        VaR at the levels in question.
    chosen : ndarray of int64, optional
        Obligors that are wanted one by one, increasing; all without it. Segments cost next to nothing.

    Returns
    -------
    ContributionSums

    Raises
    ------
    NumericalError
        If the points have the wrong shape or are too many, or a loss is not positive.
    """
    n_dims = book.lines.across.shape[1]
    amounts = np.atleast_1d(np.asarray(losses, dtype=np.float64))
    if points.ndim != 2 or points.shape[1] != n_dims or points.shape[0] > MAX_CONTRIBUTION_POINTS:
        raise NumericalError(
            f"points must have shape (n_points, {n_dims}), at most {MAX_CONTRIBUTION_POINTS} of them, "
            f"was {points.shape}"
        )
    if not ((points > 0.0) & (points < 1.0)).all():
        raise NumericalError("every point must lie inside the unit cube")
    if not (amounts > 0.0).all():
        raise NumericalError(f"losses must be positive, were {amounts}")
    scores = np.ascontiguousarray(special.ndtri(points))
    obligors = _only(list_obligors(model), chosen)
    parts = [_part(book.groups, book.tables, *bounds) for bounds in _bounds(model, book.groups)]
    at, beyond = np.zeros((2, amounts.size, obligors.sizes.size), dtype=np.int64)
    segments_at, segments_beyond = np.zeros((2, amounts.size, model.n_segments), dtype=np.int64)
    n_nodes = book.lines.nodes.size
    step = max(_HELD // (n_nodes * ORDER * model.n_segments), 1)
    places = 2.0**CONTRIBUTION_PLACES
    for first in range(0, scores.shape[0], step):
        some = scores[first : first + step]
        cumulants = np.zeros((model.n_segments, some.shape[0], n_nodes, ORDER))
        whole = np.zeros(cumulants.shape[1:])
        for (groups, tables), own in zip(parts, cumulants, strict=True):
            part_lines(groups, tables, book.lines, some, own)
            whole += own
        factors = np.zeros((some.shape[0], amounts.size, 5, n_nodes))
        tail_factors(whole, book.lines, amounts, factors)
        for number, own in enumerate(cumulants):
            add_part(own, factors, book.unit, places, number, segments_at, segments_beyond)
        contribution_lines(book.groups, book.lines, some, factors, book.unit, obligors, places, at, beyond)
    return ContributionSums(
        at=at,
        beyond=beyond,
        segments_at=segments_at,
        segments_beyond=segments_beyond,
        n_points=points.shape[0],
    )


def contribution_shares(sums: ContributionSums) -> tuple[FloatArray, FloatArray]:
    """Return each obligor's share of VaR and of ES where all were chosen; both add to one for each loss.

    ``E[X_k | L = VaR]`` adds to VaR and ``E[X_k | L > VaR]`` to ES. The sums meet that up to the error of the
    conditional laws, which shares take out; multiply by the measure.

    Raises
    ------
    NumericalError
        If the book does not reach a loss.
    """
    totals = sums.at.sum(axis=1), sums.beyond.sum(axis=1)
    if not ((totals[0] > 0).all() and (totals[1] > 0).all()):
        raise NumericalError("no line reaches the loss whose contributions were asked for")
    return sums.at / totals[0][:, None], sums.beyond / totals[1][:, None]


def _bounds(model: LossModel, groups: Groups) -> list[tuple[int, int]]:
    """First group of each segment and the one after its last; groups are in the order of their cells."""
    ends = np.searchsorted(groups.cell, model.segments)
    return [(int(first), int(stop)) for first, stop in pairwise(ends)]


def _part(groups: Groups, tables: Tables, first: int, stop: int) -> tuple[Groups, Tables]:
    """Return some groups as a book of their own; they are views."""
    own = groups._replace(
        cell=groups.cell[first:stop],
        law=groups.law[first:stop],
        starts=groups.starts[first : stop + 1],
        residual=groups.residual[first:stop],
        score_scale=groups.score_scale[first:stop],
    )
    rows = tables.rows[first : stop + 1]
    return own, tables._replace(
        first=tables.first[first:stop],
        step=tables.step[first:stop],
        stride=tables.stride[first:stop],
        rows=rows,
        n_direct=int(np.count_nonzero(np.diff(rows) == 0)),
    )


def _only(obligors: Obligors, chosen: IntArray | None) -> Obligors:
    if chosen is None:
        return obligors
    return obligors._replace(
        cells=np.searchsorted(chosen, obligors.cells),
        law=obligors.law[chosen],
        places=obligors.places[chosen],
        sizes=obligors.sizes[chosen],
    )
