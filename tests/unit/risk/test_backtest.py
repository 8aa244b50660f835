import dataclasses
import datetime as dt

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pytest

from acceleray.domain.moves import MoveKind
from acceleray.errors import InputDataError, MissingDataError, UsageError
from acceleray.numerics.backtest import kupiec, quantile_score, shortfall_statistics
from acceleray.risk.backtest import run_backtest
from acceleray.risk.calibration import calibrate_risk
from acceleray.risk.forecasts import FORECAST_METHODS, forecast_table
from acceleray.risk.parameters import RiskParameters
from acceleray.risk.resolve import resolve
from acceleray.risk.valuation import position_pnl

from .conftest import make_book
from .test_parameters import SETTINGS

NODES = ("Fund", "Alpha")
# A window that ended long before the market does.
FIRST, LAST = dt.date(2018, 9, 3), dt.date(2018, 10, 12)


def backtest(book, market, **changes):
    arguments = {"nodes": NODES, "first": FIRST, "last": LAST, "horizons_days": (1, 10)} | changes
    return run_backtest(book, market, SETTINGS, distributed=False, progress=lambda line: None, **arguments)


@pytest.fixture(scope="module")
def found(book, market):
    return backtest(book, market)


def series(found, **wanted):
    table = found.forecasts
    for name, value in wanted.items():
        table = table.filter(pc.equal(table[name], value))
    return table.sort_by("date")


def test_every_node_method_level_horizon_and_day(found, market):
    days = [day for day in market.dates.tolist() if FIRST <= day <= LAST]
    assert found.facts["days"] == len(days) == 30
    assert found.forecasts.num_rows == 2 * 4 * 2 * 2 * len(days)
    assert len(found.tests) == 2 * 4 * 2 * 2
    assert found.facts["bounds_dof"].keys() == {"10"}
    assert 3.0 <= found.facts["bounds_dof"]["10"] <= 30.0
    # Six pairs of methods by two scores.
    assert len(found.comparisons) == 2 * 2 * 2 * 6 * 2
    mine = series(found, portfolio_id="Fund", method="historical", level=0.99, horizon_days=10)
    assert mine["date"].to_pylist() == days
    at = np.searchsorted(market.dates, mine["date"].to_numpy().astype("datetime64[D]"))
    np.testing.assert_array_equal(market.dates[at - 10].tolist(), mine["made_on"].to_pylist())
    assert (mine["es"].to_numpy() > mine["var"].to_numpy()).all()


def test_longer_forecasts_are_those_of_a_plain_loop(found, book, market):
    """The plain witness for ten days: every past 10-day move, applied to the levels at the close."""
    priced = resolve(book, market).priced
    mine = series(found, portfolio_id="Fund", method="historical", level=0.975, horizon_days=10)
    logs, fixed = market.move_kinds == MoveKind.LOG, market.fixed
    for row in mine.to_pylist()[::9]:
        day = int(np.searchsorted(market.dates, np.datetime64(row["date"])))
        close = day - 10
        shocked = []
        for end in range(close - 149, close + 1):
            later, earlier = market.levels[end], market.levels[end - 10]
            ratio = market.levels[close] * later / earlier
            shift = market.levels[close] + later - earlier
            shocked.append(np.where(fixed, market.levels[close], np.where(logs, ratio, shift)))
        losses = -position_pnl(priced, np.array(shocked), market.levels[close][None, :]).sum(axis=0)
        worst = np.sort(losses)[::-1]
        # 2.5% of 150 is 3.75: the fourth worst is the quantile and counts three quarters in the mean.
        assert row["var"] == pytest.approx(worst[3], rel=1e-9)
        assert row["es"] == pytest.approx((worst[:3].sum() + 0.75 * worst[3]) / 3.75, rel=1e-9)
        gain = position_pnl(priced, market.levels[day][None, :], market.levels[close][None, :]).sum()
        assert row["pnl"] == pytest.approx(gain, rel=1e-9)


