import datetime as dt

import pytest

from acceleray.domain.day_count import year_fraction


# ISDA (2006), Definitions, section 4.16(f); the February cases tell Bond Basis from the US and 30E variants.
@pytest.mark.parametrize(
    ("start", "end", "days"),
    [
        ((2007, 1, 15), (2007, 1, 30), 15),
        ((2007, 1, 15), (2007, 7, 15), 180),
        ((2007, 9, 30), (2008, 3, 31), 180),
        ((2007, 9, 29), (2008, 3, 31), 182),
        ((2007, 8, 31), (2008, 2, 29), 179),
        ((2008, 2, 29), (2008, 8, 31), 182),
        ((2007, 1, 31), (2007, 2, 28), 28),
        ((2007, 1, 31), (2007, 1, 31), 0),
    ],
)
def test_thirty_days_a_month(start, end, days):
    assert year_fraction(dt.date(*start), dt.date(*end), "30/360") * 360 == pytest.approx(days, abs=1e-12)


def test_calendar_days():
    start, end = dt.date(2020, 2, 1), dt.date(2021, 2, 1)
    assert year_fraction(start, end, "ACT/360") == 366 / 360
    assert year_fraction(start, end, "ACT/365F") == 366 / 365


def test_every_regular_coupon_is_the_same():
    start, middle, end = dt.date(2020, 1, 15), dt.date(2020, 3, 1), dt.date(2020, 7, 15)
    regular = {"regular_start": start, "regular_end": end, "frequency": 2}
    assert year_fraction(start, end, "ACT/ACT", **regular) == 0.5
    # 46 of 182 days of half a year.
    assert year_fraction(start, middle, "ACT/ACT", **regular) == 46 / 364


def test_says_what_it_cannot_count():
    start, end = dt.date(2020, 1, 15), dt.date(2020, 7, 15)
    with pytest.raises(ValueError, match="ended on 2020-01-15, before it began on 2020-07-15"):
        year_fraction(end, start, "ACT/360")
    with pytest.raises(ValueError, match="needs the regular coupon period"):
        year_fraction(start, end, "ACT/ACT")
    with pytest.raises(ValueError, match="2020-01-15 to 2020-07-15 is not within the regular period"):
        year_fraction(start, end, "ACT/ACT", regular_start=start, regular_end=start, frequency=2)
    with pytest.raises(ValueError, match="30E/360"):
        year_fraction(start, end, "30E/360")
