"""Laws of the loss given default against closed forms, SciPy and adaptive quadrature."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy.integrate import quad
from scipy.special import ndtr
from scipy.stats import beta
from tests.loss_books import recoveries

from acceleray.errors import NumericalError
from acceleray.numerics.recovery import (
    beta_parameters,
    draw,
    moment_tables,
    moments,
    outcomes,
    quantile_tables,
)

# Ordinary, nearly fixed at a small mean, U-shaped, small and skewed, large and skewed.
LAWS = [(0.45, 0.2), (0.02, 0.001), (0.5, 0.45), (0.05, 0.1), (0.9, 0.2)]
SCORES = np.array([-6.0, -2.5, 0.0, 1.0, 4.0])


def test_parameters_give_back_mean_and_std():
    alpha, beta_ = beta_parameters(recoveries(*((m, s, 0.0) for m, s in LAWS)))
    for a, b, (mean, std) in zip(alpha, beta_, LAWS, strict=True):
        assert beta.mean(a, b) == pytest.approx(mean, rel=1e-12)
        assert beta.std(a, b) == pytest.approx(std, rel=1e-9)


def test_fixed_laws_are_their_mean_whatever_is_drawn():
    laws = recoveries((0.0, 0.0, 0.3), (0.4, 0.0, 0.9), (1.0, 0.0, 0.0))
    law = np.array([0, 1, 2])
    assert draw(laws, law, np.full(3, -5.0), np.full(3, 2.0)).tolist() == [0.0, 0.4, 1.0]
    assert moments(laws, SCORES)[1, :, 0].tolist() == [0.0, 0.4 * 0.4, 1.0]
    values, weights = outcomes(laws, SCORES)
    assert (values == np.array([0.0, 0.4, 1.0])[:, None]).all()
    assert (weights.sum(axis=0) == 1.0).all()
    assert all(np.isinf(p).all() for p in beta_parameters(laws))


@pytest.mark.parametrize(("mean", "std"), LAWS)
def test_draws_are_the_quantile(mean, std):
    laws = recoveries((mean, std, 0.0))
    eta = np.random.default_rng(1).standard_normal(2000)
    (a,), (b,) = beta_parameters(laws)
    error = quantile_tables(laws).error
    # The tolerance of the tables, and the 2e-12 of it that SciPy's own quantiles leave.
    assert error < 2e-12
    found = draw(laws, np.zeros(2000, np.int64), np.zeros(2000), eta)
    np.testing.assert_allclose(found, beta.ppf(ndtr(-eta), a, b), atol=5e-12, rtol=0)


def test_a_law_that_is_nearly_fixed_is_nearly_normal():
    laws = recoveries((0.3, 1e-9, 0.0), (0.3, 1e-5, 0.0), (0.3, 3e-5, 0.0))
    eta = np.linspace(-6, 6, 101)
    for number, std in enumerate((1e-9, 1e-5, 3e-5)):
        found = draw(laws, np.full(101, number), np.zeros(101), eta)
        # Skewness 2 std (1 - 2 mean) / (mean (1 - mean)) times (eta^2 - 1) / 6 is the next term.
        np.testing.assert_allclose(found, 0.3 - std * eta, atol=25 * std * std + 1e-14, rtol=0)


@pytest.mark.parametrize(("mean", "std"), LAWS)
def test_moments_without_correlation_are_the_laws_own(mean, std):
    found = moments(recoveries((mean, std, 0.0)), SCORES)
    a, b = (float(p[0]) for p in beta_parameters(recoveries((mean, std, 0.0))))
    for j in (1, 2, 3, 4):
        np.testing.assert_allclose(found[j - 1, 0], beta.moment(j, a, b), rtol=1e-10)


@pytest.mark.parametrize(("mean", "std"), LAWS)
@pytest.mark.parametrize("r", [0.1, 0.7, 0.999])
def test_moments_given_the_score_against_adaptive_quadrature(mean, std, r):
    laws = recoveries((mean, std, r))
    found = moments(laws, SCORES)
    assert moment_tables(laws).error < 1e-10
    (a,), (b,) = beta_parameters(laws)
    own = math.sqrt(1 - r * r)
    for index, score in enumerate(SCORES[:3]):
        for j in (1, 4):

            def integrand(eta, score=score, j=j):
                u = r * score + own * eta
                value = beta.ppf(ndtr(-u), a, b) if u > 0 else beta.isf(ndtr(u), a, b)
                return value**j * math.exp(-eta * eta / 2) / math.sqrt(2 * math.pi)

            pieces = [quad(integrand, k, k + 2, epsabs=1e-12, epsrel=1e-11)[0] for k in range(-8, 8, 2)]
            # The project's goal; measured is some 1e-14.
            assert found[j - 1, 0, index] == pytest.approx(sum(pieces), abs=1e-10)


def test_the_mean_over_all_scores_is_the_stated_one():
    laws = recoveries(*((m, s, 0.6) for m, s in LAWS))
    z = np.linspace(-10, 10, 401)
    weights = np.exp(-z * z / 2)
    mean = moments(laws, z)[0] @ (weights / weights.sum())
    np.testing.assert_allclose(mean, laws.mean, atol=1e-11)


def test_a_bad_year_costs_more():
    laws = recoveries(*((m, s, 0.4) for m, s in LAWS))
    assert (np.diff(moments(laws, SCORES)[0], axis=1) < 0).all()


@pytest.mark.parametrize("r", [0.0, 0.5])
def test_outcomes_have_the_moments_and_nearly_the_generating_function(r):
    laws = recoveries(*((m, s, r) for m, s in LAWS))
    values, weights = outcomes(laws, SCORES)
    assert values.shape == weights.shape == (4, len(LAWS), SCORES.size)
    assert (values >= 0).all()
    assert (values <= 1).all()
    assert (weights >= 0).all()
    exact = moments(laws, SCORES)
    for j in (1, 2, 3, 4):
        np.testing.assert_allclose((weights * values**j).sum(axis=0), exact[j - 1], atol=1e-11)
    fine, fine_weights = outcomes(laws, SCORES, n_nodes=12)
    for t in (-2.0, 2.0):
        rough = (weights * np.exp(t * values)).sum(axis=0)
        # The error of the rule is at most that of Taylor's polynomial of degree 7 about 1/2, twice.
        bound = 2 * abs(t / 2) ** 8 / math.factorial(8) * math.exp(2.0)
        assert np.abs(rough - (fine_weights * np.exp(t * fine)).sum(axis=0)).max() < bound


@pytest.mark.parametrize("bad", [math.nan, math.inf])
def test_bad_draws(bad):
    with pytest.raises(NumericalError, match="finite"):
        draw(recoveries((0.4, 0.1, 0.2)), np.array([0]), np.array([bad]), np.zeros(1))
    with pytest.raises(NumericalError, match="n_nodes"):
        outcomes(recoveries((0.4, 0.1, 0.2)), np.zeros(1), n_nodes=1)
