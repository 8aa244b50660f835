"""Resolved books under prepared scenarios: blocks in this process, or as Ray tasks, with the same bits."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from acceleray.numerics.aggregation import tree_sum
from acceleray.numerics.stopping import Decision, StoppingRule, decide
from acceleray.risk.blocks import Job, Plan, Stratified, block_gains
from acceleray.risk.fan_out import as_they_finish
from acceleray.risk.valuation import positions_of

__all__ = ["BLOCK_SIZE", "KEEP_BYTES", "Gains", "first", "revaluations"]

FloatArray = npt.NDArray[np.float64]

BLOCK_SIZE = 2048

# Gains of single positions are kept in memory up to this size; beyond it they are computed again when asked
# for.
KEEP_BYTES = 1_000_000_000

# What a task may hold of position gains; more are cut into shards of whole sections.
_SHARD_BYTES = 250_000_000


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Gains:
    """What a job earned.

    Parameters
    ----------
    by_portfolio : ndarray of shape (n_portfolios, n_scenarios)
        Gain of the positions that lie directly in each portfolio.
    by_position : ndarray of shape (n_priced, n_scenarios) or None
        In key order; None where it was not kept.
    stopped : str or None
        Why there are so many scenarios, where a rule could have ended the job early.
    """

    by_portfolio: FloatArray
    by_position: FloatArray | None
    stopped: str | None = None


def revaluations(
    jobs: Sequence[Job],
    base: FloatArray,
    *,
    keep_positions: bool | None = None,
    stopping: Mapping[int, StoppingRule] | None = None,
    distributed: bool,
) -> list[Gains]:
    """Revalue resolved books under their plans, one task per block of scenarios and shard of the book.

    Parameters
    ----------
    base : ndarray of shape (n_factors,)
        Levels before the moves.
    keep_positions : bool, optional
        Return gains per position; by default if those of all jobs together fit into `KEEP_BYTES`.
    stopping : mapping of int to StoppingRule, optional
        Rules of jobs that may end before their last block, by number of the job.
    distributed : bool
        As Ray tasks, or in this process.

    Returns
    -------
    list of Gains
        Per job, assembled in block order. Neither workers nor shards change a bit. A job that stopped early
        has the scenarios of its first blocks.
    """
    if keep_positions is None:
        size = sum(8 * job.book.positions.size * job.plan.blocks.n_scenarios for job in jobs)
        keep_positions = size <= KEEP_BYTES
    pending = [_Pending(job, keep_positions, (stopping or {}).get(index)) for index, job in enumerate(jobs)]
    calls = [
        (index, block, shard, keep_positions)
        for index, each in enumerate(pending)
        for block in range(len(each.job.plan.blocks))
        for shard in each.shards
    ]
    finished = as_they_finish(
        block_gains,
        (base, tuple(jobs)),
        calls,
        what="scenario block",
        distributed=distributed,
        wanted=lambda number: not pending[calls[number][0]].is_done,
    )
    for number, (by_portfolio, by_position) in finished:
        index, block, shard, _ = calls[number]
        pending[index].take(block, shard, by_portfolio, by_position)
    return [each.gains() for each in pending]


def first(gains: Gains, n_scenarios: int) -> Gains:
    """Return the gains under the first scenarios."""
    kept = gains.by_position
    return Gains(
        by_portfolio=gains.by_portfolio[:, :n_scenarios],
        by_position=None if kept is None else kept[:, :n_scenarios],
        stopped=gains.stopped,
    )


class _Pending:
    """The gains of one job as its blocks come in."""

    def __init__(self, job: Job, keep_positions: bool, rule: StoppingRule | None) -> None:
        n_scenarios = job.plan.blocks.n_scenarios
        self.job = job
        self.shards = _shards(job, keep_positions)
        self.is_done = False
        self._by_portfolio = np.empty((job.book.n_portfolios, n_scenarios))
        self._by_position = np.empty((job.book.positions.size, n_scenarios)) if keep_positions else None
        self._parts: dict[int, dict[tuple[int, int], FloatArray]] = {}
        self._rule = rule
        self._started = time.monotonic()
        self._waiting: dict[int, FloatArray] = {}
        self._losses: list[FloatArray] = []
        self._decision: Decision | None = None

    def take(
        self, block: int, shard: tuple[int, int], by_portfolio: FloatArray, by_position: FloatArray | None
    ) -> None:
        """Put the result of one task in its place."""
        columns = slice(*self.job.plan.blocks.bounds(block))
        if self._by_position is not None and by_position is not None:
            self._by_position[positions_of(self.job.book, shard), columns] = by_position
        parts = self._parts.setdefault(block, {})
        parts[shard] = by_portfolio
        if len(parts) == len(self.shards):
            del self._parts[block]
            total = tree_sum(np.array([parts[each] for each in self.shards]), axis=0)
            self._by_portfolio[:, columns] = total
            if self._rule is not None and not self.is_done:
                self._waiting[block] = -tree_sum(total, axis=0)
                self._judge(self._rule)

    def gains(self) -> Gains:
        """Return everything, or the prefix that the rule found enough."""
        count = self.job.plan.blocks.n_scenarios if self._decision is None else self._decision.n_paths
        positions = self._by_position
        return Gains(
            by_portfolio=self._by_portfolio[:, :count],
            by_position=None if positions is None else positions[:, :count],
            stopped=None if self._decision is None else self._decision.reason,
        )

    def _judge(self, rule: StoppingRule) -> None:
        checked = len(self._losses)
        while (block := len(self._losses)) in self._waiting:
            self._losses.append(self._waiting.pop(block))
        if len(self._losses) > checked:
            decision = decide(
                rule,
                self._losses,
                checked=checked,
                elapsed_s=time.monotonic() - self._started,
                weights=_weights(self.job.plan, len(self._losses)),
                replicates=self.job.plan.replicates,
            )
            if decision.stop:
                self._decision, self.is_done = decision, True


def _weights(plan: Plan, n_blocks: int) -> list[FloatArray] | None:
    return [plan.block_weights()] * n_blocks if isinstance(plan, Stratified) else None


def _shards(job: Job, keep_positions: bool) -> list[tuple[int, int]]:
    """Cut the sections of a book into runs of a power of two, so that the tree of sums stays the same."""
    sections = job.book.n_sections
    length = max(sections, 1)
    if keep_positions or job.files is not None:
        in_block = min(job.plan.blocks.size, job.plan.blocks.n_scenarios)
        per_section = 8 * in_block * -(-job.book.positions.size // length)
        length = max(_SHARD_BYTES // max(per_section, 1), 1)
        length = 1 << (length.bit_length() - 1)
    return [(first, min(first + length, sections)) for first in range(0, sections, length)] or [(0, 0)]
