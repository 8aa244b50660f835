"""The search for hyperparameters: Ray Tune, Optuna's TPE and successive halving, all repeatable."""

from __future__ import annotations

import json
import shutil
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from acceleray.config.models import CalibrateSettings
from acceleray.domain.tables import contract
from acceleray.errors import TaskFailedError
from acceleray.models.early_warning.baseline import fit_base_rate, fit_logistic
from acceleray.models.early_warning.boosting import HYPERPARAMETERS, booster_parameters, matrix
from acceleray.models.early_warning.dataset import Samples
from acceleray.models.early_warning.folds import Fold, Split
from acceleray.models.early_warning.history import History
from acceleray.models.early_warning.trial import FoldData, walk_forward_trial
from acceleray.numerics.classification import best_f1_threshold

__all__ = ["Trial", "best_trial", "fold_data", "search", "thresholds", "trials_table"]

# A worker that dies takes its trial along; the trial starts again and reports the same numbers.
_RETRIES = 2


@dataclass(frozen=True, slots=True, kw_only=True)
class Trial:
    """Outcome of one configuration.

    Parameters
    ----------
    number, batch : int
        Order of suggestion, from 0.
    configuration : dict of str to float
        One value per entry of `HYPERPARAMETERS`.
    rounds : int
        Rounds it was allowed to run.
    score : float
        Best negative mean log loss over the folds.
    best_rounds : int
        The round with that score.
    work_s : float
        Time the worker computed; differs between nights and is kept out of tables.
    """

    number: int
    batch: int
    configuration: dict[str, float]
    rounds: int
    score: float
    best_rounds: int
    work_s: float


def fold_data(samples: Samples, folds: Sequence[Fold], sampled: npt.NDArray[np.int64]) -> list[FoldData]:
    """Cut the sampled rows into the arrays of each fold."""
    rows = samples.where(np.isin(samples.sessions, sampled))
    arrays = []
    for fold in folds:
        train, judge = rows.where(fold.trains(rows.sessions)), rows.where(fold.judges(rows.sessions))
        arrays.append(
            FoldData(
                train_values=train.values,
                train_labels=train.labels,
                judge_values=judge.values,
                judge_labels=judge.labels,
            )
        )
    return arrays


def search(
    samples: Samples, split: Split, settings: CalibrateSettings, *, storage: Path, cpus: int
) -> list[Trial]:
    """Search on the live Ray instance; the same settings and data give the same trials on any number of CPUs.

    Parameters
    ----------
    storage : Path
        Folder for Tune's own records; emptied first, so that a second attempt starts like the first.
    cpus : int
        CPUs of the Ray instance.

    Returns
    -------
    list of Trial
        In order of suggestion.

    Raises
    ------
    TaskFailedError
        If a trial fails after its retries.
    """
    import optuna
    from ray import tune
    from ray.tune.search.optuna import OptunaSearch

    from acceleray.models.early_warning.scheduler import BatchedASHA, BatchedSearch, rungs

    optuna.logging.set_verbosity(optuna.logging.WARNING)
    shutil.rmtree(storage, ignore_errors=True)
    # The first batch is drawn at random; from then on TPE knows every earlier batch and nothing else.
    sampler = optuna.samplers.TPESampler(seed=settings.seed, n_startup_trials=settings.batch_size)
    searcher = OptunaSearch(space=_space(optuna), metric="score", mode="max", sampler=sampler)
    trainable = tune.with_parameters(
        walk_forward_trial,
        folds=fold_data(samples, split.folds, split.sampled),
        schedule=rungs(settings.first_rung_rounds, settings.reduction_factor, settings.max_rounds),
        seed=settings.seed,
    )
    tuner = tune.Tuner(
        tune.with_resources(trainable, {"cpu": min(1.0, float(cpus))}),
        tune_config=tune.TuneConfig(
            search_alg=BatchedSearch(searcher, batch_size=settings.batch_size, n_trials=settings.n_trials),
            scheduler=BatchedASHA(
                metric="score",
                batch_size=settings.batch_size,
                reduction_factor=settings.reduction_factor,
            ),
            num_samples=settings.n_trials,
            reuse_actors=True,
        ),
        run_config=tune.RunConfig(
            name="early-warning",
            storage_path=str(storage.resolve()),
            verbose=0,
            failure_config=tune.FailureConfig(max_failures=_RETRIES),
        ),
    )
    with warnings.catch_warnings():
        # Ray warns of its own defaults.
        warnings.simplefilter("ignore", DeprecationWarning)
        results = tuner.fit()
    if results.errors:
        raise TaskFailedError(
            f"calibrate: {len(results.errors)} of {settings.n_trials} trials failed"
        ) from results.errors[0]
    if len(results) != settings.n_trials:
        raise TaskFailedError(f"calibrate: {len(results)} of {settings.n_trials} trials were run")
    trials = [_trial(result.config, result.metrics, settings) for result in results]
    return sorted(trials, key=lambda trial: trial.number)


