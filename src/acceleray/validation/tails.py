"""Tail measures and volatility of samples and laws that are known exactly."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy import special

from acceleray.numerics import tail
from acceleray.numerics.liquidity_horizons import liquidity_adjusted_shortfall
from acceleray.numerics.tail_laws import normal_tail, student_tail
from acceleray.numerics.volatility import filter_variance
from acceleray.validation.books import sampled_tail
from acceleray.validation.case import Found

__all__ = ["laws", "liquidity_cascade", "sampling_errors", "superadditivity", "variance_forecasts"]


def laws(inputs: Mapping[str, Any]) -> dict[str, Found]:
    """Measure normal and Student-t losses, either of one deviation or of scale one."""
    found = {}
    for level in inputs["levels"]:
        for dof in inputs["dofs"]:
            law = "normal" if dof is None else f"t{dof}"
            point = normal_tail(level) if dof is None else student_tail(level, dof)
            scale = inputs["scale"]
            if dof is not None and inputs["unit_variance"]:
                scale *= math.sqrt((dof - 2.0) / dof)
            found[f"VaR {level:g} {law}"] = Found(value=scale * point.var)
            found[f"ES {level:g} {law}"] = Found(value=scale * point.es)
    return found


def liquidity_cascade(inputs: Mapping[str, Any]) -> dict[str, Found]:
    """Aggregate expected shortfalls of ten-day moves over liquidity horizons."""
    found = liquidity_adjusted_shortfall(inputs["shortfalls"], horizons_days=inputs["horizons_days"])
    return {"ES": Found(value=found)}


def sampling_errors(inputs: Mapping[str, Any]) -> dict[str, Found]:
    """Estimate standard errors on a normal sample without noise, and rank the ends of exact intervals.

    The sample has one point in the middle of each of n slices of equal probability.
    """
    n = inputs["n_slices"]
    losses = special.ndtri(_middles(n))
    measured = sampled_tail(losses, {"var_levels": inputs["levels"], "es_levels": inputs["levels"]})
    found = {
        f"sqrt(n) s.e. of {name}": Found(value=(each.standard_error or math.nan) * math.sqrt(n))
        for name, each in measured.items()
    }
    for count, level in inputs["ranks"]:
        low, high = tail.value_at_risk_ranks(count, level=level, confidence=0.95)
        found[f"95 % interval of {count} paths at {level:g}: low rank"] = Found(value=low)
        found[f"95 % interval of {count} paths at {level:g}: high rank"] = Found(value=high)
    return found


def superadditivity(inputs: Mapping[str, Any]) -> dict[str, Found]:
    """Measure a book that is riskier than its parts, and find where that ends for exponential losses."""
    one, chances = np.array(inputs["losses"]), np.array(inputs["chances"])
    both = (one[:, None] + one[None, :]).ravel()
    joint = (chances[:, None] * chances[None, :]).ravel()
    level = inputs["level"]
    middles = _middles(inputs["n_slices"])
    # One exponential loss, and the sum of two, which is Gamma distributed.
    single, pair = -np.log1p(-middles), special.gammaincinv(2.0, middles)
    return {
        "VaR of one": Found(value=float(tail.var(one, level=level, weights=chances))),
        "VaR of both": Found(value=float(tail.var(both, level=level, weights=joint))),
        "ES of one": Found(value=float(tail.es(one, level=level, weights=chances))),
        "exponential losses: superadditive below": Found(value=_crossing(single, pair)),
    }


def variance_forecasts(inputs: Mapping[str, Any]) -> dict[str, Found]:
    """Take one step of the variance recursion."""
    found = {}
    for name, step in inputs["steps"].items():
        omega, alpha, beta = (np.array([step[key]]) for key in ("omega", "alpha", "beta"))
        forecast = filter_variance(
            np.array([[step["move"]]]),
            omega=omega,
            alpha=alpha,
            beta=beta,
            initial_variance=np.array([step["vol"] ** 2]),
        )
        found[name] = Found(value=float(forecast[1, 0]))
    return found


def _middles(n: int) -> npt.NDArray[np.float64]:
    return (np.arange(n) + 0.5) / n


def _crossing(single: npt.NDArray[np.float64], pair: npt.NDArray[np.float64]) -> float:
    """Bisect for the level from which the value at risk of the pair is below twice that of one."""
    low, high = 0.5, 0.9
    while high - low > 0.1 / single.size:
        middle = 0.5 * (low + high)
        if tail.var(pair, level=middle) > 2.0 * tail.var(single, level=middle):
            low = middle
        else:
            high = middle
    return 0.5 * (low + high)
