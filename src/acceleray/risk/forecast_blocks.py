"""One block of past days, forecast from what was known before each: the unit of the backtest's work.

Workers import this module, so it needs nothing but NumPy, SciPy, Arrow and our own kernels.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt

from acceleray.numerics.aggregation import tree_sum
from acceleray.numerics.backtest_shortfall import ShortfallSums, shortfall_sums
from acceleray.numerics.covariance import cholesky_root, estimate_covariance
from acceleray.numerics.moves import apply_moves, draw_t_mixing, gaussian_moves, horizon_moves
from acceleray.numerics.streams import Purpose, stream
from acceleray.numerics.tail import expected_shortfall, value_at_risk
from acceleray.numerics.volatility import simulate_paths
from acceleray.risk.parameters import VolatilityFits
from acceleray.risk.valuation import ResolvedBook, portfolio_gains

__all__ = ["FORECAST_METHODS", "Forecasts", "Inputs", "add_draws", "forecast_block"]

FloatArray = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]

FORECAST_METHODS = ("filtered_historical", "historical", "monte_carlo_gaussian", "monte_carlo_t")

# The quantile at 99 % then rests on twenty paths; its error is small beside that of the 500 past days.
_N_PATHS = 2_000


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Inputs:
    """What every task of the backtest needs, the same for all.

    Parameters
    ----------
    levels : ndarray of shape (n_dates, n_factors)
        History; the tasks read no row after the close at which they forecast, except for the day's own gain.
    columns : ndarray of int64, shape (n_moving,)
        Factors that the book depends on and that move.
    move_kinds : ndarray of int8, shape (n_moving,)
        How each of them moves.
    moves : ndarray of shape (n_dates - 1, n_moving)
        Their daily moves.
    days : ndarray of int64, shape (n_dates,)
        Days since 1970, the address of each day's random stream.
    fits : VolatilityFits
        Of the same factors.
    tail_indices : ndarray of shape (n_fits,)
        Degrees of freedom that each fit's data gave.
    methods : tuple of str
        Some of `FORECAST_METHODS`, in that order.
    var_levels : tuple of float
        Levels of VaR and ES.
    n_draws : int
        Draws of each day's gain from its own forecast, for the tests of ES; 0 for none.
    nodes : tuple of ndarray
        Numbers of the portfolios below each node.
    """

    levels: FloatArray
    columns: IntArray
    move_kinds: npt.NDArray[np.int8]
    moves: FloatArray
    days: IntArray
    fits: VolatilityFits
    tail_indices: FloatArray
    window_days: int
    covariance_method: Literal["ewma", "shrinkage"]
    covariance_decay: float
    horizon_days: int
    methods: tuple[str, ...]
    var_levels: tuple[float, ...]
    n_draws: int
    seed: int
    nodes: tuple[IntArray, ...]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Forecasts:
    """Forecasts of consecutive days, and what happened.

    Parameters
    ----------
    var, es : ndarray of shape (n_days, n_nodes, n_methods, n_levels)
        Forecast for each day at the close `horizon_days` before, positive for a loss.
    pnl : ndarray of shape (n_days, n_nodes)
        Gain from that close to the close of the day.
    draws : tuple of ShortfallSums
        One per node, method and level, in that order, with arrays of shape (n_draws,): what the tests of ES
        would have summed if each day's gain had been drawn from its forecast. Empty without draws; None where
        an ES forecast was not positive.
    """

    var: FloatArray
    es: FloatArray
    pnl: FloatArray
    draws: tuple[ShortfallSums | None, ...]


def add_draws(one: ShortfallSums | None, other: ShortfallSums | None) -> ShortfallSums | None:
    """Add the sums of two groups of days; None where either has none."""
    return None if one is None or other is None else one + other


def forecast_block(book: ResolvedBook, inputs: Inputs, first: int, stop: int) -> Forecasts:
    """Forecast consecutive days; the unit of distributed work.

    Parameters
    ----------
    first, stop : int
        Rows of the levels to forecast, the last one excluded.

    Returns
    -------
    Forecasts
        Of these days.
    """
    horizon = inputs.horizon_days
    shape = (stop - first, len(inputs.nodes), len(inputs.methods), len(inputs.var_levels))
    var, es, realised = np.empty(shape), np.empty(shape), np.empty(shape[:2])
    draws: list[ShortfallSums | None] = []
    # Each fit is run once up to the last move that a forecast of this block may know. The recursion looks
    # back only, so what it says about earlier days is what they knew.
    begin = first - horizon - inputs.window_days
    fits = {inputs.fits.latest(row - horizon) for row in range(first, stop)}
    known = inputs.moves[: stop - 1 - horizon]
    filters = {fit: inputs.fits.filtered(fit, known, begin) for fit in fits}
    for day, row in enumerate(range(first, stop)):
        close = row - horizon
        base = inputs.levels[close]
        fit = inputs.fits.latest(close)
        residuals, variance = filters[fit]
        window = slice(close - inputs.window_days - begin, close - begin)
        scenarios = list(_scenarios(inputs, close, fit, residuals[window], variance[window.stop]))
        shocked = np.tile(base, (sum(map(len, scenarios)) + 1, 1))
        shocked[:-1, inputs.columns] = apply_moves(
            base[inputs.columns], np.concatenate(scenarios), inputs.move_kinds
        )
        # The day itself is one more scenario, which no forecast looks at.
        shocked[-1] = inputs.levels[row]
        gains = portfolio_gains(book, shocked, base[None, :], (0, book.n_sections))
        by_node = np.array([tree_sum(gains[rows], axis=0) for rows in inputs.nodes])
        realised[day] = by_node[:, -1]
        ends = np.cumsum([len(part) for part in scenarios])
        samples = np.split(-by_node[:, :-1], ends[:-1], axis=1)
        for method, losses in enumerate(samples):
            for position, level in enumerate(inputs.var_levels):
                var[day, :, method, position] = value_at_risk(losses, level=level)
                es[day, :, method, position] = expected_shortfall(losses, level=level)
        today = list(_draws(inputs, row, samples, var[day], es[day])) if inputs.n_draws else []
        draws = (
            today if day == 0 else [add_draws(one, other) for one, other in zip(draws, today, strict=True)]
        )
    return Forecasts(var=var, es=es, pnl=realised, draws=tuple(draws))


def _scenarios(
    inputs: Inputs, close: int, fit: int, residuals: FloatArray, variance: FloatArray
) -> Iterator[FloatArray]:
    """Make each method's moves over the horizon from what was known at a close."""
    horizon, window = inputs.horizon_days, inputs.window_days
    # The address is the first day of the horizon: one-day and longer forecasts share their draws of it.
    address = int(inputs.days[close + 1])
    past = inputs.moves[close - window : close]
    drawn: tuple[FloatArray, FloatArray] | None = None
    for method in inputs.methods:
        if method == "historical":
            if horizon == 1:
                yield past
            else:
                levels = inputs.levels[close - window - horizon + 1 : close + 1, inputs.columns]
                yield horizon_moves(levels, inputs.move_kinds, horizon)
        elif method == "filtered_historical":
            if horizon == 1:
                yield residuals * np.sqrt(variance)
            else:
                yield simulate_paths(
                    stream(inputs.seed, Purpose.BACKTEST_FILTERED, address),
                    residuals,
                    omega=inputs.fits.omega[fit],
                    alpha=inputs.fits.alpha[fit],
                    gamma=inputs.fits.gamma[fit],
                    beta=inputs.fits.beta[fit],
                    variance=variance,
                    horizon_days=horizon,
                    n_paths=_N_PATHS,
                )
        else:
            # Both laws share their normals on purpose: their difference is then no sampling noise.
            drawn = drawn or _monte_carlo(inputs, past, address, inputs.tail_indices[fit])
            yield drawn[method == "monte_carlo_t"]


