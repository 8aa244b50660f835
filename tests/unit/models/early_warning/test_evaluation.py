import numpy as np
import pytest

from acceleray.models.early_warning.dataset import INPUTS, Samples
from acceleray.models.early_warning.evaluation import Forecast, evaluate
from acceleray.numerics.classification import average_precision, brier_score


@pytest.fixture(scope="module")
def evaluation():
    stream = np.random.default_rng(4)
    sessions = np.repeat(np.arange(400), 10)
    chance = np.clip(0.15 + 0.1 * np.sin(sessions / 15) + 0.05 * stream.standard_normal(4000), 0.01, 0.9)
    labels = (stream.random(4000) < chance).astype(float)
    test = Samples(values=np.zeros((4000, len(INPUTS))), labels=labels, sessions=sessions)
    forecasts = [
        Forecast(model_id="c", family="xgboost", probabilities=chance, threshold=0.2),
        Forecast(model_id="l", family="logistic", probabilities=np.sqrt(chance) / 2, threshold=0.2),
        Forecast(model_id="b", family="base_rate", probabilities=np.full(4000, 0.15), threshold=0.99),
    ]
    result = evaluate(
        test,
        forecasts,
        rivals={"l": "logistic", "b": "base_rate"},
        reference="b",
        block_days=20,
        n_samples=300,
        seed=7,
    )
    return test, forecasts, result


def metric(result, model_id, name):
    (row,) = (r for r in result.metrics.to_pylist() if (r["model_id"], r["metric"]) == (model_id, name))
    return row


def test_points_are_the_plain_measures(evaluation):
    test, forecasts, result = evaluation
    for forecast in forecasts:
        row = metric(result, forecast.model_id, "average_precision")
        assert row["value"] == average_precision(test.labels, forecast.probabilities)
        assert row["ci_low"] < row["value"] < row["ci_high"]
        assert (row["rows"], row["blocks"]) == (4000, 20)
    assert metric(result, "b", "brier_skill")["value"] == 0.0
    skill = 1 - brier_score(test.labels, forecasts[0].probabilities) / brier_score(
        test.labels, forecasts[2].probabilities
    )
    assert metric(result, "c", "brier_skill")["value"] == pytest.approx(skill, rel=1e-14)
    # Nothing is flagged, so precision is not a number.
    assert metric(result, "b", "precision")["value"] is None
    assert metric(result, "b", "recall")["value"] == 0.0


def test_differences_are_paired(evaluation):
    _, _, result = evaluation
    against_logistic, against_base = result.comparisons
    # Both models rank alike, so on the same blocks the difference is exactly zero, whatever the blocks.
    ranking = against_logistic.average_precision
    assert (ranking.value, ranking.ci_low, ranking.ci_high) == (0.0, 0.0, 0.0)
    assert against_base.average_precision.ci_low > 0.0
    assert against_base.brier.ci_high < 0.0
    row = metric(result, "c", "brier_minus_base_rate")
    assert row["value"] == against_base.brier.value


def test_keys_are_unique_and_calibration_is_complete(evaluation):
    test, _, result = evaluation
    keys = [(row["model_id"], row["metric"]) for row in result.metrics.to_pylist()]
    assert len(keys) == len(set(keys))
    for model_id in ("c", "l", "b"):
        rows = [row["rows"] for row in result.calibration.to_pylist() if row["model_id"] == model_id]
        assert sum(rows) == len(test.labels)
