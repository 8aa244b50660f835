"""The loss curve against exact conditional laws, published values and its own symmetries."""

from __future__ import annotations

import dataclasses
import math

import numpy as np
import numpy.typing as npt
import pytest
from scipy import integrate, special, stats
from tests.unit.numerics.loan_books import glasserman_li, like_loans, mixed_loans

from acceleray.errors import NumericalError
from acceleray.numerics.credit_model import LossModel, default_thresholds
from acceleray.numerics.loss_curve import Aim, CurveSums, aim, curve_block, prepare
from acceleray.numerics.loss_curve_estimates import LossCurve, loss_curve
from acceleray.numerics.loss_curve_loops import curve_lines
from acceleray.numerics.recovery import Recoveries
from acceleray.numerics.sobol import sobol_uniforms

FloatArray = npt.NDArray[np.float64]
NO_POINTS = np.zeros((1, 0))


def scrambles(
    model: LossModel, target: Aim, n_points: int, n_replicates: int, *, seed: int = 1
) -> list[CurveSums]:
    book = prepare(model, target)
    return [
        curve_block(
            book,
            sobol_uniforms(
                seed,
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


def curve_of(model: LossModel, target: Aim, n_points: int = 64, n_replicates: int = 8) -> LossCurve:
    unit = prepare(model, target).unit
    return loss_curve(target.losses, scrambles(model, target, n_points, n_replicates), unit=unit)


def at(target: Aim, losses: list[float]) -> Aim:
    return dataclasses.replace(target, losses=np.array(losses))


def binomial_tail(n: int, default_prob: float, correlation: float, loss: float) -> float:
    """P(L > loss) of equal loans of size one, by adaptive quadrature over the factor."""

    def integrand(z: float) -> float:
        p = special.ndtr(
            (special.ndtri(default_prob) - math.sqrt(correlation) * z) / math.sqrt(1.0 - correlation)
        )
        return float(stats.binom.sf(loss, n, p) * math.exp(-0.5 * z * z) / math.sqrt(2.0 * math.pi))

    return float(integrate.quad(integrand, -10.0, 8.0, epsabs=0.0, epsrel=1e-10, limit=400)[0])


@pytest.mark.parametrize("n", [1000, 5000])
def test_one_factor_matches_adaptive_quadrature_of_the_binomial(n: int) -> None:
    model = like_loans(n, 0.01, 0.2)
    losses = [0.05 * n, 0.1 * n, 0.15 * n]
    sums = curve_block(prepare(model, at(aim(model), [loss + 0.5 for loss in losses])), NO_POINTS)
    found = sums.above * 2.0**-46
    exact = np.array([binomial_tail(n, 0.01, 0.2, loss) for loss in losses])
    # The curve runs smoothly through a lattice of step 1: between two steps it errs by step^2 f'/24.
    hazard = -np.gradient(np.log(exact), losses)
    np.testing.assert_allclose(found, exact, rtol=float(hazard.max() ** 2 / 24.0 + 2e-4))


def test_a_million_like_loans_reach_the_asymptotic_quantile() -> None:
    model = like_loans(1_000_000, 0.01, 0.2)
    target = aim(model)
    curve = loss_curve(target.losses, [curve_block(prepare(model, target), NO_POINTS)], unit=1e6)
    asymptotic = 1e6 * special.ndtr(
        (special.ndtri(0.01) + math.sqrt(0.2) * special.ndtri(0.999)) / math.sqrt(0.8)
    )
    # What is left of the loans' own risk is of order 1 / n.
    assert curve.var(0.999).value == pytest.approx(asymptotic, rel=5e-5)
    assert curve.var(0.999).ci_low is None


def test_glasserman_li_book_meets_the_reference_values() -> None:
    reference = {
        10_000: (0.0112036, 9e-06),
        14_000: (0.0062299, 3e-06),
        18_000: (0.0035794, 2e-06),
        22_000: (0.0020581, 1e-06),
        30_000: (0.00061686, 4e-07),
        40_000: (7.369e-05, 8e-08),
    }
    model = glasserman_li()
    target = at(aim(model, 0.002), [float(loss) for loss in reference])
    values = np.array([sums.above for sums in scrambles(model, target, 256, 16)]) * (2.0**-46 / 256)
    errors = values.std(axis=0, ddof=1) / 4.0
    for index, (value, error) in enumerate(reference.values()):
        assert abs(values[:, index].mean() - value) < 4.0 * math.hypot(errors[index], error)


def test_expected_loss_seen_by_the_lines_is_the_exact_one() -> None:
    model = glasserman_li()
    found = curve_of(model, aim(model, 0.002), 128, 8).expected_loss()
    assert found.ci_high is not None
    # The published expected loss; 1e-3 for the coarse rule of the mean at residuals of 0.2.
    assert found.value == pytest.approx(
        485.28901188, abs=1e-3 * 485.3 + 4.0 * (found.ci_high - found.value) / 2.13
    )


def test_the_t_copula_tends_to_the_gaussian_one() -> None:
    gaussian, nearly = mixed_loans(per_cell=10), mixed_loans(per_cell=10, dof=1e6)
    target = aim(gaussian)
    expected = curve_of(gaussian, target, 256).var(0.99)
    found = curve_of(nearly, dataclasses.replace(aim(nearly), losses=target.losses), 256).var(0.99)
    assert None not in (expected.ci_high, found.ci_high)
    # Tail dependence at a million degrees of freedom moves quantiles by 1e-5; four standard errors of both.
    errors = [
        (float(part.ci_high or 0.0) - part.value) / special.stdtrit(7, 0.975) for part in (expected, found)
    ]
    assert abs(found.value - expected.value) < 1e-5 * expected.value + 4.0 * math.hypot(*errors)


def test_one_factor_t_copula_matches_quadrature_over_both_variables() -> None:
    n, dof = 400, 5.0
    model = like_loans(n, 0.02, 0.2, dof=dof)
    target = at(aim(model), [40.5, 100.5])
    found = np.array([sums.above for sums in scrambles(model, target, 256, 8)]) * (2.0**-46 / 256)
    levels, mass = np.polynomial.legendre.leggauss(200)
    scores, mass = 8.0 * levels, 8.0 * mass * np.exp(-32.0 * levels**2) / math.sqrt(2.0 * math.pi)
    root = np.sqrt(2.0 * special.gammaincinv(0.5 * dof, special.ndtr(scores)) / dof)
    threshold = float(default_thresholds(0.02, dof=dof))
    p = special.ndtr((threshold * root[:, None] - math.sqrt(0.2) * scores) / math.sqrt(0.8))
    for index, loss in enumerate([40, 100]):
        exact = float(mass @ stats.binom.sf(loss, n, p) @ mass)
        error = found[:, index].std(ddof=1) / math.sqrt(8.0)
        # Beside sampling: the lattice, and the step of the lines.
        assert found[:, index].mean() == pytest.approx(exact, abs=4.0 * error + 5e-4 * exact)


def test_larger_exposures_stretch_the_curve() -> None:
    model = mixed_loans(per_cell=10)
    stretched = dataclasses.replace(model, exposures=1e6 * model.exposures)
    one, million = aim(model), aim(stretched)
    np.testing.assert_allclose(million.losses, 1e6 * one.losses, rtol=1e-9)
    same = dataclasses.replace(one, losses=1e6 * one.losses)
    np.testing.assert_allclose(
        scrambles(stretched, same, 16, 1)[0].above, scrambles(model, one, 16, 1)[0].above, rtol=1e-9, atol=32
    )


def test_order_of_equal_thresholds_within_a_cell_does_not_matter() -> None:
    model = dataclasses.replace(
        mixed_loans(per_cell=10), thresholds=np.repeat(default_thresholds([0.01] * 30), 10)
    )
    turned = dataclasses.replace(model, exposures=model.exposures.reshape(30, 10)[:, ::-1].ravel().copy())
    target = aim(model)
    first, second = (scrambles(book, target, 16, 1)[0].above for book in (model, turned))
    # Sums in another order: rounding alone.
    np.testing.assert_allclose(first, second, rtol=1e-10, atol=32)


def test_bits_do_not_depend_on_how_a_scramble_is_cut() -> None:
    model = mixed_loans(per_cell=10)
    target = aim(model)
    book = prepare(model, target)
    points = np.random.default_rng(3).uniform(size=(37, target.n_dims))
    whole = curve_block(book, points)
    for cut in (1, 8, 36):
        parts = curve_block(book, points[cut:]) + curve_block(book, points[:cut])
        np.testing.assert_array_equal(parts.above, whole.above)
        np.testing.assert_array_equal(parts.excess, whole.excess)
        assert (parts.mean, parts.n_points) == (whole.mean, 37)


@pytest.mark.parametrize("default_prob", [0.0, 1e-300])
def test_loans_without_risk_change_nothing(default_prob: float) -> None:
    model = mixed_loans(per_cell=10)
    target = aim(model)
    probability = special.ndtr(model.thresholds).reshape(30, 10)
    probability[:, 0] = default_prob
    without = dataclasses.replace(model, exposures=np.where(np.arange(300) % 10 == 0, 0.0, model.exposures))
    riskless = dataclasses.replace(model, thresholds=default_thresholds(probability.ravel()))
    np.testing.assert_array_equal(
        scrambles(riskless, target, 8, 1)[0].above, scrambles(without, target, 8, 1)[0].above
    )


def test_certain_defaults_shift_the_curve() -> None:
    model = mixed_loans(per_cell=10)
    target = aim(model)
    thresholds = model.thresholds.copy()
    thresholds[9::10] = np.inf
    certain = float(model.exposures[9::10].sum())
    rest = dataclasses.replace(model, exposures=np.where(np.arange(300) % 10 == 9, 0.0, model.exposures))
    shifted = dataclasses.replace(target, losses=target.losses + certain)
    found = scrambles(dataclasses.replace(model, thresholds=thresholds), shifted, 8, 1)[0].above
    np.testing.assert_allclose(found, scrambles(rest, target, 8, 1)[0].above, rtol=1e-9, atol=2.0**46 * 1e-12)


def test_the_curve_falls_and_its_estimates_are_ordered() -> None:
    model = mixed_loans(n_factors=4)
    target = aim(model)
    curve = curve_of(model, target, 32, 4)
    values = [
        curve.exceedance(float(loss)).value for loss in np.geomspace(target.losses[0], target.losses[-1], 200)
    ]
    assert (np.diff(values) <= 0.0).all()
    var, es = curve.var(0.99).value, curve.es(0.99).value
    assert target.losses[0] < var < curve.var(0.999).value < es * 3.0
    assert curve.exceedance(var).value == pytest.approx(0.01, rel=1e-9)
    assert es > var


def test_a_finer_grid_changes_neither_var_nor_es() -> None:
    model = mixed_loans(per_cell=10)
    target = aim(model)
    fine = dataclasses.replace(target, losses=np.geomspace(target.losses[0], target.losses[-1], 768))
    coarse, finer = curve_of(model, target, 32, 2), curve_of(model, fine, 32, 2)
    # Interpolation is to be invisible beside a sampling error of some 1e-4.
    assert coarse.var(0.999).value == pytest.approx(finer.var(0.999).value, rel=1e-5)
    assert coarse.es(0.999).value == pytest.approx(finer.es(0.999).value, rel=1e-5)


@pytest.mark.parametrize("correlation", [0.0, 0.3])
def test_random_recoveries_match_plain_simulation(correlation: float) -> None:
    laws = Recoveries(
        mean=np.array([0.4, 0.6]), std=np.array([0.25, 0.0]), correlation=np.array([correlation, 0.0])
    )
    model = mixed_loans(per_cell=10, recoveries=laws)
    target = at(aim(model), [5.0, 15.0])
    found = np.array([sums.above for sums in scrambles(model, target, 64, 8)]) * (2.0**-46 / 64)
    generator = np.random.default_rng(11)
    losses = np.concatenate([_simulated(model, generator, 4000) for _ in range(10)])
    for index, loss in enumerate(target.losses):
        plain = float((losses > loss).mean())
        error = math.hypot(
            math.sqrt(plain * (1.0 - plain) / losses.size), found[:, index].std() / math.sqrt(8.0)
        )
        assert abs(found[:, index].mean() - plain) < 4.0 * error


def _simulated(model: LossModel, generator: np.random.Generator, n_paths: int) -> FloatArray:
    factors = generator.standard_normal((model.n_factors, n_paths))
    cell = np.repeat(np.arange(model.n_cells), np.diff(model.cells))
    own = generator.standard_normal((model.n_obligors, n_paths))
    defaults = (model.loadings @ factors)[cell] + model.residual[cell, None] * own < model.thresholds[:, None]
    mean, std, r = (
        part[model.recovery]
        for part in (model.recoveries.mean, model.recoveries.std, model.recoveries.correlation)
    )
    costs = np.repeat(mean[:, None], n_paths, axis=1)
    hit, path = np.nonzero(defaults & (std > 0.0)[:, None])
    score = model.systematic_scores(factors)[cell[hit], path]
    u = r[hit] * score + np.sqrt(1.0 - r[hit] ** 2) * generator.standard_normal(hit.size)
    precision = mean[hit] * (1.0 - mean[hit]) / std[hit] ** 2 - 1.0
    costs[hit, path] = special.betaincinv(
        mean[hit] * precision, (1.0 - mean[hit]) * precision, special.ndtr(-u)
    )
    return (model.exposures[:, None] * defaults * costs).sum(axis=0)


def test_a_book_certain_to_lose_everything_does() -> None:
    model = like_loans(10, 1.0, 0.2)
    target = aim(model)
    curve = loss_curve(target.losses, [curve_block(prepare(model, target), NO_POINTS)], unit=10.0)
    # The weights of the nodes add to one but for the end of the line.
    assert curve.exceedance(9.5).value == pytest.approx(1.0, abs=1e-10)
    assert curve.expected_loss().value == pytest.approx(10.0, rel=1e-6)
    with pytest.raises(NumericalError, match="does not reach"):
        curve.var(0.99)


def test_loadings_of_both_signs_match_plain_simulation() -> None:
    model = mixed_loans(per_cell=10)
    loadings = model.loadings.copy()
    loadings[::3, 0] *= -1.0
    loadings[1::4, 2] *= -1.0
    model = dataclasses.replace(model, loadings=loadings)
    target = at(aim(model), [10.0, 20.0])
    found = np.array([sums.above for sums in scrambles(model, target, 64, 8)]) * (2.0**-46 / 64)
    generator = np.random.default_rng(12)
    losses = np.concatenate([_simulated(model, generator, 4000) for _ in range(10)])
    for index, loss in enumerate(target.losses):
        plain = float((losses > loss).mean())
        error = math.hypot(
            math.sqrt(plain * (1.0 - plain) / losses.size), found[:, index].std() / math.sqrt(8.0)
        )
        assert abs(found[:, index].mean() - plain) < 4.0 * error


def test_arrays_of_a_shared_store_compile_nothing_anew() -> None:
    model = mixed_loans(per_cell=10)
    target = aim(model)
    expected = scrambles(model, target, 8, 1)[0].above
    before = len(curve_lines.signatures)
    for part in dataclasses.fields(model):
        value = getattr(model, part.name)
        if isinstance(value, np.ndarray):
            value.flags.writeable = False
    for array in (target.direction, target.basis, target.losses):
        array.flags.writeable = False
    np.testing.assert_array_equal(scrambles(model, target, 8, 1)[0].above, expected)
    assert len(curve_lines.signatures) == before


def test_what_cannot_be_done_is_refused() -> None:
    model = mixed_loans(per_cell=10)
    with pytest.raises(NumericalError, match="tail_prob"):
        aim(model, 0.3)
    with pytest.raises(NumericalError, match="cannot lose"):
        aim(dataclasses.replace(model, exposures=np.zeros(300)))
    target = aim(model)
    book = prepare(model, target)
    with pytest.raises(NumericalError, match="shape"):
        curve_block(book, np.full((4, 9), 0.5))
    with pytest.raises(NumericalError, match="unit cube"):
        curve_block(book, np.full((4, target.n_dims), math.nan))
