import math

import numpy as np
import pytest

from acceleray.errors import NumericalError
from acceleray.risk.resolve import resolve
from acceleray.risk.valuation import position_pnl, position_values, unit_exposures


def at(found, levels_pnl, instrument_id):
    return levels_pnl[found.book.instrument_ids.index(instrument_id)]


def shocked(market, **factors):
    levels = np.array(market.base)
    for name, value in factors.items():
        levels[market.column(name.replace("__", "."))] = value
    return levels[None, :]


def test_base_values(book, market):
    found = resolve(book, market)
    values = position_values(found.priced, market.base[None, :])[:, 0]
    base = {name: market.base[market.column(name)] for name in market.factor_ids}
    assert at(found, values, "FUND") == pytest.approx(40 * base["SPX"], rel=1e-15)
    assert at(found, values, "CASH_EUR") == pytest.approx(50_000 * base["EURUSD"], rel=1e-15)
    for future in ("OIL_FUT", "SPX_FUT", "SPX_FUT_EUR"):
        assert at(found, values, future) == 0.0


def test_gains_of_linear_products(book, market):
    found = resolve(book, market)
    base = {name: market.base[market.column(name)] for name in market.factor_ids}
    up = shocked(market, SPX=2600.0, OIL=45.0, EURUSD=1.2)
    pnl = position_pnl(found.priced, up, market.base[None, :])[:, 0]
    assert at(found, pnl, "FUND") == pytest.approx(40 * (2600 - base["SPX"]), rel=1e-12)
    assert at(found, pnl, "OIL_FUT") == pytest.approx(-2 * 1000 * (45 - base["OIL"]), rel=1e-12)
    carry = math.exp((base["USD.1Y"] - 0.02) * 77 / 365)
    assert at(found, pnl, "SPX_FUT") == pytest.approx(-50 * (2600 - base["SPX"]) * carry, rel=1e-12)
    assert at(found, pnl, "CASH_EUR") == pytest.approx(50_000 * (1.2 - base["EURUSD"]), rel=1e-12)
    # A future's gain is settled at the exchange rate of the day, so the old rate plays no part.
    assert at(found, pnl, "SPX_FUT_EUR") == pytest.approx(2 * 10 * (2600 - base["SPX"]) * 1.2, rel=1e-12)


def test_no_move_no_gain(book, market):
    found = resolve(book, market)
    pnl = position_pnl(found.priced, market.base[None, :], market.base[None, :])
    np.testing.assert_array_equal(pnl, np.zeros_like(pnl))
    assert not np.signbit(pnl).any()


def test_scenarios_do_not_see_each_other(book, market):
    found = resolve(book, market)
    levels, base = market.levels[-50:], market.base[None, :]
    together = position_pnl(found.priced, levels, base)
    alone = np.concatenate([position_pnl(found.priced, levels[i : i + 1], base) for i in range(50)], axis=1)
    np.testing.assert_array_equal(together, alone)


def test_each_day_may_have_its_own_base(book, market):
    found = resolve(book, market)
    paired = position_pnl(found.priced, market.levels[-10:], market.levels[-11:-1])
    for i in range(10):
        one = position_pnl(found.priced, market.levels[[-10 + i]], market.levels[[-11 + i]])
        np.testing.assert_array_equal(paired[:, i], one[:, 0])


def test_exposure_is_the_gain_per_relative_move(book, market):
    found = resolve(book, market)
    exposures = (
        unit_exposures(found.priced, market.base[None, :])[0][found.priced.instrument_rows]
        * found.priced.quantities
        * found.priced.now.multipliers[found.priced.instrument_rows]
    )
    spot, step = market.base[market.column("SPX")], 1e-6
    up = position_pnl(found.priced, shocked(market, SPX=spot * (1 + step)), market.base[None, :])[:, 0]
    down = position_pnl(found.priced, shocked(market, SPX=spot * (1 - step)), market.base[None, :])[:, 0]
    for name in ("FUND", "CALL", "PUT", "SPX_FUT"):
        slope = (at(found, up, name) - at(found, down, name)) / (2 * step)
        # Prices of some thousands, rounded, over the step.
        assert at(found, exposures, name) == pytest.approx(slope, rel=1e-6)


def test_a_level_that_is_not_finite_stops_the_block(book, market):
    found = resolve(book, market)
    with pytest.raises(
        NumericalError, match="factor 'OIL' was nan in scenario 0 of its block, must be finite"
    ):
        position_pnl(found.priced, shocked(market, OIL=np.nan), market.base[None, :])
