"""Searches on Ray against the same search in a plain loop; workers and drivers that are killed."""

import datetime as dt
import io
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from acceleray.engines.ray import session
from acceleray.errors import TaskFailedError, UsageError
from acceleray.models.tabular import search as module
from acceleray.models.tabular.family import Choice, Real, Whole
from acceleray.models.tabular.progress import LiveTable
from acceleray.models.tabular.search import SearchSettings, search
from acceleray.models.tabular.searchers import searcher
from acceleray.models.tabular.signature import Feature, Rows, Signature
from acceleray.models.tabular.study import Journal, Study
from acceleray.models.tabular.trial import Task, advance
from acceleray.models.tabular.validation import Fold, stratified
from tests import sampling
from tests.unit.models.tabular import tiny

pytestmark = pytest.mark.engines

SIGNATURE = Signature(features=tuple(Feature(name=name) for name in "abc"), label="y")
SPACE = {
    "rate": Real(low=0.01, high=5.0, log=True),
    "spare": Whole(low=1, high=1),
    "kind": Choice(options=(0.0,)),
}
SHORT = {
    "family": "tiny",
    "n_trials": 4,
    "batch_size": 2,
    "max_rounds": 4,
    "first_rung": 1,
    "stride": 1,
    "grid_points": 2,
    "space": SPACE,
}


@pytest.fixture(scope="module", autouse=True)
def ray_session():
    from ray import cloudpickle

    # Workers cannot import tests.
    cloudpickle.register_pickle_by_value(tiny)
    with session(cpus=2):
        yield
    cloudpickle.unregister_pickle_by_value(tiny)


@pytest.fixture(autouse=True)
def family_of_tests(monkeypatch):
    monkeypatch.setattr(module, "family", lambda name: tiny.FAMILY)


def sample():
    generator = np.random.default_rng(0)
    values = generator.normal(size=(300, 3)).astype(np.float32)
    labels = (values[:, 0] + generator.normal(size=300) > 0.5).astype(np.float32)
    rows = Rows(values=values, labels=labels)
    return rows, SIGNATURE, stratified(labels, n_folds=2, seed=1).folds


def plain(settings, folder, family=tiny.FAMILY):
    """The same search without Ray: one job after the other."""
    rows, signature, folds = sample()
    space = module._space(family, settings)
    suggests = searcher(
        settings.searcher,
        space,
        seed=settings.seed,
        n_startup=settings.batch_size,
        grid_points=settings.grid_points,
        n_trials=settings.n_trials,
    )
    planned = module._schedule(settings, space, settings.n_trials)
    study = Study(Journal(folder / "plain.jsonl", {}), suggests, space, planned, repeatable=True)
    task = Task(
        family=family,
        signature=signature,
        folds=folds,
        steps=module.steps(settings.stride, planned.rungs),
        rungs=planned.rungs,
        metric=settings.metric,
        seed=settings.seed,
    )
    checkpoints = {}
    while not study.complete:
        job = study.next_job()
        begun = None if job.start is None else checkpoints[job.start]
        for report, learners in advance(job.configuration, task, rows, checkpoint=begun, until=job.until):
            goes_on = study.goes_on(job.number, report)
            study.reported(job.number, report)
            if report.rounds in planned.rungs:
                place = f"{job.number}/{report.rounds}"
                checkpoints[place] = (report, [learner.content() for learner in learners])
                study.checkpointed(job.number, report.rounds, place)
            if not goes_on:
                break
        study.done(job.number)
    return [module._trial(entry) for entry in study.entries]


@pytest.mark.parametrize(
    ("by", "scheduler"),
    [
        ("random", "pbt"),
        ("tpe", "asha"),
        ("hyperopt", "hyperband"),
        ("grid", "none"),
        ("gaussian_process", "median_stopping"),
        ("cma_es", "asha"),
    ][: sampling.sample(3, of=6)],
)
def test_a_repeatable_search_is_the_plain_loop_to_the_bit(tmp_path, by, scheduler):
    tiny.skip_without_its_library(by)
    changes = {"batch_size": 4} if scheduler == "pbt" else {}
    settings = SearchSettings(**(SHORT | changes), searcher=by, scheduler=scheduler)
    found = search(*sample(), settings, storage=tmp_path / "study")
    assert found.trials == plain(settings, tmp_path)
    assert len(found.trials) == 4
    best = max(trial.score for trial in found.trials)
    assert found.winner.score == best
    assert json.loads((tmp_path / "study" / "winner.json").read_text())["order"] == "repeatable"
    # What is complete is read, not run.
    assert search(*sample(), settings, storage=tmp_path / "study") == found


