"""Expected loss of each obligor, exact up to rounding, without a draw.

With a fixed or an uncorrelated loss given default it is the default probability times the mean. Where the
loss given default moves with the systematic score, both depend on the level ``a' Z + m`` of the obligor's
cell, a normal variable, and the mean over it is an integral. The trapezoidal rule over a variable with
Gaussian tails converges faster than any power once its step resolves the narrowest of the smooth functions in
it, so steps follow from the residual ``b`` and from the correlation ``r``, cell by cell.
"""

from __future__ import annotations

import math
from itertools import pairwise
from typing import TypeAlias, TypeVar

import numpy as np
import numpy.typing as npt
from scipy.special import gammaln, ndtr, stdtr

from acceleray.numerics.credit_model import LossModel
from acceleray.numerics.recovery import FunctionTable, Recoveries, moments, table_at, tabulate_functions
from acceleray.numerics.recovery_loops import REACH

__all__ = ["expected_loss", "stressed_default_prob"]

FloatArray: TypeAlias = npt.NDArray[np.float64]
Scalar = TypeVar("Scalar", bound=np.generic)

# The integrand at the ends is below 1e-18 of its height.
FARTHEST = 9.0
# Beyond this ratio of loadings to residual the step of the trapezoidal rule would be too short.
SHARPEST = 20.0
# From so many obligors of a cell on, and four more for each law, a t copula's mean is taken through tables,
# which then cost less. Their pieces, and what their error and their end may leave out.
FEWEST_TABULATED = 64
FEWEST_PIECES, MOST_PIECES = 64, 512
TABLE_ERROR, LEFT_OUT = 1e-11, 1e-13
# Values held at a time.
CHUNK = 1 << 20


def stressed_default_prob(model: LossModel) -> FloatArray:
    """Return the default probability of each obligor over all years of the model, its stress included.

    Parameters
    ----------
    model : LossModel
        The book. A stress of the factors moves the mean of ``a' Z + b e`` and shrinks its variance.

    Returns
    -------
    ndarray of shape (n_obligors,)
        Fractions in [0, 1].
    """
    spread, mean = _by_obligor(model, _asset_spread(model)), _by_obligor(model, model.mean)
    if math.isinf(model.dof):
        return np.asarray(ndtr((model.thresholds - mean) / spread), dtype=np.float64)
    found = np.asarray(stdtr(model.dof, model.thresholds / spread), dtype=np.float64)
    found[np.isposinf(model.thresholds)] = 1.0
    found[np.isneginf(model.thresholds)] = 0.0
    moved = np.flatnonzero((mean != 0.0) & np.isfinite(model.thresholds))
    scales, weights = _mixing_rule(model.dof)
    for rows in _chunks(moved, scales.size):
        distance = (model.thresholds[rows, None] * scales - mean[rows, None]) / spread[rows, None]
        found[rows] = (ndtr(distance) * weights).sum(axis=1)
    return found


def expected_loss(model: LossModel) -> FloatArray:
    """Return the expected loss of each obligor.

    Parameters
    ----------
    model : LossModel
        The book.

    Returns
    -------
    ndarray of shape (n_obligors,)
        In currency; the mean of exposure times loss given default where the obligor defaults.

    Notes
    -----
    Obligors that share threshold, law and what their cell is made of are integrated once; each takes some 60
    normal probabilities under a Gaussian copula. Under a t copula it takes some thousands, or a hundred where
    a cell has so many that tables pay.
    """
    mean = model.recoveries.mean[model.recovery]
    rate = stressed_default_prob(model) * mean
    correlated = (model.recoveries.std > 0.0) & (model.recoveries.correlation > 0.0)
    loaded = _by_obligor(model, model.systematic > 0.0)
    chosen = correlated[model.recovery] & loaded & ~np.isneginf(model.thresholds)
    if chosen.any():
        rate[chosen] = _correlated_rates(model, np.flatnonzero(chosen))
    # A score of 0 throughout is no neutral one: own risk alone does not widen u back to a standard normal.
    unloaded = correlated[model.recovery] & ~loaded
    if unloaded.any():
        at_zero = moments(model.recoveries, np.zeros(1))[0, :, 0]
        rate[unloaded] *= at_zero[model.recovery[unloaded]] / mean[unloaded]
    return rate * model.exposures


