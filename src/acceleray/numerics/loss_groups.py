"""Conditional cumulants of a book's loss: obligors in groups, and groups tabulated over their own score.

Given the factors the obligors are independent, so the cumulants of the loss are sums over obligors of smooth
functions of the threshold and of the systematic part ``s = a'z + m`` of the cell. Two facts follow:

* A group with many obligors needs few thresholds: Lagrange weights move its obligors onto a lattice of
  thresholds a quarter of a residual apart, power sums and all.
* Under a Gaussian copula everything a group has to say is a function of ``s`` alone, and is tabulated once.
"""

from __future__ import annotations

import math
from functools import lru_cache

import numpy as np
import numpy.typing as npt
from scipy import special

from acceleray.numerics.compilation import compiled
from acceleray.numerics.conditional_cumulants import ORDER, ROW, STENCIL, aligned_rows, fill_tables
from acceleray.numerics.credit_model import LossModel
from acceleray.numerics.loss_curve_types import Groups, Obligors, Tables
from acceleray.numerics.read_only import read_only, read_only_record
from acceleray.numerics.recovery import Recoveries

__all__ = ["group_obligors", "list_obligors", "recovery_moments", "sampled_model", "tabulate"]

FloatArray = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]

# An obligor below this unconditional probability is left out: it adds nothing to any digit of a loss curve.
LEAST_PROBABILITY = 1e-17
# Distance of lattice thresholds, in residuals: sixth-order interpolation of Phi is then good to 3e-6 of one
# obligor, with a sign that changes from obligor to obligor.
LATTICE_STEP = 0.25
# Thresholds further out than this many residuals keep their own places.
LATTICE_END = 60.0
# Distance of table rows, in residuals, at most and at least.
WIDEST_ROW, NARROWEST_ROW = 0.25, 1.0 / 32.0
# Groups with fewer places are as quick without a table, unless their loss given default is random.
TABULATED_FROM = 3
# Bytes of tables that a worker may hold.
TABLE_BYTES = 64 * 2**20
# Scores beyond which nothing is looked up, and reach of the normal law in a table.
FARTHEST, REACH = 9.0, 8.5

SCORE_FIRST, SCORE_STEP, N_SCORES = -9.0, 0.1875, 97


def recovery_moments(recoveries: Recoveries, law: int, scores: FloatArray) -> FloatArray:
    """Return raw moments 1 to 6 of a loss given default, given default and the systematic score.

    Parameters
    ----------
    recoveries : Recoveries
        The laws.
    law : int
        Row of `recoveries`; its `std` must be positive.
    scores : ndarray of shape (n_scores,)
        Systematic scores; low is bad.

    Returns
    -------
    ndarray of shape (n_scores, 6)
    """
    mean, std, r = (float(part[law]) for part in (recoveries.mean, recoveries.std, recoveries.correlation))
    precision = mean * (1.0 - mean) / std**2 - 1.0
    alpha, beta = mean * precision, (1.0 - mean) * precision
    powers = np.arange(1.0, ORDER + 1.0)
    if r == 0.0:
        steps = np.arange(float(ORDER))
        ratios = (alpha + steps) / (alpha + beta + steps)
        return np.tile(np.cumprod(ratios), (scores.size, 1))
    # The trapezoid rule is exact to rounding for a smooth function under a normal density.
    own = np.linspace(-8.0, 8.0, 97)
    mass = np.exp(-0.5 * own**2)
    mass /= mass.sum()
    u = r * scores[:, None] + math.sqrt(1.0 - r * r) * own
    costs = special.betaincinv(alpha, beta, special.ndtr(-u))
    found: FloatArray = np.einsum("ijk,j->ik", costs[:, :, None] ** powers, mass)
    return found


