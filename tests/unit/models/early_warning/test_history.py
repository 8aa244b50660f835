import datetime as dt

import numpy as np
import pyarrow as pa
import pytest
from tests.panels import make_panel

from acceleray.config.models import CalibrateSettings
from acceleray.errors import MissingDataError
from acceleray.models.early_warning.baseline import fit_logistic
from acceleray.models.early_warning.boosting import booster_parameters, matrix
from acceleray.models.early_warning.dataset import SHORT
from acceleray.models.early_warning.history import read_history
from acceleray.models.early_warning.search import fold_data

SETTINGS = CalibrateSettings(folds=2, out_of_time_days=200)


@pytest.fixture(scope="module")
def panel():
    return make_panel()


def with_noise_after(panel: pa.Table, day: dt.date) -> pa.Table:
    """Replace every feature and label dated after a day."""
    stream = np.random.default_rng(9)
    later = np.array([date > day for date in panel["date"].to_pylist()])
    for number, field in enumerate(panel.schema):
        if field.type == pa.float64():
            values = np.where(later, stream.standard_normal(len(later)), panel[field.name].to_numpy())
            panel = panel.set_column(number, field, pa.array(values, from_pandas=True))
        elif field.name.startswith("label"):
            known = panel[field.name].to_numpy()
            values = np.where(later & ~np.isnan(known), 1.0 - known, known)
            panel = panel.set_column(
                number, field, pa.array(values, pa.float64(), from_pandas=True).cast(pa.int64())
            )
    return panel


def test_noise_after_the_training_period_changes_nothing_that_is_learned(panel):
    history = read_history(panel, SETTINGS, horizon_days=20)
    last = history.axis[history.split.test.train_to].astype(object)
    noisy = read_history(with_noise_after(panel, last), SETTINGS, horizon_days=20)
    assert noisy.split.folds == history.split.folds
    assert noisy.split.threshold == history.split.threshold
    assert noisy.training.values.tobytes() == history.training.values.tobytes()
    assert noisy.training.labels.tobytes() == history.training.labels.tobytes()
    parts = [*history.split.folds, history.split.threshold]
    for mine, theirs in zip(
        fold_data(history.learn, parts, history.split.sampled),
        fold_data(noisy.learn, parts, noisy.split.sampled),
        strict=True,
    ):
        assert mine.train_values.tobytes() == theirs.train_values.tobytes()
        assert mine.judge_labels.tobytes() == theirs.judge_labels.tobytes()
    # And the noise was there: the test period differs.
    assert noisy.test.values.tobytes() != history.test.values.tobytes()


def test_noise_after_the_training_period_changes_no_score_up_to_it(panel):
    import xgboost

    history = read_history(panel, SETTINGS, horizon_days=20)
    last = history.axis[history.split.test.train_to].astype(object)
    noisy = read_history(with_noise_after(panel, last), SETTINGS, horizon_days=20)
    chosen = {"max_depth": 3, "learning_rate": 0.2, "min_child_weight": 5.0, "reg_lambda": 1.0}
    parameters = booster_parameters(chosen | {"subsample": 0.8, "colsample_bytree": 0.8}, seed=7)
    scores = []
    for each in (history, noisy):
        trained = xgboost.train(parameters, matrix(each.training.values, each.training.labels), 10)
        past = each.training.values
        scores.append((trained.predict(matrix(past)), fit_logistic(each.training).predict(past)))
    for before, after in zip(*scores, strict=True):
        assert before.tobytes() == after.tobytes()
        assert np.ptp(before) > 0.0


def test_only_training_factors_teach_and_all_factors_judge(panel):
    settings = SETTINGS.model_copy(update={"train_factors": ("F1", "F0")})
    history = read_history(panel, settings, horizon_days=20)
    everything = read_history(panel, SETTINGS, horizon_days=20)
    assert history.factors == ("F0", "F1")
    assert len(history.training.labels) * 2 == len(everything.training.labels)
    assert len(history.test.labels) == len(everything.test.labels) == 200 * 4 * 2
    assert (history.test.directions == SHORT).sum() == 200 * 4
    later = SETTINGS.model_copy(update={"train_from": dt.date(2010, 6, 1)})
    assert read_history(panel, later, horizon_days=20).training.sessions.min() >= 106


def test_a_short_history_says_which_settings_to_lower():
    with pytest.raises(MissingDataError, match="out_of_time_days"):
        read_history(make_panel(n_sessions=250), SETTINGS, horizon_days=20)
