"""The exact loss law against enumeration, closed forms, published values and its own limits."""

from __future__ import annotations

import math
from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
from scipy import integrate, optimize, stats
from scipy.special import ndtr, ndtri, owens_t, stdtrit
from tests.credit_books import book, enumerated, equal_book

from acceleray.errors import NumericalError
from acceleray.numerics.credit_exact import exact_law, suits_exact
from acceleray.numerics.irb import asrf_default_rate

LEVELS = (0.5, 0.9, 0.99, 0.999)


class TestEnumeration:
    @pytest.mark.parametrize(
        ("n", "loadings"), [(11, [[0.5]]), (8, [[0.4, 0.3]]), (7, "own"), (9, [[0.0]])], ids=str
    )
    def test_unlike_obligors(self, n, loadings):
        rng = np.random.default_rng(n)
        if loadings == "own":
            loadings = rng.uniform(-0.6, 0.6, (n, 2))
        model = book(rng.uniform(0.001, 0.3, n), rng.integers(1, 20, n) * 2.5, loadings)
        law = exact_law(model)
        losses, probabilities = enumerated(model, n_nodes=120)
        assert (law.unit, law.exact) == (2.5, True)
        binned = np.bincount(
            np.rint(losses / 2.5).astype(int), weights=probabilities, minlength=law.central.size
        )
        # 120 Gauss points a factor are good to 1e-12 for loadings of 0.6.
        np.testing.assert_allclose(law.central, binned, atol=2e-12)
        # Down to the loss of everything, whose probability has digits of its own.
        assert law.central[-1] == pytest.approx(binned[-1], rel=1e-6)
        for threshold in (0.0, 10.0, 31.0, 40.0):
            found = law.exceedance(threshold)
            assert found.low <= found.value <= found.high
            assert found.value == pytest.approx(probabilities[losses > threshold].sum(), abs=2e-12)
        assert law.expected_loss.value == pytest.approx(losses @ probabilities, rel=1e-11)

    def test_a_stress_of_the_factors(self):
        # A mean of 0.7 in the systematic part, and loadings shrunk by it.
        plain = book([0.01, 0.05, 0.2], [1.0, 2.0, 4.0], [0.5])
        model = replace(plain, mean=np.full(3, -0.7), loadings=0.8 * plain.loadings)
        losses, probabilities = enumerated(model)
        law = exact_law(model)
        np.testing.assert_allclose(
            law.central, np.bincount(losses.astype(int), weights=probabilities), atol=1e-13
        )
        single = ndtr((model.thresholds + 0.7) / np.sqrt(0.16 + model.residual**2))
        assert law.expected_loss.value == pytest.approx(single @ model.exposures, rel=1e-12)


class TestPublishedBooks:
    # shared case exchangeable-gaussian: quadrature over the factor and the binomial law.
    def test_100_obligors(self):
        law = exact_law(equal_book(100, 0.05, 0.05))
        assert law.exceedance(19).value == pytest.approx(0.00112117249, abs=5e-12)

    def test_1000_obligors(self):
        law = exact_law(equal_book(1000, 0.01, 0.2))
        assert [law.var(level).value for level in (0.95, 0.99, 0.999)] == [38, 76, 147]
        for level, es in ((0.95, 62.529859), (0.99, 106.431977), (0.999, 183.26286)):
            assert law.es(level).value == pytest.approx(es, abs=1e-6)
        for least, probability in ((50, 0.029586212863), (100, 0.004415267855), (150, 0.000933283121)):
            assert law.exceedance(least - 1).value == pytest.approx(probability, abs=1e-12)

    def test_250_obligors(self):
        law = exact_law(equal_book(250, 0.01, 0.25))
        assert [law.var(level).value for level in (0.95, 0.99, 0.999)] == [11, 23, 47]
        assert law.exceedance(24).value == pytest.approx(0.0087969694, abs=5e-11)
        assert law.exceedance(62).value == pytest.approx(0.000283123, abs=5e-10)

    def test_scipy_finds_the_same(self):
        # Adaptive quadrature of the binomial survival function: neither our rule nor our law.
        def integrand(z, k):
            p = ndtr((ndtri(0.02) - math.sqrt(0.15) * z) / math.sqrt(0.85))
            return stats.norm.pdf(z) * stats.binom.sf(k, 60, p)

        law = exact_law(equal_book(60, 0.02, 0.15))
        for k in (0, 3, 12, 30):
            direct, _ = integrate.quad(integrand, -9.0, 9.0, args=(k,), epsabs=1e-13, limit=200)
            assert law.exceedance(k).value == pytest.approx(direct, abs=1e-12)


