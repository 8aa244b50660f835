"""Turn raw observations into point-in-time levels, and levels into the early-warning panel.

Spark groups the rows by factor and each group is computed by one Arrow function, so that no sum crosses a
shuffle. `panel_in_one_process` is the same panel without Spark.
"""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

# Spark's Python workers import this module: at its top stands only what they compute with.
from acceleray.domain.tables import contract
from acceleray.errors import InputDataError, MissingDataError, UsageError
from acceleray.numerics.early_warning_label import LabelRule, early_warning_labels
from acceleray.numerics.panel import as_of_align
from acceleray.numerics.panel_features import (
    credit_features,
    index_features,
    log_levels,
    market_model_features,
    oil_features,
    own_features,
)

if TYPE_CHECKING:
    from pyspark.sql import DataFrame, SparkSession
    from pyspark.sql.types import StructType

    from acceleray.config.models import FeaturesSettings
    from acceleray.stages.context import StageContext

__all__ = [
    "ENGINE",
    "READS",
    "WRITES",
    "MarketState",
    "factor_levels",
    "factor_panel",
    "label_rule",
    "market_state",
    "panel_in_one_process",
    "reference_factors",
    "run",
]

READS = ("raw.market", "raw.factors")
WRITES = ("market.levels", "feature.panel")
ENGINE = "spark"

FloatArray = npt.NDArray[np.float64]
DateArray = npt.NDArray[np.datetime64]


@dataclass(frozen=True, slots=True, kw_only=True)
class MarketState:
    """What all factors share: the sessions, the index, and the features that depend on the date alone.

    Parameters
    ----------
    sessions : ndarray of datetime64[D], shape (n_sessions,)
    index_log_levels : ndarray of shape (n_sessions,) or None
        NaN before the index is known; None when the settings name no index.
    features : dict of str to ndarray of shape (n_sessions,)
        By column of ``feature.panel``; a column whose factor the settings leave out is absent.
    """

    sessions: DateArray
    index_log_levels: FloatArray | None
    features: dict[str, FloatArray]


def run(context: StageContext) -> None:
    """Write ``market.levels``, then ``feature.panel`` from it.

    Raises
    ------
    UsageError
        If the settings name a reference factor that has no levels, or thresholds that can never exist.
    InputDataError
        If a spot level is not positive.
    MissingDataError
        If there is no observation at all.
    """
    from acceleray.domain.calendar import sessions as exchange_sessions
    from acceleray.engines.spark import read_table, translated, write_table

    spark = _session(context)
    rule = label_rule(context.settings.features)
    factors = context.tables.read("raw.factors", columns=["factor_id", "kind", "fixed"])
    fixed = frozenset(factors.filter(pc.field("fixed"))["factor_id"].to_pylist())
    spots = factors.filter(pc.field("kind") == "spot")["factor_id"].to_pylist()

    market = read_table(spark, context.tables, "raw.market")
    first = _first_date(market)
    days = exchange_sessions(context.settings.bell.exchange, first, context.as_of)
    as_of_day = np.array([context.as_of], dtype="datetime64[D]")
    levels_done = write_table(
        market.groupBy("factor_id").applyInArrow(
            lambda rows: factor_levels(rows, as_of_day if rows["factor_id"][0].as_py() in fixed else days),
            schema=_spark_schema("market.levels"),
        ),
        context.tables,
        "market.levels",
    )
    context.progress(f"market.levels: {levels_done.rows} rows, {days.size} sessions since {days[0]}")

    levels = read_table(spark, context.tables, "market.levels").select("factor_id", "date", "value")
    spot_levels = levels.where(levels["factor_id"].isin(spots))
    _refuse_non_positive(spot_levels)
    # A handful of series, thousands of rows: small enough to travel to every worker.
    references = levels.where(levels["factor_id"].isin(reference_factors(context.settings.features)))
    with translated("reading the reference factors"):
        state = market_state(references.toArrow(), context.settings.features, days)
    panel_done = write_table(
        spot_levels.groupBy("factor_id").applyInArrow(
            lambda rows: factor_panel(rows, state, rule), schema=_spark_schema("feature.panel")
        ),
        context.tables,
        "feature.panel",
    )
    context.progress(f"feature.panel: {panel_done.rows} rows of {len(spots)} factors")
    if context.record is not None:
        context.record.update(
            first_session=str(days[0]),
            last_session=str(days[-1]),
            sessions=int(days.size),
            level_rows=levels_done.rows,
            panel_rows=panel_done.rows,
            panel_factors=len(spots),
        )


