"""Tables of American options: time to build, error, and speed against a QuantLib loop; prints JSON.

Run it alone on the machine: ``python benchmarks/market_tabulation.py``. Rates are processor seconds of one
thread, so that other programs disturb them less.
"""

from __future__ import annotations

import json
import statistics
import time
from typing import Any

import numpy as np

from acceleray.risk.american import AmericanTable, build_american
from acceleray.risk.quantlib_prices import american_option

STRIKE = 100.0
N_TABLE, N_LOOP, N_ROUNDS = 100_000, 1_000, 5

# Type, years, on a future, vol, rate, yield. In the boxes spot / strike goes from 0.5 to 1.6, the vol from
# 0.5 to 2.5 times, the rate 3 % up and down.
CASES: dict[str, tuple[bool, float, bool, float, float, float]] = {
    "put, one day, yield 2 %": (False, 1 / 365, False, 0.2, 0.02, 0.02),
    "put, one week, yield 2 %": (False, 1 / 52, False, 0.2, 0.02, 0.02),
    "put, one month": (False, 1 / 12, False, 0.2, 0.02, 0.0),
    "put, one year": (False, 1.0, False, 0.2, 0.02, 0.0),
    "put, one year, rate 5 %, yield 2 %": (False, 1.0, False, 0.2, 0.05, 0.02),
    "put, three years, yield 2 %": (False, 3.0, False, 0.3, 0.02, 0.02),
    "call, one year": (True, 1.0, False, 0.2, 0.02, 0.0),
    "call, one year, yield 2 %": (True, 1.0, False, 0.2, 0.02, 0.02),
    "put on a future, one year": (False, 1.0, True, 0.2, 0.02, 0.02),
    "call on a future, one year": (True, 1.0, True, 0.2, 0.02, 0.02),
}


def measure() -> dict[str, dict[str, Any]]:
    """Build every table and measure it; times in seconds, errors as fractions of the strike."""
    return {name: _measure_one(*case) for name, case in CASES.items()}


def _measure_one(
    is_call: bool, years: float, on_future: bool, vol: float, rate: float, dividend: float
) -> dict[str, Any]:
    low = [np.log(0.5), 0.5 * vol, rate - 0.03, dividend]
    high = [np.log(1.6), 2.5 * vol, rate + 0.03, dividend]
    started, cpu = time.perf_counter(), time.process_time()
    table = build_american(low, high, years=years, is_call=is_call, on_future=on_future, seed=1)
    wall_s, cpu_s = time.perf_counter() - started, time.process_time() - cpu

    levels = _levels(low, high, N_TABLE, on_future)
    table.value(*levels[:, :10], strike=STRIKE, years=years)
    price = american_option(strike=STRIKE, years=years, is_call=is_call)
    table_s, loop_s = [], []
    for _ in range(N_ROUNDS):
        table_s.append(_seconds(lambda: table.value(*levels, strike=STRIKE, years=years)))
        loop_s.append(_seconds(lambda: price(levels[:, :N_LOOP])))
    per_s, loop_per_s = N_TABLE / statistics.median(table_s), N_LOOP / statistics.median(loop_s)
    found = table.value(*levels[:, :N_LOOP], strike=STRIKE, years=years)
    worst = np.abs(found.prices - price(levels[:, :N_LOOP])).max() / STRIKE
    return {
        "build_wall_s": round(wall_s, 2),
        "build_cpu_s": round(cpu_s, 2),
        "nodes": table.n_nodes,
        "coefficients": int(table.boundary.coefficients.size + table.premium.coefficients.size),
        "bytes": _bytes(table),
        "reported_error": table.max_error,
        "worst_of_1000_fresh_points": float(worst),
        "priced_exactly": found.n_exact,
        "shortfall": table.shortfall,
        "table_prices_per_s": round(per_s),
        "table_prices_per_s_range": [round(N_TABLE / seconds) for seconds in (max(table_s), min(table_s))],
        "quantlib_prices_per_s": round(loop_per_s),
        "speed_up": round(per_s / loop_per_s),
    }


def _levels(low: list[float], high: list[float], n: int, on_future: bool) -> np.ndarray:
    generator = np.random.default_rng(2024)
    bottom, top = np.array(low)[:, None], np.array(high)[:, None]
    levels = bottom + (top - bottom) * generator.random((4, n))
    levels[0] = STRIKE * np.exp(levels[0])
    if on_future:
        levels[3] = levels[2]
    return levels


def _seconds(call: Any) -> float:
    started = time.process_time()
    call()
    return time.process_time() - started


def _bytes(table: AmericanTable) -> int:
    return sum(array.nbytes for part in (table.boundary, table.premium) for array in part.arrays())


if __name__ == "__main__":
    print(json.dumps(measure(), indent=2))
