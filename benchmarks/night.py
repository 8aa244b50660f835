"""Time the sample night stage by stage, and say how much of it the engines cost before any work is done.

Each night runs in a fresh copy of examples/sp500, in a process of its own; the memory of all its processes is
sampled ten times a second. The overheads are measured beside it, in one process per engine: start-up, worker
imports, and an almost empty Tune, Train and Data run. Figures of a loaded machine say little: the load before
each run is printed.

    python benchmarks/night.py [--runs 3] [--json]
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
STAGES = ("ingest", "features", "calibrate", "train", "simulate", "score", "monitor", "report")
OVERHEADS = Path(__file__).with_name("overheads.py")


def children_memory_bytes(root: int) -> int:
    """Proportional set size of a process and everything below it."""
    parents = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                fields = (entry / "stat").read_text().rsplit(")", 1)[1].split()
            except (OSError, IndexError):
                continue
            parents[int(entry.name)] = int(fields[1])
    family, grew = {root}, True
    while grew:
        found = {pid for pid, parent in parents.items() if parent in family} | family
        grew, family = found != family, found
    total = 0
    for pid in family:
        try:
            text = Path(f"/proc/{pid}/smaps_rollup").read_text()
        except OSError:
            continue
        total += sum(int(line.split()[1]) * 1024 for line in text.splitlines() if line.startswith("Pss:"))
    return total


def run_night() -> dict[str, object]:
    """Run one night and measure it."""
    load = os.getloadavg()[0]
    with tempfile.TemporaryDirectory(prefix="acceleray-bench-") as folder:
        project = Path(folder) / "sp500"
        shutil.copytree(
            ROOT / "examples" / "sp500",
            project,
            ignore=shutil.ignore_patterns("lake", "runs", "__pycache__"),
        )
        started = time.perf_counter()
        process = subprocess.Popen(
            [sys.executable, "-m", "acceleray.cli", "run", "-C", str(project)],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        peak, done = 0, threading.Event()

        def watch() -> None:
            nonlocal peak
            while not done.wait(0.1):
                peak = max(peak, children_memory_bytes(process.pid))

        watcher = threading.Thread(target=watch)
        watcher.start()
        _, messages = process.communicate()
        seconds = time.perf_counter() - started
        done.set()
        watcher.join()
        if process.returncode != 0:
            raise SystemExit(f"the night ended with {process.returncode}:\n{messages}")
        (run,) = (path.parent for path in (project / "runs").glob("*/run.json"))
        entries = {stage: json.loads((run / "events" / f"{stage}.1.json").read_text()) for stage in STAGES}
    return {
        "seconds": seconds,
        "load_before": load,
        "peak_bytes": peak,
        "stderr_lines": len(messages.splitlines()),
        "stages": {stage: entry["seconds"] for stage, entry in entries.items()},
        "startup": {stage: entry["startup_seconds"] for stage, entry in entries.items()},
    }


def measure_overheads() -> dict[str, float]:
    """Measure what engines cost before any work is done."""
    found: dict[str, float] = {}
    for engine in ("spark", "ray"):
        done = subprocess.run(
            [sys.executable, str(OVERHEADS), engine], capture_output=True, text=True, check=True
        )
        found |= json.loads(done.stdout.splitlines()[-1])
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--json", action="store_true")
    arguments = parser.parse_args()
    nights = [run_night() for _ in range(arguments.runs)]
    overheads = measure_overheads()
    seconds = [float(night["seconds"]) for night in nights]
    result = {
        "nights": nights,
        "overheads": overheads,
        "median_seconds": statistics.median(seconds),
        "overhead_seconds": sum(overheads.values()),
        "outside_overhead_seconds": statistics.median(seconds) - sum(overheads.values()),
        "peak_bytes": max(int(night["peak_bytes"]) for night in nights),
        "cpus": os.cpu_count(),
    }
    if arguments.json:
        print(json.dumps(result, indent=1))
        return
    print(f"{os.cpu_count()} CPUs; load before each run: {[round(n['load_before'], 1) for n in nights]}")
    print(f"{'stage':<12}{'median s':>10}{'min':>8}{'max':>8}")
    for stage in STAGES:
        values = [night["stages"][stage] for night in nights]
        print(f"{stage:<12}{statistics.median(values):>10.1f}{min(values):>8.1f}{max(values):>8.1f}")
    print(f"{'night':<12}{statistics.median(seconds):>10.1f}{min(seconds):>8.1f}{max(seconds):>8.1f}")
    print("\nengine overhead, measured apart:")
    for name, value in overheads.items():
        print(f"  {name:<44}{value:>7.1f} s")
    print(f"  {'together':<44}{result['overhead_seconds']:>7.1f} s")
    print(f"\noutside engine overhead: {result['outside_overhead_seconds']:.1f} s")
    print(f"peak memory of all processes: {result['peak_bytes'] / 1e9:.2f} GB (proportional set size)")
    print(f"lines on standard error: {max(night['stderr_lines'] for night in nights)}")


if __name__ == "__main__":
    main()
