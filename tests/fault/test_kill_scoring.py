"""Kill the driver of a scoring run, then call again: every row once, the same bits, nothing scored twice."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from deltalake import DeltaTable

from acceleray.models.tabular.artifact import load
from tests.scoring_tables import save_model, write_files

pytestmark = pytest.mark.engines

N_ROWS = 30_000


@pytest.fixture(scope="module")
def project(tmp_path_factory):
    root = tmp_path_factory.mktemp("scoring")
    model_id = save_model(root / "models")
    write_files(root / "files", (N_ROWS,), group_rows=250)
    return root, model_id


def start(root: Path, model_id: str, die: str = "never") -> subprocess.Popen[str]:
    # A file, not a pipe: engines outlive a killed driver for a while and keep a pipe open.
    with (root / "stderr").open("w") as said:
        return subprocess.Popen(
            [sys.executable, "-m", "tests.scoring_tables", str(root), model_id, die],
            stdout=subprocess.DEVNULL,
            stderr=said,
            text=True,
            cwd=Path(__file__).parents[2],
            env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
        )


def wait_for_shards(root: Path, count: int, process: subprocess.Popen[str]) -> None:
    deadline = time.monotonic() + 120
    while len(list((root / "out/runs/r1").glob("shard-*.json"))) < count:
        assert process.poll() is None, (root / "stderr").read_text()
        assert time.monotonic() < deadline
        time.sleep(0.002)


def finish(root: Path, model_id: str) -> dict[str, object]:
    process = start(root, model_id)
    assert process.wait(timeout=120) == 0, (root / "stderr").read_text()
    facts: dict[str, object] = json.loads((root / "facts.json").read_text())
    return facts


def log_entries(root: Path, table: str) -> int:
    return len(list((root / "out" / table / "_delta_log").glob("*.json")))


def test_every_row_once_wherever_the_driver_dies(project):
    root, model_id = project
    parts = root / "out/scores/data/r1"

    # In the middle of the shards.
    process = start(root, model_id)
    wait_for_shards(root, 8, process)
    finished = {path.stem.split("-")[1] for path in (root / "out/runs/r1").glob("shard-*.json")}
    kept = {path: path.stat().st_ino for number in finished for path in parts.glob(f"part-{number}.parquet")}
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    assert log_entries(root, "scores") == 0

    # Between the last part and the commit.
    process = start(root, model_id, "commit_written")
    assert process.wait(timeout=120) == -signal.SIGKILL, (root / "stderr").read_text()
    assert log_entries(root, "scores") == 0
    assert 8 <= len(kept) < 120
    assert {path: path.stat().st_ino for path in kept} == kept, "a finished shard was scored again"
    everything = {path: path.stat().st_ino for path in parts.glob("part-*.parquet")}
    assert len(everything) == 120

    # Between the commit of the scores and that of the queue.
    process = start(root, model_id, "commit_files")
    assert process.wait(timeout=120) == -signal.SIGKILL, (root / "stderr").read_text()
    assert (log_entries(root, "scores"), log_entries(root, "queue")) == (1, 0)

    done = finish(root, model_id)
    assert done["rows"] == N_ROWS
    assert done["resumed"] == 120
    assert {path: path.stat().st_ino for path in everything} == everything
    assert (log_entries(root, "scores"), log_entries(root, "queue")) == (1, 1)
    assert finish(root, model_id) == done
    assert (log_entries(root, "scores"), log_entries(root, "queue")) == (1, 1)

    rows = pq.read_table(root / "files/rows-0.parquet")
    artifact = load(root / "models", model_id)
    expected = dict(
        zip(
            rows["account_id"].to_pylist(),
            artifact.model.predict(artifact.signature.encode(rows)).tolist(),
            strict=True,
        )
    )
    found = pa.table(DeltaTable(str(root / "out/scores")).to_pyarrow_table())
    assert found.num_rows == N_ROWS
    assert dict(zip(found["account_id"].to_pylist(), found["score"].to_pylist(), strict=True)) == expected
