"""Credit losses against published and exact numbers.

Sources: the granular limit is Vasicek's closed form; the risk weights are those of BCBS (2006), Annex 5; the
exchangeable portfolios were computed by quadrature over the factor and the binomial distribution, and
`exact_distribution` repeats that here, for unlike obligors too.
"""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy.special import ndtr, ndtri
from tests.loss_books import loan_book
from tests.loss_books import simulate as draw

from acceleray.numerics.irb import asrf_default_rate, irb_capital_rate
from acceleray.numerics.tail import estimate_expected_shortfall, estimate_value_at_risk


def simulate(default_prob, losses, *, correlation, n_paths, seed=20181228):
    """Draw paths of a book of one cell."""
    order = np.argsort(default_prob, kind="stable")
    book = loan_book(
        np.asarray(default_prob)[order],
        np.asarray(losses)[order],
        [math.sqrt(correlation)],
        cells=np.array([0, len(default_prob)]),
    )
    return draw(book, n_paths, seed=seed)[0]


def exact_distribution(default_prob, units, *, correlation):
    """Probability of every loss in whole units, by quadrature over the factor and recursion over obligors."""
    # Trapezoidal rule: the integrand vanishes with all derivatives at both ends, so it is exact to rounding.
    z = np.linspace(-10.0, 10.0, 2001)
    weights = np.exp(-(z**2) / 2) / math.sqrt(2 * math.pi) * (z[1] - z[0])
    conditional = np.zeros((len(z), int(np.sum(units)) + 1))
    conditional[:, 0] = 1.0
    for p, unit in zip(default_prob, units, strict=True):
        q = ndtr((ndtri(p) - math.sqrt(correlation) * z) / math.sqrt(1 - correlation))[:, None]
        shifted = np.zeros_like(conditional)
        shifted[:, unit:] = conditional[:, : conditional.shape[1] - unit]
        conditional = (1 - q) * conditional + q * shifted
    return weights @ conditional


def assert_exceedance(losses, threshold, probability):
    standard_error = math.sqrt(probability * (1 - probability) / len(losses))
    assert abs(np.mean(losses >= threshold) - probability) < 4 * standard_error


@pytest.mark.parametrize(
    ("correlation", "level", "expected"),
    [
        (0.12, 0.99, 0.0525265921288146),
        (0.12, 0.999, 0.09032583132606531),
        (0.12, 0.9999, 0.13424268571178638),
        (0.2, 0.99, 0.0752507894354962),
        (0.2, 0.999, 0.14552526613107136),
        (0.2, 0.9999, 0.22921706197579522),
    ],
)
def test_granular_limit_is_the_closed_form(correlation, level, expected):
    rate = asrf_default_rate(0.01, correlation=correlation, level=level)
    assert rate == pytest.approx(expected, abs=1e-12)


# Percent, for one-year default probabilities of 0.03 %, 1 % and 2 %; maturity 2.5 years.
RISK_WEIGHTS = [
    ("corporate", 0.45, 50.0, (14.4436, 92.3168, 114.8542)),
    ("sme", 0.45, 50.0, (14.4436, 92.3168, 114.8542)),
    ("sme", 0.45, 5.0, (11.2991, 72.3947, 88.5456)),
    ("mortgage", 0.45, None, (4.1492, 56.3989, 87.9350)),
    ("mortgage", 0.25, None, (2.3051, 31.3327, 48.8528)),
    ("retail", 0.45, None, (4.4511, 45.7727, 57.9864)),
    ("retail", 0.85, None, (8.4076, 86.4596, 109.5299)),
    ("qrre", 0.45, None, (0.9799, 17.2242, 28.9229)),
    ("qrre", 0.85, None, (1.8510, 32.5345, 54.6322)),
]


@pytest.mark.parametrize(("asset_class", "lgd", "sales", "expected"), RISK_WEIGHTS)
def test_risk_weights_of_basel_annex_5(asset_class, lgd, sales, expected):
    capital = irb_capital_rate(
        [0.0003, 0.01, 0.02], lgd, asset_class=asset_class, maturity_years=2.5, sales=sales
    )
    # Annex 5 prints two decimals.
    np.testing.assert_allclose(1250 * capital, expected, atol=0.01)


