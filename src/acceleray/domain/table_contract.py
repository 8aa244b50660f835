"""What a Delta table promises: its columns, key, kind and the stage that writes it."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

import pyarrow as pa

__all__ = ["TableContract", "TableKind", "table"]


class TableKind(StrEnum):
    """How a table grows."""

    SNAPSHOT = "snapshot"
    LEDGER = "ledger"


@dataclass(frozen=True, slots=True, kw_only=True)
class TableContract:
    """What a table promises.

    Parameters
    ----------
    name : str
        ``namespace.table``, for example ``result.measures``.
    stage : str
        The one stage that writes it.
    schema : pyarrow.Schema
        Columns in order; nullable unless part of the key.
    key : tuple of str
        Columns that identify a row (within a run, for a ledger) and give the order for the content hash.
    """

    name: str
    stage: str
    schema: pa.Schema
    key: tuple[str, ...]

    @property
    def kind(self) -> TableKind:
        """Snapshots are inputs and features; parameters, results and checks are ledgers."""
        snapshot = self.name.split(".", 1)[0] in {"raw", "market", "feature"}
        return TableKind.SNAPSHOT if snapshot else TableKind.LEDGER


def table(name: str, stage: str, key: str, /, **columns: pa.DataType) -> TableContract:
    """Declare a table; `key` names its key columns, separated by blanks, and these are never null."""
    keys = tuple(key.split())
    schema = pa.schema(
        [pa.field(column, kind, nullable=column not in keys) for column, kind in columns.items()]
    )
    return TableContract(name=name, stage=stage, schema=schema, key=keys)
