"""The three families: what they learn, what they write, and what is refused on reading."""

import json

import numpy as np
import pytest
import xgboost
from scipy.special import logit
from sklearn.linear_model import LogisticRegression
from tests.panels import make_panel

from acceleray.errors import CalibrationError, MissingDataError, SchemaError, StorageError
from acceleray.models.early_warning.baseline import LOGISTIC_INPUTS, fit_base_rate, fit_logistic
from acceleray.models.early_warning.boosting import booster_parameters, matrix
from acceleray.models.early_warning.dataset import INPUTS, LONG, session_axis, stack
from acceleray.models.early_warning.files import load_model, model_path, parse_model, save_model
from acceleray.numerics.classification import average_precision

HYPERPARAMETERS = {
    "max_depth": 3,
    "learning_rate": 0.2,
    "min_child_weight": 10.0,
    "reg_lambda": 1.0,
    "subsample": 0.8,
    "colsample_bytree": 0.8,
}


def fit_trees(samples, rounds=30):
    booster = xgboost.train(
        booster_parameters(HYPERPARAMETERS, seed=7), matrix(samples.values, samples.labels), rounds
    )
    return bytes(booster.save_raw("json"))


@pytest.fixture(scope="module")
def samples():
    panel = make_panel()
    return stack(panel, session_axis(panel))


@pytest.fixture(scope="module")
def parts(samples):
    return samples.where(samples.sessions < 500), samples.where(samples.sessions >= 560)


@pytest.fixture(scope="module")
def trees(parts):
    return fit_trees(parts[0])


def test_trees_find_what_volatility_alone_does_not_say(parts, trees):
    past, future = parts
    precision = {
        "trees": average_precision(future.labels, parse_model(trees).predict(future.values)),
        "logistic": average_precision(future.labels, fit_logistic(past).predict(future.values)),
        "chance": future.labels.mean(),
    }
    assert precision["trees"] > 1.3 * precision["logistic"]
    assert precision["logistic"] > precision["chance"]


def test_labels_of_another_time_teach_nothing(parts, trees):
    panel = make_panel(shift=250)
    moved = stack(panel, session_axis(panel))
    _, future = parts
    wrong = parse_model(fit_trees(moved.where(moved.sessions < 500)))
    right = average_precision(future.labels, parse_model(trees).predict(future.values))
    assert average_precision(future.labels, wrong.predict(future.values)) < 0.7 * right


def test_logistic_is_scikit_learns_and_its_contributions_add_up(parts):
    past, future = parts
    model = fit_logistic(past)
    columns = [INPUTS.index(name) for name in LOGISTIC_INPUTS]
    inputs = past.values[:, columns]
    scaled = (inputs - inputs.mean(axis=0)) / inputs.std(axis=0)
    expected = LogisticRegression(tol=1e-10, max_iter=1000).fit(scaled, past.labels)
    # Two runs of an optimiser with gradient tolerances of 1e-8 and 1e-10.
    np.testing.assert_allclose(model.predict(past.values), expected.predict_proba(scaled)[:, 1], rtol=1e-5)
    total = model.contributions(future.values).sum(axis=1) + model.intercept
    np.testing.assert_allclose(total, logit(model.predict(future.values)), rtol=1e-9)


def test_a_row_does_not_depend_on_its_batch(parts, trees):
    past, future = parts
    for model in (parse_model(trees), fit_logistic(past), fit_base_rate(past)):
        whole = model.predict(future.values)
        pieces = np.concatenate([model.predict(future.values[i : i + 7]) for i in range(0, 70, 7)])
        assert whole[:70].tobytes() == pieces.tobytes()


def test_base_rate_counts_by_side(parts):
    past, _ = parts
    model = fit_base_rate(past)
    assert model.long == past.labels[past.directions == LONG].mean()
    assert set(model.predict(past.values)) == {model.long, model.short}


def test_tree_contributions_are_exact(parts, trees):
    _, future = parts
    booster = xgboost.Booster()
    booster.load_model(bytearray(trees))
    margin = booster.predict(matrix(future.values), output_margin=True)
    bias = booster.predict(matrix(future.values), pred_contribs=True)[:, -1]
    contributions = parse_model(trees).contributions(future.values)
    # XGBoost adds up SHAP values in float32.
    np.testing.assert_allclose(contributions.sum(axis=1) + bias, margin, atol=1e-5)


def test_every_family_survives_its_file(tmp_path, parts, trees):
    past, future = parts
    contents = {
        "xgboost": trees,
        "logistic": fit_logistic(past).to_json(),
        "base_rate": fit_base_rate(past).to_json(),
    }
    for family, content in contents.items():
        sha256 = save_model(tmp_path, content)
        assert save_model(tmp_path, content) == sha256
        again = load_model(model_path(tmp_path, sha256), sha256)
        assert again.family == family
        assert again.predict(future.values).tobytes() == parse_model(content).predict(future.values).tobytes()


def test_a_poisoned_file_is_refused_before_it_is_parsed(tmp_path, trees):
    sha256 = save_model(tmp_path, trees)
    path = model_path(tmp_path, sha256)
    path.write_bytes(trees.replace(b'"base_score"', b'"base_scorE"', 1))
    with pytest.raises(StorageError, match="SHA-256"):
        load_model(path, sha256)
    # Writing the model again repairs it.
    save_model(tmp_path, trees)
    load_model(path, sha256)
    path.unlink()
    with pytest.raises(MissingDataError, match="gone"):
        load_model(path, sha256)


@pytest.mark.parametrize(
    "content",
    [b"\x80\x04\x95pickle", b"[]", b'{"family": "oracle"}', b"{", b'{"learner": {"feature_names": ["x"]}}'],
)
def test_what_is_no_model_is_refused(content):
    with pytest.raises(SchemaError):
        parse_model(content)


def test_a_logistic_model_of_other_inputs_is_refused(parts):
    fields = json.loads(fit_logistic(parts[0]).to_json())
    fields["inputs"][0] = "price"
    with pytest.raises(SchemaError, match="price"):
        parse_model(json.dumps(fields).encode())


def test_baselines_need_something_to_learn_from(parts):
    past, _ = parts
    with pytest.raises(CalibrationError, match="direction"):
        fit_base_rate(past.where(past.directions == LONG))
    with pytest.raises(CalibrationError, match="breaches"):
        fit_logistic(past.where(past.labels == 0.0))
