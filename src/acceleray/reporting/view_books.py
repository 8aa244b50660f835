"""The page's section about early warning: facts in, strings and positions out."""

from __future__ import annotations

from typing import Any

from acceleray.reporting import charts
from acceleray.reporting import format as fmt
from acceleray.reporting.figures import (
    Cursor,
    Figure,
    Rich,
    figure,
    joined,
    money,
    title,
)

__all__ = ["early_warning"]

_METRICS = {
    "average_precision": "Average precision",
    "brier": "Brier score",
    "brier_skill": "Brier skill",
}
_FAMILIES = {
    "xgboost": "Boosted trees",
    "boosting": "Boosted trees",
    "logistic": "Logistic",
    "base_rate": "Base rate",
}
# Kept short on the page; report.json and the tables hold every row.
_MAX_NAMES = 10


def early_warning(facts: Cursor) -> dict[str, Any] | None:
    """Build the queue and the evidence for its model."""
    found = facts["early_warning"]
    if found.is_absent:
        return None
    names = [name for name in found["names"] if not name["score"].is_absent][:_MAX_NAMES]
    scale = fmt.scale_for(name["exposure"].value for name in names)
    top = max((name["score"].value for name in names), default=1.0) or 1.0
    most = min(1.0, 1.2 * top)
    horizon, quantile = found["horizon_days"], found["threshold_quantile"]
    event = (
        "chance that the worst close of the next ",
        figure(horizon, fmt.plural(horizon.value, "day")),
        " is a loss beyond the ",
        figure(quantile, fmt.percent(quantile.value)),
        " quantile of its own past",
    )
    flagged = found["flagged"]
    if flagged.value:
        counts = joined(
            [
                (figure(part["value"], fmt.count(part["value"].value)), f" {part['label'].value}")
                for part in found["counts"]
            ]
        )
        finding: Rich = (
            figure(flagged, fmt.count(flagged.value)),
            " of ",
            figure(found["scored"], fmt.plural(found["scored"].value, "position")),
            " flagged: ",
            *counts,
        )
    else:
        finding = (
            figure(flagged, "No position"),
            " flagged; ",
            figure(found["scored"], fmt.count(found["scored"].value)),
            " scored",
            *(
                ()
                if not names
                else (
                    ", highest ",
                    figure(names[0]["score"], fmt.percent(names[0]["score"].value)),
                    f" ({names[0]['instrument_id'].value})",
                )
            ),
        )
    rest = len(found["names"]) - len(names)
    return {
        "finding": finding,
        "event": event,
        "rows": [_warned(name, scale, most) for name in names],
        "rest": rest if flagged.value else 0,
        "unit": scale.suffix,
        "empty": not flagged.value,
        "model": _model(found),
    }


def _warned(name: Cursor, scale: fmt.Scale, most: float) -> dict[str, Any]:
    return {
        "rank": figure(name["rank"], fmt.count(name["rank"].value)),
        "name": name["instrument_id"].value,
        "portfolio": name["portfolio_id"].value,
        "direction": name["direction"].value or "",
        "score": figure(name["score"], fmt.percent(name["score"].value)),
        "bucket": name["bucket"].value or fmt.NOT_AVAILABLE,
        "exposure": money(name["exposure"], scale, signed=True, suffix=False),
        "reasons": "; ".join(reason.value for reason in name["reasons"]) or "no reason recorded",
        "width": charts.percent(100 * name["score"].value / most),
    }


