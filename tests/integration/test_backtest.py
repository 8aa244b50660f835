"""The backtest on Ray, and as the command that users run."""

import csv
import json
from pathlib import Path

import pyarrow.compute as pc
import pytest

from acceleray.engines.ray import session
from acceleray.lake.night import NightTables
from acceleray.risk.backtest import run_backtest
from tests import nights
from tests.unit.risk.conftest import make_book, make_market
from tests.unit.risk.test_parameters import SETTINGS


@pytest.mark.engines
def test_tasks_give_the_bits_of_the_plain_process():
    book, market = make_book(), make_market()

    def backtest(*, distributed):
        return run_backtest(
            book,
            market,
            SETTINGS,
            nodes=("Fund", "Hedge"),
            horizons_days=(1, 3),
            distributed=distributed,
            progress=lambda line: None,
        )

    plain = backtest(distributed=False)
    for cpus in (2, 1):
        with session(cpus=cpus):
            found = backtest(distributed=True)
        assert found.forecasts.equals(plain.forecasts)
        assert found.tests == plain.tests
        assert found.comparisons == plain.comparisons


@pytest.mark.night
def test_the_command(small_night, tmp_path):
    night, done = small_night
    assert done.returncode == 0, done.stderr
    project = _copy_of(night, tmp_path / "fund")
    ended = nights.acceleray("backtest", "-C", str(project), "--json", "--horizon", "1", "--horizon", "10")
    assert ended.returncode == 0, ended.stderr
    found = json.loads(ended.stdout)
    assert found["facts"]["book"] == "today's static book on past markets"
    assert len(found["tests"]) == 4 * 2 * 2
    assert all(
        row["multiplier"] for row in found["tests"] if (row["level"], row["horizon_days"]) == (0.99, 1)
    )
    files = {Path(path).name: Path(path) for path in found["files"]}
    assert set(files) == {"backtest.json", "forecasts.csv", "backtest.html"}
    assert json.loads(files["backtest.json"].read_text())["tests"] == found["tests"]

    # The one-day forecasts of the last days are those that the night stored.
    stored = NightTables(root=project / "lake", run_id=found["run_id"]).read("result.forecasts")
    stored = stored.filter(pc.equal(stored["portfolio_id"], "Fund"))
    rows = list(csv.DictReader(files["forecasts.csv"].read_text().splitlines()))
    ours = {
        (row["method"], float(row["level"]), row["date"]): [float(row[x]) for x in ("var", "es", "pnl")]
        for row in rows
        if row["horizon_days"] == "1"
    }
    theirs = {
        (row["method"], row["level"], row["date"].isoformat()): [row[x] for x in ("var", "es", "pnl")]
        for row in stored.to_pylist()
    }
    assert ours == theirs
    monitor = NightTables(root=project / "lake", run_id=found["run_id"]).read("check.backtest").to_pylist()
    counted = {(row["method"], row["level"]): row for row in monitor if row["portfolio_id"] == "Fund"}
    for row in found["tests"]:
        if row["horizon_days"] == 1:
            same = counted[row["method"], row["level"]]
            for name in ("exceptions", "kupiec_p_value", "christoffersen_p_value", "zone"):
                assert row[name] == same[name]

    # Once more, with reported gains: the same forecasts, and the files are replaced.
    first = files["forecasts.csv"].read_bytes()
    gains = {row["date"]: float(row["pnl"]) for row in rows if row["horizon_days"] == "1"}
    lines = [f"{day},Fund,{gain - 50.0},{gain}" for day, gain in gains.items()]
    reported = project / "inputs" / "pnl.csv"
    reported.write_text("\n".join(["date,portfolio_id,actual,hypothetical", *lines]))
    ended = nights.acceleray(
        "backtest", "-C", str(project), "--horizon", "1", "--horizon", "10", "--pnl", str(reported)
    )
    assert ended.returncode == 0, ended.stderr
    assert (
        "P&L attribution of Fund: green, Spearman 1.000, Kolmogorov-Smirnov 0.000, 250 days" in ended.stdout
    )
    assert files["forecasts.csv"].read_bytes() == first

    reported.write_text("\n".join(["date,portfolio_id,actual,hypothetical", *lines, lines[0]]))
    for arguments, code, said in (
        (["--pnl", str(reported)], 3, "the same date and portfolio_id"),
        (["--portfolio", "Fnd"], 2, "did you mean 'Fund'"),
        (["--from", "28.6.2024"], 2, "expected a date"),
        (["--level", "99"], 2, "--level: must lie between 0 and 1"),
        (["--run-id", "none"], 2, "does not exist"),
    ):
        ended = nights.acceleray("backtest", "-C", str(project), *arguments)
        assert (ended.returncode, ended.stdout) == (code, ""), ended.stderr
        assert said in ended.stderr


def _copy_of(night: Path, copy: Path) -> Path:
    """Copy a finished project, so that other tests find it as the night left it."""
    import shutil

    return Path(shutil.copytree(night, copy))
