import numpy as np
import pytest
from sklearn import metrics

from acceleray.errors import NumericalError
from acceleray.numerics import classification as c


@pytest.fixture(scope="module")
def forecasts():
    stream = np.random.default_rng(1)
    probabilities = np.round(stream.beta(1, 6, 4000), 2)  # many ties
    labels = (stream.random(4000) < probabilities).astype(float)
    return labels, probabilities


def test_measures_agree_with_scikit_learn(forecasts):
    labels, probabilities = forecasts
    # Both sum 4,000 float64 terms in another order.
    tolerance = {"rel": 1e-12}
    expected = metrics.average_precision_score(labels, probabilities)
    assert c.average_precision(labels, probabilities) == pytest.approx(expected, **tolerance)
    expected = metrics.brier_score_loss(labels, probabilities)
    assert c.brier_score(labels, probabilities) == pytest.approx(expected, **tolerance)
    inside = np.clip(probabilities, 1e-15, 1 - 1e-15)
    expected = metrics.log_loss(labels, inside)
    assert c.log_loss(labels, probabilities) == pytest.approx(expected, **tolerance)
    flagged = probabilities >= 0.3
    assert c.precision_recall(labels, probabilities, threshold=0.3) == pytest.approx(
        (metrics.precision_score(labels, flagged), metrics.recall_score(labels, flagged)), **tolerance
    )


def test_best_f1_threshold_is_best_of_all(forecasts):
    labels, probabilities = forecasts
    found = c.best_f1_threshold(labels, probabilities)
    scores = [metrics.f1_score(labels, probabilities >= level) for level in np.unique(probabilities)]
    # F1 is a ratio of counts below 1e4, so different F1 values differ by more than 1e-8.
    assert metrics.f1_score(labels, probabilities >= found) == pytest.approx(max(scores), abs=1e-12)


def test_average_precision_of_a_constant_is_the_event_frequency():
    assert c.average_precision([0, 1, 0, 0], [0.2] * 4) == 0.25


def test_a_resample_weighs_rows_as_if_they_were_repeated(forecasts):
    labels, probabilities = forecasts
    blocks = np.arange(labels.size) // 400
    counts = c.block_counts(10, 3, generator=np.random.default_rng(2))
    assert (counts.sum(axis=1) == 10).all()
    replicates = c.average_precision_replicates(labels, probabilities, blocks, counts=counts)
    means = c.mean_replicates(c.squared_errors(labels, probabilities), blocks, counts=counts)
    for count, precise, brier in zip(counts, replicates, means, strict=True):
        rows = np.repeat(np.arange(labels.size), count[blocks])
        assert precise == pytest.approx(c.average_precision(labels[rows], probabilities[rows]), rel=1e-12)
        assert brier == pytest.approx(c.brier_score(labels[rows], probabilities[rows]), rel=1e-12)


def test_interval_of_a_mean_has_its_level():
    # Blocks of 5 equal values: the honest sample size is 40, and ignoring blocks would cover far less.
    stream = np.random.default_rng(5)
    covered = 0
    trials = 300
    for _ in range(trials):
        values = np.repeat(stream.standard_normal(40), 5)
        blocks, n_blocks = c.date_blocks(np.arange(200), block_days=5)
        counts = c.block_counts(n_blocks, 400, generator=stream)
        low, high = c.percentile_interval(c.mean_replicates(values, blocks, counts=counts), level=0.9)
        covered += low <= 0.0 <= high
    # Percentile intervals from 40 blocks cover about 0.89; four standard errors of 300 trials around it.
    assert abs(covered / trials - 0.89) < 4 * np.sqrt(0.89 * 0.11 / trials)


def test_date_blocks_are_long_enough_and_keep_a_date_together():
    sessions = np.repeat(np.arange(100, 150), 3)
    blocks, n_blocks = c.date_blocks(sessions, block_days=20)
    assert n_blocks == 2
    assert all(np.unique(sessions[blocks == block]).size >= 20 for block in range(n_blocks))
    assert all(np.unique(blocks[sessions == session]).size == 1 for session in sessions)
    with pytest.raises(NumericalError, match="at least 2"):
        c.date_blocks(np.arange(30), block_days=20)


def test_calibration_curve_keeps_every_row_and_ties_together(forecasts):
    labels, probabilities = forecasts
    predicted, observed, rows = c.calibration_curve(labels, probabilities, n_bins=10)
    assert rows.sum() == labels.size
    assert (np.diff(predicted) > 0).all()
    assert np.sum(rows * observed) == pytest.approx(labels.sum(), rel=1e-12)
    # Labels were drawn with these probabilities: each bin within four standard errors.
    error = np.sqrt(predicted * (1 - predicted) / rows)
    assert (np.abs(observed - predicted) < 4 * error + 1e-12).all()
    assert c.calibration_curve([0, 1, 0], [0.5, 0.5, 0.5], n_bins=10)[2].tolist() == [3]


@pytest.mark.parametrize(
    ("labels", "scores", "error"),
    [
        ([0, 1], [0.1, np.nan], NumericalError),
        ([0, 1], [0.1, np.inf], NumericalError),
        ([0, 2], [0.1, 0.2], NumericalError),
        ([0, 0], [0.1, 0.2], NumericalError),
        ([0, 1], [0.1], ValueError),
        ([], [], ValueError),
    ],
)
def test_bad_numbers_stop_it(labels, scores, error):
    with pytest.raises(error):
        c.average_precision(labels, scores)


def test_probabilities_must_be_probabilities():
    with pytest.raises(NumericalError, match="outside"):
        c.brier_score([0, 1], [0.1, 1.1])
    with pytest.raises(NumericalError, match="resamples"):
        c.percentile_interval(np.array([np.nan, np.nan, 1.0]), level=0.9)
