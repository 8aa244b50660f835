import json

import pytest

from acceleray.pipeline.outcome import _publish, exit_code, published


@pytest.mark.parametrize(
    ("state", "breaches", "fail_on_breach", "late", "code"),
    [
        ("COMPLETE", 0, True, False, 0),
        ("COMPLETE", 2, False, False, 0),
        ("COMPLETE", 2, True, True, 5),
        ("COMPLETE", 0, True, True, 6),
        ("PARTIAL", 2, True, True, 4),
    ],
)
def test_the_lowest_code_that_applies_wins(state, breaches, fail_on_breach, late, code):
    assert exit_code(state=state, breaches=breaches, fail_on_breach=fail_on_breach, late=late) == code


@pytest.mark.parametrize(
    ("before", "after", "stays"),
    [
        (("2018-12-28", "COMPLETE"), ("2018-12-28", "PARTIAL"), True),
        (("2018-12-28", "PARTIAL"), ("2018-12-28", "PARTIAL"), False),
        (("2018-12-28", "PARTIAL"), ("2018-12-28", "COMPLETE"), False),
        (("2018-12-27", "COMPLETE"), ("2018-12-28", "PARTIAL"), False),
        (("2018-12-31", "COMPLETE"), ("2018-12-28", "COMPLETE"), True),
    ],
)
def test_what_replaces_a_published_night(tmp_path, before, after, stays):
    for run_id, (as_of, state) in (("first", before), ("second", after)):
        _publish(tmp_path / "runs", {"run_id": run_id, "as_of": as_of}, state)
    assert published(tmp_path)["run_id"] == ("first" if stays else "second")
    assert (
        json.loads((tmp_path / "runs" / "published.json").read_text())["run_id"]
        == published(tmp_path)["run_id"]
    )
