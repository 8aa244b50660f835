"""Compiled loops behind `acceleray.numerics.kernels`, and the elementary functions inside them.

Call them through `kernels`, which checks the input: nothing here does.

Three rules make every loop a vector loop whose bits do not depend on the machine, on the length of an array
or on the place of a scenario in it:

* No branches on data. `select` compiles to a blend, and everything is inlined.
* A product and a sum are fused only where `fma` says so, by IEEE 754's operation with one rounding. Without
  fast-math LLVM neither fuses nor reorders anything, so the vector body and the scalar remainder agree, as do
  vectors of 128, 256 and 512 bits. A processor without the instruction (x86 before 2013) calls the C library
  for it: the same bits, slowly.
* No sum runs along the scenarios. Sums over cash flows and legs run in their order, one scenario per lane.

Numba's cache looks at the time stamp of the file of the function that is called, not of those it calls. All
that is compiled together therefore lives in this one file.

The coefficients are our own: ``benchmarks/elementary_coefficients.py`` derives them.
"""

# mypy: disable-error-code="no-untyped-def"
# Numba infers the types of everything below.

from __future__ import annotations

import math

import numpy as np
from llvmlite import ir
from numba import njit, types
from numba.extending import intrinsic

from acceleray.numerics.compilation import compiled

__all__ = [
    "accumulate_legs",
    "black_greek_rows",
    "black_price_rows",
    "european_rows",
    "exp",
    "exp_clamped",
    "flow_rows",
    "log",
    "log_rows",
    "normal_cdf",
    "row_ranges",
]

# Scenarios handled at a time: six rows of them, 8 kB each, stay in a 48 kB first-level cache.
BLOCK = 1024

# (e^r - 1 - r) / r^2 for |r| <= log(2) / 2; relative error of e^r 4e-18.
EXP = (
    0.500000000000001,
    0.16666666666666405,
    0.04166666666653146,
    0.008333333333499796,
    0.0013888888943255834,
    0.0001984126949236969,
    2.4801493516592327e-05,
    2.7557601421934094e-06,
    2.7630089612429126e-07,
    2.4994557586932834e-08,
)
# (2 atanh(s) - 2 s) / s^3 in powers of s^2, for |s| <= 3 - sqrt(8); relative error 5e-16 of that correction.
LOG = (
    0.666666666666667,
    0.3999999999989958,
    0.2857142862592092,
    0.22222211146057966,
    0.18182888166996491,
    0.1533175720422069,
    0.14615970905104841,
)
# Mills' ratio (1 - Phi(x)) / phi(x) = P(x) / Q(x) for every x >= 0; relative error 4e-16. All coefficients
# are positive, so that the evaluation cancels nothing.
MILLS_P = (
    1.2533141373154997,
    2.0106076024485673,
    1.5897477707594578,
    0.7983087327029957,
    0.2782079940477122,
    0.06956036890212275,
    0.012488393878701572,
    0.0015596039862817998,
    0.00012410620104705552,
    4.883541770287478e-06,
)
MILLS_Q = (
    1.0,
    2.402117324629372,
    2.6850475284207125,
    1.8442190384550687,
    0.8647987721230537,
    0.29044817420679625,
    0.07111020583175326,
    0.01261250007941463,
    0.0015644875280542698,
    0.00012410620104704977,
    4.883541770287482e-06,
)

# Adding it moves a number's integer part into the low bits of the significand.
ROUNDER = 6755399441055744.0
LOG2_E = 1.4426950408889634
LOG_2 = 0.6931471805599453
LOG_2_REST = 2.3190468138462996e-17
# The first 33 bits of log(2), whose product with an exponent is exact, and the rest (fdlibm's e_log.c).
LOG_2_SHORT = 6.93147180369123816490e-01
LOG_2_SHORT_REST = 1.90821492927058770002e-10
INVERSE_SQRT_TWO_PI = 0.3989422804014327
SMALLEST_NORMAL = 2.2250738585072014e-308
BITS_OF_SQRT_HALF = 0x3FE6A09E667F3BCD
ALL_BUT_SIGN = 0x7FFFFFFFFFFFFFFF

