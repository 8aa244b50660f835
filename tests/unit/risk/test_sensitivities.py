import datetime as dt
import math

import numpy as np
import pyarrow as pa
import pytest
from scipy.stats import norm

from acceleray.domain.book import Book
from acceleray.domain.market import FactorKind
from acceleray.domain.moves import MoveKind
from acceleray.domain.tables import contract
from acceleray.errors import UsageError
from acceleray.risk.resolve import resolve
from acceleray.risk.sensitivities import MEASURES, PERCENT, interactions, sensitivities, sensitivities_of
from acceleray.risk.tables import nodes_with_positions
from acceleray.risk.valuation import position_pnl

from .conftest import AS_OF, make_book

# The cut-off of the differences is (5e-4)^4 / 30 times fifth over first derivative in units of the spot, up
# to 1e6 for options of weeks far out of the money. Measured: 6e-9 at most.
CLOSED_FORM = 1e-8


@pytest.fixture(scope="module")
def found(book, market):
    return sensitivities_of(resolve(book, market), market, distributed=False)


def rows_of(table, **where):
    return {
        (row["measure"], row["factor_id"], row["other_factor_id"]): row["value"]
        for row in table.to_pylist()
        if all(row[name] == value for name, value in where.items())
    }


def black_scholes(spot, strike, rate, dividend, vol, years):
    """Greeks of a put by their formulas (Hull, Options, Futures and Other Derivatives, 10th ed., ch. 19)."""
    root = vol * math.sqrt(years)
    d1 = (math.log(spot / strike) + (rate - dividend + vol * vol / 2) * years) / root
    d2, carry, discount = d1 - root, math.exp(-dividend * years), math.exp(-rate * years)
    density = norm.pdf(d1)
    return {
        "delta": -carry * norm.cdf(-d1),
        "gamma": carry * density / (spot * root),
        "vega": spot * carry * density * math.sqrt(years),
        "vanna": -carry * density * d2 / vol,
        "volga": spot * carry * density * math.sqrt(years) * d1 * d2 / vol,
        "rho": -strike * years * discount * norm.cdf(-d2),
        "dividend": spot * years * carry * norm.cdf(-d1),
    }


@pytest.mark.parametrize("strike", [2000.0, 2400.0, 2500.0, 2700.0])
@pytest.mark.parametrize("expiry", [dt.date(2019, 2, 15), dt.date(2019, 12, 20)])
def test_greeks_are_those_of_black_and_scholes(market, strike, expiry):
    book = make_book([("A", "PUT", 7.0)], PUT={"strike": strike, "expiry": expiry})
    rows = rows_of(sensitivities(book, market, base_currency="USD"))
    level = dict(zip(market.factor_ids, market.base, strict=True))
    years = (expiry - AS_OF).days / 365
    # Flat before the first point of the curve, so all of the rate's derivative is on it.
    greeks = black_scholes(level["SPX"], strike, level["USD.1Y"], level["Q"], level["VIX"], years)
    expected = {
        ("delta", "SPX", ""): greeks["delta"],
        ("gamma", "SPX", ""): greeks["gamma"],
        ("vega", "VIX", ""): greeks["vega"] * 0.01,
        ("cross_gamma", "SPX", "VIX"): greeks["vanna"] * 0.01,
        ("gamma", "VIX", ""): greeks["volga"] * 1e-4,
        ("dv01", "USD.1Y", ""): greeks["rho"] * 1e-4,
        ("dividend01", "Q", ""): greeks["dividend"] * 1e-4,
    }
    # Second derivatives by the vol pass through zero near the money; what they round to is 1e-16 of the spot
    # over the square of the step, small beside vega.
    rounding = {("gamma", "VIX", ""): 1e-7, ("cross_gamma", "SPX", "VIX"): 1e-9}
    for key, value in expected.items():
        slack = rounding.get(key, 0.0) * 700 * greeks["vega"] * 0.01
        assert rows[key] == pytest.approx(700 * value, rel=CLOSED_FORM, abs=slack), key


def test_a_bond_has_its_closed_form(market):
    book = make_book([("A", "BOND", 10.0)])
    rows = rows_of(sensitivities(book, market, base_currency="USD"))
    rate, spread = (market.base[market.column(name)] for name in ("AAA", "SPREAD"))
    terms = resolve(book, market, base_currency="USD").priced.now.families[0]
    flows = terms.amounts * np.exp(-(rate + spread) * terms.times) * 10
    assert rows[("dv01", "AAA", "")] == pytest.approx(-(flows * terms.times).sum() * 1e-4, rel=1e-8)
    assert rows[("cs01", "SPREAD", "")] == pytest.approx(rows[("dv01", "AAA", "")], rel=1e-8)
    # Second differences of steps of 1e-4 round at 1e-16 / (1e-4 * duration)², about 1e-9.
    for key in (("gamma", "AAA", ""), ("gamma", "SPREAD", ""), ("cross_gamma", "AAA", "SPREAD")):
        assert rows[key] == pytest.approx((flows * terms.times**2).sum() * 1e-8, rel=1e-7)


