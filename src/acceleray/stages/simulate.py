"""The simulate stage: the book under every scenario, measured for every portfolio, and the loan book."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from acceleray.domain.book import Book
from acceleray.domain.market import Market
from acceleray.domain.tables import contract
from acceleray.lake.functions import product_functions
from acceleray.lake.history import earlier_night
from acceleray.risk.credit import credit_losses
from acceleray.risk.credit_measures import credit_table, curve_table, obligors_table
from acceleray.risk.explain import explain
from acceleray.risk.forecasts import forecast_table, whole_nodes
from acceleray.risk.parameters import RiskParameters
from acceleray.risk.resolve import resolve
from acceleray.risk.tables import (
    nodes_with_positions,
)
from acceleray.stages.context import StageContext
from acceleray.stages.simulate_market import MARKET_TABLES, simulate_market

__all__ = ["ENGINE", "READS", "WRITES", "run"]

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
_CREDIT_TABLES = ("result.credit", "result.credit_curve", "result.credit_obligors")
WRITES: tuple[str, ...] = (*MARKET_TABLES, "result.explain", "result.forecasts", *_CREDIT_TABLES)
ENGINE = "ray"

FloatArray = npt.NDArray[np.float64]

# What is read of the night before.
_EXPLAINED = ("raw.positions", "raw.instruments", "raw.holdings", "raw.factors", "market.levels")


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
    if not all(tables.is_written(name) for name in MARKET_TABLES):
        simulate_market(context, book, market, parameters)
    _explain(context, book, market)
    if not tables.is_written("result.forecasts"):
        _forecast(context, book, market, parameters)
    if not all(tables.is_written(name) for name in _CREDIT_TABLES):
        _simulate_loans(context, market, parameters)


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


def _simulate_loans(context: StageContext, market: Market, parameters: RiskParameters) -> None:
    settings, tables = context.settings, context.tables
    obligors = None if settings.inputs.obligors is None else tables.read("raw.obligors")
    if obligors is None or obligors.num_rows == 0:
        for name in _CREDIT_TABLES:
            tables.write(name, contract(name).schema.empty_table())
        return
    context.progress(f"simulating {obligors.num_rows:,} obligors")
    losses = credit_losses(
        obligors,
        context.scenarios,
        settings.simulate,
        fx={settings.base_currency: 1.0, **market.exchange_rates},
        market=market,
        covariance=parameters.covariance,
    )
    levels, confidence = settings.simulate.credit.levels, settings.simulate.interval_level
    tables.write("result.credit", credit_table(losses, levels=levels, interval_level=confidence))
    tables.write("result.credit_curve", curve_table(losses))
    tables.write("result.credit_obligors", obligors_table(losses, levels=levels))
