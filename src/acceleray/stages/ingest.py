"""Read, validate and commit the inputs: Spark brings the rows, `lake.validate` judges them.

Each input is read by one task and judged row by row in the Python worker that reads it, compared with itself
by a window and with the other inputs by joins. Only counts, unknown names and rejected rows come to the
driver. No table is committed before every input has passed.
"""

from __future__ import annotations

import datetime as dt
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv
import pyarrow.parquet as pq
from pyspark.sql import Column, DataFrame, SparkSession, Window
from pyspark.sql import functions as F  # noqa: N812 (the name every Spark reader knows)

from acceleray.domain.inputs import INPUTS, Finding, InputContract, Rule
from acceleray.domain.tables import contract as table_contract
from acceleray.engines.spark import spark_schema, translated, write_table
from acceleray.errors import InputDataError
from acceleray.lake.check import check_rows, findings_of, open_inputs, settings_control
from acceleray.lake.credit_fitness import GROUP_SCHEMA, check_dependence
from acceleray.lake.files import write_atomic
from acceleray.lake.fitness import (
    check_dates,
    check_limits,
    check_market_map,
    check_scenarios,
    credit_factors,
    settings_rows,
)
from acceleray.lake.inputs import FILE, LINE, InputSource, read_file
from acceleray.lake.references import (
    LARGEST_WEIGHT,
    MOST_WEIGHT,
    Reference,
    excess_reason,
    factor_references,
    free_factors,
    fund_references,
    holder_references,
    instrument_references,
    key_column,
    market_references,
    obligor_references,
    portfolio_references,
    repeat_reason,
)
from acceleray.lake.validate import LATER, PROBLEM, PROBLEMS, examine_rows, examined_schema
from acceleray.stages.context import StageContext

__all__ = ["ENGINE", "READS", "WRITES", "run"]

READS: tuple[str, ...] = ()
WRITES: tuple[str, ...] = (
    "raw.positions",
    "raw.instruments",
    "raw.factors",
    "raw.market",
    "raw.portfolios",
    "raw.benchmarks",
    "raw.holdings",
    "raw.obligors",
    "raw.rejected",
    "raw.controls",
)
ENGINE = "spark"

_SHOWN = 5

Batches = Iterator[pa.RecordBatch]


def run(context: StageContext) -> None:
    """Validate all inputs and commit the raw tables.

    Raises
    ------
    InputDataError
        If a file or column is missing, `as_of` lies outside the data, a scenario or limit names something
        unknown, or, unless the settings say ``on_bad_rows: exclude``, a row is rejected. No table is changed.
    """
    if context.spark is None:
        raise ValueError("ingest needs a Spark session")
    if all(context.tables.is_written(name) for name in WRITES):
        for name in WRITES:
            context.tables.commit(name, [])
        return
    sources, findings = open_inputs(context.settings, context.project)
    _stop_on(findings)
    _hold_sources(context, sources)
    night = _Night(context, context.spark, sources)
    try:
        with translated("validating the inputs"):
            night.judge()
            rejected = night.rejected()
            findings = night.findings()
        _refuse_or_exclude(context, rejected, findings)
        _commit(context, night, rejected)
    finally:
        night.release()


