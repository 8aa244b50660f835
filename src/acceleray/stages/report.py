"""``report``: publish the morning page and the same facts as JSON."""

from __future__ import annotations

import json
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from acceleray.domain.tables import contract
from acceleray.errors import LineageError, StorageError
from acceleray.lake.files import write_atomic
from acceleray.reporting.collect_checks import build_facts
from acceleray.reporting.document import facts_sha256, to_json
from acceleray.reporting.page import render_page
from acceleray.stages.context import StageContext

__all__ = ["ENGINE", "READS", "WRITES", "run"]

READS: tuple[str, ...] = (
    "raw.controls",
    "raw.portfolios",
    "raw.rejected",
    "raw.factors",
    "market.levels",
    "params.models",
    "params.early_warning",
    "result.values",
    "result.measures",
    "result.contributions",
    "result.stress",
    "result.portfolio",
    "result.sensitivities",
    "result.explain",
    "result.pnl",
    "result.scenarios",
    "result.forecasts",
    "result.credit",
    "result.credit_curve",
    "result.credit_obligors",
    "result.scores",
    "check.models",
    "check.calibration",
    "check.backtest",
    "check.drift",
    "check.health",
    "check.quality",
    "check.limits",
)
WRITES: tuple[str, ...] = ("check.published",)
ENGINE = "local"

_LEVEL_COLUMNS = ["factor_id", "date", "observed_on", "age_days"]


def run(context: StageContext) -> None:
    """Write ``report.json`` and ``report.html`` into the run's directory, then record the publication.

    The files come first: a night is on record as published only when its page can be opened. Both are
    replaced in one step, so a rerun after a crash is safe.

    Raises
    ------
    LineageError
        If the pipeline handed over no facts of the run: a page without provenance is not published.
    """
    night = (context.record or {}).get("night")
    if night is None:
        raise LineageError("report: the record of this run is missing, so its figures cannot be traced")
    tables = {
        name: context.tables.read(name) for name in READS if name not in ("result.pnl", "market.levels")
    }
    tables["market.levels"] = context.tables.read("market.levels", _LEVEL_COLUMNS)
    tables["result.pnl"] = _headline_pnl(context)
    facts = build_facts(tables, context.settings, night, context.scenarios)
    document = to_json(facts)
    text = json.dumps(document, indent=1, ensure_ascii=False, allow_nan=False)
    write_atomic(context.run_directory / "report.json", text.encode())
    write_atomic(context.run_directory / "report.html", render_page(document).encode())
    context.tables.write("check.published", _published(context, document))
    if context.record is not None:
        context.record["published"] = {"state": facts.state, "published_at": night["published_at"]}
    context.progress(f"{facts.state}: {context.run_directory / 'report.html'}")


def _headline_pnl(context: StageContext) -> pa.Table:
    """P&L of the headline method at the shortest horizon: a small part of a large table."""
    simulate = context.settings.simulate
    columns = ["portfolio_id", "instrument_id", "scenario", "pnl"]
    try:
        return pq.read_table(
            context.tables.files("result.pnl"),
            columns=columns,
            filters=[
                ("method", "==", simulate.headline_method),
                ("horizon_days", "==", min(simulate.horizons_days)),
            ],
            partitioning=None,
        )
    except (OSError, pa.ArrowInvalid) as error:
        raise StorageError(f"result.pnl: a data file cannot be read: {error}") from error


def _published(context: StageContext, document: dict[str, Any]) -> pa.Table:
    coverage = document["coverage"]
    row = {
        "as_of": context.as_of,
        "state": document["state"],
        "facts_sha256": facts_sha256(document),
        "positions_total": coverage["positions_total"],
        "positions_excluded": coverage["positions_total"] - coverage["positions_included"],
    }
    return pa.Table.from_pylist([row], schema=contract("check.published").schema)
