"""The page of `acceleray backtest` in a real browser."""

import datetime as dt
import shutil

import numpy as np
import pyarrow as pa
import pytest
from tests.unit.risk.conftest import make_book, make_market
from tests.unit.risk.test_parameters import SETTINGS

from acceleray.reporting.backtest_page import render_backtest
from acceleray.risk.backtest import BOOK, run_backtest

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")

pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="needs Chromium on the path to open the page")


@pytest.fixture(scope="module")
def found():
    days = make_market().dates[-30:]
    pnl = pa.table(
        {
            "date": pa.array(days),
            "portfolio_id": ["Alpha"] * 30,
            "actual": np.linspace(-9e5, 9e5, 30),
            "hypothetical": np.zeros(30),
        }
    )
    return run_backtest(
        make_book(),
        make_market(),
        SETTINGS,
        nodes=("Fund", "Alpha"),
        first=dt.date(2018, 10, 1),
        horizons_days=(1, 10),
        pnl=pnl,
        distributed=False,
        progress=lambda line: None,
    )


@pytest.fixture(scope="module")
def page(found, tmp_path_factory):
    document = {
        "name": "Tom & <b>Daughters</b>",
        "run_id": "2018-12-28-abcdef",
        "as_of": "2018-12-28",
        "currency": "USD",
        "facts": found.facts,
        "tests": found.tests,
        "comparisons": found.comparisons,
        "attribution": found.attribution,
        "desks": found.desks,
    }
    path = tmp_path_factory.mktemp("backtest") / "backtest.html"
    path.write_text(render_backtest(document, found.forecasts), encoding="utf-8")
    return path.as_uri()


@pytest.mark.parametrize(("width", "dark"), [(1366, False), (700, True)])
def test_the_page_stands_alone_and_shows_what_was_found(page, found, width, dark):
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        context = browser.new_context(
            viewport={"width": width, "height": 800},
            color_scheme="dark" if dark else "light",
            java_script_enabled=True,
        )
        tab = context.new_page()
        complaints, requests = [], []
        tab.on("console", lambda message: complaints.append(message.text))
        tab.on("pageerror", lambda error: complaints.append(str(error)))
        tab.on("request", lambda request: requests.append(request.url))
        tab.goto(page)
        assert complaints == []
        assert requests == [page]
        assert tab.locator("h1").inner_text().startswith("Backtest Tom & <b>Daughters</b>")
        assert BOOK in tab.locator("p.what").first.inner_text().lower()
        headings = tab.locator("section h2").all_inner_texts()
        assert headings == ["Fund, 1-day", "Alpha, 1-day", "Fund, 10-day", "Alpha, 10-day", "P&L attribution"]
        # Each lane's number is that of the tests at the highest level.
        counts = [int(text) for text in tab.locator(".lk b").all_inner_texts()]
        assert counts == [row["exceptions"] for row in found.tests if row["level"] == 0.99]
        marks = tab.locator(".la path").evaluate_all(
            "all => all.map(x => x.getAttribute('d').split('M').length - 1)"
        )
        assert marks == counts
        # Nothing hangs out of the window; wide tables scroll in their own box.
        assert tab.evaluate("document.documentElement.scrollWidth") <= width
        tall = tab.locator(".fc .plot svg[role=img]").first.bounding_box()
        assert tall["height"] > 250
        assert tall["width"] > 400
        browser.close()
