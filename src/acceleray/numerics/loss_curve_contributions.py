"""Who makes the tail: each obligor's share of VaR and of ES, on the lines of the loss curve."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy import special

from acceleray.errors import NumericalError
from acceleray.numerics.credit_model import LossModel
from acceleray.numerics.loss_curve import PreparedBook
from acceleray.numerics.loss_curve_derivatives import contribution_lines
from acceleray.numerics.loss_groups import list_obligors

__all__ = ["ContributionSums", "contribution_shares", "contributions_block"]

FloatArray = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]

# Finer than the curve's: one obligor of a million has a millionth of a tail probability.
CONTRIBUTION_PLACES = 50
MAX_CONTRIBUTION_POINTS = 2 ** (62 - CONTRIBUTION_PLACES)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class ContributionSums:
    """Sums over lines in units of ``2**-50``: integers, the same in any order.

    Parameters
    ----------
    at : ndarray of int64, shape (n_obligors,)
        Sum of ``E[X_k; L = loss]``, a density.
    beyond : ndarray of int64, shape (n_obligors,)
        Sum of ``E[X_k; L > loss]``, as a share of the largest possible loss.
    n_points : int
        Lines in the sums.
    """

    at: IntArray
    beyond: IntArray
    n_points: int

    def __add__(self, other: ContributionSums) -> ContributionSums:
        """Add the sums of other lines."""
        if self.n_points + other.n_points > MAX_CONTRIBUTION_POINTS:
            raise NumericalError(f"contributions hold at most {MAX_CONTRIBUTION_POINTS} points")
        return ContributionSums(
            at=self.at + other.at, beyond=self.beyond + other.beyond, n_points=self.n_points + other.n_points
        )


def contributions_block(
    model: LossModel, book: PreparedBook, points: FloatArray, loss: float
) -> ContributionSums:
    """Add up what each obligor loses where the book loses `loss`, and where it loses more.

    Parameters
    ----------
    model : LossModel
        The book.
    book : PreparedBook
        From `prepare`, of the same model.
    points : ndarray of shape (n_points, n_dims)
        Uniform points inside the unit cube; the curve's own give sums that fit it best.
    loss : float
        VaR at the level in question.

    Returns
    -------
    ContributionSums

    Raises
    ------
    NumericalError
        If the points have the wrong shape or are too many, or `loss` is not positive.
    """
    n_dims = book.lines.across.shape[1]
    if points.ndim != 2 or points.shape[1] != n_dims or points.shape[0] > MAX_CONTRIBUTION_POINTS:
        raise NumericalError(
            f"points must have shape (n_points, {n_dims}), at most {MAX_CONTRIBUTION_POINTS} of them, "
            f"was {points.shape}"
        )
    if not ((points > 0.0) & (points < 1.0)).all():
        raise NumericalError("every point must lie inside the unit cube")
    if not loss > 0.0:
        raise NumericalError(f"loss must be positive, was {loss}")
    at, beyond = np.zeros(model.n_obligors, dtype=np.int64), np.zeros(model.n_obligors, dtype=np.int64)
    contribution_lines(
        book.groups,
        book.tables,
        book.lines,
        np.ascontiguousarray(special.ndtri(points)),
        float(loss),
        book.unit,
        list_obligors(model),
        2.0**CONTRIBUTION_PLACES,
        at,
        beyond,
    )
    return ContributionSums(at=at, beyond=beyond, n_points=points.shape[0])


def contribution_shares(sums: ContributionSums) -> tuple[FloatArray, FloatArray]:
    """Return each obligor's share of VaR and of ES; both add to one.

    ``E[X_k | L = VaR]`` adds to VaR and ``E[X_k | L > VaR]`` to ES. The sums meet that up to the error of the
    conditional laws, which shares take out; multiply by the measure.

    Raises
    ------
    NumericalError
        If the book does not reach the loss.
    """
    totals = float(sums.at.sum()), float(sums.beyond.sum())
    if not (totals[0] > 0.0 and totals[1] > 0.0):
        raise NumericalError("no line reaches the loss whose contributions were asked for")
    return sums.at / totals[0], sums.beyond / totals[1]
