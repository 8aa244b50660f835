import datetime as dt

import numpy as np
import pyarrow as pa
import pytest

from acceleray.domain.book import ROOT
from acceleray.domain.market import Market
from acceleray.domain.tables import contract
from acceleray.errors import UsageError
from acceleray.risk.cash_flows import accrued_interest
from acceleray.risk.explain import TERMS, explain

from .conftest import AS_OF, FACTORS_FULL, START, make_book

NEXT = dt.date(2018, 12, 31)
HELD = [
    ("Opt", "PUT", 10.0),
    ("FX", "CASH_EUR", 50_000.0),
    ("Bonds", "BOND", 100.0),
    ("Fut", "OIL_FUT", -2.0),
]


def market_of(as_of, levels, factors=FACTORS_FULL):
    """One date, every level given."""
    described = [row for row in factors if row["factor_id"] in levels]
    return Market.from_observations(
        pa.table(
            {
                "date": pa.array([as_of] * len(levels), pa.date32()),
                "factor_id": list(levels),
                "value": list(levels.values()),
            }
        ),
        pa.Table.from_pylist(described),
        as_of,
        dates=np.array([as_of], dtype="datetime64[D]"),
    )


def moved(size):
    return {
        name: level * np.exp(size * {"SPX": -1.0, "EURUSD": 0.5}.get(name, 1.0))
        if name in ("SPX", "EURUSD", "VIX", "OIL")
        else level + 0.1 * size
        for name, level in START.items()
    }


def terms(found, node=ROOT):
    return dict(zip(TERMS, found.values[node].tolist(), strict=True))


def two_nights(levels, old=HELD, new=None, old_changes=None, new_changes=None, date=NEXT):
    before = (make_book(old, **(old_changes or {})), market_of(AS_OF, START))
    after = (make_book(old if new is None else new, **(new_changes or {})), market_of(date, levels))
    return explain(before, after, base_currency="USD")


def gross(found):
    return max(1.0, max(np.abs(values).max() for values in found.values.values()))


def test_terms_add_up_for_every_node():
    new = [
        ("Opt", "PUT", 12.0),
        ("FX", "CASH_EUR", 50_000.0),
        ("New/Sub", "CALL", -1.0),
        ("Fut", "OIL_FUT", 1.0),
    ]
    found = two_nights(moved(0.02), new=new)
    assert set(found.values) == {ROOT, "Opt", "FX", "Bonds", "Fut", "New", "New/Sub"}
    for node, values in found.values.items():
        assert values[:-1].sum() == pytest.approx(values[-1], abs=1e-10 * gross(found)), node
    parts = sum(found.values[node] for node in ("Opt", "FX", "Bonds", "Fut", "New"))
    np.testing.assert_allclose(parts, found.values[ROOT], atol=1e-10 * gross(found))
    np.testing.assert_array_equal(found.values["New"], found.values["New/Sub"])
    assert found.excluded == ()


def test_the_total_is_what_the_nights_report():
    from acceleray.risk.resolve import resolve
    from acceleray.risk.valuation import position_values

    levels = moved(0.02)
    new = [("Opt", "PUT", 12.0), ("Bonds", "BOND", 90.0), ("FX", "CALL", 1.0)]
    found = two_nights(levels, new=new)
    values = [
        position_values(resolve(make_book(held), market, base_currency="USD").priced, market.base[None]).sum()
        for held, market in ((HELD, market_of(AS_OF, START)), (new, market_of(NEXT, levels)))
    ]
    assert terms(found)["total"] == pytest.approx(values[1] - values[0], rel=1e-12)


def test_the_residual_is_of_third_order():
    residuals = [terms(two_nights(moved(size)))["residual"] for size in (0.01, 0.005, 0.0025)]
    assert residuals[0] / residuals[1] == pytest.approx(8, rel=0.1)
    assert residuals[1] / residuals[2] == pytest.approx(8, rel=0.1)


def test_an_unchanged_market_leaves_theta_alone():
    found = terms(two_nights(START))
    assert found["theta"] == pytest.approx(found["total"], rel=1e-12)
    assert {name for name, value in found.items() if abs(value) > 1e-6} == {"theta", "total"}


def test_each_kind_of_factor_has_its_term():
    base = market_of(AS_OF, START)
    cases = {
        "SPX": "delta", "EURUSD": "fx", "VIX": "vega", "SPREAD": "spreads", "AAA": "rates", "Q": "dividends",
    }  # fmt: skip
    for name, term in cases.items():
        log = base.factors[base.column(name)].kind.is_positive
        levels = START | {name: START[name] * 1.001 if log else START[name] + 1e-5}
        quiet, found = terms(two_nights(START)), terms(two_nights(levels))
        change = {key: abs(found[key] - quiet[key]) for key in TERMS if key not in ("total", "settled")}
        assert max(change, key=change.get) == term, name


