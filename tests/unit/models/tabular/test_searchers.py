import importlib.util

import pytest
from tests.unit.models.tabular import tiny

from acceleray.errors import EngineUnavailableError, UsageError
from acceleray.models.tabular.family import Choice, Real, Whole
from acceleray.models.tabular.searchers import SEARCHERS, Grid, Random, in_range, searcher

SPACE = {
    "rate": Real(low=0.01, high=1.0, log=True),
    "share": Real(low=0.0, high=1.0),
    "depth": Whole(low=1, high=3),
    "leaves": Whole(low=1, high=100, log=True),
    "kind": Choice(options=(1.0, 4.0)),
}


def make(name, seed=3):
    tiny.skip_without_its_library(name)
    space = {"rate": SPACE["rate"]} if name == "grid" else SPACE
    return searcher(name, space, seed=seed, n_startup=2, grid_points=8, n_trials=20)


def run(found, *, batches=3, size=2):
    """Ask and tell as a study does."""
    asked = []
    for _ in range(batches):
        names = [f"{len(asked) + number:05d}" for number in range(size)]
        asked += [found.suggest(name) for name in names]
        for name, given in zip(names, asked[-size:], strict=True):
            found.on_trial_complete(name, result={"score": -abs(given["rate"] - 0.3)})
    return asked


@pytest.mark.parametrize("name", SEARCHERS)
def test_the_same_questions_and_answers_give_the_same_suggestions(name):
    first, again = run(make(name)), run(make(name))
    assert first == again
    if name != "grid":
        assert run(make(name, seed=4)) != first
        for suggestion in first:
            assert set(suggestion) == set(SPACE)
            for key, value in suggestion.items():
                # HyperOpt's exponential of a logarithm may leave a range by a rounding error.
                assert in_range(SPACE[key], value) == pytest.approx(value, rel=1e-12)


@pytest.mark.parametrize("name", [name for name in SEARCHERS if name not in ("grid", "random")])
def test_a_failed_trial_does_not_end_the_search(name):
    found = make(name)
    found.suggest("a")
    found.suggest("b")
    found.on_trial_complete("a", error=True)
    found.on_trial_complete("b", result={"score": 1.0})
    assert set(found.suggest("c")) == set(SPACE)


def test_a_grid_is_every_combination():
    grid = Grid({"rate": SPACE["rate"], "depth": SPACE["depth"], "kind": SPACE["kind"]}, points=3)
    assert len(grid) == 18
    found = [grid.suggest(str(number)) for number in range(18)]
    assert found[0] == {"rate": 0.01, "depth": 1, "kind": 1.0}
    assert found[1] == {"rate": 0.01, "depth": 1, "kind": 4.0}
    assert sorted({each["rate"] for each in found}) == pytest.approx([0.01, 0.1, 1.0], rel=1e-12)
    assert {each["depth"] for each in found} == {1, 2, 3}
    assert grid.suggest("more") == "FINISHED"


def test_a_short_range_has_few_points():
    assert len(Grid({"depth": SPACE["depth"]}, points=10)) == 3
    assert len(Grid({"rate": Real(low=2.0, high=2.0)}, points=10)) == 1
    assert len(Grid(SPACE, points=1)) == 2


def test_a_grid_larger_than_the_search_is_refused():
    with pytest.raises(UsageError, match="4374 points, there were 20 trials"):
        searcher("grid", SPACE, seed=0, n_startup=1, grid_points=9, n_trials=20)


def test_random_draws_reach_every_part_of_a_range():
    found = Random(SPACE, seed=1)
    drawn = [found.suggest("") for _ in range(2000)]
    below = sum(each["rate"] < 0.1 for each in drawn) / 2000
    # Half of a logarithmic range lies below its geometric middle; 4 standard errors.
    assert abs(below - 0.5) < 4 * (0.25 / 2000) ** 0.5
    assert {each["depth"] for each in drawn} == {1, 2, 3}
    assert {each["kind"] for each in drawn} == {1.0, 4.0}
    assert min(each["leaves"] for each in drawn) == 1
    assert max(each["leaves"] for each in drawn) == 100


def test_the_nth_draw_depends_on_the_seed_and_n_only():
    one, two = Random(SPACE, seed=1), Random(dict(reversed(SPACE.items())), seed=1)
    assert [one.suggest("x") for _ in range(3)] == [two.suggest("y") for _ in range(3)]


def test_unknown_names_and_missing_libraries(monkeypatch):
    with pytest.raises(UsageError, match="'bayes' is not known"):
        searcher("bayes", SPACE, seed=0, n_startup=1, grid_points=1, n_trials=1)
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(EngineUnavailableError, match="cma_es needs optuna") as caught:
        searcher("cma_es", SPACE, seed=0, n_startup=1, grid_points=1, n_trials=1)
    assert caught.value.hint == "pip install optuna"


def test_suggestions_are_brought_into_range():
    assert in_range(SPACE["depth"], 3.2) == 3
    assert isinstance(in_range(SPACE["depth"], 2.0), int)
    assert in_range(SPACE["rate"], 1.0000000001) == 1.0
    assert in_range(SPACE["kind"], 4) == 4.0


@pytest.mark.parametrize("name", [name for name in SEARCHERS if name not in ("grid", "cma_es")])
def test_a_range_of_one_value_is_that_value(name):
    space = {
        "one": Whole(low=2, high=2),
        "half": Real(low=0.5, high=0.5),
        "log": Real(low=0.5, high=0.5, log=True),
        "only": Choice(options=(7.0,)),
    }
    found = searcher(name, space, seed=0, n_startup=1, grid_points=1, n_trials=3)
    for trial_id in ("a", "b"):
        assert found.suggest(trial_id) == {"one": 2, "half": 0.5, "log": 0.5, "only": 7.0}
        found.on_trial_complete(trial_id, result={"score": 1.0})
