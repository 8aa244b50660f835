"""Turn a book and a market into plain arrays once, and record what cannot be priced and why."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np

from acceleray.domain.book import Book
from acceleray.domain.market import Curve, FactorKind, Market
from acceleray.errors import InputDataError, UsageError
from acceleray.risk.valuation import (
    ABSENT,
    Bonds,
    CurvePoints,
    Forwards,
    Levels,
    Options,
    ResolvedBook,
)

__all__ = ["Resolution", "base_currency_of", "resolve"]

_DAYS_PER_YEAR = 365.0
_SPOTS = (FactorKind.SPOT, FactorKind.FX)


class _UnpriceableError(Exception):
    """Why an instrument cannot be priced; becomes the recorded reason."""


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
    """

    book: Book
    priced: ResolvedBook
    reasons: tuple[str | None, ...]
    base_currency: str


@dataclass(slots=True)
class _Parts:
    """What one instrument contributes to the arrays."""

    kind: str
    multiplier: float
    fx: int
    column: int = ABSENT
    years: float = 0.0
    times: list[float] = field(default_factory=list)
    amounts: list[float] = field(default_factory=list)
    points: list[tuple[int, int, float]] = field(default_factory=list)
    dividend: int = ABSENT
    spread: int = ABSENT
    strike: float = 0.0
    is_call: bool = False
    vol: int = ABSENT

    def columns(self) -> set[int]:
        used = {self.fx, self.column, self.dividend, self.spread, self.vol}
        for left, right, _ in self.points:
            used |= {left, right}
        return used - {ABSENT}


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


