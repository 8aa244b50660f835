"""Stress and backtest: what the book would lose, and whether its VaR can be trusted."""

from __future__ import annotations

import datetime as dt
from typing import Any

from acceleray.reporting import charts
from acceleray.reporting import format as fmt
from acceleray.reporting.figures import (
    METHOD_SHORT,
    Cursor,
    Rich,
    figure,
    money,
    stress_scale,
    title,
    unit_name,
)

__all__ = ["backtest", "stress"]


def stress(facts: Cursor) -> dict[str, Any] | None:
    """Build the heat map."""
    found = facts["stress"]
    if found.is_absent or not len(found["scenarios"]):
        return None
    scenarios = list(found["scenarios"])
    pnl = [x["pnl"].value for x in scenarios]
    cells = [cell["pnl"].value for x in scenarios for cell in x["cells"]]
    scale = stress_scale([*pnl, *cells])
    fund_loss, fund_gain = _extremes(pnl)
    cell_loss, cell_gain = _extremes(cells)
    worst = scenarios[0]
    lines: list[dict[str, Any]] = []
    for x in scenarios:
        lines.append(
            {
                "name": title(x["scenario"].value),
                "window": _window(x),
                "fund": _heat(x, scale, fund_loss, fund_gain),
                "cells": [_heat(cell, scale, cell_loss, cell_gain) for cell in x["cells"]],
                "proxied": figure(x["proxied_share"], fmt.percent(x["proxied_share"].value)),
            }
        )
    marked = any(cell["mark"] for line in lines for cell in [line["fund"], *line["cells"]])
    return {
        "finding": (
            f"Worst is {title(worst['scenario'].value)} at ",
            money(worst["pnl"], scale, signed=True),
            f"; P&L in {unit_name(scale, facts['base_currency'].value)}; the darker, the larger the loss",
        ),
        "portfolios": [portfolio.value for portfolio in found["portfolios"]],
        "rows": lines,
        "marked": marked,
    }


def _window(scenario: Cursor) -> Rich:
    start, end = scenario["window_from"], scenario["window_to"]
    if start.is_absent:
        return ()
    return (
        "history, ",
        figure(start, fmt.short_day(start.value)),
        " to ",
        figure(end, fmt.short_day(end.value)),
    )


def _extremes(values: list[float | None]) -> tuple[float, float]:
    known = [value for value in values if value is not None]
    return max((-value for value in known), default=0.0), max(known, default=0.0)


def _heat(cell: Cursor, scale: fmt.Scale, loss: float, gain: float) -> dict[str, Any]:
    state = cell["limit_state"].value
    return {
        "value": money(cell["pnl"], scale, signed=True, suffix=False),
        "heat": charts.heat_class(cell["pnl"].value, loss, gain),
        "mark": {"breach": "m-bad", "warning": "m-warn"}.get(state, ""),
        "state": state or "",
    }


