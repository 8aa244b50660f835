import datetime as dt

import numpy as np
import pyarrow as pa
import pytest

from acceleray.domain.market import FactorKind, Market
from acceleray.domain.moves import MoveKind
from acceleray.errors import InputDataError

AS_OF = dt.date(2018, 1, 5)


def d(day: int) -> dt.date:
    return dt.date(2018, 1, day)


FACTORS = pa.table(
    {
        "factor_id": ["usd.5y", "SPX", "baa", "usd.1y"],
        "kind": ["zero_rate", "spot", "zero_rate", "zero_rate"],
        "currency": ["USD"] * 4,
        "curve": ["usd", None, None, "usd"],
        "tenor_years": [5.0, None, None, 1.0],
        "proxy": pa.array([None] * 4, pa.string()),
        "max_age_days": pa.array([None, 5, 60, None], pa.int64()),
        "fixed": [True, False, False, True],
    }
)


def observations() -> pa.Table:
    return pa.table(
        {
            "date": [d(2), d(3), d(5), d(1), d(5), d(5), d(8)],
            "factor_id": ["SPX", "SPX", "SPX", "baa", "usd.1y", "usd.5y", "SPX"],
            "value": [100.0, 101.0, 99.0, 0.05, 0.02, 0.03, 500.0],
            "available_from": [None, None, None, d(3), None, None, None],
        }
    )


def test_observations_are_aligned_as_they_were_known():
    market = Market.from_observations(observations(), FACTORS, AS_OF)
    assert market.factor_ids == ("SPX", "baa", "usd.1y", "usd.5y")
    assert market.dates.tolist() == [d(2), d(3), d(5)]
    np.testing.assert_array_equal(market.levels[:, 0], [100.0, 101.0, 99.0])
    np.testing.assert_array_equal(market.levels[:, 1], [np.nan, 0.05, 0.05])
    # A fixed level is the same on every date.
    np.testing.assert_array_equal(market.levels[:, 2], [0.02] * 3)
    assert market.age_days.tolist() == [0, 4, 0, 0]
    assert market.move_kinds.tolist() == [MoveKind.LOG, *[MoveKind.ABSOLUTE] * 3]
    assert market.move_kinds.tolist() == [MoveKind.LOG, *[MoveKind.ABSOLUTE] * 3]
    assert market.fixed.tolist() == [False, False, True, True]
    assert market.factors[1].kind is FactorKind.ZERO_RATE


def test_tables_and_observations_give_the_same_market():
    one = Market.from_observations(observations(), FACTORS, AS_OF)
    rows = []
    for i, day in enumerate(one.dates.tolist()):
        for j, factor in enumerate(one.factors):
            if np.isfinite(one.levels[i, j]) and (not factor.fixed or day == AS_OF):
                stamp = d(1) if factor.factor_id == "baa" else day
                rows.append((day, factor.factor_id, one.levels[i, j], stamp, (day - stamp).days))
    columns = list(zip(*rows, strict=True))
    table = pa.table(
        dict(zip(["date", "factor_id", "value", "observed_on", "age_days"], map(list, columns), strict=True))
    )
    two = Market.from_tables(table, FACTORS, AS_OF)
    np.testing.assert_array_equal(one.levels, two.levels)
    np.testing.assert_array_equal(one.dates, two.dates)
    np.testing.assert_array_equal(one.age_days, two.age_days)
    assert one.factors == two.factors


def test_a_curve_is_sorted_by_tenor():
    market = Market.from_observations(observations(), FACTORS, AS_OF)
    curve = market.curve("usd")
    assert curve is not None
    assert curve.tenors_years.tolist() == [1.0, 5.0]
    assert [market.factor_ids[c] for c in curve.columns] == ["usd.1y", "usd.5y"]
    assert market.curve("eur") is None


def test_a_gap_is_refused():
    table = pa.table(
        {
            "date": [d(2), d(5), d(2), d(3), d(5)],
            "factor_id": ["SPX", "SPX", "baa", "baa", "baa"],
            "value": [1.0, 2.0, 0.1, 0.1, 0.1],
            "observed_on": [d(2), d(5), d(2), d(3), d(5)],
        }
    )
    with pytest.raises(InputDataError, match="'SPX' has no level on 2018-01-03"):
        Market.from_tables(table, FACTORS, AS_OF)


def test_an_undescribed_factor_is_refused():
    table = pa.table({"date": [d(2)], "factor_id": ["X"], "value": [1.0]})
    with pytest.raises(InputDataError, match="not described: X"):
        Market.from_observations(table, FACTORS, AS_OF)


def test_levels_cannot_be_changed():
    market = Market.from_observations(observations(), FACTORS, AS_OF)
    with pytest.raises(ValueError, match="read-only"):
        market.levels[0, 0] = 1.0


def test_kinds_of_factor_can_be_told_how_to_move():
    market = Market.from_observations(observations(), FACTORS, AS_OF)
    moved = market.with_moves({"spot": MoveKind.RELATIVE, FactorKind.ZERO_RATE: MoveKind.LOG})
    assert moved.move_kinds.tolist() == [2, 1, 1, 1]
    assert market.move_kinds.tolist() == [1, 0, 0, 0]
    np.testing.assert_array_equal(moved.levels, market.levels)


def test_a_level_that_was_not_positive_has_no_ratio():
    table = observations()
    table = table.set_column(2, "value", pa.array([100.0, 101.0, 99.0, -0.01, 0.02, 0.03, 500.0]))
    market = Market.from_observations(table, FACTORS, AS_OF)
    with pytest.raises(InputDataError, match=r"'baa' was -0.01 on 2018-01-03 and cannot move by log changes"):
        market.with_moves({"zero_rate": MoveKind.LOG})


def test_exchange_rates_are_those_with_one_factor():
    factors = pa.table(
        {
            "factor_id": ["CHF1", "CHF2", "EURUSD", "SAP"],
            "kind": ["fx", "fx", "fx", "spot"],
            "currency": ["CHF", "CHF", "EUR", "EUR"],
        }
    )
    table = pa.table(
        {"date": [d(2)] * 4, "factor_id": ["CHF1", "CHF2", "EURUSD", "SAP"], "value": [1.0, 1.1, 1.2, 90.0]}
    )
    assert Market.from_observations(table, factors, AS_OF).exchange_rates == {"EUR": 1.2}
