"""A second night of the small project, a business day after the first: it explains the change since then.

By then the fund has capital, a benchmark, limits and a position in another fund, so that one night shows
these too.
"""

import csv
import datetime as dt
import json
import shutil

import pyarrow.compute as pc
import pytest

from acceleray.lake.history import earlier_night
from acceleray.lake.night import NightTables
from acceleray.risk.explain import TERMS
from tests.nights import acceleray, run_directory

pytestmark = pytest.mark.night

BEFORE, LAST = dt.date(2024, 6, 28), dt.date(2024, 7, 1)


@pytest.fixture(scope="module")
def nights(small_night, tmp_path_factory):
    """The project, and the run_ids of its two nights."""
    project = tmp_path_factory.mktemp("two") / "fund"
    # MLflow's store names folders of the project that is copied: this one begins its own.
    shutil.copytree(small_night[0], project, ignore=shutil.ignore_patterns("mlflow", "mlflow.db"))
    first = run_directory(project).name
    _add_a_day(project)
    done = acceleray("run", "-C", str(project), "--json", f"--set=as_of={LAST}", *_with_capital(project))
    assert done.returncode == 0, done.stderr
    return project, (first, json.loads(done.stdout)["run_id"])


def _add_a_day(project):
    """Move every factor up by a percent."""
    path = project / "inputs" / "market.csv"
    with path.open(newline="") as stream:
        rows = [row for row in csv.DictReader(stream) if row["date"] == BEFORE.isoformat()]
    with path.open("a") as market:
        market.writelines(f"{LAST},{row['factor_id']},{1.01 * float(row['value'])}\n" for row in rows)


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


def test_the_first_night_has_nothing_to_explain(nights):
    project, (first, _) = nights
    assert NightTables(root=project / "lake", run_id=first).read("result.explain").num_rows == 0
    assert earlier_night(project / "lake", BEFORE) is None


def test_the_second_night_explains_the_change(nights):
    project, (first, second) = nights
    lake = project / "lake"
    assert earlier_night(lake, LAST).tables.run_id == first
    rows = NightTables(root=lake, run_id=second).read("result.explain")
    assert set(rows["from_date"].to_pylist()) == {BEFORE}
    values = [
        pc.sum(NightTables(root=lake, run_id=run).read("result.values")["market_value"]).as_py()
        for run in (first, second)
    ]
    nodes = {}
    for row in rows.to_pylist():
        nodes.setdefault(row["portfolio_id"], {})[row["term"]] = row["value"]
    assert all(set(found) == set(TERMS) for found in nodes.values())
    size = max(abs(value) for value in values)
    assert nodes["Fund"]["total"] == pytest.approx(values[1] - values[0], abs=1e-11 * size)
    for found in nodes.values():
        assert sum(found[term] for term in TERMS[:-1]) == pytest.approx(found["total"], abs=1e-11 * size)


def test_the_earlier_night_is_on_record(nights):
    project, (first, second) = nights
    attempts = [
        json.loads(path.read_text()) for path in (project / "runs" / second / "events").glob("simulate.*")
    ]
    (done,) = [entry for entry in attempts if entry["state"] == "committed"]
    assert done["record"]["explained_from"] == {"run_id": first, "as_of": BEFORE.isoformat()}
    assert done["record"]["not_explained"] == []
    lake = NightTables(root=project / "lake", run_id=first)
    assert done["reads"][f"raw.positions@{first}"] == lake.version("raw.positions")


def test_a_night_with_capital_benchmarks_and_holdings(nights):
    project, (_, second) = nights
    tables = NightTables(root=project / "lake", run_id=second)
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
    page = (project / "runs" / second / "report.html").read_text()
    assert "of NAV" in page
    assert "15.0 days" in page
