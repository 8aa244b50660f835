"""One run at a time holds a project; the operating system frees the lock when its process dies."""

from __future__ import annotations

import fcntl
import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from acceleray.errors import LockedError

__all__ = ["current_holder", "project_lock"]


@contextmanager
def project_lock(project: Path, run_id: str, *, stage: str | None = None) -> Iterator[None]:
    """Hold the project for a run, or for one stage of a run.

    A whole night locks out everything else. Stage commands of the same run share the project, so that
    independent stages may run side by side, but each stage runs once at a time.

    Raises
    ------
    LockedError
        If another run, or the same stage, is at work.
    """
    folder = project / "runs"
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / ".lock"
    with path.open("a+") as handle:
        mode = fcntl.LOCK_EX if stage is None else fcntl.LOCK_SH
        _acquire(handle.fileno(), mode, path)
        if stage is None:
            _sign(path, run_id)
            yield
            return
        holder = _holder(path)
        others_share = not _try(handle.fileno(), fcntl.LOCK_EX)
        if others_share and holder.get("run_id") != run_id:
            raise LockedError(f"run {holder.get('run_id')} holds the project (process {holder.get('pid')})")
        if not others_share:
            _sign(path, run_id)
            _acquire(handle.fileno(), fcntl.LOCK_SH, path)
        own = folder / run_id / f".{stage}.lock"
        own.parent.mkdir(parents=True, exist_ok=True)
        with own.open("a+") as stage_handle:
            _acquire(stage_handle.fileno(), fcntl.LOCK_EX, own)
            yield


def current_holder(project: Path) -> dict[str, object] | None:
    """Tell which run holds the project right now, None if none does."""
    path = project / "runs" / ".lock"
    if not path.is_file():
        return None
    with path.open("r") as handle:
        return None if _try(handle.fileno(), fcntl.LOCK_EX) else _holder(path)


def _try(descriptor: int, mode: int) -> bool:
    try:
        fcntl.flock(descriptor, mode | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _acquire(descriptor: int, mode: int, path: Path) -> None:
    if not _try(descriptor, mode):
        holder = _holder(path)
        raise LockedError(
            f"run {holder.get('run_id', '?')} holds the project (process {holder.get('pid', '?')})",
            hint="Wait for it, or look at `acceleray status`.",
        )


def _sign(path: Path, run_id: str) -> None:
    path.write_text(json.dumps({"run_id": run_id, "pid": os.getpid()}))


def _holder(path: Path) -> dict[str, object]:
    try:
        found = json.loads(path.read_text())
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}
