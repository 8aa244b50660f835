import math
import warnings

import numpy as np
import pytest
from scipy.stats import norm

from acceleray.errors import NumericalError
from acceleray.numerics.pricing import (
    european_deltas,
    european_prices,
    forward_prices,
    zero_rates,
)


def option(spot, strike, rate, dividend, vol, years, call):
    one = np.ones((1, 1))
    return float(
        european_prices(
            spot * one, strike * one, rate * one, dividend * one, vol * one, years * one, np.array([[call]])
        )[0, 0]
    )


def test_reference_values():
    # reference-cases.json, european-options: closed form, tolerance 1e-12.
    assert option(100, 100, 0.05, 0, 0.2, 1, True) == pytest.approx(10.450583572185565, abs=1e-12)
    assert option(100, 100, 0.05, 0, 0.2, 1, False) == pytest.approx(5.573526022256971, abs=1e-12)


def test_equals_quantlib_on_random_options():
    with warnings.catch_warnings():
        # SWIG's own types have no module, which Python deprecates.
        warnings.simplefilter("ignore", DeprecationWarning)
        ql = pytest.importorskip("QuantLib")
    rng = np.random.default_rng(11)
    n = 300
    spot, strike = rng.uniform(50, 150, n), rng.uniform(50, 150, n)
    rate, dividend = rng.uniform(-0.02, 0.08, n), rng.uniform(0, 0.05, n)
    vol, years = rng.uniform(0.02, 1.0, n), rng.uniform(0.01, 5, n)
    call = rng.random(n) < 0.5
    ours = european_prices(spot, strike, rate, dividend, vol, years, call)
    for i in range(n):
        forward = spot[i] * math.exp((rate[i] - dividend[i]) * years[i])
        theirs = ql.blackFormula(
            ql.Option.Call if call[i] else ql.Option.Put,
            strike[i],
            forward,
            vol[i] * math.sqrt(years[i]),
            math.exp(-rate[i] * years[i]),
        )
        # Both round a difference of two terms of the size of the spot.
        assert ours[i] == pytest.approx(theirs, abs=150 * 1e-13)


def test_put_call_parity():
    rng = np.random.default_rng(12)
    spot, strike, rate = rng.uniform(50, 150, 99), rng.uniform(50, 150, 99), rng.uniform(-0.02, 0.08, 99)
    dividend, vol, years = rng.uniform(0, 0.05, 99), rng.uniform(0.0, 1.0, 99), rng.uniform(0, 5, 99)
    both = [
        european_prices(spot, strike, rate, dividend, vol, years, np.full(99, call)) for call in (True, False)
    ]
    forward = spot * np.exp(-dividend * years) - strike * np.exp(-rate * years)
    np.testing.assert_allclose(both[0] - both[1], forward, atol=150 * 1e-14)


@pytest.mark.parametrize("call", [True, False])
@pytest.mark.parametrize("spot", [80.0, 100.0, 120.0])
def test_limits_without_volatility_or_time(spot, call):
    sign = 1 if call else -1
    forward = spot * math.exp(0.03 * 2)
    intrinsic = max(sign * (forward - 100.0), 0.0) * math.exp(-0.05 * 2)
    assert option(spot, 100, 0.05, 0.02, 0.0, 2, call) == pytest.approx(intrinsic, abs=1e-12)
    assert option(spot, 100, 0.05, 0.02, 1e-300, 2, call) == pytest.approx(intrinsic, abs=1e-12)
    assert option(spot, 100, 0.05, 0.02, 0.3, 0.0, call) == max(sign * (spot - 100.0), 0.0)


def test_at_the_money_without_anything_left_is_worth_nothing():
    assert option(100, 100, 0.0, 0.0, 0.2, 0.0, True) == 0.0
    assert option(100, 100, 0.0, 0.0, 0.0, 1.0, False) == 0.0


def test_a_worthless_underlying():
    assert option(0.0, 100, 0.05, 0, 0.2, 1, True) == 0.0
    assert option(0.0, 100, 0.05, 0, 0.2, 1, False) == pytest.approx(100 * math.exp(-0.05))


def test_far_out_of_the_money_keeps_its_relative_accuracy():
    price = option(100, 400, 0.0, 0.0, 0.2, 1, True)
    d1 = math.log(0.25) / 0.2 + 0.1
    expected = 100 * norm.cdf(d1) - 400 * norm.cdf(d1 - 0.2)
    assert 0 < price < 1e-8
    assert price == pytest.approx(expected, rel=1e-9)


def test_delta_is_the_slope_of_the_price():
    h = 1e-4
    for call in (True, False):
        slope = (
            option(95 + h, 100, 0.03, 0.01, 0.3, 0.7, call) - option(95 - h, 100, 0.03, 0.01, 0.3, 0.7, call)
        ) / (2 * h)
        one = np.ones((1, 1))
        delta = european_deltas(
            95 * one, 100 * one, 0.03 * one, 0.01 * one, 0.3 * one, 0.7 * one, np.array([[call]])
        )
        # Central difference: h**2 times the third derivative, plus rounding of the prices over h.
        assert delta[0, 0] == pytest.approx(slope, abs=1e-9)


@pytest.mark.parametrize(
    ("position", "value", "message"),
    [
        (0, math.nan, "spot was not finite"),
        (2, math.inf, "rate was not finite"),
        (0, -1.0, "spot was negative"),
        (4, -0.1, "vol_annual was negative"),
        (5, -0.1, "years was negative"),
        (1, 0.0, "strike was not positive"),
    ],
)
def test_bad_inputs_are_refused(position, value, message):
    inputs = [100.0, 100.0, 0.05, 0.0, 0.2, 1.0]
    inputs[position] = value
    with pytest.raises(NumericalError, match=message):
        option(*inputs, True)


def test_a_forward_carries_its_spot():
    price = forward_prices(np.array([[100.0]]), np.array([[0.05]]), np.array([[0.02]]), np.array([0.5]))
    assert price[0, 0] == pytest.approx(100 * math.exp(0.015), rel=1e-15)


def test_rates_are_linear_between_points_and_flat_outside():
    levels = np.array([[0.01, 0.02], [0.03, 0.02]])
    rates = zero_rates(levels, np.array([0, 0, 1]), np.array([0, 1, 1]), np.array([0.0, 0.25, 0.0]))
    np.testing.assert_allclose(rates, [[0.01, 0.02], [0.015, 0.02], [0.03, 0.02]], rtol=1e-15)