@pytest.mark.parametrize(
    ("by", "scheduler"),
    [
        ("tpe", "hyperband"),
        ("grid", "pbt"),
        ("random", "asha"),
        ("hyperopt", "median_stopping"),
        ("gaussian_process", "none"),
    ][: sampling.sample(2, of=5)],
)
def test_an_asynchronous_search_ends_and_records_its_winner(tmp_path, by, scheduler):
    tiny.skip_without_its_library(by)
    settings = SearchSettings(**SHORT, searcher=by, scheduler=scheduler, order="asynchronous")
    found = search(*sample(), settings, storage=tmp_path)
    assert [trial.number for trial in found.trials] == [0, 1, 2, 3]
    assert {trial.status for trial in found.trials} <= {"finished", "stopped"}
    assert found.winner.order == "asynchronous"
    assert search(*sample(), settings, storage=tmp_path) == found


def test_a_worker_that_is_killed_changes_nothing_and_a_hopeless_trial_is_recorded(tmp_path, monkeypatch):
    settings = SearchSettings(**SHORT, searcher="random", scheduler="none", retries=1)
    expected = plain(settings, tmp_path)
    rates = sorted(trial.configuration["rate"] for trial in expected)

    class Both:
        """Kill the worker of every trial once; one trial can never go on."""

        def __init__(self, once, never):
            self._once, self._never = once, never

        def __call__(self, configuration, rounds):
            self._once(configuration, rounds)
            self._never(configuration, rounds)

    crash = Both(tiny.KillOnce(tmp_path, at_round=2), tiny.Raises(below_rate=(rates[0] + rates[1]) / 2))
    monkeypatch.setattr(module, "family", lambda name: tiny.Tiny(crash=crash))
    found = search(*sample(), settings, storage=tmp_path / "study")
    assert len(list(tmp_path.glob("killed-*"))) == 3
    for trial, wanted in zip(found.trials, expected, strict=True):
        if wanted.configuration["rate"] == rates[0]:
            assert trial.status == "failed"
            assert "ValueError: this trial cannot be" in trial.error
            assert trial.rounds == 0
        else:
            assert trial == wanted


def test_a_search_whose_trials_all_fail_names_the_first_error(tmp_path, monkeypatch):
    monkeypatch.setattr(module, "family", lambda name: tiny.Tiny(crash=tiny.Raises(below_rate=1e9)))
    settings = SearchSettings(**(SHORT | {"n_trials": 1}), searcher="random", scheduler="none", retries=0)
    with pytest.raises(TaskFailedError, match=r"all 1 trials failed.*ValueError: this trial cannot be"):
        search(*sample(), settings, storage=tmp_path)


DRIVER = """
import sys
from pathlib import Path
from ray import cloudpickle
from acceleray.engines.ray import session
from tests.integration import test_search as tests
cloudpickle.register_pickle_by_value(tests.tiny)
tests.module.family = lambda name: tests.tiny.Tiny(pause_s=0.1)
with session(cpus=2):
    tests.search(*tests.sample(), tests.LONG, storage=Path(sys.argv[1]))
"""
LONG = SearchSettings(**(SHORT | {"n_trials": 6, "max_rounds": 8}), searcher="tpe", scheduler="asha", seed=2)


def test_a_killed_driver_continues_with_the_same_trials_and_winner(tmp_path):
    storage = tmp_path / "study"
    journal = storage / "journal.jsonl"
    driver = subprocess.Popen(
        [sys.executable, "-c", DRIVER, str(storage)],
        start_new_session=True,
        env=os.environ | {"PYTHONPATH": f"{Path.cwd()}/src{os.pathsep}{Path.cwd()}"},
    )
    try:
        until = time.monotonic() + 90
        while not (journal.exists() and b'"ended"' in journal.read_bytes()):
            assert driver.poll() is None, "the driver ended before it could be killed"
            assert time.monotonic() < until, "no trial has ended in time"
            time.sleep(0.05)
    finally:
        os.killpg(driver.pid, signal.SIGKILL)
        driver.wait()
    before = journal.read_bytes()
    ended = {
        event["number"]
        for event in map(json.loads, before[: before.rfind(b"\n")].splitlines())
        if event.get("event") == "ended"
    }
    assert 0 < len(ended) < 6
    found = search(*sample(), LONG, storage=storage)
    assert found.trials == plain(LONG, tmp_path)
    after = [json.loads(line) for line in journal.read_bytes()[before.rfind(b"\n") + 1 :].splitlines()]
    assert not ended & {event["number"] for event in after if event["event"] != "met"}


