from tests.unit.validation.test_document import make_document

from acceleray.reporting.validation_page import render_validation


def test_every_verdict_and_reason_is_on_the_page():
    html = render_validation(make_document())
    assert '<span class="v-fail">failed</span>' in html
    assert "1 case: 0 pass, 1 fail, 0 not covered. 3 checks." in html
    assert html.count('<td class="v-pass">Pass</td>') == 1
    assert html.count('<td class="v-fail">Fail</td>') == 1
    assert html.count('<td class="v-none">Not covered</td>') == 1
    assert "nobody wrote it" in html
    assert "2026-11-20 21:00:05 UTC" in html
    # What was found, its error, and the difference.
    assert html.count('<td class="n">nan</td>') == 3


def test_texts_are_escaped_and_large_errors_written_out():
    document = make_document()
    case = document["cases"][0]
    case["title"] = "P(loss > 1) & <b>more</b>"
    case["checks"][0] |= {"expected": 35000.0, "found": 35137.0, "standard_error": 141.3, "allowed": 565.0}
    html = render_validation(document)
    assert "P(loss &gt; 1) &amp; &lt;b&gt;more&lt;/b&gt;" in html
    assert '<td class="n">140</td>' in html
    assert "<script" not in html
