"""A book of American options from tables, on a thousand random points against QuantLib."""

import numpy as np
import pyarrow as pa
import pytest
from tests.sampling import sample
from tests.slow_book import american, slow_book
from tests.unit.risk.conftest import make_market

from acceleray.domain.scenario import Given
from acceleray.risk.market import revalue
from acceleray.risk.quantlib_prices import american_option
from acceleray.risk.stand_ins import approximations

pytest.importorskip("QuantLib")

N_POINTS = 1_000
STRIKES = tuple(2000.0 + 100.0 * i for i in range(10))
EURO_STRIKES = tuple(1.05 + 0.02 * i for i in range(10))
YEARS = 182 / 365
# Spot by 30 % either way, vols from 8 % to 50 %, rates by a percentage point: far more than a day's moves.
RANGES = {"SPX": (1750.0, 3250.0), "VIX": (0.08, 0.5), "EURUSD": (0.9, 1.5), "OIL": (35.0, 65.0)}
RATES = {"USD.1Y": (0.015, 0.035), "AAA": (0.03, 0.05)}
# Of every range, around its middle: a table of half the width is built in a third of the time.
SHARE = sample(50, of=100) / 100


@pytest.fixture(scope="module")
def market():
    return make_market()


@pytest.fixture(scope="module")
def points():
    """Random levels: (n_points, n_moved), and the names of the factors."""
    rng = np.random.default_rng(20240628)
    spans = RANGES | RATES
    low, high = np.array(list(spans.values())).T
    uniform = 0.5 + SHARE * (rng.random((N_POINTS, len(spans))) - 0.5)
    return tuple(spans), low + (high - low) * uniform


def given(points):
    names, levels = points
    return Given(
        table=pa.table(
            {
                "scenario": np.repeat(np.arange(N_POINTS), len(names)),
                "factor_id": list(names) * N_POINTS,
                "value": levels.ravel(),
            }
        )
    )


def book():
    rows = [
        american(f"{kind.upper()}{strike:g}", option_type=kind, strike=strike)
        for kind in ("put", "call")
        for strike in STRIKES
    ]
    rows += [
        american(
            f"EUR{strike:.2f}",
            factor_id="EURUSD",
            strike=strike,
            option_type="call",
            foreign_curve="AAA",
            dividend_yield=None,
            multiplier=1000.0,
        )
        for strike in EURO_STRIKES
    ]
    future = {"on_future": "true", "factor_id": "OIL", "dividend_yield": None}
    rows += [american(f"OIL{strike:g}", strike=strike, **future) for strike in range(41, 61, 2)]
    return slow_book(rows)


def test_a_thousand_random_points_are_within_the_reported_error(market, points):
    held = book()
    pnl = revalue(held, market, given(points))
    told = approximations([pnl.job], market.base, distributed=False).to_pylist()
    reported = {row["instrument_id"]: row for row in told}
    assert {row["method"] for row in told} == {"table"}
    shocked = pnl.job.plan.shocked
    for position, name in enumerate(held.instrument_ids):
        row = held.instrument_rows[name]
        yields = {"SPX": ["Q"], "EURUSD": ["AAA"], "OIL": []}[row["factor_id"]]
        columns = [market.column(each) for each in (row["factor_id"], "VIX", "USD.1Y", *yields)]
        exact = american_option(
            strike=row["strike"],
            years=YEARS,
            is_call=row["option_type"] == "call",
            on_future=row["on_future"] == "true",
        )
        # One strike of each kind on all points, the others on a tenth of them.
        rows = slice(None) if position % 10 == 5 else slice(0, N_POINTS // 10)
        now, then = exact(market.base[columns][:, None]), exact(shocked[rows][:, columns].T)
        gains = 3.0 * row["multiplier"] * (then - now)
        found = reported[name]
        assert found["n_exact"] == 0, found
        assert found["max_error"] <= found["tolerance"]
        assert np.abs(pnl.cube[position, rows] - gains).max() <= 3.0 * found["max_error"]
