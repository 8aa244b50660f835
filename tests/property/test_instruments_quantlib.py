"""Thousands of random instruments of every kind, before and after shocks, against QuantLib."""

from __future__ import annotations

import datetime as dt

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import assume, example, given, settings
from hypothesis import strategies as st
from tests.quantlib_book import (
    BASE,
    CURVES,
    NODE_DAYS,
    Oracle,
    draw_instrument,
    draw_levels,
    fx,
    make_book,
    make_market,
    node,
)
from tests.quantlib_rates import AS_OF, COUNTS, is_no_witness, qday, ql
from tests.sampling import sample

import acceleray as ar
from acceleray.domain.schedule import coupon_periods
from acceleray.risk.cash_flows import settlement_date
from acceleray.risk.resolve import aged, resolve
from acceleray.risk.valuation import position_pnl, position_values

KINDS = ("bond", "cash", "equity", "floater", "fund", "future", "fx_forward", "index", "option", "swap")
# Of each kind, 4,000 of all in a sample.
N_INSTRUMENTS = sample(400, of=2000)
N_SCENARIOS = 3

# Of face, spot or strike. Both sides add up to some hundred terms of that size, each rounded to 1e-16, and a
# gain is the difference of two such sums; the largest error found is 2e-14.
TOLERANCE = 1e-12


@pytest.fixture(autouse=True)
def par_coupons():
    ql.IborCoupon.createAtParCoupons()
    ql.Settings.instance().evaluationDate = qday(AS_OF)


def given_levels(scenarios):
    """Scenario sets as a user hands them over."""
    return ar.Given(
        table=pa.Table.from_pylist(
            [
                {"scenario": f"S{i}", "factor_id": name, "value": value}
                for i, levels in enumerate(scenarios)
                for name, value in levels.items()
            ]
        )
    )


class Witness:
    """QuantLib's prices, exchange rates and sizes: one row per instrument, base levels first."""

    def __init__(self, rows, scenarios, *, horizon=None, residuals=None):
        oracle = Oracle(scenarios[0])
        residuals = [0.0] * len(rows) if residuals is None else residuals
        now = [oracle.pricer(row, residual=own) for row, own in zip(rows, residuals, strict=True)]
        # Instruments of an aged book are other ones: what was paid or fixed on the way is known.
        then = now if horizon is None else [oracle.pricer(row, horizon=horizon) for row in rows]
        found = []
        for levels in scenarios:
            first = levels is scenarios[0]
            oracle.move(levels, AS_OF if first or horizon is None else horizon)
            found.append(
                [
                    (price(), oracle.rate(row["currency"]), oracle.size(row))
                    for price, row in zip(now if first else then, rows, strict=True)
                ]
            )
        self.prices, self.rates, self.sizes = np.moveaxis(np.array(found), (0, 1, 2), (2, 1, 0))
        self.units = np.array([row["multiplier"] for row in rows])
        self.is_future = np.array([row["kind"] == "future" for row in rows])

    def values(self):
        """Market value of one contract in base currency."""
        return np.where(self.is_future, 0.0, self.units * self.prices[:, 0] * self.rates[:, 0])

    def gains(self):
        """Gain of one contract; that of a future is converted at the rate of the day."""
        before = np.where(self.is_future[:, None], self.rates[:, 1:], self.rates[:, :1])
        gains = self.prices[:, 1:] * self.rates[:, 1:] - self.prices[:, :1] * before
        return self.units[:, None] * gains

    def errors(self, found, expected):
        """Largest error of each instrument over its size."""
        error = np.abs(found - expected).reshape(self.units.size, -1).max(axis=1)
        return error / (self.units * (self.sizes * self.rates).max(axis=1))


@pytest.fixture(scope="module")
def thousands():
    """Instruments of every kind: kinds, errors of base values, and errors of gains after three shocks."""
    ql.IborCoupon.createAtParCoupons()
    rng = np.random.default_rng(11)
    scenarios = [draw_levels(rng) for _ in range(1 + N_SCENARIOS)]
    rows = [draw_instrument(kind, rng, scenarios[0]) for kind in KINDS for _ in range(N_INSTRUMENTS)]
    quantities = rng.choice([-3.0, 1.0, 7.0], len(rows))
    book, market = make_book(rows, quantities), make_market(scenarios[0])
    pnl = ar.revalue(book, market, given_levels(scenarios[1:]), base_currency=BASE)
    assert pnl.excluded == ()
    values = position_values(pnl.resolution.priced, market.base[None, :])[:, 0]
    theirs = Witness(rows, scenarios)
    return (
        np.array([row["kind"] for row in rows]),
        theirs.errors(values / quantities, theirs.values()),
        theirs.errors(pnl.cube / quantities[:, None], theirs.gains()),
    )


