"""Read input files: CSV, Parquet, or a Python function that returns a table.

Cells stay as they were delivered, next to the file and line they came from, so that validation can say where
a bad one is. Three columns are added: `FILE`, `LINE` and `MALFORMED`, the last with what is wrong with a row
that has no cells to speak of (a ragged line, bytes that are not text) and null for all others.

The line of a CSV row is its physical line, the header being line 1; of other rows, the row number.
"""

from __future__ import annotations

import csv
import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv
import pyarrow.parquet as pq

from acceleray.errors import InputDataError, MissingDataError, SchemaError
from acceleray.lake.functions import PREFIX, call_function

__all__ = ["FILE", "LINE", "MALFORMED", "InputSource", "open_source", "read_input"]

FILE, LINE, MALFORMED = "_file", "_line", "_malformed"
_CSV_BLOCK_BYTES = 4 << 20
_PARQUET_BATCH_ROWS = 131_072
_SHOWN_CHARACTERS = 200


@dataclass(frozen=True, kw_only=True)
class InputSource:
    """An input that is there and whose columns are known.

    Parameters
    ----------
    source : str
        As the settings name it.
    path : Path or None
        The file, or None for a Python function.
    columns : tuple of str
        Column names.
    fingerprint : str
        SHA-256 of the file's bytes, or of the returned table.
    table : pyarrow.Table or None
        What the Python function returned.
    """

    source: str
    path: Path | None
    columns: tuple[str, ...]
    fingerprint: str
    table: pa.Table | None = None

    def batches(self) -> Iterator[pa.Table]:
        """Yield the rows with `FILE`, `LINE` and `MALFORMED`."""
        if self.table is not None:
            yield from _numbered(self.source, self.table.to_batches(_PARQUET_BATCH_ROWS))
        elif self.path is not None:
            yield from read_file(self.path, self.source)


def open_source(source: str, project: Path) -> InputSource:
    """Find an input and its columns; a Python function is called.

    Parameters
    ----------
    source : str
        A path relative to the project ending in ``.csv`` or ``.parquet``, or ``python:module.function``.
    project : Path
        The project directory; modules in it are found before installed ones.

    Raises
    ------
    InputDataError
        If the file is missing, empty or damaged, or the function cannot be found or fails.
    """
    if source.startswith(PREFIX):
        table = call_function(source, project)
        names = tuple(table.column_names)
        return InputSource(
            source=source, path=None, columns=names, fingerprint=_table_hash(table), table=table
        )
    path = project / source
    if not path.is_file():
        raise MissingDataError(
            f"{source}: there is no such file in {project}", hint="Correct the path under inputs:."
        )
    if path.stat().st_size == 0:
        raise InputDataError(f"{source}: the file is empty", hint="Deliver the file again.")
    columns = _parquet_columns(path, source) if _is_parquet(path) else _csv_columns(path, source)
    with path.open("rb") as handle:
        fingerprint = hashlib.file_digest(handle, "sha256").hexdigest()
    return InputSource(source=source, path=path, columns=columns, fingerprint=fingerprint)


def read_input(source: str, project: Path) -> Iterator[pa.Table]:
    """Read an input as tables of bounded size with `FILE`, `LINE` and `MALFORMED`.

    Raises
    ------
    InputDataError
        As `open_source`.
    """
    yield from open_source(source, project).batches()


def read_file(path: Path, source: str) -> Iterator[pa.Table]:
    """Read one file; `source` is the name that its rows carry."""
    return _read_parquet(path, source) if _is_parquet(path) else _read_csv(path, source)


def _is_parquet(path: Path) -> bool:
    return path.suffix.lower() in {".parquet", ".pq"}


# ---- CSV --------------------------------------------------------------------------------------------------


def _csv_columns(path: Path, source: str) -> tuple[str, ...]:
    # Bytes that are not text are a matter of their row, unless they are in the header.
    with path.open(encoding="utf-8-sig", errors="backslashreplace", newline="") as handle:
        header = next(csv.reader(line.replace("\0", "\\0") for line in handle), [])
    if any(mark in name for name in header for mark in ("\\x", "\\0")):
        raise InputDataError(f"{source}:1: the header is not UTF-8 text", hint="Save it as CSV in UTF-8.")
    if len(header) == 1 and any(mark in header[0] for mark in ";\t|"):
        raise SchemaError(
            f"{source}:1: the header has one column, {header[0]!r}", hint="Separate the cells by commas."
        )
    return tuple(header)


