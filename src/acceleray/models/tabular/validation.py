"""Who may learn from which rows, how a forecast is scored, and where the alarm is set.

Panels are judged on later dates than they learn from. A row on session ``i`` is labelled by sessions ``i +
1`` to ``i + horizon``; it may teach a model that is judged from session ``s`` on only if its label was known
`embargo` sessions before: ``i + horizon + embargo < s``. Cross-sections are dealt into parts with equal
shares of events. Either way one part is kept from the search: the alarm level is set on it.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt

from acceleray.errors import MissingDataError, NumericalError, SchemaError, UsageError
from acceleray.models.tabular.family import Family
from acceleray.models.tabular.signature import Rows, Signature
from acceleray.numerics.classification import average_precision, log_loss, precision_recall
from acceleray.numerics.streams import Purpose, stream

__all__ = [
    "METRICS",
    "Fold",
    "Metric",
    "Split",
    "Threshold",
    "decision_threshold",
    "out_of_fold",
    "roc_auc",
    "rows_at",
    "score",
    "stratified",
    "walk_forward",
]

IntArray = npt.NDArray[np.int64]
FloatArray = npt.NDArray[np.float64]
Metric = Literal["log_loss", "average_precision", "roc_auc"]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Fold:
    """Rows to learn from and rows to be judged by, as increasing positions."""

    train: IntArray
    judge: IntArray


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Split:
    """All parts of a training set.

    Parameters
    ----------
    folds : tuple of Fold
        For the search.
    threshold : Fold
        For the decision threshold; its judging rows are in no fold of the search.
    """

    folds: tuple[Fold, ...]
    threshold: Fold


def walk_forward(
    dates: npt.NDArray[np.datetime64],
    labels: npt.NDArray[np.float32],
    *,
    n_folds: int,
    horizon: int,
    embargo: int,
    axis: npt.NDArray[np.datetime64] | None = None,
) -> Split:
    """Cut a panel into purged and embargoed folds that go forward in time.

    The first half of the sessions only trains. The second half is cut into equal slices: one per fold, and
    the last for the threshold.

    Parameters
    ----------
    dates : ndarray of datetime64, shape (n,)
        Session of each row, in any order. Rows in order of date reach a trial without a copy.
    labels : ndarray of shape (n,)
        Each 0 or 1.
    n_folds : int
        Folds of the search, at least 1.
    horizon, embargo : int
        Length of a label's window, and sessions kept free after it; both in sessions of `axis`.
    axis : ndarray of datetime64, optional
        All sessions, increasing; needed if some have no row at all. The distinct dates unless given.

    Raises
    ------
    UsageError
        If a count is negative, or there is no fold.
    SchemaError
        If a date is missing or not on the axis.
    MissingDataError
        If there are too few sessions, or a part has rows of one class only.
    """
    if n_folds < 1 or horizon < 0 or embargo < 0:
        raise UsageError(
            f"folds: n_folds was {n_folds}, horizon {horizon}, embargo {embargo}; "
            "expected at least 1, 0 and 0"
        )
    if np.isnat(dates).any():
        raise SchemaError(f"{int(np.isnat(dates).sum())} of {dates.size} rows had no date")
    present = np.unique(dates)
    sessions_of_axis = present if axis is None else axis
    sessions = np.searchsorted(sessions_of_axis, dates).astype(np.int64)
    inside = np.minimum(sessions, sessions_of_axis.size - 1)
    astray = sessions_of_axis[inside] != dates
    if astray.any():
        raise SchemaError(f"{dates[astray][0]} is not on the axis of sessions")
    held = np.unique(sessions)
    gap = horizon + embargo + 1
    half = held.size // 2
    edges = half + np.arange(n_folds + 2) * (held.size - half) // (n_folds + 1)
    if held.size == 0 or np.any(np.diff(edges) == 0) or int(held[half]) - gap < int(held[0]):
        raise MissingDataError(
            f"{held.size} sessions are too few for {n_folds} folds and a threshold "
            f"with a gap of {gap} sessions",
            hint="Ask for fewer folds or provide a longer history.",
        )
    folds = []
    for start, end in itertools.pairwise(edges):
        judge_from, judge_to = int(held[start]), int(held[end - 1])
        folds.append(
            Fold(
                train=np.flatnonzero(sessions <= judge_from - gap),
                judge=np.flatnonzero((sessions >= judge_from) & (sessions <= judge_to)),
            )
        )
    return _checked(folds, labels)


def stratified(labels: npt.NDArray[np.float32], *, n_folds: int, seed: int) -> Split:
    """Deal the rows of a cross-section into parts with the same share of events.

    There is one part per fold and one for the threshold. A fold is judged by its part and learns from the
    other folds' parts; the threshold's model learns from all of them.

    Raises
    ------
    UsageError
        If there are fewer than two folds.
    MissingDataError
        If a class has fewer rows than there are parts.
    """
    if n_folds < 2:
        raise UsageError(f"folds: n_folds was {n_folds}, expected at least 2")
    n_parts = n_folds + 1
    part = np.empty(labels.size, dtype=np.int64)
    dealt = 0
    for kind in (0.0, 1.0):
        rows = np.flatnonzero(labels == kind)
        if rows.size < n_parts:
            raise MissingDataError(
                f"{n_parts} parts need as many rows of each class; {_counts(labels)}",
                hint="Ask for fewer folds or provide more rows.",
            )
        shuffled = stream(seed, Purpose.FOLDS, int(kind)).permutation(rows)
        # The second class is dealt from where the first one ended, so that parts differ by one row at most.
        part[shuffled] = (dealt + np.arange(rows.size)) % n_parts
        dealt += rows.size
    kept = part < n_folds
    folds = [
        Fold(train=np.flatnonzero(kept & (part != number)), judge=np.flatnonzero(part == number))
        for number in range(n_folds)
    ]
    return _checked([*folds, Fold(train=np.flatnonzero(kept), judge=np.flatnonzero(~kept))], labels)


def rows_at(rows: Rows, positions: IntArray) -> Rows:
    """Take rows; neighbours come as a view, so that a trial shares them with all others."""
    if positions.size and int(positions[-1]) - int(positions[0]) + 1 == positions.size:
        stretch = slice(int(positions[0]), int(positions[-1]) + 1)
        return Rows(values=rows.values[stretch], labels=rows.labels[stretch])
    return rows.take(positions)


def roc_auc(labels: npt.ArrayLike, scores: npt.ArrayLike) -> float:
    """Probability that an event has a higher score than another row; equal scores count half.

    Raises
    ------
    NumericalError
        If a score is not finite, or all labels are the same.

    References
    ----------
    .. [1] Hanley, McNeil (1982), The meaning and use of the area under a receiver operating characteristic
       (ROC) curve, Radiology 143(1).

    Examples
    --------
    >>> roc_auc([0, 1, 0, 1], [0.1, 0.4, 0.4, 0.8])
    0.875
    """
    outcome = np.asarray(labels, dtype=np.float64)
    forecast = np.asarray(scores, dtype=np.float64)
    if not np.isfinite(forecast).all():
        raise NumericalError("A score was not finite")
    events = int(np.sum(outcome == 1.0))
    others = outcome.size - events
    if events == 0 or others == 0:
        raise NumericalError(f"The area under the ROC curve needs both classes; {_counts(outcome)}")
    _, level, size = np.unique(forecast, return_inverse=True, return_counts=True)
    # Twice the mean rank of each level is a whole number, so the sum is exact.
    twice_rank = (2 * np.cumsum(size) - size + 1)[level]
    twice_wins = int(twice_rank[outcome == 1.0].sum()) - events * (events + 1)
    return twice_wins / (2.0 * events * others)


def _negative_log_loss(labels: npt.ArrayLike, probabilities: npt.ArrayLike) -> float:
    return -log_loss(labels, probabilities)


METRICS: Mapping[str, Callable[[npt.ArrayLike, npt.ArrayLike], float]] = {
    "log_loss": _negative_log_loss,
    "average_precision": average_precision,
    "roc_auc": roc_auc,
}


def score(metric: Metric, labels: npt.ArrayLike, probabilities: npt.ArrayLike) -> float:
    """Score a forecast; higher is better, so the log loss comes with a minus."""
    return METRICS[metric](labels, probabilities)


@dataclass(frozen=True, slots=True, kw_only=True)
class Threshold:
    """Alarm level with the lowest cost.

    Parameters
    ----------
    value : float
        The alarm is ``probability >= value``. Above 1 if no alarm at all costs least.
    cost_per_row : float
        In the unit of the stated costs.
    precision, recall : float
        At this level; the precision is NaN without an alarm.
    false_alarms, misses, n_rows : int
        Counts behind it.
    """

    value: float
    cost_per_row: float
    precision: float
    recall: float
    false_alarms: int
    misses: int
    n_rows: int


def decision_threshold(
    labels: npt.ArrayLike, probabilities: npt.ArrayLike, *, false_alarm_cost: float, miss_cost: float
) -> Threshold:
    """Set the alarm where the stated costs are lowest, on rows that the model has not learned from.

    Parameters
    ----------
    labels, probabilities : array_like of shape (n,)
        Of judged rows, such as `out_of_fold` gives.
    false_alarm_cost, miss_cost : float
        Cost of an alarm without an event, and of an event without an alarm; same unit, both above 0.

    Returns
    -------
    Threshold
        Of equally cheap levels the highest, which raises the fewest alarms.

    Raises
    ------
    UsageError
        If a cost is not a positive number.
    NumericalError
        If a probability is not one, or no event happened.

    Examples
    --------
    >>> decision_threshold([0, 0, 1, 0, 1], [0.1, 0.2, 0.6, 0.7, 0.9], false_alarm_cost=1, miss_cost=3).value
    0.6
    """
    for name, cost in (("false_alarm_cost", false_alarm_cost), ("miss_cost", miss_cost)):
        if not (np.isfinite(cost) and cost > 0.0):
            raise UsageError(f"{name} was {cost}, expected a positive number")
    outcome = np.asarray(labels, dtype=np.float64)
    forecast = np.asarray(probabilities, dtype=np.float64)
    never = float(np.nextafter(1.0, 2.0))
    precision_recall(outcome, forecast, threshold=never)
    if forecast.min() < 0.0 or forecast.max() > 1.0:
        raise NumericalError("A probability lay outside [0, 1]")
    order = np.argsort(-forecast, kind="stable")
    ends = np.flatnonzero(np.append(np.diff(forecast[order]) != 0.0, True))
    hits = np.concatenate([[0.0], np.cumsum(outcome[order])[ends]])
    false_alarms = np.concatenate([[0.0], ends + 1.0]) - hits
    misses = outcome.sum() - hits
    costs = false_alarm_cost * false_alarms + miss_cost * misses
    best = int(np.argmin(costs))
    value = never if best == 0 else float(forecast[order][ends[best - 1]])
    precision, recall = precision_recall(outcome, forecast, threshold=value)
    return Threshold(
        value=value,
        cost_per_row=float(costs[best]) / outcome.size,
        precision=precision,
        recall=recall,
        false_alarms=int(false_alarms[best]),
        misses=int(misses[best]),
        n_rows=outcome.size,
    )


def out_of_fold(
    family: Family,
    rows: Rows,
    signature: Signature,
    folds: Sequence[Fold],
    *,
    configuration: Mapping[str, float],
    rounds: int,
    seed: int,
) -> tuple[FloatArray, FloatArray]:
    """Forecast the judging rows of every fold with a model that learned from its training rows only.

    Returns
    -------
    labels, probabilities : ndarray of shape (n_judged,)
        Fold after fold.
    """
    labels, probabilities = [], []
    for fold in folds:
        learner = family.begin(rows_at(rows, fold.train), signature, configuration, seed=seed)
        learner.advance(rounds)
        judged = rows_at(rows, fold.judge)
        labels.append(judged.labels.astype(np.float64))
        probabilities.append(learner.predict(judged.values))
    return np.concatenate(labels), np.concatenate(probabilities)


def _checked(parts: list[Fold], labels: npt.NDArray[np.float32]) -> Split:
    for number, part in enumerate(parts):
        name = f"fold {number}" if number < len(parts) - 1 else "the threshold's fold"
        for role, positions in (("trains on", part.train), ("is judged by", part.judge)):
            if np.unique(labels[positions]).size < 2:
                raise MissingDataError(
                    f"{name} {role} rows of one class only: {_counts(labels[positions])}",
                    hint="Ask for fewer folds or provide more events.",
                )
    return Split(folds=tuple(parts[:-1]), threshold=parts[-1])


def _counts(labels: npt.NDArray[np.floating]) -> str:
    return (
        f"{int(np.sum(labels == 0.0))} rows were labelled 0 and {int(np.sum(labels == 1.0))} were labelled 1"
    )
