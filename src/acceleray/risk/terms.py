"""From the row of an instrument to what its family of prices needs: one function per kind."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from acceleray.domain.market import FactorKind
from acceleray.risk.families import ABSENT
from acceleray.risk.lookup import Lookup, Point, UnpriceableError, need

__all__ = [
    "CarryTerms",
    "CashTerms",
    "FixedFlowTerms",
    "FundTerms",
    "FxForwardTerms",
    "LinearTerms",
    "OptionTerms",
    "PlainOptionTerms",
    "Priceable",
    "Terms",
    "terms_of",
]


@dataclass(frozen=True, slots=True, kw_only=True)
class CashTerms:
    """Worth one."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LinearTerms:
    """Worth a factor's level times a scale."""

    column: int
    divisor: int
    is_future: bool = False
    scale: float = 1.0


@dataclass(frozen=True, slots=True, kw_only=True)
class CarryTerms:
    """A future on a spot."""

    column: int
    divisor: int
    years: float
    curve: Point
    dividend: int


@dataclass(frozen=True, slots=True, kw_only=True)
class FxForwardTerms:
    """Foreign currency against the instrument's."""

    column: int
    divisor: int
    strike: float
    years: float
    domestic: Point
    foreign: Point


@dataclass(frozen=True, slots=True, kw_only=True)
class FixedFlowTerms:
    """Fixed cash flows."""

    times: list[float]
    amounts: list[float]
    curve: list[Point]
    spread: int
    residual: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class OptionTerms:
    """A European option."""

    column: int
    divisor: int
    strike: float
    years: float
    is_call: bool
    vol_columns: list[int]
    vol_weights: list[float]
    curve: Point
    dividend: int
    foreign: Point | None
    on_future: bool
    residual: float = field(default=0.0)


