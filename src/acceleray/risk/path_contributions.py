"""Who makes the tail where paths are drawn: the same paths once more, obligor by obligor.

The streams of a block give the same defaults again, so that contributions add up to the very figures that the
paths gave. Losses of a few hundred obligors are kept path by path, for the errors of their contributions.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt
from scipy.special import ndtr, stdtr

from acceleray.numerics.contributions import (
    expected_shortfall_contributions,
    required_paths,
    value_at_risk_contributions,
)
from acceleray.numerics.credit import PreparedModel
from acceleray.numerics.credit_importance import Aim
from acceleray.numerics.credit_model import LossModel
from acceleray.numerics.harrell_davis import quantile_weights
from acceleray.numerics.order_statistics import tail_masses
from acceleray.risk.credit_blocks import Portfolio, importance_members, plain_members, plain_obligor_sums
from acceleray.risk.credit_contributions import MAX_CHOSEN, Shares, TailShares, spread_rest

__all__ = ["DrawnPaths", "importance_shares", "plain_shares"]

FloatArray: TypeAlias = npt.NDArray[np.float64]
IntArray: TypeAlias = npt.NDArray[np.int64]
FanOut: TypeAlias = Callable[[Any, Sequence[Any], Sequence[tuple[Any, ...]], str], list[Any]]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class DrawnPaths:
    """Paths of the whole book that are drawn already, in blocks.

    Parameters
    ----------
    models : tuple of PreparedModel
        One per scenario.
    portfolio : Portfolio
        The whole book under a scenario.
    seed : int
        Of their streams.
    losses : ndarray of shape (n_paths,)
        Of the whole book.
    masses : ndarray of shape (n_paths,), optional
        Probability of each path; equally likely without.
    block_size : int
        Paths of a block; the last block may be shorter.
    levels : tuple of float
        Confidence levels as fractions.
    """

    models: tuple[PreparedModel, ...]
    portfolio: Portfolio
    seed: int
    losses: FloatArray
    masses: FloatArray | None
    block_size: int
    levels: tuple[float, ...]

    @property
    def model(self) -> LossModel:
        """The book."""
        return self.portfolio.of(self.models)

    @property
    def starts(self) -> IntArray:
        """First obligor of each segment."""
        return self.model.cells[self.model.segments[:-1]]

    def required(self) -> IntArray:
        """Paths that decide contributions at any of the levels, increasing."""
        found = [
            required_paths(self.losses, level=level, measure=measure, weights=self.masses)
            for level in self.levels
            for measure in ("VaR", "ES")
        ]
        return np.unique(np.concatenate(found))

    def blocks(self, paths: IntArray) -> list[tuple[int, int, IntArray]]:
        """Return number and size of every block with any of the paths, and which of its own they are."""
        found = []
        for block, first in enumerate(range(0, self.losses.size, self.block_size)):
            size = min(self.block_size, self.losses.size - first)
            ends = np.searchsorted(paths, [first, first + size])
            if ends[1] > ends[0]:
                found.append((block, size, paths[ends[0] : ends[1]] - first))
        return found

    def groups(self, chosen: IntArray) -> IntArray:
        """Group of each obligor: the chosen by themselves, then the others of each segment."""
        counts = np.diff(np.append(self.starts, self.model.n_obligors))
        groups = chosen.size + np.repeat(np.arange(counts.size), counts)
        groups[chosen] = np.arange(chosen.size)
        return groups


def plain_shares(fan_out: FanOut, names: tuple[str, ...], drawn: DrawnPaths) -> dict[float, TailShares]:
    """Split the tail of plain paths among the obligors.

    Parameters
    ----------
    fan_out : callable
        Runs a function on many arguments, in this process or as Ray tasks.
    names : tuple of str
        Segments, whose streams are their own.
    drawn : DrawnPaths
        The paths.

    Returns
    -------
    dict of float to TailShares
        By level. The paths are drawn twice more: once to see which obligors matter, once for these.
    """
    paths = drawn.required()
    scenario = drawn.portfolio.scenario
    shared = [drawn.models, names, drawn.seed, scenario]
    rows = np.array(
        [
            weigh(drawn.losses, level=level)[paths]
            for level in drawn.levels
            for weigh in (quantile_weights, tail_masses)
        ]
    )
    calls, first = [], 0
    for block, size, own in drawn.blocks(paths):
        calls.append((block, size, own, np.ascontiguousarray(rows[:, first : first + own.size])))
        first += own.size
    sums = np.zeros((rows.shape[0], drawn.model.n_obligors))
    for part in fan_out(plain_obligor_sums, shared, calls, "block of contributions"):
        sums += part
    totals = sums.sum(axis=1, keepdims=True)
    weights = np.divide(sums, totals, out=np.zeros_like(sums), where=totals > 0.0).max(axis=0)
    chosen = _largest(weights, MAX_CHOSEN)
    groups = drawn.groups(chosen)
    members = fan_out(
        plain_members,
        shared,
        [(*call[:3], groups) for call in calls],
        "block of contributions",
    )
    return _path_shares(
        _joined(members, chosen.size + drawn.model.n_segments),
        paths,
        drawn,
        chosen=chosen,
        weights=weights,
        method="plain",
    )


def importance_shares(
    fan_out: FanOut, aims: tuple[Aim, ...], number: int, drawn: DrawnPaths
) -> dict[float, TailShares]:
    """Split the tail of weighted paths among the obligors.

    Parameters
    ----------
    fan_out : callable
        As for `plain_shares`.
    aims : tuple of Aim
        Of all portfolios that were drawn.
    number : int
        Which of them this is.
    drawn : DrawnPaths
        The paths.

    Returns
    -------
    dict of float to TailShares
        By level. Which obligors matter is told by their mean losses where the aims point to.
    """
    paths = drawn.required()
    weights = _mean_losses(drawn.model, aims[number])
    chosen = _largest(weights, MAX_CHOSEN)
    groups = drawn.groups(chosen)
    members = fan_out(
        importance_members,
        [drawn.models, aims, drawn.seed],
        [(number, drawn.portfolio, block, size, groups, own) for block, size, own in drawn.blocks(paths)],
        "block of contributions",
    )
    return _path_shares(
        _joined(members, chosen.size + drawn.model.n_segments),
        paths,
        drawn,
        chosen=chosen,
        weights=weights,
        method="importance",
    )


def _joined(blocks: list[FloatArray], n_groups: int) -> FloatArray:
    """Put blocks of paths side by side; the last groups may be empty and have no rows."""
    joined = np.concatenate(blocks, axis=1)
    return np.concatenate([joined, np.zeros((n_groups - joined.shape[0], joined.shape[1]))])


def _largest(weights: FloatArray, count: int) -> IntArray:
    # The order of the book decides between equal ones.
    return np.asarray(np.sort(np.argsort(-weights, kind="stable")[:count]), dtype=np.int64)


def _mean_losses(model: LossModel, aim: Aim) -> FloatArray:
    """Largest mean loss of each obligor at the factors of any component, as a share of the book's."""
    sizes = model.exposures * model.recoveries.mean[model.recovery]
    counts = np.diff(model.cells)
    found = np.zeros(model.n_obligors)
    for shift, scale in zip(aim.shifts, aim.scales, strict=True):
        level = (model.loadings * shift).sum(axis=1) + model.mean
        distance = (model.thresholds * math.sqrt(scale) - np.repeat(level, counts)) / np.repeat(
            model.residual, counts
        )
        if not shift.any() and scale == 1.0:
            # Without an aim, the unconditional probabilities.
            distance = model.thresholds + np.repeat(model.mean, counts)
        law = ndtr(distance) if math.isinf(model.dof) or shift.any() else stdtr(model.dof, distance)
        lost = sizes * law
        total = float(lost.sum())
        if total > 0.0:
            np.maximum(found, lost / total, out=found)
    return found


