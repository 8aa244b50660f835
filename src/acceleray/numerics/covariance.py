"""Covariance of factor moves and its square root, summed in an order that no library decides."""

from __future__ import annotations

from typing import Literal

import numpy as np
import numpy.typing as npt

from acceleray.errors import NumericalError

__all__ = [
    "cholesky_root",
    "clip_eigenvalues",
    "estimate_covariance",
    "ewma_covariance",
    "require_finite",
    "shrunk_covariance",
]

FloatArray = npt.NDArray[np.float64]


def ewma_covariance(moves: FloatArray, *, decay: float) -> FloatArray:
    """Exponentially weighted second moments about zero.

    Parameters
    ----------
    moves : ndarray of shape (n_moves, n_factors)
        Finite, oldest first.
    decay : float
        Weight of each move relative to the one after it, ``0 < decay <= 1``; weights sum to one.

    Returns
    -------
    ndarray of shape (n_factors, n_factors)
        Symmetric to the bit.

    Raises
    ------
    NumericalError
        If a move is not finite or there is none.
    """
    if not 0 < decay <= 1:
        raise ValueError(f"decay must lie in (0, 1], was {decay}")
    _require_moves(moves)
    weights = decay ** np.arange(moves.shape[0] - 1, -1, -1, dtype=np.float64)
    return _second_moments(moves, moves * (weights / weights.sum())[:, None])


def shrunk_covariance(moves: FloatArray) -> tuple[FloatArray, float]:
    """Second moments about zero, equally weighted, with all correlations shrunk by one factor.

    Parameters
    ----------
    moves : ndarray of shape (n_moves, n_factors)
        Finite.

    Returns
    -------
    covariance : ndarray of shape (n_factors, n_factors)
        Symmetric to the bit, with the sample's variances; zero in row and column of a factor that never
        moves. Positive definite among the others as soon as `intensity` is positive.
    intensity : float
        Share by which every correlation was reduced, in [0, 1].

    Raises
    ------
    NumericalError
        If a move is not finite or there is none.

    Notes
    -----
    The estimator of Ledoit and Wolf towards the identity [1]_, applied to moves divided by their root mean
    square. On the moves themselves it would pull the variance of a rate, 1e-8 a day, towards that of a share
    price, 1e-4; and a target of one common correlation [2]_ would depend on which way round an exchange rate
    is quoted. This one changes with neither unit nor sign of a factor.

    References
    ----------
    .. [1] Ledoit, Wolf (2004), A well-conditioned estimator for large-dimensional covariance matrices,
       J. Multivariate Analysis 88(2).
    .. [2] Ledoit, Wolf (2004), Honey, I shrunk the sample covariance matrix, J. Portfolio Management 30(4).
    """
    _require_moves(moves)
    n_moves = moves.shape[0]
    deviations = np.sqrt((moves**2).sum(axis=0) / n_moves)
    moving = deviations > 0
    covariance = np.zeros((moves.shape[1], moves.shape[1]))
    if not moving.any():
        return covariance, 0.0
    unit = moves[:, moving] / deviations[moving]
    correlation = _second_moments(unit, unit / n_moves)
    np.fill_diagonal(correlation, 1.0)
    n_factors = correlation.shape[0]
    # Both as in the paper, times the number of factors: distance of the sample from the identity, and the
    # part of it that is the sample's own error.
    distance = float((correlation**2).sum() - n_factors)
    error = float(((unit**2).sum(axis=1) ** 2).sum() / n_moves - (correlation**2).sum()) / n_moves
    intensity = min(max(error, 0.0) / distance, 1.0) if distance > 0.0 else 0.0
    shrunk = correlation * (1.0 - intensity)
    np.fill_diagonal(shrunk, 1.0)
    scale = deviations[moving]
    covariance[np.ix_(moving, moving)] = shrunk * np.outer(scale, scale)
    return covariance, intensity


def estimate_covariance(
    moves: FloatArray, *, method: Literal["ewma", "shrinkage"], decay: float
) -> tuple[FloatArray, float]:
    """Estimate by the method of the settings: `ewma_covariance` or `shrunk_covariance`.

    Returns
    -------
    covariance : ndarray of shape (n_factors, n_factors)
    intensity : float
        Of the shrinkage; 0 for EWMA, which alone uses `decay`.
    """
    if method == "ewma":
        return ewma_covariance(moves, decay=decay), 0.0
    return shrunk_covariance(moves)


