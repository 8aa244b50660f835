"""A book of instruments without closed form on the market of the unit tests, and a product of a user."""

import datetime as dt
from pathlib import Path

import pyarrow as pa

from acceleray.domain.book import Book
from acceleray.domain.tables import contract
from acceleray.lake.functions import product_functions

EXPIRY = dt.date(2019, 6, 28)

# A continuous geometric average: QuantLib has a closed form, and the table has something smooth to learn.
ASIAN = """
import QuantLib as ql

DAY_COUNT = ql.Actual365Fixed()


def option(as_of, levels, instrument):
    today = ql.Date(as_of.day, as_of.month, as_of.year)
    expiry = instrument["expiry"]
    spot, vol, rate = (levels[name] for name in instrument["depends_on"].split())
    process = ql.BlackScholesProcess(
        ql.QuoteHandle(ql.SimpleQuote(spot)),
        ql.YieldTermStructureHandle(ql.FlatForward(today, rate, DAY_COUNT)),
        ql.BlackVolTermStructureHandle(ql.BlackConstantVol(today, ql.NullCalendar(), vol, DAY_COUNT)),
    )
    asian = ql.ContinuousAveragingAsianOption(
        ql.Average.Geometric,
        ql.PlainVanillaPayoff(ql.Option.Put, instrument["strike"]),
        ql.EuropeanExercise(ql.Date(expiry.day, expiry.month, expiry.year)),
    )
    return asian, ql.AnalyticContinuousGeometricAveragePriceAsianEngine(process)


def broken(as_of, levels, instrument):
    raise KeyError("not today")
"""


def american(instrument_id, **fields):
    row = {
        "kind": "option",
        "currency": "USD",
        "factor_id": "SPX",
        "option_type": "put",
        "exercise": "american",
        "strike": 2500.0,
        "expiry": EXPIRY,
        "vol_factor": "VIX",
        "discount_curve": "USD",
        "dividend_yield": "Q",
        "multiplier": 10.0,
    }
    return row | {"instrument_id": instrument_id} | fields


def asian(instrument_id="ASIAN", **fields):
    row = {
        "kind": "quantlib",
        "currency": "USD",
        "strike": 2500.0,
        "expiry": EXPIRY,
        "function": "asians.option",
        "depends_on": "SPX VIX USD.1Y",
    }
    return row | {"instrument_id": instrument_id} | fields


EVERY_KIND = (
    american("PUT"),
    american("CALL", option_type="call", dividend_yield=None),
    american("OIL_PUT", factor_id="OIL", strike=50.0, on_future="true", dividend_yield=None),
    american(
        "EUR_CALL",
        factor_id="EURUSD",
        strike=1.15,
        option_type="call",
        foreign_curve="AAA",
        dividend_yield=None,
    ),
    asian(),
)


def slow_book(rows, folder: Path | None = None, holdings=None):
    """Three of each instrument; with a folder, the functions come from a project there."""
    schema = contract("raw.instruments").schema
    filled = [dict.fromkeys(schema.names) | row for row in rows]
    instruments = pa.Table.from_pylist(filled, schema=schema)
    positions = pa.table(
        {
            "portfolio_id": ["Slow"] * len(rows),
            "instrument_id": [row["instrument_id"] for row in rows],
            "quantity": [3.0] * len(rows),
        }
    )
    functions = {}
    if folder is not None:
        (folder / "asians.py").write_text(ASIAN)
        functions = product_functions(instruments, folder)
    return Book.from_tables(positions, instruments, holdings=holdings, functions=functions)
