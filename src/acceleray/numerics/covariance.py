"""Covariance of factor moves and its square root, summed in an order that no library decides."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from acceleray.errors import NumericalError

__all__ = ["cholesky_root", "clip_eigenvalues", "ewma_covariance"]

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
    if moves.shape[0] == 0 or not np.isfinite(moves).all():
        raise NumericalError("covariance: moves must be finite, and at least one")
    weights = decay ** np.arange(moves.shape[0] - 1, -1, -1, dtype=np.float64)
    weighted = moves * (weights / weights.sum())[:, None]
    covariance = np.empty((moves.shape[1], moves.shape[1]))
    for k in range(moves.shape[1]):
        # Not a BLAS product: its order of summation depends on threads and processor.
        covariance[k, : k + 1] = (weighted[:, k, None] * moves[:, : k + 1]).sum(axis=0)
        covariance[: k + 1, k] = covariance[k, : k + 1]
    return covariance


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
    if not np.isfinite(covariance).all():
        raise NumericalError("Cholesky: the covariance was not finite")
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
    """
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
