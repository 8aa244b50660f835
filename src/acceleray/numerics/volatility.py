"""Variance recursions: GJR-GARCH(1,1), of which GARCH, EWMA and a constant are special cases.

``h[t+1] = omega + (alpha + gamma * (x[t] < 0)) * x[t]**2 + beta * h[t]``. GARCH is gamma = 0; EWMA with
decay d is omega = gamma = 0, alpha = 1 - d, beta = d; a constant is alpha = gamma = beta = 0. All factors run
side by side, so the loop is over time alone.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import scipy

from acceleray.errors import NumericalError

__all__ = ["estimate_t_dof", "filter_variance", "simulate_paths", "standardise"]

FloatArray = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]


def filter_variance(
    moves: FloatArray,
    *,
    omega: FloatArray,
    alpha: FloatArray,
    beta: FloatArray,
    initial_variance: FloatArray,
    gamma: FloatArray | None = None,
    first_row: IntArray | None = None,
) -> FloatArray:
    """Forecast the variance of every move from the moves before it.

    Parameters
    ----------
    moves : ndarray of shape (n_moves, n_factors)
        Zero-mean moves, oldest first; what stands above `first_row` is not looked at.
    omega, alpha, beta, initial_variance : ndarray of shape (n_factors,)
        Recursion per factor; `initial_variance` is the forecast for its first move.
    gamma : ndarray of shape (n_factors,), optional
        What a negative move adds to alpha; by default nothing.
    first_row : ndarray of int64, shape (n_factors,), optional
        Row of each factor's first move; by default 0.

    Returns
    -------
    ndarray of shape (n_moves + 1, n_factors)
        Row t is the forecast for move t; the last row is for the move that comes next.

    Raises
    ------
    NumericalError
        If a move in use is not finite.

    Examples
    --------
    >>> one = np.ones(1)
    >>> filter_variance(
    ...     np.array([[0.2], [0.0]]), omega=0 * one, alpha=0.1 * one, beta=0.9 * one, initial_variance=one
    ... ).ravel().round(4).tolist()
    [1.0, 0.904, 0.8136]
    """
    begin = np.zeros(moves.shape[1], dtype=np.int64) if first_row is None else first_row
    in_use = np.arange(moves.shape[0])[:, None] >= begin
    if not np.isfinite(moves[in_use]).all():
        raise NumericalError("variance filter: a move was not finite")
    used = np.where(in_use, moves, 0.0)
    impact = np.where(in_use, _response(used, alpha, gamma) * used**2 + omega, 0.0)
    variance = np.empty((moves.shape[0] + 1, moves.shape[1]))
    variance[0] = initial_variance
    for t in range(moves.shape[0]):
        variance[t + 1] = np.where(in_use[t], impact[t] + beta * variance[t], initial_variance)
    return variance


def standardise(moves: FloatArray, variance: FloatArray) -> FloatArray:
    """Divide moves by their forecast deviation; a factor without variance has residual zero.

    Parameters
    ----------
    moves, variance : ndarray of shape (n_moves, n_factors)

    Raises
    ------
    NumericalError
        If a factor moved although its variance was zero.
    """
    still = variance == 0
    if np.any(moves[still] != 0):
        raise NumericalError("standardise: a factor moved although its forecast variance was zero")
    residuals: FloatArray = moves / np.sqrt(np.where(still, 1.0, variance))
    return residuals


def simulate_paths(
    generator: np.random.Generator,
    residuals: FloatArray,
    *,
    omega: FloatArray,
    alpha: FloatArray,
    beta: FloatArray,
    variance: FloatArray,
    horizon_days: int,
    n_paths: int,
    gamma: FloatArray | None = None,
) -> FloatArray:
    """Draw whole residual dates with replacement and run the variance recursion along each path.

    Parameters
    ----------
    generator : numpy.random.Generator
        The block's own stream.
    residuals : ndarray of shape (n_residuals, n_factors)
        Standardised moves; a date is drawn for all factors at once, which keeps their dependence.
    omega, alpha, beta : ndarray of shape (n_factors,)
        The recursion.
    variance : ndarray of shape (n_factors,)
        Forecast for the first day.
    horizon_days, n_paths : int
        Days per path, and paths.
    gamma : ndarray of shape (n_factors,), optional
        What a negative move adds to alpha; by default nothing.

    Returns
    -------
    ndarray of shape (n_paths, n_factors)
        Sum of the daily moves of each path.

    References
    ----------
    .. [1] Barone-Adesi, Giannopoulos, Vosper (1999), VaR without correlations for portfolios of
       derivative securities, Journal of Futures Markets 19(5).
    """
    picks = generator.integers(0, residuals.shape[0], size=(n_paths, horizon_days))
    today = np.broadcast_to(variance, (n_paths, variance.size))
    total = np.zeros((n_paths, variance.size))
    for step in range(horizon_days):
        move = residuals[picks[:, step]] * np.sqrt(today)
        total += move
        today = omega + _response(move, alpha, gamma) * move**2 + beta * today
    return total


def _response(moves: FloatArray, alpha: FloatArray, gamma: FloatArray | None) -> FloatArray:
    """Weight of each squared move in the variance that follows; the same bits with gamma absent or zero."""
    return alpha if gamma is None or not gamma.any() else np.where(moves < 0, alpha + gamma, alpha)


def estimate_t_dof(residuals: FloatArray, *, lowest: float = 3.0, highest: float = 30.0) -> float:
    """Estimate one Student-t tail index for all residuals by maximum likelihood.

    Parameters
    ----------
    residuals : ndarray
        Standardised moves; NaN entries are not there.
    lowest, highest : float
        Ends of the search; the nearer one is returned where the likelihood rises towards it.

    Returns
    -------
    float
        Degrees of freedom of the t law with unit variance that fits best.

    Raises
    ------
    NumericalError
        If there is no residual.
    """
    squares = np.sort(residuals[np.isfinite(residuals)].ravel() ** 2)
    if squares.size == 0:
        raise NumericalError("tail index: no residual to estimate it from")

    def negative_log_likelihood(dof: float) -> float:
        constant = (
            scipy.special.gammaln(0.5 * (dof + 1))
            - scipy.special.gammaln(0.5 * dof)
            - 0.5 * np.log(np.pi * (dof - 2))
        )
        tail = 0.5 * (dof + 1) * np.log1p(squares / (dof - 2)).mean()
        return float(tail - constant)

    # Simulation workers import this module and never come here.
    from scipy.optimize import minimize_scalar

    found = minimize_scalar(
        negative_log_likelihood, bounds=(lowest, highest), method="bounded", options={"xatol": 1e-8}
    )
    ends = {dof: negative_log_likelihood(dof) for dof in (lowest, float(found.x), highest)}
    return min(ends, key=lambda dof: ends[dof])
