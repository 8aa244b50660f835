"""Positions, the instruments they hold, and the hierarchy of portfolios above them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from acceleray.domain.table_contract import TableContract
from acceleray.domain.tables import contract
from acceleray.errors import InputDataError, SchemaError

__all__ = ["ROOT", "Book", "is_below"]

# The node above all portfolios.
ROOT = "Fund"


def is_below(portfolio_id: str, node: str) -> bool:
    """Whether a portfolio is a node or lies below it.

    Examples
    --------
    >>> is_below("Equity/US", "Equity"), is_below("Equity", "Equity/US"), is_below("Equity/US", ROOT)
    (True, False, True)
    """
    return node in (ROOT, portfolio_id) or portfolio_id.startswith(f"{node}/")


@dataclass(frozen=True, kw_only=True, eq=False, repr=False)
class Book:
    """Positions and instruments in the layout of ``raw.positions`` and ``raw.instruments``, sorted by key.

    A portfolio id is a path such as ``Equity/US/Value``; every prefix of one is a node of the hierarchy and
    ``Fund`` stands above all of them.

    Parameters
    ----------
    positions : pyarrow.Table
        One row per portfolio and instrument; a negative quantity is short.
    instruments : pyarrow.Table
        One row per instrument.
    holdings : pyarrow.Table, optional
        ``fund_id, instrument_id, weight``: funds to look through. The weight is a share of the fund's value.
    functions : mapping of str to callable, optional
        Functions that instruments of kind quantlib name, by ``module.function``.
    """

    positions: pa.Table
    instruments: pa.Table
    holdings: pa.Table | None = None
    functions: Mapping[str, Callable[..., Any]] = field(default_factory=dict)

    def __repr__(self) -> str:
        rows = f"{self.positions.num_rows} positions, {self.instruments.num_rows} instruments"
        held = "" if self.holdings is None else f", {self.holdings.num_rows} holdings of funds"
        return f"<Book: {rows}{held}>"

    @classmethod
    def from_tables(
        cls,
        positions: pa.Table,
        instruments: pa.Table,
        holdings: pa.Table | None = None,
        functions: Mapping[str, Callable[..., Any]] | None = None,
    ) -> Book:
        """Sort the tables, add absent optional columns as nulls, and check that they belong together.

        Raises
        ------
        InputDataError
            If a key repeats, a position holds an unknown instrument, or a quantity is not finite.
        """
        positions = _conform(
            positions, contract("raw.positions"), required=("portfolio_id", "instrument_id", "quantity")
        )
        instruments = _conform(
            instruments, contract("raw.instruments"), required=("instrument_id", "kind", "currency")
        )
        held = list(
            zip(positions["portfolio_id"].to_pylist(), positions["instrument_id"].to_pylist(), strict=True)
        )
        known = instruments["instrument_id"].to_pylist()
        _refuse("positions: more than one row for", [key for key, n in Counter(held).items() if n > 1])
        _refuse("instruments: more than one row for", [key for key, n in Counter(known).items() if n > 1])
        _refuse("positions: unknown instrument", sorted({key[1] for key in held} - set(known)))
        quantities = positions["quantity"].to_numpy()
        _refuse(
            "positions: quantity was not finite in",
            [held[i] for i in np.nonzero(~np.isfinite(quantities))[0]],
        )
        if any(name == ROOT or name.startswith(f"{ROOT}/") for name, _ in held):
            raise InputDataError(
                f"positions: portfolio {ROOT!r} is the name of the whole book",
                hint=f"Leave the leading {ROOT!r} out of portfolio_id.",
            )
        if holdings is not None:
            holdings = _conform(
                holdings, contract("raw.holdings"), required=("fund_id", "instrument_id", "weight")
            )
            lines = list(
                zip(holdings["fund_id"].to_pylist(), holdings["instrument_id"].to_pylist(), strict=True)
            )
            _refuse("holdings: more than one row for", [key for key, n in Counter(lines).items() if n > 1])
            _refuse(
                "holdings: unknown instrument", sorted({name for line in lines for name in line} - set(known))
            )
            weights = np.asarray(holdings["weight"].to_numpy(), dtype=np.float64)
            _refuse(
                "holdings: weight was not finite in",
                [lines[i] for i in np.nonzero(~np.isfinite(weights))[0]],
            )
        return cls(positions=positions, instruments=instruments, holdings=holdings, functions=functions or {})

    @cached_property
    def instrument_rows(self) -> dict[str, dict[str, Any]]:
        """Row of each instrument by its id."""
        return {row["instrument_id"]: row for row in self.instruments.to_pylist()}

    def holdings_of(self, instrument_id: str) -> dict[str, float]:
        """Weights of what a fund holds; empty where nothing is known."""
        return self._holdings.get(instrument_id, {})

    @cached_property
    def _holdings(self) -> dict[str, dict[str, float]]:
        found: dict[str, dict[str, float]] = {}
        for line in () if self.holdings is None else self.holdings.to_pylist():
            found.setdefault(line["fund_id"], {})[line["instrument_id"]] = line["weight"]
        return found

    @cached_property
    def portfolio_ids(self) -> tuple[str, ...]:
        """Portfolio of each position, in key order."""
        return tuple(self.positions["portfolio_id"].to_pylist())

    @cached_property
    def instrument_ids(self) -> tuple[str, ...]:
        """Instrument of each position, in key order."""
        return tuple(self.positions["instrument_id"].to_pylist())

    @cached_property
    def quantities(self) -> npt.NDArray[np.float64]:
        """Units held per position, shape (n_positions,); negative is short."""
        return np.asarray(self.positions["quantity"].to_numpy(), dtype=np.float64)

    @cached_property
    def nodes(self) -> tuple[str, ...]:
        """Every node of the hierarchy: ``Fund``, then each prefix of a portfolio id, sorted."""
        prefixes: set[str] = set()
        for name in self.portfolio_ids:
            parts = name.split("/")
            prefixes.update("/".join(parts[: i + 1]) for i in range(len(parts)))
        return (ROOT, *sorted(prefixes))

    def members(self, node: str) -> npt.NDArray[np.int64]:
        """Positions below a node, as increasing indices in key order.

        Raises
        ------
        KeyError
            If the book has no such node.
        """
        if node not in self.nodes:
            raise KeyError(node)
        inside = [i for i, name in enumerate(self.portfolio_ids) if is_below(name, node)]
        return np.array(inside, dtype=np.int64)

    def children(self, node: str) -> tuple[str, ...]:
        """Nodes directly below a node; a node that also holds positions of its own lists itself."""
        below = "" if node == ROOT else f"{node}/"
        found = {
            below + name[len(below) :].split("/", 1)[0]
            for name in self.portfolio_ids
            if name.startswith(below) and name != node
        }
        if found and node in self.portfolio_ids:
            found.add(node)
        return tuple(sorted(found))


def _conform(rows: pa.Table, layout: TableContract, required: tuple[str, ...]) -> pa.Table:
    label = layout.name.split(".", 1)[1]
    missing = [column for column in required if column not in rows.column_names]
    if missing:
        raise SchemaError(f"{label}: missing columns {missing}")
    columns = [
        rows[field.name] if field.name in rows.column_names else pa.nulls(rows.num_rows, field.type)
        for field in layout.schema
    ]
    try:
        plain = pa.table(columns, names=layout.schema.names).cast(layout.schema)
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError, ValueError) as error:
        raise SchemaError(f"{label}: {error}") from error
    return plain.sort_by([(column, "ascending") for column in layout.key])


def _refuse(message: str, offenders: list[str] | list[tuple[str, str]]) -> None:
    if offenders:
        named = ", ".join(" ".join(each) if isinstance(each, tuple) else each for each in offenders[:5])
        more = f" and {len(offenders) - 5} more" if len(offenders) > 5 else ""
        raise InputDataError(f"{message} {named}{more}")
