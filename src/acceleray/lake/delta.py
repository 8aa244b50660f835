"""Delta tables on a local or object-store path: commit files, find a version, read it, refuse damage.

Whoever computes writes Parquet files below the table's folder; a commit then adds them in one Delta
transaction. delta-rs neither checks the schema of added files, nor refuses an application transaction it has
seen, nor flushes to disk, nor notices an empty last commit: this module does.

What a crash can leave behind, and what then happens:

* before the commit: files below ``data/<run_id>`` that the log does not name. Nobody sees them; the next
  attempt writes new ones.
* during the commit: delta-rs moves a complete log entry into place, so it is there or not. An empty last
  entry (power lost before the flush) is refused with advice.
* after the commit: the next attempt finds (run_id, stage) in the log and returns that commit.

Files are read in full, checked against the contract and hashed before they are committed, and flushed before
the log names them: a damaged file is never committed, and a file that changed its size since is not read.
"""

from __future__ import annotations

import errno
import json
import os
import time
import uuid
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any
from urllib.parse import quote, unquote

import pyarrow as pa
import pyarrow.parquet as pq
from deltalake import CommitProperties, DeltaTable, Schema, Transaction
from deltalake.exceptions import CommitFailedError, DeltaError, TableNotFoundError
from deltalake.transaction import AddAction, create_table_with_add_actions

from acceleray.domain.tables import TableContract, TableKind
from acceleray.errors import SchemaError, StorageError
from acceleray.lake.content import content_hash, has_repeated_key, sort_by_key
from acceleray.lake.files import sync

__all__ = [
    "Commit",
    "check_table",
    "commit_files",
    "commit_written",
    "committed_version",
    "data_files",
    "disk_error",
    "open_table",
    "read_arrow",
    "staging_folder",
]

_ATTEMPTS = 8


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
    with _disk_errors(contract, "making a folder for its files"):
        folder.mkdir(parents=True)
    return folder


def open_table(root: Path, contract: TableContract, version: int | None = None) -> DeltaTable | None:
    """Open a table at a version, the newest by default; None if it does not exist.

    Raises
    ------
    StorageError
        If the log is damaged or uses features that reading by file path would ignore.
    """
    if not _log_entries(root, contract):
        return None
    try:
        table = DeltaTable(str(table_path(root, contract)), version=version)
    except TableNotFoundError:
        return None
    except (DeltaError, OSError, ValueError) as error:
        raise StorageError(f"{contract.name}: the Delta log cannot be read: {error}") from error
    if "deletionVectors" in (table.protocol().reader_features or []):
        raise StorageError(f"{contract.name}: uses deletion vectors, which acceleray does not read")
    return table


def _log_entries(root: Path, contract: TableContract) -> list[Path]:
    entries = sorted((table_path(root, contract) / "_delta_log").glob("*.json"))
    for entry in entries:
        if entry.stat().st_size == 0:
            raise StorageError(
                f"{contract.name}: commit file {entry.name} is empty",
                hint="The machine stopped while it was written. If it is the newest entry and nothing is "
                "writing, delete it and run `acceleray retry`; otherwise restore it from a backup.",
            )
    return entries


def application_id(run_id: str, stage: str) -> str:
    """Name the Delta application transaction of one stage of one run."""
    return f"acceleray/{run_id}/{stage}"


def committed_version(root: Path, contract: TableContract, run_id: str) -> int | None:
    """Version in which `run_id` committed this table, None if it has not."""
    # Read from the log itself: delta-rs counts versions in its history back from the newest it knows, which
    # is one too few when another process commits at that moment.
    transaction = application_id(run_id, contract.stage)
    for entry in reversed(_log_entries(root, contract)):
        for line in entry.read_text(encoding="utf-8").splitlines():
            if transaction in line and _transaction(contract, entry, line) == transaction:
                return int(entry.stem)
    # Not there, or hidden by damage: opening the table tells.
    open_table(root, contract)
    return None