class Peek(tiny.Tiny):
    """Notes the private memory of its worker and where the rows lie, and learns nothing."""

    def __init__(self, folder):
        super().__init__()
        self._folder = folder

    def begin(self, rows, signature, configuration, *, seed, threads=1, checkpoint=None, peers=None):
        private = sum(
            int(line.split()[1]) * 1024
            for line in Path("/proc/self/smaps_rollup").read_text().splitlines()
            if line.startswith("Private_")
        )
        note = {"private": private, "own": rows.values.flags.owndata or rows.values.flags.writeable}
        name = f"{time.time_ns()}-{os.getpid()}.json"
        Path(self._folder, name).write_text(json.dumps(note))
        small = Rows(values=rows.values[:50], labels=rows.labels[:50])
        return super().begin(small, signature, configuration, seed=seed)


def test_data_reach_the_trials_once(tmp_path, monkeypatch):
    from ray import cloudpickle, tune

    generator = np.random.default_rng(0)
    values = generator.normal(size=(1_000_000, 10)).astype(np.float32)
    labels = (values[:, 0] > 0).astype(np.float32)
    rows = Rows(values=values, labels=labels)
    signature = Signature(features=tuple(Feature(name=f"x{number}") for number in range(10)), label="y")
    # Neighbours, as folds of rows in order of date are.
    folds = (
        Fold(train=np.arange(500_000), judge=np.arange(600_000, 600_100)),
        Fold(train=np.arange(700_000), judge=np.arange(800_000, 800_100)),
    )
    cloudpickle.register_pickle_by_value(sys.modules[__name__])
    monkeypatch.setattr(module, "family", lambda name: Peek(str(tmp_path)))
    sizes = []
    with_parameters = tune.with_parameters

    def measured(*given, **shared):
        trainable = with_parameters(*given, **shared)
        sizes.append(len(cloudpickle.dumps(trainable)))
        return trainable

    monkeypatch.setattr(tune, "with_parameters", measured)
    settings = SearchSettings(
        **(SHORT | {"n_trials": 8, "max_rounds": 1}), searcher="random", scheduler="none"
    )
    search(rows, signature, folds, settings, storage=tmp_path / "study")
    cloudpickle.unregister_pickle_by_value(sys.modules[__name__])
    assert sizes[0] < 50_000
    workers = {}
    for path in sorted(tmp_path.glob("*.json")):
        note = json.loads(path.read_text())
        assert not note["own"]
        workers.setdefault(path.stem.split("-")[1], []).append(note["private"])
    assert sum(map(len, workers.values())) == 16
    for private in workers.values():
        # The matrix has 40 MB: no trial adds as much as a tenth of it.
        assert private[-1] - private[0] < 4_000_000


def test_what_does_not_fit_is_refused_before_anything_runs(tmp_path):
    for changes, expected in (
        ({"cpus_per_trial": 3}, "search.cpus_per_trial: one trial needs 3, Ray has 2"),
        ({"memory_per_trial": 10**15}, "search.memory_per_trial: one trial needs 1000000000000000"),
        ({"space": {"deep": Real(low=0, high=1)}}, "search.space.deep: tiny has no such hyperparameter"),
        ({"space": {"rate": Real(low=2, high=1)}}, "search.space.rate"),
    ):
        with pytest.raises(UsageError, match=expected):
            search(
                *sample(),
                SearchSettings(**(SHORT | changes), searcher="random", scheduler="none"),
                storage=tmp_path / str(len(expected)),
            )


@pytest.mark.parametrize("by", ["tpe", "gaussian_process", "cma_es", "hyperopt"])
@pytest.mark.parametrize("order", ["repeatable", "asynchronous"])
def test_a_searcher_that_learns_is_refused_with_a_population(by, order):
    with pytest.raises(UsageError, match=f"{by} cannot learn from pbt"):
        SearchSettings(searcher=by, scheduler="pbt", order=order)


def test_the_table_hears_of_a_search(tmp_path):
    stream = io.StringIO()
    bell = dt.datetime.now(dt.UTC) + dt.timedelta(hours=1)
    heard = []
    with LiveTable(bell=bell, stream=stream) as table:
        search(
            *sample(),
            SearchSettings(**(SHORT | {"n_trials": 2}), searcher="random", scheduler="none"),
            storage=tmp_path,
            progress=lambda snapshot: (heard.append(snapshot), table(snapshot)),
        )
    assert heard[-1].finished == heard[-1].n_trials == 2
    last = stream.getvalue().splitlines()[-1]
    assert last.startswith("search: trials 2/2, finished 2, running 0, stopped 0, failed 0, best -0.")
    assert "bell in 0:59:" in last
