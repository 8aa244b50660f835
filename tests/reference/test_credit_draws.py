"""The plain sampler of factor models against exact and published distributions.

Sources: Glasserman and Li (2005), Importance sampling for portfolio credit risk, section 5.2, re-simulated in
the project's reference cases; the exchangeable books by quadrature of binomials; everything else by
quadrature written here.
"""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
from scipy.special import ndtr, stdtr, stdtrit
from scipy.stats import binom, chi2
from tests.loss_books import glasserman_li, loan_book, simulate

from acceleray.numerics.conditional import conditional_moments
from acceleray.numerics.credit import draw_systematic
from acceleray.numerics.expected_loss import expected_loss
from acceleray.numerics.irb import asrf_default_rate


def assert_exceedance(losses, threshold, probability, error=0.0):
    own = math.sqrt(probability * (1 - probability) / losses.size)
    assert abs(np.mean(losses >= threshold) - probability) < 4 * math.hypot(own, error)


def test_the_book_of_glasserman_and_li():
    model = glasserman_li()
    losses = simulate(model, 200_000)[0]
    table = {
        10000: (0.0112036, 9e-6),
        14000: (0.0062299, 3e-6),
        18000: (0.0035794, 2e-6),
        22000: (0.0020581, 1e-6),
        30000: (0.00061686, 4e-7),
        40000: (7.369e-05, 8e-8),
    }
    for threshold, (probability, error) in table.items():
        assert_exceedance(losses, np.nextafter(threshold, np.inf), probability, error)
    assert expected_loss(model).sum() == pytest.approx(485.28901188, abs=1e-8)
    assert abs(losses.mean() - 485.28901188) < 4 * losses.std() / math.sqrt(losses.size)


@pytest.mark.parametrize(
    ("n", "p", "rho", "tail"),
    [
        (1000, 0.01, 0.2, {50: 0.029586212863, 100: 0.004415267855, 150: 0.000933283121}),
        (250, 0.01, 0.25, {25: 0.0087969694, 63: 0.000283123}),
        (100, 0.05, 0.05, {20: 0.00112117249}),
    ],
)
@pytest.mark.parametrize("own_cells", [False, True])
def test_exchangeable_books(n, p, rho, tail, own_cells):
    model = loan_book(np.full(n, p), 1.0, [math.sqrt(rho)], cells=None if own_cells else [0, n])
    losses = simulate(model, 100_000, seed=5)[0]
    for threshold, probability in tail.items():
        assert_exceedance(losses, threshold, probability)


def t_distribution(n, p, rho, dof):
    """Number of defaults under the t copula: binomial given factor and mixing."""
    z = np.linspace(-9, 9, 121)
    weights = np.exp(-z * z / 2)
    # The trapezoidal rule over the logarithm, whose density vanishes with all derivatives at both ends.
    logs = np.arange(-15.0, 4.6, 0.2)
    mixing = np.exp(logs)
    shares = chi2.pdf(mixing, dof) * mixing
    q = ndtr((stdtrit(dof, p) * np.sqrt(mixing / dof)[:, None] - math.sqrt(rho) * z) / math.sqrt(1 - rho))
    mass = np.outer(shares / shares.sum(), weights / weights.sum())
    return np.array([(binom.pmf(k, n, q) * mass).sum() for k in range(n + 1)])


@pytest.mark.parametrize("own_cells", [False, True])
def test_t_copula_of_alike_obligors(own_cells):
    n, p, rho, dof, n_paths = 60, 0.05, 0.3, 4.0, 100_000
    exact = t_distribution(n, p, rho, dof)
    assert np.arange(n + 1) @ exact == pytest.approx(n * p, rel=1e-6)
    model = loan_book(np.full(n, p), 1.0, [math.sqrt(rho)], cells=None if own_cells else [0, n], dof=dof)
    losses = simulate(model, n_paths)[0]
    for threshold in (1, 5, 10, 20, 40):
        tail = exact[threshold:].sum()
        assert_exceedance(losses, threshold, tail)


