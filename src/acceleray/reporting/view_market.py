"""The page's sections about market risk: facts in, strings and positions of marks out."""

from __future__ import annotations

import datetime as dt
from typing import Any

from acceleray.reporting import charts
from acceleray.reporting import format as fmt
from acceleray.reporting.figures import (
    METHOD_NAMES,
    METHOD_SHORT,
    Cursor,
    Figure,
    Rich,
    estimate_money,
    figure,
    interval,
    joined,
    measure_title,
    money,
    title,
    unit_name,
)

__all__ = ["backtest", "distribution", "drivers", "limit_title", "limits", "methods", "stress", "tiles"]

_VISIBLE_LIMITS = 9
_STATE_NAMES = {
    "breach": ("breach", "breaches"),
    "warning": ("warning", "warnings"),
    "inside": ("inside", "inside"),
    "indicative": ("indicative", "indicative"),
    "waived": ("waived", "waived"),
    "n/a": ("not available", "not available"),
}
_TILE_NAMES = {"VaR": "VaR", "ES": "Expected shortfall"}


def tiles(facts: Cursor) -> list[dict[str, Any]]:
    """Build the headline tiles."""
    at_level = fmt.level(facts["interval_level"].value)
    return [_tile(tile, at_level) for tile in facts["headline"]]


def _tile(tile: Cursor, at_level: str) -> dict[str, Any]:
    kind, estimate = tile["kind"].value, tile["estimate"]
    scale = fmt.scale_for([estimate["value"].value])
    has_interval = not (estimate["ci_low"].is_absent and estimate["ci_high"].is_absent)
    parts_scale = fmt.scale_for(part["value"].value for part in tile["parts"])
    if kind == "count":
        value = figure(estimate["value"], fmt.count(estimate["value"].value))
        name, detail = "Early warning", f"next {fmt.plural(tile['horizon_days'].value, 'day')}"
    elif kind == "pnl":
        scale = fmt.Scale(scale.divisor, "", 1 if scale.divisor >= 1e6 else scale.decimals)
        value = money(estimate["value"], scale, signed=True)
        name, detail = "Worst stress", title(tile["subject"].value)
    elif tile["level"].is_absent:
        value = estimate_money(estimate, scale, suffix=False)
        name, detail = "Expected credit loss", "1 year, base"
    else:
        value = estimate_money(estimate, scale, suffix=False)
        name = _TILE_NAMES[tile["subject"].value]
        days = fmt.plural(tile["horizon_days"].value, "day")
        detail = f"{fmt.level(tile['level'].value)}, {days}"
    return {
        "id": tile["id"].value,
        "name": name,
        "detail": detail,
        "absent": estimate["value"].is_absent,
        "value": value,
        "unit": "" if kind == "count" else fmt.scale_for([estimate["value"].value]).suffix,
        "interval": interval(estimate, scale),
        "at": f"at {at_level}" if has_interval else "",
        "note": _tile_note(tile),
        "parts": [_part(part, kind, parts_scale) for part in tile["parts"]][:3],
    }


def _tile_note(tile: Cursor) -> Rich:
    method = tile["method"].value
    if method is not None:
        text = METHOD_NAMES[method]
        if tile["n_paths"].is_absent:
            return (text,)
        return (f"{text}, ", figure(tile["n_paths"], fmt.count(tile["n_paths"].value)), " scenarios")
    if tile["kind"].value == "count":
        return ("names to look at first",)
    if tile["kind"].value == "pnl":
        return ("next worst",)
    return (tile["subject"].value,)


def _part(part: Cursor, kind: str, scale: fmt.Scale) -> dict[str, Any]:
    label = part["label"].value
    if kind == "count":
        return {"label": label, "value": figure(part["value"], fmt.count(part["value"].value))}
    return {
        "label": METHOD_SHORT.get(label, title(label)),
        "value": money(part["value"], scale, signed=kind == "pnl"),
    }


def limit_title(limit: Cursor) -> str:
    """Name what a limit is about."""
    if limit["type"].value == "stress":
        return f"Stress: {title(limit['scenario'].value)}"
    return measure_title(limit["type"].value, limit["level"].value, limit["horizon_days"].value)


