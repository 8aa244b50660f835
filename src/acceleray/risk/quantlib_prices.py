"""Price functions that QuantLib answers: American options, and whatever product a user describes.

QuantLib is an optional extra and is imported when it is needed. Its evaluation date is one per process: every
price function sets it, prices, and puts it back, so tabulating is for one thread per process. Parallel
work belongs in processes, such as Ray tasks.
"""

from __future__ import annotations

import datetime as dt
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
import numpy.typing as npt

from acceleray.errors import AccelerayError, NumericalError, UsageError
from acceleray.numerics.american import has_two_boundaries, reduce_to_puts
from acceleray.risk.tabulation import PriceFunction

__all__ = [
    "ProductFunction",
    "american_option",
    "evaluation_date",
    "product_price",
    "put_prices",
    "require_quantlib",
]

FloatArray = npt.NDArray[np.float64]
ProductFunction = Callable[[dt.date, Mapping[str, float], Mapping[str, Any]], tuple[Any, Any]]

# Any date serves, because the American option is priced over a year of 365 days counted from it.
_ANCHOR = dt.date(2018, 12, 28)
# Finite differences for puts that have two boundaries; against grids ten times finer they are within 1e-5.
_FD_STEPS = 400


def require_quantlib() -> Any:
    """Import QuantLib.

    Raises
    ------
    UsageError
        If it is not installed.
    """
    try:
        import QuantLib
    except ImportError as error:
        raise UsageError(
            "American options and instruments of kind quantlib need QuantLib, which is not installed",
            hint="pip install 'acceleray[quantlib]'",
        ) from error
    return QuantLib


@contextmanager
def evaluation_date(as_of: dt.date) -> Iterator[Any]:
    """Set QuantLib's evaluation date, and put the one before back; gives the QuantLib module."""
    ql = require_quantlib()
    settings = ql.Settings.instance()
    before = settings.evaluationDate
    settings.evaluationDate = ql.Date(as_of.day, as_of.month, as_of.year)
    try:
        yield ql
    finally:
        settings.evaluationDate = before


def put_prices(puts: FloatArray) -> FloatArray:
    """Price one-year American puts of strike one with QuantLib.

    Parameters
    ----------
    puts : ndarray of shape (4, n)
        Log-moneyness, total deviation, rate, yield.

    Returns
    -------
    ndarray of shape (n,)

    Raises
    ------
    NumericalError
        If QuantLib cannot price one of them.

    Notes
    -----
    `QdFpAmericanEngine` [1]_ in its accurate scheme, within 4e-7 of its high-precision scheme. It does not
    cover ``yield < rate < 0``, where there are two boundaries; finite differences do, within about 1e-5.

    References
    ----------
    .. [1] Andersen, Lake, Offengenden (2016), High-performance American option pricing, Journal of
       Computational Finance 20(1).
    """
    prices = np.empty(puts.shape[1])
    two = has_two_boundaries(puts)
    with evaluation_date(_ANCHOR) as ql:
        today = ql.Settings.instance().evaluationDate
        day_count = ql.Actual365Fixed()
        quotes = [ql.SimpleQuote(1.0), ql.SimpleQuote(0.2), ql.SimpleQuote(0.0), ql.SimpleQuote(0.0)]
        spot, deviation, rate, dividend = (ql.QuoteHandle(quote) for quote in quotes)
        process = ql.GeneralizedBlackScholesProcess(
            spot,
            ql.YieldTermStructureHandle(ql.FlatForward(today, dividend, day_count)),
            ql.YieldTermStructureHandle(ql.FlatForward(today, rate, day_count)),
            ql.BlackVolTermStructureHandle(
                ql.BlackConstantVol(today, ql.NullCalendar(), deviation, day_count)
            ),
        )
        option = ql.VanillaOption(
            ql.PlainVanillaPayoff(ql.Option.Put, 1.0), ql.AmericanExercise(today, today + 365)
        )
        engines = (
            ql.QdFpAmericanEngine(process, ql.QdFpAmericanEngine.accurateScheme()),
            ql.FdBlackScholesVanillaEngine(process, _FD_STEPS, _FD_STEPS),
        )
        for needs_grid, engine in zip((False, True), engines, strict=True):
            option.setPricingEngine(engine)
            for i in np.flatnonzero(two == needs_grid):
                levels = (math.exp(puts[0, i]), *puts[1:, i].tolist())
                for quote, level in zip(quotes, levels, strict=True):
                    quote.setValue(level)
                try:
                    prices[i] = option.NPV()
                except RuntimeError as error:
                    raise NumericalError(
                        f"American put of strike 1 over one year at spot {levels[0]}, vol {levels[1]}, rate "
                        f"{levels[2]}, yield {levels[3]}: QuantLib could not price it: {error}"
                    ) from error
    return prices


