"""Exact draws from the strata of a quadratic: paths whose delta-gamma loss lies in a given interval.

The nominal law of the moves given that Q lies in a stratum does not depend on any tilt, so that a path from
stratum k represents ``probability[k] / n_k`` of all paths, whatever was done to find it. A proposal fixes
all but one variable under a tilted law aimed at the stratum, is kept in proportion to what the last variable
can still contribute, and then draws that variable by inversion among the values that put Q into the stratum.
The last variable is the axis that matters most or, for a hedged book, the distance from the centre in the
axes without slope.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import scipy

from acceleray.errors import NumericalError
from acceleray.numerics.delta_gamma import DeltaGamma, tail_probability, tilt
from acceleray.numerics.stratum_kernels import fill_strata, search_caps, search_radial_caps

__all__ = ["Strata", "allocate", "draw_moves", "stratify"]

FloatArray = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]

# The transform's inverse must agree with half its nodes to this share of each stratum; the rule
# converges exponentially, so that its own error is about the square of that.
_TRANSFORM_ERROR = 1e-4
# The largest acceptance weight is searched on a grid; a smooth function exceeds its grid maximum by less.
_BOUND_MARGIN = 1.02
_GRID_NORMALS = 161
_GRID_MIXING = 25
_GRID_SPANS = 7


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Strata:
    """Intervals ``(edges[k], edges[k + 1]]`` of the quadratic loss that cover the line.

    Parameters
    ----------
    edges : ndarray of shape (n_strata + 1,)
        Increasing, from minus to plus infinity.
    probability : ndarray of shape (n_strata,)
        Under the nominal law; sums to one.
    theta, threshold, log_bound, rate : ndarray of shape (n_strata,)
        Tilt under which the other axes are proposed.
    log_cap : ndarray of shape (n_strata,)
        Log of the largest acceptance weight; ``probability / exp(log_cap)`` is the share of proposals kept.
    """

    edges: FloatArray
    probability: FloatArray
    theta: FloatArray
    threshold: FloatArray
    log_bound: FloatArray
    rate: FloatArray
    log_cap: FloatArray

    @property
    def acceptance(self) -> FloatArray:
        """Share of the proposals that is kept, shape (n_strata,)."""
        return np.asarray(self.probability / np.exp(self.log_cap))


def stratify(model: DeltaGamma, inner_edges: npt.ArrayLike) -> Strata:
    """Prepare exact sampling from the strata between the edges.

    Parameters
    ----------
    model : DeltaGamma
        The quadratic loss.
    inner_edges : array_like of shape (n_strata - 1,)
        Increasing finite losses.

    Returns
    -------
    Strata

    Raises
    ------
    NumericalError
        If a probability cannot be computed well enough, or a stratum has none.
    """
    inner = np.asarray(inner_edges, dtype=np.float64)
    if inner.size == 0 or not (np.isfinite(inner).all() and (np.diff(inner) > 0.0).all()):
        raise ValueError("edges must be finite and increasing, and at least one")
    exceeding, error = tail_probability(model, inner)
    probability = -np.diff(np.concatenate([[1.0], exceeding, [0.0]]))
    ends = np.append(error, 0.0) + np.append(0.0, error)
    if not (probability > 0.0).all() or (ends > _TRANSFORM_ERROR * probability).any():
        raise NumericalError("delta-gamma: the law of the quadratic loss could not be computed")
    edges = np.concatenate([[-np.inf], inner, [np.inf]])
    # Most of a stratum lies at its end towards the centre.
    aims = np.concatenate([inner[:1], np.clip(model.mean, inner[:-1], inner[1:]), inner[-1:]])
    tilts = tilt(model, aims)
    theta, bound, rate = tilts.theta.copy(), tilts.log_bound.copy(), tilts.rate.copy()
    # The first stratum is the body: plain draws, kept if they fall into it. A tilt away from an unbounded
    # stratum would give weights without a bound.
    for k, wrong in ((0, theta[0] > 0.0), (inner.size, theta[-1] < 0.0)):
        if wrong:
            theta[k], bound[k] = 0.0, 0.0
            rate[k] = 1.0 if model.dof is None else 0.5 * model.dof
    log_cap = _log_caps(model, edges, theta, aims, bound, rate)
    return Strata(
        edges=edges,
        probability=probability,
        theta=theta,
        threshold=aims,
        log_bound=bound,
        rate=rate,
        log_cap=log_cap,
    )


def _log_caps(
    model: DeltaGamma,
    edges: FloatArray,
    theta: FloatArray,
    threshold: FloatArray,
    log_bound: FloatArray,
    rate: FloatArray,
) -> FloatArray:
    """Largest log acceptance weight of each stratum, over where the first axis meets its edges."""
    if model.dof is None:
        mixing = np.ones((theta.size, 1))
    else:
        # Quantiles of the tilted gamma law, far into both tails.
        levels = scipy.special.ndtr(np.linspace(-5.0, 5.0, _GRID_MIXING))
        mixing = scipy.special.gammaincinv(0.5 * model.dof, levels) / rate[:, None]
    normals = np.linspace(-9.0, 9.0, _GRID_NORMALS)
    least, most = _rest_range(model)
    if model.n_radial:
        curvature = model.curvature[: model.n_radial] / (
            1.0 - 2.0 * theta[:, None] * model.curvature[: model.n_radial]
        )
        spans = np.linspace(curvature.min(axis=1), curvature.max(axis=1), _GRID_SPANS, axis=1)
        caps = search_radial_caps(
            mixing,
            scipy.special.chdtri(model.n_radial, scipy.special.ndtr(np.linspace(-8.0, 8.0, _GRID_NORMALS))),
            spans,
            edges,
            theta,
            threshold,
            log_bound,
            model.constant,
            model.n_radial,
            least,
            most,
        )
        return np.asarray(caps + math.log(_BOUND_MARGIN))
    caps = search_caps(
        mixing,
        normals,
        edges,
        theta,
        threshold,
        log_bound,
        model.constant,
        float(model.slope[0]),
        float(model.curvature[0]),
        least,
        most,
    )
    return np.asarray(caps + math.log(_BOUND_MARGIN))


def _rest_range(model: DeltaGamma) -> tuple[float, float]:
    """Least and largest value, per unit of V, of what the axes other than the last variable can add to Q."""
    slope, curvature = (values[max(model.n_radial, 1) :] for values in (model.slope, model.curvature))
    level = curvature == 0.0
    if (level & (slope > 0.0)).any():
        return -math.inf, math.inf
    turning = -0.25 * slope[~level] ** 2 / curvature[~level]
    least = float(turning.sum()) if (curvature[~level] > 0.0).all() else -math.inf
    most = float(turning.sum()) if (curvature[~level] < 0.0).all() else math.inf
    return least, most


def allocate(shares: npt.ArrayLike, n_paths: int) -> IntArray:
    """Turn shares into whole numbers of paths, at least one for every stratum.

    Parameters
    ----------
    shares : array_like of shape (n_strata,)
        Not negative, with a positive sum.
    n_paths : int
        Paths to give away, at least `n_strata`.

    Returns
    -------
    ndarray of int64, shape (n_strata,)
        Sums to `n_paths`; the largest remainders are rounded up.

    Examples
    --------
    >>> allocate([0.5, 0.3, 0.2], 8).tolist()
    [4, 2, 2]
    """
    wanted = np.asarray(shares, dtype=np.float64)
    if n_paths < wanted.size:
        raise ValueError(f"{n_paths} paths cannot cover {wanted.size} strata")
    exact = wanted / wanted.sum() * (n_paths - wanted.size)
    counts = np.floor(exact).astype(np.int64)
    missing = n_paths - wanted.size - int(counts.sum())
    counts[np.argsort(counts - exact, kind="stable")[:missing]] += 1
    return np.asarray(counts + 1, dtype=np.int64)


def draw_moves(
    model: DeltaGamma, strata: Strata, counts: IntArray, generator: np.random.Generator
) -> tuple[FloatArray, FloatArray]:
    """Draw factor moves from every stratum, with exactly the nominal law inside it.

    Parameters
    ----------
    model : DeltaGamma
        The quadratic loss.
    strata : Strata
        Made for `model`.
    counts : ndarray of int64, shape (n_strata,)
        Paths wanted of each.
    generator : numpy.random.Generator
        The block's own stream.

    Returns
    -------
    moves : ndarray of shape (n_paths, n_factors)
        In the order of the strata.
    quadratic : ndarray of shape (n_paths,)
        Delta-gamma loss of each path.

    Notes
    -----
    Sums run over the axes in their order, so the bits depend on no library.
    """
    n_paths, n_axes = int(counts.sum()), model.slope.size
    n_free = model.root.shape[1] - n_axes
    free = generator.standard_normal((n_paths, n_free))
    moves = np.zeros((n_paths, model.root.shape[0]))
    quadratic = np.empty(n_paths)
    transposed = np.ascontiguousarray(model.root.T)
    base = 1.0 - 2.0 * strata.theta[:, None] * model.curvature
    deviation = np.sqrt(1.0 / base)
    drift = strata.theta[:, None] * model.slope / base
    cap, first = strata.log_bound - strata.log_cap, np.zeros(counts.size)
    if not model.n_radial:
        cap += 0.5 * np.log(base[:, 0])
        first += 0.5 * strata.theta**2 * model.slope[0] ** 2 / base[:, 0]
    n_normals = n_axes if model.n_radial else n_axes - 1
    expected = counts / strata.acceptance
    position = np.zeros(2, dtype=np.int64)
    while position[0] < counts.size:
        k, done = int(position[0]), int(position[1])
        left = float(expected[k:].sum() - done / strata.acceptance[k])
        rows = math.ceil(left + 2.0 * math.sqrt(left)) + 16
        normals = generator.standard_normal((rows, n_normals))
        uniforms = generator.random((rows, 2))
        shape = 0.0 if model.dof is None else 0.5 * model.dof
        gammas = generator.standard_gamma(shape, size=rows if shape else 0)
        fill_strata(
            normals, uniforms, gammas, free, counts, position, strata.edges, strata.theta, strata.threshold,
            strata.rate, cap, first, drift, deviation, model.constant, model.slope, model.curvature,
            model.n_radial, transposed, moves, quadratic,
        )  # fmt: skip
    return moves, quadratic