def _transaction(contract: TableContract, entry: Path, line: str) -> str | None:
    try:
        transaction: str | None = json.loads(line).get("txn", {}).get("appId")
    except ValueError as error:
        raise StorageError(
            f"{contract.name}: the Delta log cannot be read: {entry.name}: {error}",
            hint="Restore the file from a backup.",
        ) from error
    return transaction


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
        If a file's schema differs from the contract, or a key is null or repeated.
    StorageError
        If a file is damaged, the write fails or does not survive being read back.
    """
    version = committed_version(root, contract, run_id)
    if version is not None:
        rows = read_arrow(root, contract, version=version, run_id=run_id)
        return _describe(contract, version, rows)
    with _disk_errors(contract, "commit"):
        adds = [_add_action(root, contract, file, run_id) for file in files]
    described = _describe(contract, -1, _read_files(contract, [str(file) for file in files], contract.schema))
    version = _transact(root, contract, adds, run_id)
    return replace(described, version=version)


def check_table(root: Path, contract: TableContract) -> None:
    """Refuse, before any work, a table that has other columns than the contract; none at all is fine.

    Raises
    ------
    SchemaError
        If a column differs; with its name.
    """
    table = open_table(root, contract)
    if table is None:
        return
    found, expected = (
        {field["name"]: field["type"] for field in json.loads(schema.to_json())["fields"]}
        for schema in (table.schema(), _delta_schema(contract))
    )
    odd = sorted(name for name in expected.keys() | found.keys() if expected.get(name) != found.get(name))
    if odd:
        raise SchemaError(
            f"{contract.name}: column {odd[0]} was {found.get(odd[0])}, expected {expected.get(odd[0])}",
            hint="Write to another folder, or with the columns that the table was made with.",
        )


def commit_written(
    root: Path, contract: TableContract, files: Mapping[Path, Mapping[str, Any]], *, run_id: str
) -> int:
    """Add Parquet files whose rows their writers have checked; as `commit_files`, but no row is read.

    Parameters
    ----------
    files : mapping of Path to mapping
        Parquet files below the table's folder, each with Delta's statistics of its columns (``minValues``,
        ``maxValues``, ``nullCount``).

    Returns
    -------
    int
        Version of the commit.

    Raises
    ------
    SchemaError
        If a file's schema differs from the contract.
    StorageError
        If a file is not complete, or the commit fails or cannot be read back.
    """
    version = committed_version(root, contract, run_id)
    if version is not None:
        return version
    with _disk_errors(contract, "commit"):
        adds = [_add_action(root, contract, file, run_id, statistics) for file, statistics in files.items()]
    return _transact(root, contract, adds, run_id)


def _transact(root: Path, contract: TableContract, adds: list[AddAction], run_id: str) -> int:
    """Commit until it is done or hopeless, flush it, read it back."""
    for attempt in range(_ATTEMPTS):
        # Another process may have made the table, or this run's lost commit may have arrived after all.
        version = committed_version(root, contract, run_id)
        if version is not None:
            break
        existed = open_table(root, contract) is not None
        try:
            _commit(root, contract, adds, run_id)
        except (DeltaError, OSError, ValueError) as error:
            lost_race = isinstance(error, CommitFailedError) or (
                not existed and open_table(root, contract) is not None
            )
            if not lost_race or _is_disk_full(error) or attempt + 1 == _ATTEMPTS:
                raise StorageError(
                    f"{contract.name}: commit failed at attempt {attempt + 1}: {error}",
                    hint=_disk_hint(error),
                ) from error
            # Processes that collided should not collide again in step.
            time.sleep(0.05 * 2**attempt * (1 + os.getpid() % 7 / 7))
    version = committed_version(root, contract, run_id)
    if version is None:
        raise StorageError(f"{contract.name}: the commit of run {run_id} cannot be read back")
    with _disk_errors(contract, "commit"):
        _flush_log(root, contract, version)
    committed = data_files(root, contract, version=version, run_id=run_id)
    folder = table_path(root, contract).absolute()
    if committed != sorted(str(folder / unquote(add.path)) for add in adds):
        raise StorageError(
            f"{contract.name} version {version}: the log names other files than were committed"
        )
    return version


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
    return _read_files(contract, files, schema)


def data_files(root: Path, contract: TableContract, *, version: int, run_id: str | None) -> list[str]:
    """Absolute paths of the files of a version, in a fixed order.

    Raises
    ------
    StorageError
        If there is no such table or version, or a file is gone or has another size than when committed.
    """
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
            file = folder / unquote(action["path"])
            size = file.stat().st_size if file.is_file() else None
            if size != action["size_bytes"]:
                was = "is gone" if size is None else f"has {size} bytes"
                raise StorageError(
                    f"{contract.name} version {version}: data file {file.name} {was}, "
                    f"expected {action['size_bytes']} bytes",
                    hint="Restore it from a backup, or run the stage again in a new run.",
                )
            found.append(str(file))
    return sorted(found)


def _read_files(contract: TableContract, files: list[str], schema: pa.Schema) -> pa.Table:
    try:
        parts = [schema.empty_table()]
        for file in files:
            with pq.ParquetFile(file, memory_map=True, page_checksum_verification=True) as parquet:
                parts.append(parquet.read(columns=schema.names, use_threads=True).select(schema.names))
        return pa.concat_tables([part.cast(schema) for part in parts])
    except (OSError, pa.ArrowException, ValueError, KeyError) as error:
        raise StorageError(
            f"{contract.name}: a data file cannot be read: {error}",
            hint="Restore it from a backup, or run the stage again in a new run.",
        ) from error


def _describe(contract: TableContract, version: int, rows: pa.Table) -> Commit:
    rows = sort_by_key(rows, contract.key)
    if has_repeated_key(rows, contract.key):
        raise SchemaError(f"{contract.name}: two rows have the same key ({', '.join(contract.key)})")
    return Commit(
        table=contract.name,
        version=version,
        rows=rows.num_rows,
        content_hash=content_hash(rows, contract.key),
    )


def _delta_schema(contract: TableContract) -> Schema:
    # Delta has no non-nullable primary key; nullability is enforced at validation, so files may say either.
    fields = [pa.field(field.name, field.type) for field in contract.schema]
    if contract.kind is TableKind.LEDGER:
        fields.insert(0, pa.field("run_id", pa.string()))
    return Schema.from_arrow(pa.schema(fields))


def _add_action(
    root: Path, contract: TableContract, file: Path, run_id: str, statistics: Mapping[str, Any] | None = None
) -> AddAction:
    folder = table_path(root, contract)
    try:
        metadata = pq.read_metadata(file)
    except pa.ArrowInvalid as error:
        raise StorageError(f"{contract.name}: file {file.name} is not complete: {error}") from error
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
        stats=json.dumps({"numRecords": metadata.num_rows} | dict(statistics or {})),
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
            # Old nights must stay replayable: the log is never trimmed by age.
            configuration={"delta.enableExpiredLogCleanup": "false"},
            commit_properties=properties,
        )
    else:
        table.create_write_transaction(
            adds, mode, schema, partition_by=partition_by or None, commit_properties=properties
        )


def _flush_log(root: Path, contract: TableContract, version: int) -> None:
    log = table_path(root, contract) / "_delta_log"
    sync(log / f"{version:020d}.json")
    for folder in (log, log.parent, log.parent.parent):
        sync(folder)


@contextmanager
def _disk_errors(contract: TableContract, action: str) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise disk_error(f"{contract.name}: {action}", error) from error


def disk_error(action: str, error: OSError) -> StorageError:
    """Say in our words that the disk failed."""
    return StorageError(f"{action} failed: {error}", hint=_disk_hint(error))


def _is_disk_full(error: Exception) -> bool:
    full = (errno.ENOSPC, errno.EDQUOT)
    # delta-rs and Arrow report the cause only in their text.
    return getattr(error, "errno", None) in full or any(os.strerror(code) in str(error) for code in full)


def _disk_hint(error: Exception) -> str:
    if _is_disk_full(error):
        return "The disk is full. Free space, then run `acceleray retry`; nothing that was committed is lost."
    return "Check the disk and the permissions of the lake, then run `acceleray retry`."
