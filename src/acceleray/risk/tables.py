"""The rows of the market's ``result.*`` tables."""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pyarrow as pa

from acceleray.domain.book import Book
from acceleray.domain.market import Market
from acceleray.domain.measures import Measure
from acceleray.domain.scenario import Stress
from acceleray.domain.tables import contract
from acceleray.errors import NumericalError
from acceleray.risk.cuts import UNLABELLED, attributes_of, membership
from acceleray.risk.estimates import TailMeasure
from acceleray.risk.plans import Labels
from acceleray.risk.resolve import Resolution
from acceleray.risk.results import Pnl
from acceleray.risk.stressed import StressedEs
from acceleray.risk.valuation import position_values, unit_exposures, unit_prices

__all__ = [
    "contributions_table",
    "measures_table",
    "nodes_with_positions",
    "scenarios_table",
    "stress_table",
    "stressed_rows",
    "tail_table",
    "values_table",
]


def nodes_with_positions(resolution: Resolution) -> tuple[str, ...]:
    """Nodes of the hierarchy below which at least one position was priced."""
    book, priced = resolution.book, resolution.priced.positions
    return tuple(node for node in book.nodes if np.isin(book.members(node), priced).any())


def values_table(resolution: Resolution, market: Market) -> pa.Table:
    """Value every position at `as_of`; what could not be priced is there with its reason."""
    book, priced = resolution.book, resolution.priced
    base = market.base[None, :]
    values = position_values(priced, base)[:, 0]
    prices = unit_prices(priced, base)[0][priced.instrument_rows]
    rates = priced.now.rates(base.T, 0, priced.now.count)[:, 0]
    delta_levels = unit_exposures(priced, base)[0] * priced.now.multipliers * rates
    exposures = delta_levels[priced.instrument_rows] * priced.quantities
    row_of = {int(position): row for row, position in enumerate(priced.positions)}
    factor_of = dict(
        zip(
            book.instruments["instrument_id"].to_pylist(),
            book.instruments["factor_id"].to_pylist(),
            strict=True,
        )
    )
    rows: list[dict[str, Any]] = []
    for position, reason in enumerate(resolution.reasons):
        instrument = book.instrument_ids[position]
        row = row_of.get(position)
        rows.append(
            {
                "portfolio_id": book.portfolio_ids[position],
                "instrument_id": instrument,
                "quantity": float(book.quantities[position]),
                "price": None if row is None else float(prices[row]),
                "market_value": None if row is None else float(values[row]),
                "exposure": None if row is None else float(exposures[row]),
                "factor_id": factor_of[instrument],
                "status": "ok" if row is not None else "excluded",
                "reason": reason,
            }
        )
    return pa.Table.from_pylist(rows, schema=contract("result.values").schema)


def scenarios_table(labels: Sequence[Labels]) -> pa.Table:
    """Say what each scenario number stands for and which block made it."""
    schema = contract("result.scenarios").schema
    parts = []
    for label in labels:
        count = label.blocks.n_scenarios
        dates = (
            pa.nulls(count, pa.date32()) if label.dates is None else pa.array(label.dates).cast(pa.date32())
        )
        parts.append(
            pa.table(
                {
                    "method": pa.repeat(label.method, count),
                    "horizon_days": pa.repeat(pa.scalar(label.horizon_days, pa.int64()), count),
                    "scenario": np.arange(count, dtype=np.int64),
                    "date": dates,
                    "block": label.blocks.of_scenarios(),
                    "weight": pa.nulls(count, pa.float64()) if label.weights is None else label.weights,
                },
                schema=schema,
            )
        )
    return pa.concat_tables(parts)


def measures_table(
    results: Sequence[Pnl],
    nodes: Sequence[str],
    *,
    var_level: float,
    es_level: float,
    interval_level: float,
    currency: str,
) -> pa.Table:
    """Measure VaR and ES of every node under every set, each with its interval."""
    rows: list[dict[str, Any]] = []
    for pnl in results:
        for node in nodes:
            for name, level, found in (
                ("VaR", var_level, pnl.var(var_level, node, confidence=interval_level)),
                ("ES", es_level, pnl.es(es_level, node, confidence=interval_level)),
            ):
                note = f"{pnl.labels.note}; interval {found.note}"
                rows.append(_measure_row(node, name, level, pnl.labels.horizon_days, found, note, currency))
    return pa.Table.from_pylist(rows, schema=contract("result.measures").schema)


