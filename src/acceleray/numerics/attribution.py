"""The P&L attribution test: does the risk model see the gains that the desk reports.

Both series are gains: positive is money made.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt

from acceleray.errors import NumericalError

__all__ = [
    "Attribution",
    "attribution_test",
    "desk_passes",
    "kolmogorov_smirnov_distance",
    "spearman_correlation",
]

FloatArray = npt.NDArray[np.float64]

# Basel Committee, MAR32: thresholds of the two metrics over 250 days, and the most exceptions of a desk in
# twelve months by level.
_SPEARMAN_GREEN, _SPEARMAN_RED = 0.80, 0.70
_KS_GREEN, _KS_RED = 0.09, 0.12
_DESK_EXCEPTIONS = {0.99: 12, 0.975: 30}


@dataclass(frozen=True, slots=True, kw_only=True)
class Attribution:
    """Outcome of the P&L attribution test.

    Parameters
    ----------
    spearman : float or None
        Rank correlation; None where a series never changes.
    ks : float
        Largest distance of the two distribution functions.
    zone : {"green", "amber", "red"} or None
        None without a correlation.
    """

    spearman: float | None
    ks: float
    zone: Literal["green", "amber", "red"] | None


def attribution_test(hypothetical: npt.ArrayLike, theoretical: npt.ArrayLike) -> Attribution:
    """Compare the hypothetical with the risk-theoretical gains of the same days.

    Parameters
    ----------
    hypothetical : array_like of shape (n_days,)
        Gain of yesterday's positions by the desk's own valuation.
    theoretical : array_like of shape (n_days,)
        Gain of the same positions by the risk model.

    Returns
    -------
    Attribution
        Green with a correlation above 0.80 and a distance below 0.09; red with a correlation below 0.70 or a
        distance above 0.12; else amber. The rule is made for 250 days.

    Raises
    ------
    NumericalError
        If a gain is not finite.

    References
    ----------
    .. [1] Basel Committee, MAR32, P&L attribution test requirements.

    Examples
    --------
    >>> attribution_test([1.0, -2.0, 3.0], [1.1, -2.1, 2.9]).spearman
    1.0
    """
    one, other = _pair(hypothetical, theoretical)
    ks = kolmogorov_smirnov_distance(one, other)
    spearman = spearman_correlation(one, other)
    if spearman is None:
        return Attribution(spearman=None, ks=ks, zone=None)
    zone: Literal["green", "amber", "red"]
    if spearman < _SPEARMAN_RED or ks > _KS_RED:
        zone = "red"
    else:
        zone = "green" if spearman > _SPEARMAN_GREEN and ks < _KS_GREEN else "amber"
    return Attribution(spearman=spearman, ks=ks, zone=zone)


def spearman_correlation(first: npt.ArrayLike, second: npt.ArrayLike) -> float | None:
    """Correlate the ranks of two series; ties share their mean rank.

    Returns
    -------
    float or None
        None where a series never changes.
    """
    one, other = (_ranks(each) for each in _pair(first, second))
    one, other = one - one.mean(), other - other.mean()
    scale = float((one**2).sum() * (other**2).sum())
    if scale == 0.0:
        return None
    return float((one * other).sum() / np.sqrt(scale))


def kolmogorov_smirnov_distance(first: npt.ArrayLike, second: npt.ArrayLike) -> float:
    """Largest distance between the empirical distribution functions of two samples of equal size."""
    one, other = (np.sort(each) for each in _pair(first, second))
    at = np.concatenate([one, other])
    # Counts, not shares: 30 of 250 days must be 0.12 to the last bit, where the zone changes.
    apart = np.searchsorted(one, at, side="right") - np.searchsorted(other, at, side="right")
    return int(np.abs(apart).max()) / one.size


def desk_passes(*, exceptions: int, level: float) -> bool | None:
    """Whether a desk's exceptions in the last twelve months leave it on the internal models approach.

    Parameters
    ----------
    exceptions : int
        Days on which the actual or the hypothetical loss exceeded the desk's VaR, and days on which either
        could not be computed.
    level : float
        Level of the VaR as a fraction.

    Returns
    -------
    bool or None
        At most 12 at 99%, at most 30 at 97.5%; None at other levels, which the rule does not name.

    Examples
    --------
    >>> desk_passes(exceptions=12, level=0.99), desk_passes(exceptions=31, level=0.975)
    (True, False)
    """
    if exceptions < 0:
        raise ValueError(f"exceptions must not be negative, was {exceptions}")
    most = _DESK_EXCEPTIONS.get(round(level, 12))
    return None if most is None else exceptions <= most


def _pair(first: npt.ArrayLike, second: npt.ArrayLike) -> tuple[FloatArray, FloatArray]:
    one, other = np.asarray(first, dtype=np.float64), np.asarray(second, dtype=np.float64)
    if one.ndim != 1 or one.shape != other.shape or one.size == 0:
        raise ValueError(f"gains must have one axis of equal length, were {one.shape} and {other.shape}")
    if not (np.isfinite(one).all() and np.isfinite(other).all()):
        raise NumericalError("P&L attribution: a gain was not finite")
    return one, other


def _ranks(values: FloatArray) -> FloatArray:
    _, inverse, counts = np.unique(values, return_inverse=True, return_counts=True)
    return np.asarray((np.cumsum(counts) - 0.5 * (counts - 1))[inverse])
