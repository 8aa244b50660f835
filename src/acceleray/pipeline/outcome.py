"""What came of a night: its state, its exit code, its place among the published ones."""

from __future__ import annotations

import datetime as dt
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow.compute as pc

from acceleray.errors import StorageError
from acceleray.lake.files import write_atomic
from acceleray.lake.night import NightTables
from acceleray.pipeline.journal import Journal
from acceleray.pipeline.plan import STAGES, StagePlan, committed_tables

__all__ = ["Outcome", "conclude", "exit_code", "night_facts", "published"]

PARTIAL_EXIT = 4
_SHOWN = 5
BREACH_EXIT = 5
LATE_EXIT = 6


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """The end of a run, for people and programs."""

    run_id: str
    state: str
    exit_code: int
    breaches: int
    computed: tuple[str, ...]
    report: str | None
    warnings: tuple[str, ...]
    headline: dict[str, float]


def exit_code(*, state: str, breaches: int = 0, fail_on_breach: bool = False, late: bool = False) -> int:
    """Choose the exit code of a finished night; the lowest that applies wins.

    Examples
    --------
    >>> exit_code(state="PARTIAL", breaches=1, fail_on_breach=True, late=True)
    4
    >>> exit_code(state="COMPLETE", breaches=1, fail_on_breach=False, late=False)
    0
    """
    if state == "PARTIAL":
        return PARTIAL_EXIT
    if breaches and fail_on_breach:
        return BREACH_EXIT
    return LATE_EXIT if late else 0


def night_facts(lake: Path, journal: Journal, header: dict[str, Any], *, now: dt.datetime) -> dict[str, Any]:
    """Gather what the report says about the run itself."""
    state, warnings = _state(NightTables(root=lake, run_id=header["run_id"]))
    stages, tables = [], []
    for entry in _committed_attempts(journal):
        record = entry.get("record") or {}
        stages.append(
            {
                "stage": entry["stage"],
                "engine": entry["engine"],
                "started_at": entry["started_at"],
                "seconds": entry["seconds"],
                "startup_seconds": entry["startup_seconds"],
                "attempt": entry["attempt"],
                "overhead": {key: value for key, value in record.items() if key.endswith("_seconds")},
            }
        )
        for name, table in entry["tables"].items():
            tables.append({"table": name, "stage": entry["stage"], **table})
    settings = header["settings"]
    started, bell = (
        dt.datetime.fromisoformat(header["started_at"]),
        dt.datetime.fromisoformat(header["bell_at"]),
    )
    lead = dt.timedelta(minutes=settings["bell"]["lead_minutes"])
    return {
        "run_id": header["run_id"],
        "name": header["name"],
        "as_of": header["as_of"],
        "base_currency": settings["base_currency"],
        "target": header["target"],
        "started_at": header["started_at"],
        "published_at": now.isoformat(),
        "bell_at": header["bell_at"],
        "bell_zone": header["bell_zone"],
        "deadline_at": (bell - lead).isoformat(),
        "historical_night": started >= bell,
        "state": state,
        "warnings": list(warnings),
        "stages": stages,
        "tables": tables,
        "settings_id": header["settings_id"],
        "code_version": header["code_version"],
        "lock_sha256": header["packages_sha256"],
        "seeds": {
            "simulate": settings["simulate"]["seed"],
            "calibrate": settings["calibrate"]["seed"],
            "train": settings["train"]["seed"],
        },
        "mlflow_run_id": header["mlflow_run_id"],
        "tracking_uri": "lake/mlflow.db",
        "machine": header["machine"],
        "overhead": [
            {"name": f"{stage['stage']}: start {stage['engine']}", "seconds": stage["startup_seconds"]}
            for stage in stages
            if stage["startup_seconds"]
        ],
    }


