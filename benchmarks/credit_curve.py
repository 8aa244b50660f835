"""What the credit loss curve gains over plain simulation: mean squared error times CPU time, side by side.

Run alone on the machine: ``python benchmarks/credit_curve.py [repetitions]``. Three parts:

1. The 21-factor book of Glasserman and Li: the whole curve from 16 scrambles against the faster of two
   plain samplers, the engine's own and conditional Bernoulli draws by geometric jumps, timed in turns in one
   run. The mean squared error is the variance over scrambles and the square of the bias together.
2. The bias, line by line, against the exact conditional law: its characteristic function, smoothed by a
   normal law too narrow to matter, integrated over four times finer nodes and inverted.
3. VaR and ES at 99.9% of a random book of 1,000 obligors and 10 factors from 1,024 lines: relative error and
   coverage of the 95% intervals over repeated seeds, against one long run.
"""

from __future__ import annotations

import dataclasses
import json
import math
import os
import platform
import sys
import time
from typing import Any

import numpy as np
from numba import njit
from scipy import special

from acceleray.numerics.credit import default_generator, draw_losses, draw_systematic, prepare_draws
from acceleray.numerics.credit_model import LossModel, default_thresholds
from acceleray.numerics.loss_curve import Aim, PreparedBook, aim, curve_block, prepare
from acceleray.numerics.loss_curve_estimates import LossCurve, loss_curve
from acceleray.numerics.loss_curve_suitability import expansion_error
from acceleray.numerics.recovery import Recoveries
from acceleray.numerics.sobol import sobol_uniforms

REPLICATES = 16
LOSSES = (10_000.0, 22_000.0, 40_000.0)
POINTS = (64, 256, 1024, 4096)
PLAIN_PATHS = 20_000
EXACT_LINES = 6
LEVEL = 0.999

Array = np.ndarray


