"""Funds that are looked through: what they hold moves their price."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from acceleray.domain.book import Book
from acceleray.risk.assemble import assemble
from acceleray.risk.lookup import Lookup
from acceleray.risk.terms import FundTerms, Priceable
from acceleray.risk.unpriceable import UnpriceableError

__all__ = ["look_through"]

# More than this is leverage, which weights alone do not describe.
_MOST = 1.0 + 1e-9


def look_through(
    row: Mapping[str, Any],
    lookup: Lookup,
    book: Book,
    price: Callable[[Mapping[str, Any], Lookup], Priceable],
) -> FundTerms | None:
    """Take a fund apart; None for anything that is not a fund with known holdings.

    Parameters
    ----------
    price : callable
        Looks an instrument up.

    Raises
    ------
    UnpriceableError
        If a holding cannot be priced, has no positive value to move from, is a future or such a fund itself,
        or the weights exceed one.
    """
    lines = book.holdings_of(row["instrument_id"]) if row["kind"] == "fund" else {}
    if not lines:
        return None
    if sum(lines.values()) > _MOST or min(lines.values()) < 0:
        raise UnpriceableError(
            f"holdings: weights add up to {sum(lines.values()):g}, must be between 0 and 1 in all"
        )
    described = book.instrument_rows
    held: list[Priceable] = []
    held_now: list[Priceable] = []
    for name in sorted(lines):
        if name not in described:
            raise UnpriceableError(f"holdings: unknown instrument {name!r}")
        inner = described[name]
        if inner["kind"] in ("future", "fx_forward", "swap") or book.holdings_of(name):
            raise UnpriceableError(f"holdings: {name!r} is a {inner['kind']}, which has no share of a value")
        try:
            held_now.append(price(inner, lookup.today))
            held.append(price(inner, lookup))
        except UnpriceableError as why:
            raise UnpriceableError(f"holding {name!r}: {why}") from why
        base = lookup.market.base
        value = float(assemble(held_now[-1:], base).prices(base[:, None], 0, 1)[0, 0])
        if not value > 0:
            raise UnpriceableError(f"holding {name!r} is worth {value:g} and has no relative move")
    column, divisor = lookup.underlying(row)
    return FundTerms(
        column=column,
        divisor=divisor,
        fx=lookup.exchange_rate(row["currency"]),
        weights=[lines[name] for name in sorted(lines)],
        held=held,
        held_now=held_now,
    )
