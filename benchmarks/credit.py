"""The credit engine at size: against the published demo's way, a million obligors, one and two workers.

* ``demo``: 200,000 obligors, 4 scenarios, 100 draws under a one-factor Gaussian copula. The demo's way
  captures the portfolio, a pandas table, in the closure of a Ray task per scenario and draw; ours draws as
  many plain paths of the same model. Then both to the same error of the 99.9 % loss: the demo's way from the
  spread of its order statistic, ours from its distance to a dense quadrature written here, since one factor
  leaves nothing to sample.
* ``million``: 1,000,000 obligors, 10 factors, 4 scenarios by the conditional method, every segment and the
  whole book, with the memory of the largest worker; ``cells`` where obligors share loadings, ``distinct``
  where none do.
* ``workers``: the same blocks of lines in one plain process, in two, and on Ray with one and two CPUs.

    python -m benchmarks.credit [demo] [million] [workers]

The Glasserman-Li book, coverage and the accuracy of 99.9 % figures are in credit_curve and credit_importance
beside this file.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import statistics
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
from benchmarks.market import as_in_workers, quiet
from scipy import special
from scipy.optimize import brentq

from acceleray.config.models import CreditSettings, Scenario, SimulateSettings
from acceleray.domain.tables import contract
from acceleray.engines.ray import session
from acceleray.numerics.conditional import conditional_moments
from acceleray.numerics.credit import prepare_draws
from acceleray.numerics.credit_model import LossModel
from acceleray.numerics.loss_curve import aim, curve_block, prepare
from acceleray.numerics.loss_curve_estimates import loss_curve
from acceleray.risk.credit import draw_plain_paths, losses_of
from acceleray.risk.credit_book import CreditBook, read_credit_book
from acceleray.risk.credit_models import loss_model, stress_credit_book

SHOCKS = {"base": 1.0, "mild": 1.4, "severe": 2.0, "worst": 3.0}
RHO = 0.15
LEVEL = 0.999


def obligors(n: int, *, n_factors: int = 0, n_cells: int | None = None, seed: int = 1) -> pa.Table:
    """Make up a book; with factors each obligor, or each of some cells, has loadings of its own."""
    rng = np.random.default_rng(seed)
    columns: dict[str, Any] = {
        "obligor_id": pa.array(np.char.add("o", np.arange(n).astype(str))),
        "segment": pa.array(np.array(["corporate", "retail", "sme"])[np.arange(n) % 3]),
        "ead": rng.lognormal(9.0, 1.0, n),
        "default_prob": np.exp(rng.uniform(math.log(0.002), math.log(0.05), n)),
        "lgd": np.full(n, 0.45),
    }
    schema = contract("raw.obligors").schema
    if n_factors:
        rows = rng.uniform(0.05, 0.2, (n_cells or n, n_factors))
        rows = rows if n_cells is None else rows[rng.integers(0, n_cells, n)]
        names = pa.array([f"f{number}" for number in range(n_factors)])
        keys = names.take(pa.array(np.tile(np.arange(n_factors), n)))
        offsets = np.arange(n + 1, dtype=np.int32) * n_factors
        columns["loadings"] = pa.MapArray.from_arrays(offsets, keys, pa.array(rows.ravel()))
    arrays = [
        pa.array(columns[field.name]).cast(field.type) if field.name in columns else pa.nulls(n, field.type)
        for field in schema
    ]
    return pa.table(arrays, schema=schema)


def scenarios() -> list[Scenario]:
    """Four stresses of the default probabilities."""
    return [
        Scenario.model_validate(
            {
                "name": name,
                "book": "credit",
                "shocks": [{"select": {"segment": "*"}, "default_prob": {"scale": scale}}],
            }
        )
        for name, scale in SHOCKS.items()
    ]


def settings(**credit: Any) -> SimulateSettings:
    """Return settings of the loan book."""
    return SimulateSettings(seed=1, credit=CreditSettings(**credit))


def read(n: int, *, n_factors: int = 0, n_cells: int | None = None) -> CreditBook:
    """Make up a book and read it as the engine does."""
    correlation = {} if n_factors else dict.fromkeys(("corporate", "retail", "sme"), RHO)
    table = obligors(n, n_factors=n_factors, n_cells=n_cells)
    return read_credit_book(table, CreditSettings(correlation=correlation))


def demo_way(book: CreditBook, n_draws: int) -> tuple[float, np.ndarray]:
    """Seconds, and losses of every scenario and draw, with the portfolio in the closure of every task."""
    import ray

    frame = pd.DataFrame({"ead": book.ead, "default_prob": book.default_prob, "lgd": book.lgd})

    def task(scale: float, seed: int) -> Any:
        @ray.remote
        def one() -> float:
            rng = np.random.default_rng(seed)
            threshold = special.ndtri(np.minimum(frame["default_prob"].to_numpy() * scale, 1.0))
            chance = special.ndtr((threshold - math.sqrt(RHO) * rng.standard_normal()) / math.sqrt(1.0 - RHO))
            lost = rng.random(len(frame)) < chance
            return float((frame["ead"] * frame["lgd"])[lost].sum())

        return one.remote()

    started = time.perf_counter()
    found = []
    for scale in SHOCKS.values():
        found.append(ray.get([task(scale, seed) for seed in range(n_draws)]))
    return time.perf_counter() - started, np.array(found)


def our_way(book: CreditBook, n_draws: int) -> tuple[float, np.ndarray]:
    """Seconds, and losses of every scenario and draw, of plain paths of the same model."""
    started = time.perf_counter()
    stresses = [stress_credit_book(book, scenario) for scenario in scenarios()]
    models = tuple(prepare_draws(loss_model(book, stress)) for stress in stresses)
    losses = draw_plain_paths(models, book.segments, seed=1, n_paths=n_draws, block_size=50, distributed=True)
    return time.perf_counter() - started, losses.sum(axis=1)


def integrated_var(model: LossModel) -> float:
    """VaR of a one-factor book of very many obligors: normal conditional laws, 4,001 states of the factor."""
    states = np.linspace(-9.0, 9.0, 4001)
    cumulants = np.concatenate(
        [conditional_moments(model, part[None, :]).sum(axis=1) for part in np.array_split(states, 40)], axis=1
    )
    mean, deviation = cumulants[0], np.sqrt(cumulants[1])
    weights = np.exp(-0.5 * states**2) / math.sqrt(2.0 * math.pi) * (states[1] - states[0])
    return float(
        brentq(
            lambda x: weights @ special.ndtr((mean - x) / deviation) - (1.0 - LEVEL),
            0.0,
            mean.max(),
            xtol=1e-9,
        )
    )


def demo(rounds: int = 5) -> dict[str, Any]:
    """Compare the two ways."""
    book, n_draws = read(200_000), 100
    found: dict[str, list[float]] = {"demo": [], "ours": [], "curve": []}
    with session(cpus=2):
        our_way(book, n_draws)
        demo_way(book, 2)
        for _ in range(rounds):
            seconds, theirs = demo_way(book, n_draws)
            found["demo"].append(seconds)
            seconds, losses = our_way(book, n_draws)
            found["ours"].append(seconds)
        model = loss_model(book, stress_credit_book(book, scenarios()[0]))
        for _ in range(rounds):
            started = time.perf_counter()
            prepared = prepare(model, aim(model))
            curve = loss_curve(prepared.losses, [curve_block(prepared, np.zeros((1, 0)))], unit=prepared.unit)
            value = curve.var(LEVEL).value
            found["curve"].append(time.perf_counter() - started)
    witness = integrated_var(model)
    # The standard error of an order statistic of n draws: sqrt(level (1 - level) / n) over the density.
    density = -np.gradient(curve.above[0], curve.losses)[np.searchsorted(curve.losses, value)]
    error = abs(value - witness)
    draws = LEVEL * (1.0 - LEVEL) / (error * density) ** 2
    middle = {name: statistics.median(each) for name, each in found.items()}
    one_percent = LEVEL * (1.0 - LEVEL) / (0.01 * value * density) ** 2
    per_draw = middle["demo"] / (len(SHOCKS) * n_draws)
    return {
        "seconds": found,
        "mean_loss_demo": theirs.mean(axis=1).tolist(),
        "mean_loss_ours": losses.mean(axis=1).tolist(),
        "faster_for_the_same_draws": middle["demo"] / middle["ours"],
        "var": value,
        "var_integrated_otherwise": witness,
        "error_of_var": error,
        "draws_for_one_percent": one_percent,
        "faster_to_one_percent": one_percent * per_draw / middle["curve"],
        "draws_for_that_error": draws,
        "faster_to_the_same_error": draws * per_draw / middle["curve"],
    }


def peak_of_workers(work: Callable[[], Any]) -> tuple[Any, float]:
    """Return what a piece of work gives, and the most bytes of any Ray worker while it ran."""
    peak, done = 0.0, threading.Event()

    def watch() -> None:
        nonlocal peak
        while not done.wait(0.2):
            for entry in Path("/proc").iterdir():
                try:
                    if entry.name.isdigit() and b"ray::" in (entry / "cmdline").read_bytes():
                        lines = (entry / "smaps_rollup").read_text().splitlines()
                        peak = max(
                            peak, 1024.0 * sum(int(x.split()[1]) for x in lines if x.startswith("Pss:"))
                        )
                except OSError:
                    continue

    watcher = threading.Thread(target=watch, daemon=True)
    watcher.start()
    try:
        return work(), peak
    finally:
        done.set()
        watcher.join()


def million() -> dict[str, Any]:
    """Estimate a million obligors with ten factors under four scenarios, on two CPUs."""
    found = {}
    for name, n_cells, points in (("cells", 250, 32), ("distinct", None, 4)):
        started = time.perf_counter()
        book = read(1_000_000, n_factors=10, n_cells=n_cells)
        reading = time.perf_counter() - started
        chosen = settings(method="conditional", points=points, n_paths=50, block_size=25)

        def work(book: CreditBook = book, chosen: SimulateSettings = chosen) -> Any:
            return losses_of(book, [stress_credit_book(book, each) for each in scenarios()], chosen)

        with session(cpus=2):
            started = time.perf_counter()
            losses, peak = peak_of_workers(work)
            seconds = time.perf_counter() - started
        figures = {}
        for scenario in losses.scenarios:
            each = losses.var(LEVEL, scenario=scenario)
            half = 0.5 * (each.ci_high - each.ci_low) / each.value
            figures[scenario] = {"var": each.value, "half_interval": half}
        found[name] = {
            "seconds": seconds,
            "making_and_reading_seconds": reading,
            "peak_worker_bytes": peak,
            "var": figures,
        }
    return found


def workers(rounds: int = 5) -> dict[str, Any]:
    """Blocks of lines of a book of 50,000 obligors with loadings of their own."""
    import multiprocessing

    from acceleray.risk.credit_blocks import conditional_points
    from acceleray.risk.fan_out import fan_out

    book = read(50_000, n_factors=10)
    model = loss_model(book, stress_credit_book(book, scenarios()[0]))
    prepared = (prepare(model, aim(model)),)
    calls = [(0, 0, block, 8) for block in range(32)]

    def some(part: slice) -> None:
        for call in calls[part]:
            conditional_points(prepared, 1, 16, *call)

    def plain() -> float:
        started = time.perf_counter()
        some(slice(None))
        return time.perf_counter() - started

    def two_plain() -> float:
        context = multiprocessing.get_context("fork")
        started = time.perf_counter()
        halves = [context.Process(target=some, args=(slice(part, None, 2),)) for part in (0, 1)]
        for half in halves:
            half.start()
        for half in halves:
            half.join()
        return time.perf_counter() - started

    def on_ray() -> float:
        started = time.perf_counter()
        fan_out(conditional_points, (prepared, 1, 16), calls, what="block of lines", distributed=True)
        return time.perf_counter() - started

    plain()
    times: dict[str, list[float]] = {"plain": [], "two plain": [], "ray 1": [], "ray 2": []}
    for _ in range(rounds):
        times["plain"].append(quiet(plain)[0])
        times["two plain"].append(quiet(two_plain)[0])
        for cpus in (1, 2):
            with session(cpus=cpus):
                on_ray()
                times[f"ray {cpus}"].append(quiet(on_ray)[0])
    middle = {name: statistics.median(each) for name, each in times.items()}
    two = middle["plain"] / middle["two plain"]
    return {
        "seconds": times,
        "two_plain_speed_up": two,
        "ray_speed_up": middle["ray 1"] / middle["ray 2"],
        "ray_speed_up_over_two_plain": middle["ray 1"] / middle["ray 2"] / two,
        "ray_over_plain_1": middle["ray 1"] / middle["plain"],
        "ray_over_plain_2": middle["ray 2"] / middle["two plain"],
    }


PARTS: dict[str, Callable[[], dict[str, Any]]] = {"demo": demo, "million": million, "workers": workers}


def main() -> None:
    """Run and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("parts", nargs="*", choices=[[], *PARTS], metavar="PART")
    arguments = parser.parse_args()
    as_in_workers("benchmarks.credit")
    found = {"load": os.getloadavg()} | {name: PARTS[name]() for name in arguments.parts or PARTS}
    print(json.dumps(found, indent=1))


if __name__ == "__main__":
    main()
