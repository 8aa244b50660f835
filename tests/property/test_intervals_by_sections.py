"""Coverage of Sobol intervals and of intervals after stopping early: small versions of the experiments.

`benchmarks/market_coverage_sobol.py` repeats the first 2,000 times.
"""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats
from tests.sampling import sample

from acceleray.numerics import tail
from acceleray.numerics.draws import quasi_dimensions, quasi_moves
from acceleray.numerics.sectioning import sectioned_estimate
from acceleray.numerics.sobol import REPLICATES, replicate_of_paths, sobol_uniforms
from acceleray.numerics.stopping import StoppingRule, decide

LOADINGS = np.random.default_rng(5).normal(size=(4, 4)) / 2.0
WEIGHTS = np.array([1.0, -0.5, 2.0, 0.7])


def _sobol(n_blocks: int, size: int, seed: int, dof: float | None) -> np.ndarray:
    n_dims = quasi_dimensions(4, horizon_days=1, step="daily")
    return np.concatenate(
        [
            quasi_moves(
                sobol_uniforms(seed, 1, block=block, block_size=size, n_paths=size, n_dims=n_dims),
                LOADINGS,
                horizon_days=1,
                step="daily",
                dof=dof,
                unit_variance=False,
            )
            @ WEIGHTS
            for block in range(n_blocks)
        ]
    )


def _truth(law: str, level: float) -> tuple[float, float]:
    """Value at risk and expected shortfall in closed form."""
    if law == "lognormal":
        quantile = np.exp(stats.norm.ppf(level))
        return quantile - 1, np.exp(0.5) * stats.norm.cdf(1 - stats.norm.ppf(level)) / (1 - level) - 1
    if law == "t4":
        quantile = stats.t.ppf(level, 4)
        return quantile, stats.t.pdf(quantile, 4) / (1 - level) * (4 + quantile**2) / 3
    quantile = stats.norm.ppf(level)
    return quantile, stats.norm.pdf(quantile) / (1 - level)


@pytest.mark.parametrize(("law", "dof"), [("normal", None), ("t4", 4.0)])
def test_sobol_intervals_cover(law: str, dof: float | None) -> None:
    trials, size = sample(75, of=150), 128
    replicate = replicate_of_paths(size * REPLICATES, size)
    scale = np.linalg.norm(WEIGHTS @ LOADINGS)
    hits = np.zeros(2)
    for seed in range(trials):
        losses = _sobol(REPLICATES, size, seed, dof)
        sections = [losses[replicate == each] for each in range(REPLICATES)]
        for k, measure in enumerate((tail.var, tail.es)):
            estimate = sectioned_estimate(
                sections, lambda x, m=measure: float(m(x, level=0.95)), confidence=0.95
            )
            hits[k] += estimate.ci_low <= scale * _truth(law, 0.95)[k] <= estimate.ci_high
    # Three standard errors of a frequency over these trials.
    slack = 3 * np.sqrt(0.95 * 0.05 / trials)
    np.testing.assert_allclose(hits / trials, 0.95, atol=slack)


@pytest.mark.parametrize("law", ["normal", "t4", "lognormal"])
@pytest.mark.parametrize(("measure", "level"), [("VaR", 0.99), ("ES", 0.975)])
def test_intervals_cover_after_stopping_early(law: str, measure: str, level: float) -> None:
    trials, size = 200, 256
    rule = StoppingRule(max_paths=400 * size, relative_error=0.05, measure=measure, level=level)
    interval = {"VaR": tail.value_at_risk_interval, "ES": tail.expected_shortfall_interval}[measure]
    truth = _truth(law, level)[measure == "ES"]
    draw = {
        "normal": lambda rng: rng.standard_normal(size),
        "t4": lambda rng: rng.standard_t(4, size),
        "lognormal": lambda rng: np.expm1(rng.standard_normal(size)),
    }[law]
    hits = 0
    for seed in range(trials):
        rng, blocks = np.random.default_rng((3, seed)), []
        while True:
            blocks.append(draw(rng))
            decision = decide(rule, blocks, checked=len(blocks) - 1)
            if decision.stop:
                break
        estimate = interval(np.concatenate(blocks), level=level, confidence=0.95)
        assert estimate.ci_low is not None
        hits += estimate.ci_low <= truth <= (np.inf if estimate.ci_high is None else estimate.ci_high)
    # 0.93 is asked for; three standard errors of a frequency over these trials.
    assert hits / trials >= 0.93 - 3 * np.sqrt(0.93 * 0.07 / trials)


def test_sobol_intervals_cover_after_stopping_early() -> None:
    trials, size, hits = sample(30, of=60), 64, 0
    rule = StoppingRule(max_paths=64 * 16 * size, relative_error=0.01, measure="ES", level=0.95)
    truth = np.linalg.norm(WEIGHTS @ LOADINGS) * _truth("t4", 0.95)[1]
    for seed in range(trials):
        losses = _sobol(64, size, seed, 4.0).reshape(64, size)
        decision = decide(rule, list(losses), replicates=REPLICATES)
        used = losses[: decision.n_blocks - decision.n_blocks % REPLICATES]
        sections = [used[each::REPLICATES].ravel() for each in range(REPLICATES)]
        estimate = sectioned_estimate(sections, lambda x: float(tail.es(x, level=0.95)), confidence=0.95)
        hits += estimate.ci_low <= truth <= estimate.ci_high
    assert hits / trials >= 0.93 - 3 * np.sqrt(0.93 * 0.07 / trials)
