"""Scoring on a real Ray instance: the same bits for any pool, exactly once, and nothing silently left out."""

from __future__ import annotations

import os
import resource
import shutil
import signal
import threading
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from deltalake import DeltaTable, write_deltalake

from acceleray.engines import ray as engine
from acceleray.errors import MissingDataError, SchemaError, StorageError, TaskFailedError, UsageError
from acceleray.models.tabular import scoring
from acceleray.models.tabular.artifact import load, save
from acceleray.models.tabular.family import family
from acceleray.models.tabular.score_inputs import Shard
from acceleray.models.tabular.score_pool import ScorerPool
from acceleray.models.tabular.score_queue import Buckets
from acceleray.models.tabular.score_shard import Job
from acceleray.models.tabular.scoring import DeltaVersion, score_files
from acceleray.models.tabular.signature import Feature, Rows, Signature
from tests.scoring_tables import arguments, make_rows, save_model, write_files

pytestmark = pytest.mark.engines

SIZES = (620, 0, 1_130, 90)


@pytest.fixture(scope="module", autouse=True)
def ray():
    with engine.session(cpus=2):
        yield


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    folder = tmp_path_factory.mktemp("model")
    return folder, save_model(folder)


@pytest.fixture
def project(model, tmp_path):
    folder, model_id = model
    shutil.copytree(folder, tmp_path / "models")
    return tmp_path, model_id, write_files(tmp_path / "files", SIZES)


def table(out: Path, name: str, run_id: str = "r1") -> pa.Table:
    rows = pa.table(DeltaTable(str(out / name)).to_pyarrow_table(filters=[("run_id", "=", run_id)]))
    return rows.drop_columns("run_id")


def by_account(rows: pa.Table) -> list[dict]:
    return sorted(rows.to_pylist(), key=lambda row: row["account_id"])


def witness(root: Path, model_id: str, files: list[Path]) -> list[dict]:
    """Score all rows in one plain call."""
    rows = pa.concat_tables([pq.read_table(file) for file in files])
    artifact = load(root / "models", model_id)
    scores = artifact.model.predict(artifact.signature.encode(rows))
    return [
        {
            "account_id": account,
            "exposure": exposure,
            "score": score,
            "bucket": "high" if score >= 0.4 else "watch" if score >= 0.2 else "normal",
            "why_not": None,
        }
        for account, exposure, score in zip(
            rows["account_id"].to_pylist(), rows["exposure_eur"].to_pylist(), scores.tolist(), strict=True
        )
    ]


def test_any_number_of_actors_gives_the_rows_of_a_plain_loop(project):
    root, model_id, files = project
    expected = witness(root, model_id, files)
    hashes = set()
    queues = []
    for n_actors in (1, 2, 4):
        facts = score_files(
            files, **arguments(root, model_id, n_actors=n_actors, out=root / f"out-{n_actors}")
        )
        assert (facts.rows, facts.excluded, facts.resumed) == (sum(SIZES), 0, 0)
        assert sum(facts.buckets.values()) == facts.rows
        hashes.add(facts.content_hash)
        # Equal floats: every bit.
        assert by_account(table(root / f"out-{n_actors}", "scores")) == expected
        queues.append(table(root / f"out-{n_actors}", "queue").sort_by("rank"))
    assert len(hashes) == 1
    assert queues[0].equals(queues[1])
    assert queues[0].equals(queues[2])
    # Of 250 rows or a little more, cut at row groups and not at the ends of files.
    assert facts.shards == 6

    ranked = sorted(expected, key=lambda row: (-abs(row["exposure"]) * row["score"], row["account_id"]))[:10]
    queue = queues[0].to_pylist()
    assert [row["account_id"] for row in queue] == [row["account_id"] for row in ranked]
    assert [row["rank"] for row in queue] == list(range(1, 11))
    assert {row["model_id"] for row in queue} == {model_id}
    assert [row["priority"] for row in queue] == [abs(row["exposure"]) * row["score"] for row in ranked]
    rows = {row["account_id"]: row for file in files for row in pq.read_table(file).to_pylist()}
    artifact = load(root / "models", model_id)
    for row in queue:
        given = rows[row["account_id"]]
        one = pa.Table.from_pylist([given], schema=pq.read_schema(files[0]))
        shap = artifact.model.contributions(artifact.signature.encode(one))[0]
        largest = int(np.argmax(np.abs(shap)))
        name = artifact.signature.names[largest]
        assert row["reasons"].startswith(f"{name} ")
        assert row["reasons"].split(";")[0].endswith("raises" if shap[largest] > 0 else "lowers")


