"""The kernels against 60-digit arithmetic, SciPy and plain loops; limits, bits and refusals."""

from __future__ import annotations

from decimal import Decimal

import numpy as np
import pytest
from benchmarks.elementary_coefficients import PI, mills
from scipy.stats import norm

from acceleray.errors import NumericalError
from acceleray.numerics import kernels

FIRST = np.zeros(1, dtype=np.int64)


def ints(*values: int) -> np.ndarray:
    return np.array(values, dtype=np.int64)


def floats(*values: float) -> np.ndarray:
    return np.array(values, dtype=np.float64)


def exact_price(spot, strike, rate, dividend_yield, vol, years, is_call) -> Decimal:
    spot, strike, rate, dividend_yield, vol, years = (
        Decimal(float(x)) for x in (spot, strike, rate, dividend_yield, vol, years)
    )

    def cdf(x: Decimal) -> Decimal:
        tail = (-x * x / 2).exp() / (2 * PI).sqrt() * mills(abs(x))
        return 1 - tail if x > 0 else tail

    paid, discounted = spot * (-dividend_yield * years).exp(), strike * (-rate * years).exp()
    deviation = vol * years.sqrt()
    d1 = (paid / discounted).ln() / deviation + deviation / 2
    sign = 1 if is_call else -1
    return sign * (paid * cdf(sign * d1) - discounted * cdf(sign * (d1 - deviation)))


def options(**changes) -> kernels.EuropeanOptions:
    """One call on spot row 0, rate rows 1 and 2, volatility row 3, dividend yield 1 %."""
    plain = {
        "spot_row": ints(0),
        "rate_left": ints(1),
        "rate_right": ints(2),
        "rate_weight": floats(0.25),
        "rate_shift": floats(0.001),
        "dividend_row": ints(-1),
        "dividend_shift": floats(0.01),
        "vol_row": ints(3),
        "vol_shift": floats(0.02),
        "strike": floats(100.0),
        "years": floats(1.5),
        "is_call": np.array([True]),
    }
    return kernels.EuropeanOptions(**(plain | changes))


LEVELS = np.array([[90.0, 100.0, 110.0], [0.01, -0.02, 0.03], [0.02, -0.01, 0.05], [0.2, 0.1, 0.6]])


def value_one(spot, strike, rate, dividend_yield, vol, years, is_call) -> float:
    out = np.empty((1, 1))
    one = options(
        rate_left=ints(-1),
        rate_right=ints(-1),
        rate_shift=floats(rate),
        dividend_shift=floats(dividend_yield),
        vol_row=ints(-1),
        vol_shift=floats(vol),
        strike=floats(strike),
        years=floats(years),
        is_call=np.array([is_call]),
    )
    return float(kernels.european_values(np.array([[spot]]), one, out)[0, 0])


@pytest.mark.parametrize("is_call", [True, False])
@pytest.mark.parametrize("spot", [1e-6, 97.3, 1e9])
@pytest.mark.parametrize(
    ("vol", "years"), [(0.2, 1.0), (1e-6, 1.0), (0.3, 1e-9), (0.4, 50.0), (3.0, 50.0), (9.0, 50.0)]
)
def test_price_is_exact_to_rounding(spot, vol, years, is_call) -> None:
    for moneyness in (1e-4, 0.5, 0.98, 1.0, 1.0000001, 1.3, 40.0):
        for rate in (-0.03, 0.0, 0.12):
            contract = (spot, spot * moneyness, rate, 0.015, vol, years, is_call)
            exact = float(exact_price(*contract))
            scale = max(spot, spot * moneyness * float(np.exp(-rate * years)))
            # The logarithm of 1e9 is rounded to 4e-15 and moves the price by at most so much of the spot.
            assert abs(value_one(*contract) - exact) < 1e-14 * scale


def test_rows_and_shifts_are_added_and_rates_interpolated() -> None:
    levels = np.vstack([LEVELS, [[0.03, 0.0, 0.01]]])
    for dividend_row in (-1, 4):
        out = np.empty((1, 3))
        kernels.european_values(levels, options(dividend_row=ints(dividend_row)), out)
        for s, (spot, left, right, vol, dividend) in enumerate(levels.T):
            exact = exact_price(
                spot,
                100.0,
                0.75 * left + 0.25 * right + 0.001,
                (dividend if dividend_row == 4 else 0.0) + 0.01,
                vol + 0.02,
                1.5,
                True,
            )
            assert out[0, s] == pytest.approx(float(exact), abs=2e-13)


