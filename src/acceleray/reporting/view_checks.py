"""The page's sections about credit, early warning, data and lineage: facts in, strings and positions out."""

from __future__ import annotations

from typing import Any

from acceleray.reporting import charts
from acceleray.reporting import format as fmt
from acceleray.reporting.figures import (
    METHOD_NAMES,
    Cursor,
    Figure,
    Rich,
    estimate_money,
    figure,
    interval,
    joined,
    money,
    title,
)

__all__ = ["audit", "credit", "early_warning", "explain", "quality"]

_METRICS = {
    "average_precision": "Average precision",
    "brier": "Brier score",
    "brier_score": "Brier score",
    "log_loss": "Log loss",
}
# Kept short on the page; report.json and the tables hold every row.
_MAX_REJECTED, _MAX_AGED, _MAX_EXCLUDED, _MAX_DRIFT, _MAX_NAMES = 8, 8, 8, 4, 10


def credit(facts: Cursor) -> dict[str, Any] | None:
    """Build the credit scenarios and segments."""
    found = facts["credit"]
    if found.is_absent:
        return None
    cases = list(found["scenarios"])
    scale = fmt.scale_for(case["var"]["value"].value for case in cases)
    most = 1.04 * max(
        [
            value
            for case in cases
            for value in (
                case["var"]["ci_high"].value,
                case["var"]["value"].value,
                case["asrf"]["value"].value,
                case["expected_loss"]["value"].value,
            )
            if value is not None
        ],
        default=1.0,
    )
    level = fmt.level(found["level"].value)
    base = cases[0]
    worst = max(cases, key=lambda case: case["var"]["value"].value or 0.0)
    finding: list[str | Figure] = [f"VaR {level} is ", estimate_money(base["var"], scale)]
    if worst["scenario"].value != base["scenario"].value:
        finding += [
            " in base, ",
            estimate_money(worst["var"], scale),
            f" in {_lower(worst['scenario'].value)}",
        ]
    book: list[str | Figure] = []
    if not found["obligors"].is_absent:
        book += [figure(found["obligors"], fmt.count(found["obligors"].value)), " obligors"]
    if not found["ead"].is_absent:
        book += [", exposure ", money(found["ead"])]
    segments = list(found["segments"])
    segment_scale = fmt.scale_for(x["var"]["value"].value for x in segments)
    paths = base["n_paths"]
    return {
        "label": found["label"].value,
        "finding": tuple(finding),
        "book": tuple(book),
        "level": level,
        "rows": [_credit_case(case, scale, most) for case in cases],
        "segments": [_segment(x, segment_scale) for x in segments],
        "segment_unit": _unit(segment_scale, facts),
        "unit": _unit(scale, facts),
        "paths": () if paths.is_absent else (figure(paths, fmt.count(paths.value)), " paths, "),
        "irb_reasons": sorted(
            {
                x["irb_capital"]["note"].value
                for x in [*cases, *segments]
                if x["irb_capital"]["value"].is_absent and x["irb_capital"]["note"].value
            }
        ),
    }


def _lower(name: str) -> str:
    return title(name).lower()


def _unit(scale: fmt.Scale, facts: Cursor) -> str:
    word = {"bn": "Billion ", "m": "Million ", "k": "Thousand ", "": ""}[scale.suffix]
    return f"{word}{facts['base_currency'].value}"


def _credit_case(case: Cursor, scale: fmt.Scale, most: float) -> dict[str, Any]:
    var, expected, asrf = case["var"], case["expected_loss"], case["asrf"]
    low, high = var["ci_low"].value, var["ci_high"].value

    def at(value: float | None) -> str | None:
        return None if value is None else charts.percent(100 * value / most)

    return {
        "name": title(case["scenario"].value),
        "el": estimate_money(expected, scale, suffix=False),
        "var": estimate_money(var, scale, suffix=False),
        "interval": interval(var, scale),
        "asrf": estimate_money(asrf, scale, suffix=False),
        "capital": estimate_money(case["economic_capital"], scale, suffix=False),
        "irb": estimate_money(case["irb_capital"], scale, suffix=False),
        "at_el": at(expected["value"].value),
        "at_var": at(var["value"].value),
        "at_asrf": at(asrf["value"].value),
        "band": None if low is None or high is None else (at(low), at(high)),
    }


