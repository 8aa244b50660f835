"""Where the marks of the page's drawings stand: numbers in, percentages and paths out.

Horizontal positions are percent of a drawing's width, so that text beside a mark never scales. Paths use a
box of 1000 by 100 that is stretched to the drawing.
"""

from __future__ import annotations

import datetime as dt
import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

from acceleray.reporting import format as fmt

__all__ = [
    "BacktestChart",
    "ExceptionLabel",
    "Histogram",
    "LimitBar",
    "Span",
    "Step",
    "Tick",
    "backtest_chart",
    "from_zero",
    "heat_class",
    "histogram",
    "limit_bar",
    "nice_ticks",
    "span",
    "waterfall",
]

_BASE = 88.0  # baseline of the histogram, percent from the top
_PEAK = 36.0  # its highest bar; above it is room for two lines of labels


def percent(value: float) -> str:
    """Write a position."""
    return f"{value:.2f}%"


@dataclass(frozen=True, slots=True)
class Span:
    """A horizontal stretch."""

    x: str
    width: str
    end: str


def span(low: float, high: float, least: float, most: float) -> Span:
    """Place the stretch from `low` to `high` on an axis from `least` to `most`."""
    length = (most - least) or 1.0
    x, end = 100 * (low - least) / length, 100 * (high - least) / length
    return Span(percent(x), percent(max(0.0, end - x)), percent(end))


@dataclass(frozen=True, slots=True)
class LimitBar:
    """A limit's bar: how much is used, where warning and limit stand, and the interval's whisker.

    A one-sided interval has a whisker that runs on to the edge of the axis, without a cap there.
    """

    used: str
    track: str
    warning: str
    limit: str
    whisker: tuple[str, str] | None
    caps: tuple[str, ...]


def limit_bar(used: float, warning: float, low: float | None, high: float | None, *, most: float) -> LimitBar:
    """Draw utilisations on an axis from 0 to `most` on which the limit is 1."""

    def at(share: float) -> str:
        return percent(100 * min(max(share, 0.0), most) / most)

    return LimitBar(
        used=at(used),
        track=at(1.0),
        warning=at(warning),
        limit=at(1.0),
        whisker=None
        if low is None and high is None
        else (at(low or 0.0), at(most if high is None else high)),
        caps=tuple(at(end) for end in (low, high) if end is not None),
    )


@dataclass(frozen=True, slots=True)
class Step:
    """One floating bar of a waterfall; `link` joins it to the next."""

    zero: str
    x: str
    width: str
    kind: str
    link: str | None


def waterfall(parts: Sequence[float], total: float, *, gains_rise: bool = False) -> list[Step]:
    """Place parts end to end, then the total from zero; rising is a risk unless `gains_rise`."""
    edges = [0.0]
    for part in parts:
        edges.append(edges[-1] + part)
    least, most = min(0.0, total, *edges), max(0.0, total, *edges)
    zero = span(0, 0, least, most).x
    steps = []
    for start, end in pairwise(edges):
        bar = span(min(start, end), max(start, end), least, most)
        kind = "gain" if (end >= start) == gains_rise else "risk"
        steps.append(Step(zero, bar.x, bar.width, kind, span(end, end, least, most).x))
    bar = span(min(0, total), max(0, total), least, most)
    return [*steps, Step(zero, bar.x, bar.width, "total", None)]


def from_zero(values: Sequence[float]) -> list[Step]:
    """Place bars that all begin at zero on one axis."""
    least, most = min([0.0, *values]), max([0.0, *values])
    zero = span(0, 0, least, most).x
    bars = [span(min(0.0, value), max(0.0, value), least, most) for value in values]
    return [
        Step(zero, bar.x, bar.width, "gain" if value > 0 else "risk", None)
        for bar, value in zip(bars, values, strict=True)
    ]


@dataclass(frozen=True, slots=True)
class Tick:
    """A labelled position on an axis."""

    at: str
    text: str


