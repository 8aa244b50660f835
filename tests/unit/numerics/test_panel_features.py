from __future__ import annotations

import math

import numpy as np
import pytest

from acceleray.domain.tables import FEATURES
from acceleray.errors import NumericalError
from acceleray.numerics import panel_features as kernels

# Two ways to sum a window of 250 values of like size differ by at most about 250 roundings of the sum.
ROUNDING = 250 * np.finfo(float).eps


def walk(n: int, seed: int, scale: float = 0.01) -> np.ndarray:
    return np.cumsum(np.random.default_rng(seed).normal(0.0, scale, n)) + 4.0


def test_log_levels_are_the_logarithms_and_keep_the_unknown_front():
    logs = kernels.log_levels(np.array([np.nan, np.nan, 1.0, math.e, 100.0]))
    assert np.isnan(logs[:2]).all()
    assert logs[2:].tolist() == [0.0, 1.0, math.log(100.0)]


@pytest.mark.parametrize(
    "levels",
    [[1.0, 0.0], [1.0, -37.63], [1.0, math.inf], [1.0, math.nan, 2.0], [math.nan, -1.0], [1.0, math.nan]],
)
def test_log_levels_refuse_what_has_no_logarithm_or_is_missing(levels):
    with pytest.raises(NumericalError):
        kernels.log_levels(np.array(levels))


@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
def test_every_kernel_refuses_a_hole_or_an_infinity(bad):
    values, index = walk(40, 1), walk(40, 2)
    values[25] = bad
    for compute in (
        lambda: kernels.trailing_change(values, days=1),
        lambda: kernels.trailing_volatility(values, days=20),
        lambda: kernels.trailing_drawdown(values, days=20),
        lambda: kernels.trailing_rally(values, days=20),
        lambda: kernels.market_model(values, index, days=20),
        lambda: kernels.market_model(index, values, days=20),
        lambda: kernels.credit_features(values, index),
    ):
        with pytest.raises(NumericalError):
            compute()


def test_a_table_instead_of_a_series_is_a_callers_mistake():
    with pytest.raises(ValueError, match="one axis, was 2"):
        kernels.trailing_change(np.ones((3, 3)), days=1)


def test_volatility_is_the_sample_standard_deviation_of_each_window():
    values = walk(400, 3)
    for days in (20, 60, 250):
        found = kernels.trailing_volatility(values, days=days)
        assert np.isnan(found[:days]).all()
        for t in range(days, values.size):
            expected = np.std(np.diff(values[t - days : t + 1]), ddof=1)
            assert found[t] == pytest.approx(expected, rel=ROUNDING)


def test_volatility_of_known_returns():
    # Returns +1, -1, +1, -1 in units of 1 %: variance 4/3 by hand.
    values = np.array([0.0, 0.01, 0.0, 0.01, 0.0])
    assert kernels.trailing_volatility(values, days=4)[4] == pytest.approx(0.01 * math.sqrt(4 / 3), rel=1e-14)


def test_a_price_that_stands_still_has_no_volatility_and_no_ratio():
    features = kernels.own_features(np.full(300, 3.5))
    assert features["volatility_250d"][-1] == 0.0
    assert features["drawdown_250d"][-1] == features["rally_250d"][-1] == 0.0
    assert np.isnan(features["volatility_ratio"]).all()


def test_drawdown_and_rally_are_positive_and_include_today():
    values = np.array([0.0, 0.3, 0.1, 0.4, -0.2])
    assert kernels.trailing_drawdown(values, days=3)[2:] == pytest.approx([0.2, 0.0, 0.6], abs=1e-15)
    assert kernels.trailing_rally(values, days=3)[2:] == pytest.approx([0.1, 0.3, 0.0], abs=1e-15)


