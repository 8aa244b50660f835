"""Compiled loops that differentiate the loss curve: by the factors, and by each obligor's and segment's size.

They compile functions of `loss_curve_loops` and `conditional_cumulants` into themselves, and Numba's cache
looks at this file alone: whoever changes those must touch this file too.
"""

# mypy: disable-error-code="no-untyped-def, assignment"
# Numba infers the types of everything below.

from __future__ import annotations

import numpy as np

from acceleray.numerics.compilation import compiled
from acceleray.numerics.conditional_cumulants import (
    ORDER,
    aligned_rows,
    interpolated_moments,
    line_cumulants,
    normal_tail_and_density,
)
from acceleray.numerics.loss_curve_loops import (
    MIXING_STEP,
    expansion,
    integrate,
    place_line,
    root_scale,
    spreads,
)
from acceleray.numerics.vector_loops import widest_vectors

__all__ = ["add_part", "contribution_lines", "gradient_lines", "part_lines", "tail_factors"]


@compiled
def gradient_lines(groups, tables, lines, scores, loss, loadings, above, gradient):
    """Fill above[line] with P(L > loss) and gradient[line] with its derivative by the factors.

    The derivative follows the conditional mean: the density of the loss at each node times the mean's
    gradient. The last column belongs to the score of the mixing variable, where there is one.
    """
    nodes, weights = lines.nodes, lines.weights
    n_nodes = nodes.shape[0]
    n_factors = loadings.shape[1]
    level = np.empty(lines.mean.shape[0])
    scale = np.ones(n_nodes)
    linear = lines.mixing_table.shape[0] == 0
    rise = np.zeros(n_nodes)
    sums = aligned_rows(n_nodes)
    room = np.empty((2 * ORDER + 3, n_nodes))
    spread = np.empty(n_nodes)
    one = np.full(1, loss)
    beyond, excess = np.empty(1), np.empty(1)
    density = np.empty(n_nodes)
    for line in range(scores.shape[0]):
        start = place_line(lines, scores[line], level, scale)
        line_cumulants(groups, tables, lines.slope, level, nodes, scale, linear, 1, room, sums)
        spreads(sums, n_nodes, lines.smoothing, lines.floor, spread)
        beyond[0] = 0.0
        excess[0] = 0.0
        integrate(sums, spread, weights, one, lines.order, beyond, excess)
        above[line] = beyond[0]
        peak = 0.0
        for i in range(n_nodes):
            _tail, here = normal_tail_and_density((loss - sums[i, 0]) / spread[i])
            density[i] = weights[i] * here / spread[i]
            peak = max(peak, density[i])
        used = np.flatnonzero(density > 1e-6 * peak)
        if gradient.shape[1] > n_factors:
            for i in used:
                at = start + lines.mixing_slope * nodes[i]
                rise[i] = root_scale(at + 0.5 * MIXING_STEP, lines.mixing_table)
                rise[i] -= root_scale(at - 0.5 * MIXING_STEP, lines.mixing_table)
        gradient[line] = 0.0
        for group in range(groups.cell.shape[0]):
            cell = groups.cell[group]
            unit = 1.0 / groups.residual[group]
            law = groups.law[group]
            share = 1.0 if law < 0 else groups.laws[law, groups.laws.shape[1] // 2, 0]
            total, total_mixing = 0.0, 0.0
            for k in range(groups.starts[group], groups.starts[group + 1]):
                size = share * groups.sizes[k, 0]
                for i in used:
                    z = groups.places[k] * scale[i] - (level[cell] + lines.slope[cell] * nodes[i]) * unit
                    _tail, here = normal_tail_and_density(z)
                    total += density[i] * here * size
                    total_mixing += density[i] * here * size * groups.places[k] * rise[i]
            for j in range(n_factors):
                gradient[line, j] -= total * unit * loadings[cell, j]
            if gradient.shape[1] > n_factors:
                gradient[line, n_factors] += total_mixing / MIXING_STEP


@compiled
def part_lines(groups, tables, lines, scores, cumulants):
    """Fill cumulants[line, node] with the cumulants of the loss of some groups, as `line_cumulants`."""
    widest_vectors()
    nodes = lines.nodes
    n_nodes = nodes.shape[0]
    level = np.empty(lines.mean.shape[0])
    scale = np.ones(n_nodes)
    linear = lines.mixing_table.shape[0] == 0
    sums = aligned_rows(n_nodes)
    room = np.empty((2 * ORDER + 3, n_nodes))
    for line in range(scores.shape[0]):
        place_line(lines, scores[line], level, scale)
        line_cumulants(groups, tables, lines.slope, level, nodes, scale, linear, 1, room, sums)
        for i in range(n_nodes):
            for j in range(ORDER):
                cumulants[line, i, j] = sums[i, j]


@compiled
def tail_factors(cumulants, lines, losses, factors):
    """Fill factors[line, loss]: what each cumulant of a part of the book is multiplied by, node by node.

    Factors 1 on hold derivatives of the book's density over their number's factorial, for the tail.
    """
    widest_vectors()
    weights = lines.weights
    n_nodes = weights.shape[0]
    sums = aligned_rows(n_nodes)
    spread = np.empty(n_nodes)
    for line in range(cumulants.shape[0]):
        for i in range(n_nodes):
            for j in range(ORDER):
                sums[i, j] = cumulants[line, i, j]
        spreads(sums, n_nodes, lines.smoothing, lines.floor, spread)
        for number in range(losses.shape[0]):
            for i in range(n_nodes):
                u = (losses[number] - sums[i, 0]) / spread[i]
                tail, normal = normal_tail_and_density(u)
                c2, c3, c4, c5, c6 = expansion(
                    sums[i, 1], sums[i, 2], sums[i, 3], sums[i, 4], sums[i, 5], spread[i], lines.order
                )
                # Hermite polynomials by their recurrence; derivative m of the density needs those from m on.
                h2 = u * u - 1.0
                h3 = u * h2 - 2.0 * u
                h4 = u * h3 - 3.0 * h2
                h5 = u * h4 - 4.0 * h3
                h6 = u * h5 - 5.0 * h4
                h7 = u * h6 - 6.0 * h5
                h8 = u * h7 - 7.0 * h6
                h9 = u * h8 - 8.0 * h7
                w = weights[i] * normal
                inverse = 1.0 / spread[i]
                ripple = c2 * u + c3 * h2 + c4 * h3 + c5 * h4 + c6 * h5
                factors[line, number, 0, i] = weights[i] * tail + w * ripple
                w *= inverse
                factors[line, number, 1, i] = w * (1.0 + c2 * h2 + c3 * h3 + c4 * h4 + c5 * h5 + c6 * h6)
                w *= inverse
                factors[line, number, 2, i] = w * (u + c2 * h3 + c3 * h4 + c4 * h5 + c5 * h6 + c6 * h7) / 2.0
                w *= inverse
                factors[line, number, 3, i] = w * (h2 + c2 * h4 + c3 * h5 + c4 * h6 + c5 * h7 + c6 * h8) / 6.0
                w *= inverse
                factors[line, number, 4, i] = (
                    w * (h3 + c2 * h5 + c3 * h6 + c4 * h7 + c5 * h8 + c6 * h9) / 24.0
                )


@compiled
def add_part(cumulants, factors, unit, binary_places, part, at, beyond):
    """Add the contributions of a part of the book, from its cumulants, as `contribution_lines` does."""
    for line in range(factors.shape[0]):
        for number in range(factors.shape[1]):
            total_at, total_beyond = 0.0, 0.0
            for i in range(factors.shape[3]):
                for j in range(4):
                    k = cumulants[line, i, j]
                    total_beyond += k * factors[line, number, j, i]
                    total_at += (j + 1.0) * k * factors[line, number, j + 1, i]
            at[number, part] += np.int64(round(total_at * binary_places))
            beyond[number, part] += np.int64(round(total_beyond / unit * binary_places))


@compiled
def contribution_lines(groups, lines, scores, factors, unit, obligors, binary_places, at, beyond):
    """Add each obligor's ``E[X; L = loss]`` (a density) and ``E[X; L > loss] / unit`` to fixed-point sums.

    With ``E[X exp(s L)] = K_X'(s) exp(K(s))``, K_X the cumulants of the obligor alone, every power of s is
    one derivative more of the book's density.
    """
    widest_vectors()
    nodes = lines.nodes
    n_nodes = nodes.shape[0]
    n_losses = factors.shape[1]
    level = np.empty(lines.mean.shape[0])
    scale = np.ones(n_nodes)
    score = np.empty(n_nodes)
    moments = np.ones((ORDER, n_nodes))
    ones = np.ones((ORDER, n_nodes))
    own = np.empty((4, n_nodes))
    for line in range(scores.shape[0]):
        place_line(lines, scores[line], level, scale)
        low = n_nodes
        for i in range(n_nodes):
            for number in range(n_losses):
                flat = abs(factors[line, number, 0, i]) < 1e-15 and abs(factors[line, number, 1, i]) < 1e-15
                if low == n_nodes and not flat:
                    low = i
        for cell in range(obligors.cells.shape[0] - 1):
            unit_place = 1.0 / obligors.residual[cell]
            known = -2
            for k in range(obligors.cells[cell], obligors.cells[cell + 1]):
                law = obligors.law[k]
                if law != known:
                    if law < 0:
                        # Numba takes two seconds to compile an assignment of one array to another.
                        for power in range(moments.shape[0]):
                            for i in range(moments.shape[1]):
                                moments[power, i] = ones[power, i]
                    else:
                        for i in range(low, n_nodes):
                            score[i] = (level[cell] + lines.slope[cell] * nodes[i]) * obligors.score_scale[
                                cell
                            ]
                        interpolated_moments(
                            score[low:], groups.laws[law], groups.law_first, groups.law_step, moments[:, low:]
                        )
                    known = law
                size = obligors.sizes[k]
                place = obligors.places[k]
                for i in range(low, n_nodes):
                    z = (level[cell] + lines.slope[cell] * nodes[i]) * unit_place - place * scale[i]
                    p, _density = normal_tail_and_density(z)
                    u1, u2, u3, u4 = (
                        p * moments[0, i],
                        p * moments[1, i],
                        p * moments[2, i],
                        p * moments[3, i],
                    )
                    own[0, i] = size * u1
                    own[1, i] = size * size * (u2 - u1 * u1)
                    own[2, i] = size * size * size * (u3 - 3.0 * u2 * u1 + 2.0 * u1 * u1 * u1)
                    k4 = u4 - 4.0 * u3 * u1 - 3.0 * u2 * u2 + 12.0 * u2 * u1 * u1 - 6.0 * u1 * u1 * u1 * u1
                    own[3, i] = k4 * size * size * size * size
                for number in range(n_losses):
                    factor = factors[line, number]
                    total_at, total_beyond = 0.0, 0.0
                    for i in range(low, n_nodes):
                        total_beyond += (
                            own[0, i] * factor[0, i]
                            + own[1, i] * factor[1, i]
                            + own[2, i] * factor[2, i]
                            + own[3, i] * factor[3, i]
                        )
                        total_at += (
                            own[0, i] * factor[1, i]
                            + 2.0 * own[1, i] * factor[2, i]
                            + 3.0 * own[2, i] * factor[3, i]
                            + 4.0 * own[3, i] * factor[4, i]
                        )
                    at[number, k] += np.int64(round(total_at * binary_places))
                    beyond[number, k] += np.int64(round(total_beyond / unit * binary_places))
