"""When tables are built, on which boxes, and what is said about them."""

import numpy as np
import pyarrow as pa
import pytest
from tests.slow_book import american, asian, slow_book

from acceleray.domain.scenario import Given, MonteCarlo
from acceleray.risk.market import revalue
from acceleray.risk.quantlib_prices import american_option
from acceleray.risk.stand_ins import FEW_PRICES, approximations

pytest.importorskip("QuantLib")

PATHS = MonteCarlo(n_paths=FEW_PRICES, seed=4)


def told(pnl, market):
    rows = approximations([pnl.job], market.base, distributed=False).to_pylist()
    return {row["instrument_id"]: row for row in rows}


def exact(market, levels, strike=2500.0, is_call=False):
    columns = [market.column(name) for name in ("SPX", "VIX", "USD.1Y", "Q")]
    return american_option(strike=strike, years=182 / 365, is_call=is_call)(levels[:, columns].T)


def test_few_scenarios_are_priced_exactly(market):
    pnl = revalue(slow_book([american("PUT")]), market, MonteCarlo(n_paths=300, seed=4))
    levels = pnl.job.plan.levels(0)
    gains = 30.0 * (exact(market, levels) - exact(market, market.base[None, :]))
    # The strike is worth 75,000: rounding of sums of two prices.
    assert np.abs(pnl.cube[0] - gains).max() <= 75_000 * 1e-15
    row = told(pnl, market)["PUT"]
    assert (row["method"], row["n_exact"], row["n_prices"], row["max_error"]) == ("exact", 300, 300, 0.0)
    assert row["note"] == "priced exactly: fewer than 10,000 prices were needed"


def test_many_scenarios_get_one_table_per_expiry_and_type(market):
    book = slow_book([american("PUT"), american("LOWER", strike=2300.0)])
    pnl = revalue(book, market, MonteCarlo(n_paths=FEW_PRICES // 2, seed=4))
    (family,) = pnl.job.book.then.families
    assert family.tables[0] is family.tables[1] is not None
    # Prices today need no table.
    assert pnl.job.book.now.families[0].tables == (None, None)
    rows = told(pnl, market)
    assert {row["method"] for row in rows.values()} == {"table"}
    assert rows["PUT"]["max_error"] <= rows["PUT"]["tolerance"] == pytest.approx(1e-5 * 2500 * 10)
    assert rows["LOWER"]["note"].startswith("table over the scenarios: log(spot / strike) -0.0")
    assert "rate 0.025, yield 0.02" in rows["LOWER"]["note"]
    levels = pnl.job.plan.levels(1)[:100]
    for name, strike in (("LOWER", 2300.0), ("PUT", 2500.0)):
        found = pnl.cube[book.instrument_ids.index(name), 2048:2148]
        gains = 30.0 * (exact(market, levels, strike) - exact(market, market.base[None, :], strike))
        assert np.abs(found - gains).max() <= 3 * rows[name]["max_error"]


def test_what_the_first_block_did_not_show_is_priced_exactly_and_counted(market):
    wild = MonteCarlo(n_paths=FEW_PRICES, seed=4, dof=2.5)
    pnl = revalue(slow_book([american("PUT")]), market, wild, block_size=256)
    row = told(pnl, market)["PUT"]
    family = pnl.job.book.then.families[0]
    levels = np.concatenate([pnl.job.plan.levels(block) for block in range(len(pnl.job.plan.blocks))])
    states = family.states(levels.T, 0)
    table = family.tables[0]
    low, high = table.low[0], table.high[0]
    beyond = (states[0] < low) | (states[0] > high)
    deviation = states[1] * np.sqrt(182 / 365)
    beyond |= (deviation < table.low[1]) | (deviation > table.high[1])
    assert row["n_exact"] == beyond.sum() > 0
    picked = np.flatnonzero(beyond)[:5]
    gains = 30.0 * (exact(market, levels[picked]) - exact(market, market.base[None, :]))
    assert np.abs(pnl.cube[0, picked] - gains).max() <= 75_000 * 1e-14


def test_a_named_stress_never_needs_a_table(market):
    moves = pa.table({"scenario": ["fall"], "factor_id": ["SPX"], "value": [1500.0]})
    pnl = revalue(slow_book([american("PUT")] * 1), market, Given(table=moves))
    assert told(pnl, market)["PUT"]["note"] == "priced exactly: the scenarios are few"


def test_a_product_gets_a_table_over_what_moves(market, tmp_path):
    pnl = revalue(slow_book([asian()], tmp_path), market, PATHS)
    row = told(pnl, market)["ASIAN"]
    assert row["method"] == "table"
    assert 0 < row["max_error"] <= row["tolerance"]
    product = pnl.job.book.then.families[0].items[0]
    # The rate has no history and keeps its level.
    assert product.table.is_moving.tolist() == [True, True, False]
    levels = pnl.job.plan.levels(0)[:200].T[product.factors]
    gains = 3.0 * (product.price()(levels) - product.price()(market.base[product.factors, None]))
    assert np.abs(pnl.cube[0, :200] - gains).max() <= 3.0 * row["max_error"]
    elsewhere = levels.copy()
    elsewhere[2] += 0.01
    assert not product.table.within(elsewhere).any()


def test_a_product_that_no_table_fits_is_priced_exactly_with_the_reason(market, tmp_path):
    factors = "SPX VIX OIL EURUSD AAA"
    book = slow_book([asian(function="asians.option", depends_on=factors)], tmp_path)
    book.functions["asians.option"] = _basket
    pnl = revalue(book, market, PATHS)
    row = told(pnl, market)["ASIAN"]
    assert (row["method"], row["n_exact"]) == ("exact", FEW_PRICES)
    assert row["note"] == "priced exactly: 5 factors move, a table is for 1 to 4"


def test_an_option_inside_a_fund_is_tabulated_too(market):
    holdings = pa.table({"fund_id": ["FUND"], "instrument_id": ["PUT"], "weight": [0.5]})
    fund = {"instrument_id": "FUND", "kind": "fund", "currency": "USD", "factor_id": "SPX"}
    book = slow_book([fund, american("PUT")], holdings=holdings)
    rows = told(revalue(book, market, PATHS), market)
    assert (rows["PUT"]["method"], rows["PUT"]["n_prices"]) == ("table", 2 * FEW_PRICES)


def _basket(as_of, levels, instrument):
    import QuantLib as ql

    stock = ql.Stock(ql.QuoteHandle(ql.SimpleQuote(sum(levels.values()))))
    return stock, None
