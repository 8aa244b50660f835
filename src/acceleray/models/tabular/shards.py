"""Which rows each rank of a data-parallel training learns from, and how it reads them.

A rank reads its own row groups from Parquet with pyarrow, column by column into the matrix of the model; no
row passes through the driver or the object store. Which row group belongs to which rank depends on the files
alone, never on where a rank runs.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from urllib.parse import unquote

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from acceleray.errors import MissingDataError, SchemaError, StorageError
from acceleray.models.tabular.signature import Rows, Signature

__all__ = ["Piece", "Survey", "assign", "batches", "delta_files", "n_rows", "read", "survey"]

# Large enough for the decoder, small enough that decoded columns of a batch are nothing beside the matrix.
_BATCH_ROWS = 65_536


@dataclass(frozen=True, slots=True, kw_only=True, order=True)
class Piece:
    """Rows of one row group.

    Parameters
    ----------
    file : str
        Parquet file.
    row_group : int
        Its number in the file, from 0.
    first, stop : int
        Rows of the row group, `stop` excluded.
    """

    file: str
    row_group: int
    first: int
    stop: int

    @property
    def rows(self) -> int:
        """How many rows."""
        return self.stop - self.first


@dataclass(frozen=True, slots=True, kw_only=True)
class Survey:
    """What is known of training data before a worker starts.

    Parameters
    ----------
    pieces : tuple of Piece
        Row groups that have rows, in the order of the files given.
    events : int
        Rows with label 1.
    fingerprint : str
        SHA-256 over names, sizes, times of change, footers and labels of the files: data with another
        fingerprint never continues a training.
    """

    pieces: tuple[Piece, ...]
    events: int
    fingerprint: str

    @property
    def rows(self) -> int:
        """How many rows."""
        return n_rows(self.pieces)


def survey(files: Sequence[str], signature: Signature) -> Survey:
    """Check columns and labels, and list the row groups. Reads the footers and the label column only.

    Parameters
    ----------
    files : sequence of str
        Parquet files: from `delta_files`, ``NightTables.files``, or any others.
    signature : Signature
        Inputs and label.

    Raises
    ------
    MissingDataError
        If there are no rows, or all labels are the same.
    SchemaError
        If a file lacks a column or has one of another kind, or a label is null, NaN or neither 0 nor 1.
    StorageError
        If a file cannot be read.
    """
    label = replace(signature, features=())
    digest = hashlib.sha256()
    pieces: list[Piece] = []
    events = 0
    for name in files:
        # Ray Train's workers have a folder of their own.
        file = str(Path(name).resolve())
        with _reading(file), pq.ParquetFile(file) as parquet:
            with _naming(file):
                signature.rows(parquet.schema_arrow.empty_table())
            digest.update(_identity(Path(file), parquet.metadata.serialized_size))
            for group in range(parquet.num_row_groups):
                rows = parquet.metadata.row_group(group).num_rows
                if rows == 0:
                    continue
                pieces.append(Piece(file=file, row_group=group, first=0, stop=rows))
                for batch in parquet.iter_batches(_BATCH_ROWS, row_groups=[group], columns=[signature.label]):
                    with _naming(f"{file}, row group {group}"):
                        labels = label.rows(batch).labels.astype(np.uint8)
                    digest.update(np.packbits(labels).tobytes())
                    events += int(labels.sum())
    rows = n_rows(pieces)
    if rows == 0:
        raise MissingDataError(f"There are no rows to learn from in {len(files)} files")
    if events in {0, rows}:
        raise MissingDataError(
            f"Label {signature.label}: all {rows:,} values were {int(events > 0)}",
            hint="A model learns from rows of both classes.",
        )
    return Survey(pieces=tuple(pieces), events=events, fingerprint=digest.hexdigest())


def assign(pieces: Sequence[Piece], ranks: int) -> tuple[tuple[Piece, ...], ...]:
    """Deal row groups to ranks so that all have the same number of rows, to within one.

    Ranks wait for each other in every round, so an uneven share is lost time. Row groups go one by one to the
    rank with the most room left, whole as long as they fit: neighbouring row groups come to different ranks,
    which matters where rows are sorted. The few that fit nowhere are cut by rows; fewer row groups than ranks
    are all cut, and a row group that is cut is decoded by each rank that has a part of it.

    Parameters
    ----------
    pieces : sequence of Piece
        In the order of (file, row group).
    ranks : int
        At least 1.

    Returns
    -------
    tuple of tuple of Piece
        Pieces per rank, each in the order given.

    Raises
    ------
    MissingDataError
        If there are fewer rows than ranks.

    Examples
    --------
    >>> groups = [Piece(file="a", row_group=number, first=0, stop=10) for number in range(3)]
    >>> for shard in assign(groups, 2):
    ...     print([(piece.row_group, piece.first, piece.stop) for piece in shard])
    [(0, 0, 10), (2, 0, 5)]
    [(1, 0, 10), (2, 5, 10)]
    """
    rows = n_rows(pieces)
    if rows < ranks:
        raise MissingDataError(
            f"{rows} rows cannot be shared by {ranks} ranks",
            hint="Train with fewer ranks, or with more rows.",
        )
    room = [rows // ranks + (rank < rows % ranks) for rank in range(ranks)]
    shards: list[list[tuple[int, Piece]]] = [[] for _ in range(ranks)]
    too_large = []
    for position, piece in enumerate(pieces):
        rank = max(range(ranks), key=lambda each: room[each])
        if piece.rows <= room[rank]:
            shards[rank].append((position, piece))
            room[rank] -= piece.rows
        else:
            too_large.append((position, piece))
    rank = 0
    for position, piece in too_large:
        first = piece.first
        while first < piece.stop:
            while room[rank] == 0:
                rank += 1
            stop = min(piece.stop, first + room[rank])
            shards[rank].append((position, replace(piece, first=first, stop=stop)))
            room[rank] -= stop - first
            first = stop
    return tuple(tuple(piece for _, piece in sorted(shard)) for shard in shards)


def n_rows(pieces: Sequence[Piece]) -> int:
    """Rows of all pieces."""
    return sum(piece.rows for piece in pieces)


def batches(
    pieces: Sequence[Piece], signature: Signature, *, batch_rows: int = _BATCH_ROWS
) -> Iterator[Rows]:
    """Read rows a batch at a time, in the order of the pieces.

    Raises
    ------
    SchemaError
        If a value cannot be encoded: infinite, or a category that the signature does not have.
    StorageError
        If a file cannot be read, or has not the rows it had when it was surveyed.
    """
    columns = [*signature.names, signature.label]
    for piece in pieces:
        position = 0
        with _open(piece) as parquet:
            for batch in parquet.iter_batches(
                batch_rows, row_groups=[piece.row_group], columns=columns, use_threads=False
            ):
                first, stop = max(piece.first - position, 0), min(piece.stop - position, batch.num_rows)
                position += batch.num_rows
                if first < stop:
                    with _naming(_where(piece)):
                        rows = signature.rows(batch.slice(first, stop - first))
                    yield rows


def read(pieces: Sequence[Piece], signature: Signature) -> Rows:
    """Read all rows of the pieces into one matrix, which is the only copy of them.

    Raises
    ------
    SchemaError, StorageError
        As `batches`.

    Notes
    -----
    One column of one row group is decoded at a time. Decoding all columns together takes the same processor
    time and far more memory: for a row group of 400,000 × 40 float32 (64 MB), 203 MB beside the
    matrix instead of 7 MB.
    """
    count = n_rows(pieces)
    values = np.empty((count, len(signature.features)), dtype=np.float32)
    labels = np.empty(count, dtype=np.float32)
    by_column = [replace(signature, features=(feature,)) for feature in signature.features]
    label = replace(signature, features=())
    begin = 0
    for piece in pieces:
        end = begin + piece.rows
        with _open(piece) as parquet, _naming(_where(piece)):
            labels[begin:end] = label.rows(_column(parquet, piece, signature.label)).labels
            for position, one in enumerate(by_column):
                values[begin:end, position] = one.encode(_column(parquet, piece, one.names[0]))[:, 0]
        begin = end
    return Rows(values=values, labels=labels)


def _column(parquet: pq.ParquetFile, piece: Piece, name: str) -> pa.Table:
    table = parquet.read_row_group(piece.row_group, columns=[name], use_threads=False)
    return table.slice(piece.first, piece.rows)


def delta_files(folder: Path, version: int | None = None) -> list[str]:
    """List the Parquet files of any Delta table at a version, the newest by default, in a fixed order.

    A project's own tables are listed by ``lake.delta.data_files``, which knows their contracts.

    Raises
    ------
    StorageError
        If there is no such table or version, a file is gone or has another size than when it was committed,
        or the table uses deletion vectors, which reading by path would ignore.
    """
    from deltalake import DeltaTable
    from deltalake.exceptions import DeltaError

    try:
        table = DeltaTable(str(folder), version=version)
        actions = pa.table(table.get_add_actions(flatten=True)).to_pylist()
    except (DeltaError, OSError, ValueError) as error:
        raise StorageError(f"{folder}: not a Delta table that can be read: {error}") from error
    if "deletionVectors" in (table.protocol().reader_features or []):
        raise StorageError(f"{folder}: uses deletion vectors, which acceleray does not read")
    found = []
    for action in actions:
        file = folder.absolute() / unquote(action["path"])
        size = file.stat().st_size if file.is_file() else None
        if size != action["size_bytes"]:
            was = "is gone" if size is None else f"has {size} bytes"
            raise StorageError(
                f"{folder} version {table.version()}: data file {file.name} {was}, "
                f"expected {action['size_bytes']} bytes"
            )
        found.append(str(file))
    return sorted(found)


def _identity(file: Path, footer_bytes: int) -> bytes:
    """Bytes that change when a file is written again; its folder does not count, so that a lake can move."""
    described = file.stat()
    with file.open("rb") as stream:
        stream.seek(max(described.st_size - footer_bytes - 8, 0))
        footer = hashlib.sha256(stream.read()).hexdigest()
    return json.dumps([file.name, described.st_size, described.st_mtime_ns, footer]).encode()


@contextmanager
def _open(piece: Piece) -> Iterator[pq.ParquetFile]:
    with _reading(piece.file), pq.ParquetFile(piece.file) as parquet:
        known = piece.row_group < parquet.num_row_groups
        found = parquet.metadata.row_group(piece.row_group).num_rows if known else 0
        if found < piece.stop:
            raise StorageError(
                f"{_where(piece)}: {found} rows, expected at least {piece.stop}",
                hint="The file changed while it was in use; begin again.",
            )
        yield parquet


def _where(piece: Piece) -> str:
    return f"{piece.file}, row group {piece.row_group}"


@contextmanager
def _reading(file: str) -> Iterator[None]:
    try:
        yield
    except (OSError, pa.ArrowException) as error:
        raise StorageError(
            f"{file}: cannot be read as Parquet: {error}", hint="Restore the file from a backup."
        ) from error


@contextmanager
def _naming(where: str) -> Iterator[None]:
    try:
        yield
    except SchemaError as error:
        raise SchemaError(f"{where}: {error.message}", hint=error.hint) from error
