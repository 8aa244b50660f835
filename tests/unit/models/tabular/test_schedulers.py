import dataclasses

import numpy as np
import pytest

from acceleray.errors import UsageError
from acceleray.models.tabular.family import Choice, Real, Whole
from acceleray.models.tabular.schedulers import (
    HyperBand,
    MedianStopping,
    Population,
    SuccessiveHalving,
    perturbed,
    rungs,
    schedule,
    steps,
)
from acceleray.models.tabular.trial import Report

SPACE = {
    "rate": Real(low=0.01, high=1.0, log=True),
    "depth": Whole(low=1, high=5),
    "kind": Choice(options=(1, 2)),
}


def report(rounds, latest, score=None, configuration=None):
    lineage = ((0, configuration or {"rate": 0.1, "depth": 2, "kind": 1}),)
    return Report(
        rounds=rounds,
        latest=latest,
        score=latest if score is None else score,
        best_rounds=rounds,
        lineage=lineage,
        work_s=0.0,
    )


def reports(*latest, every=10):
    found, best = {}, -np.inf
    for position, value in enumerate(latest, start=1):
        best = max(best, value)
        found[position * every] = report(position * every, value, best)
    return found


@pytest.mark.parametrize(
    ("first", "factor", "last", "expected"),
    [
        (15, 2, 120, (15, 30, 60, 120)),
        (10, 3, 100, (10, 30, 90, 100)),
        (50, 2, 50, (50,)),
        (60, 2, 50, (50,)),
    ],
)
def test_rungs(first, factor, last, expected):
    assert rungs(first, factor, last) == expected


def test_steps_hold_every_stride_and_every_rung():
    assert steps(1, (2, 4)) == (1, 2, 3, 4)
    assert steps(5, (3, 12)) == (3, 5, 10, 12)
    assert steps(100, (3, 12)) == (3, 12)


@pytest.mark.parametrize(
    ("score", "earlier", "factor", "expected"),
    [
        (0.0, [], 2, True),
        (2.0, [1.0, 2.0, 3.0, 4.0], 2, False),
        (3.0, [1.0, 2.0, 3.0, 4.0], 2, True),
        (3.9, [1.0, 2.0, 3.0, 4.0], 4, False),
        (4.0, [1.0, 2.0, 3.0, 4.0], 4, True),
        (1.0, [2.0], 2, False),
        (2.0, [2.0], 2, True),
    ],
)
def test_halving(score, earlier, factor, expected):
    rule = SuccessiveHalving(rungs=(10, 20), reduction_factor=factor)
    assert rule.goes_on({10: report(10, score)}, [{10: report(10, each)} for each in earlier]) is expected


def test_halving_decides_at_rungs_only_and_by_trials_that_reached_them():
    rule = SuccessiveHalving(rungs=(10, 20), reduction_factor=2)
    assert rule.goes_on(reports(1, 0, every=5) | {15: report(15, -9)}, [reports(5, 5)])
    assert rule.goes_on(reports(1, 1), [reports(5), reports(5)])


def test_median_stopping_needs_grace_and_three_others():
    rule = MedianStopping(grace=20)
    others = [reports(0, 4, 4), reports(0, 6, 6), reports(0, 8, 8)]
    assert rule.goes_on(reports(-9), others)
    assert not rule.goes_on(reports(-9, -9), others)
    assert rule.goes_on(reports(-9, -9), others[:2])
    assert rule.goes_on(reports(0, 6), others)
    # The best so far counts, not the latest; averages do not look past the round that is judged.
    assert rule.goes_on(reports(7, 0), others)
    assert rule.goes_on(reports(0, 6), [*others[:2], reports(0, 6, 99)])


def test_hyperband_halves_a_bracket():
    band = HyperBand(reduction_factor=3)
    turn = band.turn(0, 10, {number: report(10, score) for number, score in enumerate([1, 5, 5, 2, 4, 3])})
    assert turn.stopped == {0, 3, 4, 5}
    assert band.turn(0, 10, {7: report(10, 1.0)}).stopped == frozenset()


def test_hyperband_brackets_trade_trials_for_rounds():
    plan = schedule(
        "hyperband",
        n_trials=40,
        batch_size=99,
        first_rung=3,
        reduction_factor=3,
        max_rounds=81,
        space=SPACE,
        seed=0,
    )
    # Li et al. (2018), table 1 with R = 27, eta = 3: 27, 12, 6 and 4 trials; then the bands start again.
    assert plan.rungs == (3, 9, 27, 81)
    assert plan.sizes == (27, 12, 1)
    assert plan.batch_rungs == ((3, 9, 27, 81), (9, 27, 81), (27, 81))


def test_the_worst_quarter_copies_the_best_quarter():
    population = Population(space=SPACE, seed=5)
    configurations = [
        {"rate": 0.01 * (number + 1), "depth": number % 5 + 1, "kind": 1} for number in range(8)
    ]
    members = {number: report(10, float(number), configuration=configurations[number]) for number in range(8)}
    turn = population.turn(0, 10, members)
    assert turn.stopped == frozenset()
    assert set(turn.copied) == {0, 1}
    for source, configuration in turn.copied.values():
        assert source in (6, 7)
        assert configuration["depth"] == configurations[source]["depth"]
        assert configuration["rate"] != configurations[source]["rate"]
        assert 0.01 <= configuration["rate"] <= 1.0
    assert population.turn(0, 10, dict(reversed(members.items()))) == turn
    assert population.turn(0, 20, members) != turn
    assert population.turn(0, 10, {3: members[3]}).copied == {}


def test_perturbed_values_stay_in_their_range():
    generator = np.random.default_rng(0)
    drawn = [perturbed({"rate": 1.0, "depth": 3, "kind": 2}, SPACE, generator) for _ in range(200)]
    rates = [each["rate"] for each in drawn]
    assert max(rates) == 1.0
    assert min(rates) >= 0.01
    assert 0.8 in rates
    assert {(each["depth"], each["kind"]) for each in drawn} == {(3, 2)}


def test_a_population_needs_something_to_change():
    with pytest.raises(UsageError, match="depth is a whole number, kind is a choice"):
        schedule(
            "pbt",
            n_trials=4,
            batch_size=4,
            first_rung=1,
            reduction_factor=2,
            max_rounds=4,
            space={name: SPACE[name] for name in ("depth", "kind")},
            seed=0,
        )


def test_a_population_meets_at_even_distances():
    plan = schedule(
        "pbt",
        n_trials=6,
        batch_size=4,
        first_rung=4,
        reduction_factor=2,
        max_rounds=10,
        space=SPACE,
        seed=0,
    )
    assert plan.rungs == (4, 8, 10)
    assert plan.sizes == (4, 2)


def test_work_time_does_not_make_reports_differ():
    one = report(1, 2.0)
    assert dataclasses.replace(one, work_s=9.0) == one
    assert Report.from_dict(one.to_dict()) == one