def backtest(facts: Cursor) -> dict[str, Any] | None:
    """Build the backtest of the headline method and the table of all tests."""
    found = facts["backtest"]
    if found.is_absent:
        return None
    days = found["days"].value
    hits = [index for index, day in enumerate(days) if day["exception"]]
    scale = fmt.scale_for([x for day in days for x in (day["pnl"], day["var"])])
    chart = None
    if days:
        chart = charts.backtest_chart(
            [dt.date.fromisoformat(day["date"]) for day in days],
            [day["pnl"] for day in days],
            [day["var"] for day in days],
            hits,
        )
    labels = [] if chart is None else chart.labels
    name = f"VaR {fmt.level(found['level'].value)}"
    return {
        "finding": _backtest_finding(found),
        "chart": chart,
        "name": name,
        "book": found["book"].value,
        "exceptions": [
            {
                "label": label,
                "date": figure(found["days"][i]["date"], fmt.short_day(days[i]["date"])),
                "short": " ".join(fmt.short_day(days[i]["date"]).split()[:2]),
                "pnl": money(found["days"][i]["pnl"], scale, signed=True),
                "var": money(found["days"][i]["var"], scale),
            }
            for i, label in zip(hits, labels, strict=True)
        ],
        "last": None
        if not days
        else {
            "date": figure(found["days"][-1 % len(days)]["date"], fmt.short_day(days[-1]["date"])),
            "pnl": money(found["days"][len(days) - 1]["pnl"], scale, signed=True),
            "var": money(found["days"][len(days) - 1]["var"], scale),
        },
        "label": (
            f"Daily profit and loss against the {fmt.level(found['level'].value)} VaR forecast, "
            f"{len(days)} trading days. {fmt.plural(len(hits), 'exception')}."
        ),
        "light": _light(found["headline"]),
        "tests": [_test(test, found) for test in found["tests"]],
        "series": [[fmt.day(day["date"]), day["pnl"], day["var"]] for day in days],
        "scale": scale,
        "days": (
            figure(found["headline"]["days"], fmt.count(found["headline"]["days"].value)),
            " of ",
            figure(found["wanted_days"], fmt.count(found["wanted_days"].value)),
            " trading days",
        )
        if not found["headline"].is_absent
        else (),
    }


def _backtest_finding(found: Cursor) -> Rich:
    test = found["headline"]
    if test.is_absent:
        return ("not tested",)
    p_values = [test["kupiec_p_value"].value, test["christoffersen_p_value"].value]
    known = [p for p in p_values if p is not None]
    rejected = sum(p < 0.05 for p in known)
    verdict = (
        "no test is defined"
        if not known
        else f"no test of {fmt.level(test['level'].value)} rejects at 5\u202f%"
        if not rejected
        else f"{fmt.plural(rejected, 'test')} {'rejects' if rejected == 1 else 'reject'} at 5\u202f%"
    )
    zone = f"{test['zone'].value} zone" if not test["zone"].is_absent else "no zone below 250 days"
    return (
        figure(test["exceptions"], fmt.plural(test["exceptions"].value, "exception")),
        " in ",
        figure(test["days"], fmt.plural(test["days"].value, "day")),
        ", ",
        figure(test["expected"], fmt.fixed(test["expected"].value, 1)),
        f" expected; {zone}, {verdict}",
    )


def _light(test: Cursor) -> dict[str, Any] | None:
    """Build the regulator's scale, which is that of 250 days at 99 %; other tests have just their zone."""
    if test.is_absent or test["days"].value != 250 or round(test["level"].value, 9) != 0.99:
        return None
    exceptions = test["exceptions"].value
    boxes = []
    for index in range(12):
        zone = "g" if index <= 4 else "y" if index <= 9 else "r"
        boxes.append(
            {
                "text": str(index) if index < 11 else "11+",
                "x": charts.percent(100 * (index + 0.07) / 12),
                "mid": charts.percent(100 * (index + 0.5) / 12),
                "zone": zone,
                "now": index == min(exceptions, 11),
            }
        )
    return {"boxes": boxes[:12], "zone": test["zone"].value or "none", "exceptions": exceptions}


def _test(test: Cursor, found: Cursor) -> dict[str, Any]:
    return {
        "method": title(METHOD_SHORT.get(test["method"].value, test["method"].value)),
        "level": fmt.level(test["level"].value),
        "headline": test["method"].value == found["method"].value,
        "exceptions": figure(test["exceptions"], fmt.count(test["exceptions"].value)),
        "expected": figure(test["expected"], fmt.fixed(test["expected"].value, 1)),
        "kupiec": figure(test["kupiec_p_value"], fmt.probability_value(test["kupiec_p_value"].value)),
        "christoffersen": figure(
            test["christoffersen_p_value"], fmt.probability_value(test["christoffersen_p_value"].value)
        ),
        "rejected": [
            (test[key].value is not None and test[key].value < 0.05)
            for key in ("kupiec_p_value", "christoffersen_p_value")
        ],
        "zone": test["zone"].value or "–",
        "note": test["note"].value or "",
    }
