from __future__ import annotations

import errno
import json
import subprocess
import sys
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from acceleray.domain.tables import contract
from acceleray.errors import MissingDataError, SchemaError, StorageError
from acceleray.lake import night as night_module
from acceleray.lake.delta import commit_files, data_files, open_table, read_arrow
from acceleray.lake.night import NightTables

_POSITIONS = contract("raw.positions")
_RISK = contract("params.risk")


def _positions(quantity: float = 1.0) -> pa.Table:
    rows = {"portfolio_id": ["P", "P"], "instrument_id": ["B", "A"], "quantity": [quantity, 2.0]}
    return pa.table(rows)


def _risk(value: float = 1.0) -> pa.Table:
    return pa.table({"name": ["decay"], "value": [value]})


@pytest.fixture
def tables(tmp_path: Path) -> NightTables:
    return NightTables(root=tmp_path / "lake", run_id="r1")


def test_the_same_run_commits_once(tables):
    first = tables.write("raw.positions", _positions())
    assert tables.write("raw.positions", _positions(99.0)) == first
    assert tables.read("raw.positions")["quantity"].to_pylist() == [2.0, 1.0]
    log = sorted((tables.root / "raw" / "positions" / "_delta_log").glob("*.json"))
    assert len(log) == 1


def test_a_snapshot_is_replaced_and_old_versions_stay_readable(tables):
    tables.write("raw.positions", _positions())
    later = NightTables(root=tables.root, run_id="r2")
    assert later.write("raw.positions", _positions(5.0)).version == 1
    assert later.read("raw.positions")["quantity"].to_pylist() == [2.0, 5.0]
    assert tables.read("raw.positions")["quantity"].to_pylist() == [2.0, 1.0]
    replay = NightTables(root=tables.root, run_id="r3", input_versions={"raw.positions": 0})
    assert replay.read("raw.positions", ["quantity"])["quantity"].to_pylist() == [2.0, 1.0]
    assert replay.reads == {"raw.positions": 0}


def test_a_ledger_keeps_every_run_apart(tables):
    one = tables.write("params.risk", _risk(1.0))
    later = NightTables(root=tables.root, run_id="r2")
    two = later.write("params.risk", _risk(2.0))
    assert (one.version, two.version) == (0, 1)
    assert one.content_hash != two.content_hash
    assert tables.read("params.risk").to_pylist() == [{"name": "decay", "value": 1.0}]
    assert later.read("params.risk").to_pylist() == [{"name": "decay", "value": 2.0}]
    with pytest.raises(ValueError, match="name the run"):
        data_files(tables.root, _RISK, version=1, run_id=None)


def test_staged_files_are_not_visible(tables):
    folder = tables.staging("raw.positions")
    pq.write_table(_positions(), folder / "part-0.parquet")
    assert open_table(tables.root, _POSITIONS) is None
    assert not tables.is_written("raw.positions")
    with pytest.raises(MissingDataError, match="Run the ingest stage first"):
        tables.read("raw.positions")
    tables.write("raw.positions", _positions(7.0))
    assert tables.read("raw.positions").num_rows == 2


@pytest.mark.parametrize("keep", [0.0, 0.5, 0.95])
def test_a_half_written_file_is_never_committed(tables, keep):
    file = tables.staging("raw.positions") / "part-0.parquet"
    pq.write_table(_positions().select(_POSITIONS.schema.names).cast(_POSITIONS.schema), file)
    content = file.read_bytes()
    file.write_bytes(content[: int(len(content) * keep)])
    with pytest.raises(StorageError, match=r"raw.positions: .*(not complete|cannot be read)"):
        tables.commit("raw.positions", [file])
    assert open_table(tables.root, _POSITIONS) is None


def test_a_truncated_or_missing_data_file_is_refused(tables):
    version = tables.write("raw.positions", _positions()).version
    (path,) = (Path(p) for p in data_files(tables.root, _POSITIONS, version=version, run_id=None))
    content = path.read_bytes()
    path.write_bytes(content[:-5])
    with pytest.raises(StorageError, match=f"has {len(content) - 5} bytes, expected {len(content)}"):
        tables.read("raw.positions")
    path.unlink()
    with pytest.raises(StorageError, match="is gone"):
        tables.read("raw.positions")


