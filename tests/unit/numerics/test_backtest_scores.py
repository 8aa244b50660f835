from __future__ import annotations

import numpy as np
import pytest

from acceleray.errors import NumericalError
from acceleray.numerics.backtest_scores import (
    diebold_mariano,
    joint_score,
    long_run_variance,
    quantile_score,
)
from acceleray.numerics.tail_laws import normal_tail

LEVEL = 0.975
TAIL = normal_tail(LEVEL)


def test_the_quantile_score_is_the_pinball_loss_of_scikit_learn() -> None:
    from sklearn.metrics import mean_pinball_loss

    generator = np.random.default_rng(2)
    losses, var = generator.standard_normal(500), generator.standard_normal(500)
    found = quantile_score(losses, var=var, level=LEVEL)
    assert found.mean() == pytest.approx(mean_pinball_loss(losses, var, alpha=LEVEL), rel=1e-12)


def test_the_joint_score_is_that_of_the_paper() -> None:
    # Patton, Ziegel, Chen (2019), equation 6: returns y, forecasts v and e below zero.
    generator = np.random.default_rng(4)
    y, v = generator.standard_normal(200), -1 - generator.random(200)
    e, alpha = v - 0.5, 1 - LEVEL
    paper = -1.0 * (y <= v) * (v - y) / (alpha * e) + v / e + np.log(-e) - 1
    found = joint_score(-y, var=-v, es=-e, level=LEVEL)
    np.testing.assert_allclose(found, paper, rtol=1e-12)


def test_the_true_forecast_scores_best() -> None:
    losses = np.random.default_rng(3).standard_normal(200_000)
    best_quantile = quantile_score(losses, var=TAIL.var, level=LEVEL).mean()
    best_joint = joint_score(losses, var=TAIL.var, es=TAIL.es, level=LEVEL).mean()
    for factor in (0.85, 1.15):
        assert quantile_score(losses, var=factor * TAIL.var, level=LEVEL).mean() > best_quantile
        for wrong in ({"var": factor * TAIL.var}, {"es": factor * TAIL.es}):
            given = {"var": TAIL.var, "es": TAIL.es} | wrong
            assert joint_score(losses, level=LEVEL, **given).mean() > best_joint
    # At the true forecasts the expected FZ0 score is log(ES): the other terms cancel.
    per_day = joint_score(losses, var=TAIL.var, es=TAIL.es, level=LEVEL)
    assert best_joint == pytest.approx(np.log(TAIL.es), abs=4 * per_day.std() / np.sqrt(losses.size))


def test_differences_of_the_joint_score_have_no_currency() -> None:
    losses = np.array([0.5, 3.0, -1.0])

    def difference(scale: float) -> np.ndarray:
        one, other = (
            joint_score(scale * losses, var=scale * var, es=scale * es, level=LEVEL)
            for var, es in ((1.0, 1.5), (2.0, 2.5))
        )
        return one - other

    np.testing.assert_allclose(difference(1e6), difference(1.0), rtol=1e-9)


@pytest.mark.parametrize("lags", [0, 1, 9])
def test_the_long_run_variance_is_that_of_arch(lags: int) -> None:
    from arch.covariance.kernel import Bartlett

    values = np.convolve(np.random.default_rng(5).standard_normal(400), np.ones(5), "valid")
    expected = Bartlett(values[:, None], bandwidth=lags, force_int=True).cov.long_run
    assert long_run_variance(values, lags=lags) == pytest.approx(float(np.asarray(expected).item()), rel=1e-9)


def test_size_of_the_comparison_under_overlap() -> None:
    # Equal forecasts of overlapping 10-day moves: without the lags it would reject far too often.
    generator = np.random.default_rng(6)
    kernel = np.ones(10)
    rejected = naive = 0
    for _ in range(300):
        one, other = (np.convolve(generator.standard_normal(1_009), kernel, "valid") for _ in range(2))
        found = diebold_mariano(one, other, horizon_days=10)
        rejected += found.p_value < 0.05
        naive += abs(found.difference) / ((one - other).std() / np.sqrt(1_000)) > 1.96
    # Bartlett weights leave part of the dependence out, so somewhat above 5%.
    assert rejected / 300 < 0.14 < naive / 300


def test_better_is_negative_and_symmetric() -> None:
    generator = np.random.default_rng(7)
    worse = 1 + generator.random(300)
    better = worse - 0.2 + 0.1 * generator.random(300)
    found, turned = diebold_mariano(better, worse), diebold_mariano(worse, better)
    assert found.difference < 0
    assert found.p_value < 1e-6
    assert (turned.difference, turned.statistic) == (-found.difference, -found.statistic)
    assert found.lags == 5


def test_equal_scores_have_no_test() -> None:
    found = diebold_mariano(np.ones(10), np.ones(10))
    assert (found.difference, found.statistic, found.p_value) == (0.0, None, None)


def test_what_cannot_be_scored_is_refused() -> None:
    with pytest.raises(NumericalError, match="ES must be positive"):
        joint_score([0.0], var=[0.0], es=[0.0], level=LEVEL)
    with pytest.raises(NumericalError, match="not finite"):
        quantile_score([np.nan], var=[0.0], level=LEVEL)
    with pytest.raises(ValueError, match="two days"):
        diebold_mariano([1.0], [1.0])
    with pytest.raises(ValueError, match="horizon_days"):
        diebold_mariano([1.0, 2.0], [1.0, 2.0], horizon_days=0)
    with pytest.raises(ValueError, match="lags"):
        long_run_variance([1.0, 2.0], lags=2)
