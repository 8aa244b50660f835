import numpy as np
import pytest
from scipy import stats

from acceleray.errors import NumericalError
from acceleray.numerics.order_statistics import value_at_risk
from acceleray.numerics.sectioning import sectioned_estimate, sectioned_std_error


def mean(paths):
    return float(paths.mean())


def test_of_a_mean_it_is_the_t_interval():
    sections = np.random.default_rng(0).normal(size=(16, 50))
    found = sectioned_estimate(list(sections), mean, confidence=0.9)
    expected = stats.t.interval(0.9, 15, sections.mean(), stats.sem(sections.mean(axis=1)))
    # The same formula by another library.
    np.testing.assert_allclose((found.ci_low, found.ci_high), expected, rtol=1e-12)
    assert "16 independent sections of 50 paths" in found.note


def test_the_value_is_that_of_all_paths_together():
    sections = list(np.random.default_rng(0).standard_t(3, size=(16, 50)))
    found = sectioned_estimate(sections, lambda x: float(value_at_risk(x, level=0.99)), confidence=0.95)
    assert found.value == value_at_risk(np.concatenate(sections), level=0.99)


def test_without_scatter_there_is_no_interval():
    one = sectioned_estimate([np.arange(4.0)], mean, confidence=0.95)
    assert (one.value, one.ci_low, one.ci_high, one.note) == (
        1.5,
        None,
        None,
        "no interval: there is one section",
    )
    same = sectioned_estimate([np.arange(4.0)] * 3, mean, confidence=0.95)
    assert same.note == "no interval: all 3 sections agree"


def test_sections_of_different_length_are_refused():
    with pytest.raises(ValueError, match=r"one length, at least one, were \[3, 4\]"):
        sectioned_std_error([np.zeros(3), np.zeros(4)], mean)
    with pytest.raises(NumericalError, match="not finite"):
        sectioned_std_error([np.array([np.nan]), np.zeros(1)], mean)
