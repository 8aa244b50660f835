"""Two nights of the small project, a business day apart: the second explains the change since the first."""

import datetime as dt
import json

import pyarrow.compute as pc
import pytest

from acceleray.lake.history import earlier_night
from acceleray.lake.night import NightTables
from acceleray.risk.explain import TERMS
from tests.nights import acceleray, starter

pytestmark = pytest.mark.night


@pytest.fixture(scope="module")
def nights(tmp_path_factory):
    project = starter(tmp_path_factory.mktemp("two") / "fund")
    settings = (project / "acceleray.yaml").read_text()
    last = dt.date.fromisoformat(settings.split("as_of:")[1].split()[0].strip("'\""))
    before = last - dt.timedelta(days=1 if last.weekday() else 3)
    runs = []
    for day in (before, last):
        done = acceleray("run", "-C", str(project), "--json", "--set", f"as_of={day}")
        assert done.returncode in (0, 4), done.stderr
        runs.append(json.loads(done.stdout)["run_id"])
    return project, (before, last), runs


def test_the_first_night_has_nothing_to_explain(nights):
    project, (before, _), (first, _) = nights
    assert NightTables(root=project / "lake", run_id=first).read("result.explain").num_rows == 0
    assert earlier_night(project / "lake", before) is None


def test_the_second_night_explains_the_change(nights):
    project, (before, last), (first, second) = nights
    lake = project / "lake"
    assert earlier_night(lake, last).tables.run_id == first
    rows = NightTables(root=lake, run_id=second).read("result.explain")
    assert set(rows["from_date"].to_pylist()) == {before}
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
    project, (before, _), (first, second) = nights
    attempts = [
        json.loads(path.read_text()) for path in (project / "runs" / second / "events").glob("simulate.*")
    ]
    (done,) = [entry for entry in attempts if entry["state"] == "committed"]
    assert done["record"]["explained_from"] == {"run_id": first, "as_of": before.isoformat()}
    assert done["record"]["not_explained"] == []
    lake = NightTables(root=project / "lake", run_id=first)
    assert done["reads"][f"raw.positions@{first}"] == lake.version("raw.positions")
