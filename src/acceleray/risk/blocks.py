"""Prepared scenario sets, cut into blocks that any worker can compute alone.

Workers import this module, so it needs nothing but NumPy, SciPy and our own kernels. Arrow comes with the
first job that writes files.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

import numpy as np
import numpy.typing as npt

from acceleray.errors import NumericalError
from acceleray.numerics.delta_gamma import DeltaGamma
from acceleray.numerics.draws import Step, quasi_dimensions, quasi_moves, random_moves
from acceleray.numerics.moves import apply_moves
from acceleray.numerics.sobol import sobol_uniforms
from acceleray.numerics.stratified import Strata, draw_moves
from acceleray.numerics.streams import Purpose, stream
from acceleray.numerics.volatility import simulate_paths
from acceleray.risk.valuation import ResolvedBook, portfolio_gains, position_pnl, positions_of

if TYPE_CHECKING:
    from acceleray.risk.position_files import PositionFiles

__all__ = [
    "Blocks",
    "Drawn",
    "Filtered",
    "Job",
    "Plan",
    "Stratified",
    "Table",
    "block_gains",
    "block_positions",
    "group_gains",
]

FloatArray = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True, kw_only=True)
class Blocks:
    """Scenarios 0 to n - 1 in consecutive blocks of one size; the last may be shorter."""

    n_scenarios: int
    size: int

    def __len__(self) -> int:
        return -(-self.n_scenarios // self.size)

    def bounds(self, block: int) -> tuple[int, int]:
        """First scenario of a block, and the one after its last."""
        return block * self.size, min((block + 1) * self.size, self.n_scenarios)

    def of_scenarios(self) -> npt.NDArray[np.int64]:
        """Block of every scenario, shape (n_scenarios,)."""
        return np.arange(self.n_scenarios, dtype=np.int64) // self.size


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Table:
    """Explicit shocked levels, one row per scenario."""

    blocks: Blocks
    shocked: FloatArray
    replicates: ClassVar[None] = None

    def levels(self, block: int) -> FloatArray:
        """Shocked levels of a block, shape (n_in_block, n_factors)."""
        first, stop = self.blocks.bounds(block)
        return self.shocked[first:stop]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Drawn:
    """Normal or Student-t moves from pseudo-random streams or Sobol points; see `numerics.draws`.

    Gaussian and t sets of one seed share their normals over one day, on purpose: their difference is then
    not sampling noise. `replicates` counts the scrambles of a Sobol set and is None for a random one.
    """

    blocks: Blocks
    base: FloatArray
    move_kinds: npt.NDArray[np.int8]
    root: FloatArray
    drift: FloatArray
    horizon_days: int
    step: Step
    seed: int
    dof: float | None
    unit_variance: bool
    replicates: int | None

    def levels(self, block: int) -> FloatArray:
        """Shocked levels of a block, shape (n_in_block, n_factors)."""
        first, stop = self.blocks.bounds(block)
        days, step = self.horizon_days, self.step
        if self.replicates is not None:
            uniforms = sobol_uniforms(
                self.seed,
                days,
                block=block,
                block_size=self.blocks.size,
                n_paths=stop - first,
                n_dims=quasi_dimensions(self.root.shape[1], horizon_days=days, step=step),
                replicates=self.replicates,
            )
            moves = quasi_moves(
                uniforms,
                self.root,
                horizon_days=days,
                step=step,
                dof=self.dof,
                unit_variance=self.unit_variance,
            )
        else:
            moves = random_moves(
                stream(self.seed, Purpose.MONTE_CARLO, days, block),
                self.root,
                stop - first,
                horizon_days=days,
                step=step,
                dof=self.dof,
                unit_variance=self.unit_variance,
            )
        return apply_moves(self.base, moves + self.drift, self.move_kinds)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Filtered:
    """Paths of resampled residual dates along the variance recursion."""

    blocks: Blocks
    base: FloatArray
    move_kinds: npt.NDArray[np.int8]
    residuals: FloatArray
    omega: FloatArray
    alpha: FloatArray
    gamma: FloatArray
    beta: FloatArray
    variance: FloatArray
    horizon_days: int
    seed: int
    replicates: ClassVar[None] = None

    def levels(self, block: int) -> FloatArray:
        """Shocked levels of a block, shape (n_in_block, n_factors)."""
        first, stop = self.blocks.bounds(block)
        moves = simulate_paths(
            stream(self.seed, Purpose.FILTERED_HISTORICAL, self.horizon_days, block),
            self.residuals,
            omega=self.omega,
            alpha=self.alpha,
            gamma=self.gamma,
            beta=self.beta,
            variance=self.variance,
            horizon_days=self.horizon_days,
            n_paths=stop - first,
        )
        return apply_moves(self.base, moves, self.move_kinds)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Stratified:
    """Paths of a stratified sample; every block is one, with the same numbers of paths in the same strata."""

    blocks: Blocks
    base: FloatArray
    move_kinds: npt.NDArray[np.int8]
    drift: FloatArray
    model: DeltaGamma
    strata: Strata
    counts: IntArray
    horizon_days: int
    seed: int
    replicates: ClassVar[None] = None

    def levels(self, block: int) -> FloatArray:
        """Shocked levels of a block, shape (n_in_block, n_factors), stratum after stratum."""
        generator = stream(self.seed, Purpose.IMPORTANCE, self.horizon_days, block)
        moves, _ = draw_moves(self.model, self.strata, self.counts, generator)
        return apply_moves(self.base, moves + self.drift, self.move_kinds)

    def block_weights(self) -> FloatArray:
        """Weights of any block, shape (block_size,): the same for all; see `Importance.weights`."""
        per_path = self.strata.probability / self.counts / len(self.blocks)
        return np.repeat(per_path, self.counts)


Plan = Table | Drawn | Filtered | Stratified


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Job:
    """A book under a scenario set.

    Parameters
    ----------
    book : ResolvedBook
        Aged to the set's horizon where the settings ask for it.
    plan : Plan
        The scenarios.
    files : PositionFiles, optional
        Where each task writes its slice of the cube of gains.
    """

    book: ResolvedBook
    plan: Plan
    files: PositionFiles | None = None


def block_gains(
    base: FloatArray,
    jobs: tuple[Job, ...],
    job: int,
    block: int,
    sections: tuple[int, int],
    keep_positions: bool,
) -> tuple[FloatArray, FloatArray | None]:
    """Revalue some sections of a book under one block of scenarios; the unit of distributed work.

    Parameters
    ----------
    base : ndarray of shape (n_factors,)
        Levels before the move.
    jobs : tuple of Job
        All of the run.
    job, block : int
        Which job, and which block of its scenarios.
    sections : tuple of int
        First section, and the one after the last.
    keep_positions : bool
        Return the gains of positions too.

    Returns
    -------
    by_portfolio : ndarray of shape (n_portfolios, n_in_block)
        Gain in base currency.
    by_position : ndarray of shape (n_positions_in_sections, n_in_block) or None
        In the order of `valuation.positions_of`, if asked for.

    Raises
    ------
    NumericalError
        Naming block, scenario, and factor or instrument.
    """
    try:
        return _block_gains(base, jobs[job], block, sections, keep_positions)
    except NumericalError as error:
        begin = jobs[job].plan.blocks.bounds(block)[0]
        raise NumericalError(
            f"block {block}, from scenario {begin}: {error.message}", hint=error.hint
        ) from error


def _block_gains(
    base: FloatArray, job: Job, block: int, sections: tuple[int, int], keep_positions: bool
) -> tuple[FloatArray, FloatArray | None]:
    book, plan, files = job.book, job.plan, job.files
    shocked = plan.levels(block)
    if files is None and not keep_positions:
        return portfolio_gains(book, shocked, base[None, :], sections), None
    positions = positions_of(book, sections)
    into = np.empty((positions.size, len(shocked)))
    by_portfolio = portfolio_gains(book, shocked, base[None, :], sections, into=into)
    if files is not None:
        first = plan.blocks.bounds(block)[0]
        files.write(block, sections, positions=positions, first_scenario=first, gains=into)
    return by_portfolio, into if keep_positions else None


def block_positions(
    base: FloatArray, jobs: tuple[Job, ...], job: int, block: int, scenarios: npt.NDArray[np.int64]
) -> FloatArray:
    """Revalue every position under chosen scenarios of one block.

    Parameters
    ----------
    scenarios : ndarray of int64
        Places inside the block.

    Returns
    -------
    ndarray of shape (n_priced, n_scenarios)
        The same bits as in the whole block.
    """
    return position_pnl(jobs[job].book, jobs[job].plan.levels(block)[scenarios], base[None, :])


def group_gains(base: FloatArray, job: Job, scenarios: npt.NDArray[np.int64]) -> FloatArray:
    """Revalue a book under chosen scenarios and sum by portfolio, never holding more than one block.

    Parameters
    ----------
    base : ndarray of shape (n_factors,)
        Levels before the move.
    job : Job
        The ``portfolios`` of its book may be any groups.
    scenarios : ndarray of int64
        Increasing.

    Returns
    -------
    ndarray of shape (n_portfolios, n_chosen)
        The same bits as the sums of `block_gains`, for any choice of scenarios.
    """
    book, blocks = job.book, job.plan.blocks
    sums = np.empty((book.n_portfolios, scenarios.size))
    owners = scenarios // blocks.size
    for block in np.unique(owners):
        chosen = owners == block
        inside = scenarios[chosen] - blocks.bounds(int(block))[0]
        shocked = job.plan.levels(int(block))[inside]
        sums[:, chosen] = portfolio_gains(book, shocked, base[None, :], (0, book.n_sections))
    return sums
