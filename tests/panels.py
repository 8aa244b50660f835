"""A small feature.panel whose breaches can be foreseen, but not by volatility alone."""

from __future__ import annotations

import datetime as dt

import numpy as np
import pyarrow as pa

from acceleray.domain.tables import FEATURES, contract


def make_panel(
    *, n_factors: int = 4, n_sessions: int = 900, horizon: int = 20, seed: int = 3, shift: int = 0
) -> pa.Table:
    """Draw a panel.

    A breach is likely when the index is volatile and has moved against the holder, and a little likelier when
    the factor's own volatility ratio is high. Trees see all of it, a logistic model on the factor's own
    volatility only the last. `shift` moves the labels in time.
    """
    stream = np.random.Generator(np.random.Philox(seed))
    first = np.datetime64("2010-01-04")
    days = np.busday_offset(first, np.arange(n_sessions), roll="forward")
    index_return = 0.04 * _persistent(stream, n_sessions)
    index_volatility = 0.01 * np.exp(0.4 * _persistent(stream, n_sessions))
    stress = index_volatility > 0.0105
    parts = []
    for number in range(n_factors):
        columns = {name: stream.standard_normal(n_sessions) for name in FEATURES}
        level = np.exp(0.3 * _persistent(stream, n_sessions))
        columns["volatility_20d"] = 0.01 * level
        columns["volatility_60d"] = 0.01 * np.sqrt(level)
        columns["volatility_250d"] = 0.01 + 0.001 * stream.random(n_sessions)
        columns["volatility_ratio"] = columns["volatility_20d"] / columns["volatility_250d"]
        columns["index_return_20d"] = index_return
        columns["index_volatility_20d"] = index_volatility
        drawn = {}
        for side, sign in (("long", -1.0), ("short", 1.0)):
            against = sign * index_return > 0.0
            chance = 0.02 + 0.08 * (columns["volatility_ratio"] > 1.0) + 0.5 * (stress & against)
            labels = (stream.random(n_sessions) < chance).astype(float)
            labels = np.roll(labels, shift)
            labels[n_sessions - horizon :] = np.nan
            drawn[f"label_{side}"] = labels
        table = {"factor_id": [f"F{number}"] * n_sessions, "date": days.astype("datetime64[D]"), **columns}
        for side in ("long", "short"):
            table |= {
                f"adverse_{side}": np.zeros(n_sessions),
                f"threshold_{side}": np.ones(n_sessions),
                f"label_{side}": pa.array(drawn[f"label_{side}"], pa.float64(), from_pandas=True),
            }
        parts.append(pa.table(table).select(contract("feature.panel").schema.names))
    return pa.concat_tables(parts).cast(contract("feature.panel").schema)


def make_values(panel: pa.Table) -> pa.Table:
    """Positions on the factors of a panel: one long and one short each, and a bond without an underlying."""
    rows = []
    for number, factor in enumerate(sorted(set(panel["factor_id"].to_pylist()))):
        for sign, book in ((1.0, "Equity/Long"), (-1.0, "Equity/Short")):
            rows.append(
                {
                    "portfolio_id": book,
                    "instrument_id": f"I-{factor}",
                    "quantity": sign,
                    "price": 1.0,
                    "market_value": 1000.0 * sign,
                    "exposure": sign * 1000.0 * (number + 1),
                    "factor_id": factor,
                    "status": "ok",
                    "reason": None,
                }
            )
    bond = {**rows[0], "portfolio_id": "Income", "instrument_id": "BOND", "factor_id": None, "exposure": 0.0}
    return pa.Table.from_pylist([*rows, bond], schema=contract("result.values").schema)


def last_day(panel: pa.Table) -> dt.date:
    """Latest date of a panel."""
    return max(panel["date"].to_pylist())


def _persistent(stream: np.random.Generator, n: int) -> np.ndarray:
    shocks = stream.standard_normal(n)
    path = np.empty(n)
    path[0] = shocks[0]
    for i in range(1, n):
        path[i] = 0.95 * path[i - 1] + np.sqrt(1 - 0.95**2) * shocks[i]
    return path
