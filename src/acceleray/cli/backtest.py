"""The backtest of a project: what it needs from the lake, the files it leaves, and its plain text."""

from __future__ import annotations

import datetime as dt
import io
import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.csv as pa_csv

from acceleray.config.models import Settings
from acceleray.domain.book import Book
from acceleray.domain.market import Market
from acceleray.errors import EngineError, UsageError
from acceleray.lake.files import write_atomic
from acceleray.lake.functions import product_functions
from acceleray.lake.night import NightTables
from acceleray.lake.single import read_valid
from acceleray.pipeline.engines import Engines, as_engine_error
from acceleray.pipeline.journal import Journal, latest_run
from acceleray.pipeline.night import lake_root
from acceleray.pipeline.outcome import PARTIAL_EXIT
from acceleray.reporting.backtest_page import render_backtest
from acceleray.risk.backtest import Backtest, run_backtest
from acceleray.risk.forecasts import FORECAST_METHODS

__all__ = ["backtest_as_text", "backtest_facts"]


def backtest_facts(
    project: Path,
    settings: Settings,
    *,
    target: str,
    run_id: str | None,
    first: dt.date | None,
    last: dt.date | None,
    portfolios: Sequence[str],
    methods: Sequence[str],
    horizons_days: Sequence[int],
    levels: Sequence[float],
    pnl: Path | None,
    progress: Callable[[str], None],
) -> dict[str, Any]:
    """Run the backtest on the tables of a run and write its files.

    Parameters
    ----------
    run_id : str or None
        The run whose market and positions are used; by default the one started last.
    portfolios : sequence of str
        Nodes to test besides those of the P&L file; the whole book if there are none.
    pnl : Path or None
        File of reported gains.

    Returns
    -------
    dict
        Content of ``backtest.json``, and under ``files`` where everything is.

    Raises
    ------
    UsageError
        If the settings are of another date than the run, or an argument fits nothing.
    """
    if target not in settings.targets:
        raise UsageError(
            f"--target {target}: not in the settings", hint=f"Known: {', '.join(settings.targets)}"
        )
    run_id = run_id or latest_run(project)
    directory = project / "runs" / run_id
    header = Journal(directory).header()
    if header["as_of"] != settings.as_of.isoformat():
        raise UsageError(
            f"run {run_id} is of {header['as_of']}, the settings say {settings.as_of}",
            hint="Name a run of that date with --run-id, or begin one with `acceleray run`.",
        )
    reported = None if pnl is None else read_valid("pnl", pnl)
    tables = NightTables(root=lake_root(project), run_id=run_id)
    market = Market.from_tables(tables.read("market.levels"), tables.read("raw.factors"), settings.as_of)
    instruments = tables.read("raw.instruments")
    book = Book.from_tables(
        tables.read("raw.positions"),
        instruments,
        tables.read("raw.holdings"),
        product_functions(instruments, project),
    )
    named = [] if reported is None else sorted(set(reported["portfolio_id"].to_pylist()))
    with Engines(settings.targets[target], directory / "logs") as engines:
        progress("starting Ray")
        engines.require("ray")
        try:
            found = run_backtest(
                book,
                market,
                settings,
                nodes=[*portfolios, *named] or ["Fund"],
                first=first,
                last=last,
                methods=methods or FORECAST_METHODS,
                horizons_days=horizons_days,
                levels=levels,
                pnl=reported,
                progress=progress,
            )
        except Exception as error:
            translated: EngineError | None = as_engine_error(error, "backtest", "ray")
            if translated is not None:
                raise translated from error
            raise
    folder = directory / "backtest" / f"{found.facts['from']}_{found.facts['to']}"
    document = {
        "format": 1,
        "name": settings.name,
        "run_id": run_id,
        "as_of": header["as_of"],
        "currency": settings.base_currency,
        "table_versions": tables.reads,
        "facts": found.facts,
        "tests": found.tests,
        "comparisons": found.comparisons,
        "attribution": found.attribution,
        "desks": found.desks,
    }
    files = _write(folder, document, found)
    # Of what was asked for, something is not there.
    code = PARTIAL_EXIT if found.facts["not_tested"] else 0
    return {"exit_code": code, "files": [str(path) for path in files], **document}


