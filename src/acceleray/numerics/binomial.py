"""The binomial law by the incomplete beta function, which stays exact where factorials overflow."""

from __future__ import annotations

import scipy

__all__ = ["binomial_cdf", "binomial_quantile"]


def binomial_cdf(count: int, *, n: int, probability: float) -> float:
    """Probability of at most `count` successes in `n` independent trials.

    Parameters
    ----------
    count : int
        Any integer; below zero the probability is 0, from `n` on it is 1.
    n : int
        Number of trials, at least 1.
    probability : float
        Chance of success in one trial, ``0 < probability < 1``.

    Returns
    -------
    float

    Notes
    -----
    ``P(B <= k) = I_{1-p}(n - k, k + 1)`` with the regularised incomplete beta function ``I``.

    Examples
    --------
    >>> round(binomial_cdf(4, n=250, probability=0.01), 6)
    0.892188
    """
    if n < 1 or not 0.0 < probability < 1.0:
        raise ValueError(f"n must be at least 1 and 0 < probability < 1, was n={n}, {probability}")
    if count < 0:
        return 0.0
    if count >= n:
        return 1.0
    return float(scipy.special.betainc(n - count, count + 1, 1.0 - probability))


def binomial_quantile(cumulative: float, *, n: int, probability: float) -> int:
    """Smallest count whose cumulative probability reaches `cumulative`.

    Parameters
    ----------
    cumulative : float
        Target probability, ``0 < cumulative < 1``.
    n, probability : int, float
        As for `binomial_cdf`.

    Returns
    -------
    int
        Between 0 and `n`.

    Examples
    --------
    >>> binomial_quantile(0.975, n=250, probability=0.99)
    250
    """
    if not 0.0 < cumulative < 1.0:
        raise ValueError(f"cumulative must lie between 0 and 1, was {cumulative}")
    low, high = 0, n
    while low < high:
        middle = (low + high) // 2
        if binomial_cdf(middle, n=n, probability=probability) >= cumulative:
            high = middle
        else:
            low = middle + 1
    return low
