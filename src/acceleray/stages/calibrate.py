"""calibrate: search the early-warning model's hyperparameters with Ray Tune; fit the risk parameters."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import pyarrow as pa

from acceleray.domain.tables import contract
from acceleray.stages.context import StageContext

if TYPE_CHECKING:
    from acceleray.models.early_warning.history import History
    from acceleray.models.early_warning.search import Trial

__all__ = ["ENGINE", "READS", "WRITES", "run", "search_early_warning"]

READS: tuple[str, ...] = ("feature.panel", "market.levels", "raw.factors")
WRITES: tuple[str, ...] = (
    "params.trials",
    "params.early_warning",
    "params.volatility",
    "params.covariance",
    "params.risk",
)
ENGINE = "ray"


def run(context: StageContext) -> None:
    """Write hyperparameters and thresholds of the early-warning model, then the risk model's parameters."""
    # What is committed is not computed again after a crash in between.
    if not all(context.tables.is_written(name) for name in WRITES[:2]):
        search_early_warning(context)
    if not all(context.tables.is_written(name) for name in WRITES[2:]):
        _risk(context)


def search_early_warning(context: StageContext) -> None:
    """Write trials, hyperparameters and decision thresholds."""
    from acceleray.engines.ray import cpus
    from acceleray.models.early_warning.history import read_history
    from acceleray.models.early_warning.search import best_trial, search, trials_table

    settings = context.settings.calibrate
    history = read_history(
        context.tables.read("feature.panel"),
        settings,
        horizon_days=context.settings.features.horizon_days,
    )
    context.progress(f"searching {settings.n_trials} configurations on {settings.folds} walk-forward folds")
    started = time.perf_counter()
    trials = search(
        history.learn, history.split, settings, storage=context.run_directory / "tune", cpus=cpus()
    )
    if context.record is not None:
        context.record["tune"] = {
            "wall_s": time.perf_counter() - started,
            "work_s": sum(trial.work_s for trial in trials),
            "trials": len(trials),
            "training_rows": len(history.training.labels),
        }
    context.tables.write("params.trials", trials_table(trials, max_rounds=settings.max_rounds))
    context.tables.write("params.early_warning", _chosen(history, best_trial(trials), trials, context))


def _chosen(history: History, best: Trial, trials: list[Trial], context: StageContext) -> pa.Table:
    from acceleray.models.early_warning.search import thresholds

    settings = context.settings.calibrate
    values: dict[str, float] = {
        **best.configuration,
        "rounds": best.best_rounds,
        "trial": best.number,
        "validation_log_loss": -best.score,
        "n_trials": len(trials),
        "batch_size": settings.batch_size,
        "trials_stopped_early": sum(trial.rounds < settings.max_rounds for trial in trials),
        "folds": settings.folds,
        "training_rows": len(history.training.labels),
        "training_event_frequency": float(history.training.labels.mean()),
        **thresholds(history, best, seed=settings.seed),
    }
    rows = [{"name": name, "value": float(value)} for name, value in values.items()]
    return pa.Table.from_pylist(rows, schema=contract("params.early_warning").schema)


def _risk(context: StageContext) -> None:
    from acceleray.domain.market import Market
    from acceleray.risk.calibration import calibrate_risk

    market = Market.from_tables(
        context.tables.read("market.levels"), context.tables.read("raw.factors"), context.as_of
    ).with_moves(context.settings.simulate.move_kinds)
    context.progress("fitting volatility, covariance and tail parameters of the risk model")
    started = time.perf_counter()
    for name, table in calibrate_risk(market, context.settings).items():
        context.tables.write(name, table)
    if context.record is not None:
        context.record["risk_fit_s"] = time.perf_counter() - started
