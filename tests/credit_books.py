"""Small loan books for tests, entered with few words, and what enumeration says about them."""

from __future__ import annotations

import math

import numpy as np
from scipy.special import ndtr

from acceleray.numerics.credit_model import LossModel, default_thresholds
from acceleray.numerics.recovery import Recoveries


def book(default_prob, exposures, loadings, *, dof=math.inf, lgd=(1.0, 0.0, 0.0), segments=None, mean=0.0):
    """Enter a book with one cell per obligor; `loadings` has one row for each, or one for all."""
    default_prob, exposures = np.asarray(default_prob, float), np.asarray(exposures, float)
    n = default_prob.size
    loadings = np.broadcast_to(np.atleast_2d(np.asarray(loadings, float)), (n, np.shape(loadings)[-1]))
    lengths = np.linalg.norm(loadings, axis=1)
    return LossModel(
        thresholds=default_thresholds(default_prob, dof=dof),
        exposures=exposures,
        recovery=np.zeros(n, dtype=np.int64),
        recoveries=Recoveries(
            **{k: np.array([v]) for k, v in zip(("mean", "std", "correlation"), lgd, strict=True)}
        ),
        cells=np.arange(n + 1),
        loadings=loadings,
        residual=np.sqrt(1.0 - lengths**2),
        mean=np.full(n, mean),
        systematic=lengths,
        segments=np.array([0, n]) if segments is None else np.asarray(segments),
        dof=dof,
    )


def equal_book(n, default_prob, correlation, *, dof=math.inf):
    """Enter `n` equal obligors with losses of one in a single cell."""
    loading = math.sqrt(correlation)
    return LossModel(
        thresholds=default_thresholds(np.full(n, default_prob), dof=dof),
        exposures=np.ones(n),
        recovery=np.zeros(n, dtype=np.int64),
        recoveries=Recoveries(mean=np.ones(1), std=np.zeros(1), correlation=np.zeros(1)),
        cells=np.array([0, n]),
        loadings=np.array([[loading]]),
        residual=np.array([math.sqrt(1.0 - correlation)]),
        mean=np.zeros(1),
        systematic=np.array([loading]),
        segments=np.array([0, 1]),
        dof=dof,
    )


def enumerated(model, *, n_nodes=200, reach=9.5):
    """Loss and probability of every set of defaulters, by Gauss and Legendre's rule over normal factors.

    Another rule than that of the code, and no recursion: 2 ** n_obligors sets one by one.
    """
    x, w = np.polynomial.legendre.leggauss(n_nodes)
    x, w = reach * x, reach * w * np.exp(-0.5 * (reach * x) ** 2) / math.sqrt(2.0 * math.pi)
    grids = np.meshgrid(*[x] * model.n_factors, indexing="ij")
    z = np.stack([grid.ravel() for grid in grids])
    weights = np.ones(1)
    for _ in range(model.n_factors):
        weights = np.outer(weights, w).ravel()
    cell = np.repeat(np.arange(model.n_cells), np.diff(model.cells))
    level = (model.loadings @ z + model.mean[:, None])[cell]
    distance = (model.thresholds[:, None] - level) / model.residual[cell, None]
    p, q = ndtr(distance), ndtr(-distance)
    losses = model.exposures * model.recoveries.mean[model.recovery]
    found_losses, found = [], []
    for defaulters in range(2**model.n_obligors):
        hit = np.array([defaulters >> i & 1 for i in range(model.n_obligors)], dtype=bool)
        found_losses.append(losses[hit].sum())
        found.append(float(weights @ np.prod(np.where(hit[:, None], p, q), axis=0)))
    return np.array(found_losses), np.array(found)
