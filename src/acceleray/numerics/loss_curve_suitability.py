"""Which books the loss curve's expansion suits, by its own next terms."""

from __future__ import annotations

import dataclasses
import math
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from acceleray.numerics.credit_model import LossModel
from acceleray.numerics.loss_curve import Aim, pilot_curve, pilot_lines, turned

# Workers choose and draw; reading a curve needs an interpolation library that only the driver loads.
if TYPE_CHECKING:
    from acceleray.numerics.loss_curve_estimates import LossCurve

__all__ = [
    "Suitability",
    "curve_conflict",
    "expansion_error",
    "lattice_step",
    "line_scatter",
    "share_elsewhere",
    "step_error",
    "suits",
]

FloatArray = npt.NDArray[np.float64]

# Largest change of a tail probability by the fifth and sixth cumulants that passes. The seventh, which is
# neglected, changes it by less; a change of 2e-3 moves VaR by some 5e-4.
MOST_CHANGE = 2e-3
# Largest error of reading a lattice law off a smooth curve, as a share of the exceedance probability.
MOST_ROUNDING = 5e-3
# Standard deviation of what single lines say, as a share of their mean: Kish's size of the lines is then
# 0.3 of their number, and their scrambles know their error. At 2.5 intervals of 95 % hold 91 %, at 17 40 %.
MOST_SCATTER = 1.5
# Share of the tail that typical lines of another direction may see: the lines at hand meet it by luck.
MOST_ELSEWHERE = 1e-2
# Lines of each other direction, how far it must lead away from the main one, and directions of each kind.
ELSEWHERE_LINES, AWAY, MOST_DIRECTIONS = 16, 0.2, 16
# Standard errors by which the curve's mean may miss the exact one, and the share that its rule may.
MEAN_ERRORS, MEAN_ROUNDING = 4.5, 2e-3
# Share by which excess and exceedance of a curve may contradict each other.
MOST_GAP = 1e-2
# Sizes closer to a multiple of the step than this share of it lie on the lattice.
LATTICE_SLACK = 1e-6


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Suitability:
    """What is known about reading a book's losses off a smooth curve.

    Parameters
    ----------
    reason : str or None
        Why another method should find the loss curve, with its measure; None where this one does.
    change : float
        Share by which the last cumulants change a tail probability; what is neglected changes it by less.
    step : float
        Step of which all losses are multiples, in currency; zero where there is none.
    """

    reason: str | None
    change: float = 0.0
    step: float = 0.0


def suits(model: LossModel, aim: Aim) -> Suitability:
    """Say whether another method should find this book's loss curve, and how well it can be read.

    Parameters
    ----------
    model : LossModel
        The book.
    aim : Aim
        From `aim`; the answer is about losses from its `tail_loss` on.

    Returns
    -------
    Suitability

    Notes
    -----
    Three things can go wrong. Few large names: the conditional law is then no small perturbation of a normal
    law, and the curve with four cumulants differs from that with six (`expansion_error`). A lattice: where
    all losses are multiples of one step, the true curve is a staircase around this smooth one, which meets it
    half-way up each stair; a step times the hazard ``-d log P / dx`` is the height of a stair. Several ways
    to lose as much: lines that run along one of them meet the others by luck, and do not know what they have
    missed (`line_scatter`, `share_elsewhere`).
    """
    change = expansion_error(model, aim)
    step = lattice_step(model)
    return Suitability(reason=_objection(model, aim, change, step), change=change, step=step)


def _objection(model: LossModel, aim: Aim, error: float, step: float) -> str | None:
    # Here and below written so that NaN fails too.
    if not error <= MOST_CHANGE:
        return (
            f"few names make the tail: the fifth and sixth cumulants move a tail probability by {error:.2g}"
        )
    scatter = line_scatter(model, aim)
    if not scatter <= MOST_SCATTER:
        return (
            f"the tail has several directions: lines along one differ by {scatter:.2g} times what they say "
            f"on average, at most {MOST_SCATTER:g} is taken"
        )
    elsewhere = share_elsewhere(model, aim)
    if not elsewhere <= MOST_ELSEWHERE:
        return (
            f"the tail has several directions: lines along another one see {elsewhere:.2g} of what those "
            f"along the main one do, at most {MOST_ELSEWHERE:g} is taken"
        )
    if step > 0.0:
        losses = aim.tail_loss * np.array([1.0, 1.02])
        above = pilot_curve(model, dataclasses.replace(aim, losses=losses), order=6)
        if not above[0] >= above[1] > 0.0:
            return f"its tail probability runs from {above[0]:.3g} to {above[1]:.3g} within two hundredths"
        hazard = float(np.log(above[0] / above[1]) / (losses[1] - losses[0]))
        change = 0.5 * step * hazard
        if not change <= MOST_ROUNDING:
            return f"losses are multiples of {step:.6g}, which moves a tail probability by {change:.2g}"
    return None


