"""What each obligor adds to the tail of an exact loss law: conditional on the factors, on the lattice.

Given the factors, the law of all obligors before one is known from the recursion that adds them up, and what
the others after it make of a loss from the same recursion run backwards on the indicator of the tail. Their
product with the obligor's own law gives ``E[X_k; L > x]`` and ``E[X_k; L = x]``. Nothing is subtracted or
divided, so that a contribution has as many digits as the tail.

The compiled loop takes `binomial` of `conditional_law` into itself, and Numba's cache looks at this file
alone: whoever changes that must touch this file too.
"""

from __future__ import annotations

from typing import TypeAlias

import numpy as np
import numpy.typing as npt
from scipy.special import ndtr

from acceleray.numerics.compilation import compiled
from acceleray.numerics.conditional_law import FLOOR, binomial
from acceleray.numerics.credit_exact import LossLaw, coarse_axes, conditional_distances
from acceleray.numerics.credit_model import LossModel
from acceleray.numerics.discrete_tail import exceedances, lattice_var
from acceleray.numerics.factor_quadrature import tensor_nodes
from acceleray.numerics.loss_lattice import LatticeBook, Rounding, Severities, lattice_book

__all__ = ["exact_contributions"]

FloatArray: TypeAlias = npt.NDArray[np.float64]
IntArray: TypeAlias = npt.NDArray[np.int64]

# Nodes whose weight times the probability of the tail is below it do not matter to any contribution.
_NEGLIGIBLE = 1e-16
# Numbers held at a time for probabilities of default.
_HELD = 1 << 21


