"""The Spark stage and its plain witness agree, and a rejected delivery leaves the tables as they were."""

from __future__ import annotations

import datetime as dt
import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet as pq
import pytest

from acceleray.errors import InputDataError
from acceleray.lake.check import load_inputs
from acceleray.lake.content import content_hash
from acceleray.lake.night import NightTables
from acceleray.stages import ingest
from acceleray.stages.context import StageContext

pytestmark = pytest.mark.engines


def _context(project, spark, run_id: str = "r1", **changes: Any) -> StageContext:
    return StageContext(
        project=project.path,
        run_directory=project.path / "runs" / run_id,
        settings=project.settings(**changes),
        scenarios=tuple(project.scenarios()),
        limits=(),
        tables=NightTables(root=project.path / "lake", run_id=run_id),
        started_at=dt.datetime(2018, 12, 28, 23, tzinfo=dt.UTC),
        progress=lambda line: None,
        tracking_uri="",
        spark=spark,
        record={},
    )


def _hashes(context: StageContext) -> dict[str, str]:
    return {name: commit.content_hash for name, commit in context.tables.commits.items()}


def _witness(context: StageContext) -> dict[str, str]:
    from acceleray.domain.tables import contract

    tables = load_inputs(context.settings, context.project, context.scenarios).tables
    return {name: content_hash(table, contract(name).key) for name, table in tables.items()}


def _versions(context: StageContext) -> dict[str, int]:
    return {name: commit.version for name, commit in context.tables.commits.items()}


def test_good_inputs_equal_the_witness_bit_for_bit(inputs_project, spark, monkeypatch):
    context = _context(inputs_project, spark)
    ingest.run(context)
    assert set(context.tables.commits) == set(ingest.WRITES)
    assert _hashes(context) == _witness(context)
    assert context.record["rows_rejected"] == 0
    assert json.dumps(context.record)
    # The finished stage has nothing left to do, whatever became of the files.
    inputs_project.replace("positions", "AAPL,100", "AAPL,101")
    again = _context(inputs_project, None)
    with pytest.raises(ValueError, match="needs a Spark session"):
        ingest.run(again)
    again = _context(inputs_project, spark)
    ingest.run(again)
    assert (_versions(again), _hashes(again)) == (_versions(context), _hashes(context))
    # A half-finished one is not completed from other files.
    real = NightTables.is_written
    monkeypatch.setattr(
        NightTables, "is_written", lambda self, name: name != "raw.controls" and real(self, name)
    )
    with pytest.raises(InputDataError, match="inputs changed since run r1 began to commit: positions"):
        ingest.run(_context(inputs_project, spark))


def test_parquet_and_python_sources_give_the_same_tables_and_obligors_may_be_absent(inputs_project, spark):
    by_csv = load_inputs(inputs_project.settings(), inputs_project.path).tables
    market = pa.csv.read_csv(inputs_project.path / "inputs" / "market.csv")
    pq.write_table(market, inputs_project.path / "inputs" / "market.parquet")
    (inputs_project.path / "book.py").write_text(
        "import pandas as pd\n"
        "from pathlib import Path\n"
        "def positions():\n"
        "    return pd.read_csv(Path(__file__).parent / 'inputs' / 'positions.csv')\n"
    )
    (inputs_project.path / "scenarios.yaml").write_text("[]")
    inputs = {"market": "inputs/market.parquet", "positions": "python:book.positions"}
    context = _context(inputs_project, spark, inputs=inputs)
    ingest.run(context)
    assert _hashes(context) == _witness(context)
    for name in ("raw.market", "raw.positions"):
        assert context.tables.read(name).equals(by_csv[name])
    assert context.tables.read("raw.obligors").num_rows == 0


def test_optional_inputs_equal_the_witness_good_and_bad(inputs_project, spark):
    changes = inputs_project.add_optional()
    context = _context(inputs_project, spark, **changes)
    ingest.run(context)
    assert _hashes(context) == _witness(context)
    assert context.tables.read("raw.benchmarks").num_rows == 4

    inputs_project.replace("portfolios", "500000,MIX", "500000,MIXX")
    inputs_project.replace("portfolios", "Bonds,,", "Bnds,,")
    inputs_project.replace("benchmarks", "MIX,IBM,0.3", "MIX,IBM,0.9")
    inputs_project.replace("benchmarks", "AAA-2038,0.95", "SPX-PUT,95")
    inputs_project.replace("instruments", "2019-03-15", "2018-12-21")
    inputs_project.replace("holdings", "TRACKER,IBM", "IBM,IBX")
    inputs_project.replace("holdings", "TRACKER,AAPL,0.4", "TRACKER,AAPL,nan")
    context = _context(inputs_project, spark, "r2", ingest={"on_bad_rows": "exclude"}, **changes)
    with pytest.raises(InputDataError, match="the benchmarks input has no row that can be used"):
        ingest.run(context)
    inputs_project.write("benchmarks", inputs_project.read("benchmarks") + "CASH,CASH-USD,1\n")
    inputs_project.write("holdings", inputs_project.read("holdings") + "TRACKER,SAP,1\n")
    ingest.run(context)
    assert _hashes(context) == _witness(context)
    rejected = context.tables.read("raw.rejected").to_pylist()
    found = {(row["input"], row["line"], row["column"]): row["reason"] for row in rejected}
    assert found["portfolios", 2, "benchmark_id"] == ("is not a benchmark of benchmarks; did you mean 'MIX'?")
    assert found["benchmarks", 2, "benchmark_id"] == "has weights that add up to more than 1: 1.600000000"
    assert found["benchmarks", 5, "instrument_id"] == "ended on 2018-12-21, not after as_of"
    assert found["holdings", 3, "fund_id"].startswith("is not an instrument of kind fund")


