"""The simulate stage: the book under every scenario, measured for every portfolio, and the loan book."""

from __future__ import annotations

import numpy as np

from acceleray.config.models import SimulateSettings
from acceleray.domain.book import Book
from acceleray.domain.market import Market
from acceleray.domain.scenario import FilteredHistorical, Historical, MonteCarlo, ScenarioSet
from acceleray.domain.tables import contract
from acceleray.errors import CalibrationError, InputDataError
from acceleray.lake.history import earlier_night
from acceleray.risk.blocks import Job
from acceleray.risk.credit import simulate_credit
from acceleray.risk.explain import explain
from acceleray.risk.forecasts import forecast_table
from acceleray.risk.market import book_at, revaluations
from acceleray.risk.parameters import RiskParameters
from acceleray.risk.plans import Labels, history_days, prepare
from acceleray.risk.resolve import Resolution, resolve
from acceleray.risk.results import Pnl
from acceleray.risk.sensitivities import sensitivities_of
from acceleray.risk.stress import stress_from_settings, stress_levels
from acceleray.risk.tables import (
    contributions_table,
    measures_table,
    nodes_with_positions,
    pnl_table,
    scenarios_table,
    stress_table,
    values_table,
)
from acceleray.risk.valuation import ResolvedBook
from acceleray.stages.context import StageContext

__all__ = ["ENGINE", "READS", "WRITES", "run", "scenario_sets"]

READS: tuple[str, ...] = (
    "raw.positions",
    "raw.instruments",
    "raw.factors",
    "raw.obligors",
    "market.levels",
    "params.volatility",
    "params.covariance",
    "params.risk",
)
WRITES: tuple[str, ...] = (
    "result.values",
    "result.pnl",
    "result.scenarios",
    "result.measures",
    "result.contributions",
    "result.stress",
    "result.sensitivities",
    "result.explain",
    "result.forecasts",
    "result.credit",
)
ENGINE = "ray"

# Written together from the same revaluation; what a crash left unwritten is computed again.
_MARKET_TABLES = WRITES[:7]

# What is read of the night before.
_EXPLAINED = ("raw.positions", "raw.instruments", "raw.factors", "market.levels")


def scenario_sets(settings: SimulateSettings, t_dof: float) -> tuple[ScenarioSet, ...]:
    """List the scenario sets of a night: four methods at every horizon, in the order of their results."""
    sets: list[ScenarioSet] = []
    window, n_paths, seed = settings.window_days, settings.n_paths, settings.seed
    for days in settings.horizons_days:
        sets += [
            FilteredHistorical(window_days=window, horizon_days=days, n_paths=n_paths, seed=seed),
            Historical(window_days=window, horizon_days=days),
            MonteCarlo(n_paths=n_paths, horizon_days=days, seed=seed),
            MonteCarlo(n_paths=n_paths, horizon_days=days, seed=seed, dof=t_dof),
        ]
    return tuple(sets)


def run(context: StageContext) -> None:
    """Value, simulate, measure, stress, and forecast the past; then the loan book.

    Raises
    ------
    InputDataError
        If no position at all can be priced, a stress cannot be applied, or the loan book cannot be used.
    """
    settings, tables = context.settings, context.tables
    market = Market.from_tables(tables.read("market.levels"), tables.read("raw.factors"), context.as_of)
    book = Book.from_tables(tables.read("raw.positions"), tables.read("raw.instruments"))
    parameters = RiskParameters.from_tables(
        market,
        tables.read("params.volatility"),
        tables.read("params.covariance"),
        tables.read("params.risk"),
        volatility_days=settings.calibrate.volatility_window_days,
        covariance_days=settings.simulate.window_days,
    )
    if not all(tables.is_written(name) for name in _MARKET_TABLES):
        _simulate_market(context, book, market, parameters)
    _explain(context, book, market)
    if not tables.is_written("result.forecasts"):
        _forecast(context, book, market, parameters)
    if not tables.is_written("result.credit"):
        _simulate_loans(context)


