"""The journal of a scoring run: what was asked, of which files, and which shards are finished."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

import pyarrow as pa

from acceleray.errors import StorageError, UsageError
from acceleray.lake.files import write_atomic
from acceleray.models.tabular.score_inputs import Inputs, Shard
from acceleray.models.tabular.score_queue import candidate_schema
from acceleray.models.tabular.score_shard import Job, entry_path, part_path

__all__ = ["Journal", "Request"]

_OWN_COLUMNS = {*candidate_schema(pa.schema([])).names, "rank", "reasons", "model_id", "why_not", "run_id"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """What was asked, as the plan of the run keeps it: a second call has to ask for the same."""

    model_id: str
    keys: tuple[str, ...]
    exposure: str | None
    threshold: float
    high_multiple: float
    watch_multiple: float
    bad_rows: Literal["error", "exclude"]
    top: int
    shard_rows: int
    batch_rows: int

    def check(self) -> None:
        """Refuse what makes no sense.

        Raises
        ------
        UsageError
            With the argument's name.
        """
        problems = {
            "threshold": (0.0 < self.threshold < 1.0, "between 0 and 1"),
            "watch_multiple": (self.watch_multiple > 0.0, "above 0"),
            "high_multiple": (self.watch_multiple <= self.high_multiple, "at least watch_multiple"),
            "bad_rows": (self.bad_rows in ("error", "exclude"), "'error' or 'exclude'"),
            "top": (self.top >= 0, "at least 0"),
            "shard_rows": (self.shard_rows > 0, "at least 1"),
            "batch_rows": (self.batch_rows > 0, "at least 1"),
            "keys": (0 < len(set(self.keys)) == len(self.keys), "at least one column, each once"),
        }
        for name, (fine, expected) in problems.items():
            if not fine:
                raise UsageError(f"{name}: expected {expected}, was {getattr(self, name)!r}")
        taken = sorted(_OWN_COLUMNS & set(self.keys))
        if taken:
            raise UsageError(f"keys: {taken[0]} is a column that scoring writes itself", "Rename the key.")


class Journal:
    """Small files in one folder, each written as a whole.

    Parameters
    ----------
    folder : Path
        Its name is the run's id.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def is_begun(self) -> bool:
        """Whether an earlier call has planned the run."""
        return self._path.exists()

    def compare(self, asked: Request) -> None:
        """Refuse to go on with other arguments than the run began with.

        Raises
        ------
        UsageError
            With the first argument that differs.
        """
        before: Mapping[str, Any] = _read(self._path)["asked"]
        for name, value in json.loads(json.dumps(asdict(asked))).items():
            if before.get(name) != value:
                raise UsageError(
                    f"run {self.folder.name} began with {name} {before.get(name)!r}, now it was {value!r}",
                    hint="Go on with the same arguments, or use another run id.",
                )

    def begin(self, asked: Request, inputs: Inputs) -> None:
        """Write the plan, or compare the files with those of the plan that is there.

        Raises
        ------
        UsageError
            If these are other files.
        """
        now = {"sha256": inputs.sha256, "rows": inputs.rows, "shards": len(inputs.shards)}
        if not self.is_begun():
            content = json.dumps({"asked": asdict(asked), "inputs": now}, indent=1)
            write_atomic(self._path, content.encode())
        elif (before := _read(self._path)["inputs"]) != now:
            raise UsageError(
                f"run {self.folder.name}: the files to score were {before} when it began, now {now}",
                hint="Score other rows under another run id.",
            )

    def is_finished(self, job: Job, shard: Shard) -> bool:
        """Whether everything of a shard is written."""
        entry = entry_path(job, shard.number, ".json")
        part = part_path(job, shard.number)
        if not entry.exists() or not part.exists():
            return False
        has_candidates = not job.top or entry_path(job, shard.number, ".parquet").exists()
        return has_candidates and part.stat().st_size == _read(entry)["size_bytes"]

    def entries(self) -> list[dict[str, Any]]:
        """Facts of all shards, in their order.

        Raises
        ------
        StorageError
            If one is gone or damaged.
        """
        found = [_read(path) for path in sorted(self.folder.glob("shard-*.json"))]
        expected = _read(self._path)["inputs"]["shards"]
        if [entry["shard"] for entry in found] != list(range(expected)):
            raise StorageError(f"{self.folder}: has entries of {len(found)} shards, expected {expected}")
        return found

    @property
    def _path(self) -> Path:
        return self.folder / "plan.json"


def _read(path: Path) -> dict[str, Any]:
    try:
        found: dict[str, Any] = json.loads(path.read_bytes())
    except (OSError, ValueError) as error:
        raise StorageError(
            f"{path}: cannot be read: {error}",
            hint="Restore it from a backup. An entry that is deleted has its shard scored once more.",
        ) from error
    return found