@pytest.mark.parametrize("years", [0.0, 2.0])
def test_without_deviation_the_intrinsic_value_remains(years) -> None:
    for spot in (0.0, 80.0, 100.0, 125.0):
        for is_call in (True, False):
            price = value_one(spot, 100.0, 0.05, 0.05, 0.0, years, is_call)
            grown = np.exp(-0.05 * years)
            intrinsic = max((spot - 100.0) * (1 if is_call else -1), 0.0) * grown
            assert price == pytest.approx(intrinsic, rel=1e-15)
            if spot == 100.0:
                # Both discounted by the same factor: nothing is left, not even a rounding error.
                assert price == 0.0


def test_worthless_spot() -> None:
    assert value_one(0.0, 100.0, 0.05, 0.0, 0.3, 1.0, True) == 0.0
    assert value_one(0.0, 100.0, 0.05, 0.0, 0.3, 1.0, False) == pytest.approx(100 * np.exp(-0.05), rel=1e-15)


def market(n: int) -> np.ndarray:
    generator = np.random.default_rng(5)
    return np.ascontiguousarray(
        np.array([[100.0], [0.02], [0.03], [0.25], [0.01]]) * np.exp(0.3 * generator.standard_normal((5, n)))
    )


def everything(levels: np.ndarray) -> list[np.ndarray]:
    """Result of every kernel, one column per scenario."""
    n = levels.shape[1]
    book = options(
        **{
            name: np.repeat(getattr(options(), name), 4)
            for name in ("spot_row", "rate_left", "rate_right", "rate_weight", "rate_shift", "vol_row")
        },
        dividend_row=ints(-1, 4, -1, 4),
        dividend_shift=floats(0.0, 0.01, 0.02, 0.0),
        vol_shift=np.zeros(4),
        strike=floats(70.0, 95.0, 100.0, 140.0),
        years=floats(0.1, 1.0, 3.0, 0.0),
        is_call=np.array([True, False, True, False]),
    )
    bonds = kernels.flow_values(
        levels,
        ints(1, 1, 2),
        ints(2, 2, 2),
        floats(0.2, 0.7, 0.0),
        floats(0.5, 1.5, 4.0),
        floats(3.0, 103.0, 50.0),
        ints(0, 2, 3),
        ints(4, -1),
        floats(0.0, 0.002),
        np.empty((2, n)),
    )
    prices = kernels.european_values(levels, book, np.empty((4, n)))
    black = [levels[:1], np.log(levels[:1]), levels[1:3], levels[3:4]]
    rows = np.repeat(FIRST, 4)
    blacks = kernels.black_prices(
        *black, rows, ints(0, 1, 0, 1), rows, book.strike, book.is_call, np.empty((4, n))
    )
    greeks = [np.empty((4, n)) for _ in range(3)]
    kernels.black_greeks(black[0], black[1], black[3], rows, rows, book.strike, book.is_call, *greeks)
    legs = kernels.accumulate(prices, ints(3, 0, 1), floats(1.5, -2.0, 0.3), ints(0, 1, 0), np.zeros((2, n)))
    return [bonds, prices, blacks, *greeks, legs]


def test_a_scenario_does_not_depend_on_its_place_or_on_the_others() -> None:
    n = 1100
    levels = market(n)
    whole = everything(levels)
    cuts = [(0, length) for length in range(1, 20)] + [(3, 40), (17, 1060), (1023, 1025), (1099, 1100)]
    for start, stop in cuts:
        for part, all_ in zip(everything(levels[:, start:stop].copy()), whole, strict=True):
            assert part.tobytes() == all_[:, start:stop].tobytes()
    order = np.random.default_rng(0).permutation(n)
    for part, all_ in zip(everything(np.ascontiguousarray(levels[:, order])), whole, strict=True):
        assert part.tobytes() == all_[:, order].tobytes()


