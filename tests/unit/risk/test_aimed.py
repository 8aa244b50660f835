"""Importance sampling through `revalue`: less noise, honest intervals, and a reason where it is not used."""

import numpy as np
import pyarrow as pa
import pytest
from tests.unit.risk.conftest import make_book

from acceleray.domain.scenario import MonteCarlo
from acceleray.numerics.stopping import StoppingRule
from acceleray.risk.market import revalue

HELD = [("Alpha", "PUT", -40.0), ("Alpha", "CALL", -40.0), ("Beta", "FUND", 2.0)]
MANY = MonteCarlo(n_paths=40_000, seed=3, sampler="importance", aim=(0.99,))


@pytest.fixture(scope="module")
def short(market):
    return revalue(make_book(HELD), market, MANY, block_size=1000)


def test_it_is_used_and_says_so(short):
    assert "importance sampling with strata" in short.labels.note
    assert short.labels.weights.sum() == pytest.approx(1.0)
    assert short.labels.weights.shape == (40_000,)


def test_it_agrees_with_many_plain_paths_and_is_far_sharper(short, market):
    plain = revalue(make_book(HELD), market, MonteCarlo(n_paths=200_000, seed=9), block_size=20_000)
    for measure, level in (("var", 0.99), ("es", 0.975)):
        ours, theirs = getattr(short, measure)(level), getattr(plain, measure)(level)
        width = theirs.ci_high - theirs.ci_low
        assert abs(ours.value - theirs.value) < width, "two intervals of plain paths apart at most"
        # A fifth of the paths, and still a narrower interval.
        assert ours.ci_high - ours.ci_low < 0.7 * width
        assert ours.ci_low < ours.value < ours.ci_high
        assert ours.n_paths == 40_000


def test_contributions_and_scenarios_behind_use_the_weights(short):
    for measure in ("VaR", "ES"):
        total = {"VaR": short.var, "ES": short.es}[measure](0.975).value
        parts = short.contributions(measure, 0.975)
        assert sum(parts["value"].to_pylist()) == pytest.approx(total, rel=1e-9)
        behind = short.behind(measure, 0.975)
        assert sum(behind["weight"].to_pylist()) == pytest.approx(1.0)
    table = short.decomposition("VaR", 0.99, by="instrument_id")
    assert sum(table["component"].to_pylist()) == pytest.approx(short.var(0.99).value, rel=1e-9)
    alone = short.select(instrument_id="PUT").var(0.99)
    row = table.filter(pa.compute.equal(table["member_id"], "PUT")).to_pylist()[0]
    assert row["standalone"] == pytest.approx(alone.value, rel=1e-12)
    assert row["incremental_ci_low"] < row["incremental"] < row["incremental_ci_high"]


def test_bits_do_not_depend_on_shards_or_kept_positions(short, market):
    again = revalue(make_book(HELD), market, MANY, block_size=1000, keep_positions=False)
    np.testing.assert_array_equal(again.by_portfolio, short.by_portfolio)
    np.testing.assert_array_equal(again.labels.weights, short.labels.weights)


def test_it_stops_on_its_own_error(market):
    rule = StoppingRule(max_paths=40_000, relative_error=0.002)
    pnl = revalue(make_book(HELD), market, MANY, block_size=1000, stopping=rule)
    assert 8_000 <= pnl.n_paths < 40_000
    assert "relative standard error of VaR" in pnl.labels.note
    assert pnl.labels.weights.sum() == pytest.approx(1.0)
    assert pnl.var(0.99).ci_low is not None


@pytest.mark.parametrize(
    ("scenarios", "reason"),
    [
        (MonteCarlo(n_paths=2_000, sampler="importance"), "do not pay for a pilot"),
        (MonteCarlo(n_paths=40_000, horizon_days=10, sampler="importance"), "one step over the horizon"),
    ],
)
def test_plain_paths_come_with_a_reason(scenarios, reason, market):
    pnl = revalue(make_book(HELD), market, scenarios, block_size=1000)
    assert pnl.labels.weights is None
    assert reason in pnl.labels.note
    assert pnl.var(0.99).ci_low is not None


def test_a_book_of_nothing_is_drawn_plainly(market):
    empty = make_book([("Alpha", "FUND", 0.0)])
    pnl = revalue(empty, market, MANY, block_size=1000)
    assert pnl.labels.weights is None
    assert pnl.var(0.99).value == 0.0
