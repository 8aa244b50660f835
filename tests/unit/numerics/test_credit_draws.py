"""The sampler of factor models against enumeration, a plain twin in NumPy, and its own streams."""

from __future__ import annotations

import itertools
import math
from dataclasses import replace

import numpy as np
import pytest
from tests.loss_books import loan_book, simulate, streams

from acceleray.errors import NumericalError
from acceleray.numerics import credit
from acceleray.numerics.conditional import conditional_default_probabilities
from acceleray.numerics.credit import (
    default_generator,
    draw_defaults,
    draw_losses,
    draw_mixing,
    draw_systematic,
    prepare_draws,
)
from acceleray.numerics.recovery import moments

RNG = np.random.default_rng(8)


def mixed_book(dof=math.inf, laws=((0.45, 0.0, 0.0), (0.5, 0.25, 0.4))):
    """Two segments of small and large cells, with equal and unlike thresholds."""
    sizes = [1, 900, 3, 600, 1, 1]
    cells = np.concatenate([[0], np.cumsum(sizes)])
    p = [np.sort(RNG.uniform(0.005, 0.02, n)) for n in sizes]
    p[1][:500] = p[1][500]
    n = int(cells[-1])
    return loan_book(
        np.concatenate(p),
        RNG.lognormal(0, 1, n),
        RNG.uniform(-0.2, 0.5, (6, 3)),
        cells=cells,
        segments=[0, 4, 6],
        laws=laws,
        law=np.arange(n) % len(laws),
        dof=dof,
    )


def block(model, n_paths, seed=1):
    factors = draw_systematic(seed, block=0, n_factors=model.n_factors, n_paths=n_paths)
    return factors, draw_mixing(seed, block=0, n_paths=n_paths, dof=model.dof)


def xoshiro(words):
    """Blackman and Vigna's xoshiro256++ in Python's own integers."""
    full = 2**64 - 1
    s = [int(word) for word in words]

    def rotated(x, k):
        return ((x << k) | (x >> (64 - k))) & full

    while True:
        yield (rotated((s[0] + s[3]) & full, 23) + s[0]) & full
        moved = (s[1] << 17) & full
        s[2] ^= s[0]
        s[3] ^= s[1]
        s[1] ^= s[2]
        s[0] ^= s[3]
        s[2] ^= moved
        s[3] = rotated(s[3], 45)


def test_small_cells_are_one_comparison_per_obligor_and_path():
    # From hopeless to certain, so that every shortcut of the compiled loop is taken.
    p = np.array([0.0, 1e-300, 0.001, 0.02, 0.1, 0.5, 0.8, 0.99, 1.0])
    model = loan_book(p, 2.0 ** np.arange(9), np.repeat([[0.6, -0.5]], 9, axis=0), dof=5.0)
    factors, mixing = block(model, 300)
    found = draw_losses(prepare_draws(model), factors, mixing, streams(model))[0]
    keys = streams(model)[0].integers(0, 2**64 - 1, size=(300, 6), dtype=np.uint64, endpoint=True)
    conditional = conditional_default_probabilities(model, factors, mixing)
    for path in range(300):
        numbers = xoshiro(keys[path, :4])
        uniforms = [((next(numbers) >> 12) + 0.5) * 2.0**-52 for _ in range(9)]
        assert found[path] == model.exposures @ (uniforms < conditional[:, path])


@pytest.mark.parametrize("jumps", [False, True])
def test_every_set_of_defaulters_has_its_exact_probability(monkeypatch, jumps):
    # One cell of unlike obligors, so that candidates of a jump are thinned; powers of two tell who defaulted.
    if jumps:
        monkeypatch.setattr(credit, "OBLIGOR_COST", 1e6)
        monkeypatch.setattr(credit, "BIN_RATIO", 2.0)
    model = loan_book([0.20, 0.22, 0.25, 0.29], [1.0, 2.0, 4.0, 8.0], [0.5], cells=[0, 4])
    prepared = prepare_draws(model)
    assert len(prepared.bins) == (1 if jumps else 0)
    n = 200_000
    factors = np.full((1, n), -0.7)
    sets = draw_losses(prepared, factors, None, streams(model))[0]
    observed = np.bincount(sets.astype(int), minlength=16) / n
    conditional = conditional_default_probabilities(model, factors[:, :1])[:, 0]
    for number, who in enumerate(itertools.product([0, 1], repeat=4)):
        flags = np.array(who[::-1])
        exact = np.prod(np.where(flags == 1, conditional, 1 - conditional))
        assert abs(observed[number] - exact) < 4 * math.sqrt(exact * (1 - exact) / n)


