import datetime as dt

import pyarrow as pa
import pytest

from acceleray.domain.tables import contract
from acceleray.lake.history import earlier_night
from acceleray.lake.night import NightTables

DAYS = [dt.date(2018, 12, day) for day in (26, 27, 28)]


def publish(root, run_id, as_of, state="COMPLETE"):
    row = {
        "as_of": as_of, "state": state, "facts_sha256": "", "positions_total": 1, "positions_excluded": 0,
    }  # fmt: skip
    tables = NightTables(root=root, run_id=run_id)
    tables.write("check.published", pa.Table.from_pylist([row], schema=contract("check.published").schema))


@pytest.fixture
def lake(tmp_path):
    return tmp_path / "lake"


def test_nothing_was_published(lake):
    assert earlier_night(lake, DAYS[2]) is None
    publish(lake, "only", DAYS[2])
    assert earlier_night(lake, DAYS[2]) is None


def test_the_latest_earlier_date_wins_whenever_it_was_run(lake):
    publish(lake, "b", DAYS[1])
    publish(lake, "c", DAYS[2])
    publish(lake, "a", DAYS[0])
    found = earlier_night(lake, DAYS[2])
    assert (found.as_of, found.tables.run_id) == (DAYS[1], "b")


def test_a_complete_night_goes_before_a_partial_one_then_the_last(lake):
    publish(lake, "z", DAYS[0])
    publish(lake, "b", DAYS[0])
    publish(lake, "c", DAYS[0], "PARTIAL")
    assert earlier_night(lake, DAYS[1]).tables.run_id == "b"
