"""Spark writes and reads the tables of the lake."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa
import pytest

from acceleray.domain.tables import contract
from acceleray.engines.spark import read_table, write_table
from acceleray.errors import EngineError, SchemaError
from acceleray.lake.night import NightTables

pytestmark = pytest.mark.engines

_ROWS = [("Equity/US", "IBM", 10.0), ("Equity/US", "AAPL", -2.5), ("Bonds", "T10", 0.1 + 0.2)]


@pytest.fixture
def tables(tmp_path: Path) -> NightTables:
    # Wildcards, blanks and per cent signs in the project's path are ordinary characters.
    return NightTables(root=tmp_path / "50% [draft] {fund} ü" / "lake", run_id="r1")


def _positions(spark, rows):
    return spark.createDataFrame(rows, "portfolio_id string, instrument_id string, quantity double")


def test_spark_and_arrow_write_the_same_content(spark, tables, tmp_path):
    by_spark = write_table(_positions(spark, _ROWS).repartition(2), tables, "raw.positions")
    columns = zip(*_ROWS, strict=True)
    arrow = pa.table(dict(zip(contract("raw.positions").schema.names, map(list, columns), strict=True)))
    by_arrow = NightTables(root=tmp_path / "other", run_id="r1").write("raw.positions", arrow)
    assert by_spark == by_arrow
    assert sorted(map(tuple, read_table(spark, tables, "raw.positions").collect())) == sorted(_ROWS)
    assert tables.read("raw.positions").column("instrument_id").to_pylist() == ["T10", "AAPL", "IBM"]


def test_a_second_write_of_the_same_run_computes_nothing(spark, tables):
    first = write_table(_positions(spark, _ROWS), tables, "raw.positions")
    untouched = spark.sql("select raise_error('computed') portfolio_id, 'x' instrument_id, 1.0 quantity")
    assert write_table(untouched, tables, "raw.positions") == first


def test_a_ledger_shows_one_runs_rows_without_run_id(spark, tables):
    write_table(spark.sql("select 'decay' name, 0.94D value"), tables, "params.risk")
    later = NightTables(root=tables.root, run_id="r2")
    write_table(spark.sql("select 'decay' name, 0.97D value"), later, "params.risk")
    assert [row.asDict() for row in read_table(spark, tables, "params.risk").collect()] == [
        {"name": "decay", "value": 0.94}
    ]
    assert read_table(spark, later, "params.risk").first().value == 0.97


def test_map_columns_and_nulls_survive(spark, tables):
    from pyspark.sql import functions as F

    frame = spark.sql("select 'IBM' instrument_id, 'equity' kind, map('sector', 'IT') attributes")
    for name in set(contract("raw.instruments").schema.names) - set(frame.columns):
        frame = frame.withColumn(name, F.lit(None))
    write_table(frame, tables, "raw.instruments")
    (row,) = tables.read("raw.instruments").to_pylist()
    assert dict(row["attributes"]) == {"sector": "IT"}
    assert row["expiry"] is None
    assert read_table(spark, tables, "raw.instruments").first().attributes == {"sector": "IT"}


def test_missing_and_unknown_columns_are_named(spark, tables):
    with pytest.raises(SchemaError, match=r"missing columns \['quantity'\], unknown columns \['qty'\]"):
        write_table(_positions(spark, _ROWS).withColumnRenamed("quantity", "qty"), tables, "raw.positions")


def test_a_failing_job_is_our_error_and_leaves_no_table(spark, tables):
    broken = spark.sql("select 'a' portfolio_id, 'b' instrument_id, cast('x' as double) quantity")
    with pytest.raises(EngineError, match=r"writing raw\.positions: .*CAST_INVALID_INPUT"):
        write_table(broken, tables, "raw.positions")
    assert not tables.is_written("raw.positions")
