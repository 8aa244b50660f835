"""train: fit the candidate with Ray Train, judge it out of time, and promote it only through the gate."""

from __future__ import annotations

import datetime as dt
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from acceleray.domain.tables import contract
from acceleray.stages.context import StageContext

if TYPE_CHECKING:
    from acceleray.models.early_warning.evaluation import Evaluation, Forecast
    from acceleray.models.early_warning.gate import Verdict
    from acceleray.models.early_warning.history import History
    from acceleray.tracking.registry import Registry

__all__ = ["ENGINE", "READS", "WRITES", "run"]

READS: tuple[str, ...] = ("feature.panel", "params.early_warning")
WRITES: tuple[str, ...] = ("params.models", "check.models", "check.calibration")
ENGINE = "ray"


@dataclass(frozen=True, slots=True, kw_only=True)
class _Entry:
    """A model file and its forecasts of the test."""

    sha256: str
    forecast: Forecast
    trained_tonight: bool = True


def run(context: StageContext) -> None:
    """Train, evaluate, decide, register; write models, metrics and calibration curves."""
    from acceleray.models.early_warning.evaluation import evaluate
    from acceleray.models.early_warning.gate import decide
    from acceleray.models.early_warning.history import read_history
    from acceleray.tracking.registry import CHAMPION, Registry

    settings = context.settings
    chosen = _parameters(context.tables.read("params.early_warning"))
    history = read_history(
        context.tables.read("feature.panel"),
        settings.calibrate,
        horizon_days=settings.features.horizon_days,
    )
    registry = Registry(context.tracking_uri, settings.train.registered_model)
    candidate = _train_candidate(context, history, chosen)
    baselines = _fit_baselines(context, history, chosen)
    champion = _champion(context, registry, history, chosen, (candidate, *baselines))
    context.progress("judging the candidate out of time against the baselines")
    entries = [candidate, *baselines, *([] if champion is None else [champion])]
    evaluation = evaluate(
        history.test,
        [entry.forecast for entry in entries],
        rivals={
            **{entry.forecast.model_id: entry.forecast.family for entry in baselines},
            **({} if champion is None else {champion.forecast.model_id: CHAMPION}),
        },
        reference=baselines[-1].forecast.model_id,
        block_days=settings.train.block_days,
        n_samples=settings.train.bootstrap_samples,
        seed=settings.train.seed,
    )
    verdict = decide(evaluation.comparisons, approver=settings.train.approver)
    # The registry comes before the tables: once they are committed nothing of this stage runs again.
    _register(context, registry, candidate, verdict)
    _open_registry(context, registry, baselines, evaluation)
    models = _models(history, entries, evaluation, verdict, chosen, registry)
    _write_card(context, registry, models, evaluation.metrics, chosen)
    context.tables.write("check.models", evaluation.metrics)
    context.tables.write("check.calibration", evaluation.calibration)
    context.tables.write("params.models", models)
    context.progress(f"{'promoted' if verdict.promoted else 'not promoted'}: {verdict.reason}")


def _write_card(
    context: StageContext, registry: Registry, models: pa.Table, metrics: pa.Table, chosen: dict[str, float]
) -> None:
    from acceleray.lake.files import write_atomic
    from acceleray.models.early_warning.card import model_card

    settings = context.settings
    card = model_card(
        models.to_pylist()[0],
        metrics.to_pylist(),
        chosen,
        project=settings.name,
        horizon_days=settings.features.horizon_days,
        threshold_quantile=settings.features.threshold_quantile,
        seed=settings.train.seed,
        n_workers=settings.train.n_workers,
    )
    path = context.run_directory / "model_card.md"
    write_atomic(path, card.encode())
    if context.mlflow_run_id is not None:
        registry.attach(path, context.mlflow_run_id)


def _parameters(table: pa.Table) -> dict[str, float]:
    return dict(zip(table["name"].to_pylist(), table["value"].to_pylist(), strict=True))


def _train_candidate(context: StageContext, history: History, chosen: dict[str, float]) -> _Entry:
    from acceleray.engines.ray import cpus
    from acceleray.models.early_warning.files import save_model
    from acceleray.models.early_warning.training import train

    settings = context.settings.train
    context.progress(
        f"training {chosen['rounds']:.0f} rounds on {len(history.training.labels)} rows "
        f"with {settings.n_workers} ranks"
    )
    started = time.perf_counter()
    content, work_s = train(
        context.tables.files("feature.panel"),
        factors=history.factors,
        axis=history.axis,
        sampled=history.split.sampled,
        hyperparameters=chosen,
        rounds=int(chosen["rounds"]),
        n_workers=settings.n_workers,
        seed=settings.seed,
        storage=context.run_directory / "train",
        cpus=cpus(),
    )
    if context.record is not None:
        context.record["train"] = {"wall_s": time.perf_counter() - started, "work_s": work_s}
    return _entry(context, history, save_model(context.tables.root, content), chosen)


def _fit_baselines(
    context: StageContext, history: History, chosen: dict[str, float]
) -> tuple[_Entry, _Entry]:
    from acceleray.models.early_warning.baseline import fit_base_rate, fit_logistic
    from acceleray.models.early_warning.files import save_model

    contents = (fit_logistic(history.training).to_json(), fit_base_rate(history.training).to_json())
    logistic, base_rate = (
        _entry(context, history, save_model(context.tables.root, content), chosen) for content in contents
    )
    return logistic, base_rate