def limits(facts: Cursor) -> dict[str, Any] | None:
    """Build the limits table."""
    found = facts["limits"]
    if not len(found):
        return None
    counts = facts["limit_counts"]
    order = [state for state in _STATE_NAMES if state in counts.value]
    order += [state for state in counts.value if state not in order]
    finding = joined(
        [
            (
                figure(counts[state], fmt.count(counts[state].value)),
                " " + _STATE_NAMES.get(state, (state, state))[counts[state].value != 1],
            )
            for state in order
        ]
    )
    most = max(
        1.15,
        *(
            1.04 * max(x["utilisation"].value or 0, (x["estimate"]["ci_high"].value or 0) / x["limit"].value)
            for x in found
        ),
    )
    most = min(most, 2.5)
    shown = [_limit(limit, most) for limit in found]
    rest = shown[_VISIBLE_LIMITS:]
    return {
        "finding": finding,
        "rows": shown[:_VISIBLE_LIMITS],
        "rest": rest,
        "more": f"{len(rest)} more, all below {rest[0]['used']}"
        if rest and rest[0]["state"] == "inside"
        else f"{len(rest)} more",
        "axis_limit": charts.percent(100 / most),
        "interval": f"{fmt.level(facts['interval_level'].value)} interval of the simulated value",
        "indicative": any(limit["state"].value == "indicative" for limit in found),
    }


def _limit(limit: Cursor, most: float) -> dict[str, Any]:
    estimate, ceiling = limit["estimate"], limit["limit"].value
    scale = fmt.scale_for([estimate["value"].value, ceiling])
    used = limit["utilisation"]
    low, high = estimate["ci_low"].value, estimate["ci_high"].value
    state = limit["state"].value
    return {
        "state": state,
        "kind": {"breach": "breach", "warning": "warn", "indicative": "ind", "waived": "wv"}.get(state, "ok"),
        "word": title(state) if state != "n/a" else "n/a",
        "portfolio": limit["portfolio_id"].value,
        "measure": limit_title(limit),
        "value": estimate_money(estimate, scale),
        "limit": money(limit["limit"], scale),
        "used": figure(used, fmt.percent(used.value)),
        "bar": None
        if used.is_absent
        else charts.limit_bar(
            used.value,
            limit["warning"].value / ceiling,
            None if low is None else low / ceiling,
            None if high is None else high / ceiling,
            most=most,
        ),
        "reason": limit["reason"].value or "",
        "owner": limit["owner"].value or "",
    }


def drivers(facts: Cursor) -> dict[str, Any] | None:
    """Build the waterfall by portfolio and the largest names."""
    found = facts["drivers"]
    if found.is_absent:
        return None
    scale = fmt.scale_for([found["total"].value])
    total = money(found["total"], scale)
    parts = list(found["portfolios"])
    values = [part["value"].value / scale.divisor for part in parts]
    residual = found["residual"].value
    # A sum of a few floats differs from the total by rounding; only more than that is a line of its own.
    has_residual = abs(residual) > 1e-6 * max(1.0, abs(found["total"].value))
    if has_residual:
        parts.append(found["residual"])
        values.append(residual / scale.divisor)
    shown = fmt.largest_remainder(values, found["total"].value / scale.divisor, scale.decimals)
    steps = charts.waterfall(values, found["total"].value / scale.divisor)
    rows = []
    for part, rounded, step in zip(parts, shown, steps, strict=False):
        is_rest = part.pointer.endswith("/residual")
        fact = part if is_rest else part["value"]
        rows.append(
            {
                "name": "Residual" if is_rest else part["member_id"].value,
                "value": figure(fact, fmt.fixed(rounded, scale.decimals, signed=True)),
                "se": None if is_rest else _std_error(part["std_error"], scale),
                "share": None if is_rest else figure(part["share"], fmt.percent(part["share"].value)),
                "alone": None if is_rest else money(part["standalone"], scale, suffix=False),
                "step": step,
            }
        )
    name = measure_title(found["measure"].value, found["level"].value, found["horizon_days"].value)
    finding: list[str | Figure] = [f"Contributions to {name} of ", total]
    if len(found["portfolios"]):
        first = found["portfolios"][0]
        finding += [
            f"; {first['member_id'].value} is ",
            figure(first["share"], fmt.percent(first["share"].value)),
            " of it",
        ]
    if not found["diversification"].is_absent:
        finding += [
            ", diversification saves ",
            money(found["diversification"], scale),
            " (",
            figure(found["diversification_share"], fmt.percent(found["diversification_share"].value)),
            " of stand-alone)",
        ]
    name_scale = fmt.scale_for(name["value"].value for key in ("adding", "reducing") for name in found[key])
    return {
        "finding": tuple(finding),
        "rows": rows,
        "total": {
            "value": money(found["total"], scale, suffix=False),
            "alone": money(found["standalone_total"], scale, suffix=False),
            "step": steps[-1],
        },
        "unit": unit_name(scale, facts["base_currency"].value),
        "adding": [_driver_name(name, name_scale) for name in found["adding"]],
        "reducing": [_driver_name(name, name_scale) for name in found["reducing"]],
        "others": (
            figure(found["others_count"], fmt.count(found["others_count"].value)),
            " other names together",
        ),
        "others_count": found["others_count"].value,
        "others_value": money(found["others_value"], name_scale, signed=True, suffix=False),
        "name_unit": unit_name(name_scale, facts["base_currency"].value),
    }


