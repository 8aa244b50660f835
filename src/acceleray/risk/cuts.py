"""Which positions a question is about, and into which members they fall."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from fnmatch import fnmatchcase

import numpy as np
import numpy.typing as npt

from acceleray.domain.book import ROOT, Book, is_below
from acceleray.domain.inputs import did_you_mean
from acceleray.errors import UsageError
from acceleray.numerics.aggregation import TreeSum
from acceleray.risk.valuation import ResolvedBook, positions_of

__all__ = [
    "UNLABELLED",
    "attributes_of",
    "dimensions",
    "kept_gains",
    "membership",
    "restricted",
    "selected",
]

FloatArray = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]

# Member of the positions whose instrument has no issuer, factor or attribute.
UNLABELLED = "(none)"

_ATTRIBUTE = "attr_"
_COLUMNS = ("portfolio_id", "instrument_id", "kind", "currency", "issuer_id", "factor_id")


def attributes_of(book: Book) -> tuple[str, ...]:
    """Names of the ``attr_*`` columns that any instrument fills, sorted and with their prefix."""
    found = {key for row in book.instrument_rows.values() for key, _ in row["attributes"] or ()}
    return tuple(sorted(f"{_ATTRIBUTE}{name}" for name in found))


def dimensions(book: Book) -> tuple[str, ...]:
    """List what a book can be cut by."""
    return (*_COLUMNS, *attributes_of(book))


def selected(book: Book, where: dict[str, str | Iterable[str]]) -> npt.NDArray[np.bool_]:
    """Tell the positions that meet every condition.

    Parameters
    ----------
    where : dict
        From one of `dimensions` to a name, a glob, or several of them, of which one must match. A portfolio
        stands for everything below it.

    Returns
    -------
    ndarray of bool, shape (n_positions,)

    Raises
    ------
    UsageError
        If there is no such dimension, or a name or glob matches nothing in the book.
    """
    mask = np.ones(len(book.instrument_ids), dtype=bool)
    for by, wanted in where.items():
        patterns = (wanted,) if isinstance(wanted, str) else tuple(wanted)
        mask &= _portfolios(book, patterns) if by == "portfolio_id" else _labelled(book, by, patterns)
    return mask


def membership(book: Book, positions: IntArray, by: str, portfolio_id: str) -> tuple[list[str], IntArray]:
    """Sort positions into members.

    Parameters
    ----------
    positions : ndarray of int64
        Of the book, all of them below the node.
    by : str
        One of `dimensions`; by portfolio the members are the nodes directly below.
    portfolio_id : str
        The node.

    Returns
    -------
    names : list of str
        Sorted; `UNLABELLED` collects what has no label.
    groups : ndarray of int64, shape (n_positions,)
        Member of each.
    """
    if by == "portfolio_id":
        owners = [_child(book.portfolio_ids[i], portfolio_id) for i in positions]
    else:
        labels = _labels(book, by)
        owners = [labels[book.instrument_ids[i]] or UNLABELLED for i in positions]
    names = sorted(set(owners))
    number_of = {name: number for number, name in enumerate(names)}
    return names, np.array([number_of[owner] for owner in owners], dtype=np.int64)


def restricted(book: ResolvedBook, rows: IntArray) -> ResolvedBook:
    """Leave only some positions in a resolved book; its instruments and portfolios keep their numbers.

    Parameters
    ----------
    rows : ndarray of int64
        Of ``book.positions``, increasing.
    """
    return replace(
        book,
        positions=book.positions[rows],
        instrument_rows=book.instrument_rows[rows],
        quantities=book.quantities[rows],
        portfolios=book.portfolios[rows],
    )


def kept_gains(book: ResolvedBook, by_position: FloatArray, scenarios: IntArray) -> FloatArray:
    """Sum kept gains of positions by the portfolios of a book, in the order in which revaluation does.

    Parameters
    ----------
    book : ResolvedBook
        Its ``portfolios`` may be any groups.
    by_position : ndarray of shape (n_positions, n_scenarios)
        A row for each of its positions.
    scenarios : ndarray of int64
        Columns to sum.

    Returns
    -------
    ndarray of shape (n_portfolios, n_chosen)
    """
    shape = (book.n_portfolios, scenarios.size)
    total = TreeSum(shape)
    for section in range(book.n_sections):
        partial = np.zeros(shape)
        for row in positions_of(book, (section, section + 1)):
            partial[book.portfolios[row]] += by_position[row, scenarios]
        total.add(partial)
    return total.result()


def _child(portfolio_id: str, node: str) -> str:
    """Node directly below `node` on the way to a portfolio, or `node` itself when it is that portfolio."""
    if portfolio_id == node:
        return node
    start = "" if node == ROOT else f"{node}/"
    return start + portfolio_id[len(start) :].split("/", 1)[0]


def _portfolios(book: Book, patterns: tuple[str, ...]) -> npt.NDArray[np.bool_]:
    nodes: set[str] = set()
    for pattern in patterns:
        nodes.update(_matching("portfolio_id", pattern, book.nodes))
    inside = {name for name in set(book.portfolio_ids) if any(is_below(name, node) for node in nodes)}
    return np.array([name in inside for name in book.portfolio_ids], dtype=bool)


def _labelled(book: Book, by: str, patterns: tuple[str, ...]) -> npt.NDArray[np.bool_]:
    labels = _labels(book, by)
    held = {labels[name] for name in set(book.instrument_ids)}
    known = sorted(name for name in held if name is not None)
    chosen: set[str | None] = set()
    for pattern in patterns:
        chosen.update(_matching(by, pattern, known))
    return np.array([labels[name] in chosen for name in book.instrument_ids], dtype=bool)


def _labels(book: Book, by: str) -> dict[str, str | None]:
    """Label of every instrument in a dimension."""
    rows = book.instrument_rows
    if by in _COLUMNS and by != "portfolio_id":
        return {name: row[by] for name, row in rows.items()}
    if by in attributes_of(book):
        key = by.removeprefix(_ATTRIBUTE)
        return {name: dict(row["attributes"] or ()).get(key) for name, row in rows.items()}
    known = dimensions(book)
    raise UsageError(
        f"a book cannot be cut by {by!r}{did_you_mean(by, known)}", hint=f"Use one of {', '.join(known)}."
    )


def _matching(by: str, pattern: str, known: Iterable[str]) -> list[str]:
    names = list(known)
    found = [name for name in names if name == pattern] or [
        name for name in names if fnmatchcase(name, pattern)
    ]
    if not found:
        raise UsageError(
            f"{by}: nothing in the book is called {pattern!r}{did_you_mean(pattern, names)}",
            hint=f"There are {', '.join(names[:30])}." if names else f"No position has a {by}.",
        )
    return found
