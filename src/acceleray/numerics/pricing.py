"""Closed-form prices, vectorised over instruments (first axis) and scenarios (second axis).

All prices are in the instrument's own currency per unit of its payoff, before multiplier and quantity.
Rates and yields are continuously compounded fractions, times are years by ACT/365F.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import scipy

from acceleray.errors import NumericalError

__all__ = ["european_deltas", "european_prices", "forward_prices", "zero_rates"]

FloatArray = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]


def zero_rates(levels: FloatArray, left: IntArray, right: IntArray, weight: FloatArray) -> FloatArray:
    """Interpolate zero rates linearly between the two curve points around each time.

    Parameters
    ----------
    levels : ndarray of shape (n_factors, n_scenarios)
        Shocked levels of all factors.
    left, right : ndarray of int64, shape (n_times,)
        Columns of the points before and after; equal outside the curve, which is flat there.
    weight : ndarray of shape (n_times,)
        Weight of the right point, in [0, 1].

    Returns
    -------
    ndarray of shape (n_times, n_scenarios)
    """
    rates: FloatArray = (1.0 - weight)[:, None] * levels[left] + weight[:, None] * levels[right]
    return rates


def forward_prices(
    spot: FloatArray, rate: FloatArray, dividend_yield: FloatArray, years: FloatArray
) -> FloatArray:
    """Price a future by cost of carry: ``spot * exp((rate - dividend_yield) * years)``.

    Raises
    ------
    NumericalError
        If an input is not finite.
    """
    _require_finite(spot=spot, rate=rate, dividend_yield=dividend_yield, years=years)
    price: FloatArray = spot * np.exp((rate - dividend_yield) * years)
    return price


def european_prices(
    spot: FloatArray,
    strike: FloatArray,
    rate: FloatArray,
    dividend_yield: FloatArray,
    vol_annual: FloatArray,
    years: FloatArray,
    is_call: npt.NDArray[np.bool_],
) -> FloatArray:
    """Price European options by Black and Scholes with a continuous dividend yield.

    Parameters
    ----------
    spot, rate, dividend_yield, vol_annual : ndarray
        Broadcast against each other, for example (n_options, n_scenarios).
    strike, years : ndarray
        Positive strike; years to expiry, zero on the day itself.
    is_call : ndarray of bool
        True for calls.

    Returns
    -------
    ndarray of the broadcast shape
        With no volatility or no time left, the discounted intrinsic value of the forward.

    Raises
    ------
    NumericalError
        If an input is not finite, or a spot, vol or time is negative, or a strike is not positive.

    References
    ----------
    .. [1] Merton (1973), Theory of rational option pricing, Bell Journal 4(1), section 6.

    Examples
    --------
    >>> ones = np.ones((1, 1))
    >>> one = european_prices(
    ...     100 * ones, 100 * ones, 0.05 * ones, 0 * ones, 0.2 * ones, ones, np.array([[True]])
    ... )
    >>> round(one.item(), 12)
    10.450583572186
    """
    sign, forward, discount, d1, d2 = _black_scholes(
        spot, strike, rate, dividend_yield, vol_annual, years, is_call
    )
    price: FloatArray = discount * (
        sign * (forward * scipy.special.ndtr(sign * d1) - strike * scipy.special.ndtr(sign * d2))
    )
    # Cancellation far out of the money can leave a negative rounding error.
    return np.maximum(price, 0.0)


def european_deltas(
    spot: FloatArray,
    strike: FloatArray,
    rate: FloatArray,
    dividend_yield: FloatArray,
    vol_annual: FloatArray,
    years: FloatArray,
    is_call: npt.NDArray[np.bool_],
) -> FloatArray:
    """Change of `european_prices` per unit of spot; arguments and errors as there."""
    sign, _, _, d1, _ = _black_scholes(spot, strike, rate, dividend_yield, vol_annual, years, is_call)
    delta: FloatArray = sign * np.exp(-dividend_yield * years) * scipy.special.ndtr(sign * d1)
    return delta


def _black_scholes(
    spot: FloatArray,
    strike: FloatArray,
    rate: FloatArray,
    dividend_yield: FloatArray,
    vol_annual: FloatArray,
    years: FloatArray,
    is_call: npt.NDArray[np.bool_],
) -> tuple[FloatArray, FloatArray, FloatArray, FloatArray, FloatArray]:
    _require_finite(
        spot=spot,
        strike=strike,
        rate=rate,
        dividend_yield=dividend_yield,
        vol_annual=vol_annual,
        years=years,
    )
    for name, values in (("spot", spot), ("vol_annual", vol_annual), ("years", years)):
        if np.any(values < 0):
            raise NumericalError(f"European option: {name} was negative ({np.min(values)})")
    if np.any(strike <= 0):
        raise NumericalError(f"European option: strike was not positive ({np.min(strike)})")
    sign = np.where(is_call, 1.0, -1.0)
    forward = spot * np.exp((rate - dividend_yield) * years)
    discount = np.exp(-rate * years)
    deviation = vol_annual * np.sqrt(years)
    # log(0) and x / 0 are the wanted infinities; 0 / 0, at the money without time value, is worth nothing
    # whichever sign it takes.
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
        distance = np.log(forward / strike) / deviation
    distance = np.where(np.isnan(distance), 0.0, distance)
    return sign, forward, discount, distance + 0.5 * deviation, distance - 0.5 * deviation


def _require_finite(**inputs: FloatArray) -> None:
    for name, values in inputs.items():
        if not np.isfinite(values).all():
            raise NumericalError(f"price: {name} was not finite")
