"""Draw weighted credit losses from a mixture of aims; see `acceleray.numerics.credit_importance`.

Import from there; only its own parts import from here.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
import numpy.typing as npt
from scipy.special import betaincinv, logsumexp, ndtr

from acceleray.errors import NumericalError
from acceleray.numerics.credit_importance_loops import draw_twisted
from acceleray.numerics.credit_model import LossModel
from acceleray.numerics.read_only import freeze_arrays
from acceleray.numerics.recovery import Recoveries

__all__ = [
    "CYCLE",
    "TABLE_GRID",
    "Aim",
    "LossBook",
    "draw_importance",
    "plain_aim",
    "quantile_tables",
]

FloatArray: TypeAlias = npt.NDArray[np.float64]
IntArray: TypeAlias = npt.NDArray[np.int64]

# Paths come in cycles, each with the same number from every component: independent repetitions of the whole
# experiment in small.
CYCLE = 8
# Scores from -8 to 8 at which the quantile of a Beta law is tabulated; its chords miss it by at most 3.1e-5
# of its second derivative.
TABLE_GRID = np.linspace(-8.0, 8.0, 1025)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Aim:
    """Where a mixture of components sends its paths. Build it with `aim_importance` or `plain_aim`.

    Parameters
    ----------
    pattern : ndarray of int64, shape (CYCLE,)
        Component of each path of a cycle; component 0 is the plain one.
    shifts : ndarray of shape (n_components, n_factors)
        Mean of the factors; zero in the plain one.
    scales : ndarray of shape (n_components,)
        Factor on the mixing variable W of a t copula, in (0, 1]; 1 under a Gaussian one.
    level : ndarray of int64, shape (n_components,)
        Row of `targets` that the component is aimed at; -1 for the plain one.
    targets : ndarray of shape (n_levels,)
        Aimed losses in currency, ascending.
    sizes : ndarray of shape (n_levels, n_obligors)
        ``c_k``: mean loss of an obligor's default at the aimed factors, in currency.
    """

    pattern: IntArray
    shifts: FloatArray
    scales: FloatArray
    level: IntArray
    targets: FloatArray
    sizes: FloatArray

    def __post_init__(self) -> None:
        freeze_arrays(self)

    @property
    def is_plain(self) -> bool:
        """Whether every path is a plain one."""
        return self.targets.size == 0


def plain_aim(model: LossModel) -> Aim:
    """Return the aim of plain sampling: every weight is one."""
    return Aim(
        pattern=np.zeros(CYCLE, dtype=np.int64),
        shifts=np.zeros((1, model.n_factors)),
        scales=np.ones(1),
        level=np.array([-1]),
        targets=np.empty(0),
        sizes=np.empty((0, model.n_obligors)),
    )


def draw_importance(
    model: LossModel,
    aim: Aim,
    n_paths: int,
    generator: np.random.Generator,
    *,
    groups: IntArray | None = None,
) -> tuple[FloatArray, FloatArray]:
    """Draw weighted losses of every segment, or of groups of obligors.

    Parameters
    ----------
    model : LossModel
        The book.
    aim : Aim
        Of this book or one of the same obligors and factors: any aim is unbiased.
    n_paths : int
        A multiple of `CYCLE`.
    generator : numpy.random.Generator
        Stream of the block; advanced by as much as the defaults need.
    groups : ndarray of int64, shape (n_obligors,), optional
        Group of each obligor, from 0 without gaps, instead of its segment. The paths are the same.

    Returns
    -------
    losses : ndarray of shape (n_segments, n_paths)
        Or of all groups; in currency, positive is a loss. Every `CYCLE` successive paths are an independent
        repetition.
    weights : ndarray of shape (n_paths,)
        Likelihood ratios, one on average: the mean of ``weights * f(losses)`` is an unbiased estimate of the
        mean of ``f``. At most `CYCLE` over the plain paths of a cycle.

    Raises
    ------
    ValueError
        If `n_paths` is not a positive multiple of `CYCLE`, or the aim has other dimensions than the model.
    """
    if n_paths <= 0 or n_paths % CYCLE:
        raise ValueError(f"n_paths must be a positive multiple of {CYCLE}, was {n_paths}")
    if aim.shifts.shape[1] != model.n_factors or aim.sizes.shape[1] != model.n_obligors:
        raise ValueError(
            f"the aim has {aim.shifts.shape[1]} factors and {aim.sizes.shape[1]} obligors, "
            f"the model {model.n_factors} and {model.n_obligors}"
        )
    members = np.tile(aim.pattern, n_paths // CYCLE)
    factors, roots, log_ratios = _draw_factors(model, aim, members, generator)
    counts = np.bincount(aim.pattern, minlength=aim.level.size)
    with np.errstate(divide="ignore"):
        log_ratios += np.log(counts / CYCLE)[:, None]
    log_shares = np.full((aim.targets.size + 1, n_paths), -np.inf)
    for level in range(-1, aim.targets.size):
        log_shares[level + 1] = logsumexp(log_ratios[aim.level == level], axis=0)
    # Component by component, and by depth within: neighbours need the same work.
    order = np.lexsort((log_shares[-1], members))
    book = LossBook.of(model)
    group_of = book.segment_of if groups is None else np.ascontiguousarray(groups[book.active])
    losses = np.zeros((model.n_segments if groups is None else int(groups.max()) + 1, n_paths))
    log_weights = np.empty(n_paths)
    # Sizes above 1e-300 of the largest; the unit of currency does not matter to a twist.
    unit = max(float(aim.sizes.max(initial=0.0)), np.finfo(np.float64).tiny)
    tables, rows = quantile_tables(model.recoveries)
    draw_twisted(
        generator,
        book.thresholds,
        book.cell_of,
        group_of,
        np.ascontiguousarray(model.loadings),
        model.mean,
        1.0 / model.residual,
        model.systematic,
        book.exposures,
        book.law_of,
        model.recoveries.mean,
        rows,
        model.recoveries.correlation,
        tables,
        float(TABLE_GRID[0]),
        float(TABLE_GRID[1] - TABLE_GRID[0]),
        np.ascontiguousarray(aim.sizes[:, book.active]) / unit,
        aim.targets / unit,
        factors,
        roots,
        log_shares,
        order,
        np.concatenate([[0], np.cumsum(np.bincount(members, minlength=aim.level.size))]),
        aim.level,
        losses,
        log_weights,
    )
    return losses, np.exp(log_weights)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class LossBook:
    """The obligors that can cost anything, with cell and segment spelled out.

    Parameters
    ----------
    active : ndarray of int64, shape (n_active,)
        Their rows in the model.
    thresholds, exposures : ndarray of shape (n_active,)
        As in the model.
    cell_of, segment_of, law_of : ndarray of int64, shape (n_active,)
        Cell, segment and law of the loss given default of each.
    """

    active: IntArray
    thresholds: FloatArray
    exposures: FloatArray
    cell_of: IntArray
    segment_of: IntArray
    law_of: IntArray

    @classmethod
    def of(cls, model: LossModel) -> LossBook:
        """Return the obligors of a model that can cost anything."""
        cell_of = np.repeat(np.arange(model.n_cells), np.diff(model.cells))
        segment_of = np.repeat(np.arange(model.n_segments), np.diff(model.segments))[cell_of]
        costs = model.exposures * model.recoveries.mean[model.recovery]
        active = np.flatnonzero((costs > 0.0) & (model.thresholds > -np.inf))
        return cls(
            active=active,
            thresholds=model.thresholds[active],
            exposures=model.exposures[active],
            cell_of=cell_of[active],
            segment_of=segment_of[active],
            law_of=model.recovery[active],
        )


def _draw_factors(
    model: LossModel, aim: Aim, members: IntArray, generator: np.random.Generator
) -> tuple[FloatArray, FloatArray, FloatArray]:
    """Factors, square roots of W / nu, and the log density of every component over the plain one."""
    factors = generator.standard_normal((model.n_factors, members.size)) + aim.shifts[members].T
    squares = 0.5 * (aim.shifts**2).sum(axis=1)
    log_ratios = np.zeros((aim.level.size, members.size))
    # Not a matrix product: its bits may depend on the number of paths.
    for factor in range(model.n_factors):
        log_ratios += aim.shifts[:, factor, None] * factors[factor]
    log_ratios -= squares[:, None]
    if math.isinf(model.dof):
        return factors, np.ones(members.size), log_ratios
    shape = 0.5 * model.dof
    mixing = 2.0 * generator.standard_gamma(shape, members.size) * aim.scales[members]
    log_ratios -= shape * np.log(aim.scales)[:, None]
    log_ratios -= (0.5 / aim.scales - 0.5)[:, None] * mixing
    return factors, np.sqrt(mixing / model.dof), log_ratios


def quantile_tables(laws: Recoveries) -> tuple[FloatArray, IntArray]:
    """Loss given default by score, one row per Beta law, and the row of each law (-1 for a fixed one)."""
    random = np.flatnonzero(laws.std > 0.0)
    rows = np.full(laws.mean.size, -1, dtype=np.int64)
    rows[random] = np.arange(random.size)
    if random.size == 0:
        return np.zeros((1, 2)), rows
    mean, std = laws.mean[random, None], laws.std[random, None]
    size = mean * (1.0 - mean) / std**2 - 1.0
    below = ndtr(-TABLE_GRID)
    tables = np.asarray(betaincinv(mean * size, (1.0 - mean) * size, below), dtype=np.float64)
    if not np.isfinite(tables).all():
        raise NumericalError("a quantile of a Beta law of the loss given default was not finite")
    return tables, rows
