import math
from dataclasses import replace

import numpy as np
import pytest
from benchmarks.credit_importance import (
    exact_law,
    exact_measures,
    generator,
    glasserman_li_book,
    measures,
    one_factor_book,
)

from acceleray.errors import NumericalError
from acceleray.numerics.credit_importance import CYCLE, aim_importance, draw_importance, plain_aim
from acceleray.numerics.credit_importance_estimates import (
    MIN_RATIO,
    diagnose,
    guard,
    importance_exceedance,
    importance_expected_loss,
    importance_expected_shortfall,
    importance_value_at_risk,
    path_masses,
)
from acceleray.numerics.intervals import expected_shortfall_interval, value_at_risk_interval
from acceleray.numerics.weighted import tail_effective_size


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


def test_the_tail_size_is_kishs_where_no_losses_tie(sample, plain):
    losses, weights = sample
    # Exposures of whole numbers still tie now and then; a part of one path hardly counts.
    untied = losses + np.linspace(0.0, 1e-3, losses.size)
    found = diagnose(untied, weights, level=0.99, plain_losses=plain)
    assert found.tail_size == pytest.approx(tail_effective_size(untied, path_masses(weights), level=0.99))
    # Ties share the mass at the quantile, whatever their number.
    tied = diagnose(np.repeat([0.0, 1.0], 400), np.ones(800), level=0.99, plain_losses=plain)
    assert tied.tail_size == pytest.approx(400.0)


def test_the_guard_lets_a_good_sample_pass_and_names_what_is_wrong(fine, sample, plain):
    losses, weights = sample
    levels = (0.95, 0.99, 0.999)
    assert guard(losses, weights, levels=levels, plain_losses=plain) is None
    # Kish's size of all paths would have refused it.
    assert weights.sum() ** 2 / (weights**2).sum() < 0.6 * weights.size
    reason = guard(losses, weights, levels=(0.5,), plain_losses=plain)
    assert reason is not None
    assert "with 0." in reason
    stressed = replace(fine, thresholds=fine.thresholds + 0.3)
    (worse,), _ = draw_importance(stressed, plain_aim(stressed), 16_000, generator(4))
    reason = guard(losses, weights, levels=levels, plain_losses=worse)
    assert reason is not None
    assert "plain paths contradict" in reason
    short = slice(0, 8 * 40)
    reason = guard(
        losses[short] * 0.0 + np.arange(320) // 319, np.ones(320), levels=(0.999,), plain_losses=plain
    )
    assert reason is not None
    assert "at least 4 are needed" in reason or "no path loses more" in reason


@pytest.mark.parametrize("n_obligors", [1, 2, 3, 5, 10])
def test_tiny_books_are_no_worse_than_plain_or_the_guard_says_so(n_obligors):
    model = one_factor_book(n_obligors=n_obligors)
    aim = aim_importance(model, generator(1))
    losses, weights = draw_importance(model, aim, 4_000, generator(2))
    pilot, _ = draw_importance(model, plain_aim(model), 4_000, generator(3))
    law = exact_law(model)
    beyond = law[::-1].cumsum()[::-1]
    # The verdict of a pilot is held against the variance in a longer run, at the exact quantile.
    (longer,), ratios = draw_importance(model, aim, 40_000, generator(4))
    for level in (0.95, 0.99, 0.999):
        reason = guard(losses[0], weights, levels=(level,), plain_losses=pilot[0])
        x = int(np.argmax(np.append(beyond[1:], 0.0) <= 1.0 - level))
        p = float(law[x + 1 :].sum())
        cycles = (ratios * (longer > x)).reshape(-1, CYCLE).mean(axis=1)
        measured = p * (1.0 - p) / (CYCLE * cycles.var(ddof=1)) if p > 0.0 else math.nan
        assert reason is not None or measured > MIN_RATIO


def test_the_guard_accepts_the_21_factor_book():
    model = glasserman_li_book()
    aim = aim_importance(model, generator(1))
    losses, weights = draw_importance(model, aim, 4_000, generator(2))
    pilot, _ = draw_importance(model, plain_aim(model), 4_000, generator(3))
    assert guard(losses[0], weights, levels=(0.95, 0.99, 0.999), plain_losses=pilot[0]) is None