@lru_cache(maxsize=4096)
def _tabulated_moments(mean: float, std: float, correlation: float) -> FloatArray:
    """Moments of a law on the common scores; a book is grouped several times, and scenarios share laws."""
    law = Recoveries(mean=np.array([mean]), std=np.array([std]), correlation=np.array([correlation]))
    return read_only(recovery_moments(law, 0, SCORE_FIRST + SCORE_STEP * np.arange(float(N_SCORES))))


def group_obligors(model: LossModel) -> Groups:
    """Group the obligors of a model by cell and law of recovery, and thin out their thresholds.

    Parameters
    ----------
    model : LossModel
        The book.

    Returns
    -------
    Groups
        Without obligors that cannot matter; obligors that are certain to default have a threshold that no
        factor undoes.
    """
    random = (model.recoveries.std > 0.0)[model.recovery]
    sizes = np.where(random, model.exposures, model.exposures * model.recoveries.mean[model.recovery])
    cell = np.repeat(np.arange(model.n_cells), np.diff(model.cells))
    kept = np.flatnonzero(_kept(model, sizes))
    cell = cell[kept]
    law = np.where(random[kept], model.recovery[kept], -1)
    # Stable, so that thresholds stay ascending within a group.
    order = np.lexsort((law, cell)) if np.unique(law).size > 1 else np.arange(kept.size)
    kept, cell, law = kept[order], cell[order], law[order]
    new = (
        np.flatnonzero(np.r_[True, (np.diff(cell) != 0) | (np.diff(law) != 0)])
        if kept.size
        else np.empty(0, int)
    )
    residual = model.residual[cell[new]]
    starts = np.r_[new, kept.size].astype(np.int64)
    # A finite place that is certain for every factor: Phi is 1 above 8.3.
    places = np.minimum(model.thresholds[kept], 1e6) / model.residual[cell]
    lattice_starts, lattice_places, lattice_sizes = _thinned(
        starts, places, sizes[kept], LATTICE_STEP, LATTICE_END
    )
    used = np.unique(law[law >= 0])
    laws = np.zeros((max(used.size, 1), N_SCORES, ORDER))
    recoveries = model.recoveries
    for row, number in enumerate(used):
        law_of = (float(part[number]) for part in (recoveries.mean, recoveries.std, recoveries.correlation))
        laws[row] = _tabulated_moments(*law_of)
    systematic = model.systematic[cell[new]]
    return read_only_record(
        Groups(
            cell=cell[new].astype(np.int64),
            law=np.where(law[new] >= 0, np.searchsorted(used, law[new]), -1).astype(np.int64),
            starts=lattice_starts,
            places=lattice_places,
            sizes=lattice_sizes,
            residual=residual,
            score_scale=np.divide(1.0, systematic, out=np.zeros(new.size), where=systematic > 0.0),
            laws=laws,
            law_first=SCORE_FIRST,
            law_step=SCORE_STEP,
        )
    )


def list_obligors(model: LossModel) -> Obligors:
    """Return the obligors one by one, with laws of recovery numbered as by `group_obligors`."""
    random = (model.recoveries.std > 0.0)[model.recovery]
    sizes = np.where(random, model.exposures, model.exposures * model.recoveries.mean[model.recovery])
    kept = _kept(model, sizes)
    used = np.unique(model.recovery[kept & random])
    residual = np.repeat(model.residual, np.diff(model.cells))
    return read_only_record(
        Obligors(
            cells=model.cells,
            law=np.where(kept & random, np.searchsorted(used, model.recovery), -1).astype(np.int64),
            # What is left out there never defaults here.
            places=np.where(kept, np.clip(model.thresholds, -1e6, 1e6), -1e6) / residual,
            sizes=np.where(kept, sizes, 0.0),
            residual=model.residual,
            score_scale=np.divide(
                1.0, model.systematic, out=np.zeros(model.n_cells), where=model.systematic > 0.0
            ),
        )
    )


