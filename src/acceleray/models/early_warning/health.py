"""Is the scoring model still what it was: scores, event frequency, skill, and whether to retrain."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from acceleray.domain.tables import contract
from acceleray.models.early_warning.dataset import Samples, session_axis, stack
from acceleray.models.early_warning.evaluation import LEVEL
from acceleray.models.early_warning.files import Model, load_model
from acceleray.numerics.classification import (
    block_counts,
    date_blocks,
    mean_replicates,
    percentile_interval,
    squared_errors,
)
from acceleray.numerics.drift import population_stability_index

__all__ = ["HealthRules", "Windows", "health_of_panel", "model_health", "recommendation"]

FloatArray = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]

# Purpose of the random stream; the seed of the settings is shared by several purposes.
_HEALTH_STREAM = 2


@dataclass(frozen=True, slots=True, kw_only=True)
class HealthRules:
    """When a finding is one.

    Parameters
    ----------
    drift_warning, drift_alert : float
        Population stability index of the scores.
    block_days, n_samples, seed : int
        Date blocks of the bootstrap, resamples, and the random stream.
    """

    drift_warning: float
    drift_alert: float
    block_days: int
    n_samples: int
    seed: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Windows:
    """First and last dates of the rows that are compared, as ``datetime64[D]``.

    Parameters
    ----------
    trained_to : datetime64
        Last date of the reference, the rows that a model of tonight learns from.
    tested_from : datetime64
        First date of the out-of-time test; before `recent_from` it shows what the model was worth.
    recent_from : datetime64
        First labelled date of the recent past.
    current_from : datetime64
        First date of tonight's scores, labelled or not.
    """

    trained_to: np.datetime64
    tested_from: np.datetime64
    recent_from: np.datetime64
    current_from: np.datetime64


def model_health(panel: pa.Table, model: Model, windows: Windows, rules: HealthRules) -> list[dict[str, Any]]:
    """Compare the model's scores, the events and its skill between the windows.

    Parameters
    ----------
    panel : pyarrow.Table
        Columns of ``dataset.PANEL_COLUMNS`` on the windows' dates, in any order.

    Returns
    -------
    list of dict
        Rows of ``check.health`` of the kinds ``scores``, ``events`` and ``skill``.

    Notes
    -----
    ``events`` is the frequency in the recent past less that of the reference, ``skill`` the Brier skill
    (against the frequency of the same rows) of the recent past less that of the earlier part of the test.
    Both intervals come from date blocks, drawn in either window on their own. An event frequency that moved
    is a warning: the model may follow it. Skill that fell by more than its interval is an alert.
    """
    panel = panel.sort_by([("factor_id", "ascending"), ("date", "ascending")])
    axis = session_axis(panel)
    samples = stack(panel, axis)
    days = axis[samples.sessions].astype("datetime64[D]")
    reference = samples.where(days <= windows.trained_to)
    earlier = samples.where((days >= windows.tested_from) & (days < windows.recent_from))
    recent = samples.where(days >= windows.recent_from)
    both = _both_sides(panel, axis)
    on = axis[both.sessions].astype("datetime64[D]")
    streams = np.random.SeedSequence([rules.seed, _HEALTH_STREAM]).spawn(2)
    return [
        _scores(model, both.where(on <= windows.trained_to), both.where(on >= windows.current_from), rules),
        _events(reference, recent, rules, np.random.Generator(np.random.Philox(streams[0]))),
        _skill(model, earlier, recent, rules, np.random.Generator(np.random.Philox(streams[1]))),
    ]


def health_of_panel(
    path: Path, sha256: str, windows: Windows, rules: HealthRules
) -> Callable[[pa.Table], pa.Table]:
    """Make the function that a Spark worker applies to the panel; the model is read and checked there.

    Parameters
    ----------
    path, sha256
        Of the model that scores.

    Returns
    -------
    callable
        From columns of ``dataset.PANEL_COLUMNS`` to rows of ``check.health``, as `model_health`.
    """

    def compare(panel: pa.Table) -> pa.Table:
        rows = model_health(panel, load_model(path, sha256), windows, rules)
        return pa.Table.from_pylist(rows, schema=contract("check.health").schema)

    return compare


def recommendation(found: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Sum the findings up: retrain if any of them is an alert.

    Parameters
    ----------
    found : sequence of dict
        Rows of ``check.health``.

    Returns
    -------
    dict
        The row of the kind ``recommendation``, whose status is ``retrain`` or ``keep``.
    """
    alerts = [row["kind"] for row in found if row["status"] == "alert"]
    open_ends = [row["kind"] for row in found if row["status"] == "not_computed"]
    notes = [f"alert: {', '.join(alerts)}" if alerts else "no alert"]
    if open_ends:
        notes.append(f"not computed: {', '.join(open_ends)}")
    return _row("recommendation", "retrain" if alerts else "keep", note="; ".join(notes))


