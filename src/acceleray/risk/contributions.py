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
    value_at_risk_contributions,
)
from acceleray.risk.estimates import TailMeasure, estimated, estimated_increment
from acceleray.risk.plans import Labels

__all__ = ["Members", "components", "decomposed", "split_table"]

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


def components(
    members: Members, losses: FloatArray, labels: Labels, *, measure: TailMeasure, level: float
) -> tuple[FloatArray, FloatArray, float]:
    """Split a measure so that the parts add up; only scenarios near the tail are summed.

    Parameters
    ----------
    losses : ndarray of shape (n_scenarios,)
        Of the node.

    Returns
    -------
    values, std_errors : ndarray of shape (n_members,)
    residual : float
        Of value at risk, what the parts missed before they were scaled to it; zero for ES.
    """
    weights = labels.weights
    paths = required_paths(losses, level=level, measure=measure, weights=weights)
    own = -members.sums(np.arange(len(members.names)), paths)
    error = members.sum_error
    if measure == "VaR":
        return value_at_risk_contributions(
            own, losses, level=level, paths=paths, weights=weights, sum_error=error
        )
    values, std_errors = expected_shortfall_contributions(
        own, losses, level=level, paths=paths, weights=weights, sum_error=error
    )
    return values, std_errors, 0.0


def split_table(
    members: Members, losses: FloatArray, labels: Labels, *, measure: TailMeasure, level: float
) -> pa.Table:
    """Return `components` as rows: member_id, value, std_error, residual."""
    values, std_errors, residual = components(members, losses, labels, measure=measure, level=level)
    return pa.table(
        {
            "member_id": pa.array(members.names, pa.string()),
            "value": pa.array(values, pa.float64()),
            "std_error": pa.array(std_errors, pa.float64()),
            "residual": pa.array(np.full(values.size, residual), pa.float64()),
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
    values, std_errors, _ = components(members, losses, labels, measure=measure, level=level)
    every = np.arange(losses.size)
    in_batch = max(_BATCH_BYTES // (8 * losses.size), 1)
    rows: list[dict[str, Any]] = []
    for first in range(0, len(members.names), in_batch):
        batch = np.arange(first, min(first + in_batch, len(members.names)))
        for member, gains in zip(batch, members.sums(batch, every), strict=True):
            exposure = float(members.exposures[member])
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
                    "component": float(values[member]),
                    "component_std_error": float(std_errors[member]),
                    "marginal": float(values[member]) / exposure if exposure else None,
                    "marginal_std_error": float(std_errors[member]) / abs(exposure) if exposure else None,
                    "incremental": added.value,
                    "incremental_ci_low": added.ci_low,
                    "incremental_ci_high": added.ci_high,
                    "note": f"standalone: {alone.note}; incremental: {added.note}",
                }
            )
    return pa.Table.from_pylist(rows, schema=_DECOMPOSITION)
