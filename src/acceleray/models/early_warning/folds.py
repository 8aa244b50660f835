"""Who may learn from which dates: the out-of-time test, and walk-forward folds before it.

A row on session ``i`` is labelled by sessions ``i + 1`` to ``i + horizon``. It may teach a model that is
judged from session ``s`` on only if its label was known `embargo` sessions before:
``i + horizon + embargo < s``.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from acceleray.errors import MissingDataError

__all__ = ["Fold", "Split", "split_sessions"]

IntArray = npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True, kw_only=True)
class Fold:
    """Train on the past, judge on the next slice; all are positions on the session axis.

    Parameters
    ----------
    train_from, train_to : int
        First and last session of the training rows.
    judge_from, judge_to : int
        First and last session of the rows that judge the model.
    """

    train_from: int
    train_to: int
    judge_from: int
    judge_to: int

    def trains(self, sessions: IntArray) -> npt.NDArray[np.bool_]:
        """Rows to train on."""
        return (sessions >= self.train_from) & (sessions <= self.train_to)

    def judges(self, sessions: IntArray) -> npt.NDArray[np.bool_]:
        """Rows to judge by."""
        return (sessions >= self.judge_from) & (sessions <= self.judge_to)


@dataclass(frozen=True, slots=True, kw_only=True)
class Split:
    """All parts of the history.

    Parameters
    ----------
    folds : tuple of Fold
        For the search.
    threshold : Fold
        The latest slice before the test. The search never sees it; the decision threshold comes from it.
    test : Fold
        The final training set and the out-of-time test.
    sampled : ndarray of int
        Sessions whose rows may train or validate: every n-th, counted from the first session of the panel, so
        that later dates do not move them.
    """

    folds: tuple[Fold, ...]
    threshold: Fold
    test: Fold
    sampled: IntArray


def split_sessions(
    labelled: IntArray,
    *,
    first: int,
    test_sessions: int,
    n_folds: int,
    horizon: int,
    embargo: int,
    every: int,
) -> Split:
    """Divide sessions with known labels into search folds, threshold slice and out-of-time test.

    Parameters
    ----------
    labelled : ndarray of int
        Sessions on which some label is known, increasing.
    first : int
        Earliest session to learn from.
    test_sessions : int
        Length of the out-of-time test: the last so many labelled sessions.
    n_folds : int
        Walk-forward folds of the search.
    horizon, embargo : int
        Length of a label's window, and the sessions kept free after it.
    every : int
        Learn from every n-th session only: windows of neighbouring sessions overlap almost wholly.

    Raises
    ------
    MissingDataError
        If the history is too short for that many parts.
    """
    gap = horizon + embargo + 1
    labelled = labelled[labelled >= first]
    if labelled.size > test_sessions:
        test_from = int(labelled[-test_sessions])
        history = labelled[(labelled <= test_from - gap) & (labelled % every == 0)]
    else:
        history = labelled[:0]
    # The first half only trains, so that no fold learns from much less than the final model will. The second
    # half is cut into one slice per fold and a last one that sets the decision threshold.
    half = history.size // 2
    slices_wanted = n_folds + 1
    edges = half + np.arange(slices_wanted + 1) * (history.size - half) // slices_wanted
    if np.any(np.diff(edges) == 0) or int(history[half]) - gap < int(history[0]):
        raise MissingDataError(
            f"{labelled.size} labelled sessions are too few for a test of {test_sessions} sessions and "
            f"{n_folds} folds with a gap of {gap} sessions",
            hint="Lower calibrate.out_of_time_days or calibrate.folds, or provide a longer history.",
        )
    earliest = int(history[0])
    slices = [
        Fold(
            train_from=earliest,
            train_to=int(history[start]) - gap,
            judge_from=int(history[start]),
            judge_to=int(history[end - 1]),
        )
        for start, end in itertools.pairwise(edges)
    ]
    test = Fold(
        train_from=earliest,
        train_to=int(history[-1]),
        judge_from=test_from,
        judge_to=int(labelled[-1]),
    )
    return Split(folds=tuple(slices[:-1]), threshold=slices[-1], test=test, sampled=history)
