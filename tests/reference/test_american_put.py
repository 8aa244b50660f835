"""American puts against published values, the table against an independent finite-difference engine.

Shared reference case american-put: Longstaff and Schwartz (2001), Table 1, Bermudan puts with 50 exercise
dates a year, K = 40, r = 6 %. The true American value is 0.007 to 0.009 higher, says the case.
"""

import numpy as np
import pytest

from acceleray.risk.american import build_american
from acceleray.risk.quantlib_prices import american_option

ql = pytest.importorskip("QuantLib")

BERMUDAN = {
    (36, 0.2, 1): 4.478,
    (36, 0.2, 2): 4.8404,
    (36, 0.4, 1): 7.1014,
    (36, 0.4, 2): 8.5069,
    (38, 0.2, 1): 3.2504,
    (38, 0.2, 2): 3.7449,
}
STRIKE, RATE = 40.0, 0.06


def finite_differences(spot, vol, years, dates_per_year=None):
    """Price by QuantLib's grid engine; the American value, or the Bermudan one."""
    before = ql.Settings.instance().evaluationDate
    today = ql.Date(28, 12, 2018)
    ql.Settings.instance().evaluationDate = today
    try:
        count = ql.Actual365Fixed()
        process = ql.BlackScholesProcess(
            ql.QuoteHandle(ql.SimpleQuote(float(spot))),
            ql.YieldTermStructureHandle(ql.FlatForward(today, RATE, count)),
            ql.BlackVolTermStructureHandle(ql.BlackConstantVol(today, ql.NullCalendar(), vol, count)),
        )
        last = 365 * years
        if dates_per_year is None:
            exercise = ql.AmericanExercise(today, today + last)
        else:
            n = dates_per_year * years
            exercise = ql.BermudanExercise([today + round(last * i / n) for i in range(1, n + 1)])
        option = ql.VanillaOption(ql.PlainVanillaPayoff(ql.Option.Put, STRIKE), exercise)
        option.setPricingEngine(ql.FdBlackScholesVanillaEngine(process, 1000 * years, 800))
        return option.NPV()
    finally:
        ql.Settings.instance().evaluationDate = before


@pytest.mark.parametrize(("case", "expected"), BERMUDAN.items())
def test_bermudan_puts_as_published(case, expected):
    # The case's own tolerance; exercise dates are whole days here.
    assert finite_differences(*case, dates_per_year=50) == pytest.approx(expected, abs=0.002)


@pytest.mark.parametrize(("case", "expected"), BERMUDAN.items())
def test_american_puts_by_quantlib(case, expected):
    spot, vol, years = case
    levels = np.array([[spot], [vol], [RATE], [0.0]], dtype=np.float64)
    (price,) = american_option(strike=STRIKE, years=float(years), is_call=False)(levels)
    # The case's tolerance on both ends of its range.
    assert expected + 0.007 - 0.002 <= price <= expected + 0.009 + 0.002
    # A grid exercises at its time steps only: if 50 dates a year cost 0.009, 1,000 cost 0.00045.
    assert price == pytest.approx(finite_differences(*case), abs=0.0006)


def test_one_table_prices_every_case_of_an_expiry():
    # Little more than the cases, hence built in a second; property/test_american_tables.py has wide boxes.
    low, high = [np.log(34 / 40), 0.18, 0.05, 0.0], [np.log(46 / 40), 0.42, 0.07, 0.0]
    table = build_american(low, high, years=1.0, is_call=False, seed=1)
    assert table.shortfall is None
    cases = [case for case in BERMUDAN if case[2] == 1]
    spot, vol = (np.array(values, dtype=np.float64) for values in list(zip(*cases, strict=True))[:2])
    rate, dividend = np.full(spot.size, RATE), np.zeros(spot.size)
    value = table.value(spot, vol, rate, dividend, strike=STRIKE, years=1.0)
    exact = american_option(strike=STRIKE, years=1.0, is_call=False)(np.stack([spot, vol, rate, dividend]))
    assert value.n_exact == 0
    assert np.abs(value.prices - exact).max() <= table.max_error * STRIKE
    for price, case in zip(value.prices, cases, strict=True):
        assert BERMUDAN[case] + 0.005 <= price <= BERMUDAN[case] + 0.011
