"""Forecasts that were possible on past days, for today's book: the material of the backtest.

For each day the book is revalued at the close `horizon_days` before, under scenarios made from what was known
then, and its gain since that close is put beside the forecast. Moves are instantaneous: the book does not
age.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Literal

import numpy as np
import pyarrow as pa

from acceleray.domain.market import Market
from acceleray.domain.tables import contract
from acceleray.numerics.moves import apply_moves
from acceleray.risk.fan_out import fan_out
from acceleray.risk.forecast_blocks import (
    FORECAST_METHODS,
    Forecasts,
    Inputs,
    add_draws,
    forecast_block,
)
from acceleray.risk.parameters import RiskParameters, VolatilityFits, daily_moves
from acceleray.risk.resolve import Resolution
from acceleray.risk.stand_ins import MARGIN_SAMPLED, Demand, with_stand_ins
from acceleray.risk.valuation import ResolvedBook

__all__ = [
    "FORECAST_LEVELS",
    "FORECAST_METHODS",
    "Forecasts",
    "forecast_days",
    "forecast_table",
    "moves_needed",
    "whole_nodes",
]


FORECAST_LEVELS = (0.975, 0.99)

_DAYS_PER_TASK = 25

# Scenarios per day, the close itself among them, that show what range the forecasts span.
_N_SAMPLED = 20


def moves_needed(*, window_days: int, horizon_days: int) -> int:
    """Daily moves that a factor needs up to the close of a forecast."""
    return window_days + horizon_days - 1


def whole_nodes(tonight: Resolution, past: Resolution) -> tuple[str, ...]:
    """Nodes with a priced position, none of whose positions priced tonight is missing in the past.

    A position whose factors are younger than the backtest cannot be part of it, and no portfolio is tested
    without one of its positions: its past would be that of another book.
    """
    book = tonight.book
    young = np.setdiff1d(tonight.priced.positions, past.priced.positions)
    return tuple(
        node
        for node in book.nodes
        for members in (book.members(node),)
        if np.isin(members, past.priced.positions).any() and not np.isin(members, young).any()
    )


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
    nodes : tuple of str
        Portfolio nodes to report, all of whose positions are in the resolution.
    distributed : bool
        As Ray tasks, or in this process.

    Returns
    -------
    pyarrow.Table
        Rows of ``result.forecasts``: VaR and ES forecasts are positive for a loss, `pnl` is a gain.
    """
    first, stop = market.dates.size - backtest_days, market.dates.size
    found = forecast_days(
        resolution,
        market,
        parameters.volatility,
        rows=(first, stop),
        window_days=window_days,
        covariance_method=covariance_method,
        covariance_decay=covariance_decay,
        seed=seed,
        nodes=nodes,
        distributed=distributed,
    )
    n_days, n_nodes, n_methods, n_levels = found.var.shape
    shape = (n_nodes, n_methods, n_levels, n_days)
    node, method, level, day = (index.ravel() for index in np.indices(shape))
    return pa.table(
        {
            "portfolio_id": pa.array(nodes, pa.string()).take(pa.array(node)),
            "method": pa.array(FORECAST_METHODS, pa.string()).take(pa.array(method)),
            "level": np.array(FORECAST_LEVELS)[level],
            "date": pa.array(market.dates[first:stop][day]),
            "var": found.var.transpose(1, 2, 3, 0).ravel(),
            "es": found.es.transpose(1, 2, 3, 0).ravel(),
            "pnl": found.pnl[day, node],
        },
        schema=contract("result.forecasts").schema,
    )


def forecast_days(
    resolution: Resolution,
    market: Market,
    fits: VolatilityFits,
    *,
    rows: tuple[int, int],
    window_days: int,
    covariance_decay: float,
    covariance_method: Literal["ewma", "shrinkage"] = "ewma",
    seed: int,
    nodes: tuple[str, ...],
    distributed: bool,
    horizon_days: int = 1,
    methods: tuple[str, ...] = FORECAST_METHODS,
    levels: tuple[float, ...] = FORECAST_LEVELS,
    n_draws: int = 0,
) -> Forecasts:
    """Forecast consecutive sessions, one task per block of days.

    Parameters
    ----------
    resolution : Resolution
        Whose factors have `moves_needed` moves up to the first forecast's close.
    fits : VolatilityFits
        With one at or before that close.
    rows : tuple of int
        First row of ``market.dates`` to forecast, and the one after the last.
    horizon_days : int
        Sessions from the forecast's close to the day.
    methods : tuple of str
        Some of `FORECAST_METHODS`, in that order.
    n_draws : int
        Draws for the tests of ES.

    Returns
    -------
    Forecasts
        The same bits in any number of tasks' workers.
    """
    moves = daily_moves(market)
    used = resolution.priced.columns
    columns = used[~market.fixed[used]]
    inputs = Inputs(
        levels=market.levels,
        columns=columns,
        move_kinds=market.move_kinds[columns],
        moves=moves[:, columns],
        days=market.dates.astype(np.int64),
        fits=replace(
            fits,
            **{
                name: getattr(fits, name)[:, columns]
                for name in ("omega", "alpha", "gamma", "beta", "initial_variance", "first_rows")
            },
        ),
        # One tail for the whole market, as on any night.
        tail_indices=np.array([fits.tail_index(fit, moves) for fit in range(fits.fitted_rows.size)]),
        window_days=window_days,
        covariance_method=covariance_method,
        covariance_decay=covariance_decay,
        horizon_days=horizon_days,
        methods=methods,
        var_levels=levels,
        n_draws=n_draws,
        seed=seed,
        nodes=tuple(resolution.portfolios_below(node) for node in nodes),
    )
    first, stop = rows
    (book,) = with_stand_ins([_demand(resolution.priced, inputs, rows)], distributed=distributed)
    calls = [(row, min(row + _DAYS_PER_TASK, stop)) for row in range(first, stop, _DAYS_PER_TASK)]
    parts = fan_out(
        forecast_block,
        (book, inputs),
        calls,
        what="forecast block",
        distributed=distributed,
    )
    draws = parts[0].draws
    for part in parts[1:]:
        draws = tuple(add_draws(one, other) for one, other in zip(draws, part.draws, strict=True))
    return Forecasts(
        var=np.concatenate([part.var for part in parts]),
        es=np.concatenate([part.es for part in parts]),
        pnl=np.concatenate([part.pnl for part in parts]),
        draws=draws,
    )


def _demand(book: ResolvedBook, inputs: Inputs, rows: tuple[int, int]) -> Demand:
    """Say what range the forecasts span: every close, moved by past moves spread over its window.

    A table's box may know the days to come: it only decides which prices are interpolated.
    """
    sampled = []
    for row in range(*rows):
        close = row - inputs.horizon_days
        picked = np.linspace(close - inputs.window_days, close - 1, _N_SAMPLED).astype(np.int64)
        moves = inputs.moves[picked] * np.sqrt(inputs.horizon_days)
        levels = np.tile(inputs.levels[close], (_N_SAMPLED, 1))
        levels[1:, inputs.columns] = apply_moves(
            inputs.levels[close, inputs.columns], moves[1:], inputs.move_kinds
        )
        sampled.append(levels)
    n_scenarios = len(sampled) * inputs.window_days * len(inputs.methods)
    return Demand(book=book, levels=np.concatenate(sampled), n_scenarios=n_scenarios, margin=MARGIN_SAMPLED)
