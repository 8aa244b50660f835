"""Kill a rank, or the driver, in the middle of a training: the same bytes as without."""

import json
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from acceleray.engines.ray import session
from acceleray.errors import TaskFailedError
from acceleray.models.tabular.training import train
from tests.integration.test_tabular_training import FAMILIES, files, settings

pytestmark = pytest.mark.engines

__all__ = ["files"]

FULL = os.environ.get("ACCELERAY_FAULT") == "full"
full = pytest.mark.skipif(not FULL, reason="part of the full fault suite: make fault")

# Enough that the second checkpoint is seen before the last round.
ROUNDS = {"xgboost": 400, "lightgbm": 400, "network": 40}
EVERY = {"xgboost": 20, "lightgbm": 20, "network": 2}


@pytest.fixture(scope="module")
def ray_session():
    with session(cpus=2):
        yield


def long_training(name, files, storage, **changes):
    given = settings(name, rounds=ROUNDS[name]) | {"checkpoint_every": EVERY[name], "ranks": 2} | changes
    return train(files, **given, storage=storage)


def second_checkpoint(storage, rank):
    """Wait for a rank's record in a second checkpoint: Ray Train knows the first one by then."""
    stop = time.monotonic() + 90
    seen = set()
    while time.monotonic() < stop:
        for file in storage.glob(f"*/attempt-*/*/rank-{rank:05d}.json"):
            seen.add(file)
            if len(seen) > 1:
                try:
                    return json.loads(file.read_text())
                except (FileNotFoundError, json.JSONDecodeError):
                    # Being written, or replaced by the next checkpoint.
                    continue
        time.sleep(0.01)
    raise AssertionError("no second checkpoint was written")


class Killer(threading.Thread):
    """Kill a rank once it has written two checkpoints."""

    def __init__(self, storage, rank):
        super().__init__(daemon=True)
        self.storage, self.rank, self.killed = storage, rank, None

    def run(self):
        self.killed = second_checkpoint(self.storage, self.rank)["pid"]
        os.kill(self.killed, signal.SIGKILL)


@pytest.fixture(scope="module")
def undisturbed(ray_session, files, tmp_path_factory):
    """Content of an undisturbed training per family, trained when it is first asked for."""
    contents = {}

    def of(name):
        if name not in contents:
            contents[name] = long_training(name, files, tmp_path_factory.mktemp("undisturbed")).content
        return contents[name]

    return of


@pytest.mark.parametrize("name", FAMILIES if FULL else ["xgboost"])
def test_a_killed_rank_starts_the_group_again_from_the_last_checkpoint(undisturbed, files, tmp_path, name):
    expected = undisturbed(name)
    killer = Killer(tmp_path, rank=1)
    killer.start()
    trained = long_training(name, files, tmp_path)
    killer.join()
    assert killer.killed is not None
    assert killer.killed not in {rank.pid for rank in trained.ranks}
    assert 0 < trained.ranks[0].rounds < ROUNDS[name], "the second group did not begin from nothing"
    assert trained.content == expected


@full
def test_too_many_killed_ranks_end_the_training_and_the_next_call_goes_on(undisturbed, files, tmp_path):
    killer = Killer(tmp_path, rank=0)
    killer.start()
    with pytest.raises(TaskFailedError, match="2 ranks did not finish"):
        long_training("xgboost", files, tmp_path, max_failures=0)
    killer.join()
    resumed = long_training("xgboost", files, tmp_path)
    assert resumed.resumed_rounds > 0
    assert resumed.content == undisturbed("xgboost")


DRIVER = """
import sys
from pathlib import Path
from acceleray.engines.ray import session
from tests.fault.test_kill_training import long_training
with session(cpus=1):
    long_training(sys.argv[1], sys.argv[3:], Path(sys.argv[2]))
"""


def test_a_killed_driver_goes_on_when_it_is_called_again(undisturbed, files, tmp_path):
    with (tmp_path / "said").open("w") as said:
        driver = subprocess.Popen(
            [sys.executable, "-c", DRIVER, "xgboost", str(tmp_path), *files],
            cwd=Path(__file__).parents[2],
            stdout=said,
            stderr=said,
        )
        try:
            second_checkpoint(tmp_path, rank=0)
        except AssertionError as error:
            raise AssertionError(f"{error}\n{(tmp_path / 'said').read_text()}") from error
        finally:
            driver.kill()
            driver.wait()
    assert driver.returncode == -signal.SIGKILL
    resumed = long_training("xgboost", files, tmp_path)
    assert 0 < resumed.resumed_rounds < ROUNDS["xgboost"]
    # One CPU before, two after.
    assert resumed.content == undisturbed("xgboost")


@full
def test_a_checkpoint_that_was_cut_short_is_passed_over(undisturbed, files, tmp_path):
    short = long_training("xgboost", files, tmp_path, rounds=40)
    for model in tmp_path.glob("*/attempt-*/*/model"):
        if model.read_bytes() == short.content:
            os.truncate(model, 1000)
    resumed = long_training("xgboost", files, tmp_path)
    assert resumed.resumed_rounds == 20
    assert resumed.content == undisturbed("xgboost")
