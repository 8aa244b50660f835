"""The page of `acceleray validate` in a real browser."""

import shutil

import pytest
from tests.unit.validation.test_document import make_document

from acceleray.reporting.validation_page import render_validation

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")

pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="needs Chromium on the path to open the page")


@pytest.mark.parametrize(("width", "dark"), [(1366, False), (600, True)])
def test_the_page_stands_alone_and_fits(tmp_path, width, dark):
    from playwright.sync_api import sync_playwright

    path = tmp_path / "validation.html"
    path.write_text(render_validation(make_document()), encoding="utf-8")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        tab = browser.new_context(
            viewport={"width": width, "height": 800}, color_scheme="dark" if dark else "light"
        ).new_page()
        complaints, requests = [], []
        tab.on("console", lambda message: complaints.append(message.text))
        tab.on("pageerror", lambda error: complaints.append(str(error)))
        tab.on("request", lambda request: requests.append(request.url))
        tab.goto(path.as_uri())
        assert complaints == []
        assert requests == [path.as_uri()]
        assert tab.inner_text("h1") == "Validation failed"
        # Wide tables scroll inside their own box.
        assert tab.evaluate("document.documentElement.scrollWidth") <= width
        # The list of what is open leads to the case.
        tab.click("ul a")
        assert tab.url.endswith("#made-up")
        rows = tab.locator("article tbody tr")
        assert rows.count() == 3
        assert rows.nth(1).locator("td").last.inner_text() == "Fail"
        browser.close()
