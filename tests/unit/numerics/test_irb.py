"""The granular limit and the Basel formula: limits, monotonicity, and what they refuse."""

from __future__ import annotations

import math
from itertools import pairwise

import numpy as np
import pytest

from acceleray.errors import NumericalError
from acceleray.numerics.irb import (
    IRB_CLASSES,
    PROBABILITY_FLOOR,
    asrf_default_rate,
    conditional_default_probability,
    irb_capital_rate,
    irb_correlation,
    irb_maturity_adjustment,
)

P = np.array([0.0, 1e-300, 0.0003, 0.001, 0.01, 0.05, 0.2, 0.9, 1.0])


class TestGranularLimit:
    def test_it_rises_with_the_level_and_keeps_certainty(self):
        rates = [asrf_default_rate(P, correlation=0.2, level=level) for level in (0.5, 0.9, 0.99, 0.9999)]
        for lower, higher in pairwise(rates):
            assert (higher[2:-1] > lower[2:-1]).all()
        assert all(rate[0] == 0.0 and rate[-1] == 1.0 for rate in rates)

    def test_without_correlation_it_is_the_default_probability(self):
        np.testing.assert_allclose(asrf_default_rate(P[2:], correlation=0.0, level=0.999), P[2:], rtol=1e-14)

    @pytest.mark.parametrize("level", [0.0, 1.0, -1.0, math.nan])
    def test_bad_level(self, level):
        with pytest.raises(NumericalError, match="level"):
            asrf_default_rate(0.01, correlation=0.2, level=level)


class TestBaselFormula:
    def test_correlations_lie_between_their_published_ends(self):
        # BCBS 2006: 24 % to 12 %, 16 % to 3 %, 15 %, 4 %; an SME of 5 million has four points less.
        ends = {
            "corporate": (0.24, 0.12),
            "retail": (0.16, 0.03),
            "mortgage": (0.15, 0.15),
            "qrre": (0.04, 0.04),
        }
        for name, (at_zero, at_one) in ends.items():
            values = irb_correlation(P, asset_class=name)
            assert values.max() <= at_zero
            assert values[0] == pytest.approx(at_zero, abs=0.002)
            # exp(-35) is what is left of the other end.
            assert values[-1] == pytest.approx(at_one, abs=1e-15)
        corporate = irb_correlation(P, asset_class="corporate")
        for sales, less in ((0.0, 0.04), (5.0, 0.04), (27.5, 0.02), (50.0, 0.0), (900.0, 0.0)):
            sme = irb_correlation(P, asset_class="sme", sales=sales)
            np.testing.assert_allclose(corporate - sme, less, atol=1e-15)

    def test_maturity_adjustment_is_one_at_a_year_and_is_held_at_its_ends(self):
        adjustment = irb_maturity_adjustment(0.01, [0.0, 1.0, 2.5, 5.0, 30.0])
        assert adjustment[0] == adjustment[1] == pytest.approx(1.0, abs=1e-15)
        assert adjustment[1] < adjustment[2] < adjustment[3] == adjustment[4]

    @pytest.mark.parametrize("asset_class", sorted(IRB_CLASSES))
    def test_capital_is_sane_for_every_probability(self, asset_class):
        rates = irb_capital_rate(P, 0.4, asset_class=asset_class, maturity_years=2.5, sales=10.0)
        assert (rates[:-1] > 0.0).all()
        # A defaulted exposure has nothing unexpected left: the loss is the expected one.
        assert rates[-1] == 0.0
        floored = irb_capital_rate(
            PROBABILITY_FLOOR, 0.4, asset_class=asset_class, maturity_years=2.5, sales=10.0
        )
        assert (rates[:3] == floored).all()
        double = irb_capital_rate(P, 0.8, asset_class=asset_class, maturity_years=2.5, sales=10.0)
        assert (double == 2 * rates).all()
        nothing = irb_capital_rate(P, 0.0, asset_class=asset_class, maturity_years=2.5, sales=10.0)
        assert (nothing == 0.0).all()

    @pytest.mark.parametrize(
        ("changed", "message"),
        [
            ({"default_prob": math.nan}, "default_prob"),
            ({"default_prob": 1.2}, "default_prob"),
            ({"lgd": -0.1}, "lgd"),
            ({"lgd": math.nan}, "lgd"),
            ({"asset_class": "loan"}, "asset_class must be one of corporate"),
            ({"asset_class": "sme", "sales": None}, "needs sales"),
            ({"asset_class": "sme", "sales": math.nan}, "sales"),
            ({"maturity_years": None}, "needs maturity_years"),
            ({"maturity_years": math.inf}, "maturity_years"),
        ],
    )
    def test_bad_input(self, changed, message):
        arguments = {"default_prob": 0.01, "lgd": 0.45, "asset_class": "corporate", "maturity_years": 2.5}
        with pytest.raises(NumericalError, match=message):
            irb_capital_rate(**(arguments | changed))


class TestConditionalProbability:
    def test_its_mean_over_the_factor_is_the_unconditional_one(self):
        z = np.linspace(-12, 12, 4801)
        weights = np.exp(-(z**2) / 2) / math.sqrt(2 * math.pi) * (z[1] - z[0])
        for p in (1e-6, 0.001, 0.02, 0.4, 0.97):
            mean = weights @ conditional_default_probability(p, z, correlation=0.3)
            # The trapezoidal rule converges faster than any power here; 1e-12 leaves room for rounding.
            assert mean == pytest.approx(p, rel=1e-12)

    def test_low_factor_is_bad(self):
        rates = conditional_default_probability(0.02, np.linspace(-5, 5, 50), correlation=0.15)
        assert (np.diff(rates) < 0).all()

    def test_without_correlation_the_factor_does_not_matter(self):
        rates = conditional_default_probability([0.0, 0.02, 1.0], -3.0, correlation=0.0)
        np.testing.assert_allclose(rates, [0.0, 0.02, 1.0], rtol=1e-14)

    def test_certainty_and_impossibility_survive_every_state(self):
        z = np.array([-40.0, -3.0, 0.0, 3.0, 40.0])
        assert (conditional_default_probability(0.0, z, correlation=0.99) == 0.0).all()
        assert (conditional_default_probability(1.0, z, correlation=0.99) == 1.0).all()

    def test_tiny_probability_is_not_rounded_to_zero(self):
        assert conditional_default_probability(1e-300, 0.0, correlation=0.0) == pytest.approx(
            1e-300, rel=1e-9
        )

    @pytest.mark.parametrize("p", [-1e-9, 1.0000001, math.nan, math.inf])
    def test_bad_probability(self, p):
        with pytest.raises(NumericalError, match="default_prob"):
            conditional_default_probability(p, 0.0, correlation=0.2)

    @pytest.mark.parametrize("rho", [-0.1, 1.0, 1.5, math.nan])
    def test_bad_correlation(self, rho):
        with pytest.raises(NumericalError, match="correlation"):
            conditional_default_probability(0.01, 0.0, correlation=rho)

    def test_bad_factor(self):
        with pytest.raises(NumericalError, match="factor"):
            conditional_default_probability(0.01, [0.0, math.nan], correlation=0.2)