def _std_error(fact: Cursor, scale: fmt.Scale) -> Figure:
    if fact.is_absent:
        return figure(fact, fmt.NOT_AVAILABLE)
    # A standard error that rounds to nothing keeps one significant digit more.
    digits = scale.decimals + (abs(fact.value) / scale.divisor < 0.5 * 10.0**-scale.decimals)
    return figure(fact, "±" + fmt.fixed(fact.value / scale.divisor, digits))


def _driver_name(name: Cursor, scale: fmt.Scale) -> dict[str, Any]:
    return {
        "name": name["member_id"].value,
        "portfolios": name["portfolios"].value or "",
        "value": money(name["value"], scale, signed=True, suffix=False),
        "share": figure(name["share"], fmt.percent(name["share"].value)),
    }


def methods(facts: Cursor) -> dict[str, Any] | None:
    """Build the table of every method beside the headline one."""
    found = facts["methods"]
    if not len(found):
        return None
    headline = next(
        (tile["method"].value for tile in facts["headline"] if not tile["method"].is_absent), None
    )
    fund = found[0]
    days = fund["cells"][0]["horizon_days"].value
    answers = [
        cell
        for cell in fund["cells"]
        if cell["horizon_days"].value == days and not cell["estimate"]["value"].is_absent
    ]
    answers.sort(key=lambda cell: cell["estimate"]["value"].value)
    finding: Rich = ()
    if answers:
        low, high = answers[0], answers[-1]
        finding = (
            f"{fund['portfolio_id'].value} {measure_title('VaR', fund['level'].value, days)} is between ",
            estimate_money(low["estimate"]),
            f" ({METHOD_SHORT[low['method'].value]}) and ",
            estimate_money(high["estimate"]),
            f" ({METHOD_SHORT[high['method'].value]})",
        )
    notes: dict[str, str] = {}
    lines = []
    for line in found:
        scale = fmt.scale_for(cell["estimate"]["value"].value for cell in line["cells"])
        lines.append(
            {
                "portfolio": line["portfolio_id"].value,
                "measure": f"{line['measure'].value} {fmt.level(line['level'].value)}",
                "first": line["measure"].value == "VaR",
                "cells": [_method_cell(cell, scale, headline, notes) for cell in line["cells"]],
            }
        )
    horizons = list(dict.fromkeys(cell["horizon_days"].value for cell in fund["cells"]))
    return {
        "finding": finding,
        "groups": [{"title": fmt.plural(h, "day"), "methods": _heads(fund, h, headline)} for h in horizons],
        "rows": lines,
        "notes": [(mark, note) for note, mark in notes.items()],
    }


def _heads(line: Cursor, days: int, headline: str | None) -> list[dict[str, Any]]:
    names = [cell["method"].value for cell in line["cells"] if cell["horizon_days"].value == days]
    return [{"name": title(METHOD_SHORT[name]), "headline": name == headline} for name in names]


def _method_cell(
    cell: Cursor, scale: fmt.Scale, headline: str | None, notes: dict[str, str]
) -> dict[str, Any]:
    estimate = cell["estimate"]
    low, high, note = estimate["ci_low"], estimate["ci_high"], estimate["note"].value
    mark = ""
    if (low.is_absent or high.is_absent) and note:
        mark = notes.setdefault(note, "abcdefghijklmnop"[min(len(notes), 15)])
    return {
        "value": estimate_money(estimate, scale),
        "interval": () if low.is_absent and high.is_absent else interval(estimate, scale),
        "mark": mark,
        "headline": cell["method"].value == headline,
    }