def _correlated_rates(model: LossModel, rows: npt.NDArray[np.int64]) -> FloatArray:
    """Integrate default probability times mean loss given default over the level of the cell."""
    cell = _by_obligor(model, np.arange(model.n_cells))[rows]
    length = np.sqrt((model.loadings**2).sum(axis=1))
    keys = np.stack(
        [
            *(values[cell] for values in (length, model.residual, model.mean, model.systematic)),
            model.thresholds[rows],
            model.recovery[rows].astype(np.float64),
        ],
        axis=1,
    )
    distinct, place = np.unique(keys, axis=0, return_inverse=True)
    long, residual, mean, systematic, threshold, law = distinct.T
    laws = law.astype(np.int64)
    r = model.recoveries.correlation[laws]
    # In standard deviations of the level: how fast default and recovery turn, and the density itself.
    narrow = 1.0 / np.sqrt(
        1.0 + (long / residual) ** 2 + (r * long / systematic) ** 2 / ((1.0 - r) * (1.0 + r))
    )
    sharp = long / residual > SHARPEST
    narrow[sharp] = 1.0
    n_steps = 2 ** np.ceil(np.log2(2.0 * FARTHEST / (0.8 * narrow))).astype(np.int64)
    if math.isinf(model.dof):
        scales, weights = np.ones(1), np.ones(1)
    else:
        scales, weights = _mixing_rule(model.dof)
    found = np.full(long.size, np.nan)
    if not math.isinf(model.dof):
        # The rows of a cell are neighbours, because `unique` sorts them.
        changes = np.flatnonzero((distinct[1:, :4] != distinct[:-1, :4]).any(axis=1)) + 1
        for first, stop in pairwise([0, *changes.tolist(), long.size]):
            n_laws = np.unique(laws[first:stop]).size
            if stop - first >= FEWEST_TABULATED + 4 * n_laws and not sharp[first]:
                some = slice(first, stop)
                found[some] = _tabulated_rates(
                    model.recoveries, distinct[first, :4], threshold[some], laws[some], scales, weights
                )
    left = np.isnan(found)
    n_steps[sharp] = 1
    for steps in np.unique(n_steps):
        z = np.linspace(-FARTHEST, FARTHEST, int(steps) + 1)
        density = np.exp(-0.5 * z * z)
        density /= density.sum()
        for number in np.unique(laws[left & (n_steps == steps)]):
            group = np.flatnonzero(left & (n_steps == steps) & (laws == number))
            only = Recoveries(
                mean=model.recoveries.mean[number : number + 1],
                std=model.recoveries.std[number : number + 1],
                correlation=model.recoveries.correlation[number : number + 1],
            )
            for part in _chunks(group, z.size * scales.size):
                if sharp[part[0]]:
                    found[part] = [
                        _sharp_rate(
                            only,
                            (long[row], residual[row], mean[row], systematic[row], threshold[row]),
                            scales,
                            weights,
                        )
                        for row in part
                    ]
                    continue
                level = long[part, None] * z + mean[part, None]
                given = moments(only, (level / systematic[part, None]).ravel())[0, 0].reshape(level.shape)
                distance = threshold[part, None, None] * scales - level[:, :, None]
                default = (ndtr(distance / residual[part, None, None]) * weights).sum(axis=2)
                found[part] = (default * given * density).sum(axis=1)
    return found[place.ravel()]


def _tabulated_rates(
    recoveries: Recoveries,
    cell: FloatArray,
    threshold: FloatArray,
    laws: npt.NDArray[np.int64],
    scales: FloatArray,
    weights: FloatArray,
) -> FloatArray:
    """Integrate over the mixing variable the rates that a Gaussian copula would give; NaN if not exact.

    Given the mixing variable, an obligor of the cell defaults with the probability Phi(v), and its mean loss
    given default is a smooth function of v, whatever the threshold: one table for each law.
    """
    used, place = np.unique(laws, return_inverse=True)
    table = _default_lgd(recoveries, used, cell)
    found = np.full(threshold.size, np.nan)
    if table.error > TABLE_ERROR:
        return found
    long, residual, mean, _ = (float(value) for value in cell)
    spread = math.hypot(long, residual)
    by_law = np.argsort(place.ravel(), kind="stable")
    for part in _chunks(by_law, scales.size):
        v = (threshold[part, None] * scales - mean) / spread
        chance = ndtr(v) * weights
        given = np.empty_like(v)
        numbers = place.ravel()[part]
        for first, stop in pairwise([0, *(np.flatnonzero(np.diff(numbers)) + 1).tolist(), part.size]):
            law = int(numbers[first])
            own = FunctionTable(coefficients=table.coefficients[law : law + 1], error=table.error)
            given[first:stop] = table_at(own, v[first:stop].ravel())[0].reshape(stop - first, scales.size)
        rates = (chance * given).sum(axis=1)
        beyond = np.where(v < -REACH, chance, 0.0).sum(axis=1)
        rates[beyond > LEFT_OUT * chance.sum(axis=1)] = np.nan
        found[part] = rates
    return found