def factor_levels(observations: pa.Table, days: DateArray) -> pa.Table:
    """Align one factor's observations to `days`: rows of ``market.levels`` from its first known value.

    Parameters
    ----------
    observations : pyarrow.Table
        Rows of ``raw.market`` of one factor, in any order.
    days : ndarray of datetime64[D], shape (n_days,)
    """
    values, observed_on, age_days = as_of_align(
        _dates(observations["date"]),
        _dates(observations["available_from"]),
        _floats(observations["value"]),
        days,
    )
    known = ~np.isnan(values)
    columns = {
        "date": pa.array(days[known]),
        "factor_id": pa.repeat(observations["factor_id"][0], int(known.sum())),
        "value": pa.array(values[known]),
        "observed_on": pa.array(observed_on[known]),
        "age_days": pa.array(age_days[known]),
    }
    return _as_table("market.levels", columns)


def factor_panel(levels: pa.Table, state: MarketState, rule: LabelRule) -> pa.Table:
    """Compute one factor's features and labels: rows of ``feature.panel``.

    Parameters
    ----------
    levels : pyarrow.Table
        ``date``, ``factor_id`` and ``value`` of one factor, in any order.
    state : MarketState
        The index and the features shared by all factors.
    rule : LabelRule
        Horizon and threshold of the label.

    Raises
    ------
    NumericalError
        If a level is not positive and finite.
    """
    levels = levels.sort_by("date")
    days, log_values = _dates(levels["date"]), log_levels(_floats(levels["value"]))
    columns = own_features(log_values)
    if state.index_log_levels is not None:
        index = _on_days(state.index_log_levels, state.sessions, days)
        columns |= market_model_features(log_values, index)
    for name, values in state.features.items():
        columns[name] = _on_days(values, state.sessions, days)
    columns |= early_warning_labels(log_values, rule)
    keys = {"factor_id": pa.repeat(levels["factor_id"][0], days.size), "date": pa.array(days)}
    # NaN is a window that is not complete; in a table that is a null.
    return _as_table(
        "feature.panel",
        keys | {name: pa.array(values, from_pandas=True) for name, values in columns.items()},
    )


def market_state(levels: pa.Table, settings: FeaturesSettings, sessions: DateArray) -> MarketState:
    """Compute what all factors share from the levels of the reference factors.

    Parameters
    ----------
    levels : pyarrow.Table
        ``date``, ``factor_id`` and ``value``; factors that the settings do not name are ignored.
    settings : FeaturesSettings
        Names the reference factors.
    sessions : ndarray of datetime64[D], shape (n_sessions,)

    Raises
    ------
    UsageError
        If a named factor has no levels.
    """
    found = {name: _on_sessions(levels, name, sessions) for name in reference_factors(settings)}
    missing = sorted(name for name, values in found.items() if np.isnan(values).all())
    if missing:
        raise UsageError(
            f"features: the settings name {', '.join(map(repr, missing))}, which has no value on any session",
            hint="Correct index_factor, oil_factor, credit_spread_factors or short_rate_factor, or drop it.",
        )
    features: dict[str, FloatArray] = {}
    index_log_levels = None
    if settings.index_factor is not None:
        index_log_levels = log_levels(found[settings.index_factor])
        features |= index_features(index_log_levels)
    if settings.oil_factor is not None:
        features |= oil_features(log_levels(found[settings.oil_factor]))
    if settings.credit_spread_factors is not None:
        high, low = settings.credit_spread_factors
        features |= credit_features(found[high], found[low])
    if settings.short_rate_factor is not None:
        features["short_rate"] = found[settings.short_rate_factor]
    return MarketState(sessions=sessions, index_log_levels=index_log_levels, features=features)