def test_a_second_call_changes_nothing_and_other_wishes_are_refused(project):
    root, model_id, files = project
    first = score_files(files, **arguments(root, model_id))
    before = {path: path.stat().st_mtime_ns for path in (root / "out").rglob("*.*") if path.name != ".lock"}
    # Not even the files are needed again.
    shutil.rmtree(root / "files")
    again = score_files(files, **arguments(root, model_id, n_actors=2))
    assert again == replace(first, resumed=first.shards)
    assert before == {
        path: path.stat().st_mtime_ns for path in (root / "out").rglob("*.*") if path.name != ".lock"
    }
    with pytest.raises(UsageError, match=r"began with threshold 0\.2, now it was 0\.3"):
        score_files(files, **arguments(root, model_id, threshold=0.3))
    # Another run is another partition of the same table.
    files = write_files(root / "files", (120,), seed=9)
    second = score_files(files, **arguments(root, model_id, run_id="r2"))
    assert second.scores_version == first.scores_version + 1
    assert table(root / "out", "scores").num_rows == sum(SIZES)
    assert table(root / "out", "scores", "r2").num_rows == 120
    shutil.rmtree(root / "out/runs/r2")
    with pytest.raises(MissingDataError, match="journal of run r2 is gone"):
        score_files(files, **arguments(root, model_id, run_id="r2"))


def test_what_was_finished_is_not_scored_again(project, monkeypatch):
    root, model_id, files = project

    def stop(*_, **__):
        raise StorageError("stopped before the commit")

    with monkeypatch.context() as patch:
        patch.setattr(scoring, "commit_written", stop)
        with pytest.raises(StorageError, match="stopped before"):
            score_files(files, **arguments(root, model_id))
    assert not (root / "out/scores/_delta_log").exists()
    parts = root / "out/scores/data/r1"
    kept = {path.name: path.stat().st_ino for path in parts.iterdir()}
    content = {path.name: path.read_bytes() for path in parts.iterdir()}
    # As after a kill: one part without its entry, one half written.
    (root / "out/runs/r1/shard-000001.json").unlink()
    (parts / ".part-000003.parquet.1").write_bytes(b"half")
    facts = score_files(files, **arguments(root, model_id, n_actors=2))
    assert facts.resumed == facts.shards - 1
    again = {path.name: path.stat().st_ino for path in parts.iterdir()}
    assert {name for name in kept if kept[name] != again[name]} == {"part-000001.parquet"}
    assert content == {path.name: path.read_bytes() for path in parts.iterdir()}
    assert by_account(table(root / "out", "scores")) == witness(root, model_id, files)
    # Other rows under the same run id, before it is committed.
    (root / "out/queue").rename(root / "queue")
    write_files(root / "files", (620, 10, 1_130, 90))
    with pytest.raises(UsageError, match="files to score"):
        score_files(files, **arguments(root, model_id))


def actors() -> list[int]:
    """Processes of our own actors: descendants of this one."""
    parents, names = {}, {}
    for folder in Path("/proc").iterdir():
        if folder.name.isdigit():
            try:
                parents[int(folder.name)] = int((folder / "stat").read_text().rsplit(")", 1)[1].split()[1])
                names[int(folder.name)] = (folder / "cmdline").read_bytes()
            except (FileNotFoundError, ProcessLookupError):
                continue

    def is_ours(pid: int) -> bool:
        while pid > 1:
            if pid == os.getpid():
                return True
            pid = parents.get(pid, 0)
        return False

    return [pid for pid, name in names.items() if name.startswith(b"ray::Scorer") and is_ours(pid)]


def test_a_killed_actor_costs_nothing_but_time(project):
    root, model_id, _ = project
    files = write_files(root / "many", (6_000,), group_rows=20)
    killed: list[int] = []

    def kill_one() -> None:
        journal = root / "out/runs/r1"
        deadline = time.monotonic() + 60
        while time.monotonic() < deadline and len(list(journal.glob("shard-*.json"))) < 5:
            time.sleep(0.002)
        killed.append(actors()[0])
        os.kill(killed[0], signal.SIGKILL)

    killer = threading.Thread(target=kill_one)
    killer.start()
    facts = score_files(files, **arguments(root, model_id, n_actors=2, shard_rows=20))
    killer.join()
    assert killed
    assert (facts.shards, facts.rows) == (300, 6_000)
    assert by_account(table(root / "out", "scores")) == witness(root, model_id, files)
    (commit,) = (
        entry for entry in DeltaTable(str(root / "out/scores")).history() if entry.get("run_id") == "r1"
    )
    assert commit["stage"] == "score"


