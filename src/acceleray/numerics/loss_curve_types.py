"""What the compiled loops of the loss curve take: plain tuples of arrays, which Numba understands."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

__all__ = ["Groups", "Lines", "Obligors", "Tables"]

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
