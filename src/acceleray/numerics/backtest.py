"""Were the forecasts right: coverage and independence of value-at-risk exceptions, and the traffic light.

An exception is a day whose loss was larger than the value at risk forecast for it.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt
from scipy import special

from acceleray.numerics.binomial import binomial_cdf

__all__ = [
    "LikelihoodRatio",
    "TrafficLight",
    "christoffersen",
    "conditional_coverage",
    "kupiec",
    "traffic_light",
]

# Basel Committee (1996), Supervisory framework for the use of backtesting, table 2: where the probability of
# at most that many exceptions reaches 95% and 99.99%.
_YELLOW, _RED = 0.95, 0.9999
# Basel Committee, MAR32.9: multiplier for exceptions in 250 days at 99%.
_MULTIPLIERS = (1.5, 1.5, 1.5, 1.5, 1.5, 1.7, 1.76, 1.83, 1.88, 1.92, 2.0)


@dataclass(frozen=True, slots=True, kw_only=True)
class LikelihoodRatio:
    """A likelihood-ratio test.

    Parameters
    ----------
    statistic, p_value : float or None
        None where the data cannot decide.
    note : str
        Why there is no result; empty otherwise.
    """

    statistic: float | None
    p_value: float | None
    note: str = ""


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
    """

    zone: Literal["green", "yellow", "red"]
    cumulative_probability: float
    multiplier: float | None


def kupiec(*, exceptions: int, days: int, level: float) -> LikelihoodRatio:
    """Test whether the share of exceptions is ``1 - level`` (proportion of failures).

    Parameters
    ----------
    exceptions, days : int
        Days with an exception, and days with a forecast.
    level : float
        Level of the forecasts as a fraction.

    Returns
    -------
    LikelihoodRatio
        Chi-square with one degree of freedom; without result for no days.

    Raises
    ------
    ValueError
        If the counts or the level are out of range.

    References
    ----------
    .. [1] Kupiec (1995), Techniques for verifying the accuracy of risk measurement models, J. Derivatives
    3(2).

    Examples
    --------
    >>> round(kupiec(exceptions=6, days=250, level=0.99).statistic, 6)
    3.555355
    """
    _check(exceptions, days, level)
    if days == 0:
        return LikelihoodRatio(statistic=None, p_value=None, note="no days to test")
    rate = exceptions / days
    ratio = _log_likelihood(exceptions, days, rate) - _log_likelihood(exceptions, days, 1.0 - level)
    return _chi_square(2.0 * ratio, degrees=1)


def christoffersen(hits: npt.ArrayLike) -> LikelihoodRatio:
    """Test whether an exception makes another one on the next day more or less likely.

    Parameters
    ----------
    hits : array_like of bool, shape (n_days,)
        Whether each day was an exception, in order of time.

    Returns
    -------
    LikelihoodRatio
        Chi-square with one degree of freedom; without result where exceptions or quiet days are missing on
        either side of the transitions, because then nothing can be compared.

    Notes
    -----
    Compares the chance of an exception after a quiet day with that after an exception, with ``0 log 0 = 0``
    [1]_.

    References
    ----------
    .. [1] Christoffersen (1998), Evaluating interval forecasts, Int. Economic Review 39(4).
    """
    (n00, n01), (n10, n11) = _transitions(hits)
    reason = _undefined(n00, n01, n10, n11)
    if reason:
        return LikelihoodRatio(statistic=None, p_value=None, note=reason)
    pooled = (n01 + n11) / (n00 + n01 + n10 + n11)
    alone = _log_likelihood(n01 + n11, n00 + n01 + n10 + n11, pooled)
    return _chi_square(2.0 * (_markov_log_likelihood(n00, n01, n10, n11) - alone), degrees=1)


def conditional_coverage(hits: npt.ArrayLike, *, level: float) -> LikelihoodRatio:
    """Test coverage and independence together.

    Parameters
    ----------
    hits : array_like of bool, shape (n_days,)
        Whether each day was an exception, in order of time.
    level : float
        Level of the forecasts as a fraction.

    Returns
    -------
    LikelihoodRatio
        Chi-square with two degrees of freedom, on the transitions: the first day only conditions. Without
        result where `christoffersen` has none.
    """
    if not 0.0 < level < 1.0:
        raise ValueError(f"level must lie between 0 and 1, was {level}")
    (n00, n01), (n10, n11) = _transitions(hits)
    reason = _undefined(n00, n01, n10, n11)
    if reason:
        return LikelihoodRatio(statistic=None, p_value=None, note=reason)
    forecast = _log_likelihood(n01 + n11, n00 + n01 + n10 + n11, 1.0 - level)
    return _chi_square(2.0 * (_markov_log_likelihood(n00, n01, n10, n11) - forecast), degrees=2)


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
    _check(exceptions, days, level)
    if days == 0:
        raise ValueError("a traffic light needs at least one day")
    cumulative = binomial_cdf(exceptions, n=days, probability=1.0 - level)
    zone: Literal["green", "yellow", "red"] = (
        "green" if cumulative < _YELLOW else "yellow" if cumulative < _RED else "red"
    )
    regulatory = days == 250 and math.isclose(level, 0.99, rel_tol=1e-12)
    return TrafficLight(
        zone=zone,
        cumulative_probability=cumulative,
        multiplier=_MULTIPLIERS[min(exceptions, 10)] if regulatory else None,
    )


def _check(exceptions: int, days: int, level: float) -> None:
    if not 0 <= exceptions <= days:
        raise ValueError(f"exceptions must lie between 0 and {days} days, was {exceptions}")
    if not 0.0 < level < 1.0:
        raise ValueError(f"level must lie between 0 and 1, was {level}")


def _log_likelihood(successes: int, trials: int, rate: float) -> float:
    return float(special.xlogy(successes, rate) + special.xlog1py(trials - successes, -rate))


def _markov_log_likelihood(n00: int, n01: int, n10: int, n11: int) -> float:
    return _log_likelihood(n01, n00 + n01, n01 / (n00 + n01)) + _log_likelihood(
        n11, n10 + n11, n11 / (n10 + n11)
    )


def _chi_square(statistic: float, *, degrees: int) -> LikelihoodRatio:
    # Two equal likelihoods may differ by rounding.
    statistic = max(statistic, 0.0)
    return LikelihoodRatio(statistic=statistic, p_value=float(special.chdtrc(degrees, statistic)))


def _transitions(hits: npt.ArrayLike) -> tuple[tuple[int, int], tuple[int, int]]:
    array = np.asarray(hits)
    if array.ndim != 1 or array.dtype != np.bool_:
        raise ValueError(f"hits must be one axis of bool, was {array.dtype} of shape {array.shape}")
    before, after = array[:-1], array[1:]
    return (
        (int((~before & ~after).sum()), int((~before & after).sum())),
        (int((before & ~after).sum()), int((before & after).sum())),
    )


def _undefined(n00: int, n01: int, n10: int, n11: int) -> str:
    if n00 + n01 + n10 + n11 == 0:
        return "independence needs at least two days"
    if n10 + n11 == 0:
        return "independence cannot be tested: no exception before the last day"
    if n01 + n11 == 0:
        return "independence cannot be tested: no exception after the first day"
    if n00 + n01 == 0:
        return "independence cannot be tested: every day before the last was an exception"
    if n00 + n10 == 0:
        return "independence cannot be tested: every day after the first was an exception"
    return ""