def _monte_carlo(
    inputs: Inputs, window: FloatArray, address: int, dof: float
) -> tuple[FloatArray, FloatArray]:
    """Draw normal and Student-t moves, day by day, with the covariance of the moves before."""
    covariance, _ = estimate_covariance(
        window, method=inputs.covariance_method, decay=inputs.covariance_decay
    )
    root = cholesky_root(covariance)
    generator = stream(inputs.seed, Purpose.BACKTEST_MONTE_CARLO, address)
    gaussian, student = np.zeros((2, _N_PATHS, root.shape[0]))
    for _ in range(inputs.horizon_days):
        moves = gaussian_moves(generator, root, _N_PATHS)
        gaussian += moves
        student += moves * draw_t_mixing(generator, dof, _N_PATHS, unit_variance=True)
    return gaussian, student


def _draws(
    inputs: Inputs, row: int, samples: list[FloatArray], var: FloatArray, es: FloatArray
) -> Iterator[ShortfallSums | None]:
    """Draw the day's loss from each forecast; all nodes and levels of a method share the draw."""
    picks = []
    for name, losses in zip(inputs.methods, samples, strict=True):
        address = int(inputs.days[row]), FORECAST_METHODS.index(name)
        generator = stream(inputs.seed, Purpose.BACKTEST_SHORTFALL, *address)
        picks.append(generator.integers(0, losses.shape[1], size=inputs.n_draws))
    for node in range(len(inputs.nodes)):
        for method, losses in enumerate(samples):
            for position, level in enumerate(inputs.var_levels):
                forecast = es[node, method, position]
                yield (
                    shortfall_sums(
                        losses[node, picks[method]][:, None],
                        var=var[node, method, position],
                        es=forecast,
                        level=level,
                    )
                    if forecast > 0.0
                    else None
                )
