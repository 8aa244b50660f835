"""Random bonds, floaters and swaps, and QuantLib's version of each, for the tests that compare them."""

from __future__ import annotations

import datetime as dt
import itertools
import warnings

import pytest

from acceleray.domain.schedule import coupon_periods

with warnings.catch_warnings():
    # SWIG's own types have no module, which Python deprecates.
    warnings.simplefilter("ignore", DeprecationWarning)
    ql = pytest.importorskip("QuantLib")

AS_OF = dt.date(2018, 12, 28)

COUNTS = {
    "30/360": ql.Thirty360(ql.Thirty360.BondBasis),
    "ACT/360": ql.Actual360(),
    "ACT/365F": ql.Actual365Fixed(),
    "ACT/ACT": ql.ActualActual(ql.ActualActual.ISMA),
}
CALENDARS = {
    None: ql.NullCalendar(),
    "XNYS": ql.UnitedStates(ql.UnitedStates.NYSE),
    "XLON": ql.UnitedKingdom(ql.UnitedKingdom.Exchange),
}

_NAMES = itertools.count()


def qday(day):
    return ql.Date(day.day, day.month, day.year)


def pyday(day):
    return dt.date(day.year(), day.month(), day.dayOfMonth())


def make_row(kind, rng, **fields):
    """Draw an instrument that is alive on AS_OF; month ends are as frequent as all other days."""
    while True:
        issue = dt.date(2005, 1, 1) + dt.timedelta(days=int(rng.integers(0, 15 * 365)))
        maturity = AS_OF + dt.timedelta(days=1 + int(30 * 365 * rng.random() ** 2))
        if rng.random() < 0.5:
            maturity = maturity.replace(day=1) - dt.timedelta(days=1)
        if rng.random() < 0.25:
            issue = issue.replace(day=1) - dt.timedelta(days=1)
        if maturity > max(issue, AS_OF):
            break
    calendar = rng.choice(["", "XNYS", "XLON"]) or None
    row = {
        "kind": kind,
        "issue_date": issue,
        "maturity": maturity,
        "coupon": round(float(rng.uniform(0.0, 0.09)), 5),
        "frequency": int(rng.choice([1, 2, 4, 12])),
        "face": float(rng.choice([1.0, 100.0, 1e6])),
        "day_count": str(rng.choice(list(COUNTS))),
        "calendar": None if calendar is None else str(calendar),
        "settlement_days": int(rng.integers(0, 4)),
        "ex_coupon_days": int(rng.choice([0, 0, 1, 7, 15])) if kind != "swap" else None,
        "last_fixing": round(float(rng.uniform(-0.01, 0.05)), 5),
        "fixed_rate": round(float(rng.uniform(-0.01, 0.06)), 5),
        "pay_receive": str(rng.choice(["pay", "receive"])),
    }
    return row | fields


