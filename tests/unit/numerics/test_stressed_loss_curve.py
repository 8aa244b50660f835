"""The loss curve of a book whose factors are stressed: a mean that is not 0, and loadings that shrank.

The oracles know the law of the stressed factors, ``N(mean, covariance)``, and the obligors' loadings before
the stress. They integrate or draw the factors themselves and nothing of the curve's lines.
"""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt
import pytest
from scipy import special, stats

from acceleray.numerics.credit_model import LossModel, default_thresholds
from acceleray.numerics.expected_loss import expected_loss
from acceleray.numerics.loss_curve import Aim, aim, curve_block, prepare
from acceleray.numerics.loss_curve_estimates import LossCurve, loss_curve
from acceleray.numerics.loss_curve_suitability import expansion_error, step_error
from acceleray.numerics.recovery import Recoveries
from acceleray.numerics.sobol import sobol_uniforms

FloatArray = npt.NDArray[np.float64]


def stressed(
    weights: list[list[float]],
    mean: list[float],
    covariance: list[list[float]],
    *,
    sizes: FloatArray,
    default_prob: float,
    dof: float = math.inf,
    laws: Recoveries | None = None,
) -> LossModel:
    """Cells of as many obligors each, with the given weights of factors that are independent at first."""
    before, centre = np.array(weights), np.array(mean)
    n_cells = len(weights)
    # Any root will do; this one is not triangular, as that of the night is.
    values, vectors = np.linalg.eigh(np.array(covariance))
    root = vectors * np.sqrt(np.maximum(values, 0.0))
    length = np.linalg.norm(before, axis=1)
    return LossModel(
        thresholds=default_thresholds(np.full(sizes.size, default_prob), dof=dof),
        exposures=sizes,
        recovery=np.zeros(sizes.size, dtype=np.int64),
        recoveries=laws or Recoveries(mean=np.ones(1), std=np.zeros(1), correlation=np.zeros(1)),
        cells=np.linspace(0, sizes.size, n_cells + 1).astype(np.int64),
        loadings=before @ root,
        residual=np.sqrt(1.0 - length**2),
        mean=before @ centre,
        systematic=length,
        segments=np.array([0, n_cells]),
        dof=dof,
    )


def curve_of(model: LossModel, target: Aim, n_points: int = 256, n_replicates: int = 16) -> LossCurve:
    book = prepare(model, target)
    if not target.n_dims:
        return loss_curve(target.losses, [curve_block(book, np.zeros((1, 0)))], unit=book.unit)
    sums = [
        curve_block(
            book,
            sobol_uniforms(
                3,
                number,
                block=0,
                block_size=n_points,
                n_paths=n_points,
                n_dims=target.n_dims,
                replicates=1,
            ),
        )
        for number in range(n_replicates)
    ]
    return loss_curve(target.losses, sums, unit=book.unit)


class Law:
    """Exact law of losses that are whole numbers."""

    def __init__(self, probabilities: FloatArray) -> None:
        self.p = probabilities
        self.losses = np.arange(probabilities.size)
        self.mean = float(probabilities @ self.losses)
        # Between whole losses the curve runs smoothly: P(L > x) belongs to x + 1/2.
        self.above = np.cumsum(probabilities[::-1])[::-1][1:]

    def exceedance(self, loss: float) -> float:
        return float(self.above[round(loss - 0.5)])

    def var(self, level: float) -> float:
        index = int(np.argmax(self.above < 1.0 - level))
        high, low = self.above[index - 1], self.above[index]
        return index - 0.5 + (math.log(high) - math.log1p(-level)) / (math.log(high) - math.log(low))

    def es(self, level: float) -> float:
        loss = self.var(level)
        return loss + float(self.p @ np.maximum(self.losses - loss, 0.0)) / (1.0 - level)


def trapezoid(mean: float, std: float, n: int = 241) -> tuple[FloatArray, FloatArray]:
    """Nodes and weights for a normal variable; a single node where it does not vary."""
    if std == 0.0:
        return np.array([mean]), np.ones(1)
    z = np.linspace(-9.0, 9.0, n)
    density = np.exp(-0.5 * z * z)
    return mean + std * z, density / density.sum()


def recursion(probability: FloatArray, sizes: FloatArray, weights: FloatArray) -> FloatArray:
    """Mix the laws of independent losses of whole sizes; `probability` has shape (n_nodes, n_obligors)."""
    law = np.zeros((probability.shape[0], int(sizes.sum()) + 1))
    law[:, 0] = 1.0
    reached = 0
    for obligor, size in enumerate(sizes.astype(int)):
        p = probability[:, obligor, None]
        moved = p * law[:, : reached + 1]
        law[:, : reached + 1] *= 1.0 - p
        law[:, size : size + reached + 1] += moved
        reached += size
    found: FloatArray = (law * weights[:, None]).sum(axis=0)
    return found


