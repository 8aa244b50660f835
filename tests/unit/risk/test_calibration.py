import datetime as dt
from dataclasses import replace

import numpy as np
import pytest

from acceleray.domain.tables import contract
from acceleray.errors import MissingDataError
from acceleray.lake.content import content_hash
from acceleray.numerics.covariance import shrunk_covariance
from acceleray.risk.calibration import calibrate_risk, refit_dates
from acceleray.risk.parameters import daily_moves

from .conftest import make_market
from .test_parameters import SETTINGS


@pytest.fixture(scope="module")
def tables(market):
    return calibrate_risk(market, SETTINGS, distributed=False)


def test_refits_reach_back_through_the_backtest(market):
    # 60 days in steps of 40: one step would not reach the eve of the first forecast.
    assert refit_dates(market, SETTINGS) == tuple(market.dates[[419 - 80, 419 - 40, 419]].tolist())
    with pytest.raises(MissingDataError, match="needs more than 70 dates"):
        refit_dates(make_market(70), SETTINGS)


def test_every_moving_factor_is_fitted_on_every_date(market, tables):
    rows = tables["params.volatility"].to_pylist()
    expected = {
        (factor.factor_id, day)
        for factor in market.factors
        if not factor.fixed
        for day in refit_dates(market, SETTINGS)
    }
    assert {(row["factor_id"], row["fitted_on"]) for row in rows} == expected
    models = {row["factor_id"]: row["model"] for row in rows}
    assert models["AAA"] == "constant"
    tests = ("ljung_box_p", "sign_bias_p", "jarque_bera_p")
    for row in rows:
        if row["model"] in {"constant", "ewma"}:
            assert row["note"] is not None
            assert all(row[name] is None for name in tests)
        else:
            passed = all(row[name] is None or row[name] >= 0.01 for name in tests)
            assert (row["note"] is None) == passed == row["path"].endswith(f"{row['model']}: passed")


def test_risk_parameters(tables):
    risk = dict(zip(*(tables["params.risk"][name].to_pylist() for name in ("name", "value")), strict=True))
    assert 3.0 <= risk["t_dof"] <= 30.0
    assert risk["covariance_repaired"] == 0.0
    assert risk["covariance_days"] == 150.0
    assert sum(value for name, value in risk.items() if name.startswith("factors_")) == 6


def test_the_covariance_follows_the_settings(market):
    how = SETTINGS.simulate.covariance.model_copy(update={"method": "shrinkage"})
    simulate = SETTINGS.simulate.model_copy(update={"covariance": how})
    shrunk = calibrate_risk(market, SETTINGS.model_copy(update={"simulate": simulate}), distributed=False)
    risk = dict(zip(*(shrunk["params.risk"][name].to_pylist() for name in ("name", "value")), strict=True))
    moving = np.nonzero(~market.fixed)[0]
    expected, intensity = shrunk_covariance(daily_moves(market)[-150:, moving])
    assert risk["covariance_shrinkage"] == intensity > 0
    assert risk["covariance_lowest_eigenvalue"] > 0
    assert risk["covariance_largest_change"] == 0.0
    np.testing.assert_array_equal(shrunk["params.covariance"]["value"].to_numpy(), expected.ravel())


def test_tables_follow_their_contracts(tables):
    assert list(tables) == ["params.volatility", "params.covariance", "params.risk"]
    for name, table in tables.items():
        assert table.schema.equals(contract(name).schema)


def test_it_repeats_to_the_bit(market, tables):
    again = calibrate_risk(market, SETTINGS, distributed=False)
    for name, table in tables.items():
        assert content_hash(again[name], contract(name).key) == content_hash(table, contract(name).key)


def test_earlier_fits_do_not_know_later_days(market, tables):
    cut = 419 - 40
    levels = np.array(market.levels)
    moving = ~market.fixed
    noise = np.exp(np.random.default_rng(1).normal(size=levels[cut + 1 :, moving].shape) * 0.1)
    levels[cut + 1 :, moving] *= noise
    other = replace(market, levels=levels)
    day = market.dates[cut].item()

    def until(found):
        return [row for row in found["params.volatility"].to_pylist() if row["fitted_on"] <= day]

    assert until(calibrate_risk(other, SETTINGS, distributed=False)) == until(tables)


def test_a_fit_date_must_be_a_session(market):
    with pytest.raises(MissingDataError, match="must be one of the market's sessions"):
        calibrate_risk(market, SETTINGS, fit_dates=[dt.date(2018, 12, 25), dt.date(2018, 12, 29)])
