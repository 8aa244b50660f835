import datetime as dt

import pytest

from acceleray.reporting.forecast_chart import forecast_chart, time_ticks

DAYS = [dt.date(2018, 1, 30) + dt.timedelta(days=i) for i in range(4)]
PNL = [10.0, -30.0, -15.0, 5.0]
VAR = {"one": [20.0] * 4, "two": [12.0, 40.0, 12.0, 12.0]}


def test_every_day_has_one_bar_and_every_exception_a_mark():
    chart = forecast_chart(DAYS, PNL, VAR)
    assert chart.bars.count("M") == 2
    assert chart.exceptions.count("M") == 2
    assert [chart.lanes[name].count("M") for name in ("one", "two")] == [1, 1]
    # The mark stands under its bar.
    assert chart.lanes["one"].startswith("M375.0 ")
    assert "M375.0 " in chart.exceptions
    assert chart.lines["two"].count("L") == 3


def test_a_larger_loss_is_further_down_and_the_line_below_zero():
    chart = forecast_chart(DAYS, PNL, VAR)

    def end(path, x):
        return float(path.split(f"M{x} ")[1].split("V")[1].split("M")[0])

    zero = float(chart.zero.rstrip("%"))
    assert end(chart.exceptions, "375.0") > end(chart.exceptions, "625.0") > zero > end(chart.bars, "125.0")
    first = float(chart.lines["one"].split("L")[0].split(" ")[1])
    assert zero < first < end(chart.exceptions, "375.0")


def test_a_book_without_gains_is_drawn():
    chart = forecast_chart(DAYS, [0.0] * 4, {"one": [0.0] * 4})
    assert chart.exceptions == ""
    assert chart.zero == "50.00%"


@pytest.mark.parametrize(("years", "first", "count"), [(0.4, "Feb", 5), (2, "Apr", 8), (9, "2019", 9)])
def test_the_time_axis_has_room_for_its_labels(years, first, count):
    days = [dt.date(2018, 1, 15) + dt.timedelta(days=i) for i in range(int(365 * years))]
    ticks = time_ticks(days)
    assert (ticks[0].text, len(ticks)) == (first, count)
