"""One configuration on all folds, round by round: what a Tune worker runs, and what a plain loop can run."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from acceleray.models.tabular.family import Family, Learner
from acceleray.models.tabular.signature import Rows, Signature
from acceleray.models.tabular.validation import Fold, Metric, rows_at, score

__all__ = ["Lineage", "Report", "Task", "advance", "read_checkpoint", "tabular_trial", "write_checkpoint"]

_STATE = "state.json"

# Configurations and the round each one begins after; more than one only in a population.
Lineage = tuple[tuple[int, dict[str, float]], ...]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Task:
    """What all trials of a study share.

    Parameters
    ----------
    family, signature
        The kind of model and its inputs.
    folds : sequence of Fold
        Positions in the shared rows.
    steps : tuple of int
        Rounds after which a trial reports, increasing.
    rungs : tuple of int
        Those of `steps` after which it leaves a checkpoint.
    metric : str
        What a report scores.
    seed, threads : int
        Of every learner.
    """

    family: Family
    signature: Signature
    folds: Sequence[Fold]
    steps: tuple[int, ...]
    rungs: tuple[int, ...]
    metric: Metric
    seed: int
    threads: int = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """Where a trial stands.

    Parameters
    ----------
    rounds : int
        Rounds so far.
    latest : float
        Mean score of the folds now; higher is better.
    score : float
        The best of the means so far.
    best_rounds : int
        The first round with that score.
    lineage : tuple of (int, dict)
        Configurations so far, and after which round each took over.
    work_s : float
        Time spent computing so far; differs between runs.
    """

    rounds: int
    latest: float
    score: float
    best_rounds: int
    lineage: Lineage
    work_s: float = field(compare=False)

    def to_dict(self) -> dict[str, Any]:
        """Fields for Tune and for the journal."""
        return asdict(self)

    @classmethod
    def from_dict(cls, fields: Mapping[str, Any]) -> Report:
        """Read what `to_dict` wrote."""
        return cls(
            rounds=int(fields["rounds"]),
            latest=float(fields["latest"]),
            score=float(fields["score"]),
            best_rounds=int(fields["best_rounds"]),
            lineage=tuple((int(after), dict(each)) for after, each in fields["lineage"]),
            work_s=float(fields["work_s"]),
        )


def advance(
    configuration: Mapping[str, float],
    task: Task,
    rows: Rows,
    *,
    checkpoint: tuple[Report, Sequence[bytes]] | None = None,
    until: int | None = None,
) -> Iterator[tuple[Report, Sequence[Learner]]]:
    """Teach one learner per fold and yield at every step of the task.

    Parameters
    ----------
    configuration : mapping
        One value per hyperparameter.
    checkpoint : (Report, sequence of bytes), optional
        Where another attempt stood, with the content of each fold's learner.
    until : int, optional
        Last round; the last step of the task unless given.

    Yields
    ------
    (Report, sequence of Learner)
        The learners as they stand.
    """
    began = time.perf_counter()
    last = task.steps[-1] if until is None else until
    before, contents = (None, [None] * len(task.folds)) if checkpoint is None else checkpoint
    lineage: Lineage = () if before is None else before.lineage
    if not lineage or lineage[-1][1] != dict(configuration):
        lineage = (*lineage, (0 if before is None else before.rounds, dict(configuration)))
    learners = []
    judged = []
    for fold, content in zip(task.folds, contents, strict=True):
        learners.append(
            task.family.begin(
                rows_at(rows, fold.train),
                task.signature,
                configuration,
                seed=task.seed,
                threads=task.threads,
                checkpoint=content,
            )
        )
        judged.append(rows_at(rows, fold.judge))
    best, best_rounds = (-np.inf, 0) if before is None else (before.score, before.best_rounds)
    done = 0 if before is None else before.rounds
    worked = 0.0 if before is None else before.work_s
    for step in task.steps:
        if not done < step <= last:
            continue
        scores = []
        for learner, rows_judged in zip(learners, judged, strict=True):
            learner.advance(step - done)
            scores.append(score(task.metric, rows_judged.labels, learner.predict(rows_judged.values)))
        done = step
        latest = float(np.mean(scores))
        if latest > best:
            best, best_rounds = latest, step
        report = Report(
            rounds=step,
            latest=latest,
            score=best,
            best_rounds=best_rounds,
            lineage=lineage,
            work_s=worked + time.perf_counter() - began,
        )
        yield report, learners


def write_checkpoint(folder: Path, report: Report, learners: Sequence[Learner], suffix: str) -> None:
    """Write the report and the native file of each fold's learner."""
    for number, learner in enumerate(learners):
        Path(folder, f"fold-{number}{suffix}").write_bytes(learner.content())
    Path(folder, _STATE).write_text(json.dumps(report.to_dict()))


def read_checkpoint(folder: Path, task: Task) -> tuple[Report, list[bytes]]:
    """Read what `write_checkpoint` wrote."""
    report = Report.from_dict(json.loads(Path(folder, _STATE).read_text()))
    contents = [
        Path(folder, f"fold-{number}{task.family.suffix}").read_bytes() for number in range(len(task.folds))
    ]
    return report, contents


def tabular_trial(config: dict[str, Any], *, task: Task, rows: Rows) -> None:
    """Ray Tune's function: report at every step, with a checkpoint at the rungs.

    Parameters
    ----------
    config : dict
        Under ``job``: ``configuration``, ``until`` (last round) and ``start`` (folder of a checkpoint to
        begin with, or None).
    """
    import tempfile

    from ray import tune

    job = config["job"]
    checkpoint = None if job["start"] is None else read_checkpoint(Path(job["start"]), task)
    own = tune.get_checkpoint()
    if own is not None:
        with own.as_directory() as folder:
            further = read_checkpoint(Path(folder), task)
        # Tune gives a worker that died its last checkpoint; the one it was started with may be as old.
        if checkpoint is None or further[0].rounds > checkpoint[0].rounds:
            checkpoint = further
    for report, learners in advance(
        job["configuration"], task, rows, checkpoint=checkpoint, until=job["until"]
    ):
        if report.rounds not in task.rungs:
            tune.report(report.to_dict())
            continue
        with tempfile.TemporaryDirectory() as folder:
            write_checkpoint(Path(folder), report, learners, task.family.suffix)
            tune.report(report.to_dict(), checkpoint=tune.Checkpoint.from_directory(folder))
