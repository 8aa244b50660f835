"""How the page writes numbers, dates and what is missing."""

import math

import pytest

from acceleray.reporting import format as fmt

NARROW = "\u202f"
MINUS = "\u2212"
MILLION = fmt.scale_for([4e6])
THOUSAND = fmt.scale_for([4e4])


class TestAmounts:
    def test_the_largest_of_a_group_sets_the_unit(self):
        assert [fmt.amount(x, fmt.scale_for([4.12e6, 31e3])) for x in (4.12e6, 31e3)] == ["4.12m", "0.03m"]
        assert fmt.amount(41_300.0) == "41.3k"
        assert fmt.amount(2.345e9) == "2.35bn"
        assert fmt.amount(87.0) == "87"

    def test_minus_is_the_minus_sign_and_zero_has_no_sign(self):
        assert fmt.amount(-4.12e6, signed=True) == f"{MINUS}4.12m"
        assert fmt.amount(4.12e6, signed=True) == "+4.12m"
        assert fmt.amount(-1.0, MILLION, signed=True) == "0.00m"
        assert fmt.amount(0.0, signed=True) == "0"

    @pytest.mark.parametrize(
        ("half_width", "value", "written"),
        [
            (0.07e6, "4.12m", "4.05 – 4.19"),
            (0.3e6, "4.1m", "3.8 – 4.4"),
            (6e6, "4m", f"{MINUS}2 – 10"),
        ],
    )
    def test_no_more_decimals_than_the_interval_supports(self, half_width, value, written):
        low, high = 4.12e6 - half_width, 4.12e6 + half_width
        assert fmt.amount(4.12e6, low=low, high=high) == value
        assert fmt.interval(low, high, MILLION) == written

    def test_a_one_sided_interval_and_the_reason_for_none(self):
        assert fmt.interval(3.31e6, None, MILLION) == "above 3.31"
        assert fmt.interval(None, 3.31e6, MILLION) == "below 3.31"
        assert fmt.interval(None, None, MILLION, note="exact, no sampling") == "exact, no sampling"

    def test_missing_is_never_zero(self):
        assert fmt.amount(None) == "n/a"
        assert fmt.percent(None) == fmt.count(None) == fmt.ratio(None) == "n/a"
        assert fmt.probability_value(None) == fmt.day(None) == "n/a"


class TestOtherNumbers:
    def test_percent_and_level_stand_after_a_narrow_space(self):
        assert fmt.percent(0.987, 1) == f"98.7{NARROW}%"
        assert fmt.percent(-0.043, signed=True) == f"{MINUS}4{NARROW}%"
        assert [fmt.level(x) for x in (0.99, 0.975, 0.999, 0.95)] == [
            f"{x}{NARROW}%" for x in ("99", "97.5", "99.9", "95")
        ]

    def test_thousands_and_p_values(self):
        assert fmt.count(1284) == "1,284"
        assert fmt.probability_value(0.004) == f"<{NARROW}0.01"
        assert fmt.probability_value(0.375) == "0.38"
        assert fmt.ratio(1.05) == "1.05×"

    def test_plurals(self):
        assert fmt.plural(1, "breach", "breaches") == "1 breach"
        assert fmt.plural(0, "day") == "0 days"


class TestDatesAndTimes:
    def test_days(self):
        assert fmt.day("2026-11-19") == "Thu 19 Nov 2026"
        assert fmt.short_day("2018-12-28") == "28 Dec 2018"

    def test_instants_are_told_on_the_exchanges_clock(self):
        assert fmt.clock("2018-12-31T14:30:00+00:00", "America/New_York") == "09:30"
        assert fmt.local_day("2018-12-31T02:30:00+00:00", "America/New_York") == "2018-12-30"

    def test_an_instant_without_a_zone_is_refused(self):
        with pytest.raises(ValueError, match="has no zone"):
            fmt.clock("2018-12-31T14:30:00", "America/New_York")

    def test_durations(self):
        assert fmt.duration(2592.0) == f"43{NARROW}min 12{NARROW}s"
        assert fmt.duration(12.44) == f"12.4{NARROW}s"
        assert fmt.duration(10_140.0) == f"2{NARROW}h 49{NARROW}min"


class TestLargestRemainder:
    def test_rounded_parts_add_up_to_the_rounded_total(self):
        values = [1.534, 1.244, 0.791, 0.487, -0.192, -0.264]
        shown = fmt.largest_remainder(values, math.fsum(values), 2)
        # A hundredth is the last decimal: sums of a few of them are exact to far less than that.
        assert abs(math.fsum(shown) - round(math.fsum(values), 2)) < 1e-9
        assert all(abs(a - b) < 0.01 for a, b in zip(shown, values, strict=True))

    def test_negative_totals(self):
        values = [-0.335, -0.335, -0.335]
        assert abs(math.fsum(fmt.largest_remainder(values, -1.005, 2)) - round(-1.005 / 0.01) * 0.01) < 1e-9
