"""A figure as the page states it: with its interval, or with the reason why it has none."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["Estimate"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Estimate:
    """A figure with its interval, or with the reason why it has none."""

    value: float | None
    ci_low: float | None = None
    ci_high: float | None = None
    note: str | None = None