def quantlib_schedule(row, calendar=None):
    return ql.Schedule(
        qday(row["issue_date"]),
        qday(row["maturity"]),
        ql.Period(12 // row["frequency"], ql.Months),
        calendar or ql.NullCalendar(),
        ql.Unadjusted,
        ql.Unadjusted,
        ql.DateGeneration.Backward,
        bool(row.get("end_of_month")),
    )


def quantlib_index(row, schedule, handle):
    # ICMA's rule needs the coupon periods: the index gets them through the schedule.
    count = COUNTS[row["day_count"]]
    if row["day_count"] == "ACT/ACT":
        count = ql.ActualActual(ql.ActualActual.ISMA, schedule)
    tenor = ql.Period(12 // row["frequency"], ql.Months)
    terms = (tenor, 0, ql.EURCurrency(), ql.NullCalendar(), ql.Unadjusted, False)
    index = ql.IborIndex(f"index{next(_NAMES)}", *terms, count, handle)
    for start in schedule:
        if start <= qday(AS_OF):
            index.addFixing(start, row["last_fixing"])
    return index


def quantlib_bond(row, handles=None):
    calendar = CALENDARS[row["calendar"]]
    issue, face = qday(row["issue_date"]), row["face"]
    ex = ql.Period(row["ex_coupon_days"], ql.Days) if row["ex_coupon_days"] else ql.Period()
    if row["frequency"] == 0:
        return ql.ZeroCouponBond(
            row["settlement_days"], calendar, face, qday(row["maturity"]), ql.Following, 100.0, issue
        )
    count = COUNTS[row["day_count"]]
    if row["kind"] == "bond":
        paid = (ql.Following, 100.0, issue, calendar, ex, calendar)
        schedule = quantlib_schedule(row)
        return ql.FixedRateBond(row["settlement_days"], face, schedule, [row["coupon"]], count, *paid)
    # Payments of a floater follow the calendar of its schedule; unadjusted dates do not.
    schedule = quantlib_schedule(row, calendar)
    index = quantlib_index(row, schedule, handles["project"])
    # No fixing lag, gearing one, the spread, no cap, no floor, fixed in advance.
    paid = (ql.Following, 0, [], [row["coupon"]], [], [], False, 100.0, issue, ex, calendar)
    return ql.FloatingRateBond(row["settlement_days"], face, schedule, index, count, *paid)


def quantlib_swap(row, handles):
    schedule = quantlib_schedule(row, CALENDARS[row["calendar"]])
    count = COUNTS[row["day_count"]]
    return ql.VanillaSwap(
        ql.Swap.Payer if row["pay_receive"] == "pay" else ql.Swap.Receiver,
        row["face"],
        schedule,
        row["fixed_rate"],
        count,
        schedule,
        quantlib_index(row, schedule, handles["project"]),
        row["coupon"],
        count,
        ql.Following,
    )


def quantlib_at_horizon(row, handles, horizon):
    """Value at a horizon of what was held from AS_OF, and how many rates were fixed on the way.

    QuantLib's evaluation date is the horizon already. What it does not know: coupons that began on the way
    get the projected rate of the horizon, and what was paid on the way is cash.
    """
    if row["kind"] == "swap":
        instrument = quantlib_swap(row, handles)
        instrument.setPricingEngine(ql.DiscountingSwapEngine(handles["discount"]))
        sign = 1.0 if row["pay_receive"] == "pay" else -1.0
        legs = ((-sign, instrument.fixedLeg()), (sign, instrument.floatingLeg()))
    else:
        instrument = quantlib_bond(row, handles)
        instrument.setPricingEngine(ql.DiscountingBondEngine(handles["discount"]))
        legs = ((1.0, instrument.cashflows()),)
    begun = 0
    for _, leg in legs:
        for coupon in filter(None, map(ql.as_floating_rate_coupon, leg)):
            start, end = coupon.accrualStartDate(), coupon.accrualEndDate()
            if qday(AS_OF) < start <= qday(horizon):
                growth = 1.0 / handles["project"].discount(qday(horizon) + (end - start)) - 1.0
                coupon.index().addFixing(start, growth / coupon.accrualPeriod())
                begun += 1
    paid = sum(
        sign * flow.amount()
        for sign, leg in legs
        for flow in leg
        if qday(AS_OF) < flow.date() <= qday(horizon)
    )
    return instrument.NPV() + paid, begun


def is_no_witness(row):
    """Where QuantLib cannot project a coupon, or does so with a period that no rule has.

    From a 30th to a 31st there is no day by 30/360, and QuantLib refuses to project such a coupon. A
    floating leg of one short coupon gets a regular period that is stretched at both ends; a fixed one not.
    """
    if row["frequency"] == 0:
        return False
    periods = coupon_periods(row["issue_date"], row["maturity"], row["frequency"])
    if row["day_count"] == "30/360":
        return any(period.years("30/360") == 0.0 for period in periods)
    single_short = len(periods) == 1 and periods[0].regular_start < periods[0].start
    return row["kind"] != "bond" and row["day_count"] == "ACT/ACT" and single_short
