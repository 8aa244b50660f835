"""American options and products of the user as instruments of a book."""

import datetime as dt
import sys

import numpy as np
import pytest
from tests.slow_book import american, asian, slow_book

from acceleray.domain.scenario import MonteCarlo
from acceleray.errors import InputDataError
from acceleray.numerics.pricing import european_deltas
from acceleray.risk.market import revalue
from acceleray.risk.quantlib_prices import american_option
from acceleray.risk.resolve import aged, resolve
from acceleray.risk.valuation import position_values, unit_exposures, unit_prices

ql = pytest.importorskip("QuantLib")


def price_of(market, row, folder=None):
    found = resolve(slow_book([row], folder), market, base_currency="USD")
    assert found.reasons == (None,)
    return float(unit_prices(found.priced, market.base[None, :])[0, 0])


def level(market, name):
    return market.base[market.column(name)]


def test_values_are_quantlibs(market):
    spot, vol, rate = (level(market, name) for name in ("SPX", "VIX", "USD.1Y"))
    years = 182 / 365

    def direct(*levels, **terms):
        return american_option(years=years, **terms)(np.array(levels)[:, None])[0]

    assert price_of(market, american("PUT")) == direct(
        spot, vol, rate, level(market, "Q"), strike=2500.0, is_call=False
    )
    oil = american("OIL", factor_id="OIL", strike=50.0, on_future="true", dividend_yield=None)
    assert price_of(market, oil) == direct(
        level(market, "OIL"), vol, rate, strike=50.0, is_call=False, on_future=True
    )
    euro = american("EUR", factor_id="EURUSD", strike=1.15, foreign_curve="AAA", dividend_yield=None)
    assert price_of(market, euro) == direct(
        level(market, "EURUSD"), vol, rate, level(market, "AAA"), strike=1.15, is_call=False
    )


def test_a_call_without_dividends_is_european(market):
    call = american("CALL", option_type="call", dividend_yield=None)
    # A rate above zero and no yield: exercise never pays. QuantLib's own error is 4e-7 of the strike.
    european = price_of(market, call | {"exercise": "european"})
    assert price_of(market, call) == pytest.approx(european, abs=4e-7 * 2500)


def test_exposure_is_delta_times_spot(market):
    found = resolve(slow_book([american("CALL", option_type="call", dividend_yield=None)]), market)
    exposure = unit_exposures(found.priced, market.base[None, :])[0, 0]
    spot = level(market, "SPX")
    inputs = (spot, 2500.0, level(market, "USD.1Y"), 0.0, level(market, "VIX"), 182 / 365, True)
    delta = european_deltas(*(np.array([[each]]) for each in inputs))[0, 0]
    # The bump's own: QuantLib's 4e-7 over twice 2e-3, and a third derivative.
    assert exposure / spot == pytest.approx(delta, abs=3e-4)


def test_a_market_price_is_met_by_a_residual_vol(market):
    own = price_of(market, american("PUT"))
    quoted = american("PUT", market_price=own + 20.0)
    found = resolve(slow_book([quoted]), market, base_currency="USD")
    assert found.residuals["PUT"] > 0
    assert price_of(market, quoted) == pytest.approx(own + 20.0, rel=1e-12)
    assert position_values(found.priced, market.base[None, :])[0, 0] == pytest.approx(30 * (own + 20.0))


def test_an_option_that_expires_before_the_horizon_is_worth_its_payoff(market):
    found = resolve(slow_book([american("PUT", strike=2600.0)]), market, base_currency="USD")
    later = aged(found, market, dt.date(2019, 7, 1))
    paid = later.then.prices(market.base[:, None], 0, 1)[0, 0]
    assert paid == 2600.0 - level(market, "SPX")


def test_a_product_sees_the_date_that_it_is_valued_at(market, tmp_path):
    book = slow_book([asian()], tmp_path)
    book.functions["asians.option"] = _dated
    found = resolve(book, market, base_currency="USD")
    later = aged(found, market, dt.date(2019, 1, 2))
    assert found.priced.now.prices(market.base[:, None], 0, 1)[0, 0] == dt.date(2018, 12, 28).toordinal()
    assert later.then.prices(market.base[:, None], 0, 1)[0, 0] == dt.date(2019, 1, 2).toordinal()


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({"function": "asians.broken"}, "ASIAN: QuantLib could not price it at {'SPX': "),
        ({"depends_on": "SPX SPX"}, "depends_on was 'SPX SPX', expected factors, each of them once"),
        ({"depends_on": " "}, "depends_on was ' ', expected factors, each of them once"),
        ({"depends_on": "SPX GONE"}, "missing depends_on: unknown factor 'GONE'"),
        ({"market_price": 5.0}, "market_price: kind 'quantlib' has neither spread nor vol to meet it"),
    ],
)
def test_what_cannot_be_priced_costs_one_position(market, tmp_path, fields, expected):
    book = slow_book([asian(**fields), american("PUT")], tmp_path)
    reasons = dict(zip(book.instrument_ids, resolve(book, market, base_currency="USD").reasons, strict=True))
    assert expected in reasons["ASIAN"]
    assert reasons["PUT"] is None


def test_a_function_that_does_not_exist_stops_before_anything_runs(tmp_path):
    with pytest.raises(InputDataError, match=r"function 'asians\.nothing'"):
        slow_book([asian(function="asians.nothing")], tmp_path)
    with pytest.raises(InputDataError, match=r"function 'asians': expected module\.function"):
        slow_book([asian(function="asians")], tmp_path)


def test_without_quantlib_the_reason_names_the_command(market, tmp_path, monkeypatch):
    book = slow_book([asian(), american("PUT")], tmp_path)
    monkeypatch.setitem(sys.modules, "QuantLib", None)
    for why in resolve(book, market, base_currency="USD").reasons:
        assert "pip install 'acceleray[quantlib]'" in why


def test_a_scenario_does_not_depend_on_its_place(market):
    book = slow_book([american("PUT")])
    pnl = revalue(book, market, MonteCarlo(n_paths=10_000, seed=4))
    whole = pnl.job.plan.levels(0).T
    prices = pnl.job.book.then.prices(np.ascontiguousarray(whole), 0, 1)
    part = pnl.job.book.then.prices(np.ascontiguousarray(whole[:, 700:703]), 0, 1)
    assert (prices[:, 700:703] == part).all()


def _dated(as_of, levels, instrument):
    stock = ql.Stock(ql.QuoteHandle(ql.SimpleQuote(float(as_of.toordinal()))))
    return stock, None
