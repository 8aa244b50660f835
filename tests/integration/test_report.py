"""The report stage on real Delta tables (of test data)."""

import dataclasses
import datetime as dt
import json

import pyarrow as pa
import pytest

from acceleray.domain.tables import TableKind, contract
from acceleray.errors import LineageError
from acceleray.lake.night import NightTables
from acceleray.stages import report
from acceleray.stages.context import StageContext
from tests import report_night


@pytest.fixture(scope="module")
def lake(tmp_path_factory):
    root = tmp_path_factory.mktemp("lake")
    tables = NightTables(root=root, run_id="night-1")
    for name, table in report_night.tables().items():
        assert name in report.READS
        tables.write(name, _with_other_methods(table) if name == "result.pnl" else table)
    assert {name for name in report.READS if not tables.is_written(name)} == set()
    return root


def _with_other_methods(table):
    """Add rows that the page must not pick up."""
    rows = table.to_pylist()
    others = [row | {"method": "monte_carlo_t", "pnl": 1e9} for row in rows[:500]]
    others += [row | {"horizon_days": 10, "pnl": -1e9} for row in rows[:500]]
    return pa.Table.from_pylist(rows + others, schema=table.schema)


@pytest.fixture
def context(lake, tmp_path):
    return StageContext(
        project=tmp_path,
        run_directory=tmp_path / "runs" / "night-1",
        settings=report_night.settings(),
        scenarios=(),
        limits=(),
        tables=NightTables(root=lake, run_id="night-1"),
        started_at=dt.datetime(2018, 12, 31, tzinfo=dt.UTC),
        progress=lambda line: None,
        tracking_uri="",
        record={"night": report_night.night()},
    )


def test_the_contract_names_this_stage_as_writer():
    assert all(contract(name).stage == "report" for name in report.WRITES)
    assert all(contract(name).kind is TableKind.LEDGER for name in report.WRITES)


def test_page_json_and_publication_agree(context):
    report.run(context)
    document = json.loads((context.run_directory / "report.json").read_text())
    page = (context.run_directory / "report.html").read_text()
    (published,) = context.tables.read("check.published").to_pylist()
    assert published["state"] == document["state"] == context.record["published"]["state"] == "COMPLETE"
    assert published["as_of"] == report_night.AS_OF
    assert (published["positions_total"], published["positions_excluded"]) == (14, 0)
    assert "Test data fund" in page
    losses = [point["loss"] for point in document["distribution"]["worst"]]
    assert document["distribution"]["n_paths"] == 500
    assert max(losses) < 1e6
    assert sorted(path.name for path in context.run_directory.iterdir()) == ["report.html", "report.json"]


def test_running_again_replaces_the_files_and_keeps_the_commit(context):
    report.run(context)
    first = context.tables.commits["check.published"]
    (context.run_directory / "report.html").write_text("half a page")
    report.run(context)
    assert context.tables.commits["check.published"] == first
    assert (context.run_directory / "report.html").read_text().rstrip().endswith("</html>")


@pytest.mark.parametrize("record", [None, {}, {"other": 1}])
def test_without_a_run_record_nothing_is_published(context, record):
    with pytest.raises(LineageError, match="record"):
        report.run(dataclasses.replace(context, record=record))
    assert not context.run_directory.exists()
