import itertools

import numpy as np
import pytest
from tests.unit.models.tabular.tiny import FAMILY

from acceleray.errors import MissingDataError, NumericalError, SchemaError, UsageError
from acceleray.models.tabular.signature import Feature, Rows, Signature
from acceleray.models.tabular.validation import (
    decision_threshold,
    out_of_fold,
    roc_auc,
    rows_at,
    score,
    stratified,
    walk_forward,
)
from acceleray.numerics.classification import log_loss

HORIZON, EMBARGO = 5, 3
START = np.datetime64("2015-01-01")


def panel(n_sessions=200, n_names=4):
    sessions = np.repeat(np.arange(n_sessions), n_names)
    labels = (np.arange(sessions.size) % 3 == 0).astype(np.float32)
    return START + sessions, sessions, labels


def test_no_row_trains_whose_label_window_and_embargo_reach_the_judged_period():
    dates, sessions, labels = panel()
    split = walk_forward(dates, labels, n_folds=3, horizon=HORIZON, embargo=EMBARGO)
    parts = [*split.folds, split.threshold]
    for fold in parts:
        judged_from = sessions[fold.judge].min()
        assert (sessions[fold.train] + HORIZON + EMBARGO).max() == judged_from - 1
    for earlier, later in itertools.pairwise(parts):
        assert sessions[later.judge].min() == sessions[earlier.judge].max() + 1
    assert sessions[parts[0].judge].min() == 100
    assert sessions[parts[-1].judge].max() == 199


def test_the_order_of_rows_does_not_matter():
    dates, _, labels = panel()
    mixed = np.random.default_rng(0).permutation(dates.size)
    given = walk_forward(dates, labels, n_folds=2, horizon=5, embargo=0)
    other = walk_forward(dates[mixed], labels[mixed], n_folds=2, horizon=5, embargo=0)
    for one, two in zip(given.folds, other.folds, strict=True):
        assert set(one.train) == set(mixed[two.train])
        assert set(one.judge) == set(mixed[two.judge])


def test_sessions_without_rows_count_on_the_axis():
    dates, sessions, labels = panel()
    there = (sessions < 80) | (sessions >= 98)
    split = walk_forward(
        dates[there], labels[there], n_folds=1, horizon=5, embargo=3, axis=START + np.arange(200)
    )
    train = sessions[there][split.folds[0].train]
    assert train.max() + 8 < sessions[there][split.folds[0].judge].min()


def leaking_panel():
    """Persistent inputs and overlapping windows, and nothing to know about the future."""
    generator = np.random.default_rng(3)
    n_sessions, horizon = 600, 20
    walk = generator.normal(size=n_sessions + horizon).cumsum()
    labels = (walk[horizon:] > walk[:-horizon]).astype(np.float32)
    sessions = np.arange(n_sessions)
    # Bumps in time: a model can remember when, which only helps where windows overlap.
    centres = np.linspace(0, n_sessions, 40)
    values = np.exp(-(((sessions[:, None] - centres) / 12.0) ** 2)).astype(np.float32)
    signature = Signature(features=tuple(Feature(name=f"x{n}") for n in range(40)), label="y")
    return sessions, Rows(values=values, labels=labels), signature, horizon


def forward_scores(sessions, rows, signature, gap, taught):
    configuration = {"rate": 20.0, "ridge": 0.0, "spare": 1, "kind": 0.0}
    scores = []
    # Short steps: the judged window overlaps the last training windows unless they are purged.
    for judged_from in range(300, 580, 5):
        train = np.flatnonzero(sessions <= judged_from - gap)
        learner = FAMILY.begin(
            Rows(values=rows.values[train], labels=taught[train]), signature, configuration, seed=0
        )
        learner.advance(20)
        judged = slice(judged_from, judged_from + 5)
        scores.append(np.mean((learner.predict(rows.values[judged]) > 0.5) == (rows.labels[judged] > 0.5)))
    return np.array(scores)


def test_memory_of_neighbours_helps_without_purging_and_not_with_it():
    sessions, rows, signature, horizon = leaking_panel()
    leaked = forward_scores(sessions, rows, signature, 1, rows.labels)
    purged = forward_scores(sessions, rows, signature, horizon + 1, rows.labels)
    # Neighbouring steps share windows: a quarter of them count as independent.
    gained = leaked - purged
    assert gained.mean() > 2 * gained.std() / np.sqrt(gained.size / 4)
    assert purged.mean() < 0.5 + 4 * purged.std() / np.sqrt(purged.size / 4)


