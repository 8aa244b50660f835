"""The page of ``acceleray validate``: every check of validation.json, with its source."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from acceleray.reporting import format as fmt
from acceleray.reporting.page import environment

__all__ = ["render_validation"]

_NAMES = {"pass": "Pass", "fail": "Fail", "not covered": "Not covered"}
_HEADLINES = {"pass": "all pass", "fail": "failed", "not covered": "nothing failed, not all is covered"}
_CLASSES = {"pass": "v-pass", "fail": "v-fail", "not covered": "v-none"}


def render_validation(document: Mapping[str, Any]) -> str:
    """Render the page.

    Parameters
    ----------
    document : mapping
        Content of ``validation.json``.

    Returns
    -------
    str
        A complete HTML document without external requests or scripts.
    """
    cases = [_case(case) for case in document["cases"]]
    areas: dict[str, list[dict[str, Any]]] = {}
    for case in cases:
        areas.setdefault(case["area"], []).append(case)
    html: str = (
        environment()
        .get_template("validation.html.j2")
        .render(
            document=document,
            verdict=_verdict(document["verdict"]) | {"name": _HEADLINES[document["verdict"]]},
            summary=_summary(document["n_cases"], len(cases), document["n_checks"]),
            started=document["started_at"].replace("T", " ").replace("+00:00", " UTC"),
            seconds=fmt.duration(document["seconds"]),
            packages=[f"{name} {version or 'absent'}" for name, version in document["packages"].items()],
            areas=[{"name": name, "cases": members} for name, members in areas.items()],
            open_cases=[case for case in cases if case["verdict"]["id"] != "pass"],
        )
    )
    return html


def _summary(n_cases: Mapping[str, int], total: int, n_checks: Mapping[str, int]) -> str:
    parts = [f"{count} {_NAMES[verdict].lower()}" for verdict, count in n_cases.items()]
    return f"{fmt.plural(total, 'case')}: {', '.join(parts)}. {fmt.plural(sum(n_checks.values()), 'check')}."


def _case(case: Mapping[str, Any]) -> dict[str, Any]:
    checks = [_check(check) for check in case["checks"]]
    reasons = dict.fromkeys(check["reason"] for check in checks if check["reason"])
    because = dict.fromkeys(check["because"] for check in checks if check["because"])
    return {
        "id": case["id"],
        "area": case["area"].capitalize(),
        "title": case["title"],
        "source": case["source"],
        "how": case["how"],
        "verdict": _verdict(case["verdict"]),
        "seconds": fmt.duration(case["seconds"]) if case["seconds"] >= 0.05 else "",
        "checks": checks,
        "sampled": any(check["standard_error"] for check in checks),
        "reasons": list(reasons),
        "because": "; ".join(because),
    }


def _check(check: Mapping[str, Any]) -> dict[str, Any]:
    tolerance = check["tolerance"]
    error, allowed = check["standard_error"], check["allowed"]
    return {
        "name": check["name"],
        "expected": fmt.significant(check["expected"]),
        "found": "" if check["verdict"] == "not covered" else fmt.significant(check["found"]),
        "difference": _difference(check["expected"], check["found"]) if allowed is not None else "",
        "standard_error": _short(error),
        "tolerance": tolerance["text"].replace("-", fmt.MINUS),
        "allowed": _short(allowed) if allowed else "",
        "because": tolerance["because"],
        "verdict": _verdict(check["verdict"]),
        "reason": check["reason"],
    }


def _difference(expected: Any, found: Any) -> str:
    if isinstance(found, str):
        return found
    return _short(float(found) - float(expected))


def _short(value: float | str | None) -> str:
    if value is None:
        return ""
    return value if isinstance(value, str) else f"{float(f'{value:.2g}'):g}".replace("-", fmt.MINUS)


def _verdict(verdict: str) -> dict[str, str]:
    return {"id": verdict, "name": _NAMES[verdict], "style": _CLASSES[verdict]}
