"""Compiled evaluation of the tables behind `acceleray.numerics.recovery`.

Numba's cache looks only at the time stamp of the file of the called function. `table_value` and `lgd` are
inlined into `acceleray.numerics.credit_loops` too, as are the elementary functions of `vector_loops`: whoever
changes one of these files must touch those that import it. Each is tested against SciPy through its callers.
"""

# mypy: disable-error-code="no-untyped-def"
# Numba infers the types of everything below.

from __future__ import annotations

import numpy as np

from acceleray.numerics.compilation import compiled
from acceleray.numerics.vector_loops import _inlined, exp_clamped, fma, select, widest_vectors

__all__ = ["REACH", "TERMS", "lgd", "lgd_values", "table_value", "table_values", "window_moments"]

# Tables span [-REACH, REACH] with polynomials of so many terms.
REACH = 16.0
TERMS = 8


@_inlined
def table_value(coefficients, first, pieces, x):
    """Return the tabulated function at x; constant beyond the table."""
    x = select(x > -REACH, x, -REACH)
    x = select(x < REACH, x, REACH)
    place = (x + REACH) * (pieces * (0.5 / REACH))
    piece = min(int(place), pieces - 1)
    t = 2.0 * (place - piece) - 1.0
    c = coefficients[first + piece]
    y = t * t
    odd = fma(fma(fma(c[7], y, c[5]), y, c[3]), y, c[1])
    even = fma(fma(fma(c[6], y, c[4]), y, c[2]), y, c[0])
    return fma(odd, t, even)


@_inlined
def lgd(law, score, eta, mean, correlation, own, first, pieces, coefficients):
    """Return the loss given default of a law, a systematic score and an own normal."""
    if first[law] < 0:
        return mean[law]
    u = fma(correlation[law], score, own[law] * eta)
    value = table_value(coefficients, first[law], pieces[law], u)
    return min(max(value, 0.0), 1.0)


@compiled
def lgd_values(law, score, eta, mean, correlation, own, first, pieces, coefficients, out):
    """Fill `out`; see `recovery.draw`."""
    for index in range(out.shape[0]):
        out[index] = lgd(
            law[index], score[index], eta[index], mean, correlation, own, first, pieces, coefficients
        )


@compiled
def table_values(coefficients, points, out):
    """Fill ``out[function, point]``; every function has the same pieces."""
    pieces = coefficients.shape[1]
    for function in range(out.shape[0]):
        rows = coefficients[function]
        for index in range(points.shape[0]):
            out[function, index] = table_value(rows, 0, pieces, points[index])


@compiled
def window_moments(u, weight, values, centres, starts, stops, inverse, out):
    """Fill ``out[j - 1, i]`` with the mean of ``values ** j``, j from 1 to 4, near each centre.

    The weights are `weight` times a normal density around the centre, of a standard deviation of one over
    `inverse`, in the window from start to stop.
    """
    widest_vectors()
    mass = np.empty(u.shape[0])
    for index in range(centres.shape[0]):
        near = u[starts[index] : stops[index]]
        weights = weight[starts[index] : stops[index]]
        losses = values[starts[index] : stops[index]]
        masses = mass[: near.shape[0]]
        for node in range(near.shape[0]):
            distance = (near[node] - centres[index]) * inverse
            masses[node] = weights[node] * exp_clamped(-0.5 * distance * distance)
        total, first, second, third, fourth = 0.0, 0.0, 0.0, 0.0, 0.0
        for node in range(near.shape[0]):
            loss, share = losses[node], masses[node]
            square = loss * loss
            total += share
            first = fma(share, loss, first)
            second = fma(share, square, second)
            third = fma(share, square * loss, third)
            fourth = fma(share, square * square, fourth)
        out[0, index] = first / total
        out[1, index] = second / total
        out[2, index] = third / total
        out[3, index] = fourth / total
