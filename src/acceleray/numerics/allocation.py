"""Where to draw: strata and allocation of a stratified sample, from what a pilot says about the loss given Q.

In a thin stratum the loss is close to normal around a line in Q. From line and spread follow, for every
stratum one might cut, how uncertain the tail indicator and the excess over the quantile still are inside it,
and draws go where probability times uncertainty is large (Neyman).
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import numpy.typing as npt
import scipy

from acceleray.errors import NumericalError
from acceleray.numerics.delta_gamma import DeltaGamma, tail_probability
from acceleray.numerics.order_statistics import value_at_risk

__all__ = [
    "PILOT_BODY",
    "Design",
    "LossGivenQ",
    "QuadraticLaw",
    "design",
    "fit_losses",
    "pilot_ratio",
    "pilot_shares",
    "quadratic_law",
]

FloatArray = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]

# Share of a pilot that is drawn as plain sampling would, to meet losses that have nothing to do with Q.
PILOT_BODY = 0.75
_CELLS_PER_KNOT = 6
# Smallest tail probability that the table of Q's law reaches, as a share of the smallest one asked for.
_BEYOND = 1e-3
_INDICATOR, _EXCESS = 0.75, 0.25
# Share of the paths spread evenly over the orders of magnitude of Q's tail, so that a figure at a level
# between or beyond the ones aimed at never hangs on a few heavy paths.
_EVEN_SHARE = 0.1


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class QuadraticLaw:
    """Table of Q's upper tail, for planning.

    Parameters
    ----------
    loss : ndarray of shape (n,)
        Increasing.
    log_tail : ndarray of shape (n,)
        Strictly decreasing logs of ``P(Q > loss)``.
    """

    loss: FloatArray
    log_tail: FloatArray

    def quantile(self, tail: npt.ArrayLike) -> FloatArray:
        """Loss that Q exceeds with the given probabilities, by interpolation."""
        return np.asarray(np.interp(-np.log(np.asarray(tail)), -self.log_tail, self.loss))

    def tail(self, loss: npt.ArrayLike) -> FloatArray:
        """Probability that Q exceeds a loss, by interpolation; one below the table, zero above it."""
        inside = np.exp(np.interp(np.asarray(loss), self.loss, self.log_tail))
        return np.where(
            np.asarray(loss) < self.loss[0], 1.0, np.where(np.asarray(loss) > self.loss[-1], 0.0, inside)
        )


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class LossGivenQ:
    """What a pilot says about the loss given Q.

    Parameters
    ----------
    edges : ndarray of shape (n_strata + 1,)
        Of the pilot's strata.
    probability : ndarray of shape (n_strata,)
        Of the pilot's strata.
    intercept, slope, centre, deviation : ndarray of shape (n_strata,)
        In stratum k the loss is ``intercept + slope (Q - centre)`` with a spread of ``deviation`` around it.
    exceeding, reaching : ndarray of shape (n_levels, n_strata)
        Share of the stratum's losses above the quantile of each level, and of those not below it.
    quantiles, quantile_errors : ndarray of shape (n_levels,)
        The pilot's values at risk and their standard errors.
    """

    edges: FloatArray
    probability: FloatArray
    intercept: FloatArray
    slope: FloatArray
    centre: FloatArray
    deviation: FloatArray
    exceeding: FloatArray
    reaching: FloatArray
    quantiles: FloatArray
    quantile_errors: FloatArray


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Design:
    """Strata to cut and what share of the paths each gets.

    Parameters
    ----------
    inner_edges : ndarray of shape (n_strata - 1,)
        Increasing.
    shares : ndarray of shape (n_strata,)
        Sum to one; not below the defensive share of the stratum's probability.
    ratios : tuple of float
        Predicted variance of plain sampling over that of this design, for the tail indicator of every level.
    cells, running : ndarray of shape (n_cells + 1,)
        Grid of Q and the share of the paths below it.
    """

    inner_edges: FloatArray
    shares: FloatArray
    ratios: tuple[float, ...]
    cells: FloatArray
    running: FloatArray


def quadratic_law(model: DeltaGamma, *, smallest_tail: float) -> QuadraticLaw:
    """Tabulate the upper tail of Q from its upper two thirds to far beyond the smallest tail of interest.

    Parameters
    ----------
    model : DeltaGamma
        The quadratic loss.
    smallest_tail : float
        Smallest probability that will be asked for.

    Returns
    -------
    QuadraticLaw

    Raises
    ------
    NumericalError
        If the law cannot be computed there.
    """
    far = 15.0 if model.dof is None else 3000.0
    grid = np.concatenate(
        [np.linspace(-0.75, 4.0, 39), np.geomspace(4.2, far, 12 if model.dof is None else 40)]
    )
    loss = model.mean + model.deviation * grid
    tail, error = tail_probability(model, loss)
    good = (error < 1e-6 * tail) & (tail < 0.999) & (tail > _BEYOND * smallest_tail)
    loss, tail = loss[good], tail[good]
    falling = np.concatenate([[True], np.diff(np.minimum.accumulate(tail)) < 0.0]) if tail.size else good[:0]
    loss, tail = loss[falling], tail[falling]
    if tail.size < 8 or tail[0] < 0.3 or tail[-1] > smallest_tail:
        raise NumericalError("delta-gamma: the law of the quadratic loss could not be computed")
    return QuadraticLaw(loss=loss, log_tail=np.log(tail))


def pilot_shares(probability: FloatArray) -> FloatArray:
    """Share a pilot out: most as plain sampling would, to see the body, the rest evenly over the strata."""
    return np.asarray(PILOT_BODY * probability + (1.0 - PILOT_BODY) / probability.size)


def fit_losses(
    losses: FloatArray,
    quadratic: FloatArray,
    counts: IntArray,
    edges: FloatArray,
    probability: FloatArray,
    levels: tuple[float, ...],
) -> LossGivenQ:
    """Fit a line and a spread to the pilot's losses in each stratum.

    Parameters
    ----------
    losses, quadratic : ndarray of shape (n_paths,)
        Full revaluation and Q of the pilot's paths, stratum after stratum.
    counts : ndarray of int64, shape (n_strata,)
        Paths of each stratum, at least 4.
    edges, probability : ndarray
        Of the strata.
    levels : tuple of float
        Levels aimed at.

    Returns
    -------
    LossGivenQ
    """
    members = np.repeat(np.arange(counts.size), counts)
    weights = (probability / counts)[members]
    weights /= weights.sum()
    quantiles = np.array([float(value_at_risk(losses, level=level, weights=weights)) for level in levels])
    fits = np.empty((4, counts.size))
    for k in range(counts.size):
        x, y = quadratic[members == k], losses[members == k]
        centre, intercept = x.mean(), y.mean()
        varied = float(((x - centre) ** 2).sum())
        slope = float(((x - centre) * (y - intercept)).sum()) / varied if varied > 0.0 else 0.0
        rest = y - intercept - slope * (x - centre)
        fits[:, k] = intercept, slope, centre, np.sqrt((rest**2).sum() / max(x.size - 2, 1))
    exceeding = np.array([np.bincount(members, weights=losses > x) / counts for x in quantiles])
    reaching = np.array([np.bincount(members, weights=losses >= x) / counts for x in quantiles])
    # A stratum that holds the quantile of a loss without noise shows no variance when it is cut right there.
    variance = np.maximum(
        exceeding * (1.0 - exceeding), 0.25 * (np.diff(exceeding, axis=1, append=1.0) > 0.5)
    )
    tail_errors = np.sqrt((probability**2 * variance / counts).sum(axis=1))
    quantile_errors = np.empty(len(levels))
    for i, (level, unsure) in enumerate(zip(levels, tail_errors, strict=True)):
        ends = [min(max(level + side * unsure, 1e-12), 1.0 - 0.1 * (1.0 - level)) for side in (-1.0, 1.0)]
        low, high = (float(value_at_risk(losses, level=end, weights=weights)) for end in ends)
        quantile_errors[i] = 0.5 * (high - low)
    return LossGivenQ(
        edges=edges,
        probability=probability,
        intercept=fits[0],
        slope=fits[1],
        centre=fits[2],
        deviation=fits[3],
        exceeding=exceeding,
        reaching=reaching,
        quantiles=quantiles,
        quantile_errors=quantile_errors,
    )


def design(
    law: QuadraticLaw,
    fitted: LossGivenQ,
    levels: tuple[float, ...],
    *,
    n_strata: int,
    defensive_share: float,
) -> Design:
    """Cut strata that get equal numbers of paths, and predict what they will give.

    Parameters
    ----------
    law : QuadraticLaw
        Of Q.
    fitted : LossGivenQ
        From the pilot.
    levels : tuple of float
        Levels aimed at; each counts for as much of its own smallest variance.
    n_strata : int
        Strata wanted; fewer if some would coincide.
    defensive_share : float
        Share of the paths that follows the probabilities.

    Returns
    -------
    Design
    """
    cells, mass = _cells(law, fitted)
    middle = 0.5 * (cells[1:] + cells[:-1])
    mean, spread = _loss_at(fitted, middle)
    exceeding, sizes = [], []
    for x, unsure in zip(fitted.quantiles, fitted.quantile_errors, strict=True):
        # The pilot's quantile is not the true one: look as wide around it as it may be wrong.
        around = np.sqrt(spread**2 + unsure**2)
        u = (mean - x) / around
        above, density = scipy.special.ndtr(u), np.exp(-0.5 * u**2) / np.sqrt(2.0 * np.pi)
        exceeding.append(above)
        first = around * (u * above + density)
        second = around**2 * ((u**2 + 1.0) * above + u * density)
        # Inside a cell the line itself moves the excess: a twelfth of its squared rise.
        rise = above * _rise(fitted, cells) ** 2 / 12.0
        sizes.append((_INDICATOR, above * scipy.special.ndtr(-u)))
        sizes.append((_EXCESS, np.maximum(second - first**2, 0.0) + rise))
    need = np.zeros(mass.size)
    for importance, variance in sizes:
        best = float((mass * np.sqrt(variance)).sum()) ** 2
        if best > 0.0:
            need += importance * variance / best
    wanted = mass * np.sqrt(need)
    total = float(wanted.sum())
    aimed = wanted / total if total > 0.0 else mass
    even = _even(law, cells)
    rest = (1.0 - defensive_share) * _EVEN_SHARE
    shares = (1.0 - defensive_share - rest) * aimed + rest * even + defensive_share * mass
    running = np.concatenate([[0.0], np.cumsum(shares)])
    cuts = np.interp(np.arange(1, n_strata) / n_strata, running / running[-1], cells)
    # The outermost cells hold all that lies beyond them and are not cut.
    cuts = np.unique(np.clip(cuts, cells[1], cells[-2]))
    gap = 1e-9 * (cells[-1] - cells[0])
    cuts = cuts[np.concatenate([[True], np.diff(cuts) > gap])]
    inner = np.concatenate([[cells[0]], cuts, [cells[-1]]])
    masses = np.diff(np.interp(inner, cells, np.concatenate([[0.0], np.cumsum(mass)])))
    final = np.diff(np.interp(inner, cells, running))
    ratios = []
    for level, above in zip(levels, exceeding, strict=True):
        hit = np.diff(np.interp(inner, cells, np.concatenate([[0.0], np.cumsum(mass * above)])))
        # What a cell leaves open stays open in the finest stratum.
        inner_variance = np.diff(
            np.interp(inner, cells, np.concatenate([[0.0], np.cumsum(mass * above * (1.0 - above))]))
        )
        share = np.clip(hit / masses, 0.0, 1.0)
        variance = np.maximum(share * (1.0 - share), inner_variance / masses)
        ratios.append(level * (1.0 - level) / max(float((masses**2 * variance / final).sum()), 1e-300))
    return Design(
        inner_edges=cuts,
        shares=final / final.sum(),
        ratios=tuple(ratios),
        cells=cells,
        running=running / running[-1],
    )


def pilot_ratio(fitted: LossGivenQ, counts: IntArray, found: Design) -> tuple[float, ...]:
    """Variance ratios that the design would have with the pilot's own strata and frequencies.

    Notes
    -----
    No law is assumed inside a stratum, so this sees what the normal fit cannot, such as a digital loss; it is
    blind to what the pilot did not meet. With wider strata it is smaller than the design's own prediction.
    """
    at = np.interp(fitted.edges[1:-1], found.cells, found.running)
    shares = np.maximum(np.diff(np.concatenate([[0.0], at, [1.0]])), 1e-12)
    result = []
    for above, reaching in zip(fitted.exceeding, fitted.reaching, strict=True):
        ratios = []
        # Losses that tie at the quantile may be all above it or all not: both events have to gain.
        for frequency in (above, reaching):
            probability = float((fitted.probability * frequency).sum())
            # The divisor n - 1 makes the binomial variance unbiased.
            variance = frequency * (1.0 - frequency) * counts / np.maximum(counts - 1, 1)
            total = float((fitted.probability**2 * variance / shares).sum())
            if total > 0.0:
                ratios.append(probability * (1.0 - probability) / total)
        result.append(min(ratios, default=np.inf))
    return tuple(result)


def _cells(law: QuadraticLaw, fitted: LossGivenQ) -> tuple[FloatArray, FloatArray]:
    """Fine grid over the table and the probability of each cell, the outermost with all that lies beyond."""
    inner = fitted.edges[1:-1]
    knots = np.unique(np.concatenate([law.loss, np.clip(inner, law.loss[0], law.loss[-1])]))
    cells = np.unique(
        np.concatenate([np.linspace(a, b, _CELLS_PER_KNOT, endpoint=False) for a, b in pairwise(knots)])
    )
    cells = np.append(cells, knots[-1])
    tail = law.tail(cells)
    tail[0], tail[-1] = 1.0, 0.0
    return cells, np.maximum(-np.diff(tail), 0.0)


def _even(law: QuadraticLaw, cells: FloatArray) -> FloatArray:
    """Shares of the cells if every factor of the tail probability, from one half outwards, gets the same."""
    depth = np.interp(cells, law.loss, -law.log_tail)
    steps = np.diff(np.maximum(depth, np.log(2.0)))
    return np.asarray(steps / steps.sum())


def _loss_at(fitted: LossGivenQ, quadratic: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Mean and spread of the loss at values of Q, blended between the centres of the pilot's strata."""
    mean = np.interp(quadratic, fitted.centre, fitted.intercept)
    for end, outside in ((0, quadratic < fitted.centre[0]), (-1, quadratic > fitted.centre[-1])):
        line = fitted.intercept[end] + fitted.slope[end] * (quadratic - fitted.centre[end])
        mean = np.where(outside, line, mean)
    variance = np.interp(quadratic, fitted.centre, fitted.deviation**2)
    # A loss that is a function of Q still needs a scale to compare with.
    floor = 1e-6 * (np.ptp(fitted.intercept) + np.abs(fitted.intercept).max()) + 1e-300
    return mean, np.sqrt(variance + floor**2)


def _rise(fitted: LossGivenQ, cells: FloatArray) -> FloatArray:
    middle = _loss_at(fitted, cells)[0]
    return np.asarray(np.diff(middle))
