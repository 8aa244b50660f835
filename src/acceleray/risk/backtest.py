"""The backtest pack: re-forecast any past window day by day, and judge every method.

Today's static book is held over the past. A forecast knows what was known at its close: levels, moves, and
volatility fits made for the purpose on data up to then, `refit_every_days` sessions apart.
"""

from __future__ import annotations

import dataclasses
import datetime as dt
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa

from acceleray.config.models import Settings
from acceleray.domain.book import Book
from acceleray.domain.inputs import did_you_mean
from acceleray.domain.market import Market
from acceleray.errors import InputDataError, MissingDataError, UsageError
from acceleray.risk.backtest_tests import (
    Series,
    attribution_rows,
    comparison_rows,
    overlap_bounds,
    verdict_row,
)
from acceleray.risk.calibration import calibrate_risk
from acceleray.risk.forecasts import (
    FORECAST_LEVELS,
    FORECAST_METHODS,
    Forecasts,
    forecast_days,
    moves_needed,
    whole_nodes,
)
from acceleray.risk.parameters import RiskParameters
from acceleray.risk.resolve import Resolution, resolve

__all__ = ["BOOK", "Backtest", "run_backtest"]

BOOK = "today's static book on past markets"

# Backtests drawn from the forecasts themselves: a p-value of 5 % is then known to half a percentage point.
_N_DRAWS = 2_000


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Backtest:
    """Forecasts of a past window, and every verdict on them.

    Parameters
    ----------
    forecasts : pyarrow.Table
        portfolio_id, method, level, horizon_days, made_on, date, var, es, pnl, exception.
    tests : list of dict
        One row per portfolio, method, level and horizon.
    comparisons : list of dict
        Pairs of methods by score.
    attribution, desks : list of dict
        Reported against risk-theoretical gains; empty without reported ones.
    facts : dict
        How it was computed: window, fits, seeds, what was left out.
    """

    forecasts: pa.Table
    tests: list[dict[str, Any]]
    comparisons: list[dict[str, Any]]
    attribution: list[dict[str, Any]]
    desks: list[dict[str, Any]]
    facts: dict[str, Any]


