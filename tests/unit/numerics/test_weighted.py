import numpy as np
import pytest

from acceleray.errors import NumericalError
from acceleray.numerics.order_statistics import expected_shortfall, value_at_risk
from acceleray.numerics.weighted import (
    tail_effective_size,
    weighted_exceedance,
    weighted_expected_shortfall,
    weighted_value_at_risk,
)

GENERATOR = np.random.default_rng(1)
LOSSES = GENERATOR.normal(size=2000)
WEIGHTS = np.full(2000, 1.0 / 2000)
BLOCKS = np.repeat(np.arange(20), 100)


def test_equal_weights_give_the_plain_values():
    var = weighted_value_at_risk(LOSSES, WEIGHTS, BLOCKS, level=0.95, confidence=0.95)
    es = weighted_expected_shortfall(LOSSES, WEIGHTS, BLOCKS, level=0.95, confidence=0.95)
    assert var.value == value_at_risk(LOSSES, level=0.95)
    # Both add the same hundred terms, in another order.
    assert es.value == pytest.approx(float(expected_shortfall(LOSSES, level=0.95)), rel=1e-12)
    assert var.ci_low < var.value < var.ci_high
    assert es.ci_low < es.value < es.ci_high
    assert "sectioning over 20 independent blocks" in var.note


def test_exceedance_is_the_weight_beyond():
    weights = np.where(LOSSES > 1.0, 0.5, 1.5)
    weights /= weights.sum()
    found = weighted_exceedance(LOSSES, weights, BLOCKS, threshold=1.0, confidence=0.9)
    assert found.value == pytest.approx(weights[LOSSES > 1.0].sum(), rel=1e-12)
    assert 0.0 <= found.ci_low < found.value < found.ci_high


def test_too_few_blocks_give_no_interval():
    few = np.repeat(np.arange(5), 400)
    for found in (
        weighted_value_at_risk(LOSSES, WEIGHTS, few, level=0.95, confidence=0.95),
        weighted_expected_shortfall(LOSSES, WEIGHTS, few, level=0.95, confidence=0.95),
        weighted_exceedance(LOSSES, WEIGHTS, few, threshold=1.0, confidence=0.95),
    ):
        assert (found.ci_low, found.ci_high) == (None, None)
        assert "at least 10" in found.note


def test_a_zero_book_is_zero_without_an_interval():
    var = weighted_value_at_risk(np.zeros(2000), WEIGHTS, BLOCKS, level=0.99, confidence=0.95)
    es = weighted_expected_shortfall(np.zeros(2000), WEIGHTS, BLOCKS, level=0.99, confidence=0.95)
    assert (var.value, es.value) == (0.0, 0.0)
    assert es.ci_low is None


def test_the_tail_size_counts_only_the_tail():
    weights = np.where(np.arange(2000) < 1900, 0.9999 / 1900, 0.0001 / 100)
    losses = np.arange(2000.0)
    # Kish's size of all paths would be about 1,900 here and says nothing about the last hundred.
    assert tail_effective_size(losses, weights, level=0.9999) == pytest.approx(100.0, abs=2.0)


def test_bad_input_is_refused():
    with pytest.raises(NumericalError, match="weights"):
        weighted_exceedance(LOSSES, np.full(2000, np.nan), BLOCKS, threshold=0.0, confidence=0.95)
    with pytest.raises(ValueError, match="one shape"):
        weighted_exceedance(LOSSES, WEIGHTS[:10], BLOCKS, threshold=0.0, confidence=0.95)
    with pytest.raises(ValueError, match="without gaps"):
        weighted_exceedance(LOSSES, WEIGHTS, BLOCKS + 1, threshold=0.0, confidence=0.95)
