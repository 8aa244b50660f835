"""Nights that were published before this one."""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass
from pathlib import Path

import pyarrow.compute as pc

from acceleray.domain.tables import contract
from acceleray.lake.delta import committed_version, open_table, read_arrow
from acceleray.lake.night import NightTables

__all__ = ["EarlierNight", "earlier_night"]

_PUBLISHED = "check.published"


@dataclass(frozen=True, slots=True, kw_only=True)
class EarlierNight:
    """A published night of an earlier business date, and its tables as it saw them."""

    as_of: dt.date
    tables: NightTables


def earlier_night(root: Path, as_of: dt.date) -> EarlierNight | None:
    """Find the published night of the latest business date before `as_of`; None before the first.

    Of several nights of one date a complete one goes before a partial one, then the one committed last.

    Raises
    ------
    StorageError
        If the ledger of publications is damaged.
    """
    ledger = contract(_PUBLISHED)
    table = open_table(root, ledger)
    if table is None:
        return None
    runs = sorted({run for part in table.partitions() if (run := part.get("run_id")) is not None})
    nights = []
    for run_id in runs:
        rows = read_arrow(root, ledger, version=table.version(), run_id=run_id)
        earlier = rows.filter(pc.less(rows["as_of"], as_of))
        for row in earlier.to_pylist():
            version = committed_version(root, ledger, run_id)
            nights.append((row["as_of"], row["state"] == "COMPLETE", version or 0, run_id))
    if not nights:
        return None
    day, _, _, run_id = max(nights)
    return EarlierNight(as_of=day, tables=NightTables(root=root, run_id=run_id))