def _require_moves(moves: FloatArray) -> None:
    if moves.shape[0] == 0:
        raise NumericalError("covariance: there must be at least one move")
    bad = np.nonzero(~np.isfinite(moves).all(axis=0))[0]
    if bad.size:
        raise NumericalError(f"covariance: moves must be finite, column {bad[0]} was not")


def _second_moments(moves: FloatArray, weighted: FloatArray) -> FloatArray:
    """``weighted.T @ moves``, which is symmetric, added in an order that no library decides."""
    covariance = np.empty((moves.shape[1], moves.shape[1]))
    for k in range(moves.shape[1]):
        covariance[k, : k + 1] = (weighted[:, k, None] * moves[:, : k + 1]).sum(axis=0)
        covariance[: k + 1, k] = covariance[k, : k + 1]
    return covariance


def require_finite(covariance: FloatArray) -> None:
    """Refuse a covariance with a value that is not finite, and name the first such column.

    Raises
    ------
    NumericalError
        The column is that of a factor whose own variance is not finite, where there is one.
    """
    finite = np.isfinite(covariance)
    if finite.all():
        return
    own = np.nonzero(~np.diag(finite))[0]
    column = own[0] if own.size else np.nonzero(~finite.all(axis=0))[0][0]
    raise NumericalError(f"the covariance was not finite in column {column}")


def cholesky_root(covariance: FloatArray, *, tolerance: float = 1e-10) -> FloatArray:
    """Lower-triangular square root of a positive semidefinite matrix.

    Parameters
    ----------
    covariance : ndarray of shape (n_factors, n_factors)
        Symmetric.
    tolerance : float
        Pivots below this share of their diagonal entry count as zero: the factor is a combination of
        earlier ones.

    Returns
    -------
    ndarray of shape (n_factors, n_factors)

    Raises
    ------
    NumericalError
        If the matrix is not finite or has a clearly negative pivot.

    Examples
    --------
    >>> cholesky_root(np.array([[4.0, 2.0], [2.0, 1.0]])).tolist()
    [[2.0, 0.0], [1.0, 0.0]]
    """
    require_finite(covariance)
    size = covariance.shape[0]
    root = np.zeros((size, size))
    for k in range(size):
        column = covariance[k:, k] - (root[k:, :k] * root[k, :k]).sum(axis=1)
        scale = covariance[k, k]
        if column[0] < -tolerance * abs(scale) or (scale <= 0 and np.any(column != 0)):
            raise NumericalError(
                f"Cholesky: pivot {k} was {column[0]}, the covariance is not positive semidefinite"
            )
        if column[0] > tolerance * scale:
            root[k:, k] = column / np.sqrt(column[0])
    return root


def clip_eigenvalues(covariance: FloatArray) -> tuple[FloatArray, float]:
    """Replace negative eigenvalues by zero and keep the variances.

    Parameters
    ----------
    covariance : ndarray of shape (n_factors, n_factors)
        Symmetric.

    Returns
    -------
    repaired : ndarray of shape (n_factors, n_factors)
        Positive semidefinite, with the diagonal of `covariance`; `covariance` itself when nothing was
        negative beyond rounding.
    lowest : float
        Smallest eigenvalue of the correlation matrix before the repair.

    Raises
    ------
    NumericalError
        If a value is not finite; the message names the column.
    """
    require_finite(covariance)
    deviations = np.sqrt(np.diag(covariance))
    moving = deviations > 0
    scale = np.outer(deviations[moving], deviations[moving])
    if not moving.any():
        return covariance, 0.0
    values, vectors = np.linalg.eigh(covariance[np.ix_(moving, moving)] / scale)
    lowest = float(values[0])
    if lowest >= -1e-12 * values.size:
        return covariance, lowest
    correlation = (vectors * np.maximum(values, 0.0)) @ vectors.T
    unit = np.sqrt(np.diag(correlation))
    correlation /= np.outer(unit, unit)
    repaired = np.array(covariance)
    repaired[np.ix_(moving, moving)] = correlation * scale
    return repaired, lowest
