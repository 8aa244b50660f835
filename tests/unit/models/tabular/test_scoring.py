"""What needs no Ray: shards, bad rows, the order of the queue, words, and wishes that are refused early."""

import datetime as dt

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from tests.scoring_tables import arguments

from acceleray.errors import MissingDataError, SchemaError, UsageError
from acceleray.models.tabular.score_checks import faults, groups_of, place
from acceleray.models.tabular.score_inputs import DeltaVersion, Piece, open_inputs
from acceleray.models.tabular.score_queue import (
    Buckets,
    candidate_schema,
    first_of,
    in_words,
    priorities,
    spell_buckets,
)
from acceleray.models.tabular.scoring import score_files
from acceleray.models.tabular.signature import Feature, Signature

SIGNATURE = Signature(features=(Feature(name="x"), Feature(name="c", categories=("a", "b"))), label="y")


def rows(n_rows, first=0, **columns):
    given = {
        "day": pa.array([dt.date(2018, 12, 28)] * n_rows, pa.date32()),
        "number": pa.array(range(first, first + n_rows), pa.int64()),
        "x": pa.array(np.linspace(0.0, 1.0, n_rows)),
        "c": pa.array(["a"] * n_rows, pa.string()),
    }
    return pa.table(given | columns)


def write(folder, sizes, group_rows=10):
    files = []
    for number, size in enumerate(sizes):
        files.append(folder / f"f{number}.parquet")
        pq.write_table(rows(size), files[-1], row_group_size=group_rows)
    return files


def opened(source, **changes):
    given = {"keys": ["day", "number"], "exposure": None, "shard_rows": 25}
    return open_inputs(source, SIGNATURE, **(given | changes))


def test_shards_are_whole_row_groups_in_the_order_of_the_files(tmp_path):
    files = write(tmp_path, (35, 0, 12, 41))
    inputs = opened(files)
    seen = [
        (piece.file, group, size)
        for shard in inputs.shards
        for piece in shard.pieces
        for group, size in zip(range(piece.start, piece.stop), piece.rows, strict=True)
    ]
    expected = [
        (str(file), group, size)
        for file, sizes in zip(files, ([10, 10, 10, 5], [], [10, 2], [10, 10, 10, 10, 1]), strict=True)
        for group, size in enumerate(sizes)
    ]
    assert [entry for entry in seen if entry[2]] == expected
    assert [shard.rows for shard in inputs.shards] == [30, 27, 30, 1]
    assert inputs.rows == 88
    assert [shard.number for shard in inputs.shards] == [0, 1, 2, 3]


def test_other_content_has_another_fingerprint_and_a_copy_has_the_same(tmp_path):
    files = write(tmp_path, (35,))
    first = opened(files).sha256
    copy = tmp_path / "copy.parquet"
    copy.write_bytes(files[0].read_bytes())
    assert opened([copy]).sha256 == first
    pq.write_table(rows(35, first=1), copy, row_group_size=10)
    assert opened([copy]).sha256 != first


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        (rows(5).drop_columns(["x"]), "f1.parquet: column x is missing"),
        (rows(5).append_column("x", pa.array([0.0] * 5)), "f1.parquet: column x is there twice"),
        (rows(5, x=pa.array(["1"] * 5)), "f1.parquet: Column x is of type string; the model needs numbers"),
        (rows(5, c=pa.array([1.0] * 5)), "f1.parquet: Column c is of type double; the model needs names"),
        (rows(5, number=pa.array(range(5), pa.int32())), "f1.parquet: column number is of type int32; in f0"),
        (rows(5, number=pa.array([1.5] * 5)), "f1.parquet: key column number is of type double"),
    ],
)
def test_a_wrong_column_names_its_file(tmp_path, changed, message):
    files = write(tmp_path, (35, 5))
    pq.write_table(changed, files[1])
    with pytest.raises(SchemaError) as caught:
        opened(files)
    assert str(caught.value).startswith(message)


def test_there_must_be_something_to_read(tmp_path):
    with pytest.raises(MissingDataError, match="no file to score"):
        opened([])
    with pytest.raises(MissingDataError, match="there is no such file"):
        opened([tmp_path / "nothing.parquet"])
    with pytest.raises(MissingDataError, match="there is no Delta table"):
        opened(DeltaVersion(path=tmp_path, version=0))


def test_rows_are_found_again_by_row_group():
    piece = Piece(file="/data/f.parquet", start=3, stop=7, rows=(10, 0, 5, 10))
    groups, within = groups_of(piece, np.array([0, 9, 10, 14, 15, 24]))
    assert groups.tolist() == [3, 3, 5, 5, 6, 6]
    assert within.tolist() == [0, 9, 0, 4, 0, 9]
    assert place(piece, 14) == "f.parquet row group 5 row 4"