_inlined = njit(error_model="numpy", forceinline=True)


@intrinsic
def fma(_typing, _x, _y, _z):
    """Return ``x * y + z`` rounded once."""

    def generate(_context, builder, _signature, arguments):
        return builder.fma(*arguments)

    return types.float64(types.float64, types.float64, types.float64), generate


@intrinsic
def select(_typing, _condition, _yes, _no):
    """Return `yes` or `no` without a branch."""

    def generate(_context, builder, _signature, arguments):
        return builder.select(*arguments)

    return types.float64(types.boolean, types.float64, types.float64), generate


@intrinsic
def to_bits(_typing, _value):
    """Return the bits of a double as an integer."""

    def generate(_context, builder, _signature, arguments):
        return builder.bitcast(arguments[0], ir.IntType(64))

    return types.int64(types.float64), generate


@intrinsic
def from_bits(_typing, _bits):
    """Return the double with these bits."""

    def generate(_context, builder, _signature, arguments):
        return builder.bitcast(arguments[0], ir.DoubleType())

    return types.float64(types.int64), generate


@intrinsic
def widest_vectors(_typing):
    """Let the calling function use 512-bit vectors where the processor has them.

    LLVM prefers 256 bits since wide vectors once lowered the clock. These loops are pure arithmetic and run
    1.3 times faster in wide ones. Speed alone depends on it, no bit of a result does.
    """

    def generate(context, builder, _signature, _arguments):
        # llvmlite refuses attributes that it does not know, and its set prints any that it holds.
        set.add(builder.function.attributes, '"prefer-vector-width"="512"')
        return context.get_dummy_value()

    return types.void(), generate


@_inlined
def exp_clamped(x):
    """Return e^x for x in [-690, 709], and e^-690 or e^709 outside; relative error below 2e-16."""
    # 1e-300 is as good as nothing, and the products with it stay clear of the slow subnormal numbers.
    x = select(x > -690.0, x, -690.0)
    x = select(x < 709.0, x, 709.0)
    rounded = fma(x, LOG2_E, ROUNDER)
    # The power of two goes straight into the exponent's bits.
    return from_bits(to_bits(_exp_fraction(x, rounded - ROUNDER)) + (to_bits(rounded) << 52))


@_inlined
def exp(x):
    """Return e^x, zero below -745.2 and the largest number above 709.78; relative error below 2e-16."""
    x = select(x > -746.0, x, -746.0)
    x = select(x < 709.782712893384, x, 709.782712893384)
    rounded = fma(x, LOG2_E, ROUNDER)
    # The exponent's bits hold neither a subnormal nor 2^1024: scale by 2^64 in a second step.
    step = select(x < -700.0, 64.0, select(x > 700.0, -64.0, 0.0))
    back = select(x < -700.0, 2.0**-64, select(x > 700.0, 2.0**64, 1.0))
    near = _exp_fraction(x, rounded - ROUNDER)
    return from_bits(to_bits(near) + (to_bits(rounded + step) << 52)) * back


@_inlined
def _exp_fraction(x, twos):
    """Return e^x / 2^twos, in [0.7, 1.42]."""
    r = fma(twos, -LOG_2, x)
    r = fma(twos, -LOG_2_REST, r)
    y = r * r
    # Odd and even powers apart: two short chains of dependent steps instead of a long one.
    odd = fma(fma(fma(fma(EXP[9], y, EXP[7]), y, EXP[5]), y, EXP[3]), y, EXP[1])
    even = fma(fma(fma(fma(EXP[8], y, EXP[6]), y, EXP[4]), y, EXP[2]), y, EXP[0])
    return fma(fma(fma(odd, r, even), r, 1.0), r, 1.0)


