from __future__ import annotations

import numpy as np
import pytest

from acceleray.errors import NumericalError
from acceleray.numerics.early_warning_label import (
    LabelRule,
    adverse_move,
    early_warning_labels,
    exceeds,
    trailing_threshold,
)
from acceleray.numerics.order_statistics import order_rank

RULE = LabelRule(horizon_days=5, quantile=0.9, window_days=40, min_days=10)


def walk(n: int, seed: int) -> np.ndarray:
    return np.cumsum(np.random.default_rng(seed).normal(0.0, 0.02, n))


def test_adverse_move_is_the_worst_later_close_by_brute_force():
    values = walk(60, 1)
    adverse_long, adverse_short = adverse_move(values, horizon_days=7)
    for t in range(60 - 7):
        ahead = [values[t + k] - values[t] for k in range(1, 8)]
        assert adverse_long[t] == max(0.0, *(-move for move in ahead))
        assert adverse_short[t] == max(0.0, *ahead)
    assert np.isnan(adverse_long[-7:]).all()
    assert np.isnan(adverse_short[-7:]).all()


def test_a_short_suffers_what_a_long_enjoys():
    values = walk(80, 2)
    long_of_mirror, short_of_mirror = adverse_move(-values, horizon_days=20)
    adverse_long, adverse_short = adverse_move(values, horizon_days=20)
    np.testing.assert_array_equal(long_of_mirror, adverse_short)
    np.testing.assert_array_equal(short_of_mirror, adverse_long)


def test_a_long_in_a_rising_market_loses_nothing():
    adverse_long, adverse_short = adverse_move(np.arange(6.0), horizon_days=2)
    assert adverse_long[:4].tolist() == [0.0] * 4
    assert adverse_short[:4].tolist() == [2.0] * 4


def test_threshold_is_the_order_statistic_of_the_moves_known_by_then():
    adverse, _ = adverse_move(walk(200, 3), horizon_days=5)
    found = trailing_threshold(adverse, RULE)
    for t in range(200):
        known = adverse[: max(t - 5 + 1, 0)][-40:]
        if known.size < 10:
            assert np.isnan(found[t])
        else:
            assert found[t] == np.quantile(known, 0.9, method="inverted_cdf")


def test_threshold_copes_with_ties():
    adverse, _ = adverse_move(np.round(walk(300, 4), 1), horizon_days=5)
    found = trailing_threshold(adverse, RULE)
    expected = [
        np.sort(adverse[max(t - 44, 0) : t - 4])[order_rank(min(t - 4, 40), 0.9) - 1] for t in range(14, 300)
    ]
    assert found[14:].tolist() == expected


def test_labels_are_null_until_both_sides_are_known():
    label = exceeds(np.array([0.1, 0.3, np.nan, 0.2]), np.array([0.2, 0.2, 0.2, np.nan]))
    assert label[:2].tolist() == [0.0, 1.0]
    assert np.isnan(label[2:]).all()


def test_a_move_equal_to_the_threshold_is_no_event():
    assert exceeds(np.array([0.2]), np.array([0.2])).tolist() == [0.0]


def test_an_event_is_always_a_loss():
    # A market that rises every day but one: nearly all moves of a long are zero, and so is the threshold.
    values = np.cumsum(np.where(np.arange(120) == 100, -0.5, 0.01))
    columns = early_warning_labels(values, RULE)
    events = columns["label_long"] == 1.0
    assert np.flatnonzero(events).tolist() == [95, 96, 97, 98, 99]
    assert (columns["adverse_long"][events] > 0.0).all()
    assert (columns["threshold_long"][events] == 0.0).all()


@pytest.mark.parametrize("n", [0, 1, 5, 6, 14, 15])
def test_short_histories_give_columns_of_their_own_length(n):
    for column in early_warning_labels(walk(n, 5), RULE).values():
        assert column.shape == (n,)


def test_a_missing_level_stops_the_label():
    with pytest.raises(NumericalError):
        adverse_move(np.array([0.0, np.nan, 1.0]), horizon_days=1)
    with pytest.raises(NumericalError):
        trailing_threshold(np.array([0.0, np.nan, 1.0, np.nan, np.nan, np.nan, np.nan, np.nan]), RULE)


def test_a_rule_that_no_window_can_satisfy_is_refused():
    with pytest.raises(ValueError, match="min_days 41"):
        LabelRule(horizon_days=5, quantile=0.9, window_days=40, min_days=41)
