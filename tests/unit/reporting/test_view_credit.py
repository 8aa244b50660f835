"""The section about the loan book."""

import math

import pytest
from tests import report_night

from acceleray.reporting.collect_checks import build_facts
from acceleray.reporting.document import to_json
from acceleray.reporting.figures import Cursor
from acceleray.reporting.page import render_page
from acceleray.reporting.view_credit import credit


def document(**changes):
    return to_json(build_facts(report_night.tables(), report_night.settings(**changes), report_night.night()))


@pytest.fixture(scope="module")
def facts():
    return document()


@pytest.fixture(scope="module")
def view(facts):
    return credit(Cursor(facts))


def said(parts):
    return "".join(str(part) for part in parts)


def test_what_segments_add_is_rounded_to_what_the_book_states(view):
    shown = [float(row["contribution"].text) for row in view["segments"]["rows"]]
    assert math.isclose(sum(shown), float(view["segments"]["total"]["contribution"].text), abs_tol=1e-9)


def test_every_scenario_has_a_row_for_every_level(view):
    assert [(x["name"], x["level"].text) for x in view["levels"][:4]] == [
        ("Base", "95\u202f%"),
        ("", "99\u202f%"),
        ("", "99.9\u202f%"),
        ("Rate shock", "95\u202f%"),
    ]
    assert all(said(cell["interval"]) for row in view["levels"] for cell in row["cells"])


def test_each_scenario_says_its_method_what_it_rests_on_and_why(view):
    base, severe = view["methods"][0], view["methods"][-1]
    assert base["method"] == "Conditional loss curve"
    assert said(base["rests"]) == "2,048 lines through the factor space"
    assert said(base["beyond"]) == "no defaults drawn"
    assert said(base["check"]) == "0.8 s.e. apart"
    assert base["why"] == "Not exact: 12 factors."
    assert severe["method"] == "Plain Monte-Carlo"
    assert said(severe["beyond"]) == "4.0"
    assert said(severe["check"]) == "they are the figures"


@pytest.mark.parametrize(
    ("asked", "method", "expected"),
    [
        ("importance", "importance", "The settings ask for it."),
        ("auto", "exact", "First choice: factors and losses are few enough to be integrated."),
    ],
)
def test_a_method_without_a_recorded_reason_was_asked_for_or_came_first(facts, asked, method, expected):
    case = facts["credit"]["scenarios"][0] | {"why": "", "method": method}
    changed = facts["credit"] | {"method": asked, "scenarios": [case]}
    assert credit(Cursor(facts | {"credit": changed}))["methods"][0]["why"] == expected


def test_names_others_and_book_are_listed(view):
    assert len(view["tail"]["rows"]) == 10
    first = view["tail"]["rows"][0]
    assert (first["name"], first["ead"].text, first["default_prob"].text) == (
        "Loan 001",
        "400.0",
        "0.40\u202f%",
    )
    assert first["es"]["share"].text == "1.2\u202f%"


def test_without_a_split_of_the_tail_the_page_says_so(facts):
    page = render_page(facts | {"credit": facts["credit"] | {"tail": None}})
    assert "only the conditional loss curve splits VaR and ES" in page


def test_a_benchmark_that_does_not_apply_says_why_once(facts):
    note = "not applicable: the mixing variable of a t copula is a second factor"
    cases = [
        case
        | {
            "levels": [
                at | {"asrf": {"value": None, "ci_low": None, "ci_high": None, "note": note}}
                for at in case["levels"]
            ]
        }
        for case in facts["credit"]["scenarios"]
    ]
    page = render_page(facts | {"credit": facts["credit"] | {"scenarios": cases}})
    assert page.count(f"ASRF {note}.") == 1


def test_the_year_of_credit_and_the_days_of_the_market_are_kept_apart(facts):
    page = render_page(facts)
    section = page[page.index('<section id="credit"') : page.index('<section id="early_warning"')]
    for heading in ("Scenario, 1 year", "Base, 1 year", "By level, 1 year", "Method, 1 year"):
        assert heading in section
    assert "the market figures above span days, and the two are never added" in section
    assert "10 days" not in section