def test_t_tends_to_gaussian():
    n, p = 500, 0.02
    spreads = []
    for dof in (3.0, 10.0, 1e6, math.inf):
        model = loan_book(np.full(n, p), 1.0, [math.sqrt(0.15)], cells=[0, n], dof=dof)
        spreads.append(simulate(model, 40_000)[0].std())
    assert spreads[0] > 1.5 * spreads[1] > 1.5 * spreads[3]
    # The same streams of factors and defaults: at a million degrees the two differ in single defaults.
    assert spreads[2] == pytest.approx(spreads[3], rel=0.03)
    assert stdtr(1e6, stdtrit(1e6, p)) == pytest.approx(p, rel=1e-9)


def test_two_factors_and_unlike_obligors_by_enumeration():
    p = np.array([0.02, 0.05, 0.1, 0.15, 0.3, 0.6])
    loadings = np.array([[0.6, 0.2], [0.1, 0.7], [0.5, -0.4], [0.0, 0.0], [0.3, 0.3], [-0.2, 0.5]])
    model = loan_book(p, 2.0 ** np.arange(6), loadings)
    nodes, weights = np.polynomial.hermite_e.hermegauss(60)
    weights = weights / weights.sum()
    grid = np.array(list(itertools.product(nodes, nodes))).T
    mass = np.array([a * b for a, b in itertools.product(weights, weights)])
    q = ndtr((model.thresholds[:, None] - loadings @ grid) / model.residual[:, None])
    n = 200_000
    observed = np.bincount(simulate(model, n)[0].astype(int), minlength=64) / n
    for number in range(64):
        flags = (number >> np.arange(6)) & 1
        exact = (np.prod(np.where(flags[:, None] == 1, q, 1 - q), axis=0) * mass).sum()
        # 64 comparisons at 4.5 standard errors.
        assert abs(observed[number] - exact) < 4.5 * math.sqrt(exact / n) + 1 / n


def test_the_loss_rate_tends_to_the_granular_limit():
    limit = float(asrf_default_rate(0.02, correlation=0.2, level=0.99))
    n = 20_000
    model = loan_book(np.full(n, 0.02), 1.0 / n, [math.sqrt(0.2)], cells=[0, n])
    losses = simulate(model, 20_000)[0]
    assert_exceedance(losses, limit, 0.01, 1e-4)


@pytest.mark.parametrize("dof", [math.inf, 5.0])
def test_expected_loss_with_recoveries_that_follow_the_factor(dof):
    rng = np.random.default_rng(6)
    n = 50
    model = loan_book(
        rng.uniform(0.01, 0.2, n),
        rng.lognormal(0, 0.5, n),
        rng.uniform(0.1, 0.5, (n, 2)),
        laws=((0.4, 0.2, 0.6), (0.6, 0.3, 0.3)),
        law=np.arange(n) % 2,
        dof=dof,
    )
    losses = simulate(model, 100_000)[0]
    exact = expected_loss(model).sum()
    assert abs(losses.mean() - exact) < 4 * losses.std() / math.sqrt(losses.size)
    # The simulation would notice if recoveries were drawn without their correlation.
    product = (model.exposures * model.recoveries.mean[model.recovery]) @ (
        stdtr(dof, model.thresholds) if math.isfinite(dof) else ndtr(model.thresholds)
    )
    assert exact - product > 8 * losses.std() / math.sqrt(losses.size)


def test_variance_is_that_of_the_conditional_moments():
    rng = np.random.default_rng(7)
    model = loan_book(
        np.sort(rng.uniform(0.01, 0.1, 300)), 1.0, [0.4, 0.2], cells=[0, 300], laws=((0.5, 0.25, 0.5),)
    )
    losses = simulate(model, 40_000)[0]
    factors = draw_systematic(99, block=0, n_factors=2, n_paths=40_000)
    mean, variance = conditional_moments(model, factors)[:2, 0]
    total = variance.mean() + mean.var()
    fourth = ((losses - losses.mean()) ** 4).mean()
    assert abs(losses.var() - total) < 4 * math.sqrt(2 * (fourth - total**2) / 40_000)