def _read_csv(path: Path, source: str) -> Iterator[pa.Table]:
    names = _csv_columns(path, source)
    skipped: list[tuple[int, int, str]] = []

    def keep(row: Any) -> str:
        skipped.append((row.number, row.actual_columns, row.text))
        return "skip"

    counter = _LineCounter(names, source, skipped)
    try:
        reader = pa.csv.open_csv(
            path,
            # One thread, or the reader does not say which row was skipped.
            read_options=pa.csv.ReadOptions(use_threads=False, block_size=_CSV_BLOCK_BYTES),
            parse_options=pa.csv.ParseOptions(
                newlines_in_values=True, ignore_empty_lines=False, invalid_row_handler=keep
            ),
            # As bytes: what is not text should be a rejected row, not the end of the file.
            convert_options=pa.csv.ConvertOptions(
                strings_can_be_null=False, column_types=dict.fromkeys(names, pa.binary())
            ),
        )
        for batch in reader:
            yield counter.number(batch)
    except pa.ArrowInvalid as error:
        raise InputDataError(
            f"{source}: the file is not CSV: {error}", hint="Save it as CSV again."
        ) from error
    rest = counter.rest()
    if rest.num_rows:
        yield rest


class _LineCounter:
    """Give rows their physical lines: skipped rows and line breaks inside quotes count."""

    def __init__(self, names: tuple[str, ...], source: str, skipped: list[tuple[int, int, str]]) -> None:
        self._names = names
        self._source = source
        self._skipped = skipped
        self._taken = 0
        self._next_row = 2
        self._extra_lines = sum(name.count("\n") for name in names)

    def number(self, batch: pa.RecordBatch) -> pa.Table:
        """Return the batch's rows and the skipped rows between them, in the order of the file."""
        rows, skipped = self._rows(batch.num_rows)
        texts, broken = zip(*(_decode(column) for column in batch.columns), strict=True)
        breaks = np.zeros(len(batch), dtype=np.int64)
        for column in batch.columns:
            breaks += pc.count_substring(column, b"\n").to_numpy(zero_copy_only=False)
        table = pa.table(dict(zip(self._names, texts, strict=True)))
        reason = np.full(len(batch), None, dtype=object)
        for name, bad in zip(self._names, broken, strict=True):
            reason[bad] = f"column {name} is not UTF-8 text"
        return self._finish(table, rows, breaks, reason, skipped)

    def rest(self) -> pa.Table:
        """Return the skipped rows after the last good one."""
        skipped = self._skipped[self._taken :]
        empty = pa.table({name: pa.array([], pa.string()) for name in self._names})
        none = np.zeros(0, dtype=np.int64)
        return self._finish(empty, none, none, none.astype(object), skipped)

    def _rows(self, count: int) -> tuple[npt.NDArray[np.int64], list[tuple[int, int, str]]]:
        # Row numbers of the next `count` good rows: consecutive, except where a row was skipped.
        first = self._next_row
        numbers = [number for number, _, _ in self._skipped[self._taken :]]
        passed = 0
        while passed < len(numbers) and numbers[passed] < first + count + passed:
            passed += 1
        rows = np.arange(first, first + count + passed)
        rows = np.setdiff1d(rows, numbers[:passed], assume_unique=True)
        between = self._skipped[self._taken : self._taken + passed]
        self._taken += passed
        self._next_row = first + count + passed
        return rows, between

    def _finish(
        self,
        table: pa.Table,
        rows: npt.NDArray[np.int64],
        breaks: npt.NDArray[np.int64],
        reason: npt.NDArray[np.object_],
        skipped: list[tuple[int, int, str]],
    ) -> pa.Table:
        count = len(skipped)
        # A ragged row shows its text in the first column; validation reports it as the value.
        texts = [text[:_SHOWN_CHARACTERS] for _, _, text in skipped]
        first, *others = self._names
        filler = pa.table(
            {first: pa.array(texts, pa.string())} | {name: pa.nulls(count, pa.string()) for name in others}
        )
        table = pa.concat_tables([table, filler])
        rows = np.append(rows, np.array([number for number, _, _ in skipped], dtype=np.int64))
        breaks = np.append(breaks, np.array([text.count("\n") for _, _, text in skipped], dtype=np.int64))
        reasons = [
            None if not text.strip() else f"the row has {found} cells, the header has {len(self._names)}"
            for _, found, text in skipped
        ]
        order = np.argsort(rows, kind="stable")
        shift = self._extra_lines + np.cumsum(breaks[order]) - breaks[order]
        self._extra_lines += int(breaks.sum())
        malformed = pa.array([*reason.tolist(), *reasons], pa.string())
        table = table.take(order)
        table = _with_origin(table, self._source, rows[order] + shift, malformed.take(pa.array(order)))
        return table.filter(_has_content(table, self._names))


