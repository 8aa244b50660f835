"""The page as text: every variant renders, and every figure on it is a fact."""

import html
import json
import re
import time

import pytest
from tests import report_night

from acceleray.reporting.collect_checks import build_facts
from acceleray.reporting.document import to_json
from acceleray.reporting.figures import Cursor
from acceleray.reporting.page import render_page

FIGURE = re.compile(r'data-fact="([^"]*)" data-value="([^"]*)">([^<]*)<')


def document(*, partial=False, empty=False, **night):
    state = "PARTIAL" if partial else "COMPLETE"
    return to_json(
        build_facts(
            report_night.tables(partial=partial, empty=empty),
            report_night.settings(),
            report_night.night(state=state, **night),
        )
    )


def resolve(value, pointer):
    for part in pointer.split("/")[1:]:
        key = part.replace("~1", "/").replace("~0", "~")
        value = value[int(key)] if isinstance(value, list) else value[key]
    return value


def text_of(page):
    body = re.sub(r"<(style|script)\b.*?</\1>", " ", page, flags=re.S)
    return " ".join(html.unescape(re.sub(r"<[^>]+>", "", body)).split())


@pytest.fixture(scope="module")
def complete():
    found = document()
    return found, render_page(found)


VARIANTS = ({}, {"partial": True}, {"empty": True}, {"historical": True}, {"late": True}, {"recovered": True})


@pytest.mark.parametrize("variant", VARIANTS, ids=lambda variant: next(iter(variant), "complete"))
def test_every_figure_is_the_fact_it_points_to(variant):
    found = document(**variant)
    figures = FIGURE.findall(render_page(found))
    assert len(figures) > 50
    for pointer, value, _ in figures:
        assert json.loads(html.unescape(value)) == resolve(found, html.unescape(pointer))


def test_a_stage_without_a_record_of_its_duration_says_so():
    assert "not recorded" in text_of(render_page(document(recovered=True)))


def test_the_shown_text_is_the_value_to_its_last_decimal(complete):
    """A second witness: read the printed number back and compare it with the fact."""
    _, page = complete
    units = {"bn": 1e9, "m": 1e6, "k": 1e3, "\u202f%": 0.01}
    compared = 0
    for pointer, value, text in FIGURE.findall(page):
        fact = json.loads(html.unescape(value))
        match = re.fullmatch(r"±?([+\u2212]?)([\d,]+(?:\.(\d+))?)(bn|m|k|\u202f%)", html.unescape(text))
        if match is None or not isinstance(fact, int | float):
            continue
        sign, digits, decimals, unit = match.groups()
        shown = float(digits.replace(",", "")) * (-1 if sign == "\u2212" else 1) * units[unit]
        # Half a unit of the last printed decimal.
        half = 0.5000001 * units[unit] * 10.0 ** -len(decimals or "")
        assert abs(shown - fact) <= half, (pointer, text, fact)
        compared += 1
    assert compared > 100


def test_it_is_one_small_file_without_external_references(complete):
    _, page = complete
    assert len(page.encode()) < 600_000
    assert not re.findall(r'(?:src|href)="(?!#|report\.json")[^"]*"', page)
    assert "@import" not in page
    assert "url(" not in page
    assert "http://" not in page
    assert "https://" not in page


def test_it_renders_in_under_two_seconds():
    found = document()
    start = time.perf_counter()
    render_page(found)
    assert time.perf_counter() - start < 2.0


def test_text_from_inputs_is_escaped():
    page = render_page(document(partial=True))
    assert "<b>nan</b>" not in page
    assert "&lt;b&gt;nan&lt;/b&gt;" in page
    assert "inputs/&lt;market&gt;.csv:4711" in page


def test_a_breach_leads_the_verdict(complete):
    text = text_of(complete[1])
    assert (
        "1 limit breach. Fund VaR 99\u202f%, 1 day is at 121\u202f% of its limit, and above it"
        in text.replace(" %", "\u202f%")
    )


def test_partial_says_so_first_and_why():
    text = text_of(render_page(document(partial=True)))
    assert text.index("Partial") < text.index("Limits")
    assert "Why partial: 1 position of 14 could not be valued and no figure contains it" in text
    assert "1 input row rejected" in text
    assert "AMD: price of 3 Dec 2018 is 25 days old, limit 3" in text