class Deadly:
    """Ends the process that receives it."""

    def __reduce__(self):
        return os._exit, (1,)


def make_job(root: Path, model_id: str) -> Job:
    return Job(
        artifact_folder=str(root / "models"),
        model_id=model_id,
        keys=("account_id",),
        key_schema=pa.schema([("account_id", pa.string())]),
        exposure=None,
        buckets=Buckets(high=0.4, watch=0.2),
        bad_rows="error",
        top=0,
        batch_rows=64,
        parts=str(root),
        journal=str(root),
    )


def test_a_shard_that_kills_every_actor_and_a_model_that_went_bad_have_their_own_errors(project):
    root, model_id, _ = project
    with ScorerPool(make_job(root, model_id), 1) as pool:
        with pytest.raises(TaskFailedError, match=r"check of shard [01] lost 3 actors"):
            for _ in pool.run("check", [(Shard(number=0, pieces=()),), (Deadly(),)], what="check of shard"):
                pass
        # The pool has a new actor.
        assert list(pool.run("ready", [()], what="actor")) == [(0, None)]
    with (
        pytest.raises(MissingDataError, match="the model file is gone"),
        ScorerPool(make_job(root, "0" * 64), 1),
    ):
        pass


def test_bad_rows_stop_the_run_or_are_on_record(project):
    root, model_id, files = project
    rows = pq.read_table(files[2])
    for column, row, value in (
        ("usage", 333, float("inf")),
        ("region", 700, "South"),
        ("exposure_eur", 701, None),
        ("account_id", 1_000, None),
    ):
        values = rows[column].to_pylist()
        values[row] = value
        rows = rows.set_column(
            rows.schema.get_field_index(column), column, pa.array(values, rows.schema.field(column).type)
        )
    pq.write_table(rows, files[2], row_group_size=100)
    # New categories are looked for in all shards before any row is scored.
    with pytest.raises(SchemaError, match=r"rows-2\.parquet row group 7 row 0: column region .*'South'"):
        score_files(files, **arguments(root, model_id))
    assert not (root / "out/scores").exists()
    facts = score_files(files, **arguments(root, model_id, bad_rows="exclude", run_id="r2", n_actors=2))
    assert (facts.rows, facts.excluded) == (sum(SIZES), 4)
    scored = table(root / "out", "scores", "r2")
    found = [row for row in scored.to_pylist() if row["score"] is None]
    assert {row["bucket"] for row in found} == {"not scored"}
    assert sorted(row["why_not"] for row in found) == [
        "rows-2.parquet row group 10 row 0: key account_id is null",
        "rows-2.parquet row group 3 row 33: column usage is infinite, or too large for float32",
        "rows-2.parquet row group 7 row 0: column region has the category 'South', "
        "which the model has not seen",
        "rows-2.parquet row group 7 row 1: the exposure is not a finite number",
    ]
    good = [row for row in scored.to_pylist() if row["score"] is not None]
    clean = write_files(root / "clean", SIZES)
    expected = {row["account_id"]: row for row in witness(root, model_id, clean)}
    assert len(good) == sum(SIZES) - 4
    assert all(expected[row["account_id"]] == row for row in good)
    # Without the category, the infinite number is met while scoring.
    values = pq.read_table(files[2]).filter(pa.compute.not_equal(pq.read_table(files[2])["region"], "South"))
    pq.write_table(values, files[2], row_group_size=100)
    with pytest.raises(SchemaError, match=r"rows-2\.parquet row group 3 row 33: column usage is infinite"):
        score_files(files, **arguments(root, model_id, run_id="r3"))
    assert DeltaTable(str(root / "out/scores")).version() == facts.scores_version


