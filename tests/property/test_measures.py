"""What must hold for the measures of every book, whatever its losses."""

from __future__ import annotations

import datetime as dt

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from acceleray.domain.book import Book
from acceleray.domain.market import Market
from acceleray.domain.moves import MoveKind
from acceleray.domain.scenario import Given
from acceleray.errors import NumericalError
from acceleray.numerics.contributions import (
    expected_shortfall_contributions,
    required_paths,
    value_at_risk_contributions,
)
from acceleray.numerics.order_statistics import tail_masses
from acceleray.numerics.tail import expected_shortfall, value_at_risk
from acceleray.risk.market import revalue

SMALL = settings(max_examples=25, deadline=None)
NAMES = ["A", "B", "C"]
PORTFOLIOS = ["P/X", "P/Y", "Q"]
QUANTITIES = st.lists(st.integers(-20, 20), min_size=3, max_size=3)
# Levels of three factors under forty scenarios.
LEVELS = hnp.arrays(np.float64, (40, 3), elements=st.floats(50.0, 200.0, width=32))
CONFIDENCE = st.floats(0.5, 0.95)
# Amounts reach 20 * 150 * 3: sums of a few of them are off by less than a billionth of a unit.
ROUNDING = 1e-8


def measured(quantities, levels):
    """Revalue three linear positions, with gains of positions kept."""
    day = dt.date(2018, 12, 28)
    factors = pa.table({"factor_id": NAMES, "kind": ["spot"] * 3})
    today = pa.table({"date": [day] * 3, "factor_id": NAMES, "value": [100.0] * 3})
    market = Market.from_observations(today, factors, day).with_moves({"spot": MoveKind.ABSOLUTE})
    book = Book.from_tables(
        pa.table(
            {
                "portfolio_id": PORTFOLIOS,
                "instrument_id": NAMES,
                "quantity": [float(quantity) for quantity in quantities],
            }
        ),
        pa.table(
            {"instrument_id": NAMES, "kind": ["equity"] * 3, "currency": ["USD"] * 3, "factor_id": NAMES}
        ),
    )
    table = pa.table(
        {
            "scenario": np.repeat(np.arange(len(levels)), 3),
            "factor_id": NAMES * len(levels),
            "value": levels.ravel(),
        }
    )
    return revalue(book, market, Given(table=table))


@SMALL
@given(QUANTITIES, LEVELS, CONFIDENCE, CONFIDENCE)
def test_shortfall_is_above_value_at_risk_and_both_rise_with_the_level(quantities, levels, one, other):
    pnl, (low, high) = measured(quantities, levels), sorted((one, other))
    assert pnl.es(low).value >= pnl.var(low).value
    assert pnl.var(high).value >= pnl.var(low).value
    assert pnl.es(high).value >= pnl.es(low).value - ROUNDING


@SMALL
@given(QUANTITIES, LEVELS, CONFIDENCE, st.integers(1, 6))
def test_measures_scale_with_the_book(quantities, levels, level, times):
    pnl, larger = measured(quantities, levels), measured([times * each for each in quantities], levels)
    assert larger.var(level).value == pytest.approx(times * pnl.var(level).value, abs=times * ROUNDING)
    assert larger.es(level).value == pytest.approx(times * pnl.es(level).value, abs=times * ROUNDING)


@SMALL
@given(QUANTITIES, LEVELS, CONFIDENCE, st.integers(-40, 40))
def test_a_sure_gain_lowers_both_by_its_amount(quantities, levels, level, gain):
    """A fourth of the book that gains the same in every scenario: C under a constant move."""
    sure = np.array(levels)
    sure[:, 2] = 100.0 + gain
    without, having = [*quantities[:2], 0], [*quantities[:2], 3]
    for of in ("var", "es"):
        before = getattr(measured(without, sure), of)(level).value
        after = getattr(measured(having, sure), of)(level).value
        assert after == pytest.approx(before - 3 * gain, abs=ROUNDING)


@SMALL
@given(QUANTITIES, LEVELS)
def test_portfolios_add_up_to_their_parent(quantities, levels):
    pnl = measured(quantities, levels)
    for parent, children in (("Fund", ("P", "Q")), ("P", ("P/X", "P/Y"))):
        parts = sum(pnl.node(child) for child in children)
        np.testing.assert_allclose(parts, pnl.node(parent), atol=ROUNDING)
        cuts = sum(pnl.select(portfolio_id=child).node() for child in children)
        np.testing.assert_allclose(cuts, pnl.node(parent), atol=ROUNDING)