def contributions_table(
    pnl: Pnl, book: Book, nodes: Sequence[str], *, es_level: float, var_level: float
) -> tuple[pa.Table, list[str]]:
    """Split ES and VaR of every node, by the nodes below it and by what its instruments are.

    Returns
    -------
    rows : pyarrow.Table
        ``result.contributions``.
    unsplit : list of str
        Nodes whose VaR could not be split, because the parts around it do not add up to its sign.
    """
    schema = contract("result.contributions").schema
    parts, unsplit = [schema.empty_table()], []
    for node in nodes:
        for dimension, by in _split_by(pnl, book, node):
            parts.append(_split(pnl, node, dimension, by, "ES", es_level))
            # ES has shown that every loss is a number, so what is left to fail is the scaling.
            try:
                parts.append(_split(pnl, node, dimension, by, "VaR", var_level))
            except NumericalError:
                unsplit.append(node)
    return pa.concat_tables(parts), sorted(set(unsplit))


def _split_by(pnl: Pnl, book: Book, node: str) -> list[tuple[str, str]]:
    """List the dimensions in which a node can be split: those in which any of its instruments has a label."""
    if not book.children(node):
        return []
    positions = pnl.resolution.priced.positions[pnl.rows(node)]
    found = [("portfolio", "portfolio_id"), ("instrument", "instrument_id")]
    optional = (("issuer", "issuer_id"), ("currency", "currency"), ("kind", "kind"))
    for dimension, by in (*optional, *((name, name) for name in attributes_of(book))):
        if membership(book, positions, by, node)[0] != [UNLABELLED]:
            found.append((dimension, by))
    return found


def _split(pnl: Pnl, node: str, dimension: str, by: str, measure: TailMeasure, level: float) -> pa.Table:
    split = pnl.contributions(measure, level, by, node)
    count = split.num_rows
    return pa.table(
        {
            "portfolio_id": pa.repeat(node, count),
            "dimension": pa.repeat(dimension, count),
            "member_id": split["member_id"],
            "measure": pa.repeat(measure, count),
            "level": pa.repeat(level, count),
            "horizon_days": pa.repeat(pa.scalar(pnl.labels.horizon_days, pa.int64()), count),
            "method": pa.repeat(pnl.labels.method, count),
            "value": split["value"],
            "std_error": split["std_error"],
            "residual": split["residual"],
            "note": split["note"],
        },
        schema=contract("result.contributions").schema,
    )


def tail_table(pnl: Pnl, nodes: Sequence[str], *, es_level: float, var_level: float) -> pa.Table:
    """List the scenarios behind VaR and ES of every node."""
    schema = contract("result.tail").schema
    parts = [schema.empty_table()]
    wanted: tuple[tuple[TailMeasure, float], ...] = (("VaR", var_level), ("ES", es_level))
    for node in nodes:
        for measure, level in wanted:
            found = pnl.behind(measure, level, node)
            count = found.num_rows
            parts.append(
                pa.table(
                    {
                        "portfolio_id": pa.repeat(node, count),
                        "measure": pa.repeat(measure, count),
                        "level": pa.repeat(level, count),
                        "horizon_days": pa.repeat(pa.scalar(pnl.labels.horizon_days, pa.int64()), count),
                        "method": pa.repeat(pnl.labels.method, count),
                        **{name: found[name] for name in ("rank", "scenario", "date", "loss", "weight")},
                    },
                    schema=schema,
                )
            )
    return pa.concat_tables(parts)


def stressed_rows(found: Mapping[str, StressedEs], *, horizon_days: int, currency: str) -> pa.Table:
    """Rows of ``result.measures`` for the stressed expected shortfall of nodes."""
    rows = [
        _measure_row(node, "ES", each.level, horizon_days, each.measure, each.measure.note, currency)
        for node, each in found.items()
    ]
    return pa.Table.from_pylist(rows, schema=contract("result.measures").schema)


def _measure_row(
    node: str, name: str, level: float, horizon_days: int, found: Measure, note: str, currency: str
) -> dict[str, Any]:
    return {
        "portfolio_id": node,
        "measure": name,
        "level": level,
        "horizon_days": horizon_days,
        "method": found.method,
        "value": found.value,
        "ci_low": found.ci_low,
        "ci_high": found.ci_high,
        "ci_note": note,
        "n_paths": found.n_paths,
        "currency": currency,
    }


def stress_table(pnl: Pnl, stress: Stress, proxied_share: Sequence[float], nodes: Sequence[str]) -> pa.Table:
    """Gain of every node under every named stress."""
    rows: list[dict[str, Any]] = []
    for node in nodes:
        gains = pnl.node(node)
        for index, scenario in enumerate(stress.scenarios):
            window: tuple[dt.date | None, dt.date | None] = scenario.window or (None, None)
            rows.append(
                {
                    "portfolio_id": node,
                    "scenario": scenario.name,
                    "pnl": float(gains[index]),
                    "proxied_share": proxied_share[index],
                    "window_from": window[0],
                    "window_to": window[1],
                }
            )
    return pa.Table.from_pylist(rows, schema=contract("result.stress").schema)