def test_nothing_is_scored_with_wrong_columns_or_a_changed_model(project):
    root, model_id, files = project
    rows = make_rows(50, seed=3)
    cases = {
        "column usage is missing": rows.drop_columns(["usage"]),
        "Column region is of type int64; the model needs names": rows.set_column(
            rows.schema.get_field_index("region"), "region", pa.array(range(50))
        ),
        "column account_id is of type int64; in rows-0.parquet it is of type string": rows.set_column(
            0, "account_id", pa.array(range(50))
        ),
        "column exposure_eur is of type string": rows.set_column(1, "exposure_eur", rows["account_id"]),
    }
    for message, changed in cases.items():
        pq.write_table(changed, files[3])
        with pytest.raises(SchemaError, match=rf"^rows-3\.parquet: {message}"):
            score_files(files, **arguments(root, model_id))
    files[3].write_bytes(b"PAR1 but no more")
    with pytest.raises(StorageError, match=r"rows-3\.parquet: is not a readable Parquet file"):
        score_files(files, **arguments(root, model_id))
    native = next(path for path in (root / "models").iterdir() if path.stem != model_id)
    native.write_bytes(native.read_bytes().replace(b"1", b"2", 1))
    with pytest.raises(StorageError, match="SHA-256"):
        score_files(files, **arguments(root, model_id))
    assert not (root / "out/scores").exists()


def test_a_delta_version_is_scored_as_it_was(project):
    root, model_id, files = project
    source = root / "accounts"
    for number, file in enumerate((files[0], files[2])):
        write_deltalake(str(source), pq.read_table(file), mode="append" if number else "error")
    facts = score_files(DeltaVersion(path=source, version=0), **arguments(root, model_id, exposure=None))
    assert facts.rows == SIZES[0]
    found = {row["account_id"]: row["score"] for row in table(root / "out", "scores").to_pylist()}
    assert found == {row["account_id"]: row["score"] for row in witness(root, model_id, files[:1])}
    first = table(root / "out", "queue").sort_by("rank").to_pylist()[0]
    assert first["score"] == first["priority"] == max(found.values())
    with pytest.raises(SchemaError, match="column exposure was None, expected double"):
        score_files(DeltaVersion(path=source, version=1), **arguments(root, model_id, run_id="r2"))


def test_no_rows_are_a_result_too(project):
    root, model_id, files = project
    facts = score_files(files[1:2], **arguments(root, model_id))
    assert (facts.rows, facts.shards) == (0, 0)
    assert table(root / "out", "scores").num_rows == 0
    assert score_files(files[1:2], **arguments(root, model_id)) == facts


def test_delta_knows_the_range_of_every_part(project):
    root, model_id, files = project
    score_files(files, **arguments(root, model_id))
    actions = pa.table(DeltaTable(str(root / "out/scores")).get_add_actions(flatten=True)).to_pylist()
    for action in actions:
        part = pq.read_table(root / "out/scores" / action["path"])
        assert action["num_records"] == part.num_rows
        for name in ("account_id", "exposure", "score"):
            values = part[name].to_pylist()
            assert (action[f"min.{name}"], action[f"max.{name}"]) == (min(values), max(values))
        assert action["null_count.why_not"] == part.num_rows


FULL = pytest.mark.skipif(
    os.environ.get("ACCELERAY_FAULT") != "full", reason="part of the full fault suite: make fault"
)


@FULL
def test_memory_does_not_grow_with_the_rows(tmp_path):
    signature = Signature(features=tuple(Feature(name=f"f{number}") for number in range(40)), label="y")
    random = np.random.default_rng(1)
    values = random.standard_normal((2_000, 40), dtype=np.float32)
    learner = family("xgboost").begin(
        Rows(values=values, labels=(values[:, 0] > 1).astype(np.float32)), signature, {"max_depth": 3}, seed=1
    )
    learner.advance(5)
    model_id = save(tmp_path / "models", learner.content(), family="xgboost", signature=signature, facts={})
    columns = random.standard_normal((40, 200_000), dtype=np.float32)
    rows = pa.table({name: columns[number] for number, name in enumerate(signature.names)})
    files = []
    for number in range(10):
        key = pa.array(range(number * 200_000, (number + 1) * 200_000), pa.int64())
        files.append(tmp_path / f"rows-{number}.parquet")
        pq.write_table(rows.append_column("account_id", key), files[-1], row_group_size=50_000)
    # Whatever grows in this process while it scores counts, not what the test itself has used.
    peaks = {}
    for count in (1, 10):
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
        facts = score_files(
            files[:count],
            **arguments(
                tmp_path, model_id, exposure=None, run_id=f"n{count}", shard_rows=100_000, batch_rows=50_000
            ),
        )
        assert facts.rows == count * 200_000
        grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 - before
        peaks[count] = facts.peak_bytes, grown
    # Ten times the rows are 288 MB more of input, and 43 MB more of scores.
    assert peaks[10][0] - peaks[1][0] < 30e6
    assert peaks[10][1] < 30e6