class _Night:
    """The inputs of one night on their way through validation; the row frames stay in Spark."""

    def __init__(
        self, context: StageContext, spark: SparkSession, sources: Mapping[str, InputSource]
    ) -> None:
        self.context = context
        self.spark = spark
        self.sources = sources
        self.frames: dict[str, DataFrame] = {}
        self.controls: dict[str, dict[str, Any]] = {}
        self.delivered: tuple[dt.date, dt.date] | None = None
        self.fixed_factors, self.fixed_market = settings_rows(context.settings)
        self.factors = self.fixed_factors
        self._held: list[DataFrame] = []

    def judge(self) -> None:
        """Note every problem of every row, in the order in which one input's checks need another's rows."""
        self._judge_factors()
        with ThreadPoolExecutor(1, thread_name_prefix="obligors") as beside:
            # Obligors refer to nothing but currencies and nothing refers to them.
            obligors = beside.submit(self._judge_obligors)
            self._judge_book()
            obligors.result()

    def _judge_obligors(self) -> None:
        if "obligors" in self.sources:
            pairs = self.context.settings.simulate.credit.factor_correlation
            self._read("obligors", factor_correlation=pairs)
            base_currency = self.context.settings.base_currency
            self._refer("obligors", obligor_references(self.factors, base_currency))

    def _judge_factors(self) -> None:
        self._read("factors")
        free = free_factors(self.fixed_factors)
        self._refer("factors", [*free, *factor_references(self._known_factors(), ())])
        self.factors = self._known_factors()

    def _judge_book(self) -> None:
        settings = self.context.settings
        refused = self._refused("factors", "factor_id")
        rows = self.factors.select(["factor_id", "kind"]).to_pylist()
        kinds = {row["factor_id"]: row["kind"] for row in rows}

        self._read("market", as_of=settings.as_of, factor_kinds=kinds)
        self._refer("market", market_references(self.factors, refused))
        self._read("instruments", as_of=settings.as_of)
        self._refer("instruments", instrument_references(self.factors, refused, settings.base_currency))
        self._read("positions")
        self._refer_to_instruments("positions")
        for name in ("benchmarks", "holdings"):
            if name in self.sources:
                self._read(name)
                self._refer_to_instruments(name)
        if "portfolios" in self.sources:
            self._read("portfolios")
            portfolios = self._names("positions", "portfolio_id")
            benchmarks = self._names("benchmarks", "benchmark_id")
            self._refer("portfolios", portfolio_references(portfolios, benchmarks))

    def accepted(self, name: str) -> DataFrame:
        """Rows without a problem that the night can know; none if the input is not given."""
        schema = INPUTS[name].table.schema
        if name not in self.frames:
            return self.spark.createDataFrame([], spark_schema(schema))
        good = (F.size(PROBLEMS) == 0) & ~F.col(LATER)
        return self.frames[name].filter(good).select(*schema.names)

    def rejected(self) -> pa.Table:
        """One row per problem, as `validate.split` returns it."""
        names = [*table_contract("raw.rejected").schema.names, "rule"]
        parts = [
            pa.schema([(name, pa.int64() if name == "line" else pa.string()) for name in names]).empty_table()
        ]
        for name in self.frames:
            if self.controls[name]["rows_rejected"]:
                flat = self.frames[name].select(
                    F.lit(name).alias("input"),
                    F.col(FILE).alias("file"),
                    F.col(LINE).alias("line"),
                    F.inline(PROBLEMS),
                )
                parts.append(flat.select(*names).toArrow().cast(parts[0].schema))
        order = [(name, "ascending") for name in ("input", "line", "column", "reason")]
        return pa.concat_tables(parts).sort_by(order)

    def findings(self) -> list[Finding]:
        """Look beyond single rows: nothing there, wrong dates, scenarios and limits that do not fit."""
        context, settings = self.context, self.context.settings
        market = self.accepted("market").groupBy("factor_id")
        spans = market.agg(F.min("date").alias("first"), F.max("date").alias("last")).toArrow()
        counts = {name: control["rows_accepted"] for name, control in self.controls.items()}
        segments = self._names("obligors", "segment") if context.scenarios else []
        portfolios = self._names("positions", "portfolio_id") if context.limits else []
        obligors = self.sources.get("obligors")
        columns = () if obligors is None else obligors.columns
        latent = credit_factors(settings, columns)
        return [
            *check_rows(self.sources, counts),
            *check_dates(settings, self.factors, spans, self.delivered),
            *check_market_map(settings, self.factors, latent, context.project),
            *check_dependence(settings, self._obligor_groups(), columns, context.project),
            *check_scenarios(settings, context.scenarios, self.factors, segments, context.project, latent),
            *check_limits(settings, context.limits, portfolios, context.scenarios, context.project),
        ]

    def release(self) -> None:
        """Free Spark's memory."""
        for frame in self._held:
            frame.unpersist()

    def _read(self, name: str, **facts: Any) -> None:
        contract, source = INPUTS[name], self.sources[name]
        path = source.path
        if path is None:
            # What a Python function returned is handed over as a file, which is five times quicker than
            # through the Java process and leaves on record what this night was given.
            path = self.context.run_directory / "inputs" / f"{name}.parquet"
            path.parent.mkdir(parents=True, exist_ok=True)
            pq.write_table(source.table, path, compression="zstd")
        frame = _with_repeats(_examined(self.spark, str(path), source.source, contract, facts), contract)
        frame = _with_excess(frame, contract)
        # Held, so that counting, splitting and writing do not read and judge the file again.
        self.frames[name] = frame.persist()
        self._held.append(frame)

    def _refer(self, name: str, references: Sequence[Reference]) -> None:
        names = [(r.column, value) for r in references for value in sorted(r.known or ())]
        known = self.spark.createDataFrame(names, "column string, value string")
        self._note(name, references, _unknown(self.frames[name], [r.column for r in references], known))
        self._count(name)

    def _refer_to_instruments(self, holder: str) -> None:
        """Join what holds instruments with them; their names come to the driver only if one is unknown."""
        ends = F.coalesce("expiry", "maturity")
        instruments = self.accepted("instruments").select("instrument_id", "kind", ends.alias("ends"))
        running = F.col("ends").isNull() | (F.col("ends") > F.lit(self.context.as_of))
        value = F.col("instrument_id").alias("value")
        known = instruments.filter(running).select(F.lit("instrument_id").alias("column"), value)
        columns = ["instrument_id"]
        if holder == "holdings":
            funds = instruments.filter(F.col("kind") == "fund")
            known = known.union(funds.select(F.lit("fund_id").alias("column"), value))
            columns.append("fund_id")
        unknown = _unknown(self.frames[holder], columns, known)
        if unknown:
            names = instruments.select("instrument_id", "kind").toArrow()
            ids = names["instrument_id"].to_pylist()
            held = instruments.filter(F.col("instrument_id").isin(unknown.get("instrument_id", [])))
            dates = dict(map(tuple, held.filter(~running).select("instrument_id", "ends").collect()))
            refused = self._refused("instruments", "instrument_id")
            references = holder_references(ids, refused, dates)
            if holder == "holdings":
                funds_ids = names.filter(pc.equal(names["kind"], "fund"))["instrument_id"].to_pylist()
                references += fund_references(funds_ids, refused)
            self._note(holder, references, unknown)
        self._count(holder)

    def _note(self, name: str, references: Sequence[Reference], unknown: Mapping[str, list[str]]) -> None:
        for reference in references:
            verdicts = reference.judge(unknown.get(reference.column, ()))
            if verdicts:
                self.frames[name] = _with_verdicts(self.spark, self.frames[name], reference.column, verdicts)

    def _known_factors(self) -> pa.Table:
        found = self.accepted("factors").toArrow().cast(self.fixed_factors.schema)
        return pa.concat_tables([found, self.fixed_factors])

    def _refused(self, name: str, column: str) -> list[str]:
        if not self.controls[name]["rows_rejected"]:
            return []
        names = self.frames[name].filter(F.size(PROBLEMS) > 0).select(column).distinct().collect()
        return [value for (value,) in names if value is not None]

    def _obligor_groups(self) -> pa.Table:
        """Summarise the dependence of the obligors; see `lake.credit_fitness.obligor_groups`."""
        if "obligors" not in self.frames:
            return GROUP_SCHEMA.empty_table()
        rows = self.frames["obligors"].filter(F.col("segment").isNotNull())
        rows = rows.withColumn("has_loadings", F.coalesce(F.size("loadings"), F.lit(0)) > 0)
        groups = rows.groupBy("segment", "sector", "country", "has_loadings")
        found = groups.agg(F.min("obligor_id").alias("obligor_id")).toArrow()
        return found.select(GROUP_SCHEMA.names).cast(GROUP_SCHEMA)

    def _names(self, name: str, column: str) -> list[str]:
        if name not in self.frames:
            return []
        return [
            value for (value,) in self.frames[name].select(column).distinct().collect() if value is not None
        ]

    def _count(self, name: str) -> None:
        contract, frame = INPUTS[name], self.frames[name]
        bad = F.size(PROBLEMS) > 0
        good = ~bad & ~F.col(LATER)
        counts = [F.count("*"), F.count_if(good), F.count_if(bad), F.count_if(F.col(LATER))]
        amount = F.lit(None)
        if contract.amount_column is not None:
            # Decimals add exactly, so the total does not depend on how the rows are partitioned.
            amount = F.sum(F.when(good, F.col(contract.amount_column)).cast("decimal(38,9)"))
        dates = [F.lit(None)] * 3
        if name == "market":
            dates = [F.max(F.when(good, F.col("date"))), F.min("date"), F.max("date")]
        row = frame.agg(*[c.alias(f"c{i}") for i, c in enumerate([*counts, amount, *dates])]).first()
        read, accepted, rejected, later, total, last, earliest, latest = row
        if earliest is not None:
            self.delivered = (earliest, latest)
        self.controls[name] = {
            "input": name,
            "source": self.sources[name].source,
            "rows_read": read,
            "rows_accepted": accepted,
            "rows_rejected": rejected,
            "rows_after_as_of": later,
            "amount_column": contract.amount_column,
            "amount_total": None if contract.amount_column is None else float(total or 0),
            "last_date": last,
        }
        self.context.progress(f"{name}: {read:,} rows, {rejected:,} rejected, {later:,} after as_of")


