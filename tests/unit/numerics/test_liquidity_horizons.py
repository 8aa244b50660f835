"""The cascade of liquidity horizons."""

import math

import numpy as np
import pytest

from acceleray.errors import NumericalError
from acceleray.numerics.liquidity_horizons import liquidity_adjusted_shortfall


def test_the_cascade_is_the_sum_of_its_squares():
    # 100^2 + 80^2 x 1 + 60^2 x 2 + 40^2 x 2 + 20^2 x 6, by hand.
    assert liquidity_adjusted_shortfall([100, 80, 60, 40, 20]) == pytest.approx(math.sqrt(29200.0), rel=1e-15)


def test_liquid_books_and_books_of_one_horizon():
    assert liquidity_adjusted_shortfall([50, 0, 0, 0, 0]) == 50.0
    # All factors at 120 days: the square root of time.
    assert liquidity_adjusted_shortfall([7.0] * 5) == pytest.approx(7.0 * math.sqrt(12.0), rel=1e-15)
    assert liquidity_adjusted_shortfall([3.0, -4.0], horizons_days=[10, 20]) == 5.0


@pytest.mark.parametrize(
    ("shortfalls", "horizons", "message"),
    [
        ([1.0, np.nan], [10, 20], "finite"),
        ([1.0], [10, 20], "one shortfall"),
        ([], [], "one shortfall"),
        ([1.0, 1.0], [20, 40], "ascend from 10"),
        ([1.0, 1.0], [10, 10], "ascend from 10"),
        ([1.0, 1.0], [10, np.nan], "ascend from 10"),
        ([1.0, 1.0], [10, np.inf], "ascend from 10"),
    ],
)
def test_bad_input(shortfalls, horizons, message):
    with pytest.raises(NumericalError, match=message):
        liquidity_adjusted_shortfall(shortfalls, horizons_days=horizons)
