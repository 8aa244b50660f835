"""Fit one factor's variance recursion on several dates.

Workers import this module, so the estimation library is imported only when a fit begins.
"""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

__all__ = ["Fit", "fit_batch", "fit_factor"]

FloatArray = npt.NDArray[np.float64]

# Below a year of days the likelihood of GARCH is too flat to be trusted.
_MIN_MOVES = 250
_MAX_PERSISTENCE = 1.0 - 1e-5
# A monthly series moves on one day in twenty; a daily one rarely stands still.
_MAX_SHARE_STILL = 0.5


@dataclass(frozen=True, slots=True, kw_only=True)
class Fit:
    """One variance recursion ``h' = omega + alpha x**2 + beta h`` and where it came from."""

    model: str
    omega: float
    alpha: float
    beta: float
    initial_variance: float
    note: str | None


def fit_batch(
    moves: FloatArray,
    fitted_rows: tuple[int, ...],
    window_days: int,
    ewma_decay: float,
    columns: tuple[int, ...],
) -> list[list[Fit]]:
    """Fit several factors; the unit of distributed work. See `fit_factor`."""
    return [
        fit_factor(moves[:, column], fitted_rows, window_days=window_days, ewma_decay=ewma_decay)
        for column in columns
    ]


def fit_factor(
    moves: FloatArray, fitted_rows: tuple[int, ...], *, window_days: int, ewma_decay: float
) -> list[Fit]:
    """Fit one factor at the close of several days.

    Parameters
    ----------
    moves : ndarray of shape (n_moves,)
        Daily moves, NaN before the factor's first; row i ends on date i + 1.
    fitted_rows : tuple of int
        Rows of the dates, increasing: a fit on date r sees the `window_days` moves up to row r - 1.
    ewma_decay : float
        Of the fallback.

    Returns
    -------
    list of Fit
        One per date. ``garch`` where the likelihood has a stationary maximum, ``constant`` where the factor
        mostly stands still, else ``ewma`` with the reason in its note.
    """
    fits: list[Fit] = []
    start: FloatArray | None = None
    for row in fitted_rows:
        window = moves[max(row - window_days, 0) : row]
        window = window[np.isfinite(window)]
        fit, start = _fit(window, ewma_decay, start)
        fits.append(fit)
    return fits


def _fit(window: FloatArray, ewma_decay: float, start: FloatArray | None) -> tuple[Fit, FloatArray | None]:
    variance = float(np.mean(window**2)) if window.size else 0.0
    if window.size and np.mean(window == 0) > _MAX_SHARE_STILL:
        note = f"{np.mean(window == 0):.0%} of the moves were zero"
        return _simple("constant", variance, 0.0, variance, note), None
    if window.size < _MIN_MOVES:
        note = f"only {window.size} daily moves, GARCH needs {_MIN_MOVES}"
        return _simple("ewma", 0.0, ewma_decay, variance, note), None
    scale = np.sqrt(variance)
    problem = ""
    # Yesterday's optimum is close to today's; only where it misleads is the costlier search worth it.
    for begin in (start, None) if start is not None else (None,):
        result = _maximise(window / scale, begin)
        omega, alpha, beta = (float(value) for value in result.params)
        if result.convergence_flag != 0:
            problem = f"the optimiser stopped with flag {result.convergence_flag}"
        elif alpha + beta >= _MAX_PERSISTENCE:
            problem = f"alpha + beta was {alpha + beta:.6f}, not below 1"
        elif omega <= 0:
            problem = f"omega was {omega:.3g}, not positive"
        else:
            initial = float(np.asarray(result.conditional_volatility)[0] ** 2)
            fit = Fit(
                model="garch",
                omega=omega * variance,
                alpha=alpha,
                beta=beta,
                initial_variance=initial * variance,
                note=None,
            )
            return fit, np.array([omega, alpha, beta])
    return _simple("ewma", 0.0, ewma_decay, variance, f"GARCH(1,1) did not fit: {problem}"), None


def _maximise(scaled: FloatArray, start: FloatArray | None) -> Any:
    from arch import arch_model
    from arch.utility.exceptions import StartingValueWarning

    model = arch_model(scaled, mean="Zero", vol="GARCH", p=1, q=1, dist="normal", rescale=False)
    with warnings.catch_warnings():
        # An optimum at the edge is no start for another window: arch says so and looks for one itself.
        warnings.simplefilter("ignore", StartingValueWarning)
        return model.fit(disp="off", show_warning=False, starting_values=start)


def _simple(model: str, omega: float, decay: float, variance: float, note: str) -> Fit:
    return Fit(
        model=model,
        omega=omega,
        alpha=1.0 - decay if model == "ewma" else 0.0,
        beta=decay,
        initial_variance=variance,
        note=note,
    )
