"""Where marks stand."""

import datetime as dt

import pytest

from acceleray.reporting import charts


def at(position: str) -> float:
    return float(position.removesuffix("%"))


def test_a_waterfall_is_joined_up_and_ends_at_its_total():
    steps = charts.waterfall([3.0, 2.0, -1.0], 4.0)
    assert [at(step.x) for step in steps] == [0.0, 60.0, 80.0, 0.0]
    assert [at(step.width) for step in steps] == [60.0, 40.0, 20.0, 80.0]
    assert [step.kind for step in steps] == ["risk", "risk", "gain", "total"]


def test_a_waterfall_below_zero_moves_its_zero_line():
    steps = charts.waterfall([-1.0, 3.0], 2.0)
    # Rounded to hundredths of a percent of the width.
    assert at(steps[0].zero) == pytest.approx(100 / 3, abs=0.005)
    assert at(steps[0].x) == 0.0


def test_a_limit_bar_past_its_limit_keeps_the_limit_in_place():
    bar = charts.limit_bar(1.2, 0.8, 1.1, 1.3, most=1.4)
    assert at(bar.used) > at(bar.limit) == at(bar.track) > at(bar.warning)
    assert bar.caps == bar.whisker


def test_a_one_sided_interval_runs_on_to_the_edge_without_a_cap():
    open_above = charts.limit_bar(0.5, 0.8, 0.4, None, most=1.4)
    assert open_above.whisker is not None
    assert at(open_above.whisker[1]) == 100.0
    assert open_above.caps == open_above.whisker[:1]
    assert charts.limit_bar(0.5, 0.8, None, None, most=1.4).whisker is None


def test_few_paths_are_drawn_as_points_and_many_magnified():
    bins = [(0.0, 1.0, 90, 0), (1.0, 2.0, 10, 5)]
    few, many = (charts.histogram(bins, [1.5], n_paths=n) for n in (100, 100_000))
    assert few.points == ["75.00%"]
    assert few.magnified == 1
    assert many.points == []
    assert many.magnified == 5


@pytest.mark.parametrize(
    ("pnl", "css"), [(-10.0, "h6"), (-0.1, "h1"), (0.0, "h0"), (9.0, "g2"), (None, "nax")]
)
def test_heat_steps(pnl, css):
    assert charts.heat_class(pnl, 10.0, 9.0) == css


def test_ticks_are_round_and_the_last_carries_the_unit():
    ticks = charts.nice_ticks(-3.2e6, 8.1e6)
    assert ticks == [-2e6, 0.0, 2e6, 4e6, 6e6, 8e6]
    assert charts.tick_texts(ticks) == ["\u22122", "0", "2", "4", "6", "8m"]


def test_exception_labels_never_cover_each_other():
    days = [dt.date(2018, 1, 1) + dt.timedelta(days=i) for i in range(250)]
    pnl = [-9.0 if i in (3, 100, 101, 102, 103, 104, 247) else 0.5 for i in range(250)]
    hits = [i for i, value in enumerate(pnl) if value < 0]
    chart = charts.backtest_chart(days, pnl, [3.0] * 250, hits)
    assert len(chart.labels) == len(hits)
    shown = [label for label in chart.labels if label.shown]
    assert len(shown) >= 3
    boxes = [(at(x.x) - (12 if x.anchor == "end" else 0), at(x.label_y)) for x in shown]
    for i, (left, y) in enumerate(boxes):
        assert -0.1 <= left <= 98
        assert all(abs(left - a) >= 12 or abs(y - b) >= 8 for a, b in boxes[:i])


def test_a_waterfall_of_gains_calls_the_falling_parts_losses():
    steps = charts.waterfall([2.0, -5.0, 1.0], -2.0, gains_rise=True)
    assert [step.kind for step in steps] == ["gain", "risk", "gain", "total"]
    assert [step.kind for step in charts.waterfall([2.0, -5.0], -3.0)] == ["risk", "gain", "total"]


def test_bars_from_zero_share_an_axis():
    first, second, third = charts.from_zero([3.0, -1.0, 0.0])
    assert (first.zero, first.x, first.width, first.kind) == ("25.00%", "25.00%", "75.00%", "gain")
    assert (second.x, second.width, second.kind) == ("0.00%", "25.00%", "risk")
    assert third.width == "0.00%"
    assert charts.from_zero([]) == []