def glasserman_li() -> LossModel:
    """Glasserman and Li (2005), section 5.2."""
    number = np.arange(1, 1001)
    thresholds = default_thresholds(np.clip(0.01 * (1.0 + np.sin(16.0 * np.pi * number / 1000.0)), 0.0, 1.0))
    exposures = 1.0 + 99.0 * (number - 1) / 999.0
    order = np.lexsort((thresholds, (number - 1) // 10))
    loadings = np.zeros((100, 21))
    loadings[:, 0] = 0.8
    index = np.arange(100)
    loadings[index, 1 + index // 10] = 0.4
    loadings[index, 11 + index % 10] = 0.4
    return LossModel(
        thresholds=thresholds[order],
        exposures=exposures[order],
        recovery=np.zeros(1000, dtype=np.int64),
        recoveries=Recoveries(mean=np.ones(1), std=np.zeros(1), correlation=np.zeros(1)),
        cells=np.arange(0, 1001, 10),
        loadings=loadings,
        residual=np.full(100, 0.2),
        mean=np.zeros(100),
        systematic=np.full(100, math.sqrt(0.96)),
        segments=np.arange(0, 101, 10),
    )


def random_book(n: int = 1000, n_factors: int = 10) -> LossModel:
    """Lognormal exposures, default probabilities from 0.1% to 3%, every obligor with loadings of its own."""
    generator = np.random.default_rng(20181231)
    default_prob = np.exp(generator.uniform(math.log(0.001), math.log(0.03), n))
    loadings = np.abs(generator.standard_normal((n, n_factors))) * generator.uniform(0.0, 1.0, (n, n_factors))
    loadings[:, 0] += 1.0
    correlation = generator.uniform(0.1, 0.35, n)
    loadings *= np.sqrt(correlation / (loadings**2).sum(axis=1))[:, None]
    return LossModel(
        thresholds=default_thresholds(default_prob),
        exposures=1e6 * np.exp(generator.standard_normal(n)),
        recovery=np.zeros(n, dtype=np.int64),
        recoveries=Recoveries(mean=np.array([0.45]), std=np.zeros(1), correlation=np.zeros(1)),
        cells=np.arange(n + 1),
        loadings=loadings,
        residual=np.sqrt(1.0 - correlation),
        mean=np.zeros(n),
        systematic=np.sqrt(correlation),
        segments=np.array([0, n]),
    )


@njit(error_model="numpy")
def plain_losses(generator, thresholds, exposures, cells, loadings, residual, out):  # type: ignore[no-untyped-def] # Numba infers them.
    """Draw losses path by path: geometric jumps at the largest conditional probability of each cell."""
    factors = np.empty(loadings.shape[1])
    for path in range(out.size):
        for j in range(factors.size):
            factors[j] = generator.standard_normal()
        loss = 0.0
        for cell in range(residual.size):
            score = 0.0
            for j in range(factors.size):
                if loadings[cell, j] != 0.0:
                    score += loadings[cell, j] * factors[j]
            inverse = 1.0 / residual[cell]
            first, stop = cells[cell], cells[cell + 1]
            most = 0.5 * math.erfc((score - thresholds[stop - 1]) * inverse * math.sqrt(0.5))
            if most < 1e-14:
                continue
            if most > 0.3:
                for k in range(first, stop):
                    if generator.random() < 0.5 * math.erfc(
                        (score - thresholds[k]) * inverse * math.sqrt(0.5)
                    ):
                        loss += exposures[k]
                continue
            log_miss = math.log1p(-most)
            k = first - 1
            while True:
                jump = math.log(1.0 - generator.random()) / log_miss
                if jump >= stop:
                    break
                k += 1 + int(jump)
                if k >= stop:
                    break
                chance = 0.5 * math.erfc((score - thresholds[k]) * inverse * math.sqrt(0.5))
                if generator.random() * most < chance:
                    loss += exposures[k]
        out[path] = loss


@njit(error_model="numpy")
def characteristic(chance, sizes, weights, first, n_frequencies, period, smoothing):  # type: ignore[no-untyped-def] # Numba infers them.
    """Characteristic function of the loss over one line, times a narrow normal one."""
    out = np.zeros(n_frequencies, dtype=np.complex128)
    n_nodes = weights.size
    line = np.empty(n_nodes, dtype=np.complex128)
    for index in range(n_frequencies):
        w = 2.0 * math.pi * index / period
        line[:] = 1.0
        for k in range(sizes.size):
            turn = complex(math.cos(w * sizes[k]) - 1.0, math.sin(w * sizes[k]))
            for i in range(first[k], n_nodes):
                line[i] *= 1.0 + chance[k, i] * turn
        total = 0.0j
        for i in range(n_nodes):
            total += weights[i] * line[i]
        out[index] = total * math.exp(-0.5 * (w * smoothing) ** 2)
    return out


def exact_line(model: LossModel, target: Aim, scores: Array, losses: Array, *, node_step: float) -> Array:
    """P(L > x) on one line from the exact conditional law."""
    sizes = model.exposures * model.recoveries.mean[model.recovery]
    total = float(sizes.sum())
    period, smoothing = 1.03 * total, 4e-4 * total
    nodes = np.arange(-0.5, 7.5, node_step)
    weights = node_step * np.exp(-0.5 * nodes**2) / math.sqrt(2.0 * math.pi)
    cell = np.repeat(np.arange(model.n_cells), np.diff(model.cells))
    level = (model.loadings @ (target.basis @ scores))[cell, None] + (model.loadings @ target.direction)[
        cell, None
    ] * nodes
    chance = special.ndtr((model.thresholds[:, None] - level) / model.residual[cell, None])
    first = np.argmax(chance > 1e-13, axis=1)
    first[chance.max(axis=1) <= 1e-13] = nodes.size
    n_frequencies = int(7.0 * period / (2.0 * math.pi * smoothing))
    found = characteristic(chance, sizes, weights, first.astype(np.int64), n_frequencies, period, smoothing)
    frequency = 2.0 * math.pi * np.arange(1, n_frequencies) / period
    top = total + 8.0 * smoothing
    return np.array(
        [
            (
                found[0].real * (top - loss)
                + 2.0
                * np.real(
                    np.sum(
                        found[1:]
                        * (np.exp(-1j * frequency * loss) - np.exp(-1j * frequency * top))
                        / (1j * frequency)
                    )
                )
            )
            / period
            for loss in losses
        ]
    )


def bias(model: LossModel, target: Aim, losses: Array, *, node_step: float) -> dict[str, Any]:
    """Mean relative difference of a line's curve to the exact one, and its standard error."""
    points = sobol_uniforms(
        99, block=0, block_size=8, n_paths=EXACT_LINES, n_dims=target.n_dims, replicates=1
    )
    exact = np.array(
        [exact_line(model, target, special.ndtri(point), losses, node_step=node_step) for point in points]
    )
    book = prepare(model, dataclasses.replace(target, losses=losses))
    found = np.array([curve_block(book, point[None]).above for point in points]) * 2.0**-46
    relative = (found - exact) / exact.mean(axis=0)
    return {
        "losses": losses.tolist(),
        "relative_bias": relative.mean(axis=0).tolist(),
        "standard_error": (relative.std(axis=0, ddof=1) / math.sqrt(EXACT_LINES)).tolist(),
    }


def scrambled(book: PreparedBook, target: Aim, n_points: int, n_replicates: int, seed: int) -> LossCurve:
    """Return the curve of one run."""
    sums = []
    for number in range(n_replicates):
        points = sobol_uniforms(
            seed, number, block=0, block_size=n_points, n_paths=n_points, n_dims=target.n_dims, replicates=1
        )
        sums.append(curve_block(book, points))
    return loss_curve(target.losses, sums, unit=book.unit)


def glasserman_li_gain() -> dict[str, Any]:
    """Part 1 and the bias of part 2."""
    model = glasserman_li()
    losses = np.array(LOSSES)
    aim(model, 0.002)
    start = time.process_time()
    target = aim(model, 0.002)
    target = dataclasses.replace(target, losses=np.sort(np.r_[target.losses, losses]))
    book = prepare(model, target)
    preparation = time.process_time() - start
    generator = np.random.Generator(np.random.SFC64(1))
    plain = np.empty(PLAIN_PATHS)
    arrays = (model.thresholds, model.exposures, model.cells, model.loadings, model.residual)
    plain_losses(generator, *arrays, plain)
    # As one segment it draws one key per path instead of ten.
    sampler = prepare_draws(dataclasses.replace(model, segments=model.segments[[0, -1]]))
    few = draw_systematic(0, block=0, n_factors=model.n_factors, n_paths=100)
    draw_losses(sampler, few, None, [default_generator(0, block=0, segment="all")])
    systematic = bias(model, target, losses, node_step=1.0 / 60.0)
    place = np.searchsorted(target.losses, losses)
    out: dict[str, Any] = {
        "preparation_s": preparation,
        "bias": systematic,
        "expansion_error": expansion_error(model, target),
    }
    plain_seconds = []
    for n_points in POINTS:
        runs, seconds = [], []
        for seed in range(4):
            start = time.process_time()
            plain_losses(generator, *arrays, plain)
            jumps = (time.process_time() - start) / PLAIN_PATHS
            start = time.process_time()
            factors = draw_systematic(seed, block=0, n_factors=model.n_factors, n_paths=PLAIN_PATHS)
            draw_losses(sampler, factors, None, [default_generator(seed, block=0, segment="all")])
            # The faster of the two is what any other method has to beat.
            plain_seconds.append(min(jumps, (time.process_time() - start) / PLAIN_PATHS))
            start = time.process_time()
            curve = scrambled(book, target, n_points, REPLICATES, seed)
            seconds.append(time.process_time() - start)
            runs.append(curve.above[:, place])
        values = np.array(runs)
        per_path = float(np.median(plain_seconds))
        probability = values.mean(axis=(0, 1))
        variance = values.var(axis=1, ddof=1).mean(axis=0) / REPLICATES
        squared_bias = (probability * np.array(systematic["relative_bias"])) ** 2
        plain_cost = probability * (1.0 - probability) * per_path
        took = float(np.median(seconds))
        out[f"{n_points} points a scramble"] = {
            "exceedance": probability.tolist(),
            "relative_standard_error": (np.sqrt(variance) / probability).tolist(),
            "line_us": 1e6 * took / (REPLICATES * n_points),
            "plain_path_us": 1e6 * per_path,
            "gain": (plain_cost / ((variance + squared_bias) * took)).tolist(),
            "gain_without_bias": (plain_cost / (variance * took)).tolist(),
            "gain_with_preparation": (
                plain_cost / ((variance + squared_bias) * (took + preparation))
            ).tolist(),
        }
    return out


def tail_coverage(repetitions: int) -> dict[str, Any]:
    """Part 3."""
    model = random_book()
    target = aim(model, 1.0 - LEVEL)
    book = prepare(model, target)
    start = time.process_time()
    long = scrambled(book, target, 1024, REPLICATES, 10**6)
    line = (time.process_time() - start) / (1024 * REPLICATES)
    truth = {"var": long.var(LEVEL).value, "es": long.es(LEVEL).value}
    found: dict[str, list[tuple[float, bool]]] = {"var": [], "es": []}
    for seed in range(repetitions):
        curve = scrambled(book, target, 64, REPLICATES, seed)
        for name, estimate in (("var", curve.var(LEVEL)), ("es", curve.es(LEVEL))):
            assert estimate.ci_low is not None
            assert estimate.ci_high is not None
            found[name].append((estimate.value, estimate.ci_low <= truth[name] <= estimate.ci_high))
    return {
        "lines": 64 * REPLICATES,
        "repetitions": repetitions,
        "line_us": 1e6 * line,
        "expansion_error": expansion_error(model, target),
        "bias": bias(model, target, np.array([0.8, 1.0, 1.3]) * truth["var"], node_step=1.0 / 24.0),
        **{
            name: {
                "long_run": truth[name],
                "relative_rms_error": math.sqrt(
                    float(np.mean([(value / truth[name] - 1.0) ** 2 for value, _ in rows]))
                ),
                "coverage_95": float(np.mean([inside for _, inside in rows])),
            }
            for name, rows in found.items()
        },
    }


def main() -> None:
    """Measure and print."""
    repetitions = int(sys.argv[1]) if len(sys.argv) > 1 else 300
    record = {
        "machine": {"processor": platform.processor(), "cpus": os.cpu_count(), "load": os.getloadavg()},
        "glasserman_li": glasserman_li_gain(),
        "random_book": tail_coverage(repetitions),
    }
    print(json.dumps(record, indent=1))


if __name__ == "__main__":
    main()
