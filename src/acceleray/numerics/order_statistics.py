"""Value at risk and expected shortfall as order statistics of a sample of losses, equally likely or weighted.

Import these from `acceleray.numerics.tail`, where the intervals are.
"""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt

from acceleray.errors import NumericalError

__all__ = [
    "checked_losses",
    "expected_shortfall",
    "order_rank",
    "paths_beyond",
    "tail_masses",
    "value_at_risk",
]

FloatArray = npt.NDArray[np.float64]

# A level such as 0.99 is off by at most half a unit in the last place, and so is its product with n; a caller
# may also have computed it as 1 - 0.01. Four units of 1.0 cover all of that and are far below 1/n.
_LEVEL_ERROR = 4.0 * np.finfo(np.float64).eps


def order_rank(n: int, level: float) -> int:
    """Rank of the quantile among `n` sorted losses: ``ceil(n * level)``, safe against floating point.

    Parameters
    ----------
    n : int
        Number of equally likely paths, at least 1.
    level : float
        Confidence level as a fraction, ``0 < level < 1``.

    Returns
    -------
    int
        Counted from 1 for the smallest loss.

    Raises
    ------
    ValueError
        If `n` or `level` is out of range.

    Examples
    --------
    >>> 0.07 * 100
    7.000000000000001
    >>> order_rank(100, 0.07)
    7
    """
    # A level within rounding of 0 still needs a point of the sample.
    return max(math.ceil(_paths_below(n, level)), 1)


def paths_beyond(n: int, level: float) -> float:
    """Return how many of `n` equally likely paths make up the worst ``1 - level``; rarely an integer."""
    return n - _paths_below(n, level)


def _paths_below(n: int, level: float) -> float:
    """Return ``n * level``, as an integer where it misses one only by floating-point error."""
    if n < 1:
        raise ValueError(f"n must be at least 1, was {n}")
    if not 0.0 < level < 1.0:
        raise ValueError(f"level must lie between 0 and 1, was {level}")
    product = n * level
    nearest = float(round(product))
    return nearest if abs(product - nearest) <= n * _LEVEL_ERROR else product


def checked_losses(losses: npt.ArrayLike) -> FloatArray:
    """Return losses as a float array, or say what is wrong with them.

    Raises
    ------
    ValueError
        If there is no path.
    NumericalError
        If any loss is not finite; the message counts them and names the first.
    """
    array = np.asarray(losses, dtype=np.float64)
    if array.ndim == 0 or array.shape[-1] == 0:
        raise ValueError(f"losses need a last axis of at least one path, had shape {array.shape}")
    bad = ~np.isfinite(array)
    if bad.any():
        first = tuple(int(i) for i in np.argwhere(bad)[0])
        raise NumericalError(
            f"{int(bad.sum())} of {array.size} losses are not finite; "
            f"the first is {array[first]} at index {first}",
            hint="Leave positions without a price out before adding up paths, and report them as excluded.",
        )
    return array


def value_at_risk(losses: npt.ArrayLike, *, level: float, weights: npt.ArrayLike | None = None) -> FloatArray:
    """Loss that is not exceeded with probability `level`: the order statistic of rank ``ceil(n * level)``.

    Parameters
    ----------
    losses : array_like of shape (..., n_paths)
        Loss per path in reporting currency, positive is a loss. Reduces the last axis.
    level : float
        Confidence level as a fraction, ``0 < level < 1``.
    weights : array_like of shape (n_paths,) or (..., n_paths), optional
        Probability of each path, not negative, summing to one. Equally likely without.

    Returns
    -------
    ndarray of shape (...)
        Value at risk, in the currency and sign of `losses`: always one of them, never interpolated.

    Raises
    ------
    NumericalError
        If any loss or weight is not finite. Missing paths are never dropped here.
    ValueError
        If there is no path, or the level or the weights are out of range.

    Examples
    --------
    >>> float(value_at_risk(np.arange(1.0, 101.0), level=0.99))
    99.0
    """
    array = checked_losses(losses)
    rank = order_rank(array.shape[-1], level)
    if weights is not None:
        return _weighted_tail(array, weights, level)[0]
    return np.asarray(np.partition(array, rank - 1, axis=-1)[..., rank - 1])


