"""Tests of forecasts: exceptions, shortfall, attribution."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from acceleray.numerics.attribution import attribution_test, desk_passes
from acceleray.numerics.backtest import christoffersen, kupiec
from acceleray.numerics.backtest_shortfall import shortfall_null
from acceleray.numerics.traffic_light import traffic_light
from acceleray.validation.case import Found

__all__ = ["attribution", "exception_independence", "exception_rates", "shortfall_critical_value", "zones"]


def zones(inputs: Mapping[str, Any]) -> dict[str, Found]:
    """Look up probability, zone, plus factor and multiplier of every count of exceptions."""
    found = {}
    for exceptions in inputs["exceptions"]:
        light = traffic_light(exceptions=exceptions, days=inputs["days"], level=inputs["level"])
        found[f"{exceptions}: cumulative probability"] = Found(value=light.cumulative_probability)
        found[f"{exceptions}: zone"] = Found(value=light.zone)
        found[f"{exceptions}: plus factor"] = Found(value=light.plus_factor)
        found[f"{exceptions}: multiplier"] = Found(value=light.multiplier)
    return found


def exception_rates(inputs: Mapping[str, Any]) -> dict[str, Found]:
    """Test numbers of exceptions, and find the fewest and most that are accepted."""
    found = {}
    for exceptions, days, level in inputs.get("ratios", ()):
        statistic = kupiec(exceptions=exceptions, days=days, level=level).statistic
        found[f"LR({exceptions}; {days}, {level:g})"] = Found(value=statistic)
    for days, level in inputs["accepted"]:
        accepted = [
            exceptions
            for exceptions in range(days // 2)
            if (kupiec(exceptions=exceptions, days=days, level=level).p_value or 0.0) >= inputs["size"]
        ]
        found[f"{days} days at {level:g}: fewest"] = Found(value=accepted[0])
        found[f"{days} days at {level:g}: most"] = Found(value=accepted[-1])
    return found


def exception_independence(inputs: Mapping[str, Any]) -> dict[str, Found]:
    """Test whether exceptions follow each other; each series is a list of runs."""
    found = {}
    for name, runs in inputs["runs"].items():
        hits = np.concatenate([np.full(length, bool(hit)) for hit, length in runs])
        found[name] = Found(value=christoffersen(hits).statistic)
    return found


def shortfall_critical_value(inputs: Mapping[str, Any]) -> dict[str, Found]:
    """Draw Z2 for right forecasts and take a low quantile, with its error from sections."""
    n, quantile = inputs["n_samples"], inputs["quantile"]
    generator = np.random.Generator(np.random.Philox(inputs["seed"]))
    drawn = shortfall_null(generator, days=inputs["days"], level=inputs["level"], n_samples=n).z2
    parts = [float(np.quantile(part, quantile)) for part in np.array_split(drawn, 20)]
    return {
        "Z2": Found(
            value=float(np.quantile(drawn, quantile)),
            standard_error=float(np.std(parts, ddof=1)) / np.sqrt(20.0),
        )
    }


def attribution(inputs: Mapping[str, Any]) -> dict[str, Found]:
    """Attribute gains shifted against each other, and count the exceptions that a desk may have.

    Equally spaced gains shifted by k of n steps are in perfect order and their distributions k / n apart.
    """
    gains = np.arange(float(inputs["days"]))
    found = {}
    for shift in inputs["shifts"]:
        test = attribution_test(gains, gains + shift)
        found[f"distance {shift}/{inputs['days']}: zone"] = Found(value=test.zone)
    for level, exceptions in inputs["desk"]:
        passes = desk_passes(exceptions=exceptions, level=level)
        found[f"{exceptions} exceptions at {level:g}: passes"] = Found(value=passes)
    return found
