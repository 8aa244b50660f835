import math
from dataclasses import replace

import numpy as np
import pytest
from benchmarks.credit_importance import exact_law, generator, one_factor_book, three_factor_book
from scipy.special import betaincinv, ndtr
from scipy.stats import beta

from acceleray.errors import NumericalError
from acceleray.numerics.credit_importance import (
    CYCLE,
    PLAIN_PER_CYCLE,
    aim_importance,
    draw_importance,
    plain_aim,
)
from acceleray.numerics.credit_model import LossModel, default_thresholds
from acceleray.numerics.recovery import Recoveries

LARGEST_WEIGHT = CYCLE / PLAIN_PER_CYCLE


def mean_and_error(terms):
    """Mean and standard error over cycles, without any control variate."""
    cycles = terms.reshape(-1, CYCLE).mean(axis=1)
    return cycles.mean(), cycles.std(ddof=1) / math.sqrt(cycles.size)


def assert_unbiased(terms, expected, *, expected_error=0.0):
    mean, error = mean_and_error(terms)
    assert abs(mean - expected) <= 4.0 * math.hypot(error, expected_error), (mean, expected, error)


def brute_force(model, *, n_paths, seed):
    """Losses of every segment from latent variables, obligor by obligor, without conditioning on anything."""
    rng = np.random.default_rng(seed)
    cell_of = np.repeat(np.arange(model.n_cells), np.diff(model.cells))
    segment_of = np.repeat(np.arange(model.n_segments), np.diff(model.segments))[cell_of]
    z = rng.standard_normal((model.n_factors, n_paths))
    root = np.ones(n_paths)
    if math.isfinite(model.dof):
        root = np.sqrt(rng.chisquare(model.dof, n_paths) / model.dof)
    scores = model.systematic_scores(z)
    losses = np.zeros((model.n_segments, n_paths))
    for k, cell in enumerate(cell_of):
        own = rng.standard_normal(n_paths)
        asset = model.mean[cell] + model.loadings[cell] @ z + model.residual[cell] * own
        paths = np.flatnonzero(asset < model.thresholds[k] * root)
        law = model.recovery[k]
        mean, std, r = (getattr(model.recoveries, name)[law] for name in ("mean", "std", "correlation"))
        share = np.full(paths.size, mean)
        if std > 0.0:
            size = mean * (1.0 - mean) / std**2 - 1.0
            u = r * scores[cell, paths] + math.sqrt(1.0 - r * r) * rng.standard_normal(paths.size)
            share = betaincinv(mean * size, (1.0 - mean) * size, ndtr(-u))
        losses[segment_of[k], paths] += model.exposures[k] * share
    return losses


@pytest.mark.parametrize("dof", [math.inf, 10.0, 4.0])
def test_the_whole_loss_curve_agrees_with_quadrature(dof):
    model = one_factor_book(dof=dof)
    law = exact_law(model)
    beyond = law[::-1].cumsum()[::-1]
    aim = aim_importance(model, generator(1))
    (losses,), weights = draw_importance(model, aim, 24_000, generator(2))
    assert weights.max() <= LARGEST_WEIGHT * (1.0 + 1e-12)  # rounding of one logarithm and one exponential
    assert_unbiased(weights, 1.0)
    assert_unbiased(weights * losses, law @ np.arange(law.size))
    for probability in (0.3, 0.05, 0.01, 1e-3, 1e-4):
        x = int(np.argmax(beyond <= probability))
        assert_unbiased(weights * (losses >= x), beyond[x])
        if probability <= 1e-3:
            variance = CYCLE * np.var((weights * (losses >= x)).reshape(-1, CYCLE).mean(axis=1), ddof=1)
            # The least of ten seeds at one per mille was 139, of all three laws.
            assert beyond[x] * (1.0 - beyond[x]) / variance > 100.0


@pytest.mark.parametrize(("dof", "stressed"), [(math.inf, False), (4.0, False), (10.0, True)])
def test_random_recoveries_and_segments_agree_with_latent_variables(dof, stressed):
    model = three_factor_book(dof=dof)
    if stressed:
        # A stress of the factors moves the mean and takes away a part of the loadings.
        mean = np.linspace(-0.6, 0.1, model.n_cells)
        model = replace(model, mean=mean, loadings=0.8 * model.loadings)
    plain = brute_force(model, n_paths=100_000, seed=3)
    aim = aim_importance(model, generator(3))
    losses, weights = draw_importance(model, aim, 40_000, generator(4))
    plain, losses = np.vstack([plain, plain.sum(axis=0)]), np.vstack([losses, losses.sum(axis=0)])
    for brute, ours in zip(plain, losses, strict=True):
        assert_unbiased(weights * ours, brute.mean(), expected_error=brute.std() / math.sqrt(brute.size))
        for probability in (0.05, 0.01, 0.001):
            x = np.quantile(brute, 1.0 - probability)
            error = math.sqrt(probability * (1.0 - probability) / brute.size)
            assert_unbiased(weights * (ours > x), np.mean(brute > x), expected_error=error)


