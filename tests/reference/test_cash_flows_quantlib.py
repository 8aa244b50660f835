"""Schedules, coupons, accrued interest and values of rate instruments against QuantLib.

QuantLib's own calendars are the witness of ours: its NYSE and London holidays have nothing to do with
exchange_calendars.
"""

from __future__ import annotations

import datetime as dt

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from tests.quantlib_rates import (
    AS_OF,
    CALENDARS,
    COUNTS,
    is_no_witness,
    make_row,
    pyday,
    qday,
    ql,
    quantlib_at_horizon,
    quantlib_bond,
    quantlib_schedule,
    quantlib_swap,
)

from acceleray.domain.business_days import business_days
from acceleray.domain.day_count import year_fraction
from acceleray.domain.schedule import coupon_periods
from acceleray.numerics.rates import fixed_values, floating_values, rate_points
from acceleray.risk.cash_flows import accrued_interest, cash_flows, settlement_date

N_INSTRUMENTS = 320

# Two curves in one level matrix, discounting first, under three scenarios: upward, negative, inverted.
NODE_DAYS = np.array([30, 365, 730, 1825, 3650, 10950])
TENORS = NODE_DAYS / 365.0
DISCOUNT, PROJECT = np.arange(6), np.arange(6, 12)
LEVELS = np.array(
    [
        [0.011, 0.014, 0.017, 0.021, 0.026, 0.029, 0.013, 0.016, 0.019, 0.024, 0.028, 0.030],
        [-0.008, -0.009, -0.007, -0.004, 0.001, 0.004, -0.006, -0.006, -0.005, -0.001, 0.003, 0.005],
        [0.061, 0.052, 0.047, 0.040, 0.035, 0.033, 0.066, 0.058, 0.050, 0.044, 0.038, 0.036],
    ]
).T.copy()

# A few roundings per flow, at most 480 flows of the size of the face.
RELATIVE = 1e-11


@pytest.fixture(autouse=True)
def today():
    ql.Settings.instance().evaluationDate = qday(AS_OF)
    ql.IborCoupon.createAtParCoupons()


@pytest.fixture(scope="module")
def curves():
    """One relinkable handle per curve, and a function that links both to a scenario, from a date on."""
    handles = {"discount": ql.RelinkableYieldTermStructureHandle()}
    handles["project"] = ql.RelinkableYieldTermStructureHandle()

    def link(scenario, reference=AS_OF):
        for name, columns in (("discount", DISCOUNT), ("project", PROJECT)):
            zeros = LEVELS[columns, scenario].tolist()
            # QuantLib holds the forward constant beyond the last point, we the zero rate.
            days = [0, *NODE_DAYS.tolist(), 100 * 365]
            handles[name].linkTo(
                ql.ZeroCurve(
                    [qday(reference) + day for day in days],
                    [zeros[0], *zeros, zeros[-1]],
                    ql.Actual365Fixed(),
                    ql.NullCalendar(),
                    ql.Linear(),
                    ql.Continuous,
                )
            )

    link(0)
    return handles, link


def paid_after(leg, day):
    """Amount by payment date of what somebody who holds it from `day` receives."""
    amounts = {}
    for flow in leg:
        coupon = ql.as_coupon(flow)
        is_ex = coupon is not None and ql.Date() != coupon.exCouponDate() <= qday(day)
        if flow.date() > qday(day) and not is_ex:
            when = pyday(flow.date())
            amounts[when] = amounts.get(when, 0.0) + flow.amount()
    return amounts


def by_date(flows, day=AS_OF):
    days = [day + dt.timedelta(days=round(years * 365)) for years in flows.times_years]
    return dict(zip(days, flows.amounts.tolist(), strict=True))


