"""Expected shortfall over liquidity horizons: what cannot be sold in ten days is at risk for longer."""

from __future__ import annotations

import math
from typing import TypeAlias

import numpy as np
import numpy.typing as npt

from acceleray.errors import NumericalError

__all__ = ["BASE_HORIZON_DAYS", "LIQUIDITY_HORIZONS_DAYS", "liquidity_adjusted_shortfall"]

FloatArray: TypeAlias = npt.NDArray[np.float64]

# MAR33.4: the base horizon, and the horizons in the order of the cascade.
BASE_HORIZON_DAYS = 10.0
LIQUIDITY_HORIZONS_DAYS = (10.0, 20.0, 40.0, 60.0, 120.0)


def liquidity_adjusted_shortfall(
    shortfalls: npt.ArrayLike, *, horizons_days: npt.ArrayLike = LIQUIDITY_HORIZONS_DAYS
) -> float:
    """Scale and add expected shortfalls of ten-day moves over liquidity horizons.

    Parameters
    ----------
    shortfalls : array_like of shape (n_horizons,)
        Expected shortfall of ten-day moves, in currency. The first is that of all risk factors; each one
        after it is that of the factors whose liquidity horizon is at least its own, the others held still.
        It enters squared, whatever its sign.
    horizons_days : array_like of shape (n_horizons,)
        Liquidity horizons in business days, ascending from the base horizon of ten.

    Returns
    -------
    float
        ``sqrt(sum_j ES_j^2 (LH_j - LH_(j-1)) / T)`` with the first term ``ES_1^2``, in currency.

    Raises
    ------
    NumericalError
        If a shortfall is not finite, or the horizons do not ascend from ten days, one for each shortfall.

    References
    ----------
    .. [1] BCBS, Minimum capital requirements for market risk (2019), MAR33.4.

    Examples
    --------
    >>> round(liquidity_adjusted_shortfall([100, 80, 60, 40, 20]), 6)
    170.880075
    """
    parts = np.asarray(shortfalls, dtype=np.float64)
    horizons = np.asarray(horizons_days, dtype=np.float64)
    if parts.ndim != 1 or parts.size == 0 or parts.shape != horizons.shape:
        raise NumericalError(
            f"each horizon needs one shortfall, were {parts.shape} and {horizons.shape}",
        )
    if not np.isfinite(parts).all():
        raise NumericalError("every shortfall must be finite")
    if horizons[0] != BASE_HORIZON_DAYS or not (np.diff(horizons) > 0.0).all() or np.isinf(horizons[-1]):
        raise NumericalError("horizons_days must ascend from 10")
    steps = np.diff(horizons, prepend=0.0) / BASE_HORIZON_DAYS
    return math.hypot(*(parts * np.sqrt(steps)))