def check(model: LossModel, law: Law, *, tails: tuple[float, ...] = (0.05, 0.01, 0.001)) -> None:
    """Compare P(L > x), VaR, ES and the expected loss with their exact values."""
    target = aim(model, tails[-1])
    curve = curve_of(model, target)
    # What the method says of its own error.
    share = 1.5 * (expansion_error(model, target) + step_error(model, target)) + 1e-5
    assert share < 4e-3
    for tail in tails:
        level = 1.0 - tail
        exact = law.var(level)
        loss = round(exact) + 0.5
        hazard = density(law, loss) / tail
        # The curve runs smoothly through a lattice of step 1: between two steps it errs by f' / 24.
        wrong = share + hazard**2 / 24.0
        pairs = [
            (curve.exceedance(loss), law.exceedance(loss), wrong),
            (curve.var(level), exact, wrong / (exact * hazard)),
            (curve.es(level), law.es(level), wrong),
        ]
        for found, value, allowed in pairs:
            error = 0.0 if found.ci_high is None else (found.ci_high - found.value) / 2.13
            # Four standard errors of the scrambles; the grid of 96 losses is interpolated to 1e-4.
            assert abs(found.value - value) < (allowed + 1e-4) * value + 4.0 * error
    assert expected_loss(model).sum() == pytest.approx(law.mean, rel=1e-9)
    seen = curve.expected_loss()
    error = 0.0 if seen.ci_high is None else (seen.ci_high - seen.value) / 2.13
    # The coarse rule of the lines' own mean.
    assert abs(seen.value - law.mean) < 2e-3 * law.mean + 4.0 * error


def density(law: Law, loss: float) -> float:
    """Density of the loss, over ten steps."""
    return (law.exceedance(loss - 5.0) - law.exceedance(loss + 5.0)) / 10.0


@pytest.mark.parametrize(("mean", "std"), [(0.0, 1.0), (-1.5, 0.8), (-2.5, 0.3), (0.7, 0.5), (-1.0, 1.0)])
def test_one_factor_matches_dense_quadrature_of_the_exact_recursion(mean: float, std: float) -> None:
    weights, default_prob = [[0.3], [0.45], [0.6]], 0.02
    sizes = np.random.default_rng(3).integers(1, 9, 600).astype(np.float64)
    model = stressed(weights, [mean], [[std * std]], sizes=sizes, default_prob=default_prob)
    factor, mass = trapezoid(mean, std)
    weight = np.repeat([w for (w,) in weights], 200)
    score = (special.ndtri(default_prob) - weight * factor[:, None]) / np.sqrt(1.0 - weight**2)
    check(model, Law(recursion(special.ndtr(score), sizes, mass)))


@pytest.mark.parametrize(
    ("mean", "covariance"),
    [
        # Both move; one was set to a value; they move as one.
        ([-1.2, -0.4], [[0.6, 0.25], [0.25, 0.8]]),
        ([-2.0, -0.5], [[0.0, 0.0], [0.0, 0.75]]),
        ([-0.8, -0.8], [[0.49, 0.49], [0.49, 0.49]]),
    ],
)
def test_two_factors_match_dense_quadrature_of_two_binomials(
    mean: list[float], covariance: list[list[float]]
) -> None:
    weights, default_prob, n = [[0.5, 0.0], [0.25, 0.35]], 0.02, 400
    model = stressed(weights, mean, covariance, sizes=np.ones(2 * n), default_prob=default_prob)
    # The second factor given the first, by the textbook formula.
    (v1, c), (_, v2) = covariance
    gain = c / v1 if v1 > 0.0 else 0.0
    first, mass = trapezoid(mean[0], math.sqrt(v1), 121)
    rest, rest_mass = trapezoid(0.0, math.sqrt(max(v2 - gain * c, 0.0)), 121)
    defaults = np.arange(n + 1)
    total = np.zeros(2 * n + 1)
    for value, outer in zip(first, mass, strict=True):
        second = mean[1] + gain * (value - mean[0]) + rest
        one, other = (
            special.ndtr((special.ndtri(default_prob) - w[0] * value - w[1] * second) / np.sqrt(1.0 - w @ w))
            for w in np.array(weights)
        )
        laws = [stats.binom.pmf(defaults, n, p[:, None]) for p in (one, other)]
        # All-positive products, transformed: absolute errors of 1e-16.
        joint = np.fft.irfft(np.prod([np.fft.rfft(law, 1024) for law in laws], axis=0), 1024)
        total += outer * (rest_mass @ joint[:, : 2 * n + 1])
    check(model, Law(total))


