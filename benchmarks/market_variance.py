"""Variance times time of a tail probability: stratified importance sampling against plain paths.

Both use the same revaluation. A repetition is one block; plans are made anew with other seeds, so that a
lucky pilot does not count twice. The time of a plan and its pilot is spread over ``--paths`` paths. Run it
alone:

    OMP_NUM_THREADS=1 PYTHONPATH=src:. python -m benchmarks.market_variance
"""

from __future__ import annotations

import argparse
import json
import time

import numpy as np
from benchmarks.market_books import OptionBook, mixed, scaled, short_options

from acceleray.numerics.order_statistics import value_at_risk

BLOCK = 4096
# P(L > x) of a1 by quadrature of one asset's characteristic function, its tenth power and Gil-Pelaez
# inversion (tests/reference/test_short_options.py recomputes them). The reference case's own figures lie
# 0.03% lower.
EXACT = {150.0: 0.025994974, 200.0: 0.0065460907, 250.0: 0.0013728009, 300.0: 0.00024365580}
EXACT_VAR = {0.99: 185.36, 0.999: 259.52}


def books() -> list[OptionBook]:
    a1 = short_options()
    return [
        a1,
        short_options(years=0.1, name="a2"),
        short_options(hedged=True, name="a3"),
        short_options(years=0.1, hedged=True, name="a3 short"),
        short_options(dof=5.0, name="a1 t5"),
        *(mixed(number) for number in range(4)),
        scaled(a1, "long options", -1.0, 0.0),
        scaled(a1, "linear", 0.0, -10.0),
        scaled(a1, "zero", 0.0, 0.0),
        scaled(short_options(dof=5.0), "long t5", -1.0, 0.0),
    ]


def measure(
    book: OptionBook, level: float, *, n_plans: int, n_blocks: int, n_paths: int
) -> dict[str, object]:
    threshold = EXACT_VAR[level] if book.name == "a1" else quantile(book, level)
    importance, plain, exact = [], [], []
    seconds: dict[str, list[float]] = {"plan": [], "importance": [], "plain": []}
    diagnosis = None
    book.importance((level,), n_paths=n_paths, block_size=BLOCK, seed=0).levels(0)
    for seed in range(n_plans):
        started = time.perf_counter()
        found = book.importance((level,), n_paths=n_paths, block_size=BLOCK, seed=seed)
        seconds["plan"].append(time.perf_counter() - started)
        diagnosis = found.diagnosis
        drawn = book.plain(n_paths=n_paths, block_size=BLOCK, seed=seed)
        for block in range(n_blocks):
            started = time.perf_counter()
            losses = book.losses(found.levels(block))
            weights = found.weights(block) * len(found.blocks)
            importance.append(float((weights * (losses > threshold)).sum()))
            seconds["importance"].append(time.perf_counter() - started)
            exact.append([float((weights * (losses > x)).sum()) for x in EXACT])
            started = time.perf_counter()
            losses = book.losses(drawn.levels(block))
            plain.append(float((losses > threshold).mean()))
            seconds["plain"].append(time.perf_counter() - started)
    per_path = {name: float(np.median(values)) / BLOCK for name, values in seconds.items()}
    with_plan = per_path["importance"] + float(np.median(seconds["plan"])) / n_paths
    probability = float(np.mean(importance)) if np.var(importance) < np.var(plain) else float(np.mean(plain))
    plain_variance = probability * (1.0 - probability)
    variance = float(np.var(importance, ddof=1)) * BLOCK
    ratio = plain_variance / variance if variance > 0.0 else float("nan")
    result: dict[str, object] = {
        "book": book.name,
        "level": level,
        "threshold": round(threshold, 3),
        "probability": probability,
        "method": diagnosis.method if diagnosis else "",
        "reason": diagnosis.reason if diagnosis else None,
        "predicted": [round(r, 1) for r in diagnosis.variance_ratios] if diagnosis else [],
        "proposals": round(diagnosis.proposals_per_path, 2) if diagnosis else 1.0,
        "variance_ratio": round(ratio, 1),
        "plain_us": round(per_path["plain"] * 1e6, 3),
        "importance_us": round(per_path["importance"] * 1e6, 3),
        "plan_ms": round(float(np.median(seconds["plan"])) * 1e3, 1),
        "efficiency": round(ratio * per_path["plain"] / with_plan, 1),
    }
    if book.name == "a1":
        means, errors = np.mean(exact, axis=0), np.std(exact, axis=0, ddof=1) / np.sqrt(len(exact))
        result["z"] = [round(float(z), 2) for z in (means - np.array(list(EXACT.values()))) / errors]
        result["relative_error"] = [f"{e:.1e}" for e in errors / means]
    return result


def quantile(book: OptionBook, level: float) -> float:
    """Value at risk from a set of its own, so that the threshold is given before anything is measured."""
    found = book.importance((level,), n_paths=32 * BLOCK, block_size=BLOCK, seed=999)
    losses = np.concatenate([book.losses(found.levels(b)) for b in range(len(found.blocks))])
    weights = np.concatenate([found.weights(b) for b in range(len(found.blocks))])
    return float(value_at_risk(losses, level=level, weights=weights))


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--paths", type=int, default=1_000_000)
    parser.add_argument("--plans", type=int, default=8)
    parser.add_argument("--blocks", type=int, default=40)
    parser.add_argument("--books", nargs="*")
    arguments = parser.parse_args()
    for book in books():
        if arguments.books and book.name not in arguments.books:
            continue
        for level in (0.99, 0.999):
            row = measure(
                book, level, n_plans=arguments.plans, n_blocks=arguments.blocks, n_paths=arguments.paths
            )
            print(json.dumps(row), flush=True)


if __name__ == "__main__":
    main()
