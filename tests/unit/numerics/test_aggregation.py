import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from acceleray.numerics.aggregation import tree_sum


@given(st.lists(st.floats(-1e12, 1e12), max_size=40))
def test_is_close_to_the_exact_sum(values):
    # Each of the log2(n) levels rounds once.
    allowed = 8 * np.finfo(float).eps * math.fsum(map(abs, values))
    assert tree_sum(np.array(values)) == pytest.approx(math.fsum(values), abs=allowed)


def test_scenario_blocks_change_no_bit():
    values = np.random.default_rng(1).normal(size=(37, 101)) * 10.0 ** np.arange(37)[:, None]
    whole = tree_sum(values, axis=0)
    for cuts in ([50], [1, 2, 3], list(range(1, 101))):
        parts = [tree_sum(part, axis=0) for part in np.split(values, cuts, axis=1)]
        np.testing.assert_array_equal(np.concatenate(parts), whole)


@pytest.mark.parametrize("shard", [1, 2, 4, 8, 32, 64])
def test_shards_of_a_power_of_two_change_no_bit(shard):
    values = np.random.default_rng(2).normal(size=(37, 5)) * 10.0 ** np.arange(37)[:, None]
    sums = [tree_sum(values[i : i + shard], axis=0) for i in range(0, len(values), shard)]
    np.testing.assert_array_equal(tree_sum(np.array(sums), axis=0), tree_sum(values, axis=0))


def test_nothing_sums_to_zero_and_the_axis_may_be_chosen():
    assert tree_sum(np.empty((0, 3))).tolist() == [0.0, 0.0, 0.0]
    np.testing.assert_array_equal(tree_sum(np.arange(6.0).reshape(2, 3), axis=1), [3.0, 12.0])
