"""Run a night, or what is left of one. Starting and recovering are the same path."""

from __future__ import annotations

import datetime as dt
import time
import traceback
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from acceleray.config.load import settings_id
from acceleray.config.models import Limit, Scenario, Settings, TargetSettings, canonical
from acceleray.domain.calendar import next_bell
from acceleray.domain.tables import contract
from acceleray.errors import LineageError, UsageError
from acceleray.lake.delta import Commit, commit_files
from acceleray.lake.lock import project_lock
from acceleray.lake.night import NightTables
from acceleray.pipeline.engines import Engines, as_engine_error
from acceleray.pipeline.journal import Journal, new_run_id
from acceleray.pipeline.outcome import Outcome, conclude, night_facts
from acceleray.pipeline.plan import StagePlan, committed_tables, night_plan, pending
from acceleray.pipeline.provenance import code_version, machine, packages_sha256
from acceleray.stages.context import StageContext
from acceleray.tracking.runs import Tracker

__all__ = ["Night", "lake_root", "new_night", "resume", "start"]

Clock = Callable[[], dt.datetime]


def _utc_now() -> dt.datetime:
    return dt.datetime.now(dt.UTC)


def lake_root(project: Path) -> Path:
    """Folder of a project's Delta tables."""
    return project / "lake"


@dataclass(kw_only=True)
class Night:
    """Everything that one run needs to know about itself.

    Parameters
    ----------
    project : Path
        Project directory.
    settings, scenarios, limits
        Parsed and frozen.
    target : str
        Name of the target; it says where the night runs, never what it computes.
    run_id : str
        The run.
    progress : callable
        Takes a line for people.
    fail_on_breach : bool
        Whether a limit breach is an exit code.
    clock : callable
        Returns the time in UTC.
    """

    project: Path
    settings: Settings
    scenarios: tuple[Scenario, ...]
    limits: tuple[Limit, ...]
    target: str
    run_id: str
    progress: Callable[[str], None]
    fail_on_breach: bool = False
    clock: Clock = field(default=_utc_now)

    @property
    def directory(self) -> Path:
        """``runs/<run_id>``."""
        return self.project / "runs" / self.run_id

    @property
    def journal(self) -> Journal:
        """The journal of this run."""
        return Journal(self.directory)

    @property
    def lake(self) -> Path:
        """Root of the Delta tables."""
        return lake_root(self.project)

    @property
    def target_settings(self) -> TargetSettings:
        """Settings of the chosen target."""
        self.check_target()
        return self.settings.targets[self.target]

    def check_target(self) -> None:
        """Make sure that the settings have the chosen target.

        Raises
        ------
        UsageError
            If they do not.
        """
        if self.target not in self.settings.targets:
            raise UsageError(
                f"--target {self.target}: not in the settings",
                hint=f"Known: {', '.join(self.settings.targets)}",
            )


def start(night: Night, *, only: tuple[str, ...] | None = None) -> Outcome:
    """Open a new run and work through it."""
    night.check_target()
    bell = next_bell(night.settings.bell.exchange, night.settings.as_of)
    with project_lock(night.project, night.run_id):
        tracker = Tracker(night.project, night.settings.name)
        identity = settings_id(night.settings, night.scenarios, night.limits)
        tags = {"run_id": night.run_id, "as_of": night.settings.as_of.isoformat(), "settings_id": identity}
        header: dict[str, Any] = {
            "run_id": night.run_id,
            "name": night.settings.name,
            "as_of": night.settings.as_of.isoformat(),
            "started_at": night.clock().isoformat(),
            "bell_at": bell.opens_at.isoformat(),
            "bell_zone": bell.time_zone,
            "target": night.target,
            "settings_id": identity,
            "settings": canonical(night.settings),
            "scenarios": [canonical(scenario) for scenario in night.scenarios],
            "limits": [canonical(limit) for limit in night.limits],
            "code_version": code_version(),
            "packages_sha256": packages_sha256(),
            "machine": machine(),
            "tracking_uri": tracker.uri,
            "mlflow_run_id": tracker.start(f"night {night.run_id}", tags),
        }
        night.journal.open(header)
        tracker.record(header["mlflow_run_id"], params={**tags, "code_version": header["code_version"]})
        return _work(night, tracker, header, only)


