"""The risk model's own parameters: volatility per factor, covariance, and the tail of the moves."""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from acceleray.config.models import Settings
from acceleray.domain.market import Market
from acceleray.domain.tables import contract
from acceleray.errors import MissingDataError
from acceleray.numerics.covariance import estimate_covariance
from acceleray.numerics.repair import repair_covariance
from acceleray.risk.ladder import climb
from acceleray.risk.parameters import RiskParameters, daily_moves
from acceleray.risk.volatility_fits import (
    SECONDS_PER_FIT,
    Attempt,
    Fit,
    Item,
    attempt_batch,
    choose,
    without_model,
)

__all__ = ["calibrate_risk", "fit_volatility", "refit_dates"]

FloatArray = npt.NDArray[np.float64]

# A task costs Ray a millisecond, its results travel, and workers are two: half a second is long enough.
_TASK_SECONDS = 0.6


def refit_dates(market: Market, settings: Settings) -> tuple[dt.date, ...]:
    """Dates on which the volatility filters are fitted: `as_of`, and back through the backtest.

    Returns
    -------
    tuple of date
        Increasing, `refit_every_days` sessions apart; the first is early enough for the first forecast.

    Raises
    ------
    MissingDataError
        If the market's history is shorter than the backtest.
    """
    last, every = market.dates.size - 1, settings.calibrate.refit_every_days
    first_needed = last - settings.simulate.backtest_days
    steps = -(-settings.simulate.backtest_days // every)
    rows = [last - every * step for step in range(steps, -1, -1)]
    if rows[0] < 1:
        raise MissingDataError(
            f"market: a backtest of {settings.simulate.backtest_days} days needs more than "
            f"{market.dates.size} dates (first forecast at row {first_needed})"
        )
    return tuple(market.dates[rows].tolist())


def calibrate_risk(
    market: Market,
    settings: Settings,
    *,
    fit_dates: Sequence[dt.date] | None = None,
    distributed: bool | None = None,
) -> dict[str, pa.Table]:
    """Estimate ``params.volatility``, ``params.covariance`` and ``params.risk``.

    Parameters
    ----------
    market : Market
        History up to `as_of`.
    settings : Settings
        Windows, decays, and how often to refit.
    fit_dates : sequence of date, optional
        Sessions at whose close the volatility filters are fitted, by default `refit_dates`. A fit sees only
        what was known by then.
    distributed : bool, optional
        Fit as Ray tasks, or here; by default as tasks when Ray is up.

    Returns
    -------
    dict of str to pyarrow.Table
        Rows of the three tables, without ``run_id``.

    Raises
    ------
    MissingDataError
        If a fit date is not a session, or no factor has the history for the covariance.
    """
    moves = daily_moves(market)
    dates = np.unique(
        np.array(refit_dates(market, settings) if fit_dates is None else fit_dates, dtype="datetime64[D]")
    )
    if dates.size == 0 or not np.isin(dates, market.dates).all():
        raise MissingDataError("calibrate: every fit date must be one of the market's sessions")
    fitted_rows = tuple(int(row) for row in np.searchsorted(market.dates, dates))
    moving = np.nonzero(~market.fixed & np.isfinite(market.base))[0]
    window = settings.calibrate.volatility_window_days
    # Older moves than any fit sees need not travel to the workers.
    cut = max(fitted_rows[0] - window, 0)
    fits = fit_volatility(
        moves[cut:, moving],
        tuple(row - cut for row in fitted_rows),
        window_days=window,
        models=settings.calibrate.volatility_models,
        ewma_decay=settings.calibrate.ewma_decay,
        distributed=_ray_is_up() if distributed is None else distributed,
    )
    volatility = _volatility_table(market, moving, dates, fits)

    days = settings.simulate.window_days
    recent = moves[-days:]
    whole = np.nonzero(np.isfinite(recent).all(axis=0) & ~market.fixed)[0]
    if whole.size == 0 or recent.shape[0] < days:
        raise MissingDataError(f"calibrate: no factor has the {days} daily moves that the covariance needs")
    how = settings.simulate.covariance
    covariance, intensity = estimate_covariance(
        recent[:, whole], method=how.method, decay=settings.calibrate.covariance_decay
    )
    repaired, repair = repair_covariance(covariance, method=how.repair)
    tables = {
        "params.volatility": volatility,
        "params.covariance": _covariance_table(market, whole, repaired),
    }
    risk = {
        "covariance_days": float(days),
        "covariance_shrinkage": intensity,
        "covariance_lowest_eigenvalue": repair.lowest_eigenvalue,
        "covariance_repaired": float(repair.method != "none"),
        "covariance_largest_change": repair.largest_change,
    }
    tables["params.risk"] = _risk_table(risk)
    parameters = RiskParameters.from_tables(
        market, *tables.values(), volatility_days=window, covariance_days=days
    )
    fit = parameters.volatility.latest(market.dates.size - 1)
    tables["params.risk"] = _risk_table(
        risk
        | {"t_dof": parameters.volatility.tail_index(fit, moves)}
        | {
            f"factors_{model}": float(sum(each[-1].model == model for each in fits))
            for model in ("constant", "ewma", *settings.calibrate.volatility_models)
        }
    )
    return tables


def fit_volatility(
    moves: FloatArray,
    fitted_rows: tuple[int, ...],
    *,
    window_days: int,
    models: tuple[str, ...],
    ewma_decay: float,
    distributed: bool,
) -> list[list[Fit]]:
    """Choose a variance model per factor and date: the first of `models` whose residuals pass their tests.

    Parameters
    ----------
    moves : ndarray of shape (n_moves, n_factors)
        Daily moves, NaN before a factor's first; row i ends on date i + 1.
    fitted_rows : tuple of int
        Rows of the dates, increasing: a fit on date r sees the `window_days` moves up to row r - 1.
    models : tuple of str
        In the order in which they are tried.
    ewma_decay : float
        Of what is taken where no model fits.
    distributed : bool
        As Ray tasks, or in this process.

    Returns
    -------
    list of list of Fit
        Per factor and date; the same bits in any number of tasks.
    """
    found: dict[tuple[int, int], Fit] = {}
    items: list[Item] = []
    for column in range(moves.shape[1]):
        run: list[int] = []
        for row in fitted_rows:
            simple = without_model(moves[:, column], row, window_days=window_days, ewma_decay=ewma_decay)
            if simple is None:
                run.append(row)
                continue
            found[column, row] = simple
            # An optimum is a start for the next date's search, not for one after a gap.
            items += [Item(column=column, rows=tuple(run))] if run else []
            run = []
        items += [Item(column=column, rows=tuple(run))] if run else []
    ways = climb(
        attempt_batch,
        (moves, window_days, models),
        items,
        n_rungs=len(models),
        onward=_onward,
        cost=lambda rung, item: SECONDS_PER_FIT[models[rung]] * len(item.rows),
        task_seconds=_TASK_SECONDS,
        what="volatility batch",
        distributed=distributed,
    )
    for item, way in zip(items, ways, strict=True):
        attempts: dict[int, list[Attempt]] = {row: [] for row in item.rows}
        for tried, results in way:
            for row, attempt in zip(tried.rows, results, strict=True):
                attempts[row].append(attempt)
        for row in item.rows:
            window = moves[max(row - window_days, 0) : row, item.column]
            found[item.column, row] = choose(attempts[row], window[np.isfinite(window)], ewma_decay)
    return [[found[column, row] for row in fitted_rows] for column in range(moves.shape[1])]


def _onward(_rung: int, item: Item, attempts: list[Attempt]) -> Item | None:
    """Keep the dates whose model did not pass."""
    left = [pair for pair in zip(item.rows, attempts, strict=True) if not pair[1].passed]
    if not left:
        return None
    rows, before = zip(*left, strict=True)
    return Item(column=item.column, rows=rows, before=before)


def _ray_is_up() -> bool:
    # Ray that nobody has imported is not initialised, and importing it costs a second.
    import sys

    ray = sys.modules.get("ray")
    return ray is not None and bool(ray.is_initialized())


def _volatility_table(
    market: Market,
    moving: np.ndarray[tuple[int, ...], np.dtype[np.int64]],
    dates: np.ndarray[tuple[int, ...], np.dtype[np.datetime64]],
    fits: list[list[Fit]],
) -> pa.Table:
    rows = [
        {
            "factor_id": market.factor_ids[column],
            "fitted_on": day,
            "model": fit.model,
            "mean": 0.0,
            "omega": fit.omega,
            "alpha": fit.alpha,
            "gamma": fit.gamma,
            "beta": fit.beta,
            "dof": fit.dof,
            "initial_variance": fit.initial_variance,
            **{f"{name}_p": fit.p_values.get(name) for name in ("ljung_box", "jarque_bera", "sign_bias")},
            "path": fit.path,
            "note": fit.note,
        }
        for column, each in zip(moving, fits, strict=True)
        for day, fit in zip(dates.tolist(), each, strict=True)
    ]
    return pa.Table.from_pylist(rows, schema=contract("params.volatility").schema)


def _covariance_table(
    market: Market,
    columns: np.ndarray[tuple[int, ...], np.dtype[np.int64]],
    covariance: np.ndarray[tuple[int, ...], np.dtype[np.float64]],
) -> pa.Table:
    names = [market.factor_ids[column] for column in columns]
    return pa.table(
        {
            "factor_id": [name for name in names for _ in names],
            "other_factor_id": names * len(names),
            "value": covariance.ravel(),
        },
        schema=contract("params.covariance").schema,
    )


def _risk_table(values: dict[str, float]) -> pa.Table:
    names = sorted(values)
    return pa.table(
        {"name": names, "value": [values[name] for name in names]}, schema=contract("params.risk").schema
    )
