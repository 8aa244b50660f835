"""Profit and loss of every position in every scenario, and what is measured from it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Literal

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from acceleray.domain.book import ROOT
from acceleray.domain.measures import Measure
from acceleray.errors import UsageError
from acceleray.numerics.aggregation import tree_sum
from acceleray.numerics.contributions import expected_shortfall_contributions
from acceleray.numerics.tail import Estimate, estimate_expected_shortfall, estimate_value_at_risk
from acceleray.risk.blocks import Job, block_positions
from acceleray.risk.plans import Labels
from acceleray.risk.resolve import Resolution

__all__ = ["Pnl"]

FloatArray = npt.NDArray[np.float64]

_CONFIDENCE = 0.95


@dataclass(frozen=True, kw_only=True, eq=False)
class Pnl:
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
    """

    resolution: Resolution
    labels: Labels
    by_portfolio: FloatArray
    by_position: FloatArray | None
    job: Job
    base: FloatArray

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
        return tuple(
            (portfolio, instrument, reason)
            for portfolio, instrument, reason in zip(
                book.portfolio_ids, book.instrument_ids, self.resolution.reasons, strict=True
            )
            if reason is not None
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
                f"portfolio_id: {portfolio_id!r} is not in the book",
                hint=f"Nodes are {', '.join(book.nodes[:30])}.",
            ) from error
        return np.nonzero(np.isin(self.resolution.priced.positions, members))[0]

    def node(self, portfolio_id: str = ROOT) -> FloatArray:
        """Sum the gains of the portfolios below a node, in a fixed tree; shape (n_scenarios,)."""
        own = self.resolution.portfolios_below(portfolio_id)
        if not own.size:
            self.rows(portfolio_id)
        return tree_sum(self.by_portfolio[own], axis=0)

    def var(
        self, level: float = 0.99, portfolio_id: str = ROOT, *, confidence: float = _CONFIDENCE
    ) -> Measure:
        """Estimate the value at risk of a node.

        Parameters
        ----------
        level : float
            As a fraction, 0.99.
        confidence : float
            Of the interval.

        Raises
        ------
        UsageError
            If the scenarios have no probabilities, or there is no such node.
        """
        self._require_probabilities()
        losses = -self.node(portfolio_id)
        return self._measure(
            estimate_value_at_risk(
                losses,
                level=level,
                confidence=confidence,
                overlap_days=self.labels.overlap_days,
                seed=self.labels.seed,
            )
        )

    def es(
        self, level: float = 0.975, portfolio_id: str = ROOT, *, confidence: float = _CONFIDENCE
    ) -> Measure:
        """Estimate the expected shortfall of a node; parameters and errors as for `var`."""
        self._require_probabilities()
        losses = -self.node(portfolio_id)
        return self._measure(
            estimate_expected_shortfall(
                losses,
                level=level,
                confidence=confidence,
                overlap_days=self.labels.overlap_days,
                seed=self.labels.seed,
            )
        )

    def contributions(
        self,
        measure: Literal["ES"] = "ES",
        level: float = 0.975,
        by: Literal["instrument_id", "portfolio_id"] = "instrument_id",
        portfolio_id: str = ROOT,
    ) -> pa.Table:
        """Split a node's expected shortfall over its members so that the parts add up.

        Parameters
        ----------
        by : {"instrument_id", "portfolio_id"}
            Instruments, or the nodes directly below.

        Returns
        -------
        pyarrow.Table
            member_id, value, std_error; values add up to the node's expected shortfall.

        Raises
        ------
        UsageError
            If another measure is asked for, the scenarios have no probabilities, or there is no such node.
        """
        self._require_probabilities()
        if measure != "ES":
            raise UsageError(f"measure: contributions are those of 'ES', was {measure!r}")
        names, member_pnl = self._members(by, portfolio_id)
        total = tree_sum(member_pnl, axis=0)
        values, errors = expected_shortfall_contributions(-member_pnl, -total, level=level)
        return pa.table(
            {
                "member_id": pa.array(names, pa.string()),
                "value": pa.array(values, pa.float64()),
                "std_error": pa.array(errors, pa.float64()),
            }
        )

    def _members(self, by: str, portfolio_id: str) -> tuple[list[str], FloatArray]:
        rows, book = self.rows(portfolio_id), self.resolution.book
        positions = self.resolution.priced.positions[rows]
        if by == "instrument_id":
            owners = [book.instrument_ids[i] for i in positions]
        elif by == "portfolio_id":
            owners = [_child(book.portfolio_ids[i], portfolio_id) for i in positions]
        else:
            raise UsageError(f"by: expected 'instrument_id' or 'portfolio_id', was {by!r}")
        names = sorted(set(owners))
        pnl = np.zeros((len(names), self.cube.shape[1]))
        for member, name in enumerate(names):
            own = [row for row, owner in zip(rows, owners, strict=True) if owner == name]
            pnl[member] = tree_sum(self.cube[own], axis=0)
        return names, pnl

    def _measure(self, estimate: Estimate) -> Measure:
        return Measure(
            value=estimate.value,
            ci_low=estimate.ci_low,
            ci_high=estimate.ci_high,
            n_paths=self.n_paths,
            method=self.labels.method,
            note=estimate.note,
        )

    def _require_probabilities(self) -> None:
        if self.labels.method == "stress":
            raise UsageError("named stresses have no probabilities, so there is no VaR or ES of them")


def _child(portfolio_id: str, node: str) -> str:
    """Node directly below `node` on the way to a portfolio, or `node` itself when it is that portfolio."""
    if portfolio_id == node:
        return node
    below = "" if node == ROOT else f"{node}/"
    return below + portfolio_id[len(below) :].split("/", 1)[0]


def _repeat(names: Sequence[str], each: pa.Array) -> pa.Array:
    return pa.array(names, pa.string()).take(each)
