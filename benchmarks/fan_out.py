"""Thousands of variance models, each tried only where a simpler one failed: a growing graph of Ray tasks.

One plain process, the growing graph on one and two Ray CPUs, and wave after wave on two CPUs, where the next
model begins only when the last factor is through with the one before. All fit the same factors with the same
function in batches of the same size, and must give the same bits. Workers have loaded the estimation library
before the clock starts; that is printed separately. Run it alone on the machine:

    OMP_NUM_THREADS=1 PYTHONPATH=src python benchmarks/fan_out.py --factors 2000
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import time
from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any
from unittest import mock

import numpy as np

from acceleray.engines.ray import session
from acceleray.risk import calibration
from acceleray.risk.calibration import fit_volatility
from acceleray.risk.fan_out import fan_out
from acceleray.risk.ladder import Queue, climb

MODELS = ("garch", "garch_t", "gjr_t")
DAYS = 1000
# Law of the residuals (normal without degrees of freedom), and what a fall adds to alpha.
LAWS = ((None, 0.0), (6.0, 0.0), (5.0, 0.0), (6.0, 0.15), (None, 0.0))

Array = np.ndarray[Any, np.dtype[np.float64]]


def simulated(n_factors: int, seed: int = 7) -> Array:
    """Daily moves of factors under different laws, shape (DAYS, n_factors)."""
    rng = np.random.default_rng(seed)
    dof = np.array([LAWS[k % len(LAWS)][0] or np.inf for k in range(n_factors)])
    gamma = np.array([LAWS[k % len(LAWS)][1] for k in range(n_factors)])
    alpha, beta = 0.1 - gamma / 2, 0.85
    variance = np.full(n_factors, 4e-5)
    moves = np.empty((DAYS, n_factors))
    for day in range(DAYS):
        normal = rng.standard_normal(n_factors)
        heavy = rng.standard_t(np.where(np.isfinite(dof), dof, 30.0)) * np.sqrt(1 - 2 / dof)
        moves[day] = np.sqrt(variance) * np.where(np.isfinite(dof), heavy, normal)
        variance = 2e-6 + (alpha + gamma * (moves[day] < 0)) * moves[day] ** 2 + beta * variance
    return moves


def waves(
    function: Callable[..., Any],
    shared: Sequence[Any],
    items: Sequence[Any],
    *,
    n_rungs: int,
    onward: Callable[[int, Any, Any], Any],
    cost: Callable[[int, Any], float],
    task_seconds: float,
    what: str,
    distributed: bool,
) -> list[list[tuple[Any, Any]]]:
    """Do what `climb` does, rung by rung for all items."""
    ways: list[list[tuple[Any, Any]]] = [[] for _ in items]
    going = list(enumerate(items))
    for rung in range(n_rungs):
        queue: Queue[Any] = Queue(n_rungs, cost, task_seconds)
        for number, item in going:
            queue.add(rung, number, item)
        batches = []
        while (ready := queue.full() or queue.share(1)) is not None:
            batches.append(ready[1])
        calls = [(rung, tuple(item for _, item in batch)) for batch in batches]
        found = fan_out(function, shared, calls, what=what, distributed=distributed)
        going = []
        for batch, results in zip(batches, found, strict=True):
            for (number, item), result in zip(batch, results, strict=True):
                ways[number].append((item, result))
                if (further := onward(rung, item, result)) is not None:
                    going.append((number, further))
    return ways


def timed(moves: Array, *, way: Callable[..., Any] = climb, distributed: bool = True) -> tuple[float, Any]:
    started = time.perf_counter()
    with mock.patch.object(calibration, "climb", way):
        fits = fit_volatility(
            moves, (DAYS,), window_days=DAYS, models=MODELS, ewma_decay=0.94, distributed=distributed
        )
    return time.perf_counter() - started, fits


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--factors", type=int, default=2000)
    parser.add_argument("--rounds", type=int, default=2, help="of the graph and the waves, in turns")
    asked = parser.parse_args()
    moves = simulated(asked.factors)
    few = moves[:, : min(asked.factors, 60)]
    load = os.getloadavg()[0]
    timed(few, distributed=False)
    seconds: dict[str, list[float]] = {}
    first, fits = timed(moves, distributed=False)
    identical = True
    warm_up = {}
    for cpus in (1, 2):
        with session(cpus=cpus):
            # Until every worker has loaded the estimation library.
            warm_up[f"first tasks, Ray, {cpus} CPU{'s' if cpus > 1 else ''}"] = max(
                timed(few)[0] for _ in range(2)
            )
            for _ in range(asked.rounds if cpus == 2 else 1):
                for name, way in (("graph", climb), *([("waves", waves)] if cpus == 2 else [])):
                    taken, found = timed(moves, way=way)
                    seconds.setdefault(f"{name}, Ray, {cpus} CPU{'s' if cpus > 1 else ''}", []).append(taken)
                    identical &= found == fits
    # Before and after the others, so that a machine that gets busier or quieter shows.
    seconds["one plain process"] = [first, timed(moves, distributed=False)[0]]
    median = {name: statistics.median(values) for name, values in seconds.items()}
    plain = median["one plain process"]
    one, two, wave = (
        median[name] for name in ("graph, Ray, 1 CPU", "graph, Ray, 2 CPUs", "waves, Ray, 2 CPUs")
    )
    verdicts = Counter(fit.model for (fit,) in fits)
    tried = sum(len(fit.path.split("; ")) for (fit,) in fits if fit.path)
    print(
        json.dumps(
            {
                "factors": asked.factors,
                "days": DAYS,
                "fits": tried,
                "chosen": dict(verdicts),
                "without a model that passed": sum(fit.note is not None for (fit,) in fits),
                "seconds": {name: [round(value, 2) for value in values] for name, values in seconds.items()},
                "warm up": {name: round(value, 2) for name, value in warm_up.items()},
                "fits per second, graph on 2 CPUs": round(tried / two, 1),
                "one plain process / graph on 1 CPU": round(plain / one, 3),
                "one plain process / graph on 2 CPUs": round(plain / two, 3),
                "graph, 1 CPU / 2 CPUs": round(one / two, 3),
                "waves / graph, 2 CPUs": round(wave / two, 3),
                "identical": identical,
                "load before and after": [round(load, 2), round(os.getloadavg()[0], 2)],
            },
            indent=2,
        )
    )


if __name__ == "__main__":
    main()
