"""Monitor: were the forecasts right, has the model drifted, is the data sound, who is over a limit.

Spark groups the forecasts and the feature panel; the numbers come from `numerics.backtest` and
`numerics.drift`, one group at a time, so that no floating-point sum crosses a shuffle.
"""

from __future__ import annotations

import datetime as dt
from collections import Counter
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa

from acceleray.domain.tables import FEATURES, contract
from acceleray.errors import EngineError, UsageError
from acceleray.numerics.backtest import christoffersen, kupiec, traffic_light
from acceleray.numerics.drift import population_stability_index

if TYPE_CHECKING:
    from collections.abc import Callable

    from pyspark.sql import DataFrame

    from acceleray.config.models import MonitorSettings
    from acceleray.stages.context import StageContext

__all__ = ["ENGINE", "READS", "WRITES", "backtest_of_group", "drift_of_features", "run"]

READS = (
    "result.forecasts",
    "result.measures",
    "result.stress",
    "result.portfolio",
    "result.sensitivities",
    "result.values",
    "result.tabulated",
    "feature.panel",
    "params.models",
    "raw.controls",
    "raw.rejected",
    "raw.factors",
    "market.levels",
)
WRITES = ("check.backtest", "check.drift", "check.health", "check.quality", "check.limits")
ENGINE = "spark"

# The positions of past days are not known until nights have been stored: today's book is held over the past.
_BOOK = "today's static book"
_FORECAST_COLUMNS = pa.schema(
    [contract("result.forecasts").schema.field(name) for name in ("date", "var", "pnl")]
)
_DRIFT_COLUMNS = pa.schema(
    [
        ("feature", pa.string()),
        ("psi", pa.float64()),
        ("rows_reference", pa.int64()),
        ("rows_current", pa.int64()),
        ("note", pa.string()),
    ]
)


def run(context: StageContext) -> None:
    """Write the check tables; a table that this run has committed is left alone.

    Raises
    ------
    UsageError
        If the current window of the drift check, or the recent past of the health check, reaches into the
        training period.
    InputDataError
        If a limit names an unknown portfolio or scenario.
    """
    parts: tuple[tuple[str, Callable[[StageContext], pa.Table], str, str], ...] = (
        ("check.limits", _limits, "limits", "state"),
        ("check.quality", _quality, "quality", "kind"),
        ("check.backtest", _backtest, "backtest", "zone"),
        ("check.drift", _drift, "drift", "status"),
        ("check.health", _health, "health", "status"),
    )
    for name, compute, fact, column in parts:
        if context.tables.is_written(name):
            continue
        context.progress(f"computing {name}")
        table = compute(context)
        context.tables.write(name, table)
        if context.record is not None:
            # What people ask first; an earlier attempt has put its own tables on its own record.
            counts = Counter(str(value) for value in table[column].to_pylist())
            context.record[fact] = dict(sorted(counts.items()))


def backtest_of_group(group: pa.Table) -> pa.Table:
    """Test one portfolio's forecasts of one method at one level.

    Parameters
    ----------
    group : pyarrow.Table
        Rows of ``result.forecasts`` with one portfolio, method and level, in any order. Days without forecast
        or P&L are left out and counted in the note.

    Returns
    -------
    pyarrow.Table
        One row of ``check.backtest``.
    """
    days = group.sort_by("date").select(_FORECAST_COLUMNS.names).drop_null()
    level = float(group["level"][0].as_py())
    hits = -days["pnl"].to_numpy() > days["var"].to_numpy()
    n, exceptions = int(hits.size), int(hits.sum())
    coverage = kupiec(exceptions=exceptions, days=n, level=level)
    independence = christoffersen(hits)
    notes = [coverage.note, independence.note if n else ""]
    if n < group.num_rows:
        notes.append(f"{group.num_rows - n} of {group.num_rows} days have no forecast or no P&L")
    row = {
        "portfolio_id": group["portfolio_id"][0].as_py(),
        "method": group["method"][0].as_py(),
        "level": level,
        "book": _BOOK,
        "days": n,
        "exceptions": exceptions,
        "expected": n * (1.0 - level),
        "kupiec_statistic": coverage.statistic,
        "kupiec_p_value": coverage.p_value,
        "christoffersen_statistic": independence.statistic,
        "christoffersen_p_value": independence.p_value,
        "zone": traffic_light(exceptions=exceptions, days=n, level=level).zone if n else None,
        "note": "; ".join(note for note in notes if note) or None,
    }
    return pa.Table.from_pylist([row], schema=contract("check.backtest").schema)


