"""How far a sample scatters, with the interval that sampling error allows."""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt
from scipy import special

from acceleray.errors import NumericalError
from acceleray.numerics.intervals import Estimate

__all__ = ["estimate_standard_deviation"]


def estimate_standard_deviation(values: npt.ArrayLike, *, confidence: float) -> Estimate:
    """Estimate the standard deviation of independent draws of one law, about their mean.

    Parameters
    ----------
    values : array_like of shape (n,)
        At least two.
    confidence : float
        Of the two-sided interval, as a fraction.

    Returns
    -------
    Estimate
        The square root of the unbiased variance; the interval is in its unit.

    Raises
    ------
    NumericalError
        If a value is not finite.
    ValueError
        If there are fewer than two.

    Notes
    -----
    The variance ``s^2`` of a sample has variance ``(m4 - s^4 (n - 3) / (n - 1)) / n`` [1]_, with the fourth
    central moment ``m4``, so that no normal law is assumed. The interval is symmetric in the logarithm.

    References
    ----------
    .. [1] Bonett (2006), Approximate confidence interval for standard deviation of nonnormal distributions,
       Computational Statistics & Data Analysis 50(3).

    Examples
    --------
    >>> estimate_standard_deviation([1.0, -1.0, 1.0, -1.0, 3.0, -3.0], confidence=0.95).value
    2.0976176963403033
    """
    sample = np.asarray(values, dtype=np.float64)
    if not np.isfinite(sample).all():
        raise NumericalError("standard deviation: a value was not finite")
    n = sample.size
    if n < 2:
        raise ValueError(f"a standard deviation needs two values, there were {n}")
    centred = sample - math.fsum(sample) / n
    variance = math.fsum(centred**2) / (n - 1)
    if variance == 0.0:
        return Estimate(value=0.0, ci_low=None, ci_high=None, note="none: nothing varies")
    fourth = math.fsum(centred**4) / n
    spread = max(fourth - variance**2 * (n - 3) / (n - 1), 0.0) / n
    half = float(special.ndtri(0.5 + confidence / 2)) * math.sqrt(spread) / (2.0 * variance)
    value = math.sqrt(variance)
    return Estimate(
        value=value,
        ci_low=value * math.exp(-half),
        ci_high=value * math.exp(half),
        note="large-sample interval of a standard deviation with the sample's fourth moment",
    )
