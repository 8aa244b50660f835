"""One configuration on the walk-forward folds; what a Tune worker runs, and what a plain loop can run."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from acceleray.models.early_warning.boosting import booster_parameters, matrix
from acceleray.numerics.classification import log_loss

__all__ = ["FoldData", "Report", "train_by_rung", "walk_forward_trial"]

FloatArray = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True, kw_only=True)
class FoldData:
    """Arrays of one fold."""

    train_values: FloatArray
    train_labels: FloatArray
    judge_values: FloatArray
    judge_labels: FloatArray


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """Where a trial stands at a rung.

    Parameters
    ----------
    rounds : int
        Boosting rounds so far.
    score : float
        Best negative mean log loss over the folds in any round so far; higher is better. Log loss is a proper
        score, so the search rewards honest probabilities as well as ranking.
    best_rounds : int
        The round with that score.
    work_s : float
        Time spent computing so far.
    """

    rounds: int
    score: float
    best_rounds: int
    work_s: float


def train_by_rung(
    configuration: Mapping[str, float], *, folds: Sequence[FoldData], schedule: Sequence[int], seed: int
) -> Iterator[Report]:
    """Boost every fold round by round; yield at each rung of `schedule`."""
    import xgboost

    started = time.perf_counter()
    parameters = booster_parameters(configuration, seed=seed)
    boosters = []
    for fold in folds:
        train = matrix(fold.train_values, fold.train_labels)
        judge = matrix(fold.judge_values)
        # The booster caches its predictions for both matrices, so each round costs one tree.
        boosters.append((xgboost.Booster(parameters, [train, judge]), train, judge, fold.judge_labels))
    best_loss, best_rounds = np.inf, 0
    for completed in range(1, schedule[-1] + 1):
        losses = []
        for booster, train, judge, labels in boosters:
            booster.update(train, completed - 1)
            losses.append(log_loss(labels, booster.predict(judge)))
        loss = float(np.mean(losses))
        if loss < best_loss:
            best_loss, best_rounds = loss, completed
        if completed in schedule:
            yield Report(
                rounds=completed,
                score=-best_loss,
                best_rounds=best_rounds,
                work_s=time.perf_counter() - started,
            )


def walk_forward_trial(
    config: dict[str, Any], *, folds: Sequence[FoldData], schedule: Sequence[int], seed: int
) -> None:
    """Ray Tune's function: report at rungs only, because every report costs a round trip."""
    from ray import tune

    for report in train_by_rung(config, folds=folds, schedule=schedule, seed=seed):
        tune.report(
            {
                "rounds": report.rounds,
                "score": report.score,
                "best_rounds": report.best_rounds,
                "work_s": report.work_s,
            }
        )