def _kept(model: LossModel, sizes: FloatArray) -> npt.NDArray[np.bool_]:
    """Whether an obligor can matter."""
    cell = np.repeat(np.arange(model.n_cells), np.diff(model.cells))
    shifted = model.thresholds + np.abs(model.mean)[cell]
    probability = special.ndtr(shifted) if math.isinf(model.dof) else special.stdtr(model.dof, shifted)
    probability[np.isposinf(model.thresholds)] = 1.0
    kept: npt.NDArray[np.bool_] = (sizes > 0.0) & (probability > LEAST_PROBABILITY)
    return kept


def sampled_model(model: LossModel, n_cells: int) -> LossModel:
    """Return a smaller book that loses much the same, for pilots of books with very many cells.

    Cells are taken systematically, with chances in proportion to their size; each stands for an equal share
    of the book, and large ones may stand for several. No random number is drawn.

    Parameters
    ----------
    model : LossModel
        The book.
    n_cells : int
        Cells wanted, fewer than it has.

    Returns
    -------
    LossModel
        Of at most `n_cells` cells, with the same total of exposure times mean loss given default.
    """
    sizes = model.exposures * model.recoveries.mean[model.recovery]
    by_cell = np.add.reduceat(sizes, model.cells[:-1])
    total = float(by_cell.sum())
    picks = np.searchsorted(np.cumsum(by_cell), (np.arange(n_cells) + 0.5) * (total / n_cells))
    chosen, times = np.unique(np.minimum(picks, model.n_cells - 1), return_counts=True)
    counts = np.diff(model.cells)[chosen]
    starts = np.r_[0, np.cumsum(counts)].astype(np.int64)
    rows = np.repeat(model.cells[:-1][chosen] - starts[:-1], counts) + np.arange(starts[-1])
    scale = np.repeat(times * (total / n_cells) / by_cell[chosen], counts)
    return LossModel(
        thresholds=model.thresholds[rows],
        exposures=model.exposures[rows] * scale,
        recovery=model.recovery[rows],
        recoveries=model.recoveries,
        cells=starts,
        loadings=model.loadings[chosen],
        residual=model.residual[chosen],
        mean=model.mean[chosen],
        systematic=model.systematic[chosen],
        segments=np.array([0, chosen.size]),
        dof=model.dof,
    )


def tabulate(
    groups: Groups, mean: FloatArray, length: FloatArray, slope: FloatArray, node_step: float
) -> Tables:
    """Tabulate the groups for which it pays, so that lines step through the rows evenly.

    Parameters
    ----------
    groups : Groups
        The book, under a Gaussian copula.
    mean : ndarray of shape (n_cells,)
        ``m_c``.
    length : ndarray of shape (n_cells,)
        Length of the loadings.
    slope : ndarray of shape (n_cells,)
        Change of the systematic part along a line.
    node_step : float
        Distance of the nodes on a line; zero tabulates nothing, for a t copula.

    Returns
    -------
    Tables
    """
    n_groups = groups.cell.size
    counts = np.diff(groups.starts)
    moved = slope[groups.cell] * node_step
    b = groups.residual
    even = np.abs(moved) >= NARROWEST_ROW * b
    stride = np.where(even, np.sign(moved) * np.ceil(np.abs(moved) / (WIDEST_ROW * b)), 0.0).astype(np.int64)
    step = np.where(even, np.abs(moved) / np.maximum(np.abs(stride), 1), WIDEST_ROW * b)
    wanted = ((counts >= TABULATED_FROM) | (groups.law >= 0)) & (node_step > 0.0)
    first, n_rows = np.zeros(n_groups), np.zeros(n_groups, dtype=np.int64)
    spent = 0
    # The largest groups gain most.
    for group in np.argsort(-counts, kind="stable"):
        if not wanted[group]:
            continue
        cell, places = groups.cell[group], groups.places[groups.starts[group] : groups.starts[group + 1]]
        reach = FARTHEST * length[cell]
        low = max(mean[cell] - reach, (places[0] - REACH) * b[group])
        high = min(mean[cell] + reach, (places[-1] + REACH) * b[group])
        # Random recoveries vary with the score even where default is certain.
        if groups.law[group] >= 0:
            low = mean[cell] - reach
        if not low < high:
            low = high = min(max(low, mean[cell] - reach), mean[cell] + reach)
        first[group] = low - STENCIL * step[group]
        needed = math.ceil((high - low) / step[group]) + 2 * STENCIL
        spent += needed * 8 * ROW
        if spent > TABLE_BYTES:
            break
        n_rows[group] = needed
    rows = np.r_[0, np.cumsum(n_rows)].astype(np.int64)
    tables = Tables(
        first=first,
        step=step,
        stride=stride,
        rows=rows,
        table=aligned_rows(max(int(rows[-1]), 1)),
        n_direct=int(np.count_nonzero(np.diff(rows) == 0)),
    )
    fill_tables(groups, tables)
    return read_only_record(tables)


