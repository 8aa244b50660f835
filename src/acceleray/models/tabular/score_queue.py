"""The analyst queue: the rows that matter most, found without holding all rows, with reasons in words."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from acceleray.models.tabular.signature import FloatArray, Signature

__all__ = [
    "BUCKETS",
    "NOT_SCORED",
    "Buckets",
    "candidate_schema",
    "first_of",
    "in_words",
    "priorities",
    "spell_buckets",
]

BUCKETS = ("high", "watch", "normal")
NOT_SCORED = "not scored"
_SHOWN = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class Buckets:
    """Lower ends of the buckets, as probabilities."""

    high: float
    watch: float

    def codes(self, scores: npt.NDArray[np.float64]) -> npt.NDArray[np.int32]:
        """Give the positions in `BUCKETS`, shape (n,)."""
        return np.where(scores >= self.high, 0, np.where(scores >= self.watch, 1, 2)).astype(np.int32)


def candidate_schema(key_schema: pa.Schema) -> pa.Schema:
    """Columns of rows that may be in the queue: what ranks them, and where to find them again."""
    fixed = [
        ("exposure", pa.float64()),
        ("score", pa.float64()),
        ("bucket", pa.string()),
        ("priority", pa.float64()),
        ("file", pa.string()),
        ("row_group", pa.int32()),
        ("row", pa.int64()),
    ]
    return pa.schema([*key_schema, *(pa.field(name, kind) for name, kind in fixed)])


def first_of(rows: pa.Table, keys: Sequence[str], count: int) -> pa.Table:
    """Return the first rows of the queue, in its order.

    Parameters
    ----------
    rows : pyarrow.Table
        With ``priority``, keys, and where each row is.
    count : int
        Rows to keep.

    Notes
    -----
    By priority, ties by key, equal keys by file, row group and row. The first rows of a whole are among the
    first rows of its parts, so parts can be merged one at a time.
    """
    if rows.num_rows > count > 0:
        priority = rows["priority"].to_numpy()
        least = np.partition(priority, -count)[-count]
        rows = rows.filter(pa.array(priority >= least))
    ascending = [(name, "ascending") for name in (*keys, "file", "row_group", "row")]
    return rows.sort_by([("priority", "descending"), *ascending]).slice(0, count)


def in_words(
    signature: Signature, values: FloatArray, contributions: npt.NDArray[np.floating[Any]]
) -> list[str]:
    """Name the three inputs that moved each row's score most.

    Parameters
    ----------
    values : ndarray of float32, shape (n, n_features)
        As `Signature.encode` gives them.
    contributions : ndarray of shape (n, n_features)
        What each adds to the log-odds.

    Returns
    -------
    list of str
        For example ``"utilisation 0.93, raises; region North, lowers"``; fewer than three where fewer inputs
        contribute.

    Notes
    -----
    Equal contributions come in the order of the inputs.
    """
    order = np.argsort(-np.abs(contributions), axis=1, kind="stable")[:, :_SHOWN]
    return [
        "; ".join(
            f"{_spoken(signature, column, values[row, column])}, "
            f"{'raises' if contributions[row, column] > 0 else 'lowers'}"
            for column in order[row]
            if contributions[row, column] != 0.0
        )
        or "no input moves it: the base rate"
        for row in range(values.shape[0])
    ]


def _spoken(signature: Signature, column: int, value: np.float32) -> str:
    feature = signature.features[column]
    if np.isnan(value):
        return f"{feature.name} not known"
    if feature.is_category:
        return f"{feature.name} {feature.categories[int(value)]}"
    return f"{feature.name} {f'{value:.6g}'.replace('-', '−')}"


def priorities(
    scores: npt.NDArray[np.float64], exposures: npt.NDArray[np.float64] | None
) -> npt.NDArray[np.float64]:
    """Absolute exposure times probability, or the probability alone."""
    return scores if exposures is None else np.abs(exposures) * scores


def spell_buckets(codes: npt.NDArray[np.int32]) -> pa.Array:
    """Names of buckets; a negative code is a row that is not scored."""
    names = pa.array([*BUCKETS, NOT_SCORED])
    return pc.take(names, pa.array(np.where(codes < 0, len(BUCKETS), codes)))