class TestNarrowSteps:
    @pytest.mark.parametrize("correlation", [0.9, 0.9996])
    def test_obligors_that_nearly_always_default_together(self, correlation):
        # Given the factor a default is nearly certain or impossible; Owen's function knows the joint law.
        x = ndtri(0.003)
        exact = 0.003 - 2.0 * owens_t(x, math.sqrt((1.0 - correlation) / (1.0 + correlation)))
        law = exact_law(book([0.003, 0.003], [1.0, 1.0], [math.sqrt(correlation)]))
        assert law.central[2] == pytest.approx(exact, abs=1e-13)
        assert law.error < 1e-10


class TestGranularLimit:
    def test_the_quantile_approaches_it_as_the_book_grows(self):
        gaps = []
        for n in (100, 10_000, 1_000_000):
            rate = exact_law(equal_book(n, 0.01, 0.12)).var(0.999).value / n
            gaps.append(rate - float(asrf_default_rate(0.01, correlation=0.12, level=0.999)))
        assert 0.0 < gaps[2] < gaps[1] < gaps[0]
        # The gap falls as 1 / n (Gordy 2003), here by steps of 1 / n.
        assert gaps[1] == pytest.approx(gaps[0] / 100, rel=0.15)
        assert gaps[2] < gaps[1] / 100 + 1e-6

    def test_without_correlation_the_law_is_binomial(self):
        law = exact_law(equal_book(1000, 0.01, 0.0))
        np.testing.assert_allclose(law.central, stats.binom(1000, 0.01).pmf(np.arange(1001)), atol=1e-14)


class TestStudentCopula:
    @pytest.mark.parametrize("dof", [2.5, 4.0, 30.0])
    def test_one_obligor_defaults_as_stated(self, dof):
        law = exact_law(book([0.01], [1.0], [0.6], dof=dof))
        assert law.exceedance(0.0).value == pytest.approx(0.01, abs=1e-13)

    @pytest.mark.parametrize("dof", [3.0, 10.0])
    def test_two_obligors_default_together_as_the_bivariate_law_says(self, dof):
        # Owen's function gives the bivariate normal probability; adaptive quadrature adds the chi-square.
        correlation, threshold = 0.36, stdtrit(dof, 0.02)

        def joint(w):
            x = threshold * math.sqrt(w / dof)
            ratio = math.sqrt((1.0 - correlation) / (1.0 + correlation))
            return stats.chi2.pdf(w, dof) * (ndtr(x) - 2.0 * owens_t(x, ratio))

        parts = [integrate.quad(joint, a, b, epsabs=1e-14)[0] for a, b in ((0, 1), (1, 10), (10, 200))]
        law = exact_law(book([0.02, 0.02], [1.0, 1.0], [0.6], dof=dof))
        assert law.central[2] == pytest.approx(sum(parts), abs=1e-12)

    def test_it_becomes_gaussian_as_the_degrees_of_freedom_grow(self):
        gaussian = exact_law(equal_book(50, 0.02, 0.2))
        gaps = [
            np.abs(
                exact_law(equal_book(50, 0.02, 0.2, dof=dof), tolerance=1e-9).central - gaussian.central
            ).max()
            for dof in (1e2, 1e4, 1e6)
        ]
        # Of first order in 1 / dof.
        assert gaps[0] / gaps[1] == pytest.approx(100.0, rel=0.1)
        assert gaps[1] / gaps[2] == pytest.approx(100.0, rel=0.1)

    @pytest.mark.parametrize("dof", [4.0, 20.0])
    def test_large_books_approach_their_own_limit(self, dof):
        # The loss rate of infinitely many equal obligors is Phi(Y / b) with Y = x sqrt(W / nu) - a Z, whose
        # distribution function is one integral. The Gaussian formula does not hold.
        a, b, x = math.sqrt(0.2), math.sqrt(0.8), stdtrit(dof, 0.01)

        def below(y):
            def integrand(w):
                return stats.chi2.pdf(w, dof) * ndtr((y - x * math.sqrt(w / dof)) / a)

            edges = (0.0, 0.2, 1.0, 5.0, 20.0, 80.0, 200.0)
            return sum(integrate.quad(integrand, *edge, epsabs=1e-12)[0] for edge in pairwise(edges))

        limit = float(ndtr(optimize.brentq(lambda y: below(y) - 0.999, -3.0, 3.0, xtol=1e-10) / b))
        assert limit > 1.3 * float(asrf_default_rate(0.01, correlation=0.2, level=0.999))
        gaps = [
            exact_law(equal_book(n, 0.01, 0.2, dof=dof), tolerance=1e-7).var(0.999).value / n - limit
            for n in (100, 1600)
        ]
        # The gap falls as 1 / n; a quantile is rounded up by less than one obligor.
        assert abs(gaps[1]) < abs(gaps[0]) / 16 + 1.0 / 1600

    def test_its_tail_is_heavier(self):
        gaussian, student = (exact_law(equal_book(250, 0.01, 0.25, dof=dof)) for dof in (math.inf, 4.0))
        assert student.var(0.999).value > 2.0 * gaussian.var(0.999).value
        assert student.expected_loss.value == pytest.approx(2.5, rel=1e-10)


