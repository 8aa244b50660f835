"""Figures against NAV and benchmark, each recomputed from its definition."""

import numpy as np
import pyarrow as pa
import pytest

from acceleray.config.models import SimulateSettings
from acceleray.domain.scenario import Historical, MonteCarlo
from acceleray.domain.tables import contract
from acceleray.risk.active import Active
from acceleray.risk.benchmarks import resolve_benchmarks
from acceleray.risk.blocks import Job
from acceleray.risk.market import measured, revalue
from acceleray.risk.portfolio import portfolio_table
from acceleray.risk.revaluation import revaluations
from acceleray.risk.tables import nodes_with_positions, values_table

from .conftest import make_book
from .test_benchmarks import weights

SETTINGS = SimulateSettings(participation=0.25)


def portfolios(*rows):
    names = ("portfolio_id", "nav", "benchmark_id")
    rows = [dict(zip(names, row, strict=True)) for row in rows]
    return pa.Table.from_pylist(rows, schema=contract("raw.portfolios").schema)


def against(pnl, market, *rows):
    """Revalue benchmarks under the plan of a book."""
    found = resolve_benchmarks(
        weights(*rows),
        {row[0] for row in rows},
        pnl.resolution.book,
        market,
        base_currency="USD",
        history_days=10,
    )
    job = Job(book=found.resolution.priced, plan=pnl.job.plan)
    (gains,) = revaluations([job], market.base, distributed=False)
    return Active(benchmarks=found, pnl=measured(found.resolution, pnl.labels, job, gains, market.base))


def figures(pnl, market, given, active=None, settings=SETTINGS):
    nodes = nodes_with_positions(pnl.resolution)
    values = values_table(pnl.resolution, market)
    table = portfolio_table(pnl, market, values, given, nodes, settings, active)
    assert table.schema == contract("result.portfolio").schema
    rows = table.to_pylist()
    found = {(row["portfolio_id"], row["measure"], row["member_id"]): row for row in rows}
    assert len(found) == len(rows)
    assert all(row["note"] for row in rows)
    return found


@pytest.fixture(scope="module")
def pnl(market, book):
    return revalue(book, market, Historical(window_days=300))


@pytest.fixture(scope="module")
def found(pnl, market):
    return figures(pnl, market, portfolios(("Fund", 2e5, None)))


def test_shares_are_of_the_given_nav_or_of_the_market_value(pnl, market, found):
    values = values_table(pnl.resolution, market).to_pylist()
    worth = {row["instrument_id"]: row["market_value"] for row in values}
    assert found["Fund", "nav", ""]["value"] == 2e5
    assert found["Fund", "market_value", ""]["value"] == pytest.approx(sum(worth.values()), rel=1e-15)
    assert found["Rates", "nav", ""]["value"] == worth["BOND"]
    assert "no NAV is given" in found["Rates", "nav", ""]["note"]
    var = pnl.var(0.99, "Fund")
    row = found["Fund", "VaR", ""]
    assert (row["value"], row["ci_low"], row["unit"]) == (var.value / 2e5, var.ci_low / 2e5, "share")
    assert found["Rates", "ES", ""]["value"] == pnl.es(0.975, "Rates").value / worth["BOND"]


def test_nothing_is_a_share_of_no_capital(found):
    # Futures only: they have no market value.
    row = found["Alpha/Short", "VaR", ""]
    assert row["value"] is None
    assert row["note"] == "no value: the NAV is 0 (the market value, because no NAV is given)"
    assert found["Alpha/Short", "gross_leverage", ""]["value"] is None
    assert found["Alpha/Short", "gross_exposure", ""]["value"] > 0


def test_leverage_is_delta_exposure_over_nav(pnl, market, found):
    exposure = {
        row["instrument_id"]: row["exposure"] for row in values_table(pnl.resolution, market).to_pylist()
    }
    gross, net = sum(map(abs, exposure.values())), sum(exposure.values())
    assert found["Fund", "gross_leverage", ""]["value"] == pytest.approx(gross / 2e5, rel=1e-14)
    assert found["Fund", "net_leverage", ""]["value"] == pytest.approx(net / 2e5, rel=1e-14)


