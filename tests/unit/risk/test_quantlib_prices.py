import datetime as dt
import sys

import numpy as np
import pytest

from acceleray.errors import NumericalError, UsageError
from acceleray.numerics.pricing import european_prices
from acceleray.risk.quantlib_prices import american_option, evaluation_date, product_price

ql = pytest.importorskip("QuantLib")

AS_OF = dt.date(2018, 12, 28)


def bond(as_of, levels, instrument):
    today = ql.Date(as_of.day, as_of.month, as_of.year)
    curve = ql.FlatForward(today, levels["RATE"], ql.Actual365Fixed())
    engine = ql.DiscountingBondEngine(ql.YieldTermStructureHandle(curve))
    maturity = today + ql.Period(instrument["years"], ql.Years)
    return ql.ZeroCouponBond(0, ql.NullCalendar(), 100.0, maturity), engine


def test_a_missing_quantlib_names_the_command(monkeypatch):
    monkeypatch.setitem(sys.modules, "QuantLib", None)
    with pytest.raises(UsageError, match=r"pip install 'acceleray\[quantlib\]'"):
        american_option(strike=100.0, years=1.0, is_call=True)


def test_a_call_without_dividends_is_never_exercised():
    levels = np.array([[80.0, 100.0, 130.0], [0.2] * 3, [0.03] * 3, [0.0] * 3])
    one = np.ones(3)
    european = european_prices(levels[0], 100.0 * one, levels[2], levels[3], levels[1], one, one > 0)
    found = american_option(strike=100.0, years=1.0, is_call=True)(levels)
    np.testing.assert_allclose(found, european, atol=1e-9)


def test_a_yield_below_a_negative_rate_is_priced_by_finite_differences():
    levels = np.array([[100.0], [0.2], [-0.01], [-0.02]])
    (found,) = american_option(strike=100.0, years=1.0, is_call=False)(levels)
    # A 4,000 x 4,000 grid gives 7.625262; 400 x 400 is within 1e-5 of the strike.
    assert found == pytest.approx(7.625262, abs=1e-3)
    mirrored = np.array([[100.0], [0.2], [-0.02], [-0.01]])
    assert american_option(strike=100.0, years=1.0, is_call=True)(mirrored)[0] == pytest.approx(
        found, abs=1e-9
    )


def test_on_a_future_the_yield_is_the_rate():
    levels = np.array([[95.0], [0.25], [0.04]])
    on_future = american_option(strike=100.0, years=0.5, is_call=False, on_future=True)(levels)
    on_spot = american_option(strike=100.0, years=0.5, is_call=False)(np.vstack([levels, levels[2:]]))
    assert on_future[0] == on_spot[0]


def test_on_the_last_day_it_is_worth_its_intrinsic_value():
    levels = np.array([[90.0, 110.0], [0.2, 0.2], [0.0, 0.0], [0.0, 0.0]])
    assert american_option(strike=100.0, years=0.0, is_call=False)(levels).tolist() == [10.0, 0.0]
    assert american_option(strike=100.0, years=0.0, is_call=True)(levels).tolist() == [0.0, 10.0]


@pytest.mark.parametrize(
    ("levels", "complaint"),
    [
        ([np.nan, 0.2, 0.0, 0.0], "OPT1: American option: spot was not finite"),
        ([-1.0, 0.2, 0.0, 0.0], "OPT1: American option: spot was not positive"),
        ([1.0, 0.0, 0.0, 0.0], "OPT1: American option: vol_annual was not positive"),
    ],
)
def test_bad_levels_are_named(levels, complaint):
    price = american_option(strike=100.0, years=1.0, is_call=False, instrument_id="OPT1")
    with pytest.raises(NumericalError, match=complaint):
        price(np.array(levels)[:, None])


def test_a_product_is_priced_on_its_day_and_the_day_before_comes_back():
    price = product_price(
        bond, as_of=AS_OF, factor_ids=["RATE"], instrument={"years": 2}, instrument_id="ZERO"
    )
    with evaluation_date(dt.date(2020, 1, 2)):
        found = price(np.array([[0.0, 0.05]]))
        assert ql.Settings.instance().evaluationDate == ql.Date(2, 1, 2020)
    # 2018-12-28 to 2020-12-28 is 731 days.
    np.testing.assert_allclose(found, 100.0 * np.exp([0.0, -0.05 * 731 / 365]), rtol=1e-12)


def test_what_goes_wrong_in_a_product_names_it_and_the_levels():
    price = product_price(bond, as_of=AS_OF, factor_ids=["RATE"], instrument={}, instrument_id="ZERO")
    with pytest.raises(
        NumericalError, match=r"ZERO: QuantLib could not price it at {'RATE': 0\.1}: KeyError"
    ):
        price(np.array([[0.1]]))
