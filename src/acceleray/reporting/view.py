"""From facts to what the template prints: the banner, the verdict, and every section in order."""

from __future__ import annotations

from typing import Any

from acceleray.reporting import (
    charts,
    view_book,
    view_books,
    view_checks,
    view_credit,
    view_market,
    view_portfolio,
    view_scenarios,
)
from acceleray.reporting import format as fmt
from acceleray.reporting.figures import Cursor, Figure, Rich, figure, joined, money, stress_scale, title
from acceleray.reporting.view_market import limit_title

__all__ = ["build_view"]

_NAVIGATION = (
    ("limits", "Limits"),
    ("pnl", "P&L"),
    ("drivers", "Drivers"),
    ("methods", "Methods"),
    ("stress", "Stress"),
    ("backtest", "Backtest"),
    ("credit", "Credit"),
    ("early_warning", "Early warning"),
    ("quality", "Data"),
    ("audit", "Audit"),
)


def build_view(document: dict[str, Any]) -> dict[str, Any]:
    """Turn the content of ``report.json`` into strings and positions of marks.

    A section whose facts do not exist is None and is left out by the template.
    """
    facts = Cursor(document)
    sections: dict[str, Any] = {
        "limits": view_market.limits(facts),
        "distribution": view_market.distribution(facts),
        "pnl": view_book.pnl(facts),
        "drivers": view_market.drivers(facts),
        "sensitivities": view_book.sensitivities(facts),
        "active": view_portfolio.active(facts),
        "capital": view_portfolio.capital(facts),
        "methods": view_market.methods(facts),
        "stress": view_scenarios.stress(facts),
        "backtest": view_scenarios.backtest(facts),
        "credit": view_credit.credit(facts),
        "early_warning": view_books.early_warning(facts),
        "quality": view_checks.quality(facts),
        "audit": view_checks.audit(facts),
    }
    return {
        "fund": facts["fund"].value,
        "as_of": figure(facts["as_of"], fmt.day(facts["as_of"].value)),
        "state": facts["state"].value,
        "state_figure": figure(facts["state"], title(facts["state"].value.lower())),
        "coverage": _coverage(facts),
        "clock": _clock(facts),
        "verdict": _verdict(facts),
        "caveat": _caveat(facts),
        "timeline": _timeline(facts),
        "tiles": view_market.tiles(facts),
        "explain": view_checks.explain(facts),
        "navigation": [(id_, name) for id_, name in _NAVIGATION if sections[id_]],
        "run_id": facts["run"]["run_id"].value,
        "currency": facts["base_currency"].value,
        **sections,
    }


def _coverage(facts: Cursor) -> Rich:
    coverage = facts["coverage"]
    share = coverage["value"]
    if share.is_absent:
        return (
            figure(coverage["positions_included"], fmt.count(coverage["positions_included"].value)),
            " of ",
            figure(coverage["positions_total"], fmt.plural(coverage["positions_total"].value, "position")),
        )
    return (figure(share, fmt.percent(share.value, 0 if share.value == 1.0 else 1)), " of market value")


def _clock(facts: Cursor) -> dict[str, Any]:
    run = facts["run"]
    if run["historical_night"].value:
        return {"name": "SLA", "value": (figure(run["sla"], "none, historical night"),), "late": False}
    early = run["seconds_to_deadline"]
    if early.value >= 0:
        return {
            "name": "SLA",
            "value": ("met, ", figure(early, fmt.duration(early.value)), " early"),
            "late": False,
        }
    return {
        "name": "SLA",
        "value": ("missed by ", figure(early, fmt.duration(-early.value))),
        "late": True,
    }


def _verdict(facts: Cursor) -> dict[str, Any]:
    """Worst fact first: a breach, else a warning, else that nothing is to be done; then what it rests on."""
    found = list(facts["limits"])
    counts = facts["limit_counts"]
    lead: Rich
    rest: list[Rich] = []
    tone = ""
    breached = [limit for limit in found if limit["state"].value == "breach"]
    warned = [limit for limit in found if limit["state"].value == "warning"]
    if breached:
        tone = "bad"
        lead = (figure(counts["breach"], fmt.plural(len(breached), "limit breach", "limit breaches")), ".")
        rest.append(_breach(breached[0]))
    elif warned:
        tone = "warn"
        lead = ("No limit is breached, ", figure(counts["warning"], f"{len(warned)} in warning"), ".")
        rest.append(
            (
                f"{_subject(warned[0])} uses ",
                figure(warned[0]["utilisation"], fmt.percent(warned[0]["utilisation"].value)),
                " of its limit.",
            )
        )
    elif found:
        inside = all(limit["state"].value == "inside" for limit in found)
        lead = (f"All {len(found)} limits inside." if inside else "No limit is breached or in warning.",)
        nearest = max(found, key=lambda limit: limit["utilisation"].value or 0.0)
        if not nearest["utilisation"].is_absent:
            rest.append(
                (
                    f"Nearest is {_subject(nearest)} at ",
                    figure(nearest["utilisation"], fmt.percent(nearest["utilisation"].value)),
                    ".",
                )
            )
    else:
        lead = ("No limits are set.",)
    rest.extend(_risk(facts))
    rest.extend(_yesterday(facts))
    return {"lead": lead, "rest": joined(rest, " "), "tone": tone}


def _subject(limit: Cursor) -> str:
    measure = limit_title(limit)
    if limit["type"].value == "stress":
        measure = f"stress “{title(limit['scenario'].value)}”"
    return f"{limit['portfolio_id'].value} {measure}"


