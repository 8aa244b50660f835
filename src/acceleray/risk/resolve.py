"""Turn a book and a market into plain arrays once, and record what cannot be priced and why."""

from __future__ import annotations

import datetime as dt
import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from acceleray.domain.book import Book, is_below
from acceleray.domain.market import FactorKind, Market
from acceleray.errors import InputDataError, UsageError
from acceleray.risk.assemble import assemble, row_order
from acceleray.risk.funds import look_through
from acceleray.risk.lookup import Lookup
from acceleray.risk.market_prices import calibrate, with_residual
from acceleray.risk.terms import Priceable, terms_of
from acceleray.risk.unpriceable import UnpriceableError
from acceleray.risk.valuation import Instruments, Names, ResolvedBook

IntArray = npt.NDArray[np.int64]

__all__ = ["Resolution", "aged", "base_currency_of", "factor_columns", "resolve"]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Resolution:
    """A resolved book and the positions that had to be left out.

    Parameters
    ----------
    book : Book
        All positions.
    priced : ResolvedBook
        Those that can be valued.
    reasons : tuple of (str or None)
        Per position, in key order: None when it is priced, else why not.
    base_currency : str
        Currency of every value.
    instrument_ids : tuple of str
        Instrument of each row of ``priced.now``.
    portfolio_ids : tuple of str
        Portfolio of each number in ``priced.portfolios``, sorted.
    residuals : dict of str to float
        Spread, vol or scale that meets the market price of an instrument that has one, held by a fund or not.
    """

    book: Book
    priced: ResolvedBook
    reasons: tuple[str | None, ...]
    base_currency: str
    instrument_ids: tuple[str, ...]
    portfolio_ids: tuple[str, ...]
    residuals: dict[str, float]

    def portfolios_below(self, node: str) -> IntArray:
        """Numbers of the portfolios at or below a node, increasing."""
        own = [number for number, name in enumerate(self.portfolio_ids) if is_below(name, node)]
        return np.array(own, dtype=np.int64)


def base_currency_of(book: Book, market: Market) -> str:
    """Infer the base currency: the only one among the instruments that has no exchange rate.

    Raises
    ------
    UsageError
        If none or several qualify.
    """
    converted = {factor.currency for factor in market.factors if factor.kind is FactorKind.FX}
    plain = sorted(set(book.instruments["currency"].to_pylist()) - converted)
    if len(plain) != 1:
        raise UsageError(
            f"base_currency: cannot tell which one it is, currencies without an fx factor are {plain}",
            hint="Pass base_currency.",
        )
    return str(plain[0])


def _refuse_rate_of(base_currency: str, market: Market) -> None:
    """Rates are in base currency for one unit: where the base currency has one, it is not their base."""
    for factor, level in zip(market.factors, market.base, strict=True):
        if factor.kind is FactorKind.FX and factor.currency == base_currency and level != 1.0:
            raise UsageError(
                f"base_currency: {base_currency} has the exchange rate {factor.factor_id!r} itself, "
                f"which was {level:g}",
                hint="Exchange rates are in base currency; name the currency that they are in.",
            )


def resolve(
    book: Book,
    market: Market,
    *,
    base_currency: str | None = None,
    history_days: int = 0,
    on_failed: Literal["exclude", "stop"] = "exclude",
    keep_residuals: Mapping[str, float] | None = None,
) -> Resolution:
    """Look every name up once.

    Parameters
    ----------
    book, market
        What to value, and where the levels stand.
    base_currency : str, optional
        By default the only currency that has no exchange rate.
    history_days : int
        Daily moves that every moving factor of a position must have behind it.
    on_failed : {"exclude", "stop"}
        Record a position that cannot be priced and go on, or raise.
    keep_residuals : mapping of str to float, optional
        Residuals of another night, by instrument, to be used instead of meeting any market price.

    Raises
    ------
    InputDataError
        If a position cannot be priced and `on_failed` is ``"stop"``.
    UsageError
        If the base currency cannot be told, is not a three-letter code, or has an exchange rate, so that the
        rates are in another currency.
    """
    if base_currency is not None and not re.fullmatch("[A-Z]{3}", base_currency):
        raise UsageError(f"base_currency: {base_currency!r} is not a three-letter code such as USD")
    base_currency = base_currency or base_currency_of(book, market)
    _refuse_rate_of(base_currency, market)
    lookup = Lookup(market, base_currency, history_days, functions=book.functions)
    found: list[Priceable] = []
    failures: dict[str, str] = {}
    residuals = dict(keep_residuals or {})
    for name in sorted(set(book.instrument_ids)):
        row = book.instrument_rows[name]
        try:
            found.append(_priceable(row, lookup, book, residuals))
        except UnpriceableError as why:
            failures[name] = str(why)
    reasons = tuple(failures.get(name) for name in book.instrument_ids)
    if failures and on_failed == "stop":
        name, reason = next(iter(sorted(failures.items())))
        raise InputDataError(
            f"instrument {name!r} cannot be priced: {reason}",
            hint="Correct the input, or set simulate.on_failed_position: exclude.",
        )
    found.sort(key=row_order)
    names = tuple(priceable.row["instrument_id"] for priceable in found)
    priced, portfolio_ids = _resolved(book, market, reasons, names, assemble(found, market.base))
    return Resolution(
        book=book,
        priced=priced,
        reasons=reasons,
        base_currency=base_currency,
        instrument_ids=names,
        portfolio_ids=portfolio_ids,
        residuals=residuals,
    )


