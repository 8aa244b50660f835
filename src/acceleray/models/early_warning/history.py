"""What tonight's panel offers to learn from and to be judged by."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from acceleray.config.models import CalibrateSettings
from acceleray.models.early_warning.dataset import Samples, session_axis, stack
from acceleray.models.early_warning.folds import Split, split_sessions

__all__ = ["History", "read_history"]


@dataclass(frozen=True, slots=True, kw_only=True)
class History:
    """The panel as samples, and who may learn from which part.

    Parameters
    ----------
    axis : ndarray of datetime64
        Every session of the panel.
    factors : tuple of str
        Training factors, sorted.
    learn : Samples
        Labelled rows of the training factors.
    judge : Samples
        Labelled rows of every factor in the panel: whatever is scored is judged.
    split : Split
    """

    axis: npt.NDArray[np.datetime64]
    factors: tuple[str, ...]
    learn: Samples
    judge: Samples
    split: Split

    @property
    def training(self) -> Samples:
        """Rows for the final model: sampled sessions before the out-of-time test and its embargo."""
        return self.learn.where(np.isin(self.learn.sessions, self.split.sampled))

    @property
    def test(self) -> Samples:
        """Rows of the out-of-time test."""
        return self.judge.where(self.split.test.judges(self.judge.sessions))


def read_history(panel: pa.Table, settings: CalibrateSettings, *, horizon_days: int) -> History:
    """Divide the panel by the settings.

    Parameters
    ----------
    panel : pyarrow.Table
        ``feature.panel`` in key order.
    horizon_days : int
        Sessions in a label's window.

    Raises
    ------
    MissingDataError
        If the history is too short for the folds and the test.
    UsageError
        If a training factor is unknown.
    """
    axis = session_axis(panel)
    names = settings.train_factors or pc.unique(panel["factor_id"]).to_pylist()
    factors = tuple(sorted(names))
    learn = stack(panel, axis, factors=factors)
    first = (
        0 if settings.train_from is None else int(np.searchsorted(axis, np.datetime64(settings.train_from)))
    )
    split = split_sessions(
        np.unique(learn.sessions),
        first=first,
        test_sessions=settings.out_of_time_days,
        n_folds=settings.folds,
        horizon=horizon_days,
        embargo=max(settings.embargo_days, horizon_days),
        every=settings.sample_every_days,
    )
    return History(axis=axis, factors=factors, learn=learn, judge=stack(panel, axis), split=split)
