"""Tail measures over every window of a sequence of losses."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from acceleray.numerics.intervals import one_sample
from acceleray.numerics.order_statistics import expected_shortfall

__all__ = ["rolling_expected_shortfall"]

FloatArray = npt.NDArray[np.float64]

# Windows measured at a time: their losses are copied.
_BATCH = 1024


def rolling_expected_shortfall(losses: npt.ArrayLike, *, level: float, window: int) -> FloatArray:
    """Measure the expected shortfall of every window of consecutive losses.

    Parameters
    ----------
    losses : array_like of shape (n,)
        In order of time, positive is a loss.
    level : float
        Confidence level as a fraction.
    window : int
        Losses per window, 1 to n.

    Returns
    -------
    ndarray of shape (n - window + 1,)
        Entry i is that of ``losses[i : i + window]``, to the bit.

    Raises
    ------
    NumericalError
        If any loss is not finite.
    ValueError
        If there is no window of that length.

    Examples
    --------
    >>> rolling_expected_shortfall([1.0, 4.0, 2.0, 0.0], level=0.5, window=2)
    array([4., 4., 2.])
    """
    array = one_sample(losses)
    if not 1 <= window <= array.size:
        raise ValueError(f"window must lie between 1 and {array.size}, was {window}")
    windows = np.lib.stride_tricks.sliding_window_view(array, window)
    parts = [
        expected_shortfall(windows[first : first + _BATCH], level=level)
        for first in range(0, len(windows), _BATCH)
    ]
    return np.concatenate(parts)