def drift_of_features(panel: pa.Table) -> pa.Table:
    """Compare each feature's current values with its reference.

    Parameters
    ----------
    panel : pyarrow.Table
        ``is_current`` and a column per feature, rows in any order; null and NaN are missing values.

    Returns
    -------
    pyarrow.Table
        One row of ``check.drift`` per feature, without the status.
    """
    is_current = panel["is_current"].to_numpy()
    rows = []
    for feature in FEATURES:
        values = panel[feature].to_numpy()
        reference, current = values[~is_current], values[is_current]
        index = population_stability_index(reference, current)
        missing = int(np.isnan(current).sum())
        notes = [index.note, f"{missing} of {current.size} current values are missing" if missing else ""]
        rows.append(
            {
                "feature": feature,
                "psi": index.value,
                "rows_reference": int(reference.size),
                "rows_current": int(current.size),
                "note": "; ".join(note for note in notes if note) or None,
            }
        )
    return pa.Table.from_pylist(rows, schema=_DRIFT_COLUMNS)


def _read(context: StageContext, name: str) -> DataFrame:
    from acceleray.engines.spark import read_table

    if context.spark is None:
        raise EngineError("monitor needs a Spark session and there was none")
    return read_table(context.spark, context.tables, name)


def _spark_schema(schema: pa.Schema) -> Any:
    from pyspark.sql.types import StructField, StructType

    from acceleray.engines.spark import spark_type

    return StructType([StructField(field.name, spark_type(field.type)) for field in schema])


def _collect(frame: DataFrame) -> list[dict[str, Any]]:
    from acceleray.engines.spark import translated

    with translated("monitoring"):
        rows: list[dict[str, Any]] = frame.toArrow().to_pylist()
    return rows


def _backtest(context: StageContext) -> pa.Table:
    schema = contract("check.backtest").schema
    groups = _read(context, "result.forecasts").groupBy("portfolio_id", "method", "level")
    rows = _collect(groups.applyInArrow(backtest_of_group, _spark_schema(schema)))
    return pa.Table.from_pylist(rows, schema=schema)


def _drift(context: StageContext) -> pa.Table:
    from pyspark.sql import functions as F  # noqa: N812 (the name every Spark reader knows)

    calibrate, monitor = context.settings.calibrate, context.settings.monitor
    if monitor.drift_current_days > calibrate.out_of_time_days:
        raise UsageError(
            f"monitor.drift_current_days: {monitor.drift_current_days} sessions reach into the training "
            f"period, as calibrate.out_of_time_days is {calibrate.out_of_time_days}"
        )
    panel = _learned_from(context)
    sessions, labelled = _sessions(panel)
    is_current = F.col("date").isin(*sessions[-monitor.drift_current_days :])
    # The model learns from rows with a known label, which leaves out each factor's first years, and not from
    # the last `out_of_time_days` sessions that have one. With too few sessions the reference is empty, and
    # the index says so.
    training = labelled[: -calibrate.out_of_time_days]
    is_labelled = F.col("label_long").isNotNull()
    in_reference = (F.col("date") <= training[-1]) & is_labelled if training else F.lit(False)
    if calibrate.train_from is not None:
        in_reference &= F.col("date") >= calibrate.train_from
    windows = panel.where(is_current | in_reference).select(is_current.alias("is_current"), *FEATURES)
    # Spark filters and prunes; the columns then meet in one worker. One group per feature would shuffle a row
    # per value, which took four times as long on a panel of 200,000 rows.
    found = _collect(windows.groupBy().applyInArrow(drift_of_features, _spark_schema(_DRIFT_COLUMNS)))
    by_feature = {row["feature"]: row for row in found}
    rows = [_judge(by_feature.get(feature), feature, monitor) for feature in FEATURES]
    return pa.Table.from_pylist(rows, schema=contract("check.drift").schema)


def _learned_from(context: StageContext) -> DataFrame:
    """Rows of the panel that are like those the model learned from: it never saw the other factors."""
    from pyspark.sql import functions as F  # noqa: N812 (the name every Spark reader knows)

    panel = _read(context, "feature.panel").where(F.col("date") <= context.as_of)
    factors = context.settings.calibrate.train_factors
    return panel.where(F.col("factor_id").isin(*factors)) if factors else panel


