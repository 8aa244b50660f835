"""Numbers, dates and intervals as the page writes them.

Minus is U+2212, a unit follows a narrow no-break space (U+202F), thousands are set apart by commas, zero has
no sign, and no figure shows more decimals than its interval supports. A missing value is ``n/a``, never 0.
"""

from __future__ import annotations

import datetime as dt
import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from zoneinfo import ZoneInfo

__all__ = [
    "MINUS",
    "NARROW",
    "NOT_AVAILABLE",
    "Scale",
    "amount",
    "clock",
    "count",
    "day",
    "duration",
    "fixed",
    "interval",
    "largest_remainder",
    "level",
    "local_day",
    "minutes",
    "month",
    "percent",
    "plural",
    "probability_value",
    "ratio",
    "scale_for",
    "seconds_between",
    "short_day",
    "significant",
    "supported",
]

MINUS = "\u2212"
NARROW = "\u202f"
NOT_AVAILABLE = "n/a"

_DAYS = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")
_MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")


@dataclass(frozen=True, slots=True)
class Scale:
    """The unit that a group of amounts shares, so that they can be compared at a glance.

    Parameters
    ----------
    divisor : float
        Currency units in one display unit.
    suffix : str
        Written directly after the number.
    decimals : int
        Decimals shown when nothing limits the precision.
    """

    divisor: float
    suffix: str
    decimals: int

    def rounded(self, decimals: int) -> Scale:
        """Return the same unit with at most `decimals` decimals."""
        return Scale(self.divisor, self.suffix, min(self.decimals, decimals))


_SCALES = (
    (1e9, Scale(1e9, "bn", 2)),
    # 0.99m reads better beside 4.12m than 990.0k does.
    (5e5, Scale(1e6, "m", 2)),
    (1e2, Scale(1e3, "k", 1)),
    (0.0, Scale(1.0, "", 0)),
)


def scale_for(values: Iterable[float | None]) -> Scale:
    """Choose the unit of a group of amounts from its largest member."""
    largest = max((abs(value) for value in values if value is not None), default=0.0)
    scale = next(scale for least, scale in _SCALES if largest >= least)
    # Beside hundreds, a second decimal is noise to the eye.
    return scale.rounded(1) if largest >= 100 * scale.divisor else scale


def fixed(value: float, decimals: int, *, signed: bool = False) -> str:
    """Write a number with a fixed number of decimals, thousands apart; what rounds to zero has no sign."""
    text = f"{abs(value):,.{decimals}f}"
    if not any(digit in "123456789" for digit in text):
        return text
    if value < 0:
        return MINUS + text
    return "+" + text if signed else text


def supported(scale: Scale, low: float | None, high: float | None) -> Scale:
    """Drop decimals that an interval does not support: one beyond ±0.1 unit, none beyond ±5."""
    if low is None or high is None:
        return scale
    half_width = abs(high - low) / 2 / scale.divisor
    if half_width > 5.0:
        return scale.rounded(0)
    return scale.rounded(1) if half_width > 0.1 else scale


def amount(
    value: float | None,
    scale: Scale | None = None,
    *,
    low: float | None = None,
    high: float | None = None,
    signed: bool = False,
    suffix: bool = True,
) -> str:
    """Write an amount of money, for example ``4.12m``, at the precision that its interval supports.

    Examples
    --------
    >>> amount(4_123_456.0, low=4_050_000.0, high=4_190_000.0)
    '4.12m'
    >>> amount(4_123_456.0, low=3_900_000.0, high=4_390_000.0)
    '4.1m'
    """
    if value is None:
        return NOT_AVAILABLE
    used = supported(scale or scale_for([value]), low, high)
    return fixed(value / used.divisor, used.decimals, signed=signed) + (used.suffix if suffix else "")


def interval(
    low: float | None, high: float | None, scale: Scale, *, signed: bool = False, note: str | None = None
) -> str:
    """Write ``4.05 – 4.19``, a one-sided ``above 3.31``, or the reason why there is none."""
    used = supported(scale, low, high)

    def text(value: float) -> str:
        return fixed(value / used.divisor, used.decimals, signed=signed)

    if low is not None and high is not None:
        return f"{text(low)} – {text(high)}"
    if low is not None:
        return f"above {text(low)}"
    if high is not None:
        return f"below {text(high)}"
    return note or "no interval"


def percent(value: float | None, decimals: int = 0, *, signed: bool = False) -> str:
    """Write a fraction as a percentage."""
    if value is None:
        return NOT_AVAILABLE
    return f"{fixed(100.0 * value, decimals, signed=signed)}{NARROW}%"


