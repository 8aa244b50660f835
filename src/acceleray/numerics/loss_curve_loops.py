"""Compiled loops behind `acceleray.numerics.loss_curve`; nothing here checks its input.

They compile functions of `conditional_cumulants` into themselves, and Numba's cache looks at this file alone:
whoever changes those must touch this file and `loss_curve_derivatives` too.
"""

# mypy: disable-error-code="no-untyped-def, no-untyped-call"
# Numba infers the types of everything below.

from __future__ import annotations

import math

import numpy as np

from acceleray.numerics.compilation import compiled
from acceleray.numerics.conditional_cumulants import (
    LANES,
    ORDER,
    aligned_rows,
    line_cumulants,
    normal_tail_and_density,
    stencil_weights,
)
from acceleray.numerics.vector_loops import _inlined, fma, widest_vectors

__all__ = [
    "MIXING_FIRST",
    "MIXING_STEP",
    "curve_lines",
    "expansion",
    "integrate",
    "place_line",
    "root_scale",
    "spreads",
]

# Beyond so many standard deviations a conditional law is 0 or 1 to 1e-15.
REACH = 8.0
# One node in so many is looked at first, to find where a line's losses begin to matter.
COARSE = 4

# Normal scores at which `Lines.mixing_table` begins, and its step.
MIXING_FIRST = -12.0
MIXING_STEP = 0.0625


@_inlined
def expansion(k2, k3, k4, k5, k6, spread, order):
    """Coefficients of Hermite polynomials 2 to 6 for a base law of standard deviation `spread`."""
    delta = spread * spread - k2
    if order < 6:
        k5 = 0.0
        k6 = 0.0
    inverse = 1.0 / spread
    square = inverse * inverse
    cube = square * inverse
    c2 = -0.5 * delta * square
    c3 = k3 / 6.0 * cube
    c4 = (k4 / 24.0 + delta * delta / 8.0) * square * square
    c5 = (k5 / 120.0 - delta * k3 / 12.0) * square * cube
    c6 = (k6 / 720.0 + k3 * k3 / 72.0 - delta * k4 / 48.0 - delta * delta * delta / 48.0) * cube * cube
    return c2, c3, c4, c5, c6


@compiled
def spreads(sums, n, smoothing, floor, spread):
    """Fill the standard deviation of the base law at each node.

    No less than `smoothing` steps of the conditional mean, and so wide that no scaled cumulant exceeds one:
    that is where a lumpy law would make the expansion ripple.
    """
    for i in range(n):
        below, above = max(i - 1, 0), min(i + 1, n - 1)
        rise = abs(sums[above, 0] - sums[below, 0]) / max(above - below, 1)
        lumps = max(abs(sums[i, 2]) ** (1.0 / 3.0), abs(sums[i, 3]) ** 0.25, abs(sums[i, 5]) ** (1.0 / 6.0))
        spread[i] = max(max(math.sqrt(max(sums[i, 1], 0.0)), smoothing * rise), max(lumps, floor))


@compiled
def integrate(sums, spread, weights, losses, order, above, excess):
    """Add the integral over one line of P(L > x) and E[(L - x)^+] at every loss x of the ascending grid."""
    widest_vectors()
    n_losses = losses.shape[0]
    # What lies wholly above a grid loss is added once, at the last such loss, and summed down at the end.
    whole = np.zeros(n_losses + 1)
    whole_mean = np.zeros(n_losses + 1)
    for i in range(weights.shape[0]):
        mean, deviation, weight = sums[i, 0], spread[i], weights[i]
        start = np.searchsorted(losses, mean - REACH * deviation) & -LANES
        stop = min((np.searchsorted(losses, mean + REACH * deviation) + LANES - 1) & -LANES, n_losses)
        whole[start] += weight
        whole_mean[start] += weight * mean
        if start == stop:
            continue
        c2, c3, c4, c5, c6 = expansion(
            sums[i, 1], sums[i, 2], sums[i, 3], sums[i, 4], sums[i, 5], deviation, order
        )
        p0 = 3.0 * c5 - c3
        p1 = c2 - 3.0 * c4 + 15.0 * c6
        p2 = c3 - 6.0 * c5
        p3 = c4 - 10.0 * c6
        q0 = 1.0 + c2 - c4 + 3.0 * c6
        q1 = c3 - 3.0 * c5
        q2 = c4 - 6.0 * c6
        inverse = 1.0 / deviation
        scaled = weight * deviation
        grid = losses[start:stop]
        tails = above[start:stop]
        calls = excess[start:stop]
        for j in range(grid.shape[0]):
            u = (grid[j] - mean) * inverse
            tail, density = normal_tail_and_density(u)
            ripple = fma(fma(fma(fma(fma(c6, u, c5), u, p3), u, p2), u, p1), u, p0)
            call = fma(fma(fma(fma(c6, u, c5), u, q2), u, q1), u, q0)
            tails[j] += weight * fma(density, ripple, tail)
            calls[j] += scaled * fma(density, call, -u * tail)
    total, total_mean = 0.0, 0.0
    for j in range(n_losses - 1, -1, -1):
        total += whole[j + 1]
        total_mean += whole_mean[j + 1]
        above[j] += total
        excess[j] += total_mean - total * losses[j]