def _segment(case: Cursor, scale: fmt.Scale) -> dict[str, Any]:
    return {
        "name": title(case["segment"].value),
        "el": estimate_money(case["expected_loss"], scale, suffix=False),
        "var": estimate_money(case["var"], scale, suffix=False),
        "contribution": estimate_money(case["contribution"], scale, suffix=False),
        "irb": estimate_money(case["irb_capital"], scale, suffix=False),
    }


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
        "bucket": name["bucket"].value or "n/a",
        "exposure": money(name["exposure"], scale, signed=True, suffix=False),
        "reasons": ", ".join(reason.value for reason in name["reasons"]) or "no reason recorded",
        "width": charts.percent(100 * name["score"].value / most),
    }


def _model(found: Cursor) -> dict[str, Any] | None:
    models = list(found["models"])
    metrics = list(found["metrics"])
    if not models and not metrics:
        return None
    used = found["model_id"].value
    roles = {model["model_id"].value: model for model in models}
    columns = list(dict.fromkeys(metric["metric"].value for metric in metrics))
    ids = list(dict.fromkeys(metric["model_id"].value for metric in metrics))
    ids.sort(key=lambda id_: (id_ != used, "baseline" in str(_role(roles, id_)), ids.index(id_)))
    table = []
    for id_ in ids:
        cells = []
        for column in columns:
            metric = next(
                (m for m in metrics if m["model_id"].value == id_ and m["metric"].value == column), None
            )
            cells.append(None if metric is None else _metric(metric))
        table.append({"name": _model_name(roles, id_), "used": id_ == used, "cells": cells})
    candidate = next(
        (m for m in models if m["role"].value in ("candidate", "champion") and not _is_baseline(m)), None
    )
    verdict: Rich = ()
    tone = ""
    if candidate is not None:
        promoted = candidate["promoted"].value
        verdict = (
            figure(candidate["promoted"], "Promoted" if promoted else "Not promoted"),
            f": {candidate['reason'].value}" if candidate["reason"].value else "",
        )
        tone = "" if promoted else "warn"
    tested = next((m for m in models if not m["tested_from"].is_absent), None)
    period: Rich = ()
    if tested is not None:
        period = (
            "Tested out of time, ",
            figure(tested["tested_from"], fmt.short_day(tested["tested_from"].value)),
            " to ",
            figure(tested["tested_to"], fmt.short_day(tested["tested_to"].value)),
        )
        if not tested["trained_from"].is_absent:
            period += (
                "; trained on ",
                figure(tested["trained_from"], fmt.short_day(tested["trained_from"].value)),
                " to ",
                figure(tested["trained_to"], fmt.short_day(tested["trained_to"].value)),
            )
    blocks = next((m for m in metrics if not m["blocks"].is_absent), None)
    points = list(found["calibration"])
    most = max((max(p["predicted"].value, p["observed"].value) for p in points), default=1.0) * 1.08 or 1.0
    return {
        "verdict": verdict,
        "tone": tone,
        "period": period,
        "blocks": ()
        if blocks is None
        else (
            "intervals from ",
            figure(blocks["blocks"], fmt.count(blocks["blocks"].value)),
            " blocks of dates",
        ),
        "columns": [_METRICS.get(column, title(column)) for column in columns],
        "rows": table,
        "used": used or "",
        "points": [
            {
                "x": charts.percent(100 * p["predicted"].value / most),
                "y": charts.percent(100 - 100 * p["observed"].value / most),
                "predicted": figure(p["predicted"], fmt.percent(p["predicted"].value)),
                "observed": figure(p["observed"], fmt.percent(p["observed"].value)),
                "rows": figure(p["rows"], fmt.count(p["rows"].value)),
            }
            for p in points
        ],
        "most": fmt.percent(most),
    }


def _is_baseline(model: Cursor) -> bool:
    return "baseline" in str(model["role"].value) or "baseline" in str(model["family"].value)


def _role(roles: dict[str, Cursor], id_: str) -> str | None:
    return roles[id_]["role"].value if id_ in roles else "baseline"


def _model_name(roles: dict[str, Cursor], id_: str) -> str:
    if id_ not in roles:
        return title(id_)
    return f"{title(roles[id_]['family'].value)} ({roles[id_]['role'].value})"


def _metric(metric: Cursor) -> dict[str, Any]:
    estimate = metric["estimate"]
    low, high, value = (estimate[key] for key in ("ci_low", "ci_high", "value"))
    digits = 3

    def text(fact: Cursor) -> Figure:
        return figure(fact, fmt.NOT_AVAILABLE if fact.is_absent else fmt.fixed(fact.value, digits))

    if low.is_absent or high.is_absent:
        return {"value": text(value), "interval": (estimate["note"].value or "",)}
    return {"value": text(value), "interval": (text(low), " – ", text(high))}


