"""A live table of a running search."""

from __future__ import annotations

import datetime as dt
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from types import TracebackType
from typing import Protocol, Self, TextIO

__all__ = ["LiveTable", "Progress", "Snapshot"]

_LINE_EVERY_S = 30.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Snapshot:
    """Where a search stands.

    Parameters
    ----------
    n_trials : int
        Trials in all.
    finished, running, stopped, failed : int
        Trials that ran in full, that run, that were stopped early, and that failed for good.
    best_number, best_score
        The best trial so far, running ones included, and its score; None before the first report.
    elapsed_s : float
        Since the search began or was continued.
    eta_s : float, optional
        What is left at the pace so far; None before the first trial has ended.
    """

    n_trials: int
    finished: int
    running: int
    stopped: int
    failed: int
    best_number: int | None
    best_score: float | None
    elapsed_s: float
    eta_s: float | None

    @property
    def ended(self) -> int:
        """Trials that need no more work."""
        return self.finished + self.stopped + self.failed


class Progress(Protocol):
    """Hears of a search a few times per second, and once at its end."""

    def __call__(self, snapshot: Snapshot) -> None:
        """Show where the search stands."""
        ...


class LiveTable:
    """A table on a terminal, one line per 30 s elsewhere; a context manager.

    Parameters
    ----------
    bell : datetime, optional
        When the result has to be there, with a time zone.
    stream : text stream
        Standard error unless given.
    clock : callable
        Seconds that only grow.
    now : callable
        The time of day, with a time zone.
    """

    def __init__(
        self,
        *,
        bell: dt.datetime | None = None,
        stream: TextIO | None = None,
        clock: Callable[[], float] = time.monotonic,
        now: Callable[[], dt.datetime] = lambda: dt.datetime.now(dt.UTC),
    ) -> None:
        from rich.console import Console
        from rich.live import Live

        self._bell = bell
        self._stream = sys.stderr if stream is None else stream
        self._clock = clock
        self._now = now
        self._said_at: float | None = None
        self._live = (
            Live(console=Console(file=self._stream), refresh_per_second=4) if self._stream.isatty() else None
        )

    def __enter__(self) -> Self:
        if self._live is not None:
            self._live.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._live is not None:
            self._live.stop()

    def __call__(self, snapshot: Snapshot) -> None:
        """As `Progress`."""
        cells = self._cells(snapshot)
        if self._live is not None:
            from rich.table import Table

            # A name and a value per line: nine columns would not fit a narrow terminal.
            table = Table("search", "", show_header=False)
            for name, text in cells.items():
                table.add_row(name, text)
            self._live.update(table)
            return
        now = self._clock()
        over = snapshot.ended == snapshot.n_trials
        if over or self._said_at is None or now - self._said_at >= _LINE_EVERY_S:
            self._said_at = now
            self._stream.write(
                "search: " + ", ".join(f"{name} {text}" for name, text in cells.items()) + "\n"
            )
            self._stream.flush()

    def _cells(self, snapshot: Snapshot) -> dict[str, str]:
        cells = {
            "trials": f"{snapshot.ended}/{snapshot.n_trials}",
            "finished": str(snapshot.finished),
            "running": str(snapshot.running),
            "stopped": str(snapshot.stopped),
            "failed": str(snapshot.failed),
            "best": "none yet"
            if snapshot.best_score is None
            else f"{snapshot.best_score:.6g} (trial {snapshot.best_number})",
            "elapsed": _clock_text(snapshot.elapsed_s),
            "eta": "unknown" if snapshot.eta_s is None else _clock_text(snapshot.eta_s),
        }
        if self._bell is not None:
            left = (self._bell - self._now()).total_seconds()
            late = "" if snapshot.eta_s is None or snapshot.eta_s <= left else ", too late"
            cells["bell"] = f"in {_clock_text(left)}{late}" if left > 0 else "has rung"
        return cells


def _clock_text(seconds: float) -> str:
    whole = int(seconds)
    return f"{whole // 3600:d}:{whole // 60 % 60:02d}:{whole % 60:02d}"