class TestEdges:
    def test_certain_impossible_and_nearly_impossible_defaults(self):
        law = exact_law(book([0.0, 1.0, 1e-300, 0.1], [1.0, 2.0, 4.0, 8.0], [0.5]))
        found = {int(k): law.central[k] for k in np.flatnonzero(law.central > 1e-25)}
        assert found == pytest.approx({2: 0.9, 10: 0.1}, abs=1e-14)
        assert law.losses[-1] == 15.0

    @pytest.mark.parametrize(
        "model",
        [
            book([0.0, 0.0], [1.0, 2.0], [0.5]),
            book([0.1, 0.2], [0.0, 0.0], [0.5]),
            book([0.1, 0.2], [5.0, 5.0], [0.5], lgd=(0.0, 0.0, 0.0)),
        ],
        ids=["never", "nothing", "recovered"],
    )
    def test_a_book_that_cannot_lose(self, model):
        law = exact_law(model)
        assert law.expected_loss.value == 0.0
        assert (law.var(0.999).value, law.es(0.999).value, law.exceedance(0.0).value) == (0.0, 0.0, 0.0)
        assert law.exceedance(-1.0).value == 1.0

    def test_duplicated_obligors_are_two(self):
        p, exposures = np.array([0.01, 0.05, 0.2]), np.array([3.0, 1.0, 2.0])
        twice = book(np.tile(p, 2), np.tile(exposures, 2), [0.5])
        # The same obligors, too unlike to be counted together.
        apart = book(np.append(p, p * (1.0 + 1e-13)), np.tile(exposures, 2), [0.5])
        losses, probabilities = enumerated(twice)
        binned = np.bincount(losses.astype(int), weights=probabilities)
        np.testing.assert_allclose(exact_law(twice).central, binned, atol=1e-13)
        np.testing.assert_allclose(exact_law(apart).central, binned, atol=1e-13)

    def test_order_changes_no_bit(self):
        rng = np.random.default_rng(4)
        p, exposures, loadings = rng.uniform(0, 0.2, 12), rng.integers(1, 9, 12), rng.uniform(0, 0.6, (12, 2))
        order = rng.permutation(12)
        one = exact_law(book(p, exposures, loadings))
        other = exact_law(book(p[order], exposures[order], loadings[order]))
        assert (one.central == other.central).all()

    def test_scale_of_currency_changes_no_probability(self):
        p, exposures = [0.01, 0.05, 0.2], np.array([3.0, 1.0, 2.0])
        one, other = (exact_law(book(p, scale * exposures, [0.5])) for scale in (1.0, 1e9))
        np.testing.assert_allclose(one.central, other.central, rtol=1e-14)
        assert other.var(0.99).value == 1e9 * one.var(0.99).value

    def test_a_segment_is_a_book_and_expected_losses_add_up(self):
        rng = np.random.default_rng(6)
        p, exposures, loadings = rng.uniform(0, 0.2, 9), rng.integers(1, 9, 9), rng.uniform(0, 0.6, (9, 2))
        whole = book(p, exposures, loadings, segments=[0, 4, 9])
        parts = [exact_law(whole.segment(number)) for number in range(2)]
        alone = exact_law(book(p[:4], exposures[:4], loadings[:4]))
        assert (parts[0].central == alone.central).all()
        total = exact_law(whole)
        assert sum(part.expected_loss.value for part in parts) == pytest.approx(
            total.expected_loss.value, rel=1e-12
        )
        # Shortfall is subadditive.
        assert total.es(0.99).value <= sum(part.es(0.99).value for part in parts)

    def test_level_and_tolerance_are_checked(self):
        law = exact_law(equal_book(10, 0.1, 0.2))
        for bad in (0.0, 1.0, math.nan):
            with pytest.raises(NumericalError, match="level"):
                law.var(bad)
        with pytest.raises(NumericalError, match="loss"):
            law.exceedance(math.nan)
        with pytest.raises(NumericalError, match="tolerance"):
            exact_law(equal_book(10, 0.1, 0.2), tolerance=0.0)
        with pytest.raises(NumericalError, match="method"):
            exact_law(equal_book(10, 0.1, 0.2), method="guess")


