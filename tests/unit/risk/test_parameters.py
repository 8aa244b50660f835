import numpy as np
import pytest

from acceleray.config.models import Settings
from acceleray.errors import MissingDataError, SchemaError
from acceleray.numerics.covariance import ewma_covariance
from acceleray.risk.calibration import calibrate_risk
from acceleray.risk.parameters import RiskParameters, daily_moves, first_moves

from .conftest import AS_OF

SETTINGS = Settings.model_validate(
    {
        "name": "test",
        "as_of": AS_OF,
        "base_currency": "USD",
        "simulate": {"window_days": 150, "backtest_days": 60},
        "calibrate": {"volatility_window_days": 300, "refit_every_days": 40},
    }
)


@pytest.fixture(scope="module")
def tables(market):
    return calibrate_risk(market, SETTINGS, distributed=False)


@pytest.fixture(scope="module")
def parameters(market, tables):
    return RiskParameters.from_tables(market, *tables.values(), volatility_days=300, covariance_days=150)


def test_tables_come_back_as_arrays(market, tables, parameters):
    fits = parameters.volatility
    assert fits.fitted_rows.tolist() == [419 - 80, 419 - 40, 419]
    row = tables["params.volatility"].to_pylist()[-1]
    column = market.column(row["factor_id"])
    assert fits.alpha[-1, column] == row["alpha"]
    assert fits.first_rows[-1, column] == 419 - 300
    np.testing.assert_array_equal(fits.omega[:, market.fixed], 0.0)
    moving = np.nonzero(~market.fixed)[0]
    expected = ewma_covariance(daily_moves(market)[-150:, moving], decay=0.97)
    np.testing.assert_array_equal(parameters.covariance[np.ix_(moving, moving)], expected)


def test_the_newest_fit_that_was_known(parameters):
    latest = parameters.volatility.latest
    assert [latest(339), latest(378), latest(379), latest(419)] == [0, 0, 1, 2]
    with pytest.raises(MissingDataError):
        latest(338)


def test_a_missing_fit_is_noticed(market, tables):
    partial = tables["params.volatility"].slice(1)
    with pytest.raises(SchemaError, match="no fit of 'AAA'"):
        RiskParameters.from_tables(
            market, partial, tables["params.covariance"], tables["params.risk"],
            volatility_days=300, covariance_days=150,
        )  # fmt: skip


def test_residuals_are_standard(market, parameters):
    residuals, variance = parameters.volatility.filtered(2, daily_moves(market), 419 - 300)
    assert residuals.shape == (300, 9)
    assert variance.shape == (301, 9)
    spot = market.column("SPX")
    # A fitted filter leaves residuals of about unit variance.
    assert np.mean(residuals[:, spot] ** 2) == pytest.approx(1.0, abs=0.1)


def test_where_the_results_begin_does_not_matter(market, parameters):
    moves = daily_moves(market)
    whole, long_variance = parameters.volatility.filtered(2, moves, 0)
    part, variance = parameters.volatility.filtered(2, moves, 350)
    np.testing.assert_array_equal(part, whole[350:])
    np.testing.assert_array_equal(variance, long_variance[350:])
    assert np.isnan(whole[: 419 - 300]).all()


def test_first_moves(market):
    assert first_moves(market).tolist() == [0] * 9
