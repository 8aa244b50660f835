"""How a node's tail measure splits over its members."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from acceleray.numerics.contributions import (
    expected_shortfall_contributions,
    required_paths,
    required_paths_of_sections,
    sectioned_std_errors,
    value_at_risk_contributions,
)
from acceleray.numerics.intervals import MIN_TAIL_PATHS
from acceleray.numerics.order_statistics import paths_beyond, value_at_risk
from acceleray.risk.estimates import TailMeasure, dependent_sections, estimated, estimated_increment
from acceleray.risk.plans import Labels

__all__ = ["Components", "Members", "components", "decomposed", "split_table"]

FloatArray = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]

# Path sums of members that are held at a time.
_BATCH_BYTES = 100_000_000

_AMOUNTS = (
    "exposure",
    "standalone",
    "standalone_ci_low",
    "standalone_ci_high",
    "component",
    "component_std_error",
    "marginal",
    "marginal_std_error",
    "incremental",
    "incremental_ci_low",
    "incremental_ci_high",
)
_DECOMPOSITION = pa.schema(
    [("member_id", pa.string()), *((name, pa.float64()) for name in _AMOUNTS), ("note", pa.string())]
)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Members:
    """The members of a node, whose gains are summed when asked for.

    Parameters
    ----------
    names : list of str
        Sorted.
    exposures : ndarray of shape (n_members,)
        Market value in base currency; a future counts with its notional.
    sums : callable
        Takes the numbers of members (increasing) and of scenarios (increasing), and returns their gains,
        shape (n_members, n_scenarios).
    sum_error : float
        Gap between the members' sum and the node that is still rounding.
    """

    names: list[str]
    exposures: FloatArray
    sums: Callable[[IntArray, IntArray], FloatArray]
    sum_error: float


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Components:
    """The parts of a measure.

    Parameters
    ----------
    values : ndarray of shape (n_members,)
        They add up to the measure.
    std_errors : ndarray of shape (n_members,) or None
        They do not add up. None where the paths show none, and `note` says why.
    n_sections : int or None
        Sections of dependent paths that the errors come from; None for independent paths.
    residual : float
        Of value at risk, what the parts missed before they were scaled to it; zero for ES.
    note : str
        How the errors were made.
    """

    values: FloatArray
    std_errors: FloatArray | None
    n_sections: int | None
    residual: float
    note: str


def components(
    members: Members, losses: FloatArray, labels: Labels, *, measure: TailMeasure, level: float
) -> Components:
    """Split a measure so that the parts add up; only scenarios near the tail are summed.

    Parameters
    ----------
    losses : ndarray of shape (n_scenarios,)
        Of the node.
    """
    weights = labels.weights
    paths = required_paths(losses, level=level, measure=measure, weights=weights)
    sections = dependent_sections(losses.size, labels, level=level)
    wanted: dict[str, Any] = {"level": level, "measure": measure, "weights": weights}
    if sections is not None and len(sections) > 1:
        paths = np.union1d(paths, required_paths_of_sections(losses, sections=sections, **wanted))
    own = -members.sums(np.arange(len(members.names)), paths)
    split: dict[str, Any] = {
        "level": level, "paths": paths, "weights": weights, "sum_error": members.sum_error
    }  # fmt: skip
    residual = 0.0
    if measure == "VaR":
        values, errors, residual = value_at_risk_contributions(own, losses, **split)
    else:
        values, errors = expected_shortfall_contributions(own, losses, **split)
    if sections is None:
        reason = _too_few(losses, measure, level)
        note = reason or "large-sample standard errors of independent paths"
        return Components(
            values=values,
            std_errors=None if reason else errors,
            n_sections=None,
            residual=residual,
            note=note,
        )
    if len(sections) < 2:
        note = "no standard error: the paths depend on each other and are too few for independent sections"
        return Components(values=values, std_errors=None, n_sections=0, residual=residual, note=note)
    errors = sectioned_std_errors(own, losses, paths=paths, sections=sections, **wanted)
    note = f"standard errors: jackknife over {len(sections)} independent sections of {sections[0].size} paths"
    return Components(
        values=values, std_errors=errors, n_sections=len(sections), residual=residual, note=note
    )


def _too_few(losses: FloatArray, measure: TailMeasure, level: float) -> str:
    """Say why independent paths show no standard error; nothing if they do."""
    beyond = paths_beyond(losses.size, level)
    least = MIN_TAIL_PATHS if measure == "ES" else 1.0
    if beyond < least:
        return (
            f"no standard error: only {beyond:.3g} of {losses.size} paths lie beyond the level, "
            f"at least {least:g} are needed"
        )
    if measure == "ES" and not (losses > value_at_risk(losses, level=level)).any():
        return "no standard error: the tail losses are all equal"
    return ""


def split_table(
    members: Members, losses: FloatArray, labels: Labels, *, measure: TailMeasure, level: float
) -> pa.Table:
    """Return `components` as rows: member_id, value, std_error, residual, note."""
    found = components(members, losses, labels, measure=measure, level=level)
    count = found.values.size
    return pa.table(
        {
            "member_id": pa.array(members.names, pa.string()),
            "value": pa.array(found.values, pa.float64()),
            "std_error": pa.nulls(count, pa.float64())
            if found.std_errors is None
            else pa.array(found.std_errors, pa.float64()),
            "residual": pa.array(np.full(count, found.residual), pa.float64()),
            "note": pa.repeat(found.note, count),
        }
    )


def decomposed(
    members: Members,
    losses: FloatArray,
    labels: Labels,
    *,
    measure: TailMeasure,
    level: float,
    confidence: float,
) -> pa.Table:
    """Return every member's standalone, component, marginal and incremental measure; see `Pnl.decomposition`.

    Parameters are those of `components` and `estimated`.
    """
    split = components(members, losses, labels, measure=measure, level=level)
    every = np.arange(losses.size)
    in_batch = max(_BATCH_BYTES // (8 * losses.size), 1)
    rows: list[dict[str, Any]] = []
    for first in range(0, len(members.names), in_batch):
        batch = np.arange(first, min(first + in_batch, len(members.names)))
        for member, gains in zip(batch, members.sums(batch, every), strict=True):
            exposure, value = float(members.exposures[member]), float(split.values[member])
            error = None if split.std_errors is None else float(split.std_errors[member])
            alone = estimated(-gains, labels, measure=measure, level=level, confidence=confidence)
            added = estimated_increment(
                losses, losses + gains, labels, measure=measure, level=level, confidence=confidence
            )
            rows.append(
                {
                    "member_id": members.names[member],
                    "exposure": exposure,
                    "standalone": alone.value,
                    "standalone_ci_low": alone.ci_low,
                    "standalone_ci_high": alone.ci_high,
                    "component": value,
                    "component_std_error": error,
                    "marginal": value / exposure if exposure else None,
                    "marginal_std_error": error / abs(exposure) if exposure and error is not None else None,
                    "incremental": added.value,
                    "incremental_ci_low": added.ci_low,
                    "incremental_ci_high": added.ci_high,
                    "note": f"standalone: {alone.note}; component: {split.note}; incremental: {added.note}",
                }
            )
    return pa.Table.from_pylist(rows, schema=_DECOMPOSITION)
