"""Collect the facts about the loan book."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from acceleray.config.models import Settings
from acceleray.config.scenarios import Scenario
from acceleray.reporting import facts_credit as f
from acceleray.reporting.collect import Tables, estimate, rows
from acceleray.reporting.estimate import Estimate

__all__ = ["CREDIT_TOTAL", "credit", "reference_scenario"]

# The segment that stands for the whole loan book.
CREDIT_TOTAL = "*"
# Default probabilities are those of one year, and so are all losses of the loan book.
_HORIZON = "1 year"
_NO_LEVEL = 0.0
# Kept short on the page; the table has more.
_NAMES = 10


def credit(tables: Tables, settings: Settings, scenarios: Sequence[Scenario] = ()) -> f.Credit | None:
    """Take the losses of the book in every scenario and of its segments in one; None without a loan book.

    Parameters
    ----------
    tables : mapping of str to pyarrow.Table
        ``result.credit``, ``result.credit_curve``, ``result.credit_obligors`` and ``raw.controls``.
    settings : Settings
        The night's settings.
    scenarios : sequence of Scenario
        In the order of their file.
    """
    found = {
        (row["segment"], row["scenario"], row["measure"], row["level"]): row
        for row in rows(tables["result.credit"])
    }
    if not found:
        return None
    choices = {(row["segment"], row["scenario"]): row for row in rows(tables["result.credit_curve"])}
    levels = sorted(settings.simulate.credit.levels)
    joint = {each.name for each in scenarios if each.reaches_market and each.reaches_credit}

    def case(segment: str, scenario: str) -> f.CreditCase:
        def row(measure: str, level: float = _NO_LEVEL) -> dict[str, Any] | None:
            return found.get((segment, scenario, measure, level))

        def at(level: float) -> f.CreditLevel:
            return f.CreditLevel(
                level=level,
                var=estimate(row("VaR", level)),
                es=estimate(row("ES", level)),
                economic_capital=estimate(row("economic_capital", level)),
                asrf=estimate(row("asrf_var", level)),
                contribution=None if segment == CREDIT_TOTAL else estimate(row("ES_contribution", level)),
                tail_paths=(row("VaR", level) or {}).get("tail_paths"),
            )

        tail = row("VaR", levels[-1]) or {}
        choice = choices.get((segment, scenario), {})
        return f.CreditCase(
            segment=segment,
            scenario=scenario,
            expected_loss=estimate(row("expected_loss")),
            simulated_loss=estimate(row("expected_loss_simulated")),
            irb_capital=_irb_capital(found, segment, scenario),
            levels=tuple(at(level) for level in levels),
            method=tail.get("method"),
            n_paths=tail.get("n_paths"),
            why=choice.get("why") or "",
            distance=choice.get("distance"),
            market_too=scenario in joint,
        )

    names = sorted({key[1] for key in found})
    reference = reference_scenario(names, scenarios)
    cases = [case(CREDIT_TOTAL, name) for name in names]
    cases.sort(key=lambda x: (x.scenario != reference, x.expected_loss.value or 0.0, x.scenario))
    segments = sorted({key[0] for key in found if key[0] != CREDIT_TOTAL})
    control = next(rows(tables["raw.controls"], input="obligors"), None)
    return f.Credit(
        label=settings.report.credit_label,
        horizon=_HORIZON,
        level=levels[-1],
        reference=reference,
        method=settings.simulate.credit.method,
        dof=settings.simulate.credit.dof,
        obligors=control["rows_accepted"] if control else None,
        ead=control["amount_total"] if control and control["amount_column"] == "ead" else None,
        scenarios=tuple(cases),
        segments=tuple(case(name, reference) for name in segments),
        tail=_tail(tables, cases[0]),
    )


def reference_scenario(names: Sequence[str], scenarios: Sequence[Scenario]) -> str:
    """Return the first scenario of the file that changes nothing; without one, the first of the loan book.

    Parameters
    ----------
    names : sequence of str
        Scenarios of the loan book that were run, at least one. Those that no file names come last.
    scenarios : sequence of Scenario
        In the order of their file.
    """
    ours = [each for each in scenarios if each.name in names and each.reaches_credit]
    unshocked = [each for each in ours if not each.shocks and each.from_ is None]
    return next((each.name for each in (*unshocked, *ours)), names[0])


def _irb_capital(
    found: dict[tuple[str, str, str, float], dict[str, Any]], segment: str, scenario: str
) -> Estimate:
    """Take the Basel formula, which has a level of its own, whatever the levels of the settings."""
    return estimate(
        next((row for key, row in found.items() if key[:3] == (segment, scenario, "irb_capital")), None)
    )


def _tail(tables: Tables, case: f.CreditCase) -> f.CreditTail | None:
    tail = case.levels[-1]
    listed: dict[str, dict[str, Any]] = {}
    for row in rows(tables["result.credit_obligors"], scenario=case.scenario, level=tail.level):
        if row["obligor_id"]:
            about = listed.setdefault(
                row["obligor_id"], {**row, "VaR_contribution": None, "ES_contribution": None}
            )
            about[row["measure"]] = row["value"]
    if not listed or tail.var.value is None or tail.es.value is None:
        return None
    var, shortfall = tail.var.value, tail.es.value

    def share(part: float | None, whole: float) -> float | None:
        return None if part is None or not whole else part / whole

    names = [
        f.CreditObligor(
            obligor_id=row["obligor_id"],
            segment=row["segment"],
            ead=row["ead"],
            default_prob=row["default_prob"],
            lgd=row["lgd"],
            var=row["VaR_contribution"],
            var_share=share(row["VaR_contribution"], var),
            es=row["ES_contribution"],
            es_share=share(row["ES_contribution"], shortfall),
        )
        for row in listed.values()
    ]
    names.sort(key=lambda x: (-(x.es or 0.0), -(x.var or 0.0), x.obligor_id))
    del names[_NAMES:]
    return f.CreditTail(
        level=tail.level,
        names=tuple(names),
        others_var=var - math.fsum(x.var for x in names if x.var is not None),
        others_es=shortfall - math.fsum(x.es for x in names if x.es is not None),
    )
