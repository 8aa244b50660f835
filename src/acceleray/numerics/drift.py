"""Has a feature drifted: the population stability index against a reference sample."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from acceleray.errors import NumericalError

__all__ = ["StabilityIndex", "population_stability_index"]

FloatArray = npt.NDArray[np.float64]

# Added to each bin's count, so that a bin that is empty on one side gives a large index, not an infinite one.
_SMOOTHING = 0.5


@dataclass(frozen=True, slots=True, kw_only=True)
class StabilityIndex:
    """How far a sample lies from a reference sample.

    Parameters
    ----------
    value : float or None
        Zero for equal shares; None if either sample is empty.
    n_bins : int
        Bins in use, the one for missing values included.
    note : str
        What a reader should know about the bins; empty if there is nothing.
    """

    value: float | None
    n_bins: int
    note: str


def population_stability_index(
    reference: npt.ArrayLike, current: npt.ArrayLike, *, n_bins: int = 10
) -> StabilityIndex:
    """Compare the distribution of a sample with that of a reference.

    Parameters
    ----------
    reference, current : array_like of shape (n,)
        Values; NaN is a missing value and has a bin of its own.
    n_bins : int
        Bins of equal share in the reference, fixed by it alone, at least 2.

    Returns
    -------
    StabilityIndex

    Raises
    ------
    NumericalError
        If a value is infinite.
    ValueError
        If `n_bins` is too small or a sample has not one axis.

    Notes
    -----
    ``sum (c - r) ln(c / r)`` over the bins, with shares ``(count + 0.5) / (n + 0.5 bins)``. Bins are
    ``(edge, next edge]`` at the order statistics of the reference that split it evenly, open at both ends;
    edges that tie are merged, so that a value that is very frequent has a wide bin. A constant reference has
    the bins below, equal and above. Only counts enter, so the order of the values does not show in the bits.

    Examples
    --------
    >>> population_stability_index(np.arange(100.0), np.arange(100.0)).value
    0.0
    """
    if n_bins < 2:
        raise ValueError(f"n_bins must be at least 2, was {n_bins}")
    one, other = _checked(reference, "reference"), _checked(current, "current")
    empty = [name for name, sample in (("reference", one), ("current", other)) if sample.size == 0]
    if empty:
        return StabilityIndex(value=None, n_bins=0, note=f"the {' and the '.join(empty)} sample is empty")
    known = np.sort(one[~np.isnan(one)])
    if known.size == 0:
        # Nothing fixes an edge: missing against present is all that can be compared.
        edges, note = np.empty(0), "every reference value is missing"
    elif known[0] == known[-1]:
        edges, note = np.array([np.nextafter(known[0], -np.inf), known[0]]), "the reference is constant"
    else:
        ranks = np.ceil(known.size * np.arange(1, n_bins) / n_bins).astype(np.int64) - 1
        edges = np.unique(known[ranks])
        # Nothing in the reference lies beyond its largest value, so that is no edge.
        edges = edges[edges < known[-1]]
        if edges.size == 0:
            edges = known[known < known[-1]][-1:]
        note = "" if edges.size == n_bins - 1 else f"ties leave {edges.size + 1} of {n_bins} bins"
    reference_counts, current_counts = _counts(one, edges), _counts(other, edges)
    # A bin that neither sample uses says nothing, and smoothing it would look like drift in a small sample.
    used = reference_counts + current_counts > 0
    r, c = _shares(reference_counts[used]), _shares(current_counts[used])
    return StabilityIndex(value=float(((c - r) * np.log(c / r)).sum()), n_bins=r.size, note=note)


def _checked(values: npt.ArrayLike, name: str) -> FloatArray:
    array = np.asarray(values, dtype=np.float64)
    if array.ndim != 1:
        raise ValueError(f"the {name} sample must have one axis, had shape {array.shape}")
    if np.isinf(array).any():
        raise NumericalError(f"the {name} sample has {int(np.isinf(array).sum())} infinite values")
    return array


def _counts(values: FloatArray, edges: FloatArray) -> npt.NDArray[np.int64]:
    """Count values per bin; the last bin is for missing ones."""
    missing = np.isnan(values)
    bins = np.searchsorted(edges, values[~missing], side="left")
    counts = np.bincount(bins, minlength=edges.size + 1)
    return np.append(counts, missing.sum()).astype(np.int64)


def _shares(counts: npt.NDArray[np.int64]) -> FloatArray:
    total = float(counts.sum()) + _SMOOTHING * counts.size
    return (counts.astype(np.float64) + _SMOOTHING) / total