def test_fx_and_oil_have_closed_forms():
    levels = START | {"EURUSD": 1.2, "OIL": 52.0}
    found = two_nights(levels)
    assert terms(found, "FX")["fx"] == pytest.approx(50_000 * 0.05, rel=1e-10)
    fut = terms(found, "Fut")
    # A future's gain has been settled: its value is zero on both nights.
    assert fut["delta"] == pytest.approx(-2 * 1000 * 2.0, rel=1e-10)
    assert fut["settled"] == pytest.approx(4000.0, rel=1e-10)
    assert fut["total"] == 0.0


def test_a_coupon_leaves_the_position_as_cash():
    # The bond pays 25 per 1000 on 15 June and 15 December.
    before = (make_book([("B", "BOND", 100.0)]), market_of(dt.date(2018, 12, 14), START))
    after = (make_book([("B", "BOND", 100.0)]), market_of(dt.date(2018, 12, 17), START))
    found = terms(explain(before, after, base_currency="USD"), "B")
    assert found["settled"] == pytest.approx(-2500.0, rel=1e-12)
    assert 0 < found["theta"] < 100
    assert found["residual"] == pytest.approx(0.0, abs=1e-8)
    assert found["calibration"] == pytest.approx(0.0, abs=1e-8)


def test_what_expired_is_settled_at_its_payoff():
    changes = {"PUT": {"strike": 2600.0, "expiry": dt.date(2018, 12, 29)}}
    found = two_nights(START, old=[("A", "PUT", 1.0)], old_changes=changes, new_changes=changes)
    line = terms(found)
    assert line["settled"] == pytest.approx(-100 * (2600 - 2500), rel=1e-12)
    assert found.excluded == ()
    gone = two_nights(START, old=[("A", "PUT", 1.0)], new=[("A", "FUND", 0.0)], old_changes=changes)
    np.testing.assert_allclose(gone.values[ROOT], found.values[ROOT], atol=1e-9)


def test_trades_are_at_the_new_nights_prices():
    levels = moved(0.01)
    found = two_nights(levels, old=[("A", "FUND", 10.0)], new=[("A", "FUND", 15.0), ("B", "FUND", 2.0)])
    assert terms(found, "A")["new_trades"] == pytest.approx(5 * levels["SPX"], rel=1e-12)
    assert terms(found, "B")["new_trades"] == terms(found, "B")["total"]
    sold = two_nights(levels, old=[("A", "FUND", 10.0), ("B", "BOND", 1.0)], new=[("B", "BOND", 1.0)])
    assert terms(sold, "A")["new_trades"] == pytest.approx(-10 * levels["SPX"], rel=1e-12)
    assert terms(sold, "A")["delta"] == pytest.approx(10 * (levels["SPX"] - START["SPX"]), rel=1e-9)


def test_a_new_market_price_is_a_calibration():
    old, new = {"BOND": {"market_price": 1000.0}}, {"BOND": {"market_price": 1010.0}}
    held = [("A", "BOND", 10.0)]
    found = terms(two_nights(START, old=held, old_changes=old, new_changes=new))
    # Quotes are clean: interest has accrued besides.
    row = make_book(held).instrument_rows["BOND"]
    gain = 100.0 + 10 * (accrued_interest(row, NEXT) - accrued_interest(row, AS_OF))
    assert found["total"] == pytest.approx(gain, rel=1e-9)
    assert found["theta"] + found["calibration"] == pytest.approx(gain, rel=1e-9)
    assert found["settled"] == pytest.approx(0.0, abs=1e-8)


def test_what_has_no_level_is_named_and_in_no_figure():
    levels = moved(0.01)
    del levels["OIL"]
    found = two_nights(levels)
    assert [row[:2] for row in found.excluded] == [("Fut", "OIL_FUT")]
    assert "OIL" in found.excluded[0][2]
    np.testing.assert_array_equal(found.values["Fut"], 0.0)
    whole = two_nights(moved(0.01))
    np.testing.assert_allclose(
        found.values[ROOT], whole.values[ROOT] - whole.values["Fut"], atol=1e-9 * gross(whole)
    )
    added = two_nights(moved(0.01), new=[*HELD, ("Z", "PUT", 1.0)], new_changes={"PUT": {"exercise": "odd"}})
    assert {row[0] for row in added.excluded} == {"Opt", "Z"}


def test_rows_follow_the_contract():
    table = two_nights(moved(0.01)).table()
    assert table.schema.equals(contract("result.explain").schema)
    assert table.num_rows == 5 * len(TERMS)
    assert set(table["from_date"].to_pylist()) == {AS_OF}


def test_nights_must_follow_each_other():
    with pytest.raises(UsageError, match="increasing"):
        two_nights(START, date=AS_OF)
