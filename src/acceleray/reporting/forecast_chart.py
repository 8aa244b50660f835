"""Where the marks of a backtest stand: bars, and for each method a line and a lane of exceptions.

Positions are as in `acceleray.reporting.charts`: percent of the drawing, paths in a box of 1000 by 100.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from acceleray.reporting import format as fmt
from acceleray.reporting.charts import Tick, nice_ticks, percent, tick_texts

__all__ = ["ForecastChart", "forecast_chart", "time_ticks"]

_MOST_TICKS = 14


@dataclass(frozen=True, slots=True)
class ForecastChart:
    """Bars of gains, a line of VaR below zero and a lane of exceptions for each method.

    Parameters
    ----------
    bars, exceptions : str
        Paths of the bars; a day that is an exception for any method is among the second.
    lines, lanes : dict of str to str
        Paths by method: the forecasts, and a mark for each exception in a box of its own.
    zero : str
        Height of zero.
    grid, months : list of Tick
        Labels of both axes.
    """

    bars: str
    exceptions: str
    lines: dict[str, str]
    lanes: dict[str, str]
    zero: str
    grid: list[Tick]
    months: list[Tick]


def forecast_chart(
    days: Sequence[dt.date], pnl: Sequence[float], var: Mapping[str, Sequence[float]]
) -> ForecastChart:
    """Draw one bar for each day, and the forecasts of every method."""
    number = len(days)
    lowest = min([0.0, *pnl, *(-x for line in var.values() for x in line)])
    highest = max([0.0, *pnl, *(-x for line in var.values() for x in line)])
    room = 0.04 * ((highest - lowest) or 1.0)
    bottom, top = lowest - room, highest + room

    def y(value: float) -> float:
        return 100 * (top - value) / (top - bottom)

    def x(index: int) -> float:
        return 1000 * (index + 0.5) / number

    def bar(index: int) -> str:
        return f"M{x(index):.1f} {y(0):.1f}V{y(pnl[index]):.1f}"

    hits = {method: [i for i in range(number) if -pnl[i] > line[i]] for method, line in var.items()}
    marked = {i for days_over in hits.values() for i in days_over}
    values = [value for value in nice_ticks(lowest, highest, 6) if value != 0]
    return ForecastChart(
        bars="".join(bar(i) for i in range(number) if i not in marked),
        exceptions="".join(bar(i) for i in sorted(marked)),
        lines={
            method: "M" + "L".join(f"{x(i):.1f} {y(-line[i]):.1f}" for i in range(number))
            for method, line in var.items()
        },
        lanes={method: "".join(f"M{x(i):.1f} 15V85" for i in over) for method, over in hits.items()},
        zero=percent(y(0)),
        grid=[
            Tick(percent(y(value)), text)
            for value, text in zip(values, tick_texts(values, signed=True), strict=True)
        ],
        months=time_ticks(days),
    )


def time_ticks(days: Sequence[dt.date]) -> list[Tick]:
    """Label the axis of days by months, quarters or years, whichever leaves room for the labels."""
    starts = [i for i in range(1, len(days)) if days[i].month != days[i - 1].month]
    for every in (1, 3, 6, 12, 24, 60, 120):
        chosen = [i for i in starts if (12 * days[i].year + days[i].month - 1) % every == 0]
        if len(chosen) <= _MOST_TICKS:
            break
    return [
        Tick(percent(100 * i / len(days)), str(days[i].year) if every >= 12 else fmt.month(days[i]))
        for i in chosen
    ]
