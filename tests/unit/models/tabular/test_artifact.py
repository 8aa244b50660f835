"""Model files: what is written is read back, and what was changed is refused before it is parsed."""

import hashlib
import json

import numpy as np
import pyarrow as pa
import pytest
from tests.unit.models.tabular.synthetic import SIGNATURE, make_rows

from acceleray.errors import MissingDataError, SchemaError, StorageError, UsageError
from acceleray.models.tabular import artifact
from acceleray.models.tabular.boosted_trees import FAMILY

FACTS = {"seed": 2, "rounds": 5, "data": {"table": "loans", "version": 3}}


@pytest.fixture(scope="module")
def learner():
    learner = FAMILY.begin(make_rows(), SIGNATURE, {"max_depth": 3}, seed=2)
    learner.advance(5)
    return learner


@pytest.fixture
def saved(tmp_path, learner):
    folder = tmp_path / "models"
    return folder, artifact.save(
        folder, learner.content(), family="xgboost", signature=SIGNATURE, facts=FACTS
    )


def test_a_saved_model_comes_back(saved, learner):
    folder, model_id = saved
    found = artifact.load(folder, model_id)
    assert (found.family, found.signature, found.facts) == ("xgboost", SIGNATURE, FACTS)
    assert found.content_sha256 == hashlib.sha256(learner.content()).hexdigest()
    values = make_rows(seed=9).values
    np.testing.assert_array_equal(found.model.predict(values), learner.predict(values))


def test_the_id_is_the_hash_of_the_manifest_and_repeats(saved, learner):
    folder, model_id = saved
    assert hashlib.sha256((folder / f"{model_id}.json").read_bytes()).hexdigest() == model_id
    before = {path: path.stat().st_mtime_ns for path in folder.iterdir()}
    again = artifact.save(folder, learner.content(), family="xgboost", signature=SIGNATURE, facts=FACTS)
    assert again == model_id
    assert {path: path.stat().st_mtime_ns for path in folder.iterdir()} == before
    other = artifact.save(folder, learner.content(), family="xgboost", signature=SIGNATURE, facts={})
    assert other != model_id
    assert len(list(folder.iterdir())) == 3


def content_path(folder, model_id):
    fields = json.loads((folder / f"{model_id}.json").read_bytes())
    return folder / f"{fields['content_sha256']}.json"


@pytest.mark.parametrize("which", ["content", "manifest"])
def test_one_changed_byte_is_found(saved, which):
    folder, model_id = saved
    path = content_path(*saved) if which == "content" else folder / f"{model_id}.json"
    poisoned = bytearray(path.read_bytes())
    poisoned[len(poisoned) // 2] ^= 1
    path.write_bytes(poisoned)
    with pytest.raises(StorageError, match="SHA-256"):
        artifact.load(folder, model_id)


def test_a_damaged_file_is_written_anew(saved, learner):
    folder, model_id = saved
    content_path(*saved).write_bytes(b"half")
    artifact.save(folder, learner.content(), family="xgboost", signature=SIGNATURE, facts=FACTS)
    assert artifact.load(folder, model_id).family == "xgboost"


@pytest.mark.parametrize("which", ["content", "manifest"])
def test_a_missing_file_is_named(saved, which):
    folder, model_id = saved
    path = content_path(*saved) if which == "content" else folder / f"{model_id}.json"
    path.unlink()
    with pytest.raises(MissingDataError, match=path.name):
        artifact.load(folder, model_id)


def forged(folder, **changes):
    fields = {
        "family": "xgboost",
        "signature": SIGNATURE.to_dict(),
        "content_sha256": "0" * 64,
        "facts": {},
        **changes,
    }
    manifest = json.dumps(fields).encode()
    model_id = hashlib.sha256(manifest).hexdigest()
    (folder / f"{model_id}.json").write_bytes(manifest)
    return model_id


@pytest.mark.parametrize(
    "changes",
    [
        {"family": "forest"},
        {"family": ["xgboost"]},
        {"content_sha256": "../../model"},
        {"signature": {}},
        {"signature": None},
    ],
)
def test_a_manifest_that_is_none_is_refused(tmp_path, changes):
    with pytest.raises(SchemaError, match="no manifest"):
        artifact.load(tmp_path, forged(tmp_path, **changes))


def test_a_manifest_with_other_inputs_than_its_model_is_refused(saved):
    folder, model_id = saved
    fields = json.loads((folder / f"{model_id}.json").read_bytes())
    features = fields["signature"]["features"]
    features[0], features[2] = features[2], features[0]
    changed = forged(folder, signature=fields["signature"], content_sha256=fields["content_sha256"])
    with pytest.raises(SchemaError, match="trained on inputs"):
        artifact.load(folder, changed)


@pytest.mark.parametrize("model_id", ["", "..", "A" * 64, "0" * 63])
def test_an_id_that_is_no_hash_is_refused(tmp_path, model_id):
    with pytest.raises(SchemaError, match="model id"):
        artifact.load(tmp_path, model_id)


def test_a_family_that_is_none_is_not_written(tmp_path):
    with pytest.raises(UsageError, match="forest"):
        artifact.save(tmp_path, b"{}", family="forest", signature=SIGNATURE, facts={})
    assert not list(tmp_path.iterdir())


def test_an_unseen_category_stops_the_batch_before_the_model(saved):
    folder, model_id = saved
    signature = artifact.load(folder, model_id).signature
    table = pa.table({"income": [1.0], "sector": ["mining"], "age": [0.1], "noise": [0.0]})
    with pytest.raises(SchemaError, match="'mining'"):
        signature.encode(table)