def test_the_same_instrument_in_two_portfolios_is_netted_above_them(market):
    book = make_book([("A/Long", "FUND", 40.0), ("A/Short", "FUND", -30.0)], FUND={"adv": 8.0})
    pnl = revalue(book, market, Historical(window_days=100))
    found = figures(pnl, market, portfolios(("A", 1e6, None)))
    spot = market.base[market.column("SPX")]
    assert found["A", "gross_exposure", ""]["value"] == pytest.approx(10 * spot)
    assert found["A", "gross_leverage", ""]["value"] == pytest.approx(10 * spot / 1e6)
    assert found["A/Short", "net_exposure", ""]["value"] == pytest.approx(-30 * spot)
    # Ten units at a quarter of eight a day.
    assert found["A", "days_to_liquidate_largest", ""]["value"] == 5.0
    assert found["A/Short", "days_to_liquidate_mean", ""]["value"] == 15.0


def test_days_to_liquidate_name_the_slowest_and_count_what_is_unknown(market):
    positions = [("A", "FUND", 40.0), ("A", "BOND", 100.0), ("A", "CASH_EUR", 5.0), ("B", "CALL", 1.0)]
    book = make_book(positions, FUND={"adv": 8.0}, BOND={"adv": 1000.0})
    pnl = revalue(book, market, Historical(window_days=100))
    found = figures(pnl, market, portfolios())
    worth = {
        row["instrument_id"]: row["market_value"] for row in values_table(pnl.resolution, market).to_pylist()
    }
    largest = found["A", "days_to_liquidate_largest", ""]
    assert (largest["value"], largest["unit"]) == (20.0, "days")
    assert largest["note"].startswith("FUND: trading 0.25 of")
    mean = (20.0 * worth["FUND"] + 0.4 * worth["BOND"]) / (worth["FUND"] + worth["BOND"])
    assert found["A", "days_to_liquidate_mean", ""]["value"] == pytest.approx(mean, rel=1e-14)
    assert found["A", "instruments_without_adv", ""]["value"] == 0.0
    unknown = found["Fund", "instruments_without_adv", ""]
    assert (unknown["value"], unknown["note"].split(";")[0]) == (1.0, "CALL")
    assert "1 instruments without adv are not in it" in found["Fund", "days_to_liquidate_mean", ""]["note"]
    assert found["B", "days_to_liquidate_largest", ""]["value"] is None


def test_currency_exposure_before_and_after_hedges(market):
    positions = [("A", "CASH_EUR", -2000.0), ("A", "FUND", 3.0), ("A", "EUR_FUT", -1.0)]
    changes = {
        "FUND": {"currency": "EUR"},
        "EUR_FUT": {"kind": "future", "factor_id": "EURUSD", "multiplier": 1000.0,
                    "expiry": make_book().instrument_rows["OIL_FUT"]["expiry"]},
    }  # fmt: skip
    book = _with(changes, positions)
    pnl = revalue(book, market, Historical(window_days=100), base_currency="USD")
    found = figures(pnl, market, portfolios())
    rate, spot = (market.base[market.column(name)] for name in ("EURUSD", "SPX"))
    before = found["A", "fx_exposure_before_hedges", "EUR"]
    after = found["A", "fx_exposure_after_hedges", "EUR"]
    assert before["value"] == pytest.approx(3.0 * spot * rate, rel=1e-9)
    assert after["value"] == pytest.approx((3.0 * spot - 2000.0 - 1000.0) * rate, rel=1e-9)


def _with(changes, positions):
    book = make_book(positions[:0], FUND=changes["FUND"])
    rows = book.instruments.to_pylist()
    template = dict.fromkeys(rows[0])
    rows.append({**template, "instrument_id": "EUR_FUT", "currency": "USD", **changes["EUR_FUT"]})
    held = {
        "portfolio_id": [row[0] for row in positions],
        "instrument_id": [row[1] for row in positions],
        "quantity": [row[2] for row in positions],
    }
    return type(book).from_tables(pa.table(held), pa.Table.from_pylist(rows, schema=book.instruments.schema))