def resume(night: Night, *, only: tuple[str, ...] | None = None) -> Outcome:
    """Finish a run: only stages with a missing Delta commit are computed.

    Raises
    ------
    UsageError
        If the settings are not those the run began with.
    """
    header = night.journal.header()
    identity = settings_id(night.settings, night.scenarios, night.limits)
    if identity != header["settings_id"]:
        raise UsageError(
            f"run {night.run_id} began with settings {header['settings_id']}, they are now {identity}",
            hint="Restore the settings, or give the same --set again, to finish this run; "
            "or begin a new one with `acceleray run`.",
        )
    with project_lock(night.project, night.run_id, stage=None if only is None else "+".join(only)):
        tracker = Tracker(night.project, night.settings.name)
        return _work(night, tracker, header, only)


def _work(night: Night, tracker: Tracker, header: dict[str, Any], only: tuple[str, ...] | None) -> Outcome:
    stages = night_plan()
    committed = committed_tables(night.lake, night.run_id, stages)
    _recover_journal(night, stages, committed)
    todo = pending(stages, committed)
    if only is not None:
        todo = tuple(stage for stage in todo if stage.name in only)
    computed: list[str] = []
    if todo:
        tracker.reopen(header["mlflow_run_id"])
    with Engines(night.target_settings, night.directory / "logs") as engines:
        for stage in todo:
            try:
                _run_stage(night, tracker, header, engines, stage)
            except BaseException:
                tracker.end(header["mlflow_run_id"], failed=True)
                raise
            computed.append(stage.name)
    outcome = conclude(
        night.lake,
        night.journal,
        header,
        stages,
        computed,
        now=night.clock(),
        fail_on_breach=night.fail_on_breach,
    )
    if todo:
        tracker.record(header["mlflow_run_id"], metrics=outcome.headline)
        tracker.end(header["mlflow_run_id"])
    return outcome


def _run_stage(
    night: Night, tracker: Tracker, header: dict[str, Any], engines: Engines, stage: StagePlan
) -> None:
    begun = night.clock()
    clock = time.perf_counter()
    child = tracker.start(stage.name, {"stage": stage.name, "run_id": night.run_id}, header["mlflow_run_id"])
    attempt = night.journal.begin(
        stage.name,
        {
            "engine": stage.engine,
            "settings_id": header["settings_id"],
            "mlflow_run_id": child,
            "started_at": begun.isoformat(),
        },
    )
    night.progress(f"{stage.name}: started on {stage.engine}")
    tables = NightTables(root=night.lake, run_id=night.run_id)
    record: dict[str, Any] = {}
    try:
        startup = engines.require(stage.engine)
        if stage.name == "report":
            record["night"] = night_facts(night.lake, night.journal, header, now=night.clock())
        stage.run(
            StageContext(
                project=night.project,
                run_directory=night.directory,
                settings=night.settings,
                scenarios=night.scenarios,
                limits=night.limits,
                tables=tables,
                started_at=begun,
                progress=night.progress,
                tracking_uri=tracker.uri,
                mlflow_run_id=child,
                spark=engines.spark,
                record=record,
            )
        )
        missing = [name for name in stage.writes if not tables.is_written(name)]
        if missing:
            raise LineageError(f"stage {stage.name} ended without committing {', '.join(missing)}")
        for name in set(stage.writes) - set(tables.commits):
            # Committed by an attempt that died later: nothing is written again, and the record is complete.
            tables.commit(name, [])
    except BaseException as error:
        # Ray Train answers Ctrl-C with SystemExit; no stage of ours raises it.
        interrupted = isinstance(error, KeyboardInterrupt | SystemExit)
        state = "interrupted" if interrupted else "failed"
        kept = {"seconds": time.perf_counter() - clock, "error": f"{type(error).__name__}: {error}"}
        night.journal.finish(stage.name, attempt, state, kept)
        _keep_traceback(night, stage.name, attempt)
        tracker.end(child, failed=True)
        if isinstance(error, SystemExit):
            raise KeyboardInterrupt from error
        if isinstance(error, Exception) and (ours := as_engine_error(error, stage.name, stage.engine)):
            raise ours from error
        raise
    seconds = time.perf_counter() - clock
    record.pop("night", None)
    _record_lineage(tracker, child, tables, seconds, startup, record)
    night.journal.finish(
        stage.name,
        attempt,
        "committed",
        {
            "seconds": seconds,
            "startup_seconds": startup,
            "reads": tables.reads,
            "tables": _described(tables.commits),
            "record": record,
        },
    )
    night.progress(
        f"{stage.name}: done in {seconds:.1f} s" + (f", {startup:.1f} s start-up" if startup > 0.5 else "")
    )


