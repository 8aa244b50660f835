"""The page's section about the loan book: facts in, strings and positions out."""

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
    interval,
    money,
    title,
    unit_name,
    words,
)

__all__ = ["credit"]

_METHODS = {
    "exact": "Exact loss law",
    "conditional": "Conditional loss curve",
    "importance": "Importance sampling",
    "plain": "Plain Monte-Carlo",
}
# What one of the `n_paths` of a method is.
_PATHS = {"plain": "paths", "importance": "weighted paths", "conditional": "lines through the factor space"}


def credit(facts: Cursor) -> dict[str, Any] | None:
    """Build the credit scenarios, their levels and methods, and the segments and obligors of one."""
    found = facts["credit"]
    if found.is_absent:
        return None
    cases = list(found["scenarios"])
    reference = cases[0]
    # The unit of the reference, in which expected losses can still be read.
    scale = fmt.scale_for([_tail(reference)["var"]["value"].value])
    most = 1.04 * max(_marks(cases), default=1.0)
    horizon, level = found["horizon"].value, fmt.level(found["level"].value)
    dof = found["dof"]
    segments = list(found["segments"])
    return {
        "label": found["label"].value,
        "horizon": horizon,
        "finding": _finding(cases, horizon, level, scale),
        "book": _book(found),
        "level": level,
        "reference": title(reference["scenario"].value),
        "rows": [_case(case, scale, most) for case in cases],
        "segments": _segments(segments, reference, scale),
        "levels": [row for case in cases for row in _levels(case, scale)],
        "tail": _obligors(found, reference),
        "methods": [_method(case, found["method"].value, scale) for case in cases],
        "unit": unit_name(scale, facts["base_currency"].value),
        "copula": "Gaussian copula" if dof.is_absent else f"t copula of {dof.value:g} degrees of freedom",
        "both": ", ".join(f"“{title(x['scenario'].value)}”" for x in cases if x["market_too"].value),
        "reasons": _reasons([*cases, *segments]),
    }


def _tail(case: Cursor) -> Cursor:
    """Return the facts beyond the highest level, which stand for the case where only one level fits."""
    return case["levels"][len(case["levels"]) - 1]


def _marks(cases: list[Cursor]) -> list[float]:
    found = [
        value.value
        for case in cases
        for value in (
            _tail(case)["var"]["ci_high"],
            _tail(case)["var"]["value"],
            _tail(case)["asrf"]["value"],
            case["expected_loss"]["value"],
        )
    ]
    return [value for value in found if value is not None]


def _finding(cases: list[Cursor], horizon: str, level: str, scale: fmt.Scale) -> Rich:
    reference = cases[0]
    worst = max(cases, key=lambda case: _tail(case)["var"]["value"].value or 0.0)
    text: list[str | Figure] = [
        f"VaR {level} over {horizon} is ",
        estimate_money(_tail(reference)["var"], scale),
        f" in {words(reference['scenario'].value)}",
    ]
    if worst["scenario"].value != reference["scenario"].value:
        text += [", ", estimate_money(_tail(worst)["var"], scale), f" in {words(worst['scenario'].value)}"]
    return tuple(text)


def _book(found: Cursor) -> Rich:
    book: list[str | Figure] = []
    if not found["obligors"].is_absent:
        book += [figure(found["obligors"], fmt.count(found["obligors"].value)), " obligors"]
    if not found["ead"].is_absent:
        book += [", exposure ", money(found["ead"])]
    return tuple(book)


def _reasons(cases: list[Cursor]) -> list[tuple[str, str]]:
    """Say why a benchmark does not apply, each reason once."""
    benchmarks = [("ASRF", _tail(case)["asrf"]) for case in cases]
    benchmarks += [("IRB", case["irb_capital"]) for case in cases]
    return sorted(
        {
            (name, fact["note"].value)
            for name, fact in benchmarks
            if fact["value"].is_absent and fact["note"].value
        }
    )


def _case(case: Cursor, scale: fmt.Scale, most: float) -> dict[str, Any]:
    tail, expected = _tail(case), case["expected_loss"]
    var, asrf = tail["var"], tail["asrf"]
    low, high = var["ci_low"].value, var["ci_high"].value

    def at(value: float | None) -> str | None:
        return None if value is None else charts.percent(100 * value / most)

    return {
        "name": title(case["scenario"].value),
        "el": estimate_money(expected, scale, suffix=False),
        "var": estimate_money(var, scale, suffix=False),
        "interval": interval(var, scale),
        "asrf": estimate_money(asrf, scale, suffix=False),
        "capital": estimate_money(tail["economic_capital"], scale, suffix=False),
        "irb": estimate_money(case["irb_capital"], scale, suffix=False),
        "at_el": at(expected["value"].value),
        "at_var": at(var["value"].value),
        "at_asrf": at(asrf["value"].value),
        "band": None if low is None or high is None else (at(low), at(high)),
    }


