import random

import pytest
from ray.tune.schedulers import TrialScheduler
from ray.tune.search import Searcher

from acceleray.models.early_warning.scheduler import BatchedASHA, BatchedSearch, goes_on, rungs


@pytest.mark.parametrize(
    ("first", "factor", "last", "expected"),
    [
        (15, 2, 120, [15, 30, 60, 120]),
        (10, 3, 100, [10, 30, 90, 100]),
        (50, 2, 50, [50]),
        (60, 2, 50, [50]),
    ],
)
def test_rungs(first, factor, last, expected):
    assert rungs(first, factor, last) == expected


@pytest.mark.parametrize(
    ("score", "earlier", "factor", "expected"),
    [
        (0.0, [], 2, True),
        (2.0, [1.0, 2.0, 3.0, 4.0], 2, False),
        (3.0, [1.0, 2.0, 3.0, 4.0], 2, True),
        (2.9, [1.0, 2.0, 3.0, 4.0], 2, False),
        (4.0, [1.0, 2.0, 3.0, 4.0], 4, True),
        (3.9, [1.0, 2.0, 3.0, 4.0], 4, False),
        (1.0, [2.0], 2, False),
        (2.0, [2.0], 2, True),
        (-0.2, [-0.1, -0.3, -0.4], 2, True),
    ],
)
def test_goes_on(score, earlier, factor, expected):
    assert goes_on(score, earlier, factor) is expected


def test_a_decision_does_not_depend_on_the_order_of_arrival():
    reports = [(trial, rung, ((trial * 37 + rung) % 17) / 17) for trial in range(8) for rung in (10, 20)]

    def decisions(order):
        scheduler = BatchedASHA(metric="score", batch_size=4, reduction_factor=2)
        made = {}
        for batch in (0, 1):
            for trial, rung, score in order:
                if trial // 4 == batch:
                    made[trial, rung] = scheduler.decide(trial, {"rounds": rung, "score": score})
        return made

    expected = decisions(reports)
    assert {expected[trial, 10] for trial in range(4)} == {TrialScheduler.CONTINUE}
    assert TrialScheduler.STOP in expected.values()
    for seed in range(5):
        assert decisions(random.Random(seed).sample(reports, len(reports))) == expected


def test_a_repeated_trial_changes_nothing():
    scheduler = BatchedASHA(metric="score", batch_size=1, reduction_factor=2)
    for _ in range(2):
        assert scheduler.decide(0, {"rounds": 5, "score": 1.0}) == TrialScheduler.CONTINUE
    assert scheduler.decide(1, {"rounds": 5, "score": 0.5}) == TrialScheduler.STOP


class Recorder(Searcher):
    def __init__(self):
        super().__init__(metric="score", mode="max")
        self.told = []

    def suggest(self, trial_id):
        return {"x": len(self.told)}

    def on_trial_complete(self, trial_id, result=None, error=False):
        self.told.append((trial_id, result["score"]))


def test_batches_are_told_in_trial_order_when_they_are_complete():
    recorder = Recorder()
    searcher = BatchedSearch(recorder, batch_size=2, n_trials=3)
    assert searcher.suggest("a") == {"x": 0, "trial": 0}
    # Finished before its batch is full: nothing is told yet.
    searcher.on_trial_complete("a", {"score": 1.0})
    assert recorder.told == []
    assert searcher.suggest("b") == {"x": 0, "trial": 1}
    assert searcher.suggest("c") is None
    searcher.on_trial_complete("b", {"score": 2.0})
    assert recorder.told == [("a", 1.0), ("b", 2.0)]
    assert searcher.suggest("c") == {"x": 2, "trial": 2}
    assert searcher.suggest("d") is None
    searcher.on_trial_complete("c", {"score": 3.0})
    assert recorder.told[-1] == ("c", 3.0)


def test_a_batch_that_finishes_backwards_is_told_forwards():
    recorder = Recorder()
    searcher = BatchedSearch(recorder, batch_size=3, n_trials=3)
    for name in "abc":
        searcher.suggest(name)
    for score, name in enumerate("cba"):
        searcher.on_trial_complete(name, {"score": score})
    assert [name for name, _ in recorder.told] == ["a", "b", "c"]
