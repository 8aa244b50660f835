"""The event that the early-warning model predicts: a loss ahead that is large by past standards.

The label of a day is known `horizon_days` sessions later. Its threshold is known on the day itself: it comes
from windows that had ended by then.
"""

from __future__ import annotations

import math
from bisect import bisect_left, insort
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from acceleray.errors import NumericalError
from acceleray.numerics.order_statistics import order_rank

__all__ = [
    "LabelRule",
    "adverse_move",
    "early_warning_labels",
    "exceeds",
    "trailing_threshold",
]

FloatArray = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True, kw_only=True)
class LabelRule:
    """When a loss ahead counts as an event.

    Parameters
    ----------
    horizon_days : int
        Sessions ahead whose worst close counts.
    quantile : float
        Which quantile of the past adverse moves is the threshold.
    window_days, min_days : int
        Past moves that count at most, and at least.
    """

    horizon_days: int
    quantile: float
    window_days: int
    min_days: int

    def __post_init__(self) -> None:
        if not 1 <= self.min_days <= self.window_days:
            raise ValueError(
                f"min_days {self.min_days} must lie between 1 and window_days {self.window_days}"
            )


def early_warning_labels(log_values: FloatArray, rule: LabelRule) -> dict[str, FloatArray]:
    """Adverse moves, thresholds and labels of one series for both directions, by column of ``feature.panel``.

    Parameters
    ----------
    log_values : ndarray of shape (n_sessions,)
        Log levels.
    rule : LabelRule
        Horizon and threshold.
    """
    adverse_long, adverse_short = adverse_move(log_values, horizon_days=rule.horizon_days)
    threshold_long = trailing_threshold(adverse_long, rule)
    threshold_short = trailing_threshold(adverse_short, rule)
    return {
        "adverse_long": adverse_long,
        "adverse_short": adverse_short,
        "threshold_long": threshold_long,
        "threshold_short": threshold_short,
        "label_long": exceeds(adverse_long, threshold_long),
        "label_short": exceeds(adverse_short, threshold_short),
    }


def adverse_move(log_values: FloatArray, *, horizon_days: int) -> tuple[FloatArray, FloatArray]:
    r"""Find the loss at the worst close of the next sessions, for a long and for a short holder.

    Parameters
    ----------
    log_values : ndarray of shape (n_sessions,)
        Log levels.
    horizon_days : int
        Sessions ahead that count.

    Returns
    -------
    adverse_long, adverse_short : ndarray of shape (n_sessions,)
        Loss in log units, never negative: a holder who is at no later close under water has lost nothing.
        NaN on the last `horizon_days` sessions, whose windows are incomplete.

    Raises
    ------
    NumericalError
        If a log level is not finite.

    Notes
    -----
    Long :math:`\max(0, \max_{1 \le k \le H} (x_t - x_{t+k}))`, short :math:`\max(0, \max_k (x_{t+k} - x_t))`.
    The floor keeps thresholds non-negative, so that an event is always a loss; where it is positive the floor
    changes no label.

    Examples
    --------
    >>> adverse_move(np.array([0.0, -1.0, 3.0, 2.0]), horizon_days=2)
    (array([ 1.,  0., nan, nan]), array([ 3.,  4., nan, nan]))
    """
    values = np.ascontiguousarray(log_values, dtype=np.float64)
    if not np.isfinite(values).all():
        raise NumericalError("adverse move: expected finite log levels, was NaN or infinite")
    n_complete = max(values.size - horizon_days, 0)
    start = values[:n_complete]
    lowest, highest = start.copy(), start.copy()
    for day in range(1, horizon_days + 1):
        ahead = values[day : day + n_complete]
        np.minimum(lowest, ahead, out=lowest)
        np.maximum(highest, ahead, out=highest)
    adverse_long, adverse_short = np.full(values.size, np.nan), np.full(values.size, np.nan)
    adverse_long[:n_complete] = start - lowest
    adverse_short[:n_complete] = highest - start
    return adverse_long, adverse_short


def trailing_threshold(adverse: FloatArray, rule: LabelRule) -> FloatArray:
    """Take the quantile of the adverse moves whose windows had ended by each session.

    Parameters
    ----------
    adverse : ndarray of shape (n_sessions,)
        As from `adverse_move`. The move that starts on session s is known on ``s + rule.horizon_days``.
    rule : LabelRule
        At most the newest `window_days` known moves count; fewer than `min_days` give no threshold.

    Returns
    -------
    ndarray of shape (n_sessions,)
        The order statistic of rank `order_rank`, in the units of `adverse`; NaN while moves are too few.

    Raises
    ------
    NumericalError
        If a move whose window is complete is not finite.

    Examples
    --------
    >>> rule = LabelRule(horizon_days=1, quantile=0.5, window_days=3, min_days=2)
    >>> trailing_threshold(np.array([5.0, 1.0, 3.0, 9.0, np.nan]), rule)
    array([nan, nan,  1.,  3.,  3.])
    """
    complete: list[float] = adverse[: max(adverse.size - rule.horizon_days, 0)].tolist()
    if not all(map(math.isfinite, complete)):
        raise NumericalError("threshold: a complete adverse move was NaN or infinite")
    thresholds = np.full(adverse.size, np.nan)
    # The window's moves in ascending order. Order statistics involve no rounding, so that this one may be
    # carried from session to session.
    ranked: list[float] = []
    for start, move in enumerate(complete):
        insort(ranked, move)
        if len(ranked) > rule.window_days:
            del ranked[bisect_left(ranked, complete[start - rule.window_days])]
        if len(ranked) >= rule.min_days:
            thresholds[start + rule.horizon_days] = ranked[order_rank(len(ranked), rule.quantile) - 1]
    return thresholds


def exceeds(adverse: FloatArray, threshold: FloatArray) -> FloatArray:
    """Label a session 1.0 where the move exceeds the threshold, else 0.0; NaN where one is unknown."""
    label = np.where(adverse > threshold, 1.0, 0.0)
    label[np.isnan(adverse) | np.isnan(threshold)] = np.nan
    return label
