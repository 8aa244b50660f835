"""A small seeded market and a book with one instrument of each kind."""

import datetime as dt

import numpy as np
import pyarrow as pa
import pytest

from acceleray.domain.book import Book
from acceleray.domain.market import Market

AS_OF = dt.date(2018, 12, 28)
N_DATES = 420


def _factor(factor_id, kind, **more):
    return {"factor_id": factor_id, "kind": kind, **more}


FACTORS = [
    _factor("AAA", "zero_rate", curve="AAA", tenor_years=20.0, max_age_days=65),
    _factor("EURUSD", "fx", currency="EUR"),
    _factor("OIL", "spot", max_age_days=5),
    _factor("Q", "dividend_yield", fixed=True),
    _factor("SPREAD", "credit_spread"),
    _factor("SPX", "spot", max_age_days=5),
    _factor("USD.1Y", "zero_rate", curve="USD", tenor_years=1.0, fixed=True),
    _factor("USD.2Y", "zero_rate", curve="USD", tenor_years=2.0, fixed=True),
    _factor("VIX", "implied_vol", max_age_days=5),
]
START = {
    "AAA": 0.04,
    "EURUSD": 1.15,
    "OIL": 50.0,
    "Q": 0.02,
    "SPREAD": 0.01,
    "SPX": 2500.0,
    "USD.1Y": 0.025,
    "USD.2Y": 0.027,
    "VIX": 0.2,
}
LOGS = {"EURUSD": 0.005, "OIL": 0.02, "SPX": 0.01, "VIX": 0.06}


def sessions(count=N_DATES):
    days = np.busday_offset(np.datetime64(AS_OF), np.arange(-count + 1, 1))
    return days.astype("datetime64[D]")


def make_market(count=N_DATES, seed=5):
    rng = np.random.default_rng(seed)
    dates = sessions(count)
    # One shared shock makes the factors dependent; Student-t tails and slow waves of volatility.
    wave = 1.0 + 0.5 * np.sin(np.arange(count) / 40.0)
    common = rng.standard_t(5, count)
    rows = []
    for name, level in START.items():
        own = (0.6 * common + 0.8 * rng.standard_t(5, count)) * wave
        if name in LOGS:
            path = level * np.exp(LOGS[name] * (np.cumsum(own) - own.sum()))
        elif name == "SPREAD":
            path = level + 0.0001 * (np.cumsum(own) - own.sum())
        elif name == "AAA":
            # A monthly series: it moves on one session in twenty.
            steps = np.where(np.arange(count) % 20 == 7, own, 0.0)
            path = level + 0.0005 * (np.cumsum(steps) - steps.sum())
        else:
            rows.append((AS_OF, name, level))
            continue
        rows += [(day, name, value) for day, value in zip(dates.tolist(), path.tolist(), strict=True)]
    table = pa.table(
        {
            "date": pa.array([row[0] for row in rows], pa.date32()),
            "factor_id": [row[1] for row in rows],
            "value": [row[2] for row in rows],
        }
    )
    return Market.from_observations(table, pa.Table.from_pylist(FACTORS_FULL), AS_OF, dates=dates)


_DEFAULTS = {
    "currency": None,
    "curve": None,
    "tenor_years": None,
    "proxy": None,
    "max_age_days": None,
    "fixed": False,
}
FACTORS_FULL = [{**_DEFAULTS, **row} for row in FACTORS]

INSTRUMENTS = [
    {"instrument_id": "BOND", "kind": "bond", "issue_date": dt.date(2010, 6, 15),
     "maturity": dt.date(2028, 6, 15), "coupon": 0.05, "frequency": 2, "face": 1000.0, "day_count": "ACT/ACT",
     "discount_curve": "AAA", "spread_factor": "SPREAD"},
    {"instrument_id": "CALL", "kind": "option", "factor_id": "SPX", "multiplier": 100.0,
     "expiry": dt.date(2019, 6, 21), "option_type": "call", "exercise": "european", "strike": 2600.0,
     "vol_factor": "VIX", "discount_curve": "USD", "dividend_yield": "Q"},
    {"instrument_id": "CASH_EUR", "kind": "cash", "currency": "EUR"},
    {"instrument_id": "FUND", "kind": "fund", "factor_id": "SPX"},
    {"instrument_id": "OIL_FUT", "kind": "future", "factor_id": "OIL", "multiplier": 1000.0,
     "expiry": dt.date(2019, 2, 20)},
    {"instrument_id": "PUT", "kind": "option", "factor_id": "SPX", "multiplier": 100.0,
     "expiry": dt.date(2019, 3, 15), "option_type": "put", "exercise": "european", "strike": 2400.0,
     "vol_factor": "VIX", "discount_curve": "USD", "dividend_yield": "Q"},
    {"instrument_id": "SPX_FUT", "kind": "future", "factor_id": "SPX", "multiplier": 50.0,
     "expiry": dt.date(2019, 3, 15), "discount_curve": "USD", "dividend_yield": "Q"},
    {"instrument_id": "SPX_FUT_EUR", "kind": "future", "factor_id": "SPX", "currency": "EUR",
     "multiplier": 10.0, "expiry": dt.date(2019, 3, 15)},
]  # fmt: skip
POSITIONS = [
    ("Alpha/Long", "FUND", 40.0),
    ("Alpha/Short", "OIL_FUT", -2.0),
    ("Alpha/Short", "SPX_FUT", -1.0),
    ("Hedge", "CALL", -3.0),
    ("Hedge", "PUT", 5.0),
    ("Rates", "BOND", 100.0),
    ("World", "CASH_EUR", 50_000.0),
    ("World", "SPX_FUT_EUR", 2.0),
]


def make_book(positions=None, **changes):
    """Build the book; `changes` maps an instrument id to the fields to replace."""
    names = sorted({name for row in (*INSTRUMENTS, *changes.values()) for name in row} | {"currency"})
    rows = []
    for row in INSTRUMENTS:
        full = {**dict.fromkeys(names), "currency": "USD", **row, **changes.get(row["instrument_id"], {})}
        rows.append(full)
    held = POSITIONS if positions is None else positions
    return Book.from_tables(
        pa.table(
            {
                "portfolio_id": [row[0] for row in held],
                "instrument_id": [row[1] for row in held],
                "quantity": [row[2] for row in held],
            }
        ),
        pa.Table.from_pylist(rows),
    )


@pytest.fixture(scope="session")
def market():
    return make_market()


@pytest.fixture(scope="session")
def book():
    return make_book()
