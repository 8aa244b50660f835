import datetime as dt

import pytest

from acceleray.errors import StorageError, UsageError
from acceleray.pipeline.journal import Journal, latest_run, new_run_id, run_ids


def test_attempts_are_numbered_and_rewritten_in_place(tmp_path):
    journal = Journal(tmp_path / "run")
    assert journal.begin("ingest", {"settings_id": "x"}) == 1
    journal.finish("ingest", 1, "failed", {"error": "E"})
    assert journal.begin("ingest", {"settings_id": "x"}) == 2
    journal.finish("ingest", 2, "committed", {"tables": {}})
    assert [entry["state"] for entry in journal.attempts("ingest")] == ["failed", "committed"]
    assert journal.attempts("ingest")[0]["settings_id"] == "x"
    assert journal.last("features") is None


def test_the_latest_run_is_the_one_started_last(tmp_path):
    for name, started in (("b", "2026-01-01T00:00:00"), ("a", "2026-01-02T00:00:00")):
        Journal(tmp_path / "runs" / name).open({"started_at": started})
    assert run_ids(tmp_path) == ["b", "a"]
    assert latest_run(tmp_path) == "a"


def test_no_run_and_damaged_journal_are_errors_for_people(tmp_path):
    with pytest.raises(UsageError, match="acceleray run"):
        latest_run(tmp_path)
    with pytest.raises(UsageError, match="does not exist"):
        Journal(tmp_path / "runs" / "x").header()
    (tmp_path / "runs" / "x").mkdir(parents=True)
    (tmp_path / "runs" / "x" / "run.json").write_text("{")
    with pytest.raises(StorageError, match=r"run\.json"):
        Journal(tmp_path / "runs" / "x").header()


def test_a_damaged_run_does_not_hide_the_others(tmp_path):
    Journal(tmp_path / "runs" / "good").open({"started_at": "2026-01-01T00:00:00"})
    (tmp_path / "runs" / "bad").mkdir()
    (tmp_path / "runs" / "bad" / "run.json").write_text("")
    assert latest_run(tmp_path) == "good"
    with pytest.raises(StorageError, match="Hint"):
        Journal(tmp_path / "runs" / "bad").header()


def test_run_ids_begin_with_the_business_date():
    assert new_run_id(dt.date(2018, 12, 28)).startswith("2018-12-28-")
