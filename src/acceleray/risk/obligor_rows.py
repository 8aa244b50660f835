"""Columns of the obligors as arrays, in an order that the rows' own does not change."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeAlias

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from acceleray.errors import InputDataError

__all__ = ["ObligorRows", "is_fraction", "is_optional_size"]

FloatArray: TypeAlias = npt.NDArray[np.float64]
IntArray: TypeAlias = npt.NDArray[np.int64]
Mask: TypeAlias = npt.NDArray[np.bool_]


class ObligorRows:
    """The obligors in the order of their ids, with errors that name one of them.

    Parameters
    ----------
    obligors : pyarrow.Table
        Columns of ``raw.obligors``, in any row order.

    Raises
    ------
    InputDataError
        If an id is missing or repeated.
    """

    def __init__(self, obligors: pa.Table) -> None:
        self.table = _by_id(obligors)

    def numbers(self, column: str, is_good: Callable[[FloatArray], Mask], expected: str) -> FloatArray:
        """Read a column; a null becomes NaN, which only the optional columns accept."""
        values = np.asarray(self.table.column(column).to_numpy(), dtype=np.float64)
        self.reject(column, ~is_good(values), expected)
        return values

    def codes(self, column: str) -> tuple[IntArray, list[str]]:
        """Read a text column as numbers of its names in alphabetical order; -1 where it is empty."""
        encoded = self.table.column(column).combine_chunks().dictionary_encode()
        names = encoded.dictionary.to_pylist()
        rank = np.empty(len(names) + 1, dtype=np.int64)
        rank[np.argsort(np.array(names, dtype=object), kind="stable")] = np.arange(len(names))
        rank[-1] = -1
        return rank[pc.fill_null(encoded.indices, -1).to_numpy()], sorted(names)

    def reject(self, column: str, bad: Mask, expected: str) -> None:
        """Raise if any row is bad, naming the first obligor."""
        if bad.any():
            value = self.table.column(column)[int(np.argmax(bad))].as_py()
            self.refuse(bad, f"{column} must be {expected}, was {value!r}")

    def refuse(self, bad: Mask, problem: str, hint: str | None = None) -> None:
        """Raise about the first bad row."""
        name = self.table.column("obligor_id")[int(np.argmax(bad))].as_py()
        raise InputDataError(f"obligor {name!r}: {problem} ({int(bad.sum())} such obligors)", hint=hint)


def is_fraction(values: FloatArray) -> Mask:
    """Whether each value lies in [0, 1]; NaN does not."""
    return (values >= 0.0) & (values <= 1.0)


def is_optional_size(values: FloatArray) -> Mask:
    """Whether each value is absent (NaN), or finite and not negative."""
    return np.isnan(values) | (np.isfinite(values) & (values >= 0.0))


def _by_id(obligors: pa.Table) -> pa.Table:
    """Sort the rows by id, and refuse ids that are missing or repeated."""
    ids = obligors.column("obligor_id")
    if ids.null_count:
        raise InputDataError(f"{ids.null_count} obligors have no obligor_id")
    order = pc.sort_indices(ids)
    table = obligors.take(order)
    ids = table.column("obligor_id").combine_chunks()
    repeated = pc.equal(ids[1:], ids[:-1]).to_numpy(zero_copy_only=False)
    if repeated.any():
        raise InputDataError(
            f"obligor {ids[int(np.argmax(repeated))].as_py()!r} appears more than once "
            f"({int(repeated.sum())} rows too many)",
            hint="Add the exposures of one obligor up, or give the rows ids of their own.",
        )
    return table
