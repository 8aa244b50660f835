"""Business days of an exchange: rolling a date off a holiday and counting days forwards and backwards."""

from __future__ import annotations

import datetime as dt
from bisect import bisect_left, bisect_right
from dataclasses import dataclass
from functools import cache
from typing import Any

__all__ = ["EVERY_DAY", "BusinessDays", "business_days", "calendar_names"]

# The sessions are those between these dates, whatever today is: exchange_calendars by itself ends a year from
# now, and a bond's payment dates must not depend on the day of the computation.
_FIRST = dt.date(1989, 1, 3)
_LAST = dt.date(2099, 12, 31)
# Before and after, only the days of the week are known.
_TABLE_FIRST = dt.date(1900, 1, 1)
_TABLE_LAST = dt.date(2199, 12, 31)
# A year that every exchange calendar covers.
_COVERED = ("2024-01-02", "2024-12-31")


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class BusinessDays:
    """The business days of one calendar.

    Parameters
    ----------
    name : str
        Of the calendar, for messages.
    ordinals : tuple of int
        `datetime.date.toordinal` of every business day, increasing. None: every day is one.
    """

    name: str
    ordinals: tuple[int, ...] | None

    def includes(self, day: dt.date) -> bool:
        """Tell whether `day` is a business day."""
        return self.following(day) == day

    def following(self, day: dt.date) -> dt.date:
        """Return `day` itself, or the first business day after it.

        Raises
        ------
        ValueError
            If `day` lies before 1900 or after 2199.
        """
        if self.ordinals is None:
            return day
        return self._at(day, bisect_left(self.ordinals, day.toordinal()))

    def advance(self, day: dt.date, n_days: int) -> dt.date:
        """Go `n_days` business days forwards, or backwards if negative; zero is `following`.

        Raises
        ------
        ValueError
            As `following`.
        """
        if self.ordinals is None:
            return day + dt.timedelta(days=n_days)
        if n_days > 0:
            return self._at(day, bisect_right(self.ordinals, day.toordinal()) + n_days - 1)
        return self._at(day, bisect_left(self.ordinals, day.toordinal()) + n_days)

    def _at(self, day: dt.date, position: int) -> dt.date:
        ordinals = self.ordinals or ()
        if not 0 <= position < len(ordinals):
            raise ValueError(f"calendar {self.name}: {day} is too far away")
        return dt.date.fromordinal(ordinals[position])


# Without a calendar nothing is rolled, and days are calendar days.
EVERY_DAY = BusinessDays(name="every day", ordinals=None)


@cache
def calendar_names() -> frozenset[str]:
    """Names that `business_days` knows, with their aliases."""
    import exchange_calendars

    return frozenset(exchange_calendars.get_calendar_names(include_aliases=True))


@cache
def business_days(exchange: str) -> BusinessDays:
    """Load the sessions of an exchange from 1989 to 2099, and the days of its week outside.

    Parameters
    ----------
    exchange : str
        Name of an exchange_calendars calendar, for example XNYS.

    Raises
    ------
    ValueError
        If there is no such calendar.

    Notes
    -----
    Holidays of the future follow today's rules. Some calendars end earlier (lunar holidays are not tabulated
    for ever): beyond their end, too, only the days of the week are known. A calendar takes about a second to
    build and is built once per process.
    """
    import exchange_calendars

    try:
        known: Any = exchange_calendars.get_calendar(exchange, start=_COVERED[0], end=_COVERED[1])
    except exchange_calendars.errors.InvalidCalendarName as error:
        raise ValueError(f"unknown calendar {exchange!r}") from error
    low, high = known.bound_min(), known.bound_max()
    first = _FIRST if low is None else max(_FIRST, low.date())
    last = _LAST if high is None else min(_LAST, high.date())
    calendar: Any = exchange_calendars.get_calendar(exchange, start=first.isoformat(), end=last.isoformat())
    week = [open_ == "1" for open_ in calendar.weekmask]

    def weekdays(begin: dt.date, end: dt.date) -> list[int]:
        # Ordinal 1 was a Monday.
        return [day for day in range(begin.toordinal(), end.toordinal()) if week[(day - 1) % 7]]

    epoch = dt.date(1970, 1, 1).toordinal()
    held = calendar.sessions.values.astype("datetime64[D]").astype("int64") + epoch
    after = last + dt.timedelta(days=1)
    ordinals = [
        *weekdays(_TABLE_FIRST, first),
        *held.tolist(),
        *weekdays(after, _TABLE_LAST + dt.timedelta(days=1)),
    ]
    return BusinessDays(name=exchange, ordinals=tuple(ordinals))