def american_option(
    *, strike: float, years: float, is_call: bool, on_future: bool = False, instrument_id: str = "option"
) -> PriceFunction:
    """Return the price function of an American option with a flat vol, rate and yield.

    Parameters
    ----------
    strike : float
        Positive.
    years : float
        To expiry by ACT/365F; on the day itself, zero, the option is worth its intrinsic value.
    is_call : bool
        A call, else a put.
    on_future : bool
        The levels are (futures price, vol, rate) and the yield equals the rate; otherwise
        (spot, vol, rate, dividend yield or foreign rate).
    instrument_id : str
        Named in errors.

    Returns
    -------
    callable
        Takes levels of shape (3 or 4, n), returns n prices per unit in the currency of the strike.

    Raises
    ------
    UsageError
        If QuantLib is not installed.
    """
    require_quantlib()
    sign = 1.0 if is_call else -1.0

    def price(levels: FloatArray) -> FloatArray:
        spot, vol, rate = levels[0], levels[1], levels[2]
        dividend = rate if on_future else levels[3]
        try:
            if years == 0.0:
                if not np.isfinite(spot).all():
                    raise NumericalError("American option: spot was not finite")
                intrinsic: FloatArray = np.maximum(sign * (spot - strike), 0.0)
                return intrinsic
            puts, scale = reduce_to_puts(
                spot, vol, rate, dividend, strike=strike, years=years, is_call=is_call
            )
            prices: FloatArray = scale * put_prices(puts)
        except NumericalError as error:
            raise NumericalError(f"{instrument_id}: {error.message}", hint=error.hint) from error
        return prices

    return price


def product_price(
    function: ProductFunction,
    *,
    as_of: dt.date,
    factor_ids: Sequence[str],
    instrument: Mapping[str, Any],
    instrument_id: str,
) -> PriceFunction:
    """Return the price function of a product that a user describes in QuantLib's terms.

    Parameters
    ----------
    function : callable
        ``function(as_of, levels, instrument)`` gives a QuantLib instrument and its pricing engine.
    as_of : date
        QuantLib's evaluation date while it is called and priced.
    factor_ids : sequence of str
        Factors the product depends on, in the order of the rows of the levels.
    instrument : mapping
        The instrument's row, handed to the function.
    instrument_id : str
        Named in errors.

    Returns
    -------
    callable
        Takes levels of shape (n_factors, n), returns n values per unit in the instrument's currency.

    Raises
    ------
    UsageError
        If QuantLib is not installed.
    """
    require_quantlib()

    def price(levels: FloatArray) -> FloatArray:
        values = np.empty(levels.shape[1])
        with evaluation_date(as_of):
            for i in range(levels.shape[1]):
                named = dict(zip(factor_ids, levels[:, i].tolist(), strict=True))
                # The function is the user's: whatever it raises is reported with the instrument's name.
                try:
                    product, engine = function(as_of, named, instrument)
                    product.setPricingEngine(engine)
                    values[i] = product.NPV()
                except (AccelerayError, MemoryError):
                    raise
                except Exception as error:
                    raise NumericalError(
                        f"{instrument_id}: QuantLib could not price it at {named}: "
                        f"{type(error).__name__}: {error}"
                    ) from error
                if not math.isfinite(values[i]):
                    raise NumericalError(f"{instrument_id}: QuantLib's value was {values[i]} at {named}")
        return values

    return price