# ---- frames -----------------------------------------------------------------------------------------------


def _examined(
    spark: SparkSession, path: str, source: str, contract: InputContract, facts: Mapping[str, Any]
) -> DataFrame:
    """Rows and their problems, read and judged by one task."""
    place = spark.createDataFrame([(path, source)], "path string, source string").coalesce(1)
    return place.mapInArrow(_judge(contract, facts), spark_schema(examined_schema(contract)))


def _judge(contract: InputContract, facts: Mapping[str, Any]) -> Callable[[Batches], Batches]:
    def judge(batches: Batches) -> Batches:
        for batch in batches:
            for file in batch.to_pylist():
                for rows in read_file(Path(file["path"]), file["source"]):
                    yield from examine_rows(rows, contract, **facts).to_batches()

    return judge


def _with_repeats(frame: DataFrame, contract: InputContract) -> DataFrame:
    """Note a problem on every row whose key another row has too; see `lake.references.examine_keys`."""
    judged = ~F.col(LATER)
    for name in contract.key:
        judged &= F.col(name).isNotNull()
    same_key = Window.partitionBy(judged, *contract.key)
    first, last = F.min(LINE).over(same_key), F.max(LINE).over(same_key)
    other = F.when(F.col(LINE) == F.col("_first"), F.col("_last")).otherwise(F.col("_first"))
    value = F.concat_ws(", ", *[F.col(name).cast("string") for name in contract.key])
    reason = F.concat(F.lit(repeat_reason(contract)), other.cast("string"))
    problem = _problem(F.lit(Rule.DUPLICATE.value), key_column(contract), value, reason)
    repeated = judged & (F.col("_first") != F.col("_last"))
    frame = frame.withColumns({"_first": first, "_last": last})
    return frame.withColumn(PROBLEMS, _added(repeated, problem)).drop("_first", "_last")