def test_linear_things_have_no_second_derivative(market):
    book = make_book([("A", "FUND", 40.0), ("A", "CASH_EUR", 50_000.0), ("A", "OIL_FUT", -2.0)])
    assert rows_of(sensitivities(book, market)) == {
        ("delta", "SPX", ""): pytest.approx(40.0, rel=1e-9),
        ("delta", "EURUSD", ""): pytest.approx(50_000.0, rel=1e-9),
        ("delta", "OIL", ""): pytest.approx(-2000.0, rel=1e-9),
        **{
            ("delta_percent", name, ""): pytest.approx(
                units * market.base[market.column(name)] / 100, rel=1e-9
            )
            for name, units in (("SPX", 40.0), ("EURUSD", 50_000.0), ("OIL", -2000.0))
        },
    }


def test_a_future_in_another_currency_is_converted_at_the_rate_of_the_day(market):
    rows = rows_of(sensitivities(make_book([("A", "SPX_FUT_EUR", 2.0)]), market, base_currency="USD"))
    # Its gain is 20 (F' - F) fx': nothing by the rate alone, the mixed derivative is 20.
    assert rows == {
        ("delta", "SPX", ""): pytest.approx(20 * market.base[market.column("EURUSD")], rel=1e-9),
        ("delta_percent", "SPX", ""): pytest.approx(
            0.2 * market.base[[market.column("EURUSD"), market.column("SPX")]].prod(), rel=1e-9
        ),
        ("cross_gamma", "EURUSD", "SPX"): pytest.approx(20.0, rel=1e-6),
    }


def test_only_what_an_instrument_shares_is_paired(book, market):
    resolution = resolve(book, market)
    depends, pairs = interactions(resolution.priced.now, market, resolution.priced.columns)
    names = np.array(market.factor_ids)
    named = {tuple(pair) for pair in names[pairs].tolist()}
    assert ("OIL", "SPX") not in named
    assert ("EURUSD", "VIX") not in named
    assert {("EURUSD", "SPX"), ("SPX", "VIX"), ("AAA", "SPREAD")} <= named
    columns = names[resolution.priced.columns]
    by_name = {
        name: set(columns[depends[row]].tolist()) for row, name in enumerate(resolution.instrument_ids)
    }
    assert by_name["OIL_FUT"] == {"OIL"}
    assert by_name["BOND"] == {"AAA", "SPREAD"}
    assert by_name["PUT"] == {"SPX", "VIX", "Q", "USD.1Y"}
    assert by_name["CASH_EUR"] == {"EURUSD"}


def test_the_expansion_in_moves_meets_small_moves(book, market, found):
    quadratic = found.by_moves()
    rng = np.random.default_rng(3)
    direction = rng.standard_normal(market.base.size) * np.where(market.move_kinds == MoveKind.LOG, 1.0, 0.01)
    direction[market.fixed] = 0.0
    errors = []
    for size in (0.02, 0.01, 0.005):
        move = size * direction
        shocked = np.where(market.move_kinds == MoveKind.LOG, market.base * np.exp(move), market.base + move)
        gain = position_pnl(found.resolution.priced, shocked[None], market.base[None]).sum()
        errors.append(abs(gain - quadratic.gradient @ move - move @ quadratic.hessian @ move / 2))
    # What is left is of third order: half the move leaves an eighth.
    assert errors[0] / errors[1] == pytest.approx(8, rel=0.2)
    assert errors[1] / errors[2] == pytest.approx(8, rel=0.2)
    np.testing.assert_array_equal(quadratic.hessian, quadratic.hessian.T)
    assert not quadratic.gradient[market.fixed].any()


