"""The content hash: the same rows give the same hash, whatever files, order or night they came in."""

from __future__ import annotations

import hashlib

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

__all__ = ["content_hash", "sort_by_key"]


def sort_by_key(table: pa.Table, key: tuple[str, ...]) -> pa.Table:
    """Sort rows by `key`; a table that is already in order is returned without a copy."""
    if table.num_rows < 2:
        return table
    indices = pc.sort_indices(table, sort_keys=[(column, "ascending") for column in key])
    if np.array_equal(indices.to_numpy(), np.arange(table.num_rows)):
        return table
    return table.take(indices)


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
        Hexadecimal digest. Values under a null are ignored; the schema's names and types count.
    """
    table = sort_by_key(table, key)
    digest = hashlib.sha256()
    for field, column in zip(table.schema, table.columns, strict=True):
        digest.update(f"{field.name}:{field.type};".encode())
        _update(digest, column.combine_chunks() if column.num_chunks != 1 else column.chunk(0))
    return digest.hexdigest()


def _update(digest: hashlib._Hash, array: pa.Array) -> None:
    if isinstance(array, pa.ChunkedArray):
        array = pa.concat_arrays(array.chunks) if array.num_chunks else pa.array([], array.type)
    kind = array.type
    if pa.types.is_nested(kind):
        # Maps and lists are few and small here; their canonical text is simplest to compare.
        digest.update(repr(array.to_pylist()).encode())
        return
    digest.update(pc.is_valid(array).cast(pa.uint8()).to_numpy(zero_copy_only=False).tobytes())
    if pa.types.is_string(kind) or pa.types.is_large_string(kind):
        filled = pc.fill_null(array, "")
        digest.update(pc.binary_length(filled).cast(pa.int32()).to_numpy(zero_copy_only=False).tobytes())
        digest.update(b"".join(_string_bytes(filled)))
        return
    zero = pa.scalar(False if pa.types.is_boolean(kind) else 0).cast(
        pa.int32() if pa.types.is_date32(kind) else kind
    )
    plain = array.cast(pa.int32()) if pa.types.is_date32(kind) else array
    filled = pc.fill_null(plain, zero)
    if pa.types.is_boolean(kind):
        filled = filled.cast(pa.uint8())
    digest.update(filled.to_numpy(zero_copy_only=False).tobytes())


def _string_bytes(array: pa.Array) -> list[bytes]:
    buffer = array.buffers()[2]
    if buffer is None:
        return []
    width = 8 if pa.types.is_large_string(array.type) else 4
    offsets = memoryview(array.buffers()[1]).cast("q" if width == 8 else "i")
    start, stop = offsets[array.offset], offsets[array.offset + len(array)]
    return [memoryview(buffer)[start:stop].tobytes()]