def _sessions(panel: DataFrame) -> tuple[list[dt.date], list[dt.date]]:
    """Dates of the panel, and those of them with a known label, in order."""
    is_labelled = panel["label_long"].isNotNull()
    every = sorted(row["date"] for row in _collect(panel.select("date").distinct()))
    labelled = sorted(row["date"] for row in _collect(panel.where(is_labelled).select("date").distinct()))
    return every, labelled


def _health(context: StageContext) -> pa.Table:
    from pyspark.sql import functions as F  # noqa: N812 (the name every Spark reader knows)

    from acceleray.models.early_warning.dataset import PANEL_COLUMNS
    from acceleray.models.early_warning.files import model_path
    from acceleray.models.early_warning.health import HealthRules, Windows, health_of_panel, recommendation

    calibrate, monitor, train = context.settings.calibrate, context.settings.monitor, context.settings.train
    if monitor.recent_days >= calibrate.out_of_time_days:
        raise UsageError(
            f"monitor.recent_days: {monitor.recent_days} labelled sessions leave nothing of the out-of-time "
            f"test to compare with, as calibrate.out_of_time_days is {calibrate.out_of_time_days}"
        )
    drift = context.tables.read("check.drift").to_pylist()
    (model,) = (row for row in context.tables.read("params.models").to_pylist() if row["scores"])
    panel = _learned_from(context)
    sessions, labelled = _sessions(panel)
    schema = contract("check.health").schema
    rows = [_features(drift)]
    if len(labelled) > calibrate.out_of_time_days:
        windows = Windows(
            trained_to=np.datetime64(labelled[-calibrate.out_of_time_days - 1]),
            tested_from=np.datetime64(labelled[-calibrate.out_of_time_days]),
            recent_from=np.datetime64(labelled[-monitor.recent_days]),
            current_from=np.datetime64(sessions[-monitor.drift_current_days]),
        )
        rules = HealthRules(
            drift_warning=monitor.drift_warning,
            drift_alert=monitor.drift_alert,
            block_days=train.block_days,
            n_samples=train.bootstrap_samples,
            seed=train.seed,
        )
        path = model_path(context.tables.root, model["sha256"])
        compare = health_of_panel(path, model["sha256"], windows, rules)
        if calibrate.train_from is not None:
            panel = panel.where(F.col("date") >= calibrate.train_from)
        found = _collect(panel.select(*PANEL_COLUMNS).groupBy().applyInArrow(compare, _spark_schema(schema)))
        rows += sorted(found, key=lambda row: str(row["kind"]))
    else:
        note = f"{len(labelled)} labelled sessions are no more than the out-of-time test"
        rows += [
            {"kind": kind, "status": "not_computed", "note": note} for kind in ("events", "scores", "skill")
        ]
    rows.append(recommendation(rows))
    return pa.Table.from_pylist([{**row, "model_id": model["model_id"]} for row in rows], schema=schema)


def _features(drift: list[dict[str, Any]]) -> dict[str, Any]:
    """Sum the features' drift up by the one that drifted most."""
    known = [row for row in drift if row["psi"] is not None]
    if not known:
        return {"kind": "features", "status": "not_computed", "note": "no feature has an index"}
    worst = max(known, key=lambda row: row["psi"])
    alerts = sum(row["status"] == "alert" for row in known)
    return {
        "kind": "features",
        "status": worst["status"],
        "value": worst["psi"],
        "rows_reference": worst["rows_reference"],
        "rows_current": worst["rows_current"],
        "note": f"{worst['feature']} drifted most; {alerts} of {len(drift)} features are at the alert",
    }


def _judge(row: dict[str, Any] | None, feature: str, monitor: MonitorSettings) -> dict[str, Any]:
    if row is None:
        empty = {"feature": feature, "psi": None, "rows_reference": 0, "rows_current": 0}
        return {**empty, "status": "not_computed", "note": "the panel has no rows in either window"}
    psi = row["psi"]
    if psi is None:
        status = "not_computed"
    elif psi >= monitor.drift_alert:
        status = "alert"
    else:
        status = "warning" if psi >= monitor.drift_warning else "ok"
    return {**row, "status": status}


def _quality(context: StageContext) -> pa.Table:
    rows = [*_rejected(context), *_aged(context), *_excluded(context), *_approximate(context)]
    return pa.Table.from_pylist(rows, schema=contract("check.quality").schema)


