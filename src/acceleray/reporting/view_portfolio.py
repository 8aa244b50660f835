"""Active risk and figures against capital: facts in, strings and positions of marks out."""

from __future__ import annotations

from typing import Any

from acceleray.reporting import charts
from acceleray.reporting import format as fmt
from acceleray.reporting.figures import (
    Cursor,
    Figure,
    Rich,
    estimate_money,
    figure,
    measure_title,
    money,
    unit_name,
)

__all__ = ["active", "capital"]

_MARKS = "abcdefghijklmnopqrstuvwxyz"


class _Notes:
    """Reasons and definitions that cells refer to by a letter, each written once."""

    def __init__(self) -> None:
        self._marks: dict[str, str] = {}

    def mark(self, note: str | None) -> str:
        """Return the letter of a note; the last letter stands for all that come late."""
        if not note:
            return ""
        return self._marks.setdefault(note, _MARKS[min(len(self._marks), len(_MARKS) - 1)])

    def __iter__(self) -> Any:
        return ((mark, note) for note, mark in self._marks.items())


def active(facts: Cursor) -> dict[str, Any] | None:
    """Build the table of portfolios with a benchmark."""
    found = facts["active"]
    if found.is_absent:
        return None
    portfolios = list(found["portfolios"])
    errors = [x["tracking_error"] for x in portfolios]
    ends = [e[key].value for e in errors for key in ("value", "ci_high")] + [
        x["limit"].value for x in portfolios
    ]
    most = 1.08 * max((end for end in ends if end is not None), default=0.0) or 1.0
    decimals = min((_decimals(e) for e in errors), default=2)
    notes = _Notes()
    days = found["horizon_days"].value
    return {
        "finding": _active_finding(portfolios, decimals),
        "rows": [_active_row(x, decimals, most, notes) for x in portfolios],
        "var": f"Active VaR {fmt.level(found['var_level'].value)}",
        "es": f"Active ES {fmt.level(found['es_level'].value)}",
        "days": fmt.plural(days, "day"),
        "interval": fmt.level(facts["interval_level"].value),
        "has_limit": any(not x["limit"].is_absent for x in portfolios),
        "unit": facts["base_currency"].value,
        "notes": list(notes),
    }


def _decimals(estimate: Cursor) -> int:
    """Decimals of a percentage that an interval supports: two, or one beyond ±0.1 points."""
    low, high = estimate["ci_low"].value, estimate["ci_high"].value
    return 2 if low is None or high is None or abs(high - low) / 2 <= 0.001 else 1


def _active_finding(portfolios: list[Cursor], decimals: int) -> Rich:
    known = [x for x in portfolios if not x["tracking_error"]["value"].is_absent]
    if not known:
        return ("no tracking error could be computed",)
    # The fund comes first where it has a benchmark; else the portfolio that strays most.
    first = known[0]
    if first["portfolio_id"].value != "Fund":
        first = max(known, key=lambda x: x["tracking_error"]["value"].value)
    value = first["tracking_error"]["value"]
    text: list[str | Figure] = [
        f"{first['portfolio_id'].value} tracking error ",
        figure(value, fmt.percent(value.value, decimals)),
        f" against {first['benchmark_id'].value}",
    ]
    if not first["limit"].is_absent:
        text += [", limit ", figure(first["limit"], fmt.percent(first["limit"].value, 2))]
        if first["limit_state"].value in ("breach", "warning"):
            text += [f", {first['limit_state'].value}"]
    missing = len(portfolios) - len(known)
    if missing:
        text += [f"; {missing} of {len(portfolios)} n/a"]
    return tuple(text)


def _active_row(found: Cursor, decimals: int, most: float, notes: _Notes) -> dict[str, Any]:
    error, limit, largest = found["tracking_error"], found["limit"], found["largest"]
    low, high = error["ci_low"], error["ci_high"]

    def at(fact: Cursor) -> str | None:
        return None if fact.is_absent else charts.percent(100 * fact.value / most)

    def share(fact: Cursor) -> Figure:
        return figure(fact, fmt.percent(fact.value, decimals))

    interval: Rich = ()
    if not low.is_absent and not high.is_absent:
        interval = (
            figure(low, fmt.fixed(100 * low.value, decimals)),
            " – ",
            figure(high, fmt.fixed(100 * high.value, decimals)),
        )
    return {
        "portfolio": found["portfolio_id"].value,
        "benchmark": found["benchmark_id"].value,
        "te": share(error["value"]),
        "mark": notes.mark(error["note"].value) if error["value"].is_absent or not interval else "",
        "interval": interval,
        "limit": None if limit.is_absent else figure(limit, fmt.percent(limit.value, 2)),
        "at": at(error["value"]),
        "band": (at(low), at(high)) if interval else None,
        "at_limit": at(limit),
        "state": found["limit_state"].value or "",
        "var": _amount(found["active_var"], notes),
        "es": _amount(found["active_es"], notes),
        "largest": None
        if largest.is_absent
        else (
            largest["instrument_id"].value,
            " ",
            money(
                largest["estimate"]["value"],
                low=largest["estimate"]["ci_low"].value,
                high=largest["estimate"]["ci_high"].value,
                signed=True,
            ),
        ),
    }


