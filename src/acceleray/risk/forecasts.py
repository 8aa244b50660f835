"""Forecasts that were possible on past days, for today's book: the material of the backtest.

For each day t the book is revalued at the close before, under scenarios made from what was known then, and
its gain from t - 1 to t is put beside the forecast. Moves are instantaneous: the book does not age.

Workers import this module, so it needs nothing but NumPy, SciPy, Arrow and our own kernels.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from acceleray.domain.market import Market
from acceleray.domain.tables import contract
from acceleray.numerics.aggregation import tree_sum
from acceleray.numerics.covariance import cholesky_root, estimate_covariance
from acceleray.numerics.moves import apply_moves, draw_t_mixing, gaussian_moves
from acceleray.numerics.streams import Purpose, stream
from acceleray.numerics.tail import value_at_risk
from acceleray.risk.fan_out import fan_out
from acceleray.risk.parameters import RiskParameters, VolatilityFits, daily_moves
from acceleray.risk.resolve import Resolution
from acceleray.risk.valuation import ResolvedBook, position_pnl

__all__ = ["FORECAST_LEVELS", "FORECAST_METHODS", "forecast_block", "forecast_table"]

FloatArray = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]

FORECAST_LEVELS = (0.975, 0.99)
FORECAST_METHODS = ("filtered_historical", "historical", "monte_carlo_gaussian", "monte_carlo_t")

# The quantile at 99 % then rests on twenty paths; its error is small beside that of the 500 past days.
_N_PATHS = 2_000
_DAYS_PER_TASK = 25


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Inputs:
    """What every task of the backtest needs, the same for all.

    Parameters
    ----------
    levels : ndarray of shape (n_dates, n_factors)
        History; the tasks read no row after the day they forecast.
    columns : ndarray of int64, shape (n_moving,)
        Factors that the book depends on and that move.
    moves : ndarray of shape (n_dates - 1, n_factors)
        Daily moves.
    days : ndarray of int64, shape (n_dates,)
        Days since 1970, the address of each day's random stream.
    tail_indices : ndarray of shape (n_fits,)
        Degrees of freedom that each fit's data gave.
    nodes : tuple of ndarray
        Rows of the priced positions below each node.
    """

    levels: FloatArray
    move_kinds: npt.NDArray[np.int8]
    columns: IntArray
    moves: FloatArray
    days: IntArray
    fits: VolatilityFits
    tail_indices: FloatArray
    window_days: int
    covariance_method: Literal["ewma", "shrinkage"]
    covariance_decay: float
    seed: int
    nodes: tuple[IntArray, ...]


def forecast_table(
    resolution: Resolution,
    market: Market,
    parameters: RiskParameters,
    *,
    window_days: int,
    backtest_days: int,
    covariance_decay: float,
    covariance_method: Literal["ewma", "shrinkage"] = "ewma",
    seed: int,
    nodes: tuple[str, ...],
    distributed: bool,
) -> pa.Table:
    """Forecast each of the last `backtest_days` sessions from the close before it.

    Parameters
    ----------
    resolution : Resolution
        Resolved with ``history_days = window_days + backtest_days``.
    parameters : RiskParameters
        With a volatility fit at or before the first day's eve.
    window_days : int
        Past moves behind each historical forecast and each covariance.
    covariance_method : {"ewma", "shrinkage"}
        How each day's covariance is estimated; `covariance_decay` is of the first only.
    nodes : tuple of str
        Portfolio nodes to report, all of whose positions are in the resolution.
    distributed : bool
        As Ray tasks, or in this process.

    Returns
    -------
    pyarrow.Table
        Rows of ``result.forecasts``: a VaR forecast is positive for a loss, `pnl` is a gain.
    """
    moves = daily_moves(market)
    fits = parameters.volatility
    used = resolution.priced.columns
    members = [np.isin(resolution.priced.positions, resolution.book.members(node)) for node in nodes]
    inputs = Inputs(
        levels=market.levels,
        move_kinds=market.move_kinds,
        columns=used[~market.fixed[used]],
        moves=moves,
        days=market.dates.astype(np.int64),
        fits=fits,
        tail_indices=np.array([fits.tail_index(fit, moves) for fit in range(fits.fitted_rows.size)]),
        window_days=window_days,
        covariance_method=covariance_method,
        covariance_decay=covariance_decay,
        seed=seed,
        nodes=tuple(np.nonzero(inside)[0] for inside in members),
    )
    begin, end = market.dates.size - backtest_days, market.dates.size
    calls = [(row, min(row + _DAYS_PER_TASK, end)) for row in range(begin, end, _DAYS_PER_TASK)]
    parts = fan_out(
        forecast_block,
        (resolution.priced, inputs),
        calls,
        what="forecast block",
        distributed=distributed,
    )
    forecasts = np.concatenate([part[0] for part in parts])
    realised = np.concatenate([part[1] for part in parts])
    return _table(nodes, market.dates[begin:end], forecasts, realised)


def forecast_block(
    book: ResolvedBook, inputs: Inputs, first: int, stop: int
) -> tuple[FloatArray, FloatArray]:
    """Forecast consecutive days; the unit of distributed work.

    Parameters
    ----------
    first, stop : int
        Rows of the levels to forecast, the last one excluded.

    Returns
    -------
    forecasts : ndarray of shape (n_days, n_nodes, n_methods, n_levels)
        VaR for each day, in the order of `FORECAST_METHODS` and `FORECAST_LEVELS`.
    realised : ndarray of shape (n_days, n_nodes)
        Gain from the close before to the close of each day.
    """
    shape = (stop - first, len(inputs.nodes), len(FORECAST_METHODS), len(FORECAST_LEVELS))
    forecasts = np.empty(shape)
    realised = np.empty(shape[:2])
    # Each fit is run once up to the last move that a forecast of this block may know. The recursion looks
    # back only, so what it says about earlier days is what they knew.
    begin = first - 1 - inputs.window_days
    eves = {inputs.fits.latest(row - 1) for row in range(first, stop)}
    filters = {fit: inputs.fits.filtered(fit, inputs.moves[: stop - 2], begin) for fit in eves}
    for day, row in enumerate(range(first, stop)):
        base = inputs.levels[row - 1]
        fit = inputs.fits.latest(row - 1)
        residuals, variance = filters[fit]
        known = slice(row - 1 - inputs.window_days, row - 1)
        window = slice(known.start - begin, known.stop - begin)
        scenarios = [
            residuals[window, inputs.columns] * np.sqrt(variance[window.stop, inputs.columns]),
            inputs.moves[known, inputs.columns],
            *_draws(inputs, inputs.moves[known, inputs.columns], row, inputs.tail_indices[fit]),
        ]
        shocked = np.tile(base, (sum(map(len, scenarios)) + 1, 1))
        shocked[:-1, inputs.columns] = apply_moves(
            base[inputs.columns], np.concatenate(scenarios), inputs.move_kinds[inputs.columns]
        )
        # The day itself is one more scenario, which no forecast looks at.
        shocked[-1] = inputs.levels[row]
        pnl = position_pnl(book, shocked, base[None, :])
        by_node = np.array([tree_sum(pnl[rows], axis=0) for rows in inputs.nodes])
        realised[day] = by_node[:, -1]
        start = 0
        for method, part in enumerate(scenarios):
            losses = -by_node[:, start : start + len(part)]
            for position, level in enumerate(FORECAST_LEVELS):
                forecasts[day, :, method, position] = value_at_risk(losses, level=level)
            start += len(part)
    return forecasts, realised


def _draws(inputs: Inputs, window: FloatArray, row: int, dof: float) -> tuple[FloatArray, FloatArray]:
    """Draw normal and Student-t moves for the day of `row` with the covariance of the moves before it."""
    covariance, _ = estimate_covariance(
        window, method=inputs.covariance_method, decay=inputs.covariance_decay
    )
    root = cholesky_root(covariance)
    generator = stream(inputs.seed, Purpose.BACKTEST_MONTE_CARLO, int(inputs.days[row]))
    gaussian = gaussian_moves(generator, root, _N_PATHS)
    return gaussian, gaussian * draw_t_mixing(generator, dof, _N_PATHS, unit_variance=True)


def _table(
    nodes: tuple[str, ...],
    dates: npt.NDArray[np.datetime64],
    forecasts: FloatArray,
    realised: FloatArray,
) -> pa.Table:
    n_days, n_nodes, n_methods, n_levels = forecasts.shape
    schema = contract("result.forecasts").schema
    shape = (n_nodes, n_methods, n_levels, n_days)
    node, method, level, day = (index.ravel() for index in np.indices(shape))
    return pa.table(
        {
            "portfolio_id": pa.array(nodes, pa.string()).take(pa.array(node)),
            "method": pa.array(FORECAST_METHODS, pa.string()).take(pa.array(method)),
            "level": np.array(FORECAST_LEVELS)[level],
            "date": pa.array(dates[day]),
            "var": forecasts.transpose(1, 2, 3, 0).ravel(),
            "pnl": realised[day, node],
        },
        schema=schema,
    )
