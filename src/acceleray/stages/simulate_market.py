"""The market half of the simulate stage: the book under every scenario set, measured for every portfolio.

Everything comes from one fan-out of Ray tasks: the scenario sets, the stresses, the window of the stressed
expected shortfall, and the benchmarks beside the headline set.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from acceleray.config.models import SimulateSettings
from acceleray.domain.book import ROOT, Book
from acceleray.domain.market import Market
from acceleray.domain.scenario import FilteredHistorical, Historical, MonteCarlo, ScenarioSet, Stress
from acceleray.errors import CalibrationError, InputDataError
from acceleray.numerics.stopping import StoppingRule
from acceleray.risk.active import Active
from acceleray.risk.aimed import aimed
from acceleray.risk.benchmarks import Benchmarks, resolve_benchmarks
from acceleray.risk.blocks import Job, Plan
from acceleray.risk.market import book_at, measured
from acceleray.risk.parameters import RiskParameters
from acceleray.risk.plans import Labels, history_days, prepare
from acceleray.risk.portfolio import portfolio_table
from acceleray.risk.position_files import PositionFiles
from acceleray.risk.resolve import Resolution, resolve
from acceleray.risk.results import Pnl
from acceleray.risk.revaluation import Gains, first, revaluations
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

__all__ = ["MARKET_TABLES", "scenario_sets", "simulate_market"]

FloatArray = npt.NDArray[np.float64]

# Written together from the same revaluation; what a crash left unwritten is computed again.
MARKET_TABLES: tuple[str, ...] = (
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
)


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


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _Work:
    """What is revalued: jobs and the labels of their scenarios, in the order of the fan-out."""

    resolution: Resolution
    stress: Stress
    jobs: list[Job]
    labels: list[Labels]
    at_headline: int
    benchmarks: Benchmarks | None
    beside: list[Job]
    history: StressedHistory | None


def simulate_market(context: StageContext, book: Book, market: Market, parameters: RiskParameters) -> None:
    """Value, simulate, measure and stress the book, and write the tables of `MARKET_TABLES`.

    Raises
    ------
    InputDataError
        If no position at all can be priced, or a stress cannot be applied.
    CalibrationError
        If the Student-t scenarios have no degrees of freedom.
    """
    work = _prepare(context, book, market, parameters)
    n_scenarios = sum(labels.blocks.n_scenarios for labels in work.labels)
    n_positions = work.resolution.priced.positions.size
    context.progress(f"revaluing {n_positions} positions under {n_scenarios:,} scenarios")
    settings = context.settings.simulate
    rules = {
        number: _stopping_rule(settings, labels)
        for number, labels in enumerate(work.labels)
        if labels.method.startswith("monte_carlo")
    }
    history = [] if work.history is None else [work.history.job]
    gains = revaluations([*work.jobs, *work.beside, *history], market.base, stopping=rules, distributed=True)
    results = [
        measured(work.resolution, labels, job, found, market.base)
        for labels, job, found in zip(work.labels, work.jobs, gains, strict=False)
    ]
    values = values_table(work.resolution, market)
    _write_runs(context, work, results, values, market)
    *measurable, stressed = results
    stressed_es = None
    if work.history is not None:
        nodes = nodes_with_positions(work.resolution)
        stressed_es = _stressed(context, work.history, gains[-1].by_portfolio, nodes)
    _write_measures(context, work, measurable, stressed_es, book)
    _write_stress(context, work, stressed, market)
    headline = measurable[work.at_headline]
    _write_portfolios(context, work, headline, gains[len(work.jobs) :], values, market)
    context.progress(f"differentiating by {work.resolution.priced.columns.size} factors")
    derived = sensitivities_of(work.resolution, market, distributed=True)
    context.tables.write("result.sensitivities", derived.table(nodes_with_positions(work.resolution)))
    if context.record is not None:
        context.record["positions"] = len(work.resolution.reasons)
        context.record["positions_excluded"] = [list(each) for each in stressed.excluded]
        missing = {} if work.benchmarks is None else dict(work.benchmarks.missing)
        context.record["benchmarks_missing"] = missing
        context.record["scenarios"] = {
            f"{pnl.labels.method} {pnl.labels.horizon_days}": pnl.labels.note for pnl in measurable
        }


def _prepare(context: StageContext, book: Book, market: Market, parameters: RiskParameters) -> _Work:
    """Look up the book and its benchmarks, and plan every scenario set."""
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
    benchmarks = _benchmarks(context, book, market, needed_days)
    stress = stress_from_settings(context.scenarios)
    columns = own_columns = resolution.priced.columns
    if benchmarks is not None:
        columns = np.union1d(columns, benchmarks.resolution.priced.columns)
    size = settings.block_size
    prepared = [prepare(each, market, parameters, block_size=size, columns=columns) for each in sets]
    prepared.append(prepare(stress, market, parameters, block_size=size, columns=own_columns))
    plans, labels = [plan for plan, _ in prepared], [each for _, each in prepared]
    staging = None if tables.is_written("result.pnl") else tables.staging("result.pnl")
    jobs = [
        Job(
            book=_book_at(context, resolution, market, each),
            plan=plan,
            files=None if each.method == "stress" else _files(resolution, each, staging),
        )
        for plan, each in prepared
    ]
    history = _stressed_history(context, resolution, market)
    # Tables of prices are made for all jobs at once, so that equal instruments are tabulated once.
    tabulated = stand_ins(jobs if history is None else [*jobs, history.job], market.base, distributed=True)
    jobs = tabulated[: len(jobs)]
    if history is not None:
        history = replace(history, job=tabulated[-1])
    for number, each in enumerate(sets):
        if isinstance(each, MonteCarlo) and each.sampler == "importance":
            jobs[number], labels[number] = aimed(
                jobs[number], labels[number], market, each.aim, distributed=True
            )
            plans[number] = jobs[number].plan
    at_headline = _headline(settings, labels)
    beside = _beside(context, benchmarks, market, plans[at_headline], labels[at_headline])
    return _Work(
        resolution=resolution,
        stress=stress,
        jobs=jobs,
        labels=labels,
        at_headline=at_headline,
        benchmarks=benchmarks,
        beside=stand_ins(beside, market.base, distributed=True),
        history=history,
    )


def _write_runs(
    context: StageContext, work: _Work, results: Sequence[Pnl], values: pa.Table, market: Market
) -> None:
    """Write what was revalued: values, stored gains, scenarios, and prices that stand in for others."""
    tables = context.tables
    run_jobs = [
        replace(job, plan=replace(job.plan, blocks=pnl.labels.blocks))
        for job, pnl in zip(work.jobs, results, strict=True)
    ]
    tables.write("result.tabulated", approximations(run_jobs, market.base, distributed=True))
    tables.write("result.values", values)
    written = [path for job, pnl in zip(work.jobs, results, strict=True) for path in _written(job, pnl)]
    tables.commit("result.pnl", written)
    tables.write("result.scenarios", scenarios_table([pnl.labels for pnl in results[:-1]]))


def _write_measures(
    context: StageContext, work: _Work, results: Sequence[Pnl], stressed_es: pa.Table | None, book: Book
) -> None:
    """Write the measures of every portfolio, and what the headline figures are made of."""
    settings, tables = context.settings.simulate, context.tables
    nodes = nodes_with_positions(work.resolution)
    context.progress(f"measuring {len(nodes)} portfolios under {len(results)} scenario sets")
    measures = measures_table(
        results,
        nodes,
        var_level=settings.var_level,
        es_level=settings.es_level,
        interval_level=settings.interval_level,
        currency=context.settings.base_currency,
    )
    if stressed_es is not None:
        measures = pa.concat_tables([measures, stressed_es])
    tables.write("result.measures", measures)
    headline = results[work.at_headline]
    levels = {"es_level": settings.es_level, "var_level": settings.var_level}
    contributions, unsplit = contributions_table(headline, book, nodes, **levels)
    tables.write("result.contributions", contributions)
    tables.write("result.tail", tail_table(headline, nodes, **levels))
    if context.record is not None:
        context.record["var_not_split"] = unsplit


def _write_stress(context: StageContext, work: _Work, stressed: Pnl, market: Market) -> None:
    shares = stress_levels(work.stress, market, work.resolution.priced.columns).proxied_share
    nodes = nodes_with_positions(work.resolution)
    context.tables.write("result.stress", stress_table(stressed, work.stress, shares, nodes))


def _write_portfolios(
    context: StageContext,
    work: _Work,
    headline: Pnl,
    beside: Sequence[Gains],
    values: pa.Table,
    market: Market,
) -> None:
    """Write figures of whole portfolios, relative to their benchmarks where they have one."""
    active = None
    if work.benchmarks is not None:
        # A headline that stopped early is compared on the scenarios that it has.
        found = [
            measured(
                work.benchmarks.resolution, headline.labels, job, first(each, headline.n_paths), market.base
            )
            for job, each in zip(work.beside, beside, strict=False)
        ]
        active = Active(benchmarks=work.benchmarks, pnl=found[0] if found else None)
    tables = context.tables
    figures = portfolio_table(
        headline,
        market,
        values,
        tables.read("raw.portfolios"),
        nodes_with_positions(work.resolution),
        context.settings.simulate,
        active,
    )
    tables.write("result.portfolio", figures)


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


def _require_some_priced(resolution: Resolution) -> None:
    if resolution.priced.positions.size == 0:
        first = next((reason for reason in resolution.reasons if reason is not None), "the book is empty")
        raise InputDataError(
            f"none of {len(resolution.reasons)} positions can be priced; the first: {first}",
            hint="Look at the market and factors inputs.",
        )
