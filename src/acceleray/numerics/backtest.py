"""Were the forecasts right: the tests of value at risk and expected shortfall against what happened.

Here are the tests of coverage and independence; the modules beside this one hold the others, and all are
offered from here. Losses and forecasts are positive amounts. An exception is a day whose loss was larger than
the value at risk forecast for it.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy import special

from acceleray.numerics.attribution import (
    Attribution,
    attribution_test,
    desk_passes,
    kolmogorov_smirnov_distance,
    spearman_correlation,
)
from acceleray.numerics.backtest_overlap import ExceptionBounds, overlapping_exceptions
from acceleray.numerics.backtest_scores import (
    ScoreComparison,
    diebold_mariano,
    joint_score,
    long_run_variance,
    quantile_score,
)
from acceleray.numerics.backtest_shortfall import (
    ShortfallStatistics,
    lower_p_value,
    shortfall_null,
    shortfall_statistics,
)
from acceleray.numerics.traffic_light import (
    TrafficLight,
    capital_multiplier,
    check_counts,
    plus_factor,
    traffic_light,
)

__all__ = [
    "Attribution",
    "ExceptionBounds",
    "LikelihoodRatio",
    "ScoreComparison",
    "ShortfallStatistics",
    "TrafficLight",
    "attribution_test",
    "capital_multiplier",
    "christoffersen",
    "conditional_coverage",
    "desk_passes",
    "diebold_mariano",
    "joint_score",
    "kolmogorov_smirnov_distance",
    "kupiec",
    "long_run_variance",
    "lower_p_value",
    "overlapping_exceptions",
    "plus_factor",
    "quantile_score",
    "shortfall_null",
    "shortfall_statistics",
    "spearman_correlation",
    "traffic_light",
]


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
    check_counts(exceptions, days, level)
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
