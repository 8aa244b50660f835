"""Tests of expected shortfall: were the losses beyond the value at risk as large as forecast.

The three statistics are zero on average if the forecasts are right, and negative if they were too small.
Losses, VaR and ES are positive amounts; the papers write P&L, so signs are turned here.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from acceleray.errors import NumericalError
from acceleray.numerics.tail_laws import normal_tail, student_tail

__all__ = [
    "ShortfallStatistics",
    "ShortfallSums",
    "lower_p_value",
    "shortfall_null",
    "shortfall_statistics",
    "shortfall_sums",
]

FloatArray = npt.NDArray[np.float64]

# Samples per draw of the reference law: 250 days of them are 16 MB.
_CHUNK = 8_192


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class ShortfallStatistics:
    """Statistics of Acerbi and Szekely, each of the leading shape of the losses.

    Parameters
    ----------
    z1 : ndarray
        Mean of ``1 - loss / ES`` over the exceptions; NaN without one. It tests the size of exceptions alone.
    z2 : ndarray
        ``1 - sum over exceptions of loss / ES, over days * (1 - level)``: size and number together.
    z_ridge : ndarray
        Mean of ``1 - (VaR + (loss - VaR)+ / (1 - level)) / ES``, the minimally biased statistic relative to
        ES.
    """

    z1: FloatArray
    z2: FloatArray
    z_ridge: FloatArray


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class ShortfallSums:
    """What the statistics need from some days; sums of several groups of days may be added.

    Parameters
    ----------
    days : int
        Days summed.
    exceptions : ndarray
        Number of exceptions.
    excess : ndarray
        Sum over exceptions of ``loss / ES``.
    ridge : ndarray
        Sum of ``(VaR + (loss - VaR)+ / (1 - level)) / ES``.
    """

    days: int
    exceptions: FloatArray
    excess: FloatArray
    ridge: FloatArray

    def __add__(self, other: ShortfallSums) -> ShortfallSums:
        return ShortfallSums(
            days=self.days + other.days,
            exceptions=self.exceptions + other.exceptions,
            excess=self.excess + other.excess,
            ridge=self.ridge + other.ridge,
        )

    def statistics(self, level: float) -> ShortfallStatistics:
        """Statistics of all summed days."""
        some = self.exceptions > 0
        mean = self.excess / np.where(some, self.exceptions, 1.0)
        return ShortfallStatistics(
            z1=np.where(some, 1.0 - mean, np.nan),
            z2=1.0 - self.excess / (self.days * (1.0 - level)),
            z_ridge=1.0 - self.ridge / self.days,
        )


def shortfall_sums(
    losses: npt.ArrayLike, *, var: npt.ArrayLike, es: npt.ArrayLike, level: float
) -> ShortfallSums:
    """Sum over days what the statistics need.

    Parameters
    ----------
    losses : array_like of shape (..., n_days)
        What happened, or draws of what could have; positive is a loss.
    var, es : array_like, broadcast with `losses`
        Forecasts for each day, positive for a loss.
    level : float
        Level of both forecasts as a fraction.

    Raises
    ------
    NumericalError
        If a value is not finite, or an ES is not positive: the statistics are relative to it.
    """
    loss, quantile, shortfall = (np.asarray(each, dtype=np.float64) for each in (losses, var, es))
    if not 0.0 < level < 1.0:
        raise ValueError(f"level must lie between 0 and 1, was {level}")
    if not all(np.isfinite(each).all() for each in (loss, quantile, shortfall)):
        raise NumericalError("shortfall test: a loss or a forecast was not finite")
    if (shortfall <= 0.0).any():
        raise NumericalError(f"shortfall test: ES must be positive, was {shortfall.min()}")
    over = loss > quantile
    excess = np.where(over, loss / shortfall, 0.0)
    ridge = (quantile + np.maximum(loss - quantile, 0.0) / (1.0 - level)) / shortfall
    return ShortfallSums(
        days=int(excess.shape[-1]),
        exceptions=over.sum(axis=-1, dtype=np.float64),
        excess=np.ascontiguousarray(excess).sum(axis=-1),
        ridge=np.ascontiguousarray(ridge).sum(axis=-1),
    )


def shortfall_statistics(
    losses: npt.ArrayLike, *, var: npt.ArrayLike, es: npt.ArrayLike, level: float
) -> ShortfallStatistics:
    """Compute the statistics of Acerbi and Szekely.

    Parameters
    ----------
    losses, var, es, level
        As for `shortfall_sums`; at least one day.

    Returns
    -------
    ShortfallStatistics

    Notes
    -----
    With P&L ``X = -loss`` the paper [1]_ writes ``Z1 = sum(X I / ES) / N + 1`` and
    ``Z2 = sum(X I / (T alpha ES)) + 1`` with ``alpha = 1 - level``. The minimally biased statistic [2]_ is
    ``e - v - (X + v)- / alpha`` for forecasts ``v, e``. Its expectation is ``e`` less the function of
    Rockafellar and Uryasev at ``v``, which is smallest, and equal to the true ES, at the true VaR. So a wrong
    VaR can only lower the statistic, and by an amount of second order; Z2 moves in the first.

    References
    ----------
    .. [1] Acerbi, Szekely (2014), Backtesting expected shortfall, Risk, December.
    .. [2] Acerbi, Szekely (2019), The minimally biased backtest for ES, Risk, September.

    Examples
    --------
    >>> found = shortfall_statistics([0.0, 3.0], var=[1.0, 1.0], es=[2.0, 2.0], level=0.5)
    >>> float(found.z1), float(found.z2), float(found.z_ridge)
    (-0.5, -0.5, -0.5)
    """
    sums = shortfall_sums(losses, var=var, es=es, level=level)
    if sums.days == 0:
        raise ValueError("a shortfall test needs at least one day")
    return sums.statistics(level)


def shortfall_null(
    generator: np.random.Generator,
    *,
    days: int,
    level: float,
    n_samples: int,
    dof: float | None = None,
) -> ShortfallStatistics:
    """Draw the statistics for right forecasts of independent days with one law.

    Parameters
    ----------
    generator : numpy.random.Generator
        The caller's stream.
    days, level
        Of the test.
    n_samples : int
        Backtests to draw.
    dof : float, optional
        Student-t losses with these degrees of freedom, above 1; normal ones by default.

    Returns
    -------
    ShortfallStatistics
        Arrays of shape (n_samples,). Their low quantiles are critical values: the statistics do not depend on
        the scale of the losses.

    Notes
    -----
    Critical values depend little on the law for Z2: at 97.5% and 250 days the 5% point is -0.70 for normal
    losses [1]_. ``acceleray backtest`` draws from each day's own forecast instead and needs no law.

    References
    ----------
    .. [1] Acerbi, Szekely (2014), Backtesting expected shortfall, Risk, December.
    """
    tail = normal_tail(level) if dof is None else student_tail(level, dof)
    parts = []
    for begin in range(0, n_samples, _CHUNK):
        size = (min(_CHUNK, n_samples - begin), days)
        losses = generator.standard_normal(size) if dof is None else generator.standard_t(dof, size)
        parts.append(shortfall_statistics(losses, var=tail.var, es=tail.es, level=level))
    return ShortfallStatistics(
        z1=np.concatenate([part.z1 for part in parts]),
        z2=np.concatenate([part.z2 for part in parts]),
        z_ridge=np.concatenate([part.z_ridge for part in parts]),
    )


def lower_p_value(statistic: float, null: npt.ArrayLike) -> float:
    """Probability of a statistic as low as the one seen, from draws of it under right forecasts.

    Parameters
    ----------
    statistic : float
        What was seen.
    null : array_like of shape (n_samples,)
        Draws; NaN is a sample in which the statistic does not exist.

    Returns
    -------
    float
        ``(1 + draws not above the statistic) / (1 + draws)``: never zero, and right on average for any number
        of draws.

    Raises
    ------
    NumericalError
        If the statistic is not finite or there is no draw.
    """
    draws = np.asarray(null, dtype=np.float64)
    draws = draws[~np.isnan(draws)]
    if not np.isfinite(statistic) or draws.size == 0:
        raise NumericalError(f"p-value: {statistic} against {draws.size} draws")
    return float((1 + np.count_nonzero(draws <= statistic)) / (1 + draws.size))