def _record_lineage(
    tracker: Tracker,
    child: str,
    tables: NightTables,
    seconds: float,
    startup: float,
    record: Mapping[str, Any],
) -> None:
    inputs = [(name, version, f"v{version}", "input") for name, version in sorted(tables.reads.items())]
    outputs = [
        (commit.table, commit.version, commit.content_hash, "output") for commit in tables.commits.values()
    ]
    numbers = {key: float(value) for key, value in record.items() if isinstance(value, int | float)}
    tracker.record(
        child,
        tables=[*inputs, *outputs],
        metrics={"seconds": seconds, "startup_seconds": startup, **numbers},
        params={f"content_hash.{commit.table}": commit.content_hash for commit in tables.commits.values()},
    )
    tracker.end(child)


def _recover_journal(night: Night, stages: tuple[StagePlan, ...], committed: Mapping[str, int]) -> None:
    """Complete the journal of stages whose commits succeeded just before the process died."""
    for stage in stages:
        last = night.journal.last(stage.name)
        if last is None or last["state"] == "committed" or not set(stage.writes) <= set(committed):
            continue
        commits = {
            name: commit_files(night.lake, contract(name), [], run_id=night.run_id) for name in stage.writes
        }
        night.journal.finish(
            stage.name,
            last["attempt"],
            "committed",
            {
                "tables": _described(commits),
                "reads": {},
                "seconds": None,
                "startup_seconds": None,
                "recovered": True,
            },
        )


def _described(commits: Mapping[str, Commit]) -> dict[str, dict[str, Any]]:
    return {
        name: {"version": commit.version, "rows": commit.rows, "content_hash": commit.content_hash}
        for name, commit in commits.items()
    }


def _keep_traceback(night: Night, stage: str, attempt: int) -> None:
    path = night.directory / "logs" / f"{stage}.{attempt}.traceback.txt"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(traceback.format_exc())


def new_night(
    project: Path,
    settings: Settings,
    scenarios: tuple[Scenario, ...],
    limits: tuple[Limit, ...],
    *,
    target: str,
    progress: Callable[[str], None],
    run_id: str | None = None,
    fail_on_breach: bool = False,
) -> Night:
    """Describe a night; a new run id is made when none is given.

    Raises
    ------
    UsageError
        If the project's path holds a percent sign, which Delta's readers would decode to another path.
    """
    if "%" in str(project):
        raise UsageError(f"{project}: the path holds a percent sign", hint="Move or rename the folder.")
    return Night(
        project=project,
        settings=settings,
        scenarios=scenarios,
        limits=limits,
        target=target,
        run_id=run_id or new_run_id(settings.as_of),
        progress=progress,
        fail_on_breach=fail_on_breach,
    )
