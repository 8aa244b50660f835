"""Tests of a variance model's standardised residuals: what it left unexplained.

Workers load SciPy's special functions only when a test is made.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from acceleray.errors import NumericalError

__all__ = ["jarque_bera", "ljung_box", "sign_bias"]

FloatArray = npt.NDArray[np.float64]

# A regressor that others explain up to rounding carries no information of its own.
_EXPLAINED = 1e-12


def ljung_box(values: FloatArray, *, lags: int = 10) -> tuple[float, float]:
    """Test that a series has no autocorrelation up to a lag.

    Parameters
    ----------
    values : ndarray of shape (n,)
        For what is left of volatility clusters: squared standardised residuals.
    lags : int
        Autocorrelations that are looked at, fewer than n.

    Returns
    -------
    statistic, p_value : float
        From the chi-square law with `lags` degrees of freedom.

    Raises
    ------
    NumericalError
        If a value is not finite, there are too few, or all are the same.

    Notes
    -----
    ``n (n + 2) sum over k of r[k]**2 / (n - k)``. Parameters that were estimated from the same data make the
    statistic a little smaller than its law says, so the test is rather too kind (Li and Mak 1994).

    References
    ----------
    .. [1] Ljung, Box (1978), On a measure of lack of fit in time series models, Biometrika 65(2).
    .. [2] McLeod, Li (1983), Diagnostic checking ARMA time series models using squared-residual
       autocorrelations, J. Time Series Analysis 4(4).

    Examples
    --------
    >>> statistic, p_value = ljung_box(np.array([1.0, -1.0] * 50), lags=1)
    >>> round(statistic, 3), p_value < 1e-20
    (100.99, True)
    """
    centred, total = _centred(values, more_than=lags)
    n = values.size
    ratios = [float((centred[lag:] * centred[:-lag]).sum()) / total for lag in range(1, lags + 1)]
    statistic = n * (n + 2) * sum(ratio**2 / (n - lag) for lag, ratio in enumerate(ratios, start=1))
    return statistic, _chi_square_tail(statistic, lags)


def jarque_bera(values: FloatArray) -> tuple[float, float]:
    """Test that a sample has the skewness and the kurtosis of a normal law.

    Parameters
    ----------
    values : ndarray of shape (n,)
        Standardised residuals.

    Returns
    -------
    statistic, p_value : float
        From the chi-square law with two degrees of freedom.

    Raises
    ------
    NumericalError
        If a value is not finite, there are fewer than two, or all are the same.

    References
    ----------
    .. [1] Jarque, Bera (1980), Efficient tests for normality, homoscedasticity and serial independence of
       regression residuals, Economics Letters 6(3).

    Examples
    --------
    >>> [round(number, 4) for number in jarque_bera(np.array([-1.0, 0.0, 0.0, 0.0, 1.0]))]
    [0.0521, 0.9743]
    """
    centred, total = _centred(values, more_than=1)
    variance = total / values.size
    skewness = float((centred**3).mean()) / variance**1.5
    kurtosis = float((centred**4).mean()) / variance**2
    statistic = values.size / 6.0 * (skewness**2 + (kurtosis - 3.0) ** 2 / 4.0)
    return statistic, _chi_square_tail(statistic, 2)


def sign_bias(residuals: FloatArray, moves: FloatArray) -> tuple[float, float]:
    """Test that sign and size of a move say no more about the next squared residual.

    Parameters
    ----------
    residuals : ndarray of shape (n,)
        Standardised residuals.
    moves : ndarray of shape (n,)
        What was standardised.

    Returns
    -------
    statistic, p_value : float
        Of the joint test of Engle and Ng: n R² of the regression of a squared residual on the sign of the
        move before, and on its size where it was negative and where it was not; chi-square with as many
        degrees of freedom as regressors that are not combinations of others, three as a rule.

    Raises
    ------
    NumericalError
        If a value is not finite, or all squared residuals are the same.

    References
    ----------
    .. [1] Engle, Ng (1993), Measuring and testing the impact of news on volatility, J. of Finance 48(5).
    """
    before = moves[:-1]
    # Sums in one fixed order: a linear algebra library splits them by the number of its threads.
    left, total = _centred(residuals[1:] ** 2, more_than=4)
    basis: list[FloatArray] = []
    negative = before < 0
    for regressor in (negative.astype(np.float64), np.minimum(before, 0.0), np.maximum(before, 0.0)):
        scale = float((regressor**2).sum())
        column = regressor - regressor.mean()
        for earlier in basis:
            column = column - float((column * earlier).sum()) * earlier
        size = float((column**2).sum())
        if size <= _EXPLAINED * scale:
            continue
        column = column / np.sqrt(size)
        left = left - float((left * column).sum()) * column
        basis.append(column)
    statistic = left.size * (1.0 - float((left**2).sum()) / total)
    return statistic, _chi_square_tail(statistic, len(basis)) if basis else 1.0


def _centred(values: FloatArray, *, more_than: int) -> tuple[FloatArray, float]:
    if values.size <= more_than or not np.isfinite(values).all():
        raise NumericalError(f"residual test: more than {more_than} finite values are needed")
    centred = values - values.mean()
    total = float((centred**2).sum())
    if total == 0.0:
        raise NumericalError("residual test: all values are the same")
    return centred, total


def _chi_square_tail(statistic: float, dof: int) -> float:
    from scipy.special import chdtrc

    return float(chdtrc(dof, max(statistic, 0.0)))
