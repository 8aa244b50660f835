"""Scores that rank forecasts of VaR and ES, and the test of whether one ranks below another by chance.

A smaller score is a better forecast. Both scores are consistent: on average the true forecast has the
smallest. Losses, VaR and ES are positive amounts.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy import special

from acceleray.errors import NumericalError

__all__ = ["ScoreComparison", "diebold_mariano", "joint_score", "long_run_variance", "quantile_score"]

FloatArray = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True, kw_only=True)
class ScoreComparison:
    """Difference of two mean scores.

    Parameters
    ----------
    difference : float
        Mean of the first score less the second: negative if the first forecast was better.
    statistic, p_value : float or None
        Standard normal if both are equally good, two-sided; None where the differences do not vary.
    lags : int
        Autocovariances in the standard error.
    """

    difference: float
    statistic: float | None
    p_value: float | None
    lags: int


def quantile_score(losses: npt.ArrayLike, *, var: npt.ArrayLike, level: float) -> FloatArray:
    """Score VaR forecasts day by day by the pinball loss.

    Parameters
    ----------
    losses, var : array_like of shape (n_days,)
        What happened, and what was forecast; positive is a loss.
    level : float
        Level of the forecasts as a fraction.

    Returns
    -------
    ndarray of shape (n_days,)
        ``level * (loss - VaR)`` above the forecast, ``(1 - level) * (VaR - loss)`` below; in the currency of
        the losses.

    Raises
    ------
    NumericalError
        If a value is not finite.

    References
    ----------
    .. [1] Koenker, Bassett (1978), Regression quantiles, Econometrica 46(1).

    Examples
    --------
    >>> quantile_score([1.0, 5.0], var=[2.0, 2.0], level=0.75).tolist()
    [0.25, 2.25]
    """
    loss, quantile = _finite(level, losses, var)
    return np.asarray((level - (loss < quantile)) * (loss - quantile))


def joint_score(losses: npt.ArrayLike, *, var: npt.ArrayLike, es: npt.ArrayLike, level: float) -> FloatArray:
    """Score VaR and ES forecasts together by FZ0, the Fissler-Ziegel score of degree zero.

    Parameters
    ----------
    losses, var, es : array_like of shape (n_days,)
        What happened, and what was forecast; positive is a loss.
    level : float
        Level of both forecasts as a fraction.

    Returns
    -------
    ndarray of shape (n_days,)
        ``(loss - VaR)+ / ((1 - level) ES) + VaR / ES + log(ES) - 1``. Differences of it between forecasts do
        not depend on the currency.

    Raises
    ------
    NumericalError
        If a value is not finite, or an ES is not positive: no score of this degree exists there.

    Notes
    -----
    Among the scores of Fissler and Ziegel [1]_ this is the only one whose differences are homogeneous of
    degree zero [2]_; the paper writes P&L and negative forecasts.

    References
    ----------
    .. [1] Fissler, Ziegel (2016), Higher order elicitability and Osband's principle, Annals of Statistics
       44(4).
    .. [2] Patton, Ziegel, Chen (2019), Dynamic semiparametric models for expected shortfall (and value at
       risk), J. Econometrics 211(2).

    Examples
    --------
    >>> joint_score([0.0, 3.0], var=[0.5, 0.5], es=[1.0, 1.0], level=0.5).tolist()
    [-0.5, 4.5]
    """
    loss, quantile, shortfall = _finite(level, losses, var, es)
    if (shortfall <= 0.0).any():
        raise NumericalError(f"joint score: ES must be positive, was {shortfall.min()}")
    excess = np.maximum(loss - quantile, 0.0) / (1.0 - level)
    return np.asarray((excess + quantile) / shortfall + np.log(shortfall) - 1.0)


def diebold_mariano(first: npt.ArrayLike, second: npt.ArrayLike, *, horizon_days: int = 1) -> ScoreComparison:
    """Test whether two forecasts score equally well on average.

    Parameters
    ----------
    first, second : array_like of shape (n_days,)
        Scores of the two on the same days, in order of time.
    horizon_days : int
        Days that each forecast spans; neighbours overlap by one less.

    Returns
    -------
    ScoreComparison

    Raises
    ------
    NumericalError
        If a score is not finite.

    Notes
    -----
    The standard error is that of Newey and West [2]_. Its lags are at least ``horizon_days - 1``, over which
    overlapping forecasts depend by construction, and at least ``4 (n / 100)**(2/9)``.

    References
    ----------
    .. [1] Diebold, Mariano (1995), Comparing predictive accuracy, J. Business and Economic Statistics 13(3).
    .. [2] Newey, West (1987), A simple, positive semi-definite, heteroskedasticity and autocorrelation
       consistent covariance matrix, Econometrica 55(3).
    """
    one, other = np.asarray(first, dtype=np.float64), np.asarray(second, dtype=np.float64)
    if one.shape != other.shape or one.ndim != 1 or one.size < 2:
        raise ValueError(f"scores must have one axis of two days or more, were {one.shape}, {other.shape}")
    if horizon_days < 1:
        raise ValueError(f"horizon_days must be at least 1, was {horizon_days}")
    differences = one - other
    lags = max(horizon_days - 1, int(4.0 * (one.size / 100.0) ** (2.0 / 9.0)))
    lags = min(lags, one.size - 1)
    variance = long_run_variance(differences, lags=lags)
    mean = float(differences.mean())
    if variance <= 0.0:
        return ScoreComparison(difference=mean, statistic=None, p_value=None, lags=lags)
    statistic = mean / float(np.sqrt(variance / one.size))
    return ScoreComparison(
        difference=mean,
        statistic=statistic,
        p_value=float(2.0 * special.ndtr(-abs(statistic))),
        lags=lags,
    )


def long_run_variance(values: npt.ArrayLike, *, lags: int) -> float:
    """Variance of ``sqrt(n)`` times the mean of dependent values, with the weights of Bartlett.

    Parameters
    ----------
    values : array_like of shape (n,)
        In order of time.
    lags : int
        Autocovariances counted, with weights ``1 - k / (lags + 1)``.

    Raises
    ------
    NumericalError
        If a value is not finite.
    """
    array = np.asarray(values, dtype=np.float64)
    if not np.isfinite(array).all():
        raise NumericalError("long-run variance: a value was not finite")
    if not 0 <= lags < array.size:
        raise ValueError(f"lags must lie between 0 and {array.size - 1}, was {lags}")
    centred = array - array.mean()
    variance = float((centred**2).sum())
    for lag in range(1, lags + 1):
        variance += 2.0 * (1.0 - lag / (lags + 1.0)) * float((centred[lag:] * centred[:-lag]).sum())
    return variance / array.size


def _finite(level: float, *values: npt.ArrayLike) -> tuple[FloatArray, ...]:
    if not 0.0 < level < 1.0:
        raise ValueError(f"level must lie between 0 and 1, was {level}")
    arrays = tuple(np.asarray(value, dtype=np.float64) for value in values)
    if not all(np.isfinite(array).all() for array in arrays):
        raise NumericalError("score: a loss or a forecast was not finite")
    return arrays