def _write(folder: Path, document: dict[str, Any], found: Backtest) -> list[Path]:
    contents = {
        "backtest.json": (json.dumps(document, indent=1, allow_nan=False) + "\n").encode(),
        "forecasts.csv": _csv(found.forecasts),
        "backtest.html": render_backtest(document, found.forecasts).encode(),
    }
    for name, content in contents.items():
        write_atomic(folder / name, content)
    return [folder / name for name in contents]


def _csv(table: pa.Table) -> bytes:
    buffer = io.BytesIO()
    pa_csv.write_csv(table, buffer)
    return buffer.getvalue()


_COLUMNS = (
    ("portfolio", "portfolio_id", "{}"),
    ("method", "method", "{}"),
    ("h", "horizon_days", "{}"),
    ("level", "level", "{:g}"),
    ("exc", "exceptions", "{}"),
    ("exp", "expected", "{:.1f}"),
    ("zone", "zone", "{}"),
    ("mult", "multiplier", "{:.2f}"),
    ("kupiec p", "kupiec_p_value", "{:.3f}"),
    ("indep p", "christoffersen_p_value", "{:.3f}"),
    ("both p", "conditional_coverage_p_value", "{:.3f}"),
    ("normal days", ("bounds_normal_low", "bounds_normal_high"), "{}-{}"),
    ("t days", ("bounds_student_t_low", "bounds_student_t_high"), "{}-{}"),
    ("Z2", "z2", "{:.2f}"),
    ("p", "z2_p_value", "{:.3f}"),
    ("ridge", "z_ridge", "{:.2f}"),
    ("p", "z_ridge_p_value", "{:.3f}"),
    ("FZ0", "fz0_score", "{:.4f}"),
)


def backtest_as_text(document: Mapping[str, Any]) -> str:
    """Lay out the tests as a table, and where the files are."""
    facts = document["facts"]
    lines = [
        f"{document['name']}: {facts['book']}, {facts['from']} to {facts['to']}, {facts['days']} days",
        "",
    ]
    cells = [[title for title, _, _ in _COLUMNS]]
    for row in document["tests"]:
        cells.append([_cell(row, key, form) for _, key, form in _COLUMNS])
    # A column that says nothing for these horizons is left out.
    used = [column for column in range(len(_COLUMNS)) if any(line[column] != "-" for line in cells[1:])]
    widths = {column: max(len(line[column]) for line in cells) for column in used}
    for line in cells:
        text = (
            line[column].ljust(widths[column]) if column < 2 else line[column].rjust(widths[column])
            for column in used
        )
        lines.append("  ".join(text).rstrip())
    for row in document["attribution"]:
        spearman = "none" if row["spearman"] is None else f"{row['spearman']:.3f}"
        lines += [
            "",
            f"P&L attribution of {row['portfolio_id']}: {row['zone'] or 'no zone'}, Spearman {spearman}, "
            f"Kolmogorov-Smirnov {row['ks']:.3f}, {row['days']} days, {row['missing']} missing",
        ]
    for row in facts["not_tested"]:
        lines += ["", f"not tested: {row['portfolio_id']} over {row['horizon_days']} days: {row['reason']}"]
    return "\n".join([*lines, "", *document["files"]])


def _cell(row: Mapping[str, Any], key: str | tuple[str, ...], form: str) -> str:
    values = [row[name] for name in ((key,) if isinstance(key, str) else key)]
    if any(value is None for value in values):
        return "-"
    # A p-value is never zero.
    if isinstance(key, str) and key.endswith("_p_value") and values[0] < 0.001:
        return "<.001"
    return form.format(*values)
