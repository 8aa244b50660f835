import dataclasses

import numpy as np
import pytest
from tests.slow_book import american, slow_book

from acceleray.domain.scenario import FilteredHistorical, Historical
from acceleray.numerics.volatility import simulate_paths
from acceleray.risk import forecast_blocks, stand_ins
from acceleray.risk.blocks import Job
from acceleray.risk.calibration import calibrate_risk
from acceleray.risk.forecasts import FORECAST_METHODS, forecast_days, forecast_table
from acceleray.risk.parameters import RiskParameters
from acceleray.risk.plans import prepare
from acceleray.risk.resolve import resolve
from acceleray.risk.results import Pnl
from acceleray.risk.revaluation import revaluations
from acceleray.risk.valuation import position_pnl

from .test_parameters import SETTINGS

NODES = ("Alpha", "Fund")
DAYS = 30


def forecast(book, market, parameters, **options):
    return forecast_table(
        resolve(book, market, history_days=150 + DAYS),
        market,
        parameters,
        window_days=150,
        backtest_days=DAYS,
        covariance_decay=0.97,
        seed=5,
        nodes=NODES,
        distributed=False,
        **options,
    )


@pytest.fixture(scope="module")
def parameters(market):
    tables = calibrate_risk(market, SETTINGS, distributed=False)
    return RiskParameters.from_tables(market, *tables.values(), volatility_days=300, covariance_days=150)


@pytest.fixture(scope="module")
def table(book, market, parameters):
    return forecast(book, market, parameters)


def pick(table, **wanted):
    return [row for row in table.to_pylist() if all(row[name] == value for name, value in wanted.items())]


def test_every_node_method_level_and_day(table, market):
    assert table.num_rows == len(NODES) * len(FORECAST_METHODS) * 2 * DAYS
    days = {row["date"] for row in table.to_pylist()}
    assert days == set(market.dates[-DAYS:].tolist())


def test_the_gain_is_that_of_the_day(table, book, market):
    found = resolve(book, market)
    realised = position_pnl(found.priced, market.levels[-DAYS:], market.levels[-DAYS - 1 : -1]).sum(axis=0)
    rows = pick(table, portfolio_id="Fund", method="historical", level=0.99)
    np.testing.assert_allclose([row["pnl"] for row in rows], realised, rtol=1e-9)


@pytest.mark.parametrize("back", [1, 12, DAYS])
def test_a_forecast_is_last_nights_figure(table, book, market, parameters, back):
    """The plain witness: cut the market at the eve, and simulate as on any night."""
    row = market.dates.size - back
    eve = dataclasses.replace(
        market, as_of=market.dates[row - 1].item(), dates=market.dates[:row], levels=market.levels[:row]
    )
    # Today's static book: times to expiry are those of today.
    found = resolve(book, market)
    for method, scenarios in (
        ("historical", Historical(window_days=150)),
        ("filtered_historical", FilteredHistorical(window_days=150)),
    ):
        plan, labels = prepare(scenarios, eve, parameters, block_size=1000)
        job = Job(book=found.priced, plan=plan)
        (gains,) = revaluations([job], eve.base, distributed=False)
        pnl = Pnl(
            resolution=found,
            labels=labels,
            by_portfolio=gains.by_portfolio,
            by_position=gains.by_position,
            job=job,
            base=eve.base,
        )
        for level in (0.975, 0.99):
            (expected,) = pick(
                table, portfolio_id="Alpha", method=method, level=level, date=market.dates[row].item()
            )
            assert expected["var"] == pytest.approx(pnl.var(level, "Alpha").value, rel=1e-12)


def test_the_covariance_method_enters_monte_carlo_only(table, book, market, parameters):
    shrunk = forecast(book, market, parameters, covariance_method="shrinkage")
    for before, after in zip(table.to_pylist(), shrunk.to_pylist(), strict=True):
        # Another covariance of 150 days moves a forecast, but by no more than a factor of two.
        assert (before["var"] != after["var"]) == before["method"].startswith("monte_carlo")
        assert 0.5 < after["var"] / before["var"] < 2.0


def test_no_forecast_knows_its_own_day_or_later(table, book, market, parameters):
    cut = market.dates.size - 10
    levels = np.array(market.levels)
    moving = ~market.fixed
    noise = np.random.default_rng(3).normal(size=levels[cut:, moving].shape)
    levels[cut:, moving] *= np.exp(0.2 * noise)
    noisy = forecast(book, dataclasses.replace(market, levels=levels), parameters_known_by(parameters, 379))
    clean = forecast(book, market, parameters_known_by(parameters, 379))
    changed = 0
    for before, after in zip(clean.to_pylist(), noisy.to_pylist(), strict=True):
        if before["date"] <= market.dates[cut].item():
            assert before["var"] == after["var"]
        else:
            changed += before["var"] != after["var"]
    assert changed > 0


def parameters_known_by(parameters, row):
    """Keep the fits made at or before a row, as a night of that day had them."""
    fits = parameters.volatility
    keep = fits.fitted_rows <= row
    return dataclasses.replace(
        parameters,
        volatility=dataclasses.replace(
            fits,
            **{
                name: getattr(fits, name)[keep]
                for name in (
                    "fitted_rows",
                    "omega",
                    "alpha",
                    "gamma",
                    "beta",
                    "initial_variance",
                    "first_rows",
                )
            },
        ),
    )


def test_longer_forecasts_run_the_recursion_that_was_chosen(book, market, parameters, monkeypatch):
    seen = []

    def recorded(*args, gamma, **how):
        seen.append(gamma)
        return simulate_paths(*args, gamma=gamma, **how)

    monkeypatch.setattr(forecast_blocks, "simulate_paths", recorded)
    resolution = resolve(book, market, history_days=160)
    gamma = np.full_like(parameters.volatility.gamma, 0.02)
    forecast_days(
        resolution, market, dataclasses.replace(parameters.volatility, gamma=gamma),
        rows=(market.dates.size - 1, market.dates.size), window_days=150, covariance_decay=0.97, seed=1,
        nodes=("Fund",), distributed=False, horizon_days=3, methods=("filtered_historical",),
    )  # fmt: skip
    (found,) = seen
    assert found.size > 0
    np.testing.assert_array_equal(found, 0.02)


def test_tails_are_ordered(table):
    for method in FORECAST_METHODS:
        wide = [row["var"] for row in pick(table, portfolio_id="Fund", method=method, level=0.99)]
        narrow = [row["var"] for row in pick(table, portfolio_id="Fund", method=method, level=0.975)]
        assert (np.array(wide) >= np.array(narrow)).all()


def test_american_options_are_forecast_from_tables_within_their_error(market, parameters, monkeypatch):
    pytest.importorskip("QuantLib")
    resolution = resolve(slow_book([american("PUT")]), market, base_currency="USD", history_days=152)

    def run():
        return forecast_days(
            resolution,
            market,
            parameters.volatility,
            rows=(market.dates.size - 2, market.dates.size),
            window_days=150,
            covariance_decay=0.97,
            seed=5,
            nodes=("Fund",),
            distributed=False,
            methods=("historical", "monte_carlo_t"),
        )

    exact = run()
    monkeypatch.setattr(stand_ins, "FEW_PRICES", 300)
    tabulated = run()
    # Thirty puts and a tolerance of 1e-5 of the strike; no order statistic moves by more than its losses.
    for name in ("var", "es", "pnl"):
        difference = np.abs(getattr(tabulated, name) - getattr(exact, name)).max()
        assert 0.0 < difference <= 30 * 2500 * 1e-5
