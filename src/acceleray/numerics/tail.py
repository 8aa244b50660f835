"""Tail measures of a sample of losses, with the interval that sampling error allows.

Losses are positive, levels are fractions. The measures reduce the last axis; the estimates take one sample.
"""

from __future__ import annotations

import numpy.typing as npt

from acceleray.numerics.intervals import (
    Estimate,
    expected_shortfall_interval,
    expected_shortfall_std_error,
    value_at_risk_interval,
    value_at_risk_ranks,
)
from acceleray.numerics.order_statistics import (
    expected_shortfall,
    order_rank,
    tail_masses,
    value_at_risk,
)
from acceleray.numerics.overlap import (
    overlapping_expected_shortfall_interval,
    overlapping_value_at_risk_interval,
)

__all__ = [
    "Estimate",
    "es",
    "estimate_expected_shortfall",
    "estimate_value_at_risk",
    "expected_shortfall",
    "expected_shortfall_interval",
    "expected_shortfall_std_error",
    "order_rank",
    "overlapping_expected_shortfall_interval",
    "overlapping_value_at_risk_interval",
    "tail_masses",
    "value_at_risk",
    "value_at_risk_interval",
    "value_at_risk_ranks",
    "var",
]


def estimate_value_at_risk(
    losses: npt.ArrayLike, *, level: float, confidence: float, overlap_days: int, seed: int
) -> Estimate:
    """Estimate the value at risk with the interval that fits the sample.

    Parameters
    ----------
    losses : array_like of shape (n_paths,)
        Positive is a loss; in order of time if they overlap.
    level, confidence : float
        Fractions.
    overlap_days : int
        1 for independent paths, otherwise the days that each overlapping move spans.
    seed : int
        Of the block bootstrap; not used for independent paths.

    Returns
    -------
    Estimate
    """
    if overlap_days == 1:
        return value_at_risk_interval(losses, level=level, confidence=confidence)
    return overlapping_value_at_risk_interval(
        losses, level=level, confidence=confidence, overlap_days=overlap_days, seed=seed
    )


def estimate_expected_shortfall(
    losses: npt.ArrayLike, *, level: float, confidence: float, overlap_days: int, seed: int
) -> Estimate:
    """Estimate the expected shortfall with the interval that fits the sample.

    Parameters and result are those of `estimate_value_at_risk`.
    """
    if overlap_days == 1:
        return expected_shortfall_interval(losses, level=level, confidence=confidence)
    return overlapping_expected_shortfall_interval(
        losses, level=level, confidence=confidence, overlap_days=overlap_days, seed=seed
    )


# Short names for interactive work: `acceleray.tail.var(losses, level=0.99)`.
var = value_at_risk
es = expected_shortfall