def best_trial(trials: Sequence[Trial]) -> Trial:
    """Pick the highest score; of equal ones the earliest."""
    return min(trials, key=lambda trial: (-trial.score, trial.number))


def thresholds(history: History, best: Trial, *, seed: int) -> dict[str, float]:
    """Set each family's decision threshold on the slice that the search has not seen.

    A false alarm and a miss count alike: the threshold is the one with the highest F1. Every model is trained
    on the past of the slice for this, the booster in one process.

    Returns
    -------
    dict of str to float
        ``decision_threshold_<family>``, and ``decision_threshold`` for the candidate.
    """
    import xgboost

    fold = history.split.threshold
    (data,) = fold_data(history.learn, [fold], history.split.sampled)
    rows = history.training.where(fold.trains(history.training.sessions))
    booster = xgboost.train(
        booster_parameters(best.configuration, seed=seed),
        matrix(data.train_values, data.train_labels),
        best.best_rounds,
    )
    probabilities = {
        "xgboost": np.asarray(booster.predict(matrix(data.judge_values)), dtype=np.float64),
        "logistic": fit_logistic(rows).predict(data.judge_values),
        "base_rate": fit_base_rate(rows).predict(data.judge_values),
    }
    found = {
        f"decision_threshold_{family}": best_f1_threshold(data.judge_labels, forecast)
        for family, forecast in probabilities.items()
    }
    return {"decision_threshold": found["decision_threshold_xgboost"], **found}


def trials_table(trials: Sequence[Trial], *, max_rounds: int) -> pa.Table:
    """Rows of ``params.trials``."""
    rows = [
        {
            "trial": trial.number,
            "batch": trial.batch,
            "config": json.dumps(trial.configuration, sort_keys=True, separators=(",", ":")),
            "rounds": trial.rounds,
            "score": trial.score,
            "stopped_early": trial.rounds < max_rounds,
        }
        for trial in trials
    ]
    return pa.Table.from_pylist(rows, schema=contract("params.trials").schema)


def _space(optuna: Any) -> dict[str, Any]:
    # Shallow trees, slow learning and heavy leaves: tail events come in few clusters.
    real, whole = optuna.distributions.FloatDistribution, optuna.distributions.IntDistribution
    return {
        "max_depth": whole(1, 5),
        "learning_rate": real(0.02, 0.2, log=True),
        "min_child_weight": real(1.0, 300.0, log=True),
        "reg_lambda": real(1.0, 100.0, log=True),
        "subsample": real(0.5, 1.0),
        "colsample_bytree": real(0.3, 1.0),
    }


def _trial(config: dict[str, Any], metrics: dict[str, Any], settings: CalibrateSettings) -> Trial:
    return Trial(
        number=int(config["trial"]),
        batch=int(config["trial"]) // settings.batch_size,
        configuration={name: config[name] for name in HYPERPARAMETERS},
        rounds=int(metrics["rounds"]),
        score=float(metrics["score"]),
        best_rounds=int(metrics["best_rounds"]),
        work_s=float(metrics["work_s"]),
    )
