"""The market-risk engine on a made-up book of 10,000 positions under 100,000 scenarios, against other ways.

All workloads price the same book with the same kernels under the same scenarios, in turns, in one run:

* ``plain``: one process, one thread, block after block;
* ``two plain``: two such processes with half of the blocks each, the ceiling of what two cores give;
* ``ray 1``, ``ray 2``: `revaluations` on Ray with one and two CPUs, Ray being up already;
* ``tasks 1``, ``tasks 2``: the same blocks as Ray tasks that also say how long the work inside them took, so
  that the overhead is wall clock times workers less that pure time, over the pure time;
* ``measures``: VaR and ES with intervals for every node of the hierarchy, from the finished paths;
* ``spark``: the same blocks as a pandas UDF on Spark with two cores;
* ``ray per scenario``: one Ray task per scenario with the book in its closure, on a few hundred scenarios.

    python -m benchmarks.market [--positions 10000] [--paths 100000] [--rounds 5] [--json]
    python -m benchmarks.market --memory     # 100,000 positions x 100,000 scenarios: memory of a worker

A round is discarded and repeated when other processes kept the machine busy while it ran. The other figures
of the market-risk engine come from market_kernel, market_variance, market_coverage, market_coverage_sobol
and market_tabulation beside this file.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from benchmarks import books

from acceleray.domain.scenario import MonteCarlo
from acceleray.engines.ray import KEPT_HEAP, ONE_THREAD, session
from acceleray.risk.blocks import Job, block_gains
from acceleray.risk.fan_out import fan_out
from acceleray.risk.market import measured
from acceleray.risk.parameters import RiskParameters
from acceleray.risk.plans import prepare
from acceleray.risk.resolve import resolve
from acceleray.risk.revaluation import BLOCK_SIZE, revaluations
from acceleray.risk.valuation import SECTION

# Share of a round that other processes may take of both cores.
_BUSY = 0.10


class Workload:
    """The book and its scenarios, resolved and prepared."""

    def __init__(self, positions: int, paths: int) -> None:
        self.market = books.market()
        self.resolution = resolve(books.book(positions), self.market)
        if any(self.resolution.reasons):
            raise AssertionError("every position of the benchmark's book can be priced")
        plan, self.labels = prepare(
            MonteCarlo(n_paths=paths, seed=1),
            self.market,
            RiskParameters.exponential(self.market),
            block_size=BLOCK_SIZE,
            columns=self.resolution.priced.columns,
        )
        self.job = Job(book=self.resolution.priced, plan=plan)
        self.base = self.market.base
        self.sections = (0, self.job.book.n_sections)

    def block(self, block: int) -> np.ndarray:
        """Gains by portfolio of one block."""
        return block_gains(self.base, (self.job,), 0, block, self.sections, False)[0]

    def blocks(self) -> range:
        """Numbers of the blocks."""
        return range(len(self.job.plan.blocks))


def plain(work: Workload) -> float:
    """Seconds of all blocks in this process."""
    started = time.perf_counter()
    for block in work.blocks():
        work.block(block)
    return time.perf_counter() - started


def two_plain(work: Workload) -> float:
    """Seconds until two forked processes have done half of the blocks each."""
    context = multiprocessing.get_context("fork")
    started = time.perf_counter()
    halves = [context.Process(target=_some, args=(work, part)) for part in (0, 1)]
    for half in halves:
        half.start()
    for half in halves:
        half.join()
    return time.perf_counter() - started


def _some(work: Workload, part: int) -> None:
    for block in work.blocks()[part::2]:
        work.block(block)


def on_ray(work: Workload) -> float:
    """Seconds of `revaluations` on the Ray that is up."""
    started = time.perf_counter()
    revaluations([work.job], work.base, keep_positions=False, distributed=True)
    return time.perf_counter() - started


def timed_block(base: np.ndarray, job: Job, sections: tuple[int, int], block: int) -> float:
    """Seconds that one block takes inside a worker."""
    started = time.perf_counter()
    block_gains(base, (job,), 0, block, sections, False)
    return time.perf_counter() - started


def overhead(work: Workload, workers: int) -> tuple[float, float]:
    """Wall clock of all blocks as Ray tasks, and the share of it that is not the work inside them."""
    started = time.perf_counter()
    inside = fan_out(
        timed_block,
        (work.base, work.job, work.sections),
        [(block,) for block in work.blocks()],
        what="timed block",
        distributed=True,
    )
    wall, pure = time.perf_counter() - started, sum(inside)
    return wall, (wall * workers - pure) / pure


def measures(work: Workload) -> float:
    """Seconds of VaR and ES with intervals for every node."""
    (gains,) = revaluations([work.job], work.base, keep_positions=False, distributed=False)
    pnl = measured(work.resolution, work.labels, work.job, gains, work.base)
    started = time.perf_counter()
    for node in work.resolution.book.nodes:
        pnl.var(0.99, node)
        pnl.es(0.975, node)
    return time.perf_counter() - started


def per_scenario(work: Workload, scenarios: int) -> float:
    """Seconds per scenario of one Ray task each, with book and levels in the closure."""
    import ray

    from acceleray.risk.valuation import portfolio_gains

    levels = work.job.plan.levels(0)[:scenarios]
    book, base, sections = work.job.book, work.base, work.sections

    def task(number: int) -> Any:
        @ray.remote
        def one() -> Any:
            return portfolio_gains(book, levels[number : number + 1], base[None, :], sections)

        return one.remote()

    started = time.perf_counter()
    ray.get([task(number) for number in range(scenarios)])
    return (time.perf_counter() - started) / scenarios


def on_spark(work: Workload) -> Iterator[Callable[[], float]]:
    """Yield a function that runs all blocks as a pandas UDF on Spark with two cores."""
    from pyspark.sql import functions as F  # noqa: N812 (the name every Spark reader knows)

    from acceleray.config.models import TargetSettings
    from acceleray.engines import spark as engine

    with tempfile.TemporaryDirectory(prefix="acceleray-bench-") as folder:
        target = TargetSettings(spark_shuffle_partitions=2)
        session_ = engine.start(target, app_name="bench", log_directory=Path(folder))
        shared = session_.sparkContext.broadcast((work.job, work.base, work.sections))

        @F.pandas_udf("binary")
        def gains(blocks: pd.Series) -> pd.Series:
            job, base, sections = shared.value
            return pd.Series(
                [block_gains(base, (job,), 0, int(b), sections, False)[0].tobytes() for b in blocks]
            )

        def run() -> float:
            started = time.perf_counter()
            rows = session_.range(len(work.blocks())).repartition(2 * os.cpu_count())
            rows.select(gains("id").alias("gains")).collect()
            return time.perf_counter() - started

        yield run
        engine.stop(session_)


def busy_seconds() -> float:
    """Processor time of everything on the machine so far."""
    fields = [int(field) for field in Path("/proc/stat").read_text().split("\n", 1)[0].split()[1:]]
    idle = fields[3] + fields[4]
    return (sum(fields[:8]) - idle) / os.sysconf("SC_CLK_TCK")


def own_seconds() -> float:
    """Processor time of this process and of its descendants, finished or not."""
    times = os.times()
    mine = times.user + times.system + times.children_user + times.children_system
    return mine + _descendants_seconds(os.getpid())


def _descendants_seconds(root: int) -> float:
    parents, spent = {}, {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                fields = (entry / "stat").read_text().rsplit(")", 1)[1].split()
            except OSError:
                continue
            parents[int(entry.name)] = int(fields[1])
            spent[int(entry.name)] = (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
    family, grew = {root}, True
    while grew:
        found = {pid for pid, parent in parents.items() if parent in family} | family
        grew, family = found != family, found
    return sum(spent.get(pid, 0.0) for pid in family - {root})


def quiet(work: Callable[[], float], tries: int = 5) -> tuple[float, bool]:
    """Time something, again while the machine was busy with other things; says whether it ever was quiet."""
    seconds = 0.0
    for _ in range(tries):
        busy, own = busy_seconds(), own_seconds()
        seconds = work()
        others = (busy_seconds() - busy) - (own_seconds() - own)
        if others <= _BUSY * seconds * (os.cpu_count() or 1):
            return seconds, True
    return seconds, False


def compare(positions: int, paths: int, rounds: int) -> dict[str, Any]:
    """Run all workloads in turns."""
    work = Workload(positions, paths)
    work.block(0)
    spark = next(generator := on_spark(work))
    spark()
    times: dict[str, list[float]] = {}
    overheads: dict[int, list[float]] = {1: [], 2: []}
    noisy: dict[str, int] = {}

    def note(name: str, run: Callable[[], float]) -> None:
        seconds, was_quiet = quiet(run)
        times.setdefault(name, []).append(seconds)
        noisy[name] = noisy.get(name, 0) + (not was_quiet)

    for _ in range(rounds):
        note("plain", lambda: plain(work))
        note("two plain", lambda: two_plain(work))
        for cpus in (1, 2):
            with session(cpus=cpus):
                on_ray(work)
                note(f"ray {cpus}", lambda: on_ray(work))
                wall, share = overhead(work, cpus)
                times.setdefault(f"tasks {cpus}", []).append(wall)
                overheads[cpus].append(share)
                if cpus == 2:
                    note("ray per scenario", lambda: per_scenario(work, 200))
        note("measures", lambda: measures(work))
        note("spark", spark)
    next(generator, None)
    middle = {name: statistics.median(values) for name, values in times.items()}
    evaluations = positions * paths
    return {
        "positions": positions,
        "paths": paths,
        "load": os.getloadavg(),
        "noisy_rounds": noisy,
        "seconds": {name: {"median": middle[name], "all": values} for name, values in times.items()},
        "revaluations_per_second_plain": evaluations / middle["plain"],
        "two_plain_speed_up": middle["plain"] / middle["two plain"],
        "ray_speed_up": middle["ray 1"] / middle["ray 2"],
        "ray_speed_up_over_two_plain": middle["ray 1"]
        / middle["ray 2"]
        / (middle["plain"] / middle["two plain"]),
        "ray_overhead_1": statistics.median(overheads[1]),
        "ray_overhead_2": statistics.median(overheads[2]),
        "ray_over_plain_1": middle["ray 1"] / middle["plain"],
        "ray_over_plain_2": middle["ray 2"] / middle["two plain"],
        "spark_over_ray_2": middle["spark"] / middle["ray 2"],
        "per_scenario_over_ray_2": middle["ray per scenario"] * paths / middle["ray 2"],
    }


def memory(positions: int, paths: int) -> dict[str, Any]:
    """Peak memory of a Ray worker while a large book is revalued with two CPUs."""
    import threading

    work = Workload(positions, paths)
    peak = 0.0
    done = threading.Event()

    def watch() -> None:
        nonlocal peak
        while not done.wait(0.2):
            for entry in Path("/proc").iterdir():
                try:
                    if entry.name.isdigit() and b"ray::block_gains" in (entry / "cmdline").read_bytes():
                        text = (entry / "smaps_rollup").read_text()
                        own = sum(
                            int(line.split()[1]) for line in text.splitlines() if line.startswith("Pss:")
                        )
                        peak = max(peak, own * 1024.0)
                except OSError:
                    continue

    watcher = threading.Thread(target=watch, daemon=True)
    with session(cpus=2):
        watcher.start()
        seconds = on_ray(work)
        done.set()
    return {
        "positions": positions,
        "paths": paths,
        "instruments_per_section": SECTION,
        "seconds": seconds,
        "peak_worker_bytes": peak,
        "load": os.getloadavg(),
    }


def as_in_workers(module: str) -> None:
    """Begin anew with the environment of Ray's workers, so that every way has the same heap and threads."""
    settings = ONE_THREAD | KEPT_HEAP
    if not settings.items() <= os.environ.items():
        os.execve(sys.executable, [sys.executable, "-m", module, *sys.argv[1:]], {**os.environ, **settings})


def main() -> None:
    """Run and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--positions", type=int)
    parser.add_argument("--paths", type=int, default=100_000)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--memory", action="store_true")
    parser.add_argument("--json", action="store_true")
    arguments = parser.parse_args()
    as_in_workers("benchmarks.market")
    if arguments.memory:
        found = memory(arguments.positions or 100_000, arguments.paths)
    else:
        found = compare(arguments.positions or 10_000, arguments.paths, arguments.rounds)
    if arguments.json:
        print(json.dumps(found, indent=1))
        return
    for name, value in found.items():
        if name == "seconds" and isinstance(value, dict):
            for way, each in value.items():
                spread = f"{min(each['all']):.3g} to {max(each['all']):.3g}"
                print(f"{way:<32} {each['median']:>10.3g} s   ({spread})")
        else:
            print(f"{name:<32} {value}")


if __name__ == "__main__":
    main()
