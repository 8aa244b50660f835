"""The loss law of independent defaults given the factors: by recursion over obligors or Fourier transform.

The recursion adds products of probabilities and nothing is ever subtracted, so that the smallest tail
probability has as many digits as the largest, down to about 1e-28. The transform has an absolute error near
1e-16, whatever the probability; exponential tilting moves the digits to where they are wanted.
"""

from __future__ import annotations

import math
from typing import TypeAlias

import numpy as np
import numpy.typing as npt

from acceleray.numerics.compilation import compiled
from acceleray.numerics.loss_lattice import Severities

__all__ = ["FLOOR", "add_laws", "binomial", "transformed_law"]

FloatArray: TypeAlias = npt.NDArray[np.float64]
IntArray: TypeAlias = npt.NDArray[np.int64]

# Probabilities below it are dropped from the ends of a conditional law, so that those above 1e-28 keep a
# relative error of 1e-11 in books of a thousand obligors.
FLOOR = 1e-40


def add_laws(
    totals: FloatArray,
    probability: FloatArray,
    complement: FloatArray,
    weights: FloatArray,
    counts: IntArray,
    severity: IntArray,
    severities: Severities,
) -> None:
    """Add weighted conditional laws of many nodes to `totals`, by recursion over groups of obligors.

    Parameters
    ----------
    totals : ndarray of shape (n_totals, n_points)
        Changed in place.
    probability, complement : ndarray of shape (n_nodes, n_groups)
        Probabilities of default and of survival; each exact, also where the other is near one.
    weights : ndarray of shape (n_nodes, n_totals)
        Weight of each node in each total.
    counts, severity : ndarray of int64, shape (n_groups,)
        Obligors of each group, and the law of their loss.
    severities : Severities

    Notes
    -----
    A group whose loss is fixed is added at once through its binomial law, which is built from its mode
    outwards by ratios. Adding 10^6 equal obligors costs as much as the binomial law is wide.
    """
    _add(
        totals,
        probability,
        complement,
        weights,
        counts,
        severities.offsets[severity],
        severities.starts[:-1][severity],
        severities.starts[1:][severity],
        severities.weights,
    )


def transformed_law(
    probability: FloatArray,
    counts: IntArray,
    severity: IntArray,
    severities: Severities,
    *,
    n_points: int,
    tilt: float = 0.0,
) -> FloatArray:
    """Loss law of independent defaults by fast Fourier transform.

    Parameters
    ----------
    probability : ndarray of shape (n_groups,)
        Probabilities of default.
    counts, severity, severities
        As for `add_laws`.
    n_points : int
        Lattice points that hold every possible loss.
    tilt : float
        The law is computed with its probabilities multiplied by ``exp(tilt * steps)`` and turned back. With
        the tilt at which a loss is the tilted mean, the probability of that loss has full relative precision.

    Returns
    -------
    ndarray of shape (n_points,)
        Probabilities. Without tilt their absolute error is below 1e-16 times the number of obligors and often
        near 1e-16; they may lie below 0 by as much.
    """
    length = 1 << max(int(n_points - 1).bit_length(), 1)
    product = np.ones(length // 2 + 1, dtype=np.complex128)
    log_scale = 0.0
    for law in np.unique(severity):
        first, stop = severities.starts[law], severities.starts[law + 1]
        steps = severities.offsets[law] + np.arange(stop - first)
        tilted = severities.weights[first:stop] * np.exp(tilt * steps)
        mass = float(tilted.sum())
        padded = np.zeros(length)
        padded[steps] = tilted / mass
        spectrum = np.fft.rfft(padded)
        for group in np.flatnonzero(severity == law):
            p, n = float(probability[group]), int(counts[group])
            scale = 1.0 - p + p * mass
            inside = p * mass / scale
            product *= ((1.0 - p) / scale + inside * spectrum) ** n
            log_scale += n * math.log(scale)
    turned = np.fft.irfft(product, length)[:n_points]
    return np.asarray(turned * np.exp(log_scale - tilt * np.arange(n_points)))


@compiled
def binomial(out, n, p, q):  # type: ignore[no-untyped-def]  # Numba infers the types
    """Fill the binomial law where it is not negligible, and return the ends."""
    if q <= 0.0:
        out[n] = 1.0
        return n, n
    mode = min(int((n + 1) * p), n)
    out[mode] = 1.0
    total = 1.0
    high = mode
    value = 1.0
    while high < n:
        value *= (n - high) * p / ((high + 1) * q)
        if value < FLOOR:
            break
        high += 1
        out[high] = value
        total += value
    low = mode
    value = 1.0
    while low > 0:
        value *= low * q / ((n - low + 1) * p)
        if value < FLOOR:
            break
        low -= 1
        out[low] = value
        total += value
    for k in range(low, high + 1):
        out[k] /= total
    return low, high


@compiled
def _add(totals, probability, complement, weights, counts, offsets, firsts, stops, masses):  # type: ignore[no-untyped-def]  # Numba infers the types
    n_nodes, n_groups = probability.shape
    size = totals.shape[1]
    law = np.zeros(size)
    other = np.zeros(size)
    chances = np.empty(max(counts.max(), 1) + 1 if n_groups else 1)
    for node in range(n_nodes):
        law[0] = 1.0
        low, high = 0, 0
        for group in range(n_groups):
            p = probability[node, group]
            q = complement[node, group]
            if p < FLOOR:
                continue
            n = counts[group]
            first = firsts[group]
            width = stops[group] - first
            if width == 1:
                step = offsets[group]
                if step == 0:
                    continue
                least, most = binomial(chances, n, p, q)
                new_low, new_high = low + least * step, high + most * step
                other[new_low : new_high + 1] = 0.0
                for j in range(least, most + 1):
                    mass = chances[j]
                    target = other[low + j * step : high + j * step + 1]
                    source = law[low : high + 1]
                    for k in range(source.shape[0]):
                        target[k] += mass * source[k]
                law, other = other, law
                low, high = new_low, new_high
            else:
                for _ in range(n):
                    new_high = high + offsets[group] + width - 1
                    other[low : new_high + 1] = 0.0
                    for k in range(low, high + 1):
                        other[k] = q * law[k]
                    for j in range(width):
                        mass = p * masses[first + j]
                        shift = offsets[group] + j
                        target = other[low + shift : high + shift + 1]
                        source = law[low : high + 1]
                        for k in range(source.shape[0]):
                            target[k] += mass * source[k]
                    law, other = other, law
                    high = new_high
                    while high > low and law[high] < FLOOR:
                        high -= 1
            while high > low and law[high] < FLOOR:
                high -= 1
            while low < high and law[low] < FLOOR:
                low += 1
        for row in range(totals.shape[0]):
            weight = weights[node, row]
            if weight > 0.0:
                for k in range(low, high + 1):
                    totals[row, k] += weight * law[k]
