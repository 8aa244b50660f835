"""P&L explain and sensitivities: facts in, strings and positions of marks out."""

from __future__ import annotations

from typing import Any

from acceleray.reporting import charts
from acceleray.reporting import format as fmt
from acceleray.reporting.figures import Cursor, Figure, Rich, figure, joined, money, title, unit_name

__all__ = ["pnl", "sensitivities"]

_TERM_NAMES = {
    "theta": "Carry and theta",
    "delta": "Delta",
    "gamma": "Gamma",
    "cross_gamma": "Cross gamma",
    "vega": "Vega",
    "rates": "Rates",
    "spreads": "Spreads",
    "dividends": "Dividend yields",
    "fx": "FX",
    "calibration": "Calibration",
    "settled": "Settled in cash",
    "new_trades": "New trades",
    "residual": "Residual",
}
# What the finding does not call a cause: what is left over, and what only changed places.
_NO_CAUSE = ("residual", "settled")
_LARGE_RESIDUAL = 0.10

# Name, what rises, and by how much: as the finding and the heading of the table say it.
_GREEKS = {
    "delta_percent": ("Delta", "per +1\u202f% of level", "all prices and FX +1\u202f%"),
    "gamma_percent": ("Gamma", "change of delta per +1\u202f%", ""),
    "vega": ("Vega", "per +1 vol point", "all vols +1 point"),
    "dv01": ("DV01", "per +1\u202fbp of rate", "all rates +1\u202fbp"),
    "cs01": ("CS01", "per +1\u202fbp of spread", "all spreads +1\u202fbp"),
    "dividend01": ("Dividend01", "per +1\u202fbp of yield", ""),
}


def pnl(facts: Cursor) -> dict[str, Any]:
    """Build the floating bars of the change in value, or the sentence that says why there are none."""
    found = facts["pnl"]
    if found["total"].is_absent:
        return {"finding": (), "reason": title(found["reason"].value) + ".", "rows": []}
    whole = found["total"].value
    terms = list(found["terms"])
    scale = fmt.scale_for([whole, *(term["value"].value for term in terms)])
    values = [term["value"].value / scale.divisor for term in terms]
    # Parts are rounded so that they add up to the rounded total.
    shown = fmt.largest_remainder(values, whole / scale.divisor, scale.decimals)
    steps = charts.waterfall(values, whole / scale.divisor, gains_rise=True)
    return {
        "finding": _pnl_finding(found, terms, scale),
        "reason": "",
        "rows": [
            {
                "name": _TERM_NAMES[term["term"].value],
                "value": figure(term["value"], fmt.fixed(rounded, scale.decimals, signed=True)),
                "step": step,
            }
            for term, rounded, step in zip(terms, shown, steps, strict=False)
        ],
        "total": {"value": money(found["total"], scale, signed=True, suffix=False), "step": steps[-1]},
        "unit": unit_name(scale, facts["base_currency"].value),
        "large": _is_large(found["residual_share"]),
        "partial": facts["state"].value == "PARTIAL",
        "settled": any(term["term"].value == "settled" for term in terms),
    }


def _is_large(share: Cursor) -> bool:
    return not share.is_absent and share.value > _LARGE_RESIDUAL


def _pnl_finding(found: Cursor, terms: list[Cursor], scale: fmt.Scale) -> Rich:
    causes = [term for term in terms if term["term"].value not in _NO_CAUSE]
    main = max(causes, key=lambda term: abs(term["value"].value))
    text: list[str | Figure] = [
        money(found["total"], scale, signed=True),
        " in value since ",
        figure(found["from_date"], fmt.short_day(found["from_date"].value)),
    ]
    if main["value"].value:
        name = _TERM_NAMES[main["term"].value]
        text += [
            f"; largest part: {name if name.isupper() else name.lower()} ",
            money(main["value"], scale, signed=True),
        ]
    settled = next((term["value"] for term in terms if term["term"].value == "settled"), None)
    if settled is not None:
        text += ["; settled in cash ", money(settled, scale, signed=True)]
    share = found["residual_share"]
    if not share.is_absent:
        text += ["; residual ", figure(share, fmt.percent(share.value))]
        if _is_large(share):
            text += [f", above {fmt.percent(_LARGE_RESIDUAL)}"]
    return tuple(text)


def sensitivities(facts: Cursor) -> dict[str, Any] | None:
    """Build a table of the largest factors for every kind of sensitivity."""
    found = facts["sensitivities"]
    if found.is_absent:
        return None
    finding: list[Rich] = []
    for kind in found["kinds"]:
        phrase = _GREEKS[kind["measure"].value][2]
        if phrase and not kind["total"].is_absent:
            scale = fmt.scale_for([kind["total"].value])
            finding.append((f"{phrase}: ", money(kind["total"], scale, signed=True)))
    theta = found["theta"]
    if not theta.is_absent:
        finding.append(("one calendar day: ", money(theta, signed=True)))
    text = joined(finding, "; ")
    if text and isinstance(text[0], str):
        text = (text[0][:1].upper() + text[0][1:], *text[1:])
    return {
        "finding": text,
        "portfolio": found["portfolio_id"].value,
        "kinds": [_greek(kind, facts["base_currency"].value) for kind in found["kinds"]],
    }


def _greek(kind: Cursor, currency: str) -> dict[str, Any]:
    name, unit, _ = _GREEKS[kind["measure"].value]
    factors, others = list(kind["factors"]), kind["others_count"]
    parts = [factor["value"] for factor in factors]
    if others.value:
        parts.append(kind["others_value"])
    # One unit finer than the largest asks for, so that the smaller factors keep their digits.
    scale = fmt.scale_for([max(abs(part.value) for part in parts) / 10])
    steps = charts.from_zero([part.value for part in parts])
    shown = _rounded(kind, parts, scale)
    rows = [
        {
            "name": factor["factor_id"].value,
            "value": figure(factor["value"], text),
            "step": step,
        }
        for factor, text, step in zip(factors, shown, steps, strict=False)
    ]
    return {
        "name": name,
        "unit": unit,
        "money": unit_name(scale, currency),
        "rows": rows,
        "others": None
        if not others.value
        else {
            "name": ("other ", figure(others, fmt.count(others.value))),
            "value": figure(kind["others_value"], shown[-1]),
            "step": steps[-1],
        },
        "total": None
        if kind["total"].is_absent or len(factors) + others.value < 2
        else money(kind["total"], scale, signed=True, suffix=False),
    }


def _rounded(kind: Cursor, parts: list[Cursor], scale: fmt.Scale) -> list[str]:
    """Write the parts, rounded to add up to the rounded total where there is one."""
    values = [part.value / scale.divisor for part in parts]
    if not kind["total"].is_absent:
        values = fmt.largest_remainder(values, kind["total"].value / scale.divisor, scale.decimals)
    return [fmt.fixed(value, scale.decimals, signed=True) for value in values]
