"""Loops are compiled in one way, which needs no place to keep machine code in."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from numba import njit
from numba.core import caching

import acceleray
from acceleray.numerics.compilation import compiled, compiled_checked

PACKAGE = Path(acceleray.__file__).parent
# Every module that compiles something is imported; one loop of the loan book is compiled and run.
CODE = """
import importlib, sys
import numpy as np
for name in sys.argv[1:]:
    module = importlib.import_module(name)
    assert module.__file__.startswith(sys.path[0]), module.__file__
from acceleray.numerics.credit import _bins
print(_bins(np.array([0.01, 0.01, 0.5]), 1.1, 64).tolist(), _bins.stats.cache_path)
"""


def compiling() -> list[str]:
    """Modules of the package that compile loops."""
    found = []
    for path in sorted(PACKAGE.rglob("*.py")):
        if re.search(r"^@compiled|\bnjit\(", path.read_text(encoding="utf-8"), re.MULTILINE):
            found.append(".".join(("acceleray", *path.relative_to(PACKAGE).with_suffix("").parts)))
    return found


def test_everything_imports_and_runs_where_no_folder_can_be_written(tmp_path: Path) -> None:
    package = tmp_path / "site" / "acceleray"
    shutil.copytree(PACKAGE, package, ignore=shutil.ignore_patterns("__pycache__"))
    # A file where the folder should be keeps out root too, whom no permission does.
    for folder in [package, *(path for path in package.rglob("*") if path.is_dir())]:
        (folder / "__pycache__").touch()
    (tmp_path / "home").touch()
    environment = {
        name: value for name, value in os.environ.items() if not name.startswith(("NUMBA_", "XDG_"))
    } | {"HOME": str(tmp_path / "home"), "PYTHONPATH": "", "PYTHONDONTWRITEBYTECODE": "1"}
    code = f"import sys; sys.path.insert(0, {str(package.parent)!r})\n{CODE}"
    modules = compiling()
    assert len(modules) > 10
    done = subprocess.run(
        [sys.executable, "-c", code, *modules], capture_output=True, text=True, env=environment
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == "[0, 2, 3] None"


def test_no_module_compiles_in_a_way_of_its_own() -> None:
    own = [
        path.name
        for path in sorted(PACKAGE.rglob("*.py"))
        if re.search(r"cache=True", path.read_text(encoding="utf-8"))
    ]
    assert own == ["compilation.py"]


@compiled
def _divide(x, y):
    return x / y


@compiled_checked
def _divide_checked(x, y):
    return x / y


def test_division_by_zero() -> None:
    assert _divide(1.0, 0.0) == np.inf
    with pytest.raises(ZeroDivisionError):
        _divide_checked(1.0, 0.0)


def test_without_a_place_for_machine_code_each_process_compiles(monkeypatch) -> None:
    def double(x):
        return 2.0 * x

    monkeypatch.setattr(caching.CacheImpl, "_locator_classes", [])
    with pytest.raises(RuntimeError, match="no locator available"):
        njit(cache=True)(double)
    assert compiled(double)(21.0) == 42.0
