"""Compiled loops behind `acceleray.numerics.loss_curve`; nothing here checks its input.

The inlined functions of `vector_loops` are compiled into these loops, so Numba's cache, which looks only at
this file's time stamp, would not notice a change of theirs: whoever changes an elementary function there
must touch this file too. Their values are accurate to the last digits, so a stale copy is a correct one.

Nothing is summed across lanes, and what is fused says so: bits depend neither on the width of the vectors
nor on how lines are cut into blocks.
"""

# mypy: disable-error-code="no-untyped-def"
# Numba infers the types of everything below.

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

from acceleray.numerics.vector_loops import (
    INVERSE_SQRT_TWO_PI,
    _compiled,
    _inlined,
    _mills,
    exp_clamped,
    fma,
    select,
    widest_vectors,
)

__all__ = [
    "ORDER",
    "ROW",
    "STENCIL",
    "Groups",
    "Lines",
    "Obligors",
    "Tables",
    "aligned_rows",
    "contribution_lines",
    "curve_lines",
    "fill_tables",
    "gradient_lines",
    "normal_tail_and_density",
]

# Cumulants carried, and doubles in a row of a table: the six and two of padding fill one cache line.
ORDER = 6
ROW = 8
# Rows of the interpolation stencil: two below the place's own row, three above.
STENCIL = 6

# Doubles in a vector. Loops over whole vectors need no slow remainder: nodes come in multiples of it.
LANES = 8

# Beyond so many standard deviations a conditional law is 0 or 1 to 1e-15.
REACH = 8.0
# A conditional default probability below 6e-16 counts as none.
NEGLIGIBLE = -8.0
# One node in so many is looked at first, to find where a line's losses begin to matter.
COARSE = 4

# Normal scores at which `Lines.mixing_table` begins, and its step.
MIXING_FIRST = -12.0
MIXING_STEP = 0.0625

FloatArray = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]


class Groups(NamedTuple):
    """The book as the loops see it: groups of obligors that share a cell and a law of recovery.

    Attributes
    ----------
    cell : ndarray of int64, shape (n_groups,)
        Cell of each group.
    law : ndarray of int64, shape (n_groups,)
        Row of `laws`, or -1 where the loss given default is fixed and part of the sizes.
    starts : ndarray of int64, shape (n_groups + 1,)
        First place of each group.
    places : ndarray of shape (n_places,)
        Thresholds over residual.
    sizes : ndarray of shape (n_places, 6)
        Sums of the powers 1 to 6 of the losses of the obligors at each place.
    residual : ndarray of shape (n_groups,)
        ``b``.
    score_scale : ndarray of shape (n_groups,)
        One over the systematic length; 0 where that vanishes.
    laws : ndarray of shape (n_laws, n_scores, 6)
        Raw moments 1 to 6 of each random loss given default over the systematic score.
    law_first, law_step : float
        The scores of `laws`.
    """

    cell: IntArray
    law: IntArray
    starts: IntArray
    places: FloatArray
    sizes: FloatArray
    residual: FloatArray
    score_scale: FloatArray
    laws: FloatArray
    law_first: float
    law_step: float


class Obligors(NamedTuple):
    """The obligors one by one, in the order of the model.

    Attributes
    ----------
    cells : ndarray of int64, shape (n_cells + 1,)
        First obligor of each cell.
    law : ndarray of int64, shape (n_obligors,)
        Row of `Groups.laws`, or -1 where the loss given default is fixed.
    places, sizes : ndarray of shape (n_obligors,)
        Threshold over residual; loss given default times exposure, or exposure alone where it is random.
    residual, score_scale : ndarray of shape (n_cells,)
        ``b``, and one over the systematic length.
    """

    cells: IntArray
    law: IntArray
    places: FloatArray
    sizes: FloatArray
    residual: FloatArray
    score_scale: FloatArray


