"""What is to be scored: Parquet files or a Delta version, checked up front and cut into shards."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import pyarrow as pa
import pyarrow.parquet as pq

from acceleray.errors import MissingDataError, SchemaError, StorageError
from acceleray.models.tabular.signature import Signature

__all__ = ["DeltaVersion", "Inputs", "Piece", "Shard", "open_inputs"]


@dataclass(frozen=True, slots=True, kw_only=True)
class DeltaVersion:
    """A Delta table as it was.

    Parameters
    ----------
    path : Path
        Folder of the table.
    version : int
        Always named, so that a second call sees the same rows.
    """

    path: Path
    version: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Piece:
    """Row groups ``start`` to ``stop - 1`` of a file, and how many rows each of them has."""

    file: str
    start: int
    stop: int
    rows: tuple[int, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Shard:
    """What one actor scores at a time and writes as one file."""

    number: int
    pieces: tuple[Piece, ...]

    @property
    def rows(self) -> int:
        """Rows of all pieces."""
        return sum(sum(piece.rows) for piece in self.pieces)


@dataclass(frozen=True, slots=True, kw_only=True)
class Inputs:
    """Checked files.

    Parameters
    ----------
    shards : tuple of Shard
        All rows, in the order of the files. The cut depends on the files and `shard_rows` alone.
    key_schema : pyarrow.Schema
        Types of the key columns.
    sha256 : str
        Of the sizes and footers of all files: other content has, but for its odds, another hash.
    """

    shards: tuple[Shard, ...]
    key_schema: pa.Schema
    sha256: str

    @property
    def rows(self) -> int:
        """Rows of all shards."""
        return sum(shard.rows for shard in self.shards)


def open_inputs(
    source: Sequence[Path] | DeltaVersion,
    signature: Signature,
    *,
    keys: Sequence[str],
    exposure: str | None,
    shard_rows: int,
) -> Inputs:
    """Read the footers of all files, compare them with what the model needs, and cut shards.

    Parameters
    ----------
    keys : sequence of str
        Columns of text, whole numbers or dates; of the same type in every file.
    exposure : str, optional
        Column of numbers.
    shard_rows : int
        A shard ends with the row group that reaches so many rows. A row group is never cut.

    Raises
    ------
    SchemaError
        If a file lacks a column or has it in another type; with both names.
    MissingDataError
        If a file, the table or its version is not there.
    StorageError
        If a file is damaged, or the Delta table needs a reader that we do not have.
    """
    if isinstance(source, DeltaVersion):
        files = _delta_files(source, {*signature.names, *keys, *([exposure] if exposure else [])})
    else:
        files = [Path(file) for file in source]
    digest = hashlib.sha256()
    key_schema: pa.Schema | None = None
    shards: list[Shard] = []
    pieces: list[Piece] = []
    waiting = 0
    for file in files:
        metadata, footer = _footer(file)
        digest.update(footer)
        schema = metadata.schema.to_arrow_schema()
        found = _check_schema(file, schema, signature, keys, exposure)
        if key_schema is None:
            key_schema = found
        elif found != key_schema:
            odd = next(name for name in keys if found.field(name) != key_schema.field(name))
            raise SchemaError(
                f"{file.name}: column {odd} is of type {found.field(odd).type}; "
                f"in {files[0].name} it is of type {key_schema.field(odd).type}"
            )
        rows = [metadata.row_group(group).num_rows for group in range(metadata.num_row_groups)]
        start = 0
        for group, in_group in enumerate(rows):
            waiting += in_group
            if waiting >= shard_rows:
                pieces.append(_piece(file, start, group + 1, rows))
                shards.append(Shard(number=len(shards), pieces=tuple(pieces)))
                pieces, waiting, start = [], 0, group + 1
        if start < len(rows):
            pieces.append(_piece(file, start, len(rows), rows))
    if waiting:
        shards.append(Shard(number=len(shards), pieces=tuple(pieces)))
    if key_schema is None:
        raise MissingDataError("There is no file to score")
    return Inputs(shards=tuple(shards), key_schema=key_schema, sha256=digest.hexdigest())


def _piece(file: Path, start: int, stop: int, rows: list[int]) -> Piece:
    return Piece(file=str(file.absolute()), start=start, stop=stop, rows=tuple(rows[start:stop]))


def _footer(file: Path) -> tuple[pq.FileMetaData, bytes]:
    """Read metadata, and size and bytes of the footer."""
    try:
        with file.open("rb") as stream:
            metadata = pq.read_metadata(stream)
            # The last eight bytes are the footer's length and the magic word.
            size = stream.seek(0, 2)
            stream.seek(size - metadata.serialized_size - 8)
            return metadata, size.to_bytes(8, "little") + stream.read()
    except FileNotFoundError as error:
        raise MissingDataError(f"{file}: there is no such file") from error
    except (OSError, pa.ArrowException) as error:
        raise StorageError(f"{file}: is not a readable Parquet file: {error}") from error


def _check_schema(
    file: Path, schema: pa.Schema, signature: Signature, keys: Sequence[str], exposure: str | None
) -> pa.Schema:
    """Compare a file's columns with what is needed; return the types of the keys."""
    for name in (*keys, *([exposure] if exposure else []), *signature.names):
        count = schema.names.count(name)
        if count != 1:
            raise SchemaError(f"{file.name}: column {name} is {'missing' if not count else 'there twice'}")
    if exposure and not _is_amount(schema.field(exposure).type):
        raise SchemaError(
            f"{file.name}: column {exposure} is of type {schema.field(exposure).type}; "
            "an exposure is a number"
        )
    needed = pa.schema([schema.field(name) for name in signature.names])
    try:
        signature.encode(needed.empty_table())
    except SchemaError as error:
        raise SchemaError(f"{file.name}: {error.message}", hint=error.hint) from error
    return pa.schema([(name, _key_type(file, schema.field(name))) for name in keys])


