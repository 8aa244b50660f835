"""The tables of one night: read at fixed versions, written once, everything on record."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from acceleray.domain.tables import TableKind, contract
from acceleray.errors import MissingDataError, SchemaError
from acceleray.lake.content import sort_by_key
from acceleray.lake.delta import (
    Commit,
    commit_files,
    committed_version,
    data_files,
    disk_error,
    read_arrow,
    staging_folder,
)

__all__ = ["NightTables"]


@dataclass(kw_only=True)
class NightTables:
    """Table access for one stage of one run.

    A table that this run has committed is read at that version; one that it has not is read at
    `input_versions`, which the pipeline fixed when the night began, so that a replay reads the same rows.

    Parameters
    ----------
    root : Path
        The lake.
    run_id : str
        The night.
    input_versions : mapping of str to int
        Versions of tables that other runs wrote.
    """

    root: Path
    run_id: str
    input_versions: Mapping[str, int] = field(default_factory=dict)
    reads: dict[str, int] = field(default_factory=dict)
    commits: dict[str, Commit] = field(default_factory=dict)

    def version(self, name: str) -> int:
        """Version at which this night sees a table; noted as an input.

        Raises
        ------
        MissingDataError
            If neither this run nor the fixed input versions know the table.
        """
        found = committed_version(self.root, contract(name), self.run_id)
        if found is None:
            found = self.input_versions.get(name)
        if found is None:
            raise MissingDataError(
                f"{name}: run {self.run_id} has not written this table yet",
                hint=f"Run the {contract(name).stage} stage first.",
            )
        self.reads[name] = found
        return found

    def read(self, name: str, columns: list[str] | None = None) -> pa.Table:
        """Read a table as Arrow, in key order; of a ledger, this run's rows."""
        table = read_arrow(
            self.root, contract(name), version=self.version(name), run_id=self._run(name), columns=columns
        )
        key = contract(name).key
        return sort_by_key(table, key) if columns is None or set(key) <= set(columns) else table

    def files(self, name: str) -> list[str]:
        """Paths of the Parquet files of a table, for engines that read by path."""
        return data_files(self.root, contract(name), version=self.version(name), run_id=self._run(name))

    def is_written(self, name: str) -> bool:
        """Whether this run has committed the table."""
        return committed_version(self.root, contract(name), self.run_id) is not None

    def staging(self, name: str) -> Path:
        """Make a fresh folder below the table in which a writer may put Parquet files for `commit`."""
        return staging_folder(self.root, contract(name), self.run_id)

    def commit(self, name: str, files: list[Path]) -> Commit:
        """Commit Parquet files that were written below `staging`."""
        done = commit_files(self.root, contract(name), files, run_id=self.run_id)
        self.commits[name] = done
        return done

    def write(self, name: str, table: pa.Table) -> Commit:
        """Write an Arrow table in key order and commit it.

        Raises
        ------
        SchemaError
            If columns are missing, unknown or of another type, or a key is null or repeated.
        StorageError
            If the disk is full or fails.
        """
        schema = contract(name).schema
        if set(table.column_names) != set(schema.names):
            missing = sorted(set(schema.names) - set(table.column_names))
            unknown = sorted(set(table.column_names) - set(schema.names))
            raise SchemaError(f"{name}: missing columns {missing}, unknown columns {unknown}")
        try:
            table = table.select(schema.names).cast(schema)
        except (pa.ArrowInvalid, ValueError) as error:
            raise SchemaError(f"{name}: {error}") from error
        table = sort_by_key(table, contract(name).key)
        if self.is_written(name):
            return self.commit(name, [])
        file = self.staging(name) / "part-0.parquet"
        try:
            pq.write_table(table, file, compression="zstd", write_page_checksum=True)
        except OSError as error:
            # Half a file would never be committed, but on a full disk its space is needed.
            file.unlink(missing_ok=True)
            raise disk_error(f"{name}: writing {table.num_rows:,} rows", error) from error
        return self.commit(name, [file])

    def _run(self, name: str) -> str | None:
        return self.run_id if contract(name).kind is TableKind.LEDGER else None
