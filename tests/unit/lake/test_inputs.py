from __future__ import annotations

import csv
import datetime as dt
import io
import sys
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from acceleray.errors import InputDataError, MissingDataError, SchemaError
from acceleray.lake import inputs
from acceleray.lake.inputs import FILE, LINE, MALFORMED, open_source, read_input


def _read(source: str, project: Path) -> pa.Table:
    return pa.concat_tables(read_input(source, project))


def _csv(tmp_path: Path, content: bytes) -> pa.Table:
    (tmp_path / "a.csv").write_bytes(content)
    return _read("a.csv", tmp_path)


def test_lines_are_physical_lines(tmp_path):
    content = (
        b"\xef\xbb\xbfa,b,c\r\n"  # 1, with a byte-order mark
        b"1,2,3\r\n"  # 2
        b"\r\n"  # 3, blank
        b"4,5\r\n"  # 4, ragged
        b'"x\ny",7,8\r\n'  # 5 and 6
        b"9,10,11,12\r\n"  # 7, ragged
        b"   \r\n"  # 8, blank
        b"13,14,15\r\n"  # 9
        b'1,"u\n"\r\n'  # 10 and 11, ragged
        b"\xff,1,1\r\n"  # 12, not UTF-8
        b"20,1,1"  # 13, no line break at the end
    )
    table = _csv(tmp_path, content)
    assert table[LINE].to_pylist() == [2, 4, 5, 7, 9, 10, 12, 13]
    malformed = dict(zip(table[LINE].to_pylist(), table[MALFORMED].to_pylist(), strict=True))
    assert {line for line, reason in malformed.items() if reason} == {4, 7, 10, 12}
    assert malformed[7] == "the row has 4 cells, the header has 3"
    assert malformed[12] == "column a is not UTF-8 text"
    assert table["a"].to_pylist()[1] == "4,5"
    assert set(table[FILE].to_pylist()) == {"a.csv"}


_CELL = st.text(st.sampled_from('ab,"\n 1'), max_size=4)


@settings(max_examples=40, deadline=None)
@given(
    rows=st.lists(st.lists(_CELL, min_size=1, max_size=4), max_size=30), block=st.sampled_from([256, 1 << 20])
)
def test_lines_agree_with_the_csv_module(rows, block, tmp_path_factory):
    path = tmp_path_factory.mktemp("csv") / "a.csv"
    buffer = io.StringIO()
    writer = csv.writer(buffer, lineterminator="\n", quoting=csv.QUOTE_ALL)
    writer.writerow(["k", "l", "m"])
    expected = []
    for row in rows:
        line = buffer.getvalue().count("\n") + 1
        writer.writerow(row)
        # csv.writer writes [""] as "" in quotes, which is a row of one empty cell: blank.
        if any(cell.strip() for cell in row):
            expected.append((line, row if len(row) == 3 else None))
    path.write_text(buffer.getvalue(), newline="")
    before = inputs._CSV_BLOCK_BYTES
    inputs._CSV_BLOCK_BYTES = block
    try:
        tables = list(read_input("a.csv", path.parent))
    finally:
        inputs._CSV_BLOCK_BYTES = before
    found = []
    for table in tables:
        for row in table.to_pylist():
            cells = None if row[MALFORMED] else [row["k"], row["l"], row["m"]]
            found.append((row[LINE], cells))
    ragged_blank = {line for line, cells in found if cells is None}
    assert [(line, cells) for line, cells in found if cells or line in dict(expected)] == expected
    assert ragged_blank <= {line for line, _ in expected} | _lines_of_blank(rows)


def _lines_of_blank(rows: list[list[str]]) -> set[int]:
    # Quoted blanks of a wrong width are not blank lines of the file; they are reported as ragged.
    lines, line = set(), 2
    for row in rows:
        if len(row) != 3 and not any(cell.strip() for cell in row):
            lines.add(line)
        line += 1 + sum(cell.count("\n") for cell in row)
    return lines