def test_no_currency_no_row(found):
    assert not [key for key in found if key[:2] == ("Rates", "fx_exposure_after_hedges")]


def test_issuers_are_netted_and_the_largest_is_named(market):
    book = make_book(FUND={"issuer_id": "ACME"}, SPX_FUT={"issuer_id": "ACME"}, BOND={"issuer_id": "STATE"})
    pnl = revalue(book, market, Historical(window_days=100))
    exposure = {
        row["instrument_id"]: row["exposure"] for row in values_table(pnl.resolution, market).to_pylist()
    }
    found = figures(pnl, market, portfolios(("Fund", 1e6, None)))
    row = found["Fund", "issuer_largest", ""]
    sums = {"ACME": exposure["FUND"] + exposure["SPX_FUT"], "STATE": exposure["BOND"]}
    name = max(sums, key=lambda issuer: abs(sums[issuer]))
    assert row["value"] == pytest.approx(abs(sums[name]) / 1e6, rel=1e-14)
    assert row["note"].startswith(f"{name}: ")
    assert "4 instruments without issuer_id are not in it" in row["note"]
    unknown = found["Fund", "instruments_without_issuer", ""]
    assert (unknown["value"], unknown["unit"]) == (4.0, "count")
    assert unknown["note"].startswith("CALL, OIL_FUT, PUT, SPX_FUT_EUR;")
    assert found["Hedge", "issuer_largest", ""]["value"] is None


def test_active_figures_follow_from_the_paths(pnl, market):
    active = against(pnl, market, ("MIX", "FUND", 0.5), ("MIX", "BOND", 0.4))
    found = figures(pnl, market, portfolios(("Fund", 3e5, "MIX"), ("Alpha", None, None)), active)
    shocked = pnl.job.plan.levels(0)
    spot = market.column("SPX")
    fund = shocked[:, spot] / market.base[spot] - 1.0
    rows = list(pnl.resolution.book.instrument_ids)
    worth = {
        row["instrument_id"]: row["market_value"] for row in values_table(pnl.resolution, market).to_pylist()
    }
    bond = pnl.cube[rows.index("BOND")] / worth["BOND"]
    gains = pnl.cube.sum(axis=0) - 3e5 * (0.5 * fund + 0.4 * bond)
    error = found["Fund", "tracking_error", ""]
    assert error["value"] == pytest.approx(gains.std(ddof=1) / 3e5 * np.sqrt(252), rel=1e-12)
    assert error["ci_low"] < error["value"] < error["ci_high"]
    plain = found["Fund", "tracking_error_horizon", ""]
    assert plain["value"] == pytest.approx(gains.std(ddof=1) / 3e5, rel=1e-12)
    # ceil(300 * 0.99) = 297; the worst 7.5 of 300 paths.
    ordered = np.sort(-gains)
    assert found["Fund", "active_VaR", ""]["value"] == pytest.approx(ordered[296], rel=1e-12)
    tail = (ordered[293:].sum() + 0.5 * ordered[292]) / 7.5
    assert found["Fund", "active_ES", ""]["value"] == pytest.approx(tail, rel=1e-12)
    assert found["Fund", "active_ES", ""]["ci_low"] is not None
    for name in ("active_VaR", "active_ES"):
        parts = {key[2]: row["value"] for key, row in found.items() if key[:2] == ("Fund", name) and key[2]}
        assert set(parts) == set(rows)
        assert sum(parts.values()) == pytest.approx(found["Fund", name, ""]["value"], rel=1e-12)
    assert ("Alpha", "active_VaR", "") not in found


