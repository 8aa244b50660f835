"""Judge probability forecasts of rare events: ranking, calibration, and intervals from blocks of dates."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from acceleray.errors import NumericalError

__all__ = [
    "average_precision",
    "average_precision_replicates",
    "best_f1_threshold",
    "block_counts",
    "brier_score",
    "calibration_curve",
    "date_blocks",
    "log_loss",
    "mean_replicates",
    "percentile_interval",
    "precision_recall",
    "squared_errors",
]

FloatArray = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]


def _checked(labels: npt.ArrayLike, scores: npt.ArrayLike) -> tuple[FloatArray, FloatArray]:
    outcome, forecast = np.asarray(labels, dtype=np.float64), np.asarray(scores, dtype=np.float64)
    if outcome.ndim != 1 or outcome.shape != forecast.shape or outcome.size == 0:
        raise ValueError(f"labels and scores were of shape {outcome.shape} and {forecast.shape}")
    if not np.isfinite(forecast).all():
        raise NumericalError("A score was not finite")
    if not np.isin(outcome, (0.0, 1.0)).all():
        raise NumericalError("A label was neither 0 nor 1")
    return outcome, forecast


def _probabilities(labels: npt.ArrayLike, probabilities: npt.ArrayLike) -> tuple[FloatArray, FloatArray]:
    outcome, forecast = _checked(labels, probabilities)
    if forecast.min() < 0.0 or forecast.max() > 1.0:
        raise NumericalError("A probability lay outside [0, 1]")
    return outcome, forecast


def average_precision(labels: npt.ArrayLike, scores: npt.ArrayLike) -> float:
    """Area under the precision-recall curve, as a step function.

    Parameters
    ----------
    labels : array_like of shape (n,)
        1 where the event happened, else 0.
    scores : array_like of shape (n,)
        Higher means more likely. Rows with equal scores enter together.

    Returns
    -------
    float
        In [0, 1]; the event frequency for a score that says nothing.

    Raises
    ------
    NumericalError
        If a score is not finite, a label is not 0 or 1, or no event happened.

    Examples
    --------
    >>> average_precision([0, 1, 0, 1], [0.1, 0.4, 0.35, 0.8])
    1.0
    """
    outcome, forecast = _checked(labels, scores)
    one_block = np.zeros(outcome.size, dtype=np.int64)
    value = average_precision_replicates(
        outcome, forecast, one_block, counts=np.ones((1, 1), dtype=np.int64)
    )[0]
    if np.isnan(value):
        raise NumericalError("Average precision is not defined without an event")
    return float(value)


def average_precision_replicates(
    labels: npt.ArrayLike, scores: npt.ArrayLike, blocks: IntArray, *, counts: IntArray
) -> FloatArray:
    """Average precision of every resample of blocks.

    Parameters
    ----------
    labels, scores : array_like of shape (n,)
        As in `average_precision`.
    blocks : ndarray of shape (n,)
        Block of each row, from 0.
    counts : ndarray of shape (n_samples, n_blocks)
        How often a resample draws each block.

    Returns
    -------
    ndarray of shape (n_samples,)
        NaN where a resample holds no event.
    """
    outcome, forecast = _checked(labels, scores)
    # One sort serves every resample: a row that is drawn k times is a row of weight k.
    order = np.argsort(-forecast, kind="stable")
    ends = np.flatnonzero(np.append(np.diff(forecast[order]) != 0.0, True))
    events = outcome[order]
    block = blocks[order]
    replicates = np.empty(counts.shape[0])
    for sample, drawn in enumerate(counts):
        weight = drawn[block].astype(np.float64)
        flagged = np.cumsum(weight)[ends]
        hits = np.cumsum(weight * events)[ends]
        if hits[-1] == 0.0:
            replicates[sample] = np.nan
            continue
        gained = np.diff(hits, prepend=0.0)
        # Nothing is gained before the first row that was drawn, so its precision does not matter.
        precision = hits / np.maximum(flagged, 1.0)
        replicates[sample] = np.sum(gained * precision) / hits[-1]
    return replicates


def squared_errors(labels: npt.ArrayLike, probabilities: npt.ArrayLike) -> FloatArray:
    """Squared error of each forecast; its mean is the Brier score."""
    outcome, forecast = _probabilities(labels, probabilities)
    return np.square(forecast - outcome)


def brier_score(labels: npt.ArrayLike, probabilities: npt.ArrayLike) -> float:
    """Mean squared error of probabilities; lower is better.

    References
    ----------
    .. [1] Brier (1950), Verification of forecasts expressed in terms of probability, Monthly Weather
       Review 78(1).

    Examples
    --------
    >>> brier_score([0, 1, 1, 0], [0.1, 0.9, 0.8, 0.3])
    0.0375
    """
    return float(np.mean(squared_errors(labels, probabilities)))


def log_loss(labels: npt.ArrayLike, probabilities: npt.ArrayLike) -> float:
    """Mean negative log likelihood of the labels; lower is better.

    Probabilities are kept 1e-15 away from 0 and 1, so that one impossible event costs 34.5, not infinity.
    """
    outcome, forecast = _probabilities(labels, probabilities)
    forecast = np.clip(forecast, 1e-15, 1.0 - 1e-15)
    return float(-np.mean(np.where(outcome == 1.0, np.log(forecast), np.log1p(-forecast))))


def precision_recall(
    labels: npt.ArrayLike, scores: npt.ArrayLike, *, threshold: float
) -> tuple[float, float]:
    """Precision and recall of the alarm ``score >= threshold``.

    Returns
    -------
    (float, float)
        Precision is NaN if nothing is flagged.

    Raises
    ------
    NumericalError
        If no event happened.
    """
    outcome, forecast = _checked(labels, scores)
    if not outcome.any():
        raise NumericalError("Recall is not defined without an event")
    flagged = forecast >= threshold
    hits = float(outcome[flagged].sum())
    precision = hits / int(flagged.sum()) if flagged.any() else float("nan")
    return precision, hits / float(outcome.sum())


def best_f1_threshold(labels: npt.ArrayLike, scores: npt.ArrayLike) -> float:
    """Find the alarm level with the highest F1, the harmonic mean of precision and recall.

    Returns
    -------
    float
        One of the scores; of equally good levels the highest, which raises the fewest alarms.

    Examples
    --------
    >>> best_f1_threshold([0, 0, 1, 0, 1], [0.1, 0.2, 0.6, 0.5, 0.9])
    0.6
    """
    outcome, forecast = _checked(labels, scores)
    if not outcome.any():
        raise NumericalError("F1 is not defined without an event")
    order = np.argsort(-forecast, kind="stable")
    ends = np.flatnonzero(np.append(np.diff(forecast[order]) != 0.0, True))
    hits = np.cumsum(outcome[order])[ends]
    f1 = 2.0 * hits / (ends + 1.0 + outcome.sum())
    return float(forecast[order][ends[int(np.argmax(f1))]])


def calibration_curve(
    labels: npt.ArrayLike, probabilities: npt.ArrayLike, *, n_bins: int
) -> tuple[FloatArray, FloatArray, IntArray]:
    """Compare forecast with frequency in bins of about equally many rows.

    Parameters
    ----------
    labels, probabilities : array_like of shape (n,)
    n_bins : int
        Most bins. Equal probabilities share one, so a forecast with few values fills fewer.

    Returns
    -------
    predicted : ndarray of shape (n_filled,)
        Mean forecast per bin, increasing.
    observed : ndarray of shape (n_filled,)
        Share of rows in which the event happened.
    rows : ndarray of shape (n_filled,)
    """
    outcome, forecast = _probabilities(labels, probabilities)
    ordered = np.sort(forecast)
    edges = np.unique(ordered[(np.arange(1, n_bins) * ordered.size) // n_bins])
    bins = np.searchsorted(edges, forecast, side="right")
    rows = np.bincount(bins, minlength=edges.size + 1)
    filled = np.flatnonzero(rows)
    predicted = np.array([forecast[bins == number].mean() for number in filled])
    observed = np.array([outcome[bins == number].mean() for number in filled])
    return predicted, observed, rows[filled].astype(np.int64)


def date_blocks(sessions: IntArray, *, block_days: int) -> tuple[IntArray, int]:
    """Cut a stretch of sessions into blocks of at least `block_days` consecutive sessions.

    Parameters
    ----------
    sessions : ndarray of shape (n,)
        Session number of each row. The last block takes the sessions that are left over.

    Returns
    -------
    blocks : ndarray of shape (n,)
        Block of each row.
    n_blocks : int

    Raises
    ------
    NumericalError
        If there are not two blocks: no interval can come from one.
    """
    first, last = int(sessions.min()), int(sessions.max())
    n_blocks = (last - first + 1) // block_days
    if n_blocks < 2:
        raise NumericalError(
            f"{last - first + 1} sessions hold {n_blocks} blocks of {block_days}, at least 2 were needed"
        )
    blocks = np.minimum((sessions - first) // block_days, n_blocks - 1)
    return blocks.astype(np.int64), n_blocks


def block_counts(n_blocks: int, n_samples: int, *, generator: np.random.Generator) -> IntArray:
    """Draw blocks with replacement.

    Returns
    -------
    ndarray of shape (n_samples, n_blocks)
        How often each resample holds each block; every row sums to `n_blocks`. Statistics of two models on
        the same counts are paired.
    """
    drawn = generator.integers(0, n_blocks, size=(n_samples, n_blocks))
    counts = np.zeros((n_samples, n_blocks), dtype=np.int64)
    np.add.at(counts, (np.arange(n_samples)[:, None], drawn), 1)
    return counts


def mean_replicates(values: FloatArray, blocks: IntArray, *, counts: IntArray) -> FloatArray:
    """Mean of `values` in every resample of blocks.

    Returns
    -------
    ndarray of shape (n_samples,)
        NaN where a resample holds no row.
    """
    if not np.isfinite(values).all():
        raise NumericalError("A value to average was not finite")
    n_blocks = counts.shape[1]
    sums = np.bincount(blocks, weights=values, minlength=n_blocks)
    rows = np.bincount(blocks, minlength=n_blocks).astype(np.float64)
    # Elementwise products, not a matrix product: the order of the sum must not depend on BLAS.
    total = np.sum(counts * sums, axis=1)
    size = np.sum(counts * rows, axis=1)
    means: FloatArray = np.divide(total, size, out=np.full(counts.shape[0], np.nan), where=size > 0)
    return means


def percentile_interval(replicates: FloatArray, *, level: float) -> tuple[float, float]:
    """Central interval of bootstrap replicates; undefined replicates are left out.

    Raises
    ------
    NumericalError
        If fewer than half of the replicates are defined.
    """
    defined = replicates[~np.isnan(replicates)]
    if defined.size * 2 < replicates.size or defined.size == 0:
        raise NumericalError(f"Only {defined.size} of {replicates.size} resamples hold an event")
    low, high = np.quantile(defined, [(1.0 - level) / 2.0, (1.0 + level) / 2.0])
    return float(low), float(high)
