"""Exchange sessions and the bell."""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np
import numpy.typing as npt

from acceleray.errors import UsageError

__all__ = ["Bell", "business_day_after", "next_bell", "sessions"]

# Long enough for the sample's 1990 start; exchange_calendars' own default is the last twenty years.
_CALENDAR_START = "1989-01-03"


@dataclass(frozen=True, slots=True, kw_only=True)
class Bell:
    """The next open of an exchange after a business date."""

    exchange: str
    opens_at: dt.datetime
    time_zone: str

    @property
    def local(self) -> dt.datetime:
        """Opening time on the exchange's own clock."""
        from zoneinfo import ZoneInfo

        return self.opens_at.astimezone(ZoneInfo(self.time_zone))


@cache
def _calendar(exchange: str) -> Any:
    import exchange_calendars

    try:
        return exchange_calendars.get_calendar(exchange, start=_CALENDAR_START)
    except exchange_calendars.errors.InvalidCalendarName as error:
        raise UsageError(
            f"bell.exchange: {exchange!r} is not a known exchange calendar",
            hint="Use a market identifier code such as XNYS, XLON or XFRA.",
        ) from error


def sessions(exchange: str, first: dt.date, last: dt.date) -> npt.NDArray[np.datetime64]:
    """Trading days of an exchange from `first` to `last`, both included.

    Returns
    -------
    ndarray of datetime64[D], shape (n_sessions,)
    """
    calendar = _calendar(exchange)
    first = max(first, calendar.first_session.date())
    days = calendar.sessions_in_range(first.isoformat(), last.isoformat())
    return np.asarray(days.values, dtype="datetime64[D]")


def business_day_after(exchange: str, date: dt.date, days: int) -> dt.date:
    """Session that lies `days` sessions after a date; a date without trading counts as the session before.

    Raises
    ------
    UsageError
        If the exchange is unknown or its calendar does not reach that far.
    """
    calendar = _calendar(exchange)
    if not calendar.first_session.date() <= date < calendar.last_session.date():
        raise UsageError(f"{exchange} calendar: {date} lies outside it")
    start = calendar.date_to_session(date.isoformat(), direction="previous")
    place = calendar.sessions.get_loc(start) + days
    if place >= len(calendar.sessions):
        raise UsageError(f"{exchange} calendar: it ends before {days} sessions after {date}")
    found: dt.date = calendar.sessions[place].date()
    return found


def next_bell(exchange: str, as_of: dt.date) -> Bell:
    """Find the first open after the close of business on `as_of`.

    Raises
    ------
    UsageError
        If the exchange is unknown or the calendar does not reach past `as_of`.
    """
    calendar = _calendar(exchange)
    if not calendar.first_session.date() <= as_of < calendar.last_session.date():
        raise UsageError(
            f"as_of: {as_of} lies outside the {exchange} calendar "
            f"({calendar.first_session.date()} to {calendar.last_session.date()})"
        )
    day = calendar.date_to_session((as_of + dt.timedelta(days=1)).isoformat(), direction="next")
    opens = calendar.session_open(day).to_pydatetime()
    return Bell(exchange=exchange, opens_at=opens, time_zone=str(calendar.tz))
