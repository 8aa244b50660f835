"""Facts about a project and its runs, and their plain-text form."""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from acceleray.config.load import settings_id
from acceleray.config.models import Limit, Scenario, Settings
from acceleray.domain.calendar import next_bell
from acceleray.domain.inputs import Finding
from acceleray.errors import UsageError
from acceleray.lake.lock import current_holder
from acceleray.pipeline.journal import Journal, latest_run, run_ids
from acceleray.pipeline.night import lake_root
from acceleray.pipeline.outcome import published
from acceleray.pipeline.plan import committed_tables, night_plan, pending

__all__ = ["findings_as_text", "plan_as_text", "plan_facts", "report_path", "status_as_text", "status_facts"]


def plan_facts(
    project: Path,
    settings: Settings,
    scenarios: tuple[Scenario, ...],
    limits: tuple[Limit, ...],
    target: str,
) -> dict[str, Any]:
    """Gather what a night would do, and how long the last complete one took."""
    if target not in settings.targets:
        raise UsageError(
            f"--target {target}: not in the settings", hint=f"Known: {', '.join(settings.targets)}"
        )
    bell = next_bell(settings.bell.exchange, settings.as_of)
    seconds = _past_seconds(project)
    stages = [
        {
            "stage": stage.name,
            "engine": stage.engine,
            "reads": list(stage.reads),
            "writes": list(stage.writes),
            "seconds_last_run": seconds.get(stage.name),
        }
        for stage in night_plan()
    ]
    return {
        "name": settings.name,
        "as_of": settings.as_of.isoformat(),
        "target": target,
        "settings_id": settings_id(settings, scenarios, limits),
        "bell": bell.local.isoformat(),
        "exchange": bell.exchange,
        "deadline": (bell.local - dt.timedelta(minutes=settings.bell.lead_minutes)).isoformat(),
        "bell_has_rung": dt.datetime.now(dt.UTC) >= bell.opens_at,
        "stages": stages,
        "scenarios": [scenario.name for scenario in scenarios],
        "limits": len(limits),
    }


def plan_as_text(facts: Mapping[str, Any]) -> str:
    """Lay out the plan of a night."""
    bell = dt.datetime.fromisoformat(facts["bell"])
    rung = " (rung already: a historical night)" if facts["bell_has_rung"] else ""
    lines = [
        f"{facts['name']}, as of {facts['as_of']}, target {facts['target']}, settings {facts['settings_id']}",
        f"bell: {facts['exchange']} opens {bell:%a %d %b %Y %H:%M %Z}{rung}",
        "",
    ]
    for stage in facts["stages"]:
        past = stage["seconds_last_run"]
        took = f"{past:6.1f} s last time" if past is not None else "     not run yet"
        lines.append(f"{stage['stage']:<10} {stage['engine']:<6} {took}  -> {', '.join(stage['writes'])}")
    known = [stage["seconds_last_run"] for stage in facts["stages"]]
    if all(value is not None for value in known):
        lines += ["", f"together {sum(known):.0f} s last time"]
    return "\n".join(lines)


def status_facts(project: Path, run_id: str | None) -> dict[str, Any]:
    """Gather the state of a run from its journal and the Delta logs."""
    run_id = run_id or latest_run(project)
    journal = Journal(project / "runs" / run_id)
    header = journal.header()
    stages = night_plan()
    committed = committed_tables(lake_root(project), run_id, stages)
    todo = {stage.name for stage in pending(stages, committed)}
    described = []
    for stage in stages:
        last = journal.last(stage.name)
        state = "committed" if stage.name not in todo else (last["state"] if last else "waiting")
        described.append(
            {
                "stage": stage.name,
                "state": state,
                "attempts": last["attempt"] if last else 0,
                "seconds": last.get("seconds") if last else None,
                "error": last.get("error") if last and state != "committed" else None,
                "tables": {name: committed.get(name) for name in stage.writes},
            }
        )
    result = journal.result()
    holder = current_holder(project) or {}
    is_running = holder.get("run_id") == run_id
    state = result["state"] if result else "RUNNING" if is_running else "UNFINISHED"
    return {
        "run_id": run_id,
        "as_of": header["as_of"],
        "started_at": header["started_at"],
        "state": state,
        "process": holder.get("pid") if is_running else None,
        "published": (published(project) or {}).get("run_id"),
        "stages": described,
        "runs": run_ids(project),
    }


def status_as_text(facts: Mapping[str, Any]) -> str:
    """Lay out the state of a run."""
    lines = [f"run {facts['run_id']}, as of {facts['as_of']}: {facts['state']}"]
    for stage in facts["stages"]:
        took = f"{stage['seconds']:.1f} s" if stage["seconds"] else ""
        again = f", attempt {stage['attempts']}" if stage["attempts"] > 1 else ""
        lines.append(f"  {stage['stage']:<10} {stage['state']:<12} {took}{again}".rstrip())
        if stage["error"]:
            lines.append(f"             {stage['error']}")
    lines.append(f"published: {facts['published'] or 'none'}")
    if facts["state"] == "RUNNING":
        lines.append(f"process {facts['process']} is at work.")
    elif any(stage["state"] != "committed" for stage in facts["stages"]):
        lines.append("`acceleray retry` computes what is missing.")
    return "\n".join(lines)


def report_path(project: Path, run_id: str | None) -> Path:
    """Find the report of a run, by default the published one.

    Raises
    ------
    UsageError
        If there is none.
    """
    if run_id is None:
        found = published(project)
        if found is None:
            raise UsageError("no report has been published yet", hint="Start a night with `acceleray run`.")
        run_id = str(found["run_id"])
    path = project / "runs" / run_id / "report.html"
    if not path.is_file():
        raise UsageError(f"run {run_id} has no report", hint="Finish it with `acceleray retry`.")
    return path


def _past_seconds(project: Path) -> dict[str, float | None]:
    for run_id in reversed(run_ids(project)):
        result = Journal(project / "runs" / run_id).result()
        if result is not None:
            stages: Mapping[str, Mapping[str, float | None]] = result["stages"]
            return {name: stage["seconds"] for name, stage in stages.items()}
    return {}


def findings_as_text(findings: Sequence[Finding]) -> str:
    """Lay out what `check` found: where and what, and below it what to do."""
    if not findings:
        return "settings and inputs are fine"
    return "\n".join(f"{finding}\n  Hint: {finding.hint}" for finding in findings)
