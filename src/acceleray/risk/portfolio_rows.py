"""A row of ``result.portfolio``, and the capital that shares are taken of."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

__all__ = ["Capital", "Row", "no_interval"]


@dataclass(frozen=True, slots=True)
class Row:
    """One figure of a portfolio.

    Parameters
    ----------
    measure : str
        What it is.
    value : float or None
        None where the note says why.
    unit : str
        ``amount`` in base currency, ``share`` of NAV, ``days`` or ``count``.
    note : str
        How it is defined.
    ci_low, ci_high : float or None
        Interval of the sampling error.
    member_id : str
        Currency or instrument, or "" for the portfolio as a whole.
    """

    measure: str
    value: float | None
    unit: str
    note: str
    ci_low: float | None = None
    ci_high: float | None = None
    member_id: str = ""

    def as_dict(self) -> dict[str, Any]:
        """Columns of the table, without the portfolio."""
        return {name: getattr(self, name) for name in self.__slots__}


@dataclass(frozen=True, slots=True, kw_only=True)
class Capital:
    """Net asset value in base currency, and where it is from."""

    nav: float
    note: str

    @property
    def problem(self) -> str:
        """Why nothing can be a share of it; empty if something can."""
        return "" if self.nav > 0 else f"no value: the NAV is {self.nav:g} ({self.note})"

    def share(
        self,
        measure: str,
        amount: float,
        note: str,
        ci_low: float | None = None,
        ci_high: float | None = None,
        member_id: str = "",
    ) -> Row:
        """Divide an amount and its interval by the NAV."""
        if self.problem:
            return Row(measure, None, "share", self.problem, member_id=member_id)
        low, high = (None if bound is None else bound / self.nav for bound in (ci_low, ci_high))
        return Row(measure, amount / self.nav, "share", note, low, high, member_id)


def no_interval(note: str) -> str:
    """Say that a figure is computed from today's levels and has no sampling error."""
    return f"{note}; no interval: no sampling"
