"""Random American options from tables, against QuantLib."""

import functools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from acceleray.risk.american import build_american
from acceleray.risk.quantlib_prices import american_option

pytest.importorskip("QuantLib")

# Type, years, on a future, vol, rate, yield: the middle of the box, in which spot / strike is in [0.5, 1.6],
# vol in [0.5, 2.5] times, and the rate within 3 % of the middle.
BOOKS = {
    "put, one year": (False, 1.0, False, 0.2, 0.02, 0.0),
    "put, one month, with dividends": (False, 1 / 12, False, 0.2, 0.05, 0.02),
    "put, one week, rate around the yield": (False, 1 / 52, False, 0.2, 0.02, 0.02),
    "call, one year, no dividends": (True, 1.0, False, 0.2, 0.02, 0.0),
    "call, one year, with dividends": (True, 1.0, False, 0.25, 0.02, 0.02),
    "call on a future": (True, 0.5, True, 0.2, 0.02, 0.02),
}


@functools.cache
def table(name):
    is_call, years, on_future, vol, rate, dividend = BOOKS[name]
    return build_american(
        [np.log(0.5), 0.5 * vol, rate - 0.03, dividend],
        [np.log(1.6), 2.5 * vol, rate + 0.03, dividend],
        years=years,
        is_call=is_call,
        on_future=on_future,
        seed=1,
    )


@pytest.mark.parametrize("name", BOOKS)
def test_a_thousand_random_points_are_within_the_reported_error(name):
    is_call, years, on_future, vol, rate, dividend = BOOKS[name]
    stand_in = table(name)
    assert stand_in.shortfall is None
    assert stand_in.max_error <= 1e-5
    uniform = np.random.default_rng(2024).random((3, 1000))
    spot = 80.0 * np.exp(np.log(0.5) + uniform[0] * (np.log(1.599) - np.log(0.5)))
    vols, rates = vol * (0.5 + 2.0 * uniform[1]), rate + 0.03 * (2.0 * uniform[2] - 1.0)
    dividends = rates if on_future else np.full(1000, dividend)
    value = stand_in.value(spot, vols, rates, dividends, strike=80.0, years=years)
    levels = np.stack([spot, vols, rates] if on_future else [spot, vols, rates, dividends])
    exact = american_option(strike=80.0, years=years, is_call=is_call, on_future=on_future)(levels)
    assert value.n_exact == 0
    assert np.abs(value.prices - exact).max() <= stand_in.max_error * 80.0


@settings(max_examples=60, deadline=None)
@given(
    st.sampled_from([name for name, book in BOOKS.items() if not book[2]]),
    st.floats(0.5, 1.6),
    st.floats(0.5, 2.5),
    st.floats(-0.03, 0.03),
    st.floats(1.0, 1000.0),
)
def test_any_strike_and_level_inside_or_out(name, moneyness, vol_scale, rate_move, strike):
    is_call, years, _, vol, rate, dividend = BOOKS[name]
    levels = np.array([[strike * moneyness], [vol * vol_scale], [rate + rate_move], [dividend]])
    value = table(name).value(*levels, strike=strike, years=years)
    (exact,) = american_option(strike=strike, years=years, is_call=is_call)(levels)
    assert abs(value.prices[0] - exact) <= table(name).max_error * strike
    intrinsic = (moneyness - 1.0) * strike if is_call else (1.0 - moneyness) * strike
    assert value.prices[0] >= max(intrinsic, 0.0) - 1e-12 * strike