def _thinned(
    starts: IntArray, places: FloatArray, sizes: FloatArray, step: float, end: float
) -> tuple[IntArray, FloatArray, FloatArray]:
    """Move the obligors of large groups onto lattices; return starts, places and power sums of sizes."""
    counts = np.diff(starts)
    # A lattice has more places than that.
    room = -counts
    for group in np.flatnonzero(counts > 2 * (2 + STENCIL)):
        first, stop = int(starts[group]), int(starts[group + 1])
        own = int(np.searchsorted(places[first:stop], -end))
        beyond = stop - first - int(np.searchsorted(places[first:stop], end))
        inside = stop - first - own - beyond
        nodes = 0
        if inside > 0:
            nodes = int((places[stop - 1 - beyond] - places[first + own]) / step) + 2 + STENCIL
        room[group] = -(stop - first) if inside <= 2 * nodes else own + beyond + nodes
    new_starts = np.r_[0, np.cumsum(np.abs(room))].astype(np.int64)
    new_places, new_sizes = np.empty(new_starts[-1]), np.zeros((new_starts[-1], ORDER))
    _fill_places(starts, places, sizes, step, end, room, new_starts, new_places, new_sizes)
    return new_starts, new_places, new_sizes


@compiled
def _fill_places(starts, places, sizes, step, end, room, new_starts, new_places, new_sizes):  # type: ignore[no-untyped-def] # Numba infers them.
    """Fill the lattices that `_thinned` made room for; a negative room keeps each obligor's own place."""
    for group in range(room.shape[0]):
        first, stop = starts[group], starts[group + 1]
        at = new_starts[group]
        lattice = at
        origin = np.nan
        nodes = 0
        if room[group] > 0:
            outside = 0
            for k in range(first, stop):
                outside += abs(places[k]) >= end
            nodes = room[group] - outside
        single = at
        # Ascending: what lies below the lattice, the lattice, what lies above it.
        for k in range(first, stop):
            if room[group] < 0 or abs(places[k]) >= end:
                if nodes > 0 and places[k] >= end and origin == origin and single < lattice + nodes:
                    single = lattice + nodes
                new_places[single] = places[k]
                power = 1.0
                for j in range(new_sizes.shape[1]):
                    power *= sizes[k]
                    new_sizes[single, j] = power
                single += 1
                continue
            if origin != origin:
                lattice = single
                origin = places[k] - 2.0 * step
                for node in range(nodes):
                    new_places[lattice + node] = origin + node * step
            position = (places[k] - origin) / step
            row = int(position) - 2
            f = position - (row + 2)
            for node in range(6):
                weight = 1.0
                for other in range(6):
                    if other != node:
                        weight *= (f + 2.0 - other) / (node - other)
                power = weight
                for j in range(new_sizes.shape[1]):
                    power *= sizes[k]
                    new_sizes[lattice + row + node, j] += power
