import dataclasses
import datetime as dt

import numpy as np
import pytest

from acceleray.risk.families import FloatingFlows, FxForwards
from acceleray.risk.resolve import resolve
from acceleray.risk.valuation import position_pnl, position_values, unit_exposures

from .conftest import AS_OF, make_book
from .test_resolve import FX_FORWARD, SWAP

FLOATER = SWAP | {"kind": "floater", "coupon": 0.002, "spread_factor": "SPREAD"}
FIELDS = {
    "FUND": FX_FORWARD,
    "CALL": FLOATER,
    "OIL_FUT": SWAP,
    "PUT": SWAP | {"pay_receive": "receive", "maturity": dt.date(2028, 9, 15)},
}
NAMES = ("BOND", *FIELDS)


@pytest.fixture
def found(market):
    fields = {name: dict(row, multiplier=1.0) for name, row in FIELDS.items()}
    return resolve(make_book([("P", name, 1.0) for name in NAMES], **fields), market)


def test_some_rows_are_the_rows_of_all(found, market):
    levels = np.ascontiguousarray(market.levels[-40:].T)
    for family in found.priced.now.families:
        whole = family.prices(levels, 0, family.count)
        for first in range(family.count):
            part = family.prices(levels, first, first + 1)
            np.testing.assert_array_equal(part, whole[first : first + 1])


def test_scenarios_do_not_see_each_other(found, market):
    levels = np.ascontiguousarray(market.levels[-40:].T)
    for family in found.priced.now.families:
        whole = family.prices(levels, 0, family.count)
        for at in (0, 17, 39):
            alone = family.prices(np.ascontiguousarray(levels[:, [at]]), 0, family.count)
            np.testing.assert_array_equal(alone, whole[:, [at]])


def test_names_every_factor_that_moves_a_price(found, market):
    base = market.base[None, :]
    before = position_values(found.priced, base)
    used = set(found.priced.columns.tolist())
    assert used == {market.column(name) for name in ("AAA", "EURUSD", "SPREAD", "USD.1Y", "USD.2Y")}
    for column in set(range(market.base.size)) - used:
        moved = np.array(base)
        moved[0, column] *= 1.5
        np.testing.assert_array_equal(position_values(found.priced, moved), before)


def test_a_floater_on_one_curve_at_a_fixing_is_worth_its_face(market):
    # Issued today: all coupons are projected on the curve that discounts them.
    row = FLOATER | {"coupon": None, "spread_factor": None, "issue_date": AS_OF, "last_fixing": 0.0}
    row["maturity"] = dt.date(2023, 12, 28)
    today = resolve(make_book([("P", "CALL", 1.0)], CALL=dict(row, multiplier=1.0)), market)
    (family,) = today.priced.now.families
    assert isinstance(family, FloatingFlows)
    levels = market.base[:, None]
    # The first rate is fixed today: project it too.
    floating = dataclasses.replace(family, fixed_rates=np.full_like(family.fixed_rates, np.nan))
    assert floating.prices(levels, 0, 1)[0, 0] == pytest.approx(1e6, rel=1e-14)


def test_payer_and_receiver_cancel(market):
    fields = {"OIL_FUT": SWAP, "PUT": SWAP | {"pay_receive": "receive"}}
    book = make_book(
        [("P", name, 1.0) for name in fields],
        **{name: dict(row, multiplier=1.0) for name, row in fields.items()},
    )
    pair = resolve(book, market)
    values = position_values(pair.priced, market.base[None, :])[:, 0]
    # A market value, not a future's zero.
    assert abs(values[0]) > 1.0
    assert values[0] == -values[1]


def test_the_exposure_of_a_forward_is_the_foreign_currency_it_buys(found, market):
    exposure = unit_exposures(found.priced, market.base[None, :])[0]
    row = found.instrument_ids.index("FUND")
    assert isinstance(found.priced.now.families[0], FxForwards)
    spot, step = market.base[market.column("EURUSD")], 1e-5
    levels = np.array(market.base)[None, :]
    levels[0, market.column("EURUSD")] = spot * (1 + step)
    at = found.book.instrument_ids.index("FUND")
    gain = position_pnl(found.priced, levels, market.base[None, :])[at, 0]
    # Linear in the rate: only rounding over the step.
    assert exposure[row] == pytest.approx(gain / step, rel=1e-9)