@pytest.mark.parametrize("dof", [math.inf, 4.0])
def test_means_given_the_factors_obligor_by_obligor(dof):
    model = mixed_book(dof)
    prepared = prepare_draws(model)
    assert len(prepared.bins) > 2
    assert (np.diff(prepared.bin_cells) == 0).any()
    n = 4000
    factors = np.repeat(np.array([[-1.5], [-0.5], [0.3]]), n, axis=1)
    mixing = None if math.isinf(dof) else np.full(n, 2.0)
    found = draw_defaults(prepared, factors, mixing, streams(model), np.arange(n))
    p = conditional_default_probabilities(model, factors[:, :1], None if mixing is None else mixing[:1])[:, 0]
    counts = np.bincount(found.obligor, minlength=model.n_obligors)
    score = (counts - n * p) / np.sqrt(n * p * (1 - p))
    # 1,500 scores of about unit variance: the largest stays below 5, and their mean square is near 1.
    assert np.abs(score).max() < 5
    assert abs((score**2).mean() - 1) < 4 * math.sqrt(2 / score.size) + 0.1
    # Mean recovery of the correlated law, over all its defaults in one state of the economy.
    cell = np.repeat(np.arange(model.n_cells), np.diff(model.cells))
    random = model.recovery[found.obligor] == 1
    share = found.loss[random] / model.exposures[found.obligor[random]]
    m = moments(model.recoveries, model.systematic_scores(factors[:, :1])[:, 0])[
        :, 1, cell[found.obligor[random]]
    ]
    spread = math.sqrt((m[1] - m[0] ** 2).sum())
    assert abs((share - m[0]).sum()) < 4 * spread


def test_chosen_paths_drawn_again_give_the_same_bits():
    model = mixed_book(4.0)
    prepared = prepare_draws(model)
    factors, mixing = block(model, 700)
    losses = draw_losses(prepared, factors, mixing, streams(model))
    chosen = np.array([0, 3, 255, 256, 699])
    found = draw_defaults(prepared, factors, mixing, streams(model), chosen)
    first_of_second = model.cells[model.segments[1]]
    for path in chosen:
        for segment in (0, 1):
            of = (found.path == path) & ((found.obligor >= first_of_second) == bool(segment))
            total = 0.0
            for loss in found.loss[of]:
                total += loss
            assert total == losses[segment, path]
    assert set(found.path) <= set(chosen)


def test_a_shorter_block_is_the_beginning_of_a_longer_one():
    model = mixed_book(4.0)
    prepared = prepare_draws(model)
    factors, mixing = block(model, 600)
    whole = draw_losses(prepared, factors, mixing, streams(model))
    short_factors, short_mixing = block(model, 300)
    assert (short_factors == factors[:, :300]).all()
    assert (short_mixing == mixing[:300]).all()
    assert (draw_losses(prepared, short_factors, short_mixing, streams(model)) == whole[:, :300]).all()


def test_a_segment_left_alone_keeps_its_losses():
    model = mixed_book(4.0)
    factors, mixing = block(model, 300)
    base = draw_losses(prepare_draws(model), factors, mixing, streams(model))
    stressed = model.thresholds.copy()
    stressed[model.cells[4] :] = 0.1
    shocked = draw_losses(prepare_draws(replace(model, thresholds=stressed)), factors, mixing, streams(model))
    assert (shocked[0] == base[0]).all()
    assert (shocked[1] >= base[1]).all()
    assert (shocked[1] > base[1]).any()
    alone = draw_losses(prepare_draws(model.segment(1)), factors, mixing, streams(model)[1:])
    assert (alone[0] == base[1]).all()


