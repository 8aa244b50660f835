"""The default sampler against closed forms, a dense Bernoulli sampler, and its own uncompiled twin."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
from scipy.special import ndtri
from scipy.stats import binom

from acceleray.errors import NumericalError
from acceleray.numerics import credit
from acceleray.numerics.credit import (
    conditional_default_probability,
    default_generator,
    draw_default_losses,
    draw_factors,
    prepare_segment,
)


def draw(default_prob, losses, factors, *, correlation=0.2, seed=1):
    segment = prepare_segment(default_prob, losses, correlation=correlation)
    return draw_default_losses(
        segment, np.asarray(factors, float), default_generator(seed, block=0, segment="s")
    )


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


class TestPreparation:
    def test_bins_cover_all_obligors_and_hold_similar_ones(self):
        p = np.sort(np.exp(np.random.default_rng(3).normal(-5, 2, 5000)).clip(0, 1))
        bins = prepare_segment(p, np.ones(5000), correlation=0.1).bins
        assert bins[0] == 0
        assert bins[-1] == 5000
        assert (np.diff(bins) > 0).all()
        assert (p[bins[1:] - 1] <= credit.BIN_RATIO * p[bins[:-1]]).all()
        assert len(bins) < 60

    def test_long_runs_of_one_grade_are_bins_of_their_own(self):
        p = np.repeat([0.0, 0.010, 0.011, 0.012, 1.0], [100, 100, 3, 100, 2])
        bins = prepare_segment(p, np.ones(len(p)), correlation=0.1).bins
        assert bins.tolist() == [0, 100, 200, 203, 303, 305]

    @pytest.mark.parametrize(
        ("p", "loss", "message"),
        [
            ([0.02, 0.01], [1.0, 1.0], "ascend"),
            ([0.01], [1.0, 1.0], "one length"),
            ([[0.01]], [[1.0]], "vectors"),
            ([0.01], [-1.0], "not negative"),
            ([0.01], [math.nan], "finite"),
            ([0.01], [math.inf], "finite"),
            ([math.nan], [1.0], "default_prob"),
            ([1.1], [1.0], "default_prob"),
        ],
    )
    def test_bad_input(self, p, loss, message):
        with pytest.raises(NumericalError, match=message):
            prepare_segment(p, loss, correlation=0.1)

    def test_bad_correlation_and_factor(self):
        with pytest.raises(NumericalError, match="correlation"):
            prepare_segment([0.1], [1.0], correlation=1.0)
        with pytest.raises(NumericalError, match="factor"):
            draw([0.1], [1.0], [math.nan])


class TestEdges:
    factors = np.linspace(-6, 6, 101)

    def test_nobody(self):
        assert draw([], [], self.factors).tolist() == [0.0] * 101

    def test_no_paths(self):
        assert draw([0.5], [1.0], []).shape == (0,)

    def test_certain_impossible_and_nearly_impossible(self):
        assert (draw([0.0, 0.0, 1e-300, 1.0, 1.0], [5.0, 5.0, 7.0, 1.0, 2.0], self.factors) == 3.0).all()

    def test_nothing_is_lost_where_nothing_is_owed(self):
        assert (draw([0.5, 0.9, 1.0], [0.0, 0.0, 0.0], self.factors) == 0.0).all()

    def test_one_obligor_defaults_as_often_as_it_should(self):
        n = 200_000
        rate = draw([0.03], [1.0], draw_factors(5, block=0, n_paths=n)).mean()
        assert abs(rate - 0.03) < 4 * math.sqrt(0.03 * 0.97 / n)

    @pytest.mark.parametrize("p", [0.001, 0.3, 0.5, 0.99])
    def test_without_correlation_the_count_is_binomial(self, p):
        n, m = 40_000, 40
        counts = draw(np.full(m, p), np.ones(m), np.zeros(n), correlation=0.0)
        k = np.arange(m + 1)
        expected = binom.pmf(k, m, p)
        observed = np.bincount(counts.astype(int), minlength=m + 1) / n
        # Four standard errors, and two paths for the outcomes too rare for that.
        assert (np.abs(observed - expected) < 4 * np.sqrt(expected / n) + 2 / n).all()


class TestExactness:
    def test_every_set_of_defaulters_has_its_exact_probability(self):
        # One bin of unlike obligors, so that candidates are thinned; powers of two tell who defaulted.
        p = np.array([0.20, 0.22, 0.25, 0.29])
        segment = prepare_segment(p, [1.0, 2.0, 4.0, 8.0], correlation=0.3)
        assert len(segment.bins) == 2
        n, z = 200_000, -0.7
        sets = draw_default_losses(segment, np.full(n, z), default_generator(2, block=0, segment="s"))
        observed = np.bincount(sets.astype(int), minlength=16) / n
        conditional = conditional_default_probability(p, z, correlation=0.3)
        for number, who in enumerate(itertools.product([0, 1], repeat=4)):
            flags = np.array(who[::-1])
            exact = np.prod(np.where(flags == 1, conditional, 1 - conditional))
            assert abs(observed[number] - exact) < 4 * math.sqrt(exact * (1 - exact) / n)

    def test_a_dense_sampler_agrees_on_a_mixed_book(self):
        rng = np.random.default_rng(11)
        p = np.sort(np.exp(rng.normal(-3, 1.5, 300)).clip(0, 1))
        loss = rng.lognormal(0, 1, 300)
        n, z = 4000, -1.2
        conditional = conditional_default_probability(p, z, correlation=0.15)
        dense = (rng.random((n, 300)) < conditional) @ loss
        ours = draw(p, loss, np.full(n, z), correlation=0.15)
        variance = np.sum(loss**2 * conditional * (1 - conditional))
        for sample in (dense, ours):
            assert abs(sample.mean() - loss @ conditional) < 4 * math.sqrt(variance / n)
        both = np.sort(np.concatenate([dense, ours]))
        distance = np.abs(
            np.searchsorted(np.sort(dense), both, "right") - np.searchsorted(np.sort(ours), both, "right")
        ).max()
        # Kolmogorov-Smirnov, two samples of n: the 0.1 % point.
        assert distance / n < 1.95 * math.sqrt(2 / n)

    def test_the_compiled_walk_is_the_written_one(self):
        rng = np.random.default_rng(4)
        p = np.sort(np.exp(rng.normal(-3, 1.5, 200)).clip(0, 1))
        segment = prepare_segment(p, rng.lognormal(0, 1, 200), correlation=0.25)
        factors = rng.standard_normal(50)
        written = credit._walk.py_func(
            default_generator(9, block=3, segment="s"),
            factors,
            segment.thresholds,
            segment.losses,
            segment.bins,
            math.sqrt(0.25),
            math.sqrt(0.75),
        )
        compiled = draw_default_losses(segment, factors, default_generator(9, block=3, segment="s"))
        assert written.tolist() == compiled.tolist()


class TestStreams:
    def test_an_address_gives_the_same_bits_every_time(self):
        assert (draw_factors(1, block=2, n_paths=10) == draw_factors(1, block=2, n_paths=10)).all()
        first, second = (default_generator(1, block=2, segment="retail").random(10) for _ in range(2))
        assert (first == second).all()

    def test_addresses_do_not_share_streams(self):
        streams = [draw_factors(seed, block=block, n_paths=5) for seed in (1, 2) for block in (0, 1)]
        streams += [
            ndtri(default_generator(seed, block=block, segment=name).random(5))
            for seed in (1, 2)
            for block in (0, 1)
            for name in ("a", "b", "")
        ]
        assert len({tuple(stream) for stream in streams}) == len(streams)

    def test_a_shorter_block_is_the_beginning_of_a_longer_one(self):
        assert (draw_factors(1, block=0, n_paths=20)[:7] == draw_factors(1, block=0, n_paths=7)).all()
