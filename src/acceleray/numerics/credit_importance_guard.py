"""Whether to believe a sample drawn by importance sampling, or to draw plain paths instead.

Kish's effective size of all paths says nothing here: it is low wherever importance sampling works. What
counts is the effective size of the tail, the variance of what is estimated in it, and plain paths, which
know nothing of the aim.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
import numpy.typing as npt

from acceleray.numerics.credit_importance_draw import CYCLE
from acceleray.numerics.credit_importance_estimates import (
    checked_sample,
    cycle_residuals,
    path_masses,
    tail_size,
)
from acceleray.numerics.intervals import one_sample
from acceleray.numerics.order_statistics import value_at_risk
from acceleray.numerics.weighted import MIN_TAIL_SIZE

__all__ = ["MIN_RATIO", "Diagnosis", "diagnose", "guard"]

FloatArray: TypeAlias = npt.NDArray[np.float64]

# Below this ratio of variances plain paths would have been nearly as good, and simpler.
MIN_RATIO = 0.9
# Standard errors by which plain paths and weighted ones may differ, and plain paths beyond a loss that it
# takes to say so.
MAX_DISTANCE = 4.0
MIN_PLAIN_BEYOND = 10


@dataclass(frozen=True, slots=True, kw_only=True)
class Diagnosis:
    """How well a weighted sample knows one level.

    Parameters
    ----------
    level : float
        Fraction.
    threshold : float
        Value at risk of the weighted sample, in currency.
    tail_paths : float
        Equally weighted paths beyond the level that would know the tail as well.
    probability_ratio, shortfall_ratio : float
        Variance per path of plain sampling over that of this sample: of the probability beyond `threshold`,
        and of the mean excess over it. NaN where no weighted path lies beyond.
    distance : float
        Standard errors between the probabilities beyond the last common loss of weighted and plain paths;
        NaN without enough plain paths.
    """

    level: float
    threshold: float
    tail_paths: float
    probability_ratio: float
    shortfall_ratio: float
    distance: float


def diagnose(
    losses: npt.ArrayLike,
    weights: npt.ArrayLike,
    *,
    level: float,
    plain_losses: npt.ArrayLike,
) -> Diagnosis:
    """Measure how well a weighted sample knows a level, and whether plain paths agree.

    Parameters
    ----------
    losses, weights : array_like of shape (n_paths,)
        Loss and likelihood ratio of every path, whole cycles.
    level : float
        Fraction.
    plain_losses : array_like of shape (n_pilot,)
        Losses of independent plain paths of the same model.

    Returns
    -------
    Diagnosis

    Raises
    ------
    NumericalError
        If a loss or weight is not finite.

    Notes
    -----
    A sample that misses a way in which the book loses does not show it in its own scatter. Plain paths do,
    where they reach: they are compared at the threshold, or where it is too far out for them, at the loss
    that `MIN_PLAIN_BEYOND` of them exceed.
    """
    array, ratios = checked_sample(losses, weights)
    plain = one_sample(plain_losses)
    masses = path_masses(ratios)
    threshold = float(value_at_risk(array, level=level, weights=masses))

    def ratio(terms: FloatArray) -> float:
        mean = float(masses @ terms)
        plain_variance = float(masses @ terms**2) - mean * mean
        variance = float(cycle_residuals(terms, ratios).var(ddof=1)) * CYCLE
        return plain_variance / variance if variance > 0.0 else math.nan

    distance = math.nan
    if plain.size > 10 * MIN_PLAIN_BEYOND:
        last = np.sort(plain)[-MIN_PLAIN_BEYOND - 1]
        compared = np.where(array > min(threshold, float(last)), 1.0, 0.0)
        share = float(masses @ compared)
        seen = float(np.mean(plain > min(threshold, float(last))))
        variance = float(cycle_residuals(compared, ratios).var(ddof=1)) * CYCLE / array.size
        # The larger share: a sample that missed it all would otherwise say that nothing can be seen.
        likely = max(share, seen)
        variance += likely * (1.0 - likely) / plain.size
        distance = abs(seen - share) / math.sqrt(variance) if variance > 0.0 else 0.0
    return Diagnosis(
        level=level,
        threshold=threshold,
        tail_paths=tail_size(array, masses, threshold, level),
        probability_ratio=ratio(np.where(array > threshold, 1.0, 0.0)),
        shortfall_ratio=ratio(np.maximum(array - threshold, 0.0)),
        distance=distance,
    )


def guard(
    losses: npt.ArrayLike,
    weights: npt.ArrayLike,
    *,
    levels: tuple[float, ...],
    plain_losses: npt.ArrayLike,
) -> str | None:
    """Return why plain paths should be drawn instead, or None.

    Parameters
    ----------
    losses, weights, plain_losses
        As for `diagnose`; a pilot of some thousand paths of each is enough, or the run itself.
    levels : tuple of float
        Levels to be reported.

    Returns
    -------
    str or None
        The first reason found: a tail of too few effective paths, a variance that plain paths would reach
        or nearly so, or a distribution that plain paths contradict. Kish's size of all paths is no reason:
        it is low wherever importance sampling works.

    Raises
    ------
    NumericalError
        If a loss or weight is not finite.
    """
    for level in levels:
        found = diagnose(losses, weights, level=level, plain_losses=plain_losses)
        if found.tail_paths < MIN_TAIL_SIZE:
            return (
                f"the tail beyond {level:g} weighs as much as {found.tail_paths:.6g} equal paths, "
                f"at least {MIN_TAIL_SIZE:.0f} are needed"
            )
        worst = min(found.probability_ratio, found.shortfall_ratio)
        if math.isnan(worst):
            return f"no path loses more than {found.threshold:.6g}, the loss at {level:g}"
        if worst < MIN_RATIO:
            return (
                f"plain paths would know the tail beyond {level:g} with {worst:.6g} times the variance, "
                f"less than {MIN_RATIO:g}"
            )
        if found.distance > MAX_DISTANCE:
            return (
                f"plain paths contradict the distribution towards {level:g} by {found.distance:.3g} "
                "standard errors"
            )
    return None