def _simulate_market(context: StageContext, book: Book, market: Market, parameters: RiskParameters) -> None:
    settings, tables = context.settings.simulate, context.tables
    if parameters.t_dof is None:
        raise CalibrationError("params.risk has no t_dof, which the Student-t scenarios need")
    sets = scenario_sets(settings, parameters.t_dof)
    resolution = resolve(
        book,
        market,
        base_currency=context.settings.base_currency,
        history_days=max(history_days(each, parameters) for each in sets),
        on_failed=settings.on_failed_position,
    )
    _require_some_priced(resolution)
    priced = resolution.priced
    stress = stress_from_settings(context.scenarios)
    prepared = [
        prepare(each, market, parameters, block_size=settings.block_size, columns=priced.columns)
        for each in (*sets, stress)
    ]
    n_scenarios = sum(labels.blocks.n_scenarios for _, labels in prepared)
    context.progress(f"revaluing {priced.positions.size} positions under {n_scenarios:,} scenarios")
    jobs = [Job(book=_book_at(context, resolution, market, labels), plan=plan) for plan, labels in prepared]
    gains = revaluations(jobs, market.base, distributed=True)
    results = [
        Pnl(
            resolution=resolution,
            labels=labels,
            by_portfolio=found.by_portfolio,
            by_position=found.by_position,
            job=job,
            base=market.base,
        )
        for (_, labels), job, found in zip(prepared, jobs, gains, strict=True)
    ]
    stressed = results.pop()
    nodes = nodes_with_positions(resolution)
    context.progress(f"measuring {len(nodes)} portfolios under {len(results)} scenario sets")
    headline = next(
        pnl
        for pnl in results
        if pnl.labels.method == settings.headline_method
        and pnl.labels.horizon_days == min(settings.horizons_days)
    )
    tables.write("result.values", values_table(resolution, market))
    tables.write("result.pnl", pnl_table(results))
    tables.write("result.scenarios", scenarios_table([pnl.labels for pnl in results]))
    tables.write(
        "result.measures",
        measures_table(
            results,
            nodes,
            var_level=settings.var_level,
            es_level=settings.es_level,
            interval_level=settings.interval_level,
            currency=context.settings.base_currency,
        ),
    )
    tables.write("result.contributions", contributions_table(headline, book, nodes, level=settings.es_level))
    shares = stress_levels(stress, market, priced.columns).proxied_share
    tables.write("result.stress", stress_table(stressed, stress, shares, nodes))
    context.progress(f"differentiating by {priced.columns.size} factors")
    derived = sensitivities_of(resolution, market, distributed=True)
    tables.write("result.sensitivities", derived.table(nodes))
    if context.record is not None:
        context.record["positions"] = len(resolution.reasons)
        context.record["positions_excluded"] = [list(each) for each in stressed.excluded]
        context.record["scenarios"] = {
            f"{pnl.labels.method} {pnl.labels.horizon_days}": pnl.labels.note for pnl in results
        }


def _book_at(context: StageContext, resolution: Resolution, market: Market, labels: Labels) -> ResolvedBook:
    ages = context.settings.simulate.ageing == "calendar"
    return book_at(resolution, market, labels.horizon_days if ages else 0, context.settings.bell.exchange)


def _explain(context: StageContext, book: Book, market: Market) -> None:
    """Write what changed the value of the book since the earlier night; nothing before the first."""
    tables = context.tables
    night = earlier_night(tables.root, context.as_of)
    if night is not None:
        # The other night's tables are inputs of this one, at their own versions.
        reads = {f"{name}@{night.tables.run_id}": night.tables.version(name) for name in _EXPLAINED}
        tables.reads.update(reads)
        if context.record is not None:
            origin = {"run_id": night.tables.run_id, "as_of": night.as_of.isoformat()}
            context.record["explained_from"] = origin
    if tables.is_written("result.explain"):
        return
    if night is None:
        tables.write("result.explain", contract("result.explain").schema.empty_table())
        return
    context.progress(f"explaining the change since {night.as_of}")
    positions, instruments, factors, levels = (night.tables.read(name) for name in _EXPLAINED)
    explanation = explain(
        (Book.from_tables(positions, instruments), Market.from_tables(levels, factors, night.as_of)),
        (book, market),
        base_currency=context.settings.base_currency,
        distributed=True,
    )
    tables.write("result.explain", explanation.table())
    if context.record is not None:
        context.record["not_explained"] = [list(each) for each in explanation.excluded]


def _forecast(context: StageContext, book: Book, market: Market, parameters: RiskParameters) -> None:
    settings = context.settings.simulate
    context.progress(f"forecasting the last {settings.backtest_days} days")
    # A position whose factors are younger than the backtest cannot be part of it, and no portfolio is
    # backtested without one of its positions: its past would be that of another book.
    tonight = resolve(book, market, base_currency=context.settings.base_currency)
    backtest = resolve(
        book,
        market,
        base_currency=context.settings.base_currency,
        history_days=settings.window_days + settings.backtest_days,
    )
    young = np.setdiff1d(tonight.priced.positions, backtest.priced.positions)
    nodes = tuple(
        node for node in nodes_with_positions(backtest) if not np.isin(book.members(node), young).any()
    )
    forecasts = forecast_table(
        backtest,
        market,
        parameters,
        window_days=settings.window_days,
        backtest_days=settings.backtest_days,
        covariance_decay=context.settings.calibrate.covariance_decay,
        seed=settings.seed,
        nodes=nodes,
        distributed=True,
    )
    context.tables.write("result.forecasts", forecasts)
    if context.record is not None:
        context.record["not_backtested"] = sorted(set(nodes_with_positions(tonight)) - set(nodes))


def _simulate_loans(context: StageContext) -> None:
    empty = contract("result.credit").schema.empty_table()
    if context.settings.inputs.obligors is None:
        context.tables.write("result.credit", empty)
        return
    obligors = context.tables.read("raw.obligors")
    if obligors.num_rows == 0:
        context.tables.write("result.credit", empty)
        return
    context.progress(f"simulating {obligors.num_rows:,} obligors")
    losses = simulate_credit(obligors, context.scenarios, context.settings.simulate)
    context.tables.write("result.credit", losses)


def _require_some_priced(resolution: Resolution) -> None:
    if resolution.priced.positions.size == 0:
        first = next((reason for reason in resolution.reasons if reason is not None), "the book is empty")
        raise InputDataError(
            f"none of {len(resolution.reasons)} positions can be priced; the first: {first}",
            hint="Look at the market and factors inputs.",
        )