def test_put_call_parity_to_rounding() -> None:
    levels = market(500)
    values = {}
    for is_call in (True, False):
        book = options(is_call=np.array([is_call]), years=floats(2.0))
        values[is_call] = kernels.european_values(levels, book, np.empty((1, 500)))[0]
    rate = 0.75 * levels[1] + 0.25 * levels[2] + 0.001
    paid, discounted = levels[0] * np.exp(-0.02), 100.0 * np.exp(-2.0 * rate)
    # Every term is rounded once or twice.
    rounding = 4 * np.finfo(float).eps * (paid + discounted)
    assert (np.abs(values[True] - values[False] - (paid - discounted)) <= rounding).all()


def black_inputs(n: int = 200) -> tuple[np.ndarray, ...]:
    generator = np.random.default_rng(8)
    forward = generator.uniform(60, 150, (3, n))
    return forward, np.log(forward), generator.uniform(0.6, 1.1, (2, n)), generator.uniform(0.01, 0.9, (2, n))


@pytest.mark.parametrize("is_call", [True, False])
def test_black_prices_and_greeks_against_scipy(is_call) -> None:
    forward, logs, discount, deviation = black_inputs()
    n = forward.shape[1]
    rows = (ints(2, 0), ints(1, 1), ints(0, 1))
    strike, calls = floats(95.0, 120.0), np.array([is_call, is_call])
    price = kernels.black_prices(forward, logs, discount, deviation, *rows, strike, calls, np.empty((2, n)))
    delta, gamma, vega = (np.empty((2, n)) for _ in range(3))
    kernels.black_greeks(forward, logs, deviation, rows[0], rows[2], strike, calls, delta, gamma, vega)
    f, d, dev = forward[rows[0]], discount[rows[1]], deviation[rows[2]]
    k = strike[:, None]
    d1 = np.log(f / k) / dev + dev / 2
    sign = 1 if is_call else -1
    # The cancellation of two terms of about 100, each rounded a few times.
    expected = d * sign * (f * norm.cdf(sign * d1) - k * norm.cdf(sign * (d1 - dev)))
    np.testing.assert_allclose(price, expected, rtol=0, atol=150 * 1e-14)
    np.testing.assert_allclose(delta, sign * norm.cdf(sign * d1), rtol=1e-11, atol=1e-15)
    np.testing.assert_allclose(gamma, norm.pdf(d1) / (f * dev), rtol=1e-11, atol=1e-15)
    np.testing.assert_allclose(vega, f * norm.pdf(d1), rtol=1e-11, atol=1e-13)


def test_greeks_without_deviation() -> None:
    forward = np.array([[80.0, 100.0, 120.0, 0.0]])
    with np.errstate(divide="ignore"):
        logs = np.log(forward)
    found = [np.empty((1, 4)) for _ in range(3)]
    kernels.black_greeks(
        forward, logs, np.zeros((1, 4)), FIRST, FIRST, floats(100.0), np.array([False]), *found
    )
    delta, gamma, vega = (one[0] for one in found)
    # At the money the limit of N(d1) is one half, found to two roundings.
    np.testing.assert_allclose(delta, [-1.0, -0.5, 0.0, -1.0], rtol=0, atol=3e-16)
    assert gamma.tolist() == [0.0] * 4
    np.testing.assert_allclose(vega, [0.0, 100 * norm.pdf(0), 0.0, 0.0], rtol=1e-15, atol=1e-295)


def test_flow_values_against_exact_sums() -> None:
    levels = market(3)
    times, amounts = floats(-1.0, 0.0, 0.5, 7.0, 30.0), floats(2.0, 3.0, 4.0, 5.0, 106.0)
    weight = floats(0.0, 0.0, 0.3, 1.0, 0.5)
    left, right = ints(1, 1, 1, 2, 1), ints(2, 2, 2, 2, 2)
    out = kernels.flow_values(
        levels, left, right, weight, times, amounts, ints(0, 5, 5), ints(4, -1), floats(2.0**-8, 0.1),
        np.empty((2, 3)),
    )  # fmt: skip
    for s in range(3):
        total = Decimal(0)
        for flow in range(5):
            if times[flow] <= 0:
                total += Decimal(amounts[flow])
                continue
            w = Decimal(weight[flow])
            rate = (1 - w) * Decimal(levels[left[flow], s]) + w * Decimal(levels[right[flow], s])
            rate += Decimal(levels[4, s]) + Decimal(2) ** -8
            total += Decimal(amounts[flow]) * (-rate * Decimal(times[flow])).exp()
        # Five terms, each rounded a few times.
        assert out[0, s] == pytest.approx(float(total), rel=1e-15)
    assert out[1].tolist() == [0.0] * 3