def test_the_loss_given_default_follows_its_beta_law():
    mean, std = 0.4, 0.3
    model = replace(
        one_factor_book(n_obligors=1),
        thresholds=np.array([np.inf]),
        exposures=np.ones(1),
        recoveries=Recoveries(mean=np.array([mean]), std=np.array([std]), correlation=np.array([0.3])),
    )
    (losses,), _ = draw_importance(model, plain_aim(model), 40_000, generator(1))
    size = mean * (1.0 - mean) / std**2 - 1.0
    for x in (0.01, 0.1, 0.4, 0.8, 0.99):
        expected = beta.cdf(x, mean * size, (1.0 - mean) * size)
        error = math.sqrt(expected * (1.0 - expected) / losses.size)
        assert abs(np.mean(losses <= x) - expected) < 4.0 * error


def test_plain_paths_weigh_one():
    model = one_factor_book()
    (losses,), weights = draw_importance(model, plain_aim(model), 8_000, generator(5))
    np.testing.assert_array_equal(weights, 1.0)
    law = exact_law(model)
    assert_unbiased(losses, law @ np.arange(law.size))


def test_the_pilot_finds_the_losses_of_the_wanted_probabilities():
    model = one_factor_book(fine=True)
    law = exact_law(model)
    beyond = law[::-1].cumsum()[::-1]
    aim = aim_importance(model, generator(6), tail_probs=(0.05, 0.01, 0.0005))
    found = [beyond[int(target)] for target in aim.targets]
    # 2,000 paths know a probability to a few per cent where they are aimed; a factor of 1.3 is many errors.
    np.testing.assert_allclose(np.log(found), np.log([0.05, 0.01, 0.0005]), atol=math.log(1.3))


def test_aimed_paths_lose_what_they_are_aimed_at():
    model = one_factor_book(n_obligors=200, fine=True)
    aim = aim_importance(model, generator(0), losses=(2000.0, 5000.0))
    (losses,), _ = draw_importance(model, aim, 8_000, generator(7))
    members = np.tile(aim.pattern, 1000)
    for component in (1, 2):
        # A twist never aims beyond the target, and factors worse than aimed lose more: the median is near.
        median = np.median(losses[members == component])
        assert aim.targets[aim.level[component]] == pytest.approx(median, rel=0.15)
    assert (aim.shifts[1:] < 0.0).all()


def test_a_t_copula_is_aimed_at_a_small_mixing_variable():
    gaussian = aim_importance(one_factor_book(), generator(1))
    heavy = aim_importance(one_factor_book(dof=4.0), generator(1))
    np.testing.assert_array_equal(gaussian.scales, 1.0)
    assert heavy.scales[0] == 1.0
    assert (heavy.scales[1:] < 0.6).all()


def test_equal_summits_each_get_a_component():
    """Two sectors without a common factor: whichever is in crisis, the book loses the same."""
    each = 40
    model = LossModel(
        thresholds=np.tile(default_thresholds(np.full(each, 0.02)), 2),
        exposures=np.ones(2 * each),
        recovery=np.zeros(2 * each, dtype=np.int64),
        recoveries=Recoveries(mean=np.ones(1), std=np.zeros(1), correlation=np.zeros(1)),
        cells=np.array([0, each, 2 * each]),
        loadings=0.7 * np.eye(2),
        residual=np.full(2, math.sqrt(0.51)),
        mean=np.zeros(2),
        systematic=np.full(2, 0.7),
        segments=np.array([0, 1, 2]),
    )
    aim = aim_importance(model, generator(1), losses=(15.0,))
    assert sorted(np.argmin(aim.shifts[1:], axis=1)) == [0, 1]
    one = one_factor_book(n_obligors=each, correlation=0.49, default_prob=0.02)
    sector = exact_law(replace(one, thresholds=model.thresholds[:each], exposures=np.ones(each)))
    law = np.convolve(sector, sector)
    losses, weights = draw_importance(model, aim, 24_000, generator(2))
    for x in (5, 10, 15, 25):
        assert_unbiased(weights * (losses.sum(axis=0) > x), law[x + 1 :].sum())


