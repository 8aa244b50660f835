"""Headline, limits, drivers, methods and the loss distribution: facts in, strings and marks out."""

from __future__ import annotations

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
    stress_scale,
    title,
    unit_name,
    words,
)

__all__ = ["distribution", "drivers", "limit_title", "limits", "methods", "tiles"]

_VISIBLE_LIMITS = 9
_STATE_NAMES = {
    "breach": ("breach", "breaches"),
    "warning": ("warning", "warnings"),
    "inside": ("inside", "inside"),
    "indicative": ("indicative", "indicative"),
    "not_computed": ("not computed", "not computed"),
}
_TILE_NAMES = {"VaR": "VaR", "ES": "Expected shortfall"}
_STRESSED_TILE = "es-stressed"


def tiles(facts: Cursor) -> list[dict[str, Any]]:
    """Build the headline tiles."""
    at_level = fmt.level(facts["interval_level"].value)
    return [_tile(tile, at_level) for tile in facts["headline"]]


def _tile(tile: Cursor, at_level: str) -> dict[str, Any]:
    kind, estimate = tile["kind"].value, tile["estimate"]
    scale = fmt.scale_for([estimate["value"].value])
    has_interval = not (estimate["ci_low"].is_absent and estimate["ci_high"].is_absent)
    choose = stress_scale if kind == "pnl" else fmt.scale_for
    parts_scale = choose([part["value"].value for part in tile["parts"]])
    if kind == "count":
        value = figure(estimate["value"], fmt.count(estimate["value"].value))
        name, detail = "Early warning", f"next {fmt.plural(tile['horizon_days'].value, 'day')}"
    elif kind == "pnl":
        scale = stress_scale([estimate["value"].value])
        value = money(estimate["value"], scale, signed=True, suffix=False)
        name, detail = "Worst stress", title(tile["subject"].value)
    elif tile["level"].is_absent:
        value = estimate_money(estimate, scale, suffix=False)
        name, detail = "Expected credit loss", f"1 year, {words(tile['scenario'].value)}"
    else:
        value = estimate_money(estimate, scale, suffix=False)
        stressed = tile["id"].value == _STRESSED_TILE
        name = "Stressed ES" if stressed else _TILE_NAMES[tile["subject"].value]
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
    method, start, end = tile["method"].value, tile["window_from"], tile["window_to"]
    if not start.is_absent:
        return (
            figure(start, fmt.short_day(start.value)),
            " to ",
            figure(end, fmt.short_day(end.value)),
        )
    if method is not None:
        text = METHOD_NAMES[method]
        if tile["n_paths"].is_absent:
            return (text,)
        return (f"{text}, ", figure(tile["n_paths"], fmt.count(tile["n_paths"].value)), " scenarios")
    if tile["kind"].value == "count":
        return ("flagged, by exposure × probability",)
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
    kind = limit["type"].value
    if kind == "stress":
        return f"Stress: {title(limit['scenario'].value)}"
    # Only VaR and ES have a level and a horizon.
    return measure_title(
        kind if kind in ("VaR", "ES", "DV01") else title(kind),
        limit["level"].value or None,
        limit["horizon_days"].value or None,
    )


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


def _not_money(fact: Cursor, unit: str) -> Figure:
    """Show a share of NAV as a percentage, and days as they are."""
    if unit == "share":
        return figure(fact, f"{fmt.percent(fact.value, 2)} of NAV")
    return figure(fact, fmt.NOT_AVAILABLE if fact.value is None else f"{fmt.fixed(fact.value, 1)} days")


def _limit(limit: Cursor, most: float) -> dict[str, Any]:
    estimate, ceiling = limit["estimate"], limit["limit"].value
    scale = fmt.scale_for([estimate["value"].value, ceiling])
    used = limit["utilisation"]
    low, high = estimate["ci_low"].value, estimate["ci_high"].value
    state, unit = limit["state"].value, limit["unit"].value
    return {
        "state": state,
        "kind": {"breach": "breach", "warning": "warn", "indicative": "ind"}.get(state, "ok"),
        "word": "n/a" if state == "not_computed" else title(state),
        "portfolio": limit["portfolio_id"].value,
        "measure": limit_title(limit),
        "value": estimate_money(estimate, scale) if unit == "amount" else _not_money(estimate["value"], unit),
        "limit": money(limit["limit"], scale) if unit == "amount" else _not_money(limit["limit"], unit),
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
    estimate = found["total"]
    whole = estimate["value"].value
    scale = fmt.supported(fmt.scale_for([whole]), estimate["ci_low"].value, estimate["ci_high"].value)
    total = money(estimate["value"], scale)
    parts = list(found["portfolios"])
    values = [part["value"].value / scale.divisor for part in parts]
    residual = found["residual"].value
    # A sum of a few floats differs from the total by rounding; only more than that is a line of its own.
    has_residual = abs(residual) > 1e-6 * max(1.0, abs(whole))
    if has_residual:
        parts.append(found["residual"])
        values.append(residual / scale.divisor)
    shown = fmt.largest_remainder(values, whole / scale.divisor, scale.decimals)
    steps = charts.waterfall(values, whole / scale.divisor)
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
            "value": money(estimate["value"], scale, suffix=False),
            "alone": money(found["standalone_total"], scale, suffix=False),
            "step": steps[-1],
        },
        "unit": unit_name(scale, facts["base_currency"].value),
        "adding": [_driver_name(name, name_scale) for name in found["adding"]],
        "reducing": [_driver_name(name, name_scale) for name in found["reducing"]],
        "others": (
            figure(found["others_count"], fmt.count(found["others_count"].value)),
            " other name" if found["others_count"].value == 1 else " other names together",
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
        lines.append(
            {
                "portfolio": line["portfolio_id"].value,
                "measure": f"{line['measure'].value} {fmt.level(line['level'].value)}",
                "first": line["measure"].value == "VaR",
                "cells": _method_cells(line["cells"], headline, notes),
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


def _method_cells(cells: Cursor, headline: str | None, notes: dict[str, str]) -> list[dict[str, Any]]:
    """Build a row; at one horizon all methods share a unit and what the widest interval supports."""
    groups: dict[int, list[Cursor]] = {}
    for cell in cells:
        groups.setdefault(cell["horizon_days"].value, []).append(cell)
    scales = {}
    for days, group in groups.items():
        estimates = [cell["estimate"].value for cell in group]
        scale = fmt.scale_for(estimate["value"] for estimate in estimates)
        decimals = min(fmt.supported(scale, x["ci_low"], x["ci_high"]).decimals for x in estimates)
        scales[days] = scale.rounded(decimals)
    return [_method_cell(cell, scales[cell["horizon_days"].value], headline, notes) for cell in cells]


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
        reach=[x for key in ("var", "es") for x in (found[key]["ci_low"].value, found[key]["ci_high"].value)],
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
