"""Day counts and accrued interest."""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping
from typing import Any

from acceleray.domain.day_count import year_fraction
from acceleray.risk.cash_flows import accrued_interest
from acceleray.validation.case import Found

__all__ = ["accrued", "day_counts"]


def day_counts(inputs: Mapping[str, Any]) -> dict[str, Found]:
    """Count shares of a year, times `per_year`."""
    found = {}
    for period in inputs["periods"]:
        start, end, *regular = (dt.date.fromisoformat(day) for day in period[:4])
        years = year_fraction(
            start,
            end,
            inputs["convention"],
            regular_start=regular[0] if regular else None,
            regular_end=regular[1] if regular else None,
            frequency=period[4] if regular else None,
        )
        found[f"{period[0]} to {period[1]}"] = Found(value=years * inputs["per_year"])
    return found


def accrued(inputs: Mapping[str, Any]) -> dict[str, Found]:
    """Accrue the interest of bonds."""
    found = {}
    for name, bond in inputs["bonds"].items():
        row = dict(bond["row"]) | {"kind": "bond"}
        for column in ("issue_date", "maturity"):
            row[column] = dt.date.fromisoformat(row[column])
        value = accrued_interest(row, dt.date.fromisoformat(bond["traded"]))
        found[name] = Found(value=value)
    return found
