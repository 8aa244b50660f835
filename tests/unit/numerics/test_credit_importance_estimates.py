import math

import numpy as np
import pytest
from benchmarks.credit_importance import (
    exact_law,
    exact_measures,
    generator,
    measures,
    one_factor_book,
)

from acceleray.errors import NumericalError
from acceleray.numerics.credit_importance import CYCLE, aim_importance, draw_importance, plain_aim
from acceleray.numerics.credit_importance_estimates import (
    importance_exceedance,
    importance_expected_loss,
    importance_expected_shortfall,
    importance_value_at_risk,
    path_masses,
)
from acceleray.numerics.intervals import expected_shortfall_interval, value_at_risk_interval


@pytest.fixture(scope="module")
def fine():
    return one_factor_book(fine=True)


@pytest.fixture(scope="module")
def sample(fine):
    aim = aim_importance(fine, generator(1))
    (losses,), weights = draw_importance(fine, aim, 16_000, generator(2))
    return losses, weights


@pytest.fixture(scope="module")
def plain(fine):
    (losses,), _ = draw_importance(fine, plain_aim(fine), 16_000, generator(3))
    return losses


def test_masses_add_up_to_one_and_regress_on_the_weights(sample):
    losses, weights = sample
    masses = path_masses(weights)
    assert masses.sum() == pytest.approx(1.0, abs=1e-13)
    assert (masses >= 0.0).all()
    # The witness is a least-squares line of every cycle's weighted loss on its weights, read off at one.
    slope, intercept = np.polyfit(
        weights.reshape(-1, CYCLE).mean(axis=1), (weights * losses).reshape(-1, CYCLE).mean(axis=1), 1
    )
    estimate = importance_expected_loss(losses, weights, confidence=0.95)
    assert estimate.value == pytest.approx(intercept + slope, rel=1e-11)


def test_the_standard_error_is_that_of_the_regression(sample):
    losses, weights = sample
    x, y = (values.reshape(-1, CYCLE).mean(axis=1) for values in (weights, weights * (losses > 900.0)))
    correlation = np.corrcoef(x, y)[0, 1]
    expected = y.std(ddof=1) * math.sqrt((1.0 - correlation**2) / y.size)
    estimate = importance_exceedance(losses, weights, threshold=900.0, confidence=0.95)
    assert estimate.std_error == pytest.approx(expected, rel=1e-9)
    assert estimate.ci_low < estimate.value < estimate.ci_high


def test_estimates_lie_within_four_errors_of_the_exact_law(fine, sample):
    truth = exact_measures(exact_law(fine))
    for name, estimate in measures(*sample).items():
        assert abs(estimate.value - truth[name]) < 4.0 * estimate.std_error, name


def test_plain_weights_give_the_plain_estimates(plain):
    ones = np.ones(plain.size)
    weighted = importance_value_at_risk(plain, ones, level=0.99, confidence=0.95)
    exact = value_at_risk_interval(plain, level=0.99, confidence=0.95)
    assert weighted.value == exact.value
    # Order statistics against a normal law of the exceedance probability: 160 paths beyond.
    assert weighted.ci_low == pytest.approx(exact.ci_low, rel=0.02)
    assert weighted.ci_high == pytest.approx(exact.ci_high, rel=0.02)
    weighted = importance_expected_shortfall(plain, ones, level=0.99, confidence=0.95)
    exact = expected_shortfall_interval(plain, level=0.99, confidence=0.95)
    assert weighted.value == pytest.approx(exact.value, rel=1e-12)
    # Both know the standard error to about 5 %.
    assert weighted.ci_high - weighted.ci_low == pytest.approx(exact.ci_high - exact.ci_low, rel=0.15)


def test_scale_and_level_of_confidence(sample):
    losses, weights = sample
    base = importance_value_at_risk(losses, weights, level=0.999, confidence=0.95)
    scaled = importance_value_at_risk(losses * 1024.0, weights, level=0.999, confidence=0.95)
    wide = importance_value_at_risk(losses, weights, level=0.999, confidence=0.99)
    assert (scaled.value, scaled.ci_low, scaled.ci_high) == (
        base.value * 1024.0,
        base.ci_low * 1024.0,
        base.ci_high * 1024.0,
    )
    assert wide.ci_low < base.ci_low
    assert wide.ci_high > base.ci_high
    assert wide.std_error == base.std_error


def test_no_interval_without_enough_paths():
    losses, weights = np.arange(80.0), np.ones(80)
    for estimate in (
        importance_expected_loss(losses, weights, confidence=0.95),
        importance_value_at_risk(losses, weights, level=0.95, confidence=0.95),
    ):
        assert (estimate.ci_low, estimate.ci_high, estimate.std_error) == (None, None, None)
    few = importance_expected_shortfall(np.arange(800.0), np.ones(800), level=0.999, confidence=0.95)
    assert few.ci_high is None
    assert "the tail weighs as much as" in few.note
    same = importance_expected_loss(np.full(800, 3.0), np.ones(800), confidence=0.95)
    assert same.ci_low is None
    assert same.value == pytest.approx(3.0, rel=800 * 2.3e-16)


def test_bad_samples_are_refused():
    with pytest.raises(ValueError, match="cycles of 8"):
        importance_expected_loss(np.ones(12), np.ones(12), confidence=0.95)
    with pytest.raises(ValueError, match="one shape"):
        importance_expected_loss(np.ones(16), np.ones(8), confidence=0.95)
    with pytest.raises(NumericalError, match="weights are not all finite"):
        importance_expected_loss(np.ones(8), np.full(8, np.nan), confidence=0.95)
    with pytest.raises(NumericalError, match="are not finite"):
        importance_expected_loss(np.full(8, np.inf), np.ones(8), confidence=0.95)
    with pytest.raises(NumericalError, match="all zero"):
        path_masses(np.zeros(8))
    with pytest.raises(NumericalError, match="not negative"):
        path_masses(-np.ones(8))
