"""Standard output is data, standard error is for people."""

from __future__ import annotations

import json
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from acceleray.errors import AccelerayError

__all__ = ["emit", "note", "progress", "show_error"]

_HEARTBEAT_S = 30.0


def emit(value: Any, *, as_json: bool, text: str) -> None:
    """Print the result of a command: JSON for programs, text for people."""
    sys.stdout.write((json.dumps(value, indent=1, default=str) if as_json else text) + "\n")
    sys.stdout.flush()


def note(line: str) -> None:
    """Print a line for people."""
    sys.stderr.write(line + "\n")
    sys.stderr.flush()


def show_error(error: AccelerayError) -> None:
    """Print a deliberate error: what failed, and the hint on a line of its own."""
    note(f"error: {error}")


class _Progress:
    """Lines on what a long command is doing, with a sign of life when nothing has been said for a while."""

    def __init__(self) -> None:
        self._started = time.monotonic()
        self._last = self._started
        self._current = ""
        self._done = threading.Event()
        self._beat = threading.Thread(target=self._heartbeat, daemon=True)

    def __call__(self, line: str) -> None:
        self._last = time.monotonic()
        self._current = line
        self._print(line)

    def _print(self, line: str) -> None:
        seconds = int(time.monotonic() - self._started)
        note(f"{seconds // 60:d}:{seconds % 60:02d}  {line}")

    def _heartbeat(self) -> None:
        while not self._done.wait(1.0):
            if time.monotonic() - self._last >= _HEARTBEAT_S:
                self._last = time.monotonic()
                self._print(f"still at: {self._current}")

    def open(self) -> None:
        self._beat.start()

    def close(self) -> None:
        self._done.set()
        self._beat.join()


class _LiveProgress(_Progress):
    """The same lines above a spinner that shows the current step; for terminals."""

    def __init__(self) -> None:
        super().__init__()
        from rich.console import Console

        self._status = Console(stderr=True, highlight=False).status("starting")

    def _print(self, line: str) -> None:
        seconds = int(time.monotonic() - self._started)
        self._status.console.print(f"[dim]{seconds // 60:d}:{seconds % 60:02d}[/dim]  {line}", markup=True)
        self._status.update(line)

    def open(self) -> None:
        super().open()
        self._status.start()

    def close(self) -> None:
        super().close()
        self._status.stop()


@contextmanager
def progress() -> Iterator[_Progress]:
    """Report progress on standard error: live on a terminal, plain lines elsewhere."""
    reporter = _LiveProgress() if sys.stderr.isatty() else _Progress()
    reporter.open()
    try:
        yield reporter
    finally:
        reporter.close()
