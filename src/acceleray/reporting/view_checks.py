"""The page's sections about data and lineage: facts in, strings and positions of marks out."""

from __future__ import annotations

from typing import Any

from acceleray.domain.book import ROOT
from acceleray.reporting import charts
from acceleray.reporting import format as fmt
from acceleray.reporting.figures import (
    METHOD_NAMES,
    Cursor,
    Figure,
    Rich,
    figure,
    joined,
    measure_title,
    money,
    title,
)

__all__ = ["audit", "explain", "quality"]

# Kept short on the page; report.json and the tables hold every row.
_MAX_REJECTED, _MAX_AGED, _MAX_EXCLUDED, _MAX_DRIFT = 8, 8, 8, 4


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
        # A stage that died between its last commit and its record left no duration.
        took = stage["seconds"].value
        end = begin + (took or 0.0)
        startup = stage["startup_seconds"].value or 0.0
        attempt = stage["attempt"].value
        stages.append(
            {
                "name": stage["stage"].value,
                "engine": {"spark": "Spark", "ray": "Ray"}.get(stage["engine"].value, stage["engine"].value),
                "start": figure(
                    stage["started_at"], fmt.clock(stage["started_at"].value, zone, seconds=True)
                ),
                "seconds": ("not recorded",)
                if took is None
                else (figure(stage["seconds"], fmt.fixed(took, 1)),),
                "bar": charts.span(begin, min(end, most), 0.0, most),
                "startup": charts.span(begin, min(begin + startup, end, most), 0.0, most)
                if startup
                else None,
                "attempt": "" if attempt in (None, 1) else f"attempt {attempt}",
            }
        )
    # Starts that cost nothing, on an engine that already ran, are left out.
    overhead = [item for item in run["overhead"] if item["seconds"].value >= 0.05]
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
    def text(value: Any) -> str:
        return " ".join(map(str, value)) if isinstance(value, list) else str(value)

    return joined([(f"{name} ", figure(machine[name], text(machine[name].value))) for name in machine.value])


def explain(facts: Cursor) -> list[dict[str, Any]]:
    """Say of each headline figure how it is made and in which table it stands."""
    entries = []
    for tile in facts["headline"]:
        name, how, where = _explained(tile)
        note = tile["estimate"]["note"].value
        if note and tile["kind"].value == "amount":
            how += f" Interval: {note}."
        entries.append({"id": tile["id"].value, "name": name, "how": how, "where": where})
    return entries


def _explained(tile: Cursor) -> tuple[str, str, str]:
    kind, table = tile["kind"].value, tile["table"].value
    if kind == "count":
        how = (
            "Positions in the buckets high and watch. The score is the model's probability that the worst "
            f"close of the next {fmt.plural(tile['horizon_days'].value, 'day')} is a tail loss; options and "
            "futures are scored through their underlying and direction."
        )
        return "Early warning", how, f"{table}: score, bucket, rank"
    if kind == "pnl":
        scenario = tile["subject"].value
        how = f"Whole book revalued once under “{title(scenario)}”; the largest loss of all scenarios."
        return "Worst stress", how, f"{table}: portfolio_id {ROOT}, scenario {scenario}"
    if tile["level"].is_absent:
        scenario = tile["scenario"].value
        how = (
            "Sum over obligors of exposure × default probability within a year × mean loss given a default, "
            f"under “{title(scenario)}”; exact."
        )
        return "Expected credit loss", how, f"{table}: segment *, scenario {scenario}, measure expected_loss"
    measure, level, days = (tile[key].value for key in ("subject", "level", "horizon_days"))
    method = tile["method"].value
    where = f"{table}: portfolio_id {ROOT}, level {level:g}, horizon_days {days}, method {method}"
    if not tile["window_from"].is_absent:
        how = (
            "Mean of the worst losses of today’s book in the window of its whole history in which that mean "
            "is largest; shown beside it are the portfolios by themselves in the same window."
        )
        return f"Stressed {measure_title(measure, level, days)}", how, where
    how = (
        "The smallest loss that at least this share of scenarios does not exceed."
        if measure == "VaR"
        else "Mean of the worst losses beyond the level; the boundary scenario counts in part."
    )
    how += f" {METHOD_NAMES[method]} scenarios, the whole book revalued in each, no scaling by √time."
    return measure_title(measure, level, days), how, where