def conclude(
    lake: Path,
    journal: Journal,
    header: dict[str, Any],
    stages: Sequence[StagePlan],
    computed: Sequence[str],
    *,
    now: dt.datetime,
    fail_on_breach: bool = False,
) -> Outcome:
    """Judge a run after its last stage, and publish it if it is finished.

    A partial run never replaces a complete one of the same business date.
    """
    run_id = header["run_id"]
    committed = committed_tables(lake, run_id, stages)
    if any(not set(stage.writes) <= set(committed) for stage in stages):
        return Outcome(
            run_id=run_id,
            state="UNFINISHED",
            exit_code=0,
            breaches=0,
            computed=tuple(computed),
            report=None,
            warnings=(),
            headline={},
        )
    tables = NightTables(root=lake, run_id=run_id)
    state = tables.read("check.published").column("state")[0].as_py()
    _, warnings = _state(tables)
    limits = tables.read("check.limits")
    breached = limits.filter(pc.equal(limits["state"], "breach")).to_pylist()
    breaches = len(breached)
    warnings = [*warnings, *(_breach(row) for row in breached)]
    started, bell = (
        dt.datetime.fromisoformat(header["started_at"]),
        dt.datetime.fromisoformat(header["bell_at"]),
    )
    earlier = journal.result()
    finished = now if earlier is None else dt.datetime.fromisoformat(earlier["finished_at"])
    late = started < bell < finished
    outcome = Outcome(
        run_id=run_id,
        state=state,
        exit_code=exit_code(state=state, breaches=breaches, fail_on_breach=fail_on_breach, late=late),
        breaches=breaches,
        computed=tuple(computed),
        report=str(journal.directory / "report.html"),
        warnings=tuple(warnings),
        headline=_headline(tables, header["settings"]["simulate"]),
    )
    if earlier is None:
        journal.close(
            {
                "run_id": run_id,
                "as_of": header["as_of"],
                "state": state,
                "exit_code": outcome.exit_code,
                "late": late,
                "breaches": breaches,
                "warnings": list(warnings),
                "started_at": header["started_at"],
                "finished_at": finished.isoformat(),
                "stages": {
                    entry["stage"]: {"seconds": entry["seconds"], "attempts": entry["attempt"]}
                    for entry in _committed_attempts(journal)
                },
                "controls": tables.read("raw.controls").drop_columns(["last_date"]).to_pylist(),
            }
        )
    # Also on a retry: the process may have died between the two files.
    _publish(journal.directory.parent, header, state)
    return outcome


def published(project: Path) -> dict[str, Any] | None:
    """Read which run is the published one, None before the first."""
    path = project / "runs" / "published.json"
    if not path.is_file():
        return None
    try:
        found: dict[str, Any] = json.loads(path.read_text())
    except ValueError as error:
        raise StorageError(
            f"{path}: is damaged: {error}",
            hint="Remove it; `acceleray retry --run-id` of a night writes it again.",
        ) from error
    return found


def _publish(runs: Path, header: dict[str, Any], state: str) -> None:
    current = published(runs.parent)
    if (
        current
        and state == "PARTIAL"
        and (current["as_of"], current["state"]) == (header["as_of"], "COMPLETE")
    ):
        return
    if current and current["as_of"] > header["as_of"]:
        return
    content = {"run_id": header["run_id"], "as_of": header["as_of"], "state": state}
    write_atomic(runs / "published.json", (json.dumps(content) + "\n").encode())


def _state(tables: NightTables) -> tuple[str, list[str]]:
    values = tables.read("result.values")
    left_out = values.filter(pc.not_equal(values["status"], "ok")).to_pylist()
    excluded = len(left_out)
    rejected = tables.read("raw.rejected").num_rows
    warnings = [
        f"left out: {row['portfolio_id']} {row['instrument_id']}: {row['reason']}"
        for row in left_out[:_SHOWN]
    ]
    if excluded > _SHOWN:
        warnings.append(f"left out: {excluded - _SHOWN} more positions, see the report")
    if rejected:
        warnings.append(f"{rejected} rows were rejected, see raw.rejected and the report")
    warnings += [
        f"{row['subject']}: {row['detail']}"
        for row in tables.read("check.quality").to_pylist()
        if row["kind"] in {"aged", "stale"}
    ]
    return ("PARTIAL" if excluded or rejected else "COMPLETE"), warnings


def _breach(row: dict[str, Any]) -> str:
    what = row["scenario"] or row["type"]
    if row["level"]:
        what = f"{row['type']} {row['level']:g} over {row['horizon_days']} days"
    # A share of NAV or a number of days is too small for whole units.
    form = ",.0f" if row["unit"] == "amount" else ",.4g"
    return f"limit breached: {row['portfolio_id']}, {what}: {row['value']:{form}} of {row['limit']:{form}}"


def _headline(tables: NightTables, simulate: dict[str, Any]) -> dict[str, float]:
    wanted = {("VaR", simulate["var_level"]), ("ES", simulate["es_level"])}
    return {
        f"{row['measure']}_{row['level']:g}_{row['horizon_days']}d": row["value"]
        for row in tables.read("result.measures").to_pylist()
        if row["portfolio_id"] == "Fund"
        and row["method"] == simulate["headline_method"]
        and (row["measure"], row["level"]) in wanted
    }


def _committed_attempts(journal: Journal) -> list[dict[str, Any]]:
    found = [entry for stage in STAGES for entry in journal.attempts(stage) if entry["state"] == "committed"]
    return sorted(found, key=lambda entry: str(entry["started_at"]))
