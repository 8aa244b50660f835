"""Contributions of an exact law against enumeration of all defaults, and against the law itself."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
from scipy import special

from acceleray.numerics.credit_exact import exact_law, suits_exact
from acceleray.numerics.credit_exact_contributions import exact_contributions
from acceleray.numerics.credit_model import LossModel, default_thresholds
from acceleray.numerics.recovery import Recoveries

LEVELS = (0.9, 0.99, 0.999)
BETA = Recoveries(mean=np.array([0.5]), std=np.array([0.3]), correlation=np.array([0.0]))
MOVING = Recoveries(mean=np.array([0.5]), std=np.array([0.3]), correlation=np.array([0.4]))


def loans(probabilities, exposures, *, rho=0.2, recoveries=None, dof=math.inf) -> LossModel:
    """One cell and one factor; the loss given default is one unless a law is given."""
    probabilities, exposures = np.asarray(probabilities, float), np.asarray(exposures, float)
    n = probabilities.size
    fixed = Recoveries(mean=np.ones(1), std=np.zeros(1), correlation=np.zeros(1))
    return LossModel(
        thresholds=default_thresholds(probabilities, dof=dof),
        exposures=exposures,
        recovery=np.zeros(n, dtype=np.int64),
        recoveries=recoveries or fixed,
        cells=np.array([0, n]),
        loadings=np.array([[math.sqrt(rho)]]),
        residual=np.array([math.sqrt(1.0 - rho)]),
        mean=np.zeros(1),
        systematic=np.array([math.sqrt(rho)]),
        segments=np.array([0, 1]),
        dof=dof,
    )


def enumerated(probabilities, exposures, level, rho=0.2):
    """All 2^n outcomes at every state of the factor."""
    p, e = np.asarray(probabilities, float), np.asarray(exposures, float)
    z = np.linspace(-8.5, 8.5, 681)
    weights = np.exp(-0.5 * z * z)
    q = special.ndtr((special.ndtri(p) - math.sqrt(rho) * z[:, None]) / math.sqrt(1.0 - rho))
    outcomes = np.array(list(itertools.product((0.0, 1.0), repeat=p.size)))
    chances = np.ones((z.size, len(outcomes)))
    for k in range(p.size):
        chances *= np.where(outcomes[:, k] > 0.0, q[:, k, None], 1.0 - q[:, k, None])
    mass = weights @ chances / weights.sum()
    losses = outcomes @ e
    values = np.unique(losses)
    beyond = np.array([mass[losses > value + 1e-9].sum() for value in values])
    quantile = values[np.argmax(beyond <= 1.0 - level)]
    above, at = losses > quantile + 1e-9, np.abs(losses - quantile) < 1e-9
    lost = outcomes * e
    at_var = mass[at] @ lost[at] / mass[at].sum()
    part = 1.0 - level - mass[above].sum()
    return at_var, (mass[above] @ lost[above] + part * at_var) / (1.0 - level)


@pytest.mark.parametrize(
    ("probabilities", "exposures"),
    [
        ([0.001, 0.004, 0.01, 0.01, 0.01, 0.03, 0.05, 0.3], [7.0, 12.0, 1.0, 1.0, 3.0, 2.0, 2.0, 1.0]),
        # Plain paths of a night seldom see the smaller of these two at all.
        ([0.0004, 0.0008], [100.0, 7.0]),
        ([0.01, 1.0], [5.0, 3.0]),
    ],
)
def test_contributions_are_those_of_all_outcomes(probabilities, exposures) -> None:
    model = loans(probabilities, exposures)
    at, beyond = exact_contributions(model, exact_law(model), LEVELS)
    for number, level in enumerate(LEVELS):
        at_var, shortfall = enumerated(probabilities, exposures, level)
        # The rule of the witness is good to 1e-12, the coarse one of the contributions to 1e-8.
        np.testing.assert_allclose(at[number], at_var, rtol=1e-6, atol=1e-9)
        np.testing.assert_allclose(beyond[number], shortfall, rtol=1e-6, atol=1e-9)


@pytest.mark.parametrize(
    "model",
    [
        loans(np.full(12, 0.02), np.full(12, 3.0), recoveries=BETA),
        loans([0.01, 0.02, 0.05], [5.0, 1.0, 2.0], recoveries=MOVING),
        loans(np.full(40, 0.02), np.repeat([1.0, 2.0], 20), dof=5.0),
    ],
)
def test_contributions_add_up_to_the_law(model: LossModel) -> None:
    law = exact_law(
        model, unit=None if model.recoveries.std[0] == 0.0 else float(model.exposures.sum()) / 400
    )
    at, beyond = exact_contributions(model, law, LEVELS)
    for number, level in enumerate(LEVELS):
        assert at[number].sum() == pytest.approx(law.var(level).value, rel=1e-9)
        # E[L; L > x] is added up from another end here, along a coarser rule.
        assert beyond[number].sum() == pytest.approx(law.es(level).value, rel=1e-6)


def test_recursion_and_transform_agree() -> None:
    model = loans([0.01, 0.02, 0.02, 0.05, 0.1], [5.0, 1.0, 1.0, 2.0, 3.0], recoveries=BETA)
    found = [
        exact_contributions(model, exact_law(model, unit=0.05, method=method), LEVELS)
        for method in ("recursion", "transform")
    ]
    # Rounding of 1e-16 against a tail of 1e-3.
    np.testing.assert_allclose(found[0][0], found[1][0], rtol=1e-7)
    np.testing.assert_allclose(found[0][1], found[1][1], rtol=1e-9)


def test_an_obligor_that_can_lose_nothing_adds_nothing() -> None:
    model = loans([0.0, 0.01, 0.02], [5.0, 0.0, 2.0])
    at, beyond = exact_contributions(model, exact_law(model), (0.99,))
    np.testing.assert_array_equal(at[0, :2], 0.0)
    np.testing.assert_array_equal(beyond[0, :2], 0.0)
    assert beyond[0, 2] == pytest.approx(2.0, rel=1e-9)


def test_wide_laws_of_loss_are_transformed_and_priced_obligor_by_obligor() -> None:
    model = loans(np.full(10, 0.02), np.full(10, 1.0), recoveries=BETA)
    # Ten obligors with 3,277 steps each; the recursion would take a minute for its three laws.
    assert suits_exact(model, 5e9) is None
    assert exact_law(model).method == "transform"
