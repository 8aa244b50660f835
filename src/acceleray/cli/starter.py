"""What `acceleray init` writes: a small project that runs, on data that says it is invented."""

from __future__ import annotations

import csv
import io
from importlib import resources
from pathlib import Path

import numpy as np

from acceleray.domain.calendar import sessions
from acceleray.errors import UsageError
from acceleray.lake.files import write_atomic

__all__ = ["write_project"]

_STOCKS = ("ALPHA", "BRAVO", "CHARLIE", "DELTA")
_FIRST, _LAST = "2017-01-03", "2024-06-28"
_SEED = 20240628


def write_project(directory: Path) -> list[Path]:
    """Write a project to start from.

    The market is a seeded random walk with volatility clusters and every name says that it is an example:
    replace the files under ``inputs/`` by your own.

    Parameters
    ----------
    directory : Path
        A directory that does not exist yet, or is empty.

    Returns
    -------
    list of Path
        The files written.

    Raises
    ------
    UsageError
        If the directory holds something already.
    """
    if directory.exists() and (not directory.is_dir() or any(directory.iterdir())):
        raise UsageError(f"{directory} exists and is not empty", hint="Name a new directory.")
    written = []
    templates = resources.files("acceleray.cli") / "templates"
    for name in ("acceleray.yaml", "scenarios.yaml", "limits.yaml"):
        text = (templates / name).read_text(encoding="utf-8").replace("{name}", directory.resolve().name)
        written.append(_write(directory / name, text))
    written.append(_write(directory / "inputs" / "market.csv", _market()))
    for name in ("factors.csv", "instruments.csv", "positions.csv"):
        written.append(_write(directory / "inputs" / name, (templates / name).read_text(encoding="utf-8")))
    return written


def _market() -> str:
    import datetime as dt

    days = sessions("XNYS", dt.date.fromisoformat(_FIRST), dt.date.fromisoformat(_LAST))
    generator = np.random.Generator(np.random.Philox(_SEED))
    n = days.size
    # Two volatility regimes that persist, so that there is something to warn of.
    calm = np.empty(n, dtype=bool)
    calm[0] = True
    switch = generator.random(n)
    for i in range(1, n):
        calm[i] = switch[i] > 0.01 if calm[i - 1] else switch[i] < 0.04
    scale = np.where(calm, 0.007, 0.02)
    index = scale * generator.standard_normal(n)
    columns = {"EXAMPLE_INDEX": 4000.0 * np.exp(np.cumsum(index))}
    for i, name in enumerate(_STOCKS):
        own = scale * 1.2 * generator.standard_normal(n)
        columns[name] = (50.0 + 40.0 * i) * np.exp(np.cumsum((0.7 + 0.2 * i) * index + own))
    columns["EXAMPLE_VOL"] = np.clip(
        scale * np.sqrt(252) * np.exp(0.05 * generator.standard_normal(n)), 0.05, 1.5
    )
    columns["EXAMPLE_YIELD"] = 0.04 + 0.01 * np.tanh(np.cumsum(0.02 * generator.standard_normal(n)))
    columns["EXAMPLE_EUR"] = 1.08 * np.exp(np.cumsum(0.004 * generator.standard_normal(n)))
    stream = io.StringIO()
    writer = csv.writer(stream, lineterminator="\n")
    writer.writerow(["date", "factor_id", "value"])
    for factor, values in columns.items():
        writer.writerows((str(day), factor, f"{value:.6f}") for day, value in zip(days, values, strict=True))
    return stream.getvalue()


def _write(path: Path, text: str) -> Path:
    write_atomic(path, text.encode("utf-8"))
    return path