@SMALL
@given(LEVELS, CONFIDENCE)
def test_an_empty_book_has_no_risk(levels, level):
    pnl = measured([0, 0, 0], levels)
    assert (pnl.var(level).value, pnl.es(level).value) == (0.0, 0.0)
    for measure in ("VaR", "ES"):
        rows = pnl.decomposition(measure, level, "instrument_id").to_pylist()
        for column in ("standalone", "component", "incremental", "exposure"):
            assert [row[column] for row in rows] == [0.0] * 3
        assert [row["marginal"] for row in rows] == [None] * 3


@SMALL
@given(QUANTITIES, LEVELS, CONFIDENCE)
def test_contributions_add_up_and_shortfall_is_subadditive(quantities, levels, level):
    pnl = measured(quantities, levels)
    for by in ("instrument_id", "portfolio_id"):
        rows = pnl.decomposition("ES", level, by).to_pylist()
        whole = pnl.es(level).value
        assert sum(row["component"] for row in rows) == pytest.approx(whole, abs=ROUNDING)
        assert whole <= sum(row["standalone"] for row in rows) + ROUNDING
        for row in rows:
            # Leaving a member out saves at most its contribution, and that is at most its own risk.
            assert row["component"] <= row["standalone"] + ROUNDING
            assert row["incremental"] <= row["component"] + ROUNDING
    try:
        parts = pnl.contributions("VaR", level)
    except NumericalError:
        # The losses around the quantile average to the other side of zero: refused, not returned.
        return
    assert sum(parts["value"].to_pylist()) == pytest.approx(pnl.var(level).value, abs=ROUNDING)


@SMALL
@given(QUANTITIES, LEVELS, CONFIDENCE)
def test_weights_behind_a_figure_add_up_to_one(quantities, levels, level):
    pnl = measured(quantities, levels)
    for measure in ("VaR", "ES"):
        behind = pnl.behind(measure, level)
        assert sum(behind["weight"].to_pylist()) == pytest.approx(1.0, abs=1e-12)
        assert min(behind["weight"].to_pylist()) > 0.0
    losses = np.array(behind["loss"])
    assert losses @ np.array(behind["weight"]) == pytest.approx(pnl.es(level).value, abs=ROUNDING)


MEMBERS = hnp.arrays(np.float64, (3, 40), elements=st.integers(-100, 100).map(float))


@SMALL
@given(MEMBERS, st.floats(0.5, 0.95))
def test_losses_of_the_required_paths_are_enough(members, level):
    total = members.sum(axis=0)
    paths = required_paths(total, level=level, measure="ES")
    whole = expected_shortfall_contributions(members, total, level=level)
    part = expected_shortfall_contributions(members[:, paths], total, level=level, paths=paths)
    for one, other in zip(whole, part, strict=True):
        np.testing.assert_array_equal(one, other)
    paths = required_paths(total, level=level, measure="VaR")
    try:
        values, std_errors, residual = value_at_risk_contributions(members, total, level=level)
    except NumericalError:
        return
    again = value_at_risk_contributions(members[:, paths], total, level=level, paths=paths)
    np.testing.assert_array_equal(values, again[0])
    np.testing.assert_allclose(std_errors, again[1], rtol=1e-12)
    assert residual == again[2]


@SMALL
@given(MEMBERS, CONFIDENCE, st.lists(st.integers(1, 4), min_size=40, max_size=40))
def test_a_weighted_path_is_so_many_paths(members, level, copies):
    """Values of contributions, VaR, ES and masses are those of the sample with every path repeated."""
    weights = np.array(copies) / sum(copies)
    repeated = np.repeat(members, copies, axis=1)
    total, of_all = members.sum(axis=0), repeated.sum(axis=0)
    masses = tail_masses(total, level=level, weights=weights)
    spread = tail_masses(of_all, level=level)
    # A level at which the rank falls on a boundary of repeated paths may fall on either side of it.
    quantile = value_at_risk(of_all, level=level)
    if quantile != value_at_risk(total, level=level, weights=weights):
        return
    starts = np.cumsum([0, *copies[:-1]])
    np.testing.assert_allclose(masses, np.add.reduceat(spread, starts), atol=1e-9)
    assert masses @ total == pytest.approx(
        float(expected_shortfall(total, level=level, weights=weights)), abs=1e-9
    )
    values, std_errors = expected_shortfall_contributions(members, total, level=level, weights=weights)
    plain, _ = expected_shortfall_contributions(repeated, of_all, level=level)
    # Losses reach 300, and the tail has at least a twentieth of the mass.
    np.testing.assert_allclose(values, plain, atol=1e-6)
    assert (std_errors >= 0.0).all()
