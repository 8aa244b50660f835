"""Stand in for a slow price function on a box of factor levels, with an error measured on other points."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from acceleray.errors import NumericalError
from acceleray.numerics.chebyshev import Chebyshev, axis_nodes, coefficients_1d, fit, grid
from acceleray.numerics.streams import Purpose, stream

__all__ = [
    "N_CHECKED",
    "SAFETY",
    "PriceFunction",
    "Tabulated",
    "Value",
    "interpolant",
    "reported_error",
    "scattered",
    "tabulate",
]

FloatArray = npt.NDArray[np.float64]
BoolArray = npt.NDArray[np.bool_]
PriceFunction = Callable[[FloatArray], FloatArray]

# The error is the largest on so many independent points, times the margin: the largest of a sample is below
# the largest of the box, by less than this factor where the error is a smooth ripple between the nodes. With
# a margin of two, five thousand fresh points once found a difference 0.8 % above the report.
# An interpolant that has not converged has spikes, which a sample can miss: hence `shortfall`.
N_CHECKED = 2_000
SAFETY = 3.0

_N_CUTS = 4
_MAX_COUNT = 33
_MAX_PIECES = 8
_FIRST_COUNT = 9
_GROWTH = 0.2
# Dimensions whose tail is at least this share of the longest grow together with it.
_SLOW_SHARE = 0.5
# Shares of the tolerance: what interpolation may use before the margin, and what dropped coefficients may.
_INTERPOLATION_SHARE = 0.45
_DROP_SHARE = 0.3


@dataclass(frozen=True, slots=True, kw_only=True)
class Value:
    """Prices by a stand-in, and how many of them came from the price function itself.

    Parameters
    ----------
    prices : ndarray of shape (n_scenarios,)
    n_exact : int
        Scenarios outside the box, priced one by one.
    """

    prices: FloatArray
    n_exact: int


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Tabulated:
    """A price function's stand-in: arrays only, so that it can be pickled and shared.

    Parameters
    ----------
    interpolant : Chebyshev
        Over the box.
    max_error : float
        Reported bound of the error inside the box: `SAFETY` times the largest difference on `n_checked`
        independent points, in the units of the price.
    tolerance : float
        What was asked for.
    n_checked, n_nodes : int
        Prices used to measure and to build.
    shortfall : str or None
        Why the tolerance was not reached. Such a table should not be used: where an interpolant has not
        converged, `max_error` is only what the sample showed.
    """

    interpolant: Chebyshev
    max_error: float
    tolerance: float
    n_checked: int
    n_nodes: int
    shortfall: str | None

    @property
    def low(self) -> FloatArray:
        """Lower corner of the box, shape (n_factors,)."""
        return self.interpolant.low

    @property
    def high(self) -> FloatArray:
        """Upper corner of the box, shape (n_factors,)."""
        return self.interpolant.high

    def within(self, levels: FloatArray) -> BoolArray:
        """Tell which scenarios lie inside the box.

        Parameters
        ----------
        levels : ndarray of shape (n_factors, n_scenarios)
        """
        inside: BoolArray = np.all((levels >= self.low[:, None]) & (levels <= self.high[:, None]), axis=0)
        return inside

    def evaluate(self, levels: FloatArray) -> FloatArray:
        """Interpolate inside the box; the bits of one scenario do not depend on the others.

        Parameters
        ----------
        levels : ndarray of shape (n_factors, n_scenarios)

        Returns
        -------
        ndarray of shape (n_scenarios,)

        Raises
        ------
        NumericalError
            If a level is not finite or outside the box: nothing is extrapolated.
        """
        return self.interpolant.evaluate(levels)

    def value(self, levels: FloatArray, price: PriceFunction) -> Value:
        """Interpolate inside the box and call the price function outside it.

        Parameters
        ----------
        levels : ndarray of shape (n_factors, n_scenarios)
        price : callable
            What was tabulated.

        Raises
        ------
        NumericalError
            If a level or a price is not finite.
        """
        inside = self.within(levels)
        prices = np.empty(levels.shape[1])
        prices[inside] = self.evaluate(levels[:, inside])
        if not inside.all():
            prices[~inside] = _priced(price, levels[:, ~inside])
        return Value(prices=prices, n_exact=int((~inside).sum()))


def tabulate(
    price: PriceFunction,
    low: FloatArray,
    high: FloatArray,
    *,
    tolerance: float,
    max_nodes: int,
    seed: int,
    breaks: Sequence[Sequence[float]] | None = None,
) -> Tabulated:
    """Build a stand-in for a price function, refined until its error is below the tolerance.

    Parameters
    ----------
    price : callable
        Takes levels of shape (n_factors, n) and returns n prices. It should be deterministic.
    low, high : ndarray of shape (n_factors,)
        The box; equal ends hold a factor fixed.
    tolerance : float
        Largest error wanted, in the units of the price.
    max_nodes : int
        Prices that one interpolant may need.
    seed : int
        Of the points where the error is measured and where degrees are chosen.
    breaks : sequence of sequence of float, optional
        Per factor the levels where the price is known to have a kink, for example the strike near expiry.

    Returns
    -------
    Tabulated
        With ``shortfall`` saying so if `max_nodes` did not suffice.

    Raises
    ------
    NumericalError
        If a price is not finite or the box is not one.

    Examples
    --------
    >>> table = tabulate(
    ...     lambda levels: np.exp(levels[0]) * levels[1],
    ...     np.array([0.0, 1.0]),
    ...     np.array([1.0, 2.0]),
    ...     tolerance=1e-8,
    ...     max_nodes=1000,
    ...     seed=1,
    ... )
    >>> table.max_error < 1e-8, table.shortfall
    (True, None)
    """
    found, measured, spent = interpolant(
        price, low, high, tolerance=tolerance, max_nodes=max_nodes, seed=seed, breaks=breaks
    )
    error = reported_error(measured)
    shortfall = None
    if error > tolerance:
        shortfall = (
            f"tabulation could not reach {tolerance:.3g} with {max_nodes} nodes: error was {error:.3g} "
            f"with {found.n_nodes}"
        )
    return Tabulated(
        interpolant=found,
        max_error=error,
        tolerance=tolerance,
        n_checked=N_CHECKED,
        n_nodes=spent,
        shortfall=shortfall,
    )


def interpolant(
    price: PriceFunction,
    low: FloatArray,
    high: FloatArray,
    *,
    tolerance: float,
    max_nodes: int,
    seed: int,
    breaks: Sequence[Sequence[float]] | None = None,
    n_checked: int = N_CHECKED,
    drop: float | None = None,
) -> tuple[Chebyshev, FloatArray, int]:
    """Choose pieces and degrees until the error is below the tolerance or the nodes are used up.

    Parameters
    ----------
    n_checked : int
        Independent points.
    drop : float, optional
        As `fit` takes it; by default a share of the tolerance.

    Returns
    -------
    Chebyshev
        The best that was found.
    ndarray of shape (n_checked,)
        Its error on independent points.
    int
        Calls of the price to build it, over all attempts.
    """
    low, high = np.asarray(low, dtype=np.float64), np.asarray(high, dtype=np.float64)
    if low.shape != high.shape or low.ndim != 1 or not 1 <= low.size <= 4:
        raise NumericalError(
            f"tabulation: expected a box of 1 to 4 factors, was {low.shape} and {high.shape}"
        )
    if not (np.isfinite(low).all() and np.isfinite(high).all() and (low <= high).all()):
        raise NumericalError(f"tabulation: expected finite low <= high, was {low} and {high}")
    known = [()] * low.size if breaks is None else breaks
    goal = _INTERPOLATION_SHARE * tolerance
    points = scattered(low, high, n_checked, seed, 1)
    edges, counts, spent = _cuts(price, low, high, known, goal, seed)
    found, errors, used = _refined(
        price, edges, counts, points, goal, max_nodes, _DROP_SHARE * tolerance if drop is None else drop
    )
    return found, errors, spent + used


def _refined(
    price: PriceFunction,
    edges: Sequence[FloatArray],
    counts: Sequence[int],
    points: FloatArray,
    goal: float,
    max_nodes: int,
    drop: float,
) -> tuple[Chebyshev, FloatArray, int]:
    """Raise the numbers of nodes until the error on the points is small enough or the nodes are used up."""
    pieces, counts = [axis.size - 1 for axis in edges], list(counts)
    exact, spent = _priced(price, points), 0
    best: tuple[Chebyshev, FloatArray] | None = None
    while True:
        last = math.prod(pieces) * math.prod(counts) > max_nodes
        if last:
            if best is not None:
                return *best, spent
            counts = _shrunk(pieces, counts, max_nodes)
        found = fit(_priced(price, grid(edges, counts)), edges, counts, drop=drop)
        spent += found.n_nodes
        errors = np.abs(found.evaluate(points) - exact)
        if best is None or errors.max() < best[1].max():
            best = found, errors
        if last or errors.max() <= goal:
            return *best, spent
        # A dimension with one node is one in which the box has no width.
        tails = found.tails
        for dimension, count in enumerate(counts):
            if count > 1 and tails[dimension] >= _SLOW_SHARE * max(tails):
                counts[dimension] += max(1, int(count * _GROWTH))


def scattered(low: FloatArray, high: FloatArray, n_points: int, seed: int, block: int) -> FloatArray:
    """Draw points that are uniform in the box, shape (n_factors, n_points)."""
    uniform = stream(seed, Purpose.TABULATION, block).random((n_points, low.size))
    points: FloatArray = np.ascontiguousarray(low[:, None] + (high - low)[:, None] * uniform.T)
    return np.minimum(points, high[:, None])


def reported_error(measured: FloatArray) -> float:
    """Turn the errors on independent points into the reported one."""
    return SAFETY * float(measured.max())


def _priced(price: PriceFunction, levels: FloatArray) -> FloatArray:
    prices = np.asarray(price(levels), dtype=np.float64)
    if prices.shape != (levels.shape[1],):
        raise NumericalError(
            f"tabulation: expected {levels.shape[1]} prices, was an array of shape {prices.shape}"
        )
    if not np.isfinite(prices).all():
        where = levels[:, np.flatnonzero(~np.isfinite(prices))[0]]
        raise NumericalError(f"tabulation: the price was not finite at levels {where.tolist()}")
    return prices


def _cuts(
    price: PriceFunction,
    low: FloatArray,
    high: FloatArray,
    breaks: Sequence[Sequence[float]],
    goal: float,
    seed: int,
) -> tuple[list[FloatArray], list[int], int]:
    """Choose the pieces and nodes of each dimension from lines through the box, one dimension at a time."""
    lines = scattered(low, high, _N_CUTS, seed, 0)
    lines[:, 0] = 0.5 * (low + high)
    edges, counts, spent = [], [], 0
    for dimension in range(low.size):
        inner = [float(at) for at in breaks[dimension] if low[dimension] < at < high[dimension]]
        axis = np.array([low[dimension], *sorted(set(inner)), high[dimension]])
        if low[dimension] == high[dimension]:
            edges.append(axis)
            counts.append(1)
            continue
        while True:
            needed, used = _needed(price, axis, lines, dimension, goal)
            spent += used
            hard = needed > _MAX_COUNT
            if not hard.any() or axis.size + int(hard.sum()) > _MAX_PIECES + 1:
                break
            halves = 0.5 * (axis[1:] + axis[:-1])[hard]
            axis = np.sort(np.concatenate([axis, halves]))
        edges.append(axis)
        counts.append(int(min(needed.max(), _MAX_COUNT)))
    return edges, counts, spent


def _needed(
    price: PriceFunction, axis: FloatArray, lines: FloatArray, dimension: int, goal: float
) -> tuple[npt.NDArray[np.int64], int]:
    """Count the nodes that each piece of one dimension needs on the worst line."""
    count, n_pieces, spent = _FIRST_COUNT, axis.size - 1, 0
    while True:
        nodes = axis_nodes(axis, count)
        points = np.repeat(lines, nodes.size, axis=1)
        points[dimension] = np.tile(nodes, lines.shape[1])
        values = _priced(price, points).reshape(lines.shape[1], n_pieces, count)
        spent += values.size
        size = np.abs(coefficients_1d(values))
        # What is left out after each number of nodes; the last two only show whether the rest is small.
        after = np.cumsum(size[..., ::-1], axis=-1)[..., ::-1]
        needed = (after > goal / lines.shape[0]).sum(axis=-1).max(axis=0)
        if needed.max() <= count - 2 or count > _MAX_COUNT:
            return np.maximum(needed, 2), spent
        count = 2 * count - 1 if count < _MAX_COUNT else _MAX_COUNT + 3


def _shrunk(pieces: Sequence[int], counts: Sequence[int], max_nodes: int) -> list[int]:
    """Lower the largest counts until the nodes suffice: the best that can be had.

    Raises
    ------
    NumericalError
        If two nodes per piece are too many.
    """
    counts = list(counts)
    while math.prod(pieces) * math.prod(counts) > max_nodes:
        largest = int(np.argmax(counts))
        if counts[largest] <= 2:
            raise NumericalError(
                f"tabulation: {math.prod(pieces)} cells were needed, which leaves less than two nodes per "
                f"dimension out of {max_nodes}",
                hint="Allow more nodes or a larger error, or make the box smaller.",
            )
        counts[largest] -= 1
    return counts