def test_exchangeable_book_of_1000():
    losses = simulate(np.full(1000, 0.01), np.ones(1000), correlation=0.2, n_paths=100_000)
    for threshold, probability in ((50, 0.029586212863), (100, 0.004415267855), (150, 0.000933283121)):
        assert_exceedance(losses, threshold, probability)
    # At a confidence of 99.99 % a correct sampler fails about once in ten thousand seeds.
    options = {"confidence": 0.9999, "overlap_days": 1, "seed": 0}
    for level, exact in ((0.95, 38), (0.99, 76), (0.999, 147)):
        found = estimate_value_at_risk(losses, level=level, **options)
        assert found.ci_low <= exact <= found.ci_high
    for level, exact in ((0.95, 62.529859), (0.99, 106.431977), (0.999, 183.26286)):
        found = estimate_expected_shortfall(losses, level=level, **options)
        assert found.ci_low <= exact <= found.ci_high


def test_exchangeable_book_of_250():
    losses = simulate(np.full(250, 0.01), np.ones(250), correlation=0.25, n_paths=100_000)
    assert_exceedance(losses, 25, 0.0087969694)
    assert_exceedance(losses, 63, 0.000283123)
    for level, exact in ((0.95, 11), (0.99, 23), (0.999, 47)):
        found = estimate_value_at_risk(losses, level=level, confidence=0.9999, overlap_days=1, seed=0)
        assert found.ci_low <= exact <= found.ci_high


def test_exchangeable_book_of_100():
    losses = simulate(np.full(100, 0.05), np.ones(100), correlation=0.05, n_paths=100_000)
    assert_exceedance(losses, 20, 0.00112117249)


def test_the_exact_distribution_reproduces_the_published_one():
    pmf = exact_distribution(np.full(100, 0.05), np.ones(100, dtype=int), correlation=0.05)
    assert pmf[20:].sum() == pytest.approx(0.00112117249, abs=1e-9)
    pmf = exact_distribution(np.full(250, 0.01), np.ones(250, dtype=int), correlation=0.25)
    assert pmf[25:].sum() == pytest.approx(0.0087969694, abs=1e-9)
    assert np.searchsorted(np.cumsum(pmf), [0.95, 0.99, 0.999]).tolist() == [11, 23, 47]


def test_unlike_obligors_against_the_exact_distribution():
    default_prob = np.array([0.0, 0.004, 0.005, 0.01, 0.012, 0.02, 0.05, 0.051, 0.1, 0.3, 0.9, 1.0])
    units = np.array([50, 20, 3, 14, 9, 1, 7, 2, 5, 4, 2, 1])
    pmf = exact_distribution(default_prob, units, correlation=0.3)
    assert pmf.sum() == pytest.approx(1.0, abs=1e-12)
    n = 400_000
    losses = simulate(default_prob, units, correlation=0.3, n_paths=n)
    observed = np.bincount(losses.astype(int), minlength=len(pmf)) / n
    # Four standard errors, and two paths for the outcomes too rare for that.
    assert (np.abs(observed - pmf) < 4 * np.sqrt(pmf / n) + 2 / n).all()
    tail = 1 - np.cumsum(pmf)
    # The distribution function ends at 1 - 1e-16 or so; a probability of zero has no standard error.
    assert (
        np.abs(np.cumsum(observed) - np.cumsum(pmf)) < 4 * np.sqrt(np.abs(tail * (1 - tail)) / n) + 2 / n
    ).all()


def test_the_loss_rate_tends_to_the_granular_limit():
    level, limit = 0.99, float(asrf_default_rate(0.02, correlation=0.2, level=0.99))
    distances = []
    for n_obligors in (100, 1000, 20_000):
        rates = simulate(
            np.full(n_obligors, 0.02), np.full(n_obligors, 1 / n_obligors), correlation=0.2, n_paths=20_000
        )
        found = estimate_value_at_risk(rates, level=level, confidence=0.9999, overlap_days=1, seed=0)
        distances.append(found.value - limit)
    # A lumpy book is riskier, and the add-on shrinks like one over the number of obligors.
    assert distances[0] > distances[1]
    assert found.ci_low <= limit <= found.ci_high
