import datetime as dt
import math

import numpy as np
import pytest

from acceleray.risk.resolve import aged, resolve
from acceleray.risk.valuation import position_pnl, position_values, unit_prices

from .conftest import AS_OF, make_book

ZERO = {"frequency": 0, "coupon": 0.0, "maturity": dt.date(2020, 12, 27), "discount_curve": "USD"}


def one(market, instrument_id, **fields):
    found = resolve(make_book([("P", instrument_id, 1.0)], **{instrument_id: fields}), market)
    assert found.reasons == (None,)
    return found


def test_the_spread_of_a_zero_bond_is_known(market):
    years = (ZERO["maturity"] - AS_OF).days / 365
    base = dict(zip(market.factor_ids, market.base, strict=True))
    rate = np.interp(years, [1.0, 2.0], [base["USD.1Y"], base["USD.2Y"]]) + base["SPREAD"]
    found = one(market, "BOND", **ZERO, market_price=1000.0 * math.exp(-(rate + 0.0123) * years))
    # A price of 1000 to the last bit, over two years.
    assert found.residuals["BOND"] == pytest.approx(0.0123, abs=1e-15)


def test_a_quote_is_clean_and_paid_at_settlement(market):
    quote = 987.5
    fields = {"market_price": quote, "settlement_days": 3, "calendar": "XNYS"}
    found = one(market, "BOND", **fields)
    spread = found.residuals["BOND"] + market.base[market.column("SPREAD")]
    rate = market.base[market.column("AAA")] + spread
    # Friday, three sessions with New Year's Day between; the last coupon was on 15 December, 182 days to go.
    settled = dt.date(2019, 1, 3)
    accrued = 25.0 * (settled - dt.date(2018, 12, 15)).days / 182
    paid_today = (quote + accrued) * math.exp(-rate * (settled - AS_OF).days / 365)
    value = position_values(found.priced, market.base[None, :])[0, 0]
    assert value == pytest.approx(paid_today, rel=1e-13)


def test_an_equity_a_fund_and_an_option_meet_their_prices(market):
    fund = one(market, "FUND", market_price=12.5)
    assert unit_prices(fund.priced, market.base[None, :])[0, 0] == 12.5
    put = one(market, "PUT", market_price=80.0)
    assert unit_prices(put.priced, market.base[None, :])[0, 0] == pytest.approx(80.0, rel=1e-13)


def test_a_residual_stays_when_the_book_ages(market):
    found = one(market, "BOND", **ZERO, market_price=930.0)
    later = aged(found, market, AS_OF + dt.timedelta(days=10))
    gain = position_pnl(later, market.base[None, :], market.base[None, :])[0, 0]
    years = (ZERO["maturity"] - AS_OF).days / 365
    base = dict(zip(market.factor_ids, market.base, strict=True))
    left = years - 10 / 365
    rate = np.interp(left, [1.0, 2.0], [base["USD.1Y"], base["USD.2Y"]])
    own = base["SPREAD"] + found.residuals["BOND"]
    expected = 1000.0 * math.exp(-(rate + own) * left) - 930.0
    assert gain == pytest.approx(expected, abs=1e-9)
