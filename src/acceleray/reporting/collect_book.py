"""Collect the facts about the book as a whole: P&L explain, sensitivities, active risk, capital, stressed ES.

Figures are taken from the tables. What is worked out here is what the page itself states: sums and shares of
its own rows.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from typing import Any

from acceleray.config.models import Settings
from acceleray.domain.book import ROOT
from acceleray.reporting import facts as f
from acceleray.reporting import facts_book as b
from acceleray.reporting.collect import Tables, estimate, rows, top_nodes

__all__ = ["STRESSED", "active", "capital", "explain", "sensitivities", "stressed"]

# Method of the stressed expected shortfall among the rows of ``result.measures``.
STRESSED = "stressed_historical"

# In this order on the page; those in brackets only where they are not zero.
_TERMS = (
    ("theta", True),
    ("delta", True),
    ("gamma", True),
    ("cross_gamma", False),
    ("vega", True),
    ("rates", True),
    ("spreads", True),
    ("dividends", False),
    ("fx", True),
    ("calibration", False),
    ("settled", False),
    ("new_trades", True),
    ("residual", True),
)

# Kinds of sensitivity in the order of the page, and whether all factors together have a meaning.
_KINDS = (
    ("delta_percent", True),
    ("gamma_percent", False),
    ("vega", True),
    ("dv01", True),
    ("cs01", True),
    ("dividend01", True),
)
_LARGEST = 5

_WINDOW = re.compile(r"(\d{4}-\d{2}-\d{2}) to (\d{4}-\d{2}-\d{2})")

Row = Mapping[str, Any]


def explain(tables: Tables, as_of: str) -> b.Explain:
    """Take the parts of the fund's change in value since the earlier night, in the order of the page."""
    found = list(rows(tables["result.explain"], portfolio_id=ROOT))
    values = {row["term"]: row["value"] for row in found}
    if "total" not in values:
        return b.Explain(
            portfolio_id=ROOT,
            from_date=None,
            to_date=as_of,
            terms=(),
            total=None,
            residual_share=None,
            reason="no earlier night has been published to compare with",
        )
    total, residual = values["total"], values["residual"]
    return b.Explain(
        portfolio_id=ROOT,
        from_date=found[0]["from_date"],
        to_date=as_of,
        terms=tuple(
            b.ExplainTerm(term=term, value=values[term])
            for term, always in _TERMS
            if always or values.get(term)
        ),
        total=total,
        residual_share=abs(residual) / abs(total) if total else None,
        reason=None,
    )


def sensitivities(tables: Tables) -> b.Greeks | None:
    """Take the fund's largest sensitivities of every kind, and add the rest up."""
    by_measure: dict[str, list[dict[str, Any]]] = {}
    for row in rows(tables["result.sensitivities"], portfolio_id=ROOT):
        by_measure.setdefault(row["measure"], []).append(row)
    kinds = []
    for measure, adds_up in _KINDS:
        found = by_measure.get(measure, [])
        if not found:
            continue
        found.sort(key=lambda row: (-abs(row["value"]), row["factor_id"]))
        # A rest of one takes the line that would tell its name.
        shown = found if len(found) == _LARGEST + 1 else found[:_LARGEST]
        rest = found[len(shown) :]
        kinds.append(
            b.Greek(
                measure=measure,
                unit=found[0]["unit"],
                factors=tuple(b.Sensitivity(factor_id=row["factor_id"], value=row["value"]) for row in shown),
                others_count=len(rest),
                others_value=math.fsum(row["value"] for row in rest),
                total=math.fsum(row["value"] for row in found) if adds_up else None,
            )
        )
    theta = next((row["value"] for row in by_measure.get("theta", ())), None)
    if not kinds and theta is None:
        return None
    return b.Greeks(portfolio_id=ROOT, kinds=tuple(kinds), theta=theta)


