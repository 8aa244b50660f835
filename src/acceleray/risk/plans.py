"""Prepare any scenario set: every kind becomes a plan that yields blocks of shocked levels."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from acceleray.domain.inputs import did_you_mean
from acceleray.domain.market import Market
from acceleray.domain.moves import MoveKind
from acceleray.domain.scenario import (
    FilteredHistorical,
    Given,
    Historical,
    MonteCarlo,
    ScenarioSet,
    Stress,
)
from acceleray.errors import InputDataError, SchemaError, UsageError
from acceleray.numerics.covariance import cholesky_root
from acceleray.numerics.draws import martingale_drift
from acceleray.numerics.moves import apply_moves, historical_moves
from acceleray.numerics.principal import principal_root
from acceleray.numerics.sobol import REPLICATES, sobol_layout
from acceleray.risk.blocks import Blocks, Drawn, Filtered, Plan, Table
from acceleray.risk.parameters import RiskParameters, daily_moves
from acceleray.risk.stress import stress_levels

__all__ = ["Labels", "history_days", "prepare"]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Labels:
    """What the numbers of a set's scenarios stand for.

    Parameters
    ----------
    method : str
        Short name of how the scenarios were made, as in ``result.measures``.
    note : str
        The same in words, with what a reader must know.
    horizon_days : int
        Business days each scenario spans; 0 for instantaneous ones.
    overlap_days : int
        Length of the overlap between neighbouring scenarios, 1 when they are independent draws.
    blocks : Blocks
        How many there are and how they are cut.
    dates : ndarray of datetime64[D], optional
        Last day of the past move behind each scenario.
    names : tuple of str, optional
        Their names.
    seed : int
        Of the set, and of anything resampled from it later.
    replicates : int, optional
        Independent randomisations of a Sobol set, over which its blocks go round.
    weights : ndarray of shape (n_scenarios,), optional
        Probability that each path of an importance sample stands for; equal ones without.
    """

    method: str
    note: str
    horizon_days: int
    overlap_days: int
    blocks: Blocks
    dates: npt.NDArray[np.datetime64] | None = None
    names: tuple[str, ...] | None = None
    seed: int = 0
    replicates: int | None = None
    weights: npt.NDArray[np.float64] | None = None


def history_days(scenarios: ScenarioSet, parameters: RiskParameters | None) -> int:
    """Daily moves that every moving factor needs before it can take part in a set."""
    match scenarios:
        case Historical(overlapping=True):
            return scenarios.window_days + scenarios.horizon_days - 1
        case Historical():
            return scenarios.window_days
        case FilteredHistorical():
            return scenarios.window_days
        case MonteCarlo() if parameters is not None:
            return parameters.covariance_days
        case _:
            return 0


def prepare(
    scenarios: ScenarioSet,
    market: Market,
    parameters: RiskParameters | None,
    *,
    block_size: int,
    columns: npt.NDArray[np.int64] | None = None,
) -> tuple[Plan, Labels]:
    """Turn a scenario set into a plan and its labels.

    Parameters
    ----------
    parameters : RiskParameters, optional
        By default estimated by exponential weighting where the set needs them.
    block_size : int
        Scenarios per block; part of the definition of a Monte-Carlo result.
    columns : ndarray of int64, optional
        Factors that the book depends on; others need no data.

    Raises
    ------
    InputDataError
        If the market cannot supply what the set needs.
    """
    match scenarios:
        case Historical():
            return _historical(scenarios, market, block_size)
        case FilteredHistorical():
            parameters = parameters or RiskParameters.exponential(market)
            return _filtered(scenarios, market, parameters, block_size)
        case MonteCarlo():
            parameters = parameters or RiskParameters.exponential(market)
            return _monte_carlo(scenarios, market, parameters, block_size, columns)
        case Stress():
            levels = stress_levels(scenarios, market, columns).shocked
            names = tuple(scenario.name for scenario in scenarios.scenarios)
            return _named("stress", "named stresses", levels, names, block_size)
        case Given():
            shocked, names = _given(scenarios, market)
            return _named("given", "levels as given, all equally likely", shocked, names, block_size)


def _historical(scenarios: Historical, market: Market, block_size: int) -> tuple[Plan, Labels]:
    moves, ends = historical_moves(
        market.levels,
        market.move_kinds,
        window_days=scenarios.window_days,
        horizon_days=scenarios.horizon_days,
        overlapping=scenarios.overlapping,
    )
    moves[:, market.fixed] = 0.0
    blocks = Blocks(n_scenarios=len(ends), size=block_size)
    overlap = scenarios.horizon_days if scenarios.overlapping else 1
    return (
        Table(blocks=blocks, shocked=apply_moves(market.base, moves, market.move_kinds)),
        Labels(
            method="historical",
            note=f"{len(ends)} {_span(scenarios.horizon_days, overlap)} up to {market.dates[-1]}, "
            "all equally likely",
            horizon_days=scenarios.horizon_days,
            overlap_days=overlap,
            blocks=blocks,
            dates=market.dates[ends],
        ),
    )


def _span(horizon_days: int, overlap_days: int) -> str:
    if horizon_days == 1:
        return "daily moves"
    return f"{'overlapping ' if overlap_days > 1 else ''}moves of {horizon_days} days"


def _filtered(
    scenarios: FilteredHistorical, market: Market, parameters: RiskParameters, block_size: int
) -> tuple[Plan, Labels]:
    moves = daily_moves(market)
    if scenarios.window_days > len(moves):
        raise InputDataError(
            f"filtered historical: {scenarios.window_days} daily moves asked for, there are {len(moves)}"
        )
    fit = parameters.volatility.latest(market.dates.size - 1)
    begin = len(moves) - scenarios.window_days
    residuals, variance = parameters.volatility.filtered(fit, moves, begin)
    if scenarios.horizon_days == 1:
        blocks = Blocks(n_scenarios=scenarios.window_days, size=block_size)
        scaled = residuals * np.sqrt(variance[-1])
        return (
            Table(blocks=blocks, shocked=apply_moves(market.base, scaled, market.move_kinds)),
            Labels(
                method="filtered_historical",
                horizon_days=1,
                overlap_days=1,
                seed=scenarios.seed,
                note=f"{scenarios.window_days} daily moves scaled to tomorrow's volatility, each used once",
                blocks=blocks,
                dates=market.dates[begin + 1 :],
            ),
        )
    # A factor whose history is shorter than the window has NaN residuals; the book does not depend on it.
    blocks = Blocks(n_scenarios=scenarios.n_paths, size=block_size)
    volatility = parameters.volatility
    return (
        Filtered(
            blocks=blocks,
            base=market.base,
            move_kinds=market.move_kinds,
            residuals=residuals,
            omega=volatility.omega[fit],
            alpha=volatility.alpha[fit],
            gamma=volatility.gamma[fit],
            beta=volatility.beta[fit],
            variance=variance[-1],
            horizon_days=scenarios.horizon_days,
            seed=scenarios.seed,
        ),
        Labels(
            method="filtered_historical",
            horizon_days=scenarios.horizon_days,
            overlap_days=1,
            seed=scenarios.seed,
            note=f"{scenarios.n_paths} paths of {scenarios.horizon_days} days, residual dates resampled, "
            "variance updated along each path",
            blocks=blocks,
        ),
    )


def _monte_carlo(
    scenarios: MonteCarlo,
    market: Market,
    parameters: RiskParameters,
    block_size: int,
    columns: npt.NDArray[np.int64] | None,
) -> tuple[Plan, Labels]:
    for column in () if columns is None else columns:
        history = market.levels[:, column]
        # A pegged rate may have no variance; a factor that has moved must not stand still unnoticed.
        if parameters.covariance[column, column] == 0 and np.any(history != history[-1]):
            raise InputDataError(
                f"Monte-Carlo: factor {market.factor_ids[column]!r} has no variance in the parameters",
                hint="It may have too little history for the covariance window.",
            )
    used = np.arange(len(market.factors)) if columns is None else columns
    horizon, dof, kinds = scenarios.horizon_days, scenarios.dof, market.move_kinds
    covariance = parameters.covariance
    n_paths, size, replicates = scenarios.n_paths, block_size, None
    if scenarios.sampler == "sobol":
        (n_paths, size), replicates = sobol_layout(n_paths, block_size), REPLICATES
    drift = np.zeros(kinds.size)
    if scenarios.drift == "martingale":
        moving = used[(kinds[used] == MoveKind.LOG) & (np.diag(covariance)[used] > 0.0)]
        if dof is not None and moving.size:
            raise UsageError(
                f"monte_carlo.drift: factor {market.factor_ids[moving[0]]!r} has Student-t log moves, whose "
                "expected level is infinite",
                hint="Use zero drift, normal moves, or relative moves for this kind of factor.",
            )
        drift[used] = martingale_drift(
            covariance[np.ix_(used, used)], kinds[used], horizon_days=horizon, dof=dof
        )
    blocks = Blocks(n_scenarios=n_paths, size=size)
    return (
        Drawn(
            blocks=blocks,
            base=market.base,
            move_kinds=kinds,
            root=cholesky_root(covariance) if replicates is None else principal_root(covariance),
            drift=drift,
            horizon_days=horizon,
            step=scenarios.step,
            seed=scenarios.seed,
            dof=dof,
            unit_variance=scenarios.scale == "covariance",
            replicates=replicates,
        ),
        Labels(
            method="monte_carlo_gaussian" if dof is None else "monte_carlo_t",
            note=_drawn_note(scenarios),
            horizon_days=horizon,
            overlap_days=1,
            blocks=blocks,
            seed=scenarios.seed,
            replicates=replicates,
        ),
    )


def _drawn_note(scenarios: MonteCarlo) -> str:
    dof, days = scenarios.dof, scenarios.horizon_days
    law = "normal" if dof is None else f"Student-t with {dof:g} degrees of freedom"
    mean = "zero mean" if scenarios.drift == "zero" else "expected levels are today's"
    if days == 1:
        how = "one daily draw"
    elif scenarios.step == "daily":
        how = f"the sum of {days} independent daily draws"
    else:
        how = f"one draw with the covariance of {days} days"
    points = f", {REPLICATES} scrambled Sobol sets" if scenarios.sampler == "sobol" else ""
    return f"{law}, {mean}, {how}{points}"


def _named(
    method: str,
    note: str,
    shocked: npt.NDArray[np.float64],
    names: tuple[str, ...],
    block_size: int,
) -> tuple[Plan, Labels]:
    blocks = Blocks(n_scenarios=len(names), size=block_size)
    return (
        Table(blocks=blocks, shocked=shocked),
        Labels(method=method, note=note, horizon_days=0, overlap_days=1, blocks=blocks, names=names),
    )


def _given(scenarios: Given, market: Market) -> tuple[npt.NDArray[np.float64], tuple[str, ...]]:
    table = scenarios.table
    missing = {"scenario", "factor_id", "value"} - set(table.column_names)
    if missing:
        raise SchemaError(f"given scenarios: missing columns {sorted(missing)}")
    labels = table["scenario"].to_pylist()
    if not labels or None in labels:
        raise InputDataError(
            "given scenarios: a row has no scenario" if labels else "given scenarios: there is no row"
        )
    order = sorted(set(labels))
    row_of = {label: row for row, label in enumerate(order)}
    column_of = {name: column for column, name in enumerate(market.factor_ids)}
    shocked = np.tile(market.base, (len(order), 1))
    seen = np.zeros(shocked.shape, dtype=bool)
    for label, name, value in zip(
        labels, table["factor_id"].to_pylist(), table["value"].to_pylist(), strict=True
    ):
        if name not in column_of:
            near = did_you_mean(str(name), column_of)
            raise InputDataError(f"given scenarios: scenario {label!r} moves unknown factor {name!r}{near}")
        at = row_of[label], column_of[name]
        if seen[at]:
            raise InputDataError(f"given scenarios: scenario {label!r} sets factor {name!r} twice")
        if value is None or not np.isfinite(value):
            raise InputDataError(f"given scenarios: scenario {label!r} sets factor {name!r} to {value}")
        seen[at], shocked[at] = True, value
    return shocked, tuple(map(str, order))