class Tables(NamedTuple):
    """Cumulants of whole groups, tabulated over the systematic part ``s = a'z + m``.

    Attributes
    ----------
    first, step : ndarray of shape (n_groups,)
        Place of the first row of each group, and the distance of its rows.
    stride : ndarray of int64, shape (n_groups,)
        Rows, signed, between two nodes of a line; 0 where that is no whole number.
    rows : ndarray of int64, shape (n_groups + 1,)
        First row of each group in `table`; a group without rows is not tabulated.
    table : ndarray of shape (n_rows, 8)
        Cumulants 1 to 6, and padding.
    n_direct : int
        Groups that are not tabulated.
    """

    first: FloatArray
    step: FloatArray
    stride: IntArray
    rows: IntArray
    table: FloatArray
    n_direct: int


class Lines(NamedTuple):
    """The family of parallel lines ``z = basis y + t d``, and the quadrature along each.

    Attributes
    ----------
    mean : ndarray of shape (n_cells,)
        ``m_c``.
    across : ndarray of shape (n_cells, n_dims)
        Loadings times the basis.
    slope : ndarray of shape (n_cells,)
        Loadings times the direction.
    mixing : ndarray of shape (n_dims,)
        Part of the mixing variable's score in the basis.
    mixing_slope : float
        The same in the direction.
    mixing_table : ndarray
        ``sqrt(W / nu)`` over its normal score; empty for a Gaussian copula.
    nodes, weights : ndarray of shape (n_nodes,)
        Values of t, equally far apart, and their normal weights.
    order : int
        Cumulants that the expansion uses, 4 or 6.
    smoothing : float
        Least standard deviation of the base law, in node steps of the conditional mean.
    floor : float
        Least standard deviation of the base law, in currency.
    """

    mean: FloatArray
    across: FloatArray
    slope: FloatArray
    mixing: FloatArray
    mixing_slope: float
    mixing_table: FloatArray
    nodes: FloatArray
    weights: FloatArray
    order: int
    smoothing: float
    floor: float


@intrinsic
def add_rows(_typing, _sums, _node, _table, _row, _weights):
    """Add six weighted rows of a table to row `node` of `sums`; both hold eight doubles a row."""

    def generate(context, builder, signature, arguments):
        vector = ir.VectorType(ir.DoubleType(), ROW)
        # llvmlite's own fma takes scalars alone.
        fused = cgutils.get_or_insert_function(
            builder.module, ir.FunctionType(vector, (vector, vector, vector)), f"llvm.fma.v{ROW}f64"
        )

        def row_pointer(position, index):
            array = context.make_array(signature.args[position])(context, builder, arguments[position])
            start = builder.gep(array.data, [builder.mul(index, ir.Constant(ir.IntType(64), ROW))])
            return builder.bitcast(start, vector.as_pointer())

        target = row_pointer(0, arguments[1])
        total = builder.load(target, align=8)
        for step in range(STENCIL):
            index = builder.add(arguments[3], ir.Constant(ir.IntType(64), step))
            row = builder.load(row_pointer(2, index), align=8)
            weight = builder.extract_value(arguments[4], step)
            lanes = builder.insert_element(
                ir.Constant(vector, ir.Undefined), weight, ir.Constant(ir.IntType(32), 0)
            )
            spread = builder.shuffle_vector(
                lanes,
                ir.Constant(vector, ir.Undefined),
                ir.Constant(ir.VectorType(ir.IntType(32), ROW), [0] * ROW),
            )
            total = builder.call(fused, (row, spread, total))
        builder.store(total, target, align=8)
        return context.get_dummy_value()

    return types.void(_sums, types.int64, _table, types.int64, _weights), generate


@_compiled
def aligned_rows(n):
    """Return n rows of eight zeros, each in one cache line: a row across two would take twice the time."""
    room = np.zeros((n + 1) * ROW)
    skip = (-room.ctypes.data) % (8 * ROW) // 8
    return room[skip : skip + n * ROW].reshape((n, ROW))


@_inlined
def normal_tail_and_density(u):
    """Return ``Phi(-u)`` and ``phi(u)`` with one exponential."""
    size = select(u < 0.0, -u, u)
    size = select(size < 37.0, size, 37.0)
    p, q = _mills(size)
    density = INVERSE_SQRT_TWO_PI * exp_clamped(-0.5 * size * size)
    tail = density * (p / q)
    return select(u > 0.0, tail, 1.0 - tail), density


