"""What Ray Tune calls: a searcher, a scheduler and a callback, all in front of one study.

Tune pickles the three when it saves its own state. The journal of the study is the only record that is ever
read again, so they pickle as nothing.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

from ray.tune import Callback
from ray.tune.schedulers import FIFOScheduler, TrialScheduler
from ray.tune.search import ConcurrencyLimiter, Searcher

from acceleray.models.tabular.progress import Progress, Snapshot
from acceleray.models.tabular.study import Job, Study
from acceleray.models.tabular.trial import Report

__all__ = ["Decides", "Jobs", "Watches", "config_of"]

_SNAPSHOT_EVERY_S = 0.5


def config_of(job: Job, storage: Path) -> dict[str, Any]:
    """Turn a job into the configuration of a Tune trial."""
    fields = asdict(job)
    fields["start"] = None if job.start is None else str(storage / job.start)
    return {"job": fields}


class _Nothing(Searcher):
    def __init__(self) -> None:
        super().__init__(metric="score", mode="max")

    def save(self, checkpoint_path: str) -> None:
        """Keep nothing; the journal does."""


class Jobs(ConcurrencyLimiter):
    """Give Tune the study's jobs. Tune queues as many as a `ConcurrencyLimiter` allows: this is one."""

    def __init__(self, study: Study, storage: Path, *, at_once: int) -> None:
        super().__init__(_Nothing(), max_concurrent=at_once)
        self._study = study
        self._storage = storage

    def suggest(self, trial_id: str) -> Any:  # noqa: ARG002 (the study numbers its trials)
        """Give the next job; None while others have to end first."""
        if self._study.complete:
            return Searcher.FINISHED
        job = self._study.next_job()
        return None if job is None else config_of(job, self._storage)

    def on_trial_result(self, trial_id: str, result: dict[str, Any]) -> None:
        """`Watches` hears it."""

    def on_trial_complete(
        self, trial_id: str, result: dict[str, Any] | None = None, error: bool = False
    ) -> None:
        """`Watches` hears it."""

    def get_state(self) -> dict[str, Any]:
        """Give nothing to pickle."""
        return {}

    def __getstate__(self) -> dict[str, Any]:
        return {}


class Decides(FIFOScheduler):
    """Stop a trial when the study's rule says so."""

    def __init__(self, study: Study) -> None:
        super().__init__()
        self._study = study

    def on_trial_result(
        self,
        tune_controller: Any,  # noqa: ARG002 (Tune passes it by position)
        trial: Any,
        result: dict[str, Any],
    ) -> str:
        """Ask the study."""
        if self._study.goes_on(_number(trial), Report.from_dict(result)):
            return str(TrialScheduler.CONTINUE)
        return str(TrialScheduler.STOP)

    def __getstate__(self) -> dict[str, Any]:
        return {}


class Watches(Callback):
    """Tell the study what happened, and whoever watches where it stands."""

    def __init__(
        self,
        study: Study,
        storage: Path,
        progress: Progress | None,
        *,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._study = study
        self._storage = storage
        self._progress = progress
        self._clock = clock
        self._began = clock()
        self._shown_at = self._began
        # Ray's population copies a whole configuration from one trial to another, its number included.
        self._numbers: dict[str, int] = {}
        self._ended_before = sum(entry.status != "open" for entry in study.entries)

    def on_trial_start(self, *, trial: Any, **_: Any) -> None:
        """Remember the number before anything changes it."""
        self._number_of(trial)

    def on_trial_result(self, *, trial: Any, result: dict[str, Any], **_: Any) -> None:
        """Note a report."""
        self._study.reported(self._number_of(trial), Report.from_dict(result))

    def on_checkpoint(self, *, trial: Any, checkpoint: Any, **_: Any) -> None:
        """Note a checkpoint; a pause may hand over one that is older than the last report."""
        folder = Path(checkpoint.path)
        rounds = int(json.loads((folder / "state.json").read_text())["rounds"])
        self._study.checkpointed(self._number_of(trial), rounds, str(folder.relative_to(self._storage)))

    def on_trial_complete(self, *, trial: Any, **_: Any) -> None:
        """Note the end of a job."""
        self._study.done(self._number_of(trial))

    def on_trial_error(self, *, trial: Any, **_: Any) -> None:
        """Note a trial that has failed after its retries."""
        # Tune keeps the traceback as text and as a pickle; nothing is unpickled here.
        text = Path(trial.error_file).read_text() if trial.error_file else ""
        lines = [line.strip() for line in text.splitlines() if line.strip()]
        self._study.failed(self._number_of(trial), lines[-1] if lines else "The worker ended without a word")

    def on_step_end(self, **_: Any) -> None:
        """Show where the study stands."""
        if self._progress is not None and self._clock() - self._shown_at >= _SNAPSHOT_EVERY_S:
            self.show()

    def show(self) -> None:
        """Show where the study stands now."""
        if self._progress is None:
            return
        self._shown_at = self._clock()
        elapsed = self._shown_at - self._began
        entries = self._study.entries
        count = {
            status: sum(entry.status == status for entry in entries)
            for status in ("finished", "stopped", "failed")
        }
        ended = sum(count.values())
        fresh = ended - self._ended_before
        scores = [(entry.reports[entry.rounds].score, -entry.number) for entry in entries if entry.reports]
        best = max(scores, default=None)
        self._progress(
            Snapshot(
                n_trials=self._study.n_trials,
                finished=count["finished"],
                stopped=count["stopped"],
                failed=count["failed"],
                running=sum(entry.runs and entry.status == "open" for entry in entries),
                best_number=None if best is None else -best[1],
                best_score=None if best is None else best[0],
                elapsed_s=elapsed,
                eta_s=elapsed / fresh * (self._study.n_trials - ended) if fresh else None,
            )
        )

    def _number_of(self, trial: Any) -> int:
        return self._numbers.setdefault(trial.trial_id, _number(trial))

    def __getstate__(self) -> dict[str, Any]:
        return {}


def _number(trial: Any) -> int:
    return int(trial.config["job"]["number"])
