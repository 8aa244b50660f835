"""How many exceptions overlapping windows may have: not a binomial number, because neighbours share days."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from acceleray.numerics.tail_laws import normal_tail

__all__ = ["ExceptionBounds", "overlapping_exceptions"]

FloatArray = npt.NDArray[np.float64]

# Samples per draw: 259 days of them are 8 MB.
_CHUNK = 4_096


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class ExceptionBounds:
    """Law of the number of exceptions if the forecasts are right.

    Parameters
    ----------
    cumulative : ndarray of shape (windows + 1,)
        Probability of at most 0, 1, ... exceptions.
    low, high : int
        Least and most exceptions that the two-sided test accepts.
    confidence : float
        Least probability of that range, as a fraction.
    """

    cumulative: FloatArray
    low: int
    high: int
    confidence: float

    @property
    def mean(self) -> float:
        """Expected number of exceptions."""
        return float((1.0 - self.cumulative).sum())

    def p_value(self, exceptions: int) -> float:
        """Two-sided p-value of a number of exceptions: twice the smaller tail, at most 1."""
        if not 0 <= exceptions < self.cumulative.size:
            raise ValueError(
                f"exceptions must lie between 0 and {self.cumulative.size - 1}, was {exceptions}"
            )
        below = float(self.cumulative[exceptions])
        above = 1.0 - (float(self.cumulative[exceptions - 1]) if exceptions else 0.0)
        return min(1.0, 2.0 * min(below, above))


def overlapping_exceptions(
    generator: np.random.Generator,
    *,
    windows: int,
    horizon_days: int,
    level: float,
    n_samples: int,
    dof: float | None = None,
    confidence: float = 0.95,
) -> ExceptionBounds:
    """Simulate the number of exceptions of overlapping windows under right forecasts.

    Parameters
    ----------
    generator : numpy.random.Generator
        The caller's stream.
    windows : int
        Consecutive windows, each one day later than the one before.
    horizon_days : int
        Days per window; 1 gives the binomial law.
    level : float
        Level of the forecasts as a fraction.
    n_samples : int
        Backtests to draw.
    dof : float, optional
        Student-t days with these degrees of freedom; normal ones by default.
    confidence : float
        Of the accepted range.

    Returns
    -------
    ExceptionBounds

    Notes
    -----
    Days are independent with one law, a window is the sum of its days, and an exception is a sum above its
    own quantile at `level`: in closed form for normal days, and for t days the quantile of all drawn
    windows. Exceptions then come in runs, so that both none and many are far likelier than the binomial
    law says. Days of changing volatility, and forecasts estimated from past days, are not part of this law.
    """
    if windows < 1 or horizon_days < 1 or n_samples < 1:
        raise ValueError(
            f"windows, horizon_days and n_samples must be at least 1, "
            f"were {windows}, {horizon_days}, {n_samples}"
        )
    if not (0.0 < level < 1.0 and 0.0 < confidence < 1.0):
        raise ValueError(f"level and confidence must lie between 0 and 1, were {level}, {confidence}")
    sums = np.empty((n_samples, windows))
    for begin in range(0, n_samples, _CHUNK):
        rows = sums[begin : begin + _CHUNK]
        size = (len(rows), windows + horizon_days - 1)
        days = generator.standard_normal(size) if dof is None else generator.standard_t(dof, size)
        rows[:] = days[:, :windows]
        for later in range(1, horizon_days):
            rows += days[:, later : later + windows]
    if dof is None:
        threshold = normal_tail(level).var * np.sqrt(horizon_days)
    else:
        threshold = float(np.quantile(sums, level))
    counts = np.bincount((sums > threshold).sum(axis=1), minlength=windows + 1)
    cumulative = np.cumsum(counts) / n_samples
    tail = 0.5 * (1.0 - confidence)
    # The first count whose lower tail exceeds 2.5%, and the first whose upper tail falls to 2.5%.
    return ExceptionBounds(
        cumulative=cumulative,
        low=int(np.argmax(cumulative > tail)),
        high=int(np.argmax(cumulative >= 1.0 - tail)),
        confidence=confidence,
    )
