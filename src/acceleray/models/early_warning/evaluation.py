"""The out-of-time test: every model on the same rows, with intervals from blocks of dates."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from acceleray.domain.tables import contract
from acceleray.models.early_warning.dataset import Samples
from acceleray.numerics.classification import (
    average_precision,
    average_precision_replicates,
    block_counts,
    brier_score,
    calibration_curve,
    date_blocks,
    log_loss,
    mean_replicates,
    percentile_interval,
    precision_recall,
    squared_errors,
)

__all__ = ["LEVEL", "Comparison", "Estimate", "Evaluation", "Forecast", "evaluate"]

FloatArray = npt.NDArray[np.float64]

LEVEL = 0.95
_BINS = 10
# Purpose of the random stream; the seed of the settings is shared by several purposes.
_BOOTSTRAP_STREAM = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Forecast:
    """A model's probabilities for the rows of the test.

    Parameters
    ----------
    model_id, family : str
    probabilities : ndarray of shape (n,)
    threshold : float
        Probability from which the model raises an alarm.
    note : str
        What a reader has to know, such as that the model may have seen a part of the test.
    """

    model_id: str
    family: str
    probabilities: FloatArray
    threshold: float
    note: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Estimate:
    """A number with its interval."""

    value: float
    ci_low: float
    ci_high: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    """Candidate minus a rival on the same resampled blocks.

    Parameters
    ----------
    against : str
        Name of the rival: the family of a baseline, or ``champion``.
    average_precision : Estimate
        Positive is better.
    brier : Estimate
        Negative is better.
    """

    against: str
    average_precision: Estimate
    brier: Estimate


@dataclass(frozen=True, slots=True, kw_only=True)
class Evaluation:
    """Outcome of the test.

    Parameters
    ----------
    metrics, calibration : pyarrow.Table
        Rows of ``check.models`` and ``check.calibration``.
    comparisons : tuple of Comparison
        The first forecast against each of its rivals.
    average_precision : dict of str to float
        By model.
    """

    metrics: pa.Table
    calibration: pa.Table
    comparisons: tuple[Comparison, ...]
    average_precision: dict[str, float]


def evaluate(
    test: Samples,
    forecasts: Sequence[Forecast],
    *,
    rivals: Mapping[str, str],
    reference: str,
    block_days: int,
    n_samples: int,
    seed: int,
) -> Evaluation:
    """Judge all forecasts on the same rows and the same resamples.

    Parameters
    ----------
    forecasts : sequence of Forecast
        The candidate first.
    rivals : mapping of str to str
        `model_id` of each forecast that the candidate is compared with, and its name in the comparison.
    reference : str
        `model_id` that Brier skill is measured against: ``1 - brier / brier of reference``.
    block_days, n_samples, seed : int
        Length of a date block, number of resamples, and the random stream.

    Notes
    -----
    Tail events come in few clusters, so whole blocks of at least `block_days` sessions are drawn with
    replacement (all factors and both sides of a date stay together). Intervals cover sampling error of the
    test period only, not that of training.
    """
    blocks, n_blocks = date_blocks(test.sessions, block_days=block_days)
    stream = np.random.Generator(np.random.Philox(np.random.SeedSequence([seed, _BOOTSTRAP_STREAM])))
    counts = block_counts(n_blocks, n_samples, generator=stream)
    points = {
        forecast.model_id: (
            average_precision(test.labels, forecast.probabilities),
            brier_score(test.labels, forecast.probabilities),
        )
        for forecast in forecasts
    }
    resampled = {
        forecast.model_id: (
            average_precision_replicates(test.labels, forecast.probabilities, blocks, counts=counts),
            mean_replicates(squared_errors(test.labels, forecast.probabilities), blocks, counts=counts),
        )
        for forecast in forecasts
    }

    rows: list[dict[str, object]] = []
    bins: list[dict[str, object]] = []

    def add(model_id: str, metric: str, value: float, replicates: FloatArray | None, note: str) -> Estimate:
        low, high = (None, None) if replicates is None else percentile_interval(replicates, level=LEVEL)
        rows.append(
            {
                "model_id": model_id,
                "metric": metric,
                "value": None if np.isnan(value) else value,
                "ci_low": low,
                "ci_high": high,
                "rows": len(test.labels),
                "blocks": n_blocks,
                "note": note,
            }
        )
        return Estimate(
            value=value,
            ci_low=float("nan") if low is None else low,
            ci_high=float("nan") if high is None else high,
        )

    frequency = mean_replicates(test.labels, blocks, counts=counts)
    for forecast in forecasts:
        name, probabilities = forecast.model_id, forecast.probabilities
        (precise, brier), (precise_again, brier_again) = points[name], resampled[name]
        skill = 1.0 - brier / points[reference][1]
        skill_again = 1.0 - brier_again / resampled[reference][1]
        precision, recall = precision_recall(test.labels, probabilities, threshold=forecast.threshold)
        at = _joined(f"alarm from {forecast.threshold:.4f}", forecast.note)
        add(name, "average_precision", precise, precise_again, forecast.note)
        add(name, "brier", brier, brier_again, forecast.note)
        add(name, "brier_skill", skill, skill_again, _joined("against the base rate", forecast.note))
        add(name, "log_loss", log_loss(test.labels, probabilities), None, forecast.note)
        add(name, "precision", precision, None, at)
        add(name, "recall", recall, None, at)
        add(name, "event_frequency", float(test.labels.mean()), frequency, "")
        curve = calibration_curve(test.labels, probabilities, n_bins=_BINS)
        for number, (predicted, observed, count) in enumerate(zip(*curve, strict=True)):
            bins.append(
                {
                    "model_id": name,
                    "bin": number,
                    "predicted": float(predicted),
                    "observed": float(observed),
                    "rows": int(count),
                }
            )

    candidate = forecasts[0].model_id
    comparisons = []
    for rival, name in rivals.items():
        differences = [
            add(
                candidate,
                f"{metric}_minus_{name}",
                points[candidate][part] - points[rival][part],
                resampled[candidate][part] - resampled[rival][part],
                "paired on the same blocks",
            )
            for part, metric in enumerate(("average_precision", "brier"))
        ]
        comparisons.append(Comparison(against=name, average_precision=differences[0], brier=differences[1]))
    return Evaluation(
        metrics=pa.Table.from_pylist(rows, schema=contract("check.models").schema),
        calibration=pa.Table.from_pylist(bins, schema=contract("check.calibration").schema),
        comparisons=tuple(comparisons),
        average_precision={name: point[0] for name, point in points.items()},
    )


def _joined(*notes: str) -> str:
    return "; ".join(note for note in notes if note)
