"""The search for hyperparameters with Ray Tune, for any family of models.

Two orders:

``repeatable`` (the default)
    Trials come in fixed batches, a searcher is told a batch in order of trials when it is complete, and a
    trial is stopped by what complete batches show. The same settings and data give the same trials and the
    same winner on any number of CPUs, and after any number of kills.

``asynchronous``
    Ray's own schedulers, and a searcher that is told at once. No pair of searcher and scheduler repeats (not
    even ``random`` with ``none`` is promised to): the winner is recorded as an input of whatever comes next.

Every searcher works with every scheduler in both orders but for one: population based training (``pbt``)
changes a trial's hyperparameters on its way, so the score says nothing about the configuration that ``tpe``,
``gaussian_process``, ``cma_es`` or ``hyperopt`` suggested. They are refused with it; ``grid`` and ``random``
are not. HyperBand's batches are its brackets, so ``batch_size`` does not count there.
"""

from __future__ import annotations

import hashlib
import json
import shutil
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from acceleray.errors import TaskFailedError, UsageError
from acceleray.lake.files import write_atomic
from acceleray.models.tabular.family import Choice, Family, Range, family
from acceleray.models.tabular.progress import Progress
from acceleray.models.tabular.schedulers import SCHEDULERS, Schedule, ray_scheduler, schedule, steps
from acceleray.models.tabular.signature import Rows, Signature
from acceleray.models.tabular.trial import Lineage, Task, tabular_trial
from acceleray.models.tabular.validation import METRICS, Fold, Metric

__all__ = ["SearchResult", "SearchSettings", "Trial", "Winner", "search"]

_JOURNAL = "journal.jsonl"
_WINNER = "winner.json"
_TUNE = "tune"


@dataclass(frozen=True, slots=True, kw_only=True)
class SearchSettings:
    """What to search, how, and for how long.

    Parameters
    ----------
    family : str
        Kind of model.
    searcher : str
        ``grid``, ``random``, ``tpe``, ``gaussian_process``, ``cma_es`` or ``hyperopt``.
    scheduler : str
        ``none``, ``asha``, ``hyperband``, ``median_stopping`` or ``pbt``.
    order : {'repeatable', 'asynchronous'}
        Whether the same input gives the same winner.
    n_trials : int
        Most configurations; a grid may have fewer.
    batch_size : int
        Trials per batch, and the size of a population. A searcher draws the first batch at random.
    max_rounds : int
        Rounds of a trial that nothing stops.
    first_rung, reduction_factor : int
        Trials meet a scheduler after ``first_rung * reduction_factor ** k`` rounds (a population after every
        ``first_rung``), and leave a checkpoint there.
    stride : int
        Rounds between two reports.
    space : mapping of str to Range
        Ranges that replace the family's own.
    grid_points : int
        Values per range of numbers in a grid.
    metric : {'log_loss', 'average_precision', 'roc_auc'}
        What is best on average over the folds. The score is higher for the better, so the log loss has a
        minus.
    folds : {'walk_forward', 'stratified'}
        How the caller cut the rows; kept for the record.
    cpus_per_trial : int
        CPUs, and threads, of one trial.
    memory_per_trial : int
        Bytes that one trial may need; 0 means that memory does not limit how many run at once.
    seed : int
    retries : int
        How often a trial that crashes is started again from its last checkpoint.

    Raises
    ------
    UsageError
        If a value is out of its range, or a searcher and a scheduler do not go together.
    """

    family: str = "xgboost"
    searcher: str = "tpe"
    scheduler: str = "asha"
    order: Literal["repeatable", "asynchronous"] = "repeatable"
    n_trials: int = 32
    batch_size: int = 8
    max_rounds: int = 200
    first_rung: int = 25
    reduction_factor: int = 2
    stride: int = 5
    space: Mapping[str, Range] = field(default_factory=dict)
    grid_points: int = 3
    metric: Metric = "log_loss"
    folds: Literal["walk_forward", "stratified"] = "walk_forward"
    cpus_per_trial: int = 1
    memory_per_trial: int = 0
    seed: int = 0
    retries: int = 2

    def __post_init__(self) -> None:
        from acceleray.models.tabular.searchers import LEARNING, SEARCHERS

        allowed = {
            "searcher": SEARCHERS,
            "scheduler": SCHEDULERS,
            "order": ("repeatable", "asynchronous"),
            "metric": tuple(METRICS),
            "folds": ("walk_forward", "stratified"),
        }
        for name, options in allowed.items():
            if getattr(self, name) not in options:
                raise UsageError(
                    f"search.{name}: {getattr(self, name)!r} is not known; expected {', '.join(options)}"
                )
        least = {
            "n_trials": 1,
            "batch_size": 1,
            "max_rounds": 1,
            "first_rung": 1,
            "reduction_factor": 2,
            "stride": 1,
            "grid_points": 1,
            "cpus_per_trial": 1,
            "memory_per_trial": 0,
            "seed": 0,
            "retries": 0,
        }
        for name, lowest in least.items():
            if getattr(self, name) < lowest:
                raise UsageError(f"search.{name}: was {getattr(self, name)}, expected at least {lowest}")
        if self.scheduler == "pbt" and self.searcher in LEARNING:
            raise UsageError(
                f"search.searcher: {self.searcher} cannot learn from pbt, "
                "which changes hyperparameters on the way",
                hint="Use random or grid with pbt, or another scheduler.",
            )