def test_accumulate_has_the_bits_of_a_plain_loop() -> None:
    generator = np.random.default_rng(2)
    pnl = generator.standard_normal((7, 1500))
    instrument, segment = generator.integers(0, 7, 200), generator.integers(0, 3, 200)
    units = generator.standard_normal(200)
    plain = np.zeros((3, 1500))
    for i, u, s in zip(instrument, units, segment, strict=True):
        plain[s] += u * pnl[i]
    found = kernels.accumulate(pnl, instrument, units, segment, np.zeros((3, 1500)))
    assert found.tobytes() == plain.tobytes()


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"strike": floats(0.0)}, "strike was not positive"),
        ({"strike": floats(np.nan)}, "strike was not finite"),
        ({"years": floats(-0.1)}, "years was negative"),
        ({"vol_shift": floats(-0.15)}, "vol was negative"),
        ({"rate_shift": floats(-700.0)}, "out of range"),
        ({"dividend_shift": floats(-700.0)}, "out of range"),
    ],
)
def test_bad_contracts_are_refused(changes, message) -> None:
    with pytest.raises(NumericalError, match=message):
        kernels.european_values(LEVELS, options(**changes), np.empty((1, 3)))


@pytest.mark.parametrize("row", [0, 1, 2, 3])
@pytest.mark.parametrize("value", [np.nan, -np.nan, np.inf])
def test_a_level_that_is_not_finite_is_refused_with_its_place(row, value) -> None:
    levels = LEVELS.copy()
    levels[row, 1] = value
    with pytest.raises(NumericalError, match=f"row {row} was not finite in scenario 1"):
        kernels.european_values(levels, options(), np.empty((1, 3)))


def test_a_negative_spot_is_refused_and_an_unused_row_is_not_looked_at() -> None:
    levels = np.vstack([LEVELS, np.full((1, 3), np.nan)])
    assert np.isfinite(kernels.european_values(levels, options(), np.empty((1, 3)))).all()
    levels[0, 2] = -1e-300
    with pytest.raises(NumericalError, match="spot was negative"):
        kernels.european_values(levels, options(), np.empty((1, 3)))


@pytest.mark.parametrize("which", [0, 1, 2, 3])
def test_black_refuses_what_is_not_a_number(which) -> None:
    inputs = [array.copy() for array in black_inputs(5)]
    inputs[which][0, 3] = np.nan
    with pytest.raises(NumericalError):
        kernels.black_prices(*inputs, FIRST, FIRST, FIRST, floats(9.0), np.array([True]), np.empty((1, 5)))


def test_flows_and_legs_refuse_what_is_not_a_number() -> None:
    pnl = np.array([[1.0, np.nan]])
    with pytest.raises(NumericalError, match="unit P&L: row 0 was not finite in scenario 1"):
        kernels.accumulate(pnl, FIRST, floats(1.0), FIRST, np.zeros((1, 2)))
    with pytest.raises(NumericalError, match="cash flow: row 0"):
        kernels.flow_values(
            pnl, FIRST, FIRST, floats(0), floats(1), floats(1), ints(0, 1), ints(-1), floats(0),
            np.empty((1, 2)),
        )  # fmt: skip


@pytest.mark.parametrize(
    "changes", [{"spot_row": ints(4)}, {"vol_row": ints(-2)}, {"spot_row": ints(-1)}, {"is_call": ints(1)}]
)
def test_rows_outside_the_levels_are_refused(changes) -> None:
    with pytest.raises(ValueError, match="must"):
        kernels.european_values(LEVELS, options(**changes), np.empty((1, 3)))


def test_arrays_that_do_not_fit_are_refused() -> None:
    for out in (np.empty((1, 4)), np.empty((1, 6))[:, ::2], np.empty((1, 3), dtype=np.float32)):
        with pytest.raises(ValueError, match="out must"):
            kernels.european_values(LEVELS, options(), out)
    with pytest.raises(ValueError, match="offsets"):
        kernels.flow_values(
            LEVELS, FIRST, FIRST, floats(0), floats(1), floats(1), ints(0, 2), ints(-1), floats(0),
            np.empty((1, 3)),
        )  # fmt: skip
