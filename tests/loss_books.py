"""Small loan books for the tests of the credit kernels."""

from __future__ import annotations

import math

import numpy as np

from acceleray.numerics.credit import (
    default_generator,
    draw_losses,
    draw_mixing,
    draw_systematic,
    prepare_draws,
)
from acceleray.numerics.credit_model import LossModel, default_thresholds
from acceleray.numerics.recovery import Recoveries


def recoveries(*laws):
    """Laws from tuples of mean, std and correlation."""
    return Recoveries(
        **dict(zip(("mean", "std", "correlation"), np.array(laws, float).T.copy(), strict=True))
    )


def loan_book(
    default_prob,
    exposures,
    loadings,
    *,
    cells=None,
    segments=None,
    laws=((1.0, 0.0, 0.0),),
    law=None,
    dof=math.inf,
):
    """A book of unstressed cells; every obligor is its own cell unless `cells` says otherwise."""
    default_prob = np.asarray(default_prob, float)
    n = default_prob.size
    cells = np.arange(n + 1) if cells is None else np.asarray(cells)
    loadings = np.array(
        np.broadcast_to(np.atleast_1d(loadings), (cells.size - 1, np.shape(np.atleast_1d(loadings))[-1])),
        float,
    )
    length = np.sqrt((loadings**2).sum(axis=1))
    return LossModel(
        thresholds=default_thresholds(default_prob, dof=dof),
        exposures=np.array(np.broadcast_to(np.asarray(exposures, float), n)),
        recovery=np.zeros(n, dtype=np.int64) if law is None else np.asarray(law, dtype=np.int64),
        recoveries=recoveries(*laws),
        cells=cells,
        loadings=loadings,
        residual=np.sqrt((1.0 - length) * (1.0 + length)),
        mean=np.zeros(length.size),
        systematic=length,
        segments=np.array([0, length.size]) if segments is None else np.asarray(segments),
        dof=dof,
    )


def glasserman_li():
    """The 21-factor book of Glasserman and Li (2005), section 5.2; every obligor is its own cell."""
    k = np.arange(1, 1001)
    loadings = np.zeros((1000, 21))
    loadings[:, 0] = 0.8
    loadings[k - 1, 1 + (k - 1) // 100] = 0.4
    loadings[k - 1, 11 + (k - 1) // 10 % 10] = 0.4
    return loan_book(0.01 * (1.0 + np.sin(16.0 * np.pi * k / 1000)), np.linspace(1, 100, 1000), loadings)


def streams(model, *, seed=20181228, block=0):
    """One generator per segment."""
    return [default_generator(seed, block=block, segment=str(i)) for i in range(model.n_segments)]


def simulate(model, n_paths, *, seed=20181228, block_size=20_000):
    """Losses by segment and path, in blocks."""
    prepared = prepare_draws(model)
    blocks = []
    for block in range(-(-n_paths // block_size)):
        n = min(block_size, n_paths - block * block_size)
        factors = draw_systematic(seed, block=block, n_factors=model.n_factors, n_paths=n)
        mixing = draw_mixing(seed, block=block, n_paths=n, dof=model.dof)
        blocks.append(draw_losses(prepared, factors, mixing, streams(model, seed=seed, block=block)))
    return np.concatenate(blocks, axis=1)
