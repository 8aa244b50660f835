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
from numba import njit
from scipy import special

from acceleray.errors import NumericalError
from acceleray.numerics.compiled_laws import (
    chi_square_tail,
    chi_square_within,
    upper_tail,
    upper_tail_quantile,
)
from acceleray.numerics.delta_gamma import DeltaGamma, tail_probability, tilt

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
        levels = special.ndtr(np.linspace(-5.0, 5.0, _GRID_MIXING))
        mixing = special.gammaincinv(0.5 * model.dof, levels) / rate[:, None]
    normals = np.linspace(-9.0, 9.0, _GRID_NORMALS)
    least, most = _rest_range(model)
    if model.n_radial:
        curvature = model.curvature[: model.n_radial] / (
            1.0 - 2.0 * theta[:, None] * model.curvature[: model.n_radial]
        )
        spans = np.linspace(curvature.min(axis=1), curvature.max(axis=1), _GRID_SPANS, axis=1)
        caps = _search_radial_caps(
            mixing,
            special.chdtri(model.n_radial, special.ndtr(np.linspace(-8.0, 8.0, _GRID_NORMALS))),
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
    caps = _search_caps(
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
        _fill(
            normals, uniforms, gammas, free, counts, position, strata.edges, strata.theta, strata.threshold,
            strata.rate, cap, first, drift, deviation, model.constant, model.slope, model.curvature,
            model.n_radial, transposed, moves, quadratic,
        )  # fmt: skip
    return moves, quadratic


@njit(cache=True, nogil=True, error_model="numpy")
def _pieces(low: float, high: float, slope: float, curvature: float) -> tuple[float, float, float, float]:
    """At most two intervals of z on which ``low < slope z + curvature z**2 <= high``, for slope >= 0."""
    if curvature == 0.0:
        return low / slope, high / slope, 0.0, 0.0
    if curvature < 0.0 and low == -math.inf:
        low_near, low_far, low_open = -math.inf, math.inf, False
    else:
        inside = slope * slope + 4.0 * curvature * low
        low_open = inside < 0.0 or low == -math.inf
        root = math.sqrt(inside) if not low_open else 0.0
        low_near = 2.0 * low / (slope + root) if slope + root > 0.0 else 0.0
        low_far = -(slope + root) / (2.0 * curvature)
    if curvature > 0.0 and high == math.inf:
        high_near, high_far, high_open = math.inf, -math.inf, False
    else:
        inside = slope * slope + 4.0 * curvature * high
        high_open = inside < 0.0 or high == math.inf
        root = math.sqrt(inside) if not high_open else 0.0
        high_near = 2.0 * high / (slope + root) if slope + root > 0.0 else 0.0
        high_far = -(slope + root) / (2.0 * curvature)
    if curvature > 0.0:
        # Below a level lies the interval between its roots, or nothing ("open").
        if high_open:
            return 0.0, 0.0, 0.0, 0.0
        if low_open:
            return high_far, high_near, 0.0, 0.0
        return low_near, high_near, high_far, low_far
    # Below a level lies everything outside its roots, or everything ("open").
    if low_open:
        return 0.0, 0.0, 0.0, 0.0
    if high_open:
        return low_near, low_far, 0.0, 0.0
    return low_near, high_near, high_far, low_far


@njit(cache=True, nogil=True)
def _mass(start: float, stop: float) -> float:
    """Return the normal probability of an interval, from the side where it is small."""
    if stop <= start:
        return 0.0
    if start >= 0.0:
        return float(upper_tail(start) - upper_tail(stop))
    if stop <= 0.0:
        return float(upper_tail(-stop) - upper_tail(-start))
    return float(1.0 - upper_tail(stop) - upper_tail(-start))


@njit(cache=True, nogil=True)
def _within(start: float, stop: float, mass: float, share: float) -> float:
    """Invert the normal law inside an interval of known mass."""
    if start >= 0.0:
        value = upper_tail_quantile(upper_tail(start) - share * mass)
    elif stop <= 0.0:
        value = -upper_tail_quantile(upper_tail(-stop) - share * mass)
    else:
        value = -upper_tail_quantile(upper_tail(-start) + share * mass)
    return float(min(max(value, start), stop))


@njit(cache=True, nogil=True, error_model="numpy")
def _search_caps(
    mixing: FloatArray,
    normals: FloatArray,
    edges: FloatArray,
    theta: FloatArray,
    threshold: FloatArray,
    log_bound: FloatArray,
    constant: float,
    slope: float,
    curvature: float,
    least: float,
    most: float,
) -> FloatArray:
    caps = np.full(theta.size, -np.inf)
    for k in range(theta.size):
        base = 1.0 - 2.0 * theta[k] * curvature
        for v in mixing[k]:
            steep = math.sqrt(v) * slope
            lead = log_bound[k] + 0.5 * math.log(base) - 0.5 * (theta[k] * steep) ** 2 / base
            for e in range(k, k + 2):
                if not math.isfinite(edges[e]):
                    continue
                for i in range(-1, normals.size):
                    # The last candidate puts the edge at the turning point, where the interval is widest.
                    if i >= 0:
                        z = normals[i]
                    elif curvature != 0.0:
                        z = -0.5 * steep / curvature
                    else:
                        continue
                    rest = v * (edges[e] - constant) - (steep * z + curvature * z * z)
                    # The largest weight may lie where the other axes cannot go any further.
                    rest = min(max(rest, v * least), v * most)
                    low = v * (edges[k] - constant) - rest
                    high = v * (edges[k + 1] - constant) - rest
                    a, b, c, d = _pieces(low, high, steep, curvature)
                    p = _mass(a, b) + _mass(c, d)
                    if p > 0.0:
                        size = lead - theta[k] * (v * (constant - threshold[k]) + rest) + math.log(p)
                        caps[k] = max(caps[k], size)
    return caps


@njit(cache=True, nogil=True, error_model="numpy")
def _search_radial_caps(
    mixing: FloatArray,
    squares: FloatArray,
    spans: FloatArray,
    edges: FloatArray,
    theta: FloatArray,
    threshold: FloatArray,
    log_bound: FloatArray,
    constant: float,
    n_radial: int,
    least: float,
    most: float,
) -> FloatArray:
    caps = np.full(theta.size, -np.inf)
    for k in range(theta.size):
        for v in mixing[k]:
            for span in spans[k]:
                stretch = 1.0 + 2.0 * theta[k] * span
                for e in range(k, k + 2):
                    if not math.isfinite(edges[e]):
                        continue
                    for i in range(-1, squares.size):
                        # The last candidate puts the edge at the centre.
                        square = squares[i] if i >= 0 else 0.0
                        rest = v * (edges[e] - constant) - span * square / stretch
                        rest = min(max(rest, v * least), v * most)
                        a = (v * (edges[k] - constant) - rest) / span * stretch
                        b = (v * (edges[k + 1] - constant) - rest) / span * stretch
                        if span < 0.0:
                            a, b = b, a
                        p = chi_square_tail(max(a, 0.0), n_radial) - chi_square_tail(max(b, 0.0), n_radial)
                        if p > 0.0:
                            size = (
                                log_bound[k]
                                - theta[k] * (v * (constant - threshold[k]) + rest)
                                - 0.5 * n_radial * math.log(stretch)
                                + math.log(p)
                            )
                            caps[k] = max(caps[k], size)
    return caps


@njit(cache=True, nogil=True, error_model="numpy")
def _fill(
    normals: FloatArray,
    uniforms: FloatArray,
    gammas: FloatArray,
    free: FloatArray,
    counts: IntArray,
    position: IntArray,
    edges: FloatArray,
    theta: FloatArray,
    threshold: FloatArray,
    rate: FloatArray,
    cap: FloatArray,
    first: FloatArray,
    drift: FloatArray,
    deviation: FloatArray,
    constant: float,
    slope: FloatArray,
    curvature: FloatArray,
    n_radial: int,
    root: FloatArray,
    moves: FloatArray,
    quadratic: FloatArray,
) -> None:
    """Use proposals in their order until they or the wanted paths run out; `position` keeps the place."""
    n_axes, n_factors = slope.size, moves.shape[1]
    skip = 0 if n_radial > 0 else 1
    k, done = position[0], position[1]
    path = done
    for i in range(k):
        path += counts[i]
    z = np.empty(n_axes)
    for row in range(normals.shape[0]):
        while k < counts.size and done >= counts[k]:
            k += 1
            done = 0
        if k == counts.size:
            break
        v = gammas[row] / rate[k] if gammas.size > 0 else 1.0
        scale = math.sqrt(v)
        rest = 0.0
        given = max(n_radial, 1)
        for j in range(given, n_axes):
            value = scale * drift[k, j] + deviation[k, j] * normals[row, j - skip]
            z[j] = value
            rest += value * (scale * slope[j] + curvature[j] * value)
        low, high = v * (edges[k] - constant) - rest, v * (edges[k + 1] - constant) - rest
        log_weight = cap[k] - v * first[k] - theta[k] * (v * (constant - threshold[k]) + rest)
        if n_radial > 0:
            length, span = 0.0, 0.0
            for j in range(n_radial):
                length += normals[row, j] ** 2
                z[j] = deviation[k, j] * normals[row, j]
                span += curvature[j] * z[j] ** 2
            span /= length
            stretch = 1.0 + 2.0 * theta[k] * span
            a, b = low / span * stretch, high / span * stretch
            if span < 0.0:
                a, b = b, a
            a = max(a, 0.0)
            if b <= a:
                continue
            total = chi_square_tail(a, n_radial) - chi_square_tail(b, n_radial)
            if uniforms[row, 0] >= total * math.exp(log_weight - 0.5 * n_radial * math.log(stretch)):
                continue
            square = chi_square_within(a, b, uniforms[row, 1], n_radial) / stretch
            for j in range(n_radial):
                z[j] *= math.sqrt(square / length)
            rest += span * square
        else:
            a, b, c, d = _pieces(low, high, scale * slope[0], curvature[0])
            near, far = _mass(a, b), _mass(c, d)
            total = near + far
            if uniforms[row, 0] >= total * math.exp(log_weight):
                continue
            share = uniforms[row, 1] * total
            if share < near:
                z[0] = _within(a, b, near, share / near)
            else:
                z[0] = _within(c, d, far, (share - near) / far)
            rest += z[0] * (scale * slope[0] + curvature[0] * z[0])
        quadratic[path] = constant + rest / v
        for j in range(n_axes):
            value = z[j] / scale
            for f in range(n_factors):
                moves[path, f] += root[j, f] * value
        for j in range(free.shape[1]):
            value = free[path, j] / scale
            for f in range(n_factors):
                moves[path, f] += root[n_axes + j, f] * value
        done += 1
        path += 1
    while k < counts.size and done >= counts[k]:
        k += 1
        done = 0
    position[0], position[1] = k, done
