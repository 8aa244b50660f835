"""What every family promises: it learns, repeats, goes on after a break, and refuses what it cannot use."""

import dataclasses
import subprocess
import sys

import numpy as np
import pytest
from tests.unit.models.tabular.synthetic import SIGNATURE, make_rows

from acceleray.errors import MissingDataError, SchemaError, UsageError
from acceleray.models.tabular.family import FAMILIES, family
from acceleray.models.tabular.signature import Feature, Rows
from acceleray.numerics.classification import average_precision, log_loss

ROUNDS = {"xgboost": 30, "lightgbm": 30, "network": 12}
# Everything that draws random numbers is switched on.
CONFIGURATION = {
    "xgboost": {
        "max_depth": 3,
        "learning_rate": 0.2,
        "subsample": 0.7,
        "colsample_bytree": 0.7,
    },
    "lightgbm": {
        "num_leaves": 8,
        "learning_rate": 0.2,
        "min_data_in_leaf": 10,
        "bagging_fraction": 0.7,
        "feature_fraction": 0.7,
    },
    "network": {"n_layers": 2, "n_hidden": 16, "learning_rate": 0.01, "batch_size": 128},
}


@pytest.fixture(params=[name for name in FAMILIES if name in CONFIGURATION], scope="module")
def name(request):
    if request.param == "network":
        pytest.importorskip("torch", reason="PyTorch is not installed: pip install 'acceleray[torch]'")
    return request.param


@pytest.fixture(scope="module")
def rows():
    return make_rows()


@pytest.fixture(scope="module")
def unseen():
    return make_rows(seed=12)


def begin(name, rows, *, signature=SIGNATURE, seed=5, **more):
    return family(name).begin(rows, signature, CONFIGURATION[name], seed=seed, **more)


def learn(name, rows, **more):
    learner = begin(name, rows, **more)
    learner.advance(ROUNDS[name])
    return learner


@pytest.fixture(scope="module")
def learner(name, rows):
    return learn(name, rows)


@pytest.fixture(scope="module")
def model(name, learner):
    return family(name).load(learner.content(), SIGNATURE)


def test_unseen_rows_are_told_apart_and_probabilities_are_honest(model, unseen):
    predicted = model.predict(unseen.values)
    rate = np.full(predicted.size, unseen.labels.mean())
    assert average_precision(unseen.labels, predicted) > 1.5 * rate[0]
    assert log_loss(unseen.labels, predicted) < 0.8 * log_loss(unseen.labels, rate)


def test_a_category_is_more_than_its_code(name, rows, unseen, model):
    alone = np.full((4, 4), np.nan, np.float32)
    alone[:, 1] = np.arange(4)
    energy, retail, steel, tech = model.predict(alone)
    assert min(retail, tech) > 1.5 * max(energy, steel)


def test_the_same_seed_gives_the_same_bytes_and_another_seed_does_not(name, rows, learner):
    assert learn(name, rows).content() == learner.content()
    assert learn(name, rows, seed=6).content() != learner.content()


def test_threads_are_no_part_of_the_file(name, rows):
    two = begin(name, rows, threads=2)
    one = begin(name, rows)
    for each in (one, two):
        each.advance(4)
    assert two.content() == one.content()


@pytest.mark.parametrize("breaks", [[7], [1, 2, 11]])
def test_a_break_in_training_leaves_no_trace(name, rows, learner, breaks):
    content, done = None, 0
    for stop in [*breaks, ROUNDS[name]]:
        going_on = begin(name, rows, checkpoint=content)
        assert going_on.rounds == done
        going_on.advance(stop - done)
        # Another training between ours must not move our random numbers.
        begin(name, rows, seed=stop).advance(1)
        content, done = going_on.content(), stop
    assert going_on.rounds == ROUNDS[name]
    assert content == learner.content()


def test_asking_between_rounds_changes_nothing(name, rows, unseen, learner):
    frozen = unseen.values.copy()
    frozen.flags.writeable = False
    asked = begin(name, rows)
    for _ in range(ROUNDS[name]):
        asked.advance(1)
        kept = asked.predict(frozen)
    assert asked.content() == learner.content()
    np.testing.assert_array_equal(kept, learner.predict(unseen.values))