def test_a_portfolio_that_holds_its_benchmark_has_no_active_risk(market):
    book = make_book([("A", "FUND", 4.0)])
    pnl = revalue(book, market, MonteCarlo(n_paths=500, seed=3), block_size=128)
    active = against(pnl, market, ("SPX", "FUND", 1.0))
    found = figures(pnl, market, portfolios(("A", None, "SPX")), active)
    nav = found["A", "nav", ""]["value"]
    # Rounding of gains of a few percent of the NAV.
    assert found["A", "active_ES", ""]["value"] == pytest.approx(0.0, abs=1e-12 * nav)
    assert found["A", "tracking_error", ""]["value"] == pytest.approx(0.0, abs=1e-12)
    assert found["A", "active_ES", "FUND"]["value"] == pytest.approx(0.0, abs=1e-12 * nav)


def test_overlapping_paths_have_no_interval_of_tracking_error(book, market):
    pnl = revalue(book, market, Historical(window_days=200, horizon_days=10))
    active = against(pnl, market, ("MIX", "FUND", 1.0))
    row = figures(pnl, market, portfolios(("Fund", 3e5, "MIX")), active)["Fund", "tracking_error", ""]
    assert (row["ci_low"], row["ci_high"]) == (None, None)
    assert "interval none: moves of 10 days overlap" in row["note"]
    assert "square root of 252/10" in row["note"]


def test_what_has_no_benchmark_or_capital_has_no_active_figures(pnl, market):
    active = against(pnl, market, ("FUT", "SPX_FUT", 1.0), ("SPX", "FUND", 1.0))
    found = figures(pnl, market, portfolios(("Fund", 3e5, "FUT"), ("Alpha/Short", None, "SPX")), active)
    row = found["Fund", "active_VaR", ""]
    assert row["value"] is None
    assert row["note"].startswith("no value: benchmark 'FUT': constituent 'SPX_FUT' is a future")
    assert found["Alpha/Short", "active_VaR", ""]["note"].startswith("no value: the NAV is 0")


def test_positions_that_are_left_out_are_said_beside_every_figure(market):
    book = make_book(PUT={"discount_curve": "NOWHERE"})
    pnl = revalue(book, market, Historical(window_days=100))
    found = figures(pnl, market, portfolios())
    assert found["Hedge", "VaR", ""]["note"].endswith("1 positions are left out")
    assert "left out" not in found["Rates", "VaR", ""]["note"]


def test_gains_that_were_not_kept_give_the_same_figures(book, market):
    kept, dropped = (
        revalue(book, market, Historical(window_days=300), keep_positions=keep) for keep in (True, False)
    )
    rows = [("MIX", "FUND", 1.0)]
    given = portfolios(("Fund", 3e5, "MIX"))
    one = figures(kept, market, given, against(kept, market, *rows))
    assert one == figures(dropped, market, given, against(dropped, market, *rows))


@pytest.mark.parametrize("sampler", ["sobol", "importance"])
def test_other_samplers_agree_with_plain_paths(book, market, sampler):
    rows, given = [("MIX", "FUND", 0.8), ("MIX", "BOND", 0.2)], portfolios(("Fund", 3e5, "MIX"))
    plain = revalue(book, market, MonteCarlo(n_paths=20_000, seed=4), block_size=1024)
    other = revalue(book, market, MonteCarlo(n_paths=20_000, seed=5, sampler=sampler), block_size=1024)
    assert (other.labels.weights is not None) == (sampler == "importance")
    one = figures(plain, market, given, against(plain, market, *rows))
    two = figures(other, market, given, against(other, market, *rows))
    for name in ("tracking_error", "active_VaR", "active_ES"):
        mine, theirs = one["Fund", name, ""], two["Fund", name, ""]
        # Two independent samples: the difference within twice the sum of their 95 % half-widths.
        room = (mine["ci_high"] - mine["ci_low"]) + (theirs["ci_high"] - theirs["ci_low"])
        assert abs(mine["value"] - theirs["value"]) < room, name
        parts = [row["value"] for key, row in two.items() if key[:2] == ("Fund", name) and key[2]]
        if parts:
            assert sum(parts) == pytest.approx(theirs["value"], rel=1e-9)
