"""Sums whose order is part of their definition."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

__all__ = ["TreeSum", "tree_sum"]


def tree_sum(values: npt.NDArray[np.float64], axis: int = 0) -> npt.NDArray[np.float64]:
    """Sum along an axis in a fixed binary tree: adjacent pairs first, an odd one out is carried up.

    Parameters
    ----------
    values : ndarray
        Any shape with at least one dimension.
    axis : int
        Axis to sum over; an empty one gives zeros.

    Returns
    -------
    ndarray
        Shape of `values` without `axis`.

    Notes
    -----
    The other axes are only ever added element by element, so cutting them into blocks changes no bit. Nor
    does summing consecutive shards of ``2**k`` members first (the last may be shorter), then the shard sums.

    Examples
    --------
    >>> tree_sum(np.array([[1.0, 2.0], [3.0, 4.0], [5.0, 6.0]])).tolist()
    [9.0, 12.0]
    """
    level = np.moveaxis(np.asarray(values, dtype=np.float64), axis, 0)
    if level.shape[0] == 0:
        return np.zeros(level.shape[1:])
    while level.shape[0] > 1:
        pairs = level.shape[0] // 2
        summed = level[0 : 2 * pairs : 2] + level[1 : 2 * pairs : 2]
        level = np.concatenate([summed, level[-1:]]) if level.shape[0] % 2 else summed
    return np.array(level[0])


class TreeSum:
    """Add arrays one at a time, in the tree of `tree_sum`, keeping only a few partial sums.

    Parameters
    ----------
    shape : tuple of int
        Of every array.

    Examples
    --------
    >>> total = TreeSum((1,))
    >>> for value in (1.0, 2.0, 3.0):
    ...     total.add(np.array([value]))
    >>> total.result()
    array([6.])
    """

    def __init__(self, shape: tuple[int, ...]) -> None:
        self._shape = shape
        # Sums of 2**k consecutive arrays with k falling along the list, as in a binary counter.
        self._partial: list[tuple[int, npt.NDArray[np.float64]]] = []

    def add(self, values: npt.NDArray[np.float64]) -> None:
        """Add the next array, which must not be changed afterwards."""
        height = 0
        while self._partial and self._partial[-1][0] == height:
            values = self._partial.pop()[1] + values
            height += 1
        self._partial.append((height, values))

    def result(self) -> npt.NDArray[np.float64]:
        """Sum of all arrays so far; zeros if there is none."""
        if not self._partial:
            return np.zeros(self._shape)
        total = self._partial[-1][1]
        for _, earlier in reversed(self._partial[:-1]):
            total = earlier + total
        return total