def test_a_historical_night_has_no_deadline():
    text = text_of(render_page(document(historical=True)))
    assert "none, historical night" in text
    assert "Mon 31 Dec 2018, 09:30" in text
    assert "met," not in text


def test_a_late_night_says_by_how_much():
    assert "missed by" in text_of(render_page(document(late=True)))


def test_sections_without_facts_are_left_out():
    page = render_page(document(empty=True))
    assert re.findall(r'<section id="(\w+)"', page) == [
        "headline",
        "pnl",
        "methods",
        "quality",
        "audit",
        "explain",
    ]
    assert "No limits are set." in text_of(page)


def test_the_book_is_explained_in_the_order_of_the_mock(complete):
    page = complete[1]
    order = re.findall(r'<section id="(\w+)"', page)
    assert order == [
        "headline",
        "limits",
        "pnl",
        "drivers",
        "sensitivities",
        "active",
        "distribution",
        "capital",
        "methods",
        "stress",
        "backtest",
        "credit",
        "early_warning",
        "quality",
        "audit",
        "explain",
    ]
    text = text_of(page)
    assert "\u221284.8k in value since 27 Dec 2018" in text
    assert "SensitivitiesAll prices and FX +1 %: +55.0k" in text
    assert "Active riskFund tracking error 2.31 % against POLICY" in text
    assert "CapitalVaR 99 %, 1 day is 1.54 % of NAV" in text
    assert "Stressed ES 97.5 %, 1 day" in text
    assert "3 Dec 2007 to 28 Nov 2008" in text
    assert "worst of 6803 windows of 250 moves for Fund" in text


def test_the_first_night_says_why_nothing_is_explained():
    assert "No earlier night has been published to compare with." in text_of(
        render_page(document(empty=True))
    )


def test_on_the_first_night_limits_have_the_whole_width(complete):
    first = {**complete[0], "pnl": document(empty=True)["pnl"]}
    assert '<div class="row r-lim one">' in render_page(first)
    assert '<div class="row r-lim">' in complete[1]


def test_capital_stands_beside_the_distribution_where_no_portfolio_has_a_benchmark(complete):
    found = {**complete[0], "active": None}
    page = render_page(found)
    order = re.findall(r'<section id="(\w+)"', page)
    assert order[order.index("sensitivities") :][:3] == ["sensitivities", "capital", "distribution"]
    assert page.count('<section id="capital"') == 1
    found = {**found, "distribution": None}
    assert render_page(found).count('<section id="capital"') == 1


def test_a_book_without_foreign_currency_says_so(complete):
    found = {**complete[0], "capital": {**complete[0]["capital"], "currencies": []}}
    assert "nothing in the fund depends on an exchange rate" in text_of(render_page(found))


def test_the_gates_refusal_is_told_in_plain_words(complete):
    text = text_of(complete[1])
    assert "Not promoted: average precision +0.0040 against logistic" in text
    assert "does not clearly beat logistic" in text
    assert "beats base rate" in text
    assert "Scores above: Logistic, baseline." in text


def test_the_loan_book_is_called_synthetic_and_the_approximations_are_listed(complete):
    text = text_of(complete[1])
    assert text.count("Synthetic credit book") >= 3
    assert "What is approximate" in text
    assert "The VIX stands in for the at-the-money volatility of every strike & expiry." in text


def test_a_figure_without_an_interval_gives_the_reason(complete):
    text = text_of(complete[1])
    assert "exact, no sampling" in text
    assert "no upper bound from 50 independent windows" in text
    assert "one full revaluation, no sampling" in text


def test_identifiers_are_unique(complete):
    ids = re.findall(r'\sid="([^"]+)"', complete[1])
    assert len(ids) == len(set(ids))


def test_a_cursor_escapes_its_pointer():
    cursor = Cursor({"a/b": {"c~d": [1]}})
    fact = cursor["a/b"]["c~d"][0]
    assert fact.pointer == "/a~1b/c~0d/0"
    assert resolve(cursor.value, fact.pointer) == 1
