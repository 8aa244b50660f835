"""Default probabilities and cumulants of the loss, given the systematic factors.

Given the factors (and the mixing variable of a t copula) defaults are independent, so the loss of a segment
is a sum of independent terms: its cumulants add up. Paths lie along the last axis; the numbers of a path
depend on nothing but that path, bit for bit.
"""

from __future__ import annotations

import math
from typing import TypeAlias

import numpy as np
import numpy.typing as npt

from acceleray.errors import NumericalError
from acceleray.numerics import credit_loops
from acceleray.numerics.credit_model import LossModel
from acceleray.numerics.recovery import moment_tables

__all__ = ["conditional_default_probabilities", "conditional_moments", "path_scale"]

FloatArray: TypeAlias = npt.NDArray[np.float64]


def conditional_default_probabilities(
    model: LossModel, factors: FloatArray, mixing: FloatArray | None = None
) -> FloatArray:
    """Return the default probability of each obligor given the factors.

    Parameters
    ----------
    model : LossModel
        The book.
    factors : ndarray of shape (n_factors, n_paths)
        Factor values; low is bad.
    mixing : ndarray of shape (n_paths,), optional
        Chi-square variable ``W`` of a t copula; none for a Gaussian one.

    Returns
    -------
    ndarray of shape (n_obligors, n_paths)
        ``Phi((x_k sqrt(W / nu) - m_c - a_c' z) / b_c)`` to a relative error of some ``1e-16 d^2``, with ``d``
        the argument of Phi, down to the smallest normal numbers; exactly 0 and 1 for infinite thresholds.

    Raises
    ------
    NumericalError
        If shapes do not fit the model, a factor is not finite or a mixing value is not positive.
    """
    scale = path_scale(model, factors, mixing)
    found = np.empty((model.n_obligors, scale.size))
    credit_loops.probability_rows(
        model.thresholds,
        model.cells,
        np.ascontiguousarray(model.loadings),
        1.0 / model.residual,
        model.mean,
        np.ascontiguousarray(factors),
        scale,
        found,
    )
    return found


def conditional_moments(
    model: LossModel, factors: FloatArray, mixing: FloatArray | None = None
) -> FloatArray:
    """Return the cumulants of each segment's loss given the factors.

    Parameters
    ----------
    model : LossModel
        The book.
    factors : ndarray of shape (n_factors, n_paths)
        Factor values; low is bad.
    mixing : ndarray of shape (n_paths,), optional
        Chi-square variable ``W`` of a t copula; none for a Gaussian one.

    Returns
    -------
    ndarray of shape (4, n_segments, n_paths)
        Mean, variance, third and fourth cumulant, in powers of the currency. Segments are independent given
        the factors, so the book's cumulants are their sums.

    Raises
    ------
    NumericalError
        As `conditional_default_probabilities`.

    Notes
    -----
    Obligors of a cell with one threshold and one recovery law are a grade whose powers of exposures are
    summed beforehand. Nothing of size obligors times paths is held.
    """
    scale = path_scale(model, factors, mixing)
    tables = moment_tables(model.recoveries)
    # A grade is a run of one law and threshold after sorting a cell by law, then threshold.
    cell = np.repeat(np.arange(model.n_cells), np.diff(model.cells))
    order = np.lexsort((model.thresholds, model.recovery, cell))
    thresholds, law, cell = model.thresholds[order], model.recovery[order], cell[order]
    new = np.ones(model.n_obligors, dtype=np.bool_)
    new[1:] = (np.diff(cell) != 0) | (np.diff(law) != 0) | (thresholds[1:] != thresholds[:-1])
    first = np.flatnonzero(new)
    exposures = model.exposures[order]
    powers = np.stack([np.add.reduceat(exposures**j, first) for j in (1, 2, 3, 4)], axis=1)
    found = np.empty((4, model.n_segments, scale.size))
    credit_loops.moment_rows(
        thresholds[first],
        law[first],
        powers,
        np.searchsorted(cell[first], np.arange(model.n_cells + 1)),
        model.segments,
        np.ascontiguousarray(model.loadings),
        1.0 / model.residual,
        inverse_systematic(model),
        model.mean,
        np.ascontiguousarray(factors),
        scale,
        tables.constant,
        tables.first,
        tables.pieces,
        tables.coefficients,
        found,
    )
    return found


def path_scale(model: LossModel, factors: FloatArray, mixing: FloatArray | None) -> FloatArray:
    """Check the draws of a model and return ``sqrt(W / nu)`` per path, ones for a Gaussian copula.

    Parameters
    ----------
    model : LossModel
        The book.
    factors : ndarray of shape (n_factors, n_paths)
        Factor values.
    mixing : ndarray of shape (n_paths,), optional
        Chi-square variables.

    Returns
    -------
    ndarray of shape (n_paths,)
        Positive.

    Raises
    ------
    NumericalError
        If shapes do not fit the model, a factor is not finite or a mixing value is not positive.
    """
    if factors.ndim != 2 or factors.shape[0] != model.n_factors:
        raise NumericalError(f"factors must have {model.n_factors} rows, shape was {factors.shape}")
    if not np.isfinite(factors).all():
        raise NumericalError("every factor value must be finite")
    if math.isinf(model.dof):
        if mixing is not None:
            raise NumericalError("a Gaussian copula has no mixing variable")
        return np.ones(factors.shape[1])
    if mixing is None or mixing.shape != factors.shape[1:]:
        raise NumericalError("a t copula needs one mixing value per path")
    # Written so that NaN fails too.
    if not (mixing > 0.0).all() or np.isinf(mixing).any():
        raise NumericalError("every mixing value must be finite and positive")
    return np.sqrt(mixing / model.dof)


def inverse_systematic(model: LossModel) -> FloatArray:
    """Return one over the length of each cell's unstressed loadings, 0 where they vanish.

    Parameters
    ----------
    model : LossModel
        The book.

    Returns
    -------
    ndarray of shape (n_cells,)
        What the level ``a' z + m`` is multiplied by to give the systematic score.
    """
    return np.divide(1.0, model.systematic, out=np.zeros_like(model.systematic), where=model.systematic > 0.0)
