"""VaR and ES of the standard normal and Student-t laws, in closed form."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import scipy

__all__ = ["TailPoint", "normal_tail", "student_tail"]


@dataclass(frozen=True, slots=True, kw_only=True)
class TailPoint:
    """Quantile and mean beyond it, of losses with scale one."""

    var: float
    es: float


def normal_tail(level: float) -> TailPoint:
    """Tail of the standard normal law.

    Examples
    --------
    >>> tail = normal_tail(0.975)
    >>> round(tail.var, 6), round(tail.es, 6)
    (1.959964, 2.337803)
    """
    quantile = float(scipy.special.ndtri(level))
    density = float(np.exp(-0.5 * quantile**2) / np.sqrt(2.0 * np.pi))
    return TailPoint(var=quantile, es=density / (1.0 - level))


def student_tail(level: float, dof: float) -> TailPoint:
    """Tail of the Student-t law with scale one, not variance one.

    Raises
    ------
    ValueError
        If `dof` is not above 1: then the tail has no mean.

    Notes
    -----
    ``ES = f(q) (dof + q**2) / ((dof - 1) (1 - level))`` with density f and quantile q.
    """
    if dof <= 1.0:
        raise ValueError(f"dof must exceed 1, was {dof}")
    quantile = float(scipy.special.stdtrit(dof, level))
    log_density = (
        scipy.special.gammaln(0.5 * (dof + 1.0))
        - scipy.special.gammaln(0.5 * dof)
        - 0.5 * np.log(dof * np.pi)
        - 0.5 * (dof + 1.0) * np.log1p(quantile**2 / dof)
    )
    shortfall = np.exp(log_density) * (dof + quantile**2) / ((dof - 1.0) * (1.0 - level))
    return TailPoint(var=quantile, es=float(shortfall))