def _finding(kind: str, subject: str, severity: str, detail: str, value: float | None) -> dict[str, Any]:
    return {"kind": kind, "subject": subject, "severity": severity, "detail": detail, "value": value}


def _rejected(context: StageContext) -> list[dict[str, Any]]:
    from pyspark.sql import functions as F  # noqa: N812 (the name every Spark reader knows)

    read = {row["input"]: row["rows_read"] for row in context.tables.read("raw.controls").to_pylist()}
    groups = _read(context, "raw.rejected").groupBy("input", "reason")
    first = F.min(F.struct("line", "file", "column", "value")).alias("first")
    return [
        _finding(
            "rejected",
            f"{row['input']}: {row['reason']}",
            "error",
            f"{row['count']} of {read.get(row['input'], 'an unknown number of')} rows; the first is "
            f"{row['first']['file']} line {row['first']['line']}, column {row['first']['column']}, "
            f"value {row['first']['value']!r}",
            float(row["count"]),
        )
        for row in _collect(groups.agg(F.count(F.lit(1)).alias("count"), first))
    ]


def _aged(context: StageContext) -> list[dict[str, Any]]:
    from pyspark.sql import functions as F  # noqa: N812 (the name every Spark reader knows)

    levels = _read(context, "market.levels").where(F.col("date") <= context.as_of)
    session = _collect(levels.agg(F.max("date").alias("date")))[0]["date"]
    in_use = levels.where(F.col("date") == session).select("factor_id", "observed_on", "age_days")
    # Settings have no history and do not age.
    moving = _read(context, "raw.factors").where(~F.coalesce("fixed", F.lit(False)))
    rows = moving.select("factor_id", "max_age_days").join(in_use, "factor_id", "left")
    return [
        finding
        for row in _collect(rows.where("age_days is null or age_days > 0"))
        for finding in [_age_finding(row, session)]
    ]


def _age_finding(row: dict[str, Any], session: dt.date | None) -> dict[str, Any]:
    age, allowed = row["age_days"], row["max_age_days"]
    if age is None:
        detail = f"no observation is known on {session or 'any session'}"
        return _finding("stale", row["factor_id"], "error", detail, None)
    limit = "no maximum is set" if allowed is None else f"at most {allowed} are allowed"
    detail = f"the value of {row['observed_on']} is in use on {session}: {age} days old, {limit}"
    if allowed is not None and age > allowed:
        return _finding("stale", row["factor_id"], "error", detail, float(age))
    return _finding("aged", row["factor_id"], "warning", detail, float(age))


def _excluded(context: StageContext) -> list[dict[str, Any]]:
    return [
        _finding(
            "excluded",
            f"{row['portfolio_id']}/{row['instrument_id']}",
            "error",
            f"{row['status']}: {row['reason'] or 'no reason is recorded'}",
            row["market_value"],
        )
        for row in context.tables.read("result.values").to_pylist()
        if row["status"] != "ok"
    ]


def _approximate(context: StageContext) -> list[dict[str, Any]]:
    """List positions whose prices come from a table, with the bound of their error in base currency."""
    tables = context.tables.read("result.tabulated").to_pylist()
    found = {row["instrument_id"]: row for row in tables if row["method"] == "table"}
    return [
        _finding(
            "approximate",
            f"{row['portfolio_id']}/{row['instrument_id']}",
            "note",
            f"interpolated from {table['n_nodes']:,} prices; {table['n_exact']:,} of "
            f"{table['n_prices']:,} scenarios lay outside and were priced exactly; {table['note']}",
            table["max_error"] * abs(row["quantity"]),
        )
        for row in context.tables.read("result.values").to_pylist()
        for table in [found.get(row["instrument_id"])]
        if table is not None and row["status"] == "ok"
    ]


def _limits(context: StageContext) -> pa.Table:
    from acceleray.risk.limits import evaluate_limits

    tables = context.tables
    return evaluate_limits(
        context.limits,
        measures=tables.read("result.measures"),
        stress=tables.read("result.stress"),
        portfolio=tables.read("result.portfolio"),
        values=tables.read("result.values"),
        sensitivities=tables.read("result.sensitivities"),
        scenarios=[scenario.name for scenario in context.scenarios if scenario.reaches_market],
        settings=context.settings.simulate,
        as_of=context.as_of,
        source=context.settings.limits or "limits",
    )
