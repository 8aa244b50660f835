import pickle

import numpy as np
import pytest

from acceleray.errors import NumericalError
from acceleray.numerics.pricing import european_prices
from acceleray.risk.american import build_american
from acceleray.risk.quantlib_prices import american_option

pytest.importorskip("QuantLib")

# Rates cannot be negative here, so that the yield decides alone.
NARROW = {"low": [-0.2, 0.15, 0.01, 0.0], "high": [0.2, 0.25, 0.03, 0.0]}


@pytest.fixture(scope="module")
def table():
    return build_american(**NARROW, years=0.5, is_call=False, seed=1)


def priced(table, spot, vol, rate, dividend, strike=100.0, years=0.5):
    levels = np.broadcast_arrays(*(np.atleast_1d(np.asarray(x, float)) for x in (spot, vol, rate, dividend)))
    levels = [np.ascontiguousarray(row) for row in levels]
    return table.value(*levels, strike=strike, years=years), np.stack(levels)


def test_outside_the_box_quantlib_answers_and_is_counted(table):
    value, levels = priced(table, [100.0, 40.0, 100.0], [0.2, 0.2, 0.3], 0.02, 0.0)
    exact = american_option(strike=100.0, years=0.5, is_call=False)(levels)
    assert value.n_exact == 2
    assert np.array_equal(value.prices[1:], exact[1:])
    assert abs(value.prices[0] - exact[0]) <= table.max_error * 100.0


def test_the_bits_of_a_scenario_do_not_depend_on_its_place_nor_on_pickling(table):
    generator = np.random.default_rng(5)
    spots, vols, rates = (generator.uniform(a, b, 300) for a, b in ((85, 120), (0.15, 0.25), (0.01, 0.03)))
    together, _ = priced(table, spots, vols, rates, 0.0)
    order = generator.permutation(300)
    shuffled, _ = priced(pickle.loads(pickle.dumps(table)), spots[order], vols[order], rates[order], 0.0)
    assert np.array_equal(shuffled.prices, together.prices[order])


def test_the_price_is_homogeneous_in_spot_and_strike(table):
    small, _ = priced(table, [90.0, 110.0], 0.2, 0.02, 0.0, strike=100.0)
    large, _ = priced(table, [180.0, 220.0], 0.2, 0.02, 0.0, strike=200.0)
    assert np.array_equal(large.prices, 2.0 * small.prices)


def test_it_says_when_the_tolerance_was_not_reached():
    found = build_american(**NARROW, years=0.5, is_call=False, max_nodes=60, seed=1)
    assert found.max_error > 1e-5
    assert found.shortfall.startswith("American table could not reach 1e-05 of the strike with 60 nodes")


def test_with_a_negative_rate_a_put_is_european():
    found = build_american(
        [-0.2, 0.15, -0.03, 0.0], [0.2, 0.25, -0.01, 0.0], years=0.5, is_call=False, seed=1
    )
    value, levels = priced(found, [85.0, 100.0, 115.0], 0.2, -0.02, 0.0)
    one = np.ones(3)
    european = european_prices(levels[0], 100.0 * one, levels[2], levels[3], levels[1], 0.5 * one, one < 0)
    assert value.n_exact == 0
    np.testing.assert_allclose(value.prices, european, atol=1e-12)


def test_two_boundaries_are_left_to_quantlib():
    found = build_american(
        [-0.2, 0.15, -0.02, -0.01], [0.2, 0.25, 0.03, -0.01], years=0.5, is_call=False, seed=1
    )
    value, levels = priced(found, 100.0, 0.2, [-0.005, 0.02], -0.01)
    assert value.n_exact == 1
    assert value.prices[0] == american_option(strike=100.0, years=0.5, is_call=False)(levels[:, :1])[0]
    with pytest.raises(NumericalError, match="two exercise boundaries"):
        build_american([-0.1, 0.2, -0.01, -0.02], [0.1, 0.2, -0.005, -0.02], years=1.0, is_call=False, seed=1)


def test_on_the_last_day_it_is_worth_its_intrinsic_value(table):
    value, _ = priced(table, [90.0, 110.0], 0.2, 0.02, 0.0, years=0.0)
    assert value.prices.tolist() == [10.0, 0.0]


def test_bad_boxes_are_named():
    with pytest.raises(NumericalError, match="low <= high"):
        build_american([0.1, 0.2, 0.0, 0.0], [-0.1, 0.2, 0.0, 0.0], years=1.0, is_call=False, seed=1)
    with pytest.raises(NumericalError, match="positive years"):
        build_american([-0.1, 0.2, 0.0, 0.0], [0.1, 0.2, 0.0, 0.0], years=0.0, is_call=False, seed=1)
