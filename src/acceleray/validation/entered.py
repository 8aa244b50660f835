"""Enter instruments into a small market, as a project's files would."""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping, Sequence
from typing import Any

import pyarrow as pa

from acceleray.domain.book import Book
from acceleray.domain.market import Market
from acceleray.domain.tables import contract
from acceleray.risk.resolve import Resolution, resolve

__all__ = ["AS_OF", "CURRENCY", "YEAR", "book_of", "market_of", "resolved"]

AS_OF = dt.date(2018, 12, 28)
CURRENCY = "USD"

# One year of ACT/365F from AS_OF.
YEAR = AS_OF + dt.timedelta(days=365)


def market_of(factors: Mapping[str, Mapping[str, Any]]) -> Market:
    """Build a market of one date.

    Parameters
    ----------
    factors : mapping
        By id: kind and value, and where needed currency, curve and tenor_years.
    """
    described = pa.table(
        {
            "factor_id": list(factors),
            "kind": [each["kind"] for each in factors.values()],
            "currency": pa.array([each.get("currency") for each in factors.values()], pa.string()),
            "curve": pa.array([each.get("curve") for each in factors.values()], pa.string()),
            "tenor_years": pa.array([each.get("tenor_years") for each in factors.values()], pa.float64()),
        }
    )
    levels = pa.table(
        {
            "date": [AS_OF] * len(factors),
            "factor_id": list(factors),
            "value": pa.array([each["value"] for each in factors.values()], pa.float64()),
        }
    )
    return Market.from_observations(levels, described, AS_OF)


def book_of(
    instruments: Sequence[Mapping[str, Any]], quantities: Sequence[float], portfolios: Sequence[str]
) -> Book:
    """Hold some quantity of each instrument in some portfolio."""
    names = [row["instrument_id"] for row in instruments]
    schema = contract("raw.instruments").schema
    rows = [{name: row.get(name) for name in schema.names} | {"currency": CURRENCY} for row in instruments]
    return Book.from_tables(
        pa.table(
            {
                "portfolio_id": list(portfolios),
                "instrument_id": names,
                "quantity": list(map(float, quantities)),
            }
        ),
        pa.Table.from_pylist(rows, schema=schema),
    )


def resolved(
    instruments: Sequence[Mapping[str, Any]],
    factors: Mapping[str, Mapping[str, Any]],
    quantities: Sequence[float] | None = None,
    portfolios: Sequence[str] | None = None,
) -> tuple[Resolution, Market]:
    """Look every name up; an instrument that cannot be priced is an error.

    Without quantities one of each is held, without portfolios all are in one.
    """
    market, count = market_of(factors), len(instruments)
    book = book_of(instruments, quantities or [1.0] * count, portfolios or ["Book"] * count)
    return resolve(book, market, base_currency=CURRENCY, on_failed="stop"), market