def test_nodes_add_up_and_blocks_follow_the_contract(book, market, found):
    nodes = nodes_with_positions(found.resolution)
    table = found.table(nodes)
    assert table.schema.equals(contract("result.sensitivities").schema)
    keys = [
        tuple(row.values()) for row in table.select(list(contract("result.sensitivities").key)).to_pylist()
    ]
    assert len(set(keys)) == len(keys)
    assert set(table["portfolio_id"].to_pylist()) == set(nodes)
    whole = rows_of(table, portfolio_id="Fund")
    parts = [rows_of(table, portfolio_id=name) for name in ("Alpha", "Hedge", "Rates", "World")]
    for key, value in whole.items():
        held = [part.get(key, 0.0) for part in parts]
        assert value == pytest.approx(sum(held), abs=1e-12 * max(map(abs, held))), key
    assert 0.0 not in table["value"].to_pylist()
    assert {row["measure"] for row in table.to_pylist()} == {
        *(unit.measure for unit in (*MEASURES.values(), PERCENT)),
        "gamma", "gamma_percent", "cross_gamma", "theta",
    }  # fmt: skip


def test_per_cent_is_the_derivative_times_a_hundredth_of_the_level(market, found):
    rows = rows_of(found.table(["Fund"]))
    deltas = {factor: value for (measure, factor, _), value in rows.items() if measure == "delta"}
    assert deltas.keys() == {factor for (measure, factor, _) in rows if measure == "delta_percent"}
    for factor, delta in deltas.items():
        step = 0.01 * market.base[market.column(factor)]
        assert rows["delta_percent", factor, ""] == pytest.approx(delta * step, rel=1e-14)
        if ("gamma", factor, "") in rows:
            gamma = rows["gamma", factor, ""]
            assert rows["gamma_percent", factor, ""] == pytest.approx(gamma * step**2, rel=1e-14)
    # Vols and rates have units of their own.
    assert {factor for (measure, factor, _) in rows if measure == "gamma_percent"} <= deltas.keys()


def test_positions_add_up_to_their_portfolio(book, market, found):
    rows = sensitivities(book, market, portfolio_id="Hedge", by_position=True)
    assert set(rows["instrument_id"].to_pylist()) == {"CALL", "PUT"}
    whole = rows_of(found.table(["Hedge"]))
    for key, value in whole.items():
        parts = [
            row["value"]
            for row in rows.to_pylist()
            if (row["measure"], row["factor_id"], row["other_factor_id"]) == key
        ]
        # Second differences round: positions of opposite sign cancel.
        assert sum(parts) == pytest.approx(value, rel=1e-5, abs=1e-6 * max(map(abs, parts))), key
    with pytest.raises(UsageError, match="by portfolio"):
        found.positions()


def test_theta_is_one_day_of_carry(market):
    book = make_book([("A", "BOND", 10.0), ("A", "CASH_EUR", 1.0)])
    theta = rows_of(sensitivities(book, market))[("theta", "", "")]
    bond = resolve(book, market).priced.now.families[-1]
    yields = market.base[market.column("AAA")] + market.base[market.column("SPREAD")]
    values = bond.amounts * np.exp(-yields * bond.times)
    assert theta == pytest.approx(10 * (values * np.expm1(yields / 365)).sum(), rel=1e-9)


def test_what_expires_tomorrow_earns_its_payoff(market):
    spot = market.base[market.column("SPX")]
    expiry = AS_OF + dt.timedelta(days=1)
    book = make_book([("A", "PUT", 1.0)], PUT={"strike": spot + 50.0, "expiry": expiry})
    found = sensitivities_of(resolve(book, market, base_currency="USD"), market, distributed=False)
    price = float(found.resolution.priced.now.prices(market.base[:, None], 0, 1)[0, 0])
    assert found.theta[0] == pytest.approx(100 * (50.0 - price), rel=1e-9)


def test_a_fund_adds_its_holdings_up(market):
    plain = make_book([("A", "FUND", 4.0)])
    holdings = pa.table(
        {"fund_id": ["FUND"] * 3, "instrument_id": ["BOND", "PUT", "CASH_EUR"], "weight": [0.5, 0.2, 0.1]}
    )
    book = Book(positions=plain.positions, instruments=plain.instruments, holdings=holdings)
    resolution = resolve(book, market, base_currency="USD")
    _, pairs = interactions(resolution.priced.now, market, resolution.priced.columns)
    named = {tuple(pair) for pair in np.array(market.factor_ids)[pairs].tolist()}
    assert ("AAA", "SPX") not in named
    assert ("AAA", "SPREAD") in named
    rows = rows_of(sensitivities(book, market, base_currency="USD"))
    value = 4.0 * market.base[market.column("SPX")]
    rate = market.base[market.column("EURUSD")]
    assert rows[("delta", "EURUSD", "")] == pytest.approx(0.1 * value / rate, rel=1e-9)


def test_an_unknown_node_is_refused(book, market):
    with pytest.raises(UsageError, match="no priced position below 'Beta'"):
        sensitivities(book, market, portfolio_id="Beta")


def test_every_kind_of_factor_has_a_measure():
    assert set(MEASURES) == set(FactorKind)