def test_market_model_agrees_with_least_squares_on_each_window():
    values, index, days = walk(200, 4), walk(200, 5), 30
    beta, correlation, residual = kernels.market_model(values, index, days=days)
    for t in range(days, 200):
        y, x = np.diff(values[t - days : t + 1]), np.diff(index[t - days : t + 1])
        design = np.column_stack([np.ones(days), x])
        coefficients, squares, *_ = np.linalg.lstsq(design, y, rcond=None)
        # A QR solve of a well-conditioned 30 × 2 problem.
        assert beta[t] == pytest.approx(coefficients[1], rel=1e-10, abs=1e-12)
        assert correlation[t] == pytest.approx(np.corrcoef(x, y)[0, 1], rel=1e-10, abs=1e-12)
        assert residual[t] == pytest.approx(math.sqrt(squares[0] / (days - 2)), rel=1e-10)


def test_the_index_against_itself_is_exact():
    index = walk(300, 6)
    beta, correlation, residual = kernels.market_model(index, index, days=120)
    assert np.unique(beta[120:]).tolist() == [1.0]
    assert np.unique(correlation[120:]).tolist() == [1.0]
    assert np.unique(residual[120:]).tolist() == [0.0]
    assert np.isnan(beta[:120]).all()


def test_a_still_index_leaves_the_market_model_undefined_and_a_still_factor_only_the_correlation():
    values, still = walk(50, 7), np.ones(50)
    for column in kernels.market_model(values, still, days=20):
        assert np.isnan(column).all()
    beta, correlation, residual = kernels.market_model(still, values, days=20)
    assert beta[-1] == residual[-1] == 0.0
    assert np.isnan(correlation).all()


def test_an_index_that_starts_later_delays_the_market_model():
    values, index = walk(60, 8), walk(60, 9)
    index[:15] = np.nan
    beta, _, _ = kernels.market_model(values, index, days=20)
    # The first index return is that of session 16; the twentieth that of session 35.
    assert np.flatnonzero(~np.isnan(beta)).tolist() == list(range(35, 60))


def test_series_of_different_length_are_a_callers_mistake():
    with pytest.raises(ValueError, match="3 sessions, but 4 of the index"):
        kernels.market_model(np.ones(3), np.ones(4), days=2)


def test_momentum_leaves_out_the_last_month():
    values = walk(300, 10)
    momentum = kernels.own_features(values)["momentum_250d"]
    # x(t-20) - x(t-250) as a difference of two differences: three roundings of values near 4.
    assert momentum[280] == pytest.approx(values[260] - values[30], abs=4 * 4 * np.finfo(float).eps)


def test_credit_spread_and_its_change_over_63_sessions():
    high, low = walk(100, 11, 0.0001) / 100, walk(100, 12, 0.0001) / 100
    found = kernels.credit_features(high, low)
    spread = high - low
    assert found["credit_spread"].tolist() == spread.tolist()
    assert found["credit_spread_change_3m"][63:].tolist() == (spread[63:] - spread[:-63]).tolist()
    assert np.isnan(found["credit_spread_change_3m"][:63]).all()


def test_the_kernels_deliver_exactly_the_contracts_features():
    x = walk(10, 13)
    names = [
        *kernels.own_features(x),
        *kernels.market_model_features(x, x),
        *kernels.index_features(x),
        *kernels.oil_features(x),
        *kernels.credit_features(x, x),
        "short_rate",
    ]
    assert tuple(names) == FEATURES


@pytest.mark.parametrize("n", [0, 1, 2, 19, 20, 21, 119, 120, 121])
def test_short_histories_give_columns_of_their_own_length(n):
    x = walk(n, 14)
    for column in (kernels.own_features(x) | kernels.market_model_features(x, x)).values():
        assert column.shape == (n,)


def test_all_unknown_stays_unknown():
    nothing = np.full(5, np.nan)
    assert np.isnan(kernels.log_levels(nothing)).all()
    assert np.isnan(kernels.trailing_drawdown(nothing, days=3)).all()
