"""Gains of every position in every scenario: its nodes, and cuts of it that are again such a cube."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Self

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from acceleray.domain.book import ROOT
from acceleray.domain.inputs import did_you_mean
from acceleray.errors import UsageError
from acceleray.numerics.aggregation import tree_sum
from acceleray.risk.blocks import Job, block_positions, group_gains
from acceleray.risk.cuts import kept_gains, restricted, selected
from acceleray.risk.plans import Labels
from acceleray.risk.resolve import Resolution

__all__ = ["GainsCube", "path_sums"]

FloatArray = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]


@dataclass(frozen=True, kw_only=True, eq=False, repr=False)
class GainsCube:
    """A cube of gains, positions by scenarios.

    Parameters
    ----------
    resolution : Resolution
        The book, and which of its positions were priced.
    labels : Labels
        What the scenarios stand for.
    by_portfolio : ndarray of shape (n_portfolios, n_scenarios)
        Gain in base currency of the positions directly in each portfolio.
    by_position : ndarray of shape (n_priced, n_scenarios) or None
        Gain of each priced position, in key order; None where it was too large to keep.
    job : Job
        Book and scenarios, from which gains of positions can be computed again.
    base : ndarray of shape (n_factors,)
        Levels before the moves.
    chosen : ndarray of bool, shape (n_positions,), optional
        Positions of the book that this is about, where it is a cut; see `select`.
    """

    resolution: Resolution
    labels: Labels
    by_portfolio: FloatArray
    by_position: FloatArray | None
    job: Job
    base: FloatArray
    chosen: npt.NDArray[np.bool_] | None = None

    def __repr__(self) -> str:
        priced = self.by_portfolio.shape[0], len(self.resolution.priced.positions)
        return (
            f"<{type(self).__name__}: {priced[1]} positions in {priced[0]} portfolios, "
            f"{self.n_paths} scenarios of {self.labels.method}, {self.resolution.base_currency}, "
            f"{len(self.excluded)} excluded>"
        )

    @property
    def n_paths(self) -> int:
        """Number of scenarios."""
        return int(self.by_portfolio.shape[1])

    @cached_property
    def cube(self) -> FloatArray:
        """Gain of every position in every scenario, shape (n_priced, n_scenarios)."""
        return self.position_gains(np.arange(self.n_paths))

    def position_gains(self, scenarios: npt.NDArray[np.int64]) -> FloatArray:
        """Gain of every position in some scenarios, shape (n_priced, n_chosen).

        Parameters
        ----------
        scenarios : ndarray of int64
            Increasing.
        """
        if self.by_position is not None:
            return self.by_position[:, scenarios]
        blocks = self.job.plan.blocks
        owners = scenarios // blocks.size
        parts = [
            block_positions(
                self.base, (self.job,), 0, int(block), scenarios[owners == block] - blocks.bounds(block)[0]
            )
            for block in np.unique(owners)
        ]
        return np.concatenate([np.empty((len(self.job.book.positions), 0)), *parts], axis=1)

    @property
    def excluded(self) -> tuple[tuple[str, str, str], ...]:
        """Positions that could not be priced: portfolio, instrument, reason."""
        book = self.resolution.book
        asked = np.ones(len(book.portfolio_ids), dtype=bool) if self.chosen is None else self.chosen
        return tuple(
            (portfolio, instrument, reason)
            for portfolio, instrument, reason, is_asked in zip(
                book.portfolio_ids, book.instrument_ids, self.resolution.reasons, asked, strict=True
            )
            if reason is not None and is_asked
        )

    def select(self, **where: str | Iterable[str]) -> Self:
        """Cut out positions: everything that can be asked of a book can be asked of the cut.

        Parameters
        ----------
        **where
            ``portfolio_id``, ``instrument_id``, ``kind``, ``currency``, ``issuer_id``, ``factor_id`` or an
            ``attr_*`` column, each a name, a glob, or several of them. A position must meet every condition;
            a portfolio stands for everything below it.

        Returns
        -------
        GainsCube
            Of the same class, with the positions that meet them all. There may be none: such a cut never
            gains or loses. Where gains of positions were not kept, sums are computed again, block by block.

        Raises
        ------
        UsageError
            If there is no such column, or a name or glob matches nothing in the book.
        """
        chosen = selected(self.resolution.book, where)
        if self.chosen is not None:
            chosen &= self.chosen
        rows = np.flatnonzero(chosen[self.resolution.priced.positions])
        priced = restricted(self.resolution.priced, rows)
        job = replace(self.job, book=restricted(self.job.book, rows), files=None)
        kept = None if self.by_position is None else self.by_position[rows]
        return replace(
            self,
            resolution=replace(self.resolution, priced=priced),
            job=job,
            by_position=kept,
            by_portfolio=path_sums(self.base, job, kept, np.arange(self.n_paths)),
            chosen=chosen,
        )

    def positions(self) -> pa.Table:
        """Return the cube as rows: portfolio_id, instrument_id, scenario, pnl.

        ``scenario`` is the name where scenarios have names, else a number from 0.
        """
        book, priced = self.resolution.book, self.resolution.priced.positions
        n_positions, n_scenarios = self.cube.shape
        names = self.labels.names
        labels = pa.array(names, pa.string()) if names is not None else pa.array(np.arange(n_scenarios))
        each = pa.array(np.repeat(np.arange(n_positions), n_scenarios))
        return pa.table(
            {
                "portfolio_id": _repeat([book.portfolio_ids[i] for i in priced], each),
                "instrument_id": _repeat([book.instrument_ids[i] for i in priced], each),
                "scenario": labels.take(pa.array(np.tile(np.arange(n_scenarios), n_positions))),
                "pnl": self.cube.ravel(),
            }
        )

    def rows(self, portfolio_id: str = ROOT) -> npt.NDArray[np.int64]:
        """Rows of the cube below a node, increasing.

        Raises
        ------
        UsageError
            If the book has no such node.
        """
        book = self.resolution.book
        try:
            members = book.members(portfolio_id)
        except KeyError as error:
            raise UsageError(
                f"portfolio_id: {portfolio_id!r} is not in the book{did_you_mean(portfolio_id, book.nodes)}",
                hint=f"Nodes are {', '.join(book.nodes[:30])}.",
            ) from error
        return np.nonzero(np.isin(self.resolution.priced.positions, members))[0]

    def node(self, portfolio_id: str = ROOT) -> FloatArray:
        """Sum the gains of the portfolios below a node, in a fixed tree; shape (n_scenarios,)."""
        own = self.resolution.portfolios_below(portfolio_id)
        if not own.size:
            self.rows(portfolio_id)
        return tree_sum(self.by_portfolio[own], axis=0)


def path_sums(base: FloatArray, job: Job, kept: FloatArray | None, scenarios: IntArray) -> FloatArray:
    """Sum gains of a job's positions by portfolio under some scenarios.

    Parameters
    ----------
    base : ndarray of shape (n_factors,)
        Levels before the moves.
    job : Job
        The ``portfolios`` of its book may be any groups.
    kept : ndarray of shape (n_positions, n_paths) or None
        Gains of its positions under all scenarios; without them these scenarios are revalued again.
    scenarios : ndarray of int64
        Increasing.

    Returns
    -------
    ndarray of shape (n_portfolios, n_chosen)
    """
    return group_gains(base, job, scenarios) if kept is None else kept_gains(job.book, kept, scenarios)


def _repeat(names: Sequence[str], each: pa.Array) -> pa.Array:
    return pa.array(names, pa.string()).take(each)
