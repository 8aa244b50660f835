"""The content hash: the same rows give the same hash, whatever files, order or night they came in."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

__all__ = ["content_hash", "has_repeated_key", "sort_by_key"]

Ranks = list[npt.NDArray[np.generic]]


def sort_by_key(table: pa.Table, key: Sequence[str]) -> pa.Table:
    """Sort rows by `key`; a table that is already in order is returned without a copy.

    Rows with equal keys are put in the order of their other columns, so that the result never depends on how
    the rows arrived.
    """
    if table.num_rows < 2 or not key:
        return table
    ranks = [rank for name in key for rank in _ranks(table.column(name))]
    ordered, repeated = _compare_neighbours(ranks)
    if not ordered:
        order = np.lexsort(ranks[::-1])
        repeated = _compare_neighbours([rank[order] for rank in ranks])[1]
    if repeated:
        others = [name for name in table.column_names if name not in key]
        ranks += [rank for name in others for rank in _ranks(table.column(name))]
        ordered = _compare_neighbours(ranks)[0]
        order = np.lexsort(ranks[::-1])
    return table if ordered else table.take(pa.array(order))


def has_repeated_key(table: pa.Table, key: Sequence[str]) -> bool:
    """Whether two rows of a table in key order have the same key."""
    ranks = [rank for name in key for rank in _ranks(table.column(name))]
    return table.num_rows > 1 and _compare_neighbours(ranks)[1]


def content_hash(table: pa.Table, key: tuple[str, ...]) -> str:
    """SHA-256 over the Arrow bytes of the key-sorted rows.

    Parameters
    ----------
    table : pyarrow.Table
        Without ``run_id`` and without timestamps, which differ between equal nights.
    key : tuple of str
        Columns that put the rows in order.

    Returns
    -------
    str
        Hexadecimal digest.

    Notes
    -----
    Names, types, nulls and every bit of every value count: 0.0 and -0.0 differ, because "the same bits" is
    the promise. What lies under a null does not count, nor how rows are split into files and chunks, nor
    whether a text column is dictionary-encoded. The entries of a map are put in the order of their keys.
    """
    table = sort_by_key(table, key)
    digest = hashlib.sha256(f"{table.num_rows};".encode())
    for field, column in zip(table.schema, table.columns, strict=True):
        column = _plain(column)
        digest.update(f"{field.name}:{column.type}:{column.null_count};".encode())
        if column.null_count:
            for chunk in column.chunks:
                digest.update(pc.is_valid(chunk).cast(pa.uint8()).to_numpy(zero_copy_only=False))
        for part in _parts(column):
            digest.update(part)
    return digest.hexdigest()


def _plain(column: pa.ChunkedArray) -> pa.ChunkedArray:
    kind = column.type
    if pa.types.is_dictionary(kind):
        return _plain(column.cast(kind.value_type))
    return column.cast(pa.string()) if pa.types.is_large_string(kind) else column


def _parts(column: pa.ChunkedArray) -> Iterator[bytes | memoryview]:
    """Bytes of a column's values, the same for every way of chunking it."""
    if pa.types.is_map(column.type) and pa.types.is_floating(column.type.item_type):
        # A million of these, which would take half a minute one by one.
        entries = [_number_entries(chunk) for chunk in column.chunks]
        for lengths, _, _ in entries:
            yield _bytes(lengths)
        for _, keys, _ in entries:
            yield _bytes(pc.binary_length(keys).to_numpy(zero_copy_only=False))
        for _, keys, _ in entries:
            yield _bytes(_text_bytes(keys))
        for _, _, items in entries:
            yield _bytes(pc.is_valid(items).cast(pa.uint8()).to_numpy(zero_copy_only=False))
        for _, _, items in entries:
            yield _bytes(_numbers(items))
    elif pa.types.is_nested(column.type):
        for chunk in column.chunks:
            for value in chunk.to_pylist():
                yield repr(sorted(value) if isinstance(value, list) else value).encode()
    elif pa.types.is_string(column.type):
        filled = [pc.fill_null(chunk, "") for chunk in column.chunks]
        for chunk in filled:
            yield _bytes(pc.binary_length(chunk).to_numpy(zero_copy_only=False))
        for chunk in filled:
            yield _bytes(_text_bytes(chunk))
    else:
        for chunk in column.chunks:
            yield _bytes(_numbers(chunk))


