"""What was visible at a close: returns, volatilities, drawdowns and the market model over trailing windows.

Every window is summed afresh, from its oldest day to its newest, one day of all windows at a time. A running
sum would be quicker still, but it carries the rounding of every value that ever entered it; here a row
depends on nothing outside its own window, to the last bit. The order of the additions is written out because
NumPy does not promise one for a reduction along an axis.

Series run forward in time, one value per session. A run of NaN at the front means "not known yet"; anything
else that is not finite raises. Results are NaN while a window is incomplete.
"""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt

from acceleray.errors import NumericalError

__all__ = [
    "MARKET_MODEL_DAYS",
    "credit_features",
    "index_features",
    "log_levels",
    "market_model",
    "market_model_features",
    "oil_features",
    "own_features",
    "trailing_change",
    "trailing_drawdown",
    "trailing_rally",
    "trailing_volatility",
]

FloatArray = npt.NDArray[np.float64]

MARKET_MODEL_DAYS = 120

# Three months of sessions.
_QUARTER_DAYS = 63

# Momentum leaves out the last month, whose returns tend to reverse: Jegadeesh (1990), Evidence of Predictable
# Behavior of Security Returns, Journal of Finance 45(3).
_MOMENTUM_DAYS, _MOMENTUM_SKIP_DAYS = 250, 20


def log_levels(levels: FloatArray) -> FloatArray:
    """Take the natural logarithm of a series of levels.

    Parameters
    ----------
    levels : ndarray of shape (n_sessions,)
        Positive levels, possibly after a run of NaN.

    Returns
    -------
    ndarray of shape (n_sessions,)

    Raises
    ------
    NumericalError
        If a level is infinite, not positive, or missing after the first one.
    """
    values = _series(levels)
    known = values[_first_known(values) :]
    if (known <= 0.0).any():
        raise NumericalError(f"log level: expected positive levels, was {float(known.min())!r}")
    result = np.full(values.shape, np.nan)
    # One by one: NumPy's vectorised logarithm rounds differently from processor to processor.
    result[values.size - known.size :] = [math.log(level) for level in known.tolist()]
    return result


def trailing_change(values: FloatArray, *, days: int) -> FloatArray:
    """Change over the last `days` sessions; of log levels, the log return.

    Examples
    --------
    >>> trailing_change(np.array([1.0, 2.0, 4.0, 8.0]), days=2)
    array([nan, nan,  3.,  6.])
    """
    values = _series(values)
    result = np.full(values.shape, np.nan)
    if values.size > days:
        result[days:] = values[days:] - values[:-days]
    return result


def trailing_volatility(log_values: FloatArray, *, days: int) -> FloatArray:
    """Take the standard deviation of the last `days` daily log returns.

    Parameters
    ----------
    log_values : ndarray of shape (n_sessions,)
        Log levels.
    days : int
        Returns in a window, at least two. A window needs ``days + 1`` closes.

    Returns
    -------
    ndarray of shape (n_sessions,)
        Daily volatility with divisor ``days - 1``.
    """
    returns = trailing_change(log_values, days=1)
    _, squares = _mean_and_squares(returns, days)
    return _placed(np.sqrt(squares / (days - 1)), returns.size, days)


def trailing_drawdown(log_values: FloatArray, *, days: int) -> FloatArray:
    """Log loss since the highest of the last `days` closes, today included: positive, zero at a new high."""
    values = _series(log_values)
    return _placed(_highest(values, days) - values[days - 1 :], values.size, days)


def trailing_rally(log_values: FloatArray, *, days: int) -> FloatArray:
    """Log gain since the lowest of the last `days` closes, today included: positive, zero at a new low."""
    return trailing_drawdown(-_series(log_values), days=days)


def market_model(
    log_values: FloatArray, index_log_values: FloatArray, *, days: int
) -> tuple[FloatArray, FloatArray, FloatArray]:
    r"""Regress daily log returns on those of the index over trailing windows.

    Parameters
    ----------
    log_values, index_log_values : ndarray of shape (n_sessions,)
        Log levels on the same sessions.
    days : int
        Returns in a window, at least three.

    Returns
    -------
    beta, correlation, idiosyncratic_volatility : ndarray of shape (n_sessions,)
        The residual volatility is daily. All are NaN where the index does not move in the window, the
        correlation also where the series itself does not.

    Notes
    -----
    Least squares with an intercept, :math:`r_t = a + \beta m_t + e_t`; the idiosyncratic volatility is
    :math:`\sqrt{\sum e_t^2 / (n - 2)}`.
    """
    returns = trailing_change(log_values, days=1)
    index_returns = trailing_change(index_log_values, days=1)
    if returns.shape != index_returns.shape:
        raise ValueError(f"market model: {returns.size} sessions, but {index_returns.size} of the index")
    mean, squares = _mean_and_squares(returns, days)
    index_mean, index_squares = _mean_and_squares(index_returns, days)
    n_windows = mean.size
    products = np.zeros(n_windows)
    for day in range(days):
        window = slice(day, day + n_windows)
        products += (returns[window] - mean) * (index_returns[window] - index_mean)
    beta = _ratio(products, index_squares)
    correlation = np.clip(_ratio(products, np.sqrt(squares * index_squares)), -1.0, 1.0)
    residuals = np.zeros(n_windows)
    for day in range(days):
        window = slice(day, day + n_windows)
        residuals += ((returns[window] - mean) - beta * (index_returns[window] - index_mean)) ** 2
    return (
        _placed(beta, returns.size, days),
        _placed(correlation, returns.size, days),
        _placed(np.sqrt(residuals / (days - 2)), returns.size, days),
    )


