"""Searches without Ray: workers that end in any order, and kills after any line of the journal."""

import itertools
import json
import random

import pytest
from tests.unit.models.tabular import tiny

from acceleray.errors import StorageError, UsageError
from acceleray.models.tabular.family import Choice, Real, Whole
from acceleray.models.tabular.schedulers import SCHEDULERS, schedule
from acceleray.models.tabular.searchers import LEARNING, SEARCHERS, Random, searcher
from acceleray.models.tabular.study import Journal, Study
from acceleray.models.tabular.trial import Report

SPACE = {"rate": Real(low=0.01, high=1.0, log=True), "depth": Whole(low=1, high=5)}
STUDY = {"n_trials": 10, "batch_size": 4, "first_rung": 2, "reduction_factor": 2, "max_rounds": 8, "seed": 3}
IDENTITY = {"format": 1, "study": "a"}


@pytest.fixture(autouse=True)
def no_flush(monkeypatch):
    """No test survives a loss of power."""
    monkeypatch.setattr("os.fsync", lambda descriptor: None)


class Killed(Exception):
    pass


class MortalJournal(Journal):
    """Die before writing a line, and leave half of it."""

    def __init__(self, path, identity, *, lives=10**9):
        self._lives = lives
        super().__init__(path, identity)

    def _append(self, event, *, flush):
        if self._lives == 0:
            with self._path.open("ab") as stream:
                stream.write(json.dumps(event).encode()[:7])
            raise Killed
        self._lives -= 1
        super()._append(event, flush=flush)


def make(path, name, *, lives=10**9, repeatable=True, told=None, search=None):
    planned = schedule(name, space=SPACE, **STUDY)
    by = search or ("random" if name == "pbt" else "tpe")
    # Ten points for ten trials.
    space = SPACE | {"rate": Choice(options=(0.1, 0.9))} if by == "grid" else SPACE
    suggests = searcher(by, space, seed=1, n_startup=4, grid_points=5, n_trials=10)
    if told is not None:
        tell = suggests.on_trial_complete
        suggests.on_trial_complete = lambda trial_id, **outcome: (
            told.append(trial_id),
            tell(trial_id, **outcome),
        )
    journal = MortalJournal(path, IDENTITY, lives=lives)
    return Study(journal, suggests, SPACE, planned, repeatable=repeatable), planned


def score_at(configuration, rounds):
    """A learning curve; late bloomers exist."""
    return -abs(configuration["rate"] - 0.3) * (1 + 3 / rounds) - 0.01 * configuration["depth"] / rounds


def work(study, planned, checkpoints, order, *, at_once=3, fails=()):
    """Run jobs as Tune would; `order` picks whose report is next."""
    running = {}
    ran = []
    while not study.complete:
        while len(running) < at_once and (job := study.next_job()) is not None:
            before = checkpoints[job.start] if job.start is not None else None
            lineage = () if before is None else before.lineage
            if not lineage or lineage[-1][1] != job.configuration:
                lineage = (*lineage, (0 if before is None else before.rounds, job.configuration))
            running[job.number] = [job, before, lineage]
            ran.append(job)
        assert running, "nothing runs and nothing is complete"
        number = order.choice(sorted(running))
        job, before, lineage = running[number]
        rounds = (0 if before is None else before.rounds) + 1
        if number in fails and rounds == 3:
            del running[number]
            study.failed(number, "RuntimeError: no")
            continue
        if rounds > job.until:
            del running[number]
            study.done(number)
            continue
        latest = score_at(job.configuration, rounds)
        best = latest if before is None else max(latest, before.score)
        best_rounds = rounds if before is None or latest > before.score else before.best_rounds
        report = Report(
            rounds=rounds, latest=latest, score=best, best_rounds=best_rounds, lineage=lineage, work_s=0.0
        )
        goes_on = study.goes_on(number, report)
        study.reported(number, report)
        if rounds in planned.rungs:
            folder = f"{number}-{rounds}-{len(checkpoints)}"
            checkpoints[folder] = report
            study.checkpointed(number, rounds, folder)
        running[number][1] = report
        if not goes_on:
            del running[number]
            study.done(number)
    return ran


def outcome(study):
    return [
        (each.number, each.status, each.configuration, each.reports[each.rounds]) for each in study.entries
    ]


@pytest.mark.parametrize("name", ["none", "asha", "median_stopping", "hyperband", "pbt"])
def test_the_order_of_arrival_does_not_matter(tmp_path, name):
    results = []
    for seed, at_once in ((0, 1), (1, 2), (2, 3), (3, 16)):
        told = []
        study, planned = make(tmp_path / f"{seed}.jsonl", name, told=told)
        work(study, planned, {}, random.Random(seed), at_once=at_once)
        results.append(outcome(study))
        assert told == [f"{number:05d}" for number in range(10)]
    assert all(each == results[0] for each in results)
    statuses = {status for _, status, _, _ in results[0]}
    assert statuses == ({"finished"} if name in ("none", "pbt") else {"finished", "stopped"})
    if name == "pbt":
        assert any(len(report.lineage) > 1 for *_, report in results[0])


