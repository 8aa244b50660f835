"""Stressed expected shortfall: today's book in the worst window of the whole history."""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
import numpy.typing as npt

from acceleray.domain.book import ROOT, Book, is_below
from acceleray.domain.market import Market
from acceleray.domain.measures import Measure
from acceleray.errors import InputDataError, UsageError
from acceleray.numerics.aggregation import tree_sum
from acceleray.numerics.moves import apply_moves, horizon_moves
from acceleray.numerics.rolling import rolling_expected_shortfall
from acceleray.risk.blocks import Blocks, Job, Table
from acceleray.risk.estimates import estimated
from acceleray.risk.market import workers
from acceleray.risk.plans import Labels
from acceleray.risk.proxies import with_proxies
from acceleray.risk.resolve import Resolution, factor_columns, resolve
from acceleray.risk.revaluation import BLOCK_SIZE, revaluations

__all__ = ["METHOD", "StressedEs", "StressedHistory", "stressed_es"]

FloatArray = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]

METHOD = "stressed_historical"


@dataclass(frozen=True, slots=True, kw_only=True)
class StressedEs:
    """Expected shortfall in the worst window of history.

    Parameters
    ----------
    measure : Measure
        The figure; its interval covers sampling error inside the window, not the choice of the window.
    level : float
        As a fraction.
    window : tuple of date
        Last day of the first and of the last move in the window.
    n_windows : int
        Windows that were compared.
    proxied_share, missing_share : float
        Share of the book's moving factors that took a proxy's moves, or had none, on some day of the window.
    absent : tuple of (str, str)
        Portfolio and instrument of the positions that neither gain nor lose on the days of the window for
        which one of their factors has no move.
    """

    measure: Measure
    level: float
    window: tuple[dt.date, dt.date]
    n_windows: int
    proxied_share: float
    missing_share: float
    absent: tuple[tuple[str, str], ...]


