import subprocess
import sys

import pytest

from acceleray.errors import LockedError
from acceleray.lake.lock import project_lock

HOLD = """
import sys
from pathlib import Path
from acceleray.lake.lock import project_lock
with project_lock(Path(sys.argv[1]), sys.argv[2], stage=sys.argv[3] or None):
    print("held", flush=True)
    sys.stdin.read()
"""


@pytest.fixture
def hold(tmp_path):
    started = []

    def start(run_id, stage=""):
        process = subprocess.Popen(
            [sys.executable, "-c", HOLD, str(tmp_path), run_id, stage],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        started.append(process)
        assert process.stdout.readline() == "held\n"
        return process

    yield start
    for process in started:
        process.kill()
        process.communicate()


def test_a_night_locks_out_another_and_names_it(tmp_path, hold):
    process = hold("first")
    with pytest.raises(LockedError, match=rf"run first .*{process.pid}"), project_lock(tmp_path, "second"):
        pass


def test_the_lock_dies_with_its_process(tmp_path, hold):
    process = hold("first")
    process.kill()
    process.wait()
    with project_lock(tmp_path, "second"):
        pass


def test_stages_of_one_run_share_the_project_but_not_a_stage(tmp_path, hold):
    hold("first", "simulate")
    with project_lock(tmp_path, "first", stage="score"):
        pass
    with pytest.raises(LockedError), project_lock(tmp_path, "first", stage="simulate"):
        pass
    with pytest.raises(LockedError), project_lock(tmp_path, "second", stage="score"):
        pass
    with pytest.raises(LockedError), project_lock(tmp_path, "first"):
        pass