def _default_lgd(recoveries: Recoveries, laws: npt.NDArray[np.int64], cell: FloatArray) -> FunctionTable:
    """Tabulate the mean loss given default of some laws under a Gaussian copula.

    A function of the normal quantile ``v`` of the default probability.
    """
    long, residual, mean, systematic = (float(value) for value in cell)
    spread = math.hypot(long, residual)
    chosen = Recoveries(
        mean=recoveries.mean[laws], std=recoveries.std[laws], correlation=recoveries.correlation[laws]
    )
    # Defaults of probability Phi(v) happen where z is about v times long over spread.
    farthest = FARTHEST + REACH * long / spread
    r = chosen.correlation.max()
    narrow = 1.0 / math.sqrt(
        1.0 + (long / residual) ** 2 + (r * long / systematic) ** 2 / ((1.0 - r) * (1.0 + r))
    )
    z = np.linspace(-farthest, FARTHEST, math.ceil((farthest + FARTHEST) / (0.8 * narrow)) + 1)
    density = np.exp(-0.5 * z * z)
    given = moments(chosen, (long * z + mean) / systematic)[0]

    def at(v: FloatArray) -> FloatArray:
        found = np.empty((laws.size, v.size))
        for part in _chunks(np.arange(v.size), z.size):
            default = ndtr((spread * v[part, None] - long * z) / residual) * density
            default /= default.sum(axis=1, keepdims=True)
            found[:, part] = np.einsum("vz,lz->lv", default, given)
        return found

    return tabulate_functions(at, FEWEST_PIECES, MOST_PIECES)


def _sharp_rate(law: Recoveries, cell: tuple[float, ...], scales: FloatArray, weights: FloatArray) -> float:
    """Integrate where default given the level is all but a step: up to the step, and across it."""
    long, residual, mean, systematic, threshold = cell
    turn = np.clip((threshold * scales - mean) / long, -1e3, 1e3)
    width = FARTHEST * residual / long
    starts = np.stack([np.full(turn.shape, -FARTHEST), turn - width])
    ends = np.stack([turn - width, turn + width])
    starts, ends = np.clip(starts, -FARTHEST, FARTHEST), np.clip(ends, -FARTHEST, FARTHEST)
    nodes, gauss = np.polynomial.legendre.leggauss(128)
    half = 0.5 * (ends - starts)[..., None]
    z = starts[..., None] + half * (nodes + 1.0)
    level = long * z + mean
    given = moments(law, (level / systematic).ravel())[0, 0].reshape(z.shape)
    default = ndtr((threshold * scales[:, None] - level) / residual)
    density = np.exp(-0.5 * z * z) / math.sqrt(2.0 * math.pi)
    return float(((default * given * density * half * gauss).sum(axis=(0, 2)) * weights).sum())


def _mixing_rule(dof: float) -> tuple[FloatArray, FloatArray]:
    """Nodes and weights for the mean over ``sqrt(W / dof)``: the trapezoidal rule over ``log W``."""
    # Around log(dof) the density has a standard deviation of sqrt(2 / dof); to the left it falls like
    # W^(dof / 2), to the right like a double exponential.
    step = 0.35 * min(1.0, math.sqrt(2.0 / dof))
    low = -80.0 / dof - 12.0 * math.sqrt(2.0 / dof)
    high = 12.0 * math.sqrt(2.0 / dof) + 1.0
    t = np.arange(math.floor(low / step), math.ceil(high / step) + 1) * step
    half = 0.5 * dof
    weights = step * np.exp(half * t - half * np.exp(t) + half * math.log(half) - gammaln(half))
    return np.exp(0.5 * t), weights / weights.sum()


def _asset_spread(model: LossModel) -> FloatArray:
    return np.asarray(np.sqrt((model.loadings**2).sum(axis=1) + model.residual**2), dtype=np.float64)


def _by_obligor(model: LossModel, values: npt.NDArray[Scalar]) -> npt.NDArray[Scalar]:
    return np.repeat(values, np.diff(model.cells))


def _chunks(rows: npt.NDArray[np.int64], width: int) -> list[npt.NDArray[np.int64]]:
    size = max(1, CHUNK // width)
    return [rows[first : first + size] for first in range(0, rows.size, size)]