def _champion(
    context: StageContext,
    registry: Registry,
    history: History,
    chosen: dict[str, float],
    tonight: Sequence[_Entry],
) -> _Entry | None:
    """Load an earlier night's champion, unless tonight's training made the same model again."""
    version = registry.champion()
    if version is None or version.sha256 in {entry.sha256 for entry in tonight}:
        return None
    return _entry(context, history, version.sha256, chosen, trained_tonight=False)


def _entry(
    context: StageContext,
    history: History,
    sha256: str,
    chosen: dict[str, float],
    *,
    trained_tonight: bool = True,
) -> _Entry:
    from acceleray.models.early_warning.evaluation import Forecast
    from acceleray.models.early_warning.files import load_model, model_path

    model = load_model(model_path(context.tables.root, sha256), sha256)
    forecast = Forecast(
        model_id=f"{model.family}-{sha256[:12]}",
        family=model.family,
        probabilities=model.predict(history.test.values),
        threshold=chosen[f"decision_threshold_{model.family}"],
        note=""
        if trained_tonight
        else "an earlier night's champion, which may have learned from this period",
    )
    return _Entry(sha256=sha256, forecast=forecast, trained_tonight=trained_tonight)


def _register(context: StageContext, registry: Registry, candidate: _Entry, verdict: Verdict) -> None:
    from acceleray.models.early_warning.files import model_path
    from acceleray.tracking.registry import CANDIDATE, CHALLENGER, CHAMPION

    aliases = [CANDIDATE]
    if verdict.passed:
        aliases.append(CHALLENGER)
    if verdict.promoted:
        aliases.append(CHAMPION)
    registry.register(
        model_path(context.tables.root, candidate.sha256),
        candidate.sha256,
        mlflow_run_id=context.mlflow_run_id,
        tags={
            "family": candidate.forecast.family,
            "gate": verdict.reason[:5000],
            "approver": context.settings.train.approver or "",
        },
        aliases=aliases,
    )


def _open_registry(
    context: StageContext, registry: Registry, baselines: Sequence[_Entry], evaluation: Evaluation
) -> None:
    """Make the better baseline champion where there is none, so that there is one to beat and to score."""
    from acceleray.models.early_warning.files import model_path
    from acceleray.tracking.registry import CHAMPION

    approver = context.settings.train.approver
    if approver is None or registry.champion() is not None:
        return
    best = max(baselines, key=lambda entry: evaluation.average_precision[entry.forecast.model_id])
    registry.register(
        model_path(context.tables.root, best.sha256),
        best.sha256,
        mlflow_run_id=context.mlflow_run_id,
        tags={
            "family": best.forecast.family,
            "gate": "first champion: the better baseline",
            "approver": approver,
        },
        aliases=(CHAMPION,),
    )


def _models(
    history: History,
    entries: list[_Entry],
    evaluation: Evaluation,
    verdict: Verdict,
    chosen: dict[str, float],
    registry: Registry,
) -> pa.Table:
    """One row per model; exactly one of them scores tonight."""
    candidate, *others = entries
    champion = registry.champion()
    champion_sha256 = None if champion is None else champion.sha256
    if champion_sha256 is not None:
        scores = champion_sha256
    else:
        # Without a champion the better baseline scores, and says that it is only that.
        scores = max(
            (entry for entry in others),
            key=lambda entry: evaluation.average_precision[entry.forecast.model_id],
        ).sha256
    split = history.split.test
    rows: list[dict[str, Any]] = []
    for entry in entries:
        if entry.sha256 == champion_sha256:
            role = "champion"
        else:
            standing = "challenger" if verdict.passed else "candidate"
            role = standing if entry is candidate else "baseline"
        if entry is candidate:
            already = role == "champion" and not verdict.promoted
            reason = f"champion already; tonight: {verdict.reason}" if already else verdict.reason
        elif role == "champion":
            reason = "champion: tonight's candidate was not promoted"
        elif entry.sha256 == scores:
            reason = "scores tonight as the better baseline: there is no champion"
        else:
            reason = "baseline"
        mine = entry.trained_tonight
        rows.append(
            {
                "model_id": entry.forecast.model_id,
                "family": entry.forecast.family,
                "role": role,
                "promoted": verdict.promoted if entry is candidate else role == "champion",
                "scores": entry.sha256 == scores,
                "reason": reason,
                "trained_from": _date(history.axis, split.train_from) if mine else None,
                "trained_to": _date(history.axis, split.train_to) if mine else None,
                "tested_from": _date(history.axis, split.judge_from),
                "tested_to": _date(history.axis, split.judge_to),
                "rows": len(history.training.labels) if mine else None,
                "rounds": int(chosen["rounds"]) if entry is candidate else None,
                "sha256": entry.sha256,
            }
        )
    return pa.Table.from_pylist(rows, schema=contract("params.models").schema)


def _date(axis: npt.NDArray[np.datetime64], position: int) -> dt.date:
    day: dt.date = axis[position].astype("datetime64[D]").item()
    return day