class TestRandomLosses:
    def test_beta_losses_of_one_obligor(self):
        # P(loss > x) = p P(Beta > x / exposure), whatever the copula.
        mean, std = 0.45, 0.2
        model = book([0.03], [100.0], [0.4], lgd=(mean, std, 0.0))
        law = exact_law(model, unit=0.5)
        precision = mean * (1.0 - mean) / std**2 - 1.0
        share = stats.beta(mean * precision, (1.0 - mean) * precision)
        for loss in (0.0, 10.0, 45.3, 80.0):
            found, exact = law.exceedance(loss), 0.03 * share.sf(loss / 100.0)
            assert found.low <= exact <= found.high
        assert law.expected_loss.value == pytest.approx(0.03 * 45.0, rel=1e-8)

    def test_correlated_losses_of_one_obligor(self):
        # Direct: both normals of the stated map by Gauss and Legendre.
        p, loading, r, mean, std = 0.05, 0.5, 0.6, 0.4, 0.2
        x, w = np.polynomial.legendre.leggauss(300)
        x, w = 8.5 * x, 8.5 * w * stats.norm.pdf(8.5 * x)
        z, eta = np.meshgrid(x, x, indexing="ij")
        precision = mean * (1.0 - mean) / std**2 - 1.0
        # The systematic score of a single factor is the factor.
        lgd = stats.beta.ppf(ndtr(-(r * z + 0.8 * eta)), mean * precision, (1.0 - mean) * precision)
        default = ndtr((ndtri(p) - loading * z) / math.sqrt(1.0 - loading**2))
        direct = float(w @ (default * lgd) @ w)
        assert direct > 1.2 * p * mean
        law = exact_law(book([p], [1.0], [loading], lgd=(mean, std, r)), unit=0.01)
        assert law.expected_loss.value == pytest.approx(direct, rel=1e-6)
        assert law.expected_loss.low <= direct <= law.expected_loss.high

    @pytest.mark.parametrize("lgd", [(0.45, 0.2, 0.0), (0.45, 0.2, 0.5)])
    def test_both_methods_agree(self, lgd):
        rng = np.random.default_rng(9)
        model = book(rng.uniform(0, 0.1, 10), rng.uniform(1, 5, 10), [0.5], lgd=lgd)
        laws = [exact_law(model, unit=0.25, method=method) for method in ("recursion", "transform")]
        for name in ("lower", "central", "upper"):
            np.testing.assert_allclose(getattr(laws[0], name), getattr(laws[1], name), atol=1e-14)
        assert [law.method for law in laws] == ["recursion", "transform"]


