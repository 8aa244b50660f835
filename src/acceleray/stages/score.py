"""score: give every position the probability of a breach, with an actor pool of Ray Data."""

from __future__ import annotations

import time
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from acceleray.errors import MissingDataError
from acceleray.stages.context import StageContext

__all__ = ["ENGINE", "READS", "WRITES", "run"]

READS: tuple[str, ...] = ("feature.panel", "params.models", "params.early_warning", "result.values")
WRITES: tuple[str, ...] = ("result.scores",)
ENGINE = "ray"


def run(context: StageContext) -> None:
    """Score positions with the model that `params.models` names, rank them, roll them up."""
    from acceleray.engines.ray import cpus
    from acceleray.models.early_warning.files import model_path
    from acceleray.models.early_warning.scoring import (
        Buckets,
        rank_and_roll_up,
        rows_to_score,
        score_rows,
    )

    settings = context.settings.score
    model = _scoring_model(context.tables.read("params.models"))
    threshold = _threshold(context.tables.read("params.early_warning"), model["family"])
    values = context.tables.read("result.values")
    rows, why_not = rows_to_score(values, context.tables.read("feature.panel"))
    context.progress(f"scoring {rows.num_rows} of {values.num_rows} positions with {model['model_id']}")
    started = time.perf_counter()
    scored = score_rows(
        rows,
        path=model_path(context.tables.root, model["sha256"]),
        sha256=model["sha256"],
        n_actors=settings.n_actors,
        batch_rows=settings.batch_rows,
        cpus=cpus(),
    )
    if context.record is not None:
        context.record["score"] = {
            "data_wall_s": time.perf_counter() - started,
            "positions": values.num_rows,
            "scored": rows.num_rows,
            "model_id": model["model_id"],
            "role": model["role"],
        }
    buckets = Buckets(high=settings.high_multiple * threshold, watch=settings.watch_multiple * threshold)
    context.tables.write(
        "result.scores",
        rank_and_roll_up(values, scored, why_not, buckets=buckets, model_id=model["model_id"]),
    )


def _scoring_model(models: pa.Table) -> dict[str, Any]:
    chosen: list[dict[str, Any]] = models.filter(models["scores"]).to_pylist()
    if len(chosen) != 1:
        raise MissingDataError(
            f"params.models: {len(chosen)} models are marked to score, expected exactly 1",
            hint="Run the train stage again.",
        )
    return chosen[0]


def _threshold(parameters: pa.Table, family: str) -> float:
    name = f"decision_threshold_{family}"
    found = parameters.filter(pc.equal(parameters["name"], name))["value"].to_pylist()
    if len(found) != 1:
        raise MissingDataError(
            f"params.early_warning: {name} is missing", hint="Run the calibrate stage again."
        )
    return float(found[0])
