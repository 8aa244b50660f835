"""Benchmarks as a book of their own: one portfolio per benchmark, worth one unit of base currency.

They are resolved and revalued by the same functions and under the same plan as the book, in a job beside it,
so that they are in no node of the hierarchy and in none of its sums.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from acceleray.domain.book import Book
from acceleray.domain.market import Market
from acceleray.risk.resolve import Resolution, resolve
from acceleray.risk.valuation import position_values

__all__ = ["Benchmarks", "resolve_benchmarks"]

# A path, so that no benchmark's name can be that of the whole book.
_PREFIX = "benchmark/"

_WORTHLESS = ("future", "fx_forward", "swap")


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Benchmarks:
    """What portfolios are compared with.

    Parameters
    ----------
    resolution : Resolution
        Portfolios ``benchmark/<id>``. The quantities of ``priced`` make each worth the sum of its weights;
        what they leave of one is cash in base currency, which does not move.
    missing : mapping of str to str
        Why a benchmark cannot be computed, by its id.
    """

    resolution: Resolution
    missing: Mapping[str, str]

    def number(self, benchmark_id: str) -> int:
        """Return the benchmark's row among the gains by portfolio."""
        return self.resolution.portfolio_ids.index(_PREFIX + benchmark_id)

    def positions(self, benchmark_id: str) -> np.ndarray[tuple[int], np.dtype[np.int64]]:
        """Return the benchmark's rows among the gains by position, increasing."""
        return np.flatnonzero(self.resolution.priced.portfolios == self.number(benchmark_id))


def resolve_benchmarks(
    weights: pa.Table,
    wanted: Collection[str],
    book: Book,
    market: Market,
    *,
    base_currency: str,
    history_days: int,
) -> Benchmarks:
    """Look up what benchmarks hold.

    Parameters
    ----------
    weights : pyarrow.Table
        ``raw.benchmarks``.
    wanted : collection of str
        Benchmarks that a portfolio names; others are left alone.
    book : Book
        For the instruments, and the holdings of funds.
    base_currency, history_days
        As for the book itself.

    Notes
    -----
    A benchmark with one constituent that cannot be priced, or that has no positive value to hold a share of,
    is missing as a whole: its remainder would be another benchmark.
    """
    rows = weights.filter(pc.is_in(weights["benchmark_id"], pa.array(sorted(wanted), pa.string())))
    positions = pa.table(
        {
            "portfolio_id": pc.binary_join_element_wise(_PREFIX, rows["benchmark_id"], ""),
            "instrument_id": rows["instrument_id"],
            "quantity": rows["weight"],
        }
    )
    resolution = resolve(
        Book.from_tables(positions, book.instruments, book.holdings, book.functions),
        market,
        base_currency=base_currency,
        history_days=history_days,
    )
    described = resolution.book
    known = set(described.portfolio_ids)
    missing = {name: "it has no weights" for name in sorted(wanted) if _PREFIX + name not in known}
    for portfolio_id, name, reason in zip(
        described.portfolio_ids, described.instrument_ids, resolution.reasons, strict=True
    ):
        if reason is not None:
            missing.setdefault(portfolio_id.removeprefix(_PREFIX), f"constituent {name!r}: {reason}")
    priced = resolution.priced
    ones = replace(priced, quantities=np.ones_like(priced.quantities))
    values = position_values(ones, market.base[None, :])[:, 0] if priced.positions.size else np.empty(0)
    for position, value in zip(priced.positions, values, strict=True):
        name, benchmark_id = described.instrument_ids[position], described.portfolio_ids[position]
        kind = described.instrument_rows[name]["kind"]
        if kind in _WORTHLESS or not value > 0:
            reason = f"constituent {name!r} is a {kind} worth {value:g}, of which there is no share"
            missing.setdefault(benchmark_id.removeprefix(_PREFIX), reason)
    usable = values > 0
    quantities = np.zeros_like(priced.quantities)
    quantities[usable] = priced.quantities[usable] / values[usable]
    return Benchmarks(
        resolution=replace(resolution, priced=replace(priced, quantities=quantities)), missing=missing
    )
