"""Turn the terms of many instruments into the arrays of their families."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any

import numpy as np

from acceleray.numerics.kernels import EuropeanOptions
from acceleray.numerics.rates import RatePoints
from acceleray.risk.families import (
    ABSENT,
    Carry,
    Cash,
    CurvePoints,
    FixedFlows,
    FloatingFlows,
    FxForwards,
    Linear,
    Options,
    PlainOptions,
    Underlyings,
    Vols,
)
from acceleray.risk.lookup import Point
from acceleray.risk.tabulated_families import Americans, Family, Product, Products
from acceleray.risk.terms import (
    AmericanTerms,
    CarryTerms,
    CashTerms,
    FixedFlowTerms,
    FloatingFlowTerms,
    FundTerms,
    FxForwardTerms,
    LinearTerms,
    OptionTerms,
    PlainOptionTerms,
    Priceable,
    QuantLibTerms,
    Terms,
)
from acceleray.risk.valuation import Instruments, LookThrough

__all__ = ["assemble", "row_order"]

IntArray = np.ndarray[Any, np.dtype[np.int64]]
FloatArray = np.ndarray[Any, np.dtype[np.float64]]


def row_order(priceable: Priceable) -> tuple[Any, ...]:
    """Sort key of the rows: by family, then so that neighbours share factors and dates.

    It depends on the instrument alone, so that the rows are the same at every valuation date.
    """
    row = priceable.row
    ends = row["expiry"] or row["maturity"]
    return (
        _ORDER.index(type(priceable.terms)),
        row["factor_id"] or "",
        row["discount_curve"] or "",
        "" if ends is None else ends.isoformat(),
        row["instrument_id"],
    )


def assemble(priceables: Sequence[Priceable], base: FloatArray) -> Instruments:
    """Build the arrays.

    Parameters
    ----------
    priceables : sequence of Priceable
        In the order of `row_order`.
    base : ndarray of shape (n_factors,)
        Levels at `as_of`, at which funds and what they hold are compared.
    """
    families: list[Family | LookThrough] = []
    for kind in _ORDER:
        mine = [priceable.terms for priceable in priceables if type(priceable.terms) is kind]
        if mine:
            families.append(_funds(mine, base) if kind is FundTerms else _BUILD[kind](mine))
    return Instruments(
        families=tuple(families),
        multipliers=_floats(
            1.0 if priceable.row["multiplier"] is None else priceable.row["multiplier"]
            for priceable in priceables
        ),
        fx=_integers(priceable.fx for priceable in priceables),
        is_future=np.array([priceable.row["kind"] == "future" for priceable in priceables], dtype=bool),
    )


def _cash(terms: Sequence[CashTerms]) -> Cash:
    return Cash(count=len(terms))


def _linear(terms: Sequence[LinearTerms]) -> Linear:
    return Linear(underlyings=_underlyings(terms), scales=_floats(each.scale for each in terms))


def _carry(terms: Sequence[CarryTerms]) -> Carry:
    return Carry(
        underlyings=_underlyings(terms),
        years=_floats(each.years for each in terms),
        curve=_points(each.curve for each in terms),
        dividends=_integers(each.dividend for each in terms),
    )


def _fx_forwards(terms: Sequence[FxForwardTerms]) -> FxForwards:
    return FxForwards(
        underlyings=_underlyings(terms),
        strikes=_floats(each.strike for each in terms),
        years=_floats(each.years for each in terms),
        domestic=_points(each.domestic for each in terms),
        foreign=_points(each.foreign for each in terms),
    )


def _fixed_flows(terms: Sequence[FixedFlowTerms]) -> FixedFlows:
    pay = _joined([each.pay for each in terms])
    return FixedFlows(
        offsets=_offsets(each.amounts for each in terms),
        amounts=np.concatenate([each.amounts for each in terms]),
        times=pay.times,
        curve=CurvePoints(left=pay.left, right=pay.right, weight=pay.weight),
        spreads=_integers(each.spread for each in terms),
        residuals=_floats(each.residual for each in terms),
    )


def _floating_flows(terms: Sequence[FloatingFlowTerms]) -> FloatingFlows:
    return FloatingFlows(
        fixed=_fixed_flows([each.fixed for each in terms]),
        offsets=_offsets(each.accruals for each in terms),
        pay=_joined([each.pay for each in terms]),
        start=_joined([each.start for each in terms]),
        end=_joined([each.end for each in terms]),
        accruals=np.concatenate([each.accruals for each in terms]),
        notionals=np.concatenate([each.notionals for each in terms]),
        margins=np.concatenate([each.margins for each in terms]),
        fixed_rates=np.concatenate([each.fixed_rates for each in terms]),
    )


def _options(terms: Sequence[OptionTerms]) -> Options:
    return Options(
        underlyings=_underlyings(terms),
        strikes=_floats(each.strike for each in terms),
        years=_floats(each.years for each in terms),
        is_call=_booleans(each.is_call for each in terms),
        vols=Vols(
            factors=np.array([each.vol_columns for each in terms], dtype=np.int64),
            weights=np.array([each.vol_weights for each in terms], dtype=np.float64),
            residuals=_floats(each.residual for each in terms),
        ),
        curve=_points(each.curve for each in terms),
        dividends=_integers(each.dividend for each in terms),
        foreign=_points(each.foreign or each.curve for each in terms),
        has_foreign=_booleans(each.foreign is not None for each in terms),
        on_future=_booleans(each.on_future for each in terms),
    )


def _funds(terms: Sequence[Any], base: FloatArray) -> LookThrough:
    now = {held.row["instrument_id"]: held for each in terms for held in each.held_now}
    then = {held.row["instrument_id"]: held for each in terms for held in each.held}
    order = sorted(now, key=lambda name: row_order(now[name]))
    row_of = {name: row for row, name in enumerate(order)}
    levels = base[:, None]
    priced_now = assemble([now[name] for name in order], base)
    count = priced_now.count
    values = priced_now.prices(levels, 0, count) * priced_now.rates(levels, 0, count)
    lines = [
        (fund, row_of[held.row["instrument_id"]], weight)
        for fund, each in enumerate(terms)
        for held, weight in zip(each.held, each.weights, strict=True)
    ]
    fx = _integers(each.fx for each in terms)
    return LookThrough(
        held=assemble([then[name] for name in order], base),
        held_values=values[:, 0] * priced_now.multipliers,
        fund=_integers(line[0] for line in lines),
        holding=_integers(line[1] for line in lines),
        weights=_floats(line[2] for line in lines),
        levels=_underlyings(terms).levels(levels, slice(None))[:, 0] * _floats(each.scale for each in terms),
        fx=fx,
        fx_base=np.where(fx == ABSENT, 1.0, base[fx]),
    )


def _plain_options(terms: Sequence[OptionTerms]) -> PlainOptions:
    options = _options(terms)
    zeros = np.zeros(len(terms))
    contracts = EuropeanOptions(
        spot_row=options.underlyings.factors,
        rate_left=options.curve.left,
        rate_right=options.curve.right,
        rate_weight=options.curve.weight,
        rate_shift=zeros,
        dividend_row=options.dividends,
        dividend_shift=zeros,
        vol_row=np.ascontiguousarray(options.vols.factors[:, 0]),
        vol_shift=options.vols.residuals,
        strike=options.strikes,
        years=options.years,
        is_call=options.is_call,
    )
    return PlainOptions(contracts=contracts, options=options)


def _americans(terms: Sequence[AmericanTerms]) -> Americans:
    return Americans.exact(_options(terms), tuple(each.instrument_id for each in terms))


def _products(terms: Sequence[QuantLibTerms]) -> Products:
    items = (
        Product(
            instrument_id=each.instrument_id,
            function=each.function,
            as_of=each.as_of,
            factors=_integers(each.columns),
            factor_ids=each.factor_ids,
            row=each.row,
        )
        for each in terms
    )
    return Products(items=tuple(items))


_BUILD: dict[type[Terms], Callable[[Sequence[Any]], Family]] = {
    CashTerms: _cash,
    LinearTerms: _linear,
    CarryTerms: _carry,
    FxForwardTerms: _fx_forwards,
    FixedFlowTerms: _fixed_flows,
    FloatingFlowTerms: _floating_flows,
    PlainOptionTerms: _plain_options,
    OptionTerms: _options,
    AmericanTerms: _americans,
    QuantLibTerms: _products,
}
# Rows stand in this order.
_ORDER: tuple[type[Terms], ...] = (*_BUILD, FundTerms)


def _underlyings(
    terms: Sequence[LinearTerms | CarryTerms | FxForwardTerms | OptionTerms | FundTerms],
) -> Underlyings:
    return Underlyings(
        factors=_integers(each.column for each in terms), divisors=_integers(each.divisor for each in terms)
    )


def _points(points: Iterable[Point]) -> CurvePoints:
    found = list(points)
    return CurvePoints(
        left=_integers(point[0] for point in found),
        right=_integers(point[1] for point in found),
        weight=_floats(point[2] for point in found),
    )


def _joined(points: Sequence[RatePoints]) -> RatePoints:
    return RatePoints(
        times=np.concatenate([each.times for each in points]),
        left=np.concatenate([each.left for each in points]),
        right=np.concatenate([each.right for each in points]),
        weight=np.concatenate([each.weight for each in points]),
    )


def _offsets(parts: Iterable[FloatArray]) -> IntArray:
    """Where each part begins when all stand one after another, and where the last ends."""
    return np.cumsum([0, *(part.size for part in parts)], dtype=np.int64)


def _integers(values: Iterable[int]) -> IntArray:
    return np.array(list(values), dtype=np.int64)


def _floats(values: Iterable[float]) -> FloatArray:
    return np.array(list(values), dtype=np.float64)


def _booleans(values: Iterable[bool]) -> np.ndarray[Any, np.dtype[np.bool_]]:
    return np.array(list(values), dtype=bool)