@_inlined
def _stencil_weights(f):
    """Lagrange weights at ``f`` in [0, 1) for rows at -2, -1, 0, 1, 2, 3."""
    a = f + 2.0
    b = f + 1.0
    d = f - 1.0
    e = f - 2.0
    g = f - 3.0
    return (
        -b * f * d * e * g / 120.0,
        a * f * d * e * g / 24.0,
        -a * b * d * e * g / 12.0,
        a * b * f * e * g / 12.0,
        -a * b * f * d * g / 24.0,
        a * b * f * d * e / 120.0,
    )


@_compiled
def _fixed_cumulants(places, sizes, first, stop, base, scale, out):
    """Add the cumulants of obligors with a fixed loss given default: out[j, lane]."""
    widest_vectors()
    n = base.shape[0]
    lowest, least, most = base[0], scale[0], scale[0]
    for lane in range(n):
        lowest = min(lowest, base[lane])
        least = min(least, scale[lane])
        most = max(most, scale[lane])
    out1, out2, out3, out4, out5, out6 = out[0], out[1], out[2], out[3], out[4], out[5]
    chance = np.empty(n)
    for k in range(first, stop):
        place = places[k]
        if max(place * least, place * most) - lowest < NEGLIGIBLE:
            continue
        b1, b2, b3, b4, b5, b6 = sizes[k, 0], sizes[k, 1], sizes[k, 2], sizes[k, 3], sizes[k, 4], sizes[k, 5]
        for lane in range(n):
            p, _density = normal_tail_and_density(base[lane] - place * scale[lane])
            chance[lane] = p
        for lane in range(n):
            p = chance[lane]
            q = fma(-p, p, p)
            out1[lane] = fma(b1, p, out1[lane])
            out2[lane] = fma(b2, q, out2[lane])
            out3[lane] = fma(b3, q * fma(-2.0, p, 1.0), out3[lane])
        for lane in range(n):
            p = chance[lane]
            q = fma(-p, p, p)
            out4[lane] = fma(b4, q * fma(-6.0, q, 1.0), out4[lane])
            out5[lane] = fma(b5, q * fma(-2.0, p, 1.0) * fma(-12.0, q, 1.0), out5[lane])
            out6[lane] = fma(b6, q * fma(q, fma(120.0, q, -30.0), 1.0), out6[lane])


@_compiled
def _recovery_moments(score, table, first, step, moments):
    """Interpolate the six raw moments of a loss given default at systematic scores: moments[j, lane]."""
    last = table.shape[0] - STENCIL
    for lane in range(score.shape[0]):
        position = (score[lane] - first) / step
        position = min(max(position, 0.0), table.shape[0] - 1.0)
        row = min(max(int(position) - 2, 0), last)
        w = _stencil_weights(position - (row + 2))
        for j in range(ORDER):
            moments[j, lane] = (
                w[0] * table[row, j]
                + w[1] * table[row + 1, j]
                + w[2] * table[row + 2, j]
                + w[3] * table[row + 3, j]
                + w[4] * table[row + 4, j]
                + w[5] * table[row + 5, j]
            )


