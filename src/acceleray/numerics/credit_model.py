"""Who defaults together: the factor model behind every credit kernel.

Obligor ``k`` of cell ``c`` defaults within the year when

    a_c' Z + b_c e_k  <  x_k sqrt(W / nu) - m_c

with independent standard normal factors ``Z`` and own risks ``e_k``. **A low factor is bad.** ``W`` is one
chi-square variable of ``nu`` degrees of freedom for the whole book under a t copula, and ``W / nu`` is 1
under a Gaussian one. The threshold ``x_k`` is the quantile of the default probability, of the normal law or
of Student's t. Before any stress ``|a_c|^2 + b_c^2 = 1`` and ``m_c = 0``; a stress of the factors moves the
mean ``m_c`` and may shrink ``a_c``, and leaves ``b_c`` alone.

A cell holds the obligors that share segment and loadings, so that what depends on the factors alone is
computed once per cell. A book where every obligor has loadings of its own has as many cells as obligors.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
import numpy.typing as npt
from scipy.special import betaln, ndtri, stdtrit

from acceleray.errors import NumericalError
from acceleray.numerics.read_only import freeze_arrays
from acceleray.numerics.recovery import Recoveries

__all__ = ["LossModel", "default_thresholds"]

FloatArray: TypeAlias = npt.NDArray[np.float64]
IntArray: TypeAlias = npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class LossModel:
    """A loan book under one scenario, ready for any method. The constructor checks everything.

    Its arrays are read-only views of those that were given.

    Parameters
    ----------
    thresholds : ndarray of shape (n_obligors,)
        ``x_k``, ascending within each cell; minus and plus infinity for probabilities of 0 and 1. See
        `default_thresholds`.
    exposures : ndarray of shape (n_obligors,)
        Exposure at default in currency, finite and not negative.
    recovery : ndarray of int64, shape (n_obligors,)
        Row of `recoveries` that holds the loss given default of each obligor.
    recoveries : Recoveries
        The distinct laws of the loss given default.
    cells : ndarray of int64, shape (n_cells + 1,)
        First obligor of each cell, and the number of obligors; no cell is empty.
    loadings : ndarray of shape (n_cells, n_factors)
        ``a_c``; at least one factor.
    residual : ndarray of shape (n_cells,)
        ``b_c``, in (0, 1].
    mean : ndarray of shape (n_cells,)
        ``m_c``; zero without a stress of the factors.
    systematic : ndarray of shape (n_cells,)
        Length of the loadings before a stress; `systematic_scores` divides by it.
    segments : ndarray of int64, shape (n_segments + 1,)
        First cell of each segment, and the number of cells; no segment is empty.
    dof : float
        Degrees of freedom of the t copula, above 2; infinity for the Gaussian one.

    Raises
    ------
    NumericalError
        If an array has the wrong shape, order or range.
    """

    thresholds: FloatArray
    exposures: FloatArray
    recovery: IntArray
    recoveries: Recoveries
    cells: IntArray
    loadings: FloatArray
    residual: FloatArray
    mean: FloatArray
    systematic: FloatArray
    segments: IntArray
    dof: float = math.inf

    def __post_init__(self) -> None:
        n_obligors, n_cells = self.thresholds.size, self.residual.size
        shapes = {
            "thresholds": (n_obligors,),
            "exposures": (n_obligors,),
            "recovery": (n_obligors,),
            "cells": (n_cells + 1,),
            "loadings": (n_cells, self.loadings.shape[-1]),
            "residual": (n_cells,),
            "mean": (n_cells,),
            "systematic": (n_cells,),
            "segments": (self.segments.size,),
        }
        for name, shape in shapes.items():
            if getattr(self, name).shape != shape:
                raise NumericalError(f"{name} must have shape {shape}, was {getattr(self, name).shape}")
        if self.loadings.shape[1] == 0:
            raise NumericalError("a loss model needs at least one factor")
        for name, last in (("cells", n_obligors), ("segments", n_cells)):
            starts = getattr(self, name)
            if starts.size < 2 or starts[0] != 0 or starts[-1] != last or (np.diff(starts) <= 0).any():
                raise NumericalError(f"{name} must rise from 0 to {last} without an empty one")
        # Written so that NaN fails too.
        if not (self.exposures >= 0.0).all() or np.isinf(self.exposures).any():
            raise NumericalError("every exposure must be finite and not negative")
        if not ((self.residual > 0.0) & (self.residual <= 1.0)).all():
            raise NumericalError("every residual must lie in (0, 1]")
        if not (np.isfinite(self.loadings).all() and np.isfinite(self.mean).all()):
            raise NumericalError("every loading and mean must be finite")
        if not ((self.systematic >= 0.0) & (self.systematic < 1.0)).all():
            raise NumericalError("every systematic length must lie in [0, 1)")
        if not self.dof > 2.0:
            raise NumericalError(f"dof must be above 2, was {self.dof}")
        inside = np.ones(max(n_obligors - 1, 0), dtype=np.bool_)
        inside[self.cells[1:-1] - 1] = False
        if not (self.thresholds[1:][inside] >= self.thresholds[:-1][inside]).all():
            raise NumericalError("thresholds must ascend within each cell")
        if np.isnan(self.thresholds).any():
            raise NumericalError("no threshold may be NaN")
        if self.recovery.min() < 0 or self.recovery.max() >= self.recoveries.mean.size:
            raise NumericalError("recovery must name rows of recoveries")
        freeze_arrays(self)

    @property
    def n_obligors(self) -> int:
        """Number of obligors."""
        return int(self.thresholds.size)

    @property
    def n_cells(self) -> int:
        """Number of cells."""
        return int(self.residual.size)

    @property
    def n_factors(self) -> int:
        """Number of systematic factors."""
        return int(self.loadings.shape[1])

    @property
    def largest_loss(self) -> float:
        """Loss if everybody defaults; nothing is recovered where the recovery is random."""
        random = self.recoveries.std > 0.0
        lgd = np.where(random, 1.0, self.recoveries.mean)[self.recovery]
        return float(np.sum(self.exposures * lgd))

    @property
    def n_segments(self) -> int:
        """Number of segments."""
        return int(self.segments.size) - 1

    def segment(self, number: int) -> LossModel:
        """Return one segment as a book of its own; its arrays are views."""
        first, stop = int(self.segments[number]), int(self.segments[number + 1])
        rows, cells = slice(int(self.cells[first]), int(self.cells[stop])), slice(first, stop)
        return LossModel(
            thresholds=self.thresholds[rows],
            exposures=self.exposures[rows],
            recovery=self.recovery[rows],
            recoveries=self.recoveries,
            cells=self.cells[first : stop + 1] - self.cells[first],
            loadings=self.loadings[cells],
            residual=self.residual[cells],
            mean=self.mean[cells],
            systematic=self.systematic[cells],
            segments=np.array([0, stop - first]),
            dof=self.dof,
        )

    def systematic_scores(self, factors: FloatArray) -> FloatArray:
        """Return the standard normal score that drives correlated recoveries, by cell and path.

        Parameters
        ----------
        factors : ndarray of shape (n_factors, n_paths)
            Factor values; low is bad.

        Returns
        -------
        ndarray of shape (n_cells, n_paths)
            ``(a_c' z + m_c) / |a_c|``, with the loadings before the stress in the denominator; 0 where they
            vanish.
        """
        level = self.loadings @ factors + self.mean[:, None]
        return np.divide(
            level, self.systematic[:, None], out=np.zeros_like(level), where=self.systematic[:, None] > 0.0
        )


def default_thresholds(default_prob: npt.ArrayLike, *, dof: float = math.inf) -> FloatArray:
    """Return the quantiles of default probabilities.

    Parameters
    ----------
    default_prob : array_like
        One-year probabilities in [0, 1]. The smallest positive ones are as good as any other.
    dof : float
        Degrees of freedom of the t copula, above 2; infinity for the Gaussian one.

    Returns
    -------
    ndarray
        Of the shape of `default_prob`; minus infinity for 0 and plus infinity for 1.

    Raises
    ------
    NumericalError
        If a probability is not in [0, 1] or `dof` is not above 2.
    """
    probability = np.asarray(default_prob, dtype=np.float64)
    if not ((probability >= 0.0) & (probability <= 1.0)).all():
        raise NumericalError("every default_prob must lie in [0, 1]")
    if not dof > 2.0:
        raise NumericalError(f"dof must be above 2, was {dof}")
    if math.isinf(dof):
        return np.asarray(ndtri(probability), dtype=np.float64)
    found = np.asarray(stdtrit(dof, probability), dtype=np.float64)
    # SciPy gives plus infinity at both ends, and loses its way below 1e-200 or so. There the law's tail is
    # its leading power, z^(dof / 2) / (dof B(dof / 2, 1/2)) with z = dof / x^2, up to a relative z.
    small = np.where((probability > 0.0) & (probability < 0.5), probability, 0.5)
    log_z = (np.log(small) + math.log(dof) + betaln(0.5 * dof, 0.5)) * (2.0 / dof)
    tail = (small < 0.5) & ((log_z < -40.0) | ~(found < 0.0))
    found = np.where(tail, -math.sqrt(dof) * np.exp(-0.5 * log_z), found)
    return np.where(probability == 0.0, -np.inf, found)