def expected_shortfall(
    losses: npt.ArrayLike, *, level: float, weights: npt.ArrayLike | None = None
) -> FloatArray:
    """Average loss in the worst ``1 - level`` share of the paths.

    Parameters
    ----------
    losses : array_like of shape (..., n_paths)
        Loss per path in reporting currency, positive is a loss. Reduces the last axis.
    level : float
        Confidence level as a fraction, ``0 < level < 1``.
    weights : array_like of shape (n_paths,) or (..., n_paths), optional
        Probability of each path, not negative, summing to one. Equally likely without.

    Returns
    -------
    ndarray of shape (...)
        Expected shortfall, in the currency and sign of `losses`; never below the value at risk.

    Raises
    ------
    NumericalError
        If any loss or weight is not finite. Missing paths are never dropped here.
    ValueError
        If there is no path, or the level or the weights are out of range.

    Notes
    -----
    The quantile point counts with the fraction of its mass that lies beyond the level [1]_, which makes the
    measure coherent for every sample: ``VaR + sum over the tail of (loss - VaR) / (n (1 - level))``. The
    losses of the tail are added in sorted order, so the bits do not depend on the order of the paths.

    References
    ----------
    .. [1] Acerbi, Tasche (2002), On the coherence of expected shortfall, JBF 26(7).

    Examples
    --------
    >>> float(expected_shortfall(np.array([0.0, 1.0, 2.0, 10.0]), level=0.625))
    7.333333333333333
    """
    array = checked_losses(losses)
    n = array.shape[-1]
    rank, mass = order_rank(n, level), paths_beyond(n, level)
    if weights is not None:
        quantile, excess = _weighted_tail(array, weights, level)
        return quantile + excess / (1.0 - level)
    tail = np.partition(array, rank - 1, axis=-1)[..., rank - 1 :]
    quantile = tail[..., :1]
    excesses = np.ascontiguousarray(np.sort(tail - quantile, axis=-1))
    # The excess of the largest loss is zero when no mass lies beyond it.
    return np.asarray(quantile[..., 0] + excesses.sum(axis=-1) / max(mass, _LEVEL_ERROR))


def tail_masses(
    total_losses: npt.ArrayLike, *, level: float, weights: npt.ArrayLike | None = None
) -> FloatArray:
    """Share of each path in the worst ``1 - level``: what turns an average over paths into a tail average.

    Parameters
    ----------
    total_losses : array_like of shape (n_paths,)
        Loss of the whole book per path.
    level : float
        Confidence level as a fraction, ``0 < level < 1``.
    weights : array_like of shape (n_paths,), optional
        Probability of each path, not negative, summing to one. Equally likely without.

    Returns
    -------
    ndarray of shape (n_paths,)
        Not negative, summing to one; ``masses @ total_losses`` is the expected shortfall. Paths that tie at
        the quantile share its mass in proportion to their weights, so the order of the paths does not matter.
    """
    array = checked_losses(total_losses)
    if array.ndim != 1:
        raise ValueError(f"total_losses must have one axis, had shape {array.shape}")
    n = array.size
    quantile = value_at_risk(array, level=level, weights=weights)
    beyond, ties = array > quantile, array == quantile
    if weights is not None:
        probabilities = np.asarray(weights, dtype=np.float64)
        left = max(1.0 - level - float(probabilities[beyond].sum()), 0.0)
        at_quantile = probabilities * (left / float(probabilities[ties].sum()))
        shares = np.where(beyond, probabilities, np.where(ties, at_quantile, 0.0))
        return np.asarray(shares / shares.sum())
    n_beyond = int(beyond.sum())
    mass = max(paths_beyond(n, level), _LEVEL_ERROR)
    return np.where(beyond, 1.0 / mass, np.where(ties, (mass - n_beyond) / mass / ties.sum(), 0.0))


def _weighted_tail(losses: FloatArray, weights: npt.ArrayLike, level: float) -> tuple[FloatArray, FloatArray]:
    """Weighted quantile, and the expected excess over it."""
    array = np.asarray(weights, dtype=np.float64)
    if not np.isfinite(array).all():
        raise NumericalError("path weights are not all finite")
    if array.shape[-1:] != losses.shape[-1:]:
        raise ValueError(f"weights need one value for each of {losses.shape[-1]} paths, had {array.shape}")
    # n additions of numbers up to one are off by at most n units in the last place.
    slack = max(1e-12, losses.shape[-1] * np.finfo(np.float64).eps)
    if (array < 0.0).any() or (np.abs(array.sum(axis=-1) - 1.0) > slack).any():
        raise ValueError("weights must not be negative and must sum to one over the paths")
    array = np.broadcast_to(array, losses.shape)
    # Worst path first: tail weights are then added from the small end, where importance sampling needs the
    # digits. Ties are put in order of weight, so that the order of the paths does not show in the bits.
    order = np.lexsort((array, losses), axis=-1)[..., ::-1]
    sorted_losses = np.take_along_axis(losses, order, axis=-1)
    sorted_weights = np.ascontiguousarray(np.take_along_axis(array, order, axis=-1))
    beyond = np.cumsum(sorted_weights, axis=-1)
    # The quantile is the first path, from the worst, with which the tail would weigh more than 1 - level.
    inside = beyond <= (1.0 - level) + slack
    index = np.minimum(inside.sum(axis=-1, keepdims=True), losses.shape[-1] - 1)
    quantile = np.take_along_axis(sorted_losses, index, axis=-1)
    excess = np.ascontiguousarray(sorted_weights * np.maximum(sorted_losses - quantile, 0.0))
    return np.asarray(quantile[..., 0]), np.asarray(excess.sum(axis=-1))
