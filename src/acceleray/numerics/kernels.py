"""Revalue many instruments under many scenarios on one core; scenarios lie along the last axis.

Arrays are factor-major, (n_rows, n_scenarios): a row holds one quantity in every scenario and instruments
name the rows they depend on, so that what several of them share is computed once. The price of a scenario
depends on nothing but that scenario: not on its place, on the number of scenarios, on the blocks they are cut
into, on which other instruments are priced, or on the machine. All of it holds bit for bit.

`acceleray.numerics.pricing` has the same formulas in plain NumPy and SciPy; tests compare the two.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from acceleray.errors import NumericalError
from acceleray.numerics import vector_loops
from acceleray.numerics.row_checks import (
    ABSENT,
    RowRanges,
    check_constants,
    check_contracts,
    check_growth,
    check_matrices,
    check_not_negative,
    check_rows,
    check_shape,
)

__all__ = ["EuropeanOptions", "accumulate", "black_greeks", "black_prices", "european_values", "flow_values"]

FloatArray = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]
BoolArray = npt.NDArray[np.bool_]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class EuropeanOptions:
    """What European options depend on: rows of the factor levels, and constants of the contract.

    Parameters
    ----------
    spot_row : ndarray of int64, shape (n_options,)
        Row of the spot, in currency per unit.
    rate_left, rate_right : ndarray of int64, shape (n_options,)
        Rows of the zero rates before and after expiry; -1 for a rate of zero.
    rate_weight : ndarray of shape (n_options,)
        Weight of the right one, in [0, 1].
    rate_shift : ndarray of shape (n_options,)
        Added to the interpolated rate.
    dividend_row, vol_row : ndarray of int64, shape (n_options,)
        Rows of the dividend yield and of the annual volatility; -1 for zero.
    dividend_shift, vol_shift : ndarray of shape (n_options,)
        Added to them: with the row -1 it is the constant yield or volatility.
    strike, years : ndarray of shape (n_options,)
        Positive strike; years to expiry, not negative.
    is_call : ndarray of bool, shape (n_options,)
        True for calls.
    """

    spot_row: IntArray
    rate_left: IntArray
    rate_right: IntArray
    rate_weight: FloatArray
    rate_shift: FloatArray
    dividend_row: IntArray
    dividend_shift: FloatArray
    vol_row: IntArray
    vol_shift: FloatArray
    strike: FloatArray
    years: FloatArray
    is_call: BoolArray


def european_values(levels: FloatArray, options: EuropeanOptions, out: FloatArray) -> FloatArray:
    """Price European options under every scenario, by Black and Scholes with a continuous dividend yield.

    Parameters
    ----------
    levels : ndarray of shape (n_factors, n_scenarios)
        Level of each factor in each scenario.
    options : EuropeanOptions
        The options.
    out : ndarray of shape (n_options, n_scenarios)
        Receives the price per unit in the option's currency, never negative; with no volatility or no time
        left the discounted intrinsic value of the forward.

    Returns
    -------
    ndarray
        `out`.

    Raises
    ------
    NumericalError
        If an input is not finite, a spot, volatility or time is negative, a strike is not positive, or a rate
        times a time is below -700. What no option depends on is not looked at.
    ValueError
        If shapes, types or rows do not fit.

    Notes
    -----
    The absolute error stays below ``1e-14 * (spot + discounted strike)``. One logarithm per spot row and, per
    price, two exponentials (three if the dividend yield has a row) and two divisions.

    References
    ----------
    .. [1] Merton (1973), Theory of rational option pricing, Bell Journal 4(1), section 6.

    Examples
    --------
    >>> def row(value):
    ...     return np.array([value])
    >>> one = EuropeanOptions(
    ...     spot_row=row(0),
    ...     rate_left=row(1),
    ...     rate_right=row(1),
    ...     rate_weight=row(0.0),
    ...     rate_shift=row(0.0),
    ...     dividend_row=row(-1),
    ...     dividend_shift=row(0.0),
    ...     vol_row=row(2),
    ...     vol_shift=row(0.0),
    ...     strike=row(100.0),
    ...     years=row(1.0),
    ...     is_call=row(True),
    ... )
    >>> levels = np.array([[100.0, 90.0], [0.05, 0.04], [0.2, 0.3]])
    >>> european_values(levels, one, np.empty((1, 2))).round(12).tolist()
    [[10.450583572186, 8.314299892748]]
    """
    n = options.strike.shape[0]
    check_matrices(out=out, levels=levels)
    check_shape("out", out, (n, levels.shape[1]))
    for name, least in (
        ("spot_row", 0),
        ("rate_left", ABSENT),
        ("rate_right", ABSENT),
        ("dividend_row", ABSENT),
        ("vol_row", ABSENT),
    ):
        check_rows(name, getattr(options, name), n, levels, least)
    for name in ("rate_weight", "rate_shift", "dividend_shift", "vol_shift", "strike", "years"):
        check_constants(name, getattr(options, name), n)
    check_contracts(options.strike, options.is_call)
    if (options.years < 0.0).any():
        raise NumericalError(f"European option: years was negative ({options.years.min()})")
    ranges = RowRanges(levels)
    check_not_negative("spot", ranges.of(options.spot_row)[0])
    check_not_negative("vol", ranges.of(options.vol_row)[0] + options.vol_shift)
    lefts, rights = ranges.of(options.rate_left), ranges.of(options.rate_right)
    check_growth("rate", np.minimum(lefts[0], rights[0]) + options.rate_shift, options.years)
    check_growth("dividend yield", ranges.of(options.dividend_row)[0] + options.dividend_shift, options.years)
    ranges.require_finite("European option")
    spot_rows, log_row = np.unique(options.spot_row, return_inverse=True)
    logs = np.empty((spot_rows.shape[0], levels.shape[1]))
    vector_loops.log_rows(levels, spot_rows, logs)
    vector_loops.european_rows(
        levels,
        logs,
        log_row,
        options.spot_row,
        options.rate_left,
        options.rate_right,
        options.rate_weight,
        options.rate_shift,
        options.dividend_row,
        options.dividend_shift,
        options.vol_row,
        options.vol_shift,
        options.strike,
        options.years,
        np.where(options.is_call, 0.0, 1.0),
        out,
    )
    return out


def black_prices(
    forward: FloatArray,
    log_forward: FloatArray,
    discount: FloatArray,
    deviation: FloatArray,
    forward_row: IntArray,
    discount_row: IntArray,
    deviation_row: IntArray,
    strike: FloatArray,
    is_call: BoolArray,
    out: FloatArray,
) -> FloatArray:
    """Price European options on forwards by Black's formula, from rows that options share.

    Parameters
    ----------
    forward, log_forward : ndarray of shape (n_forwards, n_scenarios)
        Forwards, not negative, and their natural logarithms (minus infinity for zero).
    discount : ndarray of shape (n_discounts, n_scenarios)
        Discount factors, not negative.
    deviation : ndarray of shape (n_deviations, n_scenarios)
        ``vol_annual * sqrt(years)``, not negative.
    forward_row, discount_row, deviation_row : ndarray of int64, shape (n_options,)
        The rows of each option.
    strike : ndarray of shape (n_options,)
        Positive.
    is_call : ndarray of bool, shape (n_options,)
        True for calls.
    out : ndarray of shape (n_options, n_scenarios)
        Receives the prices, never negative; the discounted intrinsic value where `deviation` is zero.

    Returns
    -------
    ndarray
        `out`.

    Raises
    ------
    NumericalError
        If a value in use is not finite or out of range.
    ValueError
        If shapes, types or rows do not fit.

    References
    ----------
    .. [1] Black (1976), The pricing of commodity contracts, Journal of Financial Economics 3.
    """
    n = strike.shape[0]
    check_matrices(out=out, discount=discount)
    check_shape("out", out, (n, forward.shape[-1]))
    check_shape("discount", discount, (discount.shape[0], forward.shape[-1]))
    check_rows("discount_row", discount_row, n, discount)
    _check_black(forward, log_forward, deviation, forward_row, deviation_row, strike, is_call)
    discounts = RowRanges(discount)
    check_not_negative("discount", discounts.of(discount_row)[0])
    discounts.require_finite("discount")
    vector_loops.black_price_rows(
        forward,
        log_forward,
        discount,
        deviation,
        forward_row,
        discount_row,
        deviation_row,
        strike,
        _logs(strike),
        np.where(is_call, 0.0, 1.0),
        out,
    )
    return out


def black_greeks(
    forward: FloatArray,
    log_forward: FloatArray,
    deviation: FloatArray,
    forward_row: IntArray,
    deviation_row: IntArray,
    strike: FloatArray,
    is_call: BoolArray,
    delta: FloatArray,
    gamma: FloatArray,
    vega: FloatArray,
) -> None:
    """Differentiate the undiscounted Black price; multiply by the discount factor for that of a price.

    Parameters
    ----------
    forward, log_forward, deviation, forward_row, deviation_row, strike, is_call
        As for `black_prices`.
    delta : ndarray of shape (n_options, n_scenarios)
        Receives the change per unit of forward: ``N(d1)``, for puts ``N(d1) - 1``.
    gamma : ndarray of shape (n_options, n_scenarios)
        Receives the change of delta per unit of forward; zero where `deviation` or `forward` is zero.
    vega : ndarray of shape (n_options, n_scenarios)
        Receives the change per unit of `deviation`; times ``sqrt(years)`` it is per unit of volatility.

    Raises
    ------
    NumericalError
        If a value in use is not finite or out of range.
    ValueError
        If shapes, types or rows do not fit.
    """
    n = strike.shape[0]
    check_matrices(delta=delta, gamma=gamma, vega=vega)
    for name, array in (("delta", delta), ("gamma", gamma), ("vega", vega)):
        check_shape(name, array, (n, forward.shape[-1]))
    _check_black(forward, log_forward, deviation, forward_row, deviation_row, strike, is_call)
    vector_loops.black_greek_rows(
        forward,
        log_forward,
        deviation,
        forward_row,
        deviation_row,
        _logs(strike),
        np.where(is_call, 0.0, 1.0),
        delta,
        gamma,
        vega,
    )


def flow_values(
    levels: FloatArray,
    left: IntArray,
    right: IntArray,
    weight: FloatArray,
    times: FloatArray,
    amounts: FloatArray,
    offsets: IntArray,
    spread_row: IntArray,
    spread_shift: FloatArray,
    out: FloatArray,
) -> FloatArray:
    """Discount cash flows on interpolated zero curves plus a spread.

    Parameters
    ----------
    levels : ndarray of shape (n_factors, n_scenarios)
        Level of each factor in each scenario.
    left, right : ndarray of int64, shape (n_flows,)
        Rows of the zero rates before and after each flow.
    weight : ndarray of shape (n_flows,)
        Weight of the right one, in [0, 1].
    times : ndarray of shape (n_flows,)
        Years until each flow. One that is due, at zero or before, counts at its amount.
    amounts : ndarray of shape (n_flows,)
        Cash flows of all bonds one after another, in currency.
    offsets : ndarray of int64, shape (n_bonds + 1,)
        Where each bond's flows begin.
    spread_row : ndarray of int64, shape (n_bonds,)
        Row of the bond's spread; -1 for none.
    spread_shift : ndarray of shape (n_bonds,)
        Added to the spread.
    out : ndarray of shape (n_bonds, n_scenarios)
        Receives ``sum(amount * exp(-(rate + spread) * time))``, summed in the order of the flows.

    Returns
    -------
    ndarray
        `out`.

    Raises
    ------
    NumericalError
        If a value in use is not finite, or a rate times a time is below -700.
    ValueError
        If shapes, types, rows or offsets do not fit.
    """
    n_flows, n_bonds = times.shape[0], spread_shift.shape[0]
    check_matrices(out=out, levels=levels)
    check_shape("out", out, (n_bonds, levels.shape[1]))
    check_rows("left", left, n_flows, levels)
    check_rows("right", right, n_flows, levels)
    check_rows("spread_row", spread_row, n_bonds, levels, ABSENT)
    for name, array in (("weight", weight), ("times", times), ("amounts", amounts)):
        check_constants(name, array, n_flows)
    check_constants("spread_shift", spread_shift, n_bonds)
    if (
        offsets.dtype != np.int64
        or offsets.shape != (n_bonds + 1,)
        or offsets[0] != 0
        or offsets[-1] != n_flows
        or (np.diff(offsets) < 0).any()
    ):
        raise ValueError(f"offsets must be int64 and lead from 0 to {n_flows} in {n_bonds} steps")
    ranges = RowRanges(levels)
    least = np.minimum(ranges.of(left)[0], ranges.of(right)[0])
    spreads = np.repeat(ranges.of(spread_row)[0] + spread_shift, np.diff(offsets))
    check_growth("rate", least + spreads, np.maximum(times, 0.0))
    ranges.require_finite("cash flow")
    vector_loops.flow_rows(
        levels, left, right, weight, times, amounts, offsets, spread_row, spread_shift, out
    )
    return out


def accumulate(
    unit_pnl: FloatArray,
    leg_instrument: IntArray,
    leg_units: FloatArray,
    leg_segment: IntArray,
    out: FloatArray,
) -> FloatArray:
    """Add ``units * unit_pnl[instrument]`` of every leg to its segment, legs in their order.

    Parameters
    ----------
    unit_pnl : ndarray of shape (n_instruments, n_scenarios)
        P&L of one unit; a gain is positive.
    leg_instrument, leg_segment : ndarray of int64, shape (n_legs,)
        Row of `unit_pnl` and row of `out`.
    leg_units : ndarray of shape (n_legs,)
        Units held, negative if short.
    out : ndarray of shape (n_segments, n_scenarios)
        Added to; the caller has zeroed it.

    Returns
    -------
    ndarray
        `out`.

    Raises
    ------
    NumericalError
        If a number of units or a P&L in use is not finite.
    ValueError
        If shapes, types or rows do not fit.

    Examples
    --------
    >>> pnl = np.array([[1.0, -2.0], [10.0, 20.0]])
    >>> legs = np.array([0, 1, 1])
    >>> accumulate(pnl, legs, np.array([2.0, 1.0, -3.0]), np.array([0, 0, 1]), np.zeros((2, 2))).tolist()
    [[12.0, 16.0], [-30.0, -60.0]]
    """
    n = leg_units.shape[0]
    check_matrices(out=out, unit_pnl=unit_pnl)
    check_shape("out", out, (out.shape[0], unit_pnl.shape[1]))
    check_rows("leg_instrument", leg_instrument, n, unit_pnl)
    check_rows("leg_segment", leg_segment, n, out)
    check_constants("leg_units", leg_units, n)
    ranges = RowRanges(unit_pnl)
    ranges.of(leg_instrument)
    ranges.require_finite("unit P&L")
    vector_loops.accumulate_legs(unit_pnl, leg_instrument, leg_units, leg_segment, out)
    return out


def _check_black(
    forward: FloatArray,
    log_forward: FloatArray,
    deviation: FloatArray,
    forward_row: IntArray,
    deviation_row: IntArray,
    strike: FloatArray,
    is_call: BoolArray,
) -> None:
    check_matrices(forward=forward, log_forward=log_forward, deviation=deviation)
    check_shape("log_forward", log_forward, forward.shape)
    check_shape("deviation", deviation, (deviation.shape[0], forward.shape[1]))
    check_rows("forward_row", forward_row, strike.shape[0], forward)
    check_rows("deviation_row", deviation_row, strike.shape[0], deviation)
    check_constants("strike", strike, strike.shape[0])
    check_contracts(strike, is_call)
    for name, array, rows in (("forward", forward, forward_row), ("deviation", deviation, deviation_row)):
        ranges = RowRanges(array)
        check_not_negative(name, ranges.of(rows)[0])
        ranges.require_finite(name)
    lows, highs = RowRanges(log_forward).of(forward_row)
    # Written so that NaN fails too.
    if not ((lows < np.inf) & (highs < np.inf)).all():
        raise NumericalError("a logarithm of a forward was not a number below infinity")


def _logs(strike: FloatArray) -> FloatArray:
    logs = np.empty((1, strike.shape[0]))
    vector_loops.log_rows(strike[None, :], np.zeros(1, dtype=np.int64), logs)
    return logs.reshape(-1)