def values(all_flows):
    """Value many instruments in one call of each kernel; shape (n_instruments, n_scenarios)."""
    fixed = [flows.fixed for flows in all_flows]
    floating = [flows.floating for flows in all_flows]

    def join(parts):
        return np.concatenate(list(parts))

    def offsets(parts, name):
        return np.cumsum([0, *(getattr(part, name).size for part in parts)])

    def points(columns, parts):
        return rate_points(TENORS, columns, join(parts))

    return fixed_values(
        LEVELS,
        pay=points(DISCOUNT, (part.times_years for part in fixed)),
        amounts=join(part.amounts for part in fixed),
        offsets=offsets(fixed, "times_years"),
    ) + floating_values(
        LEVELS,
        pay=points(DISCOUNT, (part.pay_times for part in floating)),
        start=points(PROJECT, (part.start_times for part in floating)),
        end=points(PROJECT, (part.end_times for part in floating)),
        accruals=join(part.accruals for part in floating),
        notionals=join(part.notionals for part in floating),
        spreads=join(part.spreads for part in floating),
        fixed_rates=join(part.fixed_rates for part in floating),
        offsets=offsets(floating, "pay_times"),
    )


@pytest.mark.parametrize("exchange", ["XNYS", "XLON"])
def test_sessions_are_quantlibs_business_days(exchange):
    ours, theirs = business_days(exchange), CALENDARS[exchange]
    first, last = dt.date(1990, 1, 1), dt.date(2049, 12, 31)
    held = [dt.date.fromordinal(day) for day in ours.ordinals if first.toordinal() <= day <= last.toordinal()]
    # businessDayList checks every day between.
    assert held == [pyday(day) for day in theirs.businessDayList(qday(first), qday(last))]


days = st.dates(dt.date(1995, 1, 1), dt.date(2060, 12, 31))
month_ends = days.map(lambda day: day.replace(day=1) - dt.timedelta(days=1))
any_days = st.one_of(days, month_ends)


@settings(max_examples=150, deadline=None)
@given(any_days, any_days, st.sampled_from(["30/360", "ACT/360", "ACT/365F"]))
@example(dt.date(2019, 2, 28), dt.date(2019, 8, 31), "30/360")
@example(dt.date(2019, 8, 31), dt.date(2020, 2, 29), "30/360")
@example(dt.date(2020, 2, 29), dt.date(2020, 2, 29), "30/360")
def test_year_fractions(one, other, convention):
    start, end = min(one, other), max(one, other)
    expected = COUNTS[convention].yearFraction(qday(start), qday(end))
    assert year_fraction(start, end, convention) == pytest.approx(expected, rel=1e-15)


@settings(max_examples=250, deadline=None)
@given(
    any_days,
    st.one_of(st.integers(1, 40), st.integers(1, 15000)),
    st.sampled_from([1, 2, 3, 4, 6, 12]),
    st.booleans(),
)
@example(dt.date(2015, 8, 31), 1643, 2, False)
@example(dt.date(2016, 2, 29), 1461, 1, True)
@example(dt.date(2016, 2, 29), 366, 1, False)
@example(dt.date(2018, 12, 30), 1, 12, False)
def test_schedules(issue, life_days, frequency, end_of_month):
    maturity = issue + dt.timedelta(days=life_days)
    row = {"issue_date": issue, "maturity": maturity, "frequency": frequency, "end_of_month": end_of_month}
    schedule = quantlib_schedule(row)
    expected = [pyday(day) for day in schedule]
    periods = coupon_periods(issue, maturity, frequency, end_of_month=end_of_month)
    assert [periods[0].start, *(period.end for period in periods)] == expected
    # Coupons by ICMA's rule show the regular periods.
    bond = ql.FixedRateBond(0, 1.0, schedule, [1.0], COUNTS["ACT/ACT"])
    coupons = [flow.amount() for flow in bond.cashflows()][:-1]
    assert [period.years("ACT/ACT") for period in periods] == pytest.approx(coupons, rel=1e-13)


