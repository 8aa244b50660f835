"""What each member of a book adds to the book's tail measure: parts that add up, with standard errors.

Members are the rows of a loss matrix, paths its columns; the total is their sum path by path. Losses are
positive. Only the paths near the tail enter, so a caller may bring the losses of just these.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Literal

import numpy as np
import numpy.typing as npt

from acceleray.errors import NumericalError
from acceleray.numerics.harrell_davis import quantile_weights
from acceleray.numerics.order_statistics import (
    FloatArray,
    checked_losses,
    tail_masses,
    value_at_risk,
)

__all__ = [
    "expected_shortfall_contributions",
    "required_paths",
    "required_paths_of_sections",
    "sectioned_std_errors",
    "value_at_risk_contributions",
]

IntArray = npt.NDArray[np.int64]

# Totals are added up elsewhere, in another order: rounding of a few thousand additions.
_SUM_ERROR = 1e-9


def required_paths(
    total_losses: npt.ArrayLike,
    *,
    level: float,
    measure: Literal["VaR", "ES"],
    weights: npt.ArrayLike | None = None,
) -> IntArray:
    """Paths whose member losses decide the contributions to a measure, increasing.

    Parameters
    ----------
    total_losses, level, weights
        As for `quantile_weights`.
    measure : {"VaR", "ES"}
        Which contributions.

    Returns
    -------
    ndarray of int64
        What `paths` of the contributions must contain.
    """
    total = checked_losses(total_losses)
    around = quantile_weights(total, level=level, weights=weights) > 0.0
    if measure == "ES":
        return np.flatnonzero(around | (tail_masses(total, level=level, weights=weights) > 0.0))
    return np.flatnonzero(around | _near(total, level, weights))


def required_paths_of_sections(
    total_losses: npt.ArrayLike,
    *,
    level: float,
    measure: Literal["VaR", "ES"],
    sections: Sequence[IntArray],
    weights: npt.ArrayLike | None = None,
) -> IntArray:
    """Paths whose member losses decide `sectioned_std_errors`, increasing; parameters as there."""
    total = checked_losses(total_losses)
    shares = _shares_without_sections(total, level, measure, sections, weights)
    return np.unique(np.concatenate([paths for paths, _ in shares]))


def sectioned_std_errors(
    member_losses: npt.ArrayLike,
    total_losses: npt.ArrayLike,
    *,
    level: float,
    measure: Literal["VaR", "ES"],
    paths: IntArray,
    sections: Sequence[IntArray],
    weights: npt.ArrayLike | None = None,
) -> FloatArray:
    """Estimate the standard errors of contributions on paths that depend on each other, but for sections.

    Parameters
    ----------
    member_losses : array_like of shape (n_members, n_chosen)
        Loss of each member on `paths`.
    total_losses : array_like of shape (n_paths,)
        Loss of the book per path.
    level : float
        Confidence level as a fraction.
    measure : {"VaR", "ES"}
        Which contributions; those to VaR before they are scaled to add up.
    paths : ndarray of int64
        Increasing, with all of `required_paths_of_sections` and `required_paths`.
    sections : sequence of ndarray of int64
        Paths of each section, increasing: at least two, of equal length and independent of each other.
    weights : array_like of shape (n_paths,), optional
        Probability of each path. Equally likely without.

    Returns
    -------
    ndarray of shape (n_members,)
        They do not add up.

    Notes
    -----
    The jackknife: with T[r] the contribution on all sections but the r-th of R, and M the mean of these,
    ``sqrt((R - 1) / R * sum (T[r] - M)**2)``. The scatter of sections taken by themselves would not do for
    value at risk: the average around its quantile takes in some ``sqrt(n)`` paths, so a section smooths more
    than the whole does, and the error would come out too small by a factor of up to ``R**(1/4)``. The
    jackknife is on the safe side there: leaving a section out also moves the quantile's rank, by which the
    variance of a member that has nothing to do with the total comes out 1.5 times as large, the error 1.22
    times.
    """
    members, total = checked_losses(member_losses), checked_losses(total_losses)
    parts = np.array(
        [
            np.ascontiguousarray(members[:, np.searchsorted(paths, near)] * share).sum(axis=1)
            for near, share in _shares_without_sections(total, level, measure, sections, weights)
        ]
    )
    count = len(sections)
    squares = ((parts - parts.mean(axis=0)) ** 2).sum(axis=0)
    errors: FloatArray = np.sqrt(squares * ((count - 1) / count))
    return errors


def _shares_without_sections(
    total: FloatArray,
    level: float,
    measure: Literal["VaR", "ES"],
    sections: Sequence[IntArray],
    weights: npt.ArrayLike | None,
) -> list[tuple[IntArray, FloatArray]]:
    """For each section, the paths that make up the measure of all the others, and the share of each."""
    shares = tail_masses if measure == "ES" else quantile_weights
    probabilities = None if weights is None else np.asarray(weights, dtype=np.float64)
    every = np.sort(np.concatenate(list(sections)))
    found = []
    for section in sections:
        others = np.setdiff1d(every, section, assume_unique=True)
        own = None if probabilities is None else probabilities[others] / probabilities[others].sum()
        masses = shares(total[others], level=level, weights=own)
        near = np.flatnonzero(masses)
        found.append((others[near], masses[near]))
    return found


def expected_shortfall_contributions(
    member_losses: npt.ArrayLike,
    total_losses: npt.ArrayLike,
    *,
    level: float,
    paths: IntArray | None = None,
    weights: npt.ArrayLike | None = None,
    sum_error: float = 0.0,
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
    paths : ndarray of int64, optional
        Where `member_losses` has columns for some paths only: which, with all of `required_paths`.
    weights : array_like of shape (n_paths,), optional
        Probability of each path, summing to one. Equally likely without.
    sum_error : float
        Gap between the members' sum and the total that is still rounding, in the currency of the losses: a
        hedged book may be nothing but rounding.

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
        If the shapes do not match, the members do not add up to the total, or a path is missing.

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
    members, total, paths = _checked(member_losses, total_losses, paths, sum_error)
    masses = tail_masses(total, level=level, weights=weights)
    _require(paths, np.flatnonzero(masses))
    # Only tail paths, in path order, one row at a time: the bits of a member do not depend on the others.
    columns = np.flatnonzero(masses[paths])
    values = np.ascontiguousarray(members[:, columns] * masses[paths[columns]]).sum(axis=1)
    around = quantile_weights(total, level=level, weights=weights)
    at_quantile = _average(members, paths, around)
    quantile = value_at_risk(total, level=level, weights=weights)
    columns = np.flatnonzero(total[paths] > quantile)
    excess = np.ascontiguousarray(members[:, columns] - at_quantile[:, None])
    probabilities = _probabilities(total.size, weights)
    inside = probabilities[paths[columns]]
    mean = (excess * inside).sum(axis=1)
    # The excess of every other path is zero, so that it deviates by the mean.
    outside = max(float((probabilities**2).sum() - (inside**2).sum()), 0.0)
    variance = (inside**2 * (excess - mean[:, None]) ** 2).sum(axis=1) + outside * mean**2
    return values, np.sqrt(variance) / (1.0 - level)


def value_at_risk_contributions(
    member_losses: npt.ArrayLike,
    total_losses: npt.ArrayLike,
    *,
    level: float,
    paths: IntArray | None = None,
    weights: npt.ArrayLike | None = None,
    sum_error: float = 0.0,
) -> tuple[FloatArray, FloatArray, float]:
    """Split the value at risk of a book among its members.

    Parameters
    ----------
    member_losses, total_losses, level, paths, weights, sum_error
        As for `expected_shortfall_contributions`.

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
        If the shapes do not match, the members do not add up to the total, or a path is missing.

    Notes
    -----
    One path is no estimate, so the paths around the quantile are averaged with `quantile_weights` [1]_.
    The variance of a member has two parts: its slope on the total times the variance of the quantile, which
    the same weights give as the weighted variance of the total (Maritz-Jarrett [2]_), and the scatter about
    that slope.

    References
    ----------
    .. [1] Harrell, Davis (1982), A new distribution-free quantile estimator, Biometrika 69(3).
    .. [2] Maritz, Jarrett (1978), A note on estimating the variance of the sample median, JASA 73(361).
    """
    members, total, paths = _checked(member_losses, total_losses, paths, sum_error)
    quantile = float(value_at_risk(total, level=level, weights=weights))
    around = quantile_weights(total, level=level, weights=weights)
    raw = _average(members, paths, around)
    weighted_sum = math.fsum(raw)
    if quantile != 0.0 and not weighted_sum / quantile > 0.0:
        raise NumericalError(
            f"value-at-risk contributions add up to {weighted_sum} where the value at risk is {quantile}: "
            "they cannot be scaled to it",
            hint="Use expected-shortfall contributions, or more paths.",
        )
    near = np.flatnonzero(_near(total, level, weights))
    _require(paths, near)
    centred = total - float((around * total).sum())
    spread = float((around * centred**2).sum())
    probabilities = _probabilities(total.size, weights)[near]
    steps = total[near] - float((probabilities * total[near]).sum() / probabilities.sum())
    slopes = np.zeros(len(members))
    # A handful of paths may have a single one near the quantile, which shows no slope.
    if spread > 0.0 and steps.any():
        columns = np.searchsorted(paths, near)
        slopes = np.ascontiguousarray(members[:, columns] * (probabilities * steps)).sum(axis=1)
        slopes /= (probabilities * steps**2).sum()
    scatter = members - raw[:, None] - slopes[:, None] * centred[paths]
    std_errors = np.sqrt(slopes**2 * spread + (around[paths] ** 2 * scatter**2).sum(axis=1))
    scale = quantile / weighted_sum if quantile != 0.0 else 0.0
    return raw * scale, std_errors, quantile - weighted_sum


def _checked(
    member_losses: npt.ArrayLike, total_losses: npt.ArrayLike, paths: IntArray | None, sum_error: float
) -> tuple[FloatArray, FloatArray, IntArray]:
    members, total = checked_losses(member_losses), checked_losses(total_losses)
    paths = np.arange(total.size) if paths is None else paths
    if total.ndim != 1 or members.ndim != 2 or members.shape[1] != paths.size:
        raise ValueError(
            f"member_losses must be (n_members, {paths.size}) and total_losses (n_paths,), "
            f"had {members.shape} and {total.shape}"
        )
    gap = np.abs(members.sum(axis=0) - total[paths])
    allowed = _SUM_ERROR * np.abs(members).sum(axis=0) + max(sum_error, np.finfo(np.float64).tiny)
    if (gap > allowed).any():
        column = int(np.argmax(gap - allowed))
        raise ValueError(
            f"the members add up to {members[:, column].sum()} on path {paths[column]}, "
            f"the total is {total[paths[column]]}"
        )
    return members, total, paths


def _require(paths: IntArray, wanted: IntArray) -> None:
    missing = np.setdiff1d(wanted, paths)
    if missing.size:
        raise ValueError(f"member_losses have no column for path {missing[0]}, which is in the tail")


def _average(members: FloatArray, paths: IntArray, around: FloatArray) -> FloatArray:
    """Weighted average of each member around the quantile of the total."""
    _require(paths, np.flatnonzero(around))
    columns = np.flatnonzero(around[paths])
    found: FloatArray = np.ascontiguousarray(members[:, columns] * around[paths[columns]]).sum(axis=1)
    return found


def _near(total: FloatArray, level: float, weights: npt.ArrayLike | None) -> npt.NDArray[np.bool_]:
    """Tell the worst three times ``1 - level`` of all paths: fewer show no slope of a member on the total."""
    start = max(1.0 - 3.0 * (1.0 - level), 0.5 / total.size)
    near: npt.NDArray[np.bool_] = total >= value_at_risk(total, level=start, weights=weights)
    return near


def _probabilities(n_paths: int, weights: npt.ArrayLike | None) -> FloatArray:
    return np.full(n_paths, 1.0 / n_paths) if weights is None else np.asarray(weights, dtype=np.float64)