@_compiled
def _random_cumulants(places, sizes, first, stop, base, scale, moments, out):
    """Add the cumulants of obligors with one random law of the loss given default: out[j, lane].

    A loss ``c D G`` has raw moments ``c^j p E[G^j]``; its cumulants are polynomials in ``p``.
    """
    widest_vectors()
    n = base.shape[0]
    out1, out2, out3, out4, out5, out6 = out[0], out[1], out[2], out[3], out[4], out[5]
    m1, m2, m3, m4, m5, m6 = moments[0], moments[1], moments[2], moments[3], moments[4], moments[5]
    chance = np.empty(n)
    for k in range(first, stop):
        place = places[k]
        b1, b2, b3, b4, b5, b6 = sizes[k, 0], sizes[k, 1], sizes[k, 2], sizes[k, 3], sizes[k, 4], sizes[k, 5]
        for lane in range(n):
            p, _density = normal_tail_and_density(base[lane] - place * scale[lane])
            chance[lane] = p
        for lane in range(n):
            u1, u2, u3 = chance[lane] * m1[lane], chance[lane] * m2[lane], chance[lane] * m3[lane]
            out1[lane] = fma(b1, u1, out1[lane])
            out2[lane] = fma(b2, u2 - u1 * u1, out2[lane])
            out3[lane] = fma(b3, u3 - 3.0 * u2 * u1 + 2.0 * u1 * u1 * u1, out3[lane])
        for lane in range(n):
            u1, u2 = chance[lane] * m1[lane], chance[lane] * m2[lane]
            u3, u4 = chance[lane] * m3[lane], chance[lane] * m4[lane]
            s1 = u1 * u1
            out4[lane] = fma(
                b4, u4 - 4.0 * u3 * u1 - 3.0 * u2 * u2 + 12.0 * u2 * s1 - 6.0 * s1 * s1, out4[lane]
            )
        for lane in range(n):
            u1, u2, u3 = chance[lane] * m1[lane], chance[lane] * m2[lane], chance[lane] * m3[lane]
            u4, u5 = chance[lane] * m4[lane], chance[lane] * m5[lane]
            s1 = u1 * u1
            fifth = u5 - 5.0 * u4 * u1 - 10.0 * u3 * u2 + 20.0 * u3 * s1
            fifth += 30.0 * u2 * u2 * u1 - 60.0 * u2 * s1 * u1 + 24.0 * s1 * s1 * u1
            out5[lane] = fma(b5, fifth, out5[lane])
        for lane in range(n):
            u1, u2, u3 = chance[lane] * m1[lane], chance[lane] * m2[lane], chance[lane] * m3[lane]
            u4, u5, u6 = chance[lane] * m4[lane], chance[lane] * m5[lane], chance[lane] * m6[lane]
            s1 = u1 * u1
            sixth = u6 - 6.0 * u5 * u1 - 15.0 * u4 * u2 + 30.0 * u4 * s1 - 10.0 * u3 * u3
            sixth += 120.0 * u3 * u2 * u1 - 120.0 * u3 * s1 * u1 + 30.0 * u2 * u2 * u2
            sixth += -270.0 * u2 * u2 * s1 + 360.0 * u2 * s1 * s1 - 120.0 * s1 * s1 * s1
            out6[lane] = fma(b6, sixth, out6[lane])


@_compiled
def _group_cumulants(groups, group, level, scale, room, out):
    """Add one group's cumulants at systematic parts `level`: out[j, lane]."""
    base = room[0]
    score = room[1]
    inverse = 1.0 / groups.residual[group]
    for lane in range(level.shape[0]):
        base[lane] = level[lane] * inverse
        score[lane] = level[lane] * groups.score_scale[group]
    first, stop = groups.starts[group], groups.starts[group + 1]
    if groups.law[group] < 0:
        _fixed_cumulants(groups.places, groups.sizes, first, stop, base, scale, out)
    else:
        moments = room[2:]
        _recovery_moments(score, groups.laws[groups.law[group]], groups.law_first, groups.law_step, moments)
        _random_cumulants(groups.places, groups.sizes, first, stop, base, scale, moments, out)


@_compiled
def fill_tables(groups, tables):
    """Fill ``tables.table`` with the cumulants of its groups."""
    for group in range(groups.cell.shape[0]):
        offset = tables.rows[group]
        n = tables.rows[group + 1] - offset
        if n == 0:
            continue
        level = tables.first[group] + tables.step[group] * np.arange(n)
        sums = np.zeros((ORDER, n))
        _group_cumulants(groups, group, level, np.ones(n), np.empty((ORDER + 2, n)), sums)
        for row in range(n):
            for j in range(ORDER):
                tables.table[offset + row, j] = sums[j, row]


@_compiled
def _table_cumulants(cells, first, step, stride, rows, table, slope, level, nodes, every, sums):
    """Add the tabulated groups' cumulants at ``level + slope * nodes[i]`` to sums[i].

    Where one step along the line is a whole number of rows, one set of weights serves the whole line.
    """
    widest_vectors()
    for group in range(cells.shape[0]):
        start, last = rows[group], rows[group + 1] - STENCIL
        if rows[group + 1] == start:
            continue
        at, along = level[cells[group]], slope[cells[group]]
        jump = stride[group] * every
        inverse = 1.0 / step[group]
        position = (at + along * nodes[0] - first[group]) * inverse
        whole = math.floor(position)
        weights = _stencil_weights(position - whole)
        row = start + np.int64(whole) - 2
        if jump != 0:
            for i in range(nodes.shape[0]):
                add_rows(sums, i, table, min(max(row, start), last), weights)
                row += jump
        else:
            for i in range(nodes.shape[0]):
                position = (at + along * nodes[i] - first[group]) * inverse
                whole = math.floor(position)
                weights = _stencil_weights(position - whole)
                row = start + np.int64(whole) - 2
                add_rows(sums, i, table, min(max(row, start), last), weights)