def test_a_t_copula_keeps_its_mixing_variable_under_a_stress() -> None:
    weights, default_prob, n, dof, mean, std = [[0.5]], 0.02, 500, 6.0, -1.0, 0.7
    model = stressed(weights, [mean], [[std * std]], sizes=np.ones(n), default_prob=default_prob, dof=dof)
    threshold = float(stats.t.ppf(default_prob, dof))
    factor, mass = trapezoid(mean, std)
    nodes, gauss = np.polynomial.legendre.leggauss(160)
    # W through its normal score, on [-8, 8].
    density = 8.0 * gauss * np.exp(-32.0 * nodes**2) / math.sqrt(2.0 * math.pi)
    root = np.sqrt(stats.chi2.ppf(special.ndtr(8.0 * nodes), dof) / dof)
    total = np.zeros(n + 1)
    for scale, outer in zip(root, density, strict=True):
        p = special.ndtr((threshold * scale - 0.5 * factor) / math.sqrt(0.75))
        total += outer * (mass @ stats.binom.pmf(np.arange(n + 1), n, p[:, None]))
    check(model, Law(total))


@pytest.mark.parametrize("dof", [math.inf, 5.0])
def test_three_factors_and_a_moving_loss_given_default_match_plain_simulation(dof: float) -> None:
    generator = np.random.default_rng(11)
    weights = generator.uniform(0.1, 0.4, (20, 3))
    mean, covariance = [-1.0, -0.5, 0.3], [[0.5, 0.1, 0.0], [0.1, 0.7, -0.2], [0.0, -0.2, 0.9]]
    sizes, default_prob = np.exp(0.4 * generator.standard_normal(200)), 0.03
    lgd, spread, correlation = 0.4, 0.25, 0.5
    laws = Recoveries(mean=np.array([lgd]), std=np.array([spread]), correlation=np.array([correlation]))
    model = stressed(
        weights.tolist(), mean, covariance, sizes=sizes, default_prob=default_prob, dof=dof, laws=laws
    )
    n_paths = 100_000
    factors = generator.multivariate_normal(mean, covariance, n_paths)
    length = np.sqrt((weights**2).sum(axis=1))
    scale = 1.0 if math.isinf(dof) else np.sqrt(generator.chisquare(dof, n_paths) / dof)
    threshold = special.ndtri(default_prob) if math.isinf(dof) else stats.t.ppf(default_prob, dof)
    precision = lgd * (1.0 - lgd) / spread**2 - 1.0
    losses = np.zeros(n_paths)
    for obligor, size in enumerate(sizes):
        cell = obligor // 10
        systematic = factors @ weights[cell]
        own = math.sqrt(1.0 - length[cell] ** 2) * generator.standard_normal(n_paths)
        (bad,) = np.nonzero(systematic + own < threshold * scale)
        # The score is in standard deviations of the year before the stress.
        u = correlation * systematic[bad] / length[cell]
        u += math.sqrt(1.0 - correlation**2) * generator.standard_normal(bad.size)
        shares = special.betaincinv(lgd * precision, (1.0 - lgd) * precision, special.ndtr(-u))
        losses[bad] += size * shares
    curve = curve_of(model, aim(model, 0.002), 64, 8)
    error = losses.std() / math.sqrt(n_paths)
    assert abs(expected_loss(model).sum() - losses.mean()) < 4.0 * error
    ordered = np.sort(losses)
    for level in (0.95, 0.99):
        # P(L > x) at the sample's quantile is binomial; with it VaR is right.
        loss = float(ordered[int(level * n_paths)])
        found = curve.exceedance(loss)
        assert found.ci_high is not None
        own_error = (found.ci_high - found.value) / special.stdtrit(7, 0.975)
        drawn = math.sqrt(level * (1.0 - level) / n_paths)
        assert abs(found.value - (1.0 - level)) < 4.0 * math.hypot(drawn, own_error)
        beyond = ordered[int(level * n_paths) :]
        es = curve.es(level)
        assert es.ci_high is not None
        es_error = math.hypot(
            beyond.std() / math.sqrt(beyond.size), (es.ci_high - es.value) / special.stdtrit(7, 0.975)
        )
        # The sample's VaR varies too: its part in the variance of ES is level (ES - VaR)^2 / n_beyond.
        es_error = math.hypot(es_error, (beyond.mean() - loss) * math.sqrt(level / beyond.size))
        assert abs(es.value - beyond.mean()) < 4.0 * es_error
