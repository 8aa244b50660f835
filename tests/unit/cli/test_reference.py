"""The committed reference pages are what the code says, and say something about everything."""

from pathlib import Path

import pytest
from pydantic import BaseModel

from acceleray import api, errors
from acceleray.cli import reference, reference_python
from acceleray.config import models
from acceleray.domain.inputs import INPUTS

ROOT = Path(__file__).parents[3]
PAGES = ROOT / "docs" / "reference"


@pytest.mark.parametrize("name", sorted(reference.PAGES))
def test_the_committed_page_is_what_the_code_generates(name):
    committed = (PAGES / f"{name}.md").read_text(encoding="utf-8")
    assert committed == reference.PAGES[name](), "run `make docs` and commit"


def test_no_page_is_left_over():
    assert {path.stem for path in PAGES.glob("*.md")} == set(reference.PAGES)


def test_main_writes_every_page(tmp_path):
    reference.main(tmp_path)
    assert {path.name for path in tmp_path.iterdir()} == {f"{name}.md" for name in reference.PAGES}


def test_every_setting_is_described():
    found = [
        (model, name, field)
        for model in vars(models).values()
        if isinstance(model, type) and issubclass(model, BaseModel) and model.__module__ == models.__name__
        for name, field in model.model_fields.items()
    ]
    assert len(found) > 80
    assert [(model.__name__, name) for model, name, field in found if not field.description] == []
    page = reference.PAGES["settings"]()
    for key in ("as_of", "simulate.credit.n_paths", "curves.<name>.zero_rates[]", "shocks[].select.id"):
        assert f"| `{key.removesuffix('[]')}` |" in page
    assert "| `simulate.var_level` | number | `0.99` | more than 0 and less than 1 |" in page
    assert "| `calibrate.embargo_days` | whole number | `20` | at least 20 |" in page


@pytest.mark.parametrize("contract", INPUTS.values(), ids=INPUTS)
def test_every_column_of_every_input_is_there(contract):
    section = reference.PAGES["inputs"]().split(f"\n## {contract.name}\n")[1].split("\n## ")[0]
    for column in contract.columns:
        assert f"\n| `{column.name}` |" in section
    if contract.open_prefix:
        assert f"\n| `{contract.open_prefix}…` |" in section


def test_every_error_has_its_exit_code_in_the_page_and_the_readme_agrees():
    page = reference.PAGES["exit-codes"]()
    for name in errors.__all__:
        code = getattr(errors, name).exit_code
        (row,) = [line for line in page.splitlines() if line.startswith(f"| {code} |")]
        assert f"`{name}`" in row
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    for code, meaning in reference.EXIT_CODES.items():
        assert f"| {code} | {meaning}" in readme


def test_the_python_page_describes_the_whole_surface():
    described = [name for names in reference_python.GROUPS.values() for name in names]
    assert sorted([*described, *reference_python.MODULES]) == sorted(api.__all__)
    page = reference.PAGES["python"]()
    for name in described:
        assert f"\n### {name}\n" in page
    assert "ar.revalue(book, market, scenarios, *, n_workers=1" in page
    assert "* `relative_error`, float, optional: " in page
    assert all(len(line) == len(line.rstrip()) for line in page.splitlines())


def test_a_command_is_shown_with_its_arguments():
    page = reference.PAGES["commands"]()
    assert "| `acceleray init DIRECTORY` | `--json` | " in page
    assert "| `acceleray check` | `--project`, " in page
