"""Cash flows of bonds, floaters and interest-rate swaps, from the row of the instrument.

A row is a mapping with the columns of the instruments table. The formulas and conventions are in
docs/methods/instruments.md.
"""

from __future__ import annotations

import datetime as dt
import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from acceleray.domain.business_days import EVERY_DAY, BusinessDays, business_days
from acceleray.domain.day_count import DayCount
from acceleray.domain.schedule import FREQUENCIES, CouponPeriod, coupon_periods
from acceleray.risk.unpriceable import UnpriceableError

__all__ = [
    "CashFlows",
    "FixedFlows",
    "FloatingFlows",
    "accrued_interest",
    "cash_flows",
    "settlement_date",
]

FloatArray = npt.NDArray[np.float64]

_DAYS_PER_YEAR = 365.0
# Nobody quotes a settlement or an ex-coupon period longer than this; a larger number is a slip.
_MOST_DAYS = 60


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class FixedFlows:
    """Known payments, in order of time.

    Parameters
    ----------
    times_years : ndarray of shape (n_flows,)
        From the valuation date, ACT/365F; zero for what was paid on or before it.
    amounts : ndarray of shape (n_flows,)
        In the currency of the instrument for one `face`; negative is paid.
    """

    times_years: FloatArray
    amounts: FloatArray


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class FloatingFlows:
    """Floating coupons, in order of time; every array has shape (n_coupons,).

    Parameters
    ----------
    pay_times, start_times, end_times : ndarray
        Payment and period of each coupon in years from the valuation date, ACT/365F, not negative. A period
        that began before the valuation date is moved to begin there; that of a fixed coupon is not used.
    accruals : ndarray
        Share of a year of each coupon.
    notionals : ndarray
        Negative if the coupon is paid.
    spreads : ndarray
        Added to the rate, a fraction a year.
    fixed_rates : ndarray
        Rate, without spread, of a coupon that is fixed; NaN for one that is projected.
    """

    pay_times: FloatArray
    start_times: FloatArray
    end_times: FloatArray
    accruals: FloatArray
    notionals: FloatArray
    spreads: FloatArray
    fixed_rates: FloatArray


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class CashFlows:
    """Everything that one instrument still pays; the floating part of a bond is empty."""

    fixed: FixedFlows
    floating: FloatingFlows


def cash_flows(row: Mapping[str, Any], valuation_date: dt.date, *, held_from: dt.date) -> CashFlows:
    """List what a holder receives after `held_from`.

    Parameters
    ----------
    row : mapping
        One bond, floater or swap: `kind` and the columns that the kind needs. These may be missing or None:
        `calendar`, `settlement_days`, `ex_coupon_days`, `end_of_month`, `last_fixing` if no coupon has begun,
        and `coupon` (the spread over the floating rate) of a floater or swap.
    valuation_date : date
        Where times begin: the book's date, or the horizon of an aged book.
    held_from : date
        The book's date, or the settlement date for the price of a trade. What is paid on or before it, or
        whose ex-coupon date is not after it, belongs to somebody else. What is paid later but not after the
        valuation date is cash at face value.

    Returns
    -------
    CashFlows

    Raises
    ------
    UnpriceableError
        If nothing is left to be paid, or a column is missing or makes no sense; the text is the reason.
    """
    terms = _terms(row)
    redemption = terms.calendar.following(terms.maturity)
    if redemption <= held_from:
        raise UnpriceableError(f"matured on {terms.maturity}")
    periods = [period for period in terms.periods(held_from) if not period.is_ex(held_from)]
    fixed: dict[dt.date, float] = {}
    floating_notional = 0.0
    match terms.kind:
        case "bond":
            fixed = _fixed(terms, periods, terms.face * terms.coupon)
        case "floater":
            floating_notional = terms.face
        case "swap":
            floating_notional = terms.face * _side(row)
            fixed = _fixed(terms, periods, -floating_notional * _number(row, "fixed_rate"))
    if terms.kind != "swap":
        fixed[redemption] = fixed.get(redemption, 0.0) + terms.face
    return CashFlows(
        fixed=FixedFlows(
            times_years=_years(fixed, valuation_date),
            amounts=np.array(list(fixed.values()), dtype=np.float64),
        ),
        floating=_floating(
            row, terms, periods if floating_notional else [], floating_notional, valuation_date, held_from
        ),
    )


def settlement_date(row: Mapping[str, Any], as_of: dt.date) -> dt.date:
    """Return the day on which a trade of `as_of` settles: `settlement_days` business days later.

    It is never before the issue date. Errors as `cash_flows`.
    """
    return _terms(row).settlement(as_of)


