"""Tune, Train and Data on a real Ray instance: the same bits, and what happens when something breaks."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from mlflow import MlflowClient

from acceleray.engines import ray as engine
from acceleray.errors import StorageError
from acceleray.lake.night import NightTables
from acceleray.models.early_warning import scoring
from acceleray.models.early_warning.files import load_model, model_path
from acceleray.models.early_warning.history import read_history
from acceleray.models.early_warning.scheduler import goes_on, rungs
from acceleray.models.early_warning.scoring import Scorer, rows_to_score, score_rows
from acceleray.models.early_warning.search import fold_data
from acceleray.models.early_warning.trial import train_by_rung
from acceleray.numerics.classification import average_precision
from acceleray.stages import train
from acceleray.tracking.registry import Registry
from tests.early_warning_night import make_context, run_stages

pytestmark = pytest.mark.engines


@pytest.fixture(scope="module")
def ray():
    with engine.session(cpus=2):
        yield


@pytest.fixture(scope="module")
def night(ray, tmp_path_factory):
    context = make_context(tmp_path_factory.mktemp("night"), approver="A. Person")
    return context, run_stages(context)


def rows(context, name):
    return context.tables.read(name).to_pylist()


def test_one_cpu_gives_the_same_bits_and_nobody_approves(night, tmp_path):
    context, hashes = night
    # Another process, because a process has one Ray instance. Its settings name no approver, so what depends
    # on the gate differs, and everything else is equal.
    done = subprocess.run(
        [sys.executable, "-m", "tests.early_warning_night", str(tmp_path), "1"],
        capture_output=True,
        text=True,
        check=True,
        cwd=Path(__file__).parents[2],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
    )
    other = json.loads(done.stdout)
    different = {name for name in hashes if hashes[name] != other[name]}
    assert different == {"params.models", "result.scores"}
    # Nothing on stderr: no progress bars, no warnings.
    assert done.stderr == ""

    tables = NightTables(root=tmp_path / "lake", run_id="night")
    mine = {row["family"]: row for row in rows(context, "params.models")}
    theirs = {row["family"]: row for row in tables.read("params.models").to_pylist()}
    assert {family: row["sha256"] for family, row in theirs.items()} == {
        family: row["sha256"] for family, row in mine.items()
    }
    assert (theirs["xgboost"]["role"], theirs["xgboost"]["promoted"]) == ("challenger", False)
    assert "names nobody" in theirs["xgboost"]["reason"]
    (scores,) = (row for row in theirs.values() if row["scores"])
    assert scores["role"] == "baseline"
    assert "better baseline" in scores["reason"]
    assert set(tables.read("result.scores")["model_id"].to_pylist()) == {scores["model_id"]}


def test_the_search_is_what_a_plain_loop_finds(night):
    context, _ = night
    settings = context.settings.calibrate
    history = read_history(context.tables.read("feature.panel"), settings, horizon_days=20)
    folds = fold_data(history.learn, history.split.folds, history.split.sampled)
    schedule = rungs(settings.first_rung_rounds, settings.reduction_factor, settings.max_rounds)
    records: dict[int, dict[int, float]] = {}
    for row in rows(context, "params.trials"):
        number, first = row["trial"], row["batch"] * settings.batch_size
        for report in train_by_rung(
            json.loads(row["config"]), folds=folds, schedule=schedule, seed=settings.seed
        ):
            at_rung = records.setdefault(report.rounds, {})
            at_rung[number] = report.score
            earlier = [at_rung[other] for other in sorted(at_rung) if other < first]
            if not goes_on(report.score, earlier, settings.reduction_factor):
                break
        assert (row["rounds"], row["score"]) == (report.rounds, report.score)
        assert row["stopped_early"] == (report.rounds < settings.max_rounds)


def test_the_night_writes_a_card_of_its_candidate(night):
    context, _ = night
    card = (context.run_directory / "model_card.md").read_text()
    (candidate,) = (row for row in rows(context, "params.models") if row["family"] == "xgboost")
    assert card.startswith(f"# Model card: {candidate['model_id']}\n")
    assert f"| Gate | {candidate['reason']} |" in card
    assert candidate["sha256"] in card
    metrics = {
        row["metric"]: row
        for row in rows(context, "check.models")
        if row["model_id"] == candidate["model_id"]
    }
    precision = metrics["average_precision"]
    assert f"| average precision | {precision['value']:.4f} | {precision['ci_low']:.4f} to" in card
    client = MlflowClient(context.tracking_uri)
    artifacts = [item.path for item in client.list_artifacts(context.mlflow_run_id, "model")]
    assert "model/model_card.md" in artifacts


def test_the_trained_model_is_worth_its_name(night):
    context, _ = night
    history = read_history(context.tables.read("feature.panel"), context.settings.calibrate, horizon_days=20)
    (candidate,) = (row for row in rows(context, "params.models") if row["family"] == "xgboost")
    model = load_model(model_path(context.tables.root, candidate["sha256"]), candidate["sha256"])
    test = history.test
    assert average_precision(test.labels, model.predict(test.values)) > 1.5 * test.labels.mean()
    assert candidate["trained_to"] < candidate["tested_from"]
    # The panel is made so that trees win: the gate lets the candidate pass and the registry knows it.
    assert (candidate["role"], candidate["promoted"], candidate["scores"]) == ("champion", True, True)
    assert "approved by A. Person" in candidate["reason"]
    champion = Registry(context.tracking_uri, "early-warning").champion()
    assert champion is not None
    assert champion.sha256 == candidate["sha256"]


def test_scores_are_those_of_one_plain_call(night):
    context, _ = night
    (model,) = (row for row in rows(context, "params.models") if row["scores"])
    values, panel = context.tables.read("result.values"), context.tables.read("feature.panel")
    scorer = Scorer(str(model_path(context.tables.root, model["sha256"])), model["sha256"])
    plain = {
        (row["portfolio_id"], row["instrument_id"]): (row["score"], row["reasons"])
        for row in scorer(rows_to_score(values, panel)[0]).to_pylist()
    }
    scored = {
        (row["portfolio_id"], row["instrument_id"]): (row["score"], row["reasons"])
        for row in rows(context, "result.scores")
        if row["rank"] is not None
    }
    assert scored == plain
    assert len(scored) == 8


def test_a_retry_trains_the_same_bytes_and_registers_nothing_new(night):
    context, hashes = night
    registry = Registry(context.tracking_uri, "early-warning")

    def state():
        versions = registry._client.search_model_versions("name = 'early-warning'")
        folder = context.tables.root / "models" / "early-warning"
        return [v.version for v in versions], sorted(path.name for path in folder.iterdir())

    before = state()
    versions = {name: context.tables.version(name) for name in hashes}
    train.run(context)
    assert state() == before
    assert {name: context.tables.version(name) for name in hashes} == versions


class DiesOnce:
    """A scorer whose process is killed in the middle of its first batch."""

    def __init__(self, path: str, sha256: str) -> None:
        self._scorer = Scorer(path, sha256)
        self._marker = Path(path).with_suffix(".died")

    def __call__(self, batch):
        if not self._marker.exists():
            self._marker.touch()
            os._exit(9)
        return self._scorer(batch)


def test_a_killed_actor_costs_no_row_and_a_poisoned_file_is_refused(night, tmp_path, monkeypatch):
    context, _ = night
    (model,) = (row for row in rows(context, "params.models") if row["family"] == "logistic")
    path = tmp_path / "model.json"
    path.write_bytes(model_path(context.tables.root, model["sha256"]).read_bytes())
    table, _ = rows_to_score(context.tables.read("result.values"), context.tables.read("feature.panel"))
    pool = {"n_actors": 2, "batch_rows": 4, "cpus": 2}
    expected = Scorer(str(path), model["sha256"])(table)
    with monkeypatch.context() as patch:
        patch.setattr(scoring, "Scorer", DiesOnce)
        scored = score_rows(table, path=path, sha256=model["sha256"], **pool)
    assert path.with_suffix(".died").exists()
    assert scored.equals(expected.sort_by([("portfolio_id", "ascending"), ("instrument_id", "ascending")]))
    assert np.isfinite(scored["score"].to_numpy()).all()

    path.write_bytes(path.read_bytes().replace(b"logistic", b"Logistic"))
    with pytest.raises(StorageError, match="SHA-256"):
        score_rows(table, path=path, sha256=model["sha256"], **pool)
