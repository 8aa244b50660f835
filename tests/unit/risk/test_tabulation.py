import pickle

import numpy as np
import pytest

from acceleray.errors import NumericalError
from acceleray.numerics.pricing import european_prices
from acceleray.risk.tabulation import N_CHECKED, SAFETY, scattered, tabulate

LOW, HIGH = np.array([50.0, 0.1, -0.01]), np.array([160.0, 0.5, 0.05])


def calls(years):
    def price(levels):
        one = np.ones(levels.shape[1])
        return european_prices(levels[0], 100.0 * one, levels[2], 0.0 * one, levels[1], years * one, one > 0)

    return price


def wanted(price, **changes):
    arguments = {"tolerance": 1e-3, "max_nodes": 20_000, "seed": 1} | changes
    return tabulate(price, LOW, HIGH, **arguments)


@pytest.mark.parametrize("years", [1.0, 0.1, 0.02])
def test_the_error_on_fresh_points_is_below_the_reported_one(years):
    table = wanted(calls(years))
    levels = scattered(LOW, HIGH, 5000, seed=99, block=0)
    worst = np.abs(table.evaluate(levels) - calls(years)(levels)).max()
    assert table.shortfall is None
    assert worst <= table.max_error <= 1e-3
    assert table.n_checked == N_CHECKED >= 1000


def test_a_known_kink_saves_nodes():
    plain, split = wanted(calls(0.005)), wanted(calls(0.005), breaks=[[100.0], [], []])
    assert split.shortfall is None
    assert split.n_nodes < plain.n_nodes


def test_it_says_when_the_tolerance_was_not_reached():
    table = wanted(calls(0.02), max_nodes=200)
    assert table.max_error > 1e-3
    assert table.shortfall.startswith("tabulation could not reach 0.001 with 200 nodes: error was ")
    levels = scattered(LOW, HIGH, 1000, seed=99, block=0)
    # The sample of a rough interpolant is as representative as that of a good one.
    assert np.abs(table.evaluate(levels) - calls(0.02)(levels)).max() <= table.max_error


def test_outside_the_box_the_price_function_answers_and_is_counted():
    table = wanted(calls(1.0))
    levels = np.array([[100.0, 40.0, 100.0], [0.2, 0.2, 0.6], [0.0, 0.0, 0.0]])
    assert table.within(levels).tolist() == [True, False, False]
    with pytest.raises(NumericalError, match="2 of 3 points were outside the box"):
        table.evaluate(levels)
    value = table.value(levels, calls(1.0))
    assert value.n_exact == 2
    assert np.array_equal(value.prices[1:], calls(1.0)(levels)[1:])
    assert value.prices[0] == table.evaluate(levels[:, :1])[0]


def test_the_same_seed_gives_the_same_bits_and_it_can_be_sent():
    first, second = wanted(calls(1.0)), pickle.loads(pickle.dumps(wanted(calls(1.0))))
    levels = scattered(LOW, HIGH, 100, seed=3, block=0)
    assert np.array_equal(first.evaluate(levels), second.evaluate(levels))
    assert first.max_error == second.max_error


def test_a_factor_that_stands_still():
    low, high = LOW.copy(), HIGH.copy()
    low[2] = high[2] = 0.02
    table = tabulate(calls(1.0), low, high, tolerance=1e-3, max_nodes=1000, seed=1)
    assert table.shortfall is None
    assert table.interpolant.n_nodes < 400


def test_the_reported_error_is_the_measured_one_with_its_margin():
    table = wanted(calls(1.0))
    checked = scattered(LOW, HIGH, N_CHECKED, seed=1, block=1)
    measured = np.abs(table.evaluate(checked) - calls(1.0)(checked)).max()
    assert table.max_error == SAFETY * measured


def test_bad_boxes_and_prices_are_named():
    with pytest.raises(NumericalError, match="finite low <= high"):
        tabulate(calls(1.0), HIGH, LOW, tolerance=1e-3, max_nodes=100, seed=1)
    with pytest.raises(NumericalError, match="1 to 4 factors"):
        tabulate(calls(1.0), np.zeros(5), np.ones(5), tolerance=1e-3, max_nodes=100, seed=1)
    with pytest.raises(NumericalError, match="not finite at levels"):
        wanted(lambda levels: np.full(levels.shape[1], np.nan))
    with pytest.raises(NumericalError, match="prices, was an array of shape"):
        wanted(lambda levels: np.zeros(3))
