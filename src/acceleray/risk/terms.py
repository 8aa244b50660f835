"""From the row of an instrument to what its family of prices needs: one function per kind."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from acceleray.domain.market import FactorKind
from acceleray.errors import NumericalError, UsageError
from acceleray.numerics.rates import RatePoints
from acceleray.risk.cash_flows import cash_flows
from acceleray.risk.families import ABSENT
from acceleray.risk.lookup import Lookup, Point, need, positive
from acceleray.risk.quantlib_prices import ProductFunction, product_price, require_quantlib
from acceleray.risk.unpriceable import UnpriceableError

__all__ = [
    "AmericanTerms",
    "CarryTerms",
    "CashTerms",
    "FixedFlowTerms",
    "FloatingFlowTerms",
    "FundTerms",
    "FxForwardTerms",
    "LinearTerms",
    "OptionTerms",
    "PlainOptionTerms",
    "Priceable",
    "QuantLibTerms",
    "Terms",
    "flow_terms",
    "terms_of",
]

FloatArray = npt.NDArray[np.float64]


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
    """Fixed cash flows: a bond, or the fixed part of a floater or swap."""

    pay: RatePoints
    amounts: FloatArray
    spread: int
    residual: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class FloatingFlowTerms:
    """Fixed flows and floating coupons; the arrays as in `cash_flows.FloatingFlows`."""

    fixed: FixedFlowTerms
    pay: RatePoints
    start: RatePoints
    end: RatePoints
    accruals: FloatArray
    notionals: FloatArray
    margins: FloatArray
    fixed_rates: FloatArray


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
class AmericanTerms(OptionTerms):
    """An American option."""

    instrument_id: str


@dataclass(frozen=True, slots=True, kw_only=True)
class QuantLibTerms:
    """A product that a function of the user describes; `row` is what the function is handed."""

    instrument_id: str
    function: ProductFunction
    as_of: dt.date
    columns: tuple[int, ...]
    factor_ids: tuple[str, ...]
    row: Mapping[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class FundTerms:
    """A fund and what it holds, at the value date and at `as_of`."""

    column: int
    divisor: int
    fx: int
    weights: list[float]
    held: list[Priceable]
    held_now: list[Priceable]
    scale: float = 1.0


Terms = (
    CashTerms
    | LinearTerms
    | CarryTerms
    | FxForwardTerms
    | FixedFlowTerms
    | FloatingFlowTerms
    | OptionTerms
    | QuantLibTerms
    | FundTerms
)


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
    if row["multiplier"] is not None:
        positive(row, "multiplier")
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
        curve=lookup.point(row, "discount_curve", years),
        dividend=lookup.factor(row, "dividend_yield", (FactorKind.DIVIDEND_YIELD,)),
    )


def _fx_forward(row: Mapping[str, Any], lookup: Lookup) -> FxForwardTerms:
    column, divisor = lookup.underlying(row)
    years = lookup.years(row, "expiry")
    return FxForwardTerms(
        column=column,
        divisor=divisor,
        strike=positive(row, "strike"),
        years=years,
        domestic=lookup.point(row, "discount_curve", years),
        foreign=lookup.point(row, "foreign_curve", years),
    )


def flow_terms(
    row: Mapping[str, Any], lookup: Lookup, held_from: dt.date | None = None
) -> FixedFlowTerms | FloatingFlowTerms:
    """Cash flows of a bond, floater or swap, placed on their curves.

    Parameters
    ----------
    held_from : date, optional
        What is paid on or before it belongs to somebody else; by default the market's `as_of`.
    """
    flows = cash_flows(row, lookup.value_date, held_from=held_from or lookup.market.as_of)
    fixed = FixedFlowTerms(
        pay=lookup.points(row, "discount_curve", flows.fixed.times_years),
        amounts=flows.fixed.amounts,
        spread=lookup.optional(row, "spread_factor", FactorKind.CREDIT_SPREAD),
    )
    if row["kind"] == "bond":
        return fixed
    floating = flows.floating
    return FloatingFlowTerms(
        fixed=fixed,
        pay=lookup.points(row, "discount_curve", floating.pay_times),
        start=lookup.points(row, "projection_curve", floating.start_times),
        end=lookup.points(row, "projection_curve", floating.end_times),
        accruals=floating.accruals,
        notionals=floating.notionals,
        margins=floating.spreads,
        fixed_rates=floating.fixed_rates,
    )


def _option(row: Mapping[str, Any], lookup: Lookup) -> OptionTerms:
    if row["exercise"] not in ("european", "american"):
        raise UnpriceableError(f"unsupported: exercise {row['exercise']!r}")
    if row["option_type"] not in ("call", "put"):
        raise UnpriceableError(f"unsupported: option_type {row['option_type']!r}")
    column, divisor = lookup.underlying(row)
    strike = positive(row, "strike")
    underlying = lookup.market.factors[column]
    if underlying.kind is FactorKind.SPOT and underlying.currency not in (None, row["currency"]):
        raise UnpriceableError(
            f"unsupported: quanto option in {row['currency']} on {underlying.factor_id!r}, "
            f"which is in {underlying.currency}"
        )
    years = lookup.years(row, "expiry")
    on_future = row["on_future"] == "true"
    carriers = [name for name in ("dividend_yield", "foreign_curve") if row[name] is not None]
    if len(carriers) + on_future > 1:
        raise UnpriceableError("only one of dividend_yield, foreign_curve and on_future can drive the drift")
    # Time on the surface runs from as_of: the option keeps its place when the book ages.
    columns, weights = lookup.vol(row, (row["expiry"] - lookup.market.as_of).days / 365.0)
    is_plain = divisor == ABSENT and weights[0] == 1.0 and not row["foreign_curve"] and not on_future
    found: dict[str, Any] = {
        "column": column,
        "divisor": divisor,
        "strike": strike,
        "years": years,
        "is_call": row["option_type"] == "call",
        "vol_columns": columns,
        "vol_weights": weights,
        "curve": lookup.point(row, "discount_curve", years),
        "dividend": lookup.optional(row, "dividend_yield", FactorKind.DIVIDEND_YIELD),
        "foreign": lookup.point(row, "foreign_curve", years) if row["foreign_curve"] else None,
        "on_future": on_future,
    }
    if row["exercise"] == "american":
        _need_quantlib()
        return AmericanTerms(instrument_id=row["instrument_id"], **found)
    # A residual vol below zero has to be held back from taking the vol through zero.
    kind = PlainOptionTerms if is_plain and row["market_price"] is None else OptionTerms
    return kind(**found)


def _product(row: Mapping[str, Any], lookup: Lookup) -> QuantLibTerms:
    name = need(row, "function")
    function = lookup.functions.get(name)
    if function is None:
        raise UnpriceableError(f"function {name!r} was not given with the book")
    factor_ids = tuple(need(row, "depends_on").split())
    if not factor_ids or len(set(factor_ids)) < len(factor_ids):
        raise UnpriceableError(f"depends_on was {row['depends_on']!r}, expected factors, each of them once")
    _need_quantlib()
    terms = QuantLibTerms(
        instrument_id=row["instrument_id"],
        function=function,
        as_of=lookup.value_date,
        columns=tuple(lookup.named(each, "depends_on", None) for each in factor_ids),
        factor_ids=factor_ids,
        row={**row, "attributes": dict(row["attributes"] or ())},
    )
    if lookup.value_date == lookup.market.as_of:
        _try(terms, lookup)
    return terms


def _try(terms: QuantLibTerms, lookup: Lookup) -> None:
    """Price a product once, so that a function that fails costs its position and not the night."""
    price = product_price(
        terms.function,
        as_of=terms.as_of,
        factor_ids=terms.factor_ids,
        instrument=terms.row,
        instrument_id=terms.instrument_id,
    )
    try:
        price(lookup.market.base[list(terms.columns), None])
    except NumericalError as error:
        raise UnpriceableError(error.message) from error


def _need_quantlib() -> None:
    try:
        require_quantlib()
    except UsageError as error:
        raise UnpriceableError(f"{error.message}: {error.hint}") from error


_KINDS: dict[str, Callable[[Mapping[str, Any], Lookup], Terms]] = {
    "equity": _linear,
    "index": _linear,
    "fund": _linear,
    "future": _future,
    "fx_forward": _fx_forward,
    "bond": flow_terms,
    "floater": flow_terms,
    "swap": flow_terms,
    "option": _option,
    "quantlib": _product,
}
