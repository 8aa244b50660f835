"""How many European options one core revalues per second: our kernel, NumPy with SciPy, and QuantLib.

Run alone on the machine: ``python benchmarks/market_kernel.py``. Spot, volatility and rate differ in every
scenario; the rate is interpolated between two curve points. All methods find the same prices from the same
levels, which is checked. They take turns, and rates are per second of CPU time of the thread that works: a
neighbour who takes the processor away costs nothing, one who shares its core or its cache still does.
"""

from __future__ import annotations

import json
import math
import os
import platform
import statistics
import time
from collections.abc import Callable
from typing import Any

import numpy as np
import QuantLib as ql  # noqa: N813 - the name its own documentation uses
from numba import njit
from scipy.special import ndtr

from acceleray.numerics import kernels, vector_loops

N_OPTIONS, N_SCENARIOS = 400, 8192
N_SPOTS, N_RATES, N_EXPIRIES = 20, 10, 5
REPETITIONS = 7
QUANTLIB_SCENARIOS = 4000
NUMPY_BLOCKS = (1024, 2048, 4096, 8192)

Levels = np.ndarray


def market(*, own_vols: bool) -> tuple[Levels, kernels.EuropeanOptions]:
    """Levels and options; either each option has its own expiry and volatility row, or many share both."""
    generator = np.random.default_rng(20181228)
    n_vols = N_OPTIONS if own_vols else N_SPOTS
    first_rate, first_vol = N_SPOTS, N_SPOTS + N_RATES
    levels = np.empty((first_vol + n_vols, N_SCENARIOS))
    levels[:first_rate] = 100.0 * np.exp(0.15 * generator.standard_normal((N_SPOTS, N_SCENARIOS)))
    levels[first_rate:first_vol] = 0.02 + 0.01 * generator.standard_normal((N_RATES, N_SCENARIOS))
    levels[first_vol:] = 0.25 * np.exp(0.2 * generator.standard_normal((n_vols, N_SCENARIOS)))
    option = np.arange(N_OPTIONS)
    expiries = np.linspace(0.05, 3.0, N_OPTIONS if own_vols else N_EXPIRIES)
    years = expiries[option // N_SPOTS % N_EXPIRIES] if not own_vols else generator.permutation(expiries)
    pillar = years / 3.0 * (N_RATES - 2)
    return levels, kernels.EuropeanOptions(
        spot_row=option % N_SPOTS,
        rate_left=first_rate + pillar.astype(np.int64),
        rate_right=first_rate + 1 + pillar.astype(np.int64),
        rate_weight=pillar % 1.0,
        rate_shift=np.zeros(N_OPTIONS),
        dividend_row=np.full(N_OPTIONS, -1),
        dividend_shift=np.full(N_OPTIONS, 0.01),
        vol_row=first_vol + (option if own_vols else option % N_SPOTS),
        vol_shift=np.zeros(N_OPTIONS),
        strike=generator.uniform(70.0, 140.0, N_OPTIONS),
        years=years,
        is_call=generator.random(N_OPTIONS) < 0.5,
    )


def numpy_values(levels: Levels, options: kernels.EuropeanOptions, out: np.ndarray, block: int) -> None:
    """Price with whole-array operations that allocate nothing, on rows short enough for the cache."""
    n = levels.shape[1]
    rate, discounted, log_ratio, deviation, d1, d2 = np.empty((6, min(block, n)))
    spot_rows, log_row = np.unique(options.spot_row, return_inverse=True)
    for start in range(0, n, block):
        part = levels[:, start : start + block]
        logs = np.log(part[spot_rows])
        for o in range(out.shape[0]):
            price = out[o, start : start + block]
            years, weight = options.years[o], options.rate_weight[o]
            np.multiply(part[options.rate_left[o]], (1.0 - weight) * years, out=rate)
            np.multiply(part[options.rate_right[o]], weight * years, out=d1)
            rate += d1
            np.add(logs[log_row[o]], rate, out=log_ratio)
            log_ratio -= options.dividend_shift[o] * years + math.log(options.strike[o])
            np.negative(rate, out=discounted)
            np.exp(discounted, out=discounted)
            discounted *= options.strike[o]
            np.multiply(part[options.vol_row[o]], math.sqrt(years), out=deviation)
            np.divide(log_ratio, deviation, out=d1)
            deviation *= 0.5
            np.subtract(d1, deviation, out=d2)
            d1 += deviation
            if not options.is_call[o]:
                np.negative(d1, out=d1)
                np.negative(d2, out=d2)
            ndtr(d1, out=d1)
            ndtr(d2, out=d2)
            np.multiply(part[options.spot_row[o]], math.exp(-options.dividend_shift[o] * years), out=price)
            price *= d1
            discounted *= d2
            if options.is_call[o]:
                price -= discounted
            else:
                np.subtract(discounted, price, out=price)
            np.maximum(price, 0.0, out=price)


class QuantLibOption:
    """One QuantLib option whose quotes move from scenario to scenario."""

    def __init__(self, strike: float, dividend_yield: float, days: int, is_call: bool) -> None:
        today = ql.Date(28, 12, 2018)
        ql.Settings.instance().evaluationDate = today
        day_count, calendar = ql.Actual365Fixed(), ql.NullCalendar()
        self.spot, self.rate, self.vol = (ql.SimpleQuote(x) for x in (100.0, 0.02, 0.2))
        kind = ql.Option.Call if is_call else ql.Option.Put
        self.option = ql.VanillaOption(ql.PlainVanillaPayoff(kind, strike), ql.EuropeanExercise(today + days))
        process = ql.BlackScholesMertonProcess(
            ql.QuoteHandle(self.spot),
            ql.YieldTermStructureHandle(ql.FlatForward(today, dividend_yield, day_count)),
            ql.YieldTermStructureHandle(ql.FlatForward(today, ql.QuoteHandle(self.rate), day_count)),
            ql.BlackVolTermStructureHandle(
                ql.BlackConstantVol(today, calendar, ql.QuoteHandle(self.vol), day_count)
            ),
        )
        self.option.setPricingEngine(ql.AnalyticEuropeanEngine(process))

    def prices(self, spots: list[float], rates: list[float], vols: list[float]) -> list[float]:
        """One price per scenario."""
        set_spot, set_rate, set_vol = self.spot.setValue, self.rate.setValue, self.vol.setValue
        value = self.option.NPV
        prices = []
        for spot, rate, vol in zip(spots, rates, vols, strict=True):
            set_spot(spot)
            set_rate(rate)
            set_vol(vol)
            prices.append(value())
        return prices


def quantlib_formula(
    spots: list[float],
    rates: list[float],
    vols: list[float],
    strike: float,
    dividend_yield: float,
    years: float,
    is_call: bool,
) -> list[float]:
    """Price with QuantLib's bare formula, the least that a loop in Python can do."""
    kind, root = (ql.Option.Call if is_call else ql.Option.Put), math.sqrt(years)
    formula, exp = ql.blackFormula, math.exp
    return [
        formula(kind, strike, spot * exp((rate - dividend_yield) * years), vol * root, exp(-rate * years))
        for spot, rate, vol in zip(spots, rates, vols, strict=True)
    ]


def black_rows(levels: Levels, options: kernels.EuropeanOptions) -> tuple[Callable[[], None], np.ndarray]:
    """Shared rows the other way: forwards, discounts and deviations once per spot and expiry."""
    key = np.stack([options.spot_row, np.round(options.years * 1e6).astype(np.int64)])
    _, first, row = np.unique(key, axis=1, return_index=True, return_inverse=True)
    row = row.reshape(-1)
    out = np.empty((N_OPTIONS, N_SCENARIOS))
    years = options.years[first][:, None]
    weight = options.rate_weight[first][:, None]

    def run() -> None:
        growth = (1.0 - weight) * levels[options.rate_left[first]]
        growth += weight * levels[options.rate_right[first]]
        growth *= years
        discount = np.exp(-growth)
        forward = levels[options.spot_row[first]] / discount
        forward *= np.exp(-options.dividend_shift[first][:, None] * years)
        deviation = levels[options.vol_row[first]] * np.sqrt(years)
        logs = np.log(forward)
        kernels.black_prices(
            forward, logs, discount, deviation, row, row, row, options.strike, options.is_call, out
        )

    return run, out


def _seconds(work: Callable[[], object], at_least_s: float = 0.15) -> float:
    """CPU time of one call, from as many as fill the time."""
    calls, started = 0, time.thread_time()
    while (spent := time.thread_time() - started) < at_least_s or calls == 0:
        work()
        calls += 1
    return spent / calls


def measure(repetitions: int = REPETITIONS) -> dict[str, Any]:
    """Millions of prices per second by method, in turns, with what they mean for the goals.

    Returns
    -------
    dict
        ``methods``: median, least and greatest rate; ``ratios``: our kernel over the others, median of the
        repetitions; ``largest_difference``: of any two methods, relative to a spot of 100; ``machine``.
    """
    own_levels, own = market(own_vols=True)
    shared_levels, shared = market(own_vols=False)
    prices = N_OPTIONS * N_SCENARIOS
    ours, theirs, ours_shared = (np.empty((N_OPTIONS, N_SCENARIOS)) for _ in range(3))
    run_black, black_out = black_rows(shared_levels, shared)

    option = int(np.flatnonzero(own.is_call)[0])
    days = round(own.years[option] * 365)
    dated = days / 365
    columns = own_levels[:, :QUANTLIB_SCENARIOS]
    spots, rates, vols = (
        columns[row].tolist() for row in (own.spot_row[option], own.rate_left[option], own.vol_row[option])
    )
    strike, yield_ = float(own.strike[option]), float(own.dividend_shift[option])
    instrument = QuantLibOption(strike, yield_, days, True)

    def numpy_work(block: int) -> Callable[[], None]:
        return lambda: numpy_values(own_levels, own, theirs, block)

    # The baseline is entitled to its best block.
    block = min(NUMPY_BLOCKS, key=lambda size: _seconds(numpy_work(size)))
    work: dict[str, tuple[Callable[[], object], int]] = {
        "kernel, own expiry and vol row": (lambda: kernels.european_values(own_levels, own, ours), prices),
        "kernel, shared rows": (
            lambda: kernels.european_values(shared_levels, shared, ours_shared),
            prices,
        ),
        "Black kernel, shared rows": (run_black, prices),
        "NumPy and SciPy": (numpy_work(block), prices),
        "QuantLib, engine": (lambda: instrument.prices(spots, rates, vols), QUANTLIB_SCENARIOS),
        "QuantLib, formula": (
            lambda: quantlib_formula(spots, rates, vols, strike, yield_, dated, True),
            QUANTLIB_SCENARIOS,
        ),
    }
    for run, _ in work.values():
        run()
    rates_m: dict[str, list[float]] = {name: [] for name in work}
    for _ in range(repetitions):
        for name, (run, count) in work.items():
            rates_m[name].append(count / _seconds(run) / 1e6)

    formula = quantlib_formula(spots, rates, vols, strike, yield_, dated, True)
    engine = instrument.prices(spots, rates, vols)
    spot, rate, vol = (np.array(x)[None] for x in (spots, rates, vols))
    zero, none = np.zeros(1, dtype=np.int64), np.zeros(1)
    alone = kernels.EuropeanOptions(
        spot_row=zero,
        rate_left=zero + 1,
        rate_right=zero + 1,
        rate_weight=none,
        rate_shift=none,
        dividend_row=zero - 1,
        dividend_shift=none + yield_,
        vol_row=zero + 2,
        vol_shift=none,
        strike=none + strike,
        years=none + dated,
        is_call=np.array([True]),
    )
    single = kernels.european_values(np.concatenate([spot, rate, vol]), alone, np.empty((1, len(spots))))[0]
    difference = max(
        np.abs(ours - theirs).max(),
        np.abs(ours_shared - black_out).max(),
        np.abs(single - formula).max(),
        np.abs(single - engine).max(),
    )
    best = rates_m["kernel, own expiry and vol row"]
    return {
        "methods": {
            name: {"median": statistics.median(found), "least": min(found), "greatest": max(found)}
            for name, found in rates_m.items()
        },
        "ratios": {
            name: statistics.median(a / b for a, b in zip(best, rates_m[name], strict=True))
            for name in ("NumPy and SciPy", "QuantLib, engine", "QuantLib, formula")
        },
        "largest_difference": float(difference) / 100.0,
        "numpy_block": block,
        "vector_bits": vector_bits(),
        "machine": f"{_processor()}, {os.cpu_count()} CPUs, load {os.getloadavg()[0]:.1f}",
    }


def vector_bits() -> int:
    """Width of the vectors that LLVM chose, read from the machine code of a freshly compiled kernel."""
    compiled = njit(error_model="numpy")(vector_loops.european_rows.py_func)
    compiled.compile(vector_loops.european_rows.signatures[0])
    code = next(iter(compiled.inspect_asm().values()))
    return 512 if "%zmm" in code else 256 if "%ymm" in code else 128


def _processor() -> str:
    try:
        with open("/proc/cpuinfo") as lines:  # noqa: PTH123 - not a file of ours
            return next(line.split(":", 1)[1].strip() for line in lines if line.startswith("model name"))
    except (OSError, StopIteration):
        return platform.machine()


def main() -> None:
    result = measure()
    print(
        f"{result['machine']}, {result['vector_bits']}-bit vectors, "
        f"NumPy in blocks of {result['numpy_block']}"
    )
    print(f"{'million prices per second and core':36}{'median':>10}{'least':>10}{'greatest':>10}")
    for name, rate in result["methods"].items():
        print(f"{name:36}{rate['median']:10.2f}{rate['least']:10.2f}{rate['greatest']:10.2f}")
    for name, ratio in result["ratios"].items():
        print(f"kernel over {name}: {ratio:.1f}")
    print(f"largest difference of two methods: {result['largest_difference']:.1e} of spot")
    print(json.dumps(result))


if __name__ == "__main__":
    main()