def _with_excess(frame: DataFrame, contract: InputContract) -> DataFrame:
    """Note a problem on every row whose weights exceed one together; see `lake.references.examine_weights`.

    Decimals add exactly, so no order of rows changes the sum.
    """
    if contract.whole is None:
        return frame
    weight = F.when(F.abs("weight") <= LARGEST_WEIGHT, F.col("weight")).cast("decimal(38,9)")
    total = F.sum(weight).over(Window.partitionBy(contract.whole))
    frame = frame.withColumn("_total", total)
    where = F.col(contract.whole).isNotNull() & (F.col("_total") > F.lit(MOST_WEIGHT))
    reason = F.concat(F.lit(excess_reason()), F.col("_total").cast("string"))
    problem = _problem(F.lit(Rule.WEIGHTS.value), contract.whole, F.col(contract.whole), reason)
    return frame.withColumn(PROBLEMS, _added(where, problem)).drop("_total")


def _unknown(frame: DataFrame, columns: Sequence[str], known: DataFrame) -> dict[str, list[str]]:
    """Names in the columns that `known` (``column, value``) does not have."""
    pairs = [F.struct(F.lit(name).alias("column"), F.col(name).alias("value")) for name in columns]
    mentions = frame.filter(~F.col(LATER)).select(F.inline(F.array(*pairs)))
    mentions = mentions.filter(F.col("value").isNotNull()).distinct()
    found: dict[str, list[str]] = {}
    for column, value in mentions.join(known, ["column", "value"], "left_anti").collect():
        found.setdefault(column, []).append(value)
    return found


