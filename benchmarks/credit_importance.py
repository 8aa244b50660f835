"""Importance sampling of credit losses: variance against plain paths, time, and coverage of every interval.

OMP_NUM_THREADS=1 PYTHONPATH=src:. python -m benchmarks.credit_importance --repetitions 2000
"""

from __future__ import annotations

import argparse
import json
import math
import time

import numpy as np
import numpy.typing as npt
from scipy.special import ndtr
from scipy.stats import chi2

from acceleray.numerics.credit_importance import CYCLE, Aim, aim_importance, draw_importance
from acceleray.numerics.credit_importance_estimates import (
    ImportanceEstimate,
    importance_expected_loss,
    importance_expected_shortfall,
    importance_value_at_risk,
)
from acceleray.numerics.credit_model import LossModel, default_thresholds
from acceleray.numerics.recovery import Recoveries

FloatArray = npt.NDArray[np.float64]
LEVELS = (0.95, 0.99, 0.999)
# P(L > x) of the Glasserman-Li book and its standard error, integrated over 21 factors by scrambled Sobol
# sets with the conditional tail inside (the project's reference cases).
GLASSERMAN_LI = {
    10_000.0: (0.0112036, 9e-6),
    14_000.0: (0.0062299, 3e-6),
    18_000.0: (0.0035794, 2e-6),
    22_000.0: (0.0020581, 1e-6),
    30_000.0: (0.00061686, 4e-7),
    40_000.0: (7.369e-05, 8e-8),
}


def generator(*address: int) -> np.random.Generator:
    return np.random.Generator(np.random.Philox(np.random.SeedSequence(address)))


