import datetime as dt

import numpy as np
import pyarrow as pa
import pytest

from acceleray.domain.book import Book
from acceleray.risk.resolve import aged, resolve
from acceleray.risk.valuation import position_pnl, position_values

from .conftest import AS_OF, make_book


def fund(market, lines, **changes):
    plain = make_book([("P", "FUND", 2.0)], **changes)
    holdings = pa.Table.from_pylist(
        [{"fund_id": "FUND", "instrument_id": name, "weight": weight} for name, weight in lines.items()]
    )
    return resolve(Book.from_tables(plain.positions, plain.instruments, holdings), market)


def test_a_fund_moves_with_its_holdings_and_keeps_the_rest_in_cash(market):
    found = fund(market, {"CASH_EUR": 0.5, "CALL": 0.2})
    assert found.reasons == (None,)
    levels = np.array(market.base)[None, :]
    levels[0, market.column("EURUSD")] *= 1.1
    pnl = position_pnl(found.priced, levels, market.base[None, :])[0, 0]
    # The call is in dollars and does not move with the euro.
    value = position_values(found.priced, market.base[None, :])[0, 0]
    assert value == pytest.approx(2.0 * market.base[market.column("SPX")], rel=1e-15)
    assert pnl == pytest.approx(value * 0.5 * 0.1, rel=1e-12)


def test_what_a_fund_holds_meets_its_market_price_and_ages(market):
    zero = {
        "frequency": 0,
        "coupon": 0.0,
        "maturity": dt.date(2019, 1, 7),
        "spread_factor": None,
        "market_price": 990.0,
    }
    found = fund(market, {"BOND": 1.0}, BOND=zero, FUND={"market_price": 50.0})
    assert set(found.residuals) == {"BOND", "FUND"}
    # The bond is repaid on the way: a gain from 990 to 1000.
    later = aged(found, market, AS_OF + dt.timedelta(days=14))
    gain = position_pnl(later, market.base[None, :], market.base[None, :])[0, 0]
    assert gain == pytest.approx(2.0 * 50.0 * 10.0 / 990.0, rel=1e-11)


@pytest.mark.parametrize(
    ("lines", "changes", "expected"),
    [
        ({"BOND": 0.7, "CALL": 0.5}, {}, "holdings: weights add up to 1.2"),
        ({"BOND": -0.1}, {}, "holdings: weights add up to -0.1"),
        ({"SPX_FUT": 0.5}, {}, "'SPX_FUT' is a future, which has no share of a value"),
        ({"FUND": 0.5}, {}, "'FUND' is a fund, which has no share of a value"),
        ({"BOND": 0.5}, {"BOND": {"coupon": None}}, "holding 'BOND': missing coupon"),
        ({"CALL": 0.5}, {"CALL": {"expiry": AS_OF, "strike": 1e6}}, "holding 'CALL' is worth 0"),
    ],
)
def test_says_why_a_fund_cannot_be_looked_through(market, lines, changes, expected):
    assert expected in fund(market, lines, **changes).reasons[0]