def curve_conflict(curve: LossCurve, levels: tuple[float, ...], expected_loss: float) -> str | None:
    """Say what in a finished curve contradicts itself or the exact expected loss; None if nothing does.

    Parameters
    ----------
    curve : LossCurve
        Of all scrambles.
    levels : tuple of float
        Levels that are wanted, as fractions.
    expected_loss : float
        The exact one, in currency.

    Raises
    ------
    NumericalError
        If the curve does not reach a level.
    """
    for level in levels:
        at = min(int(np.searchsorted(curve.losses, curve.var(level).value)), curve.losses.size - 1)
        scatter = float(curve.scatter[:, at].max())
        # Here and below written so that NaN fails too.
        if not scatter <= MOST_SCATTER:
            return (
                f"the tail has several directions: beyond level {level:g} lines along one differ by "
                f"{scatter:.2g} times what they say on average, at most {MOST_SCATTER:g} is taken"
            )
    n = curve.means.size
    error = float(curve.means.std(ddof=1)) / math.sqrt(n) if n > 1 else 0.0
    mean = float(curve.means.mean())
    if not abs(mean - expected_loss) <= MEAN_ERRORS * error + MEAN_ROUNDING * expected_loss:
        return f"the lines' expected loss is {mean:.6g}, the exact one {expected_loss:.6g}"
    gap = _excess_gap(curve)
    if not gap <= MOST_GAP:
        return f"excess and exceedance of the curve differ by {gap:.2g} of the former"
    return None


def _excess_gap(curve: LossCurve) -> float:
    """Compare the fall of E[(L - x)^+] over the grid with the integral of P(L > x), as a share."""
    above = np.minimum.accumulate(np.maximum(curve.above.mean(axis=0), 1e-300))
    excess = curve.excess.mean(axis=0)
    # A power of the loss between two losses of the grid.
    logs = np.log(curve.losses * above)
    change = np.diff(logs)
    ratio = np.where(np.abs(change) > 1e-9, np.expm1(change) / np.where(change == 0.0, 1.0, change), 1.0)
    integral = float(np.sum(np.exp(logs[:-1]) * ratio * np.diff(np.log(curve.losses))))
    return abs(float(excess[0] - excess[-1]) / integral - 1.0)


def line_scatter(model: LossModel, aim: Aim) -> float:
    """Return the standard deviation from pilot line to pilot line at `tail_loss`, as a share of the mean.

    The larger one of the tail probability and of the mean excess; infinite where there is no tail.
    """
    seen = _seen(model, aim, 64)
    means = seen.mean(axis=1)
    if not (means > 0.0).all():
        return math.inf
    return float((seen.std(axis=1) / means).max())


def share_elsewhere(model: LossModel, aim: Aim) -> float:
    """Return the largest share of the tail at `tail_loss` that typical lines of another direction see.

    A typical line of another direction, the median of some, lies where the main direction is harmless: what
    it sees of the tail, the main lines meet only where they are far out in that direction, which a few
    thousand of them may never be. The directions are those of the factors, of the largest segments and of the
    largest cells, each without its part along the main one. The share is that of the tail probability or of
    the mean excess, whichever is larger.
    """
    if aim.n_dims == 0:
        return 0.0
    whole = _seen(model, aim, 64).mean(axis=1)
    if not (whole > 0.0).all():
        return math.inf
    shares = [
        float((np.median(_seen(model, turned(aim, each), ELSEWHERE_LINES), axis=1) / whole).max())
        for each in _directions(model, aim)
    ]
    return max(shares, default=0.0)