def distribution(facts: Cursor) -> dict[str, Any] | None:
    """Build the histogram of losses."""
    found = facts["distribution"]
    if found.is_absent:
        return None
    chart = charts.histogram(
        [(x["low"].value, x["high"].value, x["count"].value, x["tail_count"].value) for x in found["bins"]],
        [point["loss"].value for point in found["worst"]],
        n_paths=found["n_paths"].value,
    )
    paths = figure(found["n_paths"], fmt.count(found["n_paths"].value))
    finding: list[str | Figure] = [
        f"{METHOD_NAMES[found['method'].value]}, {fmt.plural(found['horizon_days'].value, 'day')}, ",
        paths,
        " scenarios",
    ]
    if not found["dated_from"].is_absent:
        finding += [
            " from ",
            figure(found["dated_from"], fmt.short_day(found["dated_from"].value)),
            " to ",
            figure(found["dated_to"], fmt.short_day(found["dated_to"].value)),
        ]
    lines = []
    for key, name in (("var", "VaR"), ("es", "ES")):
        estimate = found[key]
        if estimate["value"].is_absent:
            continue
        loss = estimate["value"].value
        scale = fmt.scale_for([loss])
        low, high = estimate["ci_low"].value, estimate["ci_high"].value
        band = None if low is None or high is None else charts.span(low, high, chart.least, chart.most)
        lines.append(
            {
                "kind": key,
                "at": chart.at(loss),
                "flip": chart.share(loss) > 0.52,
                "y": "10%" if key == "var" else "23%",
                "name": f"{name} {fmt.level(found[f'{key}_level'].value)}",
                "value": estimate_money(estimate, scale),
                "interval": interval(estimate, scale) if band else (),
                "band": band,
            }
        )
    worst = found["worst"][0]
    scale = fmt.scale_for([worst["loss"].value])
    worst_text: list[str | Figure] = ["Worst ", money(worst["loss"], scale)]
    if not worst["date"].is_absent:
        worst_text += [", ", figure(worst["date"], fmt.short_day(worst["date"].value))]
    return {
        "finding": tuple(finding),
        "chart": chart,
        "lines": lines,
        "worst": tuple(worst_text),
        "worst_at": chart.at(worst["loss"].value),
        "tail": f"Blue: worst {fmt.percent(found['tail_share'].value, 1)} of scenarios",
        "label": (
            f"Histogram of {fmt.count(found['n_paths'].value)} simulated losses. "
            + " ".join(f"{x['name']} is {x['value']}." for x in lines)
        ),
        "unit": facts["base_currency"].value,
    }


def stress(facts: Cursor) -> dict[str, Any] | None:
    """Build the heat map."""
    found = facts["stress"]
    if found.is_absent or not len(found["scenarios"]):
        return None
    scenarios = list(found["scenarios"])
    pnl = [x["pnl"].value for x in scenarios]
    cells = [cell["pnl"].value for x in scenarios for cell in x["cells"]]
    scale = fmt.scale_for([*pnl, *cells])
    scale = (
        scale.rounded(1)
        if scale.divisor >= 1e6 and max(map(abs, filter(None, pnl)), default=0) >= 2e6
        else scale
    )
    fund_loss, fund_gain = _extremes(pnl)
    cell_loss, cell_gain = _extremes(cells)
    worst = scenarios[0]
    lines = []
    for x in scenarios:
        lines.append(
            {
                "name": title(x["scenario"].value),
                "window": ()
                if x["window_from"].is_absent
                else (
                    "history, ",
                    figure(x["window_from"], fmt.short_day(x["window_from"].value)),
                    " to ",
                    figure(x["window_to"], fmt.short_day(x["window_to"].value)),
                ),
                "fund": _heat(x, scale, fund_loss, fund_gain),
                "cells": [_heat(cell, scale, cell_loss, cell_gain) for cell in x["cells"]],
                "proxied": figure(x["proxied_share"], fmt.percent(x["proxied_share"].value)),
            }
        )
    marked = any(cell["mark"] for line in lines for cell in [line["fund"], *line["cells"]])
    has_proxy = any(x["proxied_share"].value for x in scenarios)
    return {
        "finding": (
            f"Worst is {title(worst['scenario'].value)} at ",
            money(worst["pnl"], scale, signed=True),
            f"; P&L in {unit_name(scale, facts['base_currency'].value)}; the darker, the larger the loss",
        ),
        "portfolios": [portfolio.value for portfolio in found["portfolios"]],
        "rows": lines,
        "marked": marked,
        "has_proxy": has_proxy,
    }


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
        "light": None if found["headline"].is_absent else _light(found["headline"]),
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
        else "no test rejects at 5\u202f%"
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


def _light(test: Cursor) -> dict[str, Any]:
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
        "method": METHOD_NAMES.get(test["method"].value, test["method"].value),
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
        "zone": test["zone"].value or "n/a",
        "note": test["note"].value or "",
    }
