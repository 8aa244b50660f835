"""Prices of single instruments, through the book that the night values."""

from __future__ import annotations

import datetime as dt
import importlib.util
import math
from collections.abc import Mapping
from typing import Any

import numpy as np

from acceleray.risk.american import build_american
from acceleray.risk.sensitivities import derivatives
from acceleray.risk.valuation import unit_prices
from acceleray.validation.case import Found, NotCoveredError
from acceleray.validation.entered import AS_OF, YEAR, resolved

__all__ = ["american_options", "bonds_and_swaps", "european_options", "forwards"]

# Boxes of the American tables reach this far beyond their contracts.
_MARGIN = 0.02
_SEED = 20181228


def european_options(inputs: Mapping[str, Any]) -> dict[str, Found]:
    """Price European options, or differentiate their value, each as a contract of one year.

    Black and Scholes depend on vol times root of time and on rates times time only, so any time to expiry
    can be entered as 365 days.
    """
    found = {}
    for name, option in inputs["contracts"].items():
        years = option["years"]
        factors = {
            "S": {"kind": "spot", "value": option["spot"]},
            "R": _flat("R", option["rate"] * years),
            "V": {"kind": "implied_vol", "value": option["vol"] * math.sqrt(years)},
        }
        row = {
            "instrument_id": "option",
            "kind": "option",
            "factor_id": "S",
            "option_type": option["type"],
            "exercise": "european",
            "strike": option["strike"],
            "expiry": YEAR,
            "vol_factor": "V",
            "discount_curve": "R",
        }
        if option.get("on_future"):
            row["on_future"] = "true"
        elif "foreign_rate" in option:
            factors["S"] |= {"kind": "fx", "currency": "EUR"}
            factors["F"] = _flat("F", option["foreign_rate"] * years)
            row["foreign_curve"] = "F"
        elif option.get("dividend_yield"):
            factors["Q"] = {"kind": "dividend_yield", "value": option["dividend_yield"] * years}
            row["dividend_yield"] = "Q"
        resolution, market = resolved([row], factors)
        value = float(unit_prices(resolution.priced, market.base[None, :])[0, 0])
        if "greek" in option:
            local = derivatives(resolution.priced, market).quadratic([0], market.base.size)
            spot, vol = market.column("S"), market.column("V")
            value = {
                "delta": float(local.gradient[spot]),
                "gamma": float(local.hessian[spot, spot]),
                # The vol that was entered is that of the source times the root of its time.
                "vega": float(local.gradient[vol]) * math.sqrt(years),
            }[option["greek"]]
        found[name] = Found(value=value)
    return found


def american_options(inputs: Mapping[str, Any]) -> dict[str, Found]:
    """Price American options from Chebyshev tables, one per type and expiry."""
    if importlib.util.find_spec("QuantLib") is None:
        raise NotCoveredError(
            "American options are tabulated from QuantLib, which is not installed: "
            "pip install 'acceleray[quantlib]'"
        )
    groups: dict[tuple[str, float], list[str]] = {}
    for name, option in inputs["contracts"].items():
        groups.setdefault((option["type"], option["years"]), []).append(name)
    found = {}
    for (kind, years), names in groups.items():
        options = [inputs["contracts"][name] for name in names]
        points = np.array(
            [
                [
                    math.log(option["spot"] / option["strike"]),
                    option["vol"],
                    option["rate"],
                    option.get("dividend_yield", 0.0),
                ]
                for option in options
            ]
        )
        low, high = points.min(axis=0), points.max(axis=0)
        low[:2] -= _MARGIN
        high[:2] += _MARGIN
        table = build_american(
            low.tolist(), high.tolist(), years=years, is_call=kind == "call", tolerance=2e-6, seed=_SEED
        )
        for name, option, point in zip(names, options, points, strict=True):
            spot, vol, rate, dividend = (
                np.array([value]) for value in (option["spot"], point[1], point[2], point[3])
            )
            value = table.value(spot, vol, rate, dividend, strike=option["strike"], years=years)
            found[name] = Found(value=float(value.prices[0]))
    return found


def forwards(inputs: Mapping[str, Any]) -> dict[str, Found]:
    """Find forward prices: of futures their price, of currency forwards the strike that is worth nothing."""
    found = {}
    for name, forward in inputs["contracts"].items():
        years = forward["years"]
        factors = {
            "S": {"kind": "spot", "value": forward["spot"]},
            "R": _flat("R", forward["rate"] * years),
        }
        row = {"instrument_id": "forward", "factor_id": "S", "expiry": YEAR, "discount_curve": "R"}
        if "foreign_rate" in forward:
            factors["S"] |= {"kind": "fx", "currency": "EUR"}
            factors["F"] = _flat("F", forward["foreign_rate"] * years)
            row |= {"kind": "fx_forward", "strike": forward["spot"], "foreign_curve": "F"}
        else:
            factors["Q"] = {"kind": "dividend_yield", "value": forward["dividend_yield"] * years}
            row |= {"kind": "future", "dividend_yield": "Q"}
        resolution, market = resolved([row], factors)
        value = float(unit_prices(resolution.priced, market.base[None, :])[0, 0])
        if row["kind"] == "fx_forward":
            value = forward["spot"] + value * math.exp(forward["rate"] * years)
        found[name] = Found(value=value)
    return found


def bonds_and_swaps(inputs: Mapping[str, Any]) -> dict[str, Found]:
    """Value bonds and swaps on a curve whose nodes are their payment dates.

    A source counts half years where the calendar has 181 to 184 days; so the zero rate at each date is the
    source's times its time over ours, which leaves every discount factor as it is there.
    """
    found = {}
    for name, contract in inputs["contracts"].items():
        factors = {}
        for date, years, rate in contract["zero_rates"]:
            ours = (dt.date.fromisoformat(date) - AS_OF).days / 365.0
            factors[date] = {
                "kind": "zero_rate",
                "curve": "R",
                "tenor_years": ours,
                "value": rate * years / ours,
            }
        row = dict(contract["row"]) | {"instrument_id": "contract", "discount_curve": "R"}
        for column in ("issue_date", "maturity"):
            row[column] = dt.date.fromisoformat(row[column])
        if row["kind"] != "bond":
            row["projection_curve"] = "R"
        resolution, market = resolved([row], factors)
        found[name] = Found(value=float(unit_prices(resolution.priced, market.base[None, :])[0, 0]))
    return found


def _flat(curve: str, rate: float) -> dict[str, Any]:
    return {"kind": "zero_rate", "curve": curve, "value": rate}
