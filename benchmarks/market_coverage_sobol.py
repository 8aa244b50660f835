"""Count how often 95 % intervals from 16 scrambles of Sobol points cover the truth.

The book is linear and quadratic in ten correlated factors, with short puts on one of them. The truth is the
measure of 16.8 million Sobol points, whose error is far below that of one repetition. Prints one JSON object.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable

import numpy as np
import numpy.typing as npt

from acceleray.numerics.draws import quasi_dimensions, quasi_moves, random_moves
from acceleray.numerics.principal import principal_root
from acceleray.numerics.sectioning import sectioned_estimate
from acceleray.numerics.sobol import REPLICATES, replicate_of_paths, sobol_layout, sobol_uniforms
from acceleray.numerics.tail import Estimate, expected_shortfall, value_at_risk, value_at_risk_interval

FloatArray = npt.NDArray[np.float64]
MEASURES: dict[str, tuple[Callable[..., FloatArray], float]] = {
    "VaR 0.99": (value_at_risk, 0.99),
    "ES 0.975": (expected_shortfall, 0.975),
}


class Book:
    """Losses of a small book, and the root of its factors' covariance."""

    def __init__(self, n_factors: int = 10) -> None:
        rng = np.random.default_rng(5)
        loadings = rng.normal(size=(n_factors, 3))
        spread = np.diag(rng.uniform(0.2, 1.0, n_factors))
        covariance = (loadings @ loadings.T + spread) * 1e-4
        self.delta = rng.normal(size=n_factors) * 100.0
        self.curved = loadings[:, 0]
        self.root = principal_root(covariance, gradient=self.delta)

    def losses(self, moves: FloatArray) -> FloatArray:
        """Loss per row of moves, shape (n_paths,)."""
        curvature = 30.0 * np.sum(moves * self.curved, axis=1) ** 2
        puts = 200.0 * np.maximum(-moves[:, 1] - 0.01, 0.0)
        return -np.sum(moves * self.delta, axis=1) - curvature * np.sign(self.delta[0]) + puts


def sobol_losses(book: Book, *, n_paths: int, block_size: int, seed: int, dof: float | None) -> FloatArray:
    n_paths, size = sobol_layout(n_paths, block_size)
    n_dims = quasi_dimensions(book.root.shape[1], horizon_days=1, step="daily")
    blocks = []
    for block in range(n_paths // size):
        points = sobol_uniforms(seed, 1, block=block, block_size=size, n_paths=size, n_dims=n_dims)
        blocks.append(book.losses(quasi_moves(points, book.root, horizon_days=1, step="daily", dof=dof)))
    return np.concatenate(blocks)


def covers(estimate: Estimate, truth: float) -> bool:
    low = -np.inf if estimate.ci_low is None else estimate.ci_low
    high = np.inf if estimate.ci_high is None else estimate.ci_high
    return bool(low <= truth <= high)


def coverage(
    repetitions: int, *, n_paths: int, block_size: int = 2_048, truth_paths: int = 1 << 24
) -> dict[str, dict[str, float]]:
    """Cover, and variance of plain draws over that of Sobol points, for every law and measure."""
    book, found = Book(), {}
    n_paths, size = sobol_layout(n_paths, block_size)
    replicate = replicate_of_paths(n_paths, size)
    for law, dof in (("normal", None), ("t4", 4.0)):
        large = sobol_losses(book, n_paths=truth_paths, block_size=1 << 16, seed=10**9, dof=dof)
        truth = {name: float(measure(large, level=level)) for name, (measure, level) in MEASURES.items()}
        values: dict[str, list[tuple[float, float, bool]]] = {name: [] for name in MEASURES}
        plain_hits = 0
        for seed in range(repetitions):
            losses = sobol_losses(book, n_paths=n_paths, block_size=size, seed=seed, dof=dof)
            sections = [losses[replicate == each] for each in range(REPLICATES)]
            moves = random_moves(
                np.random.default_rng(seed), book.root, n_paths, horizon_days=1, step="daily", dof=dof
            )
            plain = book.losses(moves)
            for name, (measure, level) in MEASURES.items():
                estimate = sectioned_estimate(
                    sections, lambda paths, m=measure, v=level: float(m(paths, level=v)), confidence=0.95
                )
                hit = covers(estimate, truth[name])
                values[name].append((estimate.value, float(measure(plain, level=level)), hit))
            interval = value_at_risk_interval(plain, level=0.99, confidence=0.95)
            plain_hits += covers(interval, truth["VaR 0.99"])
        for name, rows in values.items():
            sobol, plain_values, hits = np.array(rows, dtype=np.float64).T
            found[f"{law} {name}"] = {
                "cover": float(hits.mean()),
                "truth": truth[name],
                "relative_sd": float(sobol.std() / truth[name]),
                "bias_over_sd": float((sobol.mean() - truth[name]) / sobol.std()),
                "variance_ratio": float(plain_values.var() / sobol.var()),
            }
        found[f"{law} VaR 0.99, plain paths, order statistics"] = {"cover": plain_hits / repetitions}
    return found


if __name__ == "__main__":
    repetitions, n_paths = (int(text) for text in (sys.argv[1:] or ("2000", "16384")))
    started = time.perf_counter()
    result = coverage(repetitions, n_paths=n_paths)
    print(json.dumps({"n_paths": n_paths, "repetitions": repetitions, **result}, indent=1))
    print(f"{time.perf_counter() - started:.0f} s", file=sys.stderr)
