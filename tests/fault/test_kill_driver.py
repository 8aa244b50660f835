"""Kill the driver in every stage, then retry: the same bits, nothing lost, nothing computed twice.

The night that is killed has one CPU, the undisturbed one all of them: a night's bits depend on neither.
"""

import json
import os
import shutil
import signal
import subprocess

import pytest
from deltalake import DeltaTable

from acceleray.domain.tables import CONTRACTS
from acceleray.pipeline.journal import Journal
from acceleray.pipeline.plan import STAGES
from tests.nights import COMMAND, acceleray, content_hashes, run_directory, wait_for_start, wait_for_write

pytestmark = pytest.mark.night


def test_an_interrupted_search_says_so_and_can_be_taken_up_again(small_night, tmp_path):
    project = tmp_path / "project"
    shutil.copytree(small_night[0], project, ignore=shutil.ignore_patterns("lake", "runs"))
    # The retry goes on with the search that the run began, so that one ingest serves both signals.
    for attempt, (command, number) in enumerate((("run", signal.SIGINT), ("retry", signal.SIGTERM)), 1):
        process = subprocess.Popen(
            [*COMMAND, command, "-C", str(project)],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
        )
        assert process.stderr is not None
        for line in process.stderr:
            if "searching" in line:
                break
        process.send_signal(number)
        _, rest = process.communicate(timeout=120)
        assert process.returncode == 130, rest
        assert "Traceback" not in rest
        attempts = Journal(run_directory(project)).attempts("calibrate")
        assert len(attempts) == attempt
        assert attempts[-1]["state"] == "interrupted"


FULL = pytest.mark.skipif(
    os.environ.get("ACCELERAY_FAULT") != "full", reason="part of the full fault suite: make fault"
)
ONE_CPU = ("--set", "targets.laptop.cpus=1")


@pytest.mark.parametrize(
    ("wait", "options"),
    [
        pytest.param(wait_for_write, ONE_CPU, id="while it writes its first table, on one CPU"),
        pytest.param(wait_for_write, (), id="while it writes its first table", marks=FULL),
        pytest.param(wait_for_start, (), id="as it begins", marks=FULL),
    ],
)
def test_kill_in_every_stage_then_retry(small_night, tmp_path, wait, options):
    undisturbed, _ = small_night
    project = tmp_path / "project"
    shutil.copytree(undisturbed, project, ignore=shutil.ignore_patterns("lake", "runs"))
    for stage in STAGES:
        command = "run" if stage == STAGES[0] else "retry"
        # A file, not a pipe: engines outlive a killed driver for a while and keep a pipe open.
        with (tmp_path / "stderr").open("w+") as said:
            process = subprocess.Popen(
                [*COMMAND, command, "-C", str(project), *options],
                stdout=subprocess.DEVNULL,
                stderr=said,
                text=True,
            )
            try:
                wait(project, stage, process)
            except AssertionError as error:
                raise AssertionError(f"{error}\n{(tmp_path / 'stderr').read_text()}") from error
            os.kill(process.pid, signal.SIGKILL)
            process.wait()
    done = acceleray("retry", "-C", str(project), *options, "--json")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["state"] == "COMPLETE"

    compared = [name for name in CONTRACTS if not name.startswith("check.published")]
    found, expected = content_hashes(project), content_hashes(undisturbed)
    assert {name: found[name] for name in compared} == {name: expected[name] for name in compared}

    journal = Journal(run_directory(project))
    died = {stage for stage in STAGES if len(journal.attempts(stage)) == 2}
    for stage in STAGES:
        attempts = journal.attempts(stage)
        assert attempts[-1]["state"] == "committed"
        # Either the stage ran once to its death and once to its end, or all its commits were through when it
        # died: then nothing was left to compute, and the journal was completed from the Delta logs.
        assert stage in died or (len(attempts) == 1 and attempts[0].get("recovered")), stage
    assert len(died) >= 5, "most kills hit a stage at work"
    for name in CONTRACTS:
        table = DeltaTable(str(project / "lake" / name.replace(".", "/")))
        commits = [entry for entry in table.history() if entry.get("run_id") == run_directory(project).name]
        assert len(commits) == 1, f"{name} was committed {len(commits)} times"
