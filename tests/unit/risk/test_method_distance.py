"""What plain paths and the exact mean notice of a wrong method."""

from __future__ import annotations

import math

import numpy as np
import pytest

from acceleray.numerics.intervals import Estimate
from acceleray.risk.loss_estimates import PlainEstimates
from acceleray.risk.method_distance import mean_distance, tail_distance

LEVELS = (0.75, 0.95, 0.99, 0.999)


def known(value):
    return Estimate(value=value, ci_low=value, ci_high=value, note="")


class Exponential:
    """The exponential law of mean 1, with its tail made wrong."""

    method = "exact"
    n_paths = None

    def __init__(self, *, odds=1.0, shortfall=1.0, mean=1.0):
        self.odds, self.shortfall, self.mean = odds, shortfall, mean

    def tail_paths(self, level):
        return None

    def expected_loss(self):
        return known(self.mean)

    def var(self, level):
        return known(-math.log((1.0 - level) / self.odds))

    def es(self, level):
        return known(self.shortfall * (self.var(level).value + 1.0))

    def exceedance(self, loss):
        return known(min(self.odds * math.exp(-loss), 1.0))


def test_a_right_law_is_not_contradicted():
    distances = [
        tail_distance(Exponential(), np.random.default_rng(seed).exponential(size=4000), LEVELS)
        for seed in range(200)
    ]
    # Eight comparisons each; 4.5 standard errors of each would be passed once in 18,000 runs.
    assert max(distances) < 4.5
    assert np.median(distances) > 0.5


@pytest.mark.parametrize("wrong", [{"shortfall": 3.0}, {"odds": 1.25}, {"odds": 0.8}])
def test_a_wrong_tail_is_noticed(wrong):
    for seed in range(20):
        losses = np.random.default_rng(seed).exponential(size=8000)
        assert tail_distance(Exponential(**wrong), losses, LEVELS) > 4.5


def test_odds_off_by_a_tenth_are_noticed_by_enough_paths():
    # At the level of 0.75 the share of paths is known to 1.2 % with 20,000 of them.
    for seed in range(20):
        losses = np.random.default_rng(seed).exponential(size=20_000)
        assert tail_distance(Exponential(odds=1.1), losses, LEVELS) > 4.5


def test_a_level_out_of_reach_is_compared_at_the_last_loss_that_paths_reach():
    losses = np.random.default_rng(1).exponential(size=4000)
    assert tail_distance(Exponential(), losses, (0.9999,)) < 4.5
    # Ten paths against a tenth of one.
    assert tail_distance(Exponential(odds=0.01), losses, (0.9999,)) > 4.5
    assert tail_distance(Exponential(), losses[:15], (0.9999,)) is None


def test_the_mean_is_compared_with_the_exact_one():
    assert mean_distance(Exponential(), 1.0) == 0.0
    assert mean_distance(Exponential(mean=1.002), 1.0) < 4.5
    assert mean_distance(Exponential(mean=1.05), 1.0) > 4.5
    losses = np.random.default_rng(1).exponential(size=4000)
    paths = PlainEstimates(losses=losses, confidence=0.95, seed=1)
    assert mean_distance(paths, 1.0) < 4.5
    assert mean_distance(paths, 1.2) > 4.5
