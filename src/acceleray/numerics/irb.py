"""Closed forms beside the simulation: the granular limit of the one-factor model, and the Basel formula."""

from __future__ import annotations

import math
from types import MappingProxyType
from typing import TypeAlias

import numpy as np
import numpy.typing as npt
import scipy

from acceleray.errors import NumericalError

__all__ = [
    "IRB_CLASSES",
    "IRB_LEVEL",
    "PROBABILITY_FLOOR",
    "asrf_default_rate",
    "conditional_default_probability",
    "irb_capital_rate",
    "irb_correlation",
    "irb_maturity_adjustment",
]

FloatArray: TypeAlias = npt.NDArray[np.float64]

# BCBS (2006), paragraphs 272 (corporate), 273 (SME), 328 to 330 (retail).
IRB_CLASSES = MappingProxyType(
    {
        "corporate": "corporates, sovereigns and banks",
        "sme": "corporates with annual sales up to EUR 50 million",
        "mortgage": "residential mortgages",
        "qrre": "qualifying revolving retail exposures",
        "retail": "other retail exposures",
    }
)
_WHOLESALE = frozenset({"corporate", "sme"})

# Confidence of the formula, and the floor of paragraphs 285 and 331: the maturity adjustment has no meaning
# near zero.
IRB_LEVEL = 0.999
PROBABILITY_FLOOR = 0.0003

# Sales that count for the size adjustment, in millions of euro (paragraph 273).
_SALES_LOW, _SALES_HIGH = 5.0, 50.0


def asrf_default_rate(default_prob: npt.ArrayLike, *, correlation: float, level: float) -> FloatArray:
    """Default rate of an infinitely granular pool that is exceeded with probability ``1 - level``.

    Parameters
    ----------
    default_prob : array_like
        One-year default probability, in [0, 1].
    correlation : float
        Asset correlation, ``0 <= correlation < 1``.
    level : float
        Confidence level as a fraction, ``0 < level < 1``.

    Returns
    -------
    ndarray
        Conditional default probability at the factor's ``1 - level`` quantile, same shape as `default_prob`.

    Raises
    ------
    NumericalError
        If an argument is not finite or out of range.

    Notes
    -----
    With one factor for the whole book every pool is at its quantile in the same state, so the quantile of
    the book's loss is the sum of exposure times loss given default times this rate.

    References
    ----------
    .. [1] Vasicek (2002), The distribution of loan portfolio value, Risk 15(12).
    .. [2] Gordy (2003), A risk-factor model foundation for ratings-based bank capital rules, JFI 12(3).

    Examples
    --------
    >>> round(float(asrf_default_rate(0.01, correlation=0.12, level=0.999)), 12)
    0.090325831326
    """
    if not 0.0 < level < 1.0:
        raise NumericalError(f"level must lie in (0, 1), was {level}")
    # -Phi^-1(level) and not Phi^-1(1 - level), which would lose digits at high levels.
    return conditional_default_probability(default_prob, -scipy.special.ndtri(level), correlation=correlation)


def irb_correlation(
    default_prob: npt.ArrayLike, *, asset_class: str, sales: npt.ArrayLike | None = None
) -> FloatArray:
    """Supervisory asset correlation.

    Parameters
    ----------
    default_prob : array_like
        One-year default probability, in [0, 1].
    asset_class : str
        A key of `IRB_CLASSES`.
    sales : array_like, optional
        Annual sales in millions of euro; needed for ``"sme"`` and used for nothing else.

    Returns
    -------
    ndarray
        Correlation, same shape as `default_prob`.

    Raises
    ------
    NumericalError
        If a value is not finite or out of range, the class is unknown, or an SME comes without sales.
    """
    probability = _floored(default_prob)
    if asset_class == "mortgage":
        return np.full_like(probability, 0.15)
    if asset_class == "qrre":
        return np.full_like(probability, 0.04)
    if asset_class == "retail":
        return _interpolated(probability, low=0.03, high=0.16, decay=35.0)
    if asset_class not in _WHOLESALE:
        raise NumericalError(f"asset_class must be one of {', '.join(IRB_CLASSES)}, was {asset_class!r}")
    correlation = _interpolated(probability, low=0.12, high=0.24, decay=50.0)
    if asset_class == "corporate":
        return correlation
    if sales is None:
        raise NumericalError("asset_class 'sme' needs sales for its size adjustment")
    size = np.asarray(sales, dtype=np.float64)
    if not (np.isfinite(size) & (size >= 0.0)).all():
        raise NumericalError("sales must be finite and not negative")
    relative = (np.clip(size, _SALES_LOW, _SALES_HIGH) - _SALES_LOW) / (_SALES_HIGH - _SALES_LOW)
    return np.asarray(correlation - 0.04 * (1.0 - relative))


def irb_maturity_adjustment(default_prob: npt.ArrayLike, maturity_years: npt.ArrayLike) -> FloatArray:
    """Factor by which the capital of a wholesale exposure grows with its effective maturity.

    Parameters
    ----------
    default_prob : array_like
        One-year default probability, in [0, 1].
    maturity_years : array_like
        Effective maturity in years; limited to between 1 and 5 (paragraph 320).

    Returns
    -------
    ndarray
        ``(1 + (M - 2.5) b) / (1 - 1.5 b)``; 1 at one year.

    Raises
    ------
    NumericalError
        If a value is not finite or out of range.
    """
    maturity = np.asarray(maturity_years, dtype=np.float64)
    if not (np.isfinite(maturity) & (maturity >= 0.0)).all():
        raise NumericalError("maturity_years must be finite and not negative")
    slope = (0.11852 - 0.05478 * np.log(_floored(default_prob))) ** 2
    return np.asarray((1.0 + (np.clip(maturity, 1.0, 5.0) - 2.5) * slope) / (1.0 - 1.5 * slope))


