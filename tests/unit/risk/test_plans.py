import numpy as np
import pyarrow as pa
import pytest

from acceleray.domain.scenario import FilteredHistorical, Given, Historical, MonteCarlo
from acceleray.errors import InputDataError, NumericalError, SchemaError
from acceleray.numerics.streams import Purpose, stream
from acceleray.risk.parameters import RiskParameters, daily_moves
from acceleray.risk.plans import history_days, prepare


def test_scenario_i_ends_at_the_ith_of_the_last_days(market):
    plan, labels = prepare(Historical(window_days=50, horizon_days=3), market, None, block_size=50)
    np.testing.assert_array_equal(labels.dates, market.dates[-50:])
    levels, column = plan.levels(0), market.column("OIL")
    for i in range(50):
        history = market.levels[:, column]
        expected = history[-1] * history[-50 + i] / history[-53 + i]
        assert levels[i, column] == pytest.approx(expected, rel=1e-14)
    assert labels.overlap_days == 3


def test_a_monthly_series_moves_only_on_days_when_it_moved(market):
    plan, _ = prepare(Historical(window_days=100), market, None, block_size=100)
    moved = plan.levels(0)[:, market.column("AAA")] != market.base[market.column("AAA")]
    assert moved.sum() == 5


def test_filtered_moves_are_residuals_at_tomorrows_volatility(market):
    parameters = RiskParameters.exponential(market)
    plan, labels = prepare(FilteredHistorical(window_days=80), market, parameters, block_size=80)
    column = market.column("SPX")
    moves = daily_moves(market)[:, column]
    # RiskMetrics by hand.
    h = np.empty(moves.size + 1)
    h[0] = np.mean(moves**2)
    for t in range(moves.size):
        h[t + 1] = 0.06 * moves[t] ** 2 + 0.94 * h[t]
    expected = market.base[column] * np.exp(moves[-80:] / np.sqrt(h[-81:-1]) * np.sqrt(h[-1]))
    np.testing.assert_allclose(plan.levels(0)[:, column], expected, rtol=1e-12)
    np.testing.assert_array_equal(labels.dates, market.dates[-80:])


@pytest.mark.parametrize("horizon_days", [1, 4])
def test_a_fall_weighs_more_in_filtered_moves(market, horizon_days):
    parameters = RiskParameters.exponential(market)
    column = market.column("SPX")
    parameters.volatility.gamma[0, column] = 0.03
    scenarios = FilteredHistorical(window_days=80, horizon_days=horizon_days, n_paths=50, seed=3)
    plan, _ = prepare(scenarios, market, parameters, block_size=80)
    moves = daily_moves(market)[:, column]

    def after(h, move):
        return (0.06 + (0.03 if move < 0 else 0.0)) * move**2 + 0.94 * h

    h = [np.mean(moves**2)]
    for move in moves:
        h.append(after(h[-1], move))
    residuals = moves[-80:] / np.sqrt(h[-81:-1])
    if horizon_days == 1:
        expected = residuals * np.sqrt(h[-1])
    else:
        picks = stream(3, Purpose.FILTERED_HISTORICAL, 4, 0).integers(0, 80, size=(50, 4))
        expected = np.zeros(50)
        for path in range(50):
            today = h[-1]
            for pick in picks[path]:
                move = residuals[pick] * np.sqrt(today)
                expected[path] += move
                today = after(today, move)
    np.testing.assert_allclose(plan.levels(0)[:, column], market.base[column] * np.exp(expected), rtol=1e-12)


def test_given_levels_are_used_as_they_are(market):
    table = pa.table(
        {"scenario": ["b", "a", "b"], "factor_id": ["SPX", "SPX", "OIL"], "value": [2000.0, 2100.0, 30.0]}
    )
    plan, labels = prepare(Given(table=table), market, None, block_size=10)
    assert labels.names == ("a", "b")
    expected = np.tile(market.base, (2, 1))
    expected[:, market.column("SPX")] = [2100.0, 2000.0]
    expected[1, market.column("OIL")] = 30.0
    np.testing.assert_array_equal(plan.levels(0), expected)


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ([("a", "NDX", 1.0)], "moves unknown factor 'NDX'"),
        ([("a", "SPXX", 1.0)], "moves unknown factor 'SPXX'; did you mean 'SPX'"),
        ([("a", "SPX", 1.0), ("a", "SPX", 2.0)], "sets factor 'SPX' twice"),
        ([("a", "SPX", float("inf"))], "sets factor 'SPX' to inf"),
    ],
)
def test_given_levels_that_mean_nothing_are_refused(rows, message, market):
    names = ("scenario", "factor_id", "value")
    table = pa.table({name: [row[i] for row in rows] for i, name in enumerate(names)})
    with pytest.raises(InputDataError, match=message):
        prepare(Given(table=table), market, None, block_size=10)
    with pytest.raises(SchemaError, match="value"):
        prepare(Given(table=table.drop(["value"])), market, None, block_size=10)


def test_a_window_must_fit_into_the_history(market):
    with pytest.raises(NumericalError, match="need 502 dates"):
        prepare(Historical(window_days=500, horizon_days=2), market, None, block_size=10)
    with pytest.raises(InputDataError, match="500 daily moves asked for, there are 419"):
        prepare(FilteredHistorical(window_days=500), market, None, block_size=10)


def test_history_that_each_set_needs(market):
    assert history_days(Historical(window_days=100, horizon_days=10), None) == 109
    assert history_days(Historical(window_days=100, horizon_days=10, overlapping=False), None) == 100
    assert history_days(FilteredHistorical(window_days=100, horizon_days=10), None) == 100
    parameters = RiskParameters.exponential(market, window_days=200)
    assert history_days(MonteCarlo(n_paths=1), parameters) == 200


def test_a_factor_without_variance_is_not_silently_still(market):
    parameters = RiskParameters.exponential(market)
    parameters.covariance[market.column("OIL")] = 0.0
    parameters.covariance[:, market.column("OIL")] = 0.0
    with pytest.raises(InputDataError, match="'OIL' has no variance"):
        prepare(
            MonteCarlo(n_paths=1), market, parameters, block_size=10, columns=np.array([market.column("OIL")])
        )
