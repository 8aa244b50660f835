from __future__ import annotations

import numpy as np
import pytest

from acceleray.errors import NumericalError
from acceleray.numerics.drift import population_stability_index

GENERATOR = np.random.default_rng(1)
NORMAL = GENERATOR.standard_normal(20_000)


def _plain(reference: list[int], current: list[int]) -> float:
    r = [(count + 0.5) / (sum(reference) + 0.5 * len(reference)) for count in reference]
    c = [(count + 0.5) / (sum(current) + 0.5 * len(current)) for count in current]
    return sum((y - x) * np.log(y / x) for x, y in zip(r, c, strict=True))


def test_two_bins_by_hand() -> None:
    index = population_stability_index([1.0, 2.0, 3.0, 4.0], [1.0, 4.0, 5.0, 6.0], n_bins=2)
    assert index.n_bins == 2
    # Rounding of one logarithm.
    assert index.value == pytest.approx(_plain([2, 2], [1, 3]), rel=1e-14)


def test_a_sample_against_itself_is_zero() -> None:
    index = population_stability_index(NORMAL, NORMAL[::-1])
    assert (index.value, index.n_bins, index.note) == (0.0, 10, "")


def test_the_same_law_gives_what_sampling_gives() -> None:
    values = [
        population_stability_index(NORMAL, np.random.default_rng(seed).standard_normal(1000)).value
        for seed in range(50)
    ]
    # To first order (bins - 1)(1/n + 1/m), with chi-square scatter: four standard errors of the mean of 50.
    expected = 9 * (1 / 20_000 + 1 / 1000)
    assert np.mean(values) == pytest.approx(expected, abs=4 * expected * np.sqrt(2 / 9 / 50))


def test_a_shift_of_one_standard_deviation_is_the_closed_form() -> None:
    # Equal-variance normals: the index of finely binned samples tends to shift**2 from below.
    large = np.random.default_rng(2).standard_normal(400_000)
    value = population_stability_index(large, large + 1.0, n_bins=200).value
    assert 0.9 < value < 1.0


def test_the_order_of_the_values_does_not_show_in_the_bits() -> None:
    current = NORMAL[:500] + 0.3
    first = population_stability_index(NORMAL, current)
    again = population_stability_index(GENERATOR.permutation(NORMAL), GENERATOR.permutation(current))
    assert first == again


def test_missing_values_have_their_own_bin() -> None:
    reference = np.where(np.arange(1000) % 10 == 0, np.nan, np.arange(1000.0))
    same = population_stability_index(reference, reference)
    assert (same.value, same.n_bins) == (0.0, 11)
    gone = population_stability_index(reference, np.full(100, np.nan))
    assert gone.value > 1.0
    appeared = population_stability_index(np.arange(1000.0), reference)
    assert appeared.n_bins == 11
    # Only the shares of the missing and, a little, of the ten bins differ.
    assert appeared.value == pytest.approx(_plain([100] * 10 + [0], [90] * 10 + [100]), rel=1e-12)


def test_constant_reference_sees_values_on_either_side() -> None:
    same = population_stability_index([2.0] * 50, [2.0] * 10)
    below = population_stability_index([2.0] * 50, [1.0] * 10)
    above = population_stability_index([2.0] * 50, [3.0] * 10)
    assert same.note == "the reference is constant"
    assert (same.value, same.n_bins) == (0.0, 1)
    assert below.value == above.value > 1.0


@pytest.mark.parametrize("share", [0.02, 0.4, 0.6, 0.98])
def test_ties_are_merged(share: float) -> None:
    reference = (np.arange(1000) < share * 1000).astype(float)
    index = population_stability_index(reference, reference)
    assert (index.value, index.n_bins) == (0.0, 2)
    assert index.note == "ties leave 2 of 10 bins"
    ones = int(reference.sum())
    flipped = population_stability_index(reference, np.ones(100))
    assert flipped.value == pytest.approx(_plain([1000 - ones, ones], [0, 100]), rel=1e-12)


def test_an_empty_sample_has_no_index() -> None:
    assert population_stability_index([], [1.0]).value is None
    both = population_stability_index([], [])
    assert both.note == "the reference and the current sample is empty"


def test_a_reference_that_is_all_missing() -> None:
    index = population_stability_index([np.nan] * 20, [1.0] * 20)
    assert index.n_bins == 2
    assert index.value > 1.0
    assert "every reference value is missing" in index.note


def test_arguments_that_make_no_sense() -> None:
    with pytest.raises(NumericalError, match="1 infinite"):
        population_stability_index([1.0, np.inf], [1.0])
    with pytest.raises(ValueError, match="one axis"):
        population_stability_index([[1.0]], [1.0])
    with pytest.raises(ValueError, match="n_bins"):
        population_stability_index([1.0], [1.0], n_bins=1)
