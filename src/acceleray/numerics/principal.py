"""Principal components of a covariance, with bits that no linear algebra library decides.

Where two eigenvalues are close, the vectors that belong to them can turn within their plane by far more than
rounding. A set of quasi-random scenarios depends on them, so they are computed by one algorithm in one order
everywhere.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from acceleray.errors import NumericalError
from acceleray.numerics.compilation import compiled_checked
from acceleray.numerics.covariance import require_finite

__all__ = ["principal_root", "symmetric_eigen"]

FloatArray = npt.NDArray[np.float64]

# Convergence is quadratic; matrices of a few hundred factors need about ten sweeps.
_MAX_SWEEPS = 60


def principal_root(covariance: FloatArray, *, gradient: FloatArray | None = None) -> FloatArray:
    """Compute the square root of a covariance whose columns are principal components, the largest first.

    Parameters
    ----------
    covariance : ndarray of shape (n_factors, n_factors)
        Symmetric positive semidefinite; eigenvalues negative within rounding count as zero.
    gradient : ndarray of shape (n_factors,), optional
        Gain of the book per unit move of each factor. With it the first column is the direction in which
        the book's linear gain varies, all of it, and the components are those of what is left.

    Returns
    -------
    ndarray of shape (n_factors, n_columns)
        ``root @ root.T`` is the covariance. Only columns that carry variance. Components are those of the
        correlation matrix, so that units play no part, in order of their share; of each the largest entry is
        positive.

    Raises
    ------
    NumericalError
        If a value is not finite, or an eigenvalue is clearly negative.

    Notes
    -----
    The order matters to Sobol points only, whose first coordinates are the most even. The linear direction
    first is the linear transformation method for normal factors [1]_.

    References
    ----------
    .. [1] Imai, Tan (2006), A general dimension reduction technique for derivative pricing, J. Computational
       Finance 10(2).

    Examples
    --------
    >>> principal_root(np.array([[4.0, 2.0], [2.0, 1.0]])).round(12).tolist()
    [[2.0], [1.0]]
    """
    require_finite(covariance)
    if gradient is not None and not np.isfinite(gradient).all():
        raise NumericalError(f"gradient: column {np.argmin(np.isfinite(gradient))} was not finite")
    deviations = np.sqrt(np.maximum(np.diag(covariance), 0.0))
    moving = np.nonzero(deviations > 0)[0]
    scale = deviations[moving]
    correlation = covariance[np.ix_(moving, moving)] / np.outer(scale, scale)
    # Rounding leaves of a zero eigenvalue about this much.
    rounding = 1e-12 * moving.size
    columns = []
    if gradient is not None:
        worth = gradient[moving] * scale
        direction = (correlation * worth).sum(axis=1)
        variance = float((direction * worth).sum())
        if variance > rounding * float((worth**2).sum()):
            columns.append((direction / np.sqrt(variance))[:, None])
            correlation = correlation - columns[0] * columns[0].T
    values, vectors = symmetric_eigen(correlation)
    if values.size and values[-1] < -rounding:
        raise NumericalError(
            f"principal components: the smallest eigenvalue was {values[-1]:.6g}, the covariance is not "
            "positive semidefinite"
        )
    kept = values > rounding
    columns.append(vectors[:, kept] * np.sqrt(values[kept]))
    root = np.zeros((covariance.shape[0], sum(part.shape[1] for part in columns)))
    root[moving] = np.concatenate(columns, axis=1) * scale[:, None]
    return root


def symmetric_eigen(matrix: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Find eigenvalues and eigenvectors of a symmetric matrix by cyclic Jacobi rotations.

    Parameters
    ----------
    matrix : ndarray of shape (n, n)
        Symmetric and finite.

    Returns
    -------
    values : ndarray of shape (n,)
        Largest first.
    vectors : ndarray of shape (n, n)
        One column per eigenvalue, of unit length; its largest entry in absolute value is positive.

    Raises
    ------
    NumericalError
        If the rotations do not converge.

    References
    ----------
    .. [1] Golub, Van Loan (2013), Matrix Computations, 4th edition, section 8.5.
    """
    work = np.array(matrix, dtype=np.float64)
    if work.size == 0:
        return np.empty(0), work
    vectors = np.eye(work.shape[0])
    if not _jacobi(work, vectors, _MAX_SWEEPS):
        raise NumericalError(f"eigenvalues: {_MAX_SWEEPS} sweeps of rotations were not enough")
    values = np.diag(work).copy()
    order = np.argsort(-values, kind="stable")
    # Rows of the work array are the vectors; entries that are equal but for rounding count as equal, so that
    # the sign does not hang on the last bit.
    found = np.ascontiguousarray(vectors[order].T)
    sizes = np.abs(found)
    largest = np.argmax(sizes >= sizes.max(axis=0) * (1.0 - 1e-9), axis=0)
    found *= np.where(found[largest, np.arange(values.size)] < 0, -1.0, 1.0)
    return values[order], found


@compiled_checked
def _jacobi(work, vectors, max_sweeps):  # type: ignore[no-untyped-def]  # Numba infers the types
    """Rotate `work` to diagonal form in place; rows of `vectors` become the eigenvectors."""
    n = work.shape[0]
    floor = 0.0
    for k in range(n):
        floor = max(floor, abs(work[k, k]))
    # Entries this small beside the largest eigenvalue move no other one by more than rounding; of a singular
    # matrix they are all that is left in part of it.
    floor *= 1e-17
    for _ in range(max_sweeps):
        rotated = False
        for p in range(n - 1):
            for q in range(p + 1, n):
                entry = work[p, q]
                if abs(entry) <= floor:
                    continue
                rotated = True
                theta = (work[q, q] - work[p, p]) / (2.0 * entry)
                tangent = 1.0 / (abs(theta) + np.sqrt(theta * theta + 1.0))
                if theta < 0.0:
                    tangent = -tangent
                cosine = 1.0 / np.sqrt(tangent * tangent + 1.0)
                sine = tangent * cosine
                for k in range(n):
                    left, right = work[k, p], work[k, q]
                    work[k, p] = cosine * left - sine * right
                    work[k, q] = sine * left + cosine * right
                for k in range(n):
                    left, right = work[p, k], work[q, k]
                    work[p, k] = cosine * left - sine * right
                    work[q, k] = sine * left + cosine * right
                work[p, q] = 0.0
                work[q, p] = 0.0
                for k in range(n):
                    left, right = vectors[p, k], vectors[q, k]
                    vectors[p, k] = cosine * left - sine * right
                    vectors[q, k] = sine * left + cosine * right
        if not rotated:
            return True
    return False
