"""The compiled kernels against the plain formulas, and what no option price may break."""

from __future__ import annotations

import math

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from acceleray.numerics import kernels, pricing

MANY = settings(max_examples=150, deadline=None)

CONTRACT = st.fixed_dictionaries(
    {
        "spot": st.floats(1e-6, 1e9),
        "moneyness": st.one_of(st.just(1.0), st.floats(0.01, 100.0)),
        "rate": st.floats(-0.1, 0.3),
        "dividend_yield": st.floats(-0.05, 0.2),
        "vol": st.one_of(st.just(0.0), st.floats(1e-9, 5.0)),
        "years": st.one_of(st.just(0.0), st.floats(1e-6, 50.0)),
    }
)


def book(contracts: list[dict[str, float]], is_call: bool, *, shocked_dividends: bool = False):
    """Levels of one scenario and options that read every input from them."""
    n = len(contracts)
    columns = {name: np.array([c[name] for c in contracts]) for name in contracts[0]}
    names = ("spot", "rate", "dividend_yield", "vol")
    levels = np.concatenate([columns[name] for name in names])[:, None].copy()
    rows = {name: np.arange(n) + n * place for place, name in enumerate(names)}
    absent = np.full(n, -1)
    options = kernels.EuropeanOptions(
        spot_row=rows["spot"],
        rate_left=rows["rate"],
        rate_right=rows["rate"],
        rate_weight=np.zeros(n),
        rate_shift=np.zeros(n),
        dividend_row=rows["dividend_yield"] if shocked_dividends else absent,
        dividend_shift=np.zeros(n) if shocked_dividends else columns["dividend_yield"],
        vol_row=rows["vol"],
        vol_shift=np.zeros(n),
        strike=columns["spot"] * columns["moneyness"],
        years=columns["years"],
        is_call=np.full(n, is_call),
    )
    return levels, options, columns


def prices(levels, options) -> np.ndarray:
    out = np.empty((options.strike.shape[0], levels.shape[1]))
    return kernels.european_values(levels, options, out)[:, 0]


def plain(columns, strike, is_call) -> np.ndarray:
    return pricing.european_prices(
        columns["spot"],
        strike,
        columns["rate"],
        columns["dividend_yield"],
        columns["vol"],
        columns["years"],
        np.full(strike.shape, is_call),
    )


def sizes(columns, strike) -> tuple[np.ndarray, np.ndarray]:
    """Discounted forward and discounted strike."""
    paid = columns["spot"] * np.exp(-columns["dividend_yield"] * columns["years"])
    return paid, strike * np.exp(-columns["rate"] * columns["years"])


@MANY
@given(st.lists(CONTRACT, min_size=1, max_size=20), st.booleans(), st.booleans())
def test_same_prices_as_the_plain_formula(contracts, is_call, shocked) -> None:
    levels, options, columns = book(contracts, is_call, shocked_dividends=shocked)
    paid, discounted = sizes(columns, options.strike)
    difference = np.abs(prices(levels, options) - plain(columns, options.strike, is_call))
    # A logarithm of 1e9 and exponents up to 15 are rounded to 4e-15, here and there.
    assert (difference <= 2e-14 * np.maximum(paid, discounted)).all()


@MANY
@given(st.lists(CONTRACT, min_size=1, max_size=20))
def test_bounds_and_parity(contracts) -> None:
    levels, calls, columns = book(contracts, True)
    _, puts, _ = book(contracts, False)
    call, put = prices(levels, calls), prices(levels, puts)
    paid, discounted = sizes(columns, calls.strike)
    # The exponent of a discount factor is rounded to 2e-15.
    rounding = 1e-14 * np.maximum(paid, discounted)
    assert (call >= 0.0).all()
    assert (put >= 0.0).all()
    assert (call >= paid - discounted - rounding).all()
    assert (call <= paid + rounding).all()
    assert (put <= discounted + rounding).all()
    assert (np.abs(call - put - (paid - discounted)) <= rounding).all()


@MANY
@given(CONTRACT, st.floats(1.0001, 3.0))
def test_a_price_never_falls_as_volatility_or_spot_of_a_call_rises(contract, factor) -> None:
    ladder = [contract | {"vol": contract["vol"] * factor**step} for step in range(4)]
    levels, options, columns = book(ladder, True)
    rounding = 2e-14 * max(map(np.max, sizes(columns, options.strike)))
    assert (np.diff(prices(levels, options)) >= -rounding).all()
    ladder = [
        contract
        | {"spot": contract["spot"] * factor**step, "moneyness": contract["moneyness"] / factor**step}
        for step in range(4)
    ]
    levels, options, columns = book(ladder, True)
    rounding = 2e-14 * max(map(np.max, sizes(columns, options.strike)))
    assert (np.diff(prices(levels, options)) >= -rounding).all()


@MANY
@given(
    st.lists(st.tuples(st.floats(0.001, 50.0), st.floats(-1e3, 1e3)), min_size=1, max_size=30),
    st.lists(st.floats(-0.1, 0.3), min_size=2, max_size=2),
    st.floats(0.0, 1.0),
    st.floats(-0.05, 0.2),
)
def test_flows_are_worth_what_the_plain_formula_says(flows, curve, weight, spread) -> None:
    times, amounts = (np.array(column) for column in zip(*flows, strict=True))
    n = times.shape[0]
    levels = np.array([[curve[0]], [curve[1]], [spread]])
    left, right, weights = np.zeros(n, np.int64), np.ones(n, np.int64), np.full(n, weight)
    offsets = np.array([0, n])
    found = kernels.flow_values(
        levels, left, right, weights, times, amounts, offsets, np.array([2]), np.zeros(1), np.empty((1, 1))
    )
    rates = pricing.zero_rates(levels, left, right, weights)
    discounts = np.exp(-(rates[:, 0] + spread) * times)
    # Exponents up to 25 are rounded to 4e-15; the sums run in different orders.
    assert abs(found[0, 0] - math.fsum(amounts * discounts)) <= 2e-14 * np.sum(np.abs(amounts) * discounts)