def test_an_aim_serves_a_book_stressed_to_certain_default():
    model = one_factor_book()
    aim = aim_importance(model, generator(1))
    thresholds = model.thresholds.copy()
    thresholds[-20:] = np.inf
    stressed = replace(model, thresholds=thresholds)
    law = exact_law(stressed)
    (losses,), weights = draw_importance(stressed, aim, 16_000, generator(2))
    assert losses.min() >= model.exposures[-20:].sum()
    assert_unbiased(weights, 1.0)
    assert_unbiased(weights * losses, law @ np.arange(law.size))
    aimed = aim_importance(stressed, generator(3))
    (losses,), weights = draw_importance(stressed, aimed, 16_000, generator(4))
    x = int(np.argmax(law[::-1].cumsum()[::-1] <= 1e-3))
    assert_unbiased(weights * (losses >= x), law[x:].sum())


def test_extreme_probabilities_neither_overflow_nor_bias():
    probabilities = np.sort(np.concatenate([np.repeat([0.0, 1e-300, 1e-20, 1e-7, 0.01, 1.0], 5)]))
    model = replace(
        one_factor_book(n_obligors=30),
        thresholds=default_thresholds(probabilities),
        exposures=np.tile([1.0, 0.0, 3.0, 1.0, 2.0], 6),
    )
    law = exact_law(model)
    for losses_aimed in ((7.5,), (9.0, 20.0, 40.0), (1e9,)):
        aim = aim_importance(model, generator(1), losses=losses_aimed)
        (losses,), weights = draw_importance(model, aim, 16_000, generator(2))
        assert np.isfinite(weights).all()
        assert losses.min() >= 7.0
        assert_unbiased(weights, 1.0)
        assert_unbiased(weights * losses, law @ np.arange(law.size))


def test_a_book_that_cannot_lose_is_drawn_plainly():
    model = one_factor_book()
    for harmless in (
        replace(model, exposures=np.zeros(60)),
        replace(model, thresholds=np.full(60, -np.inf)),
        replace(model, recoveries=Recoveries(mean=np.zeros(1), std=np.zeros(1), correlation=np.zeros(1))),
    ):
        aim = aim_importance(harmless, generator(1))
        assert aim.is_plain
        assert aim_importance(harmless, generator(1), losses=(5.0,)).is_plain
        losses, weights = draw_importance(harmless, aim, 80, generator(2))
        np.testing.assert_array_equal(losses, 0.0)
        np.testing.assert_array_equal(weights, 1.0)


def test_obligors_that_cannot_cost_anything_change_no_bit():
    model = one_factor_book()
    wider = replace(
        model,
        thresholds=np.concatenate([[-np.inf, -9.0], model.thresholds]),
        exposures=np.concatenate([[5.0, 0.0], model.exposures]),
        recovery=np.zeros(62, dtype=np.int64),
        cells=np.array([0, 62]),
    )
    first = draw_importance(model, aim_importance(model, generator(1)), 800, generator(2))
    again = draw_importance(wider, aim_importance(wider, generator(1)), 800, generator(2))
    for one, other in zip(first, again, strict=True):
        np.testing.assert_array_equal(one, other)


def test_the_unit_of_currency_changes_no_bit():
    model = three_factor_book(dof=5.0)
    large = replace(model, exposures=model.exposures * 2.0**40)
    first = draw_importance(model, aim_importance(model, generator(1)), 800, generator(2))
    again = draw_importance(large, aim_importance(large, generator(1)), 800, generator(2))
    np.testing.assert_array_equal(first[0] * 2.0**40, again[0])
    np.testing.assert_array_equal(first[1], again[1])


def test_bad_arguments_are_refused():
    model = one_factor_book()
    aim = plain_aim(model)
    with pytest.raises(ValueError, match="multiple of 8, was 12"):
        draw_importance(model, aim, 12, generator(1))
    with pytest.raises(ValueError, match="the model 1 and 59"):
        draw_importance(one_factor_book(n_obligors=59), aim, 80, generator(1))
    with pytest.raises(ValueError, match="tail_probs"):
        aim_importance(model, generator(1), tail_probs=(0.6,))
    with pytest.raises(ValueError, match="at most 6 losses"):
        aim_importance(model, generator(1), losses=(1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0))
    with pytest.raises(NumericalError, match="finite and not negative"):
        aim_importance(model, generator(1), losses=(math.nan,))