def quality(facts: Cursor) -> dict[str, Any]:
    """Build what was left out, what was old, what came in, and what is approximate."""
    found, coverage = facts["data"], facts["coverage"]
    share, rejected = coverage["value"], coverage["rows_rejected"]
    if share.is_absent:
        covered: Rich = (
            figure(coverage["positions_included"], fmt.count(coverage["positions_included"].value)),
            " of ",
            figure(coverage["positions_total"], fmt.plural(coverage["positions_total"].value, "position")),
            " priced",
        )
    else:
        covered = (
            figure(share, fmt.percent(share.value, _coverage_decimals(share.value))),
            " of market value priced",
        )
    aged = list(found["aged"])
    drift = list(found["drift"])
    high = [x for x in drift if x["psi"].value is not None and x["psi"].value >= found["drift_warning"].value]
    finding = (
        *covered,
        "; ",
        figure(rejected, fmt.plural(rejected.value, "row") if rejected.value else "no row"),
        " rejected",
        f"; {fmt.plural(len(aged), 'aged series', 'aged series')}" if aged else "",
    )
    scale = fmt.scale_for(x["market_value"].value for x in found["excluded"])
    return {
        "finding": finding,
        "excluded": [
            {
                "name": x["instrument_id"].value,
                "portfolio": x["portfolio_id"].value,
                "reason": x["reason"].value or "no reason recorded",
                "value": money(x["market_value"], scale, suffix=True),
            }
            for x in list(found["excluded"])[:_MAX_EXCLUDED]
        ],
        "excluded_rest": max(0, len(found["excluded"]) - _MAX_EXCLUDED),
        "rejected": [
            {
                "where": _where(x),
                "column": x["column"].value or "",
                "value": x["value"].value if x["value"].value is not None else "",
                "reason": x["reason"].value,
            }
            for x in list(found["rejected"])[:_MAX_REJECTED]
        ],
        "rejected_rest": max(0, len(found["rejected"]) - _MAX_REJECTED),
        "aged": [
            {
                "name": x["factor_id"].value,
                "observed": figure(x["observed_on"], fmt.short_day(x["observed_on"].value)),
                "age": figure(x["age_days"], fmt.count(x["age_days"].value)),
                "max": figure(x["max_age_days"], fmt.count(x["max_age_days"].value)),
            }
            for x in aged[:_MAX_AGED]
        ],
        "aged_rest": max(0, len(aged) - _MAX_AGED),
        "controls": [_control(x) for x in found["controls"]],
        "drift_high": len(high),
        "drift_total": len(drift),
        "drift": [
            {
                "name": x["feature"].value,
                "psi": figure(
                    x["psi"], fmt.NOT_AVAILABLE if x["psi"].is_absent else fmt.fixed(x["psi"].value, 2)
                ),
                "status": x["status"].value,
            }
            for x in drift[:_MAX_DRIFT]
        ],
        "drift_warning": figure(found["drift_warning"], fmt.fixed(found["drift_warning"].value, 2)),
        "warnings": [warning.value for warning in facts["warnings"]],
        "approximations": [text.value for text in found["approximations"]],
    }


def _coverage_decimals(share: float) -> int:
    return 0 if share == 1.0 else 1


def _where(row: Cursor) -> str:
    place = row["file"].value or row["input"].value
    return place if row["line"].is_absent else f"{place}:{row['line'].value}"


def _control(control: Cursor) -> dict[str, Any]:
    total = control["amount_total"]
    after = control["rows_after_as_of"]
    return {
        "name": control["input"].value,
        "source": control["source"].value or "",
        "last": "–"
        if control["last_date"].is_absent
        else figure(control["last_date"], fmt.short_day(control["last_date"].value)),
        "read": figure(control["rows_read"], fmt.count(control["rows_read"].value)),
        "accepted": figure(control["rows_accepted"], fmt.count(control["rows_accepted"].value)),
        "after": figure(after, fmt.count(after.value)),
        "rejected": figure(control["rows_rejected"], fmt.count(control["rows_rejected"].value)),
        "total": ()
        if total.is_absent
        else (f"{control['amount_column'].value} ", figure(total, fmt.fixed(total.value, 2))),
    }