def run_backtest(
    book: Book,
    market: Market,
    settings: Settings,
    *,
    nodes: Sequence[str],
    first: dt.date | None = None,
    last: dt.date | None = None,
    methods: Sequence[str] = FORECAST_METHODS,
    horizons_days: Sequence[int] = (1,),
    levels: Sequence[float] = FORECAST_LEVELS,
    pnl: pa.Table | None = None,
    distributed: bool = True,
    progress: Callable[[str], None],
) -> Backtest:
    """Re-forecast a past window and test the forecasts.

    Parameters
    ----------
    book, market
        Tonight's.
    settings : Settings
        Windows, decays, seed and base currency.
    nodes : sequence of str
        Portfolio nodes to test.
    first, last : date, optional
        Days to forecast, both included; by default the last ``simulate.backtest_days`` sessions.
    methods : sequence of str
        Some of `FORECAST_METHODS`.
    horizons_days : sequence of int
        Sessions per forecast; beyond one day the windows overlap.
    levels : sequence of float
        Levels of VaR and ES as fractions.
    pnl : pyarrow.Table, optional
        Reported gains in the layout of the ``pnl`` input.
    distributed : bool
        As Ray tasks, or in this process; the bits are the same.
    progress : callable
        Takes a line for people.

    Raises
    ------
    UsageError
        If a node or method is unknown or there is no session in the window.
    MissingDataError
        If the market does not reach back far enough.
    InputDataError
        If no node can be tested, or reported gains fit none.
    """
    asked = _Asked(
        nodes=tuple(dict.fromkeys(nodes)),
        methods=_methods(methods),
        levels=tuple(sorted(set(levels))),
        rows=_rows(market, settings, first, last),
    )
    unknown = [node for node in asked.nodes if node not in book.nodes]
    if unknown:
        raise UsageError(f"portfolio {unknown[0]!r} is not in the book{did_you_mean(unknown[0], book.nodes)}")
    horizons = sorted(set(horizons_days))
    if pnl is not None and 1 not in horizons:
        raise UsageError("the P&L attribution test needs the one-day horizon", hint="Add --horizon 1.")
    begin, stop = asked.rows
    found: list[Series] = []
    tests: list[dict[str, Any]] = []
    fitted: dict[str, list[str]] = {}
    tails: dict[str, float] = {}
    left_out: list[dict[str, Any]] = []
    for horizon in horizons:
        # Without the days after the window, nothing can know of them.
        known = dataclasses.replace(market, dates=market.dates[:stop], levels=market.levels[:stop])
        progress(f"fitting volatilities for {stop - begin} days over {horizon}")
        parameters = _fit(known, settings, begin - horizon, horizon, distributed)
        fitted[str(horizon)] = known.dates[parameters.volatility.fitted_rows].astype(str).tolist()
        progress(f"forecasting {stop - begin} days over {horizon}")
        series, without = _forecast(book, market, known, settings, parameters, asked, horizon, distributed)
        left_out += without
        progress(f"testing {len(series)} series of forecasts over {horizon}")
        if horizon > 1:
            tails[str(horizon)] = _dof(parameters)
        bounds = {
            level: overlap_bounds(
                windows=stop - begin,
                horizon_days=horizon,
                level=level,
                dof=tails[str(horizon)],
                seed=settings.simulate.seed,
            )
            for level in (asked.levels if series and horizon > 1 else ())
        }
        tests += [verdict_row(each, bounds.get(each.level)) for each in series]
        found += series
    if not found:
        raise InputDataError(
            f"backtest: none of {', '.join(asked.nodes)} can be tested; {left_out[0]['reason']}",
            hint="Begin later with --from, or test portfolios without the position.",
        )
    groups: dict[tuple[str, int, float], list[Series]] = {}
    for each in found:
        groups.setdefault((each.portfolio_id, each.horizon_days, each.level), []).append(each)
    daily = [each for each in found if each.horizon_days == 1]
    attribution, desks = ([], []) if pnl is None else attribution_rows(pnl, daily)
    if pnl is not None and not attribution:
        raise InputDataError(
            "pnl: no row is of a tested portfolio on a day of the window",
            hint="Name the portfolios as the book does; the whole book is Fund.",
        )
    return Backtest(
        forecasts=pa.concat_tables(
            [
                _table(each, market.dates[begin - each.horizon_days : stop - each.horizon_days])
                for each in found
            ]
        ),
        tests=tests,
        comparisons=[row for group in groups.values() for row in comparison_rows(group)],
        attribution=attribution,
        desks=desks,
        facts={
            "book": BOOK,
            "from": str(market.dates[begin]),
            "to": str(market.dates[stop - 1]),
            "days": stop - begin,
            "methods": list(asked.methods),
            "horizons_days": horizons,
            "levels": list(asked.levels),
            "window_days": settings.simulate.window_days,
            "covariance_decay": settings.calibrate.covariance_decay,
            "seed": settings.simulate.seed,
            "shortfall_draws": _N_DRAWS,
            "volatility_fits": fitted,
            "bounds_dof": tails,
            "not_tested": left_out,
        },
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class _Asked:
    """What to forecast: nodes, methods, levels, and the rows of the market's dates."""

    nodes: tuple[str, ...]
    methods: tuple[str, ...]
    levels: tuple[float, ...]
    rows: tuple[int, int]


def _forecast(
    book: Book,
    market: Market,
    known: Market,
    settings: Settings,
    parameters: RiskParameters,
    asked: _Asked,
    horizon: int,
    distributed: bool,
) -> tuple[list[Series], list[dict[str, Any]]]:
    """Forecast every day of the window over one horizon; what cannot be is returned with its reason."""
    begin, stop = asked.rows
    needed = moves_needed(window_days=settings.simulate.window_days, horizon_days=horizon)
    # The book is tonight's, so it is resolved against tonight's market: its times to expiry are tonight's.
    past = resolve(
        book,
        market,
        base_currency=settings.base_currency,
        history_days=market.dates.size - 1 - (begin - horizon) + needed,
    )
    whole = whole_nodes(resolve(book, market, base_currency=settings.base_currency), past)
    nodes = tuple(node for node in asked.nodes if node in whole)
    left_out = [
        {"portfolio_id": node, "horizon_days": horizon, "reason": _reason(past, node)}
        for node in asked.nodes
        if node not in whole
    ]
    if not nodes:
        return [], left_out
    forecasts = forecast_days(
        past,
        known,
        parameters.volatility,
        rows=asked.rows,
        window_days=settings.simulate.window_days,
        covariance_decay=settings.calibrate.covariance_decay,
        covariance_method=settings.simulate.covariance.method,
        seed=settings.simulate.seed,
        nodes=nodes,
        distributed=distributed,
        horizon_days=horizon,
        methods=asked.methods,
        levels=asked.levels,
        n_draws=_N_DRAWS if horizon == 1 else 0,
    )
    return list(_series(forecasts, nodes, asked, horizon, market.dates[begin:stop])), left_out


def _reason(past: Resolution, node: str) -> str:
    """Name the first position of a node that cannot be part of the past, and why."""
    book = past.book
    return next(
        f"{book.portfolio_ids[row]} {book.instrument_ids[row]}: {past.reasons[row]}"
        for row in book.members(node)
        if past.reasons[row] is not None
    )


def _methods(methods: Sequence[str]) -> tuple[str, ...]:
    unknown = [name for name in methods if name not in FORECAST_METHODS]
    if unknown or not methods:
        name = unknown[0] if unknown else ""
        raise UsageError(
            f"method {name!r} is not known{did_you_mean(name, FORECAST_METHODS)}",
            hint=f"Methods: {', '.join(FORECAST_METHODS)}",
        )
    return tuple(name for name in FORECAST_METHODS if name in methods)


def _rows(market: Market, settings: Settings, first: dt.date | None, last: dt.date | None) -> tuple[int, int]:
    """Rows of the first day to forecast, and of the one after the last."""
    dates = market.dates
    stop = dates.size if last is None else int(np.searchsorted(dates, np.datetime64(last, "D"), "right"))
    begin = (
        stop - settings.simulate.backtest_days
        if first is None
        else int(np.searchsorted(dates, np.datetime64(first, "D")))
    )
    if begin >= stop:
        raise UsageError(
            f"backtest: there is no session from {first or dates[0]} to {last or dates[-1]}",
            hint=f"The market has sessions from {dates[0]} to {dates[-1]}.",
        )
    return begin, stop


def _fit(
    known: Market,
    settings: Settings,
    close: int,
    horizon: int,
    distributed: bool,
) -> RiskParameters:
    """Fit the volatility filters through the window, counted back from its last day as on any night."""
    needed = moves_needed(window_days=settings.simulate.window_days, horizon_days=horizon)
    end, every = known.dates.size - 1, settings.calibrate.refit_every_days
    rows = [end - every * step for step in range(-(-(end - close) // every), -1, -1)]
    earliest = max(needed, every)
    if close < needed or rows[0] < 1:
        at = earliest + horizon
        possible = f"the first that can be is {known.dates[at]}" if at <= end else "there are too few"
        raise MissingDataError(
            f"backtest: a forecast needs {needed} sessions before its close; {possible}",
            hint="Begin later with --from, or set simulate.window_days to less.",
        )
    tables = calibrate_risk(known, settings, fit_dates=known.dates[rows].tolist(), distributed=distributed)
    return RiskParameters.from_tables(
        known,
        *tables.values(),
        volatility_days=settings.calibrate.volatility_window_days,
        covariance_days=settings.simulate.window_days,
    )


def _dof(parameters: RiskParameters) -> float:
    if parameters.t_dof is None:
        raise MissingDataError("backtest: the calibration gave no t_dof, which the bounds need")
    return parameters.t_dof


def _series(
    forecasts: Forecasts,
    nodes: tuple[str, ...],
    asked: _Asked,
    horizon_days: int,
    dates: np.ndarray[tuple[int, ...], np.dtype[np.datetime64]],
) -> Iterator[Series]:
    draws = iter(forecasts.draws)
    for node, name in enumerate(nodes):
        for method, how in enumerate(asked.methods):
            for position, level in enumerate(asked.levels):
                yield Series(
                    portfolio_id=name,
                    method=how,
                    level=level,
                    horizon_days=horizon_days,
                    dates=dates,
                    var=forecasts.var[:, node, method, position],
                    es=forecasts.es[:, node, method, position],
                    pnl=forecasts.pnl[:, node],
                    draws=next(draws, None),
                )


def _table(series: Series, made_on: np.ndarray[tuple[int, ...], np.dtype[np.datetime64]]) -> pa.Table:
    count = series.dates.size
    return pa.table(
        {
            "portfolio_id": [series.portfolio_id] * count,
            "method": [series.method] * count,
            "level": np.full(count, series.level),
            "horizon_days": np.full(count, series.horizon_days, dtype=np.int64),
            "made_on": pa.array(made_on),
            "date": pa.array(series.dates),
            "var": series.var,
            "es": series.es,
            "pnl": series.pnl,
            "exception": series.hits,
        }
    )
