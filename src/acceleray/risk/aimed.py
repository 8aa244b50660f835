"""Aim a Monte-Carlo set at the tail of the whole book: derivatives, pilot, and what the weights are."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import numpy.typing as npt

from acceleray.domain.market import Market
from acceleray.numerics.aggregation import tree_sum
from acceleray.risk.blocks import Drawn, Job
from acceleray.risk.importance import Diagnosis, prepare_importance
from acceleray.risk.plans import Labels
from acceleray.risk.sensitivities import as_moves, derivatives
from acceleray.risk.valuation import portfolio_gains

__all__ = ["aimed"]

FloatArray = npt.NDArray[np.float64]


def aimed(
    job: Job, labels: Labels, market: Market, levels: tuple[float, ...], *, distributed: bool
) -> tuple[Job, Labels]:
    """Draw a job's scenarios by importance sampling where that pays, and say so in its labels.

    Parameters
    ----------
    job : Job
        With a `Drawn` plan of pseudo-random paths.
    labels : Labels
        Of that plan.
    levels : tuple of float
        Levels at which the tail of the whole book should be known well.
    distributed : bool
        Whether the derivatives are computed as Ray tasks.

    Returns
    -------
    Job, Labels
        The labels carry the weights of the paths; with plain paths, the reason.
    """
    plan, book, base = job.plan, job.book, market.base
    if not isinstance(plan, Drawn):
        raise TypeError(f"only drawn paths can be aimed, the plan was a {type(plan).__name__}")
    if plan.horizon_days > 1 and plan.step != "horizon":
        reason = "importance sampling needs one step over the horizon, the moves are sums of daily draws"
        return job, replace(labels, note=f"{labels.note}; plain paths: {reason}")
    found = derivatives(book, market, distributed=distributed)
    gains = as_moves(found.quadratic(np.arange(book.n_portfolios), base.size), market)

    def loss(shocked: FloatArray) -> FloatArray:
        by_portfolio = portfolio_gains(book, shocked, base[None, :], (0, book.n_sections))
        return -tree_sum(by_portfolio, axis=0)

    importance = prepare_importance(plan, loss, -gains.gradient, -gains.hessian, levels=levels)
    blocks = importance.blocks
    weights = None
    if importance.diagnosis.method == "importance":
        weights = np.concatenate([importance.weights(block) for block in range(len(blocks))])
    note = f"{labels.note}; {_said(importance.diagnosis, levels)}"
    return (
        replace(job, plan=importance.plan),
        replace(labels, blocks=blocks, weights=weights, note=note),
    )


def _said(diagnosis: Diagnosis, levels: tuple[float, ...]) -> str:
    if diagnosis.method == "plain":
        return f"plain paths, as importance sampling would not pay: {diagnosis.reason}"
    ratios = ", ".join(
        f"{ratio:.3g} at {level:g}" for ratio, level in zip(diagnosis.variance_ratios, levels, strict=True)
    )
    return (
        "delta-gamma importance sampling with strata, aimed at the whole book: predicted variance of plain "
        f"paths over its own {ratios}, {diagnosis.proposals_per_path:.3g} proposals per path, a pilot of "
        f"{diagnosis.n_pilot} paths"
    )
