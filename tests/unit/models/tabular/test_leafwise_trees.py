"""LightGBM behind the family: the trees are those of plain LightGBM, and its file is guarded."""

import dataclasses
import json
import socket
import subprocess
import sys
from pathlib import Path

import lightgbm
import numpy as np
import pytest
from scipy.special import logit
from tests.unit.models.tabular.synthetic import SIGNATURE, make_rows

from acceleray.errors import SchemaError, UsageError
from acceleray.models.tabular.leafwise_trees import FAMILY
from acceleray.models.tabular.signature import Signature


@pytest.fixture(scope="module")
def rows():
    return make_rows()


@pytest.fixture(scope="module")
def learner(rows):
    learner = FAMILY.begin(rows, SIGNATURE, {"num_leaves": 8, "learning_rate": 0.2}, seed=2)
    learner.advance(20)
    return learner


def trees(text):
    return text[text.index("\nTree=0") : text.index("\nend of trees")]


def test_trees_are_those_of_plain_lightgbm(rows, learner):
    plain = lightgbm.train(
        {"objective": "binary", "num_leaves": 8, "learning_rate": 0.2, "num_threads": 1, "verbosity": -1},
        lightgbm.Dataset(rows.values, label=rows.labels, categorical_feature=[1]),
        20,
    )
    assert trees(learner.content().decode()) == trees(plain.model_to_string())


def test_plain_lightgbm_reads_the_file(rows, learner):
    plain = lightgbm.Booster(model_str=learner.content().decode())
    np.testing.assert_array_equal(plain.predict(rows.values, num_threads=1), learner.predict(rows.values))


def test_shap_values_sum_to_the_margin_less_the_bias(rows, learner):
    model = FAMILY.load(learner.content(), SIGNATURE)
    plain = lightgbm.Booster(model_str=learner.content().decode())
    bias = plain.predict(rows.values, pred_contrib=True)[:, -1]
    total = model.contributions(rows.values).sum(axis=1) + bias
    # Sums of twenty float64 leaves, and the logit of a rounded probability.
    np.testing.assert_allclose(total, logit(model.predict(rows.values)), atol=1e-12)


def test_the_file_says_nothing_of_where_it_was_trained(learner):
    assert b"num_threads" not in learner.content()
    assert b"machines" not in learner.content()


def test_one_changed_byte_is_found_before_lightgbm_reads_it(learner):
    content = learner.content()
    for position in range(0, len(content), 997):
        poisoned = bytearray(content)
        poisoned[position] ^= 1
        with pytest.raises(SchemaError):
            FAMILY.load(bytes(poisoned), SIGNATURE)


def test_names_that_lightgbm_does_not_take_are_kept(rows):
    names = ("net income", 'a "quoted" name', "größe", "x,y:z")
    features = tuple(
        dataclasses.replace(each, name=name) for each, name in zip(SIGNATURE.features, names, strict=True)
    )
    signature = Signature(features=features, label="default")
    learner = FAMILY.begin(rows, signature, {}, seed=2)
    learner.advance(2)
    FAMILY.load(learner.content(), signature)
    with pytest.raises(SchemaError, match='net income, a "quoted" name, größe, x,y:z'):
        FAMILY.load(learner.content(), SIGNATURE)


def test_rounds_without_a_split_count_and_leave_no_trace_either(rows):
    some = rows.take(np.arange(60))
    configuration = {"min_data_in_leaf": 29, "bagging_fraction": 0.97, "feature_fraction": 0.5}
    whole = FAMILY.begin(some, SIGNATURE, configuration, seed=2)
    whole.advance(30)
    n_trees = lightgbm.Booster(model_str=whole.content().decode()).num_trees()
    assert 5 < n_trees < 30
    content = None
    for _ in range(30):
        part = FAMILY.begin(some, SIGNATURE, configuration, seed=2, checkpoint=content)
        part.advance(1)
        content = part.content()
    assert part.rounds == whole.rounds == 30
    # LightGBM drops the weight of a first tree without a split when it reads one; nothing predicts with it.
    np.testing.assert_array_equal(part.predict(rows.values), whole.predict(rows.values))


def test_what_lightgbm_does_not_allow_is_an_error_of_use(rows):
    with pytest.raises(UsageError, match="bagging_fraction"):
        FAMILY.begin(rows, SIGNATURE, {"bagging_fraction": 1.5}, seed=2).advance(1)


RANK = """
import json, sys
import numpy as np
from acceleray.models.tabular.family import Peers
from acceleray.models.tabular.leafwise_trees import FAMILY
from acceleray.models.tabular.signature import Rows
from tests.unit.models.tabular.synthetic import SIGNATURE, make_rows

rank, settings, target = int(sys.argv[1]), json.loads(sys.argv[2]), sys.argv[3]
rows = make_rows()
mine = rows.take(np.arange(rank, 1500, 2))
peers = Peers(rank=rank, size=2, settings=settings)
learner = FAMILY.begin(mine, SIGNATURE, {"num_leaves": 8, "bagging_fraction": 0.8}, seed=2, peers=peers)
learner.advance(15)
open(f"{target}/{rank}", "wb").write(learner.content())
"""


def free_ports():
    with socket.socket() as one, socket.socket() as other:
        one.bind(("127.0.0.1", 0))
        other.bind(("127.0.0.1", 0))
        return one.getsockname()[1], other.getsockname()[1]


def two_ranks(folder):
    ports = free_ports()
    machines = ",".join(f"127.0.0.1:{port}" for port in ports)
    ranks = []
    for rank, port in enumerate(ports):
        settings = {"machines": machines, "num_machines": 2, "local_listen_port": port, "time_out": 30}
        ranks.append(
            subprocess.Popen([sys.executable, "-c", RANK, str(rank), json.dumps(settings), str(folder)])
        )
    assert [rank.wait(timeout=60) for rank in ranks] == [0, 0]
    return [Path(folder, str(rank)).read_bytes() for rank in range(2)]


def test_two_ranks_make_one_model(tmp_path, rows):
    first, second = two_ranks(tmp_path)
    assert first == second
    alone = FAMILY.begin(rows, SIGNATURE, {"num_leaves": 8, "bagging_fraction": 0.8}, seed=2)
    alone.advance(15)
    unseen = make_rows(seed=12)
    found = FAMILY.load(first, SIGNATURE).predict(unseen.values)
    # Other bins and other bags: the same rows, not the same trees.
    assert np.corrcoef(found, alone.predict(unseen.values))[0, 1] > 0.97
