"""The morning page in a real browser."""

import json
import shutil

import pytest
from tests import report_night

from acceleray.reporting.collect_checks import build_facts
from acceleray.reporting.document import to_json
from acceleray.reporting.page import render_page

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")

pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="needs Chromium on the path to open the page")

VARIANTS = {
    "complete": {},
    "partial": {"partial": True},
    "empty": {"empty": True},
    "historical": {"historical": True},
}

READ_FIGURES = """() => [...document.querySelectorAll("[data-fact]")]
    .map(x => [x.getAttribute("data-fact"), x.getAttribute("data-value"), x.textContent])"""


@pytest.fixture(scope="module")
def browser():
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        running = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield running
        running.close()


@pytest.fixture(scope="module")
def nights(tmp_path_factory):
    """Pages of all variants: path and facts."""
    folder = tmp_path_factory.mktemp("pages")
    found = {}
    for name, variant in VARIANTS.items():
        data = {key: variant.get(key, False) for key in ("partial", "empty")}
        night = report_night.night(
            historical="historical" in variant, state="PARTIAL" if data["partial"] else "COMPLETE"
        )
        document = to_json(build_facts(report_night.tables(**data), report_night.settings(), night))
        path = folder / f"{name}.html"
        path.write_text(render_page(document), encoding="utf-8")
        found[name] = (path.as_uri(), document)
    return found


class Visit:
    """An open page and everything it complained about or asked for."""

    def __init__(self, browser, uri, *, width=1366, height=768, dark=False, scripts=True):
        self.context = browser.new_context(
            viewport={"width": width, "height": height},
            color_scheme="dark" if dark else "light",
            java_script_enabled=scripts,
        )
        self.page = self.context.new_page()
        self.complaints, self.requests = [], []
        self.page.on("console", lambda message: self.complaints.append(message.text))
        self.page.on("pageerror", lambda error: self.complaints.append(str(error)))
        self.page.on("request", lambda request: self.requests.append(request.url))
        self.page.goto(uri)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.context.close()


def resolve(value, pointer):
    for part in pointer.split("/")[1:]:
        key = part.replace("~1", "/").replace("~0", "~")
        value = value[int(key)] if isinstance(value, list) else value[key]
    return value


@pytest.mark.parametrize("name", VARIANTS)
def test_it_opens_quietly_and_asks_for_nothing(browser, nights, name):
    uri, _ = nights[name]
    with Visit(browser, uri) as visit:
        visit.page.wait_for_load_state("networkidle")
        assert visit.complaints == []
        assert visit.requests == [uri]


@pytest.mark.parametrize("name", VARIANTS)
def test_figures_on_the_page_equal_those_in_the_json(browser, nights, name):
    uri, document = nights[name]
    with Visit(browser, uri) as visit:
        figures = visit.page.evaluate(READ_FIGURES)
    assert len(figures) > 50
    for pointer, value, text in figures:
        assert json.loads(value) == resolve(document, pointer)
        assert text.strip()


@pytest.mark.parametrize("width", [1366, 1024, 390])
@pytest.mark.parametrize("name", VARIANTS)
def test_nothing_scrolls_sideways(browser, nights, name, width):
    with Visit(browser, nights[name][0], width=width) as visit:
        assert visit.page.evaluate("document.documentElement.scrollWidth") <= width


def test_banner_verdict_headline_and_first_limits_fit_one_screen(browser, nights):
    with Visit(browser, nights["partial"][0]) as visit:
        bottom = visit.page.evaluate(
            "document.querySelector('#limits tbody tr:nth-child(3)').getBoundingClientRect().bottom"
        )
        assert bottom < 768


CONTRAST = """() => {
    const parse = colour => colour.match(/[\\d.]+/g).map(Number);
    const light = ([r, g, b]) => {
        const part = x => (x /= 255) <= 0.03928 ? x / 12.92 : ((x + 0.055) / 1.055) ** 2.4;
        return 0.2126 * part(r) + 0.7152 * part(g) + 0.0722 * part(b);
    };
    const ground = element => {
        for (let at = element; at; at = at.parentElement) {
            const colour = parse(getComputedStyle(at).backgroundColor);
            if (colour.length === 3 || colour[3] === 1) return colour;
        }
        return [255, 255, 255];
    };
    let worst = [21, ""];
    for (const element of document.querySelectorAll("body *")) {
        const own = [...element.childNodes].some(x => x.nodeType === 3 && x.textContent.trim());
        if (!own || element.closest("svg, script, style, [hidden], .skip, .vh")) continue;
        if (!element.getClientRects().length) continue;
        const a = light(parse(getComputedStyle(element).color)), b = light(ground(element));
        const ratio = (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05);
        if (ratio < worst[0]) worst = [ratio, element.className + ": " + element.textContent.slice(0, 60)];
    }
    return worst;
}"""


@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
@pytest.mark.parametrize("name", ["complete", "partial"])
def test_text_stands_out_from_its_ground(browser, nights, name, dark):
    with Visit(browser, nights[name][0], dark=dark) as visit:
        ground = visit.page.evaluate("getComputedStyle(document.body).backgroundColor")
        assert ground == ("rgb(16, 19, 23)" if dark else "rgb(255, 255, 255)")
        ratio, where = visit.page.evaluate(CONTRAST)
    # WCAG 2.2 AA for text of normal size.
    assert ratio >= 4.5, where


def test_the_keyboard_reaches_the_chart_and_folds_sections(browser, nights):
    with Visit(browser, nights["complete"][0]) as visit:
        page = visit.page
        page.focus("#bt")
        page.keyboard.press("End")
        assert "28 Dec 2018" in page.inner_text("#btout")
        assert "VaR 152.7k" in page.inner_text("#btout")
        page.focus("#stress .fold")
        page.keyboard.press("Enter")
        assert not page.is_visible("#stress .body")
        page.keyboard.press("Enter")
        assert page.is_visible("#stress .body")
        page.click("#theme")
        assert page.evaluate("document.documentElement.dataset.theme") == "dark"
        assert visit.complaints == []


def test_everything_reads_without_scripts(browser, nights):
    with Visit(browser, nights["complete"][0], scripts=False) as visit:
        for section in ("limits", "stress", "backtest", "credit", "early_warning", "audit", "explain"):
            assert visit.page.is_visible(f"#{section} .body")


def test_it_prints_on_a4(browser, nights, tmp_path):
    with Visit(browser, nights["partial"][0], dark=True) as visit:
        visit.page.emulate_media(media="print")
        assert visit.page.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(255, 255, 255)"
        assert not visit.page.is_visible("nav")
        pdf = visit.page.pdf(prefer_css_page_size=True, path=tmp_path / "page.pdf")
    assert pdf.startswith(b"%PDF")
