"""Prepared scenario sets, cut into blocks that any worker can compute alone.

Workers import this module, so it needs nothing but NumPy, SciPy, Arrow and our own kernels.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from acceleray.numerics.moves import apply_moves, draw_t_mixing, gaussian_moves
from acceleray.numerics.streams import Purpose, stream
from acceleray.numerics.volatility import simulate_paths
from acceleray.risk.position_files import PositionFiles
from acceleray.risk.valuation import ResolvedBook, portfolio_gains, position_pnl, positions_of

__all__ = [
    "Blocks",
    "Drawn",
    "Filtered",
    "Job",
    "Plan",
    "Table",
    "block_gains",
    "block_positions",
]

FloatArray = npt.NDArray[np.float64]


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

    def levels(self, block: int) -> FloatArray:
        """Shocked levels of a block, shape (n_in_block, n_factors)."""
        first, stop = self.blocks.bounds(block)
        return self.shocked[first:stop]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Drawn:
    """Sums of daily normal or Student-t moves.

    Each block draws day by day: its normals first, then the chi-squares, so Gaussian and t sets of the same
    seed and one day share their normals on purpose and their difference is not sampling noise.
    """

    blocks: Blocks
    base: FloatArray
    log_moves: npt.NDArray[np.bool_]
    root: FloatArray
    horizon_days: int
    seed: int
    dof: float | None
    unit_variance: bool

    def levels(self, block: int) -> FloatArray:
        """Shocked levels of a block, shape (n_in_block, n_factors)."""
        first, stop = self.blocks.bounds(block)
        generator = stream(self.seed, Purpose.MONTE_CARLO, self.horizon_days, block)
        total = np.zeros((stop - first, self.base.size))
        for _ in range(self.horizon_days):
            moves = gaussian_moves(generator, self.root, stop - first)
            if self.dof is not None:
                moves *= draw_t_mixing(generator, self.dof, stop - first, unit_variance=self.unit_variance)
            total += moves
        return apply_moves(self.base, total, self.log_moves)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Filtered:
    """Paths of resampled residual dates along the variance recursion."""

    blocks: Blocks
    base: FloatArray
    log_moves: npt.NDArray[np.bool_]
    residuals: FloatArray
    omega: FloatArray
    alpha: FloatArray
    beta: FloatArray
    variance: FloatArray
    horizon_days: int
    seed: int

    def levels(self, block: int) -> FloatArray:
        """Shocked levels of a block, shape (n_in_block, n_factors)."""
        first, stop = self.blocks.bounds(block)
        moves = simulate_paths(
            stream(self.seed, Purpose.FILTERED_HISTORICAL, self.horizon_days, block),
            self.residuals,
            omega=self.omega,
            alpha=self.alpha,
            beta=self.beta,
            variance=self.variance,
            horizon_days=self.horizon_days,
            n_paths=stop - first,
        )
        return apply_moves(self.base, moves, self.log_moves)


Plan = Table | Drawn | Filtered


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
    """
    book, plan, files = jobs[job].book, jobs[job].plan, jobs[job].files
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
