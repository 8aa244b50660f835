"""Figures that know where they stand in ``report.json``.

The view walks the facts with a `Cursor`, so the pointer of every figure on the page is made by the same step
that fetched its value and cannot name another one.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

from acceleray.reporting import format as fmt

__all__ = [
    "METHOD_NAMES",
    "METHOD_SHORT",
    "Cursor",
    "Figure",
    "Rich",
    "estimate_money",
    "figure",
    "interval",
    "joined",
    "measure_title",
    "money",
    "stress_scale",
    "title",
    "unit_name",
    "words",
]

METHOD_NAMES = {
    "historical": "Historical",
    "filtered_historical": "Filtered historical",
    "monte_carlo_gaussian": "Monte-Carlo, Gaussian",
    "monte_carlo_t": "Monte-Carlo, Student t",
    "stressed_historical": "Worst window",
}
METHOD_SHORT = {
    "historical": "historical",
    "filtered_historical": "filtered",
    "monte_carlo_gaussian": "Gaussian",
    "monte_carlo_t": "Student t",
}


@dataclass(frozen=True, slots=True)
class Cursor:
    """A place in the facts: its value and its JSON pointer (RFC 6901)."""

    value: Any
    pointer: str = ""

    def __getitem__(self, key: str | int) -> Cursor:
        """Step down to a member or an item."""
        part = str(key).replace("~", "~0").replace("/", "~1")
        return Cursor(self.value[key], f"{self.pointer}/{part}")

    def __iter__(self) -> Iterator[Cursor]:
        """Visit the items of a list in order."""
        return (self[index] for index in range(len(self.value)))

    def __len__(self) -> int:
        return len(self.value)

    @property
    def is_absent(self) -> bool:
        """Whether the fact is null."""
        return self.value is None


@dataclass(frozen=True, slots=True)
class Figure:
    """What is shown of a fact, and which fact it is."""

    text: str
    pointer: str
    data: str

    def __str__(self) -> str:
        return self.text


# Running text with figures in it.
Rich = tuple[str | Figure, ...]


def figure(fact: Cursor, text: str) -> Figure:
    """Show a fact as `text`."""
    return Figure(text, fact.pointer, json.dumps(fact.value, ensure_ascii=False))


def money(
    fact: Cursor,
    scale: fmt.Scale | None = None,
    *,
    low: float | None = None,
    high: float | None = None,
    signed: bool = False,
    suffix: bool = True,
) -> Figure:
    """Show an amount."""
    return figure(fact, fmt.amount(fact.value, scale, low=low, high=high, signed=signed, suffix=suffix))


def estimate_money(fact: Cursor, scale: fmt.Scale | None = None, *, suffix: bool = True) -> Figure:
    """Show the value of an estimate at the precision its interval supports."""
    return money(fact["value"], scale, low=fact["ci_low"].value, high=fact["ci_high"].value, suffix=suffix)


def interval(fact: Cursor, scale: fmt.Scale) -> Rich:
    """Show the interval of an estimate, one-sided if need be, or the reason for its absence."""
    low, high = fact["ci_low"], fact["ci_high"]
    used = fmt.supported(scale, low.value, high.value)
    if not low.is_absent and not high.is_absent:
        return (money(low, used, suffix=False), " – ", money(high, used, suffix=False))
    if not low.is_absent:
        return ("above ", money(low, used, suffix=False))
    if not high.is_absent:
        return ("below ", money(high, used, suffix=False))
    return (fact["note"].value or "no interval",)


def measure_title(measure: str, level: float | None, days: int | None) -> str:
    """Write ``VaR 99 %, 1 day``."""
    name = measure if level is None else f"{measure} {fmt.level(level)}"
    return name if days is None else f"{name}, {fmt.plural(days, 'day')}"


def stress_scale(values: Iterable[float | None]) -> fmt.Scale:
    """Choose the unit of stressed P&L: one decimal from ten million on, as no one acts on less."""
    known = [value for value in values if value is not None]
    scale = fmt.scale_for(known)
    return scale.rounded(1) if max(map(abs, known), default=0.0) >= 1e7 else scale


def title(identifier: str) -> str:
    """Write a name from the settings for people: ``rates_up_100`` becomes ``Rates up 100``."""
    text = words(identifier)
    return text[:1].upper() + text[1:]


def words(identifier: str) -> str:
    """Write a name from the settings inside a sentence: ``rates_up_100`` becomes ``rates up 100``."""
    return identifier.replace("_", " ").replace(" %", f"{fmt.NARROW}%").strip()


def joined(parts: list[Rich], separator: str = ", ") -> Rich:
    """Join pieces of running text."""
    result: list[str | Figure] = []
    for index, part in enumerate(parts):
        if index:
            result.append(separator)
        result.extend(part)
    return tuple(result)


def unit_name(scale: fmt.Scale, currency: str) -> str:
    """Write ``million USD``."""
    word = {"bn": "billion ", "m": "million ", "k": "thousand ", "": ""}[scale.suffix]
    return f"{word}{currency}"
