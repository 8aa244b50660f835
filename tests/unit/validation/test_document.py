import datetime as dt
import json

from acceleray.validation.case import Case, CaseResult, Found, NotCovered, Tolerance, judge
from acceleray.validation.document import document_of

CASE = Case(
    case_id="made-up",
    area="prices",
    title="A made-up case",
    source="nobody",
    how="by hand",
    family="absent",
    inputs={"reason": "none"},
    expected={"good": 1.0, "bad": 2.0, "absent": 3.0},
    tolerance=Tolerance(absolute=0.1, because="rounding"),
    tolerances={},
)
RESULT = CaseResult(
    case=CASE,
    checks=(
        judge("good", 1.0, Found(value=1.05), CASE.tolerance),
        judge("bad", 2.0, Found(value=float("nan"), standard_error=float("nan")), CASE.tolerance),
        judge("absent", 3.0, NotCovered(reason="nobody wrote it"), CASE.tolerance),
    ),
    seconds=0.25,
)
STARTED_AT = dt.datetime(2026, 11, 20, 21, 0, 5, 123, tzinfo=dt.UTC)


def make_document():
    return document_of([RESULT], started_at=STARTED_AT, seconds=1.234)


def test_the_report_says_what_where_and_with_what():
    document = make_document()
    assert document["verdict"] == "fail"
    assert document["started_at"] == "2026-11-20T21:00:05+00:00"
    assert document["n_cases"] == {"pass": 0, "fail": 1, "not covered": 0}
    assert document["n_checks"] == {"pass": 1, "fail": 1, "not covered": 1}
    assert document["packages"]["numpy"]
    assert len(document["packages_sha256"]) == 64
    assert {"processor", "features", "python"} <= set(document["machine"])
    good, bad, absent = document["cases"][0]["checks"]
    assert (good["found"], good["allowed"], good["tolerance"]["text"]) == (1.05, 0.1, "0.1")
    assert (bad["found"], bad["verdict"]) == ("nan", "fail")
    assert (absent["found"], absent["reason"]) == (None, "nobody wrote it")


def test_it_is_strict_json():
    document = make_document()
    assert json.loads(json.dumps(document, allow_nan=False)) == document