def aged(resolution: Resolution, market: Market, date: dt.date) -> ResolvedBook:
    """Let the book age to a horizon date: what is paid or expires until then is counted at its value.

    Cash flows between `as_of` and the date are kept as cash without interest; an option that expires in
    between is worth its payoff at the horizon's levels.

    Parameters
    ----------
    resolution : Resolution
        Of the same book and market.
    date : date
        Horizon, after `as_of`.
    """
    lookup = Lookup(market, resolution.base_currency, 0, date, resolution.book.functions)
    rows, residuals = resolution.book.instrument_rows, dict(resolution.residuals)
    found = [_priceable(rows[name], lookup, resolution.book, residuals) for name in resolution.instrument_ids]
    then = assemble(found, market.base)
    columns = np.union1d(resolution.priced.columns, then.columns())
    return replace(resolution.priced, then=then, columns=columns)


def factor_columns(resolution: Resolution, market: Market) -> list[tuple[int, ...]]:
    """List the factors that each instrument depends on, as columns of the market, by row of the instrument.

    Parameters
    ----------
    resolution : Resolution
        Of the same market.
    """
    lookup = _Recorder(market, resolution.base_currency, 0, functions=resolution.book.functions)
    found, residuals = [], dict(resolution.residuals)
    for name in resolution.instrument_ids:
        lookup.used.clear()
        _priceable(resolution.book.instrument_rows[name], lookup, resolution.book, residuals)
        found.append(tuple(sorted(lookup.used)))
    return found


class _Recorder(Lookup):
    """A look-up that remembers which factors were asked for."""

    used: set[int]

    def __init__(self, *arguments: Any, **more: Any) -> None:
        super().__init__(*arguments, **more)
        self.used = set()

    def usable(self, column: int) -> int:
        self.used.add(column)
        return super().usable(column)

    def _surface(self, name: str) -> dict[float, dict[float, int]]:
        grid = super()._surface(name)
        # Found once for all options on it, so that its factors are not asked for again.
        self.used.update(column for smile in grid.values() for column in smile.values())
        return grid


def _priceable(row: Mapping[str, Any], lookup: Lookup, book: Book, residuals: dict[str, float]) -> Priceable:
    """Look one instrument up, and what it holds; `residuals` keeps what was calibrated at `as_of`."""
    funded = look_through(row, lookup, book, lambda held, at: _priceable(held, at, book, residuals))
    terms = funded or terms_of(row, lookup)
    found = Priceable(row=row, terms=terms, fx=lookup.exchange_rate(row["currency"]))
    if row["market_price"] is None:
        return found
    name = row["instrument_id"]
    if name not in residuals:
        residuals[name] = calibrate(found, lookup.today)
    return with_residual(found, residuals[name])


def _resolved(
    book: Book,
    market: Market,
    reasons: tuple[str | None, ...],
    names: tuple[str, ...],
    instruments: Instruments,
) -> tuple[ResolvedBook, tuple[str, ...]]:
    row_of = {name: row for row, name in enumerate(names)}
    priced = [i for i, reason in enumerate(reasons) if reason is None]
    portfolio_ids = tuple(sorted({book.portfolio_ids[i] for i in priced}))
    number_of = {name: number for number, name in enumerate(portfolio_ids)}
    positions = np.array(priced, dtype=np.int64)
    resolved = ResolvedBook(
        positions=positions,
        instrument_rows=np.array([row_of[book.instrument_ids[i]] for i in priced], dtype=np.int64),
        quantities=book.quantities[positions],
        portfolios=np.array([number_of[book.portfolio_ids[i]] for i in priced], dtype=np.int64),
        n_portfolios=len(portfolio_ids),
        now=instruments,
        then=instruments,
        columns=instruments.columns(),
        names=Names(
            factor_ids=np.array(market.factor_ids, dtype=np.str_),
            above_zero=np.array([factor.kind is FactorKind.FX for factor in market.factors], dtype=np.bool_),
            from_zero=np.array(
                [factor.kind is FactorKind.IMPLIED_VOL for factor in market.factors], dtype=np.bool_
            ),
            instrument_ids=np.array(names, dtype=np.str_),
        ),
    )
    return resolved, portfolio_ids
