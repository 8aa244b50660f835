"""Write small files so that a reader sees the old content or the new, never a part."""

from __future__ import annotations

import os
from pathlib import Path

from acceleray.errors import StorageError

__all__ = ["sync", "write_atomic"]


def write_atomic(path: Path, content: bytes) -> None:
    """Write a file under a temporary name, flush it to disk and rename it into place.

    Raises
    ------
    StorageError
        If the disk is full or the file cannot be written.
    """
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with temporary.open("wb") as stream:
            stream.write(content)
            stream.flush()
            os.fsync(stream.fileno())
        temporary.replace(path)
        sync(path.parent)
    except OSError as error:
        temporary.unlink(missing_ok=True)
        raise StorageError(f"{path}: cannot be written: {error}") from error


def sync(path: Path) -> None:
    """Flush a file, or the entries of a folder, to disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
