"""Seeded books and markets of any size for the benchmarks: made up, and called so beside every figure."""

from __future__ import annotations

import datetime as dt

import numpy as np
import pyarrow as pa

from acceleray.domain.book import Book
from acceleray.domain.market import Market

AS_OF = dt.date(2018, 12, 28)
N_SPOTS = 60
N_DATES = 300
TENORS = (0.25, 0.5, 1.0, 2.0, 5.0, 10.0, 20.0, 30.0)


def market(seed: int = 1) -> Market:
    """60 spots with a vol each, and a curve of eight points: 128 factors, 300 correlated daily moves."""
    rng = np.random.default_rng(seed)
    dates = np.busday_offset(np.datetime64(AS_OF), np.arange(-N_DATES + 1, 1)).astype("datetime64[D]")
    factors: list[dict[str, object]] = []
    columns = []
    common = rng.standard_normal(N_DATES)
    for i in range(N_SPOTS):
        move = 0.012 * (0.6 * common + 0.8 * rng.standard_normal(N_DATES))
        factors.append({"factor_id": f"S{i:02d}", "kind": "spot"})
        columns.append(100.0 * (1 + i % 7) * np.exp(np.cumsum(move) - move.sum()))
        vol = 0.05 * (-0.7 * common + 0.7 * rng.standard_normal(N_DATES))
        factors.append({"factor_id": f"V{i:02d}", "kind": "implied_vol"})
        columns.append((0.15 + 0.01 * (i % 20)) * np.exp(np.cumsum(vol) - vol.sum()))
    parallel = 0.0004 * rng.standard_normal(N_DATES)
    for tenor in TENORS:
        move = parallel + 0.0002 * rng.standard_normal(N_DATES)
        factors.append(
            {"factor_id": f"R{tenor:g}", "kind": "zero_rate", "curve": "USD", "tenor_years": tenor}
        )
        columns.append(0.02 + 0.0005 * tenor + np.cumsum(move) - move.sum())
    observed = pa.table(
        {
            "date": np.tile(dates, len(factors)),
            "factor_id": np.repeat([factor["factor_id"] for factor in factors], N_DATES),
            "value": np.concatenate(columns),
        }
    )
    return Market.from_observations(observed, _table(factors), AS_OF, dates)


def book(n_positions: int, seed: int = 2) -> Book:
    """Half European options, a quarter equities, a quarter ten-year bonds, in 50 portfolios on two levels.

    Every position is an instrument of its own: own strike and expiry, or own coupon and maturity.
    """
    rng = np.random.default_rng(seed)
    instruments: list[dict[str, object]] = []
    positions: list[dict[str, object]] = []
    for i in range(n_positions):
        name, spot = f"I{i:06d}", i % N_SPOTS
        row: dict[str, object] = {"instrument_id": name, "currency": "USD"}
        if i % 2 == 0:
            days = int(rng.integers(20, 900))
            row |= {
                "kind": "option",
                "factor_id": f"S{spot:02d}",
                "vol_factor": f"V{spot:02d}",
                "discount_curve": "USD",
                "option_type": "call" if rng.random() < 0.5 else "put",
                "exercise": "european",
                "strike": 100.0 * (1 + spot % 7) * float(np.exp(0.2 * rng.standard_normal())),
                "expiry": AS_OF + dt.timedelta(days=days),
            }
        elif i % 4 == 1:
            row |= {"kind": "equity", "factor_id": f"S{spot:02d}"}
        else:
            row |= {
                "kind": "bond",
                "discount_curve": "USD",
                "issue_date": AS_OF - dt.timedelta(days=30),
                "maturity": AS_OF + dt.timedelta(days=int(rng.integers(300, 3650))),
                "coupon": 0.03,
                "frequency": 2,
                "face": 100.0,
                "day_count": "30/360",
            }
        instruments.append(row)
        positions.append(
            {
                "portfolio_id": f"D{i % 5}/P{i % 50:02d}",
                "instrument_id": name,
                "quantity": float(rng.normal(0.0, 100.0)),
            }
        )
    return Book.from_tables(_table(positions), _table(instruments))


def _table(rows: list[dict[str, object]]) -> pa.Table:
    columns = sorted({column for row in rows for column in row})
    return pa.Table.from_pylist([{column: row.get(column) for column in columns} for row in rows])