def audit(facts: Cursor) -> dict[str, Any]:
    """Build the stages on the clock and what a replay needs."""
    run = facts["run"]
    zone, start = run["bell_zone"].value, run["started_at"].value
    most = max(run["seconds"].value, 1e-9)
    stages = []
    for stage in run["stages"]:
        begin = fmt.seconds_between(start, stage["started_at"].value)
        end = begin + stage["seconds"].value
        startup = stage["startup_seconds"].value or 0.0
        attempt = stage["attempt"].value
        stages.append(
            {
                "name": stage["stage"].value,
                "engine": {"spark": "Spark", "ray": "Ray"}.get(stage["engine"].value, stage["engine"].value),
                "start": figure(
                    stage["started_at"], fmt.clock(stage["started_at"].value, zone, seconds=True)
                ),
                "seconds": figure(stage["seconds"], fmt.fixed(stage["seconds"].value, 1)),
                "bar": charts.span(begin, min(end, most), 0.0, most),
                "startup": charts.span(begin, min(begin + startup, end, most), 0.0, most)
                if startup
                else None,
                "attempt": "" if attempt in (None, 1) else f"attempt {attempt}",
            }
        )
    overhead = list(run["overhead"])
    seeds = joined(
        [
            (f"{name} ", figure(run["seeds"][name], str(run["seeds"][name].value)))
            for name in run["seeds"].value
        ]
    )
    pairs: list[tuple[str, Rich, bool]] = [
        ("Run", (figure(run["run_id"], run["run_id"].value),), True),
        ("Settings", (_short(run["settings_id"], 12),), True),
        ("Code", (figure(run["code_version"], str(run["code_version"].value)),), True),
        ("Lock", (_short(run["lock_sha256"], 12),), True),
        ("Seeds", seeds, False),
        ("Target", (figure(run["target"], str(run["target"].value)),), False),
        ("MLflow run", (_short(run["mlflow_run_id"], 12),), True),
        ("Machine", _machine(run["machine"]), False),
    ]
    return {
        "finding": (
            figure(run["seconds"], fmt.duration(run["seconds"].value)),
            f" from start to publication; {fmt.plural(len(run['tables']), 'table version')} on record",
        ),
        "stages": stages,
        "has_startup": any(stage["startup"] for stage in stages),
        "overhead": joined(
            [
                (f"{item['name'].value} ", figure(item["seconds"], fmt.fixed(item["seconds"].value, 1)), " s")
                for item in overhead
            ]
        ),
        "pairs": [{"name": name, "value": value, "code": code} for name, value, code in pairs if value],
        "tables": [
            {
                "name": table["table"].value,
                "version": figure(table["version"], str(table["version"].value)),
                "rows": figure(table["rows"], fmt.count(table["rows"].value)),
                "hash": _short(table["content_hash"], 8),
            }
            for table in run["tables"]
        ],
    }


def _short(fact: Cursor, length: int) -> Figure:
    if fact.is_absent:
        return figure(fact, fmt.NOT_AVAILABLE)
    text = str(fact.value)
    return figure(fact, text if len(text) <= length else text[:length] + "…")


def _machine(machine: Cursor) -> Rich:
    return joined([(f"{name} ", figure(machine[name], str(machine[name].value))) for name in machine.value])


def explain(facts: Cursor) -> list[dict[str, Any]]:
    """Say of each headline figure how it is made and in which table it stands."""
    entries = []
    for tile in facts["headline"]:
        kind, method = tile["kind"].value, tile["method"].value
        note = tile["estimate"]["note"].value
        table = tile["table"].value
        if kind == "count":
            name, how = (
                "Early warning",
                (
                    "Positions in the buckets high and watch. The score is the model's probability that the position's "
                    f"worst close of the next {tile['horizon_days'].value} days is a tail loss; options and futures are "
                    "scored through their underlying and direction."
                ),
            )
            where = f"{table}: score, bucket"
        elif kind == "pnl":
            name = "Worst stress"
            how = f"Whole book revalued once under “{title(tile['subject'].value)}”; the largest loss of all scenarios."
            where = f"{table}: portfolio_id Fund, scenario {tile['subject'].value}"
        elif tile["level"].is_absent:
            name = "Expected credit loss"
            how = "Sum over obligors of exposure × default probability × loss given default, base scenario."
            where = f"{table}: segment *, scenario base, measure expected_loss"
        else:
            measure, level = tile["subject"].value, tile["level"].value
            days = tile["horizon_days"].value
            name = f"{measure} {fmt.level(level)}, {fmt.plural(days, 'day')}"
            statistic = (
                "The smallest loss that at least this share of scenarios does not exceed"
                if measure == "VaR"
                else "Mean of the worst losses beyond the level, the boundary scenario counted in part"
            )
            how = f"{statistic}. {METHOD_NAMES[method]} scenarios, whole book revalued in each; no scaling by √time."
            where = f"{table}: portfolio_id Fund, level {level:g}, horizon_days {days}, method {method}"
        if note and kind == "amount":
            how += f" Interval: {note}."
        entries.append({"id": tile["id"].value, "name": name, "how": how, "where": where})
    return entries
