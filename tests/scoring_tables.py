"""A small model and Parquet files to score; as a program, one call of `score_files` that a test may kill."""

from __future__ import annotations

import json
import os
import signal
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from acceleray.models.tabular import scoring
from acceleray.models.tabular.artifact import save
from acceleray.models.tabular.family import family
from acceleray.models.tabular.signature import Signature

REGIONS = ("East", "North", "West")
FEATURES = ("age", "region", "usage", "limit")


def make_rows(n_rows: int, *, seed: int, first: int = 0) -> pa.Table:
    """Accounts with an exposure, numbers with gaps, a category, and a label that depends on them."""
    draw = np.random.default_rng(seed)
    usage = draw.uniform(0.0, 1.2, n_rows)
    region = draw.integers(0, len(REGIONS), n_rows)
    age = draw.integers(18, 90, n_rows)
    default = draw.uniform(size=n_rows) < 1.0 / (1.0 + np.exp(4.0 - 3.0 * usage - region))
    return pa.table(
        {
            "account_id": pa.array(
                [f"A{number:07d}" for number in range(first, first + n_rows)], pa.string()
            ),
            "exposure_eur": pa.array(
                np.round(draw.lognormal(8.0, 1.0, n_rows), 2) * draw.choice([-1, 1], n_rows)
            ),
            "age": pa.array(age, pa.int32()),
            "region": pa.array(REGIONS).take(pa.array(region)),
            "usage": pa.array(usage, mask=draw.uniform(size=n_rows) < 0.05),
            "limit": pa.array(draw.integers(1, 50, n_rows) * 1_000_003, pa.int64()),
            "default": pa.array(default),
        }
    )


def save_model(folder: Path, **signature: Any) -> str:
    """Train ten trees and keep them; return the model's id."""
    rows = make_rows(3_000, seed=1)
    described = Signature.of(rows, label="default", features=FEATURES)
    described = Signature(features=described.features, label="default", **signature)
    learner = family("xgboost").begin(described.rows(rows), described, {"max_depth": 4}, seed=7)
    learner.advance(10)
    return save(folder, learner.content(), family="xgboost", signature=described, facts={})


def write_files(folder: Path, sizes: tuple[int, ...], *, group_rows: int = 100, seed: int = 2) -> list[Path]:
    """Write files of so many rows each, in small row groups."""
    folder.mkdir(parents=True, exist_ok=True)
    files = []
    for number, size in enumerate(sizes):
        rows = make_rows(size, seed=seed + number, first=sum(sizes[:number]))
        files.append(folder / f"rows-{number}.parquet")
        pq.write_table(rows.drop_columns("default"), files[-1], row_group_size=group_rows)
    return files


def arguments(root: Path, model_id: str, **changes: Any) -> dict[str, Any]:
    """Arguments of `score_files` but the source."""
    given: dict[str, Any] = {
        "artifact_folder": root / "models",
        "model_id": model_id,
        "out": root / "out",
        "run_id": "r1",
        "keys": ["account_id"],
        "exposure": "exposure_eur",
        "threshold": 0.2,
        "top": 10,
        "shard_rows": 250,
        "batch_rows": 64,
    }
    return given | changes


def main(root: Path, model_id: str, die: str) -> None:
    """Score the files below `root`; `die` names the step at which the process kills itself."""
    if die in ("commit_written", "commit_files"):

        def kill(*_: Any, **__: Any) -> None:
            os.kill(os.getpid(), signal.SIGKILL)

        setattr(scoring, die, kill)
    facts = scoring.score_files(
        sorted((root / "files").glob("*.parquet")), **arguments(root, model_id, n_actors=2)
    )
    found = {"hash": facts.content_hash, "resumed": facts.resumed, "rows": facts.rows}
    (root / "facts.json").write_text(json.dumps(found))


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2], sys.argv[3])