@pytest.mark.parametrize("shift", [-10, 1, 20])
def test_labels_shifted_in_time_do_not_improve_the_out_of_time_score(shift):
    sessions, rows, signature, horizon = leaking_panel()
    # A row that is taught the label of a later session knows `shift` sessions more; of an earlier one, less.
    shifted = np.roll(rows.labels, -shift)
    honest = forward_scores(sessions, rows, signature, horizon + 1, rows.labels)
    moved = forward_scores(sessions, rows, signature, horizon + max(shift, 0) + 1, shifted)
    difference = moved - honest
    error = difference.std() / np.sqrt(difference.size / 4)
    assert difference.mean() <= 4 * error


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"n_folds": 0}, UsageError),
        ({"horizon": -1}, UsageError),
        ({"horizon": 120}, MissingDataError),
        ({"n_folds": 150}, MissingDataError),
    ],
)
def test_walk_forward_refuses(changes, expected):
    dates, _, labels = panel()
    with pytest.raises(expected):
        walk_forward(dates, labels, **{"n_folds": 2, "horizon": 5, "embargo": 3, **changes})


def test_a_missing_date_and_one_off_the_axis_are_refused():
    dates, _, labels = panel()
    spoiled = dates.copy()
    spoiled[3] = np.datetime64("NaT")
    with pytest.raises(SchemaError, match="1 of 800 rows"):
        walk_forward(spoiled, labels, n_folds=2, horizon=5, embargo=3)
    with pytest.raises(SchemaError, match="2015-07-19"):
        walk_forward(dates, labels, n_folds=2, horizon=5, embargo=3, axis=START + np.arange(199))


def test_a_fold_of_one_class_is_named_with_its_counts():
    dates, sessions, labels = panel()
    labels[(sessions >= 100) & (sessions < 133)] = 0.0
    with pytest.raises(
        MissingDataError, match=r"fold 0 is judged by .* 132 rows were labelled 0 and 0 were labelled 1"
    ):
        walk_forward(dates, labels, n_folds=2, horizon=5, embargo=3)


def test_stratified_parts_are_disjoint_whole_and_alike():
    generator = np.random.default_rng(1)
    labels = (generator.random(1000) < 0.1).astype(np.float32)
    split = stratified(labels, n_folds=4, seed=7)
    parts = [fold.judge for fold in (*split.folds, split.threshold)]
    assert np.array_equal(np.sort(np.concatenate(parts)), np.arange(1000))
    events = [labels[part].sum() for part in parts]
    assert max(events) - min(events) <= 1
    assert max(map(len, parts)) - min(map(len, parts)) <= 1
    for fold in split.folds:
        assert not set(fold.train) & (set(fold.judge) | set(split.threshold.judge))
        assert fold.train.size + fold.judge.size == 1000 - split.threshold.judge.size


def test_stratified_repeats_with_its_seed_only():
    labels = (np.arange(100) % 2).astype(np.float32)
    first, again, other = (stratified(labels, n_folds=2, seed=seed).folds[0].judge for seed in (1, 1, 2))
    assert np.array_equal(first, again)
    assert not np.array_equal(first, other)


def test_too_few_events_are_named_with_their_counts():
    labels = np.zeros(50, dtype=np.float32)
    labels[:3] = 1.0
    with pytest.raises(MissingDataError, match="47 rows were labelled 0 and 3 were labelled 1"):
        stratified(labels, n_folds=3, seed=0)
    with pytest.raises(UsageError, match="n_folds was 1"):
        stratified(labels, n_folds=1, seed=0)


def test_neighbours_are_views_and_others_are_copies():
    rows = Rows(values=np.zeros((10, 2), np.float32), labels=np.zeros(10, np.float32))
    assert np.shares_memory(rows_at(rows, np.arange(3, 7)).values, rows.values)
    assert not np.shares_memory(rows_at(rows, np.array([1, 3])).values, rows.values)
    assert rows_at(rows, np.array([], dtype=np.int64)).labels.size == 0


