"""A whole night on the small project, and what may be said about it afterwards."""

import json

import pytest

from acceleray.pipeline.plan import STAGES
from tests.nights import acceleray, run_directory

pytestmark = pytest.mark.night


def test_a_night_ends_with_a_report_and_says_little(small_night):
    project, done = small_night
    assert done.returncode == 0, done.stderr
    result = json.loads(done.stdout)
    assert result["state"] == "COMPLETE"
    assert result["computed"] == list(STAGES)
    assert (run_directory(project) / "report.html").is_file()
    lines = done.stderr.splitlines()
    assert len(lines) <= 60
    assert "\r" not in done.stderr
    assert not [line for line in lines if "Warning" in line or "WARN" in line], done.stderr


def test_retry_with_nothing_to_do_computes_nothing(small_night):
    project, _ = small_night
    done = acceleray("retry", "-C", str(project), "--json")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["computed"] == []


def test_retry_publishes_a_night_that_died_before_it_was_published(small_night):
    project, _ = small_night
    (project / "runs" / "published.json").unlink()
    assert acceleray("retry", "-C", str(project)).returncode == 0
    assert acceleray("report", "open", "-C", str(project)).returncode == 0


def test_retry_refuses_changed_settings(small_night):
    project, _ = small_night
    done = acceleray("retry", "-C", str(project), "--set", "simulate.seed=5")
    assert done.returncode == 2
    assert "began with settings" in done.stderr
    assert "Traceback" not in done.stderr


def test_status_plan_check_and_report_speak_json(small_night):
    project, _ = small_night
    status = json.loads(acceleray("status", "-C", str(project), "--json").stdout)
    assert {stage["state"] for stage in status["stages"]} == {"committed"}
    plan = json.loads(acceleray("plan", "-C", str(project), "--json").stdout)
    assert [stage["stage"] for stage in plan["stages"]] == list(STAGES)
    assert plan["bell"].startswith("2024-07-01T09:30")
    check = acceleray("check", "-C", str(project), "--json")
    assert check.returncode == 0, check.stdout
    opened = acceleray("report", "open", "-C", str(project), "--json")
    assert json.loads(opened.stdout)["report"].endswith("report.html")


def test_mlflow_holds_the_night_and_its_stages(small_night):
    from mlflow import MlflowClient

    from acceleray.tracking.runs import tracking_uri

    project, _ = small_night
    header = json.loads((run_directory(project) / "run.json").read_text())
    client = MlflowClient(tracking_uri(project))
    parent = client.get_run(header["mlflow_run_id"])
    assert parent.info.status == "FINISHED"
    children = client.search_runs(
        [parent.info.experiment_id], f"tags.`mlflow.parentRunId` = '{parent.info.run_id}'"
    )
    assert {child.data.tags["stage"] for child in children} == set(STAGES)
    simulate = next(child for child in children if child.data.tags["stage"] == "simulate")
    context = {
        (dataset.dataset.name, tag.value)
        for dataset in simulate.inputs.dataset_inputs
        for tag in dataset.tags
        if tag.key == "mlflow.data.context"
    }
    assert {("raw.positions", "input"), ("result.pnl", "output")} <= context