def test_a_flipped_bit_in_a_data_file_is_refused(tables):
    version = tables.write("raw.positions", _positions()).version
    (path,) = (Path(p) for p in data_files(tables.root, _POSITIONS, version=version, run_id=None))
    content = bytearray(path.read_bytes())
    chunk = pq.read_metadata(path).row_group(0).column(2)
    content[chunk.data_page_offset + chunk.total_compressed_size // 4] ^= 1
    content[chunk.dictionary_page_offset + chunk.total_compressed_size - 1] ^= 1
    path.write_bytes(bytes(content))
    with pytest.raises(StorageError, match="cannot be read"):
        tables.read("raw.positions")


def test_an_empty_last_commit_is_refused_with_advice(tables):
    tables.write("raw.positions", _positions())
    log = tables.root / "raw" / "positions" / "_delta_log"
    (log / f"{1:020d}.json").touch()
    for call in (lambda: tables.read("raw.positions"), lambda: tables.write("raw.positions", _positions())):
        with pytest.raises(StorageError, match=r"00000000000000000001\.json is empty") as caught:
            call()
        assert caught.value.exit_code == 74
        assert "retry" in (caught.value.hint or "")


def test_a_damaged_log_is_a_storage_error(tables):
    tables.write("raw.positions", _positions())
    log = tables.root / "raw" / "positions" / "_delta_log"
    (log / f"{0:020d}.json").write_text('{"add": {"path"')
    with pytest.raises(StorageError, match="log cannot be read"):
        tables.read("raw.positions")
    (log / f"{0:020d}.json").write_text('{"txn": {"appId": "acceleray/r1/ingest", ')
    with pytest.raises(StorageError, match="log cannot be read"):
        tables.read("raw.positions")


def test_a_wrong_schema_is_refused(tables):
    with pytest.raises(SchemaError, match=r"missing columns \['quantity'\], unknown columns \['qty'\]"):
        tables.write("raw.positions", _positions().rename_columns(["portfolio_id", "instrument_id", "qty"]))
    file = tables.staging("raw.positions") / "part-0.parquet"
    pq.write_table(_positions().set_column(2, "quantity", pa.array([1, 2])), file)
    with pytest.raises(SchemaError, match="quantity: expected double, was int64"):
        tables.commit("raw.positions", [file])
    assert open_table(tables.root, _POSITIONS) is None


def test_null_and_repeated_keys_are_refused(tables):
    nulls = _positions().set_column(1, "instrument_id", pa.array(["A", None]))
    with pytest.raises(SchemaError, match="instrument_id"):
        tables.write("raw.positions", nulls)
    repeated = _positions().set_column(1, "instrument_id", pa.array(["A", "A"]))
    with pytest.raises(SchemaError, match="two rows have the same key"):
        tables.write("raw.positions", repeated)
    assert open_table(tables.root, _POSITIONS) is None


def test_an_empty_table_is_a_table(tables):
    tables.write("raw.obligors", contract("raw.obligors").schema.empty_table())
    assert tables.read("raw.obligors").num_rows == 0
    assert tables.commit("raw.positions", []).rows == 0
    assert tables.read("raw.positions").schema == _POSITIONS.schema


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EDQUOT])
def test_a_full_disk_is_a_storage_error_and_leaves_nothing(tables, monkeypatch, code):
    def full(table, file, **options):
        Path(file).write_bytes(b"half")
        raise OSError(code, "No space left on device")

    monkeypatch.setattr(night_module.pq, "write_table", full)
    with pytest.raises(StorageError, match="writing 2 rows failed") as caught:
        tables.write("raw.positions", _positions())
    assert "Free space" in (caught.value.hint or "")
    assert not list(tables.root.rglob("*.parquet"))
    monkeypatch.undo()
    assert tables.write("raw.positions", _positions()).rows == 2


def test_files_with_odd_names_above_them_are_read(tmp_path):
    tables = NightTables(root=tmp_path / "50% [draft] ü #1" / "lake", run_id="2018-12-28-ab12")
    tables.write("raw.positions", _positions())
    assert tables.read("raw.positions").num_rows == 2
    assert (tables.root / "raw" / "positions" / "_delta_log" / f"{0:020d}.json").is_file()


_WRITER = """
import sys
from pathlib import Path
import pyarrow as pa
from acceleray.lake.night import NightTables
root, name, count = Path(sys.argv[1]), sys.argv[2], int(sys.argv[3])
for i in range(count):
    tables = NightTables(root=root, run_id=f"{name}-{i}")
    tables.write("params.risk", pa.table({"name": ["decay"], "value": [float(i)]}))
"""


def test_two_processes_commit_to_one_ledger(tmp_path):
    # From the very first commit on: both also race to make the table.
    count = 6
    command = [sys.executable, "-c", _WRITER, str(tmp_path / "lake")]
    running = [subprocess.Popen([*command, name, str(count)]) for name in ("a", "b")]
    assert [process.wait(120) for process in running] == [0, 0]
    table = open_table(tmp_path / "lake", _RISK)
    assert table is not None
    assert table.version() == 2 * count - 1
    for name in ("a", "b"):
        for i in range(count):
            tables = NightTables(root=tmp_path / "lake", run_id=f"{name}-{i}")
            assert tables.read("params.risk")["value"].to_pylist() == [float(i)]


def test_a_commit_lost_before_its_answer_is_found_again(tables, monkeypatch):
    from acceleray.lake import delta

    real = delta._commit

    def committed_but_unheard(*arguments):
        real(*arguments)
        raise delta.CommitFailedError("connection lost")

    monkeypatch.setattr(delta, "_commit", committed_but_unheard)
    commit = tables.write("params.risk", _risk())
    assert commit.version == 0
    assert read_arrow(tables.root, _RISK, version=0, run_id="r1").num_rows == 1


def test_old_log_entries_are_kept(tables):
    tables.write("raw.positions", _positions())
    log = tables.root / "raw" / "positions" / "_delta_log" / f"{0:020d}.json"
    entries = [json.loads(line) for line in log.read_text().splitlines()]
    (metadata,) = (entry["metaData"] for entry in entries if "metaData" in entry)
    assert metadata["configuration"]["delta.enableExpiredLogCleanup"] == "false"


def test_a_run_far_back_in_the_log_is_found(tables):
    tables.write("params.risk", _risk(0.5))
    for number in range(25):
        NightTables(root=tables.root, run_id=f"later-{number}").write("params.risk", _risk(float(number)))
    assert commit_files(tables.root, _RISK, [], run_id="r1").version == 0
    assert tables.read("params.risk")["value"].to_pylist() == [0.5]
