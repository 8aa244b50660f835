import math
from dataclasses import replace

import numpy as np
import pytest
from benchmarks.credit_importance import (
    exact_law,
    generator,
    glasserman_li_book,
    one_factor_book,
)

from acceleray.numerics.credit_importance import CYCLE, aim_importance, draw_importance, plain_aim
from acceleray.numerics.credit_importance_estimates import (
    path_masses,
)
from acceleray.numerics.credit_importance_guard import MIN_RATIO, diagnose, guard
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


def test_the_tail_size_is_kishs_where_no_losses_tie(sample, plain):
    losses, weights = sample
    # Exposures of whole numbers still tie now and then; a part of one path hardly counts.
    untied = losses + np.linspace(0.0, 1e-3, losses.size)
    found = diagnose(untied, weights, level=0.99, plain_losses=plain)
    assert found.tail_paths == pytest.approx(tail_effective_size(untied, path_masses(weights), level=0.99))
    # Ties share the mass at the quantile, whatever their number.
    tied = diagnose(np.repeat([0.0, 1.0], 400), np.ones(800), level=0.99, plain_losses=plain)
    assert tied.tail_paths == pytest.approx(400.0)


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
