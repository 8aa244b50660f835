import dataclasses
import datetime as dt
import warnings

import numpy as np
import pytest

from acceleray.errors import InputDataError, UsageError
from acceleray.risk.resolve import base_currency_of, resolve
from acceleray.risk.valuation import position_values, unit_prices

from .conftest import AS_OF, make_book

SWAP = {
    "kind": "swap",
    "factor_id": None,
    "issue_date": dt.date(2018, 3, 15),
    "maturity": dt.date(2023, 3, 15),
    "face": 1e6,
    "frequency": 4,
    "day_count": "ACT/360",
    "fixed_rate": 0.03,
    "pay_receive": "pay",
    "last_fixing": 0.028,
    "discount_curve": "USD",
    "projection_curve": "USD",
}
FX_FORWARD = {
    "kind": "fx_forward",
    "factor_id": "EURUSD",
    "expiry": dt.date(2019, 6, 28),
    "strike": 1.2,
    "discount_curve": "USD",
    "foreign_curve": "USD",
}


def reason(market, instrument_id, positions=None, history_days=0, **fields):
    book = make_book(positions, **{instrument_id: fields})
    found = resolve(book, market, base_currency="USD", history_days=history_days)
    return dict(zip(found.book.instrument_ids, found.reasons, strict=True))[instrument_id]


def test_a_good_book_resolves_whole(book, market):
    found = resolve(book, market)
    assert found.reasons == (None,) * 8
    assert found.base_currency == "USD"
    used = {market.factor_ids[column] for column in found.priced.columns}
    # Nothing on the curve lasts longer than its first point, and a curve is flat before that.
    assert used == set(market.factor_ids) - {"USD.2Y"}


@pytest.mark.parametrize(
    ("instrument_id", "fields", "expected"),
    [
        ("FUND", {"factor_id": "NDX"}, "missing factor_id: unknown factor 'NDX'"),
        ("FUND", {"factor_id": None}, "missing factor_id"),
        ("FUND", {"factor_id": "VIX"}, "factor_id: factor 'VIX' is a implied_vol, expected spot"),
        ("FUND", {"kind": "swap"}, "missing issue_date"),
        ("FUND", {"kind": "warrant"}, "unsupported: kind 'warrant'"),
        ("FUND", {"currency": "JPY"}, "0 fx factors for currency JPY"),
        ("FUND", {"kind": "quantlib"}, "unsupported: kind 'quantlib'"),
        ("FUND", {"multiplier": np.nan}, "multiplier was nan, must be positive"),
        ("FUND", {"market_price": np.nan}, "market_price was nan"),
        ("FUND", {"market_price": -1.0}, "market_price was -1, must be positive"),
        ("FUND", SWAP | {"last_fixing": None}, "missing last_fixing"),
        ("FUND", SWAP | {"pay_receive": "both"}, "pay_receive was 'both', must be pay or receive"),
        ("FUND", SWAP | {"projection_curve": None}, "missing projection_curve"),
        ("FUND", SWAP | {"projection_curve": "LIBOR"}, "missing curve 'LIBOR'"),
        ("FUND", SWAP | {"calendar": "NOWHERE"}, "unknown calendar 'NOWHERE'"),
        ("FUND", SWAP | {"maturity": AS_OF}, "matured on 2018-12-28"),
        ("FUND", SWAP | {"market_price": 1.0}, "kind 'swap' has neither spread nor vol to meet it"),
        ("FUND", SWAP | {"kind": "floater", "last_fixing": None}, "missing last_fixing"),
        ("FUND", FX_FORWARD | {"currency": "EUR"}, "is the rate of EUR, the instrument's own currency"),
        ("FUND", FX_FORWARD | {"foreign_curve": None}, "missing foreign_curve"),
        ("FUND", FX_FORWARD | {"strike": -1.2}, "strike was -1.2, must be positive"),
        ("SPX_FUT", {"market_price": 2500.0}, "kind 'future' has neither spread nor vol to meet it"),
        ("SPX_FUT", {"dividend_yield": None}, "needs both discount_curve and dividend_yield"),
        ("PUT", {"surface": "SMILE"}, "both vol_factor and surface are given"),
        ("PUT", {"surface": "SMILE", "vol_factor": None}, "missing surface 'SMILE'"),
        ("PUT", {"on_future": "true"}, "only one of dividend_yield, foreign_curve and on_future"),
        ("PUT", {"option_type": "straddle"}, "unsupported: option_type 'straddle'"),
        ("PUT", {"strike": np.nan}, "strike was nan, must be positive"),
        ("PUT", {"market_price": 2401.0}, "market_price was 2401, the model gives"),
        ("PUT", {"exercise": "american"}, "unsupported: exercise 'american'"),
        ("PUT", {"expiry": dt.date(2018, 12, 27)}, "expired on 2018-12-27"),
        ("PUT", {"vol_factor": None}, "missing vol_factor"),
        ("PUT", {"strike": 0.0}, "strike was 0.0"),
        ("PUT", {"discount_curve": "GBP"}, "missing curve 'GBP'"),
        ("BOND", {"maturity": AS_OF}, "matured on 2018-12-28"),
        ("BOND", {"market_price": 1e9}, "market_price was 1e+09, the model gives"),
        ("BOND", {"day_count": "ACT/364"}, "unsupported: day_count 'ACT/364'"),
        ("BOND", {"spread_factor": "VIX"}, "spread_factor: factor 'VIX' is a implied_vol"),
        (
            "BOND",
            {"maturity": dt.date(2018, 12, 31), "settlement_days": 5, "market_price": 1000.0},
            "market_price: a trade settles on 2019-01-02: matured on 2018-12-31",
        ),
        ("BOND", {"frequency": 5}, "unsupported: 5 coupons a year"),
        ("BOND", {"coupon": None}, "missing coupon"),
    ],
)
def test_what_cannot_be_priced_is_recorded_with_its_reason(market, instrument_id, fields, expected):
    assert expected in reason(market, instrument_id, **fields)


