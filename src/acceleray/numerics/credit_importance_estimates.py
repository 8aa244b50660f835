"""Measures of losses drawn by importance sampling, their errors, and whether to believe them.

The paths of `credit_importance.draw_importance` come in cycles that repeat the whole experiment
independently, so that every figure is a mean over cycles, and their scatter its error. The weights are one
on average: what they miss of it in the sample is a control variate, taken out of every figure by regression.
In other words, a cycle's weights are scaled so that all weights add up to one exactly, and the scatter is
that of the residuals.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
import numpy.typing as npt
from scipy.special import ndtri

from acceleray.errors import NumericalError
from acceleray.numerics.credit_importance import CYCLE
from acceleray.numerics.intervals import Estimate, check_confidence, one_sample, skewness_corrected
from acceleray.numerics.order_statistics import expected_shortfall, value_at_risk
from acceleray.numerics.weighted import MIN_TAIL_SIZE

__all__ = [
    "ImportanceEstimate",
    "checked_sample",
    "cycle_residuals",
    "importance_exceedance",
    "importance_expected_loss",
    "importance_expected_shortfall",
    "importance_value_at_risk",
    "path_masses",
    "tail_size",
]

FloatArray: TypeAlias = npt.NDArray[np.float64]

# Cycles without which the scatter over them is known too badly.
MIN_CYCLES = 30


@dataclass(frozen=True, slots=True, kw_only=True)
class ImportanceEstimate(Estimate):
    """An estimate with its standard error.

    Parameters
    ----------
    std_error : float or None
        In the unit of `value`; of a value at risk, a quarter of the width of its 95 % interval, made
        whatever the confidence. None where there is none.
    """

    std_error: float | None


def path_masses(weights: npt.ArrayLike) -> FloatArray:
    """Return probabilities that add up to one from likelihood ratios that do so on average.

    Parameters
    ----------
    weights : array_like of shape (n_paths,)
        Whole cycles of `credit_importance.draw_importance`, of one block or of several.

    Returns
    -------
    ndarray of shape (n_paths,)
        Not negative. With them any weighted mean is the regression estimate whose control is the weights'
        own sum; they fit `order_statistics` and `weighted`.

    Raises
    ------
    NumericalError
        If a weight is not finite or negative, or all are zero.
    ValueError
        If there is no whole number of cycles.
    """
    array = np.asarray(weights, dtype=np.float64)
    if not (np.isfinite(array).all() and (array >= 0.0).all()):
        raise NumericalError("path weights must be finite and not negative")
    control = _cycle_means(array) - 1.0
    offset = float(control.mean())
    spread = control - offset
    squares = float(spread @ spread)
    scale = np.ones(control.size)
    if squares > 0.0:
        scale -= control.size * offset * spread / squares
    # Negative for a few cycles only where the sample is hopelessly small.
    masses = array * np.repeat(np.maximum(scale, 0.0), CYCLE)
    total = float(masses.sum())
    if total <= 0.0:
        raise NumericalError("path weights were all zero")
    return np.asarray(masses / total)


def importance_exceedance(
    losses: npt.ArrayLike, weights: npt.ArrayLike, *, threshold: float, confidence: float
) -> ImportanceEstimate:
    """Estimate the probability of a loss above a threshold.

    Parameters
    ----------
    losses, weights : array_like of shape (n_paths,)
        Loss and likelihood ratio of every path, whole cycles.
    threshold : float
        Loss, in the currency of `losses`.
    confidence : float
        Two-sided coverage as a fraction.

    Returns
    -------
    ImportanceEstimate
        A probability; the bounds stay inside [0, 1].

    Raises
    ------
    NumericalError
        If a loss or weight is not finite.
    """
    array, ratios = checked_sample(losses, weights)
    found = _mean(np.where(array > threshold, 1.0, 0.0), ratios, confidence)
    if found.ci_low is None or found.ci_high is None:
        return found
    return ImportanceEstimate(
        value=min(max(found.value, 0.0), 1.0),
        std_error=found.std_error,
        ci_low=max(found.ci_low, 0.0),
        ci_high=min(found.ci_high, 1.0),
        note=found.note,
    )


def importance_expected_loss(
    losses: npt.ArrayLike, weights: npt.ArrayLike, *, confidence: float
) -> ImportanceEstimate:
    """Estimate the expected loss; parameters and errors are those of `importance_exceedance`."""
    array, ratios = checked_sample(losses, weights)
    return _mean(array, ratios, confidence)


def importance_value_at_risk(
    losses: npt.ArrayLike, weights: npt.ArrayLike, *, level: float, confidence: float
) -> ImportanceEstimate:
    """Estimate the value at risk.

    Parameters
    ----------
    losses, weights : array_like of shape (n_paths,)
        Loss and likelihood ratio of every path, whole cycles.
    level, confidence : float
        Fractions.

    Returns
    -------
    ImportanceEstimate
        Value and bounds are losses of the sample; a bound that the sample does not reach is absent.

    Raises
    ------
    NumericalError
        If a loss or weight is not finite.

    Notes
    -----
    The interval inverts a test: its bounds are the quantiles at the ends of the interval of the probability
    beyond the estimate. No density is estimated.
    """
    array, ratios = checked_sample(losses, weights)
    check_confidence(confidence)
    masses = path_masses(ratios)
    value = float(value_at_risk(array, level=level, weights=masses))
    low, high = _quantile_bounds(array, ratios, masses, value, level, confidence)
    low_95, high_95 = (
        (low, high) if confidence == 0.95 else _quantile_bounds(array, ratios, masses, value, level, 0.95)
    )
    std_error = None if low_95 is None or high_95 is None else (high_95 - low_95) / (2.0 * ndtri(0.975))
    missing = [side for side, bound in (("lower", low), ("upper", high)) if bound is None]
    note = _note(confidence, ratios)
    if missing:
        note = f"no {' and '.join(missing)} bound: the sample does not reach beyond the level; {note}"
    return ImportanceEstimate(value=value, std_error=std_error, ci_low=low, ci_high=high, note=note)


def importance_expected_shortfall(
    losses: npt.ArrayLike, weights: npt.ArrayLike, *, level: float, confidence: float
) -> ImportanceEstimate:
    """Estimate the expected shortfall.

    Parameters
    ----------
    losses, weights : array_like of shape (n_paths,)
        Loss and likelihood ratio of every path, whole cycles.
    level, confidence : float
        Fractions.

    Returns
    -------
    ImportanceEstimate
        Without bounds if fewer than four effective paths lie beyond the level.

    Raises
    ------
    NumericalError
        If a loss or weight is not finite.

    Notes
    -----
    To first order the error of the quantile cancels: the shortfall behaves as the mean of
    ``VaR + (loss - VaR)+ / (1 - level)``.
    """
    array, ratios = checked_sample(losses, weights)
    check_confidence(confidence)
    masses = path_masses(ratios)
    value = float(expected_shortfall(array, level=level, weights=masses))
    quantile = float(value_at_risk(array, level=level, weights=masses))
    size = tail_size(array, masses, quantile, level)
    if size < MIN_TAIL_SIZE:
        note = (
            f"no interval: the tail weighs as much as {size:.3g} equal paths, at least {MIN_TAIL_SIZE:.0f} "
            "are needed"
        )
        return ImportanceEstimate(value=value, std_error=None, ci_low=None, ci_high=None, note=note)
    excess = np.maximum(array - quantile, 0.0) / (1.0 - level)
    return _around(value, cycle_residuals(excess, ratios), ratios, confidence)


def checked_sample(losses: npt.ArrayLike, weights: npt.ArrayLike) -> tuple[FloatArray, FloatArray]:
    """Return losses and weights as arrays, or say what is wrong with them."""
    array, ratios = one_sample(losses), np.asarray(weights, dtype=np.float64)
    if ratios.shape != array.shape:
        raise ValueError(f"losses and weights need one shape, had {array.shape} and {ratios.shape}")
    if not np.isfinite(ratios).all():
        raise NumericalError("path weights are not all finite")
    return array, ratios


def tail_size(losses: FloatArray, masses: FloatArray, quantile: float, level: float) -> float:
    """Return Kish's size of the tail; the paths at the quantile share the mass that completes it.

    Unlike `weighted.tail_effective_size` this knows ties: lumpy books have many paths at their quantile.
    """
    tail, tied = masses[losses > quantile], masses[losses == quantile]
    mass = float(tied.sum())
    part = max(1.0 - level - float(tail.sum()), 0.0) / mass if mass > 0.0 else 0.0
    squares = float((tail**2).sum()) + part**2 * float((tied**2).sum())
    return (float(tail.sum()) + part * mass) ** 2 / squares


def _cycle_means(terms: FloatArray) -> FloatArray:
    if terms.ndim != 1 or terms.size == 0 or terms.size % CYCLE:
        raise ValueError(f"weighted paths come in cycles of {CYCLE}, had shape {terms.shape}")
    return np.asarray(terms.reshape(-1, CYCLE).mean(axis=1))


def cycle_residuals(terms: FloatArray, weights: FloatArray) -> FloatArray:
    """Return the weighted mean of every cycle, less what the sum of the weights explains."""
    means = _cycle_means(terms * weights)
    control = _cycle_means(weights) - 1.0
    spread = control - control.mean()
    squares = float(spread @ spread)
    if squares > 0.0:
        means = means - float(means @ spread) / squares * control
    return np.asarray(means)


def _mean(terms: FloatArray, weights: FloatArray, confidence: float) -> ImportanceEstimate:
    check_confidence(confidence)
    return _around(float(path_masses(weights) @ terms), cycle_residuals(terms, weights), weights, confidence)


def _around(
    value: float, residuals: FloatArray, weights: FloatArray, confidence: float
) -> ImportanceEstimate:
    n = residuals.size
    if n < MIN_CYCLES:
        note = f"no interval: {n} cycles of {CYCLE} paths, at least {MIN_CYCLES} are needed"
        return ImportanceEstimate(value=value, std_error=None, ci_low=None, ci_high=None, note=note)
    low, high = skewness_corrected(value, residuals, n, confidence)
    if low is None:
        note = "no interval: all paths agree exactly"
        return ImportanceEstimate(value=value, std_error=None, ci_low=None, ci_high=None, note=note)
    return ImportanceEstimate(
        value=value,
        std_error=float(residuals.std(ddof=1)) / math.sqrt(n),
        ci_low=low,
        ci_high=high,
        note=_note(confidence, weights),
    )


def _quantile_bounds(
    losses: FloatArray,
    weights: FloatArray,
    masses: FloatArray,
    value: float,
    level: float,
    confidence: float,
) -> tuple[float | None, float | None]:
    # Half of a tie at the quantile is counted as beyond it, so that a lattice of losses does not bias
    # the test.
    beyond = np.where(losses > value, 1.0, 0.0) + np.where(losses == value, 0.5, 0.0)
    residuals = cycle_residuals(beyond, weights)
    if residuals.size < MIN_CYCLES:
        return None, None
    low_tail, high_tail = skewness_corrected(1.0 - level, residuals, residuals.size, confidence)
    if low_tail is None or high_tail is None:
        return None, None
    low = None if high_tail >= 1.0 else float(value_at_risk(losses, level=1.0 - high_tail, weights=masses))
    # The largest loss stands for a mass of its own; inside it the sample says nothing.
    reach = float(masses[int(losses.argmax())])
    high = None if low_tail <= reach else float(value_at_risk(losses, level=1.0 - low_tail, weights=masses))
    return (None if low is None else min(low, value)), (None if high is None else max(high, value))


def _note(confidence: float, weights: FloatArray) -> str:
    return (
        f"{confidence:.3g} skewness-corrected, {weights.size // CYCLE} cycles of {CYCLE} weighted paths; "
        "sampling error only"
    )
