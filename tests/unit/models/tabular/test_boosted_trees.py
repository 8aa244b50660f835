"""XGBoost behind the family: the trees are those of plain XGBoost."""

import json

import numpy as np
import pytest
import xgboost
from scipy.special import logit
from tests.unit.models.tabular.synthetic import SIGNATURE, make_rows

from acceleray.errors import UsageError
from acceleray.models.tabular.boosted_trees import FAMILY

COLUMNS = {
    "feature_names": ["income", "sector", "age", "noise"],
    "feature_types": ["q", "c", "q", "q"],
    "enable_categorical": True,
}


@pytest.fixture(scope="module")
def rows():
    return make_rows()


@pytest.fixture(scope="module")
def learner(rows):
    learner = FAMILY.begin(rows, SIGNATURE, {"max_depth": 4, "learning_rate": 0.1}, seed=2)
    learner.advance(25)
    return learner


def test_trees_are_those_of_plain_xgboost(rows, learner):
    plain = xgboost.train(
        {"objective": "binary:logistic", "tree_method": "hist", "max_depth": 4, "eta": 0.1, "nthread": 1},
        xgboost.DMatrix(rows.values, label=rows.labels, **COLUMNS),
        25,
    )
    ours, theirs = (
        json.loads(content)["learner"] for content in (learner.content(), bytes(plain.save_raw("json")))
    )
    assert ours["gradient_booster"] == theirs["gradient_booster"]
    assert ours["learner_model_param"] == theirs["learner_model_param"]


def test_shap_values_sum_to_the_margin_less_the_bias(rows, learner):
    model = FAMILY.load(learner.content(), SIGNATURE)
    booster = xgboost.Booster(model_file=bytearray(learner.content()))
    matrix = xgboost.DMatrix(rows.values, **COLUMNS)
    bias = booster.predict(matrix, pred_contribs=True)[:, -1]
    margin = logit(model.predict(rows.values))
    total = model.contributions(rows.values).sum(axis=1) + bias
    # Probabilities and SHAP values are float32; the margin of a probability near 0 or 1 keeps fewer digits.
    np.testing.assert_allclose(total, margin, atol=2e-5)


def test_what_xgboost_does_not_allow_is_an_error_of_use(rows):
    with pytest.raises(UsageError, match="subsample"):
        FAMILY.begin(rows, SIGNATURE, {"subsample": 1.5}, seed=2)
    with pytest.raises(UsageError, match="whole number"):
        FAMILY.begin(rows, SIGNATURE, {"max_depth": 3.5}, seed=2)
