"""Books that the quadratic does not know: what asking for importance sampling gives over plain paths.

Every trial hands a loss to `prepare_importance` whose tail has little or nothing to do with the derivatives
given: digital, oscillating, quartic, and barriers against the direction of the delta or on another factor,
of several probabilities beside the level's. ``efficiency`` is the variance of the plain tail probability
over that of the set, times paths over paths with their pilot and rejected proposals.

    OMP_NUM_THREADS=1 python -m benchmarks.market_guard [--seeds 12] [--paths 100000]
"""

from __future__ import annotations

import argparse
import json
import math
from collections.abc import Callable, Iterator

import numpy as np
import numpy.typing as npt
from scipy.special import ndtri

from acceleray.risk.blocks import Blocks, Drawn, Stratified
from acceleray.risk.importance import Importance, prepare_importance

FloatArray = npt.NDArray[np.float64]
Loss = Callable[[FloatArray], FloatArray]
N_FACTORS = 5
BLOCK = 4096
DEVIATION = 6.0
# A rejected proposal costs normals but no revaluation.
PROPOSAL = 0.5


def score(levels: FloatArray, factor: int) -> FloatArray:
    """Give the moves of a factor in standard deviations."""
    return np.asarray((levels[:, factor] - 100.0) / DEVIATION)


def losses(level: float) -> Iterator[tuple[str, Loss, FloatArray, FloatArray]]:
    """Name, loss, and the derivatives it is handed over with."""
    first, flat = np.eye(N_FACTORS)[0] / DEVIATION, np.zeros((N_FACTORS, N_FACTORS))
    bent = np.diag(np.full(N_FACTORS, 0.5)) / DEVIATION**2
    yield "digital", lambda x: (np.abs(np.modf(x[:, 0] * 1e4)[0]) < 0.02).astype(float), first, flat
    yield "oscillating", lambda x: np.sin(50.0 * score(x, 0)) + 0.01 * score(x, 0), 0.5 * first, flat
    yield "quartic", lambda x: score(x, 1) ** 4, 1e-6 * first, 1e-6 * bent
    for share in (0.3, 0.7, 1.0, 1.5, 4.0):
        beyond = -ndtri(share * (1.0 - level))

        def against(x: FloatArray, beyond: float = beyond) -> FloatArray:
            return score(x, 0) + 100.0 * (score(x, 0) < -beyond)

        def other(x: FloatArray, beyond: float = beyond) -> FloatArray:
            return score(x, 0) + 100.0 * (score(x, 1) > beyond)

        def small(x: FloatArray, beyond: float = beyond) -> FloatArray:
            return score(x, 0) + 3.0 * (score(x, 1) > beyond)

        def with_gamma(x: FloatArray, beyond: float = beyond) -> FloatArray:
            square = 0.25 * sum(score(x, factor) ** 2 for factor in range(N_FACTORS))
            return np.asarray(square + 50.0 * (score(x, 2) < -beyond))

        yield f"barrier against the delta, {share}", against, first, flat
        yield f"barrier on another factor, {share}", other, first, flat
        yield f"small barrier on another factor, {share}", small, first, flat
        yield f"gamma and a barrier, {share}", with_gamma, 0.0 * first, bent


def efficiency(found: Importance, loss: Loss, level: float, n_paths: int, plain: Drawn) -> float:
    """Precision of the set over that of plain paths, per cost."""
    cost = 1.0 + PROPOSAL * (found.diagnosis.proposals_per_path - 1.0)
    overall = n_paths / (n_paths * cost + found.diagnosis.n_pilot)
    if not isinstance(found.plan, Stratified):
        return overall
    drawn = np.sort(np.concatenate([loss(plain.levels(block)) for block in range(400)]))
    threshold = drawn[math.ceil(level * drawn.size) - 1]
    counts, probability = found.plan.counts, found.plan.strata.probability
    members = np.repeat(np.arange(counts.size), counts)
    n_blocks = min(len(found.blocks), 40)
    hits = sum(
        np.bincount(members, weights=loss(found.levels(block)) > threshold, minlength=counts.size)
        for block in range(n_blocks)
    )
    share = hits / (counts * n_blocks)
    beyond = float((probability * share).sum())
    variance = float((probability**2 * share * (1.0 - share) / counts).sum()) * BLOCK
    return beyond * (1.0 - beyond) / variance * overall if variance > 0.0 else math.inf


def main() -> None:
    """Run every loss, level and seed; print the weakest and those below 0.9."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--seeds", type=int, default=12)
    parser.add_argument("--paths", type=int, default=100_000)
    arguments = parser.parse_args()
    rows = []
    for level in (0.99, 0.999):
        for name, loss, gradient, hessian in losses(level):
            for seed in range(arguments.seeds):
                plain = Drawn(
                    blocks=Blocks(n_scenarios=400 * BLOCK, size=BLOCK),
                    base=np.full(N_FACTORS, 100.0),
                    move_kinds=np.zeros(N_FACTORS, dtype=np.int8),
                    root=DEVIATION * np.eye(N_FACTORS),
                    drift=np.zeros(N_FACTORS),
                    horizon_days=1,
                    step="horizon",
                    seed=seed,
                    dof=None,
                    unit_variance=True,
                    replicates=None,
                )
                asked = Drawn(
                    **{
                        field: getattr(plain, field)
                        for field in plain.__dataclass_fields__
                        if field != "blocks"
                    },
                    blocks=Blocks(n_scenarios=arguments.paths, size=BLOCK),
                )
                found = prepare_importance(asked, loss, gradient, hessian, levels=(level,))
                rows.append(
                    {
                        "loss": name,
                        "level": level,
                        "seed": seed,
                        "method": found.diagnosis.method,
                        "predicted": found.diagnosis.variance_ratios,
                        "efficiency": efficiency(found, loss, level, arguments.paths, plain),
                    }
                )
    rows.sort(key=lambda row: row["efficiency"])
    low = [row for row in rows if row["efficiency"] < 0.9]
    print(json.dumps({"trials": len(rows), "below 0.9": len(low), "weakest": rows[:8]}, indent=1))
    drawn = sum(row["method"] == "importance" for row in rows)
    print(f"{drawn} of {len(rows)} by importance sampling")


if __name__ == "__main__":
    main()