@pytest.mark.parametrize("kind", KINDS)
def test_prices_and_gains(kind, thousands):
    kinds, of_values, of_gains = thousands
    assert np.sum(kinds == kind) == N_INSTRUMENTS
    assert of_values[kinds == kind].max() <= TOLERANCE
    assert of_gains[kinds == kind].max() <= TOLERANCE


@pytest.mark.parametrize("horizon_days", [1, 30])
def test_gains_at_a_horizon(horizon_days):
    """Payments, fixings and expiries on the way; QuantLib stands on the horizon date."""
    rng = np.random.default_rng(12)
    scenarios = [draw_levels(rng) for _ in range(2)]
    rows = [draw_instrument(kind, rng, scenarios[0]) for kind in KINDS for _ in range(150)]
    # QuantLib forgets what went ex on the way.
    rows = [row | {"ex_coupon_days": None} if "ex_coupon_days" in row else row for row in rows]
    book, market = make_book(rows, np.ones(len(rows))), make_market(scenarios[0])
    resolution = resolve(book, market, base_currency=BASE)
    assert resolution.reasons == (None,) * len(rows)
    horizon = AS_OF + dt.timedelta(days=horizon_days)
    shocked = make_market(scenarios[1]).base[None, :]
    gains = position_pnl(aged(resolution, market, horizon), shocked, market.base[None, :])
    theirs = Witness(rows, scenarios, horizon=horizon)
    errors = theirs.errors(gains, theirs.gains())
    assert errors.max() <= TOLERANCE, rows[int(errors.argmax())]
    expired = [row for row in rows if row["kind"] == "option" and AS_OF < row["expiry"] <= horizon]
    assert horizon_days == 1 or len(expired) > 10


def test_market_prices_are_met_and_the_residual_stays():
    rng = np.random.default_rng(13)
    scenarios = [draw_levels(rng) for _ in range(2)]
    oracle = Oracle(scenarios[0])
    rows, residuals = [], []
    while len(rows) < 300:
        kind = ("bond", "floater", "option")[len(rows) % 3]
        row = draw_instrument(kind, rng, scenarios[0])
        if kind == "option":
            residual, lasts = float(rng.uniform(-0.02, 0.3)), (row["expiry"] - AS_OF).days
            near = 0.8 < row["strike"] / oracle.spot(row) < 1.25
            if lasts < 30 or not near or oracle.vol(row) + residual < 0.1:
                continue  # a price without time value tells nothing about a vol
            price = oracle.pricer(row, residual=residual)()
        else:
            residual = float(rng.uniform(-0.01, 0.05))
            if (row["maturity"] - AS_OF).days < 30 or _fixes_before_settlement(row):
                continue  # no quote, or an accrued interest that QuantLib projects
            price = oracle.clean_price(row, residual)
        rows.append(row | {"market_price": price})
        residuals.append(residual)
    book, market = make_book(rows, np.ones(len(rows))), make_market(scenarios[0])
    pnl = ar.revalue(book, market, given_levels(scenarios[1:]), base_currency=BASE)
    assert pnl.excluded == ()
    found = np.array([pnl.resolution.residuals[name] for name in book.instrument_ids])
    # The quote determines a spread up to its rounding over the life that is left, a month at least.
    assert found == pytest.approx(np.array(residuals), abs=1e-11)
    theirs = Witness(rows, scenarios, residuals=residuals)
    # A vol of a falling level is not taken through zero, which QuantLib is not told.
    assert theirs.errors(pnl.cube, theirs.gains()).max() <= 1e-10


def test_funds_move_with_what_they_hold():
    rng = np.random.default_rng(14)
    scenarios = [draw_levels(rng) for _ in range(1 + N_SCENARIOS)]
    inside = [draw_instrument(kind, rng, scenarios[0]) for kind in ("equity", "bond") for _ in range(20)]
    funds = [draw_instrument("fund", rng, scenarios[0]) for _ in range(40)]
    names = [f"I{i:06d}" for i in range(len(inside) + len(funds))]
    weights = rng.dirichlet(np.ones(4), len(funds))
    picked = np.array([rng.choice(len(inside), 4, replace=False) for _ in funds])
    # The last weight of each is left out, and is cash.
    holdings = pa.Table.from_pylist(
        [
            {"fund_id": names[len(inside) + fund], "instrument_id": names[member], "weight": weights[fund, i]}
            for fund in range(len(funds))
            for i, member in enumerate(picked[fund, :3])
        ]
    )
    rows = inside + funds
    book = make_book(rows, np.ones(len(rows)), holdings)
    market = make_market(scenarios[0])
    pnl = ar.revalue(book, market, given_levels(scenarios[1:]), base_currency=BASE)
    assert pnl.excluded == ()
    theirs = Witness(rows, scenarios)
    values = theirs.prices * theirs.rates
    n = len(inside)
    relative = values[:n, 1:] / values[:n, :1]
    for fund, row in enumerate(funds):
        at_home = theirs.rates[n + fund, :1] / theirs.rates[n + fund, 1:]
        growth = 1.0 + weights[fund, :3] @ (relative[picked[fund, :3]] * at_home - 1.0)
        later = values[n + fund, 0] / at_home * growth
        expected = row["multiplier"] * (later - values[n + fund, 0])
        assert pnl.cube[n + fund] == pytest.approx(expected, rel=1e-10, abs=1e-10 * values[n + fund, 0])


