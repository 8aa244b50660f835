import datetime as dt
import itertools

import numpy as np
import pytest

from acceleray.domain.scenario import Historical, MonteCarlo, Move, Shock, Stress, StressScenario
from acceleray.domain.tables import contract
from acceleray.risk import tables
from acceleray.risk.market import revalue

from .conftest import make_book

LEVELS = {"es_level": 0.975, "var_level": 0.99}


@pytest.fixture(scope="module")
def partial_book():
    return make_book(PUT={"exercise": "american"}, BOND={"coupon": None})


@pytest.fixture(scope="module")
def results(partial_book, market):
    sets = (MonteCarlo(n_paths=200, seed=1), Historical(window_days=100))
    return [revalue(partial_book, market, each, block_size=64) for each in sets]


def test_values_tell_what_was_left_out(results, market):
    rows = tables.values_table(results[0].resolution, market).to_pylist()
    by_name = {row["instrument_id"]: row for row in rows}
    assert len(rows) == 8
    assert by_name["PUT"]["status"] == "excluded"
    assert by_name["PUT"]["reason"] == "unsupported: exercise 'american'"
    assert by_name["PUT"]["market_value"] is None
    fund = by_name["FUND"]
    assert fund["price"] == market.base[market.column("SPX")]
    assert fund["market_value"] == fund["exposure"] == 40 * fund["price"]
    assert by_name["SPX_FUT"]["market_value"] == 0.0
    assert by_name["SPX_FUT"]["exposure"] == pytest.approx(-50 * by_name["SPX_FUT"]["price"])
    assert by_name["SPX_FUT"]["factor_id"] == "SPX"


def test_nodes_without_a_priced_position_have_no_figures(results):
    assert "Rates" not in tables.nodes_with_positions(results[0].resolution)
    assert "Hedge" in tables.nodes_with_positions(results[0].resolution)


def test_every_table_follows_its_contract_and_key_order(results, partial_book, market):
    nodes = tables.nodes_with_positions(results[0].resolution)
    made = {
        "result.values": tables.values_table(results[0].resolution, market),
        "result.scenarios": tables.scenarios_table([pnl.labels for pnl in results]),
        "result.measures": tables.measures_table(
            results, nodes, var_level=0.99, es_level=0.975, interval_level=0.95, currency="USD"
        ),
        "result.contributions": tables.contributions_table(results[1], partial_book, nodes, **LEVELS)[0],
        "result.tail": tables.tail_table(results[1], nodes, **LEVELS),
    }
    for name, table in made.items():
        assert table.schema.equals(contract(name).schema), name
        keys = table.select(list(contract(name).key)).to_pylist()
        assert len({tuple(row.values()) for row in keys}) == table.num_rows, name


def test_scenarios_carry_their_dates_and_blocks(results, market):
    rows = tables.scenarios_table([pnl.labels for pnl in results]).to_pylist()
    historical = [row for row in rows if row["method"] == "historical"]
    assert historical[-1]["date"] == market.dates[-1].item()
    drawn = [row for row in rows if row["method"] == "monte_carlo_gaussian"]
    assert {row["date"] for row in drawn} == {None}
    assert [drawn[i]["block"] for i in (0, 63, 64, 199)] == [0, 0, 1, 3]


def test_stress_rows(partial_book, market):
    window = (market.dates[100].item(), market.dates[110].item())
    stress = Stress(
        scenarios=(
            StressScenario(name="crash", shocks=(Shock(factor_id="SPX", move=Move.SCALE, size=0.8),)),
            StressScenario(name="replay", window=window),
        )
    )
    pnl = revalue(partial_book, market, stress)
    table = tables.stress_table(pnl, stress, (0.0, 0.25), ("Alpha/Long", "Fund"))
    assert table.schema.equals(contract("result.stress").schema)
    rows = table.to_pylist()
    assert rows[0]["pnl"] == pytest.approx(-0.2 * 40 * market.base[market.column("SPX")], rel=1e-12)
    assert rows[0]["window_from"] is None
    assert (rows[1]["window_from"], rows[1]["window_to"], rows[1]["proxied_share"]) == (*window, 0.25)
    assert isinstance(rows[1]["window_from"], dt.date)
    np.testing.assert_allclose(rows[3]["pnl"], pnl.cube[:, 1].sum(), rtol=1e-12)


def test_contributions_of_every_dimension_add_up_to_both_measures(results, partial_book):
    pnl = results[1]
    split, unsplit = tables.contributions_table(pnl, partial_book, ("Fund", "Alpha", "Hedge"), **LEVELS)
    assert unsplit == []
    sums = {}
    for row in split.to_pylist():
        key = row["portfolio_id"], row["dimension"], row["measure"]
        sums[key] = sums.get(key, 0.0) + row["value"]
    # Hedge has no nodes below it; no instrument has an issuer or an attribute.
    dimensions = ("portfolio", "instrument", "currency", "kind")
    assert set(sums) == {
        (node, by, of) for node in ("Fund", "Alpha") for by in dimensions for of in ("VaR", "ES")
    }
    for (node, _, measure), total in sums.items():
        whole = pnl.var(0.99, node) if measure == "VaR" else pnl.es(0.975, node)
        assert total == pytest.approx(whole.value, rel=1e-9)
    assert {row["residual"] for row in split.to_pylist() if row["measure"] == "ES"} == {0.0}


def test_a_value_at_risk_of_zero_that_cannot_be_split_is_told(market):
    """Long and short the same in two portfolios: the parts around the quantile are rounding."""
    book = make_book([("A/X", "FUND", 3.0), ("A/Y", "FUND", -1.0), ("A/Z", "FUND", -2.0)])
    pnl = revalue(book, market, Historical(window_days=100))
    split, unsplit = tables.contributions_table(pnl, book, ("A",), **LEVELS)
    es = sum(row["value"] for row in split.to_pylist() if row["measure"] == "ES")
    # Adding three amounts of a few thousand is off by a few units in their last place.
    assert es == pytest.approx(0.0, abs=1e-9)
    assert set(unsplit) <= {"A"}


def test_the_tail_has_weights_that_add_up(results):
    tail = tables.tail_table(results[1], ("Fund",), **LEVELS).to_pylist()
    for measure in ("VaR", "ES"):
        rows = [row for row in tail if row["measure"] == measure]
        assert sum(row["weight"] for row in rows) == pytest.approx(1.0, abs=1e-12)
        assert [row["rank"] for row in rows] == list(range(1, len(rows) + 1))
        assert all(one["loss"] >= other["loss"] for one, other in itertools.pairwise(rows))
        assert {row["date"] for row in rows} <= set(results[1].labels.dates.tolist())