@pytest.mark.parametrize(
    ("search", "name"),
    [
        (search, name)
        for search, name in itertools.product(SEARCHERS, SCHEDULERS)
        if not (name == "pbt" and search in LEARNING)
    ],
)
def test_every_searcher_repeats_with_every_scheduler(tmp_path, search, name):
    tiny.skip_without_its_library(search)
    results = []
    for seed in (0, 1):
        study, planned = make(tmp_path / f"{seed}.jsonl", name, search=search)
        work(study, planned, {}, random.Random(seed), at_once=seed + 1)
        results.append(outcome(study))
    assert results[0] == results[1]


@pytest.mark.parametrize("name", ["none", "asha", "median_stopping", "hyperband", "pbt"])
def test_a_kill_at_any_line_changes_nothing(tmp_path, name):
    whole, planned = make(tmp_path / "whole.jsonl", name)
    work(whole, planned, {}, random.Random(0))
    expected = outcome(whole)
    n_lines = (tmp_path / "whole.jsonl").read_text().count("\n")
    for lives in range(1, n_lines, 7):
        path = tmp_path / f"{lives}.jsonl"
        checkpoints = {}
        with pytest.raises(Killed):
            work(*make(path, name, lives=lives), checkpoints, random.Random(lives))
        ended = {
            event["number"]
            for event in map(json.loads, path.read_text().splitlines()[1:-1])
            if event["event"] == "ended"
        }
        study, planned = make(path, name)
        ran = work(study, planned, checkpoints, random.Random(lives + 1), at_once=2)
        assert outcome(study) == expected, f"killed before line {lives}"
        assert not ended & {job.number for job in ran}
        again, _ = make(path, name)
        assert again.complete
        assert again.next_job() is None
        assert outcome(again) == expected


def test_an_unfinished_trial_continues_from_its_checkpoint(tmp_path):
    path = tmp_path / "journal.jsonl"
    checkpoints = {}
    with pytest.raises(Killed):
        work(*make(path, "none", lives=30), checkpoints, random.Random(0))
    study, _ = make(path, "none")
    jobs = []
    while (job := study.next_job()) is not None:
        jobs.append(job)
    assert any(job.start is not None for job in jobs)
    noted = [event for event in map(json.loads, path.read_text().splitlines()) if "folder" in event]
    for job in jobs:
        mine = [event["rounds"] for event in noted if event["number"] == job.number]
        assert (checkpoints[job.start].rounds if job.start else 0) == max(mine, default=0)


@pytest.mark.parametrize("name", ["none", "asha", "hyperband", "pbt"])
def test_a_failed_trial_does_not_end_the_study(tmp_path, name):
    results = []
    for seed in (0, 1):
        study, planned = make(tmp_path / f"{seed}.jsonl", name)
        work(study, planned, {}, random.Random(seed), fails=(1, 5))
        results.append([(each.status, each.error) for each in study.entries])
    assert results[0] == results[1]
    assert results[0][1] == ("failed", "RuntimeError: no")
    assert sum(status == "failed" for status, _ in results[0]) in (1, 2)


def test_an_asynchronous_study_tells_at_once_and_goes_on(tmp_path):
    told = []
    path = tmp_path / "journal.jsonl"
    checkpoints = {}
    planned = schedule("none", space=SPACE, **STUDY)
    with pytest.raises(Killed):
        work(
            Study(
                MortalJournal(path, IDENTITY, lives=60),
                Random(SPACE, seed=1),
                SPACE,
                planned,
                repeatable=False,
            ),
            planned,
            checkpoints,
            random.Random(0),
        )
    finished = {
        event["number"]
        for event in map(json.loads, path.read_text().splitlines()[1:-1])
        if event["event"] == "ended"
    }
    study, planned = make(tmp_path / "other.jsonl", "none", repeatable=False, told=told)
    work(study, planned, {}, random.Random(5))
    assert sorted(told) == [f"{number:05d}" for number in range(10)]
    assert told != sorted(told)
    resumed = Study(Journal(path, IDENTITY), Random(SPACE, seed=1), SPACE, planned, repeatable=False)
    ran = work(resumed, planned, checkpoints, random.Random(1))
    assert finished
    assert not finished & {job.number for job in ran}
    assert len(resumed.entries) == 10


def test_another_study_in_the_folder_is_refused(tmp_path):
    Journal(tmp_path / "journal.jsonl", IDENTITY)
    with pytest.raises(UsageError, match="other settings, data or folds"):
        Journal(tmp_path / "journal.jsonl", IDENTITY | {"study": "b"})


def test_a_damaged_journal_is_an_error(tmp_path):
    path = tmp_path / "journal.jsonl"
    Journal(path, IDENTITY)
    path.write_bytes(b'{"format":\n' + path.read_bytes())
    with pytest.raises(StorageError, match="damaged"):
        Journal(path, IDENTITY)


def test_a_searcher_that_suggests_something_else_is_an_error(tmp_path):
    path = tmp_path / "journal.jsonl"
    study, planned = make(path, "none")
    study.next_job()
    with pytest.raises(StorageError, match="Trial 0 of the study was suggested as"):
        Study(Journal(path, IDENTITY), Random(SPACE, seed=99), SPACE, planned, repeatable=True)
