"""What a number of exceptions means to the Basel Committee: the zone and the capital multiplier."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

from acceleray.numerics.binomial import binomial_cdf

__all__ = [
    "TrafficLight",
    "Zone",
    "capital_multiplier",
    "check_counts",
    "plus_factor",
    "traffic_light",
    "zone_of",
]

Zone = Literal["green", "yellow", "red"]

# Basel Committee (1996), Supervisory framework for the use of backtesting, table 2: where the probability of
# at most that many exceptions reaches 95% and 99.99%, and the increase of the scaling factor of 3.
_YELLOW, _RED = 0.95, 0.9999
_PLUS_FACTORS = (0.0, 0.0, 0.0, 0.0, 0.0, 0.4, 0.5, 0.65, 0.75, 0.85, 1.0)
# Basel Committee, MAR32.9: multiplier for exceptions in 250 days at 99%.
_MULTIPLIERS = (1.5, 1.5, 1.5, 1.5, 1.5, 1.7, 1.76, 1.83, 1.88, 1.92, 2.0)


@dataclass(frozen=True, slots=True, kw_only=True)
class TrafficLight:
    """Zone of a number of exceptions.

    Parameters
    ----------
    zone : {"green", "yellow", "red"}
        Split where the cumulative probability reaches 95% and 99.99%.
    cumulative_probability : float
        Probability of at most that many exceptions if the forecasts are right.
    multiplier : float or None
        Capital multiplier of MAR32.9; defined for 250 days at 99% only.
    plus_factor : float or None
        Increase of the scaling factor of 3 in the framework of 1996; for the same case only.
    """

    zone: Zone
    cumulative_probability: float
    multiplier: float | None
    plus_factor: float | None


def traffic_light(*, exceptions: int, days: int, level: float) -> TrafficLight:
    """Put a number of exceptions into its zone.

    Parameters
    ----------
    exceptions, days : int
        Days with an exception, and days with a forecast, at least one.
    level : float
        Level of the forecasts as a fraction.

    Returns
    -------
    TrafficLight

    Raises
    ------
    ValueError
        If the counts or the level are out of range.

    Examples
    --------
    >>> traffic_light(exceptions=5, days=250, level=0.99).zone
    'yellow'
    """
    check_counts(exceptions, days, level)
    if days == 0:
        raise ValueError("a traffic light needs at least one day")
    cumulative = binomial_cdf(exceptions, n=days, probability=1.0 - level)
    regulatory = days == 250 and math.isclose(level, 0.99, rel_tol=1e-12)
    return TrafficLight(
        zone=zone_of(cumulative),
        cumulative_probability=cumulative,
        multiplier=capital_multiplier(exceptions) if regulatory else None,
        plus_factor=plus_factor(exceptions) if regulatory else None,
    )


def zone_of(cumulative_probability: float) -> Zone:
    """Zone of the probability of at most the exceptions that were seen."""
    if cumulative_probability < _YELLOW:
        return "green"
    return "yellow" if cumulative_probability < _RED else "red"


def capital_multiplier(exceptions: int) -> float:
    """Multiplier of MAR32.9 for exceptions at 99% in 250 days.

    Examples
    --------
    >>> [capital_multiplier(count) for count in (4, 5, 9, 25)]
    [1.5, 1.7, 1.92, 2.0]
    """
    return _of_count(_MULTIPLIERS, exceptions)


def plus_factor(exceptions: int) -> float:
    """Increase of the scaling factor of 3 for exceptions at 99% in 250 days, as of 1996.

    Examples
    --------
    >>> [plus_factor(count) for count in (4, 5, 9, 25)]
    [0.0, 0.4, 0.85, 1.0]
    """
    return _of_count(_PLUS_FACTORS, exceptions)


def check_counts(exceptions: int, days: int, level: float) -> None:
    """Refuse counts and levels that no backtest can have.

    Raises
    ------
    ValueError
        Naming what was out of range.
    """
    if not 0 <= exceptions <= days:
        raise ValueError(f"exceptions must lie between 0 and {days} days, was {exceptions}")
    if not 0.0 < level < 1.0:
        raise ValueError(f"level must lie between 0 and 1, was {level}")


def _of_count(table: tuple[float, ...], exceptions: int) -> float:
    if exceptions < 0:
        raise ValueError(f"exceptions must not be negative, was {exceptions}")
    return table[min(exceptions, len(table) - 1)]