def _both_sides(panel: pa.Table, axis: npt.NDArray[np.datetime64]) -> Samples:
    """Both sides of every complete row, whether its label is known or not."""
    for name in ("label_long", "label_short"):
        at = panel.column_names.index(name)
        panel = panel.set_column(at, name, pa.array(np.zeros(len(panel)), pa.float64()))
    return stack(panel, axis)


def _scores(model: Model, reference: Samples, tonight: Samples, rules: HealthRules) -> dict[str, Any]:
    index = population_stability_index(
        model.predict(reference.values) if len(reference.labels) else np.empty(0),
        model.predict(tonight.values) if len(tonight.labels) else np.empty(0),
    )
    status = "not_computed"
    if index.value is not None:
        status = "ok" if index.value < rules.drift_warning else "warning"
        status = "alert" if index.value >= rules.drift_alert else status
    return _row(
        "scores",
        status,
        value=index.value,
        reference=reference,
        current=tonight,
        note=index.note or "population stability index of the probabilities",
    )


def _events(
    reference: Samples, recent: Samples, rules: HealthRules, generator: np.random.Generator
) -> dict[str, Any]:
    if not (_has_blocks(reference, rules) and _has_blocks(recent, rules)):
        return _row("events", "not_computed", reference=reference, current=recent, note="too few sessions")
    before, after = (
        _means(samples.labels, _resampled(samples, rules, generator)) for samples in (reference, recent)
    )
    low, high = percentile_interval(after - before, level=LEVEL)
    moved = low > 0.0 or high < 0.0
    return _row(
        "events",
        "warning" if moved else "ok",
        value=float(recent.labels.mean() - reference.labels.mean()),
        interval=(low, high),
        reference=reference,
        current=recent,
        note=f"frequency {recent.labels.mean():.4f} after {reference.labels.mean():.4f}",
    )


def _skill(
    model: Model, earlier: Samples, recent: Samples, rules: HealthRules, generator: np.random.Generator
) -> dict[str, Any]:
    if not all(_has_blocks(samples, rules) and np.ptp(samples.labels) > 0 for samples in (earlier, recent)):
        return _row(
            "skill", "not_computed", reference=earlier, current=recent, note="too few sessions or events"
        )
    points, replicates = [], []
    for samples in (earlier, recent):
        errors = squared_errors(samples.labels, model.predict(samples.values))
        blocks = _resampled(samples, rules, generator)
        frequency = _means(samples.labels, blocks)
        with np.errstate(divide="ignore", invalid="ignore"):
            again = 1.0 - _means(errors, blocks) / (frequency * (1.0 - frequency))
        replicates.append(np.where(np.isfinite(again), again, np.nan))
        mean = float(samples.labels.mean())
        points.append(1.0 - float(errors.mean()) / (mean * (1.0 - mean)))
    low, high = percentile_interval(replicates[1] - replicates[0], level=LEVEL)
    return _row(
        "skill",
        "alert" if high < 0.0 else "ok",
        value=points[1] - points[0],
        interval=(low, high),
        reference=earlier,
        current=recent,
        note=f"Brier skill {points[1]:+.4f} after {points[0]:+.4f}",
    )


def _has_blocks(samples: Samples, rules: HealthRules) -> bool:
    return bool(samples.sessions.size) and int(np.ptp(samples.sessions)) + 1 >= 2 * rules.block_days


def _resampled(
    samples: Samples, rules: HealthRules, generator: np.random.Generator
) -> tuple[IntArray, IntArray]:
    blocks, n_blocks = date_blocks(samples.sessions, block_days=rules.block_days)
    return blocks, block_counts(n_blocks, rules.n_samples, generator=generator)


def _means(values: FloatArray, resampled: tuple[IntArray, IntArray]) -> FloatArray:
    blocks, counts = resampled
    return mean_replicates(values, blocks, counts=counts)


def _row(
    kind: str,
    status: str,
    *,
    value: float | None = None,
    interval: tuple[float, float] | None = None,
    reference: Samples | None = None,
    current: Samples | None = None,
    note: str,
) -> dict[str, Any]:
    low, high = (None, None) if interval is None else interval
    return {
        "kind": kind,
        "status": status,
        "value": value,
        "ci_low": low,
        "ci_high": high,
        "rows_reference": None if reference is None else len(reference.labels),
        "rows_current": None if current is None else len(current.labels),
        "note": note,
    }
