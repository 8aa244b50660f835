"""Repair of covariance matrices that no set of factors can have, by a named method and with a report."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt

from acceleray.errors import NumericalError
from acceleray.numerics.covariance import clip_eigenvalues, require_finite

__all__ = ["Repair", "nearest_correlation", "repair_covariance"]

FloatArray = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True, kw_only=True)
class Repair:
    """What was done to a matrix.

    Parameters
    ----------
    method : str
        ``none``, ``clip`` or ``higham``.
    lowest_eigenvalue : float
        Of the correlation matrix before the repair.
    largest_change : float
        Largest absolute change of a correlation.
    iterations : int
        Of the alternating projections; 0 for the other methods.
    """

    method: Literal["none", "clip", "higham"]
    lowest_eigenvalue: float
    largest_change: float
    iterations: int


def repair_covariance(
    covariance: FloatArray, *, method: Literal["clip", "higham"]
) -> tuple[FloatArray, Repair]:
    """Make a covariance positive semidefinite and keep its variances.

    Parameters
    ----------
    covariance : ndarray of shape (n_factors, n_factors)
        Symmetric. A singular matrix is sound as it is, and so is a factor without variance.
    method : {"clip", "higham"}
        Set negative eigenvalues of the correlation matrix to zero and restore its diagonal; or take the
        nearest correlation matrix.

    Returns
    -------
    repaired : ndarray of shape (n_factors, n_factors)
        `covariance` itself when no eigenvalue was negative beyond rounding.
    report : Repair

    Raises
    ------
    NumericalError
        If a value is not finite, a variance is negative, a factor without variance has a covariance, or the
        projections do not converge.
    """
    require_finite(covariance)
    variances = np.diag(covariance)
    still = variances <= 0
    wrong = np.nonzero((variances < 0) | (still & (covariance != 0).any(axis=0)))[0]
    if wrong.size:
        raise NumericalError(
            f"covariance: column {wrong[0]} has variance {variances[wrong[0]]:.6g} and other entries than "
            "zero; no repair keeps its variance"
        )
    clipped, lowest = clip_eigenvalues(covariance)
    if clipped is covariance:
        return covariance, Repair(method="none", lowest_eigenvalue=lowest, largest_change=0.0, iterations=0)
    deviations = np.sqrt(variances[~still])
    moving = np.ix_(~still, ~still)
    scale = np.outer(deviations, deviations)
    repaired, iterations = clipped, 0
    if method == "higham":
        nearest, iterations = nearest_correlation(covariance[moving] / scale)
        repaired = np.array(covariance)
        repaired[moving] = nearest * scale
    # The diagonal comes back exactly, not to the rounding of a division and a product.
    np.fill_diagonal(repaired, variances)
    change = float(np.abs((repaired - covariance)[moving] / scale).max())
    return repaired, Repair(
        method=method, lowest_eigenvalue=lowest, largest_change=change, iterations=iterations
    )


def nearest_correlation(
    matrix: FloatArray, *, tolerance: float = 1e-10, max_iterations: int = 2_000
) -> tuple[FloatArray, int]:
    """Find the correlation matrix nearest to a symmetric one in the Frobenius norm.

    Parameters
    ----------
    matrix : ndarray of shape (n, n)
        Symmetric and finite.
    tolerance : float
        The projections stop when both lie this close together, relative to the matrix.
    max_iterations : int
        Most projections onto each set.

    Returns
    -------
    nearest : ndarray of shape (n, n)
        Symmetric to the bit, ones on its diagonal, no eigenvalue negative beyond rounding.
    iterations : int

    Raises
    ------
    NumericalError
        If it does not converge.

    Notes
    -----
    Alternating projections onto the positive semidefinite matrices and those with a unit diagonal, with
    Dykstra's correction for the first, which makes the limit the nearest point and not just any [1]_.

    References
    ----------
    .. [1] Higham (2002), Computing the nearest correlation matrix: a problem from finance, IMA J. Numerical
       Analysis 22(3).

    Examples
    --------
    >>> nearest_correlation(np.array([[1.0, 1.0, 0.0], [1.0, 1.0, 1.0], [0.0, 1.0, 1.0]]))[0].round(4)[0]
    array([1.    , 0.7607, 0.1573])
    """
    unit = (matrix + matrix.T) / 2.0
    correction = np.zeros_like(unit)
    for iteration in range(1, max_iterations + 1):
        start = unit - correction
        positive = _positive_part(start)
        correction = positive - start
        unit = positive.copy()
        np.fill_diagonal(unit, 1.0)
        if np.abs(unit - positive).max() <= tolerance * np.abs(unit).max():
            # The last step off the cone is undone by a rescaling smaller than the tolerance.
            deviations = np.sqrt(np.diag(positive))
            nearest = positive / np.outer(deviations, deviations)
            np.fill_diagonal(nearest, 1.0)
            return nearest, iteration
    raise NumericalError(
        f"nearest correlation: the projections had not met after {max_iterations} iterations",
        hint="Repair by eigenvalue clipping instead, or look for the correlation that was typed wrongly.",
    )


def _positive_part(matrix: FloatArray) -> FloatArray:
    values, vectors = np.linalg.eigh(matrix)
    part = (vectors * np.maximum(values, 0.0)) @ vectors.T
    symmetric: FloatArray = (part + part.T) / 2.0
    return symmetric
