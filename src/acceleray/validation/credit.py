"""Credit losses: the granular limit, risk weights, exact laws and simulated books."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import replace
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

from acceleray.numerics.credit import prepare_draws
from acceleray.numerics.credit_exact import exact_law
from acceleray.numerics.credit_model import LossModel, default_thresholds
from acceleray.numerics.expected_loss import expected_loss
from acceleray.numerics.irb import asrf_default_rate, irb_capital_rate
from acceleray.numerics.loss_curve import aim, curve_block, prepare
from acceleray.numerics.loss_curve_estimates import loss_curve
from acceleray.numerics.recovery import Recoveries
from acceleray.numerics.sobol import sobol_uniforms
from acceleray.risk.credit import draw_plain_paths
from acceleray.validation.books import sampled_tail
from acceleray.validation.case import Found

__all__ = ["exact_book", "exchangeable_book", "factor_book", "factor_model", "granular_limit", "risk_weights"]

FloatArray: TypeAlias = npt.NDArray[np.float64]
IntArray: TypeAlias = npt.NDArray[np.int64]

_SEGMENT = "loans"
_BLOCK_SIZE = 5000


def granular_limit(inputs: Mapping[str, Any]) -> dict[str, Found]:
    """Take quantiles of the loss rate of infinitely many equal obligors."""
    found = {}
    for correlation in inputs["correlations"]:
        for level in inputs["levels"]:
            rate = asrf_default_rate(inputs["default_prob"], correlation=correlation, level=level)
            found[f"rho {correlation:g}, {level:g}"] = Found(value=float(rate))
    return found


def risk_weights(inputs: Mapping[str, Any]) -> dict[str, Found]:
    """Compute risk weights in percent: capital per unit of exposure times 1250."""
    found = {}
    for name, exposure in inputs["exposures"].items():
        rates = irb_capital_rate(
            inputs["default_probs"],
            exposure["lgd"],
            asset_class=exposure["asset_class"],
            maturity_years=inputs["maturity_years"],
            sales=exposure.get("sales"),
        )
        for default_prob, rate in zip(inputs["default_probs"], np.asarray(rates), strict=True):
            found[f"{name}, PD {default_prob:g}"] = Found(value=1250.0 * float(rate))
    return found


def exchangeable_book(inputs: Mapping[str, Any]) -> dict[str, Found]:
    """Simulate equal obligors under one common factor."""
    n, loading = inputs["n_obligors"], math.sqrt(inputs["correlation"])
    model = _loss_model(
        np.full(n, inputs["default_prob"]), np.ones(n), np.full((1, 1), loading), np.array([0, n])
    )
    losses = draw_plain_paths(
        (prepare_draws(model),),
        (_SEGMENT,),
        seed=inputs["seed"],
        n_paths=inputs["n_paths"],
        block_size=_BLOCK_SIZE,
        distributed=False,
    )[0, 0]
    found = sampled_tail(losses, inputs)
    for least in inputs.get("at_least", ()):
        share = float((losses >= least).mean())
        found[f"P(loss >= {least:g})"] = Found(
            value=share, standard_error=math.sqrt(share * (1.0 - share) / losses.size)
        )
    return found


def exact_book(inputs: Mapping[str, Any]) -> dict[str, Found]:
    """Compute the loss law of equal obligors under one common factor, without simulation."""
    n, loading = inputs["n_obligors"], math.sqrt(inputs["correlation"])
    law = exact_law(
        _loss_model(
            np.full(n, inputs["default_prob"]), np.ones(n), np.full((1, 1), loading), np.array([0, n])
        )
    )
    found = {}
    for level in inputs.get("var_levels", ()):
        found[f"VaR {level:g}"] = Found(value=law.var(level).value)
    for level in inputs.get("es_levels", ()):
        found[f"ES {level:g}"] = Found(value=law.es(level).value)
    for least in inputs["at_least"]:
        # The book loses whole units.
        found[f"P(loss >= {least:g})"] = Found(value=law.exceedance(least - 1.0).value)
    return found


def factor_book(inputs: Mapping[str, Any]) -> dict[str, Found]:
    """Compute the expected loss of a book with 21 factors, and its loss curve along Sobol lines."""
    model = factor_model(inputs["n_obligors"])
    found = {"expected loss": Found(value=math.fsum(expected_loss(model)))}
    aimed = aim(model, inputs["tail_prob"])
    book = prepare(model, replace(aimed, losses=np.array(inputs["above"], dtype=np.float64)))
    scrambles = []
    for replicate in range(inputs["scrambles"]):
        points = sobol_uniforms(
            inputs["seed"],
            block=replicate,
            block_size=inputs["points"],
            n_paths=inputs["points"],
            n_dims=aimed.n_dims,
            replicates=inputs["scrambles"],
        )
        scrambles.append(curve_block(book, points))
    shares = loss_curve(book.losses, scrambles, unit=book.unit).above
    errors = shares.std(axis=0, ddof=1) / math.sqrt(len(scrambles))
    for threshold, share, error in zip(inputs["above"], shares.mean(axis=0), errors, strict=True):
        found[f"P(loss > {threshold})"] = Found(value=float(share), standard_error=float(error))
    return found


def factor_model(n_obligors: int) -> LossModel:
    """Enter the book of Glasserman and Li (2005), section 6: one market, ten industries and ten regions.

    Each run of a hundred obligors is an industry, each run of ten within it a region.
    """
    number = np.arange(1, n_obligors + 1)
    default_prob = 0.01 * (1.0 + np.sin(16.0 * math.pi * number / n_obligors))
    exposures = np.linspace(1.0, 100.0, n_obligors)
    cell = (number - 1) // (n_obligors // 100)
    loadings = np.zeros((100, 21))
    loadings[:, 0] = 0.8
    loadings[np.arange(100), 1 + np.arange(100) // 10] = 0.4
    loadings[np.arange(100), 11 + np.arange(100) % 10] = 0.4
    # Within a cell the probabilities ascend.
    order = np.lexsort((default_prob, cell))
    cells = np.searchsorted(cell[order], np.arange(101))
    return _loss_model(default_prob[order], exposures[order], loadings, cells)


def _loss_model(
    default_prob: FloatArray, exposures: FloatArray, loadings: FloatArray, cells: IntArray
) -> LossModel:
    """Enter a book of one segment that loses everything on default."""
    lengths = np.linalg.norm(loadings, axis=1)
    return LossModel(
        thresholds=default_thresholds(default_prob),
        exposures=exposures,
        recovery=np.zeros(exposures.size, dtype=np.int64),
        recoveries=Recoveries(mean=np.ones(1), std=np.zeros(1), correlation=np.zeros(1)),
        cells=cells,
        loadings=loadings,
        residual=np.sqrt(1.0 - lengths**2),
        mean=np.zeros(lengths.size),
        systematic=lengths,
        segments=np.array([0, lengths.size]),
    )
