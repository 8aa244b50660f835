import numpy as np
import pytest
from scipy import stats

from acceleray.numerics.incremental import (
    contiguous_sections,
    incremental_expected_shortfall,
    incremental_value_at_risk,
)
from acceleray.numerics.tail import expected_shortfall, value_at_risk


def test_sections_are_of_one_length_and_have_a_tail():
    sections = contiguous_sections(10_007, level=0.99)
    assert len(sections) == 12
    assert {each.size for each in sections} == {833}
    assert np.concatenate(sections).tolist() == list(range(12 * 833))
    # 25 paths beyond the level make six sections of four.
    assert len(contiguous_sections(2_500, level=0.99)) == 6
    assert contiguous_sections(500, level=0.99) == []
    assert len(contiguous_sections(2_500, level=0.9, length_at_least=400)) == 6


def test_values_are_differences_of_the_measures():
    rng = np.random.default_rng(5)
    member, rest = rng.standard_normal((2, 3_000))
    total = member + rest
    sections = contiguous_sections(3_000, level=0.95)
    var = incremental_value_at_risk(total, rest, level=0.95, confidence=0.95, sections=sections)
    es = incremental_expected_shortfall(total, rest, level=0.95, confidence=0.95, sections=None)
    assert var.value == value_at_risk(total, level=0.95) - value_at_risk(rest, level=0.95)
    assert es.value == expected_shortfall(total, level=0.95) - expected_shortfall(rest, level=0.95)
    for found in (var, es):
        assert found.ci_low < found.value < found.ci_high


def test_no_interval_comes_with_its_reason():
    losses = np.arange(100.0)
    few = incremental_value_at_risk(losses, losses / 2, level=0.99, confidence=0.95, sections=[])
    assert (few.ci_low, few.ci_high) == (None, None)
    assert "too few independent paths" in few.note
    short = incremental_expected_shortfall(losses, losses / 2, level=0.99, confidence=0.95, sections=None)
    assert "only 1 of 100 paths" in short.note
    # Removing cash changes nothing but the level.
    cash = incremental_expected_shortfall(losses, losses + 3.0, level=0.9, confidence=0.95, sections=None)
    assert (cash.value, cash.ci_low) == (-3.0, None)
    assert "but for a constant" in cash.note
    sections = contiguous_sections(100, level=0.5)
    same = incremental_value_at_risk(losses, losses + 3.0, level=0.5, confidence=0.95, sections=sections)
    assert "sections agree" in same.note
    with pytest.raises(ValueError, match="same paths"):
        incremental_value_at_risk(losses, losses[1:], level=0.9, confidence=0.95, sections=[])


@pytest.mark.parametrize("measure", ["VaR", "ES"])
def test_intervals_cover(measure):
    """Two correlated normals, removed one: the true increment is (sqrt(var total) - 1) times the measure."""
    trials, n, level = 400, 2_400, 0.975
    unit = stats.norm.ppf(level)
    if measure == "ES":
        unit = stats.norm.pdf(unit) / (1.0 - level)
    truth = (np.sqrt(2.0 + 2.0 * 0.5) - 1.0) * unit
    sections = contiguous_sections(n, level=level)
    hits = 0
    for trial in range(trials):
        first, second = np.random.Generator(np.random.Philox(key=trial)).standard_normal((2, n))
        rest, total = first, first + 0.5 * first + np.sqrt(0.75) * second
        found = (
            incremental_value_at_risk(total, rest, level=level, confidence=0.95, sections=sections)
            if measure == "VaR"
            else incremental_expected_shortfall(total, rest, level=level, confidence=0.95, sections=None)
        )
        hits += found.ci_low <= truth <= found.ci_high
    # Three standard errors of a frequency below 0.95.
    assert hits / trials >= 0.95 - 3 * np.sqrt(0.95 * 0.05 / trials)