def _seen(model: LossModel, aim: Aim, n_lines: int) -> FloatArray:
    """Tail probability and mean excess at `tail_loss`, by line."""
    only = dataclasses.replace(aim, losses=np.array([aim.tail_loss]))
    above, excess = pilot_lines(model, only, n_points=n_lines)
    return np.stack([above[:, 0], excess[:, 0]])


def _directions(model: LossModel, aim: Aim) -> list[FloatArray]:
    """Return unit directions in which a part of the book suffers, perpendicular to the main one."""
    by_cell = np.add.reduceat(model.exposures * model.recoveries.mean[model.recovery], model.cells[:-1])
    pulls = -by_cell[:, None] * model.loadings
    n_scores = aim.direction.size
    raw: list[FloatArray] = []
    worse, better = np.maximum(pulls, 0.0).sum(axis=0), np.minimum(pulls, 0.0).sum(axis=0)
    axes = np.argsort(-(worse - better), kind="stable")[: 2 * MOST_DIRECTIONS]
    for axis in axes:
        for pull in (worse[axis], better[axis]):
            if pull != 0.0:
                raw.append(np.sign(pull) * np.eye(n_scores)[axis])
    for parts in (np.add.reduceat(pulls, model.segments[:-1]), pulls):
        largest = np.argsort(-(parts**2).sum(axis=1), kind="stable")[:MOST_DIRECTIONS]
        raw += [np.r_[parts[number], np.zeros(n_scores - model.n_factors)] for number in largest]
    found: list[FloatArray] = []
    for vector in raw:
        length = float(np.linalg.norm(vector))
        rest = vector - (vector @ aim.direction) * aim.direction
        away = float(np.linalg.norm(rest))
        if not away > AWAY * length:
            continue
        unit = rest / away
        if all(float(unit @ other) < 1.0 - AWAY**2 for other in found):
            found.append(unit)
    return found


def expansion_error(model: LossModel, aim: Aim) -> float:
    """Largest relative change of the tail probability by cumulants five and six, from `tail_loss` on.

    The grid's last losses, beyond a tenth of the tail probability, do not count. Infinite where the curve has
    no tail there.
    """
    tail = dataclasses.replace(aim, losses=aim.losses[aim.losses >= aim.tail_loss])
    if not tail.losses.size:
        return math.inf
    fourth, sixth = (pilot_curve(model, tail, order=order) for order in (4, 6))
    if not sixth[0] > 0.0:
        return math.inf
    counted = sixth >= 0.1 * sixth[0]
    return float(np.abs(fourth[counted] / sixth[counted] - 1.0).max())


def step_error(model: LossModel, aim: Aim) -> float:
    """Largest relative change of the tail probability when the nodes on the lines are twice as dense.

    With one factor this and `expansion_error` are all the error there is; with more, errors of single lines
    differ in sign, and this is that of a pilot's mean. Counted where `expansion_error` counts.
    """
    tail = dataclasses.replace(aim, losses=aim.losses[aim.losses >= aim.tail_loss])
    coarse, fine = (pilot_curve(model, tail, halvings=halvings) for halvings in (0, 1))
    counted = fine >= 0.1 * fine[0]
    return float(np.abs(coarse[counted] / fine[counted] - 1.0).max())


def lattice_step(model: LossModel) -> float:
    """Largest step of which every loss on default is a multiple; zero where there is none worth the name.

    Losses with a random loss given default have none, nor have more than a thousand steps in the largest one.
    """
    if (model.recoveries.std[np.unique(model.recovery)] > 0.0).any():
        return 0.0
    sizes = np.unique(model.exposures * model.recoveries.mean[model.recovery])
    sizes = sizes[sizes > 0.0]
    if sizes.size == 0:
        return 0.0
    step = float(sizes[0])
    least = 1e-3 * float(sizes[-1])
    for size in sizes:
        large, small = float(size), step
        # Euclid, with what rounding leaves of a multiple counted as nothing.
        while small > LATTICE_SLACK * float(sizes[-1]):
            rest = large % small
            large, small = small, 0.0 if small - rest < LATTICE_SLACK * small else rest
        step = large
        if step < least:
            return 0.0
    return step
