"""The simulate stage: the book under every scenario, measured for every portfolio, and the loan book."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from acceleray.config.models import SimulateSettings
from acceleray.domain.book import ROOT, Book
from acceleray.domain.market import Market
from acceleray.domain.scenario import FilteredHistorical, Historical, MonteCarlo, ScenarioSet
from acceleray.domain.tables import contract
from acceleray.errors import CalibrationError, InputDataError
from acceleray.lake.functions import product_functions
from acceleray.lake.history import earlier_night
from acceleray.numerics.stopping import StoppingRule
from acceleray.risk.active import Active
from acceleray.risk.aimed import aimed
from acceleray.risk.benchmarks import Benchmarks, resolve_benchmarks
from acceleray.risk.blocks import Job, Plan
from acceleray.risk.credit import simulate_credit
from acceleray.risk.explain import explain
from acceleray.risk.forecasts import forecast_table, whole_nodes
from acceleray.risk.market import book_at, measured
from acceleray.risk.parameters import RiskParameters
from acceleray.risk.plans import Labels, history_days, prepare
from acceleray.risk.portfolio import portfolio_table
from acceleray.risk.position_files import PositionFiles
from acceleray.risk.resolve import Resolution, resolve
from acceleray.risk.results import Pnl
from acceleray.risk.revaluation import first, revaluations
from acceleray.risk.sensitivities import sensitivities_of
from acceleray.risk.stand_ins import approximations, stand_ins
from acceleray.risk.stress import stress_from_settings, stress_levels
from acceleray.risk.stressed import StressedHistory
from acceleray.risk.tables import (
    contributions_table,
    measures_table,
    nodes_with_positions,
    scenarios_table,
    stress_table,
    stressed_rows,
    tail_table,
    values_table,
)
from acceleray.risk.valuation import ResolvedBook
from acceleray.stages.context import StageContext

__all__ = ["ENGINE", "READS", "WRITES", "run", "scenario_sets"]

READS: tuple[str, ...] = (
    "raw.positions",
    "raw.instruments",
    "raw.factors",
    "raw.portfolios",
    "raw.benchmarks",
    "raw.holdings",
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
    "result.tail",
    "result.stress",
    "result.tabulated",
    "result.portfolio",
    "result.sensitivities",
    "result.explain",
    "result.forecasts",
    "result.credit",
)
ENGINE = "ray"

FloatArray = npt.NDArray[np.float64]

# Written together from the same revaluation; what a crash left unwritten is computed again.
_MARKET_TABLES = WRITES[: WRITES.index("result.explain")]

# What is read of the night before.
_EXPLAINED = ("raw.positions", "raw.instruments", "raw.holdings", "raw.factors", "market.levels")


def scenario_sets(settings: SimulateSettings, t_dof: float) -> tuple[ScenarioSet, ...]:
    """List the scenario sets of a night: four methods at every horizon, in the order of their results."""
    sets: list[ScenarioSet] = []
    window, n_paths, seed = settings.window_days, settings.n_paths, settings.seed
    aim = tuple(sorted({settings.var_level, settings.es_level}))
    gaussian = MonteCarlo(n_paths=n_paths, seed=seed, sampler=settings.sampler, step=settings.step, aim=aim)
    for days in settings.horizons_days:
        sets += [
            FilteredHistorical(window_days=window, horizon_days=days, n_paths=n_paths, seed=seed),
            Historical(window_days=window, horizon_days=days),
            replace(gaussian, horizon_days=days, drift=settings.drift),
            # The mean of a Student-t log move does not exist, so this set keeps a zero mean.
            replace(gaussian, horizon_days=days, dof=t_dof),
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
    market = Market.from_tables(
        tables.read("market.levels"), tables.read("raw.factors"), context.as_of
    ).with_moves(settings.simulate.move_kinds)
    instruments = tables.read("raw.instruments")
    book = Book.from_tables(
        tables.read("raw.positions"),
        instruments,
        tables.read("raw.holdings"),
        functions=product_functions(instruments, context.project),
    )
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
        _simulate_loans(context, market)


def _simulate_market(context: StageContext, book: Book, market: Market, parameters: RiskParameters) -> None:
    settings, tables = context.settings.simulate, context.tables
    if parameters.t_dof is None:
        raise CalibrationError("params.risk has no t_dof, which the Student-t scenarios need")
    sets = scenario_sets(settings, parameters.t_dof)
    needed_days = max(history_days(each, parameters) for each in sets)
    resolution = resolve(
        book,
        market,
        base_currency=context.settings.base_currency,
        history_days=needed_days,
        on_failed=settings.on_failed_position,
    )
    _require_some_priced(resolution)
    priced = resolution.priced
    benchmarks = _benchmarks(context, book, market, needed_days)
    stress = stress_from_settings(context.scenarios)
    columns = priced.columns
    if benchmarks is not None:
        columns = np.union1d(columns, benchmarks.resolution.priced.columns)
    size = settings.block_size
    prepared = [prepare(each, market, parameters, block_size=size, columns=columns) for each in sets]
    prepared.append(prepare(stress, market, parameters, block_size=size, columns=priced.columns))
    n_scenarios = sum(labels.blocks.n_scenarios for _, labels in prepared)
    context.progress(f"revaluing {priced.positions.size} positions under {n_scenarios:,} scenarios")
    staging = None if tables.is_written("result.pnl") else tables.staging("result.pnl")
    jobs = [
        Job(
            book=_book_at(context, resolution, market, labels),
            plan=plan,
            files=None if labels.method == "stress" else _files(resolution, labels, staging),
        )
        for plan, labels in prepared
    ]
    history = _stressed_history(context, resolution, market)
    every = jobs if history is None else [*jobs, history.job]
    every = stand_ins(every, market.base, distributed=True)
    for number, each in enumerate(sets):
        if isinstance(each, MonteCarlo) and each.sampler == "importance":
            job, labels = aimed(every[number], prepared[number][1], market, each.aim, distributed=True)
            every[number], prepared[number] = job, (job.plan, labels)
    rules = {
        number: _stopping_rule(settings, labels)
        for number, (_, labels) in enumerate(prepared)
        if labels.method.startswith("monte_carlo")
    }
    at_headline = _headline(settings, [labels for _, labels in prepared])
    beside = _beside(context, benchmarks, market, *prepared[at_headline])
    every[len(prepared) : len(prepared)] = stand_ins(beside, market.base, distributed=True)
    gains = revaluations(every, market.base, stopping=rules, distributed=True)
    jobs = every[: len(prepared)]
    results = [
        measured(resolution, labels, job, found, market.base)
        for (_, labels), job, found in zip(prepared, jobs, gains, strict=False)
    ]
    run_jobs = [
        replace(job, plan=replace(job.plan, blocks=pnl.labels.blocks))
        for job, pnl in zip(jobs, results, strict=True)
    ]
    tables.write("result.tabulated", approximations(run_jobs, market.base, distributed=True))
    stressed = results.pop()
    nodes = nodes_with_positions(resolution)
    context.progress(f"measuring {len(nodes)} portfolios under {len(results)} scenario sets")
    headline = results[at_headline]
    values = values_table(resolution, market)
    tables.write("result.values", values)
    written = [path for job, pnl in zip(jobs, results, strict=False) for path in _written(job, pnl)]
    tables.commit("result.pnl", written)
    tables.write("result.scenarios", scenarios_table([pnl.labels for pnl in results]))
    measures = [
        measures_table(
            results,
            nodes,
            var_level=settings.var_level,
            es_level=settings.es_level,
            interval_level=settings.interval_level,
            currency=context.settings.base_currency,
        )
    ]
    if history is not None:
        measures.append(_stressed(context, history, gains[-1].by_portfolio, nodes))
    tables.write("result.measures", pa.concat_tables(measures))
    levels = {"es_level": settings.es_level, "var_level": settings.var_level}
    contributions, unsplit = contributions_table(headline, book, nodes, **levels)
    tables.write("result.contributions", contributions)
    tables.write("result.tail", tail_table(headline, nodes, **levels))
    shares = stress_levels(stress, market, priced.columns).proxied_share
    tables.write("result.stress", stress_table(stressed, stress, shares, nodes))
    active = None
    if benchmarks is not None:
        # A headline that stopped early is compared on the scenarios that it has.
        found = [
            measured(benchmarks.resolution, headline.labels, job, first(each, headline.n_paths), market.base)
            for job, each in zip(beside, gains[len(jobs) :], strict=False)
        ]
        active = Active(benchmarks=benchmarks, pnl=found[0] if found else None)
    portfolios = tables.read("raw.portfolios")
    tables.write(
        "result.portfolio", portfolio_table(headline, market, values, portfolios, nodes, settings, active)
    )
    context.progress(f"differentiating by {priced.columns.size} factors")
    derived = sensitivities_of(resolution, market, distributed=True)
    tables.write("result.sensitivities", derived.table(nodes))
    if context.record is not None:
        context.record["positions"] = len(resolution.reasons)
        context.record["positions_excluded"] = [list(each) for each in stressed.excluded]
        context.record["benchmarks_missing"] = {} if benchmarks is None else dict(benchmarks.missing)
        context.record["var_not_split"] = unsplit
        context.record["scenarios"] = {
            f"{pnl.labels.method} {pnl.labels.horizon_days}": pnl.labels.note for pnl in results
        }


def _benchmarks(context: StageContext, book: Book, market: Market, needed_days: int) -> Benchmarks | None:
    """Look up the benchmarks that portfolios name; None if there are none."""
    named = context.tables.read("raw.portfolios")["benchmark_id"].drop_null()
    if not len(named):
        return None
    return resolve_benchmarks(
        context.tables.read("raw.benchmarks"),
        set(named.to_pylist()),
        book,
        market,
        base_currency=context.settings.base_currency,
        history_days=needed_days,
    )


def _beside(
    context: StageContext, benchmarks: Benchmarks | None, market: Market, plan: Plan, labels: Labels
) -> list[Job]:
    """Revalue benchmarks under the headline plan of the book, scenario for scenario the same levels."""
    if benchmarks is None or not benchmarks.resolution.priced.positions.size:
        return []
    return [Job(book=_book_at(context, benchmarks.resolution, market, labels), plan=plan)]


def _headline(settings: SimulateSettings, labels: list[Labels]) -> int:
    """Find the set that limits, contributions and portfolio figures are taken from."""
    wanted = (settings.headline_method, min(settings.horizons_days))
    return [(each.method, each.horizon_days) for each in labels].index(wanted)


def _stressed_history(
    context: StageContext, resolution: Resolution, market: Market
) -> StressedHistory | None:
    """Prepare the stressed expected shortfall, where it is wanted and the history is long enough."""
    settings = context.settings.simulate
    window, horizon = settings.stressed_window_days, min(settings.horizons_days)
    if window is None:
        return None
    if market.dates.size < window + horizon:
        if context.record is not None:
            context.record["stressed_es"] = f"not computed: the history has {market.dates.size} dates"
        return None
    return StressedHistory.of(
        resolution, market, window_days=window, horizon_days=horizon, block_size=settings.block_size
    )


def _stressed(
    context: StageContext, history: StressedHistory, by_group: FloatArray, nodes: tuple[str, ...]
) -> pa.Table:
    """Measure every node in the worst window of the fund."""
    settings = context.settings.simulate
    found = history.worst(
        by_group,
        level=settings.es_level,
        confidence=settings.interval_level,
        on_failed=settings.on_failed_position,
        portfolio_id=ROOT,
        nodes=nodes,
    )
    if context.record is not None:
        fund = found[ROOT]
        context.record["stressed_es"] = {
            "window": [day.isoformat() for day in fund.window],
            "proxied_share": fund.proxied_share,
            "missing_share": fund.missing_share,
            "absent": [list(each) for each in fund.absent],
        }
    return stressed_rows(
        found, horizon_days=history.labels.horizon_days, currency=context.settings.base_currency
    )


def _written(job: Job, pnl: Pnl) -> list[Path]:
    """Files with the scenarios that a result has; tasks beyond them may have begun before the job stopped."""
    return [] if job.files is None else job.files.paths(len(pnl.labels.blocks))


def _stopping_rule(settings: SimulateSettings, labels: Labels) -> StoppingRule:
    stopping = settings.stopping
    return StoppingRule(
        max_paths=labels.blocks.n_scenarios,
        relative_error=stopping.relative_error,
        measure=stopping.measure,
        level=stopping.level,
        seconds=stopping.seconds,
    )


def _files(resolution: Resolution, labels: Labels, staging: Path | None) -> PositionFiles | None:
    if staging is None:
        return None
    book, priced = resolution.book, resolution.priced.positions
    return PositionFiles(
        folder=str(staging),
        method=labels.method,
        horizon_days=labels.horizon_days,
        portfolio_ids=book.positions["portfolio_id"].combine_chunks().take(pa.array(priced)),
        instrument_ids=book.positions["instrument_id"].combine_chunks().take(pa.array(priced)),
    )


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
    positions, instruments, holdings, factors, levels = (night.tables.read(name) for name in _EXPLAINED)
    explanation = explain(
        (
            Book.from_tables(
                positions, instruments, holdings, product_functions(instruments, context.project)
            ),
            Market.from_tables(levels, factors, night.as_of),
        ),
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
    tonight = resolve(book, market, base_currency=context.settings.base_currency)
    backtest = resolve(
        book,
        market,
        base_currency=context.settings.base_currency,
        history_days=settings.window_days + settings.backtest_days,
    )
    nodes = whole_nodes(tonight, backtest)
    forecasts = forecast_table(
        backtest,
        market,
        parameters,
        window_days=settings.window_days,
        backtest_days=settings.backtest_days,
        covariance_decay=context.settings.calibrate.covariance_decay,
        covariance_method=settings.covariance.method,
        seed=settings.seed,
        nodes=nodes,
        distributed=True,
    )
    context.tables.write("result.forecasts", forecasts)
    if context.record is not None:
        context.record["not_backtested"] = sorted(set(nodes_with_positions(tonight)) - set(nodes))


def _simulate_loans(context: StageContext, market: Market) -> None:
    empty = contract("result.credit").schema.empty_table()
    if context.settings.inputs.obligors is None:
        context.tables.write("result.credit", empty)
        return
    obligors = context.tables.read("raw.obligors")
    if obligors.num_rows == 0:
        context.tables.write("result.credit", empty)
        return
    context.progress(f"simulating {obligors.num_rows:,} obligors")
    fx = {context.settings.base_currency: 1.0, **market.exchange_rates}
    losses = simulate_credit(obligors, context.scenarios, context.settings.simulate, fx=fx)
    context.tables.write("result.credit", losses)


def _require_some_priced(resolution: Resolution) -> None:
    if resolution.priced.positions.size == 0:
        first = next((reason for reason in resolution.reasons if reason is not None), "the book is empty")
        raise InputDataError(
            f"none of {len(resolution.reasons)} positions can be priced; the first: {first}",
            hint="Look at the market and factors inputs.",
        )
