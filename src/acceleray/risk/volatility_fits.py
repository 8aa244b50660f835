"""Fit variance models to one factor on several dates, test what they leave, and choose one per date.

Workers import this module, so the estimation library is imported only when a fit begins.
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from acceleray.errors import NumericalError
from acceleray.numerics.residual_tests import jarque_bera, ljung_box, sign_bias

__all__ = [
    "LOWEST_P_VALUE",
    "MODELS",
    "SECONDS_PER_FIT",
    "Attempt",
    "Fit",
    "Item",
    "attempt_batch",
    "attempt_factor",
    "choose",
    "without_model",
]

FloatArray = npt.NDArray[np.float64]

# Name of a model, and how the estimation library is told: asymmetric terms, law of the residuals.
MODELS = {"garch": (0, "normal"), "garch_t": (0, "t"), "gjr_t": (1, "t")}
# One fit to 1,000 days on the processor of docs/benchmarks/fan-out.md; only the sizes of tasks depend on it.
SECONDS_PER_FIT = {"garch": 0.007, "garch_t": 0.010, "gjr_t": 0.014}
# A test with a smaller p-value is failed. Three tests of a true model fail together on 3 % of factors.
LOWEST_P_VALUE = 0.01

# Below a year of days the likelihood of GARCH is too flat to be trusted.
_MIN_MOVES = 250
_MAX_PERSISTENCE = 1.0 - 1e-5
# A monthly series moves on one day in twenty; a daily one rarely stands still.
_MAX_SHARE_STILL = 0.5
# The search ends at 2.05; with a variance that hardly exists no residual is standard.
_LOWEST_DOF = 2.1
_FIRST_DOF = 8.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Attempt:
    """One model fitted to one window, and what tests say about its residuals.

    Parameters
    ----------
    bic : float
        Bayesian information criterion, to be compared between models of the same window; smaller is better.
    scaled_omega : float
        Omega for moves with mean square one, where the search for the next model begins.
    problem : str or None
        Why the fit must not be used, if so; `p_values` is empty then.
    p_values : dict of str to float
        By name of the test: ``ljung_box`` (squared residuals, ten lags), ``sign_bias``, and for the normal
        law ``jarque_bera``.
    """

    model: str
    omega: float
    alpha: float
    gamma: float
    beta: float
    dof: float | None
    initial_variance: float
    bic: float
    scaled_omega: float
    problem: str | None
    p_values: dict[str, float] = field(default_factory=dict)

    @property
    def failed(self) -> tuple[str, ...]:
        """Tests that the residuals failed."""
        return tuple(name for name, p_value in self.p_values.items() if p_value < LOWEST_P_VALUE)

    @property
    def passed(self) -> bool:
        """Whether the model may be used and no test objects."""
        return self.problem is None and not self.failed

    def verdict(self) -> str:
        """Say in one phrase what became of the model."""
        if self.problem is not None:
            return f"{self.model}: {self.problem}"
        objections = ", ".join(f"{name} p = {self.p_values[name]:.2g}" for name in self.failed)
        return f"{self.model}: {objections or 'passed'}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Item:
    """A factor, the dates at which a model is to be fitted, and what the last model gave there."""

    column: int
    rows: tuple[int, ...]
    before: tuple[Attempt, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Fit:
    """The variance recursion that is used, ``h' = omega + (alpha + gamma (x < 0)) x**2 + beta h``.

    Parameters
    ----------
    dof : float or None
        Degrees of freedom of the likelihood of a Student-t model; the recursion does not need them.
    p_values : dict of str to float
        Of the tests of its residuals; empty for ``ewma`` and ``constant``.
    path : str or None
        The models that were tried, in order, and what became of each.
    note : str or None
        What is wrong with it, if anything.
    """

    model: str
    omega: float
    alpha: float
    gamma: float = 0.0
    beta: float
    dof: float | None = None
    initial_variance: float
    p_values: dict[str, float] = field(default_factory=dict)
    path: str | None = None
    note: str | None


def without_model(moves: FloatArray, row: int, *, window_days: int, ewma_decay: float) -> Fit | None:
    """Settle a window that no model can be fitted to: one that mostly stands still, or is short.

    Parameters
    ----------
    moves : ndarray of shape (n_moves,)
        Daily moves of one factor, NaN before its first; row i ends on date i + 1.
    row : int
        Row of the fit's date: the window is the `window_days` moves up to row - 1.

    Returns
    -------
    Fit or None
        ``constant`` or ``ewma``; None where a model can be fitted.
    """
    window = _window(moves, row, window_days)
    if window.size and np.mean(window == 0) > _MAX_SHARE_STILL:
        variance = float(np.mean(window**2))
        note = f"{np.mean(window == 0):.0%} of the moves were zero"
        return Fit(
            model="constant", omega=variance, alpha=0.0, beta=0.0, initial_variance=variance, note=note
        )
    if window.size < _MIN_MOVES:
        return _ewma(window, ewma_decay, f"only {window.size} daily moves, GARCH needs {_MIN_MOVES}")
    return None


def attempt_batch(
    moves: FloatArray,
    window_days: int,
    models: tuple[str, ...],
    rung: int,
    items: Sequence[Item],
) -> list[list[Attempt]]:
    """Fit one model to several factors; the unit of distributed work.

    Parameters
    ----------
    moves : ndarray of shape (n_moves, n_factors)
        Daily moves.
    rung : int
        Number of the model among `models`.
    items : sequence of Item
        See `attempt_factor`.
    """
    return [
        attempt_factor(
            moves[:, item.column], item.rows, window_days=window_days, model=models[rung], before=item.before
        )
        for item in items
    ]


def attempt_factor(
    moves: FloatArray,
    rows: tuple[int, ...],
    *,
    window_days: int,
    model: str,
    before: tuple[Attempt, ...] = (),
) -> list[Attempt]:
    """Fit one model to one factor at the close of several days.

    Parameters
    ----------
    moves : ndarray of shape (n_moves,)
        Daily moves, NaN before the factor's first; row i ends on date i + 1.
    rows : tuple of int
        Rows of the dates, increasing: a fit on date r sees the `window_days` moves up to row r - 1.
    model : str
        One of `MODELS`.
    before : tuple of Attempt
        What the last model gave at these dates, if there was one.

    Returns
    -------
    list of Attempt
        One per date.
    """
    attempts: list[Attempt] = []
    nearest: Attempt | None = None
    for number, row in enumerate(rows):
        # The optimum of the last model in the same window, or of this one in yesterday's, is near.
        if before and before[number].problem is None:
            nearest = before[number]
        attempt = _attempt(_window(moves, row, window_days), model, nearest)
        attempts.append(attempt)
        nearest = attempt if attempt.problem is None else None
    return attempts


def choose(attempts: Sequence[Attempt], window: FloatArray, ewma_decay: float) -> Fit:
    """Take the first model that passed; else the best BIC of those that may be used; else EWMA.

    Parameters
    ----------
    attempts : sequence of Attempt
        Of one window, in the order in which they were made.
    window : ndarray of shape (n_moves,)
        Its moves.
    """
    path = "; ".join(attempt.verdict() for attempt in attempts)
    usable = [attempt for attempt in attempts if attempt.problem is None]
    if not usable:
        return _ewma(window, ewma_decay, f"no model fitted: {path}", path)
    chosen = next((attempt for attempt in usable if attempt.passed), None)
    note = None
    if chosen is None:
        chosen = min(usable, key=lambda attempt: attempt.bic)
        note = f"no model passed; {chosen.model} has the best BIC and failed {', '.join(chosen.failed)}"
    return Fit(
        model=chosen.model,
        omega=chosen.omega,
        alpha=chosen.alpha,
        gamma=chosen.gamma,
        beta=chosen.beta,
        dof=chosen.dof,
        initial_variance=chosen.initial_variance,
        p_values=chosen.p_values,
        path=path,
        note=note,
    )


def _attempt(window: FloatArray, model: str, nearest: Attempt | None) -> Attempt:
    variance = float(np.mean(window**2))
    scaled = window / np.sqrt(variance)
    start = None if nearest is None else _start(nearest, model)
    # Only where what is near misleads is the costlier search worth it.
    for begin in (start, None) if start is not None else (None,):
        result = _maximise(scaled, model, begin)
        found = {name: float(value) for name, value in result.params.items()}
        omega, alpha, beta = found["omega"], found["alpha[1]"], found["beta[1]"]
        gamma, dof = found.get("gamma[1]", 0.0), found.get("nu")
        problem = _problem(result.convergence_flag, omega, alpha, gamma, beta, dof)
        if problem is None:
            break
    deviation = np.asarray(result.conditional_volatility)
    p_values = {} if problem is not None else _tests(scaled, scaled / deviation, MODELS[model][1])
    return Attempt(
        model=model,
        omega=omega * variance,
        alpha=alpha,
        gamma=gamma,
        beta=beta,
        dof=dof,
        initial_variance=float(deviation[0] ** 2) * variance,
        bic=float(result.bic),
        scaled_omega=omega,
        problem=problem,
        p_values=p_values,
    )


def _start(nearest: Attempt, model: str) -> FloatArray:
    """Where to begin: at an optimum for moves with mean square one, as those of every search are."""
    asymmetric, law = MODELS[model]
    gamma = [nearest.gamma] if asymmetric else []
    dof = [nearest.dof or _FIRST_DOF] if law == "t" else []
    return np.array([nearest.scaled_omega, nearest.alpha, *gamma, nearest.beta, *dof])


def _problem(
    flag: int, omega: float, alpha: float, gamma: float, beta: float, dof: float | None
) -> str | None:
    # Half of the moves are negative where their law is symmetric.
    persistence = alpha + beta + 0.5 * gamma
    if flag != 0:
        return f"the optimiser stopped with flag {flag}"
    if persistence >= _MAX_PERSISTENCE:
        return f"alpha + beta{' + gamma / 2' if gamma else ''} was {persistence:.6f}, not below 1"
    if omega <= 0:
        return f"omega was {omega:.3g}, not positive"
    if dof is not None and dof < _LOWEST_DOF:
        return f"the degrees of freedom were {dof:.3g}, not above {_LOWEST_DOF}"
    return None


def _tests(moves: FloatArray, residuals: FloatArray, law: str) -> dict[str, float]:
    if not np.isfinite(residuals).all():
        raise NumericalError("volatility fit: a standardised residual was not finite")
    p_values = {"ljung_box": ljung_box(residuals**2)[1], "sign_bias": sign_bias(residuals, moves)[1]}
    return p_values | ({"jarque_bera": jarque_bera(residuals)[1]} if law == "normal" else {})


def _maximise(scaled: FloatArray, name: str, start: FloatArray | None) -> Any:
    from arch import arch_model
    from arch.utility.exceptions import StartingValueWarning

    asymmetric, law = MODELS[name]
    model = arch_model(scaled, mean="Zero", vol="GARCH", p=1, o=asymmetric, q=1, dist=law, rescale=False)
    with warnings.catch_warnings():
        # An optimum at the edge is no start for another window: arch says so and looks for one itself.
        warnings.simplefilter("ignore", StartingValueWarning)
        return model.fit(disp="off", show_warning=False, starting_values=start)


def _window(moves: FloatArray, row: int, window_days: int) -> FloatArray:
    window = moves[max(row - window_days, 0) : row]
    return window[np.isfinite(window)]


def _ewma(window: FloatArray, decay: float, note: str, path: str | None = None) -> Fit:
    variance = float(np.mean(window**2)) if window.size else 0.0
    return Fit(
        model="ewma",
        omega=0.0,
        alpha=1.0 - decay,
        beta=decay,
        initial_variance=variance,
        path=path,
        note=note,
    )