def own_features(log_values: FloatArray) -> dict[str, FloatArray]:
    """Features that need nothing but the series' own log levels, by name."""
    month = trailing_volatility(log_values, days=20)
    year = trailing_volatility(log_values, days=250)
    momentum = trailing_change(log_values, days=_MOMENTUM_DAYS) - trailing_change(
        log_values, days=_MOMENTUM_SKIP_DAYS
    )
    return {
        "return_1d": trailing_change(log_values, days=1),
        "return_5d": trailing_change(log_values, days=5),
        "return_20d": trailing_change(log_values, days=20),
        "return_60d": trailing_change(log_values, days=60),
        "volatility_20d": month,
        "volatility_60d": trailing_volatility(log_values, days=60),
        "volatility_250d": year,
        "volatility_ratio": _ratio(month, year),
        "drawdown_250d": trailing_drawdown(log_values, days=250),
        "rally_250d": trailing_rally(log_values, days=250),
        "momentum_250d": momentum,
    }


def market_model_features(log_values: FloatArray, index_log_values: FloatArray) -> dict[str, FloatArray]:
    """Beta, correlation and idiosyncratic volatility against the index over 120 sessions, by name."""
    beta, correlation, idiosyncratic = market_model(log_values, index_log_values, days=MARKET_MODEL_DAYS)
    return {
        "beta_120d": beta,
        "correlation_120d": correlation,
        "idiosyncratic_volatility_120d": idiosyncratic,
    }


def index_features(index_log_values: FloatArray) -> dict[str, FloatArray]:
    """State of the stock market, the same for every factor on a date."""
    return {
        "index_return_20d": trailing_change(index_log_values, days=20),
        "index_volatility_20d": trailing_volatility(index_log_values, days=20),
        "index_drawdown_250d": trailing_drawdown(index_log_values, days=250),
    }


def oil_features(oil_log_values: FloatArray) -> dict[str, FloatArray]:
    """State of the oil market, the same for every factor on a date."""
    return {
        "oil_return_20d": trailing_change(oil_log_values, days=20),
        "oil_volatility_20d": trailing_volatility(oil_log_values, days=20),
    }


def credit_features(high_yields: FloatArray, low_yields: FloatArray) -> dict[str, FloatArray]:
    """Spread of the riskier over the safer yield, as a fraction, and its change over 63 sessions."""
    spread = _series(high_yields) - _series(low_yields)
    return {
        "credit_spread": spread,
        "credit_spread_change_3m": trailing_change(spread, days=_QUARTER_DAYS),
    }


def _series(values: FloatArray) -> FloatArray:
    values = np.ascontiguousarray(values, dtype=np.float64)
    if values.ndim != 1:
        raise ValueError(f"series: expected one axis, was {values.ndim}")
    bad = np.flatnonzero(~np.isfinite(values[_first_known(values) :]))
    if bad.size:
        position = _first_known(values) + int(bad[0])
        raise NumericalError(
            f"series: expected finite values after the first, was {values[position]} at {position}"
        )
    return values


def _first_known(values: FloatArray) -> int:
    known = np.flatnonzero(~np.isnan(values))
    return int(known[0]) if known.size else values.size


def _mean_and_squares(values: FloatArray, days: int) -> tuple[FloatArray, FloatArray]:
    """Mean and sum of squared deviations of every window of `days`, in two passes."""
    n_windows = max(values.size - days + 1, 0)
    total = np.zeros(n_windows)
    for day in range(days):
        total += values[day : day + n_windows]
    mean = total / days
    squares = np.zeros(n_windows)
    for day in range(days):
        squares += (values[day : day + n_windows] - mean) ** 2
    return mean, squares


def _highest(values: FloatArray, days: int) -> FloatArray:
    n_windows = max(values.size - days + 1, 0)
    highest = values[:n_windows].copy()
    for day in range(1, days):
        # Unlike fmax, maximum hands a NaN on: a window that starts before the series is incomplete.
        np.maximum(highest, values[day : day + n_windows], out=highest)
    return highest


def _placed(windows: FloatArray, n_sessions: int, days: int) -> FloatArray:
    """Put the value of each window on its last session."""
    result = np.full(n_sessions, np.nan)
    result[days - 1 :] = windows
    return result


def _ratio(numerator: FloatArray, denominator: FloatArray) -> FloatArray:
    """Divide; a zero denominator leaves the ratio undefined, not infinite."""
    result = np.full(numerator.shape, np.nan)
    np.divide(numerator, denominator, out=result, where=denominator != 0.0)
    return result