def _path_shares(
    members: FloatArray,
    paths: IntArray,
    drawn: DrawnPaths,
    *,
    chosen: IntArray,
    weights: FloatArray,
    method: str,
) -> dict[float, TailShares]:
    """Split the tail on paths with known losses of some obligors and of the rest of each segment."""
    losses, masses, starts = drawn.losses, drawn.masses, drawn.starts
    inside = np.searchsorted(starts, chosen, side="right") - 1

    def shares(values: FloatArray, errors: FloatArray) -> Shares:
        total = math.fsum(values)
        unit = 1.0 / total if total > 0.0 else 0.0
        segments = values[chosen.size :].copy()
        np.add.at(segments, inside, values[: chosen.size])
        every, all_errors = spread_rest(
            values[: chosen.size] * unit,
            errors[: chosen.size] * unit,
            segments * unit,
            weights,
            chosen,
            starts,
        )
        return Shares(
            obligors=every,
            obligor_errors=all_errors,
            segments=segments * unit,
            segment_errors=np.full(segments.size, np.nan),
        )

    found = {}
    for level in drawn.levels:
        at, at_errors, _ = value_at_risk_contributions(
            members, losses, level=level, paths=paths, weights=masses
        )
        beyond, errors = expected_shortfall_contributions(
            members, losses, level=level, paths=paths, weights=masses
        )
        found[level] = TailShares(
            value_at_risk=shares(at, at_errors),
            shortfall=shares(beyond, errors),
            method=method,
            note="normal, from the standard error",
            n_paths=losses.size,
        )
    return found
