import numpy as np
import pytest

from acceleray.domain.scenario import Historical, Move, Shock, Stress, StressScenario
from acceleray.errors import UsageError
from acceleray.numerics.tail import expected_shortfall, value_at_risk
from acceleray.risk.market import revalue

from .conftest import make_book


@pytest.fixture(scope="module")
def pnl(book, market):
    return revalue(book, market, Historical(window_days=300, horizon_days=1))


def test_rows_of_the_cube(pnl):
    rows = pnl.positions()
    assert rows.column_names == ["portfolio_id", "instrument_id", "scenario", "pnl"]
    assert rows.num_rows == 8 * 300
    third = rows.slice(2 * 300 + 7, 1).to_pylist()[0]
    assert third == {
        "portfolio_id": "Alpha/Short",
        "instrument_id": "SPX_FUT",
        "scenario": 7,
        "pnl": pnl.cube[2, 7],
    }


def test_nodes_add_up(pnl):
    parts = [pnl.node(name) for name in ("Alpha", "Hedge", "Rates", "World")]
    total = pnl.node()
    np.testing.assert_allclose(sum(parts), total, atol=1e-12 * np.abs(pnl.cube).max())
    np.testing.assert_allclose(pnl.node("Alpha"), pnl.node("Alpha/Long") + pnl.node("Alpha/Short"), atol=1e-9)
    with pytest.raises(UsageError, match="'Beta' is not in the book"):
        pnl.node("Beta")


def test_measures_are_those_of_the_losses(pnl):
    losses = -pnl.node("Alpha")
    var, es = pnl.var(0.99, "Alpha"), pnl.es(0.975, "Alpha")
    assert var.value == value_at_risk(losses, level=0.99)
    assert es.value == expected_shortfall(losses, level=0.975)
    assert (var.n_paths, var.method) == (300, "historical")
    assert var.ci_low <= var.value
    # 99 % from 300 days has no upper bound, and the note says so.
    assert var.ci_high is None
    assert var.note


def test_contributions_add_up_for_every_cut(pnl):
    total = pnl.es(0.975).value
    for by, count in (("instrument_id", 8), ("portfolio_id", 4)):
        split = pnl.contributions("ES", 0.975, by)
        assert split.num_rows == count
        assert sum(split["value"].to_pylist()) == pytest.approx(total, rel=1e-9)
    children = pnl.contributions("ES", 0.975, "portfolio_id", "Alpha")["member_id"].to_pylist()
    assert children == ["Alpha/Long", "Alpha/Short"]


def test_a_node_with_positions_of_its_own_is_its_own_member(market):
    book = make_book([("A", "FUND", 1.0), ("A/B", "OIL_FUT", 1.0)])
    pnl = revalue(book, market, Historical(window_days=100))
    split = pnl.contributions("ES", 0.9, "portfolio_id", "A")
    assert split["member_id"].to_pylist() == ["A", "A/B"]
    assert sum(split["value"].to_pylist()) == pytest.approx(pnl.es(0.9, "A").value, rel=1e-9)


def test_stresses_have_names_and_no_probabilities(book, market):
    scenario = StressScenario(name="crash", shocks=(Shock(kind="spot", move=Move.SCALE, size=0.8),))
    pnl = revalue(book, market, Stress(scenarios=(scenario,)))
    assert set(pnl.positions()["scenario"].to_pylist()) == {"crash"}
    for measure in (pnl.var, pnl.es, pnl.contributions):
        with pytest.raises(UsageError, match="no probabilities"):
            measure()


def test_what_was_left_out_is_told(market):
    pnl = revalue(
        make_book(FUND={"factor_id": "NDX"}), market, Historical(window_days=100), base_currency="USD"
    )
    assert pnl.excluded == (("Alpha/Long", "FUND", "missing factor_id: unknown factor 'NDX'"),)
    assert pnl.cube.shape == (7, 100)
    with pytest.raises(UsageError, match="'VaR' or 'ES', was 'TVaR'"):
        pnl.contributions("TVaR")
    with pytest.raises(UsageError, match="cut by 'sector'"):
        pnl.contributions(by="sector")
