"""All commands, and the one place where an error becomes an exit code."""

from __future__ import annotations

import datetime as dt
import os
import signal
import sys
from dataclasses import asdict, replace
from pathlib import Path
from typing import Annotated, Any

import typer

from acceleray.cli import console
from acceleray.errors import AccelerayError, StorageError, UsageError

__all__ = ["app", "run"]

app = typer.Typer(
    name="acceleray",
    help="Overnight portfolio risk and scoring: Spark for trusted data, Ray for fast decisions.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)
report_app = typer.Typer(rich_markup_mode=None)
app.add_typer(report_app, name="report", invoke_without_command=True)

Directory = Annotated[Path, typer.Option("--project", "-C", help="Project directory.", show_default=False)]
AsJson = Annotated[bool, typer.Option("--json", help="Print the result as JSON on standard output.")]
Overrides = Annotated[
    list[str], typer.Option("--set", metavar="KEY.PATH=VALUE", help="Override a setting; may be repeated.")
]
Target = Annotated[
    str, typer.Option("--target", help="Where to run: a name under `targets` in the settings.")
]
RunId = Annotated[str | None, typer.Option("--run-id", help="The run; by default the one started last.")]

# Typer does not export the base of what it raises for wrong arguments.
_UsageMistake: Any = typer.BadParameter.__base__
_HERE = Path()
_VALIDATION = Path("validation")
_NONE: list[str] = []
_ONE_DAY = [1]
_LEVELS = [0.975, 0.99]


def run() -> None:
    """Parse arguments, run the command, translate errors."""
    from acceleray.engines.ray import ONE_THREAD

    for name, value in ONE_THREAD.items():
        os.environ.setdefault(name, value)
    signal.signal(signal.SIGTERM, _interrupt)
    try:
        code = app(standalone_mode=False)
    except AccelerayError as error:
        console.show_error(error)
        code = error.exit_code
    except _UsageMistake as error:
        error.show(file=sys.stderr)
        code = 2
    except (KeyboardInterrupt, typer.Abort):
        console.note("interrupted; `acceleray retry` finishes the night")
        code = 130
    except OSError as error:
        # Disk full, read-only, no rights: nothing that a user could take for a fault of the numbers.
        console.note(f"error: {error.strerror or error}: {error.filename or 'no file named'}")
        _trace(error)
        code = StorageError.exit_code
    except Exception as error:
        console.note(f"internal error: {type(error).__name__}: {error}")
        console.note("Hint: this is a fault of acceleray; the run's logs folder holds the details.")
        _trace(error)
        code = 1
    raise SystemExit(code if isinstance(code, int) else 0)


def _interrupt(number: int, frame: object) -> None:
    """Treat a polite request to end like Ctrl-C: engines are stopped and the journal says so."""
    del number, frame
    raise KeyboardInterrupt


def _trace(error: Exception) -> None:
    if os.environ.get("ACCELERAY_TRACEBACK"):
        import traceback

        traceback.print_exception(error)


def _print_version(asked: bool) -> None:
    if asked:
        from acceleray.version import __version__

        console.emit({}, as_json=False, text=__version__)
        raise typer.Exit


@app.callback()
def _root(
    version: Annotated[
        bool,
        typer.Option("--version", help="Print the version.", is_eager=True, callback=_print_version),
    ] = False,
) -> None:
    del version


@app.command()
def init(
    directory: Annotated[Path, typer.Argument(help="Where to write the new project.")],
    as_json: AsJson = False,
) -> None:
    """Write a small project to start from."""
    from acceleray.cli.starter import write_project

    files = write_project(directory)
    text = "\n".join([*(f"wrote {path}" for path in files), f"next: cd {directory} && acceleray check"])
    console.emit({"files": [str(path) for path in files]}, as_json=as_json, text=text)


@app.command()
def check(project: Directory = _HERE, overrides: Overrides = _NONE, as_json: AsJson = False) -> int:
    """Validate settings and inputs; compute nothing, change nothing."""
    from acceleray.cli.project import findings_as_text
    from acceleray.domain.calendar import next_bell
    from acceleray.lake.check import check_inputs

    settings, scenarios, limits = _load(project, overrides)
    next_bell(settings.bell.exchange, settings.as_of)
    findings = check_inputs(settings, project.resolve(), scenarios, limits)
    worst = max((finding.code for finding in findings), key=_severity, default=0)
    value = {"exit_code": worst, "findings": [asdict(finding) for finding in findings]}
    console.emit(value, as_json=as_json, text=findings_as_text(findings))
    return worst


@app.command()
def plan(
    project: Directory = _HERE,
    overrides: Overrides = _NONE,
    target: Target = "laptop",
    as_json: AsJson = False,
) -> None:
    """Say what will run, where, and when the bell is."""
    from acceleray.cli.project import plan_as_text, plan_facts

    settings, scenarios, limits = _load(project, overrides)
    facts = plan_facts(project, settings, scenarios, limits, target)
    console.emit(facts, as_json=as_json, text=plan_as_text(facts))


@app.command("run")
def run_command(
    project: Directory = _HERE,
    overrides: Overrides = _NONE,
    target: Target = "laptop",
    fail_on_breach: Annotated[bool, typer.Option(help="Exit 5 when a limit is breached.")] = False,
    as_json: AsJson = False,
) -> int:
    """Run tonight's night from the inputs to the report."""
    from acceleray.pipeline import night as nights

    settings, scenarios, limits = _load(project, overrides)
    with console.progress() as progress:
        night = nights.new_night(
            project.resolve(),
            settings,
            scenarios,
            limits,
            target=target,
            progress=progress,
            fail_on_breach=fail_on_breach,
        )
        outcome = nights.start(night)
    return _finish(outcome, as_json)


@app.command()
def retry(
    project: Directory = _HERE,
    overrides: Overrides = _NONE,
    target: Target = "laptop",
    run_id: RunId = None,
    fail_on_breach: Annotated[bool, typer.Option(help="Exit 5 when a limit is breached.")] = False,
    as_json: AsJson = False,
) -> int:
    """Finish a run that stopped; what is committed is not computed again."""
    return _resume(project, overrides, target, run_id, None, fail_on_breach, as_json)


@app.command()
def status(project: Directory = _HERE, run_id: RunId = None, as_json: AsJson = False) -> None:
    """Show a run: which stages are committed, when, and what failed."""
    from acceleray.cli.project import status_as_text, status_facts

    _require_project(project)
    facts = status_facts(project.resolve(), run_id)
    console.emit(facts, as_json=as_json, text=status_as_text(facts))


@app.command()
def doctor(project: Directory = _HERE, as_json: AsJson = False) -> int:
    """Look at this machine: Java, packages, disk, shared memory, calendar; each finding with its remedy."""
    from acceleray.cli.doctor import examine

    findings = examine(project)
    worst = max((finding.exit_code for finding in findings), key=_severity, default=0)
    text = "\n".join(finding.as_text() for finding in findings)
    value = {"exit_code": worst, "findings": [finding.as_dict() for finding in findings]}
    console.emit(value, as_json=as_json, text=text)
    return worst


@app.command()
def validate(
    folder: Annotated[
        Path, typer.Option("--out", metavar="FOLDER", help="Where the report goes.")
    ] = _VALIDATION,
    cases: Annotated[
        list[str], typer.Option("--case", metavar="ID", help="A case; may be repeated. Default: all.")
    ] = _NONE,
    as_json: AsJson = False,
) -> int:
    """Recompute cases with known answers on this machine and write a validation report."""
    from acceleray.cli.validate import validation_as_text, validation_facts

    with console.progress() as progress:
        facts = validation_facts(folder, cases, progress)
    console.emit(facts, as_json=as_json, text=validation_as_text(facts))
    return int(facts["exit_code"])


@app.command()
def backtest(
    project: Directory = _HERE,
    overrides: Overrides = _NONE,
    target: Target = "laptop",
    run_id: RunId = None,
    first: Annotated[
        str | None, typer.Option("--from", metavar="DATE", help="First day to forecast.")
    ] = None,
    last: Annotated[str | None, typer.Option("--to", metavar="DATE", help="Last day to forecast.")] = None,
    portfolios: Annotated[
        list[str], typer.Option("--portfolio", help="A node of the book; may be repeated. Default: Fund.")
    ] = _NONE,
    methods: Annotated[
        list[str], typer.Option("--method", help="A scenario method; may be repeated. Default: all.")
    ] = _NONE,
    horizons: Annotated[
        list[int], typer.Option("--horizon", min=1, help="Business days of a forecast; may be repeated.")
    ] = _ONE_DAY,
    levels: Annotated[
        list[float], typer.Option("--level", help="Level of VaR and ES as a fraction; may be repeated.")
    ] = _LEVELS,
    pnl: Annotated[
        Path | None, typer.Option("--pnl", help="File of reported gains, for the P&L attribution test.")
    ] = None,
    as_json: AsJson = False,
) -> int:
    """Re-forecast a past window day by day for today's static book, and test every method on it."""
    from acceleray.cli.backtest import backtest_as_text, backtest_facts

    for level in levels:
        if not 0.0 < level < 1.0:
            raise UsageError(f"--level: must lie between 0 and 1, was {level:g}")
    settings, _, _ = _load(project, overrides)
    with console.progress() as progress:
        facts = backtest_facts(
            project.resolve(),
            settings,
            target=target,
            run_id=run_id,
            first=_date("--from", first),
            last=_date("--to", last),
            portfolios=portfolios,
            methods=methods,
            horizons_days=horizons,
            levels=levels,
            pnl=pnl,
            progress=progress,
        )
    console.emit(facts, as_json=as_json, text=backtest_as_text(facts))
    return int(facts["exit_code"])


@report_app.callback()
def _report(
    context: typer.Context,
    project: Directory = _HERE,
    overrides: Overrides = _NONE,
    target: Target = "laptop",
    run_id: RunId = None,
    as_json: AsJson = False,
) -> int:
    """Run the report stage of the current run; `report open` shows the published one."""
    if context.invoked_subcommand is not None:
        return 0
    return _resume(project, overrides, target, run_id, ("report",), False, as_json)


@report_app.command("open")
def report_open(
    project: Directory = _HERE,
    run_id: RunId = None,
    browser: Annotated[bool, typer.Option(help="Open it in the default browser.")] = True,
    as_json: AsJson = False,
) -> None:
    """Open the published report, or that of a run, and print its path."""
    from acceleray.cli.project import report_path

    _require_project(project)
    path = report_path(project.resolve(), run_id)
    if browser and not as_json and sys.stdout.isatty():
        typer.launch(path.as_uri())
    console.emit({"report": str(path)}, as_json=as_json, text=str(path))


def _stage_command(stage: str) -> None:
    def command(
        project: Directory = _HERE,
        overrides: Overrides = _NONE,
        target: Target = "laptop",
        run_id: RunId = None,
        as_json: AsJson = False,
    ) -> int:
        return _resume(
            project, overrides, target, run_id, (stage,), False, as_json, may_start=stage == "ingest"
        )

    command.__doc__ = f"Run the {stage} stage of the current run" + (
        " (a new one, unless --run-id names it)." if stage == "ingest" else "."
    )
    app.command(stage)(command)


for _stage in ("ingest", "features", "calibrate", "train", "simulate", "score", "monitor"):
    _stage_command(_stage)


def _load(project: Path, overrides: list[str]) -> tuple[Any, Any, Any]:
    from acceleray.config.load import load_limits, load_scenarios, load_settings

    settings = load_settings(project, overrides=overrides)
    return settings, load_scenarios(project, settings), load_limits(project, settings)


def _resume(
    project: Path,
    overrides: list[str],
    target: str,
    run_id: str | None,
    only: tuple[str, ...] | None,
    fail_on_breach: bool,
    as_json: bool,
    *,
    may_start: bool = False,
) -> int:
    from acceleray.pipeline import night as nights
    from acceleray.pipeline.journal import latest_run

    project = project.resolve()
    settings, scenarios, limits = _load(project, overrides)
    begin = may_start and run_id is None
    chosen = None if begin else run_id or latest_run(project)
    with console.progress() as progress:
        night = nights.new_night(
            project,
            settings,
            scenarios,
            limits,
            target=target,
            progress=progress,
            run_id=chosen,
            fail_on_breach=fail_on_breach,
        )
        outcome = nights.start(night, only=only) if begin else nights.resume(night, only=only)
    if not begin and not outcome.computed:
        # Nothing was left to do: the night's own code was given when it ended.
        outcome = replace(outcome, exit_code=0)
    return _finish(outcome, as_json)


def _finish(outcome: Any, as_json: bool) -> int:
    for warning in outcome.warnings:
        console.note(f"warning: {warning}")
    done = ", ".join(outcome.computed) or "nothing, all was done"
    breaches = "1 limit breach" if outcome.breaches == 1 else f"{outcome.breaches} limit breaches"
    console.note(f"run {outcome.run_id}: {outcome.state}, {breaches}; computed: {done}")
    value = {
        "run_id": outcome.run_id,
        "state": outcome.state,
        "exit_code": outcome.exit_code,
        "breaches": outcome.breaches,
        "computed": list(outcome.computed),
        "warnings": list(outcome.warnings),
        "headline": outcome.headline,
        "report": outcome.report,
    }
    console.emit(value, as_json=as_json, text=outcome.report or outcome.run_id)
    return int(outcome.exit_code)


def _date(option: str, text: str | None) -> dt.date | None:
    try:
        return None if text is None else dt.date.fromisoformat(text)
    except ValueError as error:
        raise UsageError(f"{option}: expected a date such as 2018-12-28, was {text!r}") from error


def _require_project(project: Path) -> None:
    if not (project / "acceleray.yaml").is_file():
        raise UsageError(
            f"{project / 'acceleray.yaml'} does not exist",
            hint="Run inside a project directory, or make one with `acceleray init`.",
        )


def _severity(code: int) -> tuple[bool, int]:
    # PARTIAL and the like (4, 5, 6) rank below every error.
    return (code not in {0, 4, 5, 6}, code)