def _fixes_before_settlement(row):
    if row["kind"] != "floater":
        return False
    settled = settlement_date(row, AS_OF)
    periods = coupon_periods(row["issue_date"], row["maturity"], row["frequency"])
    return any(AS_OF < period.start <= settled for period in periods)


# ---- edges ------------------------------------------------------------------------------------------------

BASE_LEVELS = draw_levels(np.random.default_rng(15))
MARKET = make_market(BASE_LEVELS)


def shock(rate, vol, spot):
    """Every rate at one level, every vol too, and every spot and exchange rate scaled."""
    moved = dict(BASE_LEVELS)
    for name in moved:
        if name.startswith(("VOL", "SMILE")):
            moved[name] = vol
        elif name.startswith(("SPOT", "FUT")) or name == fx("EUR"):
            moved[name] *= spot
    for curve in CURVES:
        moved |= {node(curve, days): rate for days in NODE_DAYS}
    return moved


shocks = st.builds(
    shock,
    st.sampled_from([-0.02, 0.0, 0.15]) | st.floats(-0.02, 0.15),
    st.sampled_from([1e-6, 3.0]) | st.floats(1e-4, 3.0),
    st.sampled_from([0.01, 100.0]) | st.floats(0.3, 3.0),
)


def check_one(row, moved):
    row = row | {"multiplier": 1.0}
    book = make_book([row], [1.0])
    pnl = ar.revalue(book, MARKET, given_levels([moved]), base_currency=BASE)
    assert pnl.excluded == ()
    value = position_values(pnl.resolution.priced, MARKET.base[None, :])[:, 0]
    theirs = Witness([row], [BASE_LEVELS, moved])
    assert theirs.errors(value, theirs.values()).max() <= TOLERANCE
    assert theirs.errors(pnl.cube, theirs.gains()).max() <= TOLERANCE


@settings(max_examples=150, deadline=None)
@given(
    st.sampled_from(["option", "future", "fx_forward"]),
    st.sampled_from([0, 1, 7, 366, 50 * 365]) | st.integers(0, 50 * 365),
    st.sampled_from([1e-3, 1.0, 1e3]) | st.floats(0.5, 2.0),
    st.integers(0, 2**16),
    shocks,
)
def test_edges_of_what_expires(kind, days, moneyness, seed, moved):
    """Expiry today, tomorrow and in 50 years; strikes far out; a vol of next to nothing."""
    row = draw_instrument(kind, np.random.default_rng(seed), BASE_LEVELS)
    row["expiry"] = AS_OF + dt.timedelta(days=days)
    if kind != "future":
        row["strike"] = Oracle(BASE_LEVELS).spot(row) * moneyness
    check_one(row, moved)


@settings(max_examples=150, deadline=None)
@given(
    st.sampled_from(["bond", "floater", "swap"]),
    st.dates(dt.date(2015, 1, 1), AS_OF) | st.sampled_from([dt.date(2018, 8, 31), dt.date(2018, 12, 31)]),
    st.sampled_from([1, 2, 31, 50 * 365]) | st.integers(1, 50 * 365),
    st.sampled_from([1, 2, 4, 12]),
    st.sampled_from(list(COUNTS)),
    st.sampled_from([None, "XNYS", "XLON"]),
    st.integers(0, 2**16),
    shocks,
)
@example("swap", dt.date(2018, 12, 31), 90, 2, "ACT/360", "XNYS", 1, shock(-0.02, 0.2, 1.0))
@example("bond", dt.date(2018, 10, 31), 31, 1, "30/360", None, 2, shock(0.15, 0.2, 1.0))
def test_edges_of_what_pays(kind, issue, days, frequency, count, calendar, seed, moved):
    """Issued on the 31st, in the future, with a single coupon, maturing tomorrow or in 50 years."""
    row = draw_instrument(kind, np.random.default_rng(seed), BASE_LEVELS) | {
        "issue_date": issue,
        "maturity": AS_OF + dt.timedelta(days=days),
        "frequency": frequency,
        "day_count": count,
        "calendar": calendar,
    }
    assume(row["maturity"] > issue and not is_no_witness(row))
    check_one(row, moved)
