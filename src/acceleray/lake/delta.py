"""Delta tables on a local or object-store path: commit files, find a version, read it, refuse damage.

Whoever computes writes Parquet files below the table's folder; a commit then adds them in one Delta
transaction. delta-rs neither checks the schema of added files, nor refuses an application transaction it has
seen, nor flushes to disk, nor notices an empty last commit: this module does.
"""

from __future__ import annotations

import json
import time
import uuid
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote, unquote

import pyarrow as pa
import pyarrow.parquet as pq
from deltalake import CommitProperties, DeltaTable, Schema, Transaction
from deltalake.exceptions import CommitFailedError, DeltaError, TableNotFoundError
from deltalake.transaction import AddAction, create_table_with_add_actions

from acceleray.domain.tables import TableContract, TableKind
from acceleray.errors import SchemaError, StorageError
from acceleray.lake.content import content_hash
from acceleray.lake.files import sync

__all__ = ["Commit", "commit_files", "committed_version", "open_table", "read_arrow", "staging_folder"]

_ATTEMPTS = 5


@dataclass(frozen=True, slots=True, kw_only=True)
class Commit:
    """One table as one run left it."""

    table: str
    version: int
    rows: int
    content_hash: str


def table_path(root: Path, contract: TableContract) -> Path:
    """Folder of a table: ``<lake>/<namespace>/<table>``."""
    return root.joinpath(*contract.name.split("."))


def staging_folder(root: Path, contract: TableContract, run_id: str) -> Path:
    """Make a fresh folder inside the table for one writer's files; it becomes part of the table on commit."""
    folder = table_path(root, contract) / "data" / run_id / uuid.uuid4().hex[:12]
    folder.mkdir(parents=True)
    return folder


def open_table(root: Path, contract: TableContract, version: int | None = None) -> DeltaTable | None:
    """Open a table at a version, the newest by default; None if it does not exist.

    Raises
    ------
    StorageError
        If the log is damaged or uses features that reading by file path would ignore.
    """
    path = table_path(root, contract)
    log = path / "_delta_log"
    if not log.is_dir() or not any(log.glob("*.json")):
        return None
    for entry in log.glob("*.json"):
        if entry.stat().st_size == 0:
            raise StorageError(
                f"{contract.name}: commit file {entry.name} is empty",
                hint="The last writer or the disk failed; restore the file from a backup.",
            )
    try:
        table = DeltaTable(str(path), version=version)
    except TableNotFoundError:
        return None
    except (DeltaError, OSError, ValueError) as error:
        raise StorageError(f"{contract.name}: the Delta log cannot be read: {error}") from error
    if "deletionVectors" in (table.protocol().reader_features or []):
        raise StorageError(f"{contract.name}: uses deletion vectors, which acceleray does not read")
    return table


def application_id(run_id: str, stage: str) -> str:
    """Name the Delta application transaction of one stage of one run."""
    return f"acceleray/{run_id}/{stage}"


def committed_version(root: Path, contract: TableContract, run_id: str) -> int | None:
    """Version in which `run_id` committed this table, None if it has not."""
    table = open_table(root, contract)
    if table is None or table.transaction_version(application_id(run_id, contract.stage)) is None:
        return None
    for entry in table.history():
        if entry.get("run_id") == run_id and entry.get("stage") == contract.stage:
            return int(entry["version"])
    raise StorageError(f"{contract.name}: run {run_id} is recorded, but its commit is gone from the log")


def commit_files(root: Path, contract: TableContract, files: list[Path], *, run_id: str) -> Commit:
    """Add Parquet files to a table in one transaction, exactly once per run.

    A snapshot is replaced as a whole; a ledger gains the partition of this run. If this run has committed the
    table already, nothing is written and the earlier commit is returned.

    Parameters
    ----------
    root : Path
        The lake.
    contract : TableContract
        Schema that every file must have.
    files : list of Path
        Parquet files below the table's folder.
    run_id : str
        The run that commits.

    Raises
    ------
    SchemaError
        If a file's schema differs from the contract.
    StorageError
        If the write fails or does not survive being read back.
    """
    version = committed_version(root, contract, run_id)
    if version is None:
        adds = [_add_action(root, contract, file, run_id) for file in files]
        for attempt in range(_ATTEMPTS):
            try:
                _commit(root, contract, adds, run_id)
                break
            except CommitFailedError as error:
                if attempt + 1 == _ATTEMPTS:
                    raise StorageError(
                        f"{contract.name}: commit failed {_ATTEMPTS} times: {error}"
                    ) from error
                time.sleep(0.1 * 2**attempt)
            except (DeltaError, OSError) as error:
                raise StorageError(f"{contract.name}: commit failed: {error}") from error
        _flush_log(root, contract)
        version = committed_version(root, contract, run_id)
        if version is None:
            raise StorageError(f"{contract.name}: the commit of run {run_id} cannot be read back")
    rows = read_arrow(root, contract, version=version, run_id=run_id)
    return Commit(
        table=contract.name,
        version=version,
        rows=rows.num_rows,
        content_hash=content_hash(rows, contract.key),
    )


