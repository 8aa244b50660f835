"""Which books the loss curve's expansion suits, by its own next terms."""

from __future__ import annotations

import dataclasses
import math

import numpy as np
import numpy.typing as npt

from acceleray.numerics.credit_model import LossModel
from acceleray.numerics.loss_curve import Aim, pilot_curve

__all__ = ["expansion_error", "lattice_step", "step_error", "suits"]

FloatArray = npt.NDArray[np.float64]

# Largest change of a tail probability by the fifth and sixth cumulants that passes. The seventh, which is
# neglected, changes it by less; a change of 2e-3 moves VaR by some 5e-4.
MOST_CHANGE = 2e-3
# Largest error of reading a lattice law off a smooth curve, as a share of the exceedance probability.
MOST_ROUNDING = 5e-3
# Sizes closer to a multiple of the step than this share of it lie on the lattice.
LATTICE_SLACK = 1e-6


def suits(model: LossModel, aim: Aim) -> str | None:
    """Say why another method should find this book's loss curve, or None where this one does.

    Parameters
    ----------
    model : LossModel
        The book.
    aim : Aim
        From `aim`; the answer is about losses from its `tail_loss` on.

    Returns
    -------
    str or None
        The reason, with its measure.

    Notes
    -----
    Two things can go wrong. Few large names: the conditional law is then no small perturbation of a normal
    law, and the curve with four cumulants differs from that with six (`expansion_error`). A lattice: where
    all losses are multiples of one step, the true curve is a staircase around this smooth one, which meets it
    half-way up each stair; a step times the hazard ``-d log P / dx`` is the height of a stair.
    """
    error = expansion_error(model, aim)
    # Here and below written so that NaN fails too.
    if not error <= MOST_CHANGE:
        return (
            f"few names make the tail: the fifth and sixth cumulants move a tail probability by {error:.2g}"
        )
    step = lattice_step(model)
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