def test_a_worse_book_never_loses_less_on_the_same_path():
    # Small cells compare the same uniform with a larger probability, and recoveries keep their own draw.
    laws = ((0.5, 0.2, 0.3),)
    p = RNG.uniform(0.01, 0.05, 60)
    factors = draw_systematic(3, block=0, n_factors=2, n_paths=500)
    base, worse = (loan_book(q, 1.0, np.tile([[0.4, 0.3]], (60, 1)), laws=laws) for q in (p, 2 * p))
    losses = [draw_losses(prepare_draws(book), factors, None, streams(book)) for book in (base, worse)]
    assert (losses[1] >= losses[0] * (1 - 1e-14)).all()
    assert losses[1].mean() > 1.5 * losses[0].mean()


class TestEdges:
    @pytest.mark.parametrize("n_alike", [1, 200])
    def test_certain_impossible_and_nearly_impossible(self, n_alike):
        p = np.repeat([0.0, 1e-300, 1.0], n_alike)
        model = loan_book(p, np.repeat([5.0, 7.0, 1.0], n_alike), [0.6], cells=[0, p.size])
        assert (simulate(model, 300) == n_alike).all()

    def test_nothing_is_lost_where_nothing_is_owed(self):
        assert (simulate(loan_book([0.5, 0.9], 0.0, [0.3]), 50) == 0.0).all()

    def test_one_obligor_defaults_as_often_as_it_should(self):
        n = 200_000
        for dof in (math.inf, 3.0):
            rate = simulate(loan_book([0.03], 1.0, [0.6, -0.3], dof=dof), n).mean()
            assert abs(rate - 0.03) < 4 * math.sqrt(0.03 * 0.97 / n)

    def test_no_paths(self):
        assert simulate(loan_book([0.5], 1.0, [0.3]), 1)[:, :0].shape == (1, 0)
        model = loan_book([0.5], 1.0, [0.3])
        assert draw_losses(prepare_draws(model), np.empty((1, 0)), None, streams(model)).shape == (1, 0)

    def test_loadings_of_length_near_one_move_everyone_together(self):
        model = loan_book(np.full(100, 0.1), 1.0, [math.sqrt(1 - 1e-14)], cells=[0, 100])
        losses = simulate(model, 20_000)[0]
        # Between none and all only within some 1e-6 of the threshold.
        assert ((losses == 0) | (losses == 100)).mean() > 0.999
        assert abs((losses == 100).mean() - 0.1) < 4 * math.sqrt(0.1 * 0.9 / 20_000)

    def test_a_million_alike_obligors(self):
        model = loan_book(np.full(10**6, 0.01), 1e-6, [math.sqrt(0.2)], cells=[0, 10**6])
        factors = np.array([[-2.0, 0.0, 2.0]])
        p = conditional_default_probabilities(loan_book([0.01], 1.0, [math.sqrt(0.2)]), factors)[0]
        losses = draw_losses(prepare_draws(model), factors, None, streams(model))[0]
        assert (np.abs(losses - p) < 4 * np.sqrt(p * (1 - p) / 1e6)).all()

    def test_bad_input(self):
        model = loan_book([0.1], 1.0, [0.3])
        with pytest.raises(ValueError, match="1 segments"):
            draw_losses(prepare_draws(model), np.zeros((1, 3)), None, [])
        with pytest.raises(NumericalError, match="finite"):
            draw_losses(prepare_draws(model), np.full((1, 3), math.nan), None, streams(model))


def test_streams_of_factors_and_mixing_are_apart():
    factors = draw_systematic(1, block=2, n_factors=1, n_paths=5)
    assert draw_mixing(1, block=2, n_paths=5, dof=math.inf) is None
    mixing = draw_mixing(1, block=2, n_paths=100_000, dof=5.0)
    # Mean and variance of a chi-square variable: dof and 2 dof.
    assert abs(mixing.mean() - 5.0) < 4 * math.sqrt(10.0 / 100_000)
    assert not np.isin(factors, mixing).any()
    assert default_generator(1, block=2, segment="a").random() != factors[0, 0]