def resolve(
    book: Book,
    market: Market,
    *,
    base_currency: str | None = None,
    history_days: int = 0,
    on_failed: Literal["exclude", "stop"] = "exclude",
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

    Raises
    ------
    InputDataError
        If a position cannot be priced and `on_failed` is ``"stop"``.
    """
    base_currency = base_currency or base_currency_of(book, market)
    resolver = _Resolver(market, base_currency, history_days)
    parts: dict[str, _Parts] = {}
    failures: dict[str, str] = {}
    held = set(book.instrument_ids)
    for row in book.instruments.to_pylist():
        if row["instrument_id"] in held:
            try:
                parts[row["instrument_id"]] = resolver.instrument(row)
            except _UnpriceableError as why:
                failures[row["instrument_id"]] = str(why)
    reasons = tuple(failures.get(name) for name in book.instrument_ids)
    if failures and on_failed == "stop":
        name, reason = next(iter(sorted(failures.items())))
        raise InputDataError(
            f"instrument {name!r} cannot be priced: {reason}",
            hint="Correct the input, or set simulate.on_failed_position: exclude.",
        )
    return Resolution(
        book=book, priced=_assemble(book, parts, reasons), reasons=reasons, base_currency=base_currency
    )


class _Resolver:
    def __init__(self, market: Market, base_currency: str, history_days: int) -> None:
        self.market = market
        self.base_currency = base_currency
        self.column_of = {name: column for column, name in enumerate(market.factor_ids)}
        self.curves: dict[str, Curve | None] = {}
        self.fx: dict[str, list[int]] = {}
        for column, factor in enumerate(market.factors):
            if factor.kind is FactorKind.FX and factor.currency is not None:
                self.fx.setdefault(factor.currency, []).append(column)
        if history_days >= market.dates.size:
            raise InputDataError(
                f"market: {history_days} daily moves need {history_days + 1} dates, "
                f"there are {market.dates.size}"
            )
        self.begin = market.dates.size - 1 - history_days

    def instrument(self, row: dict[str, Any]) -> _Parts:
        kind = row["kind"]
        parts = _Parts(
            kind=kind,
            multiplier=1.0 if row["multiplier"] is None else row["multiplier"],
            fx=self._exchange_rate(row["currency"]),
        )
        match kind:
            case "cash":
                pass
            case "equity" | "index" | "fund":
                parts.column = self._factor(row, "factor_id", _SPOTS)
            case "future":
                self._future(row, parts)
            case "bond":
                self._bond(row, parts)
            case "option":
                self._option(row, parts)
            case _:
                raise _UnpriceableError(f"unsupported: kind {kind!r}")
        return parts

    def _future(self, row: dict[str, Any], parts: _Parts) -> None:
        parts.column = self._factor(row, "factor_id", _SPOTS)
        years = self._years(row, "expiry")
        carried = (row["discount_curve"] is not None, row["dividend_yield"] is not None)
        if any(carried) and not all(carried):
            raise _UnpriceableError("a future on a spot needs both discount_curve and dividend_yield")
        if all(carried):
            parts.kind = "forward"
            parts.years = years
            parts.points = self._points(row, [years])
            parts.dividend = self._factor(row, "dividend_yield", (FactorKind.DIVIDEND_YIELD,))

    def _bond(self, row: dict[str, Any], parts: _Parts) -> None:
        maturity: dt.date = self._need(row, "maturity")
        face, coupon, frequency = (self._need(row, name) for name in ("face", "coupon", "frequency"))
        if frequency not in (0, 1, 2, 3, 4, 6, 12):
            raise _UnpriceableError(f"unsupported: {frequency} coupons a year")
        if maturity <= self.market.as_of:
            raise _UnpriceableError(f"matured on {maturity}")
        issued = row["issue_date"] or dt.date.min
        dates = [maturity]
        while frequency and (day := _months_before(maturity, 12 // frequency * len(dates))) > max(
            self.market.as_of, issued
        ):
            dates.append(day)
        dates.reverse()
        parts.times = [self._years_to(day) for day in dates]
        parts.amounts = [coupon / frequency * face if frequency else 0.0] * len(dates)
        parts.amounts[-1] += face
        parts.points = self._points(row, parts.times)
        if row["spread_factor"] is not None:
            parts.spread = self._factor(row, "spread_factor", (FactorKind.CREDIT_SPREAD,))

    def _option(self, row: dict[str, Any], parts: _Parts) -> None:
        if row["exercise"] != "european":
            raise _UnpriceableError(f"unsupported: exercise {row['exercise']!r}")
        if row["option_type"] not in ("call", "put"):
            raise _UnpriceableError(f"unsupported: option_type {row['option_type']!r}")
        parts.column = self._factor(row, "factor_id", _SPOTS)
        parts.strike = self._need(row, "strike")
        if not parts.strike > 0:
            raise _UnpriceableError(f"strike was {parts.strike}, must be positive")
        parts.is_call = row["option_type"] == "call"
        parts.years = self._years(row, "expiry")
        parts.points = self._points(row, [parts.years])
        parts.vol = self._factor(row, "vol_factor", (FactorKind.IMPLIED_VOL,))
        if row["dividend_yield"] is not None:
            parts.dividend = self._factor(row, "dividend_yield", (FactorKind.DIVIDEND_YIELD,))

    def _exchange_rate(self, currency: str) -> int:
        if currency == self.base_currency:
            return ABSENT
        columns = self.fx.get(currency, [])
        if len(columns) != 1:
            raise _UnpriceableError(f"{len(columns)} fx factors for currency {currency}, must be one")
        return self._usable(columns[0])

    def _factor(self, row: dict[str, Any], role: str, kinds: tuple[FactorKind, ...]) -> int:
        name = self._need(row, role)
        column = self.column_of.get(name)
        if column is None:
            raise _UnpriceableError(f"missing {role}: unknown factor {name!r}")
        found = self.market.factors[column].kind
        if found not in kinds:
            raise _UnpriceableError(f"{role}: factor {name!r} is a {found}, expected {kinds[0]}")
        return self._usable(column)

    def _usable(self, column: int) -> int:
        factor, history = self.market.factors[column], self.market.levels[:, column]
        if not np.isfinite(history[-1]):
            raise _UnpriceableError(f"factor {factor.factor_id!r} has no value at {self.market.as_of}")
        age = self.market.age_days[column]
        if factor.max_age_days is not None and age > factor.max_age_days:
            raise _UnpriceableError(
                f"stale: factor {factor.factor_id!r} was {age} days old, at most {factor.max_age_days}"
            )
        if not factor.fixed and not np.isfinite(history[self.begin]):
            first = self.market.dates[np.argmax(np.isfinite(history))]
            raise _UnpriceableError(
                f"factor {factor.factor_id!r} begins on {first}, "
                f"the scenarios need {self.market.dates[self.begin]}"
            )
        return column

    def _points(self, row: dict[str, Any], times: Iterable[float]) -> list[tuple[int, int, float]]:
        name = self._need(row, "discount_curve")
        if name not in self.curves:
            self.curves[name] = self.market.curve(name)
        curve = self.curves[name]
        if curve is None:
            raise _UnpriceableError(f"missing curve {name!r}")
        for column in curve.columns:
            self._usable(int(column))
        tenors = curve.tenors_years
        points = []
        for time in times:
            right = int(np.clip(np.searchsorted(tenors, time), 0, tenors.size - 1))
            left = max(right - 1, 0) if tenors[right] > time else right
            gap = tenors[right] - tenors[left]
            weight = float((time - tenors[left]) / gap) if gap > 0 else 0.0
            points.append((int(curve.columns[left]), int(curve.columns[right]), max(weight, 0.0)))
        return points

    def _years(self, row: dict[str, Any], column: str) -> float:
        day: dt.date = self._need(row, column)
        if day < self.market.as_of:
            raise _UnpriceableError(f"expired on {day}")
        return self._years_to(day)

    def _years_to(self, day: dt.date) -> float:
        return (day - self.market.as_of).days / _DAYS_PER_YEAR

    @staticmethod
    def _need(row: dict[str, Any], column: str) -> Any:
        if row[column] is None:
            raise _UnpriceableError(f"missing {column}")
        return row[column]


def _months_before(day: dt.date, months: int) -> dt.date:
    """Go back by whole months; the 29th to 31st become the last day of a shorter month."""
    total = day.year * 12 + day.month - 1 - months
    year, month = divmod(total, 12)
    following = dt.date(year + month // 11, (month + 1) % 12 + 1, 1)
    return dt.date(year, month + 1, min(day.day, (following - dt.timedelta(days=1)).day))


def _assemble(book: Book, parts: dict[str, _Parts], reasons: tuple[str | None, ...]) -> ResolvedBook:
    names = sorted(parts)
    row_of = {name: row for row, name in enumerate(names)}
    all_parts = [parts[name] for name in names]

    def pick(*kinds: str) -> tuple[list[_Parts], np.ndarray[Any, np.dtype[np.int64]]]:
        rows = [row for row, part in enumerate(all_parts) if part.kind in kinds]
        return [all_parts[row] for row in rows], np.array(rows, dtype=np.int64)

    def integers(values: Iterable[int]) -> np.ndarray[Any, np.dtype[np.int64]]:
        return np.array(list(values), dtype=np.int64)

    def floats(values: Iterable[float]) -> np.ndarray[Any, np.dtype[np.float64]]:
        return np.array(list(values), dtype=np.float64)

    def curve_points(chosen: list[_Parts]) -> CurvePoints:
        points = [point for part in chosen for point in part.points]
        return CurvePoints(
            left=integers(p[0] for p in points),
            right=integers(p[1] for p in points),
            weight=floats(p[2] for p in points),
        )

    level, level_rows = pick("equity", "index", "fund", "future")
    forward, forward_rows = pick("forward")
    bond, bond_rows = pick("bond")
    option, option_rows = pick("option")
    priced = [i for i, reason in enumerate(reasons) if reason is None]
    return ResolvedBook(
        positions=integers(priced),
        instrument_rows=integers(row_of[book.instrument_ids[i]] for i in priced),
        quantities=book.quantities[integers(priced)],
        multipliers=floats(part.multiplier for part in all_parts),
        fx=integers(part.fx for part in all_parts),
        is_future=np.array([part.kind in ("future", "forward") for part in all_parts], dtype=bool),
        cash=pick("cash")[1],
        levels=Levels(rows=level_rows, columns=integers(part.column for part in level)),
        forwards=Forwards(
            rows=forward_rows,
            columns=integers(part.column for part in forward),
            years=floats(part.years for part in forward),
            curve=curve_points(forward),
            dividends=integers(part.dividend for part in forward),
        ),
        bonds=Bonds(
            rows=bond_rows,
            offsets=integers(np.cumsum([0, *(len(part.times) for part in bond)])),
            amounts=floats(amount for part in bond for amount in part.amounts),
            times=floats(time for part in bond for time in part.times),
            curve=curve_points(bond),
            spreads=integers(part.spread for part in bond),
        ),
        options=Options(
            rows=option_rows,
            columns=integers(part.column for part in option),
            strikes=floats(part.strike for part in option),
            years=floats(part.years for part in option),
            is_call=np.array([part.is_call for part in option], dtype=bool),
            vols=integers(part.vol for part in option),
            curve=curve_points(option),
            dividends=integers(part.dividend for part in option),
        ),
        columns=integers(sorted(set().union(*(part.columns() for part in all_parts)))),
    )