def test_every_bad_row_has_its_first_reason():
    table = rows(
        6,
        number=pa.array([0, None, 2, 3, 4, 5], pa.int64()),
        x=pa.array([0.0, float("inf"), 1e300, float("nan"), None, 2.0]),
        c=pa.array(["a", "b", "a", None, "z", "a"]),
    )
    exposure = np.array([1.0, 1.0, 1.0, -1.0, 1.0, np.nan])
    assert faults(table, SIGNATURE, ["number"], exposure) == {
        1: "key number is null",
        2: "column x is infinite, or too large for float32",
        4: "column c has the category 'z', which the model has not seen",
        5: "the exposure is not a finite number",
    }
    easy = Signature(features=SIGNATURE.features, label="y", unseen="missing")
    assert set(faults(table, easy, ["number"], None)) == {1, 2}


def test_whole_numbers_beyond_the_mantissa_are_rounded_as_numpy_does():
    table = rows(2, x=pa.array([20_000_001, -(2**53)], pa.int64()))
    values = SIGNATURE.encode(table)
    assert values[:, 0].tolist() == [float(np.float32(20_000_001)), -float(2**53)]


def test_buckets_begin_at_their_bounds():
    codes = Buckets(high=0.4, watch=0.2).codes(
        np.array([0.4, np.nextafter(0.4, 0), 0.2, np.nextafter(0.2, 0)])
    )
    assert spell_buckets(np.append(codes, np.int32(-1)).astype(np.int32)).to_pylist() == [
        "high",
        "watch",
        "watch",
        "normal",
        "not scored",
    ]


def candidates(random, n_rows, n_levels):
    schema = candidate_schema(pa.schema([("number", pa.int64())]))
    priority = random.integers(0, n_levels, n_rows) / n_levels
    columns = {
        "number": random.integers(0, 5, n_rows),
        "exposure": np.ones(n_rows),
        "score": priority,
        "bucket": ["high"] * n_rows,
        "priority": priority,
        "file": random.choice(["f0", "f1"], n_rows),
        "row_group": random.integers(0, 3, n_rows),
        # Each row is somewhere else.
        "row": np.arange(n_rows),
    }
    return pa.table(columns, schema=schema)


@pytest.mark.parametrize("count", [1, 7, 60])
def test_merging_parts_in_any_cut_gives_the_first_rows_of_the_whole(count):
    random = np.random.default_rng(3)
    whole = candidates(random, 50, n_levels=4)
    expected = sorted(
        whole.to_pylist(),
        key=lambda row: (-row["priority"], row["number"], row["file"], row["row_group"], row["row"]),
    )[:count]
    for cuts in ([10, 20, 45], [1], [25, 25]):
        merged = whole.slice(0, 0)
        for start, stop in zip([0, *cuts], [*cuts, 50], strict=True):
            part = first_of(whole.slice(start, stop - start), ["number"], count)
            assert part.num_rows <= count
            merged = first_of(pa.concat_tables([merged, part]), ["number"], count)
        assert merged.to_pylist() == expected


def test_the_priority_of_a_short_position_counts_its_size():
    assert priorities(np.array([0.5, 0.1]), np.array([-10.0, 20.0])).tolist() == [5.0, 2.0]
    assert priorities(np.array([0.5]), None).tolist() == [0.5]


def test_reasons_name_the_three_largest_in_words():
    signature = Signature(
        features=(*SIGNATURE.features, Feature(name="down-payment"), Feature(name="age")), label="y"
    )
    values = np.array([[0.25, 1, -1234.5, np.nan], [0.0, 0, 1.0, 2.0]], dtype=np.float32)
    shap = np.array([[0.1, -0.4, 0.2, -0.3], [0.0, 0.0, 0.0, 0.0]])
    assert in_words(signature, values, shap) == [
        "c b, lowers; age not known, lowers; down-payment −1234.5, raises",
        "no input moves it: the base rate",
    ]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"threshold": 0.0}, "threshold: expected between 0 and 1"),
        ({"high_multiple": 0.5}, "high_multiple: expected at least watch_multiple"),
        ({"bad_rows": "ignore"}, "bad_rows: expected 'error' or 'exclude'"),
        ({"keys": []}, "keys: expected at least one column"),
        ({"keys": ["a", "a"]}, "keys: expected at least one column, each once"),
        ({"keys": ["score"]}, "keys: score is a column that scoring writes itself"),
        ({"run_id": "../up"}, "run_id: expected letters"),
        ({"n_actors": 0}, "n_actors: expected at least 1"),
        ({"top": -1}, "top: expected at least 0"),
        ({"shard_rows": 0}, "shard_rows: expected at least 1"),
    ],
)
def test_wishes_that_make_no_sense_leave_nothing_behind(tmp_path, changes, message):
    with pytest.raises(UsageError) as caught:
        score_files([], **arguments(tmp_path, "0" * 64, **changes))
    assert str(caught.value).startswith(message)
    assert not (tmp_path / "out").exists()
