"""Tail measures of a law on a lattice, and losses that cannot be told apart from its value at risk.

A discrete law jumps: the value at risk moves by a whole step when a probability moves by a rounding error.
`near_ties` says when an estimate is that close, so that nobody reads a jump as news.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
import numpy.typing as npt
from scipy.special import ndtri

from acceleray.errors import NumericalError

__all__ = ["NearTies", "exceedances", "lattice_shortfall", "lattice_var", "near_ties", "near_ties_of_sample"]

FloatArray: TypeAlias = npt.NDArray[np.float64]

# A level such as 0.99 is off by at most half a unit in the last place; as in `order_statistics`.
_LEVEL_ERROR = 4.0 * np.finfo(np.float64).eps
# So many losses are listed one by one in a note.
_LISTED = 4


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class NearTies:
    """Which losses could be the value at risk.

    Parameters
    ----------
    value : float
        The value at risk of the given probabilities.
    candidates : ndarray
        Losses of positive probability that cannot be told apart from it, `value` among them, ascending.
    distance : float
        Least distance of a probability ``P(L <= x)`` from the level, in standard errors; infinite where those
        are zero and the distance is not.
    note : str
        What the output says; empty if only `value` qualifies.
    """

    value: float
    candidates: FloatArray
    distance: float
    note: str


def exceedances(probabilities: FloatArray) -> FloatArray:
    """Return ``P(L > k)`` for ``k = -1, 0, ..., n - 1``, added from the small end.

    Parameters
    ----------
    probabilities : ndarray of shape (n,)
        Of the losses 0, 1, ..., n - 1.
    """
    return np.append(np.cumsum(probabilities[::-1])[::-1], 0.0)


def lattice_var(beyond: FloatArray, tail: float) -> int:
    """Return the smallest ``k`` whose ``P(L > k)`` is at most `tail`.

    Parameters
    ----------
    beyond : ndarray
        From `exceedances`.
    tail : float
        One minus the level, not negative.
    """
    return int(np.argmax(beyond[1:] <= tail + _LEVEL_ERROR))


def lattice_shortfall(beyond: FloatArray, tail: float) -> float:
    """Return the average loss, in steps, in the worst `tail` share, above 0."""
    quantile = lattice_var(beyond, tail)
    # E[(L - k)+] is the sum of P(L > j) over j >= k; the smallest terms first.
    return quantile + float(beyond[1 + quantile :][::-1].sum()) / tail


def near_ties(
    losses: npt.ArrayLike,
    cumulative: npt.ArrayLike,
    *,
    level: float,
    standard_error: npt.ArrayLike,
    confidence: float = 0.95,
    errors: str = "standard errors",
) -> NearTies:
    """Say which neighbouring losses cannot be told apart from the value at risk.

    Parameters
    ----------
    losses : array_like of shape (n,)
        Losses of positive probability, strictly ascending.
    cumulative : array_like of shape (n,)
        Estimates of ``P(L <= x)``, not descending.
    level : float
        Confidence level as a fraction, ``0 < level < 1``.
    standard_error : array_like of shape (n,) or ()
        Of the cumulative probabilities, not negative; the numerical error of a computed law divided by the
        normal quantile serves too.
    confidence : float
        Two-sided, for each probability on its own.
    errors : str
        What the note calls the errors.

    Returns
    -------
    NearTies

    Raises
    ------
    NumericalError
        If an argument is not finite or out of order or range.

    Notes
    -----
    A loss is the value at risk if ``P(L < x) < level <= P(L <= x)``. It is a candidate if both inequalities
    hold after moving the probabilities by their errors in its favour.

    Examples
    --------
    >>> found = near_ties([0, 1, 2], [0.9, 0.9899, 1.0], level=0.99, standard_error=0.001)
    >>> found.value, found.candidates.tolist()
    (2.0, [1.0, 2.0])
    >>> found.note.replace("cannot be excluded", "...")
    'near-tie: VaR 0.99 is 2, but P(loss <= 1) = 0.9899 lies 0.1 standard errors from the level; 1 ...'
    """
    values = np.asarray(losses, dtype=np.float64)
    below = np.asarray(cumulative, dtype=np.float64)
    deviations = np.broadcast_to(np.asarray(standard_error, dtype=np.float64), below.shape)
    if values.ndim != 1 or values.shape != below.shape or values.size == 0:
        raise NumericalError("losses and cumulative must be vectors of one length, at least 1")
    if not (np.isfinite(values).all() and np.isfinite(below).all() and np.isfinite(deviations).all()):
        raise NumericalError("losses, probabilities and standard errors must be finite")
    if (np.diff(values) <= 0.0).any() or (np.diff(below) < 0.0).any() or (deviations < 0.0).any():
        raise NumericalError("losses and probabilities must ascend, and no standard error may be negative")
    if not (0.0 < level < 1.0 and 0.0 < confidence < 1.0):
        raise NumericalError(f"level and confidence must lie in (0, 1), were {level} and {confidence}")
    number = min(int(np.argmax(below >= level - _LEVEL_ERROR)), values.size - 1)
    if below[-1] < level - _LEVEL_ERROR:
        number = values.size - 1
    slack = float(ndtri(0.5 * (1.0 + confidence))) * deviations + _LEVEL_ERROR
    reaches = below + slack >= level
    reaches[-1] = True
    # Of everything strictly below a loss, the probability of the loss before it.
    starts = np.append(True, below[:-1] - slack[:-1] < level - _LEVEL_ERROR)
    candidate = reaches & starts
    candidate[number] = True
    distances = np.abs(below[:-1] - level)
    with np.errstate(divide="ignore", invalid="ignore"):
        scaled = np.where(distances <= _LEVEL_ERROR, 0.0, distances / deviations[:-1])
    distance = float(scaled.min()) if scaled.size else np.inf
    value = float(values[number])
    found = values[candidate]
    note = ""
    if found.size > 1:
        nearest = int(np.argmin(distances))
        others = found[found != value]
        named = (
            " and ".join(f"{x:.10g}" for x in others)
            if others.size <= _LISTED
            else f"{others.size} losses from {others[0]:.10g} to {others[-1]:.10g}"
        )
        note = (
            f"near-tie: VaR {level:g} is {value:.10g}, but P(loss <= {values[nearest]:.10g}) = "
            f"{below[nearest]:.6g} lies {distance:.2g} {errors} from the level; "
            f"{named} cannot be excluded"
        )
    return NearTies(value=value, candidates=found, distance=distance, note=note)


def near_ties_of_sample(
    losses: npt.ArrayLike,
    *,
    level: float,
    confidence: float = 0.95,
    weights: npt.ArrayLike | None = None,
    standard_error: float | None = None,
) -> NearTies:
    """Say which losses of a sample cannot be told apart from its value at risk; no note if none repeats.

    Parameters
    ----------
    losses : array_like of shape (n_paths,)
        Loss per path.
    level, confidence : float
        Fractions.
    weights : array_like of shape (n_paths,), optional
        Probability of each path; needs `standard_error`.
    standard_error : float, optional
        Of ``P(L <= VaR)``; binomial without it.

    Notes
    -----
    In a sample of a continuous law every path is a loss of its own, and its interval says all there is. A
    near-tie is reported where the losses within the error of the level repeat: where there are twice as many
    paths as losses.
    """
    sample = np.asarray(losses, dtype=np.float64)
    if sample.ndim != 1 or sample.size == 0 or not np.isfinite(sample).all():
        raise NumericalError("losses must be a vector of finite numbers, at least one")
    if weights is not None and standard_error is None:
        raise NumericalError("weighted paths need a standard_error")
    values, which = np.unique(sample, return_inverse=True)
    masses = np.full(sample.size, 1.0 / sample.size) if weights is None else np.asarray(weights, np.float64)
    atoms = np.asarray(np.bincount(which, weights=masses, minlength=values.size), dtype=np.float64)
    error = float(np.sqrt(level * (1.0 - level) / sample.size)) if standard_error is None else standard_error
    # Counted from the far end, where the digits are needed.
    below = np.maximum.accumulate(1.0 - exceedances(atoms)[1:])
    found = near_ties(values, below, level=level, standard_error=error, confidence=confidence)
    if np.isin(sample, found.candidates).sum() < 2 * found.candidates.size:
        return NearTies(value=found.value, candidates=found.candidates, distance=found.distance, note="")
    return found
