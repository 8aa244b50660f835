"""Historical figures of a linear and option book against a page of plain NumPy."""

import math

import numpy as np
import pyarrow as pa
import pytest
from scipy.stats import norm

from acceleray.domain.moves import MoveKind
from acceleray.domain.scenario import (
    FilteredHistorical,
    Given,
    Historical,
    MonteCarlo,
    Move,
    Shock,
    Stress,
    StressScenario,
)
from acceleray.errors import InputDataError, NumericalError, UsageError
from acceleray.risk.market import revalue

from .conftest import START, make_book

LINEAR_AND_OPTIONS = [
    ("Eq", "FUND", 40.0),
    ("Eq", "SPX_FUT", -1.0),
    ("Oil", "OIL_FUT", 3.0),
    ("Opt", "CALL", -3.0),
    ("Opt", "PUT", 5.0),
]


def black_scholes(spot, strike, vol, years, rate, dividend, sign):
    forward = spot * np.exp((rate - dividend) * years)
    d1 = np.log(forward / strike) / (vol * math.sqrt(years)) + 0.5 * vol * math.sqrt(years)
    d2 = d1 - vol * math.sqrt(years)
    return math.exp(-rate * years) * sign * (forward * norm.cdf(sign * d1) - strike * norm.cdf(sign * d2))


@pytest.mark.parametrize("horizon", [1, 10])
def test_historical_figures_equal_plain_numpy(market, horizon):
    levels = {name: market.levels[:, market.column(name)] for name in market.factor_ids}
    window = 300

    def moved(name):
        history = levels[name]
        return history[-1] * history[-window:] / history[-window - horizon : -horizon]

    rate, dividend = 0.025, 0.02
    call, put = 175 / 365, 77 / 365
    spot, vol, oil = moved("SPX"), moved("VIX"), moved("OIL")
    spot0, vol0, oil0 = levels["SPX"][-1], levels["VIX"][-1], levels["OIL"][-1]
    pnl = 40 * (spot - spot0)
    pnl -= 50 * (spot - spot0) * math.exp((rate - dividend) * put)
    pnl += 3 * 1000 * (oil - oil0)
    pnl -= 300 * (
        black_scholes(spot, 2600, vol, call, rate, dividend, 1)
        - black_scholes(spot0, 2600, vol0, call, rate, dividend, 1)
    )
    pnl += 500 * (
        black_scholes(spot, 2400, vol, put, rate, dividend, -1)
        - black_scholes(spot0, 2400, vol0, put, rate, dividend, -1)
    )
    ordered = np.sort(-pnl)
    # 1 % of 300 is 3: the fourth largest loss is the smallest with at most that share beyond it.
    value_at_risk = ordered[297 - 1]
    # 2.5 % of 300 is 7.5 paths: seven whole ones and half of the eighth.
    shortfall = (ordered[293:].sum() + 0.5 * ordered[292]) / 7.5

    found = revalue(
        make_book(LINEAR_AND_OPTIONS), market, Historical(window_days=window, horizon_days=horizon)
    )
    assert found.var(0.99).value == pytest.approx(value_at_risk, rel=1e-9)
    assert found.es(0.975).value == pytest.approx(shortfall, rel=1e-9)


def test_all_sets_go_one_way(book, market):
    """The same moves as a historical set, as given levels and as stresses: the same gains to the bit."""
    historical = revalue(book, market, Historical(window_days=20), block_size=7)
    column = market.column("SPX")
    moving = np.nonzero(~market.fixed)[0]
    history, base = market.levels, market.base
    shocked = np.tile(base, (20, 1))
    logs = market.move_kinds == MoveKind.LOG
    for i in range(20):
        later, earlier = history[-20 + i], history[-21 + i]
        shocked[i] = np.where(logs, base * np.exp(np.log(later / earlier)), base + (later - earlier))
    shocked[:, market.fixed] = base[market.fixed]
    table = pa.table(
        {
            "scenario": np.repeat(np.arange(20), moving.size),
            "factor_id": [market.factor_ids[c] for c in moving] * 20,
            "value": shocked[:, moving].ravel(),
        }
    )
    given = revalue(book, market, Given(table=table), block_size=3)
    np.testing.assert_array_equal(given.cube, historical.cube)
    shock = Shock(factor_id="SPX", move=Move.SET, size=float(shocked[4, column]))
    others = tuple(
        Shock(factor_id=market.factor_ids[c], move=Move.SET, size=float(shocked[4, c]))
        for c in moving
        if c != column
    )
    stress = Stress(scenarios=(StressScenario(name="day 4", shocks=(shock, *others)),))
    np.testing.assert_array_equal(revalue(book, market, stress).cube[:, 0], historical.cube[:, 4])