def panel_in_one_process(
    levels: pa.Table, spots: list[str], settings: FeaturesSettings, sessions: DateArray
) -> pa.Table:
    """Compute ``feature.panel`` factor by factor without Spark, to the same bits, in key order."""
    state, rule = market_state(levels, settings, sessions), label_rule(settings)
    parts = (levels.filter(pc.field("factor_id") == factor_id) for factor_id in sorted(spots))
    return pa.concat_tables(
        [
            contract("feature.panel").schema.empty_table(),
            *(factor_panel(part, state, rule) for part in parts if part.num_rows),
        ]
    )


def reference_factors(settings: FeaturesSettings) -> list[str]:
    """Name the factors whose levels enter the features of every other factor."""
    singles = (settings.index_factor, settings.oil_factor, settings.short_rate_factor)
    named = {name for name in singles if name is not None}
    return sorted(named | set(settings.credit_spread_factors or ()))


def label_rule(settings: FeaturesSettings) -> LabelRule:
    """Take the rule of the label from the settings.

    Raises
    ------
    UsageError
        If the threshold needs more moves than its window holds.
    """
    if settings.threshold_min_days > settings.threshold_window_days:
        raise UsageError(
            f"features.threshold_min_days: must not exceed threshold_window_days "
            f"({settings.threshold_window_days}), was {settings.threshold_min_days}"
        )
    return LabelRule(
        horizon_days=settings.horizon_days,
        quantile=settings.threshold_quantile,
        window_days=settings.threshold_window_days,
        min_days=settings.threshold_min_days,
    )


def _session(context: StageContext) -> SparkSession:
    if context.spark is None:
        raise ValueError("the features stage needs a Spark session in its context")
    return context.spark


def _spark_schema(name: str) -> StructType:
    from pyspark.sql.types import StructField, StructType

    from acceleray.engines.spark import spark_type

    return StructType([StructField(field.name, spark_type(field.type)) for field in contract(name).schema])


def _first_date(market: DataFrame) -> dt.date:
    from pyspark.sql import functions as sf

    from acceleray.engines.spark import translated

    with translated("reading raw.market"):
        row = market.agg(sf.min("date").alias("first")).first()
    if row is None or row["first"] is None:
        raise MissingDataError("raw.market: expected observations, was empty")
    first: dt.date = row["first"]
    return first


def _refuse_non_positive(spot_levels: DataFrame) -> None:
    # The kernel would refuse it too, but inside a worker, where the factor and the date are lost.
    from acceleray.engines.spark import translated

    with translated("checking market.levels"):
        row = spot_levels.where(spot_levels["value"] <= 0.0).orderBy("factor_id", "date").first()
    if row is not None:
        raise InputDataError(
            f"market.levels: factor {row['factor_id']} on {row['date']}: expected a positive spot level, "
            f"was {row['value']!r}",
            hint="Spot moves are logarithmic. Correct the value, or give the factor another kind.",
        )


def _on_sessions(levels: pa.Table, factor_id: str, sessions: DateArray) -> FloatArray:
    rows = levels.filter(pc.field("factor_id") == factor_id).sort_by("date")
    return _on_days(_floats(rows["value"]), _dates(rows["date"]), sessions)


def _on_days(values: FloatArray, dated: DateArray, days: DateArray) -> FloatArray:
    """Look values up by date, NaN where there is none; `dated` ascends."""
    result = np.full(days.size, np.nan)
    _, there, here = np.intersect1d(dated, days, assume_unique=True, return_indices=True)
    result[here] = values[there]
    return result


def _as_table(name: str, columns: dict[str, pa.Array]) -> pa.Table:
    """Arrange columns as a contract says; one that is absent is null throughout."""
    schema = contract(name).schema
    n_rows = len(columns["date"])
    arrays = [
        columns[field.name].cast(field.type) if field.name in columns else pa.nulls(n_rows, field.type)
        for field in schema
    ]
    return pa.Table.from_arrays(arrays, schema=schema)


def _dates(column: pa.ChunkedArray) -> DateArray:
    return np.asarray(column.to_numpy(), dtype="datetime64[D]")


def _floats(column: pa.ChunkedArray) -> FloatArray:
    return np.asarray(column.to_numpy(), dtype=np.float64)
