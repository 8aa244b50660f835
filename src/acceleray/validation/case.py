"""What a validation case is, what was found for it, and when the two agree."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from importlib import resources
from typing import Any

from acceleray.errors import UsageError

__all__ = [
    "Case",
    "CaseResult",
    "CheckResult",
    "Found",
    "NotCovered",
    "NotCoveredError",
    "Tolerance",
    "Value",
    "Verdict",
    "judge",
    "load_cases",
    "worst",
]

Value = float | int | str | bool | None


class Verdict(StrEnum):
    """What came of a check; of a case, the worst of its checks."""

    PASS = "pass"  # noqa: S105 - a verdict, not a password
    FAIL = "fail"
    NOT_COVERED = "not covered"


@dataclass(frozen=True, slots=True, kw_only=True)
class Tolerance:
    """How far a found number may lie from the expected one: the sum of the parts.

    Parameters
    ----------
    absolute : float
        In the unit of the number.
    relative : float
        Share of the expected number.
    standard_errors : float
        Of the estimate, if it was simulated.
    because : str
        Where the tolerance comes from.
    """

    absolute: float = 0.0
    relative: float = 0.0
    standard_errors: float = 0.0
    because: str = ""

    def allowed(self, expected: float, standard_error: float | None) -> float:
        """Largest difference that passes, in the unit of the number."""
        sampling = self.standard_errors * (standard_error or 0.0) if self.standard_errors else 0.0
        return self.absolute + self.relative * abs(expected) + sampling

    def as_text(self) -> str:
        """Say it in a few characters."""
        parts = []
        if self.standard_errors:
            parts.append(f"{self.standard_errors:g} s.e.")
        if self.absolute:
            parts.append(f"{self.absolute:g}")
        if self.relative:
            parts.append(f"{self.relative:g} rel.")
        return " + ".join(parts) or "exact"


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """Numbers that are known, and what they belong to.

    Parameters
    ----------
    case_id : str
        Its name.
    area : str
        Prices, market risk, tail measures, credit risk, backtests or conventions.
    title, source : str
        What is known, and who says so; ``closed form`` where anybody can derive it.
    how : str
        Which code computes it here, in words.
    family : str
        Function that computes it.
    inputs : mapping
        For that function.
    expected : mapping of str to Value
        By name of the check.
    tolerance : Tolerance
        Of all checks but those in `tolerances`.
    tolerances : mapping of str to Tolerance
        By name of the check.
    """

    case_id: str
    area: str
    title: str
    source: str
    how: str
    family: str
    inputs: Mapping[str, Any]
    expected: Mapping[str, Value]
    tolerance: Tolerance
    tolerances: Mapping[str, Tolerance]


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """What our code gave; with its standard error if it was simulated."""

    value: Value
    standard_error: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class NotCovered:
    """Our code does not compute this, or not here; never a pass."""

    reason: str


class NotCoveredError(Exception):
    """A whole case cannot be computed here; the text is the reason."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CheckResult:
    """One number: expected, found, and the verdict."""

    name: str
    expected: Value
    found: Value
    standard_error: float | None
    tolerance: Tolerance
    allowed: float | None
    verdict: Verdict
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class CaseResult:
    """One case with all its checks."""

    case: Case
    checks: tuple[CheckResult, ...]
    seconds: float

    @property
    def verdict(self) -> Verdict:
        """The worst of the checks."""
        return worst(check.verdict for check in self.checks)


def worst(verdicts: Any) -> Verdict:
    """Return the worst of some verdicts: a failure, else something that is not covered, else a pass."""
    found = set(verdicts)
    for verdict in (Verdict.FAIL, Verdict.NOT_COVERED):
        if verdict in found:
            return verdict
    return Verdict.PASS


def judge(name: str, expected: Value, found: Found | NotCovered, tolerance: Tolerance) -> CheckResult:
    """Compare what was found with what was expected.

    Numbers may differ by the tolerance; a found number that is not finite fails, and so does one without
    the standard error that its tolerance counts. Everything else must be equal.
    """
    if isinstance(found, NotCovered):
        return CheckResult(
            name=name,
            expected=expected,
            found=None,
            standard_error=None,
            tolerance=tolerance,
            allowed=None,
            verdict=Verdict.NOT_COVERED,
            reason=found.reason,
        )
    allowed: float | None = None
    if _is_number(expected) and _is_number(found.value):
        wanted, value = float(expected or 0.0), float(found.value or 0.0)
        allowed = tolerance.allowed(wanted, found.standard_error)
        agrees = math.isfinite(value) and abs(value - wanted) <= allowed
        if tolerance.standard_errors and found.standard_error is None:
            agrees = False
    else:
        agrees = type(expected) is type(found.value) and expected == found.value
    return CheckResult(
        name=name,
        expected=expected,
        found=found.value,
        standard_error=found.standard_error,
        tolerance=tolerance,
        allowed=allowed,
        verdict=Verdict.PASS if agrees else Verdict.FAIL,
        reason="",
    )


def load_cases(names: tuple[str, ...] = ()) -> tuple[Case, ...]:
    """Read the cases that come with the package, all or some.

    Raises
    ------
    UsageError
        If there is no case of a name.
    """
    text = resources.files("acceleray.validation").joinpath("cases.json").read_text(encoding="utf-8")
    cases = tuple(_case(plain) for plain in json.loads(text))
    known = [case.case_id for case in cases]
    unknown = [name for name in names if name not in known]
    if unknown:
        raise UsageError(f"--case {unknown[0]}: no such case", hint=f"Known: {', '.join(known)}")
    return tuple(case for case in cases if not names or case.case_id in names)


def _case(plain: Mapping[str, Any]) -> Case:
    common = Tolerance(**plain["tolerance"])
    return Case(
        case_id=plain["id"],
        area=plain["area"],
        title=plain["title"],
        source=plain["source"],
        how=plain["how"],
        family=plain["family"],
        inputs=plain["inputs"],
        expected=plain["expected"],
        tolerance=common,
        tolerances={name: Tolerance(**each) for name, each in plain.get("tolerances", {}).items()},
    )


def _is_number(value: Value) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)
