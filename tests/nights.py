"""Run nights as a user does, in a process of their own."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

from acceleray.pipeline.plan import load_stage

COMMAND = (sys.executable, "-m", "acceleray.cli")


def acceleray(*arguments: str, timeout: float = 600.0) -> subprocess.CompletedProcess[str]:
    """Run a command to its end."""
    environment = {**os.environ, "NO_COLOR": "1", "ACCELERAY_TRACEBACK": "1"}
    return subprocess.run(
        [*COMMAND, *arguments], capture_output=True, text=True, timeout=timeout, env=environment, check=False
    )


def starter(folder: Path) -> Path:
    """Write the small project that `acceleray init` writes."""
    done = acceleray("init", str(folder))
    assert done.returncode == 0, done.stderr
    return folder


def run_directory(project: Path) -> Path:
    """Folder of the only run of a project."""
    (found,) = (path.parent for path in (project / "runs").glob("*/run.json"))
    return found


def content_hashes(project: Path) -> dict[str, str]:
    """Content hash of every table that the only run of a project committed."""
    hashes: dict[str, str] = {}
    for path in (run_directory(project) / "events").glob("*.json"):
        entry = json.loads(path.read_text())
        if entry["state"] == "committed":
            hashes |= {name: table["content_hash"] for name, table in entry["tables"].items()}
    return hashes


def wait_for_start(project: Path, stage: str, process: subprocess.Popen[str]) -> None:
    """Wait until a stage of the only run has begun an attempt that has not ended."""

    def begun() -> bool:
        entries = (project / "runs").glob(f"*/events/{stage}.*.json")
        return any(json.loads(path.read_text())["state"] == "started" for path in entries)

    _wait(begun, stage, process)


def wait_for_write(project: Path, stage: str, process: subprocess.Popen[str]) -> None:
    """Wait until a stage has begun to write the first of its tables."""
    wait_for_start(project, stage, process)
    folders = [project / "lake" / name.replace(".", "/") / "data" for name in load_stage(stage).writes]
    _wait(lambda: any(folder.is_dir() and any(folder.iterdir()) for folder in folders), stage, process)


def _wait(
    ready: Callable[[], bool], stage: str, process: subprocess.Popen[str], timeout: float = 300.0
) -> None:
    deadline = time.monotonic() + timeout
    while time.monotonic() < deadline:
        if ready():
            return
        if process.poll() is not None:
            raise AssertionError(f"the run ended with {process.returncode} before {stage} could be killed")
        time.sleep(0.01)
    raise AssertionError(f"{stage} was not reached within {timeout} s")
