"""The three model stages on a small panel, as a test or another process runs them."""

from __future__ import annotations

import datetime as dt
import json
import sys
from pathlib import Path

from acceleray.config.models import Settings
from acceleray.domain.tables import contract
from acceleray.engines import ray as engine
from acceleray.lake.content import content_hash
from acceleray.lake.night import NightTables
from acceleray.stages import calibrate, score, train
from acceleray.stages.context import StageContext
from acceleray.tracking.runs import Tracker
from tests.panels import last_day, make_panel, make_values

PARAMETERS = ("params.trials", "params.early_warning")
RESULTS = (*PARAMETERS, "params.models", "check.models", "check.calibration", "result.scores")


def make_context(project: Path, **train_settings: object) -> StageContext:
    """Write panel and values, and make a context that the model stages can run in."""
    panel = make_panel()
    tables = NightTables(root=project / "lake", run_id="night")
    tables.write("feature.panel", panel)
    tables.write("result.values", make_values(panel))
    settings = Settings.model_validate(
        {
            "name": "small",
            "as_of": last_day(panel),
            "base_currency": "USD",
            "calibrate": {
                "n_trials": 4,
                "batch_size": 2,
                "max_rounds": 40,
                "first_rung_rounds": 10,
                "folds": 2,
                "out_of_time_days": 300,
                "sample_every_days": 2,
            },
            "train": {"bootstrap_samples": 100, **train_settings},
            "score": {"batch_rows": 4},
        }
    )
    tracker = Tracker(project, "nights")
    return StageContext(
        project=project,
        run_directory=project / "runs" / "night",
        settings=settings,
        scenarios=(),
        limits=(),
        tables=tables,
        started_at=dt.datetime(2018, 12, 28, tzinfo=dt.UTC),
        progress=lambda _: None,
        tracking_uri=tracker.uri,
        mlflow_run_id=tracker.start("night", {}),
        record={},
    )


def run_stages(context: StageContext) -> dict[str, str]:
    """Run the early-warning part of calibrate, then train and score; return content hashes."""
    calibrate.search_early_warning(context)
    train.run(context)
    score.run(context)
    return {name: content_hash(context.tables.read(name), contract(name).key) for name in RESULTS}


if __name__ == "__main__":
    with engine.session(cpus=int(sys.argv[2])):
        sys.stdout.write(json.dumps(run_stages(make_context(Path(sys.argv[1])))))