def active(tables: Tables, settings: Settings) -> b.Active | None:
    """Take the figures of every portfolio that names a benchmark, the fund first."""
    given = {
        row["portfolio_id"]: row["benchmark_id"]
        for row in rows(tables["raw.portfolios"])
        if row["benchmark_id"] is not None
    }
    figures = _portfolio_figures(tables)
    limits = {row["portfolio_id"]: row for row in rows(tables["check.limits"], type="tracking_error")}
    portfolios = []
    for node in sorted(given, key=lambda name: (name != ROOT, name)):
        limit = limits.get(node, {})
        members = [
            row
            for (portfolio, measure, member), row in figures.items()
            if portfolio == node and measure == "active_VaR" and member and row["value"] is not None
        ]
        largest = max(members, key=lambda row: (abs(row["value"]), row["member_id"]), default=None)
        portfolios.append(
            b.ActivePortfolio(
                portfolio_id=node,
                benchmark_id=given[node],
                tracking_error=_estimate(figures.get((node, "tracking_error", ""))),
                limit=limit.get("limit"),
                limit_state=limit.get("state"),
                active_var=_estimate(figures.get((node, "active_VaR", ""))),
                active_es=_estimate(figures.get((node, "active_ES", ""))),
                largest=None
                if largest is None
                else b.Contributor(instrument_id=largest["member_id"], estimate=_estimate(largest)),
            )
        )
    if not portfolios:
        return None
    simulate = settings.simulate
    return b.Active(
        var_level=simulate.var_level,
        es_level=simulate.es_level,
        horizon_days=min(simulate.horizons_days),
        portfolios=tuple(portfolios),
    )


def capital(tables: Tables, settings: Settings) -> b.Capital | None:
    """Take the fund and its children against their capital, and the fund's exposure by currency."""
    figures = _portfolio_figures(tables)
    if not figures:
        return None

    def figure(node: str, measure: str, member: str = "") -> f.Estimate:
        return _estimate(figures.get((node, measure, member)))

    currencies = sorted(
        member for node, measure, member in figures if node == ROOT and measure == "fx_exposure_after_hedges"
    )
    simulate = settings.simulate
    return b.Capital(
        var_level=simulate.var_level,
        es_level=simulate.es_level,
        horizon_days=min(simulate.horizons_days),
        portfolios=tuple(
            b.PortfolioFigures(
                portfolio_id=node,
                nav=figure(node, "nav"),
                var=figure(node, "VaR"),
                es=figure(node, "ES"),
                gross_leverage=figure(node, "gross_leverage"),
                net_leverage=figure(node, "net_leverage"),
                days_largest=figure(node, "days_to_liquidate_largest"),
                days_mean=figure(node, "days_to_liquidate_mean"),
            )
            for node in [ROOT, *top_nodes(tables)]
        ),
        currencies=tuple(
            b.CurrencyExposure(
                currency=currency,
                before=figure(ROOT, "fx_exposure_before_hedges", currency),
                after=figure(ROOT, "fx_exposure_after_hedges", currency),
            )
            for currency in currencies
        ),
    )


def stressed(tables: Tables) -> f.Headline | None:
    """Take the fund's expected shortfall in the worst window of its history, where it was computed."""
    by_node = {row["portfolio_id"]: row for row in rows(tables["result.measures"], method=STRESSED)}
    if ROOT not in by_node:
        return None
    found = by_node[ROOT]
    children = [by_node[node] for node in top_nodes(tables) if node in by_node]
    children.sort(key=lambda row: (-(row["value"] or 0.0), row["portfolio_id"]))
    window = _WINDOW.search(found["ci_note"] or "")
    start, end = window.groups() if window else (None, None)
    return f.Headline(
        id="es-stressed",
        kind="amount",
        estimate=estimate(found),
        level=found["level"],
        horizon_days=found["horizon_days"],
        method=STRESSED,
        subject="ES",
        parts=tuple(f.Part(label=row["portfolio_id"], value=row["value"]) for row in children),
        table="result.measures",
        n_paths=found["n_paths"],
        window_from=start,
        window_to=end,
    )


def _portfolio_figures(tables: Tables) -> dict[tuple[str, str, str], Row]:
    return {
        (row["portfolio_id"], row["measure"], row["member_id"]): row
        for row in rows(tables["result.portfolio"])
    }


def _estimate(row: Row | None) -> f.Estimate:
    """Take a figure and its definition; of no value, only the reason that the definition begins with."""
    if row is None:
        return f.Estimate(value=None, note="not computed: no position in it has a price")
    note = (row["note"] or "").replace("; no interval: no sampling", "")
    return f.Estimate(
        value=row["value"],
        ci_low=row["ci_low"],
        ci_high=row["ci_high"],
        note=note.removeprefix("no value: ") or None,
    )
