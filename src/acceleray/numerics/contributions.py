"""What each member of a book adds to the book's tail measure: parts that add up, with standard errors.

Members are the rows of a loss matrix, paths its columns; the total is their sum path by path. Losses are
positive.
"""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt
from scipy import special

from acceleray.errors import NumericalError
from acceleray.numerics.order_statistics import (
    FloatArray,
    checked_losses,
    tail_masses,
    value_at_risk,
)

__all__ = ["expected_shortfall_contributions", "value_at_risk_contributions"]

# Totals are added up elsewhere, in another order: rounding of a few thousand additions.
_SUM_ERROR = 1e-9


def expected_shortfall_contributions(
    member_losses: npt.ArrayLike, total_losses: npt.ArrayLike, *, level: float
) -> tuple[FloatArray, FloatArray]:
    """Split the expected shortfall of a book among its members.

    Parameters
    ----------
    member_losses : array_like of shape (n_members, n_paths)
        Loss of each member per path, in one currency.
    total_losses : array_like of shape (n_paths,)
        Loss of the book per path: the sum of the members.
    level : float
        Confidence level as a fraction.

    Returns
    -------
    values : ndarray of shape (n_members,)
        Average loss of each member over the book's worst ``1 - level`` of the paths, the quantile path with
        the fraction of its mass that lies there [1]_. They add up to the book's expected shortfall; a
        negative value is a hedge.
    std_errors : ndarray of shape (n_members,)
        Large-sample standard errors for independent paths. They do not add up.

    Raises
    ------
    NumericalError
        If a loss is not finite.
    ValueError
        If the shapes do not match or the members do not add up to the total.

    Notes
    -----
    With ``v`` the member's value-at-risk contribution, the error of the quantile enters to first order as
    that of ``(loss - v)`` over the tail paths, whose standard deviation over ``(1 - level) sqrt(n)`` is
    returned. Added over the members these terms are those of `expected_shortfall_std_error`.

    References
    ----------
    .. [1] Tasche (2002), Expected shortfall and beyond, JBF 26(7).

    Examples
    --------
    >>> members = np.array([[0.0, 1.0, 4.0, 6.0], [0.0, 1.0, -1.0, 4.0]])
    >>> values, _ = expected_shortfall_contributions(members, members.sum(axis=0), level=0.5)
    >>> values
    array([5. , 1.5])
    """
    members, total = _checked(member_losses, total_losses)
    masses = tail_masses(total, level=level)
    tail = np.flatnonzero(masses)
    # Only tail paths, in path order, one row at a time: the bits of a member do not depend on the others.
    values = np.ascontiguousarray(members[:, tail] * masses[tail]).sum(axis=1)
    at_quantile = _quantile_averages(members, total, level)[0]
    beyond = np.flatnonzero(total > value_at_risk(total, level=level))
    n = total.size
    excess = np.ascontiguousarray(members[:, beyond] - at_quantile[:, None])
    mean = excess.sum(axis=1) / n
    variance = np.maximum((excess**2).sum(axis=1) / n - mean**2, 0.0)
    return values, np.sqrt(variance / n) / (1.0 - level)


def value_at_risk_contributions(
    member_losses: npt.ArrayLike, total_losses: npt.ArrayLike, *, level: float
) -> tuple[FloatArray, FloatArray, float]:
    """Split the value at risk of a book among its members.

    Parameters
    ----------
    member_losses : array_like of shape (n_members, n_paths)
        Loss of each member per path, in one currency.
    total_losses : array_like of shape (n_paths,)
        Loss of the book per path: the sum of the members.
    level : float
        Confidence level as a fraction.

    Returns
    -------
    values : ndarray of shape (n_members,)
        Loss of each member where the book loses its value at risk, scaled to add up to it.
    std_errors : ndarray of shape (n_members,)
        Standard errors of the values before scaling, for independent paths.
    residual : float
        Value at risk less the sum before scaling. If it is not small, the split is not to be trusted.

    Raises
    ------
    NumericalError
        If a loss is not finite, or the sum before scaling has not the sign of the value at risk.
    ValueError
        If the shapes do not match or the members do not add up to the total.

    Notes
    -----
    One path is no estimate, so the paths around the quantile are averaged with Harrell-Davis weights [1]_.
    The variance of a member has two parts: its slope on the total times the variance of the quantile, which
    the same weights give as the weighted variance of the total (Maritz-Jarrett [2]_), and the scatter about
    that slope.

    References
    ----------
    .. [1] Harrell, Davis (1982), A new distribution-free quantile estimator, Biometrika 69(3).
    .. [2] Maritz, Jarrett (1978), A note on estimating the variance of the sample median, JASA 73(361).
    """
    members, total = _checked(member_losses, total_losses)
    quantile = float(value_at_risk(total, level=level))
    raw, weights = _quantile_averages(members, total, level)
    weighted_sum = math.fsum(raw)
    if quantile != 0.0 and not weighted_sum / quantile > 0.0:
        raise NumericalError(
            f"value-at-risk contributions add up to {weighted_sum} where the value at risk is {quantile}: "
            "they cannot be scaled to it",
            hint="Use expected-shortfall contributions, or more paths.",
        )
    centred = total - float((weights * total).sum())
    spread = float((weights * centred**2).sum())
    deviations = members - raw[:, None]
    # Too few paths carry the weights to show a slope: fit it over the worst three times 1 - level of all
    # paths.
    start = max(1.0 - 3.0 * (1.0 - level), 0.5 / total.size)
    near = np.flatnonzero(total >= value_at_risk(total, level=start))
    steps = total[near] - total[near].mean()
    slopes = np.zeros(len(members))
    if spread > 0.0:
        slopes = np.ascontiguousarray(members[:, near] * steps).sum(axis=1) / (steps**2).sum()
    scatter = deviations - slopes[:, None] * centred
    std_errors = np.sqrt(slopes**2 * spread + (weights**2 * scatter**2).sum(axis=1))
    scale = quantile / weighted_sum if quantile != 0.0 else 0.0
    return raw * scale, std_errors, quantile - weighted_sum


def _checked(member_losses: npt.ArrayLike, total_losses: npt.ArrayLike) -> tuple[FloatArray, FloatArray]:
    members, total = checked_losses(member_losses), checked_losses(total_losses)
    if members.ndim != 2 or total.shape != members.shape[1:]:
        raise ValueError(
            f"member_losses must be (n_members, n_paths) and total_losses (n_paths,), "
            f"had {members.shape} and {total.shape}"
        )
    gap = np.abs(members.sum(axis=0) - total)
    allowed = _SUM_ERROR * np.abs(members).sum(axis=0) + np.finfo(np.float64).tiny
    if (gap > allowed).any():
        path = int(np.argmax(gap - allowed))
        raise ValueError(
            f"the members add up to {members[:, path].sum()} on path {path}, the total is {total[path]}"
        )
    return members, total


def _quantile_averages(members: FloatArray, total: FloatArray, level: float) -> tuple[FloatArray, FloatArray]:
    """Harrell-Davis average of each member around the quantile of the total, and the weights of the paths."""
    n = total.size
    steps = special.betainc((n + 1) * level, (n + 1) * (1.0 - level), np.arange(n + 1) / n)
    _, group = np.unique(total, return_inverse=True)
    # Paths that tie share their weights, so that their order does not matter.
    rank_groups = np.sort(group)
    shared = np.bincount(rank_groups, weights=np.diff(steps)) / np.bincount(group)
    weights = shared[group]
    return np.ascontiguousarray(members * weights).sum(axis=1), weights
