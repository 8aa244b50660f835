"""Meet an instrument's market price at `as_of` with a residual spread, vol or scale."""

from __future__ import annotations

import datetime as dt
import math
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy.optimize import brentq

from acceleray.numerics.rates import fixed_values, floating_values
from acceleray.risk.assemble import assemble
from acceleray.risk.cash_flows import accrued_interest, settlement_date
from acceleray.risk.lookup import Lookup
from acceleray.risk.terms import (
    FixedFlowTerms,
    FloatingFlowTerms,
    FundTerms,
    LinearTerms,
    OptionTerms,
    Priceable,
    flow_terms,
)
from acceleray.risk.unpriceable import UnpriceableError

__all__ = ["calibrate", "with_residual"]

FloatArray = npt.NDArray[np.float64]

# Residual spreads between minus half and double, vols up to five: beyond that the price is a slip.
_SPREADS = (-0.5, 2.0)
_VOLS = (0.0, 5.0)
_STEPS = 500
# The root to the last bit that SciPy allows; a spread or vol is not known better than that anyway.
_ABSOLUTE, _RELATIVE = 1e-17, 4 * float(np.finfo(np.float64).eps)


def calibrate(priceable: Priceable, lookup: Lookup) -> float:
    """Find the residual at which an instrument is worth its market price.

    A bond or floater gets a spread over its discount curve at which its quote, clean and paid at settlement,
    is met; an option a vol on top of its factor's; an equity, index or fund a scale on its factor's level,
    which then need not be its own price.

    Parameters
    ----------
    priceable : Priceable
        The instrument; its market price is for one unit, before multiplier.
    lookup : Lookup
        Of the market at `as_of`.

    Returns
    -------
    float
        To be used by `with_residual`, unchanged in every scenario.

    Raises
    ------
    UnpriceableError
        If the kind has nothing to calibrate, or no residual meets the price.
    """
    row, terms, base = priceable.row, priceable.terms, lookup.market.base
    price = float(row["market_price"])
    if not math.isfinite(price):
        raise UnpriceableError(f"market_price was {price:g}")

    def model(residual: float) -> float:
        instruments = assemble([with_residual(priceable, residual)], base)
        return float(instruments.prices(base[:, None], 0, 1)[0, 0])

    if isinstance(terms, FundTerms) or (isinstance(terms, LinearTerms) and not terms.is_future):
        if price <= 0:
            raise UnpriceableError(f"market_price was {price:g}, must be positive")
        return price / model(1.0)
    if isinstance(terms, FixedFlowTerms | FloatingFlowTerms) and row["kind"] != "swap":
        return _root(_quote_gap(row, lookup, price), *_SPREADS, price)
    if isinstance(terms, OptionTerms):
        own = sum(
            weight * base[column] for column, weight in zip(terms.vol_columns, terms.vol_weights, strict=True)
        )
        return _root(lambda vol: model(vol - own) - price, *_VOLS, price) - float(own)
    raise UnpriceableError(
        f"market_price: kind {row['kind']!r} has neither spread nor vol to meet it; leave the cell empty"
    )


def with_residual(priceable: Priceable, residual: float) -> Priceable:
    """Return the instrument with a residual in its terms."""
    terms = priceable.terms
    if isinstance(terms, LinearTerms | FundTerms):
        return replace(priceable, terms=replace(terms, scale=residual))
    if isinstance(terms, FixedFlowTerms | OptionTerms):
        return replace(priceable, terms=replace(terms, residual=residual))
    if isinstance(terms, FloatingFlowTerms):
        return replace(priceable, terms=replace(terms, fixed=replace(terms.fixed, residual=residual)))
    raise ValueError(f"{type(terms).__name__} has no residual")


def _quote_gap(row: Mapping[str, Any], lookup: Lookup, clean: float) -> Callable[[float], float]:
    """Model less quote as a function of the residual spread, both as they stand on the settlement date.

    A buyer pays clean price and accrued interest at settlement, for what is paid after it.
    """
    as_of = lookup.market.as_of
    settled = settlement_date(row, as_of)
    dirty = clean + accrued_interest(row, as_of)
    try:
        terms = flow_terms(row, lookup, held_from=settled)
    except UnpriceableError as why:
        raise UnpriceableError(f"market_price: a trade settles on {settled}: {why}") from why
    times, values = _values_today(terms, lookup.market.base)
    years = (settled - as_of) / dt.timedelta(days=365)
    at_settlement = lookup.points(row, "discount_curve", np.array([years]))
    fixed = terms.fixed if isinstance(terms, FloatingFlowTerms) else terms
    paid = replace(fixed, pay=at_settlement, amounts=np.ones(1))
    discount = _values_today(paid, lookup.market.base)[1][0]

    def gap(spread: float) -> float:
        return math.fsum(values / discount * np.exp(-spread * (times - years))) - dirty

    return gap


def _values_today(
    terms: FixedFlowTerms | FloatingFlowTerms, base: FloatArray
) -> tuple[FloatArray, FloatArray]:
    """Payment time and value at `as_of` of every single flow, without residual."""
    fixed = terms.fixed if isinstance(terms, FloatingFlowTerms) else terms
    levels, spread = base[:, None], 0.0 if fixed.spread < 0 else float(base[fixed.spread])

    def each(count: int) -> dict[str, Any]:
        # Every flow as an instrument of its own.
        return {"offsets": np.arange(count + 1), "discount_spreads": np.full((count, 1), spread)}

    times = [fixed.pay.times]
    values = [fixed_values(levels, pay=fixed.pay, amounts=fixed.amounts, **each(fixed.amounts.size))]
    if isinstance(terms, FloatingFlowTerms):
        times.append(terms.pay.times)
        values.append(
            floating_values(
                levels,
                pay=terms.pay,
                start=terms.start,
                end=terms.end,
                accruals=terms.accruals,
                notionals=terms.notionals,
                spreads=terms.margins,
                fixed_rates=terms.fixed_rates,
                **each(terms.accruals.size),
            )
        )
    return np.concatenate(times), np.concatenate(values)[:, 0]


def _root(gap: Callable[[float], float], low: float, high: float, price: float) -> float:
    """Root of a monotone function."""
    at_low, at_high = gap(low), gap(high)
    if not (math.isfinite(at_low) and math.isfinite(at_high)) or at_low * at_high > 0:
        raise UnpriceableError(
            f"market_price was {price:g}, the model gives {price + min(at_low, at_high):g} "
            f"to {price + max(at_low, at_high):g}"
        )
    return float(brentq(gap, low, high, xtol=_ABSOLUTE, rtol=_RELATIVE, maxiter=_STEPS))