@_inlined
def log(x):
    """Return the logarithm of x >= 0, minus infinity at zero; error below one unit in the last place."""
    subnormal = x < SMALLEST_NORMAL
    scaled = select(subnormal, x * 2.0**54, x)
    twos = (to_bits(scaled) - BITS_OF_SQRT_HALF) >> 52
    f = from_bits(to_bits(scaled) - (twos << 52)) - 1.0
    k = float(twos) - select(subnormal, 54.0, 0.0)
    s = f / (2.0 + f)
    z = s * s
    series = fma(
        fma(fma(fma(fma(fma(LOG[6], z, LOG[5]), z, LOG[4]), z, LOG[3]), z, LOG[2]), z, LOG[1]), z, LOG[0]
    )
    # log(1 + f) = f - f^2 / 2 + s (f^2 / 2 + s^2 series), summed from small to large as fdlibm does.
    half_square = 0.5 * f * f
    small = fma(s, fma(z, series, half_square), k * LOG_2_SHORT_REST)
    value = k * LOG_2_SHORT - ((half_square - small) - f)
    return select(x > 0.0, value, -math.inf)


@_inlined
def _mills(x):
    """Return numerator and denominator of Mills' ratio for 0 <= x <= 1e10."""
    y = x * x
    p = fma(fma(fma(fma(MILLS_P[9], y, MILLS_P[7]), y, MILLS_P[5]), y, MILLS_P[3]), y, MILLS_P[1])
    p_even = fma(fma(fma(fma(MILLS_P[8], y, MILLS_P[6]), y, MILLS_P[4]), y, MILLS_P[2]), y, MILLS_P[0])
    q = fma(fma(fma(fma(MILLS_Q[9], y, MILLS_Q[7]), y, MILLS_Q[5]), y, MILLS_Q[3]), y, MILLS_Q[1])
    q_even = fma(fma(fma(fma(MILLS_Q[10], y, MILLS_Q[8]), y, MILLS_Q[6]), y, MILLS_Q[4]), y, MILLS_Q[2])
    return fma(p, x, p_even), fma(q, x, fma(q_even, y, MILLS_Q[0]))


@_inlined
def normal_cdf(x):
    """Return Phi(x): relative error below 1e-15 down to Phi(-37), absolute error at most 2.3e-16."""
    size = select(x < 0.0, -x, x)
    size = select(size < 40.0, size, 40.0)
    square = size * size
    # What rounding took from the square, which the exponential would magnify in the tail.
    lost = fma(size, size, -square)
    p, q = _mills(size)
    tail = exp(-0.5 * square) * fma(lost, -0.5, 1.0) * INVERSE_SQRT_TWO_PI * (p / q)
    return select(x > 0.0, 1.0 - tail, tail)


@_inlined
def _black(forward, strike, log_moneyness, deviation, put):
    """Return Black's price of a call, or of a put where `put` is 1 and not 0; forward and strike discounted.

    With M Mills' ratio and [.] one or zero, N(d) = [d > 0] - sign(d) phi(d) M(|d|). Since
    F phi(d1) = K phi(d2), one exponential and one division serve both terms:

        F N(d1) - K N(d2) = [d1 > 0] F - [d2 > 0] K - F phi(d1) (sign(d1) M(|d1|) - sign(d2) M(|d2|))

    and a put is that minus F - K. Without deviation d1 = d2 and the last term is exactly zero.
    """
    ratio = log_moneyness / select(deviation > 1e-290, deviation, 1e-290)
    d1 = ratio + 0.5 * deviation
    d2 = ratio - 0.5 * deviation
    size1 = select(d1 > 0.0, d1, -d1)
    size2 = select(d2 > 0.0, d2, -d2)
    # Beyond 1e10 the powers in Mills' ratio would overflow.
    size1 = select(size1 < 1e10, size1, 1e10)
    size2 = select(size2 < 1e10, size2, 1e10)
    p1, q1 = _mills(size1)
    p2, q2 = _mills(size2)
    term1 = p1 * q2
    term2 = p2 * q1
    term1 = select(d1 > 0.0, -term1, term1)
    term2 = select(d2 > 0.0, -term2, term2)
    spread = (term1 - term2) / (q1 * q2)
    density = INVERSE_SQRT_TWO_PI * exp_clamped(-0.5 * size1 * size1)
    exercised = select(d1 > 0.0, forward, 0.0) - select(d2 > 0.0, strike, 0.0)
    price = fma(forward * density, spread, exercised - put * (forward - strike))
    # Cancellation far out of the money can leave a negative rounding error.
    return select(price > 0.0, price, 0.0)


