import pytest

from acceleray.errors import UsageError
from acceleray.validation.case import (
    Found,
    NotCovered,
    Tolerance,
    Verdict,
    judge,
    load_cases,
    worst,
)
from acceleray.validation.run import FAMILIES


@pytest.mark.parametrize(
    ("expected", "found", "tolerance", "passes"),
    [
        (1.0, Found(value=1.0), Tolerance(), True),
        (1.0, Found(value=1.0 + 1e-15), Tolerance(), False),
        (3, Found(value=3), Tolerance(), True),
        (3, Found(value=3.0), Tolerance(), True),
        (0.0, Found(value=0.0), Tolerance(relative=0.1), True),
        (-2.0, Found(value=-2.1), Tolerance(relative=0.051), True),
        (-2.0, Found(value=-2.1), Tolerance(relative=0.049), False),
        (5.0, Found(value=5.5, standard_error=0.1), Tolerance(absolute=0.2, standard_errors=4), True),
        (5.0, Found(value=5.7, standard_error=0.1), Tolerance(absolute=0.2, standard_errors=4), False),
        # A simulated figure without its error proves nothing, nor does one that is not a number.
        (5.0, Found(value=5.0), Tolerance(standard_errors=4), False),
        (5.0, Found(value=5.0, standard_error=float("nan")), Tolerance(standard_errors=4), False),
        (5.0, Found(value=5.0, standard_error=0.0), Tolerance(standard_errors=4), True),
        (5.0, Found(value=float("nan")), Tolerance(absolute=10.0), False),
        (5.0, Found(value=float("inf")), Tolerance(absolute=float("inf")), False),
        ("green", Found(value="green"), Tolerance(), True),
        ("green", Found(value="yellow"), Tolerance(absolute=1.0), False),
        (None, Found(value=None), Tolerance(), True),
        (None, Found(value=251), Tolerance(), False),
        (251, Found(value=None), Tolerance(), False),
        (True, Found(value=True), Tolerance(), True),
        # Yes is not one.
        (True, Found(value=1), Tolerance(), False),
        (1, Found(value=True), Tolerance(), False),
    ],
)
def test_verdicts(expected, found, tolerance, passes):
    result = judge("it", expected, found, tolerance)
    assert result.verdict is (Verdict.PASS if passes else Verdict.FAIL)
    assert (result.expected, result.standard_error) == (expected, found.standard_error)


def test_what_is_not_covered_is_no_pass():
    result = judge("it", 1.0, NotCovered(reason="nobody wrote it"), Tolerance(absolute=10.0))
    assert (result.verdict, result.reason, result.found) == (Verdict.NOT_COVERED, "nobody wrote it", None)
    assert worst([Verdict.PASS, Verdict.PASS]) is Verdict.PASS
    assert worst([Verdict.PASS, Verdict.NOT_COVERED]) is Verdict.NOT_COVERED
    assert worst([Verdict.NOT_COVERED, Verdict.FAIL, Verdict.PASS]) is Verdict.FAIL


def test_tolerances_in_words():
    assert Tolerance().as_text() == "exact"
    assert Tolerance(absolute=0.005).as_text() == "0.005"
    assert Tolerance(relative=0.001, standard_errors=4).as_text() == "4 s.e. + 0.001 rel."


def test_cases_are_complete_and_sourced():
    cases = load_cases()
    assert len({case.case_id for case in cases}) == len(cases) > 30
    for case in cases:
        assert case.family in FAMILIES
        assert case.expected
        assert all((case.area, case.title, case.source, case.how))
        assert set(case.tolerances) <= set(case.expected)
        assert all(each.because for each in (case.tolerance, *case.tolerances.values()))
    assert {case.family for case in cases} == set(FAMILIES)


def test_cases_by_name():
    assert [case.case_id for case in load_cases(("pla", "asrf"))] == ["asrf", "pla"]
    with pytest.raises(UsageError, match="--case asfr: no such case") as refused:
        load_cases(("asrf", "asfr"))
    assert "asrf" in refused.value.hint
