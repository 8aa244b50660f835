"""A risk figure with its sampling interval."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["Measure"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Measure:
    """One risk measure of one node.

    Parameters
    ----------
    value : float
        Loss in base currency, positive is a loss.
    ci_low, ci_high : float or None
        Ends of the interval; None where sampling gives no such end, with the reason in `note`.
    n_paths : int
        Scenarios behind the figure.
    method : str
        How the scenarios were made.
    note : str
        What the interval covers and how it was made.
    """

    value: float
    ci_low: float | None
    ci_high: float | None
    n_paths: int
    method: str
    note: str
