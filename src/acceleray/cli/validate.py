"""What ``acceleray validate`` computes, writes and prints."""

from __future__ import annotations

import datetime as dt
import importlib.util
import json
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from acceleray.cli.console import note
from acceleray.lake.files import write_atomic
from acceleray.pipeline.outcome import PARTIAL_EXIT
from acceleray.reporting.format import MINUS, significant
from acceleray.validation.case import load_cases
from acceleray.validation.document import document_of
from acceleray.validation.run import compute

__all__ = ["validation_as_text", "validation_facts"]

# A failed case is a fault of our numbers; one that is not covered leaves the report incomplete.
_EXIT_CODES = {"pass": 0, "fail": 1, "not covered": PARTIAL_EXIT}


def validation_facts(folder: Path, names: Sequence[str], progress: Callable[[str], None]) -> dict[str, Any]:
    """Compute the cases and write ``validation.json`` and ``validation.html``.

    Parameters
    ----------
    folder : Path
        Where the files go; made if it is not there.
    names : sequence of str
        Cases to compute; all of them if there is none.
    progress : callable
        Is told the name of each case.

    Returns
    -------
    dict
        Content of ``validation.json``, and under ``files`` where everything is.
    """
    cases = load_cases(tuple(names))
    started_at, begun = dt.datetime.now(dt.UTC), time.perf_counter()
    results = compute(cases, progress)
    document = document_of(results, started_at=started_at, seconds=time.perf_counter() - begun)
    contents = {"validation.json": json.dumps(document, indent=1, allow_nan=False) + "\n"}
    if importlib.util.find_spec("jinja2") is None:
        note("validation.html was not written: pip install 'acceleray[report]'")
    else:
        from acceleray.reporting.validation_page import render_validation

        contents["validation.html"] = render_validation(document)
    for name, content in contents.items():
        write_atomic(folder / name, content.encode())
    files = [str(folder / name) for name in contents]
    return {"exit_code": _EXIT_CODES[document["verdict"]], "files": files, **document}


def validation_as_text(document: Mapping[str, Any]) -> str:
    """Lay out every check in a line, then what failed or is missing and why, and where the files are."""
    cells = [["case", "check", "expected", "found", "tolerance", "verdict"]]
    reasons: dict[str, None] = {}
    for case in document["cases"]:
        for check in case["checks"]:
            cells.append(
                [
                    case["id"],
                    check["name"],
                    _plain(check["expected"]),
                    _plain(check["found"]),
                    check["tolerance"]["text"],
                    check["verdict"],
                ]
            )
            if check["reason"]:
                reasons[f"{case['id']}: {check['verdict']}: {check['reason']}"] = None
    widths = [max(len(line[column]) for line in cells) for column in range(6)]
    lines = [
        "  ".join(
            text.rjust(width) if column in (2, 3) else text.ljust(width)
            for column, (text, width) in enumerate(zip(line, widths, strict=True))
        ).rstrip()
        for line in cells
    ]
    counts = ", ".join(f"{count} {verdict}" for verdict, count in document["n_cases"].items())
    total = len(document["cases"])
    summary = f"{total} cases, {len(cells) - 1} checks: {counts} ({document['seconds']:.0f} s)"
    return "\n".join([*lines, "", *reasons, *([""] if reasons else []), summary, *document["files"]])


def _plain(value: float | str | bool | None) -> str:
    """Write a value so that other programs read its sign too."""
    return significant(value).replace(MINUS, "-")
