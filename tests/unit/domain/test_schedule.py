import datetime as dt

import pytest

from acceleray.domain.business_days import business_days
from acceleray.domain.schedule import add_months, coupon_periods


def ends(*arguments, **options):
    return [period.end for period in coupon_periods(*arguments, **options)]


def test_the_31st_comes_back_after_a_short_month():
    found = ends(dt.date(2018, 11, 30), dt.date(2019, 8, 31), 4)
    assert found == [dt.date(2019, 2, 28), dt.date(2019, 5, 31), dt.date(2019, 8, 31)]


def test_month_ends_only_when_asked_for():
    issue, maturity = dt.date(2018, 6, 30), dt.date(2019, 6, 30)
    assert ends(issue, maturity, 2) == [dt.date(2018, 12, 30), maturity]
    assert ends(issue, maturity, 2, end_of_month=True) == [dt.date(2018, 12, 31), maturity]


def test_a_short_first_coupon_knows_its_regular_period():
    first, second = coupon_periods(dt.date(2019, 3, 1), dt.date(2020, 1, 15), 2)
    assert (first.start, first.end, first.regular_start) == (
        dt.date(2019, 3, 1),
        dt.date(2019, 7, 15),
        dt.date(2019, 1, 15),
    )
    assert first.years("ACT/ACT") == (dt.date(2019, 7, 15) - dt.date(2019, 3, 1)).days / (181 * 2)
    assert second.start == second.regular_start == first.end


def test_payments_roll_and_ex_dates_count_sessions():
    options = {"calendar": business_days("XLON"), "ex_coupon_days": 7}
    (period,) = coupon_periods(dt.date(2018, 6, 22), dt.date(2018, 12, 22), 2, **options)
    # The 22nd was a Saturday; seven sessions before Monday the 24th.
    assert (period.end, period.payment) == (dt.date(2018, 12, 22), dt.date(2018, 12, 24))
    assert period.ex_date == dt.date(2018, 12, 13)
    assert period.is_ex(dt.date(2018, 12, 13))
    assert not period.is_ex(dt.date(2018, 12, 12))


def test_what_is_paid_is_left_out():
    arguments = (dt.date(2010, 1, 15), dt.date(2020, 1, 15), 1)
    everything = coupon_periods(*arguments)
    assert coupon_periods(*arguments, unpaid_after=dt.date(2018, 1, 14)) == everything[-3:]
    assert coupon_periods(*arguments, unpaid_after=dt.date(2018, 1, 15)) == everything[-2:]
    assert coupon_periods(*arguments, unpaid_after=dt.date(2020, 1, 15)) == ()


def test_zero_coupons_and_wrong_arguments():
    issue, maturity = dt.date(2018, 1, 1), dt.date(2019, 1, 1)
    assert coupon_periods(issue, maturity, 0) == ()
    with pytest.raises(ValueError, match="unsupported: 5 coupons a year"):
        coupon_periods(issue, maturity, 5)
    with pytest.raises(ValueError, match="maturity 2018-01-01 is not after the issue date 2019-01-01"):
        coupon_periods(maturity, issue, 1)


def test_months_are_added_over_new_year():
    assert add_months(dt.date(2019, 1, 31), -2) == dt.date(2018, 11, 30)
    assert add_months(dt.date(2019, 11, 30), 3, end_of_month=True) == dt.date(2020, 2, 29)