def test_the_last_days_are_those_of_the_night(book, market):
    found = backtest(book, market, first=None, last=None, horizons_days=(1,), nodes=("Alpha",))
    parameters = RiskParameters.from_tables(
        market,
        *calibrate_risk(market, SETTINGS, distributed=False).values(),
        volatility_days=300,
        covariance_days=150,
    )
    # The settings of the fixture keep the default window of volatility refits.
    night = forecast_table(
        resolve(book, market, history_days=210),
        market,
        parameters,
        window_days=150,
        backtest_days=60,
        covariance_decay=SETTINGS.calibrate.covariance_decay,
        seed=SETTINGS.simulate.seed,
        nodes=("Alpha",),
        distributed=False,
    )
    for name in ("method", "level", "date", "var", "es", "pnl"):
        assert found.forecasts[name].to_pylist() == night[name].to_pylist()


def test_noise_after_a_day_changes_no_forecast_made_before(found, book, market):
    cut = int(np.searchsorted(market.dates, np.datetime64("2018-09-25")))
    levels = np.array(market.levels)
    moving = ~market.fixed
    levels[cut:, moving] *= np.exp(0.2 * np.random.default_rng(3).normal(size=levels[cut:, moving].shape))
    # What is known tonight enters through the book alone, which stays the same.
    levels[-1] = market.levels[-1]
    noisy = backtest(book, dataclasses.replace(market, levels=levels))
    changed = 0
    for before, after in zip(found.forecasts.to_pylist(), noisy.forecasts.to_pylist(), strict=True):
        if before["made_on"] < market.dates[cut].item():
            assert (before["var"], before["es"]) == (after["var"], after["es"])
            if before["date"] < market.dates[cut].item():
                assert before["pnl"] == after["pnl"]
        else:
            changed += before["var"] != after["var"]
    assert changed > 0


def test_a_forecast_depends_on_nothing_else_that_was_asked(found, book, market):
    alone = backtest(
        book,
        market,
        nodes=("Alpha",),
        methods=("monte_carlo_t",),
        horizons_days=(10,),
        levels=(0.99,),
    )
    mine = series(found, portfolio_id="Alpha", method="monte_carlo_t", horizon_days=10, level=0.99)
    assert alone.forecasts["var"].to_pylist() == mine["var"].to_pylist()
    assert alone.forecasts["es"].to_pylist() == mine["es"].to_pylist()


def test_the_rows_are_what_the_kernels_say(found):
    for row in found.tests:
        key = {name: row[name] for name in ("portfolio_id", "method", "level", "horizon_days")}
        mine = series(found, **key)
        losses, var, es = -mine["pnl"].to_numpy(), mine["var"].to_numpy(), mine["es"].to_numpy()
        assert row["exceptions"] == int((losses > var).sum()) == pc.sum(mine["exception"]).as_py()
        assert row["quantile_score"] == quantile_score(losses, var=var, level=row["level"]).mean()
        z2 = shortfall_statistics(losses, var=var, es=es, level=row["level"]).z2
        assert row["z2"] == float(z2)
        if row["horizon_days"] == 1:
            expected = kupiec(exceptions=row["exceptions"], days=30, level=row["level"])
            assert row["kupiec_p_value"] == expected.p_value
            assert 0 < row["z2_p_value"] <= 1
            assert row["bounds_normal_low"] is None
            assert ("250 days" in (row["note"] or "")) is (row["level"] == 0.99)
        else:
            assert row["kupiec_p_value"] is None
            assert row["z2_p_value"] is None
            assert row["bounds_normal_low"] == 0 < row["bounds_normal_high"]
            assert "overlapping" in row["note"]


def test_right_forecasts_are_rejected_by_chance_only(found):
    # The draws come from the forecasts: the mean of the drawn statistics is that of right forecasts, zero.
    for row in found.tests:
        if row["horizon_days"] == 1 and row["z2"] > 0.5:
            assert row["z2_p_value"] > 0.5


def reported(found, *, actual=0.0, hypothetical=0.0, skip=()):
    mine = series(found, portfolio_id="Alpha", method="historical", level=0.99, horizon_days=1)
    keep = [i for i in range(mine.num_rows) if i not in skip]
    gains = mine["pnl"].to_numpy()[keep]
    return pa.table(
        {
            "date": mine["date"].take(keep),
            "portfolio_id": ["Alpha"] * len(keep),
            "actual": gains + actual,
            "hypothetical": gains + hypothetical,
        }
    )


