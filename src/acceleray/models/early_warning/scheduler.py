"""Successive halving that repeats: decisions depend on earlier batches of trials, never on who came first.

Ray's own ``AsyncHyperBandScheduler`` compares a trial with whatever arrived before it, and
``ConcurrencyLimiter(batch=True)`` tells the searcher in order of arrival (and may close a batch before it is
full), so with either one a busy machine finds another model. Here trials are numbered when they are
suggested; a batch is suggested only when the one before is complete, and told to the searcher in trial order.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from ray.tune.schedulers import FIFOScheduler, TrialScheduler
from ray.tune.search import ConcurrencyLimiter, Searcher

__all__ = ["BatchedASHA", "BatchedSearch", "goes_on", "rungs"]


def rungs(first: int, reduction_factor: int, last: int) -> list[int]:
    """List the rounds after which a trial reports: ``first * reduction_factor ** k``, and `last`.

    Examples
    --------
    >>> rungs(15, 2, 120)
    [15, 30, 60, 120]
    """
    steps = []
    step = first
    while step < last:
        steps.append(step)
        step *= reduction_factor
    return [*steps, last]


def goes_on(score: float, earlier: list[float], reduction_factor: int) -> bool:
    """Whether a score is among the best ``1 / reduction_factor`` of the earlier ones (ties go on).

    Parameters
    ----------
    score : float
        Higher is better.
    earlier : list of float
        Scores at the same rung of trials in completed batches; with none, everybody goes on.
    """
    if not earlier:
        return True
    kept = math.ceil(len(earlier) / reduction_factor)
    return score >= sorted(earlier, reverse=True)[kept - 1]


class BatchedSearch(ConcurrencyLimiter):
    """Suggest trials in fixed batches and report a batch to the searcher when it is complete, in trial order.

    Parameters
    ----------
    searcher : Searcher
        Suggests; it hears only final results.
    batch_size : int
        Trials per batch.
    n_trials : int
        Trials in all; the last batch may be smaller.

    Notes
    -----
    Each configuration gains ``trial``, its number from 0. Tune queues as many trials as a
    `ConcurrencyLimiter` allows, which is why this is one.
    """

    def __init__(self, searcher: Searcher, *, batch_size: int, n_trials: int) -> None:
        super().__init__(searcher, max_concurrent=batch_size, batch=True)
        self._n_trials = n_trials
        self._suggested: list[str] = []
        self._told = 0
        self._finished: dict[str, tuple[dict[str, Any] | None, bool]] = {}

    def suggest(self, trial_id: str) -> dict[str, Any] | None:
        """Suggest the next trial of the open batch; None while the batch has to complete."""
        open_batch = len(self._suggested) - self._told
        if open_batch == self.max_concurrent or len(self._suggested) == self._n_trials:
            return None
        suggestion = self.searcher.suggest(trial_id)
        self._suggested.append(trial_id)
        return {**suggestion, "trial": len(self._suggested) - 1}

    def on_trial_result(self, trial_id: str, result: dict[str, Any]) -> None:
        """Keep rungs from the searcher; it learns from final results."""

    def on_trial_complete(
        self, trial_id: str, result: dict[str, Any] | None = None, error: bool = False
    ) -> None:
        """Note a finished trial; the last one of a batch releases the whole batch."""
        self._finished[trial_id] = (result, error)
        batch = self._suggested[self._told :]
        full = len(batch) == self.max_concurrent or len(self._suggested) == self._n_trials
        if full and all(member in self._finished for member in batch):
            for member in batch:
                outcome, failed = self._finished[member]
                self.searcher.on_trial_complete(member, result=outcome, error=failed)
            self._told = len(self._suggested)


class BatchedASHA(FIFOScheduler):
    """Stop a trial at a rung if its score is not among the best of the completed batches there.

    Parameters
    ----------
    metric : str
        Key of the score in a report; higher is better. Reports carry ``rounds``, too.
    batch_size : int
        As in `BatchedSearch`.
    reduction_factor : int
        The best ``1 / reduction_factor`` go on.
    """

    def __init__(self, *, metric: str, batch_size: int, reduction_factor: int) -> None:
        super().__init__()
        self._score = metric
        self._batch_size = batch_size
        self._reduction_factor = reduction_factor
        self._records: dict[int, dict[int, float]] = {}

    def decide(self, trial: int, report: Mapping[str, Any]) -> str:
        """Record a report and decide; a trial that is repeated after a crash records the same again."""
        at_rung = self._records.setdefault(int(report["rounds"]), {})
        at_rung[trial] = float(report[self._score])
        first_of_batch = trial - trial % self._batch_size
        earlier = [at_rung[other] for other in sorted(at_rung) if other < first_of_batch]
        keep = goes_on(at_rung[trial], earlier, self._reduction_factor)
        return str(TrialScheduler.CONTINUE if keep else TrialScheduler.STOP)

    def on_trial_result(
        self,
        tune_controller: Any,  # noqa: ARG002 (Tune passes it by position)
        trial: Any,
        result: dict[str, Any],
    ) -> str:
        """Tune's way to `decide`."""
        return self.decide(trial.config["trial"], result)