class TestStatedError:
    @pytest.mark.parametrize(
        ("method", "dof"), [("recursion", math.inf), ("transform", math.inf), ("recursion", 5.0)]
    )
    def test_it_bounds_the_true_one(self, method, dof):
        rng = np.random.default_rng(12)
        model = book(rng.uniform(0, 0.05, 12), rng.integers(1, 6, 12), [0.6], dof=dof)
        best = exact_law(model, tolerance=1e-13)
        for tolerance in (1e-2, 1e-4, 1e-6):
            law = exact_law(model, tolerance=tolerance, method=method)
            difference = np.abs(np.cumsum(law.central - best.central))
            assert difference.max() <= law.error <= tolerance + 1e-13
            assert abs(law.es(0.99).value - best.es(0.99).value) <= law.es(0.99).high - law.es(0.99).value
            assert law.n_nodes <= best.n_nodes

    def test_splitting_converges_with_the_square_of_the_unit(self):
        rng = np.random.default_rng(15)
        model = book(rng.uniform(0, 0.05, 40), rng.lognormal(0.0, 1.0, 40), [0.5])
        fine = exact_law(model, unit=0.002)
        gaps = [abs(exact_law(model, unit=unit).es(0.99).value - fine.es(0.99).value) for unit in (0.4, 0.1)]
        widths = [law.high - law.low for law in (exact_law(model, unit=u).es(0.99) for u in (0.4, 0.1))]
        # The central value is far better than the bracket says; the bracket falls with the unit itself.
        assert widths[1] == pytest.approx(widths[0] / 4.0, rel=0.2)
        assert gaps[0] < 0.02 * widths[0]
        assert gaps[1] < 0.02 * widths[1]


class TestNearTies:
    def test_a_level_that_a_probability_meets(self):
        # Without correlation P(L <= 0) = 0.9 x 0.9 = 0.81 is within rounding of the level.
        law = exact_law(book([0.1, 0.1], [1.0, 1.0], [0.0]))
        found = law.near_ties(0.81)
        assert found.candidates.tolist() == [0.0, 1.0]
        assert "near-tie: VaR 0.81 is 0" in found.note
        assert "error bounds from the level; 1 cannot be excluded" in found.note
        assert law.near_ties(0.82).note == ""
        assert law.var(0.81).low <= 0.0 < law.var(0.81).high


class TestSuitability:
    def test_small_books_suit(self):
        assert suits_exact(equal_book(1000, 0.01, 0.2)) is None
        assert suits_exact(equal_book(250, 0.01, 0.2, dof=4.0)) is None

    def test_many_factors_do_not_unless_the_loadings_span_few(self):
        rng = np.random.default_rng(0)
        spread = book(np.full(6, 0.1), np.ones(6), rng.uniform(0, 0.4, (6, 5)))
        assert "span 5 directions" in suits_exact(spread)
        with pytest.raises(NumericalError, match="span 5 directions"):
            exact_law(spread)
        assert suits_exact(book(np.full(6, 0.1), np.ones(6), rng.uniform(0, 0.4, 5))) is None

    def test_what_is_too_dear_is_refused_with_a_number(self):
        model = equal_book(1000, 0.01, 0.2, dof=4.0)
        assert "additions" in suits_exact(model, 1e6)
        with pytest.raises(NumericalError, match="within the budget"):
            exact_law(model, budget=1e6)
        unlike = book(np.linspace(0.01, 0.1, 200), np.sqrt(np.arange(1.0, 201.0)), [0.5])
        assert "additions" in suits_exact(unlike, 1e6)


def test_loadings_of_almost_one_are_refused_before_they_take_the_memory():
    with pytest.raises(NumericalError, match="more than a million nodes along a factor"):
        exact_law(equal_book(3, 0.02, 1.0 - 1e-11))
