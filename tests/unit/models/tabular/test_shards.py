"""Row groups are dealt evenly, read once and in order, and bad data is refused before a worker starts."""

import os

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from deltalake import write_deltalake

from acceleray.errors import MissingDataError, SchemaError, StorageError
from acceleray.models.tabular.shards import Piece, assign, batches, delta_files, n_rows, read, survey
from acceleray.models.tabular.signature import Signature


def table(n=1000, seed=3):
    rng = np.random.default_rng(seed)
    return pa.table(
        {
            "row": np.arange(n, dtype=np.float32),
            "size": rng.normal(size=n),
            "kind": pa.array(rng.choice(["a", "b", "c"], size=n)),
            "event": rng.integers(0, 2, size=n),
        }
    )


def write(folder, rows, *, name="part.parquet", row_group_size=100):
    pq.write_table(rows, folder / name, row_group_size=row_group_size)
    return str(folder / name)


def groups(*sizes):
    return [Piece(file="f", row_group=number, first=0, stop=rows) for number, rows in enumerate(sizes)]


SIZES = [(10,), (100, 1, 1, 1), (7, 7, 7), (50, 50, 50, 50), (3, 90, 5, 2, 8, 41, 41), (1,) * 9]


@pytest.mark.parametrize("sizes", SIZES)
@pytest.mark.parametrize("ranks", [1, 2, 3, 4])
def test_every_row_belongs_to_one_rank_and_ranks_have_the_same_number(sizes, ranks):
    pieces = groups(*sizes)
    shards = assign(pieces, ranks)
    owned = [
        (piece.row_group, row)
        for shard in shards
        for piece in shard
        for row in range(piece.first, piece.stop)
    ]
    assert sorted(owned) == [(group, row) for group, rows in enumerate(sizes) for row in range(rows)]
    counts = [n_rows(shard) for shard in shards]
    assert max(counts) - min(counts) <= 1
    assert all(list(shard) == sorted(shard) for shard in shards)


def test_row_groups_of_one_size_are_not_cut():
    shards = assign(groups(*[100] * 8), 4)
    assert [[piece.row_group for piece in shard] for shard in shards] == [[0, 4], [1, 5], [2, 6], [3, 7]]


def test_fewer_rows_than_ranks_are_refused_with_their_number():
    with pytest.raises(MissingDataError, match="3 rows cannot be shared by 4 ranks"):
        assign(groups(2, 1), 4)


def test_what_ranks_read_together_is_the_table(tmp_path):
    rows = table()
    file = write(tmp_path, rows, row_group_size=90)
    signature = Signature.of(rows, label="event")
    expected = signature.rows(rows)
    shards = assign(survey([file], signature).pieces, 3)
    parts = [read(shard, signature) for shard in shards]
    values = np.concatenate([part.values for part in parts])
    order = np.argsort(values[:, 0])
    np.testing.assert_array_equal(values[order], expected.values)
    np.testing.assert_array_equal(np.concatenate([part.labels for part in parts])[order], expected.labels)


@pytest.mark.parametrize("batch_rows", [7, 100, 10_000])
def test_batches_do_not_change_what_is_read(tmp_path, batch_rows):
    rows = table(n=250)
    signature = Signature.of(rows, label="event")
    pieces = [Piece(file=write(tmp_path, rows), row_group=group, first=3, stop=41) for group in (0, 2)]
    values = np.concatenate([each.values for each in batches(pieces, signature, batch_rows=batch_rows)])
    np.testing.assert_array_equal(values, read(pieces, signature).values)
    np.testing.assert_array_equal(values[:, 0], [*range(3, 41), *range(203, 241)])


def test_survey_counts_rows_and_events_over_files(tmp_path):
    rows = table()
    files = [write(tmp_path, rows.slice(0, 400), name="a"), write(tmp_path, rows.slice(400), name="b")]
    found = survey(files, Signature.of(rows, label="event"))
    assert found.rows == 1000
    assert found.events == sum(rows["event"].to_pylist())
    assert [piece.row_group for piece in found.pieces] == [*range(4), *range(6)]


def test_empty_files_give_no_pieces(tmp_path):
    rows = table()
    files = [write(tmp_path, rows.slice(0, 0), name="empty"), write(tmp_path, rows, name="full")]
    found = survey(files, Signature.of(rows, label="event"))
    assert {piece.file for piece in found.pieces} == {files[1]}
    with pytest.raises(MissingDataError, match="no rows"):
        survey(files[:1], Signature.of(rows, label="event"))


