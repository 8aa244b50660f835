"""What an engine costs before any work is done; prints one JSON object. Used by benchmarks/night.py."""

from __future__ import annotations

import json
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

seconds: dict[str, float] = {}


@contextmanager
def timed(name: str) -> Iterator[None]:
    started = time.perf_counter()
    yield
    seconds[name] = time.perf_counter() - started


def spark_overhead(folder: Path) -> None:
    with timed("imports of command line, settings and MLflow"):
        import mlflow  # noqa: F401 - its import is what is timed

        import acceleray.cli.app
        import acceleray.pipeline.night  # noqa: F401
    from acceleray.config.models import TargetSettings
    from acceleray.engines import spark as engine

    with timed("Spark: start-up"):
        session = engine.start(TargetSettings(), app_name="overhead", log_directory=folder)
    with timed("Spark: first query, first Python worker"):
        session.range(10).mapInArrow(lambda batches: batches, "id long").collect()
    with timed("Spark: stop"):
        engine.stop(session)


def ray_overhead(folder: Path) -> None:
    from acceleray.engines.ray import session

    with timed("Ray: start-up and stop"), session(cpus=2):
        _ray_work(folder)
    seconds["Ray: start-up and stop"] -= sum(
        value for name, value in seconds.items() if name != "Ray: start-up and stop"
    )


def _ray_work(folder: Path) -> None:
    import ray

    with timed("Ray: first tasks, worker imports"):
        ray.get([ray.remote(_import_worker).remote() for _ in range(2)])
    with timed("Ray Tune: an empty run"):
        from ray import tune

        tune.Tuner(
            _empty_trial,
            tune_config=tune.TuneConfig(num_samples=2),
            run_config=tune.RunConfig(storage_path=str(folder / "tune"), verbose=0),
        ).fit()
    with timed("Ray Train: an empty run with two ranks"):
        from ray.train import RunConfig, ScalingConfig
        from ray.train.xgboost import XGBoostTrainer

        XGBoostTrainer(
            _empty_rank,
            scaling_config=ScalingConfig(num_workers=2, resources_per_worker={"CPU": 1}),
            run_config=RunConfig(storage_path=str(folder / "train")),
        ).fit()
    with timed("Ray Data: an empty run with an actor pool"):
        ray.data.DataContext.get_current().enable_progress_bars = False
        rows = ray.data.range(2, override_num_blocks=2)
        rows.map_batches(_Pass, compute=ray.data.ActorPoolStrategy(size=2), num_cpus=0.5).materialize()


def _import_worker() -> None:
    import acceleray.risk.blocks  # noqa: F401 - its import is what is timed


def _empty_trial(_config: dict[str, object]) -> dict[str, float]:
    return {"score": 0.0}


def _empty_rank() -> None:
    import ray.train
    import xgboost  # noqa: F401 - a rank imports it

    ray.train.report({})


class _Pass:
    def __call__(self, batch: dict[str, object]) -> dict[str, object]:
        return batch


if __name__ == "__main__":
    with tempfile.TemporaryDirectory(prefix="acceleray-overheads-") as name:
        {"spark": spark_overhead, "ray": ray_overhead}[sys.argv[1]](Path(name))
    print(json.dumps(seconds))