def read_arrow(
    root: Path,
    contract: TableContract,
    *,
    version: int,
    run_id: str | None = None,
    columns: list[str] | None = None,
) -> pa.Table:
    """Read a table, or one run's part of a ledger, as Arrow with the contract's schema."""
    files = data_files(root, contract, version=version, run_id=run_id)
    schema = contract.schema if columns is None else pa.schema([contract.schema.field(c) for c in columns])
    if not files:
        return schema.empty_table()
    try:
        tables = [pq.read_table(file, columns=schema.names, partitioning=None) for file in files]
        return pa.concat_tables([table.cast(schema) for table in tables])
    except (OSError, pa.ArrowInvalid, KeyError) as error:
        raise StorageError(
            f"{contract.name} version {version}: a data file cannot be read: {error}"
        ) from error


def data_files(root: Path, contract: TableContract, *, version: int, run_id: str | None) -> list[str]:
    """Absolute paths of the files of a version, in a fixed order."""
    table = open_table(root, contract, version)
    if table is None:
        raise StorageError(f"{contract.name}: table does not exist")
    if contract.kind is TableKind.LEDGER and run_id is None:
        raise ValueError(f"{contract.name} is a ledger: name the run to read")
    # Not `file_uris`: it percent-encodes the folders above the table, and a project may live in "50% risk".
    actions = pa.table(table.get_add_actions(flatten=True))
    folder = table_path(root, contract).absolute()
    found = []
    for action in actions.to_pylist():
        if contract.kind is TableKind.SNAPSHOT or action["partition.run_id"] == run_id:
            found.append(str(folder / unquote(action["path"])))
    return sorted(found)


def _delta_schema(contract: TableContract) -> Schema:
    # Delta has no non-nullable primary key; nullability is enforced at validation, so files may say either.
    fields = [pa.field(field.name, field.type) for field in contract.schema]
    if contract.kind is TableKind.LEDGER:
        fields.insert(0, pa.field("run_id", pa.string()))
    return Schema.from_arrow(pa.schema(fields))


def _add_action(root: Path, contract: TableContract, file: Path, run_id: str) -> AddAction:
    folder = table_path(root, contract)
    metadata = pq.read_metadata(file)
    found = {field.name: field.type for field in metadata.schema.to_arrow_schema()}
    expected = {field.name: field.type for field in contract.schema}
    if found != expected:
        odd = sorted(name for name in expected.keys() | found.keys() if expected.get(name) != found.get(name))
        detail = ", ".join(f"{name}: expected {expected.get(name)}, was {found.get(name)}" for name in odd)
        raise SchemaError(f"{contract.name}: file {file.name} breaks the contract: {detail}")
    sync(file)
    sync(file.parent)
    partition = {"run_id": run_id} if contract.kind is TableKind.LEDGER else {}
    return AddAction(
        path=quote(file.relative_to(folder).as_posix()),
        size=file.stat().st_size,
        partition_values=partition,
        modification_time=int(file.stat().st_mtime * 1000),
        data_change=True,
        stats=json.dumps({"numRecords": metadata.num_rows}),
    )


def _commit(root: Path, contract: TableContract, adds: list[AddAction], run_id: str) -> None:
    schema = _delta_schema(contract)
    partition_by = ["run_id"] if contract.kind is TableKind.LEDGER else []
    mode = "append" if contract.kind is TableKind.LEDGER else "overwrite"
    properties = CommitProperties(
        custom_metadata={"run_id": run_id, "stage": contract.stage},
        app_transactions=[Transaction(application_id(run_id, contract.stage), 1)],
        max_commit_retries=15,
    )
    table = open_table(root, contract)
    if table is None:
        create_table_with_add_actions(
            str(table_path(root, contract)),
            schema,
            adds,
            mode="error",
            partition_by=partition_by,
            name=contract.name,
            commit_properties=properties,
        )
    else:
        table.create_write_transaction(
            adds, mode, schema, partition_by=partition_by or None, commit_properties=properties
        )


def _flush_log(root: Path, contract: TableContract) -> None:
    log = table_path(root, contract) / "_delta_log"
    newest = max(log.glob("*.json"))
    sync(newest)
    sync(log)
