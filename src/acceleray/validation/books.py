"""Risk of whole books by full revaluation: the blocks of scenarios that the night computes."""

from __future__ import annotations

import datetime as dt
import math
from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy import special

from acceleray.domain.market import Market
from acceleray.domain.moves import MoveKind
from acceleray.numerics import tail
from acceleray.numerics.contributions import expected_shortfall_contributions, value_at_risk_contributions
from acceleray.numerics.covariance import cholesky_root
from acceleray.numerics.incremental import contiguous_sections, incremental_value_at_risk
from acceleray.numerics.intervals import Estimate
from acceleray.numerics.weighted import (
    weighted_exceedance,
    weighted_expected_shortfall,
    weighted_value_at_risk,
)
from acceleray.risk.blocks import Blocks, Drawn, Job, Plan, Table
from acceleray.risk.importance import Stratified, prepare_importance
from acceleray.risk.resolve import aged
from acceleray.risk.revaluation import BLOCK_SIZE, revaluations
from acceleray.risk.sensitivities import as_moves, derivatives
from acceleray.risk.valuation import ResolvedBook, portfolio_gains, unit_prices
from acceleray.validation.case import Found, NotCoveredError
from acceleray.validation.entered import AS_OF, resolved

__all__ = ["linear_book", "sampled_tail", "short_options", "straddle"]

FloatArray = npt.NDArray[np.float64]

_CONFIDENCE = 0.95


def straddle(inputs: Mapping[str, Any]) -> dict[str, Found]:
    """Revalue a short straddle at the horizon on a fine grid of normal moves with their probabilities."""
    names, years, horizon = ("call", "put"), inputs["years"], inputs["horizon_years"]
    days, factors, rows = _options_as_days(inputs, ["S"], names)
    resolution, market = resolved(rows, factors, [-1.0, -1.0])
    book = aged(resolution, market, AS_OF + dt.timedelta(days=round(days * horizon / years)))
    # The grid reaches ten deviations; the trapezoidal rule is exact to rounding there.
    z = np.linspace(-10.0, 10.0, inputs["n_nodes"])
    weights = np.exp(-0.5 * z**2)
    weights /= weights.sum()
    deviation = inputs["vol"] * math.sqrt(horizon)
    shocked = np.tile(market.base, (z.size, 1))
    shocked[:, market.column("S")] *= np.exp(deviation * z - 0.5 * deviation**2)
    losses = -_gains(book, Table(blocks=_blocks(z.size), shocked=shocked), market).sum(axis=0)
    value = unit_prices(resolution.priced, market.base[None, :]).sum()
    found = {"value": Found(value=float(value))}
    for level in inputs["var_levels"]:
        at_risk = tail.var(losses, level=level, weights=weights)
        found[f"VaR {level:g}"] = Found(value=float(at_risk))
    for level in inputs["es_levels"]:
        found[f"ES {level:g}"] = Found(value=float(tail.es(losses, level=level, weights=weights)))
    return found


def short_options(inputs: Mapping[str, Any]) -> dict[str, Found]:
    """Draw absolute normal moves of independent assets and revalue short calls and puts at the horizon."""
    assets = [f"S{i}" for i in range(inputs["n_assets"])]
    days, factors, rows = _options_as_days(inputs, assets, ("call", "put"))
    quantities = [-inputs["calls"], -inputs["puts"]] * len(assets)
    resolution, market = resolved(rows, factors, quantities)
    market = market.with_moves({"spot": MoveKind.ABSOLUTE})
    horizon = inputs["horizon_years"]
    book = aged(resolution, market, AS_OF + dt.timedelta(days=round(days * horizon / inputs["years"])))
    deviation = np.zeros(len(market.factors))
    deviation[[market.column(name) for name in assets]] = inputs["spot"] * inputs["vol"] * math.sqrt(horizon)
    plain = _drawn(inputs, market, np.diag(deviation**2))
    if inputs["sampling"] == "importance":
        return _importance_tail(book, plain, market, inputs)
    return sampled_tail(-_gains(book, plain, market).sum(axis=0), inputs)


def linear_book(inputs: Mapping[str, Any]) -> dict[str, Found]:
    """Draw relative normal moves of four spots: measures, components, marginals, incrementals."""
    weights, vols = np.array(inputs["weights"]), np.array(inputs["vols"])
    names = [f"S{i + 1}" for i in range(weights.size)]
    rows = [{"instrument_id": name, "kind": "equity", "factor_id": name} for name in names]
    factors = {name: {"kind": "spot", "value": 100.0} for name in names}
    resolution, market = resolved(rows, factors, (weights / 100.0).tolist(), names)
    market = market.with_moves({"spot": MoveKind.RELATIVE})
    covariance = np.array(inputs["correlations"]) * np.outer(vols, vols)
    members = -_gains(resolution.priced, _drawn(inputs, market, covariance), market)
    total = members.sum(axis=0)
    n = total.size
    sections = contiguous_sections(n, level=inputs["var_levels"][0])
    found = sampled_tail(total, inputs)
    spread = float(total.std())
    found["standard deviation"] = Found(value=spread, standard_error=spread / math.sqrt(2.0 * n))
    level = inputs["var_levels"][0]
    components, errors, _ = value_at_risk_contributions(members, total, level=level)
    parts, part_errors = expected_shortfall_contributions(members, total, level=inputs["es_levels"][0])
    for i, name in enumerate(names):
        found[f"component VaR {level:g} {name}"] = Found(
            value=float(components[i]), standard_error=float(errors[i])
        )
        found[f"marginal VaR {level:g} {name}"] = Found(
            value=float(components[i] / weights[i]), standard_error=float(errors[i] / abs(weights[i]))
        )
        found[f"component ES {inputs['es_levels'][0]:g} {name}"] = Found(
            value=float(parts[i]), standard_error=float(part_errors[i])
        )

        estimate = incremental_value_at_risk(
            total, total - members[i], level=level, confidence=_CONFIDENCE, sections=sections
        )
        found[f"incremental VaR {level:g} {name}"] = _from_interval(estimate, len(sections))
    return found


