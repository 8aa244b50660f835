"""The sample project as the README runs it."""

import json

import pytest

from tests.nights import run_directory

pytestmark = pytest.mark.night


def test_the_sample_night_is_complete_with_warnings(sample_night):
    project, done = sample_night
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-1].endswith("report.html")
    result = json.loads((run_directory(project) / "run_results.json").read_text())
    assert result["state"] == "COMPLETE"
    aged = [warning for warning in result["warnings"] if warning.startswith(("AAA", "BAA", "RF"))]
    assert len(aged) == 3, result["warnings"]


def test_it_is_quiet_when_nobody_watches(sample_night):
    _, done = sample_night
    assert len(done.stderr.splitlines()) <= 60
    assert "\r" not in done.stderr
    assert "WARN" not in done.stderr.upper().replace("WARNING: ", ""), done.stderr


def test_nothing_after_the_business_date_was_used(sample_night):
    project, _ = sample_night
    result = json.loads((run_directory(project) / "run_results.json").read_text())
    market = next(control for control in result["controls"] if control["input"] == "market")
    assert market["rows_after_as_of"] > 0, "the data sets reach beyond the business date"
    assert (
        market["rows_read"] == market["rows_accepted"] + market["rows_rejected"] + market["rows_after_as_of"]
    )
