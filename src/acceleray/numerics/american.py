"""American options from tables of the exercise boundary and of the premium over the European price.

Everything is reduced to a put of strike one and one year. A call on S struck at K is a put on K struck at S
with the rate and the dividend yield exchanged [1]_, and time only enters through the total deviation
``vol sqrt(years)`` and the rates times years. The premium is smooth on the held side of the boundary and is
tabulated there, over the distance from the boundary in deviations; on the other side the option is worth its
intrinsic value. With a rate that is neither positive nor above the yield, holding a put is always right, and
the European price is the answer.

References
----------
.. [1] McDonald, Schroder (1998), A parity result for American options, Journal of Computational Finance 1(3).
"""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt

from acceleray.errors import NumericalError
from acceleray.numerics.chebyshev import Chebyshev, evaluate_one
from acceleray.numerics.compilation import compiled_checked

__all__ = ["evaluate_puts", "has_two_boundaries", "reduce_to_puts"]

FloatArray = npt.NDArray[np.float64]
BoolArray = npt.NDArray[np.bool_]


def reduce_to_puts(
    spot: FloatArray,
    vol_annual: FloatArray,
    rate: FloatArray,
    dividend_yield: FloatArray,
    *,
    strike: float,
    years: float,
    is_call: bool,
) -> tuple[FloatArray, FloatArray]:
    """Express options on several scenarios as one-year puts of strike one.

    Parameters
    ----------
    spot, vol_annual, rate, dividend_yield : ndarray of shape (n_scenarios,)
        Rates continuously compounded to expiry.
    strike, years : float
        Positive.

    Returns
    -------
    puts : ndarray of shape (4, n_scenarios)
        Log-moneyness ``log(S / K)``, total deviation, rate and yield times years, of the put.
    scale : ndarray of shape (n_scenarios,)
        What the put's price is multiplied by: the strike for puts, the spot for calls.

    Raises
    ------
    NumericalError
        If a level is not finite, or a spot, vol, strike or time is not positive.
    """
    for name, values in (
        ("spot", spot),
        ("vol_annual", vol_annual),
        ("rate", rate),
        ("dividend_yield", dividend_yield),
    ):
        if not np.isfinite(values).all():
            raise NumericalError(f"American option: {name} was not finite")
    for name, smallest in (
        ("spot", np.min(spot, initial=np.inf)),
        ("vol_annual", np.min(vol_annual, initial=np.inf)),
        ("strike", strike),
        ("years", years),
    ):
        if not smallest > 0:
            raise NumericalError(f"American option: {name} was not positive ({smallest})")
    moneyness = np.log(spot / strike)
    deviation = vol_annual * math.sqrt(years)
    if is_call:
        return np.stack([-moneyness, deviation, dividend_yield * years, rate * years]), spot.copy()
    return np.stack([moneyness, deviation, rate * years, dividend_yield * years]), np.full(spot.size, strike)


def has_two_boundaries(puts: FloatArray) -> BoolArray:
    """Tell where a put is exercised in the middle of an interval only: ``yield < rate < 0``.

    Parameters
    ----------
    puts : ndarray of shape (4, n_scenarios)
        As `reduce_to_puts` returns them.

    References
    ----------
    .. [1] Andersen, Lake (2021), Fast American option pricing: the double-boundary case, Wilmott 2021.
    """
    found: BoolArray = (puts[2] < 0.0) & (puts[3] < puts[2])
    return found


def evaluate_puts(
    puts: FloatArray,
    boundary: Chebyshev,
    premium: Chebyshev,
    *,
    span: float,
    rate_unit: float,
    on_future: bool,
) -> FloatArray:
    """Price puts of strike one from the tables; the bits of one scenario do not depend on the others.

    Parameters
    ----------
    puts : ndarray of shape (4, n_scenarios)
        Within the tables and without two boundaries; the caller has looked.
    boundary : Chebyshev
        Over (deviation, ``log(1 + rate / rate_unit)``, yield): log of the exercise boundary, in deviations.
    premium : Chebyshev
        Over distance / span and the same three: American less European price.
    span : float
        Deviations above the boundary beyond which the premium is nothing.
    rate_unit : float
        Near a rate of zero the boundary is a logarithm of the rate, and no polynomial of it.
    on_future : bool
        The tables' last dimension is the yield less the rate, which is zero, instead of the yield.

    Returns
    -------
    ndarray of shape (n_scenarios,)
    """
    prices: FloatArray = _evaluate_puts(
        np.ascontiguousarray(puts),
        boundary.arrays(),
        boundary.max_count,
        premium.arrays(),
        premium.max_count,
        span,
        rate_unit,
        on_future,
    )
    return prices


@compiled_checked
def _evaluate_puts(puts, boundary, n_boundary, premium, n_premium, span, rate_unit, on_future):  # type: ignore[no-untyped-def] # compiled, no annotations
    n_boundary, n_premium = max(n_boundary, 2), max(n_premium, 2)
    basis_boundary, sums_boundary = np.empty((3, n_boundary)), np.empty(n_boundary)
    basis_premium, sums_premium = np.empty((4, n_premium)), np.empty(n_premium)
    at, put = np.empty(4), np.empty(4)
    half_root = math.sqrt(0.5)
    prices = np.empty(puts.shape[1])
    for i in range(puts.shape[1]):
        for d in range(4):
            put[d] = puts[d, i]
        x, deviation, rate, dividend = put[0], put[1], put[2], put[3]
        moneyness = math.exp(x)
        intrinsic = 1.0 - moneyness
        extra = 0.0
        if on_future:
            put[3] = dividend - rate
        if rate > 0.0 or (rate == 0.0 and dividend < 0.0):
            put[2] = math.log1p(rate / rate_unit)
            above = x / deviation - evaluate_one(put[1:], boundary, basis_boundary, sums_boundary)
            if above <= 0.0:
                prices[i] = max(intrinsic, 0.0)
                continue
            if above < span:
                at[0], at[1], at[2], at[3] = above / span, deviation, put[2], put[3]
                extra = max(evaluate_one(at, premium, basis_premium, sums_premium), 0.0)
        d1 = (x + rate - dividend) / deviation + 0.5 * deviation
        d2 = d1 - deviation
        european = math.exp(-rate) * 0.5 * math.erfc(d2 * half_root) - moneyness * math.exp(
            -dividend
        ) * 0.5 * math.erfc(d1 * half_root)
        prices[i] = max(max(intrinsic, 0.0), european + extra)
    return prices