def test_reported_gains(found, book, market):
    same = backtest(book, market, horizons_days=(1,), pnl=reported(found, skip=(5,)))
    (row,) = same.attribution
    assert (row["spearman"], row["ks"], row["zone"]) == (pytest.approx(1.0, abs=1e-12), 0.0, "green")
    assert (row["days"], row["missing"]) == (29, 1)
    assert len(same.desks) == 4 * 2
    for desk in same.desks:
        mine = series(found, portfolio_id="Alpha", method=desk["method"], level=desk["level"], horizon_days=1)
        hits = [hit for i, hit in enumerate(mine["exception"].to_pylist()) if i != 5]
        assert desk["exceptions_actual"] == desk["exceptions_hypothetical"] == sum(hits)
        # A day without a reported gain counts as an exception of the desk.
        assert desk["desk_exceptions"] == sum(hits) + 1
        assert desk["desk_passes"] is True
    lost = backtest(book, market, horizons_days=(1,), pnl=reported(found, actual=-1e7))
    for desk in lost.desks:
        assert desk["exceptions_actual"] == desk["desk_exceptions"] == 30
        assert desk["desk_passes"] is (desk["level"] == 0.975)


def test_mistakes(found, book, market):
    with pytest.raises(UsageError, match="did you mean 'Alpha'"):
        backtest(book, market, nodes=("Alfa",))
    with pytest.raises(UsageError, match="'historic' is not known"):
        backtest(book, market, methods=("historic",))
    with pytest.raises(UsageError, match="no session from 2018-10-13"):
        backtest(book, market, first=dt.date(2018, 10, 13), last=dt.date(2018, 10, 14))
    with pytest.raises(MissingDataError, match="needs 159 sessions before its close; the first that can be"):
        backtest(book, market, first=dt.date(2017, 9, 1), horizons_days=(10,))
    with pytest.raises(UsageError, match="one-day horizon"):
        backtest(book, market, horizons_days=(10,), pnl=reported(found))
    other = reported(found).set_column(1, "portfolio_id", [["Hedge"] * 30])
    with pytest.raises(InputDataError, match="no row is of a tested portfolio"):
        backtest(book, market, horizons_days=(1,), pnl=other)


def test_the_first_possible_day_is_the_one_named(book, market):
    with pytest.raises(MissingDataError) as caught:
        backtest(book, market, first=dt.date(2017, 9, 1), horizons_days=(1,))
    named = dt.date.fromisoformat(str(caught.value).split("the first that can be is ")[1][:10])
    found = backtest(book, market, first=named, last=named, horizons_days=(1,), nodes=("Fund",))
    assert found.facts["days"] == 1
    assert found.comparisons == []


def test_cash_alone_has_no_risk_to_score(market):
    plain = make_book(
        positions=[("World", "CASH_EUR", 50_000.0)], CASH_EUR={"currency": "USD"}, CALL={"currency": "EUR"}
    )
    found = backtest(plain, market, nodes=("World",), horizons_days=(1,))
    assert {row["method"] for row in found.tests} == set(FORECAST_METHODS)
    for row in found.tests:
        assert (row["exceptions"], row["z2"], row["fz0_score"]) == (0, None, None)
        assert "ES was not positive on 30 days" in row["note"]


def test_a_young_position_leaves_its_portfolios_out(book, market):
    levels = np.array(market.levels)
    levels[:200, market.column("OIL")] = np.nan
    young = dataclasses.replace(market, levels=levels)
    found = backtest(book, young, nodes=("Fund", "Alpha", "Hedge"), horizons_days=(1,))
    assert [row["portfolio_id"] for row in found.facts["not_tested"]] == ["Fund", "Alpha"]
    assert "OIL_FUT" in found.facts["not_tested"][0]["reason"]
    assert {row["portfolio_id"] for row in found.tests} == {"Hedge"}
    with pytest.raises(InputDataError, match=r"none of Alpha can be tested; Alpha/Short OIL_FUT: .*OIL"):
        backtest(book, young, nodes=("Alpha",), horizons_days=(1,))


def test_a_horizon_that_needs_more_history_is_left_out_alone(book, market):
    levels = np.array(market.levels)
    first_close = int(np.searchsorted(market.dates, np.datetime64(FIRST))) - 1
    # Just enough for one day: 150 moves up to the first close.
    levels[: first_close - 150, market.column("OIL")] = np.nan
    found = backtest(book, dataclasses.replace(market, levels=levels), nodes=("Alpha",))
    assert {row["horizon_days"] for row in found.tests} == {1}
    assert [row["horizon_days"] for row in found.facts["not_tested"]] == [10]