@dataclass(frozen=True, slots=True, kw_only=True)
class PlainOptionTerms(OptionTerms):
    """A European option whose spot, vol and drift are single factors."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FundTerms:
    """A fund and what it holds, at the value date and at `as_of`."""

    column: int
    divisor: int
    fx: int
    weights: list[float]
    held: list[Priceable]
    held_now: list[Priceable]


Terms = CashTerms | LinearTerms | CarryTerms | FxForwardTerms | FixedFlowTerms | OptionTerms | FundTerms


@dataclass(frozen=True, slots=True, kw_only=True)
class Priceable:
    """One instrument with everything it needs.

    Parameters
    ----------
    row : mapping
        Its row of ``raw.instruments``.
    terms : Terms
        What its family needs.
    fx : int
        Column of its currency's exchange rate, or -1.
    """

    row: Mapping[str, Any]
    terms: Terms
    fx: int


def terms_of(row: Mapping[str, Any], lookup: Lookup) -> Terms:
    """Look up what an instrument of any kind needs.

    Raises
    ------
    UnpriceableError
        With the reason.
    """
    kind = row["kind"]
    if kind == "cash":
        return CashTerms()
    if kind not in _KINDS:
        raise UnpriceableError(f"unsupported: kind {kind!r}")
    return _KINDS[kind](row, lookup)


def _linear(row: Mapping[str, Any], lookup: Lookup) -> LinearTerms:
    column, divisor = lookup.underlying(row)
    return LinearTerms(column=column, divisor=divisor)


def _future(row: Mapping[str, Any], lookup: Lookup) -> LinearTerms | CarryTerms:
    column, divisor = lookup.underlying(row)
    years = lookup.years(row, "expiry")
    carried = (row["discount_curve"] is not None, row["dividend_yield"] is not None)
    if not any(carried):
        return LinearTerms(column=column, divisor=divisor, is_future=True)
    if not all(carried):
        raise UnpriceableError("a future on a spot needs both discount_curve and dividend_yield")
    return CarryTerms(
        column=column,
        divisor=divisor,
        years=years,
        curve=lookup.points(row, "discount_curve", [years])[0],
        dividend=lookup.factor(row, "dividend_yield", (FactorKind.DIVIDEND_YIELD,)),
    )


def _fx_forward(row: Mapping[str, Any], lookup: Lookup) -> FxForwardTerms:
    column, divisor = lookup.underlying(row)
    years = lookup.years(row, "expiry")
    return FxForwardTerms(
        column=column,
        divisor=divisor,
        strike=need(row, "strike"),
        years=years,
        domestic=lookup.points(row, "discount_curve", [years])[0],
        foreign=lookup.points(row, "foreign_curve", [years])[0],
    )


def _bond(row: Mapping[str, Any], lookup: Lookup) -> FixedFlowTerms:
    maturity: dt.date = need(row, "maturity")
    face, coupon, frequency = (need(row, name) for name in ("face", "coupon", "frequency"))
    if frequency not in (0, 1, 2, 3, 4, 6, 12):
        raise UnpriceableError(f"unsupported: {frequency} coupons a year")
    if maturity <= lookup.market.as_of:
        raise UnpriceableError(f"matured on {maturity}")
    issued = row["issue_date"] or dt.date.min
    dates = [maturity]
    while frequency and (day := _months_before(maturity, 12 // frequency * len(dates))) > max(
        lookup.market.as_of, issued
    ):
        dates.append(day)
    dates.reverse()
    times = [max((day - lookup.value_date).days, 0) / 365.0 for day in dates]
    amounts = [coupon / frequency * face if frequency else 0.0] * len(dates)
    amounts[-1] += face
    return FixedFlowTerms(
        times=times,
        amounts=amounts,
        curve=lookup.points(row, "discount_curve", times),
        spread=lookup.optional(row, "spread_factor", FactorKind.CREDIT_SPREAD),
    )


def _option(row: Mapping[str, Any], lookup: Lookup) -> OptionTerms:
    if row["exercise"] != "european":
        raise UnpriceableError(f"unsupported: exercise {row['exercise']!r}")
    if row["option_type"] not in ("call", "put"):
        raise UnpriceableError(f"unsupported: option_type {row['option_type']!r}")
    column, divisor = lookup.underlying(row)
    strike = need(row, "strike")
    if not strike > 0:
        raise UnpriceableError(f"strike was {strike}, must be positive")
    years = lookup.years(row, "expiry")
    on_future = row["on_future"] == "true"
    carriers = [name for name in ("dividend_yield", "foreign_curve") if row[name] is not None]
    if len(carriers) + on_future > 1:
        raise UnpriceableError("only one of dividend_yield, foreign_curve and on_future can drive the drift")
    # Time on the surface runs from as_of: the option keeps its place when the book ages.
    columns, weights = lookup.vol(row, (row["expiry"] - lookup.market.as_of).days / 365.0)
    is_plain = divisor == ABSENT and weights[0] == 1.0 and not row["foreign_curve"] and not on_future
    # A residual vol below zero has to be held back from taking the vol through zero.
    kind = PlainOptionTerms if is_plain and row["market_price"] is None else OptionTerms
    return kind(
        column=column,
        divisor=divisor,
        strike=strike,
        years=years,
        is_call=row["option_type"] == "call",
        vol_columns=columns,
        vol_weights=weights,
        curve=lookup.points(row, "discount_curve", [years])[0],
        dividend=lookup.optional(row, "dividend_yield", FactorKind.DIVIDEND_YIELD),
        foreign=lookup.points(row, "foreign_curve", [years])[0] if row["foreign_curve"] else None,
        on_future=on_future,
    )


_KINDS: dict[str, Callable[[Mapping[str, Any], Lookup], Terms]] = {
    "equity": _linear,
    "index": _linear,
    "fund": _linear,
    "future": _future,
    "fx_forward": _fx_forward,
    "bond": _bond,
    "option": _option,
}


def _months_before(day: dt.date, months: int) -> dt.date:
    """Go back by whole months; the 29th to 31st become the last day of a shorter month."""
    total = day.year * 12 + day.month - 1 - months
    year, month = divmod(total, 12)
    following = dt.date(year + month // 11, (month + 1) % 12 + 1, 1)
    return dt.date(year, month + 1, min(day.day, (following - dt.timedelta(days=1)).day))