def _amount(estimate: Cursor, notes: _Notes) -> dict[str, Any]:
    absent = estimate["value"].is_absent
    return {
        "value": estimate_money(estimate),
        "mark": notes.mark(estimate["note"].value) if absent else "",
    }


def capital(facts: Cursor) -> dict[str, Any] | None:
    """Build the table of portfolios against their capital, and of the fund's currencies."""
    found = facts["capital"]
    if found.is_absent:
        return None
    portfolios, currencies = list(found["portfolios"]), list(found["currencies"])
    notes = _Notes()
    nav = fmt.scale_for(x["nav"]["value"].value for x in portfolios)
    fx = fmt.scale_for(x[key]["value"].value for x in currencies for key in ("before", "after"))
    days = found["horizon_days"].value
    fund = portfolios[0]
    return {
        "finding": _capital_finding(fund, found),
        "var": measure_title("VaR", found["var_level"].value, days),
        "es": measure_title("ES", found["es_level"].value, days),
        "rows": [
            {
                "portfolio": x["portfolio_id"].value,
                "cells": [
                    _cell(
                        x["nav"],
                        estimate_money(x["nav"], nav, suffix=False),
                        notes,
                        explain=True,
                        about="NAV: ",
                    ),
                    _share(x["var"], notes),
                    _share(x["es"], notes),
                    _multiple(x["gross_leverage"], notes),
                    _multiple(x["net_leverage"], notes, signed=True),
                    _days(x["days_largest"], notes),
                    _days(x["days_mean"], notes),
                ],
            }
            for x in portfolios
        ],
        "nav_unit": unit_name(nav, facts["base_currency"].value),
        "currencies": [
            {
                "currency": x["currency"].value,
                "before": money(x["before"]["value"], fx, signed=True, suffix=False),
                "after": money(x["after"]["value"], fx, signed=True, suffix=False),
            }
            for x in currencies
        ],
        "fx_unit": unit_name(fx, facts["base_currency"].value),
        "fund": fund["portfolio_id"].value,
        "base": facts["base_currency"].value,
        "notes": list(notes),
    }


def _capital_finding(fund: Cursor, found: Cursor) -> Rich:
    name = measure_title("VaR", found["var_level"].value, found["horizon_days"].value)
    share, gross = fund["var"]["value"], fund["gross_leverage"]["value"]
    text: list[str | Figure] = []
    if share.is_absent:
        text += [f"{name} has no share: {fund['var']['note'].value}"]
    else:
        decimals = _decimals(fund["var"])
        text += [f"{name} is ", figure(share, fmt.percent(share.value, decimals)), " of NAV"]
    if not gross.is_absent:
        text += [", gross exposure ", figure(gross, fmt.ratio(gross.value)), " NAV"]
    return tuple(text)


def _cell(
    estimate: Cursor, shown: Figure, notes: _Notes, *, explain: bool = False, about: str = ""
) -> dict[str, Any]:
    absent = estimate["value"].is_absent
    note = estimate["note"].value if absent or explain else None
    return {
        "value": shown,
        "absent": absent,
        "mark": notes.mark(note and about + note),
        "interval": (),
    }


def _share(estimate: Cursor, notes: _Notes) -> dict[str, Any]:
    decimals = _decimals(estimate)
    low, high, value = estimate["ci_low"], estimate["ci_high"], estimate["value"]
    cell = _cell(estimate, figure(value, fmt.percent(value.value, decimals)), notes)
    if not low.is_absent and not high.is_absent:
        cell["interval"] = (
            figure(low, fmt.fixed(100 * low.value, decimals)),
            " – ",
            figure(high, fmt.fixed(100 * high.value, decimals)),
        )
    return cell


def _multiple(estimate: Cursor, notes: _Notes, *, signed: bool = False) -> dict[str, Any]:
    value = estimate["value"]
    text = fmt.ratio(value.value)
    if signed and not value.is_absent and value.value > 0:
        text = "+" + text
    return _cell(estimate, figure(value, text), notes)


def _days(estimate: Cursor, notes: _Notes) -> dict[str, Any]:
    value, note = estimate["value"], estimate["note"].value or ""
    text = fmt.NOT_AVAILABLE if value.is_absent else fmt.fixed(value.value, 1)
    # Of no value the reason alone: what else is said differs from portfolio to portfolio.
    reason = note.partition(";")[0] if value.is_absent else note
    return {"value": figure(value, text), "absent": value.is_absent, "interval": ()} | {
        "mark": notes.mark(reason and f"Days: {reason}")
    }