def test_the_other_positions_stay(market):
    found = resolve(make_book(FUND={"factor_id": "NDX"}), market)
    assert [why is None for why in found.reasons].count(False) == 1
    assert found.priced.positions.tolist() == [1, 2, 3, 4, 5, 6, 7]


def test_a_level_that_is_too_old_is_not_used(market):
    ages = np.array(market.age_days)
    ages[market.column("OIL")] = 6
    aged = dataclasses.replace(market, age_days=ages)
    assert reason(aged, "OIL_FUT") == "stale: factor 'OIL' was 6 days old, at most 5"


def test_a_factor_without_a_value_or_with_too_short_a_history(market):
    levels = np.array(market.levels)
    levels[:400, market.column("OIL")] = np.nan
    young = dataclasses.replace(market, levels=levels)
    assert reason(young, "OIL_FUT", history_days=19) is None
    assert "the scenarios need" in reason(young, "OIL_FUT", history_days=20)
    levels[:, market.column("OIL")] = np.nan
    empty = dataclasses.replace(market, levels=levels)
    assert reason(empty, "OIL_FUT") == "factor 'OIL' has no value at 2018-12-28"


def test_stop_raises_with_the_reason(market):
    with pytest.raises(InputDataError, match="instrument 'FUND' cannot be priced: missing factor_id"):
        resolve(make_book(FUND={"factor_id": None}), market, on_failed="stop")


def test_a_quanto_option_is_not_priced_as_a_plain_one(market):
    factors = tuple(
        dataclasses.replace(factor, currency="USD") if factor.factor_id == "SPX" else factor
        for factor in market.factors
    )
    labelled = dataclasses.replace(market, factors=factors)
    assert reason(labelled, "PUT") is None
    assert "unsupported: quanto option in EUR on 'SPX'" in reason(labelled, "PUT", currency="EUR")


