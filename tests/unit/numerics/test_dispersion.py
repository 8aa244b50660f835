import numpy as np
import pytest
from scipy import stats

from acceleray.errors import NumericalError
from acceleray.numerics.dispersion import estimate_standard_deviation


def test_the_value_is_the_square_root_of_the_unbiased_variance():
    sample = np.random.default_rng(1).standard_t(5, 400)
    found = estimate_standard_deviation(sample, confidence=0.95)
    assert found.value == pytest.approx(sample.std(ddof=1), rel=1e-13)
    assert found.ci_low < found.value < found.ci_high


def test_a_normal_sample_has_nearly_the_chi_square_interval():
    n = 5000
    sample = np.random.default_rng(2).standard_normal(n)
    found = estimate_standard_deviation(sample, confidence=0.9)
    low, high = (found.value * np.sqrt((n - 1) / stats.chi2.ppf(p, n - 1)) for p in (0.95, 0.05))
    # The fourth moment of 5000 draws is known to a few percent, and with it the width.
    assert found.ci_high - found.ci_low == pytest.approx(high - low, rel=0.1)


@pytest.mark.parametrize("dof", [8, 1000])
def test_the_interval_covers_as_often_as_it_says(dof):
    rng = np.random.default_rng(3)
    true = np.sqrt(dof / (dof - 2))
    samples = rng.standard_t(dof, (600, 500))
    hits = 0
    for sample in samples:
        found = estimate_standard_deviation(sample, confidence=0.95)
        hits += found.ci_low <= true <= found.ci_high
    # Three standard errors of the share are 0.027; fat tails cost a large-sample interval a little more.
    assert 0.90 <= hits / 600 <= 0.977


def test_what_has_no_spread_or_no_number():
    still = estimate_standard_deviation(np.full(5, 2.0), confidence=0.95)
    assert (still.value, still.ci_low, still.ci_high) == (0.0, None, None)
    with pytest.raises(NumericalError):
        estimate_standard_deviation([1.0, np.nan], confidence=0.95)
    with pytest.raises(ValueError, match="needs two values"):
        estimate_standard_deviation([1.0], confidence=0.95)
