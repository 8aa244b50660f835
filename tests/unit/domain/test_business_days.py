import datetime as dt

import pytest

from acceleray.domain.business_days import EVERY_DAY, business_days

SATURDAY = dt.date(2018, 12, 22)
CHRISTMAS_EVE, CHRISTMAS = dt.date(2018, 12, 24), dt.date(2018, 12, 25)


def test_following_stays_on_a_session_and_leaves_a_holiday():
    days = business_days("XNYS")
    assert days.following(CHRISTMAS_EVE) == CHRISTMAS_EVE
    assert days.following(CHRISTMAS) == dt.date(2018, 12, 26)
    assert (days.includes(CHRISTMAS_EVE), days.includes(CHRISTMAS)) == (True, False)


@pytest.mark.parametrize(
    ("day", "n_days", "expected"),
    [
        (SATURDAY, 0, CHRISTMAS_EVE),
        (SATURDAY, 1, CHRISTMAS_EVE),
        (SATURDAY, -1, dt.date(2018, 12, 21)),
        (CHRISTMAS_EVE, 1, dt.date(2018, 12, 26)),
        (CHRISTMAS_EVE, -1, dt.date(2018, 12, 21)),
        (CHRISTMAS_EVE, 2, dt.date(2018, 12, 27)),
    ],
)
def test_days_are_counted_without_holidays(day, n_days, expected):
    assert business_days("XNYS").advance(day, n_days) == expected


def test_without_a_calendar_every_day_counts():
    assert EVERY_DAY.following(SATURDAY) == SATURDAY
    assert EVERY_DAY.advance(SATURDAY, -7) == dt.date(2018, 12, 15)
    assert EVERY_DAY.includes(CHRISTMAS)


def test_outside_the_tabulated_years_only_weekends_are_known():
    days = business_days("XNYS")
    assert days.following(dt.date(2120, 12, 25)) == dt.date(2120, 12, 25)
    assert days.following(dt.date(2120, 12, 28)) == dt.date(2120, 12, 30)
    assert days.following(dt.date(1950, 1, 1)) == dt.date(1950, 1, 2)
    with pytest.raises(ValueError, match="calendar XNYS: 2200-01-01 is too far away"):
        days.following(dt.date(2200, 1, 1))


def test_names_a_calendar_that_does_not_exist():
    with pytest.raises(ValueError, match="unknown calendar 'NOWHERE'"):
        business_days("NOWHERE")