@dataclass(frozen=True, slots=True, kw_only=True)
class Trial:
    """Outcome of one configuration.

    Parameters
    ----------
    number, batch : int
        Order of suggestion, from 0. An asynchronous search has batches of one.
    configuration : dict of str to float
        What it ended with.
    rounds : int
        Rounds that it ran; 0 if it failed before its first report.
    score : float
        The best mean over the folds; NaN without a report.
    best_rounds : int
        The rounds with that score.
    status : {'finished', 'stopped', 'failed'}
        Ran in full, was stopped early, or failed more often than it was retried.
    error : str
        Of a failed trial.
    lineage : tuple of (int, dict)
        Configurations and the round that each began after; more than one only in a population.
    work_s : float
        Time that workers computed; differs between runs and does not count when trials are compared.
    """

    number: int
    batch: int
    configuration: dict[str, float]
    rounds: int
    score: float
    best_rounds: int
    status: str
    error: str = ""
    lineage: Lineage = ()
    work_s: float = field(default=0.0, compare=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class Winner:
    """The trial with the highest score; of equal ones the earliest.

    Parameters
    ----------
    number : int
    configuration : dict of str to float
    rounds : int
        How long to train.
    score : float
    lineage : tuple of (int, dict)
        As `Trial`, up to `rounds`: what training has to follow for a population's winner.
    order : str
        ``asynchronous`` says that this is an input, not a result that could be computed again.
    study : str
        SHA-256 of settings, data and folds.
    """

    number: int
    configuration: dict[str, float]
    rounds: int
    score: float
    lineage: Lineage
    order: str
    study: str


@dataclass(frozen=True, slots=True, kw_only=True)
class SearchResult:
    """All trials in order of suggestion, and the winner."""

    trials: list[Trial]
    winner: Winner


def search(
    rows: Rows,
    signature: Signature,
    folds: Sequence[Fold],
    settings: SearchSettings,
    *,
    storage: Path,
    progress: Progress | None = None,
) -> SearchResult:
    """Search on the live Ray instance, or go on with the search that was killed in the same folder.

    Finished trials are kept, none of them runs twice; an unfinished one continues from its last checkpoint.
    A trial that crashes is started again `retries` times and then recorded as failed.

    Parameters
    ----------
    rows : Rows
        All rows of the folds; they are put into the object store once. Where a fold's positions are
        neighbours, as walk-forward folds of rows in order of date are, trials use them there without a copy.
    signature : Signature
    folds : sequence of Fold
        From `validation`, the threshold's fold left out.
    storage : Path
        Folder of this study: its journal, its winner, and Tune's records while it runs. On several machines
        all of them must see it.
    progress : Progress, optional
        Such as `progress.LiveTable`.

    Notes
    -----
    Tune keeps what it shares for as long as Ray is up: a second search on the same instance adds its rows to
    those of the first in the object store. Trials add nothing.

    Raises
    ------
    UsageError
        If settings do not fit the family, the grid or the Ray instance, or `storage` holds another study.
    EngineUnavailableError
        If a library is not installed.
    TaskFailedError
        If every trial failed; names the first error.
    """
    from acceleray.models.tabular.searchers import searcher
    from acceleray.models.tabular.study import Journal, Study

    kind = family(settings.family)
    space = _space(kind, settings)
    suggests = searcher(
        settings.searcher,
        space,
        seed=settings.seed,
        n_startup=settings.batch_size,
        grid_points=settings.grid_points,
        n_trials=settings.n_trials,
    )
    n_trials = len(suggests) if settings.searcher == "grid" else settings.n_trials
    planned = _schedule(settings, space, n_trials)
    storage = storage.resolve()
    identity = _identity(rows, signature, folds, settings, space)
    journal = Journal(storage / _JOURNAL, identity)
    study = Study(journal, suggests, space, planned, repeatable=settings.order == "repeatable")
    if not study.complete:
        task = Task(
            family=kind,
            signature=signature,
            folds=tuple(folds),
            steps=steps(settings.stride, planned.rungs),
            rungs=planned.rungs,
            metric=settings.metric,
            seed=settings.seed,
            threads=settings.cpus_per_trial,
        )
        _tune(study, task, rows, settings, space, planned, storage=storage, progress=progress)
    trials = [_trial(entry) for entry in study.entries]
    winner = _winner(trials, settings, hashlib.sha256(json.dumps(identity).encode()).hexdigest())
    write_atomic(storage / _WINNER, json.dumps(asdict(winner), indent=1).encode())
    # Checkpoints of the folds' models are of no use to anybody else.
    shutil.rmtree(storage / _TUNE, ignore_errors=True)
    return SearchResult(trials=trials, winner=winner)


def _tune(
    study: Any,
    task: Task,
    rows: Rows,
    settings: SearchSettings,
    space: Mapping[str, Range],
    planned: Schedule,
    *,
    storage: Path,
    progress: Progress | None,
) -> None:
    from ray import tune

    from acceleray.models.tabular.tuning import Decides, Jobs, Watches, config_of

    resources = _resources(settings)
    trainable = tune.with_resources(tune.with_parameters(tabular_trial, task=task, rows=rows), resources)
    watches = Watches(study, storage, progress)
    given: dict[str, Any] = {}
    param_space: dict[str, Any] = {}
    if settings.order == "asynchronous" and settings.scheduler == "pbt":
        # Ray lets no searcher near its population, so all jobs are there from the start.
        jobs = []
        while (job := study.next_job()) is not None:
            jobs.append(config_of(job, storage)["job"])
        param_space = {"job": tune.grid_search(jobs)}
    else:
        at_once = max(planned.sizes) if settings.order == "repeatable" else 1
        given["search_alg"] = Jobs(study, storage, at_once=at_once)
        # An upper limit; the study says when it is over.
        given["num_samples"] = sum(planned.sizes) * len(planned.rungs)
    given["scheduler"] = (
        Decides(study)
        if settings.order == "repeatable"
        else ray_scheduler(
            settings.scheduler,
            first_rung=settings.first_rung,
            reduction_factor=settings.reduction_factor,
            max_rounds=settings.max_rounds,
            space=space,
        )
    )
    attempt = sum(1 for _ in (storage / _TUNE).glob("attempt-*"))
    tuner = tune.Tuner(
        trainable,
        param_space=param_space,
        tune_config=tune.TuneConfig(**given, reuse_actors=True),
        run_config=tune.RunConfig(
            name=f"attempt-{attempt}",
            storage_path=str(storage / _TUNE),
            verbose=0,
            callbacks=[watches],
            failure_config=tune.FailureConfig(max_failures=settings.retries),
        ),
    )
    with warnings.catch_warnings():
        # Ray warns of its own defaults.
        warnings.simplefilter("ignore", DeprecationWarning)
        tuner.fit()
    watches.show()
    if not study.complete:
        ended = sum(each.status != "open" for each in study.entries)
        raise TaskFailedError(
            f"search: Tune came back when {ended} of {study.n_trials} trials had ended",
            hint="Search again with the same folder to go on.",
        )


def _space(kind: Family, settings: SearchSettings) -> dict[str, Range]:
    for name, given in settings.space.items():
        if name not in kind.space:
            raise UsageError(
                f"search.space.{name}: {settings.family} has no such hyperparameter; "
                f"expected {', '.join(kind.space)}"
            )
        if isinstance(given, Choice):
            if not given.options:
                raise UsageError(f"search.space.{name}: there was nothing to choose from")
        elif given.low > given.high or (given.log and given.low <= 0):
            raise UsageError(f"search.space.{name}: {given} is not a range")
    return {**kind.space, **settings.space}


def _schedule(settings: SearchSettings, space: Mapping[str, Range], n_trials: int) -> Schedule:
    planned = schedule(
        settings.scheduler,
        n_trials=n_trials,
        batch_size=settings.batch_size,
        first_rung=settings.first_rung,
        reduction_factor=settings.reduction_factor,
        max_rounds=settings.max_rounds,
        space=space,
        seed=settings.seed,
    )
    if settings.order == "repeatable":
        return planned
    every_report = steps(settings.stride, planned.rungs)
    return replace(
        planned,
        sizes=(1,) * n_trials,
        batch_rungs=(planned.rungs,) * n_trials,
        # Ray pauses and copies trials at whatever report it likes.
        rungs=every_report if settings.scheduler in ("hyperband", "pbt") else planned.rungs,
        rule=None,
        meeting=None,
    )


def _resources(settings: SearchSettings) -> dict[str, float]:
    import ray

    declared: dict[str, float] = {"cpu": settings.cpus_per_trial}
    if settings.memory_per_trial:
        declared["memory"] = settings.memory_per_trial
    there = ray.cluster_resources()
    for name, key, setting in (("CPU", "cpu", "cpus_per_trial"), ("memory", "memory", "memory_per_trial")):
        if declared.get(key, 0) > there.get(name, 0):
            raise UsageError(
                f"search.{setting}: one trial needs {declared[key]:.0f}, Ray has {there.get(name, 0):.0f}"
            )
    return declared


def _identity(
    rows: Rows,
    signature: Signature,
    folds: Sequence[Fold],
    settings: SearchSettings,
    space: Mapping[str, Range],
) -> dict[str, Any]:
    data = hashlib.sha256()
    arrays: list[npt.NDArray[Any]] = [rows.values, rows.labels]
    for fold in folds:
        arrays += [fold.train, fold.judge]
    for array in arrays:
        data.update(f"{array.dtype.str}{array.shape}".encode())
        data.update(np.ascontiguousarray(array).data)
    # Retries, CPUs and memory may differ between attempts, threads may not.
    fixed = {
        name: value
        for name, value in asdict(replace(settings, space={})).items()
        if name not in ("retries", "memory_per_trial", "space")
    }
    ranges = {name: [type(given).__name__, asdict(given)] for name, given in space.items()}
    return {
        "format": 1,
        "settings": fixed,
        "space": ranges,
        "signature": signature.to_dict(),
        "data": data.hexdigest(),
    }


def _trial(entry: Any) -> Trial:
    report = entry.reports.get(entry.rounds)
    return Trial(
        number=entry.number,
        batch=entry.batch,
        configuration=entry.configuration if report is None else report.lineage[-1][1],
        rounds=entry.rounds,
        score=float("nan") if report is None else report.score,
        best_rounds=0 if report is None else report.best_rounds,
        status=entry.status,
        error=entry.error,
        lineage=() if report is None else report.lineage,
        work_s=0.0 if report is None else report.work_s,
    )


def _winner(trials: Sequence[Trial], settings: SearchSettings, study: str) -> Winner:
    scored = [trial for trial in trials if trial.status != "failed"]
    if not scored:
        raise TaskFailedError(
            f"search: all {len(trials)} trials failed, the first with: {trials[0].error}",
            hint="Remove the study's folder before the next attempt: failures are on record there.",
        )
    best = min(scored, key=lambda trial: (-trial.score, trial.number))
    lineage = tuple(part for part in best.lineage if part[0] < best.best_rounds)
    return Winner(
        number=best.number,
        configuration=lineage[-1][1],
        rounds=best.best_rounds,
        score=best.score,
        lineage=lineage,
        order=settings.order,
        study=study,
    )
