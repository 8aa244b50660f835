import numpy as np
import pyarrow as pa
import pytest
from tests.panels import make_panel

from acceleray.models.early_warning.dataset import INPUTS, PANEL_COLUMNS
from acceleray.models.early_warning.health import HealthRules, Windows, model_health, recommendation
from acceleray.numerics.drift import population_stability_index

RULES = HealthRules(drift_warning=0.1, drift_alert=0.25, block_days=20, n_samples=300, seed=7)


class Rule:
    """Knows how the panel's breaches come about."""

    family = "rule"

    def predict(self, values):
        column = {name: values[:, number] for number, name in enumerate(INPUTS)}
        against = column["direction"] * column["index_return_20d"] < 0.0
        hit = (column["index_volatility_20d"] > 0.0105) & against
        return 0.02 + 0.08 * (column["volatility_ratio"] > 1.0) + 0.5 * hit

    def contributions(self, values):
        raise AssertionError("health does not explain")


@pytest.fixture(scope="module")
def panel():
    return make_panel(n_sessions=1200).select(PANEL_COLUMNS)


@pytest.fixture(scope="module")
def windows(panel):
    days = np.unique(panel["date"].to_numpy())
    return Windows(
        trained_to=days[560], tested_from=days[600], recent_from=days[900], current_from=days[1140]
    )


def health(panel, windows):
    return {row["kind"]: row for row in model_health(panel, Rule(), windows, RULES)}


def changed(panel, name, function):
    """Replace a column by a function of it and of the dates."""
    column = panel[name].to_numpy().astype(float)
    at = panel.column_names.index(name)
    return panel.set_column(at, name, pa.array(function(column, panel["date"].to_numpy()), from_pandas=True))


def test_a_model_that_is_what_it_was_is_kept(panel, windows):
    found = health(panel, windows)
    assert {kind: row["status"] for kind, row in found.items() if kind != "events"} == {
        "scores": "ok",
        "skill": "ok",
    }
    assert found["skill"]["ci_low"] < found["skill"]["value"] < found["skill"]["ci_high"]
    days = panel["date"].to_numpy()
    # Two sides of four factors on 561, and tonight on 60 sessions.
    assert found["scores"]["rows_reference"] == (days <= windows.trained_to).sum() * 2
    assert found["scores"]["rows_current"] == 2 * 4 * 60
    assert recommendation(list(found.values()))["status"] == "keep"


def test_the_scores_index_is_that_of_the_probabilities(panel, windows):
    found = health(panel, windows)["scores"]
    values = np.column_stack([panel[name].to_numpy() for name in INPUTS[:-1]])
    days = panel["date"].to_numpy()

    def scores(rows):
        sides = [np.column_stack([values[rows], np.full(rows.sum(), side)]) for side in (1.0, -1.0)]
        return np.concatenate([Rule().predict(side) for side in sides])

    expected = population_stability_index(
        scores(days <= windows.trained_to), scores(days >= windows.current_from)
    )
    assert found["value"] == expected.value


def test_labels_that_no_longer_follow_the_scores_ask_for_training(panel, windows):
    generator = np.random.default_rng(1)

    def shuffled(labels, days):
        late = (days >= windows.recent_from) & ~np.isnan(labels)
        labels = labels.copy()
        labels[late] = generator.permutation(labels[late])
        return labels

    wrong = panel
    for name in ("label_long", "label_short"):
        wrong = changed(wrong, name, shuffled)
    found = health(wrong, windows)
    assert found["skill"]["status"] == "alert"
    assert found["skill"]["ci_high"] < 0.0
    verdict = recommendation(list(found.values()))
    assert (verdict["status"], verdict["note"]) == ("retrain", "alert: skill")


def test_more_events_warn_and_moved_scores_alert(panel, windows):
    more = panel
    for name in ("label_long", "label_short"):
        more = changed(
            more,
            name,
            lambda x, days: np.where((days >= windows.recent_from) & (x == 0), days.view("i8") % 2, x),
        )
    events = health(more, windows)["events"]
    assert (events["status"], events["ci_low"] > 0.0) == ("warning", True)
    moved = changed(panel, "volatility_ratio", lambda x, days: np.where(days >= windows.current_from, 9.0, x))
    assert health(moved, windows)["scores"]["status"] == "alert"


def test_too_short_a_past_says_so(panel, windows):
    days = panel["date"].to_numpy()
    short = panel.filter(pa.array((days <= windows.trained_to) | (days >= windows.current_from)))
    found = health(short, windows)
    assert (found["skill"]["status"], found["skill"]["note"]) == (
        "not_computed",
        "too few sessions or events",
    )
    assert "not computed: " in recommendation(list(found.values()))["note"]
