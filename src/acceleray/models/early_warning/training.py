"""Train the candidate data-parallel with Ray Train: a fixed number of ranks, each on its own factors."""

from __future__ import annotations

import shutil
import time
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from acceleray.errors import TaskFailedError, UsageError
from acceleray.models.early_warning.boosting import booster_parameters, matrix
from acceleray.models.early_warning.dataset import PANEL_COLUMNS, Samples, stack

__all__ = ["read_panel", "shard", "train"]

_MODEL_FILE = "model.json"
# A rank that dies takes the whole group along; the group starts again and gives the same bytes.
_RETRIES = 2


def read_panel(files: Sequence[str], *, factors: Sequence[str] | None = None) -> pa.Table:
    """Read the model's columns of ``feature.panel`` from its Parquet files, in key order.

    Parameters
    ----------
    files : sequence of str
        From ``NightTables.files``.
    factors : sequence of str, optional
        Factors to read; the files are sorted by factor, so other row groups are skipped.
    """
    chosen = None if factors is None else pc.field("factor_id").isin(list(factors))
    parts = [pq.read_table(file, columns=PANEL_COLUMNS, filters=chosen) for file in files]
    keys = [("factor_id", "ascending"), ("date", "ascending")]
    return pa.concat_tables(parts).sort_by(keys).combine_chunks()


def shard(
    files: Sequence[str],
    *,
    factors: Sequence[str],
    axis: np.ndarray,
    sampled: np.ndarray,
    rank: int,
    n_workers: int,
) -> Samples:
    """Rows of one rank: every `n_workers`-th factor, on the sampled sessions.

    Parameters
    ----------
    factors : sequence of str
        All training factors, sorted.
    axis : ndarray of datetime64
        Session axis of the whole panel.
    sampled : ndarray of int
        Sessions to learn from.
    """
    mine = list(factors)[rank::n_workers]
    samples = stack(read_panel(files, factors=mine), axis)
    return samples.where(np.isin(samples.sessions, sampled))


def train(
    files: Sequence[str],
    *,
    factors: Sequence[str],
    axis: np.ndarray,
    sampled: np.ndarray,
    hyperparameters: Mapping[str, float],
    rounds: int,
    n_workers: int,
    seed: int,
    storage: Path,
    cpus: int,
) -> tuple[bytes, float]:
    """Train on the live Ray instance; the same number of ranks gives the same bytes on any number of CPUs.

    Parameters
    ----------
    files, factors, axis, sampled
        As in `shard`.
    hyperparameters : mapping
        One value per entry of `boosting.HYPERPARAMETERS`.
    rounds : int
        Boosting rounds.
    n_workers : int
        Ranks. One rank more or less is another model, which is why a setting names it.
    storage : Path
        Folder for Ray Train's own records; emptied first, so that a second attempt does not resume the first.
    cpus : int
        CPUs of the Ray instance; the ranks share them.

    Returns
    -------
    content : bytes
        The booster in XGBoost's JSON.
    work_s : float
        What a rank spent on reading and boosting; the rest of the wall time is Ray Train's.

    Raises
    ------
    UsageError
        If there are fewer factors than ranks.
    TaskFailedError
        If training fails after its retries.
    """
    from ray.train import FailureConfig, RunConfig, ScalingConfig
    from ray.train.v2.api.exceptions import TrainingFailedError
    from ray.train.xgboost import XGBoostTrainer

    if len(factors) < n_workers:
        raise UsageError(
            f"train.n_workers: {n_workers} ranks need as many factors, there were {len(factors)}"
        )
    shutil.rmtree(storage, ignore_errors=True)
    trainer = XGBoostTrainer(
        _train_rank,
        train_loop_config={
            "files": list(files),
            "factors": list(factors),
            "axis": axis,
            "sampled": sampled,
            "parameters": booster_parameters(hyperparameters, seed=seed),
            "rounds": rounds,
        },
        scaling_config=ScalingConfig(
            num_workers=n_workers, resources_per_worker={"CPU": min(1.0, cpus / n_workers)}
        ),
        run_config=RunConfig(
            name="early-warning",
            storage_path=str(storage.resolve()),
            failure_config=FailureConfig(max_failures=_RETRIES),
        ),
    )
    try:
        with warnings.catch_warnings():
            # Ray warns of its own defaults.
            warnings.simplefilter("ignore", DeprecationWarning)
            result = trainer.fit()
    except TrainingFailedError as error:
        raise TaskFailedError(f"train: {n_workers} ranks did not finish: {error}") from error
    with result.checkpoint.as_directory() as folder:
        return Path(folder, _MODEL_FILE).read_bytes(), float(result.metrics["work_s"])


def _train_rank(config: dict[str, Any]) -> None:
    import tempfile

    import ray.train
    import xgboost

    started = time.perf_counter()
    place = ray.train.get_context()
    rank = place.get_world_rank()
    mine = shard(
        config["files"],
        factors=config["factors"],
        axis=config["axis"],
        sampled=config["sampled"],
        rank=rank,
        n_workers=place.get_world_size(),
    )
    booster = xgboost.train(config["parameters"], matrix(mine.values, mine.labels), config["rounds"])
    # One report at the end: each waits for the controller's next poll. The ranks boost in lockstep, so the
    # first one speaks for all.
    if rank != 0:
        ray.train.report({})
        return
    with tempfile.TemporaryDirectory() as folder:
        Path(folder, _MODEL_FILE).write_bytes(bytes(booster.save_raw("json")))
        ray.train.report(
            {"work_s": time.perf_counter() - started}, checkpoint=ray.train.Checkpoint.from_directory(folder)
        )