def test_parquet_types_and_row_numbers(tmp_path):
    table = pa.table(
        {
            "id": pa.array(["x", "y"]).dictionary_encode(),
            "n": pa.array([1, 2], pa.int32()),
            "f": pa.array([1.5, None], pa.float32()),
            "day": pa.array([dt.datetime(2018, 12, 28), None], pa.timestamp("ns")),
            "moment": pa.array([dt.datetime(2018, 12, 28, 9), None], pa.timestamp("us")),
        }
    )
    pq.write_table(table, tmp_path / "a.parquet")
    found = _read("a.parquet", tmp_path)
    kinds = {name: found.schema.field(name).type for name in table.column_names}
    assert kinds == {
        "id": pa.string(),
        "n": pa.int64(),
        "f": pa.float64(),
        "day": pa.date32(),
        "moment": pa.string(),
    }
    assert found["day"].to_pylist() == [dt.date(2018, 12, 28), None]
    assert found[LINE].to_pylist() == [1, 2]


def test_a_function_of_the_project_is_called_and_leaves_no_trace(tmp_path):
    for name, value in (("one", 1.0), ("two", 2.0)):
        (tmp_path / name).mkdir()
        (tmp_path / name / "constants.py").write_text(f"VALUE = {value}\n")
        (tmp_path / name / "prices.py").write_text(
            "import pandas as pd\n"
            "def table():\n"
            "    from constants import VALUE\n"
            "    return pd.DataFrame({'value': [VALUE, float('nan')]})\n"
        )
    path, modules = list(sys.path), {name for name in sys.modules if name in {"prices", "constants"}}
    # Two projects with modules of the same name do not see each other's.
    for name, value in (("one", 1.0), ("two", 2.0), ("one", 1.0)):
        found = _read("python:prices.table", tmp_path / name)
        assert found["value"].to_pylist() == [value, None]
        assert set(found[FILE].to_pylist()) == {"python:prices.table"}
    assert sys.path == path
    assert {name for name in sys.modules if name in {"prices", "constants"}} == modules


def test_fingerprints_follow_the_content(tmp_path):
    (tmp_path / "prices.py").write_text(
        "import pyarrow as pa\ndef table():\n    return pa.table({'v': [1.0]})\n"
    )
    first = open_source("python:prices.table", tmp_path).fingerprint
    assert open_source("python:prices.table", tmp_path).fingerprint == first
    (tmp_path / "prices.py").write_text(
        "import pyarrow as pa\ndef table():\n    return pa.table({'v': [2.00]})\n"
    )
    assert open_source("python:prices.table", tmp_path).fingerprint != first


@pytest.mark.parametrize(
    ("source", "body", "error", "text"),
    [
        ("python:nowhere.table", "", MissingDataError, "No module named 'nowhere'"),
        ("python:prices.tabel", "def table(): pass", MissingDataError, "tabel"),
        ("python:prices", "", InputDataError, "expected python:module.function"),
        ("python:prices.table", "def table(): return 1 / 0", InputDataError, "ZeroDivisionError"),
        ("python:prices.table", "def table(): return [1]", SchemaError, "was builtins.list"),
        ("missing.csv", "", MissingDataError, "no such file"),
    ],
)
def test_what_cannot_be_read_says_why_and_what_to_do(tmp_path, source, body, error, text):
    (tmp_path / "prices.py").write_text(body)
    with pytest.raises(error, match=text) as caught:
        _read(source, tmp_path)
    assert caught.value.exit_code == 3
    assert caught.value.hint


@pytest.mark.parametrize(
    ("name", "content", "text"),
    [
        ("a.csv", b"", "empty"),
        ("a.parquet", b"PAR1 this is not", "not Parquet, or damaged"),
        ("a.csv", "a,b\n1,2\n".encode("utf-16"), "header is not UTF-8"),
        ("a.csv", b"a;b\n1;2\n", "the header has one column"),
    ],
)
def test_damaged_files(tmp_path, name, content, text):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(InputDataError, match=text):
        _read(name, tmp_path)


def test_many_blocks_keep_the_count(tmp_path, monkeypatch):
    monkeypatch.setattr(inputs, "_CSV_BLOCK_BYTES", 1 << 12)
    lines = [f"{i},{i}" if i % 97 else f"{i}" for i in range(5000)]
    table = _csv(tmp_path, ("a,b\n" + "\n".join(lines) + "\n").encode())
    np.testing.assert_array_equal(table[LINE].to_numpy(), np.arange(2, 5002))
    ragged = table.filter(table[MALFORMED].is_valid())[LINE].to_numpy()
    np.testing.assert_array_equal(ragged, np.arange(0, 5000, 97) + 2)