def sampled_tail(losses: FloatArray, inputs: Mapping[str, Any]) -> dict[str, Found]:
    """Measure a sample of losses as the night does; standard errors are those of its intervals."""
    found = {}
    for level in inputs.get("var_levels", ()):
        estimate = tail.value_at_risk_interval(losses, level=level, confidence=_CONFIDENCE)
        found[f"VaR {level:g}"] = _from_interval(estimate)
    for level in inputs.get("es_levels", ()):
        found[f"ES {level:g}"] = Found(
            value=float(tail.es(losses, level=level)),
            standard_error=tail.expected_shortfall_std_error(losses, level=level),
        )
    for threshold in inputs.get("above", ()):
        share = float((losses > threshold).mean())
        found[f"P(loss > {threshold:g})"] = Found(
            value=share, standard_error=math.sqrt(share * (1.0 - share) / losses.size)
        )
    return found


def _importance_tail(
    book: ResolvedBook, plain: Drawn, market: Market, inputs: Mapping[str, Any]
) -> dict[str, Found]:
    """Measure the same book on paths drawn where its delta-gamma expansion loses money."""

    def loss(levels: FloatArray) -> FloatArray:
        gains = portfolio_gains(book, levels, market.base[None, :], (0, book.n_sections))
        total: FloatArray = -gains.sum(axis=0)
        return total

    quadratic = as_moves(derivatives(book, market).quadratic([0], market.base.size), market)
    levels = tuple(inputs["var_levels"])
    found = prepare_importance(plain, loss, -quadratic.gradient, -quadratic.hessian, levels=levels)
    if not isinstance(found.plan, Stratified):
        raise NotCoveredError(f"importance sampling drew plain paths: {found.diagnosis.reason}")
    n_blocks = len(found.blocks)
    sample = (
        np.concatenate([loss(found.levels(block)) for block in range(n_blocks)]),
        np.concatenate([found.weights(block) for block in range(n_blocks)]),
        found.blocks.of_scenarios(),
    )
    results = {}
    for level in inputs["var_levels"]:
        estimate = weighted_value_at_risk(*sample, level=level, confidence=_CONFIDENCE)
        results[f"VaR {level:g}"] = _from_interval(estimate, n_blocks)
    for level in inputs["es_levels"]:
        estimate = weighted_expected_shortfall(*sample, level=level, confidence=_CONFIDENCE)
        results[f"ES {level:g}"] = _from_interval(estimate, n_blocks)
    for threshold in inputs["above"]:
        estimate = weighted_exceedance(*sample, threshold=threshold, confidence=_CONFIDENCE)
        results[f"P(loss > {threshold:g})"] = _from_interval(estimate, n_blocks)
    return results


def _from_interval(estimate: Estimate, n_sections: int | None = None) -> Found:
    """Read the standard error off an interval: normal, or Student's where it comes from sections."""
    error = math.nan
    if estimate.ci_low is not None and estimate.ci_high is not None:
        upper = 0.5 * (1.0 + _CONFIDENCE)
        quantile = special.ndtri(upper) if n_sections is None else special.stdtrit(n_sections - 1, upper)
        error = (estimate.ci_high - estimate.ci_low) / (2.0 * float(quantile))
    return Found(value=estimate.value, standard_error=error)


def _options_as_days(
    inputs: Mapping[str, Any], assets: list[str], types: tuple[str, ...]
) -> tuple[int, dict[str, dict[str, Any]], list[dict[str, Any]]]:
    """Enter at-the-money options whose expiry is a whole number of days.

    Time is stretched so that expiry and horizon both fall on days; rate and vol shrink in step, which
    leaves every price as it is.
    """
    days = inputs["days_to_expiry"]
    stretch = days / 365.0 / inputs["years"]
    factors: dict[str, dict[str, Any]] = {
        "R": {"kind": "zero_rate", "curve": "R", "value": inputs["rate"] / stretch},
        "V": {"kind": "implied_vol", "value": inputs["vol"] / math.sqrt(stretch)},
    }
    rows = []
    for asset in assets:
        factors[asset] = {"kind": "spot", "value": inputs["spot"]}
        rows += [
            {
                "instrument_id": f"{asset} {kind}",
                "kind": "option",
                "factor_id": asset,
                "option_type": kind,
                "exercise": "european",
                "strike": inputs["strike"],
                "expiry": AS_OF + dt.timedelta(days=days),
                "vol_factor": "V",
                "discount_curve": "R",
            }
            for kind in types
        ]
    return days, factors, rows


def _drawn(inputs: Mapping[str, Any], market: Market, covariance: FloatArray) -> Drawn:
    """Return normal moves of one step with a known covariance."""
    return Drawn(
        blocks=_blocks(inputs["n_paths"]),
        base=market.base,
        move_kinds=market.move_kinds,
        root=cholesky_root(covariance),
        drift=np.zeros(market.base.size),
        horizon_days=1,
        step="daily",
        seed=inputs["seed"],
        dof=None,
        unit_variance=True,
        replicates=None,
    )


def _gains(book: ResolvedBook, plan: Plan, market: Market) -> FloatArray:
    """Gain of every portfolio in every scenario."""
    (gains,) = revaluations([Job(book=book, plan=plan)], market.base, keep_positions=False, distributed=False)
    return gains.by_portfolio


def _blocks(n_scenarios: int) -> Blocks:
    return Blocks(n_scenarios=n_scenarios, size=BLOCK_SIZE)