def glasserman_li_book() -> LossModel:
    """Return the 21-factor book of Glasserman & Li (2005), section 6."""
    m = 1000
    k = np.arange(1, m + 1)
    loadings = np.zeros((m, 21))
    loadings[:, 0] = 0.8
    loadings[np.arange(m), 1 + (k - 1) // 100] = 0.4
    loadings[np.arange(m), 11 + (k - 1) % 100 // 10] = 0.4
    return LossModel(
        thresholds=default_thresholds(np.clip(0.01 * (1.0 + np.sin(16.0 * np.pi * k / m)), 0.0, 1.0)),
        exposures=np.linspace(1.0, 100.0, m),
        recovery=np.zeros(m, dtype=np.int64),
        recoveries=Recoveries(mean=np.ones(1), std=np.zeros(1), correlation=np.zeros(1)),
        cells=np.arange(m + 1),
        loadings=loadings,
        residual=np.full(m, 0.2),
        mean=np.zeros(m),
        systematic=np.full(m, math.sqrt(0.96)),
        segments=np.array([0, m]),
    )


def one_factor_book(
    *,
    n_obligors: int = 60,
    correlation: float = 0.3,
    dof: float = math.inf,
    default_prob: float = 0.02,
    fine: bool = False,
) -> LossModel:
    """Return a small book with whole-numbered losses, lumpy or (nearly) without ties, whose law is known."""
    k = np.arange(n_obligors)
    probabilities = default_prob * (0.4 + 1.2 * k / max(n_obligors - 1, 1))
    return LossModel(
        thresholds=default_thresholds(probabilities, dof=dof),
        exposures=(37.0 + k * k * 13 % 101) if fine else 1.0 + k * 7 % 5,
        recovery=np.zeros(n_obligors, dtype=np.int64),
        recoveries=Recoveries(mean=np.ones(1), std=np.zeros(1), correlation=np.zeros(1)),
        cells=np.array([0, n_obligors]),
        loadings=np.array([[math.sqrt(correlation)]]),
        residual=np.array([math.sqrt(1.0 - correlation)]),
        mean=np.zeros(1),
        systematic=np.array([math.sqrt(correlation)]),
        segments=np.array([0, 1]),
        dof=dof,
    )


def exact_law(model: LossModel) -> FloatArray:
    """Return the probability of each whole-numbered loss of a one-factor book.

    Quadrature over the factor and the mixing variable, recursion over the obligors inside.
    """
    # The trapezoidal rule is exact to rounding: the integrands vanish with all derivatives at both ends. For
    # the mixing variable that holds on the scale of its normal quantile.
    z = np.linspace(-9.0, 9.0, 301)
    z_weights = np.exp(-0.5 * z**2) / math.sqrt(2.0 * math.pi) * (z[1] - z[0])
    if math.isinf(model.dof):
        roots, root_weights = np.ones(1), np.ones(1)
    else:
        u = np.linspace(-7.5, 7.5, 91)
        root_weights = np.exp(-0.5 * u**2) / math.sqrt(2.0 * math.pi) * (u[1] - u[0])
        low = chi2.ppf(ndtr(np.minimum(u, 0.0)), model.dof)
        roots = np.sqrt(np.where(u <= 0.0, low, chi2.isf(ndtr(-np.maximum(u, 0.0)), model.dof)) / model.dof)
    units = np.rint(model.exposures).astype(np.int64)
    total = np.zeros(int(units.sum()) + 1)
    for root, root_weight in zip(roots, root_weights, strict=True):
        law = np.zeros((z.size, total.size))
        law[:, 0] = z_weights
        reached = 0
        shift = model.mean[0] + model.loadings[0, 0] * z
        for threshold, unit in zip(model.thresholds, units, strict=True):
            p = ndtr((threshold * root - shift) / model.residual[0])[:, None]
            moved = law[:, : reached + 1] * p
            law[:, : reached + 1] -= moved
            law[:, unit : reached + unit + 1] += moved
            reached += int(unit)
        total += root_weight * law.sum(axis=0)
    return total


def exact_measures(law: FloatArray) -> dict[str, float]:
    """Return expected loss, and VaR and ES at `LEVELS`, of a law on whole numbers."""
    loss = np.arange(law.size)
    beyond = np.concatenate([np.cumsum(law[::-1])[::-1][1:], [0.0]])
    found = {"EL": float(law @ loss)}
    for level in LEVELS:
        quantile = int(np.argmax(beyond <= 1.0 - level))
        found[f"VaR {level}"] = float(quantile)
        found[f"ES {level}"] = quantile + float(law @ np.maximum(loss - quantile, 0)) / (1.0 - level)
    return found


def measures(losses: FloatArray, weights: FloatArray) -> dict[str, ImportanceEstimate]:
    found = {"EL": importance_expected_loss(losses, weights, confidence=0.95)}
    for level in LEVELS:
        found[f"VaR {level}"] = importance_value_at_risk(losses, weights, level=level, confidence=0.95)
        found[f"ES {level}"] = importance_expected_shortfall(losses, weights, level=level, confidence=0.95)
    return found


def coverage(
    model: LossModel, truth: dict[str, float], *, repetitions: int, n_paths: int, seed: int, n_aims: int
) -> list[dict[str, float | str]]:
    """Share of 95 % intervals that hold the truth; the repetitions share so many aims, each of its pilot."""
    aims = [aim_importance(model, generator(seed, number, 0), n_pilot=800) for number in range(n_aims)]
    covered = dict.fromkeys(truth, 0)
    missing = dict.fromkeys(truth, 0)
    errors: dict[str, list[float]] = {name: [] for name in truth}
    for repetition in range(repetitions):
        aim = aims[repetition % n_aims]
        losses, weights = draw_importance(model, aim, n_paths, generator(seed, repetition, 1))
        for name, estimate in measures(losses.sum(axis=0), weights).items():
            errors[name].append(estimate.value - truth[name])
            if estimate.ci_low is None or estimate.ci_high is None:
                missing[name] += 1
            covered[name] += (
                (-math.inf if estimate.ci_low is None else estimate.ci_low)
                <= truth[name]
                <= (math.inf if estimate.ci_high is None else estimate.ci_high)
            )
    return [
        {
            "measure": name,
            "truth": truth[name],
            "coverage": covered[name] / repetitions,
            "missing_bounds": missing[name] / repetitions,
            "bias": float(np.mean(errors[name])),
            "rmse": float(np.sqrt(np.mean(np.square(errors[name])))),
        }
        for name in truth
    ]


def three_factor_book(*, dof: float = math.inf) -> LossModel:
    """Return a small three-factor book with unlike exposures and random losses given default."""
    n_cells, each = 12, 10
    k = np.arange(n_cells * each)
    loadings = np.zeros((n_cells, 3))
    loadings[:, 0] = 0.5
    loadings[np.arange(n_cells), 1 + np.arange(n_cells) % 2] = 0.3
    length = math.sqrt(0.34)
    return LossModel(
        thresholds=np.sort(
            default_thresholds(0.002 * 10.0 ** ((k * 37) % 120 / 80.0), dof=dof).reshape(n_cells, each),
            axis=1,
        ).ravel(),
        exposures=1.0 + ((k * 53) % 120) / 17.0 + (k % 7) ** 1.5,
        recovery=(k % 3).astype(np.int64),
        recoveries=Recoveries(
            mean=np.array([0.45, 0.6, 0.3]),
            std=np.array([0.0, 0.2, 0.25]),
            correlation=np.array([0.0, 0.0, 0.4]),
        ),
        cells=np.arange(n_cells + 1) * each,
        loadings=loadings,
        residual=np.full(n_cells, math.sqrt(1.0 - length**2)),
        mean=np.zeros(n_cells),
        systematic=np.full(n_cells, length),
        segments=np.array([0, 5, 8, 12]),
        dof=dof,
    )


def long_run(model: LossModel, *, n_paths: int, seed: int) -> dict[str, float]:
    """Measures of one long weighted run, a truth for books without a closed law."""
    aim = aim_importance(model, generator(seed, 0))
    losses, weights = draw_importance(model, aim, n_paths, generator(seed, 1))
    return {name: estimate.value for name, estimate in measures(losses.sum(axis=0), weights).items()}


def exceedances(
    model: LossModel, aim: Aim, thresholds: FloatArray, *, n_paths: int, seed: int
) -> tuple[FloatArray, FloatArray, float]:
    """P(L > x), variance per path and seconds per path of a run."""
    started = time.process_time()
    losses, weights = draw_importance(model, aim, n_paths, generator(seed))
    seconds = (time.process_time() - started) / n_paths
    beyond = weights * (losses.sum(axis=0) > thresholds[:, None])
    cycles = beyond.reshape(thresholds.size, -1, CYCLE).mean(axis=2)
    return cycles.mean(axis=1), CYCLE * cycles.var(axis=1, ddof=1), seconds


def glasserman_li(*, n_paths: int, seeds: range) -> list[dict[str, object]]:
    """Variance of plain indicators over ours, for one run aimed at all levels and one aimed at each alone."""
    model = glasserman_li_book()
    thresholds = np.array(list(GLASSERMAN_LI))
    p = np.array([value[0] for value in GLASSERMAN_LI.values()])
    rows: list[dict[str, object]] = []
    for seed in seeds:
        aim = aim_importance(model, generator(seed, 0))
        found, variance, seconds = exceedances(model, aim, thresholds, n_paths=n_paths, seed=seed)
        alone = [
            exceedances(
                model,
                aim_importance(model, generator(0), losses=(x,)),
                np.array([x]),
                n_paths=n_paths,
                seed=seed,
            )
            for x in thresholds
        ]
        rows.append(
            {
                "seed": seed,
                "us_per_path": seconds * 1e6,
                "z": np.round((found - p) / np.sqrt(variance / n_paths), 2).tolist(),
                "ratio_all": np.round(p * (1.0 - p) / variance, 1).tolist(),
                "ratio_alone": np.round(p * (1.0 - p) / np.array([v[0] for _, v, _ in alone]), 1).tolist(),
                "us_per_path_alone": alone[0][2] * 1e6,
            }
        )
    return rows


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--repetitions", type=int, default=2000)
    parser.add_argument("--coverage-paths", type=int, default=4000)
    parser.add_argument("--paths", type=int, default=100_000)
    parser.add_argument("--seeds", type=int, default=10)
    arguments = parser.parse_args()
    for row in glasserman_li(n_paths=arguments.paths, seeds=range(1, 1 + arguments.seeds)):
        print(json.dumps({"glasserman_li": row}), flush=True)
    for dof in (math.inf, 10.0, 4.0):
        for name, model, truth in (
            ("one factor", fine := one_factor_book(dof=dof, fine=True), exact_measures(exact_law(fine))),
            ("three factors", book := three_factor_book(dof=dof), long_run(book, n_paths=4_000_000, seed=77)),
        ):
            for line in coverage(
                model,
                truth,
                repetitions=arguments.repetitions,
                n_paths=arguments.coverage_paths,
                seed=20_181_228,
                n_aims=arguments.repetitions,
            ):
                print(json.dumps({"book": name, "dof": str(dof), **line}), flush=True)


if __name__ == "__main__":
    main()