def test_roc_auc_against_every_pair():
    generator = np.random.default_rng(2)
    labels = (generator.random(60) < 0.4).astype(float)
    scores = generator.integers(0, 6, 60) / 6
    pairs = [
        (1.0 if high > low else 0.5 if high == low else 0.0)
        for high in scores[labels == 1]
        for low in scores[labels == 0]
    ]
    assert roc_auc(labels, scores) == pytest.approx(np.mean(pairs), rel=1e-14)
    with pytest.raises(NumericalError, match="3 rows were labelled 0 and 0"):
        roc_auc([0, 0, 0], [0.1, 0.2, 0.3])


def test_a_higher_score_is_better_for_every_metric():
    labels = [0, 1, 0, 1]
    for metric in ("log_loss", "average_precision", "roc_auc"):
        assert score(metric, labels, [0.1, 0.8, 0.2, 0.9]) > score(metric, labels, [0.8, 0.1, 0.9, 0.2])
    assert score("log_loss", labels, [0.1, 0.8, 0.2, 0.9]) == -log_loss(labels, [0.1, 0.8, 0.2, 0.9])


@pytest.mark.parametrize("costs", [(1.0, 1.0), (1.0, 9.0), (5.0, 1.0)])
def test_the_threshold_is_the_cheapest_of_all(costs):
    generator = np.random.default_rng(4)
    forecast = generator.integers(0, 21, 300) / 20
    labels = (generator.random(300) < forecast).astype(float)
    false_alarm_cost, miss_cost = costs

    def cost(level):
        alarm = forecast >= level
        return (
            false_alarm_cost * np.sum(alarm & (labels == 0)) + miss_cost * np.sum(~alarm & (labels == 1))
        ) / 300

    found = decision_threshold(labels, forecast, false_alarm_cost=false_alarm_cost, miss_cost=miss_cost)
    every = [cost(level) for level in [*np.unique(forecast), 2.0]]
    assert found.cost_per_row == pytest.approx(min(every), rel=1e-12)
    assert cost(found.value) == pytest.approx(found.cost_per_row, rel=1e-12)
    alarm = forecast >= found.value
    assert found.false_alarms == np.sum(alarm & (labels == 0))
    assert found.misses == np.sum(~alarm & (labels == 1))
    assert found.recall == pytest.approx(labels[alarm].sum() / labels.sum(), rel=1e-15)
    assert found.precision == pytest.approx(labels[alarm].mean(), rel=1e-15)
    # Calibrated forecasts: the textbook level is c_fa / (c_fa + c_miss), up to the noise of 300 rows.
    assert abs(found.value - false_alarm_cost / (false_alarm_cost + miss_cost)) < 0.2


def test_no_alarm_is_an_answer():
    found = decision_threshold([0, 0, 0, 1], [0.9, 0.8, 1.0, 0.1], false_alarm_cost=1, miss_cost=1)
    assert found.value > 1.0
    assert (found.false_alarms, found.misses, found.recall) == (0, 1, 0.0)
    assert np.isnan(found.precision)


@pytest.mark.parametrize("cost", [0.0, -1.0, np.nan, np.inf])
def test_a_cost_is_a_positive_number(cost):
    with pytest.raises(UsageError, match="miss_cost"):
        decision_threshold([0, 1], [0.1, 0.2], false_alarm_cost=1.0, miss_cost=cost)


def test_out_of_fold_forecasts_come_from_models_that_did_not_learn_from_the_row():
    generator = np.random.default_rng(5)
    values = generator.normal(size=(90, 2)).astype(np.float32)
    labels = (values[:, 0] > 0).astype(np.float32)
    rows = Rows(values=values, labels=labels)
    signature = Signature(features=(Feature(name="a"), Feature(name="b")), label="y")
    split = stratified(labels, n_folds=2, seed=0)
    configuration = {"rate": 0.5, "ridge": 0.0, "spare": 1, "kind": 0.0}
    truth, forecast = out_of_fold(
        FAMILY, rows, signature, [split.threshold], configuration=configuration, rounds=20, seed=0
    )
    assert np.array_equal(truth, labels[split.threshold.judge])
    # Whatever the judged rows' labels are, the forecasts are the same.
    flipped = labels.copy()
    flipped[split.threshold.judge] = 1 - flipped[split.threshold.judge]
    _, again = out_of_fold(
        FAMILY,
        Rows(values=values, labels=flipped),
        signature,
        [split.threshold],
        configuration=configuration,
        rounds=20,
        seed=0,
    )
    assert np.array_equal(forecast, again)
