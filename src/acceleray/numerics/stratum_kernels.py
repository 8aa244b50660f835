"""Compiled loops behind `acceleray.numerics.stratified`: acceptance weights, and the draws themselves.

In the notation there, ``q = constant + (scale (slope . z) + curvature . z**2) / v`` with ``scale =
sqrt(v)``; `rest` is what all variables but the last add to ``v (q - constant)``.
"""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt

from acceleray.numerics.compilation import compiled, compiled_checked
from acceleray.numerics.compiled_laws import (
    chi_square_tail,
    chi_square_within,
    upper_tail,
    upper_tail_quantile,
)

__all__ = ["fill_strata", "search_caps", "search_radial_caps"]

FloatArray = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]


@compiled
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


@compiled_checked
def _mass(start: float, stop: float) -> float:
    """Return the normal probability of an interval, from the side where it is small."""
    if stop <= start:
        return 0.0
    if start >= 0.0:
        return float(upper_tail(start) - upper_tail(stop))
    if stop <= 0.0:
        return float(upper_tail(-stop) - upper_tail(-start))
    return float(1.0 - upper_tail(stop) - upper_tail(-start))


@compiled_checked
def _within(start: float, stop: float, mass: float, share: float) -> float:
    """Invert the normal law inside an interval of known mass."""
    if start >= 0.0:
        value = upper_tail_quantile(upper_tail(start) - share * mass)
    elif stop <= 0.0:
        value = -upper_tail_quantile(upper_tail(-stop) - share * mass)
    else:
        value = -upper_tail_quantile(upper_tail(-start) + share * mass)
    return float(min(max(value, start), stop))


@compiled
def search_caps(
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
    """Search the largest log acceptance weight of every stratum when the last variable is the first axis.

    Each edge is put where the axis would meet it at all of `normals`, and where the quadratic turns, for all
    values of `mixing`; `least` and `most` bound what the other axes can add per unit of V.
    """
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


@compiled
def search_radial_caps(
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
    """Search the largest log acceptance weight when the last variable is the distance in the radial axes.

    As `search_caps`, with the edges at `squares` of the stretched distance and for all `spans`, the
    curvatures that a direction can have.
    """
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


@compiled
def fill_strata(
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