def _is_amount(kind: pa.DataType) -> bool:
    return bool(pa.types.is_floating(kind) or pa.types.is_integer(kind) or pa.types.is_decimal(kind))


def _key_type(file: Path, field: pa.Field) -> pa.DataType:
    kind = field.type.value_type if pa.types.is_dictionary(field.type) else field.type
    if pa.types.is_string(kind) or pa.types.is_large_string(kind):
        return pa.string()
    if pa.types.is_signed_integer(kind) or pa.types.is_date32(kind):
        return kind
    raise SchemaError(
        f"{file.name}: key column {field.name} is of type {field.type}",
        hint="A key is text, a signed whole number or a date.",
    )


def _delta_files(source: DeltaVersion, needed: set[str]) -> list[Path]:
    from deltalake import DeltaTable
    from deltalake.exceptions import DeltaError, TableNotFoundError

    try:
        table = DeltaTable(str(source.path), version=source.version)
    except TableNotFoundError as error:
        raise MissingDataError(f"{source.path}: there is no Delta table") from error
    except (DeltaError, OSError, ValueError) as error:
        raise StorageError(f"{source.path} version {source.version}: cannot be read: {error}") from error
    mapping = table.metadata().configuration.get("delta.columnMapping.mode", "none")
    if mapping != "none" or "deletionVectors" in (table.protocol().reader_features or []):
        raise StorageError(
            f"{source.path}: uses deletion vectors or column mapping, which reading by file would ignore",
            hint="Rewrite the table without them.",
        )
    in_paths = sorted(needed & set(table.metadata().partition_columns))
    if in_paths:
        raise SchemaError(
            f"{source.path}: column {in_paths[0]} is a partition column and not in the files",
            hint="Score a table that has it as an ordinary column.",
        )
    actions: list[dict[str, Any]] = pa.table(table.get_add_actions(flatten=True)).to_pylist()
    files = []
    # By path: the log's order of files is no promise.
    for action in sorted(actions, key=lambda action: str(action["path"])):
        file = source.path / unquote(action["path"])
        size = file.stat().st_size if file.is_file() else None
        if size != action["size_bytes"]:
            was = "is gone" if size is None else f"has {size} bytes"
            raise StorageError(
                f"{source.path} version {source.version}: data file {file.name} {was}, "
                f"expected {action['size_bytes']} bytes"
            )
        files.append(file)
    return files
