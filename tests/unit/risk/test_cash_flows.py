import datetime as dt

import numpy as np
import pytest

from acceleray.risk.cash_flows import accrued_interest, cash_flows, settlement_date
from acceleray.risk.unpriceable import UnpriceableError

AS_OF = dt.date(2018, 12, 28)
HORIZON = dt.date(2019, 1, 14)

BOND = {
    "kind": "bond",
    "issue_date": dt.date(2016, 1, 7),
    "maturity": dt.date(2020, 1, 7),
    "coupon": 0.04,
    "frequency": 2,
    "face": 1000.0,
    "day_count": "ACT/ACT",
}
FLOATER = BOND | {"kind": "floater", "coupon": 0.01, "day_count": "ACT/360", "last_fixing": 0.02}
SWAP = FLOATER | {"kind": "swap", "fixed_rate": 0.03, "pay_receive": "pay", "coupon": None}


def days(times):
    return np.rint(times * 365).astype(int).tolist()


def after(*dates, start=AS_OF):
    return [(day - start).days for day in dates]


def test_a_bond_pays_half_its_coupon_twice_a_year_and_the_face_at_the_end():
    fixed = cash_flows(BOND, AS_OF, held_from=AS_OF).fixed
    assert days(fixed.times_years) == after(dt.date(2019, 1, 7), dt.date(2019, 7, 7), dt.date(2020, 1, 7))
    assert fixed.amounts.tolist() == [20.0, 20.0, 1020.0]
    assert cash_flows(BOND, AS_OF, held_from=AS_OF).floating.pay_times.size == 0


def test_what_is_paid_before_the_horizon_is_cash():
    fixed = cash_flows(BOND, HORIZON, held_from=AS_OF).fixed
    assert days(fixed.times_years) == [0, *after(dt.date(2019, 7, 7), dt.date(2020, 1, 7), start=HORIZON)]
    assert fixed.amounts.tolist() == [20.0, 20.0, 1020.0]


def test_a_bond_that_matures_before_the_horizon_is_its_face():
    row = BOND | {"maturity": dt.date(2019, 1, 7)}
    fixed = cash_flows(row, HORIZON, held_from=AS_OF).fixed
    assert (fixed.times_years.tolist(), fixed.amounts.tolist()) == ([0.0], [1020.0])


def test_a_coupon_paid_today_is_gone_and_the_next_one_is_fixed():
    today = dt.date(2019, 1, 7)
    flows = cash_flows(FLOATER, today, held_from=today)
    assert days(flows.floating.start_times) == [0, 181]
    assert flows.floating.fixed_rates[0] == 0.02
    assert np.isnan(flows.floating.fixed_rates[1])


def test_in_the_ex_coupon_period_the_next_coupon_is_the_sellers():
    row = BOND | {"ex_coupon_days": 14}
    # Ex from 2018-12-24: a holder from before gets the coupon, a buyer of the 28th does not.
    before = dt.date(2018, 12, 23)
    assert cash_flows(row, AS_OF, held_from=before).fixed.amounts.tolist() == [20.0, 20.0, 1020.0]
    assert cash_flows(row, AS_OF, held_from=AS_OF).fixed.amounts.tolist() == [20.0, 1020.0]
    assert accrued_interest(row, before) == pytest.approx(20.0 * 169 / 184, rel=1e-15)
    assert accrued_interest(row, AS_OF) == pytest.approx(-20.0 * 10 / 184, rel=1e-15)
    # The face is never ex.
    last = dt.date(2020, 1, 6)
    assert cash_flows(row, last, held_from=last).fixed.amounts.tolist() == [1000.0]


def test_accrued_interest_runs_to_the_settlement_date():
    row = BOND | {"settlement_days": 2, "calendar": "XNYS"}
    # Friday, then Monday the 31st and, after New Year's Day, Wednesday the 2nd.
    assert settlement_date(row, AS_OF) == dt.date(2019, 1, 2)
    assert accrued_interest(row, AS_OF) == pytest.approx(20.0 * 179 / 184, rel=1e-15)
    assert accrued_interest(FLOATER, AS_OF) == pytest.approx(1000.0 * 0.03 * 174 / 360, rel=1e-15)
    unborn = row | {"issue_date": dt.date(2019, 1, 7)}
    assert settlement_date(unborn, AS_OF) == dt.date(2019, 1, 7)
    assert accrued_interest(unborn, AS_OF) == 0.0
    assert accrued_interest(row, dt.date(2020, 1, 6)) == 0.0


def test_a_floater_is_fixed_once_and_projected_after():
    flows = cash_flows(FLOATER, AS_OF, held_from=AS_OF)
    assert flows.fixed.amounts.tolist() == [1000.0]
    floating = flows.floating
    ends = after(dt.date(2019, 1, 7), dt.date(2019, 7, 7), dt.date(2020, 1, 7))
    assert days(floating.pay_times) == ends
    assert days(floating.start_times)[1:] == ends[:-1]
    assert days(floating.end_times)[1:] == ends[1:]
    assert floating.accruals == pytest.approx(np.array([184, 181, 184]) / 360, rel=1e-15)
    assert floating.fixed_rates[0] == 0.02
    assert np.isnan(floating.fixed_rates[1:]).all()
    assert (floating.notionals.tolist(), floating.spreads.tolist()) == ([1000.0] * 3, [0.01] * 3)


