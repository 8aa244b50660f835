import json
from dataclasses import replace

import pytest

from acceleray.cli import validate
from acceleray.cli.app import app
from acceleray.errors import UsageError
from acceleray.validation import run as compute
from acceleray.validation.case import NotCoveredError, load_cases


def run(*arguments):
    return app(["validate", *map(str, arguments)], standalone_mode=False)


def test_it_prints_every_check_and_writes_both_files(tmp_path, capsys):
    assert run("--case", "asrf", "--case", "pla", "--out", tmp_path / "new") == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].split() == ["case", "check", "expected", "found", "tolerance", "verdict"]
    assert sum(line.endswith(" pass") for line in lines) == 15
    assert any(line.startswith("2 cases, 15 checks: 2 pass, 0 fail, 0 not covered") for line in lines)
    document = json.loads((tmp_path / "new" / "validation.json").read_text())
    assert [case["id"] for case in document["cases"]] == ["asrf", "pla"]
    assert "<h1>Validation" in (tmp_path / "new" / "validation.html").read_text()


def test_json_and_what_is_not_covered(tmp_path, capsys, monkeypatch):
    def refuse(inputs):
        raise NotCoveredError("nobody wrote it")

    monkeypatch.setattr(compute, "FAMILIES", {"liquidity_cascade": refuse})
    assert run("--case", "liquidity-cascade", "--out", tmp_path, "--json") == 4
    facts = json.loads(capsys.readouterr().out)
    assert (facts["exit_code"], facts["verdict"]) == (4, "not covered")
    assert facts["files"] == [str(tmp_path / "validation.json"), str(tmp_path / "validation.html")]


def test_a_failure_ends_with_1_and_is_named(tmp_path, capsys, monkeypatch):
    (case,) = load_cases(("variance-forecasts",))
    wrong = replace(case, expected={name: -value for name, value in case.expected.items()})
    monkeypatch.setattr(validate, "load_cases", lambda names: (wrong,))
    assert run("--out", tmp_path) == 1
    out = capsys.readouterr().out
    assert out.count(" fail\n") == 2
    assert "-0.00013" in out


def test_an_unknown_case_is_refused_before_anything_is_written(tmp_path):
    with pytest.raises(UsageError, match="no such case"):
        run("--case", "asfr", "--out", tmp_path / "new")
    assert not (tmp_path / "new").exists()


def test_without_jinja2_there_is_json_and_a_note(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr("acceleray.cli.validate.importlib.util.find_spec", lambda name: None)
    assert run("--case", "asrf", "--out", tmp_path) == 0
    assert "pip install 'acceleray[report]'" in capsys.readouterr().err
    assert [path.name for path in tmp_path.iterdir()] == ["validation.json"]