def _with_verdicts(
    spark: SparkSession, frame: DataFrame, column: str, verdicts: Mapping[str, tuple[Rule, str]]
) -> DataFrame:
    rows = [(name, rule.value, reason) for name, (rule, reason) in verdicts.items()]
    bad = F.broadcast(spark.createDataFrame(rows, "_name string, _rule string, _reason string"))
    problem = _problem(F.col("_rule"), column, F.col(column), F.col("_reason"))
    frame = frame.join(bad, F.col(column) == F.col("_name"), "left")
    concerned = F.col("_name").isNotNull() & ~F.col(LATER)
    return frame.withColumn(PROBLEMS, _added(concerned, problem)).drop("_name", "_rule", "_reason")


def _problem(rule: Column, column: str, value: Column, reason: Column) -> Column:
    parts = zip(PROBLEM.names, (rule, F.lit(column), value, reason), strict=True)
    return F.struct(*[part.alias(name) for name, part in parts])


def _added(where: Column, problem: Column) -> Column:
    return F.when(where, F.concat(F.col(PROBLEMS), F.array(problem))).otherwise(F.col(PROBLEMS))


# ---- driver -----------------------------------------------------------------------------------------------


def _refuse_or_exclude(context: StageContext, rejected: pa.Table, findings: list[Finding]) -> None:
    if context.settings.ingest.on_bad_rows == "stop" and rejected.num_rows:
        path = context.run_directory / "rejected.csv"
        written = pa.BufferOutputStream()
        pa.csv.write_csv(rejected.drop_columns(["rule"]), written)
        write_atomic(path, written.getvalue().to_pybytes())
        _stop_on(findings_of(rejected) + findings, detail=f"all rejected rows are in {path}")
    _stop_on(findings)
    if context.record is not None:
        context.record["findings"] = [str(finding) for finding in findings]


def _stop_on(findings: list[Finding], *, detail: str = "`acceleray check` shows all") -> None:
    """Raise if the night cannot run; the first findings are in the message."""
    fatal = [finding for finding in findings if finding.code == InputDataError.exit_code]
    if not fatal:
        return
    lines = [str(finding) for finding in fatal[:_SHOWN]]
    if len(fatal) > _SHOWN:
        lines.append(f"and {len(fatal) - _SHOWN} more")
    plural = "" if len(fatal) == 1 else "s"
    raise InputDataError(
        f"the inputs have {len(fatal)} problem{plural}; no table was changed\n  " + "\n  ".join(lines),
        hint=f"{fatal[0].hint} ({detail})",
    )


def _hold_sources(context: StageContext, sources: Mapping[str, InputSource]) -> None:
    """Remember what was read, and refuse to complete a half-committed night from other files."""
    found = {name: source.fingerprint for name, source in sources.items()}
    path = context.run_directory / "inputs.json"
    if path.is_file() and any(context.tables.is_written(name) for name in WRITES):
        before = json.loads(path.read_text())
        if before != found:
            changed = sorted(
                name for name in found.keys() | before.keys() if found.get(name) != before.get(name)
            )
            raise InputDataError(
                f"inputs changed since run {context.tables.run_id} began to commit: {', '.join(changed)}",
                hint="Start a new run; this one would mix two deliveries.",
            )
    write_atomic(path, json.dumps(found, indent=1, sort_keys=True).encode())
    if context.record is not None:
        context.record["sources"] = found


def _commit(context: StageContext, night: _Night, rejected: pa.Table) -> None:
    tables, spark = context.tables, night.spark
    fixed = {"factors": night.fixed_factors, "market": night.fixed_market}
    for name in INPUTS:
        frame = night.accepted(name)
        if name in fixed:
            frame = frame.union(spark.createDataFrame(fixed[name], frame.schema))
        write_table(frame, tables, f"raw.{name}")
    controls = [night.controls[name] for name in INPUTS if name in night.controls]
    controls.append(settings_control(context.settings, night.fixed_factors))
    tables.write("raw.rejected", rejected.drop_columns(["rule"]))
    tables.write("raw.controls", pa.Table.from_pylist(controls, schema=table_contract("raw.controls").schema))
    if context.record is not None:
        context.record["controls"] = [
            {name: str(value) if isinstance(value, dt.date) else value for name, value in row.items()}
            for row in controls
        ]
        context.record["rows_rejected"] = sum(control["rows_rejected"] for control in controls)