def nice_ticks(least: float, most: float, wanted: int = 6) -> list[float]:
    """Choose round values between `least` and `most`, about `wanted` of them."""
    if most <= least:
        return [least]
    rough = (most - least) / wanted
    power = 10.0 ** math.floor(math.log10(rough))
    step = next(size * power for size in (1.0, 2.0, 2.5, 5.0, 10.0) if size * power >= rough * (1 - 1e-12))
    first = math.ceil(least / step - 1e-9)
    return [index * step for index in range(first, math.floor(most / step + 1e-9) + 1)]


def tick_texts(values: Sequence[float], *, signed: bool = False) -> list[str]:
    """Write axis labels with just the decimals their step needs; the last one carries the unit."""
    scale = fmt.scale_for(values)
    shown = [value / scale.divisor for value in values]
    step = min((abs(b - a) for a, b in pairwise(shown)), default=1.0)
    decimals = max(0, -math.floor(math.log10(step) + 1e-9)) if step else 0
    if round(step * 10**decimals, 6) % 1:
        decimals += 1
    texts = [fmt.fixed(value, decimals, signed=signed) for value in shown]
    return [*texts[:-1], texts[-1] + scale.suffix] if texts else []


@dataclass(frozen=True, slots=True)
class Histogram:
    """A histogram of losses; `tail` is drawn over it, `magnified` times taller."""

    body: str
    tail: str
    magnified: int
    ticks: list[Tick]
    least: float
    most: float
    points: list[str]

    def at(self, loss: float) -> str:
        """Position of a loss."""
        return span(loss, loss, self.least, self.most).x

    def share(self, loss: float) -> float:
        """Position of a loss as a fraction of the width."""
        return (loss - self.least) / ((self.most - self.least) or 1.0)


def histogram(
    bins: Sequence[tuple[float, float, int, int]],
    points: Sequence[float],
    *,
    n_paths: int,
    reach: Sequence[float | None] = (),
) -> Histogram:
    """Draw bars ``(low, high, count, tail_count)`` on an axis that also reaches the values in `reach`.

    A tail of few paths is drawn as single points, a tail of many five times taller, so that either can be
    seen.
    """
    least = min(bins[0][0], *(x for x in reach if x is not None), bins[0][0])
    most = max(bins[-1][1], *(x for x in reach if x is not None), bins[-1][1])
    tallest = max(count for *_, count, _ in bins)
    magnified = 5 if n_paths > 2000 else 1

    def path(heights: Sequence[float]) -> str:
        parts = []
        for (low, high, *_), height in zip(bins, heights, strict=True):
            if height <= 0:
                continue
            bar = [1000 * (x - least) / ((most - least) or 1.0) for x in (low, high)]
            gap = 0.06 * (bar[1] - bar[0])
            top = _BASE - (_BASE - _PEAK) * height / tallest
            parts.append(f"M{bar[0]:.1f} {_BASE:g}V{top:.1f}H{bar[1] - gap:.1f}V{_BASE:g}z")
        return "".join(parts)

    values = nice_ticks(least, most)
    texts = tick_texts(values)
    return Histogram(
        body=path([count for *_, count, _ in bins]),
        tail=path([magnified * tail for *_, tail in bins]),
        magnified=magnified,
        ticks=[
            Tick(span(value, value, least, most).x, text)
            for value, text in zip(values, texts, strict=True)
            if 0.01 <= (value - least) / (most - least or 1.0) <= 0.99
        ],
        least=least,
        most=most,
        points=[span(loss, loss, least, most).x for loss in points] if magnified == 1 else [],
    )


@dataclass(frozen=True, slots=True)
class ExceptionLabel:
    """An exception's dot, and where its label goes."""

    index: int
    x: str
    y: str
    anchor: str
    dx: str
    label_y: str
    shown: bool


@dataclass(frozen=True, slots=True)
class BacktestChart:
    """Bars of daily P&L with the VaR forecast as a line below zero."""

    bars: str
    exceptions: str
    line: str
    zero: str
    grid: list[Tick]
    months: list[Tick]
    labels: list[ExceptionLabel]
    last_x: str
    last_y: str
    first_var_y: str
    last_var_y: str