def test_a_missing_value_is_recorded_for_every_kind_that_needs_it(market):
    levels = np.array(market.levels)
    levels[:, market.column("USD.2Y")] = np.nan
    broken = dataclasses.replace(market, levels=levels)
    for kind, fields in (("swap", SWAP), ("fx_forward", FX_FORWARD)):
        assert reason(broken, "FUND", **fields) == "factor 'USD.2Y' has no value at 2018-12-28", kind
    assert reason(broken, "PUT") == "factor 'USD.2Y' has no value at 2018-12-28"
    assert reason(broken, "FUND") is None


def test_an_ambiguous_base_currency_must_be_named(market):
    book = make_book(FUND={"currency": "JPY"})
    with pytest.raises(UsageError, match=r"\['JPY', 'USD'\]"):
        base_currency_of(book, market)


def test_an_option_on_its_last_day_is_worth_its_intrinsic_value(market):
    found = resolve(make_book(PUT={"expiry": AS_OF}), market)
    price = unit_prices(found.priced, market.base[None, :])[0]
    spot = market.base[market.column("SPX")]
    row = found.priced.instrument_rows[found.book.instrument_ids.index("PUT")]
    assert price[row] == max(2400.0 - spot, 0.0)


@pytest.mark.parametrize(
    ("maturity", "frequency", "coupon"),
    [
        (dt.date(2028, 6, 15), 2, 0.05),
        (dt.date(2023, 8, 31), 2, 0.03),
        (dt.date(2025, 1, 30), 4, 0.04),
        (dt.date(2019, 12, 28), 1, 0.06),
        (dt.date(2026, 3, 1), 0, 0.0),
    ],
)
def test_bonds_equal_quantlib(market, maturity, frequency, coupon):
    with warnings.catch_warnings():
        # SWIG's own types have no module, which Python deprecates.
        warnings.simplefilter("ignore", DeprecationWarning)
        ql = pytest.importorskip("QuantLib")
    fields = {"maturity": maturity, "frequency": frequency, "coupon": coupon}
    # The curve with two points, so that rates are interpolated, plus the spread.
    book = make_book([("P", "BOND", 3.0)], BOND={**fields, "discount_curve": "USD"})
    found = resolve(book, market)
    ours = position_values(found.priced, market.base[None, :])[0, 0]

    def day(date):
        return ql.Date(date.day, date.month, date.year)

    today = day(AS_OF)
    ql.Settings.instance().evaluationDate = today
    base = {name: market.base[market.column(name)] for name in market.factor_ids}
    count, spread = ql.Actual365Fixed(), base["SPREAD"]
    nodes = [today, today + 365, today + 730, today + 20 * 365]
    zeros = [base["USD.1Y"], base["USD.1Y"], base["USD.2Y"], base["USD.2Y"]]
    curve = ql.YieldTermStructureHandle(
        ql.ZeroCurve(
            nodes, [zero + spread for zero in zeros], count, ql.NullCalendar(), ql.Linear(), ql.Continuous
        )
    )
    if frequency == 0:
        bond = ql.ZeroCouponBond(0, ql.NullCalendar(), 1000.0, day(maturity))
    else:
        schedule = ql.Schedule(
            ql.Date(1, 1, 2010)
            if maturity.day == 1
            else ql.Date(min(maturity.day, 28), maturity.month, 2010),
            day(maturity),
            ql.Period(12 // frequency, ql.Months),
            ql.NullCalendar(),
            ql.Unadjusted,
            ql.Unadjusted,
            ql.DateGeneration.Backward,
            False,
        )
        bond = ql.FixedRateBond(
            0, 1000.0, schedule, [coupon], ql.ActualActual(ql.ActualActual.ISMA, schedule)
        )
    bond.setPricingEngine(ql.DiscountingBondEngine(curve))
    # A coupon that is paid today is no longer in the price.
    assert ours == pytest.approx(3.0 * bond.NPV(), rel=1e-12)
