"""Tail measures of a sample of losses with the interval that fits the scenarios behind it."""

from __future__ import annotations

from typing import Literal, get_args

import numpy as np
import numpy.typing as npt

from acceleray.errors import UsageError
from acceleray.numerics.incremental import (
    contiguous_sections,
    incremental_expected_shortfall,
    incremental_value_at_risk,
)
from acceleray.numerics.sectioning import sectioned_estimate
from acceleray.numerics.tail import (
    Estimate,
    estimate_expected_shortfall,
    estimate_value_at_risk,
    expected_shortfall,
    value_at_risk,
)
from acceleray.risk.plans import Labels

__all__ = ["TailMeasure", "check_measure", "estimated", "estimated_increment"]

FloatArray = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]

TailMeasure = Literal["VaR", "ES"]

# Sections of overlapping moves count as independent when they are so many overlaps long.
_OVERLAPS = 5


def check_measure(measure: str) -> None:
    """Refuse a measure that is neither VaR nor ES."""
    if measure not in get_args(TailMeasure):
        raise UsageError(f"measure: expected 'VaR' or 'ES', was {measure!r}")


def estimated(
    losses: FloatArray, labels: Labels, *, measure: TailMeasure, level: float, confidence: float
) -> Estimate:
    """Estimate a measure of losses under a scenario set.

    Parameters
    ----------
    losses : ndarray of shape (n_scenarios,)
        Of the whole set, in its order.
    labels : Labels
        Of the set: whether scenarios are independent, overlap, or are randomisations of a Sobol set.
    """
    if labels.replicates is not None:
        measured = value_at_risk if measure == "VaR" else expected_shortfall
        sections = [losses[each] for each in _replicates(labels, labels.replicates)]
        return sectioned_estimate(
            sections, lambda paths: float(measured(paths, level=level)), confidence=confidence
        )
    estimate = estimate_value_at_risk if measure == "VaR" else estimate_expected_shortfall
    return estimate(
        losses, level=level, confidence=confidence, overlap_days=labels.overlap_days, seed=labels.seed
    )


def estimated_increment(
    losses: FloatArray,
    without: FloatArray,
    labels: Labels,
    *,
    measure: TailMeasure,
    level: float,
    confidence: float,
) -> Estimate:
    """Estimate by how much a measure is less on the losses `without` a member.

    The other parameters are those of `estimated`.
    """
    if labels.replicates is not None:
        sections: list[IntArray] | None = _replicates(labels, labels.replicates)
    elif labels.overlap_days > 1:
        length = _OVERLAPS * labels.overlap_days
        sections = contiguous_sections(losses.size, level=level, length_at_least=length)
    else:
        sections = None
    if measure == "ES":
        return incremental_expected_shortfall(
            losses, without, level=level, confidence=confidence, sections=sections
        )
    if sections is None:
        sections = contiguous_sections(losses.size, level=level)
    return incremental_value_at_risk(losses, without, level=level, confidence=confidence, sections=sections)


def _replicates(labels: Labels, count: int) -> list[IntArray]:
    """Paths of each randomisation of a Sobol set: its blocks go round them."""
    owners = labels.blocks.of_scenarios() % count
    return [np.flatnonzero(owners == replicate) for replicate in range(count)]