def backtest_chart(
    days: Sequence[dt.date], pnl: Sequence[float], var: Sequence[float], exceptions: Sequence[int]
) -> BacktestChart:
    """Draw one bar for each day."""
    lowest, highest = min([*pnl, *(-x for x in var)]), max([0.0, *pnl])
    room = 0.14 * (highest - lowest)
    bottom, top = lowest - room, highest + 0.04 * (highest - lowest)
    number = len(days)

    def y(value: float) -> float:
        return 100 * (top - value) / (top - bottom)

    def x(index: int) -> float:
        return 100 * (index + 0.5) / number

    def bar(index: int) -> str:
        return f"M{10 * x(index):.1f} {y(0):.1f}V{y(pnl[index]):.1f}"

    marked = set(exceptions)
    values = [value for value in nice_ticks(bottom + room, top, 5) if value != 0]
    months = []
    for index, day in enumerate(days):
        if index and day.month != days[index - 1].month:
            months.append(Tick(percent(100 * index / number), fmt.month(day)))
    return BacktestChart(
        bars="".join(bar(i) for i in range(number) if i not in marked),
        exceptions="".join(bar(i) for i in exceptions),
        line="M" + "L".join(f"{10 * x(i):.1f} {y(-var[i]):.1f}" for i in range(number)),
        zero=percent(y(0)),
        grid=[
            Tick(percent(y(value)), text)
            for value, text in zip(values, tick_texts(values, signed=True), strict=True)
        ],
        months=months,
        labels=_labels(
            [(i, x(i), y(pnl[i]), pnl[i]) for i in exceptions],
            # The line's own labels stand below its ends.
            taken=[(-4.0, y(-var[0]) + 5), (93.0, y(-var[-1]) + 5)],
        ),
        last_x=percent(x(number - 1)),
        last_y=percent(y(pnl[-1])),
        first_var_y=percent(y(-var[0])),
        last_var_y=percent(y(-var[-1])),
    )


def _labels(
    marks: Sequence[tuple[int, float, float, float]], taken: list[tuple[float, float]]
) -> list[ExceptionLabel]:
    """Place labels worst first, each beside its dot where no other label is; others are not drawn.

    Every exception is also listed below the chart, so a label left out loses nothing.
    """
    width, height = 12.0, 8.0
    placed: dict[int, tuple[str, str, float]] = {}
    for index, x, y, _ in sorted(marks, key=lambda mark: mark[3]):
        sides = (("end", "-.5em"),) if x > 86 else (("start", ".5em"), ("end", "-.5em"))
        for (anchor, dx), down in ((side, down) for down in (4.0, -4.0) for side in sides):
            left = x if anchor == "start" else x - width
            label_y = min(y + down, 98.0)
            near_dot = any(
                i != index and left < ox < left + width and abs(oy - label_y) < 5 for i, ox, oy, _ in marks
            )
            if (
                left >= 0
                and not near_dot
                and all(
                    abs(left - other) >= width or abs(label_y - other_y) >= height for other, other_y in taken
                )
            ):
                taken.append((left, label_y))
                placed[index] = (anchor, dx, label_y)
                break
    return [
        ExceptionLabel(
            index=index,
            x=percent(x),
            y=percent(y),
            anchor=placed[index][0] if index in placed else "start",
            dx=placed[index][1] if index in placed else "0",
            label_y=percent(placed[index][2] if index in placed else y),
            shown=index in placed,
        )
        for index, x, y, _ in marks
    ]


def heat_class(pnl: float | None, largest_loss: float, largest_gain: float) -> str:
    """Class of a heat-map cell: six steps of loss, two of gain, none at zero."""
    if pnl is None:
        return "nax"
    if pnl < 0 and largest_loss > 0:
        share = -pnl / largest_loss
        if share < 0.005:
            return "h0"
        return f"h{1 + sum(share >= edge for edge in (0.06, 0.14, 0.3, 0.5, 0.75))}"
    if pnl > 0 and largest_gain > 0:
        share = pnl / max(largest_gain, largest_loss)
        return "h0" if share < 0.005 else "g1" if share < 0.14 else "g2"
    return "h0"
