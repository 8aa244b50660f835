"""Piecewise Chebyshev interpolation on a box: coefficients by cosine transform, evaluation over scenarios.

Each axis of the box is cut into pieces at given edges; on every cell the function is a tensor product of
Chebyshev polynomials through the function's values at the roots. Small coefficients are left out: their sum
bounds what that changes, and evaluation costs one multiplication per coefficient that is kept.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import scipy

from acceleray.errors import NumericalError
from acceleray.numerics.compilation import compiled_checked

__all__ = ["Chebyshev", "axis_nodes", "coefficients_1d", "evaluate_one", "fit", "grid"]

FloatArray = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Chebyshev:
    """An interpolant as arrays; `fit` makes it.

    Parameters
    ----------
    axes : ndarray of int64, shape (n_dims,)
        Row of the points that each stored dimension reads; the dimension with most nodes comes last.
    edges : ndarray of shape (sum of pieces + 1,)
        Ends of the pieces of all stored dimensions one after another.
    edge_offsets : ndarray of int64, shape (n_dims + 1,)
        Where each dimension's edges begin.
    piece_rows : ndarray of int64, shape (n_cells + 1,)
        Where each cell's rows begin; cells count up with the last stored dimension fastest.
    degrees : ndarray of int64, shape (n_rows, n_dims - 1)
        Degree in every stored dimension but the last.
    row_offsets : ndarray of int64, shape (n_rows + 1,)
        Where each row's coefficients begin; within a row they go up in the degree of the last dimension.
    coefficients : ndarray of shape (n_coefficients,)
        Those that were kept.
    n_nodes : int
        Values that the interpolant was made from.
    dropped : float
        Largest sum, over one cell, of the sizes of the coefficients left out.
    tails : tuple of float
        Per dimension of the points, the sum over the cell where it is largest of the coefficients of the two
        highest degrees: how far that dimension is from converged.
    """

    axes: IntArray
    edges: FloatArray
    edge_offsets: IntArray
    piece_rows: IntArray
    degrees: IntArray
    row_offsets: IntArray
    coefficients: FloatArray
    n_nodes: int
    dropped: float
    tails: tuple[float, ...]

    @property
    def low(self) -> FloatArray:
        """Lower corner of the box, shape (n_dims,)."""
        corner = np.empty(self.axes.size)
        corner[self.axes] = self.edges[self.edge_offsets[:-1]]
        return corner

    @property
    def high(self) -> FloatArray:
        """Upper corner of the box, shape (n_dims,)."""
        corner = np.empty(self.axes.size)
        corner[self.axes] = self.edges[self.edge_offsets[1:] - 1]
        return corner

    @property
    def max_count(self) -> int:
        """Upper bound of the nodes of one dimension on one cell."""
        in_rows = int(self.degrees.max(initial=0)) + 1
        return max(in_rows, int(np.diff(self.row_offsets).max(initial=1)))

    def evaluate(self, points: FloatArray) -> FloatArray:
        """Interpolate at every point; the bits of one do not depend on the others.

        Parameters
        ----------
        points : ndarray of shape (n_dims, n_points)
            Inside the box.

        Returns
        -------
        ndarray of shape (n_points,)

        Raises
        ------
        NumericalError
            If a coordinate is not finite or outside the box.
        """
        if not np.isfinite(points).all():
            raise NumericalError("Chebyshev interpolant: a coordinate was not finite")
        outside = (points < self.low[:, None]) | (points > self.high[:, None])
        if outside.any():
            dimension, point = np.argwhere(outside)[0]
            raise NumericalError(
                f"Chebyshev interpolant: {int(outside.any(axis=0).sum())} of {points.shape[1]} points were "
                f"outside the box, first point {point} with {points[dimension, point]} in dimension "
                f"{dimension}, expected {self.low[dimension]} to {self.high[dimension]}"
            )
        values: FloatArray = _evaluate_all(np.ascontiguousarray(points), self.arrays(), self.max_count)
        return values

    def arrays(self) -> tuple[IntArray, FloatArray, IntArray, IntArray, IntArray, IntArray, FloatArray]:
        """Return what `evaluate_one` takes, in its order."""
        return (
            self.axes,
            self.edges,
            self.edge_offsets,
            self.piece_rows,
            self.degrees,
            self.row_offsets,
            self.coefficients,
        )


def axis_nodes(edges: FloatArray, count: int) -> FloatArray:
    """Place Chebyshev roots in every piece of one axis.

    Parameters
    ----------
    edges : ndarray of shape (n_pieces + 1,)
        Increasing; one piece of no width, which takes one node, holds a constant coordinate.
    count : int
        Nodes per piece.

    Returns
    -------
    ndarray of shape (n_pieces * count,)

    Examples
    --------
    >>> axis_nodes(np.array([0.0, 2.0]), 2).round(4).tolist()
    [1.7071, 0.2929]
    """
    roots = np.cos(np.pi * (np.arange(count) + 0.5) / count)
    centre, half = 0.5 * (edges[1:] + edges[:-1]), 0.5 * (edges[1:] - edges[:-1])
    nodes: FloatArray = (centre[:, None] + half[:, None] * roots).ravel()
    return nodes


def grid(edges: Sequence[FloatArray], counts: Sequence[int]) -> FloatArray:
    """Return the nodes of all cells, shape (n_dims, n_nodes), in the order that `fit` takes values in."""
    axes = [axis_nodes(axis, count) for axis, count in zip(edges, counts, strict=True)]
    return np.stack([axis.ravel() for axis in np.meshgrid(*axes, indexing="ij")])


def coefficients_1d(values: FloatArray) -> FloatArray:
    """Turn values at the roots, along the last axis, into Chebyshev coefficients by cosine transform."""
    count = values.shape[-1]
    coefficients: FloatArray = scipy.fft.dct(values, type=2, axis=-1) / count
    coefficients[..., 0] *= 0.5
    return coefficients


def fit(
    values: FloatArray, edges: Sequence[FloatArray], counts: Sequence[int], *, drop: float = 0.0
) -> Chebyshev:
    """Make the interpolant through the values at the nodes of `grid`.

    Parameters
    ----------
    values : ndarray of shape (n_nodes,)
    edges : sequence of ndarray
        Per dimension the ends of its pieces.
    counts : sequence of int
        Per dimension the nodes per piece.
    drop : float
        The smallest coefficients of a cell are left out while their sizes sum to no more than this.

    Raises
    ------
    NumericalError
        If a value is not finite.
    """
    if not np.isfinite(values).all():
        raise NumericalError("Chebyshev fit: a value was not finite")
    n_dims = len(counts)
    n_pieces = [axis.size - 1 for axis in edges]
    split = [size for pair in zip(n_pieces, counts, strict=True) for size in pair]
    cells = values.reshape(split)
    order = sorted(range(n_dims), key=lambda d: counts[d])
    cells = cells.transpose([2 * d for d in order] + [2 * d + 1 for d in order])
    for axis in range(n_dims, 2 * n_dims):
        cells = np.moveaxis(coefficients_1d(np.moveaxis(cells, axis, -1)), -1, axis)
    n_cells = int(np.prod(n_pieces))
    cells = np.ascontiguousarray(cells).reshape(n_cells, *(counts[d] for d in order))
    tails = [0.0] * n_dims
    for axis, dimension in enumerate(order):
        if counts[dimension] > 1:
            last = np.abs(np.moveaxis(cells, axis + 1, -1)[..., -2:]).reshape(n_cells, -1)
            tails[dimension] = float(last.sum(axis=1).max())

    degrees, lengths, kept, piece_rows, dropped = [], [], [], [0], 0.0
    for cell in cells:
        keep, lost = _largest(cell, drop)
        dropped = max(dropped, lost)
        rows = np.argwhere(keep.any(axis=-1))
        for row in rows:
            length = int(np.flatnonzero(keep[tuple(row)])[-1]) + 1
            degrees.append(row)
            lengths.append(length)
            kept.append(cell[tuple(row)][:length])
        piece_rows.append(piece_rows[-1] + len(rows))
    ordered = [np.asarray(edges[d], dtype=np.float64) for d in order]
    return Chebyshev(
        axes=np.array(order, dtype=np.int64),
        edges=np.concatenate(ordered),
        edge_offsets=np.cumsum([0, *(axis.size for axis in ordered)]).astype(np.int64),
        piece_rows=np.array(piece_rows, dtype=np.int64),
        degrees=np.array(degrees, dtype=np.int64).reshape(len(degrees), n_dims - 1),
        row_offsets=np.cumsum([0, *lengths]).astype(np.int64),
        coefficients=np.concatenate([np.empty(0), *kept]),
        n_nodes=values.size,
        dropped=dropped,
        tails=tuple(tails),
    )


def _largest(cell: FloatArray, drop: float) -> tuple[npt.NDArray[np.bool_], float]:
    """Mark the coefficients to keep, and sum the sizes of the others."""
    size = np.abs(cell)
    order = np.argsort(size, axis=None, kind="stable")
    total = np.cumsum(size.ravel()[order])
    n_lost = int(np.searchsorted(total, drop, side="right"))
    keep = np.ones(cell.size, dtype=np.bool_)
    keep[order[:n_lost]] = False
    return keep.reshape(cell.shape), float(total[n_lost - 1]) if n_lost else 0.0


@compiled_checked
def evaluate_one(point, arrays, basis, sums):  # type: ignore[no-untyped-def] # compiled, called by kernels
    """Interpolate at one point inside the box.

    Parameters
    ----------
    point : ndarray of shape (n_dims,)
    arrays : tuple
        `Chebyshev.arrays` of the interpolant.
    basis : ndarray of shape (n_dims, max_count)
        Working space.
    sums : ndarray of shape (max_count,)
        Working space.
    """
    axes, edges, edge_offsets, piece_rows, degrees, row_offsets, coefficients = arrays
    n_dims = axes.size
    cell = 0
    for d in range(n_dims):
        value = point[axes[d]]
        last = edge_offsets[d + 1] - 2
        j = edge_offsets[d]
        while j < last and value >= edges[j + 1]:
            j += 1
        cell = cell * (last + 1 - edge_offsets[d]) + j - edge_offsets[d]
        width = edges[j + 1] - edges[j]
        x = 0.0 if width == 0.0 else ((value - edges[j]) + (value - edges[j + 1])) / width
        basis[d, 0] = 1.0
        basis[d, 1] = x
        for k in range(2, basis.shape[1]):
            basis[d, k] = 2.0 * x * basis[d, k - 1] - basis[d, k - 2]
    sums[:] = 0.0
    longest = 0
    for row in range(piece_rows[cell], piece_rows[cell + 1]):
        weight = 1.0
        for d in range(n_dims - 1):
            weight *= basis[d, degrees[row, d]]
        begin = row_offsets[row]
        length = row_offsets[row + 1] - begin
        longest = max(longest, length)
        for k in range(length):
            sums[k] += weight * coefficients[begin + k]
    total = 0.0
    for k in range(longest):
        total += sums[k] * basis[n_dims - 1, k]
    return total


@compiled_checked
def _evaluate_all(points, arrays, max_count):  # type: ignore[no-untyped-def] # compiled, no annotations
    size = max(max_count, 2)
    basis, sums = np.empty((points.shape[0], size)), np.empty(size)
    values = np.empty(points.shape[1])
    for i in range(points.shape[1]):
        values[i] = evaluate_one(points[:, i], arrays, basis, sums)
    return values
