"""Compute the cases one after the other, in this process."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from acceleray.errors import AccelerayError
from acceleray.validation import backtests, books, credit, dates, prices, tails
from acceleray.validation.case import (
    Case,
    CaseResult,
    CheckResult,
    Found,
    NotCovered,
    NotCoveredError,
    Tolerance,
    Verdict,
    judge,
)

__all__ = ["FAMILIES", "compute"]

Family = Callable[[Mapping[str, Any]], Mapping[str, Found | NotCovered]]


FAMILIES: Mapping[str, Family] = {
    "accrued": dates.accrued,
    "american_options": prices.american_options,
    "attribution": backtests.attribution,
    "bonds_and_swaps": prices.bonds_and_swaps,
    "day_counts": dates.day_counts,
    "european_options": prices.european_options,
    "exception_independence": backtests.exception_independence,
    "exception_rates": backtests.exception_rates,
    "exact_book": credit.exact_book,
    "exchangeable_book": credit.exchangeable_book,
    "factor_book": credit.factor_book,
    "forwards": prices.forwards,
    "granular_limit": credit.granular_limit,
    "laws": tails.laws,
    "linear_book": books.linear_book,
    "liquidity_cascade": tails.liquidity_cascade,
    "risk_weights": credit.risk_weights,
    "sampling_errors": tails.sampling_errors,
    "short_options": books.short_options,
    "shortfall_critical_value": backtests.shortfall_critical_value,
    "straddle": books.straddle,
    "superadditivity": tails.superadditivity,
    "variance_forecasts": tails.variance_forecasts,
    "zones": backtests.zones,
}


def compute(cases: Sequence[Case], progress: Callable[[str], None]) -> list[CaseResult]:
    """Compute cases and judge them.

    Parameters
    ----------
    cases : sequence of Case
        From `load_cases`.
    progress : callable
        Is told the name of each case before it begins.

    Returns
    -------
    list of CaseResult
        One per case. A case that our code refuses with an error of its own has failed.
    """
    results = []
    for case in cases:
        progress(case.case_id)
        begun = time.perf_counter()
        checks = _checks(case)
        results.append(CaseResult(case=case, checks=checks, seconds=time.perf_counter() - begun))
    return results


def _checks(case: Case) -> tuple[CheckResult, ...]:
    found: Mapping[str, Found | NotCovered]
    try:
        found = FAMILIES[case.family](case.inputs)
    except NotCoveredError as reason:
        found = dict.fromkeys(case.expected, NotCovered(reason=str(reason)))
    except AccelerayError as error:
        return tuple(
            CheckResult(
                name=name,
                expected=expected,
                found=None,
                standard_error=None,
                tolerance=_tolerance(case, name),
                allowed=None,
                verdict=Verdict.FAIL,
                reason=str(error),
            )
            for name, expected in case.expected.items()
        )
    return tuple(
        judge(name, expected, found[name], _tolerance(case, name)) for name, expected in case.expected.items()
    )


def _tolerance(case: Case, name: str) -> Tolerance:
    return case.tolerances.get(name, case.tolerance)
