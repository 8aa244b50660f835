import numpy as np
import pytest

from acceleray.domain.scenario import Historical, MonteCarlo, Move, Shock, Stress, StressScenario
from acceleray.errors import UsageError
from acceleray.risk.factor_contributions import AGEING, NON_LINEAR, factor_contributions
from acceleray.risk.market import revalue

from .conftest import make_book


@pytest.mark.parametrize("node", ["Fund", "Hedge", "World"])
def test_lines_add_up_to_the_expected_shortfall(book, market, node):
    pnl = revalue(book, market, Historical(window_days=300, horizon_days=1))
    rows = factor_contributions(pnl, market, level=0.975, portfolio_id=node)
    total = pnl.es(0.975, node).value
    assert sum(rows["value"].to_pylist()) == pytest.approx(total, rel=1e-12)
    by_name = dict(zip(rows["factor_id"].to_pylist(), rows["value"].to_pylist(), strict=True))
    # A day's moves are small: two orders say nearly all.
    assert abs(by_name[NON_LINEAR]) < 0.03 * total
    assert not {"Q", "USD.1Y"} & set(by_name)


def test_a_linear_book_has_its_closed_form(market):
    pnl = revalue(make_book([("A", "FUND", 3.0), ("A", "OIL_FUT", 1.0)]), market, Historical(window_days=200))
    rows = factor_contributions(pnl, market, level=0.95)
    exact = pnl.contributions("ES", 0.95, "instrument_id")
    by_factor = dict(zip(rows["factor_id"].to_pylist(), rows["value"].to_pylist(), strict=True))
    by_name = dict(zip(exact["member_id"].to_pylist(), exact["value"].to_pylist(), strict=True))
    # What remains are cubes of log moves of a few percent.
    assert by_factor["SPX"] == pytest.approx(by_name["FUND"], rel=2e-3)
    assert by_factor["OIL"] == pytest.approx(by_name["OIL_FUT"], rel=2e-3)


def test_ageing_has_a_line_of_its_own(book, market):
    pnl = revalue(
        book, market, MonteCarlo(n_paths=600, horizon_days=10, seed=1), ageing="calendar", block_size=256
    )
    rows = factor_contributions(pnl, market)
    by_name = dict(zip(rows["factor_id"].to_pylist(), rows["value"].to_pylist(), strict=True))
    assert AGEING in by_name
    assert sum(by_name.values()) == pytest.approx(pnl.es(0.975).value, rel=1e-12)
    still = revalue(book, market, MonteCarlo(n_paths=600, horizon_days=10, seed=1), block_size=256)
    assert AGEING not in factor_contributions(still, market)["factor_id"].to_pylist()


def test_block_sizes_of_a_table_change_nothing(book, market):
    small, large = (
        factor_contributions(
            revalue(book, market, Historical(window_days=200), block_size=size), market, level=0.9
        )
        for size in (64, 2048)
    )
    assert small.equals(large)
    assert np.isfinite(small["value"].to_numpy()).all()


def test_stresses_have_no_expected_shortfall(book, market):
    scenario = StressScenario(name="crash", shocks=(Shock(kind="spot", move=Move.SCALE, size=0.8),))
    with pytest.raises(UsageError, match="no probabilities"):
        factor_contributions(revalue(book, market, Stress(scenarios=(scenario,))), market)