@_compiled
def _direct_cumulants(
    cells, laws, starts, places, sizes, residual, rows, slope, level, nodes, scale, linear, room, out
):
    """Add the cumulants of the untabulated groups with fixed losses given default: out[j, lane]."""
    widest_vectors()
    n = nodes.shape[0]
    node_step = nodes[1] - nodes[0] if n > 1 else 1.0
    for group in range(cells.shape[0]):
        if rows[group + 1] > rows[group] or laws[group] >= 0:
            continue
        inverse = 1.0 / residual[group]
        at, along = level[cells[group]] * inverse, slope[cells[group]] * inverse
        for k in range(starts[group], starts[group + 1]):
            place = places[k]
            first = 0
            if linear and along < 0.0:
                # Losses grow along the line, and below some node there are none worth counting.
                reached = (place - NEGLIGIBLE - at) / (along * node_step) - nodes[0] / node_step
                first = int(min(max(reached, 0.0), float(n))) & -LANES
            b1, b2, b3 = sizes[k, 0], sizes[k, 1], sizes[k, 2]
            b4, b5, b6 = sizes[k, 3], sizes[k, 4], sizes[k, 5]
            node, stretch = nodes[first:], scale[first:]
            out1, out2, out3 = out[0, first:], out[1, first:], out[2, first:]
            out4, out5, out6 = out[3, first:], out[4, first:], out[5, first:]
            chance = room[: node.shape[0]]
            # LLVM gives up on a loop with many outputs, which it must prove apart: hence three.
            for lane in range(chance.shape[0]):
                p, _density = normal_tail_and_density(fma(along, node[lane], at) - place * stretch[lane])
                chance[lane] = p
            for lane in range(chance.shape[0]):
                p = chance[lane]
                q = fma(-p, p, p)
                out1[lane] = fma(b1, p, out1[lane])
                out2[lane] = fma(b2, q, out2[lane])
                out3[lane] = fma(b3, q * fma(-2.0, p, 1.0), out3[lane])
            for lane in range(chance.shape[0]):
                p = chance[lane]
                q = fma(-p, p, p)
                out4[lane] = fma(b4, q * fma(-6.0, q, 1.0), out4[lane])
                out5[lane] = fma(b5, q * fma(-2.0, p, 1.0) * fma(-12.0, q, 1.0), out5[lane])
                out6[lane] = fma(b6, q * fma(q, fma(120.0, q, -30.0), 1.0), out6[lane])


@_compiled
def _line_cumulants(groups, tables, slope, level, nodes, scale, linear, every, room, sums):
    """Fill sums[i, j] with the cumulants of the book's loss at the nodes of one line."""
    n = nodes.shape[0]
    for i in range(n):
        for j in range(ROW):
            sums[i, j] = 0.0
    # Plain arrays: handing the tuples on would count references for every group.
    _table_cumulants(
        groups.cell,
        tables.first,
        tables.step,
        tables.stride,
        tables.rows,
        tables.table,
        slope,
        level,
        nodes,
        every,
        sums,
    )
    if tables.n_direct == 0:
        return
    direct = room[:ORDER, :n]
    along = room[ORDER, :n]
    rest = room[ORDER + 1 :, :n]
    direct[:, :] = 0.0
    _direct_cumulants(
        groups.cell,
        groups.law,
        groups.starts,
        groups.places,
        groups.sizes,
        groups.residual,
        tables.rows,
        slope,
        level,
        nodes,
        scale,
        linear,
        along,
        direct,
    )
    for group in range(groups.cell.shape[0]):
        if tables.rows[group + 1] > tables.rows[group] or groups.law[group] < 0:
            continue
        cell = groups.cell[group]
        for i in range(n):
            along[i] = level[cell] + slope[cell] * nodes[i]
        _group_cumulants(groups, group, along, scale, rest, direct)
    for i in range(n):
        for j in range(ORDER):
            sums[i, j] += direct[j, i]