def accrued_interest(row: Mapping[str, Any], as_of: dt.date) -> float:
    """Return the interest that a buyer of a bond or floater owes the seller.

    Parameters
    ----------
    row : mapping
        As in `cash_flows`.
    as_of : date
        Trade date; interest accrues up to its settlement date, which itself does not count.

    Returns
    -------
    float
        In the currency of the instrument for one `face`. Negative in the ex-coupon period: the seller keeps
        a coupon that the buyer earns a part of. After the end of a period whose payment was rolled, the whole
        coupon until it is paid. Zero up to the issue date, and if settled after the last payment.

    Raises
    ------
    UnpriceableError
        As `cash_flows`; also for a swap, whose price has no accrued interest.
    """
    terms = _terms(row)
    if terms.kind == "swap":
        raise UnpriceableError("a swap is not quoted with accrued interest")
    if terms.calendar.following(terms.maturity) <= as_of:
        raise UnpriceableError(f"matured on {terms.maturity}")
    rate = terms.coupon
    settled = terms.settlement(as_of)
    running = next(iter(terms.periods(settled)), None)
    if running is None or settled <= running.start:
        return 0.0
    if terms.kind == "floater":
        rate += _number(row, "last_fixing")
    until = min(settled, running.end)
    if running.is_ex(settled):
        return -terms.face * rate * running.years(terms.day_count, start=until)
    return terms.face * rate * running.years(terms.day_count, end=until)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Terms:
    """What bonds, floaters and swaps have in common, checked."""

    kind: str
    issue_date: dt.date
    maturity: dt.date
    frequency: int
    face: float
    coupon: float
    day_count: DayCount
    calendar: BusinessDays
    settlement_days: int
    ex_coupon_days: int
    end_of_month: bool

    def periods(self, unpaid_after: dt.date) -> tuple[CouponPeriod, ...]:
        return coupon_periods(
            self.issue_date,
            self.maturity,
            self.frequency,
            calendar=self.calendar,
            ex_coupon_days=self.ex_coupon_days,
            end_of_month=self.end_of_month,
            unpaid_after=unpaid_after,
        )

    def settlement(self, as_of: dt.date) -> dt.date:
        return max(self.calendar.advance(as_of, self.settlement_days), self.issue_date)


def _terms(row: Mapping[str, Any]) -> _Terms:
    kind = _need(row, "kind")
    if kind not in ("bond", "floater", "swap"):
        raise UnpriceableError(f"unsupported: kind {kind!r} has no cash flows")
    issue_date, maturity = _need(row, "issue_date"), _need(row, "maturity")
    if maturity <= issue_date:
        raise UnpriceableError(f"maturity {maturity} is not after issue_date {issue_date}")
    frequency = _need(row, "frequency")
    if frequency not in FREQUENCIES:
        raise UnpriceableError(f"unsupported: {frequency} coupons a year")
    if frequency == 0 and kind != "bond":
        raise UnpriceableError(f"frequency was 0, a {kind} needs coupons")
    # The spread over a floating rate, and a zero-coupon bond's missing coupon, are zero unless given.
    optional = kind != "bond" or frequency == 0
    coupon = 0.0 if optional and row.get("coupon") is None else _number(row, "coupon")
    if frequency == 0 and coupon:
        raise UnpriceableError(f"coupon was {coupon} at frequency 0")
    if kind == "swap" and row.get("ex_coupon_days"):
        raise UnpriceableError("a swap has no ex-coupon days")
    day_count = _need(row, "day_count")
    if day_count not in list(DayCount):
        raise UnpriceableError(f"unsupported: day_count {day_count!r}")
    name = row.get("calendar")
    try:
        calendar = EVERY_DAY if name is None else business_days(name)
    except ValueError as error:
        raise UnpriceableError(str(error)) from error
    return _Terms(
        kind=kind,
        issue_date=issue_date,
        maturity=maturity,
        frequency=frequency,
        face=_number(row, "face"),
        coupon=coupon,
        day_count=DayCount(day_count),
        calendar=calendar,
        settlement_days=_days(row, "settlement_days"),
        ex_coupon_days=_days(row, "ex_coupon_days"),
        end_of_month=bool(row.get("end_of_month")),
    )


def _fixed(terms: _Terms, periods: list[CouponPeriod], yearly: float) -> dict[dt.date, float]:
    """Coupons by payment date."""
    paid: dict[dt.date, float] = {}
    for period in periods:
        paid[period.payment] = paid.get(period.payment, 0.0) + yearly * period.years(terms.day_count)
    return paid


def _floating(
    row: Mapping[str, Any],
    terms: _Terms,
    periods: list[CouponPeriod],
    notional: float,
    valuation_date: dt.date,
    held_from: dt.date,
) -> FloatingFlows:
    # A coupon that begins between the book's date and the valuation date is fixed by nothing we know: it is
    # given the rate for a period of its length that begins on the valuation date.
    begin = [max(period.start, valuation_date) for period in periods]
    end = [first + (period.end - period.start) for first, period in zip(begin, periods, strict=True)]
    known = min(held_from, valuation_date)
    fixings = [_number(row, "last_fixing") if period.start <= known else math.nan for period in periods]
    return FloatingFlows(
        pay_times=_years((period.payment for period in periods), valuation_date),
        start_times=_years(begin, valuation_date),
        end_times=_years(end, valuation_date),
        accruals=np.array([period.years(terms.day_count) for period in periods], dtype=np.float64),
        notionals=np.full(len(periods), notional),
        spreads=np.full(len(periods), terms.coupon),
        fixed_rates=np.array(fixings, dtype=np.float64),
    )


def _years(days: Iterable[dt.date], valuation_date: dt.date) -> FloatArray:
    # Paid already means cash: at time zero.
    counts = np.array([max((day - valuation_date).days, 0) for day in days], dtype=np.float64)
    return counts / _DAYS_PER_YEAR


def _side(row: Mapping[str, Any]) -> float:
    """Sign of the floating leg."""
    side = _need(row, "pay_receive")
    if side not in ("pay", "receive"):
        raise UnpriceableError(f"pay_receive was {side!r}, must be pay or receive")
    return 1.0 if side == "pay" else -1.0


def _need(row: Mapping[str, Any], column: str) -> Any:
    value = row.get(column)
    if value is None:
        raise UnpriceableError(f"missing {column}")
    return value


def _number(row: Mapping[str, Any], column: str) -> float:
    value = float(_need(row, column))
    if not math.isfinite(value):
        raise UnpriceableError(f"{column} was {value}")
    return value


def _days(row: Mapping[str, Any], column: str) -> int:
    value = row.get(column)
    days = 0 if value is None else int(value)
    if not 0 <= days <= _MOST_DAYS:
        raise UnpriceableError(f"{column} was {days}, must be from 0 to {_MOST_DAYS}")
    return days
