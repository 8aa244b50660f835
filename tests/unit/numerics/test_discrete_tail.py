"""Tail measures of lattice laws, and near-ties."""

import math

import numpy as np
import pytest

from acceleray.errors import NumericalError
from acceleray.numerics.discrete_tail import (
    exceedances,
    lattice_shortfall,
    lattice_var,
    near_ties,
    near_ties_of_sample,
)
from acceleray.numerics.tail import es, var


def test_measures_are_those_of_a_weighted_sample():
    rng = np.random.default_rng(5)
    for _ in range(50):
        law = rng.dirichlet(np.full(20, 0.2))
        for level in (0.5, 0.9, 0.99, 0.999):
            tail = 1.0 - level
            beyond = exceedances(law)
            assert lattice_var(beyond, tail) == var(np.arange(20.0), level=level, weights=law)
            expected = float(es(np.arange(20.0), level=level, weights=law))
            # Both divide rounding errors by the tail.
            assert lattice_shortfall(beyond, tail) == pytest.approx(expected, abs=1e-10)


def test_a_level_that_is_reached_exactly_is_reached():
    # 0.1 + 0.2 + 0.7 in binary: the loss with P(L <= x) = 0.3 is the quantile at 0.3.
    assert lattice_var(exceedances(np.array([0.1, 0.2, 0.7])), 1.0 - 0.3) == 1


@pytest.mark.parametrize(
    ("cumulative", "error", "value", "candidates"),
    [
        ([0.90, 0.98, 0.995, 1.0], 0.001, 2, [2]),
        ([0.90, 0.9895, 0.995, 1.0], 0.001, 2, [1, 2]),
        ([0.90, 0.98, 0.9905, 1.0], 0.001, 2, [2, 3]),
        ([0.90, 0.9895, 0.9905, 1.0], 0.001, 2, [1, 2, 3]),
        ([0.90, 0.99, 0.995, 1.0], 0.0, 1, [1]),
        ([0.90, 0.98, 0.995, 1.0], 0.0, 2, [2]),
        ([0.90, 0.98, 0.985, 0.989], 1e-4, 3, [3]),
    ],
)
def test_candidates(cumulative, error, value, candidates):
    found = near_ties([0, 1, 2, 3], cumulative, level=0.99, standard_error=error)
    assert (found.value, found.candidates.tolist()) == (value, candidates)
    assert bool(found.note) == (len(candidates) > 1)


def test_the_note_names_what_it_means():
    found = near_ties([10, 20, 30], [0.9, 0.9895, 1.0], level=0.99, standard_error=0.001)
    assert found.distance == pytest.approx(0.5)
    assert found.note == (
        "near-tie: VaR 0.99 is 30, but P(loss <= 20) = 0.9895 lies 0.5 standard errors from the level; "
        "20 cannot be excluded"
    )
    many = near_ties(np.arange(101.0), np.linspace(0.98, 1.0, 101), level=0.99, standard_error=0.01)
    assert "losses from" in many.note


def test_candidates_cover_the_truth_as_often_as_they_say():
    # Binomial(20, 0.1): P(L <= 4) = 0.9568. The level is put right at it, where the VaR is a coin's throw.
    rng = np.random.default_rng(8)
    level, missed, ambiguous = 0.9568255047155371, 0, 0
    for _ in range(400):
        found = near_ties_of_sample(rng.binomial(20, 0.1, 2000), level=level)
        missed += 4.0 not in found.candidates
        ambiguous += len(found.candidates) > 1
    # Missed with at most 5 %; 400 trials of it have a deviation of 1.1 %.
    assert missed <= 400 * 0.05 + 4 * math.sqrt(400 * 0.05 * 0.95)
    assert ambiguous > 300


def test_a_continuous_sample_has_an_interval_and_no_ties():
    rng = np.random.default_rng(2)
    assert near_ties_of_sample(rng.standard_normal(5000), level=0.99).note == ""
    weights = np.full(100, 0.01)
    with pytest.raises(NumericalError, match="standard_error"):
        near_ties_of_sample(np.arange(100.0), level=0.9, weights=weights)
    # 1.96 standard errors of 2 % around 90 %: the losses 86 to 93, each on two paths.
    twice = np.repeat(np.arange(100.0), 2)
    found = near_ties_of_sample(twice, level=0.9, weights=np.full(200, 0.005), standard_error=0.02)
    assert found.candidates.tolist() == [86.0, 87.0, 88.0, 89.0, 90.0, 91.0, 92.0, 93.0]
    assert "7 losses from 86 to 93 cannot be excluded" in found.note


@pytest.mark.parametrize(
    ("losses", "cumulative", "options", "message"),
    [
        ([], [], {}, "at least 1"),
        ([1, 2], [1.0], {}, "one length"),
        ([1, np.nan], [0.5, 1.0], {}, "finite"),
        ([2, 1], [0.5, 1.0], {}, "ascend"),
        ([1, 2], [0.5, 0.4], {}, "ascend"),
        ([1, 2], [0.5, 1.0], {"standard_error": -1.0}, "negative"),
        ([1, 2], [0.5, 1.0], {"level": 1.0}, "level"),
    ],
)
def test_bad_input(losses, cumulative, options, message):
    with pytest.raises(NumericalError, match=message):
        near_ties(losses, cumulative, **({"level": 0.99, "standard_error": 0.01} | options))