@compiled
def black_price_rows(
    forward,
    log_forward,
    discount,
    deviation,
    forward_row,
    discount_row,
    deviation_row,
    strike,
    log_strike,
    put,
    out,
):
    """Price by Black; see `kernels.black_prices`."""
    widest_vectors()
    n = out.shape[1]
    for start in range(0, n, BLOCK):
        stop = min(n, start + BLOCK)
        for option in range(out.shape[0]):
            forwards = forward[forward_row[option], start:stop]
            logs = log_forward[forward_row[option], start:stop]
            discounts = discount[discount_row[option], start:stop]
            deviations = deviation[deviation_row[option], start:stop]
            prices = out[option, start:stop]
            for s in range(prices.shape[0]):
                prices[s] = _black(
                    forwards[s] * discounts[s],
                    strike[option] * discounts[s],
                    logs[s] - log_strike[option],
                    deviations[s],
                    put[option],
                )


@compiled
def black_greek_rows(
    forward, log_forward, deviation, forward_row, deviation_row, log_strike, put, delta, gamma, vega
):
    """Differentiate by Black; see `kernels.black_greeks`."""
    widest_vectors()
    n = delta.shape[1]
    for start in range(0, n, BLOCK):
        stop = min(n, start + BLOCK)
        for option in range(delta.shape[0]):
            forwards = forward[forward_row[option], start:stop]
            logs = log_forward[forward_row[option], start:stop]
            deviations = deviation[deviation_row[option], start:stop]
            deltas = delta[option, start:stop]
            gammas = gamma[option, start:stop]
            vegas = vega[option, start:stop]
            for s in range(deltas.shape[0]):
                level = forwards[s]
                spread = deviations[s]
                divisor = select(spread > 1e-290, spread, 1e-290)
                d1 = (logs[s] - log_strike[option]) / divisor + 0.5 * spread
                size = select(d1 > 0.0, d1, -d1)
                size = select(size < 1e10, size, 1e10)
                p, q = _mills(size)
                density = INVERSE_SQRT_TWO_PI * exp_clamped(-0.5 * size * size)
                tail = density * (p / q)
                below = select(d1 > 0.0, 1.0 - tail, tail)
                # N(d1) - 1 = -N(-d1), taken from the tail itself so that a small delta keeps its digits.
                above = select(d1 > 0.0, -tail, tail - 1.0)
                deltas[s] = select(put[option] > 0.0, above, below)
                vegas[s] = level * density
                curved = (spread > 0.0) & (level > 0.0)
                gammas[s] = select(curved, density / select(curved, level * spread, 1.0), 0.0)


@compiled
def european_rows(
    levels,
    logs,
    log_row,
    spot_row,
    rate_left,
    rate_right,
    rate_weight,
    rate_shift,
    dividend_row,
    dividend_shift,
    vol_row,
    vol_shift,
    strike,
    years,
    put,
    out,
):
    """Price European options from factor levels; see `kernels.european_values`."""
    widest_vectors()
    n = out.shape[1]
    absent = np.zeros(BLOCK)
    for start in range(0, n, BLOCK):
        stop = min(n, start + BLOCK)
        for option in range(out.shape[0]):
            spots = levels[spot_row[option], start:stop]
            spot_logs = logs[log_row[option], start:stop]
            lefts = absent if rate_left[option] < 0 else levels[rate_left[option], start:stop]
            rights = absent if rate_right[option] < 0 else levels[rate_right[option], start:stop]
            vols = absent if vol_row[option] < 0 else levels[vol_row[option], start:stop]
            prices = out[option, start:stop]
            time = years[option]
            root = math.sqrt(time)
            right_weight = rate_weight[option]
            left_weight = 1.0 - right_weight
            level = strike[option]
            log_strike = log(level)
            vol_up = vol_shift[option]
            rate_up = rate_shift[option]
            minus = put[option]
            if dividend_row[option] < 0:
                carried = exp_clamped(-dividend_shift[option] * time)
                known = -(dividend_shift[option] * time + log_strike)
                for s in range(prices.shape[0]):
                    grown = (left_weight * lefts[s] + right_weight * rights[s] + rate_up) * time
                    prices[s] = _black(
                        spots[s] * carried,
                        level * exp_clamped(-grown),
                        (spot_logs[s] + known) + grown,
                        (vols[s] + vol_up) * root,
                        minus,
                    )
            else:
                dividends = levels[dividend_row[option], start:stop]
                dividend_up = dividend_shift[option]
                for s in range(prices.shape[0]):
                    grown = (left_weight * lefts[s] + right_weight * rights[s] + rate_up) * time
                    paid = (dividends[s] + dividend_up) * time
                    prices[s] = _black(
                        spots[s] * exp_clamped(-paid),
                        level * exp_clamped(-grown),
                        (spot_logs[s] - log_strike) + (grown - paid),
                        (vols[s] + vol_up) * root,
                        minus,
                    )