def stressed_es(
    book: Book,
    market: Market,
    *,
    level: float = 0.975,
    window_days: int = 250,
    horizon_days: int = 1,
    portfolio_id: str = ROOT,
    on_failed: Literal["exclude", "stop"] = "exclude",
    base_currency: str | None = None,
    confidence: float = 0.95,
    n_workers: int = 1,
) -> StressedEs:
    """Find the window of the whole history in which today's book has its highest expected shortfall.

    The book is revalued once under every move that the market has; the window then rolls over its losses.

    Parameters
    ----------
    book, market
        What is held, and the history.
    level : float
        As a fraction.
    window_days : int
        Moves per window.
    horizon_days : int
        Business days of each move; moves of more than one day overlap.
    portfolio_id : str
        Node whose worst window is wanted.
    on_failed : {"exclude", "stop"}
        What to do with a position that cannot be priced today, or that one of its factors has no move for
        in the window and no proxy that has one: leave it out of those days and say so, or raise.
    base_currency : str, optional
        By default the only instrument currency that has no exchange rate.
    confidence : float
        Of the interval.
    n_workers : int
        1 runs here; more run as Ray tasks. The bits do not depend on it.

    Raises
    ------
    InputDataError
        If the history is shorter than a window, no position of the node can be priced, or as `on_failed`
        says.
    UsageError
        If the book has no such node.
    """
    resolution = resolve(book, market, base_currency=base_currency, on_failed=on_failed)
    reasons = [
        (name, reason)
        for owner, name, reason in zip(
            book.portfolio_ids, book.instrument_ids, resolution.reasons, strict=True
        )
        if is_below(owner, portfolio_id)
    ]
    if reasons and all(reason is not None for _, reason in reasons):
        name, reason = reasons[0]
        raise InputDataError(f"no position of {portfolio_id!r} could be priced; {name!r}: {reason}")
    history = StressedHistory.of(
        resolution, market, window_days=window_days, horizon_days=horizon_days, block_size=BLOCK_SIZE
    )
    with workers(n_workers):
        (gains,) = revaluations([history.job], market.base, keep_positions=False, distributed=n_workers > 1)
    return history.worst(
        gains.by_portfolio,
        level=level,
        confidence=confidence,
        on_failed=on_failed,
        portfolio_id=portfolio_id,
        nodes=(portfolio_id,),
    )[portfolio_id]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class StressedHistory:
    """A book under all moves of its history; see `stressed_es`.

    Parameters
    ----------
    resolution : Resolution
        The book.
    labels : Labels
        Of all moves.
    dates : ndarray of datetime64[D], shape (n_moves,)
        Last day of each.
    job : Job
        Its groups are the positions of one portfolio that begin on the same day.
    groups : tuple of (str, int)
        Portfolio of each group, and the first move it takes part in.
    starts : ndarray of int64, shape (n_priced,)
        First move that each position takes part in.
    proxied : ndarray of bool, shape (n_moves, n_used)
        Moves of the book's moving factors that came from a proxy.
    missing : ndarray of bool, shape (n_moves, n_used)
        Those that there are not.
    window_days : int
        Moves per window.
    """

    resolution: Resolution
    labels: Labels
    dates: npt.NDArray[np.datetime64]
    job: Job
    groups: tuple[tuple[str, int], ...]
    starts: IntArray
    proxied: npt.NDArray[np.bool_]
    missing: npt.NDArray[np.bool_]
    window_days: int

    @classmethod
    def of(
        cls,
        resolution: Resolution,
        market: Market,
        *,
        window_days: int,
        horizon_days: int,
        block_size: int,
    ) -> StressedHistory:
        """Prepare the revaluation; parameters and errors are those of `stressed_es`."""
        n_moves = market.dates.size - horizon_days
        if n_moves < window_days:
            raise InputDataError(
                f"stressed ES: a window of {window_days} moves of {horizon_days} days needs "
                f"{window_days + horizon_days} dates, the market has {market.dates.size}",
                hint="Choose a shorter window, or give the market more history.",
            )
        priced = resolution.priced
        own = horizon_moves(market.levels, market.move_kinds, horizon_days)
        own[:, market.fixed] = 0.0
        moves = with_proxies(own, market)
        missing = np.isnan(moves)
        # A factor has no gaps once it begins, and a proxy only lets it begin earlier.
        begins = missing.sum(axis=0)
        by_instrument = [
            max((int(begins[column]) for column in columns), default=0)
            for columns in factor_columns(resolution, market)
        ]
        starts = np.array(by_instrument, dtype=np.int64)[priced.instrument_rows]
        pairs, numbers = np.unique(np.stack([priced.portfolios, starts]), axis=1, return_inverse=True)
        used = priced.columns[~market.fixed[priced.columns]]
        blocks = Blocks(n_scenarios=n_moves, size=block_size)
        shocked = apply_moves(market.base, np.where(missing, 0.0, moves), market.move_kinds)
        groups = replace(priced, portfolios=numbers.reshape(-1), n_portfolios=pairs.shape[1])
        return cls(
            resolution=resolution,
            labels=Labels(
                method=METHOD,
                note="",
                horizon_days=horizon_days,
                overlap_days=horizon_days,
                blocks=blocks,
            ),
            dates=market.dates[horizon_days:],
            job=Job(book=groups, plan=Table(blocks=blocks, shocked=shocked)),
            groups=tuple((resolution.portfolio_ids[portfolio], int(start)) for portfolio, start in pairs.T),
            starts=starts,
            proxied=(np.isnan(own) & ~missing)[:, used],
            missing=missing[:, used],
            window_days=window_days,
        )

    def worst(
        self,
        by_group: FloatArray,
        *,
        level: float,
        confidence: float,
        on_failed: Literal["exclude", "stop"],
        portfolio_id: str,
        nodes: tuple[str, ...],
    ) -> dict[str, StressedEs]:
        """Find the worst window of one node, and measure nodes in it.

        Parameters
        ----------
        by_group : ndarray of shape (n_groups, n_moves)
            Gains of the job.
        portfolio_id : str
            Node that chooses the window.
        nodes : tuple of str
            Nodes to measure.

        Returns
        -------
        dict of str to StressedEs
        """
        losses = {node: -self._node(node, by_group) for node in {portfolio_id, *nodes}}
        rolling = rolling_expected_shortfall(losses[portfolio_id], level=level, window=self.window_days)
        first = int(np.argmax(rolling))
        inside = slice(first, first + self.window_days)
        window: tuple[dt.date, dt.date] = self.dates[first].item(), self.dates[inside.stop - 1].item()
        late = self.starts > first
        found = {}
        for node in nodes:
            absent = self._absent(node, late)
            if absent and on_failed == "stop":
                raise InputDataError(
                    f"stressed ES: {len(absent)} positions of {node!r} have no past moves in part of the "
                    f"window {window[0]} to {window[1]}; the first is {' '.join(absent[0])}",
                    hint="Give its factors proxies, or leave such positions out with exclude.",
                )
            estimate = estimated(
                losses[node][inside], self.labels, measure="ES", level=level, confidence=confidence
            )
            found[node] = StressedEs(
                measure=Measure(
                    value=estimate.value,
                    ci_low=estimate.ci_low,
                    ci_high=estimate.ci_high,
                    n_paths=self.window_days,
                    method=METHOD,
                    note=f"{self._note(portfolio_id, window, rolling.size, inside, len(absent))}; "
                    f"interval {estimate.note}",
                ),
                level=level,
                window=window,
                n_windows=rolling.size,
                proxied_share=_share(self.proxied[inside]),
                missing_share=_share(self.missing[inside]),
                absent=absent,
            )
        return found

    def _node(self, node: str, by_group: FloatArray) -> FloatArray:
        rows = [number for number, (name, _) in enumerate(self.groups) if is_below(name, node)]
        if not rows and node not in self.resolution.book.nodes:
            raise UsageError(f"portfolio_id: {node!r} is not in the book")
        gains = np.array(by_group[rows])
        for row, number in enumerate(rows):
            gains[row, : self.groups[number][1]] = 0.0
        return tree_sum(gains, axis=0)

    def _absent(self, node: str, late: npt.NDArray[np.bool_]) -> tuple[tuple[str, str], ...]:
        book = self.resolution.book
        names = [(book.portfolio_ids[i], book.instrument_ids[i]) for i in self.job.book.positions[late]]
        return tuple(name for name in names if is_below(name[0], node))

    def _note(
        self, node: str, window: tuple[dt.date, dt.date], n_windows: int, inside: slice, n_absent: int
    ) -> str:
        parts = [
            f"worst of {n_windows} windows of {self.window_days} moves for {node}, "
            f"{window[0]} to {window[1]}",
            f"{_share(self.proxied[inside]):.0%} of its factors by proxy",
            f"{_share(self.missing[inside]):.0%} missing",
        ]
        if n_absent:
            parts.append(f"{n_absent} positions without a past for part of it left out there")
        return "; ".join(parts)


def _share(flags: npt.NDArray[np.bool_]) -> float:
    """Share of the factors that are flagged on some day."""
    return float(flags.any(axis=0).mean()) if flags.shape[1] else 0.0
