"""What the pages say runs: Python blocks, CSV examples, links, and the commands they name."""

from __future__ import annotations

import re
import shlex
import sys
from collections.abc import Iterator
from pathlib import Path

import pyarrow as pa
import pyarrow.csv
import pytest
import typer.main
from tests.nights import acceleray

from acceleray.cli.app import app
from acceleray.cli.starter import write_project
from acceleray.lake.single import read_valid

ROOT = Path(__file__).parents[2]
HOW_TO = sorted((ROOT / "docs" / "how-to").glob("*.md"))
PAGES = [
    *(ROOT / f"{name}.md" for name in ("README", "ARCHITECTURE", "CONTRIBUTING", "SECURITY", "CHANGELOG")),
    *sorted((ROOT / "docs").rglob("*.md")),
]
# A page that begins with this comment shows what a finished night leaves behind.
NIGHT_MARK = "<!-- runs on a finished night -->\n"

_FENCE = re.compile(r"^```(?P<language>\w+)?(?P<rest>[^\n]*)\n(?P<body>.*?)^```$", re.MULTILINE | re.DOTALL)


def _name(page: Path) -> str:
    return page.relative_to(ROOT).as_posix()


def _blocks(page: Path, language: str) -> Iterator[tuple[int, str, str]]:
    """Line, words after the language, and text of each block."""
    text = page.read_text(encoding="utf-8")
    for match in _FENCE.finditer(text):
        if match["language"] == language:
            yield text.count("\n", 0, match.start("body")) + 1, match["rest"].strip(), match["body"]


def _runnable(*, night: bool) -> list[Path]:
    pages = [ROOT / "README.md", *HOW_TO]
    return [
        page
        for page in pages
        if any(_blocks(page, "python")) and page.read_text().startswith(NIGHT_MARK) == night
    ]


def _execute(page: Path) -> None:
    """Run the blocks of a page in order, in one namespace; a block may be a file of the project."""
    namespace: dict[str, object] = {"__name__": "__page__"}
    for line, _, body in _blocks(page, "python"):
        first = body.split("\n", 1)[0]
        if re.fullmatch(r"# \w+\.py", first):
            Path(first.removeprefix("# ")).write_text(body)
        else:
            # Blank lines in front, so that a traceback names the line of the page.
            exec(compile("\n" * (line - 1) + body, str(page), "exec"), namespace)


@pytest.fixture
def in_project(tmp_path, monkeypatch):
    """The project that `acceleray init` writes, as the current directory."""
    project = tmp_path / "my_fund"
    write_project(project)
    monkeypatch.chdir(project)
    monkeypatch.syspath_prepend(str(project))
    yield project
    for name in [path.stem for path in project.glob("*.py")]:
        sys.modules.pop(name, None)


@pytest.mark.parametrize("page", _runnable(night=False), ids=_name)
def test_python_blocks_run_on_the_starter_project(page, in_project):
    _execute(page)


@pytest.mark.night
@pytest.mark.parametrize("page", _runnable(night=True), ids=_name)
def test_python_blocks_run_on_a_finished_night(page, small_night, monkeypatch):
    project, done = small_night
    assert done.returncode == 0, done.stderr
    before = {path: path.stat().st_mtime_ns for path in project.rglob("*") if path.is_file()}
    monkeypatch.chdir(project)
    _execute(page)
    after = {path: path.stat().st_mtime_ns for path in project.rglob("*") if path.is_file()}
    assert before == after, "a page about reading changed the project"


def test_python_sources_pass_the_check_that_the_page_shows(in_project):
    page = ROOT / "docs" / "how-to" / "python-sources.md"
    _execute(page)
    ((_, _, command),) = _blocks(page, "sh")
    _, *arguments = shlex.split(command)
    done = acceleray(*arguments)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize(
    ("page", "line", "name", "text"),
    [
        pytest.param(page, line, name, text, id=f"{page.stem}-{name}")
        for page in HOW_TO
        for line, name, text in _blocks(page, "csv")
    ],
)
def test_csv_examples_are_valid(page, line, name, text):
    table = pa.csv.read_csv(
        pa.BufferReader(text.encode()), convert_options=pa.csv.ConvertOptions(strings_can_be_null=True)
    )
    assert read_valid(name, table).num_rows == table.num_rows, f"{page}:{line}"


