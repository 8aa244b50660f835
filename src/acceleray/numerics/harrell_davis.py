"""Weights of the paths around a quantile, equally likely or weighted."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import scipy

from acceleray.numerics.order_statistics import FloatArray, checked_losses, value_at_risk

__all__ = ["quantile_weights"]

# Losses that weigh less than this share of the heaviest are left out of the average around a quantile: they
# would change it by less than the rounding of its members' sum.
_NEGLIGIBLE = 1e-9


def quantile_weights(
    total_losses: npt.ArrayLike, *, level: float, weights: npt.ArrayLike | None = None
) -> FloatArray:
    """Weights of the paths around the value at risk: those of Harrell and Davis.

    Parameters
    ----------
    total_losses : array_like of shape (n_paths,)
        Loss of the book per path.
    level : float
        Confidence level as a fraction.
    weights : array_like of shape (n_paths,), optional
        Probability of each path, summing to one. Equally likely without.

    Returns
    -------
    ndarray of shape (n_paths,)
        Not negative, summing to one, zero away from the quantile. Paths that tie share their weight in
        proportion to their probability, so their order does not matter.

    Notes
    -----
    The weight of a loss is the probability that it is the sample's quantile when the sample is drawn anew:
    a step of the beta distribution with parameters ``(n + 1) level`` and ``(n + 1) (1 - level)`` [1]_. For
    weighted paths n is the number of plain paths that would know the probability of the tail as well.

    References
    ----------
    .. [1] Harrell, Davis (1982), A new distribution-free quantile estimator, Biometrika 69(3).
    """
    total = checked_losses(total_losses)
    if total.ndim != 1:
        raise ValueError(f"total_losses must have one axis, had shape {total.shape}")
    _, group, counts = np.unique(total, return_inverse=True, return_counts=True)
    if weights is None:
        n, ends = float(total.size), np.cumsum(counts) / total.size
        share = 1.0 / counts[group]
    else:
        probabilities = np.asarray(weights, dtype=np.float64)
        beyond = total > value_at_risk(total, level=level, weights=probabilities)
        variance = float((probabilities**2 * (beyond - (1.0 - level)) ** 2).sum())
        n = level * (1.0 - level) / variance
        mass = np.bincount(group, weights=probabilities)
        ends = np.minimum(np.cumsum(mass), 1.0)
        ends[-1] = 1.0
        share = probabilities / np.where(mass > 0.0, mass, 1.0)[group]
    edges = np.concatenate([[0.0], ends])
    steps = np.diff(scipy.special.betainc((n + 1.0) * level, (n + 1.0) * (1.0 - level), edges))
    steps[steps < _NEGLIGIBLE * steps.max()] = 0.0
    return np.asarray(steps[group] * share / steps.sum())
