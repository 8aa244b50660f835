"""A whole night on the small project, and what may be said about it afterwards."""

import json
import shutil

import pytest

from acceleray.lake.night import NightTables
from acceleray.pipeline.plan import STAGES
from tests.nights import acceleray, content_hashes, run_directory

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


def test_one_cpu_gives_the_same_bits(small_night, tmp_path):
    project, _ = small_night
    other = tmp_path / "project"
    shutil.copytree(project, other, ignore=shutil.ignore_patterns("lake", "runs"))
    done = acceleray("run", "-C", str(other), "--set", "targets.laptop.cpus=1")
    assert done.returncode == 0, done.stderr
    one, two = content_hashes(other), content_hashes(project)
    compared = [name for name in two if name.startswith(("result.", "params."))]
    assert len(compared) >= 14
    assert {name: one[name] for name in compared} == {name: two[name] for name in compared}


def _with_capital(project):
    """Give the small project a fund, issuers and volumes, NAVs and a benchmark."""
    folder = project / "inputs"
    lines = (folder / "instruments.csv").read_text().strip().split("\n")
    more = {"ALPHA": ",AAA,10000", "BRAVO": ",BBB,5000"}
    rows = [f"{line}{more.get(line.split(',')[0], ',,')}" for line in lines[1:]]
    rows.append("TRACKER,fund,USD,EXAMPLE_INDEX,0.01,,,,,,,,,,,,,,,TRK,20000")
    (folder / "instruments.csv").write_text("\n".join([f"{lines[0]},issuer_id,adv", *rows]) + "\n")
    with (folder / "positions.csv").open("a") as positions:
        positions.write("Equity/Long,TRACKER,4000\n")
    files = {
        "portfolios": "portfolio_id,nav,benchmark_id\nFund,5000000,MIX\nEquity/Long,,MIX\n",
        "benchmarks": "benchmark_id,instrument_id,weight\nMIX,TRACKER,0.6\nMIX,BOND_2030,0.35\n",
        "holdings": "fund_id,instrument_id,weight\nTRACKER,ALPHA,0.5\nTRACKER,CHARLIE,0.45\n",
    }
    for name, text in files.items():
        (folder / f"{name}.csv").write_text(text)
    (project / "limits.yaml").write_text(
        "- {portfolio_id: Fund, type: leverage, unit: share, warning: 0.1, limit: 0.2}\n"
        "- {portfolio_id: Fund, type: tracking_error, unit: share, warning: 5, limit: 6}\n"
        "- {portfolio_id: Fund, type: VaR, unit: share, warning: 0.5, limit: 0.6}\n"
        "- {portfolio_id: Equity/Long, type: liquidity, unit: days, warning: 10, limit: 20}\n"
    )
    return [f"--set=inputs.{name}=inputs/{name}.csv" for name in files]


def test_a_night_with_capital_benchmarks_and_holdings(small_night, tmp_path):
    project = tmp_path / "project"
    shutil.copytree(small_night[0], project, ignore=shutil.ignore_patterns("lake", "runs"))
    done = acceleray("run", "-C", str(project), *_with_capital(project))
    assert done.returncode == 0, done.stderr
    (run_id,) = (path.name for path in (project / "runs").iterdir() if path.is_dir())
    tables = NightTables(root=project / "lake", run_id=run_id)
    found = {
        (row["portfolio_id"], row["measure"], row["member_id"]): row
        for row in tables.read("result.portfolio").to_pylist()
    }
    assert found["Fund", "nav", ""]["value"] == 5e6
    assert found["Fund", "tracking_error", ""]["value"] > 0
    # BRAVO: 15 000 units at a fifth of 5000 a day; ALPHA takes ten days, TRACKER one.
    assert found["Equity/Long", "days_to_liquidate_largest", ""]["value"] == 15_000 / (0.2 * 5000)
    assert found["Equity/Long", "instruments_without_adv", ""]["value"] == 1.0
    parts = [row["value"] for key, row in found.items() if key[:2] == ("Fund", "active_ES") and key[2]]
    total = found["Fund", "active_ES", ""]["value"]
    assert sum(parts) == pytest.approx(total, rel=1e-9)
    # The fund moves with what it holds, path by path.
    pnl = tables.read("result.pnl").to_pandas()
    own = pnl[(pnl.method == "historical") & (pnl.horizon_days == 1) & (pnl.portfolio_id == "Equity/Long")]
    paths = own.pivot(index="scenario", columns="instrument_id", values="pnl")
    worth = {row["instrument_id"]: row["market_value"] for row in tables.read("result.values").to_pylist()}
    held = 0.5 * paths.ALPHA / worth["ALPHA"] + 0.45 * paths.CHARLIE / worth["CHARLIE"]
    assert paths.TRACKER.to_numpy() == pytest.approx(
        (held * worth["TRACKER"]).to_numpy(), abs=1e-9 * worth["TRACKER"]
    )
    limits = {row["type"]: row["state"] for row in tables.read("check.limits").to_pylist()}
    assert limits == {
        "leverage": "breach",
        "tracking_error": "inside",
        "VaR": "inside",
        "liquidity": "warning",
    }
    page = (run_directory(project) / "report.html").read_text()
    assert "of NAV" in page
    assert "15.0 days" in page


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