def test_a_coupon_that_begins_before_the_horizon_gets_the_horizons_rate_for_its_length():
    floating = cash_flows(FLOATER, HORIZON, held_from=AS_OF).floating
    # Fixed at the book's date and paid by the horizon; begun on 7 January without a fixing; not begun.
    assert floating.fixed_rates[0] == 0.02
    assert np.isnan(floating.fixed_rates[1:]).all()
    ends = after(dt.date(2019, 7, 7), dt.date(2020, 1, 7), start=HORIZON)
    assert days(floating.pay_times) == [0, *ends]
    assert days(floating.start_times)[1:] == [0, ends[0]]
    assert days(floating.end_times)[1:] == [181, ends[1]]
    assert floating.accruals == pytest.approx(np.array([184, 181, 184]) / 360, rel=1e-15)


def test_a_coupon_between_trade_and_settlement_is_not_fixed_yet():
    floating = cash_flows(FLOATER, AS_OF, held_from=dt.date(2019, 1, 8)).floating
    assert np.isnan(floating.fixed_rates).all()


def test_a_floater_without_spread_pays_the_rate_alone():
    flows = cash_flows(FLOATER | {"coupon": None}, AS_OF, held_from=AS_OF).floating
    assert flows.spreads.tolist() == [0.0] * 3
    accrued = accrued_interest(FLOATER | {"coupon": None}, AS_OF)
    assert accrued == pytest.approx(1000.0 * 0.02 * 174 / 360, rel=1e-15)


def test_the_sides_of_a_swap():
    pays, receives = (
        cash_flows(SWAP | {"pay_receive": side}, AS_OF, held_from=AS_OF) for side in ("pay", "receive")
    )
    expected = 1000.0 * 0.03 * np.array([184, 181, 184]) / 360
    assert pays.fixed.amounts == pytest.approx(-expected, rel=1e-15)
    assert receives.fixed.amounts == pytest.approx(expected, rel=1e-15)
    assert pays.floating.notionals.tolist() == [1000.0] * 3
    assert receives.floating.notionals.tolist() == [-1000.0] * 3
    assert pays.floating.spreads.tolist() == [0.0] * 3


def test_a_maturity_on_a_weekend_is_paid_after_it():
    row = BOND | {"maturity": dt.date(2018, 12, 29), "calendar": "XNYS"}
    assert days(cash_flows(row, AS_OF, held_from=AS_OF).fixed.times_years) == [3]
    assert cash_flows(row, AS_OF, held_from=dt.date(2018, 12, 30)).fixed.amounts.size == 1


@pytest.mark.parametrize(
    ("row", "reason"),
    [
        (BOND | {"maturity": dt.date(2018, 6, 30)}, "matured on 2018-06-30"),
        (BOND | {"maturity": AS_OF}, "matured on 2018-12-28"),
        (BOND | {"maturity": dt.date(2016, 1, 7)}, "maturity 2016-01-07 is not after issue_date 2016-01-07"),
        (BOND | {"maturity": None}, "missing maturity"),
        (BOND | {"coupon": None}, "missing coupon"),
        (BOND | {"coupon": float("nan")}, "coupon was nan"),
        (BOND | {"frequency": 5}, "unsupported: 5 coupons a year"),
        (BOND | {"frequency": 0}, "coupon was 0.04 at frequency 0"),
        (BOND | {"day_count": "30E/360"}, "unsupported: day_count '30E/360'"),
        (BOND | {"calendar": "NOWHERE"}, "unknown calendar 'NOWHERE'"),
        (BOND | {"settlement_days": -1}, "settlement_days was -1, must be from 0 to 60"),
        (BOND | {"kind": "equity"}, "unsupported: kind 'equity' has no cash flows"),
        (FLOATER | {"last_fixing": None}, "missing last_fixing"),
        (FLOATER | {"frequency": 0}, "frequency was 0, a floater needs coupons"),
        (SWAP | {"fixed_rate": None}, "missing fixed_rate"),
        (SWAP | {"pay_receive": "both"}, "pay_receive was 'both', must be pay or receive"),
        (SWAP | {"ex_coupon_days": 3}, "a swap has no ex-coupon days"),
    ],
)
def test_says_why_there_are_no_flows(row, reason):
    with pytest.raises(UnpriceableError) as found:
        cash_flows(row, AS_OF, held_from=AS_OF)
    assert str(found.value) == reason


def test_a_zero_needs_no_coupon_and_a_new_floater_no_fixing():
    fixed = cash_flows(BOND | {"frequency": 0, "coupon": None}, AS_OF, held_from=AS_OF).fixed
    assert fixed.amounts.tolist() == [1000.0]
    unborn = FLOATER | {"issue_date": dt.date(2019, 1, 7), "last_fixing": None}
    assert np.isnan(cash_flows(unborn, AS_OF, held_from=AS_OF).floating.fixed_rates).all()


def test_accrued_interest_has_reasons_too():
    with pytest.raises(UnpriceableError, match="a swap is not quoted with accrued interest"):
        accrued_interest(SWAP, AS_OF)
    with pytest.raises(UnpriceableError, match="matured on 2018-12-28"):
        accrued_interest(BOND | {"maturity": AS_OF}, AS_OF)