@compiled
def flow_rows(levels, left, right, weight, times, amounts, offsets, spread_row, spread_shift, out):
    """Discount cash flows; see `kernels.flow_values`."""
    widest_vectors()
    n = out.shape[1]
    absent = np.zeros(BLOCK)
    for start in range(0, n, BLOCK):
        stop = min(n, start + BLOCK)
        for bond in range(out.shape[0]):
            spreads = absent if spread_row[bond] < 0 else levels[spread_row[bond], start:stop]
            spread_up = spread_shift[bond]
            values = out[bond, start:stop]
            for s in range(values.shape[0]):
                values[s] = 0.0
            for flow in range(offsets[bond], offsets[bond + 1]):
                amount = amounts[flow]
                time = times[flow]
                if time <= 0.0:
                    for s in range(values.shape[0]):
                        values[s] += amount
                    continue
                lefts = levels[left[flow], start:stop]
                rights = levels[right[flow], start:stop]
                right_weight = weight[flow]
                left_weight = 1.0 - right_weight
                for s in range(values.shape[0]):
                    rate = left_weight * lefts[s] + right_weight * rights[s] + (spreads[s] + spread_up)
                    values[s] += amount * exp_clamped(-rate * time)


@compiled
def accumulate_legs(unit_pnl, instrument, units, segment, out):
    """Add legs to segments; see `kernels.accumulate`. Nothing is fused, so that NumPy gives the same bits."""
    widest_vectors()
    n = out.shape[1]
    for start in range(0, n, BLOCK):
        stop = min(n, start + BLOCK)
        for leg in range(instrument.shape[0]):
            gains = unit_pnl[instrument[leg], start:stop]
            totals = out[segment[leg], start:stop]
            held = units[leg]
            for s in range(totals.shape[0]):
                totals[s] += held * gains[s]


@compiled
def log_rows(levels, rows, out):
    """Fill ``out[i]`` with the logarithms of row ``rows[i]``."""
    widest_vectors()
    for index in range(rows.shape[0]):
        source = levels[rows[index]]
        target = out[index]
        for s in range(target.shape[0]):
            target[s] = log(source[s])


@compiled
def row_ranges(levels, rows):
    """Return the least and the greatest value of each of the rows, where NaN counts as beyond infinity.

    As integers in the order of the doubles, because a minimum of doubles does not vectorise.
    """
    widest_vectors()
    lows = np.empty(rows.shape[0])
    highs = np.empty(rows.shape[0])
    for index in range(rows.shape[0]):
        source = levels[rows[index]]
        low = np.int64(ALL_BUT_SIGN)
        high = np.int64(-ALL_BUT_SIGN - 1)
        for s in range(source.shape[0]):
            bits = to_bits(source[s])
            key = bits ^ ((bits >> 63) & ALL_BUT_SIGN)
            low = min(low, key)
            high = max(high, key)
        lows[index] = from_bits(low ^ ((low >> 63) & ALL_BUT_SIGN))
        highs[index] = from_bits(high ^ ((high >> 63) & ALL_BUT_SIGN))
    return lows, highs