def replaced(name, values):
    rows = table()
    return rows.set_column(rows.column_names.index(name), name, pa.array(values))


BAD_LABELS = {
    "null": [None, *[1, 0] * 499, 1],
    "NaN": [float("nan"), *[1.0, 0.0] * 499, 1.0],
    "two": [2, *[1, 0] * 499, 1],
}


@pytest.mark.parametrize("case", BAD_LABELS)
def test_a_label_that_is_none_is_found_with_its_row_group(tmp_path, case):
    values = [*[0, 1] * 400, *BAD_LABELS[case]][:1000]
    file = write(tmp_path, replaced("event", values))
    with pytest.raises(SchemaError, match=r"row group 8: Label event: 1 of 100 values were neither 0 nor 1"):
        survey([file], Signature.of(table(), label="event"))


@pytest.mark.parametrize("value", [0, 1])
def test_one_class_is_refused(tmp_path, value):
    file = write(tmp_path, replaced("event", [value] * 1000))
    with pytest.raises(MissingDataError, match=f"all 1,000 values were {value}"):
        survey([file], Signature.of(table(), label="event"))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda rows: rows.drop_columns(["event"]), "Label event is missing"),
        (lambda rows: rows.drop_columns(["size"]), "Column size is missing"),
        (lambda rows: rows.set_column(1, "size", pa.array(["x"] * 1000)), "Column size is of type string"),
        (lambda rows: rows.set_column(2, "kind", pa.array([1] * 1000)), "Column kind is of type int64"),
    ],
)
def test_a_file_with_other_columns_is_refused_by_name(tmp_path, change, message):
    file = write(tmp_path, change(table()))
    with pytest.raises(SchemaError, match=f"part.parquet: {message}"):
        survey([file], Signature.of(table(), label="event"))


def test_a_value_that_cannot_be_encoded_is_found_with_its_row_group(tmp_path):
    values = np.zeros(1000)
    values[555] = np.inf
    file = write(tmp_path, replaced("size", values))
    signature = Signature.of(table(), label="event")
    with pytest.raises(SchemaError, match="row group 5: Column size has infinite values"):
        read(survey([file], signature).pieces, signature)


def test_a_damaged_file_is_a_storage_error(tmp_path):
    file = write(tmp_path, table())
    os.truncate(file, 500)
    with pytest.raises(StorageError, match="cannot be read as Parquet"):
        survey([file], Signature.of(table(), label="event"))


def test_a_file_that_shrank_since_the_survey_is_noticed(tmp_path):
    signature = Signature.of(table(), label="event")
    pieces = survey([write(tmp_path, table())], signature).pieces
    write(tmp_path, table().slice(0, 950))
    with pytest.raises(StorageError, match="row group 9: 50 rows, expected at least 100"):
        read(pieces, signature)


def test_the_fingerprint_follows_labels_and_files_but_not_the_folder(tmp_path):
    signature = Signature.of(table(), label="event")
    here, there = tmp_path / "here", tmp_path / "there"
    for folder in (here, there):
        folder.mkdir()
        os.utime(write(folder, table()), ns=(1, 1))
    first = survey([str(here / "part.parquet")], signature).fingerprint
    assert survey([str(there / "part.parquet")], signature).fingerprint == first
    flipped = [1 - label for label in table()["event"].to_pylist()]
    os.utime(write(there, replaced("event", flipped)), ns=(1, 1))
    assert survey([str(there / "part.parquet")], signature).fingerprint != first
    os.utime(here / "part.parquet", ns=(2, 2))
    assert survey([str(here / "part.parquet")], signature).fingerprint != first


def test_delta_files_are_those_of_the_version(tmp_path):
    folder = tmp_path / "50% risk" / "rows"
    rows = table(n=50)
    write_deltalake(folder, rows)
    write_deltalake(folder, rows, mode="append")
    assert (len(delta_files(folder, 0)), len(delta_files(folder))) == (1, 2)
    signature = Signature.of(rows, label="event")
    assert survey(delta_files(folder, 0), signature).rows == 50
    assert delta_files(folder, 1) == delta_files(folder)
    os.truncate(delta_files(folder, 0)[0], 10)
    with pytest.raises(StorageError, match="has 10 bytes"):
        delta_files(folder)
    with pytest.raises(StorageError, match="not a Delta table"):
        delta_files(tmp_path)