def _number_entries(chunk: pa.MapArray) -> tuple[npt.NDArray[np.generic], pa.Array, pa.Array]:
    """Entries per row that is there, and all keys and items, within each row in the order of the keys."""
    chunk = chunk.drop_null()
    offsets = chunk.offsets.to_numpy()
    lengths = np.diff(offsets)
    keys, items = (part.slice(offsets[0], lengths.sum()) for part in (chunk.keys, chunk.items))
    encoded = keys.dictionary_encode()
    rank = np.argsort(np.argsort(np.array(encoded.dictionary.to_pylist(), dtype=object)))
    rows = np.repeat(np.arange(lengths.size), lengths)
    order = pa.array(np.lexsort((rank[encoded.indices.to_numpy()], rows)))
    return lengths, keys.take(order), items.take(order)


def _bytes(values: npt.NDArray[np.generic]) -> memoryview:
    return np.ascontiguousarray(values.astype(values.dtype.newbyteorder("<"), copy=False)).data


def _numbers(chunk: pa.Array) -> npt.NDArray[np.generic]:
    """Values as plain numbers, zero where null."""
    if pa.types.is_date32(chunk.type):
        chunk = chunk.cast(pa.int32())
    elif pa.types.is_boolean(chunk.type):
        chunk = chunk.cast(pa.uint8())
    if chunk.null_count:
        chunk = pc.fill_null(chunk, pa.scalar(0, chunk.type))
    numbers: npt.NDArray[np.generic] = chunk.to_numpy(zero_copy_only=False)
    return numbers


def _text_bytes(chunk: pa.Array) -> npt.NDArray[np.uint8]:
    _, offsets, data = chunk.buffers()
    if data is None or not len(chunk):
        return np.zeros(0, dtype=np.uint8)
    ends = np.frombuffer(offsets, dtype=np.int32)[[chunk.offset, chunk.offset + len(chunk)]]
    return np.frombuffer(data, dtype=np.uint8)[ends[0] : ends[1]]


def _ranks(column: pa.ChunkedArray) -> Ranks:
    """Numbers that order like the column, nulls last; nothing for nested columns."""
    column = _plain(column)
    nulls: Ranks = []
    if column.null_count:
        nulls = [pc.is_null(column).cast(pa.uint8()).to_numpy()]
    if pa.types.is_nested(column.type):
        return nulls
    if pa.types.is_string(column.type):
        encoded = column.combine_chunks().dictionary_encode()
        if isinstance(encoded, pa.ChunkedArray):
            encoded = (
                encoded.chunk(0) if encoded.num_chunks else pa.array([], pa.string()).dictionary_encode()
            )
        rank = np.empty(len(encoded.dictionary), dtype=np.int64)
        rank[pc.sort_indices(encoded.dictionary).to_numpy()] = np.arange(len(rank))
        codes = pc.fill_null(encoded.indices, 0).to_numpy()
        return [*nulls, rank[codes] if len(rank) else codes.astype(np.int64)]
    chunks = [_numbers(chunk) for chunk in column.chunks]
    return [*nulls, np.concatenate(chunks) if chunks else np.zeros(0)]


def _compare_neighbours(ranks: Ranks) -> tuple[bool, bool]:
    """Whether no row is before the one above it, and whether any two neighbours are equal."""
    if not ranks:
        return True, False
    before = np.zeros(len(ranks[0]) - 1, dtype=bool)
    equal = np.ones(len(ranks[0]) - 1, dtype=bool)
    for rank in ranks:
        above, below = rank[:-1], rank[1:]
        before |= equal & (below < above)  # type: ignore[operator]  # generic numbers do compare
        equal &= above == below
    return not before.any(), bool(equal.any())
