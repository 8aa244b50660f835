"""Point-in-time alignment of dated observations to sessions."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from acceleray.errors import NumericalError

__all__ = ["as_of_align"]


def as_of_align(
    observed_on: npt.NDArray[np.datetime64],
    available_from: npt.NDArray[np.datetime64] | None,
    values: npt.NDArray[np.float64],
    sessions: npt.NDArray[np.datetime64],
) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.datetime64], npt.NDArray[np.int64]]:
    """Give each session the newest observation that was known at its close.

    Parameters
    ----------
    observed_on : ndarray of datetime64[D], shape (n_observations,)
        Date each value is stamped with, all different, in any order.
    available_from : ndarray of datetime64[D], shape (n_observations,), or None
        First day on which the value was known; NaT, or None for all, means on its own date.
    values : ndarray of shape (n_observations,)
        Finite levels in the factor's own unit.
    sessions : ndarray of datetime64[D], shape (n_sessions,)
        Days to align to, in any order.

    Returns
    -------
    values : ndarray of shape (n_sessions,)
        Level in use, NaN before the first known one.
    observed_on : ndarray of datetime64[D], shape (n_sessions,)
        Stamp of that level, NaT before the first known one.
    age_days : ndarray of int64, shape (n_sessions,)
        Calendar days from the stamp to the session, -1 before the first known one.

    Raises
    ------
    NumericalError
        If a value is not finite.
    ValueError
        If two observations carry the same date, or the shapes differ.

    Notes
    -----
    An observation is known on session s when its date is at most s and so is `available_from`. Among the
    known ones the newest stamp wins, even where an older stamp was published later.

    Examples
    --------
    A monthly average stamped on the 1st that was published a month later:

    >>> stamps = np.array(["2018-10-01", "2018-11-01"], dtype="datetime64[D]")
    >>> known = np.array(["2018-11-01", "2018-12-01"], dtype="datetime64[D]")
    >>> days = np.array(["2018-10-31", "2018-11-30", "2018-12-03"], dtype="datetime64[D]")
    >>> level, stamp, age = as_of_align(stamps, known, np.array([0.04, 0.05]), days)
    >>> level.tolist(), age.tolist()
    ([nan, 0.04, 0.05], [-1, 60, 32])
    """
    stamps = np.asarray(observed_on, dtype="datetime64[D]")
    levels = np.asarray(values, dtype=np.float64)
    days = np.asarray(sessions, dtype="datetime64[D]")
    published = stamps if available_from is None else np.asarray(available_from, dtype="datetime64[D]")
    if not stamps.shape == levels.shape == published.shape or stamps.ndim != 1 or days.ndim != 1:
        raise ValueError("observed_on, available_from and values must be vectors of the same length")
    if np.isnat(stamps).any() or np.isnat(days).any():
        raise ValueError("observed_on and sessions must not hold NaT")
    if np.unique(stamps).size != stamps.size:
        raise ValueError("observed_on must not repeat a date")
    if not np.isfinite(levels).all():
        where = stamps[~np.isfinite(levels)][0]
        raise NumericalError(f"as_of_align: the value observed on {where} was not finite")

    known = np.where(np.isnat(published), stamps, np.maximum(stamps, published))
    order = np.lexsort((stamps, known))
    # The newest stamp among all that are known by then, as a position in the input arrays.
    newest = np.maximum.accumulate(stamps[order].astype(np.int64)).astype("datetime64[D]")
    by_stamp = np.argsort(stamps)
    in_use = by_stamp[np.searchsorted(stamps[by_stamp], newest)]

    last = np.searchsorted(known[order], days, side="right") - 1
    before = last < 0
    pick = in_use[np.maximum(last, 0)] if stamps.size else np.zeros(days.size, dtype=np.int64)
    out_values = np.full(days.size, np.nan)
    out_stamps = np.full(days.size, np.datetime64("NaT"), dtype="datetime64[D]")
    out_values[~before] = levels[pick[~before]]
    out_stamps[~before] = stamps[pick[~before]]
    age = np.full(days.size, -1, dtype=np.int64)
    age[~before] = (days[~before] - out_stamps[~before]).astype(np.int64)
    return out_values, out_stamps, age
