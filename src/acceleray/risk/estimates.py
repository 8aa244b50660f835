"""Tail measures of a sample of losses with the interval that fits the scenarios behind it."""

from __future__ import annotations

from typing import Literal, get_args

import numpy as np
import numpy.typing as npt

from acceleray.errors import UsageError
from acceleray.numerics.dispersion import estimate_standard_deviation
from acceleray.numerics.incremental import (
    contiguous_sections,
    incremental_expected_shortfall,
    incremental_value_at_risk,
)
from acceleray.numerics.sectioning import sectioned_estimate
from acceleray.numerics.sobol import replicate_of_paths
from acceleray.numerics.tail import (
    Estimate,
    estimate_expected_shortfall,
    estimate_value_at_risk,
    expected_shortfall,
    value_at_risk,
)
from acceleray.numerics.weighted import weighted_expected_shortfall, weighted_value_at_risk
from acceleray.risk.plans import Labels

__all__ = [
    "TailMeasure",
    "check_fraction",
    "check_measure",
    "dependent_sections",
    "estimated",
    "estimated_deviation",
    "estimated_increment",
]

FloatArray = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]

TailMeasure = Literal["VaR", "ES"]

# Sections of overlapping moves count as independent when they are so many overlaps long.
_OVERLAPS = 5


def check_measure(measure: str) -> None:
    """Refuse a measure that is neither VaR nor ES."""
    if measure not in get_args(TailMeasure):
        raise UsageError(f"measure: expected 'VaR' or 'ES', was {measure!r}")


def check_fraction(name: str, value: float) -> None:
    """Refuse a level that is not a fraction between 0 and 1."""
    if not 0.0 < value < 1.0:
        raise UsageError(
            f"{name}: must be more than 0 and less than 1, was {value}", hint="Write 99 % as 0.99."
        )


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
    if labels.weights is not None:
        weighted = weighted_value_at_risk if measure == "VaR" else weighted_expected_shortfall
        blocks = labels.blocks.of_scenarios()
        return weighted(losses, labels.weights, blocks, level=level, confidence=confidence)
    estimate = estimate_value_at_risk if measure == "VaR" else estimate_expected_shortfall
    return estimate(
        losses, level=level, confidence=confidence, overlap_days=labels.overlap_days, seed=labels.seed
    )


def estimated_deviation(gains: FloatArray, labels: Labels, *, confidence: float) -> Estimate:
    """Estimate the standard deviation of gains under a scenario set; parameters are those of `estimated`.

    Overlapping moves have no interval: their number of independent ones is not known.
    """
    if labels.replicates is not None:
        sections = [gains[each, None] for each in _replicates(labels, labels.replicates)]
        return sectioned_estimate(sections, _deviation, confidence=confidence)
    if labels.weights is not None:
        paths = np.column_stack([gains, np.asarray(labels.weights)])
        return sectioned_estimate(
            np.split(paths, len(labels.blocks)), _weighted_deviation, confidence=confidence
        )
    found = estimate_standard_deviation(gains, confidence=confidence)
    if labels.overlap_days == 1:
        return found
    note = f"none: moves of {labels.overlap_days} days overlap"
    return Estimate(value=found.value, ci_low=None, ci_high=None, note=note)


def _deviation(rows: FloatArray) -> float:
    return estimate_standard_deviation(rows[:, 0], confidence=0.5).value


def _weighted_deviation(rows: FloatArray) -> float:
    masses = rows[:, 1] / rows[:, 1].sum()
    centred = rows[:, 0] - (masses * rows[:, 0]).sum()
    return float(np.sqrt((masses * centred**2).sum()))


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
    if labels.weights is not None:
        return _weighted_increment(losses, without, labels, measure, level, confidence)
    sections = dependent_sections(losses.size, labels, level=level)
    if measure == "ES":
        return incremental_expected_shortfall(
            losses, without, level=level, confidence=confidence, sections=sections
        )
    if sections is None:
        sections = contiguous_sections(losses.size, level=level)
    return incremental_value_at_risk(losses, without, level=level, confidence=confidence, sections=sections)


def dependent_sections(n_paths: int, labels: Labels, *, level: float) -> list[IntArray] | None:
    """Cut paths that depend on each other into independent sections.

    Parameters
    ----------
    n_paths : int
        Of the whole set.
    labels : Labels
        Of the set.
    level : float
        Fraction; a section of overlapping moves needs a tail beyond it.

    Returns
    -------
    list of ndarray of int64 or None
        The scrambles of a Sobol set, the blocks of a weighted one, runs of overlapping moves, which may be
        none; None where all paths are independent.
    """
    if labels.replicates is not None:
        return _replicates(labels, labels.replicates)
    if labels.weights is not None:
        return np.split(np.arange(n_paths, dtype=np.int64), len(labels.blocks))
    if labels.overlap_days > 1:
        return contiguous_sections(n_paths, level=level, length_at_least=_OVERLAPS * labels.overlap_days)
    return None


def _weighted_increment(
    losses: FloatArray,
    without: FloatArray,
    labels: Labels,
    measure: TailMeasure,
    level: float,
    confidence: float,
) -> Estimate:
    """Section the paths of an importance sample by its blocks, each of which is a whole sample."""
    measured = value_at_risk if measure == "VaR" else expected_shortfall
    paths = np.column_stack([losses, without, np.asarray(labels.weights)])

    def increment(rows: FloatArray) -> float:
        masses = rows[:, 2] / rows[:, 2].sum()
        with_member, alone = (measured(rows[:, side], level=level, weights=masses) for side in (0, 1))
        return float(with_member - alone)

    return sectioned_estimate(np.split(paths, len(labels.blocks)), increment, confidence=confidence)


def _replicates(labels: Labels, count: int) -> list[IntArray]:
    """Paths of each randomisation of a Sobol set: its blocks go round them."""
    blocks = labels.blocks
    owners = replicate_of_paths(blocks.n_scenarios, blocks.size, replicates=count)
    return [np.flatnonzero(owners == replicate) for replicate in range(count)]