def exact_contributions(
    model: LossModel, law: LossLaw, levels: tuple[float, ...]
) -> tuple[FloatArray, FloatArray]:
    """Split the value at risk and the expected shortfall of an exact law among the obligors.

    Parameters
    ----------
    model : LossModel
        The book.
    law : LossLaw
        From `exact_law`, of the same model.
    levels : tuple of float
        Confidence levels as fractions.

    Returns
    -------
    value_at_risk : ndarray of shape (n_levels, n_obligors)
        ``E[X_k | L = VaR]`` in currency, which add up to the VaR.
    shortfall : ndarray of shape (n_levels, n_obligors)
        Average loss of each in the worst ``1 - level`` share of the years, where the VaR itself counts with
        the part of its probability that lies there; they add up to the expected shortfall.

    Notes
    -----
    The rule over the factors has twice the step that the law begins with, as wide as the conditional law of
    the loss: its error is of the order of ``exp(-2 pi^2)``.
    """
    book = lattice_book(model, unit=law.unit)
    beyond = exceedances(law.central)
    quantiles = np.array([lattice_var(beyond, 1.0 - level) for level in levels], dtype=np.int64)
    sums = np.zeros((book.counts.size, 2 * quantiles.size))
    fixed = None if book.correlated else book.severities(Rounding.SPLIT, np.zeros(book.residual.size))
    spectra = _Spectra(book)
    axes = coarse_axes(book, model.dof)
    for nodes in tensor_nodes(axes, block=max(_HELD // max(book.counts.size, 1), 1)):
        distance, scores = conditional_distances(book, model.dof, nodes)
        for first, stop in [(0, distance.shape[0])] if fixed else zip(*_each(distance), strict=True):
            severities = fixed or book.severities(Rounding.SPLIT, scores[first])
            if law.method == "transform":
                weights = nodes.weights[first:stop, 0]
                spectra.add(ndtr(distance[first:stop]), weights, severities)
                continue
            _add(
                sums,
                ndtr(distance[first:stop]),
                ndtr(-distance[first:stop]),
                np.ascontiguousarray(nodes.weights[first:stop, 0]),
                book.counts,
                *_laws(severities, book.severity),
                quantiles,
            )
    if law.method == "transform":
        sums = spectra.tails(quantiles)
    # By obligor; those that can lose nothing belong to no group.
    each = np.append(sums / np.maximum(book.counts, 1)[:, None], np.zeros((1, sums.shape[1])), axis=0)
    lost = np.ascontiguousarray(each[book.group_of].T) * law.unit
    at_risk, shortfall = np.zeros((2, quantiles.size, model.n_obligors))
    for number, (level, quantile) in enumerate(zip(levels, quantiles.tolist(), strict=True)):
        above, at = lost[2 * number], lost[2 * number + 1]
        total = float(at.sum())
        if total > 0.0:
            at_risk[number] = at * (law.unit * quantile / total)
        tail = 1.0 - level
        part = tail - float(beyond[1 + quantile])
        shortfall[number] = above / tail + at_risk[number] * (part / tail)
    return at_risk, shortfall


class _Spectra:
    """Fourier transforms of ``E[X_g; L = x]``, for laws of losses too wide for the recursion.

    Its absolute error is near 1e-16 of the largest loss, below any digit of a share of the tail.
    """

    def __init__(self, book: LatticeBook) -> None:
        self._book = book
        self._length = 1 << max(int(book.n_points - 1).bit_length(), 1)
        self._sums: npt.NDArray[np.complex128] | None = None

    def add(self, probability: FloatArray, weights: FloatArray, severities: Severities) -> None:
        """Add nodes that share the laws of the losses."""
        book, n_groups = self._book, self._book.counts.size
        if self._sums is None:
            self._sums = np.zeros((n_groups, self._length // 2 + 1), dtype=np.complex128)
        losses = np.zeros((2, book.positions.size, self._length))
        for number, first in enumerate(severities.starts[:-1]):
            masses = severities.weights[first : severities.starts[number + 1]]
            steps = severities.offsets[number] + np.arange(masses.size)
            losses[0, number, steps] = masses
            losses[1, number, steps] = masses * steps
        own, biased = np.fft.rfft(losses)
        own, biased = own[book.severity], biased[book.severity]
        for chances, weight in zip(probability, weights, strict=True):
            p = chances[:, None]
            factors = 1.0 - p + p * own
            before = np.ones(factors.shape[1], dtype=np.complex128)
            # Everybody but one obligor of a group: those before it, those like it and those after it.
            others = np.empty_like(factors)
            for group, count in enumerate(book.counts.tolist()):
                like = factors[group] ** (count - 1)
                others[group] = before * like
                before = before * like * factors[group]
            after = np.ones(factors.shape[1], dtype=np.complex128)
            for group in range(n_groups - 1, -1, -1):
                self._sums[group] += (
                    weight * book.counts[group] * chances[group] * others[group] * after * biased[group]
                )
                after = after * factors[group] ** int(book.counts[group])

    def tails(self, quantiles: IntArray) -> FloatArray:
        """Return E[X_g; L > x] and E[X_g; L = x] in steps, side by side for each quantile."""
        found = np.zeros((self._book.counts.size, 2 * quantiles.size))
        if self._sums is None:
            return found
        for group, spectrum in enumerate(self._sums):
            law = np.maximum(np.fft.irfft(spectrum, self._length), 0.0)
            for number, quantile in enumerate(quantiles.tolist()):
                found[group, 2 * number] = law[quantile + 1 :][::-1].sum()
                found[group, 2 * number + 1] = law[quantile]
        return found


def _each(distance: FloatArray) -> tuple[range, range]:
    """First and last row of every node by itself."""
    n = distance.shape[0]
    return range(n), range(1, n + 1)


def _laws(severities: Severities, severity: IntArray) -> tuple[IntArray, IntArray, IntArray, FloatArray]:
    return (
        severities.offsets[severity],
        severities.starts[:-1][severity],
        severities.starts[1:][severity],
        severities.weights,
    )


@compiled
def _fill_atoms(atoms, law, n, p, q, offset, first, width, masses):  # type: ignore[no-untyped-def]  # Numba infers them
    """Fill the probabilities of what is added at once; return first step, distance of steps, their number."""
    if width == 1:
        least, most = binomial(law, n, p, q)
        for m in range(least, most + 1):
            atoms[m - least] = law[m]
        return least * offset, offset, most - least + 1
    for j in range(offset + width):
        atoms[j] = 0.0
    atoms[0] = q
    for j in range(width):
        atoms[offset + j] += p * masses[first + j]
    return 0, 1, offset + width


@compiled
def _add(sums, probability, complement, weights, counts, offsets, firsts, stops, masses, quantiles):  # type: ignore[no-untyped-def]  # Numba infers the types
    """Add E[X_g; L > x] and E[X_g; L = x], in steps and for whole groups, to sums[g, 2 * x] and the next."""
    n_nodes, n_groups = probability.shape
    if n_groups == 0:
        return
    n_tails = sums.shape[1]
    size = quantiles.max() + 1
    least_quantile = quantiles.min()
    widest = counts.max() + 1
    n_most = 0
    for group in range(n_groups):
        width = stops[group] - firsts[group]
        n_most += 1 if width == 1 else counts[group]
        widest = max(widest, offsets[group] + width)
    atoms = np.empty(widest)
    chances = np.empty(widest)
    law = np.zeros(size)
    other = np.zeros(size)
    kept = np.empty(max(4 * size, 1024))
    owner = np.empty(n_most, np.int64)
    starts = np.empty(n_most + 1, np.int64)
    lows = np.empty(n_most, np.int64)
    overs = np.empty(n_most)
    after = np.empty((n_tails, size))
    plain = np.empty(size)
    biased = np.empty(size)
    for node in range(n_nodes):
        law[0] = 1.0
        low, high = 0, 0
        over = 0.0
        n_units = 0
        used = 0
        for group in range(n_groups):
            p = probability[node, group]
            width = stops[group] - firsts[group]
            if p < FLOOR or (width == 1 and offsets[group] == 0):
                continue
            origin, step, n_atoms = _fill_atoms(
                atoms,
                chances,
                counts[group],
                p,
                complement[node, group],
                offsets[group],
                firsts[group],
                width,
                masses,
            )
            for _ in range(1 if width == 1 else counts[group]):
                count = max(high - low + 1, 0)
                if used + count > kept.shape[0]:
                    grown = np.empty(2 * (used + count))
                    for k in range(used):
                        grown[k] = kept[k]
                    kept = grown
                for k in range(count):
                    kept[used + k] = law[low + k]
                owner[n_units] = group
                starts[n_units] = used
                lows[n_units] = low
                overs[n_units] = over
                used += count
                n_units += 1
                last = min(high + origin + (n_atoms - 1) * step, size - 1)
                for k in range(low, last + 1):
                    other[k] = 0.0
                for j in range(n_atoms):
                    mass = atoms[j]
                    shift = origin + j * step
                    if mass == 0.0:
                        continue
                    inside = max(min(count, size - shift - low), 0)
                    if inside > 0:
                        source = law[low : low + inside]
                        target = other[low + shift : low + shift + inside]
                        for k in range(inside):
                            target[k] += mass * source[k]
                    for k in range(low + inside, low + count):
                        over += mass * law[k]
                law, other = other, law
                high = last
                while high >= low and law[high] < FLOOR:
                    high -= 1
                while low <= high and law[low] < FLOOR:
                    low += 1
        starts[n_units] = used
        tail = over
        for k in range(max(low, least_quantile), high + 1):
            tail += law[k]
        if tail * weights[node] < _NEGLIGIBLE:
            continue
        for number in range(n_tails):
            quantile = quantiles[number // 2]
            for k in range(size):
                beyond = k > quantile if number % 2 == 0 else k == quantile
                after[number, k] = 1.0 if beyond else 0.0
        previous = -1
        origin, step, n_atoms = 0, 1, 0
        for unit in range(n_units - 1, -1, -1):
            group = owner[unit]
            if group != previous:
                origin, step, n_atoms = _fill_atoms(
                    atoms,
                    chances,
                    counts[group],
                    probability[node, group],
                    complement[node, group],
                    offsets[group],
                    firsts[group],
                    stops[group] - firsts[group],
                    masses,
                )
                previous = group
            low = lows[unit]
            count = starts[unit + 1] - starts[unit]
            before = kept[starts[unit] : starts[unit + 1]]
            for number in range(n_tails):
                top = 1.0 if number % 2 == 0 else 0.0
                mean = 0.0
                for k in range(count):
                    plain[k] = 0.0
                    biased[k] = 0.0
                for j in range(n_atoms):
                    mass = atoms[j]
                    if mass == 0.0:
                        continue
                    shift = origin + j * step
                    moved = mass * shift
                    mean += moved
                    inside = max(min(count, size - shift - low), 0)
                    if inside > 0:
                        source = after[number, low + shift : low + shift + inside]
                        for k in range(inside):
                            plain[k] += mass * source[k]
                            biased[k] += moved * source[k]
                    if top > 0.0:
                        for k in range(inside, count):
                            plain[k] += mass
                            biased[k] += moved
                total = overs[unit] * mean * top
                for k in range(count):
                    total += before[k] * biased[k]
                    after[number, low + k] = plain[k]
                sums[group, number] += weights[node] * total