def level(value: float) -> str:
    """Write a confidence level with just the decimals it needs: ``99 %``, ``97.5 %``, ``99.9 %``."""
    text = f"{100.0 * value:.4f}".rstrip("0").rstrip(".")
    return f"{text}{NARROW}%"


def probability_value(value: float | None) -> str:
    """Write a p-value with two decimals, ``< 0.01`` below that."""
    if value is None:
        return NOT_AVAILABLE
    return f"<{NARROW}0.01" if value < 0.01 else fixed(value, 2)


def ratio(value: float | None) -> str:
    """Write a multiple, for example ``1.05×``."""
    return NOT_AVAILABLE if value is None else f"{fixed(value, 2)}×"


def significant(value: float | str | bool | None) -> str:
    """Write a value in full: ten significant digits of a number, ``yes`` or ``no``, a word, ``none``.

    Examples
    --------
    >>> significant(-0.25), significant(10.450583572185565), significant(None), significant(True)
    ('−0.25', '10.45058357', 'none', 'yes')
    """
    if value is None:
        return "none"
    if isinstance(value, bool):
        return "yes" if value else "no"
    return value if isinstance(value, str) else f"{value:.10g}".replace("-", MINUS)


def count(value: int | None) -> str:
    """Write a whole number with its thousands apart."""
    return NOT_AVAILABLE if value is None else fixed(float(value), 0)


def plural(number: int, one: str, many: str | None = None) -> str:
    """Write ``1 breach`` or ``3 breaches``."""
    return f"{count(number)} {one if number == 1 else many or one + 's'}"


def day(value: str | None) -> str:
    """Write an ISO date as ``Thu 19 Nov 2026``."""
    if value is None:
        return NOT_AVAILABLE
    date = dt.date.fromisoformat(value)
    return f"{_DAYS[date.weekday()]} {date.day} {_MONTHS[date.month - 1]} {date.year}"


def short_day(value: str) -> str:
    """Write an ISO date as ``19 Nov 2026``."""
    date = dt.date.fromisoformat(value)
    return f"{date.day} {_MONTHS[date.month - 1]} {date.year}"


def month(value: dt.date) -> str:
    """Write the month of an axis, with the year where it changes."""
    name = _MONTHS[value.month - 1]
    return f"{name} {value.year}" if value.month == 1 else name


def clock(value: str, zone: str, *, seconds: bool = False) -> str:
    """Write an ISO instant as 24-hour time on the exchange's clock."""
    local = _instant(value).astimezone(ZoneInfo(zone))
    return local.strftime("%H:%M:%S" if seconds else "%H:%M")


def local_day(value: str, zone: str) -> str:
    """ISO date of an instant on the exchange's clock."""
    return _instant(value).astimezone(ZoneInfo(zone)).date().isoformat()


def seconds_between(start: str, end: str) -> float:
    """Seconds from one ISO instant to another."""
    return (_instant(end) - _instant(start)).total_seconds()


def duration(seconds: float) -> str:
    """Write a duration: ``43 min 12 s``, ``12.4 s``, ``2 h 49 min``."""
    if seconds < 60:
        return f"{fixed(seconds, 1)}{NARROW}s"
    whole = round(seconds)
    if whole < 3600:
        return f"{whole // 60}{NARROW}min {whole % 60}{NARROW}s"
    return f"{whole // 3600:,}{NARROW}h {whole % 3600 // 60}{NARROW}min"


def minutes(seconds: float) -> str:
    """Write a stage's time as ``5:12``."""
    whole = round(seconds)
    return f"{whole // 60}:{whole % 60:02d}"


def largest_remainder(values: Sequence[float], total: float, decimals: int) -> list[float]:
    """Round parts so that they add up to the rounded total.

    Parameters
    ----------
    values : sequence of float
        Parts, in display units.
    total : float
        Their total, in display units.
    decimals : int
        Decimals shown.

    Returns
    -------
    list of float
        Rounded parts; each differs from its own value by less than one unit of the last decimal, as long as
        the parts do sum to the total.
    """
    unit = 10.0**-decimals
    floors = [math.floor(value / unit) for value in values]
    missing = round(total / unit) - sum(floors)
    order = sorted(range(len(values)), key=lambda i: (floors[i] - values[i] / unit, i))
    for index in order[: max(0, missing)]:
        floors[index] += 1
    return [round(whole * unit, decimals) for whole in floors]


def _instant(value: str) -> dt.datetime:
    instant = dt.datetime.fromisoformat(value)
    if instant.tzinfo is None:
        raise ValueError(f"time {value!r} has no zone")
    return instant
