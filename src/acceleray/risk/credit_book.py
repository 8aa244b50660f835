"""The loan book as arrays in one fixed order, and what a scenario makes of it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from fnmatch import fnmatchcase
from itertools import pairwise
from typing import TYPE_CHECKING, TypeAlias

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from acceleray.errors import InputDataError, MissingDataError
from acceleray.numerics.irb import IRB_CLASSES

if TYPE_CHECKING:
    from acceleray.config.models import Scenario

__all__ = ["CreditBook", "CreditStress", "read_credit_book", "stress_credit_book"]

FloatArray: TypeAlias = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True, kw_only=True)
class CreditBook:
    """Obligors sorted by segment and, within it, by default probability.

    Parameters
    ----------
    segments : tuple of str
        Names in alphabetical order; none is empty.
    slices : tuple of slice
        Where each segment lies in the arrays.
    correlation : tuple of float
        Asset correlation of each segment.
    ead, default_prob, lgd : ndarray of shape (n_obligors,)
        Exposure at default in base currency, one-year default probability, loss given default.
    asset_class : ndarray of str of shape (n_obligors,)
        Key of `numerics.irb.IRB_CLASSES`, or empty.
    maturity_years, sales : ndarray of shape (n_obligors,)
        NaN where the book does not say.
    """

    segments: tuple[str, ...]
    slices: tuple[slice, ...]
    correlation: tuple[float, ...]
    ead: FloatArray
    default_prob: FloatArray
    lgd: FloatArray
    asset_class: npt.NDArray[np.str_]
    maturity_years: FloatArray
    sales: FloatArray


@dataclass(frozen=True, slots=True, kw_only=True)
class CreditStress:
    """Default probabilities and losses given default under one scenario, in the order of the book.

    Parameters
    ----------
    scenario : str
        Its name.
    default_prob, lgd : ndarray of shape (n_obligors,)
        Both in [0, 1]; the default probabilities of a segment still ascend.
    default_prob_limited, lgd_limited : ndarray of shape (n_segments,)
        How many obligors the shocks took outside [0, 1], where they were held at the bound.
    """

    scenario: str
    default_prob: FloatArray
    lgd: FloatArray
    default_prob_limited: npt.NDArray[np.int64]
    lgd_limited: npt.NDArray[np.int64]


def read_credit_book(obligors: pa.Table, correlation: Mapping[str, float]) -> CreditBook:
    """Check the obligors and put them into the order of all credit work.

    Parameters
    ----------
    obligors : pyarrow.Table
        Columns of ``raw.obligors``, in any row order; at least one row.
    correlation : mapping of str to float
        Asset correlation per segment.

    Returns
    -------
    CreditBook
        The same for every permutation of the rows.

    Raises
    ------
    InputDataError
        If there is no obligor, a value is missing, not finite or out of range (named with its obligor), an
        asset class is unknown, or the correlation of a segment is missing or is not in [0, 1).
    """
    if obligors.num_rows == 0:
        raise MissingDataError("the credit book has no obligors")
    # The remaining columns decide only between rows that share an id, so that their order is fixed too.
    order = pc.sort_indices(
        obligors,
        sort_keys=[(name, "ascending") for name in ("segment", "default_prob", "obligor_id", "ead", "lgd")],
    )
    table = obligors.take(order)
    if table.column("segment").null_count:
        _reject(table, "segment", np.asarray(pc.is_null(table.column("segment"))), "a segment name")
    encoded = table.column("segment").combine_chunks().dictionary_encode()
    segments = tuple(encoded.dictionary.to_pylist())
    starts = np.searchsorted(encoded.indices.to_numpy(), np.arange(len(segments) + 1))
    for segment in segments:
        if segment not in correlation:
            raise InputDataError(
                f"segment {segment!r} of the credit book has no correlation",
                hint=f"add simulate.credit.correlation.{segment} to acceleray.yaml",
            )
        if not 0.0 <= correlation[segment] < 1.0:
            raise InputDataError(
                f"simulate.credit.correlation.{segment} must lie in [0, 1), was {correlation[segment]}"
            )
    classes = np.asarray(pc.fill_null(table.column("asset_class"), "").to_numpy(), dtype=np.str_)
    known = np.isin(classes, ["", *IRB_CLASSES])
    _reject(table, "asset_class", ~known, f"one of {', '.join(IRB_CLASSES)}, or nothing")
    return CreditBook(
        segments=segments,
        slices=tuple(slice(int(first), int(stop)) for first, stop in pairwise(starts)),
        correlation=tuple(float(correlation[segment]) for segment in segments),
        ead=_numbers(table, "ead", lambda x: np.isfinite(x) & (x >= 0.0), "finite and not negative"),
        default_prob=_numbers(table, "default_prob", _is_fraction, "a fraction in [0, 1]"),
        lgd=_numbers(table, "lgd", _is_fraction, "a fraction in [0, 1]"),
        asset_class=classes,
        maturity_years=_numbers(table, "maturity_years", _is_optional_size, "finite and not negative"),
        sales=_numbers(table, "sales", _is_optional_size, "finite and not negative"),
    )


def stress_credit_book(book: CreditBook, scenario: Scenario) -> CreditStress:
    """Apply the shocks of a scenario in their order; without shocks the result is the book as it is.

    Parameters
    ----------
    book : CreditBook
        The unstressed book.
    scenario : Scenario
        With ``book: credit``. Each shock selects segments by a glob and scales or adds to ``default_prob`` or
        ``lgd``. Values outside [0, 1] are held at the bound once all shocks are applied, and counted.

    Returns
    -------
    CreditStress

    Raises
    ------
    InputDataError
        If a shock selects no segment of the book, selects by anything else than segment, moves market
        factors, or scales by a negative number, or if the scenario replays a historical window.
    """
    if scenario.from_ is not None:
        raise InputDataError(
            f"credit scenario {scenario.name!r} names a historical window, which a loan book cannot replay"
        )
    default_prob, lgd = book.default_prob.copy(), book.lgd.copy()
    for shock in scenario.shocks:
        selector = shock.select.segment
        if shock.move is not None or selector is None or len(shock.select.model_fields_set) > 1:
            raise InputDataError(
                f"a shock of credit scenario {scenario.name!r} must select by segment alone and shock "
                f"default_prob or lgd, was {shock.model_dump(exclude_none=True)}"
            )
        chosen = [
            rows
            for segment, rows in zip(book.segments, book.slices, strict=True)
            if fnmatchcase(segment, selector)
        ]
        if not chosen:
            raise InputDataError(
                f"scenario {scenario.name!r} selects segment {selector!r}, which matches none of the credit "
                f"book's: {', '.join(book.segments)}"
            )
        for values, change in ((default_prob, shock.default_prob), (lgd, shock.lgd)):
            for kind, size in (change or {}).items():
                if kind == "scale" and size < 0.0:
                    raise InputDataError(f"scenario {scenario.name!r} scales by {size}, which is negative")
                for rows in chosen:
                    values[rows] = values[rows] * size if kind == "scale" else values[rows] + size
    return CreditStress(
        scenario=scenario.name,
        default_prob=np.clip(default_prob, 0.0, 1.0),
        lgd=np.clip(lgd, 0.0, 1.0),
        default_prob_limited=_count_outside(book, default_prob),
        lgd_limited=_count_outside(book, lgd),
    )


def _count_outside(book: CreditBook, values: FloatArray) -> npt.NDArray[np.int64]:
    outside = (values < 0.0) | (values > 1.0)
    return np.array([np.count_nonzero(outside[rows]) for rows in book.slices], dtype=np.int64)


def _is_fraction(values: FloatArray) -> npt.NDArray[np.bool_]:
    return (values >= 0.0) & (values <= 1.0)


def _is_optional_size(values: FloatArray) -> npt.NDArray[np.bool_]:
    return np.isnan(values) | (np.isfinite(values) & (values >= 0.0))


def _numbers(
    table: pa.Table, column: str, is_good: Callable[[FloatArray], npt.NDArray[np.bool_]], expected: str
) -> FloatArray:
    # A null becomes NaN, which only the optional columns accept.
    values = np.asarray(table.column(column).to_numpy(), dtype=np.float64)
    _reject(table, column, ~is_good(values), expected)
    return values


def _reject(table: pa.Table, column: str, bad: npt.NDArray[np.bool_], expected: str) -> None:
    if not bad.any():
        return
    row = int(np.argmax(bad))
    raise InputDataError(
        f"obligor {table.column('obligor_id')[row].as_py()!r}: {column} must be {expected}, was "
        f"{table.column(column)[row].as_py()!r} ({int(bad.sum())} such obligors)"
    )