def bonds(seed, n=N_INSTRUMENTS):
    rng = np.random.default_rng(seed)
    rows = [make_row("bond", rng) for _ in range(n)]
    rows += [make_row("bond", rng, end_of_month=True) for _ in range(n // 8)]
    rows += [make_row("bond", rng, frequency=0, coupon=0.0, ex_coupon_days=0) for _ in range(n // 8)]
    return rows


def test_flows_of_bonds():
    for row in bonds(1):
        expected = paid_after(quantlib_bond(row).cashflows(), AS_OF)
        found = by_date(cash_flows(row, AS_OF, held_from=AS_OF).fixed)
        assert list(found) == list(expected), row
        error = np.abs(np.array(list(found.values())) - np.array(list(expected.values())))
        # QuantLib computes a coupon as a growth factor less one, which costs digits.
        assert error.max() <= 1e-15 * row["face"], row


@pytest.mark.parametrize("kind", ["bond", "floater"])
def test_accrued_interest(kind, curves):
    handles, _ = curves
    rng = np.random.default_rng(2)
    negative = 0
    for index in range(N_INSTRUMENTS):
        row = make_row(kind, rng)
        periods = coupon_periods(row["issue_date"], row["maturity"], row["frequency"])
        as_of = AS_OF
        if kind == "bond" and index % 2:
            # Around a payment, where periods, rolls and ex-coupon dates meet.
            as_of = periods[int(rng.integers(len(periods)))].end - dt.timedelta(days=int(rng.integers(0, 25)))
        bond = quantlib_bond(row, handles)
        settled = bond.settlementDate(qday(as_of))
        assert settlement_date(row, as_of) == pyday(settled)
        if kind == "floater" and any(AS_OF < period.start < pyday(settled) for period in periods):
            continue  # not fixed: QuantLib projects where we take the last fixing
        if as_of < row["maturity"]:
            expected = bond.accruedAmount(settled) * row["face"] / 100.0
            found = accrued_interest(row, as_of)
            assert found == pytest.approx(expected, rel=1e-11, abs=1e-13 * row["face"]), (row, as_of)
            negative += found < 0
    assert negative > N_INSTRUMENTS // 25


def test_values_of_bonds(curves):
    handles, link = curves
    rows = bonds(3)
    ours = values([cash_flows(row, AS_OF, held_from=AS_OF) for row in rows])
    engine = ql.DiscountingBondEngine(handles["discount"])
    theirs = [quantlib_bond(row) for row in rows]
    for scenario in range(LEVELS.shape[1]):
        link(scenario)
        for bond in theirs:
            bond.setPricingEngine(engine)
        assert ours[:, scenario] == pytest.approx([bond.NPV() for bond in theirs], rel=RELATIVE)


def test_prices_that_settle_later(curves):
    """The quoted dirty price is the value on the settlement date of what its buyer receives."""
    handles, link = curves
    link(0)
    rows = [row for row in bonds(4) if settlement_date(row, AS_OF) < row["maturity"]]
    settled = [settlement_date(row, AS_OF) for row in rows]
    ours = values([cash_flows(row, AS_OF, held_from=day) for row, day in zip(rows, settled, strict=True)])
    for row, day, value in zip(rows, settled, ours[:, 0], strict=True):
        bond = quantlib_bond(row)
        bond.setPricingEngine(ql.DiscountingBondEngine(handles["discount"]))
        price = value / handles["discount"].discount(qday(day)) / row["face"] * 100.0
        assert price == pytest.approx(bond.dirtyPrice(), rel=RELATIVE)
        clean = price - accrued_interest(row, AS_OF) / row["face"] * 100.0
        assert clean == pytest.approx(bond.cleanPrice(), rel=RELATIVE)


@pytest.mark.parametrize("kind", ["floater", "swap"])
def test_values_of_floaters_and_swaps(kind, curves):
    handles, link = curves
    rng = np.random.default_rng(5)
    rows = [make_row(kind, rng) for _ in range(N_INSTRUMENTS)]
    rows = [row for row in rows if not is_no_witness(row)]
    assert len(rows) >= 300
    ours = values([cash_flows(row, AS_OF, held_from=AS_OF) for row in rows])
    if kind == "floater":
        theirs = [quantlib_bond(row, handles) for row in rows]
        engine = ql.DiscountingBondEngine(handles["discount"])
    else:
        theirs = [quantlib_swap(row, handles) for row in rows]
        engine = ql.DiscountingSwapEngine(handles["discount"])
    for instrument in theirs:
        instrument.setPricingEngine(engine)
    # The net value of a swap is a difference of legs of the size of the face.
    faces = np.array([row["face"] for row in rows])
    for scenario in range(LEVELS.shape[1]):
        link(scenario)
        expected = np.array([instrument.NPV() for instrument in theirs])
        assert np.max(np.abs(ours[:, scenario] - expected) / faces) <= RELATIVE


@pytest.mark.parametrize("kind", ["bond", "floater", "swap"])
@pytest.mark.parametrize("horizon_days", [14, 50])
def test_values_at_a_horizon(kind, horizon_days, curves):
    """An aged book is what QuantLib says at the horizon plus what was paid on the way there."""
    handles, link = curves
    horizon = AS_OF + dt.timedelta(days=horizon_days)
    rng = np.random.default_rng(7)
    rows = [make_row(kind, rng, ex_coupon_days=None) for _ in range(N_INSTRUMENTS // 4)]
    rows = [row for row in rows if not is_no_witness(row)]
    link(2, horizon)
    ours = values([cash_flows(row, horizon, held_from=AS_OF) for row in rows])[:, 2]
    ql.Settings.instance().evaluationDate = qday(horizon)
    begun = 0
    for row, value in zip(rows, ours, strict=True):
        expected, fixed = quantlib_at_horizon(row, handles, horizon)
        assert abs(value - expected) <= RELATIVE * row["face"], row
        begun += fixed
    assert kind == "bond" or begun > 10


EDGES = [
    ("issued on the 31st", {"issue_date": dt.date(2018, 8, 31), "maturity": dt.date(2020, 6, 30)}),
    ("issued on a leap day", {"issue_date": dt.date(2016, 2, 29), "maturity": dt.date(2024, 2, 29)}),
    ("matures tomorrow", {"issue_date": dt.date(2015, 3, 31), "maturity": dt.date(2018, 12, 29)}),
    ("single short coupon", {"issue_date": dt.date(2018, 12, 1), "maturity": dt.date(2019, 1, 15)}),
    ("issued today", {"issue_date": AS_OF, "maturity": dt.date(2021, 5, 31)}),
    ("issued tomorrow", {"issue_date": dt.date(2018, 12, 29), "maturity": dt.date(2021, 5, 31)}),
    ("pays today", {"issue_date": dt.date(2017, 12, 28), "maturity": dt.date(2019, 6, 28)}),
]


@pytest.mark.parametrize("kind", ["bond", "floater", "swap"])
@pytest.mark.parametrize("count", list(COUNTS))
@pytest.mark.parametrize(("name", "dates"), EDGES, ids=[name for name, _ in EDGES])
def test_edges(name, dates, kind, count, curves):
    handles, link = curves
    link(1)
    row = make_row(kind, np.random.default_rng(6), day_count=count, frequency=2, calendar="XNYS", **dates)
    flows = cash_flows(row, AS_OF, held_from=AS_OF)
    if is_no_witness(row):
        # The fixed coupon of the same period is the witness.
        same = ql.FixedRateBond(0, 1.0, quantlib_schedule(row), [1.0], COUNTS[count])
        assert flows.floating.accruals == pytest.approx([same.cashflows()[0].amount()], rel=1e-14)
        return
    ours = values([flows])[0, 1]
    if kind == "swap":
        theirs = quantlib_swap(row, handles)
        theirs.setPricingEngine(ql.DiscountingSwapEngine(handles["discount"]))
    else:
        theirs = quantlib_bond(row, handles)
        theirs.setPricingEngine(ql.DiscountingBondEngine(handles["discount"]))
    assert abs(ours - theirs.NPV()) <= RELATIVE * row["face"]
