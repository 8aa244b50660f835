"""The validation report as JSON values: what was computed, where, and with what."""

from __future__ import annotations

import datetime as dt
import math
from collections.abc import Sequence
from dataclasses import asdict
from importlib import metadata
from typing import Any

from acceleray.pipeline.provenance import code_version, machine, packages_sha256
from acceleray.validation.case import CaseResult, CheckResult, Value, Verdict, worst

__all__ = ["document_of"]

# What the numbers of the cases come from.
_PACKAGES = ("numpy", "scipy", "numba", "llvmlite", "pyarrow", "QuantLib")


def document_of(results: Sequence[CaseResult], *, started_at: dt.datetime, seconds: float) -> dict[str, Any]:
    """Put the results together with machine, versions and date.

    Parameters
    ----------
    results : sequence of CaseResult
        From `compute`.
    started_at : datetime
        In UTC.
    seconds : float
        Wall time of all cases, compilation included.
    """
    checks = [check for result in results for check in result.checks]
    return {
        "format": 1,
        "verdict": worst(result.verdict for result in results).value,
        "started_at": started_at.isoformat(timespec="seconds"),
        "seconds": round(seconds, 2),
        "code_version": code_version(),
        "packages_sha256": packages_sha256(),
        "packages": {name: _version(name) for name in _PACKAGES},
        "machine": machine(),
        "n_cases": {verdict.value: _count(results, verdict) for verdict in Verdict},
        "n_checks": {verdict.value: _count(checks, verdict) for verdict in Verdict},
        "cases": [_case(result) for result in results],
    }


def _case(result: CaseResult) -> dict[str, Any]:
    case = result.case
    return {
        "id": case.case_id,
        "area": case.area,
        "title": case.title,
        "source": case.source,
        "how": case.how,
        "verdict": result.verdict.value,
        "seconds": round(result.seconds, 3),
        "inputs": dict(case.inputs),
        "checks": [_check(check) for check in result.checks],
    }


def _check(check: CheckResult) -> dict[str, Any]:
    return {
        "name": check.name,
        "expected": check.expected,
        "found": _plain(check.found),
        "standard_error": _plain(check.standard_error),
        "tolerance": asdict(check.tolerance) | {"text": check.tolerance.as_text()},
        "allowed": _plain(check.allowed),
        "verdict": check.verdict.value,
        "reason": check.reason,
    }


def _plain(value: Value) -> Value:
    """JSON knows no NaN and no infinity."""
    return str(value) if isinstance(value, float) and not math.isfinite(value) else value


def _count(found: Sequence[CaseResult] | Sequence[CheckResult], verdict: Verdict) -> int:
    return sum(each.verdict is verdict for each in found)


def _version(name: str) -> str | None:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return None
