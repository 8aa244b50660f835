"""The model matrix: two rows per factor and date, one for a long and one for a short holder."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from acceleray.domain.tables import FEATURES
from acceleray.errors import MissingDataError, UsageError

__all__ = [
    "INPUTS",
    "LONG",
    "PANEL_COLUMNS",
    "REQUIRED",
    "SHORT",
    "Samples",
    "is_complete",
    "session_axis",
    "stack",
]

LONG, SHORT = 1.0, -1.0
# What a model sees, in this order: the panel's features and the side of the holder.
INPUTS: tuple[str, ...] = (*FEATURES, "direction")
# Every factor's own volatility: what the baseline lives on, and the longest window of a factor's own history.
REQUIRED: tuple[str, ...] = ("volatility_20d", "volatility_60d", "volatility_250d", "volatility_ratio")
PANEL_COLUMNS = ["factor_id", "date", *FEATURES, "label_long", "label_short"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Samples:
    """Rows of the model matrix.

    Parameters
    ----------
    values : ndarray of shape (n, len(INPUTS))
        Inputs in the order of `INPUTS`; NaN where one is not known, never in `REQUIRED`.
    labels : ndarray of shape (n,)
        1.0 if the holder's threshold was breached, else 0.0.
    sessions : ndarray of shape (n,)
        Position of the row's date on the panel's session axis.
    """

    values: npt.NDArray[np.float64]
    labels: npt.NDArray[np.float64]
    sessions: npt.NDArray[np.int64]

    def where(self, chosen: npt.NDArray[np.bool_]) -> Samples:
        """Keep the chosen rows."""
        return Samples(values=self.values[chosen], labels=self.labels[chosen], sessions=self.sessions[chosen])

    @property
    def directions(self) -> npt.NDArray[np.float64]:
        """+1 for a long holder, -1 for a short one; shape (n,)."""
        return self.values[:, -1]


def session_axis(panel: pa.Table) -> npt.NDArray[np.datetime64]:
    """Dates of the panel in order, each once; positions on it count sessions.

    Raises
    ------
    MissingDataError
        If the panel is empty.
    """
    if panel.num_rows == 0:
        raise MissingDataError("feature.panel is empty")
    return np.unique(panel["date"].to_numpy())


def stack(
    panel: pa.Table, axis: npt.NDArray[np.datetime64], *, factors: Sequence[str] | None = None
) -> Samples:
    """Stack the labelled rows of the panel for long holders on those for short holders.

    Parameters
    ----------
    panel : pyarrow.Table
        The columns `PANEL_COLUMNS` of ``feature.panel`` in key order. Rows without a label, or whose own
        history is still too short for a feature of `REQUIRED`, are left out. Other features may be unknown: a
        project need not name an oil price, and trees learn what a gap means.
    axis : ndarray of datetime64
        From `session_axis` of the whole panel.
    factors : sequence of str, optional
        Factors to keep; all of them if absent.

    Raises
    ------
    UsageError
        If a factor is not in the panel.
    """
    if factors is not None:
        unknown = sorted(set(factors) - set(pc.unique(panel["factor_id"]).to_pylist()))
        if unknown:
            raise UsageError(
                f"calibrate.train_factors: {', '.join(unknown)} not in feature.panel",
                hint="Name factors of a spot-like kind that have a history.",
            )
        panel = panel.filter(pc.is_in(panel["factor_id"], value_set=pa.array(factors, pa.string())))
    features = np.column_stack([_floats(panel[name]) for name in FEATURES])
    complete = is_complete(features)
    sessions = np.searchsorted(axis, panel["date"].to_numpy()).astype(np.int64)
    parts = []
    for direction, column in ((LONG, "label_long"), (SHORT, "label_short")):
        labels = _floats(panel[column])
        use = complete & ~np.isnan(labels)
        values = np.column_stack([features[use], np.full(int(use.sum()), direction)])
        parts.append((values, labels[use], sessions[use]))
    values, labels, positions = (np.concatenate(column) for column in zip(*parts, strict=True))
    return Samples(values=np.ascontiguousarray(values), labels=labels, sessions=positions)


def is_complete(features: npt.NDArray[np.float64]) -> npt.NDArray[np.bool_]:
    """Rows whose `REQUIRED` features are known; columns in the order of `FEATURES`."""
    columns = [FEATURES.index(name) for name in REQUIRED]
    return np.asarray(np.isfinite(features[:, columns]).all(axis=1))


def _floats(column: pa.ChunkedArray) -> npt.NDArray[np.float64]:
    return np.asarray(pc.cast(column, pa.float64()).to_numpy(), dtype=np.float64)
