"""Ray Train learns what a plain process learns, goes on from its own checkpoints, and names bad rows."""

import dataclasses
from importlib.util import find_spec

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from deltalake import WriterProperties, write_deltalake

from acceleray.engines.ray import session
from acceleray.errors import MissingDataError, SchemaError, UsageError
from acceleray.models.tabular import shards
from acceleray.models.tabular.comparison import compare, plain
from acceleray.models.tabular.family import family
from acceleray.models.tabular.signature import Signature
from acceleray.models.tabular.training import train

pytestmark = pytest.mark.engines

CONFIGURATIONS = {
    "xgboost": {"max_depth": 3, "subsample": 0.8, "colsample_bytree": 0.8},
    "lightgbm": {"num_leaves": 8, "bagging_fraction": 0.8, "feature_fraction": 0.8},
    "network": {"batch_size": 256},
}
ROUNDS = {"xgboost": 20, "lightgbm": 20, "network": 10}
FAMILIES = [
    "xgboost",
    "lightgbm",
    pytest.param(
        "network", marks=pytest.mark.skipif(not find_spec("torch"), reason="PyTorch is not installed")
    ),
]


def table(n, seed):
    """Rows with a number that matters, one that is sometimes missing, and a name."""
    rng = np.random.default_rng(seed)
    size, age = rng.normal(size=n), rng.normal(size=n)
    kind = rng.choice(["fund", "bank", "shop"], size=n)
    odds = size + age**2 - 1 + (kind == "bank") + rng.logistic(size=n)
    age[rng.random(n) < 0.1] = np.nan
    return pa.table({"size": size, "age": age, "kind": kind, "event": odds > 0})


SIGNATURE = Signature.of(table(100, 0), label="event")


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    """Delta's files of version 1, which holds 2500 rows; there are more in version 2."""
    folder = tmp_path_factory.mktemp("rows") / "rows"
    groups = WriterProperties(max_row_group_size=300)
    for seed, n in enumerate((1700, 800, 50)):
        write_deltalake(folder, table(n, seed), mode="append", writer_properties=groups)
    return shards.delta_files(folder, 1)


@pytest.fixture(scope="module")
def ray_session():
    with session(cpus=2):
        yield


def settings(name="xgboost", **changes):
    given = {
        "signature": SIGNATURE,
        "family_name": name,
        "configuration": CONFIGURATIONS[name],
        "rounds": ROUNDS[name],
        "seed": 5,
    }
    return given | changes


def losses(content, name, files):
    rows = shards.read(shards.survey(files, SIGNATURE).pieces, SIGNATURE)
    predicted = family(name).load(content, SIGNATURE).predict(rows.values)
    return -np.mean(np.where(rows.labels == 1, np.log(predicted), np.log1p(-predicted)))


@pytest.mark.parametrize("name", FAMILIES)
def test_ranks_learn_what_a_plain_process_learns(ray_session, files, tmp_path, name):
    held_out = tmp_path / "held-out.parquet"
    pq.write_table(table(1500, 99), held_out)
    # Two processors are slow to start four ranks; one family shows that there may be more ranks than CPUs.
    ranks = (1, 2, 4) if name == "xgboost" else (1, 2)
    found = compare(files, [str(held_out)], **settings(name), storage=tmp_path, ranks=ranks)
    assert tuple(each.ranks for each in found) == ranks
    assert found[0].is_identical
    assert found[0].largest_difference == 0.0
    # Another number of ranks is another model, of the same quality: a coin has a loss of 0.69.
    witness = losses(plain(files, **settings(name)), name, [str(held_out)])
    assert witness < 0.6
    for each in found:
        assert abs(losses(each.trained.content, name, [str(held_out)]) - witness) < 0.02
        assert sum(rank.rows for rank in each.trained.ranks) == 2500
        for rank in each.trained.ranks:
            times = dataclasses.astuple(rank)[4:9]
            assert times == tuple(sorted(times)), "asked, ready, loaded, begun, first round"
            assert rank.last_round_s >= rank.first_round_s


def test_a_training_goes_on_from_its_own_checkpoint_only(ray_session, files, tmp_path):
    first = train(files, **settings(), ranks=2, storage=tmp_path / "a", checkpoint_every=7)
    again = train(files, **settings(), ranks=2, storage=tmp_path / "a")
    assert (again.content, again.ranks, again.resumed_rounds) == (first.content, first.ranks, 20)
    # More rounds go on from there, as if there had been no break.
    longer = train(files, **settings(rounds=30), ranks=2, storage=tmp_path / "a")
    assert longer.resumed_rounds == 20
    assert {rank.rounds for rank in longer.ranks} == {10}
    # Another seed is another training.
    other = train(files, **settings(rounds=30, seed=6), ranks=2, storage=tmp_path / "a")
    assert (other.resumed_rounds, other.training_id == first.training_id) == (0, False)
    straight = train(files, **settings(rounds=30), ranks=2, storage=tmp_path / "b")
    assert straight.resumed_rounds == 0
    assert straight.content == longer.content


def test_a_value_that_only_a_rank_meets_is_named(ray_session, tmp_path):
    rows = table(600, 1)
    ages = rows["age"].to_numpy().copy()
    ages[400] = np.inf
    file = str(tmp_path / "part.parquet")
    pq.write_table(rows.set_column(1, "age", pa.array(ages)), file, row_group_size=100)
    with pytest.raises(SchemaError, match=r"Rank 0: .*row group 4: Column age has infinite values"):
        train([file], **settings(), ranks=2, storage=tmp_path / "s", max_failures=0)


def test_bad_input_is_refused_before_a_worker_starts(files, tmp_path):
    # No Ray instance is running, and none is needed.
    def refused(error, match, files=files, **changes):
        given = settings() | {"ranks": 2, "storage": tmp_path} | changes
        with pytest.raises(error, match=match):
            train(files, **given)

    refused(UsageError, "ranks was 0; expected at least 1", ranks=0)
    refused(UsageError, "rounds was 0", rounds=0)
    refused(UsageError, "no hyperparameter 'depth'", configuration={"depth": 3})
    refused(UsageError, "Model family 'forest' is not known", family_name="forest")
    refused(MissingDataError, "2500 rows cannot be shared by 2501 ranks", ranks=2501)
    refused(MissingDataError, "no rows to learn from in 0 files", files=[])
    refused(SchemaError, "Label late is missing", signature=dataclasses.replace(SIGNATURE, label="late"))