def test_the_file_predicts_what_the_learner_does(learner, model, unseen):
    predicted = model.predict(unseen.values)
    np.testing.assert_array_equal(predicted, learner.predict(unseen.values))
    assert predicted.dtype == np.float64
    assert predicted.shape == (1500,)


def test_a_row_is_scored_alike_alone_and_in_any_batch(model, unseen):
    whole = model.predict(unseen.values)
    parts = [model.predict(unseen.values[first : first + 61]) for first in range(0, 1500, 61)]
    np.testing.assert_array_equal(np.concatenate(parts), whole)
    assert model.predict(unseen.values[7:8])[0] == whole[7]
    assert model.predict(unseen.values[:0]).shape == (0,)
    assert model.contributions(unseen.values[:0]).shape == (0, 4)


def test_an_unknown_hyperparameter_is_refused_by_name(name, rows):
    with pytest.raises(UsageError, match="max_leafs"):
        family(name).begin(rows, SIGNATURE, {"max_leafs": 3}, seed=1)
    with pytest.raises(UsageError, match="learning_rate"):
        family(name).begin(rows, SIGNATURE, {"learning_rate": float("nan")}, seed=1)


def test_rows_that_teach_nothing_are_refused(name, rows):
    empty = rows.take(np.arange(0))
    with pytest.raises(MissingDataError, match="no rows"):
        begin(name, empty)
    for label in (0.0, 1.0):
        with pytest.raises(MissingDataError, match=f"default was {label:.0f} in all"):
            begin(name, rows.take(rows.labels == label))


@pytest.mark.parametrize("label", [np.nan, 2.0])
def test_a_label_that_is_none_is_refused_with_its_row(name, rows, label):
    labels = rows.labels.copy()
    labels[17] = label
    with pytest.raises(SchemaError, match="row 17"):
        begin(name, Rows(values=rows.values, labels=labels))


def test_rows_of_another_shape_are_refused(name, rows, model):
    with pytest.raises(SchemaError, match="4 inputs"):
        begin(name, Rows(values=rows.values[:, :3], labels=rows.labels))
    with pytest.raises(SchemaError, match="4 inputs"):
        model.predict(rows.values[:, :3])


def test_infinite_values_are_refused(name, rows):
    values = rows.values.copy()
    values[3, 0] = np.inf
    with pytest.raises(SchemaError, match="income has infinite"):
        begin(name, Rows(values=values, labels=rows.labels))


def other_signatures():
    income, sector, age, noise = SIGNATURE.features
    yield "order", (age, sector, income, noise)
    yield "name", (income, sector, age, Feature(name="weight"))
    yield "kind", (income, Feature(name="sector"), age, noise)
    yield (
        "categories",
        (
            income,
            dataclasses.replace(sector, categories=("retail", "energy", "steel", "tech")),
            age,
            noise,
        ),
    )


@pytest.mark.parametrize("features", [pytest.param(each, id=kind) for kind, each in other_signatures()])
def test_a_file_of_other_inputs_is_refused(name, rows, learner, features):
    other = dataclasses.replace(SIGNATURE, features=features)
    with pytest.raises(SchemaError, match="trained on inputs"):
        family(name).load(learner.content(), other)
    with pytest.raises(SchemaError, match="trained on inputs"):
        begin(name, rows, signature=other, checkpoint=learner.content())


@pytest.mark.parametrize(
    "content", [b"", b"{", b'{"', b'{"learner": 3}', b"tree\nversion=v4\n", b"\x80\x04K\x01."]
)
def test_bytes_that_are_no_model_are_refused(name, content):
    with pytest.raises(SchemaError):
        family(name).load(content, SIGNATURE)


def test_the_contract_brings_no_model_library():
    code = (
        "import acceleray.models.tabular.family, acceleray.models.tabular.artifact, sys;"
        "print(*{'xgboost', 'lightgbm', 'torch', 'ray', 'scipy', 'pandas'} & set(sys.modules))"
    )
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout.split() == []


def test_a_family_that_is_none_is_named():
    with pytest.raises(UsageError, match="forest"):
        family("forest")
