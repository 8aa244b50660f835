"""Compiled loops that add up the conditional cumulants of a book's loss; nothing here checks its input.

The inlined functions of `vector_loops` are compiled into these loops, so Numba's cache, which looks only at
this file's time stamp, would not notice a change of theirs: whoever changes an elementary function there
must touch this file too. Their values are accurate to the last digits, so a stale copy is a correct one.

Nothing is summed across lanes, and what is fused says so: bits depend neither on the width of the vectors
nor on how lines are cut into blocks.
"""

# mypy: disable-error-code="no-untyped-def, no-untyped-call"
# Numba infers the types of everything below.

from __future__ import annotations

import math

import numpy as np
from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

from acceleray.numerics.compilation import compiled
from acceleray.numerics.vector_loops import (
    INVERSE_SQRT_TWO_PI,
    _inlined,
    _mills,
    exp_clamped,
    fma,
    select,
    widest_vectors,
)

__all__ = [
    "LANES",
    "ORDER",
    "ROW",
    "STENCIL",
    "aligned_rows",
    "fill_tables",
    "interpolated_moments",
    "line_cumulants",
    "normal_tail_and_density",
    "stencil_weights",
]

# Cumulants carried, and doubles in a row of a table: the six and two of padding fill one cache line.
ORDER = 6
ROW = 8
# Rows of the interpolation stencil: two below the place's own row, three above.
STENCIL = 6

# Doubles in a vector. Loops over whole vectors need no slow remainder: nodes come in multiples of it.
LANES = 8

# A conditional default probability below 6e-16 counts as none.
NEGLIGIBLE = -8.0


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


@compiled
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
def stencil_weights(f):
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


@compiled
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


@compiled
def interpolated_moments(score, table, first, step, moments):
    """Interpolate the six raw moments of a loss given default at systematic scores: moments[j, lane]."""
    last = table.shape[0] - STENCIL
    for lane in range(score.shape[0]):
        position = (score[lane] - first) / step
        position = min(max(position, 0.0), table.shape[0] - 1.0)
        row = min(max(int(position) - 2, 0), last)
        w = stencil_weights(position - (row + 2))
        for j in range(ORDER):
            moments[j, lane] = (
                w[0] * table[row, j]
                + w[1] * table[row + 1, j]
                + w[2] * table[row + 2, j]
                + w[3] * table[row + 3, j]
                + w[4] * table[row + 4, j]
                + w[5] * table[row + 5, j]
            )


@compiled
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


@compiled
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
        interpolated_moments(
            score, groups.laws[groups.law[group]], groups.law_first, groups.law_step, moments
        )
        _random_cumulants(groups.places, groups.sizes, first, stop, base, scale, moments, out)


@compiled
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


@compiled
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
        weights = stencil_weights(position - whole)
        row = start + int(whole) - 2
        if jump != 0:
            for i in range(nodes.shape[0]):
                add_rows(sums, i, table, min(max(row, start), last), weights)
                row += jump
        else:
            for i in range(nodes.shape[0]):
                position = (at + along * nodes[i] - first[group]) * inverse
                whole = math.floor(position)
                weights = stencil_weights(position - whole)
                row = start + int(whole) - 2
                add_rows(sums, i, table, min(max(row, start), last), weights)


@compiled
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


@compiled
def line_cumulants(groups, tables, slope, level, nodes, scale, linear, every, room, sums):
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
