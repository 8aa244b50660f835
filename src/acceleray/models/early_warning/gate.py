"""The gate to champion: evidence against every rival, and a person who stands behind it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from acceleray.models.early_warning.evaluation import LEVEL, Comparison

__all__ = ["Verdict", "decide"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """What becomes of the candidate, and why.

    Parameters
    ----------
    passed : bool
        The evidence is there: the candidate is at least the challenger.
    promoted : bool
        And somebody stands behind it: it becomes champion.
    reason : str
    """

    passed: bool
    promoted: bool
    reason: str


def decide(comparisons: Sequence[Comparison], *, approver: str | None) -> Verdict:
    """Judge the candidate.

    Parameters
    ----------
    comparisons : sequence of Comparison
        Candidate minus each baseline, and minus the champion where there is one, on the out-of-time test.
    approver : str or None
        Who stands behind a promotion.

    Notes
    -----
    The candidate is promoted if against *every* rival its average precision is higher and its Brier score
    lower, each with an interval of the paired difference that excludes zero; and if an approver is named. A
    difference whose interval includes zero flips with the seed of the search: it is no evidence. With the
    evidence and without an approver the candidate is the challenger.
    """
    failures = [failure for comparison in comparisons for failure in _failures(comparison)]
    if failures:
        return Verdict(passed=False, promoted=False, reason="; ".join(failures))
    evidence = "better than " + " and ".join(comparison.against for comparison in comparisons)
    if approver is None:
        return Verdict(
            passed=True,
            promoted=False,
            reason=f"{evidence} out of time: challenger, but train.approver names nobody",
        )
    return Verdict(passed=True, promoted=True, reason=f"{evidence} out of time; approved by {approver}")


def _failures(comparison: Comparison) -> list[str]:
    ranking, brier = comparison.average_precision, comparison.brier
    failures = []
    if not ranking.value > 0.0:
        failures.append(f"average precision {ranking.value:+.4f} against {comparison.against}")
    elif not ranking.ci_low > 0.0:
        failures.append(
            f"average precision {ranking.value:+.4f} against {comparison.against}, but its "
            f"{LEVEL:.0%} interval [{ranking.ci_low:+.4f}, {ranking.ci_high:+.4f}] includes zero"
        )
    if not brier.value < 0.0:
        failures.append(f"Brier score {brier.value:+.5f} against {comparison.against}")
    elif not brier.ci_high < 0.0:
        failures.append(
            f"Brier score {brier.value:+.5f} against {comparison.against}, but its "
            f"{LEVEL:.0%} interval [{brier.ci_low:+.5f}, {brier.ci_high:+.5f}] includes zero"
        )
    return failures
