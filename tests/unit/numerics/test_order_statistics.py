from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest

from acceleray.errors import NumericalError
from acceleray.numerics.order_statistics import (
    expected_shortfall,
    order_rank,
    paths_beyond,
    tail_masses,
    value_at_risk,
)


@pytest.mark.parametrize("level", ["0.01", "0.07", "0.29", "0.57", "0.9", "0.95", "0.975", "0.99", "0.999"])
def test_rank_equals_exact_arithmetic(level: str) -> None:
    for n in range(1, 1200):
        exact = Fraction(level) * n
        assert order_rank(n, float(level)) == -(-exact.numerator // exact.denominator)
        # The same level as a caller might compute it.
        assert order_rank(n, 1.0 - float(1 - Fraction(level))) == order_rank(n, float(level))


def test_rank_stays_within_the_sample() -> None:
    assert order_rank(10, 1e-300) == 1
    assert order_rank(10, 1.0 - 2**-53) == 10


def test_paths_beyond_is_exact_where_it_is_an_integer() -> None:
    assert paths_beyond(100, 0.99) == 1.0
    assert paths_beyond(4000, 0.999) == 4.0
    assert paths_beyond(500, 0.975) == 12.5


@pytest.mark.parametrize("level", [0.0, 1.0, -0.5, 99.0, float("nan")])
def test_level_is_a_fraction(level: float) -> None:
    with pytest.raises(ValueError, match="level"):
        value_at_risk([1.0, 2.0], level=level)
    with pytest.raises(ValueError, match="level"):
        expected_shortfall([1.0, 2.0], level=level)


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_losses_that_are_not_finite_stop_the_kernel(bad: float) -> None:
    losses = np.array([[1.0, 2.0], [bad, 3.0]])
    with pytest.raises(NumericalError, match=r"1 of 4 losses .* index \(1, 0\)"):
        value_at_risk(losses, level=0.5)
    with pytest.raises(NumericalError):
        expected_shortfall(losses, level=0.5)


@pytest.mark.parametrize("losses", [[], np.zeros((3, 0)), 1.0])
def test_no_paths(losses: object) -> None:
    with pytest.raises(ValueError, match="at least one path"):
        value_at_risk(losses, level=0.5)


def test_small_samples_by_hand() -> None:
    losses = np.array([5.0, 1.0, 3.0, 2.0, 4.0])
    assert value_at_risk(losses, level=0.5) == 3.0
    # Worst 2.5 of 5: 5, 4 and half of 3.
    assert expected_shortfall(losses, level=0.5) == (5.0 + 4.0 + 1.5) / 2.5
    assert value_at_risk([7.0], level=0.99) == expected_shortfall([7.0], level=0.99) == 7.0
    assert expected_shortfall([1.0, 2.0], level=1.0 - 2**-53) == 2.0


def test_a_batch_has_the_bits_of_its_rows_whatever_the_memory_order() -> None:
    losses = np.random.default_rng(3).standard_normal((3, 4, 997))
    for batch in (losses, np.asfortranarray(losses)):
        for measure in (value_at_risk, expected_shortfall):
            rows = [[measure(row, level=0.9) for row in page] for page in losses]
            assert np.array_equal(measure(batch, level=0.9), np.array(rows))


def test_weighted_measures_by_hand() -> None:
    losses, weights = [1.0, 10.0, 100.0], [0.90, 0.08, 0.02]
    assert value_at_risk(losses, level=0.95, weights=weights) == 10.0
    # Worst 5%: 2% at 100 and 3% at 10. The tolerance is the rounding of 1 - 0.95.
    assert expected_shortfall(losses, level=0.95, weights=weights) == pytest.approx(46.0, rel=1e-14)
    # Exactly 98% lie at or below 10.
    assert value_at_risk(losses, level=0.98, weights=weights) == 10.0
    assert value_at_risk(losses, level=0.99, weights=weights) == 100.0


def test_paths_without_weight_do_not_count() -> None:
    losses, weights = [1.0, 2.0, 3.0, 1e9], [0.5, 0.3, 0.2, 0.0]
    assert value_at_risk(losses, level=0.99, weights=weights) == 3.0
    assert expected_shortfall(losses, level=0.99, weights=weights) == 3.0


@pytest.mark.parametrize("weights", [[0.5, 0.6], [1.5, -0.5]])
def test_weights_that_are_no_probabilities(weights: list[float]) -> None:
    with pytest.raises(ValueError, match="sum to one"):
        value_at_risk([1.0, 2.0], level=0.5, weights=weights)


def test_weights_of_another_shape_or_not_finite() -> None:
    with pytest.raises(ValueError, match="one value for each of 2 paths"):
        value_at_risk([1.0, 2.0], level=0.5, weights=[1.0])
    with pytest.raises(NumericalError):
        expected_shortfall([1.0, 2.0], level=0.5, weights=[np.nan, 1.0])


def test_tail_masses_share_ties_equally() -> None:
    masses = tail_masses([0.0, 2.0, 1.0, 1.0], level=0.5)
    assert np.array_equal(masses, [0.0, 0.5, 0.25, 0.25])
    assert np.array_equal(tail_masses([3.0, 3.0], level=0.99), [0.5, 0.5])
    with pytest.raises(ValueError, match="one axis"):
        tail_masses(np.zeros((2, 2)), level=0.5)
