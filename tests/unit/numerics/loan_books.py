"""Small loan books for the tests of the loss curve."""

from __future__ import annotations

import math

import numpy as np

from acceleray.numerics.credit_model import LossModel, default_thresholds
from acceleray.numerics.recovery import Recoveries


def total_loss() -> Recoveries:
    return Recoveries(mean=np.ones(1), std=np.zeros(1), correlation=np.zeros(1))


def like_loans(n: int, default_prob: float, correlation: float, *, dof: float = math.inf) -> LossModel:
    """One cell of equal loans of size one, one factor."""
    return LossModel(
        thresholds=default_thresholds(np.full(n, default_prob), dof=dof),
        exposures=np.ones(n),
        recovery=np.zeros(n, dtype=np.int64),
        recoveries=total_loss(),
        cells=np.array([0, n]),
        loadings=np.array([[math.sqrt(correlation)]]),
        residual=np.array([math.sqrt(1.0 - correlation)]),
        mean=np.zeros(1),
        systematic=np.array([math.sqrt(correlation)]),
        segments=np.array([0, 1]),
        dof=dof,
    )


def mixed_loans(
    n: int = 300,
    *,
    n_factors: int = 3,
    per_cell: int = 1,
    dof: float = math.inf,
    recoveries: Recoveries | None = None,
    seed: int = 7,
) -> LossModel:
    """Loans of lognormal sizes and random loadings; the recovery laws take turns."""
    generator = np.random.default_rng(seed)
    n_cells = n // per_cell
    laws = recoveries if recoveries is not None else total_loss()
    default_prob = np.sort(generator.uniform(0.002, 0.03, (n_cells, per_cell)), axis=1).ravel()
    loadings = generator.uniform(0.0, 1.0, (n_cells, n_factors))
    correlation = generator.uniform(0.1, 0.3, n_cells)
    loadings *= np.sqrt(correlation / (loadings**2).sum(axis=1))[:, None]
    return LossModel(
        thresholds=default_thresholds(default_prob, dof=dof),
        exposures=np.exp(0.5 * generator.standard_normal(n)),
        recovery=np.arange(n, dtype=np.int64) % laws.mean.size,
        recoveries=laws,
        cells=np.arange(0, n + 1, per_cell),
        loadings=loadings,
        residual=np.sqrt(1.0 - correlation),
        mean=np.zeros(n_cells),
        systematic=np.sqrt(correlation),
        segments=np.array([0, n_cells]),
        dof=dof,
    )


def glasserman_li() -> LossModel:
    """The 21-factor book of Glasserman and Li (2005), section 5.2: 100 cells of ten obligors."""
    number = np.arange(1, 1001)
    default_prob = np.clip(0.01 * (1.0 + np.sin(16.0 * np.pi * number / 1000.0)), 0.0, 1.0)
    thresholds = default_thresholds(default_prob)
    exposures = 1.0 + 99.0 * (number - 1) / 999.0
    cell = (number - 1) // 10
    order = np.lexsort((thresholds, cell))
    loadings = np.zeros((100, 21))
    loadings[:, 0] = 0.8
    index = np.arange(100)
    loadings[index, 1 + index // 10] = 0.4
    loadings[index, 11 + index % 10] = 0.4
    return LossModel(
        thresholds=thresholds[order],
        exposures=exposures[order],
        recovery=np.zeros(1000, dtype=np.int64),
        recoveries=total_loss(),
        cells=np.arange(0, 1001, 10),
        loadings=loadings,
        residual=np.full(100, 0.2),
        mean=np.zeros(100),
        systematic=np.full(100, math.sqrt(0.96)),
        segments=np.arange(0, 101, 10),
    )


def separate_groups(
    counts: list[int],
    sizes: list[float],
    default_prob: list[float],
    loadings: list[list[float]],
) -> LossModel:
    """One cell of equal loans for each entry, in one segment."""
    table = np.asarray(loadings, dtype=np.float64)
    squares = (table**2).sum(axis=1)
    return LossModel(
        thresholds=np.repeat(default_thresholds(np.array(default_prob)), counts),
        exposures=np.repeat(np.array(sizes, dtype=np.float64), counts),
        recovery=np.zeros(sum(counts), dtype=np.int64),
        recoveries=total_loss(),
        cells=np.r_[0, np.cumsum(counts)],
        loadings=table,
        residual=np.sqrt(1.0 - squares),
        mean=np.zeros(len(counts)),
        systematic=np.sqrt(squares),
        segments=np.array([0, len(counts)]),
    )


def five_countries() -> LossModel:
    """Countries that have nothing in common: the tail has as many directions as large countries."""
    loadings = (math.sqrt(0.2) * np.eye(5)).tolist()
    return separate_groups([3000] * 5, [1, 2, 3, 1, 4], [0.01, 0.02, 0.005, 0.01, 0.003], loadings)


def with_a_rare_group() -> LossModel:
    """Three sectors of one world, and a group apart that hardly ever defaults, but then as one."""
    loadings = np.zeros((4, 5))
    loadings[:3, 0] = math.sqrt(0.12)
    loadings[[0, 1, 2], [1, 2, 3]] = math.sqrt(0.08)
    loadings[3, 4] = 0.9
    return separate_groups([1100] * 3 + [3000], [1, 2, 3, 4], [0.01, 0.02, 0.005, 2e-4], loadings.tolist())