def _spoil(project) -> None:
    """One of each kind of row problem, with what follows from them."""
    project.replace("factors", "IBM,spot,USD,5", "IBM,spott,USD,5")
    project.replace("market", "2018-12-27,SPX,", "2018-12-26,SPX,")
    project.replace("market", "AAA,0.0418", "AAA,4.18")
    project.replace("market", "2018-12-28,VIX,0.25", "2018-12-28,VIX,nan")
    project.replace("instruments", "SAP,equity,EUR", "SAP,equity,GBP")
    project.replace("instruments", "2019-03-15", "2018-12-21")
    text = project.read("positions").replace("Bonds,AAA-2038,1000", "Bonds,AAA-2039,1000")
    project.write("positions", text + "Equity/US,AAPL,x\n\nshort,row\nusd:1y,IBM,\n")
    project.replace("obligors", "0.02,0.45", "2,0.45")
    project.replace("obligors", "0.3,-0.2", "0.9,-0.5")
    project.write("factors", project.read("factors") + "usd:1y,zero_rate,,\n")


def test_rejected_rows_stop_the_night_or_are_kept_with_their_reason(inputs_project, spark):
    first = _context(inputs_project, spark)
    ingest.run(first)
    before = _hashes(first)
    _spoil(inputs_project)
    context = _context(inputs_project, spark, "r2")
    with pytest.raises(InputDataError) as caught:
        ingest.run(context)
    assert caught.value.exit_code == 3
    assert "inputs/factors.csv:3: kind: 'spott' is not one of spot" in caught.value.message
    assert context.tables.commits == {}
    assert not any(context.tables.is_written(name) for name in ingest.WRITES)
    assert {name: first.tables.commits[name].content_hash for name in before} == before
    rejected = pa.csv.read_csv(context.run_directory / "rejected.csv")
    assert str(Path("rejected.csv")) in str(caught.value)
    witness = load_inputs(context.settings, context.project).tables["raw.rejected"]
    assert rejected.num_rows == witness.num_rows >= 15
    assert set(rejected["input"].to_pylist()) == {"factors", "market", "instruments", "positions", "obligors"}

    # The same delivery, with the rows left out and kept with their reasons.
    context = _context(inputs_project, spark, "r3", ingest={"on_bad_rows": "exclude"})
    ingest.run(context)
    assert _hashes(context) == _witness(context)
    rejected = context.tables.read("raw.rejected").to_pylist()
    reasons = {(row["input"], row["line"], row["column"]): row["reason"] for row in rejected}
    assert reasons["positions", 8, "instrument_id"] == (
        "the same portfolio_id and instrument_id as in line 2"
    )
    assert reasons["positions", 8, "quantity"] == "is not a number"
    assert reasons["positions", 10, "*"] == "the row has 2 cells, the header has 3"
    assert reasons["positions", 11, "quantity"] == "the cell is empty"
    assert reasons["factors", 9, "factor_id"] == "is given by the settings too"
    assert reasons["positions", 6, "instrument_id"] == "ended on 2018-12-21, not after as_of"
    controls = {row["input"]: row for row in context.record["controls"]}
    for row in controls.values():
        parts = row["rows_accepted"] + row["rows_rejected"] + row["rows_after_as_of"]
        assert row["rows_read"] == parts
    assert context.record["rows_rejected"] == sum(row["rows_rejected"] for row in controls.values())


def test_wrong_columns_and_dates_stop_the_night(inputs_project, spark):
    context = _context(inputs_project, spark, as_of=dt.date(2019, 6, 3))
    with pytest.raises(InputDataError, match="lies outside the data"):
        ingest.run(context)
    credit = {"correlation": {"retial": 0.1}}
    with pytest.raises(
        InputDataError, match=r"acceleray.yaml: .*correlation: .*did you mean 'retail'"
    ) as caught:
        ingest.run(_context(inputs_project, spark, simulate={"credit": credit}))
    assert "segment 'retail' has no correlation, nor has obligor 'L1' of it loadings" in caught.value.message
    inputs_project.replace("instruments", "spread_factor", "spred_factor")
    with pytest.raises(InputDataError, match=r"instruments.csv:1: spred_factor: .*did you mean"):
        ingest.run(_context(inputs_project, spark))
    assert not (inputs_project.path / "lake").exists()
