"""Rows that cannot be scored: which they are, and why, in words with file, row group and row."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from acceleray.errors import SchemaError, StorageError
from acceleray.models.tabular.score_inputs import Piece
from acceleray.models.tabular.signature import Feature, Signature

__all__ = [
    "amounts",
    "faults",
    "groups_of",
    "place",
    "read_rows",
    "refusal",
    "unseen_category",
    "unseen_words",
]

FloatArray = npt.NDArray[np.float64]


def read_rows(file: str, start: int, stop: int, columns: Sequence[str]) -> pa.Table:
    """Read columns of the row groups ``start`` to ``stop - 1``.

    Raises
    ------
    StorageError
        If the file is damaged.
    """
    try:
        with pq.ParquetFile(file, memory_map=True, page_checksum_verification=True) as parquet:
            return parquet.read_row_groups(range(start, stop), columns=list(columns), use_threads=False)
    except (OSError, pa.ArrowException, IndexError) as error:
        raise StorageError(
            f"{Path(file).name} row groups {start} to {stop - 1}: cannot be read: {error}",
            hint="Restore the file from a backup.",
        ) from error


def groups_of(
    piece: Piece, rows: npt.NDArray[np.int64]
) -> tuple[npt.NDArray[np.int32], npt.NDArray[np.int64]]:
    """Translate rows of a piece into row groups of its file and rows within them."""
    ends = np.cumsum(piece.rows)
    groups = np.searchsorted(ends, rows, side="right")
    within = rows - (ends[groups] - np.array(piece.rows)[groups])
    return (groups + piece.start).astype(np.int32), within.astype(np.int64)


def place(piece: Piece, row: int) -> str:
    """Say where a row of a piece is; row groups and rows count from zero."""
    groups, within = groups_of(piece, np.array([row]))
    return f"{Path(piece.file).name} row group {groups[0]} row {within[0]}"


def refusal(piece: Piece, row: int, why: str) -> SchemaError:
    """Make the error of a bad row."""
    return SchemaError(
        f"{place(piece, row)}: {why}", hint="Correct it, or score with bad_rows='exclude' to leave it out."
    )


def amounts(column: pa.ChunkedArray) -> FloatArray:
    """Numbers as float64, NaN where null."""
    return np.asarray(column.cast(pa.float64(), safe=False).to_numpy(zero_copy_only=False), dtype=np.float64)


def faults(
    rows: pa.Table, signature: Signature, keys: Sequence[str], exposure: FloatArray | None
) -> dict[int, str]:
    """Give the first reason of every row that cannot be scored.

    Parameters
    ----------
    exposure : ndarray of shape (n,), optional
        A row whose exposure is not a finite number cannot be ranked.

    Notes
    -----
    A category that the model has not seen is a fault unless the signature counts it as missing.
    """
    found: dict[int, str] = {}

    def note(bad: npt.NDArray[np.bool_], why: str) -> None:
        for row in np.flatnonzero(bad):
            found.setdefault(int(row), why)

    for name in keys:
        if rows[name].null_count:
            note(pc.is_null(rows[name]).to_numpy(), f"key {name} is null")
    if exposure is not None:
        note(~np.isfinite(exposure), "the exposure is not a finite number")
    for feature in signature.features:
        column = rows[feature.name]
        if not feature.is_category:
            numbers = column.cast(pa.float32(), safe=False).to_numpy(zero_copy_only=False)
            note(np.isinf(numbers), f"column {feature.name} is infinite, or too large for float32")
        elif signature.unseen == "error":
            for category, bad in unseen_category(column, feature).items():
                note(bad, unseen_words(feature, category))
    return found


def unseen_words(feature: Feature, category: str) -> str:
    """Say that the model does not know a category."""
    return f"column {feature.name} has the category {category!r}, which the model has not seen"


def unseen_category(column: pa.ChunkedArray, feature: Feature) -> dict[str, npt.NDArray[np.bool_]]:
    """Find categories that the model has not seen, and the rows that have them."""
    names = column.cast(pa.string())
    known = pa.array(feature.categories, pa.string())
    distinct = pc.unique(names).drop_null()
    new = distinct.filter(pc.invert(pc.is_in(distinct, value_set=known)))
    return {
        category: pc.fill_null(pc.equal(names, category), fill_value=False).to_numpy(zero_copy_only=False)
        for category in new.to_pylist()
    }