def _model(found: Cursor) -> dict[str, Any] | None:
    """Say what the model is worth: out of time, against the baselines, in plain words."""
    models, metrics = list(found["models"]), list(found["metrics"])
    if not models and not metrics:
        return None
    used = found["model_id"].value
    by_id = {model["model_id"].value: model for model in models}
    ids = list(dict.fromkeys([*by_id, *(metric["model_id"].value for metric in metrics)]))
    ids.sort(key=lambda id_: id_ not in by_id or by_id[id_]["role"].value == "baseline")
    cells = {(metric["model_id"].value, metric["metric"].value): metric for metric in metrics}
    columns = [name for name in _METRICS if any(name == metric for _, metric in cells)]
    rows = [
        {
            "name": _model_name(by_id, id_),
            "used": id_ == used,
            "cells": [_metric(cells[id_, name]) if (id_, name) in cells else None for name in columns],
        }
        for id_ in ids
    ]
    # A promoted candidate is the champion; beside one that was not, the champion may be any other model.
    roles = {model["role"].value: model for model in models}
    candidate = next((roles[role] for role in ("candidate", "challenger", "champion") if role in roles), None)
    blocks = next((metric["blocks"] for metric in metrics if not metric["blocks"].is_absent), None)
    points = list(found["calibration"])
    most = 1.08 * max((max(p["predicted"].value, p["observed"].value) for p in points), default=1.0) or 1.0
    return {
        "verdict": () if candidate is None else _verdict(candidate),
        "tone": "" if candidate is None or candidate["promoted"].value else "warn",
        "comparisons": _comparisons(metrics),
        "health": _health(list(found["health"])),
        "source": "" if used is None else f"Scores above: {_model_name(by_id, used)}.",
        "period": _period(models),
        "blocks": ()
        if blocks is None
        else ("intervals from ", figure(blocks, fmt.count(blocks.value)), " blocks of dates"),
        "columns": [_METRICS[name] for name in columns],
        "rows": rows,
        "points": [
            {
                "x": charts.percent(100 * p["predicted"].value / most),
                "y": charts.percent(100 - 100 * p["observed"].value / most),
                "text": (
                    f"{fmt.percent(p['predicted'].value)} predicted, "
                    f"{fmt.percent(p['observed'].value)} observed, {fmt.plural(p['rows'].value, 'row')}"
                ),
            }
            for p in points
        ],
        "most": fmt.percent(most),
    }


def _verdict(candidate: Cursor) -> Rich:
    promoted, reason = candidate["promoted"], candidate["reason"].value or ""
    word = "Promoted" if promoted.value else "Not promoted"
    # The gate's own sentence begins with the same word.
    detail = reason.removeprefix(f"{word}: ").removeprefix(word)
    return (figure(promoted, word), f": {detail}" if detail else "")


def _comparisons(metrics: list[Cursor]) -> Rich:
    """Candidate less each baseline on the same days; above zero is better."""
    parts: list[Rich] = []
    prefix = "average_precision_minus_"
    for metric in metrics:
        name = metric["metric"].value
        if not name.startswith(prefix) or metric["estimate"]["value"].is_absent:
            continue
        shown = _metric(metric, signed=True)
        low = metric["estimate"]["ci_low"].value
        verb = "beats" if low is not None and low > 0 else "does not clearly beat"
        parts.append(
            (
                f"{verb} {name.removeprefix(prefix).replace('_', ' ')} (",
                shown["value"],
                ", ",
                *shown["interval"],
                ")",
            )
        )
    return () if not parts else ("On average precision the candidate ", *joined(parts, "; "), ".")


def _period(models: list[Cursor]) -> Rich:
    tested = next((model for model in models if not model["tested_from"].is_absent), None)
    if tested is None:
        return ()

    def span(start: Cursor, end: Cursor) -> Rich:
        return (figure(start, fmt.short_day(start.value)), " to ", figure(end, fmt.short_day(end.value)))

    text: Rich = ("Tested out of time, ", *span(tested["tested_from"], tested["tested_to"]))
    if tested["trained_from"].is_absent:
        return text
    return (*text, "; trained on ", *span(tested["trained_from"], tested["trained_to"]))


def _health(findings: list[Cursor]) -> Rich:
    """Say what the monitor recommends, and name every finding that is more than ok."""
    advice = next((x for x in findings if x["kind"].value == "recommendation"), None)
    if advice is None:
        return ()
    word = "Train it again" if advice["status"].value == "retrain" else "Keep it"
    parts: list[Rich] = []
    for finding in findings:
        status = finding["status"].value
        if finding["kind"].value == "recommendation" or status == "ok":
            continue
        said = status.replace("_", " ")
        parts.append(
            (f"{finding['kind'].value} ", figure(finding["status"], said), f" ({finding['note'].value})")
        )
    return (figure(advice["status"], word), ": " if parts else "", *joined(parts, "; "), ".")


def _model_name(by_id: dict[str, Cursor], id_: str) -> str:
    if id_ not in by_id:
        return title(id_)
    family = by_id[id_]["family"].value
    return f"{_FAMILIES.get(family, title(family))}, {by_id[id_]['role'].value}"


def _metric(metric: Cursor, *, signed: bool = False) -> dict[str, Any]:
    estimate = metric["estimate"]
    low, high, value = (estimate[key] for key in ("ci_low", "ci_high", "value"))

    def text(fact: Cursor) -> Figure:
        return figure(fact, fmt.NOT_AVAILABLE if fact.is_absent else fmt.fixed(fact.value, 3, signed=signed))

    if low.is_absent or high.is_absent:
        return {"value": text(value), "interval": (estimate["note"].value or "",)}
    return {"value": text(value), "interval": (text(low), " – ", text(high))}