def _decode(column: pa.Array) -> tuple[pa.Array, npt.NDArray[np.int64]]:
    """Bytes to text; where that fails, the bytes' own notation and the rows concerned."""
    try:
        return column.cast(pa.string()), np.zeros(0, dtype=np.int64)
    except pa.ArrowInvalid:
        texts, broken = [], []
        for row, cell in enumerate(column.to_pylist()):
            try:
                texts.append(cell.decode())
            except UnicodeDecodeError:
                texts.append(cell.decode(errors="backslashreplace"))
                broken.append(row)
        return pa.array(texts, pa.string()), np.array(broken, dtype=np.int64)


def _has_content(table: pa.Table, names: tuple[str, ...]) -> pa.ChunkedArray:
    # A blank line arrives as a row of empty cells; it holds nothing, so nothing is lost.
    content = pc.is_valid(table.column(MALFORMED))
    for name in names:
        text = pc.utf8_trim_whitespace(pc.fill_null(table.column(name), ""))
        content = pc.or_(content, pc.not_equal(text, ""))
    return content


# ---- Parquet and Python -----------------------------------------------------------------------------------


def _parquet_columns(path: Path, source: str) -> tuple[str, ...]:
    try:
        return tuple(pq.read_schema(path).names)
    except (pa.ArrowInvalid, OSError) as error:
        raise InputDataError(
            f"{source}: the file is not Parquet, or damaged: {error}", hint="Deliver the file again."
        ) from error


def _read_parquet(path: Path, source: str) -> Iterator[pa.Table]:
    try:
        with pq.ParquetFile(path) as file:
            yield from _numbered(source, file.iter_batches(_PARQUET_BATCH_ROWS))
    except (pa.ArrowInvalid, OSError) as error:
        raise InputDataError(
            f"{source}: the file is damaged: {error}", hint="Deliver the file again."
        ) from error


def _numbered(source: str, batches: Any) -> Iterator[pa.Table]:
    first = 1
    for batch in batches:
        table = pa.Table.from_batches([batch])
        plain = pa.table({name: _plain(table.column(name)) for name in table.column_names})
        lines = np.arange(first, first + plain.num_rows)
        first += plain.num_rows
        yield _with_origin(plain, source, lines, pa.nulls(plain.num_rows, pa.string()))


def _plain(column: pa.ChunkedArray) -> pa.ChunkedArray:
    """Bring a typed column to one of the few types that validation treats: text, number, date, truth."""
    kind = column.type
    if pa.types.is_dictionary(kind):
        return _plain(column.cast(kind.value_type))
    if pa.types.is_integer(kind) and not pa.types.is_uint64(kind):
        return column.cast(pa.int64())
    if pa.types.is_floating(kind) or pa.types.is_uint64(kind) or pa.types.is_decimal(kind):
        return column.cast(pa.float64(), safe=False)
    if pa.types.is_date(kind):
        return column.cast(pa.date32())
    if pa.types.is_timestamp(kind):
        days = column.cast(pa.timestamp(kind.unit)).cast(pa.date32(), safe=False)
        midnight = pc.all(
            pc.equal(
                days.cast(column.type if kind.tz is None else pa.timestamp(kind.unit)),
                column.cast(pa.timestamp(kind.unit)),
            )
        )
        # A time of day means something that a date would lose; as text it is rejected where a date is due.
        return days if midnight.as_py() is not False else column.cast(pa.string())
    if pa.types.is_null(kind) or pa.types.is_nested(kind) or pa.types.is_binary(kind):
        return pa.chunked_array(
            [pa.array([None if v is None else str(v) for v in column.to_pylist()], pa.string())]
        )
    return column.cast(pa.string())


def _with_origin(table: pa.Table, source: str, lines: npt.NDArray[np.int64], malformed: pa.Array) -> pa.Table:
    files = pa.array([source], pa.string()).take(pa.array(np.zeros(table.num_rows, dtype=np.int64)))
    return (
        table.append_column(FILE, files)
        .append_column(LINE, pa.array(lines, pa.int64()))
        .append_column(MALFORMED, malformed)
    )


def _table_hash(table: pa.Table) -> str:
    digest = hashlib.sha256()
    for batch in table.combine_chunks().to_batches():
        digest.update(batch.serialize())
    return digest.hexdigest()
