"""How far a method lies from the exact expected loss and from plain paths, in standard errors."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TypeAlias

import numpy as np
import numpy.typing as npt

from acceleray.numerics.intervals import Estimate
from acceleray.risk.loss_estimates import LossEstimates, WeightedEstimates

__all__ = ["MIN_BEYOND", "mean_distance", "tail_distance"]

FloatArray: TypeAlias = npt.NDArray[np.float64]

# Paths beyond a loss that it takes to say anything.
MIN_BEYOND = 10
# Sums of the same losses in another order are not a larger loss.
SLACK = 1e-12
# Share by which rules and lattices may miss an expected loss; counts as a standard error.
MEAN_ROUNDING = 1e-3


def mean_distance(estimates: LossEstimates, exact: float) -> float:
    """Return the standard errors between the mean of a method and the exact one.

    Parameters
    ----------
    estimates : LossEstimates
        What a method knows.
    exact : float
        The exact expected loss; a thousandth of it counts as a standard error too.
    """
    found = estimates.expected_loss()
    if isinstance(estimates, WeightedEstimates) and found.ci_low is None:
        # A sample too small to know its own error.
        return 0.0
    error = math.hypot(_error(found), MEAN_ROUNDING * exact)
    return abs(found.value - exact) / error if error > 0.0 else 0.0


def tail_distance(estimates: LossEstimates, losses: FloatArray, levels: Sequence[float]) -> float | None:
    """Return the largest distance of a method's tails from those of plain paths, in standard errors of both.

    Parameters
    ----------
    estimates : LossEstimates
        What a method knows.
    losses : ndarray of shape (n_paths,)
        Losses of plain paths.
    levels : sequence of float
        Where to compare. A level that fewer than `MIN_BEYOND` paths should exceed is replaced by the
        last loss that so many do.

    Returns
    -------
    float or None
        Of the probability beyond a loss and of the mean excess over it. None where there are too few paths.
    """
    n = losses.size
    if n <= 2 * MIN_BEYOND:
        return None
    last = float(np.sort(losses)[-MIN_BEYOND - 1])
    found: list[float] = []
    for level in sorted(set(levels)):
        # Inside a step of a discrete law the share of paths beyond jumps; the step itself is compared.
        loss = estimates.var(level).value if n * (1.0 - level) >= MIN_BEYOND else last
        probability = estimates.exceedance(loss)
        found.append(_share_distance(int(np.count_nonzero(losses > loss * (1.0 + SLACK))), n, probability))
        at = 1.0 - probability.value
        if not 0.0 < at < 1.0:
            continue
        base, beyond = estimates.var(at), estimates.es(at)
        tail = 1.0 - at
        excess = (beyond.value - base.value) * tail
        paths = np.maximum(losses - base.value, 0.0)
        # Few paths may all lie close to the loss: at least the scatter of an exponential excess of this mean.
        scatter = max(float(paths.var()), 2.0 * excess**2 / tail - excess**2)
        error = math.hypot(math.sqrt(scatter / n), _error(beyond) * tail)
        found.append(abs(float(paths.mean()) - excess) / error if error > 0.0 else 0.0)
    return max(found, default=None)


def _share_distance(hits: int, n: int, probability: Estimate) -> float:
    """Return the standard errors between a count of paths and a probability.

    The arcsine scale is Anscombe's: in it the scatter hardly depends on the probability, so that ten paths
    speak against one of zero, too.
    """
    offset, room = 0.375, n + 0.75
    seen = math.asin(math.sqrt((hits + offset) / room))
    share = (n * min(max(probability.value, 0.0), 1.0) + offset) / room
    error = _error(probability) / (2.0 * math.sqrt(share * (1.0 - share)))
    return abs(seen - math.asin(math.sqrt(share))) / math.hypot(1.0 / math.sqrt(4.0 * n + 2.0), error)


def _error(found: Estimate) -> float:
    if found.ci_low is None or found.ci_high is None:
        return 0.0
    return 0.25 * (found.ci_high - found.ci_low)