@pytest.mark.parametrize(
    "scenarios",
    [
        Historical(window_days=100, horizon_days=5),
        FilteredHistorical(window_days=100),
        Stress(scenarios=()),
    ],
)
def test_blocks_do_not_show_where_nothing_is_drawn(scenarios, book, market):
    whole = revalue(book, market, scenarios, block_size=1000).cube
    np.testing.assert_array_equal(revalue(book, market, scenarios, block_size=9).cube, whole)


def test_monte_carlo_repeats(book, market):
    scenarios = MonteCarlo(n_paths=700, horizon_days=3, seed=7, dof=5)
    first = revalue(book, market, scenarios, block_size=256).cube
    np.testing.assert_array_equal(revalue(book, market, scenarios, block_size=256).cube, first)
    # A longer run begins with the whole blocks of a shorter one.
    longer = revalue(book, market, MonteCarlo(n_paths=1000, horizon_days=3, seed=7, dof=5), block_size=256)
    np.testing.assert_array_equal(longer.cube[:, :512], first[:, :512])


def test_filtered_paths_scale_with_tomorrows_volatility(market):
    """Ten days of a constant filter are ten draws of past days; their variance is ten times one day's."""
    book = make_book([("P", "FUND", 1.0)])
    pnl = revalue(book, market, FilteredHistorical(window_days=300, horizon_days=10, n_paths=20_000, seed=1))
    one_day = revalue(book, market, FilteredHistorical(window_days=300))
    assert pnl.cube.shape == (1, 20_000)
    assert np.std(pnl.cube) == pytest.approx(np.std(one_day.cube) * math.sqrt(10), rel=0.15)


@pytest.mark.parametrize(
    ("given", "named"),
    [
        ({"ageing": "Calendar"}, "ageing: expected 'none' or 'calendar'"),
        ({"n_workers": 0}, "n_workers: expected at least 1"),
        ({"block_size": 0}, "block_size: expected at least 1"),
        ({"base_currency": "EUR"}, "EUR has the exchange rate 'EURUSD' itself"),
    ],
)
def test_arguments_out_of_range_are_refused(given, named, book, market):
    with pytest.raises(UsageError, match=named):
        revalue(book, market, Historical(window_days=10), **given)


def given_levels(**levels):
    rows = [{"scenario": "calm", "factor_id": name, "value": START[name]} for name in levels]
    rows += [{"scenario": "wild", "factor_id": name, "value": value} for name, value in levels.items()]
    return Given(table=pa.Table.from_pylist(rows))


@pytest.mark.parametrize(
    ("levels", "named"),
    [
        ({"EURUSD": -1.0}, "factor 'EURUSD' was -1 in scenario 0 of its block, must be positive"),
        ({"EURUSD": 0.0}, "factor 'EURUSD' was 0 in scenario 0 of its block, must be positive"),
        ({"VIX": -0.1}, "factor 'VIX' was -0.1 in scenario 0 of its block, must be zero or positive"),
        ({"SPX": -5.0}, "instrument '(CALL|PUT)' in scenario 0 of its block: .*; factor 'SPX' was -5"),
        ({"OIL": 1e308}, "instrument 'OIL_FUT' in scenario 0 of its block: its gain was inf"),
    ],
)
def test_levels_without_a_price_are_named_with_their_instrument(levels, named, book, market):
    # Blocks of one scenario: the second one fails.
    with pytest.raises(NumericalError, match=f"block 1, from scenario 1: .*{named}"):
        revalue(book, market, given_levels(**levels), block_size=1)


def test_given_rows_need_a_scenario(book, market):
    rows = [{"scenario": None, "factor_id": "SPX", "value": 1.0}]
    schema = pa.schema([("scenario", pa.string()), ("factor_id", pa.string()), ("value", pa.float64())])
    for table, named in (
        (pa.Table.from_pylist(rows, schema=schema), "a row has no scenario"),
        (schema.empty_table(), "there is no row"),
    ):
        with pytest.raises(InputDataError, match=named):
            revalue(book, market, Given(table=table))


def test_student_log_moves_have_no_martingale(book, market):
    wanted = MonteCarlo(n_paths=10, dof=5.0, drift="martingale")
    with pytest.raises(UsageError, match="'EURUSD' has Student-t log moves"):
        revalue(book, market, wanted)


def test_what_could_not_be_priced_at_all_has_no_measure(market):
    book = make_book(positions=[("Lost", "OIL_FUT", 1.0), ("World", "FUND", 1.0)], OIL_FUT={"factor_id": "X"})
    pnl = revalue(book, market, Historical(window_days=50))
    assert pnl.var(0.9).value == pnl.var(0.9, "World").value
    for ask in (pnl.var, pnl.es):
        with pytest.raises(InputDataError, match=r"no position of 'Lost' could be priced; 'OIL_FUT': .*'X'"):
            ask(0.9, "Lost")
    with pytest.raises(InputDataError, match="no position of 'Lost'"):
        pnl.contributions("ES", 0.9, portfolio_id="Lost")
