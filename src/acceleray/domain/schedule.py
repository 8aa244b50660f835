"""Coupon periods of bonds and swap legs."""

from __future__ import annotations

import calendar as months
import datetime as dt
from dataclasses import dataclass

from acceleray.domain.business_days import EVERY_DAY, BusinessDays
from acceleray.domain.day_count import DayCount, year_fraction

__all__ = ["FREQUENCIES", "CouponPeriod", "add_months", "coupon_periods"]

# Coupons a year; zero is a zero-coupon bond.
FREQUENCIES = (0, 1, 2, 3, 4, 6, 12)


@dataclass(frozen=True, slots=True, kw_only=True)
class CouponPeriod:
    """One coupon: when it accrues, when it is paid, and from when it stays with the seller.

    Parameters
    ----------
    start, end : date
        Accrual period, unadjusted: `end` no longer accrues.
    regular_start : date
        Where the regular period that ends on `end` begins: `start`, except for a short first coupon.
    payment : date
        `end`, or the first business day after it.
    ex_date : date or None
        From this day on a buyer does not get the coupon; None without ex-coupon days.
    frequency : int
        Coupons a year.
    """

    start: dt.date
    end: dt.date
    regular_start: dt.date
    payment: dt.date
    ex_date: dt.date | None
    frequency: int

    def is_ex(self, day: dt.date) -> bool:
        """Tell whether on `day` the coupon no longer belongs to a buyer."""
        return self.ex_date is not None and self.ex_date <= day

    def years(
        self, convention: DayCount | str, start: dt.date | None = None, end: dt.date | None = None
    ) -> float:
        """Return the share of a year of the coupon, or of the part of it between `start` and `end`."""
        return year_fraction(
            self.start if start is None else start,
            self.end if end is None else end,
            convention,
            regular_start=self.regular_start,
            regular_end=self.end,
            frequency=self.frequency,
        )


def add_months(day: dt.date, n_months: int, *, end_of_month: bool = False) -> dt.date:
    """Move by months; the 29th to 31st become the last day of a month that is too short.

    Parameters
    ----------
    day : date
        Where to begin.
    n_months : int
        Forwards, or backwards if negative.
    end_of_month : bool
        The last day of a month goes to the last day of a month.

    Examples
    --------
    >>> add_months(dt.date(2020, 2, 29), -6)
    datetime.date(2019, 8, 29)
    >>> add_months(dt.date(2020, 2, 29), -6, end_of_month=True)
    datetime.date(2019, 8, 31)
    """
    month = day.year * 12 + day.month - 1 + n_months
    year, month = month // 12, month % 12 + 1
    last = months.monthrange(year, month)[1]
    if end_of_month and day.day == months.monthrange(day.year, day.month)[1]:
        return dt.date(year, month, last)
    return dt.date(year, month, min(day.day, last))


def coupon_periods(
    issue_date: dt.date,
    maturity: dt.date,
    frequency: int,
    *,
    calendar: BusinessDays = EVERY_DAY,
    ex_coupon_days: int = 0,
    end_of_month: bool = False,
    unpaid_after: dt.date | None = None,
) -> tuple[CouponPeriod, ...]:
    """Cut the life of an instrument into coupon periods, backwards from maturity.

    Parameters
    ----------
    issue_date : date
        Where accrual begins. A first coupon that does not begin on a regular date is a short one.
    maturity : date
        End of the last period, unadjusted.
    frequency : int
        Coupons a year; one of `FREQUENCIES`. Zero gives no period.
    calendar : BusinessDays
        Rolls payments forwards and counts ex-coupon days. By default payments stay where they are, and
        ex-coupon days are calendar days.
    ex_coupon_days : int
        Business days between the ex-coupon date and the payment; zero for none.
    end_of_month : bool
        If maturity is the last day of its month, all coupons are; otherwise they keep its day of the month
        where the month has it.
    unpaid_after : date, optional
        Leave out what is paid on or before this day.

    Returns
    -------
    tuple of CouponPeriod
        In order of time, without gaps.

    Raises
    ------
    ValueError
        If maturity is not after the issue date, or the frequency is not one of `FREQUENCIES`.

    Notes
    -----
    Dates are those of QuantLib's ``Schedule`` with ``DateGeneration.Backward`` and ``Unadjusted``: each is
    counted in months from maturity itself, so the 31st comes back after a short month. The regular period of
    a short first coupon is counted from that coupon's own date, as there.
    """
    if maturity <= issue_date:
        raise ValueError(f"maturity {maturity} is not after the issue date {issue_date}")
    if frequency not in FREQUENCIES:
        raise ValueError(f"unsupported: {frequency} coupons a year")
    if frequency == 0:
        return ()
    step = 12 // frequency
    found: list[CouponPeriod] = []
    end = maturity
    while end > issue_date:
        payment = calendar.following(end)
        if unpaid_after is not None and payment <= unpaid_after:
            break
        regular = add_months(maturity, -step * (len(found) + 1), end_of_month=end_of_month)
        start = max(regular, issue_date)
        if regular < issue_date:
            regular = add_months(end, -step, end_of_month=end_of_month)
        found.append(
            CouponPeriod(
                start=start,
                end=end,
                regular_start=regular,
                payment=payment,
                ex_date=calendar.advance(payment, -ex_coupon_days) if ex_coupon_days else None,
                frequency=frequency,
            )
        )
        end = start
    return tuple(reversed(found))
