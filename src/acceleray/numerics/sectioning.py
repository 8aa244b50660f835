"""Error bars of any statistic from a few independent sections of its paths.

Within a section the paths may depend on each other as they like: sections are what is independent, such as
the scrambles of a Sobol set, or blocks of weighted paths.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import numpy as np
import numpy.typing as npt
from scipy import special

from acceleray.errors import NumericalError
from acceleray.numerics.intervals import Estimate, check_confidence

__all__ = ["sectioned_estimate", "sectioned_std_error"]

FloatArray = npt.NDArray[np.float64]
Statistic = Callable[[FloatArray], float]


def sectioned_estimate(
    sections: Sequence[FloatArray], statistic: Statistic, *, confidence: float
) -> Estimate:
    """Estimate a statistic from all paths, with the interval that the scatter of the sections allows.

    Parameters
    ----------
    sections : sequence of ndarray, each of shape (n_paths, ...)
        Independent, of equal length.
    statistic : callable
        Takes paths, one section or all of them together, and returns a number; for weighted paths the
        rows hold a loss and a weight.
    confidence : float
        Two-sided coverage as a fraction.

    Returns
    -------
    Estimate
        Its value is that of all paths together. Without bounds for fewer than two sections or when all of
        them agree to the bit.

    Raises
    ------
    ValueError
        If there is no section, or they differ in length.
    NumericalError
        If the statistic is not finite.

    Notes
    -----
    With R sections of statistic T[r] and T of all paths, ``T ± t sqrt(sum (T[r] - T)**2 / (R (R - 1)))``,
    where t is the quantile of Student's law with R - 1 degrees of freedom [1]_. The centre is T and not the
    mean of the T[r], whose bias is R times as large.

    References
    ----------
    .. [1] Nakayama (2014), Confidence intervals for quantiles using sectioning when applying
       variance-reduction techniques, ACM Trans. Modeling and Computer Simulation 24(4).

    Examples
    --------
    >>> sections = [np.array([1.0, 3.0]), np.array([2.0, 6.0])]
    >>> estimate = sectioned_estimate(sections, lambda paths: float(paths.mean()), confidence=0.95)
    >>> estimate.value, round(estimate.ci_high - estimate.value, 6)
    (3.0, 12.706205)
    """
    check_confidence(confidence)
    value, std_error = sectioned_std_error(sections, statistic)
    count = len(sections)
    if std_error is None or std_error == 0.0:
        reason = "there is one section" if std_error is None else f"all {count} sections agree"
        return Estimate(value=value, ci_low=None, ci_high=None, note=f"no interval: {reason}")
    half = float(special.stdtrit(count - 1, 0.5 * (1.0 + confidence))) * std_error
    return Estimate(
        value=value,
        ci_low=value - half,
        ci_high=value + half,
        note=f"{confidence:.3g} from {count} independent sections of {len(sections[0])} paths; "
        "sampling error only",
    )


def sectioned_std_error(sections: Sequence[FloatArray], statistic: Statistic) -> tuple[float, float | None]:
    """Return the statistic of all paths, and its standard error; None where there is one section only.

    Parameters, errors and formula are those of `sectioned_estimate`.
    """
    if not sections or len({len(section) for section in sections}) > 1:
        lengths = sorted({len(section) for section in sections})
        raise ValueError(f"sections must be of one length, at least one, were {lengths}")
    parts = np.array([statistic(section) for section in sections], dtype=np.float64)
    value = float(statistic(np.concatenate(list(sections))))
    if not (math.isfinite(value) and np.isfinite(parts).all()):
        raise NumericalError(f"sections: the statistic was not finite, {value} of all paths")
    if parts.size == 1:
        return value, None
    squares = float(((parts - value) ** 2).sum())
    return value, math.sqrt(squares / (parts.size * (parts.size - 1)))
