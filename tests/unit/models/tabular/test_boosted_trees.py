"""XGBoost behind the family: the trees are those of plain XGBoost."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import xgboost
from scipy.special import logit
from tests.unit.models.tabular.synthetic import SIGNATURE, make_rows
from xgboost.tracker import RabitTracker

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


RANK = """
import json, sys
import numpy as np
import xgboost
from acceleray.errors import MissingDataError
from acceleray.models.tabular.boosted_trees import FAMILY
from acceleray.models.tabular.family import Peers
from tests.unit.models.tabular.synthetic import SIGNATURE, make_rows

rank, settings, target = int(sys.argv[1]), json.loads(sys.argv[2]), sys.argv[3]
rows = make_rows()
# One rank has a single class, which is no error as long as the other has both.
events = np.flatnonzero(rows.labels == 1)[:200]
mine = rows.take(events if rank else np.setdiff1d(np.arange(1500), events))
configuration = {"max_depth": 4, "learning_rate": 0.1, "subsample": 0.8}
with xgboost.collective.CommunicatorContext(**settings):
    peers = Peers(rank=rank, size=2)
    learner = FAMILY.begin(mine, SIGNATURE, configuration, seed=2, peers=peers)
    learner.advance(10)
    going_on = FAMILY.begin(mine, SIGNATURE, configuration, seed=2, peers=peers, checkpoint=learner.content())
    going_on.advance(15)
    learner.advance(15)
    assert going_on.content() == learner.content()
    try:
        FAMILY.begin(rows.take(events), SIGNATURE, {}, seed=2, peers=peers)
    except MissingDataError as error:
        assert "400 rows" in str(error)
    else:
        raise AssertionError("one class over all ranks was accepted")
open(f"{target}/{rank}", "wb").write(learner.content())
"""


def test_two_ranks_make_one_model(tmp_path, rows, learner):
    tracker = RabitTracker(n_workers=2, host_ip="127.0.0.1")
    tracker.start()
    settings = json.dumps(tracker.worker_args())
    ranks = [
        subprocess.Popen([sys.executable, "-c", RANK, str(rank), settings, str(tmp_path)])
        for rank in range(2)
    ]
    assert [rank.wait(timeout=60) for rank in ranks] == [0, 0]
    tracker.free()
    first, second = (Path(tmp_path, str(rank)).read_bytes() for rank in range(2))
    assert first == second
    unseen = make_rows(seed=12)
    found = FAMILY.load(first, SIGNATURE).predict(unseen.values)
    # Other bins and other samples: the same rows, not the same trees.
    assert np.corrcoef(found, learner.predict(unseen.values))[0, 1] > 0.97
