"""Day counts: which share of a year an accrual period is."""

from __future__ import annotations

import datetime as dt
from enum import StrEnum

__all__ = ["DayCount", "year_fraction"]


class DayCount(StrEnum):
    """How days become a share of a year.

    * ``30/360``: ISDA 2006 section 4.16(f), "30/360" or "Bond Basis". A start on the 31st counts as the 30th;
      so does an end on the 31st if the start counts as the 30th. Unlike the US (NASD) variant it has no rule
      for the end of February; unlike 30E/360 an end on the 31st stays after an earlier start. In QuantLib:
      ``Thirty360(Thirty360.BondBasis)``.
    * ``ACT/360`` and ``ACT/365F``: calendar days over 360 or 365.
    * ``ACT/ACT``: ICMA rule 251. Days over (days of the regular coupon period × coupons a year), so that
      every regular coupon is the same. It needs the regular period. In QuantLib:
      ``ActualActual(ActualActual.ISMA)``. The ISDA variant is not used anywhere.
    """

    THIRTY_360 = "30/360"
    ACT_360 = "ACT/360"
    ACT_365F = "ACT/365F"
    ACT_ACT = "ACT/ACT"


def year_fraction(
    start: dt.date,
    end: dt.date,
    convention: DayCount | str,
    *,
    regular_start: dt.date | None = None,
    regular_end: dt.date | None = None,
    frequency: int | None = None,
) -> float:
    """Return the share of a year from `start` to `end`.

    Parameters
    ----------
    start, end : date
        First day that counts, and the day after the last; `end` is not before `start`.
    convention : DayCount or str
        See `DayCount`.
    regular_start, regular_end : date, optional
        Regular coupon period around `start` and `end`; ``ACT/ACT`` needs it, the others ignore it. That of
        a short first coupon begins before the issue date.
    frequency : int, optional
        Coupons a year, for ``ACT/ACT``.

    Returns
    -------
    float
        Years.

    Raises
    ------
    ValueError
        If the convention is unknown, `end` comes before `start`, or ``ACT/ACT`` has no regular period around
        both.

    References
    ----------
    .. [1] ISDA (2006), 2006 ISDA Definitions, section 4.16.
    .. [2] ICMA, Rule Book, rule 251, "Accrued interest calculation".

    Examples
    --------
    >>> year_fraction(dt.date(2018, 1, 31), dt.date(2018, 7, 31), "30/360")
    0.5
    >>> year_fraction(dt.date(2018, 1, 31), dt.date(2018, 7, 31), "ACT/360") * 360
    181.0
    """
    if end < start:
        raise ValueError(f"an accrual period ended on {end}, before it began on {start}")
    days = (end - start).days
    match DayCount(convention):
        case DayCount.THIRTY_360:
            first = min(start.day, 30)
            last = 30 if end.day == 31 and first == 30 else end.day
            return (360 * (end.year - start.year) + 30 * (end.month - start.month) + last - first) / 360.0
        case DayCount.ACT_360:
            return days / 360.0
        case DayCount.ACT_365F:
            return days / 365.0
        case DayCount.ACT_ACT:
            if regular_start is None or regular_end is None or not frequency:
                raise ValueError("ACT/ACT needs the regular coupon period and the coupons a year")
            if not regular_start <= start <= end <= regular_end or regular_start == regular_end:
                raise ValueError(
                    f"ACT/ACT: {start} to {end} is not within the regular period "
                    f"{regular_start} to {regular_end}"
                )
            return days / ((regular_end - regular_start).days * frequency)
