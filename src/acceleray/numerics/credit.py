"""Default losses of a loan book under a factor copula, drawn obligor by obligor: the plain sampler.

Given the factors (and the mixing variable of a t copula) the defaults of a `LossModel` are independent. The
sampler draws every one of them, without a normal or Poisson approximation, in one of two ways:

* **Cells of many alike obligors**: its cost follows the number of defaults and not the number of obligors. A
  cell is cut into bins of similar thresholds. In a bin it jumps from candidate to candidate with geometric
  steps at the largest conditional probability of the bin, ``p_max``, and keeps a candidate with probability
  ``p_i / p_max``. The two together are exactly one independent Bernoulli draw of ``p_i`` per obligor.
* **Small cells**: one uniform per obligor and path, for a block of paths at once. A bound that costs a few
  operations settles nearly every comparison with ``p_i``; only where a default is likely is it computed.

`prepare_draws` chooses per cell by an estimate of both costs that depends on the cell alone.

Every path of a segment has a random key of its own, drawn from the segment's stream: any path can be drawn
again without the others (`draw_defaults`). The recovery of an obligor on a path is a function of that key and
of the obligor's place in its segment, so it is the same in every scenario where the obligor defaults; where
cells are drawn obligor by obligor, the same holds of the uniforms that decide the defaults.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
import numpy.typing as npt
from scipy.special import ndtr, stdtr

from acceleray.numerics import credit_loops
from acceleray.numerics.compilation import compiled_checked
from acceleray.numerics.conditional import inverse_systematic, path_scale
from acceleray.numerics.credit_model import LossModel
from acceleray.numerics.read_only import freeze_arrays
from acceleray.numerics.recovery import QuantileTables, quantile_tables
from acceleray.numerics.streams import Purpose, stream

__all__ = [
    "Defaults",
    "PreparedModel",
    "default_generator",
    "draw_defaults",
    "draw_losses",
    "draw_mixing",
    "draw_systematic",
    "prepare_draws",
]

FloatArray: TypeAlias = npt.NDArray[np.float64]
IntArray: TypeAlias = npt.NDArray[np.int64]

# A bin spans at most this ratio of unconditional default probabilities, so that few candidates are rejected,
# and a run of at least so many equal ones is a bin of its own, where none is. Only cells of many obligors are
# cut into bins, and narrow ones cost them little.
BIN_RATIO = 1.1
LONG_RUN = 64
# Nanoseconds on one core, measured: a bin on a path, a default found by jumps, an obligor drawn by itself.
BIN_COST = 40.0
JUMP_COST = 10.0
OBLIGOR_COST = 1.0


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class PreparedModel:
    """A loss model, ready to be drawn from any number of times. Build it with `prepare_draws`.

    Parameters
    ----------
    model : LossModel
        The book.
    bin_cells : ndarray of int64, shape (n_cells + 1,)
        First bin of each cell, and the number of bins. A cell without bins is drawn obligor by obligor.
    bins : ndarray of int64, shape (n_bins, 2)
        First obligor of each bin and the one after its last, in the order of the book.
    tables : QuantileTables
        The recovery laws.
    """

    model: LossModel
    bin_cells: IntArray
    bins: IntArray
    tables: QuantileTables

    def __post_init__(self) -> None:
        freeze_arrays(self)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Defaults:
    """Who defaulted on chosen paths.

    Parameters
    ----------
    path : ndarray of int64, shape (n_defaults,)
        Number of the path in its block, ascending within a segment.
    obligor : ndarray of int64, shape (n_defaults,)
        Place in the book; segments in order.
    loss : ndarray of shape (n_defaults,)
        Exposure times loss given default, in currency.
    """

    path: IntArray
    obligor: IntArray
    loss: FloatArray


def default_generator(seed: int, *, block: int, segment: str) -> np.random.Generator:
    """Stream of the idiosyncratic draws of one segment in one block of paths.

    It depends on the segment's name and on nothing else of the book, so a segment's losses are the same
    whether it is simulated alone or beside others, and whatever another segment is shocked by.
    """
    digest = hashlib.blake2b(segment.encode(), digest_size=8).digest()
    words = (int.from_bytes(digest[:4], "little"), int.from_bytes(digest[4:], "little"))
    return stream(seed, Purpose.CREDIT_DEFAULTS, block, *words)


def draw_systematic(seed: int, *, block: int, n_factors: int, n_paths: int) -> FloatArray:
    """Draw the systematic factors of each path of a block.

    Parameters
    ----------
    seed : int
        Seed of the whole simulation, not negative.
    block : int
        Index of the block; the same block has the same factors on every worker.
    n_factors, n_paths : int
        Factors of the model, and paths in the block.

    Returns
    -------
    ndarray of shape (n_factors, n_paths)
        Independent standard normals; a shorter block is the beginning of a longer one.
    """
    drawn = stream(seed, Purpose.CREDIT_FACTOR, block).standard_normal((n_paths, n_factors))
    return np.ascontiguousarray(drawn.T)


def draw_mixing(seed: int, *, block: int, n_paths: int, dof: float) -> FloatArray | None:
    """Draw the chi-square variable of a t copula on each path of a block.

    Parameters
    ----------
    seed, block : int
        Address of the stream; it is not that of the factors.
    n_paths : int
        Paths in the block.
    dof : float
        Degrees of freedom; infinity for a Gaussian copula.

    Returns
    -------
    ndarray of shape (n_paths,), or None
        None for a Gaussian copula.
    """
    if math.isinf(dof):
        return None
    return stream(seed, Purpose.CREDIT_MIXING, block).chisquare(dof, n_paths)


def prepare_draws(model: LossModel) -> PreparedModel:
    """Choose how each cell is drawn, and tabulate the recovery laws.

    Parameters
    ----------
    model : LossModel
        The book.

    Returns
    -------
    PreparedModel
        To be drawn from by `draw_losses` and `draw_defaults`.
    """
    # Without the mean shift of a stress; it only steers the choice of bins, never what is drawn.
    if math.isinf(model.dof):
        probability = np.asarray(ndtr(model.thresholds), dtype=np.float64)
    else:
        probability = np.asarray(stdtr(model.dof, model.thresholds), dtype=np.float64)
        probability[np.isneginf(model.thresholds)] = 0.0
        probability[np.isposinf(model.thresholds)] = 1.0
    bin_cells, bins = _cell_bins(
        probability, model.cells, BIN_RATIO, LONG_RUN, BIN_COST, JUMP_COST, OBLIGOR_COST
    )
    return PreparedModel(
        model=model, bin_cells=bin_cells, bins=bins, tables=quantile_tables(model.recoveries)
    )


def draw_losses(
    prepared: PreparedModel,
    factors: FloatArray,
    mixing: FloatArray | None,
    generators: Sequence[np.random.Generator],
) -> FloatArray:
    """Draw who defaults on each path and add up what it costs, by segment.

    Parameters
    ----------
    prepared : PreparedModel
        From `prepare_draws`.
    factors : ndarray of shape (n_factors, n_paths)
        Factor values; low is bad. From `draw_systematic`, or any others.
    mixing : ndarray of shape (n_paths,), optional
        Chi-square variables of a t copula; none for a Gaussian one.
    generators : sequence of numpy.random.Generator
        One stream per segment, see `default_generator`; each is advanced by six words per path.

    Returns
    -------
    ndarray of shape (n_segments, n_paths)
        Losses in currency; positive is a loss. The bits of a path depend on its factors and on its place in
        the streams alone.

    Raises
    ------
    NumericalError
        If shapes do not fit the model, a factor is not finite or a mixing value is not positive.
    ValueError
        If there is not one generator per segment.
    """
    scale = path_scale(prepared.model, factors, mixing)
    _check_generators(prepared, generators)
    factors = np.ascontiguousarray(factors)
    losses = np.empty((prepared.model.n_segments, scale.size))
    for segment, generator in enumerate(generators):
        keys = _path_keys(generator, scale.size)
        _draw_segment(prepared, segment, factors, scale, keys, losses[segment], None)
    return losses


def draw_defaults(
    prepared: PreparedModel,
    factors: FloatArray,
    mixing: FloatArray | None,
    generators: Sequence[np.random.Generator],
    paths: IntArray,
) -> Defaults:
    """Draw chosen paths of a block again and tell who defaulted on them.

    Parameters
    ----------
    prepared : PreparedModel
        From `prepare_draws`.
    factors, mixing
        Those of the whole block, as in `draw_losses`.
    generators : sequence of numpy.random.Generator
        The streams of the block, from their beginning.
    paths : ndarray of int64, shape (n_chosen,)
        Paths of the block, ascending.

    Returns
    -------
    Defaults
        The losses of a path and segment, added in order, give the very bits of `draw_losses`.

    Raises
    ------
    NumericalError
        As `draw_losses`.
    ValueError
        If there is not one generator per segment.
    """
    model = prepared.model
    scale = path_scale(model, factors, mixing)
    _check_generators(prepared, generators)
    chosen = np.ascontiguousarray(factors[:, paths])
    chosen_scale = scale[paths]
    losses = np.empty(paths.size)
    places, obligors, costs = [], [], []
    for segment, generator in enumerate(generators):
        keys = np.ascontiguousarray(_path_keys(generator, scale.size)[:, paths])
        # Once to count them, once to keep them.
        nothing = (np.empty((2, 0), dtype=np.int64), np.empty(0))
        n_defaults = _draw_segment(prepared, segment, chosen, chosen_scale, keys, losses, nothing)
        kept = (np.empty((2, n_defaults), dtype=np.int64), np.empty(n_defaults))
        _draw_segment(prepared, segment, chosen, chosen_scale, keys, losses, kept)
        # Blocks of paths are drawn obligor by obligor: sorted by path, obligors stay in the order of summing.
        order = np.argsort(kept[0][0], kind="stable")
        places.append(paths[kept[0][0][order]])
        obligors.append(kept[0][1][order] + model.cells[model.segments[segment]])
        costs.append(kept[1][order])
    return Defaults(path=np.concatenate(places), obligor=np.concatenate(obligors), loss=np.concatenate(costs))


def _check_generators(prepared: PreparedModel, generators: Sequence[np.random.Generator]) -> None:
    if len(generators) != prepared.model.n_segments:
        raise ValueError(
            f"{prepared.model.n_segments} segments need a generator each, {len(generators)} were given"
        )


def _path_keys(generator: np.random.Generator, n_paths: int) -> npt.NDArray[np.uint64]:
    words = generator.integers(
        0, 2**64 - 1, size=(n_paths, credit_loops.KEY_WORDS), dtype=np.uint64, endpoint=True
    )
    return np.ascontiguousarray(words.T)


def _draw_segment(
    prepared: PreparedModel,
    segment: int,
    factors: FloatArray,
    scale: FloatArray,
    keys: npt.NDArray[np.uint64],
    out: FloatArray,
    record: tuple[IntArray, FloatArray] | None,
) -> int:
    model, tables = prepared.model, prepared.tables
    cells = slice(int(model.segments[segment]), int(model.segments[segment + 1]))
    ends = slice(cells.start, cells.stop + 1)
    first = int(model.cells[cells.start])
    rows = slice(first, int(model.cells[cells.stop]))
    bin_cells = prepared.bin_cells[ends]
    events, costs = record or (np.empty((2, 0), dtype=np.int64), np.empty(0))
    n_defaults: int = credit_loops.default_losses(
        model.thresholds[rows],
        model.exposures[rows],
        model.recovery[rows],
        model.cells[ends] - first,
        np.ascontiguousarray(model.loadings[cells]),
        1.0 / model.residual[cells],
        inverse_systematic(model)[cells],
        model.mean[cells],
        bin_cells - bin_cells[0],
        (prepared.bins[bin_cells[0] : bin_cells[-1]] - first).ravel(),
        factors,
        scale,
        keys,
        tables.mean,
        tables.correlation,
        tables.own,
        tables.first,
        tables.pieces,
        tables.coefficients,
        out,
        record is not None,
        events,
        costs,
    )
    return n_defaults


@compiled_checked
def _bins(probability, ratio, long_run):  # type: ignore[no-untyped-def]  # Numba infers the types
    n = probability.shape[0]
    starts = np.empty(n + 1, dtype=np.int64)
    n_bins = 0
    closed = True
    position = 0
    while position < n:
        value = probability[position]
        stop = position + 1
        while stop < n and probability[stop] == value:
            stop += 1
        is_long = stop - position >= long_run
        if closed or is_long or value > ratio * probability[starts[n_bins - 1]]:
            starts[n_bins] = position
            n_bins += 1
        closed = is_long
        position = stop
    starts[n_bins] = n
    return starts[: n_bins + 1].copy()


@compiled_checked
def _cell_bins(probability, cells, ratio, long_run, bin_cost, jump_cost, obligor_cost):  # type: ignore[no-untyped-def]  # Numba infers the types
    n_cells = cells.shape[0] - 1
    firsts = np.zeros(n_cells + 1, dtype=np.int64)
    bins = np.empty((64, 2), dtype=np.int64)
    n_bins = 0
    for cell in range(n_cells):
        firsts[cell] = n_bins
        first = cells[cell]
        size = cells[cell + 1] - first
        if size * obligor_cost <= bin_cost:
            continue
        starts = _bins(probability[first : first + size], ratio, long_run)
        cost = (starts.shape[0] - 1) * bin_cost
        for index in range(starts.shape[0] - 1):
            highest = probability[first + starts[index + 1] - 1]
            cost += highest * (starts[index + 1] - starts[index]) * jump_cost
        if cost > size * obligor_cost:
            continue
        while n_bins + starts.shape[0] > bins.shape[0]:
            grown = np.empty((2 * bins.shape[0], 2), dtype=np.int64)
            # Numba takes two seconds to compile an assignment of a slice.
            for index in range(n_bins):
                grown[index, 0] = bins[index, 0]
                grown[index, 1] = bins[index, 1]
            bins = grown
        for index in range(starts.shape[0] - 1):
            bins[n_bins, 0] = first + starts[index]
            bins[n_bins, 1] = first + starts[index + 1]
            n_bins += 1
    firsts[n_cells] = n_bins
    return firsts, bins[:n_bins].copy()