def test_the_example_book_shows_every_kind_and_is_priced(in_project):
    import acceleray as ar
    from acceleray.domain.inputs import INSTRUMENT_KINDS

    page = ROOT / "docs" / "how-to" / "your-own-book.md"
    files = {name: text for _, name, text in _blocks(page, "csv")}
    for name, text in files.items():
        (in_project / "inputs" / f"{name}.csv").write_text(text)
    book = ar.Book.read(positions="inputs/positions.csv", instruments="inputs/instruments.csv")
    # A kind of one's own is a Python function, which no row can show.
    assert set(book.instruments["kind"].to_pylist()) == set(INSTRUMENT_KINDS) - {"quantlib"}
    market = ar.Market.read(market="inputs/market.csv", factors="inputs/factors.csv", as_of="2024-06-28")
    pnl = ar.revalue(book, market, ar.Historical(window_days=500))
    assert pnl.excluded == ()
    assert len(pnl.cube) == len(book.portfolio_ids)


# ---- links ------------------------------------------------------------------------------------------------


def _prose(page: Path) -> str:
    return _FENCE.sub("", page.read_text(encoding="utf-8"))


def _anchors(page: Path) -> set[str]:
    titles = re.findall(r"^#+ (.+)$", _prose(page), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-") for title in titles}


@pytest.mark.parametrize("page", PAGES, ids=_name)
def test_every_relative_link_leads_somewhere(page):
    for target in re.findall(r"\]\(([^)\s]+)\)", _prose(page)):
        if re.match(r"[a-z]+:", target):
            continue
        path, _, anchor = target.partition("#")
        found = (page.parent / path).resolve() if path else page
        assert found.exists(), f"{_name(page)} links to {target}"
        assert not anchor or anchor in _anchors(found), f"{_name(page)} links to {target}"


@pytest.mark.parametrize("page", sorted((ROOT / "docs" / "methods").glob("*.md")), ids=_name)
def test_methods_name_code_and_tests_that_exist(page):
    text = page.read_text(encoding="utf-8")
    code, proof = text.split("\n## Where in the code\n")[1].split("\n## How it is proven\n")
    modules = re.findall(r"`([a-z_]+(?:/[a-z_]+)*\.py)`", code)
    assert modules
    for module in modules:
        assert (ROOT / "src" / "acceleray" / module).is_file(), module
    named = re.findall(r"`(tests/[\w/]+\.py)(?:::(\w+))?`", proof)
    assert named
    for file, test in named:
        assert (ROOT / file).is_file(), file
        assert not test or f"def {test}(" in (ROOT / file).read_text(), f"{file}::{test}"


# ---- commands ---------------------------------------------------------------------------------------------


def _commands(page: Path) -> Iterator[list[str]]:
    text = page.read_text(encoding="utf-8")
    for inline in re.findall(r"`((?:[\w./]*/)?acceleray [^`\n]+)`", _prose(page)):
        yield shlex.split(inline)[1:]
    for match in _FENCE.finditer(text):
        if match["language"] in (None, "sh"):
            for line in match["body"].splitlines():
                if re.match(r"\s*(?:[\w./]*/)?acceleray ", line):
                    yield shlex.split(line, comments=True)[1:]


@pytest.mark.parametrize("page", PAGES, ids=_name)
def test_every_command_and_option_exists(page):
    for words in _commands(page):
        command = typer.main.get_command(app)
        if words[0] == "COMMAND":
            continue
        while words and hasattr(command, "commands") and words[0] in command.commands:
            command = command.commands[words.pop(0)]
        assert command.name != "acceleray", f"{_name(page)}: acceleray {words[0]} is not a command"
        known = {
            "--help",
            *(option for each in command.params for option in [*each.opts, *each.secondary_opts]),
        }
        for word in words:
            if word.startswith("-"):
                assert word.split("=")[0] in known, f"{_name(page)}: {command.name} has no {word}"