def irb_capital_rate(
    default_prob: npt.ArrayLike,
    lgd: npt.ArrayLike,
    *,
    asset_class: str,
    maturity_years: npt.ArrayLike | None = None,
    sales: npt.ArrayLike | None = None,
) -> FloatArray:
    """Basel II capital for unexpected loss, per unit of exposure at default.

    Parameters
    ----------
    default_prob : array_like
        One-year default probability, in [0, 1]; floored at `PROBABILITY_FLOOR`.
    lgd : array_like
        Loss given default, in [0, 1].
    asset_class : str
        A key of `IRB_CLASSES`.
    maturity_years : array_like, optional
        Effective maturity in years; needed for ``"corporate"`` and ``"sme"``.
    sales : array_like, optional
        Annual sales in millions of euro; needed for ``"sme"``.

    Returns
    -------
    ndarray
        Capital requirement K. The risk weight is 12.5 K; the scaling factor of 1.06 of paragraph 14 is not
        in it.

    Raises
    ------
    NumericalError
        If a value is not finite or out of range, or one that the class needs is missing.

    References
    ----------
    .. [1] BCBS (2006), International convergence of capital measurement and capital standards: a revised
       framework, comprehensive version, paragraphs 271 to 330 and Annex 5.

    Examples
    --------
    >>> rate = irb_capital_rate(0.01, 0.45, asset_class="corporate", maturity_years=2.5)
    >>> round(12.5 * 100 * float(rate), 2)
    92.32
    """
    probability = _floored(default_prob)
    severity = np.asarray(lgd, dtype=np.float64)
    if not ((severity >= 0.0) & (severity <= 1.0)).all():
        raise NumericalError("every lgd must lie in [0, 1]")
    correlation = irb_correlation(probability, asset_class=asset_class, sales=sales)
    stressed = scipy.special.ndtr(
        (scipy.special.ndtri(probability) + np.sqrt(correlation) * scipy.special.ndtri(IRB_LEVEL))
        / np.sqrt(1.0 - correlation)
    )
    rate = severity * (stressed - probability)
    if asset_class not in _WHOLESALE:
        return np.asarray(rate)
    if maturity_years is None:
        raise NumericalError(f"asset_class {asset_class!r} needs maturity_years")
    return np.asarray(rate * irb_maturity_adjustment(probability, maturity_years))


def _interpolated(probability: FloatArray, *, low: float, high: float, decay: float) -> FloatArray:
    weight = (1.0 - np.exp(-decay * probability)) / (1.0 - math.exp(-decay))
    return low * weight + high * (1.0 - weight)


def _floored(default_prob: npt.ArrayLike) -> FloatArray:
    probability = np.asarray(default_prob, dtype=np.float64)
    if not ((probability >= 0.0) & (probability <= 1.0)).all():
        raise NumericalError("every default_prob must lie in [0, 1]")
    return np.maximum(probability, PROBABILITY_FLOOR)


def conditional_default_probability(
    default_prob: npt.ArrayLike, factor: npt.ArrayLike, *, correlation: float
) -> FloatArray:
    """Probability of default given the systematic factor; it falls as the factor rises.

    Parameters
    ----------
    default_prob : array_like
        Unconditional probability, a fraction in [0, 1]. Broadcasts against `factor`.
    factor : array_like
        Value of the standard normal factor; low is bad.
    correlation : float
        Asset correlation, ``0 <= correlation < 1``.

    Returns
    -------
    ndarray
        ``Phi((Phi^-1(p) - sqrt(rho) z) / sqrt(1 - rho))``.

    Raises
    ------
    NumericalError
        If an argument is not finite or out of range.

    References
    ----------
    .. [1] Vasicek (2002), The distribution of loan portfolio value, Risk 15(12).

    Examples
    --------
    >>> round(float(conditional_default_probability(0.01, -3.090232306167813, correlation=0.2)), 12)
    0.145525266131
    """
    probability = _checked_probability(default_prob, "default_prob")
    factors = np.asarray(factor, dtype=np.float64)
    _check_correlation(correlation)
    if not np.isfinite(factors).all():
        raise NumericalError("every factor value must be finite")
    distance = scipy.special.ndtri(probability) - math.sqrt(correlation) * factors
    return np.asarray(scipy.special.ndtr(distance / math.sqrt(1.0 - correlation)), dtype=np.float64)


def _checked_probability(values: npt.ArrayLike, name: str) -> FloatArray:
    probability = np.asarray(values, dtype=np.float64)
    # Written so that NaN fails too.
    if not ((probability >= 0.0) & (probability <= 1.0)).all():
        raise NumericalError(f"every {name} must lie in [0, 1]")
    return probability


def _check_correlation(correlation: float) -> None:
    if not 0.0 <= correlation < 1.0:
        raise NumericalError(f"correlation must lie in [0, 1), was {correlation}")