@_inlined
def _expansion(k2, k3, k4, k5, k6, spread, order):
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


@_compiled
def _spreads(sums, n, smoothing, floor, spread):
    """Standard deviation of the base law at each node.

    No less than `smoothing` steps of the conditional mean, and so wide that no scaled cumulant exceeds one:
    that is where a lumpy law would make the expansion ripple.
    """
    for i in range(n):
        below, above = max(i - 1, 0), min(i + 1, n - 1)
        rise = abs(sums[above, 0] - sums[below, 0]) / max(above - below, 1)
        lumps = max(abs(sums[i, 2]) ** (1.0 / 3.0), abs(sums[i, 3]) ** 0.25, abs(sums[i, 5]) ** (1.0 / 6.0))
        spread[i] = max(max(math.sqrt(max(sums[i, 1], 0.0)), smoothing * rise), max(lumps, floor))


@_compiled
def _integrate(sums, spread, weights, losses, order, above, excess):
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
        c2, c3, c4, c5, c6 = _expansion(
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
def _root_scale(score, table):
    """Interpolate ``sqrt(W / nu)`` at the normal score of W."""
    position = min(max((score - MIXING_FIRST) / MIXING_STEP, 2.0), table.shape[0] - 4.0)
    row = int(position) - 2
    w = _stencil_weights(position - (row + 2))
    return (
        w[0] * table[row]
        + w[1] * table[row + 1]
        + w[2] * table[row + 2]
        + w[3] * table[row + 3]
        + w[4] * table[row + 4]
        + w[5] * table[row + 5]
    )


@_compiled
def _place_line(lines, scores, level, scale):
    """Fill the systematic part of every cell at t = 0, and the scale at every node; return the mixing score."""
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
            scale[i] = _root_scale(start + lines.mixing_slope * lines.nodes[i], lines.mixing_table)
    return start


@_compiled
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
        _place_line(lines, scores[line], level, scale)
        _line_cumulants(
            groups, tables, lines.slope, level, coarse, scale[::COARSE].copy(), linear, COARSE, room, sums
        )
        _spreads(sums, coarse.shape[0], lines.smoothing / COARSE, lines.floor, spread)
        total = 0.0
        for i in range(coarse.shape[0]):
            total += weights[i * COARSE] * sums[i, 0]
        means[line] = COARSE * total / unit
        low = 0
        while low + 2 < coarse.shape[0] and sums[low + 1, 0] + REACH * spread[low + 1] < losses[0]:
            low += 1
        low = (low * COARSE) & -LANES
        n = n_nodes - low
        _line_cumulants(groups, tables, lines.slope, level, nodes[low:], scale[low:], linear, 1, room, sums)
        _spreads(sums, n, lines.smoothing, lines.floor, spread)
        above[line] = 0.0
        excess[line] = 0.0
        _integrate(sums, spread, weights[low:], losses, lines.order, above[line], excess[line])
        for j in range(losses.shape[0]):
            excess[line, j] /= unit


@_compiled
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
        start = _place_line(lines, scores[line], level, scale)
        _line_cumulants(groups, tables, lines.slope, level, nodes, scale, linear, 1, room, sums)
        _spreads(sums, n_nodes, lines.smoothing, lines.floor, spread)
        beyond[0] = 0.0
        excess[0] = 0.0
        _integrate(sums, spread, weights, one, lines.order, beyond, excess)
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
                rise[i] = _root_scale(at + 0.5 * MIXING_STEP, lines.mixing_table)
                rise[i] -= _root_scale(at - 0.5 * MIXING_STEP, lines.mixing_table)
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


@_compiled
def contribution_lines(groups, tables, lines, scores, loss, unit, obligors, binary_places, at, beyond):
    """Add each obligor's ``E[X; L = loss]`` (a density) and ``E[X; L > loss] / unit`` to fixed-point sums.

    With ``E[X exp(s L)] = K_X'(s) exp(K(s))``, K_X the cumulants of the obligor alone, every power of s is
    one derivative more of the book's density.
    """
    widest_vectors()
    nodes, weights = lines.nodes, lines.weights
    n_nodes = nodes.shape[0]
    level = np.empty(lines.mean.shape[0])
    scale = np.ones(n_nodes)
    linear = lines.mixing_table.shape[0] == 0
    sums = aligned_rows(n_nodes)
    room = np.empty((2 * ORDER + 3, n_nodes))
    spread = np.empty(n_nodes)
    score = np.empty(n_nodes)
    moments = np.ones((ORDER, n_nodes))
    ones = np.ones((ORDER, n_nodes))
    factor = np.zeros((5, n_nodes))
    for line in range(scores.shape[0]):
        _place_line(lines, scores[line], level, scale)
        _line_cumulants(groups, tables, lines.slope, level, nodes, scale, linear, 1, room, sums)
        _spreads(sums, n_nodes, lines.smoothing, lines.floor, spread)
        low = n_nodes
        for i in range(n_nodes):
            u = (loss - sums[i, 0]) / spread[i]
            tail, normal = normal_tail_and_density(u)
            c2, c3, c4, c5, c6 = _expansion(
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
            factor[0, i] = weights[i] * tail + w * ripple
            w *= inverse
            factor[1, i] = w * (1.0 + c2 * h2 + c3 * h3 + c4 * h4 + c5 * h5 + c6 * h6)
            w *= inverse
            factor[2, i] = w * (u + c2 * h3 + c3 * h4 + c4 * h5 + c5 * h6 + c6 * h7) / 2.0
            w *= inverse
            factor[3, i] = w * (h2 + c2 * h4 + c3 * h5 + c4 * h6 + c5 * h7 + c6 * h8) / 6.0
            w *= inverse
            factor[4, i] = w * (h3 + c2 * h5 + c3 * h6 + c4 * h7 + c5 * h8 + c6 * h9) / 24.0
            if low == n_nodes and (factor[0, i] > 1e-15 or factor[1, i] * spread[i] > 1e-15):
                low = i
        for cell in range(obligors.cells.shape[0] - 1):
            unit_place = 1.0 / obligors.residual[cell]
            known = -2
            for k in range(obligors.cells[cell], obligors.cells[cell + 1]):
                law = obligors.law[k]
                if law != known:
                    if law < 0:
                        moments[:, :] = ones
                    else:
                        for i in range(low, n_nodes):
                            score[i] = (level[cell] + lines.slope[cell] * nodes[i]) * obligors.score_scale[
                                cell
                            ]
                        _recovery_moments(
                            score[low:], groups.laws[law], groups.law_first, groups.law_step, moments[:, low:]
                        )
                    known = law
                size = obligors.sizes[k]
                place = obligors.places[k]
                total_at, total_beyond = 0.0, 0.0
                for i in range(low, n_nodes):
                    z = (level[cell] + lines.slope[cell] * nodes[i]) * unit_place - place * scale[i]
                    p, _density = normal_tail_and_density(z)
                    u1, u2, u3, u4 = (
                        p * moments[0, i],
                        p * moments[1, i],
                        p * moments[2, i],
                        p * moments[3, i],
                    )
                    k1 = size * u1
                    k2 = size * size * (u2 - u1 * u1)
                    k3 = size * size * size * (u3 - 3.0 * u2 * u1 + 2.0 * u1 * u1 * u1)
                    k4 = u4 - 4.0 * u3 * u1 - 3.0 * u2 * u2 + 12.0 * u2 * u1 * u1 - 6.0 * u1 * u1 * u1 * u1
                    k4 *= size * size * size * size
                    # Factors 1 on hold derivatives of the density over (m + 1)!, for the tail.
                    total_beyond += (
                        k1 * factor[0, i] + k2 * factor[1, i] + k3 * factor[2, i] + k4 * factor[3, i]
                    )
                    total_at += (
                        k1 * factor[1, i]
                        + 2.0 * k2 * factor[2, i]
                        + 3.0 * k3 * factor[3, i]
                        + 4.0 * k4 * factor[4, i]
                    )
                at[k] += np.int64(round(total_at * binary_places))
                beyond[k] += np.int64(round(total_beyond / unit * binary_places))