def _breach(limit: Cursor) -> Rich:
    used, low = limit["utilisation"], limit["estimate"]["ci_low"]
    text: Rich = (f"{_subject(limit)} is at ", figure(used, fmt.percent(used.value)), " of its limit")
    if low.is_absent:
        return (*text, ".")
    if low.value > limit["limit"].value:
        return (*text, ", and above it even at the low end of its interval.")
    return (*text, "; the low end of its interval is inside.")


def _risk(facts: Cursor) -> list[Rich]:
    sentences: list[Rich] = []
    stress = facts["stress"]
    if not stress.is_absent and len(stress["scenarios"]) and not stress["scenarios"][0]["pnl"].is_absent:
        worst = stress["scenarios"][0]
        sentences.append(
            (
                f"Worst stress is {title(worst['scenario'].value)} at ",
                money(worst["pnl"], stress_scale([worst["pnl"].value]), signed=True),
                ".",
            )
        )
    return sentences


def _yesterday(facts: Cursor) -> list[Rich]:
    """Say how the last day went against its VaR, and whether the backtest trusts the VaR."""
    backtest = facts["backtest"]
    if backtest.is_absent:
        return []
    sentences: list[Rich] = []
    if len(backtest["days"]):
        last = backtest["days"][len(backtest["days"]) - 1]
        side = "beyond" if last["exception"].value else "inside"
        sentences.append(
            (
                "Today’s book on the last day, ",
                figure(last["date"], fmt.short_day(last["date"].value)),
                ": ",
                money(last["pnl"], signed=True),
                f", {side} its VaR of ",
                money(last["var"]),
                ".",
            )
        )
    test = backtest["headline"]
    if not test.is_absent and test["zone"].value in ("yellow", "red"):
        sentences.append(
            (
                f"The VaR backtest is in the {test['zone'].value} zone: ",
                figure(test["exceptions"], fmt.plural(test["exceptions"].value, "exception")),
                " in ",
                figure(test["days"], fmt.plural(test["days"].value, "day")),
                ".",
            )
        )
    return sentences


def _caveat(facts: Cursor) -> dict[str, Any] | None:
    """Why the night is partial, or what to know about a complete one."""
    coverage = facts["coverage"]
    if facts["state"].value == "PARTIAL":
        parts: list[Rich] = []
        excluded = coverage["positions_total"].value - coverage["positions_included"].value
        if excluded:
            text: list[str | Figure] = [
                f"{fmt.plural(excluded, 'position')} of ",
                figure(coverage["positions_total"], fmt.count(coverage["positions_total"].value)),
                " could not be valued and no figure contains " + ("it" if excluded == 1 else "them"),
            ]
            if coverage["excluded_value"].value:
                text += [" (", money(coverage["excluded_value"]), " of market value)"]
            parts.append(tuple(text))
        if coverage["rows_rejected"].value:
            parts.append(
                (
                    figure(
                        coverage["rows_rejected"], fmt.plural(coverage["rows_rejected"].value, "input row")
                    ),
                    " rejected",
                )
            )
        if not parts:
            parts = [(reason.value,) for reason in facts["partial_reasons"]]
        return {"name": "Why partial:", "text": (*joined(parts, "; "), "."), "tone": "warn"}
    warnings = list(facts["warnings"])
    if warnings:
        return {
            "name": f"{fmt.plural(len(warnings), 'warning')}:",
            "text": (warnings[0].value, "." if not warnings[0].value.endswith(".") else ""),
            "tone": "",
        }
    return None


def _timeline(facts: Cursor) -> dict[str, Any]:
    run = facts["run"]
    zone = run["bell_zone"].value
    published = figure(run["published_at"], fmt.clock(run["published_at"].value, zone))
    started = figure(run["started_at"], fmt.clock(run["started_at"].value, zone))
    if run["historical_night"].value:
        ran_on = fmt.local_day(run["started_at"].value, zone)
        bell_on = fmt.local_day(run["bell_at"].value, zone)
        return {
            "historical": True,
            "started": started,
            "published": published,
            "seconds": figure(run["seconds"], fmt.duration(run["seconds"].value)),
            "ran_on": fmt.day(ran_on),
            "bell": figure(run["bell_at"], f"{fmt.day(bell_on)}, {fmt.clock(run['bell_at'].value, zone)}"),
            "label": f"Historical night: run on {fmt.day(ran_on)}, after the bell of {fmt.day(bell_on)}",
        }
    start, end = 0.0, run["seconds"].value
    deadline = end + run["seconds_to_deadline"].value
    bell = end + run["seconds_to_bell"].value
    most = max(end, bell, deadline)
    least = -0.04 * most

    def at(seconds: float) -> str:
        return charts.percent(3 + 0.94 * 100 * (seconds - least) / (most - least))

    left = run["seconds_to_bell"]
    return {
        "historical": False,
        "started": started,
        "published": published,
        "x_start": at(start),
        "x_end": at(end),
        "run_width": charts.percent(0.94 * 100 * end / (most - least)),
        "x_deadline": at(deadline),
        "x_bell": at(bell),
        "deadline": figure(run["deadline_at"], fmt.clock(run["deadline_at"].value, zone)),
        "bell": figure(run["bell_at"], fmt.clock(run["bell_at"].value, zone)),
        "left": (figure(left, fmt.duration(abs(left.value))), " left" if left.value >= 0 else " late"),
        "label": (
            f"Run from {started} to {published}, deadline {fmt.clock(run['deadline_at'].value, zone)}, "
            f"opening bell {fmt.clock(run['bell_at'].value, zone)}"
        ),
    }
