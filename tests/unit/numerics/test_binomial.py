from __future__ import annotations

from math import comb

import pytest

from acceleray.numerics.binomial import binomial_cdf, binomial_quantile


@pytest.mark.parametrize(("n", "probability"), [(1, 0.5), (12, 0.3), (250, 0.01)])
def test_cdf_equals_the_plain_sum(n: int, probability: float) -> None:
    total = 0.0
    for count in range(n):
        total += comb(n, count) * probability**count * (1.0 - probability) ** (n - count)
        # n additions of terms that are right to a few units in the last place.
        assert binomial_cdf(count, n=n, probability=probability) == pytest.approx(total, abs=n * 1e-14)


def test_cdf_is_zero_below_and_one_from_n_on() -> None:
    assert binomial_cdf(-1, n=10, probability=0.2) == 0.0
    assert binomial_cdf(10, n=10, probability=0.2) == 1.0


def test_tiny_probabilities_underflow_quietly() -> None:
    # Where scipy's binom.pmf overflows and warns; warnings are errors here.
    assert binomial_cdf(99_000, n=100_000, probability=0.999) == pytest.approx(0.0, abs=1e-300)
    assert binomial_cdf(5, n=100_000, probability=1e-300) == 1.0


@pytest.mark.parametrize("cumulative", [1e-6, 0.025, 0.5, 0.975])
@pytest.mark.parametrize(("n", "probability"), [(1, 0.5), (250, 0.99), (10_000, 0.01)])
def test_quantile_is_the_first_count_that_reaches_the_target(
    cumulative: float, n: int, probability: float
) -> None:
    count = binomial_quantile(cumulative, n=n, probability=probability)
    assert binomial_cdf(count, n=n, probability=probability) >= cumulative
    assert binomial_cdf(count - 1, n=n, probability=probability) < cumulative


@pytest.mark.parametrize(("n", "probability"), [(0, 0.5), (10, 0.0), (10, 1.0)])
def test_arguments_out_of_range(n: int, probability: float) -> None:
    with pytest.raises(ValueError, match="at least 1"):
        binomial_cdf(0, n=n, probability=probability)


def test_quantile_refuses_a_certain_probability() -> None:
    with pytest.raises(ValueError, match="cumulative"):
        binomial_quantile(1.0, n=10, probability=0.5)
