"""Losses as whole multiples of a unit: what an exact loss law is computed on.

Where every loss is a multiple of one amount, the law on that lattice is exact. Where there is none, each
loss is rounded down, which gives a book that never loses more, and rounded up, which gives one that never
loses less: the two **bracket** every tail probability, quantile and shortfall. In between, each loss is
split over its two neighbours so that its mean stays what it was.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import TypeAlias

import numpy as np
import numpy.typing as npt
from scipy.special import betainc, ndtr, ndtri

from acceleray.errors import NumericalError
from acceleray.numerics.credit_model import LossModel

__all__ = ["LatticeBook", "Rounding", "Severities", "find_unit", "lattice_book"]

FloatArray: TypeAlias = npt.NDArray[np.float64]
IntArray: TypeAlias = npt.NDArray[np.int64]

# A loss this close to a multiple of the unit is one: amounts times fractions are not exact in binary.
SNAP = 1e-9
# Points of a lattice that is found, and of one that is chosen because there is none to find.
MAX_POINTS = 1 << 22
CHOSEN_POINTS = 1 << 15
# Gauss-Legendre points and weights on (0, 1), for the mean of a distribution function over one unit.
_NODES, _WEIGHTS = np.polynomial.legendre.leggauss(4)
_NODES, _WEIGHTS = 0.5 * (_NODES + 1.0), 0.5 * _WEIGHTS


class Rounding(StrEnum):
    """How a loss between two lattice points is put on the lattice."""

    DOWN = "down"
    SPLIT = "split"
    UP = "up"


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Severities:
    """Laws of the loss of one defaulter, in lattice steps.

    Parameters
    ----------
    offsets : ndarray of int64, shape (n_laws,)
        Smallest loss of each.
    starts : ndarray of int64, shape (n_laws + 1,)
        First entry of `weights` of each, and the number of entries.
    weights : ndarray
        Probabilities of the offset and the steps that follow it.
    """

    offsets: IntArray
    starts: IntArray
    weights: FloatArray

    @property
    def largest(self) -> IntArray:
        """Largest loss of each law, in steps."""
        return self.offsets + np.diff(self.starts) - 1


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class LatticeBook:
    """A book whose like obligors are counted together; zero losses are left out.

    Two books of the same obligors in another order are equal, bit for bit.

    Parameters
    ----------
    unit : float
        Amount of one lattice step.
    exact : bool
        Whether every loss is a multiple of the unit.
    loadings : ndarray of shape (n_classes, n_axes)
        Distinct loadings, turned so that there are only as many axes as they span: the factors are
        independent standard normals along any orthogonal directions.
    residual, mean, systematic : ndarray of shape (n_classes,)
        As in `LossModel`.
    class_of, thresholds, counts, severity : ndarray of shape (n_groups,)
        Class, threshold, number of obligors and law of the loss of each group.
    group_of : ndarray of int64, shape (n_obligors,)
        Group of each obligor of the model, in its order; -1 for those that cannot lose anything.
    positions : ndarray of shape (n_severities,)
        Exposure, times the loss given default where that is fixed, in units.
    shape : ndarray of shape (n_severities, 2)
        Parameters of the Beta law; NaN where fixed.
    correlation : ndarray of shape (n_severities,)
        Of the loss given default with the systematic score.
    severity_class : ndarray of int64, shape (n_severities,)
        Class whose score drives it; 0 without correlation.
    """

    unit: float
    exact: bool
    loadings: FloatArray
    residual: FloatArray
    mean: FloatArray
    systematic: FloatArray
    class_of: IntArray
    thresholds: FloatArray
    counts: IntArray
    severity: IntArray
    group_of: IntArray
    positions: FloatArray
    shape: FloatArray
    correlation: FloatArray
    severity_class: IntArray

    @property
    def n_axes(self) -> int:
        """Number of directions that the loadings span."""
        return int(self.loadings.shape[1])

    @property
    def correlated(self) -> bool:
        """Whether the losses given default depend on the factors."""
        return bool((self.correlation > 0.0).any())

    @property
    def n_points(self) -> int:
        """Number of lattice points from 0 to the loss when everybody defaults, rounded up."""
        return 1 + int(self.counts @ np.ceil(self._snapped()).astype(np.int64)[self.severity])

    def severities(self, rounding: Rounding, scores: FloatArray) -> Severities:
        """Put the laws of the loss of one defaulter on the lattice.

        Parameters
        ----------
        rounding : Rounding
            Which of the three books.
        scores : ndarray of shape (n_classes,)
            Systematic score of each class; matters to correlated losses given default only.
        """
        offsets, weights = [], []
        for number, position in enumerate(self._snapped()):
            first = 0
            if np.isnan(self.shape[number, 0]):
                first = int(np.floor(position))
                law = _fixed(float(position) - first, rounding)
                if rounding is Rounding.UP and position > first:
                    first += 1
            else:
                law = _beta(
                    float(position),
                    self.shape[number],
                    float(self.correlation[number]),
                    float(scores[self.severity_class[number]]) if self.correlation[number] else 0.0,
                    rounding,
                )
            offsets.append(first)
            weights.append(law)
        starts = np.cumsum([0] + [law.size for law in weights])
        return Severities(
            offsets=np.array(offsets, dtype=np.int64),
            starts=np.asarray(starts, dtype=np.int64),
            weights=np.concatenate([*weights, np.zeros(0)]),
        )

    def _snapped(self) -> FloatArray:
        nearest = np.round(self.positions)
        return np.where(
            np.abs(self.positions - nearest) <= SNAP * np.maximum(nearest, 1.0), nearest, self.positions
        )


def find_unit(losses: FloatArray, *, max_points: int = MAX_POINTS) -> float | None:
    """Return the largest amount of which every loss is a multiple, or None.

    Parameters
    ----------
    losses : ndarray of shape (n_obligors,)
        Loss of each default, not negative; zeros do not matter.
    max_points : int
        A unit so small that all losses together exceed so many of it does not count.

    Notes
    -----
    Euclid's algorithm with nearest remainders. A loss counts as a multiple if it is one up to a share of
    1e-9 of itself, so that 0.45 times whole cents is found though neither is exact in binary.

    Examples
    --------
    >>> find_unit(np.array([4.5, 6.0, 0.0, 7.5]))
    1.5
    """
    values = np.unique(losses[losses > 0.0])
    if values.size == 0:
        return 1.0
    largest = float(values[-1])
    # Below it a remainder is rounding.
    slack = max(0.1 * SNAP * float(values[0]), 16.0 * np.finfo(np.float64).eps * largest)
    unit, total = float(values[0]), float(losses.sum())
    while True:
        missed = np.abs(values - np.round(values / unit) * unit) > slack
        if not missed.any():
            break
        a, b = float(values[int(missed.argmax())]), unit
        while b > slack:
            a, b = b, abs(a - round(a / b) * b)
        unit = a
        if total > max_points * unit:
            return None
    # The largest loss knows the unit best.
    unit = largest / round(largest / unit)
    steps = np.round(values / unit)
    if total > max_points * unit or (np.abs(values - steps * unit) > SNAP * values).any():
        return None
    return unit


def lattice_book(model: LossModel, *, unit: float | None = None) -> LatticeBook:
    """Count like obligors together and choose the lattice.

    Parameters
    ----------
    model : LossModel
        The book under one scenario.
    unit : float, optional
        Lattice step in currency. Without it, the one that `find_unit` finds; where there is none, or a loss
        given default is Beta distributed, the loss if everybody defaults over 32768.

    Raises
    ------
    NumericalError
        If `unit` is not positive and finite.
    """
    if unit is not None and not 0.0 < unit < np.inf:
        raise NumericalError(f"unit must be positive and finite, was {unit}")
    laws = model.recoveries
    random = laws.std[model.recovery] > 0.0
    amounts = np.where(random, model.exposures, model.exposures * laws.mean[model.recovery])
    kept = amounts > 0.0
    found = None if random[kept].any() else find_unit(amounts[kept])
    if unit is None:
        unit = found if found is not None else float(amounts.sum()) / CHOSEN_POINTS
    per_obligor = np.repeat(np.arange(model.n_cells), np.diff(model.cells))[kept]
    classes, class_of_cell = np.unique(
        np.column_stack([model.residual, model.mean, model.systematic, model.loadings]),
        axis=0,
        return_inverse=True,
    )
    class_of = class_of_cell.ravel()[per_obligor]
    recovery = model.recovery[kept]
    correlated = random[kept] & (laws.correlation[recovery] > 0.0)
    # One number for amount, law and class; sorting rows of three would be slow for a million obligors.
    sizes, size = np.unique(amounts[kept], return_inverse=True)
    n_laws, n_classes = laws.mean.size + 1, classes.shape[0]
    key = (size * n_laws + np.where(random[kept], recovery + 1, 0)) * n_classes
    kinds, severity = np.unique(key + np.where(correlated, class_of, 0), return_inverse=True)
    law_of = kinds // n_classes % n_laws - 1
    is_random = law_of >= 0
    mean, std = laws.mean[law_of], laws.std[law_of]
    with np.errstate(divide="ignore", invalid="ignore"):
        precision = np.where(is_random, mean * (1.0 - mean) / std**2 - 1.0, np.nan)
    thresholds = model.thresholds[kept]
    order = np.lexsort((severity, thresholds, class_of))
    keys = (class_of[order], thresholds[order], severity[order])
    new = np.ones(order.size, dtype=np.bool_)
    new[1:] = np.logical_or.reduce([key[1:] != key[:-1] for key in keys])
    firsts = np.flatnonzero(new)
    group_of = np.full(model.n_obligors, -1, dtype=np.int64)
    group_of[np.flatnonzero(kept)[order]] = np.cumsum(new) - 1
    positions = sizes[kinds // (n_classes * n_laws)] / unit
    nearest = np.round(positions)
    exact = not is_random.any() and bool(
        (np.abs(positions - nearest) <= SNAP * np.maximum(nearest, 1.0)).all()
    )
    return LatticeBook(
        unit=float(unit) if unit > 0.0 else 1.0,
        exact=exact,
        loadings=_spanned(classes[:, 3:]),
        residual=classes[:, 0],
        mean=classes[:, 1],
        systematic=classes[:, 2],
        class_of=keys[0][firsts],
        thresholds=keys[1][firsts],
        counts=np.diff(np.append(firsts, order.size)),
        severity=keys[2][firsts],
        group_of=group_of,
        positions=positions,
        shape=np.column_stack([mean * precision, (1.0 - mean) * precision]),
        correlation=np.where(is_random, laws.correlation[law_of], 0.0),
        severity_class=kinds % n_classes,
    )


def _spanned(loadings: FloatArray) -> FloatArray:
    """Turn the factors so that only as many axes are left as the loadings span."""
    left, sizes, _ = np.linalg.svd(loadings, full_matrices=False)
    kept = sizes > 1e-13 * np.sqrt(loadings.shape[0])
    return np.ascontiguousarray(left[:, kept] * sizes[kept])


def _fixed(rest: float, rounding: Rounding) -> FloatArray:
    if rest == 0.0 or rounding is not Rounding.SPLIT:
        return np.ones(1)
    return np.array([1.0 - rest, rest])


def _beta(
    position: float, shape: FloatArray, correlation: float, score: float, rounding: Rounding
) -> FloatArray:
    """Law on 0, 1, ... of a Beta share of `position`, given the systematic score."""
    n = max(int(np.ceil(position)), 1)
    steps = np.arange(n)

    def distribution(points: FloatArray) -> FloatArray:
        plain = betainc(shape[0], shape[1], np.minimum(points / position, 1.0))
        if correlation == 0.0:
            return np.asarray(plain)
        # u = r s + sqrt(1 - r^2) eta is above -Phi^-1(F(x)) exactly where the loss is at most x.
        return np.asarray(ndtr((ndtri(plain) + correlation * score) / np.sqrt(1.0 - correlation**2)))

    if rounding is Rounding.SPLIT:
        # The share that a hat function around each point gets, from the mean of F over each unit.
        within = np.append(distribution(steps[:, None] + _NODES) @ _WEIGHTS, 1.0)
        return np.maximum(np.diff(within, prepend=0.0), 0.0)
    ends = np.append(0.0, distribution(steps[1:].astype(np.float64)))
    masses = np.diff(np.append(ends, 1.0))
    return np.append(masses, 0.0) if rounding is Rounding.DOWN else np.append(0.0, masses)
