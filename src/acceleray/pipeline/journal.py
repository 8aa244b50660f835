"""The journal of a run: what was attempted, with which inputs, and what came of it.

``run.json`` says what the night is; ``events/<stage>.<attempt>.json`` exists before a stage's engine starts
and is rewritten when the stage ends. Files are small and replaced atomically, so a killed run leaves a
journal that says where it stood. The Delta logs decide what is done; the journal explains it.
"""

from __future__ import annotations

import datetime as dt
import json
import secrets
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from acceleray.errors import StorageError, UsageError
from acceleray.lake.files import write_atomic

__all__ = ["Journal", "latest_run", "new_run_id", "run_ids"]


def new_run_id(as_of: dt.date) -> str:
    """Make a run id: the business date, and six random hexadecimal digits."""
    return f"{as_of.isoformat()}-{secrets.token_hex(3)}"


def run_ids(project: Path) -> list[str]:
    """List the project's runs, oldest first; one whose run.json is damaged counts as oldest."""

    def started_at(path: Path) -> str:
        try:
            return str(_read(path)["started_at"])
        except (StorageError, KeyError):
            return ""

    found = (project / "runs").glob("*/run.json")
    return [path.parent.name for path in sorted(found, key=started_at)]


def latest_run(project: Path) -> str:
    """Find the run that was started last.

    Raises
    ------
    UsageError
        If the project has no run.
    """
    found = run_ids(project)
    if not found:
        raise UsageError("this project has no run yet", hint="Start one with `acceleray run`.")
    return found[-1]


@dataclass(frozen=True, slots=True)
class Journal:
    """The journal of one run.

    Parameters
    ----------
    directory : Path
        ``runs/<run_id>``.
    """

    directory: Path

    def open(self, header: dict[str, Any]) -> None:
        """Write what the run is, before anything else happens."""
        _write(self.directory / "run.json", header)

    def header(self) -> dict[str, Any]:
        """Read what the run is.

        Raises
        ------
        UsageError
            If there is no such run.
        """
        if not (self.directory / "run.json").is_file():
            raise UsageError(f"run {self.directory.name} does not exist", hint="See `acceleray status`.")
        return _read(self.directory / "run.json")

    def begin(self, stage: str, entry: dict[str, Any]) -> int:
        """Record that an attempt at a stage begins; returns the number of the attempt, from 1."""
        attempt = len(self.attempts(stage)) + 1
        _write(self._path(stage, attempt), {"stage": stage, "attempt": attempt, "state": "started", **entry})
        return attempt

    def finish(self, stage: str, attempt: int, state: str, entry: dict[str, Any]) -> None:
        """Record how an attempt ended: ``committed``, ``failed`` or ``interrupted``."""
        path = self._path(stage, attempt)
        _write(path, {**_read(path), "state": state, **entry})

    def attempts(self, stage: str) -> list[dict[str, Any]]:
        """Read all attempts at a stage, in order."""
        entries = [_read(path) for path in (self.directory / "events").glob(f"{stage}.*.json")]
        return sorted(entries, key=lambda entry: int(entry["attempt"]))

    def last(self, stage: str) -> dict[str, Any] | None:
        """Read the newest attempt at a stage."""
        found = self.attempts(stage)
        return found[-1] if found else None

    def close(self, result: dict[str, Any]) -> None:
        """Write the machine-readable outcome of the run."""
        _write(self.directory / "run_results.json", result)

    def result(self) -> dict[str, Any] | None:
        """Read the outcome, None while the run is unfinished."""
        path = self.directory / "run_results.json"
        return _read(path) if path.is_file() else None

    def _path(self, stage: str, attempt: int) -> Path:
        return self.directory / "events" / f"{stage}.{attempt}.json"


def _write(path: Path, content: dict[str, Any]) -> None:
    write_atomic(path, (json.dumps(content, indent=1, sort_keys=True) + "\n").encode())


def _read(path: Path) -> dict[str, Any]:
    try:
        found = json.loads(path.read_text())
    except (OSError, ValueError) as error:
        raise StorageError(
            f"journal file {path} cannot be read: {error}",
            hint="Restore it from a backup, or begin a new night with `acceleray run`.",
        ) from error
    if not isinstance(found, dict):
        raise StorageError(f"journal file {path.name} of {path.parent.name} is damaged")
    return found
