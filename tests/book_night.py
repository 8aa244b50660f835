"""TEST DATA for `tests.report_night`: invented P&L explain, sensitivities and figures of portfolios."""

from __future__ import annotations

import datetime as dt
from typing import Any

FROM = dt.date(2018, 12, 27)
WINDOW_NOTE = (
    "worst of 6803 windows of 250 moves for Fund, 2007-12-03 to 2008-11-28; 8% of its factors by proxy; "
    "0% missing; interval order statistics"
)
NO_ADV = "no value: nothing held has an adv; trading 0.2 of the average daily volume, cash left out"
NO_SAMPLING = "; no interval: no sampling"

Rows = dict[str, list[dict[str, Any]]]


def tables(*, partial: bool, nodes: list[str], es: dict[str, float]) -> Rows:
    """All tables of this module; `es` is the headline expected shortfall of every node."""
    return {
        "result.explain": explain(residual=-14_600.0 if partial else 2_400.0),
        "result.sensitivities": sensitivities(),
        "raw.portfolios": [
            {"portfolio_id": "Fund", "nav": 12_000_000.0, "benchmark_id": "POLICY"},
            {"portfolio_id": "Equity/US/Growth", "nav": None, "benchmark_id": "GROWTH"},
            {"portfolio_id": "Overlay", "nav": 2_000_000.0, "benchmark_id": None},
        ],
        "result.portfolio": portfolio(partial=partial, nodes=nodes, es=es),
    }


def explain(*, residual: float) -> list[dict[str, Any]]:
    """Rows whose terms add up to their total, with a term that has no line of its own in the fixed order."""
    terms = {
        "theta": 6_100.0,
        "delta": -91_300.0,
        "vega": 3_200.0,
        "rates": 11_400.0,
        "spreads": -17_900.0,
        "fx": -5_100.0,
        "dividends": 0.0,
        "gamma": 4_300.0,
        "cross_gamma": -1_250.0,
        "residual": residual,
        "settled": 0.0,
        "calibration": 0.0,
        "new_trades": 3_300.0,
    }
    terms["total"] = sum(terms.values())
    return [
        {"portfolio_id": "Fund", "from_date": FROM, "term": term, "value": value, "currency": "USD"}
        for term, value in terms.items()
    ]


def sensitivities() -> list[dict[str, Any]]:
    """Nine prices, two vols, seven points of a curve, and one spread."""
    found: list[tuple[str, str, str, float, str]] = [("theta", "", "", -5_300.0, "+1 calendar day")]
    for rank, name in enumerate(("AAPL", "MSFT", "SP500", "JPM", "AMD", "XOM", "GE", "MTUM", "USMV")):
        size = (19_000.0 - 2_000.0 * rank) * (-1 if name in ("SP500", "GE") else 1)
        found.append(("delta", name, "", size / 1.5, "+1 of level"))
        found.append(("delta_percent", name, "", size, "+1 %"))
    found.append(("gamma", "SP500", "", 3.1, "+1 of level × +1 of level"))
    found.append(("gamma_percent", "SP500", "", 1_850.0, "+1 % × +1 %"))
    found.append(("cross_gamma", "SP500", "VIX", -4.0, "+1 of level × +0.01 of vol"))
    found += [("vega", name, "", size, "+0.01 of vol") for name, size in (("VIX", 8_200.0), ("V2X", -610.0))]
    found += [("dv01", f"USD_{years}Y", "", -110.0 * years, "+1 bp") for years in (1, 2, 3, 5, 7, 10, 20)]
    found.append(("cs01", "HY", "", -930.0, "+1 bp"))
    return [
        {
            "portfolio_id": node,
            "measure": measure,
            "factor_id": factor,
            "other_factor_id": other,
            "value": value * share,
            "unit": unit,
            "currency": "USD",
        }
        for node, share in (("Fund", 1.0), ("Equity", 0.6))
        for measure, factor, other, value, unit in found
    ]


def portfolio(*, partial: bool, nodes: list[str], es: dict[str, float]) -> list[dict[str, Any]]:
    """Figures of every node; where `partial`, one benchmark cannot be priced and one NAV is negative."""
    rows: list[dict[str, Any]] = []

    def add(
        node: str,
        measure: str,
        value: float | None,
        unit: str,
        note: str,
        half: float | None = None,
        member: str = "",
    ) -> None:
        has_interval = value is not None and half is not None
        rows.append(
            {
                "portfolio_id": node,
                "measure": measure,
                "member_id": member,
                "value": value,
                "ci_low": value - half if has_interval else None,
                "ci_high": value + half if has_interval else None,
                "unit": unit,
                "note": note,
            }
        )

    for node in nodes:
        broke = partial and node == "Overlay"
        nav = -40_000.0 if broke else 12_000_000.0 if node == "Fund" else 3_000_000.0
        why = f"no value: the NAV is {nav:g} (as given)"
        add(node, "nav", nav, "amount", "as given" + NO_SAMPLING)
        for measure, scale in (("VaR", 0.9), ("ES", 1.0)):
            share = None if broke else scale * es[node] / nav
            add(node, measure, share, "share", why if broke else "0.99 over 1 days", 0.0004)
        for measure, share in (("gross_leverage", 1.42), ("net_leverage", -0.31)):
            note = "delta exposure netted by instrument" + NO_SAMPLING
            add(node, measure, None if broke else share, "share", why if broke else note)
        listed = node.split("/")[0] in ("Fund", "Equity", "ETF")
        for measure, days in (("days_to_liquidate_largest", 3.25), ("days_to_liquidate_mean", 0.8)):
            note = "AAPL: trading 0.2 of the average daily volume; 2 instruments without adv are not in it"
            add(node, measure, days if listed else None, "days", (note if listed else NO_ADV) + NO_SAMPLING)
    for currency, before, after in (("EUR", 410_000.0, 35_000.0), ("JPY", 0.0, -220_000.0)):
        for measure, value in (("before", before), ("after", after)):
            add("Fund", f"fx_exposure_{measure}_hedges", value, "amount", "slope", None, currency)
    for node, error, active in (("Fund", 0.0231, 41_000.0), ("Equity/US/Growth", 0.0462, 33_000.0)):
        missing = partial and node != "Fund"
        why = "no value: benchmark 'GROWTH': constituent 'X': no price"
        note = "standard deviation over 1 days"
        add(node, "tracking_error", None if missing else error, "share", why if missing else note, 0.0009)
        for measure, scale in (("active_VaR", 1.0), ("active_ES", 1.1)):
            value = None if missing else scale * active
            add(node, measure, value, "amount", why if missing else "0.99 over 1 days", 2_500.0)
            if not missing:
                for member, part in (("AAPL", 0.7), ("MSFT", 0.45), ("GE", -0.15)):
                    add(node, measure, part * scale * active, "amount", "average", 900.0, member)
    return rows


def stressed(es: dict[str, float]) -> list[dict[str, Any]]:
    """Rows of ``result.measures`` for the stressed expected shortfall of every node."""
    return [
        {
            "portfolio_id": node,
            "measure": "ES",
            "level": 0.975,
            "horizon_days": 1,
            "method": "stressed_historical",
            "value": 2.2 * value,
            "ci_low": 1.9 * value,
            "ci_high": 2.6 * value,
            "ci_note": WINDOW_NOTE,
            "n_paths": 250,
            "currency": "USD",
        }
        for node, value in es.items()
    ]