def _segments(segments: list[Cursor], reference: Cursor, scale: fmt.Scale) -> dict[str, Any] | None:
    """Show what each segment adds to the ES of the book, and the book itself below."""
    if not segments:
        return None
    whole = _tail(reference)["es"]
    used = fmt.supported(scale, whole["ci_low"].value, whole["ci_high"].value)
    parts = [_tail(segment)["contribution"] for segment in segments]
    values = [part["value"].value for part in parts]
    texts: list[str | None] = [None] * len(parts)
    if whole["value"].value is not None and None not in values:
        rounded = fmt.largest_remainder(
            [value / used.divisor for value in values], whole["value"].value / used.divisor, used.decimals
        )
        texts = [fmt.fixed(value, used.decimals) for value in rounded]

    def row(case: Cursor, name: str, contribution: Figure, within: Rich) -> dict[str, Any]:
        return {
            "name": name,
            "el": estimate_money(case["expected_loss"], scale, suffix=False),
            "var": estimate_money(_tail(case)["var"], scale, suffix=False),
            "contribution": contribution,
            "interval": within,
            "irb": estimate_money(case["irb_capital"], scale, suffix=False),
            "method": case["method"].value or "",
        }

    return {
        "rows": [
            row(
                segment,
                title(segment["segment"].value),
                money(part["value"], used, suffix=False) if text is None else figure(part["value"], text),
                interval(part, used),
            )
            for segment, part, text in zip(segments, parts, texts, strict=True)
        ],
        "total": row(reference, "The book", money(whole["value"], used, suffix=False), interval(whole, used)),
    }


def _levels(case: Cursor, scale: fmt.Scale) -> list[dict[str, Any]]:
    levels = list(case["levels"])
    return [
        {
            "name": title(case["scenario"].value) if index == 0 else "",
            "span": len(levels),
            "level": figure(at["level"], fmt.level(at["level"].value)),
            "cells": [
                {
                    "value": estimate_money(at[measure], scale, suffix=False),
                    "interval": interval(at[measure], scale),
                }
                for measure in ("var", "es", "economic_capital")
            ],
            "asrf": estimate_money(at["asrf"], scale, suffix=False),
        }
        for index, at in enumerate(levels)
    ]


def _obligors(found: Cursor, reference: Cursor) -> dict[str, Any] | None:
    tail = found["tail"]
    if tail.is_absent:
        return None
    names, whole = list(tail["names"]), _tail(reference)
    scale = fmt.scale_for([name["es"].value for name in names])
    exposure = fmt.scale_for([name["ead"].value for name in names])

    def part(name: Cursor, which: str) -> dict[str, Any]:
        share = name[f"{which}_share"]
        return {
            "value": money(name[which], scale, suffix=False),
            "share": figure(share, fmt.percent(share.value, 1)),
        }

    return {
        "unit": scale.suffix,
        "exposure": exposure.suffix,
        "rows": [
            {
                "name": name["obligor_id"].value,
                "segment": title(name["segment"].value),
                "ead": money(name["ead"], exposure, suffix=False),
                "default_prob": figure(name["default_prob"], fmt.percent(name["default_prob"].value, 2)),
                "lgd": figure(name["lgd"], fmt.percent(name["lgd"].value)),
                "var": part(name, "var"),
                "es": part(name, "es"),
            }
            for name in names
        ],
        "others": [money(tail[f"others_{which}"], scale, suffix=False) for which in ("var", "es")],
        "total": [money(whole[which]["value"], scale, suffix=False) for which in ("var", "es")],
    }


def _method(case: Cursor, asked: str, scale: fmt.Scale) -> dict[str, Any]:
    method, paths, beyond = case["method"].value, case["n_paths"], _tail(case)["tail_paths"]
    rests: Rich = ("integration, no sampling",)
    if not paths.is_absent and paths.value != 1:
        rests = (figure(paths, fmt.count(paths.value)), f" {_PATHS.get(method, 'paths')}")
    distance, mean = case["distance"], case["simulated_loss"]
    if method == "plain":
        check: Rich = ("they are the figures",)
    elif distance.is_absent:
        check = ("too few beyond any level to say",)
    else:
        check = (figure(distance, fmt.fixed(distance.value, 1)), " s.e. apart")
    return {
        "name": title(case["scenario"].value),
        "method": _METHODS.get(method, title(method or fmt.NOT_AVAILABLE)),
        "rests": rests,
        "beyond": ("no defaults drawn",)
        if beyond.is_absent
        else (figure(beyond, fmt.fixed(beyond.value, 0 if beyond.value >= 100 else 1)),),
        "check": check,
        "mean": (estimate_money(mean, scale, suffix=False), " (", *interval(mean, scale), ")"),
        "why": _why(case, asked),
    }


def _why(case: Cursor, asked: str) -> str:
    """Say why it is this method: what the simulation recorded, or who asked."""
    recorded: str = case["why"].value
    if recorded:
        return recorded[:1].upper() + recorded[1:] + "."
    if asked != "auto":
        return "The settings ask for it."
    return (
        "First choice: factors and losses are few enough to be integrated."
        if (case["method"].value == "exact")
        else ""
    )