@_inlined
def root_scale(score, table):
    """Interpolate ``sqrt(W / nu)`` at the normal score of W."""
    position = min(max((score - MIXING_FIRST) / MIXING_STEP, 2.0), table.shape[0] - 4.0)
    row = int(position) - 2
    w = stencil_weights(position - (row + 2))
    return (
        w[0] * table[row]
        + w[1] * table[row + 1]
        + w[2] * table[row + 2]
        + w[3] * table[row + 3]
        + w[4] * table[row + 4]
        + w[5] * table[row + 5]
    )


@compiled
def place_line(lines, scores, level, scale):
    """Fill each cell's systematic part at t = 0 and each node's scale; return the mixing score at t = 0."""
    for cell in range(level.shape[0]):
        total = lines.mean[cell]
        for j in range(scores.shape[0]):
            total = fma(lines.across[cell, j], scores[j], total)
        level[cell] = total
    start = 0.0
    if lines.mixing_table.shape[0] > 0:
        for j in range(scores.shape[0]):
            start = fma(lines.mixing[j], scores[j], start)
        for i in range(scale.shape[0]):
            scale[i] = root_scale(start + lines.mixing_slope * lines.nodes[i], lines.mixing_table)
    return start


@compiled
def curve_lines(groups, tables, lines, scores, losses, unit, above, excess, means):
    """Fill above[line, x] = P(L > x), excess[line, x] = E[(L - x)^+] and means[line] = E[L], in `unit`."""
    nodes, weights = lines.nodes, lines.weights
    n_nodes = nodes.shape[0]
    level = np.empty(lines.mean.shape[0])
    scale = np.ones(n_nodes)
    linear = lines.mixing_table.shape[0] == 0
    sums = aligned_rows(n_nodes)
    room = np.empty((2 * ORDER + 3, n_nodes))
    spread = np.empty(n_nodes)
    coarse = nodes[::COARSE].copy()
    for line in range(scores.shape[0]):
        place_line(lines, scores[line], level, scale)
        line_cumulants(
            groups, tables, lines.slope, level, coarse, scale[::COARSE].copy(), linear, COARSE, room, sums
        )
        spreads(sums, coarse.shape[0], lines.smoothing / COARSE, lines.floor, spread)
        total = 0.0
        for i in range(coarse.shape[0]):
            total += weights[i * COARSE] * sums[i, 0]
        means[line] = COARSE * total / unit
        low = 0
        while low + 2 < coarse.shape[0] and sums[low + 1, 0] + REACH * spread[low + 1] < losses[0]:
            low += 1
        low = (low * COARSE) & -LANES
        n = n_nodes - low
        line_cumulants(groups, tables, lines.slope, level, nodes[low:], scale[low:], linear, 1, room, sums)
        spreads(sums, n, lines.smoothing, lines.floor, spread)
        above[line] = 0.0
        excess[line] = 0.0
        integrate(sums, spread, weights[low:], losses, lines.order, above[line], excess[line])
        for j in range(losses.shape[0]):
            excess[line, j] /= unit
