"""Expected losses against adaptive quadrature and closed forms."""

from __future__ import annotations

import itertools
import math
from dataclasses import replace

import numpy as np
import pytest
from scipy.integrate import quad
from scipy.special import ndtr
from scipy.stats import chi, nct
from tests.loss_books import loan_book, recoveries

from acceleray.numerics import expected_loss as module
from acceleray.numerics.credit_model import LossModel, default_thresholds
from acceleray.numerics.expected_loss import expected_loss, stressed_default_prob
from acceleray.numerics.recovery import Recoveries, moments

LAW = (0.4, 0.2, 0.5)
CELLS = {"loadings": np.array([[0.3], [0.7], [0.99]])}


def by_quadrature(model, cell):
    """One obligor per cell; integrates over the factor inside, over the mixing variable outside."""
    a, b, m = float(model.loadings[cell, 0]), float(model.residual[cell]), float(model.mean[cell])
    x = float(model.thresholds[cell])

    def given(scale):
        def integrand(z):
            level = a * z + m
            score = np.array([level / model.systematic[cell]])
            share = moments(model.recoveries, score)[0, model.recovery[cell], 0]
            return share * ndtr((x * scale - level) / b) * math.exp(-z * z / 2) / math.sqrt(2 * math.pi)

        turn = (x * scale - m) / a
        cuts = sorted({-9.0, 9.0, *(min(max(turn + k * b / a, -9.0), 9.0) for k in (-8, 0, 8))})
        return sum(quad(integrand, *ends, epsabs=1e-13, epsrel=1e-8)[0] for ends in itertools.pairwise(cuts))

    if math.isinf(model.dof):
        return given(1.0)
    root = math.sqrt(model.dof)
    nodes, weights = np.polynomial.legendre.leggauss(40)
    scales = 0.5 * 9.0 / root * (nodes + 1.0)
    return sum(
        weight * 4.5 / root * chi.pdf(scale * root, model.dof) * root * given(scale)
        for weight, scale in zip(weights, scales, strict=True)
    )


def test_without_correlation_it_is_the_product():
    model = loan_book(
        [0.0, 0.01, 0.4, 1.0],
        [1.0, 2.0, 3.0, 4.0],
        [0.5],
        laws=((0.4, 0.2, 0.0), (0.7, 0.0, 0.9)),
        law=[0, 1, 0, 1],
    )
    np.testing.assert_allclose(
        expected_loss(model), [0.0, 0.01 * 2 * 0.7, 0.4 * 3 * 0.4, 4 * 0.7], rtol=1e-13
    )


@pytest.mark.parametrize("stress", [0.0, -0.8])
def test_correlated_recoveries_under_a_gaussian_copula(stress):
    model = loan_book([0.001, 0.02, 0.3], 1.0, CELLS["loadings"], laws=(LAW,))
    model = replace(model, mean=np.full(3, stress), loadings=model.loadings * (1.0 if stress == 0 else 0.8))
    exact = [by_quadrature(model, cell) for cell in range(3)]
    np.testing.assert_allclose(expected_loss(model), exact, rtol=1e-7)


def test_a_residual_near_zero_is_integrated_across_its_step():
    for b in (0.04, 1e-4):
        model = loan_book([0.02], 1.0, [[math.sqrt(1 - b * b)]], laws=(LAW,))
        assert expected_loss(model)[0] == pytest.approx(by_quadrature(model, 0), rel=1e-7)


def test_correlated_recoveries_under_a_t_copula():
    model = loan_book([0.05, 0.3], 1.0, [[0.3], [0.7]], laws=(LAW,), dof=6.0)
    model = replace(model, mean=np.array([-0.5, 0.2]))
    exact = [by_quadrature(model, cell) for cell in range(2)]
    np.testing.assert_allclose(expected_loss(model), exact, rtol=1e-6)


def test_it_costs_more_than_the_product_and_no_more_than_everything():
    p = np.array([1e-9, 1e-4, 0.01, 0.2, 1.0])
    for dof in (math.inf, 4.0):
        found = expected_loss(loan_book(p, 1.0, [0.5], laws=(LAW,), dof=dof))
        assert (found[:-1] > 0.4 * p[:-1]).all()
        assert (found < p).all()
        # Certain default is no news of the factor.
        assert found[-1] == pytest.approx(0.4, rel=1e-11)


def test_an_obligor_without_factors_has_its_own_mean_at_a_score_of_zero():
    model = loan_book([0.1], 2.0, [0.0], laws=(LAW,))
    at_zero = moments(recoveries(LAW), np.zeros(1))[0, 0, 0]
    assert expected_loss(model)[0] == pytest.approx(0.2 * at_zero, rel=1e-13)


def test_stressed_probability_under_a_t_copula_is_noncentral():
    model = replace(loan_book([0.001, 0.02, 0.0, 1.0], 1.0, [0.5], dof=4.0), mean=np.full(4, -0.7))
    found = stressed_default_prob(model)
    np.testing.assert_allclose(found[:2], nct.cdf(model.thresholds[:2], 4.0, -0.7), rtol=1e-9)
    assert found[2:].tolist() == [0.0, 1.0]


@pytest.mark.parametrize("dof", [2.5, 4.0, 30.0, 1000.0])
def test_the_mixing_rule_reproduces_student(dof):
    p = np.array([1e-6, 0.001, 0.3])
    model = replace(loan_book(p, 1.0, [0.5], dof=dof), mean=np.full(3, 1e-300))
    # A mean that is not zero takes the rule, and one so small leaves the answer.
    np.testing.assert_allclose(stressed_default_prob(model), p, rtol=1e-9)


@pytest.mark.parametrize("dof", [2.1, 4.0, 30.0, 300.0])
@pytest.mark.parametrize("mean", [0.0, -0.9])
def test_tables_of_a_t_copula_give_what_every_obligor_gives_by_itself(monkeypatch, dof, mean):
    generator = np.random.default_rng(5)
    # Three laws, the last all but two atoms; probabilities of 1e-20 and of one among the others.
    laws = Recoveries(
        mean=np.array([0.4, 0.3, 0.5]),
        std=np.array([0.2, 0.1, 0.49]),
        correlation=np.array([0.5, 0.1, 0.8]),
    )
    default_prob = np.sort(np.concatenate([[1e-20, 1e-12, 1.0], generator.uniform(1e-4, 0.3, 397)]))
    model = LossModel(
        thresholds=default_thresholds(default_prob, dof=dof),
        exposures=generator.uniform(0.5, 2.0, 400),
        recovery=generator.integers(0, 3, 400),
        recoveries=laws,
        cells=np.array([0, 400]),
        # Shrunk by a stress where there is a mean.
        loadings=np.array([[0.5 if mean == 0.0 else 0.3]]),
        residual=np.array([math.sqrt(0.75)]),
        mean=np.array([mean]),
        systematic=np.array([0.5]),
        segments=np.array([0, 1]),
        dof=dof,
    )
    tabulated = expected_loss(model)
    monkeypatch.setattr(module, "FEWEST_TABULATED", 10**9)
    # Where a default is next to impossible it happens beyond the nine standard deviations of the plain rule,
    # which errs by 1e-8 of it; the tables go further.
    monkeypatch.setattr(module, "FARTHEST", 15.0)
    # Their measured error is below 1e-11 of one, and a mean loss given default is above 0.1.
    np.testing.assert_allclose(tabulated, expected_loss(model), rtol=1e-10)
