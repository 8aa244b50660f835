"""What holds for every small book drawn from a factor model."""

from __future__ import annotations

import math

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.loss_books import loan_book, simulate, streams

from acceleray.numerics.conditional import conditional_default_probabilities, conditional_moments
from acceleray.numerics.credit import draw_losses, draw_mixing, draw_systematic, prepare_draws
from acceleray.numerics.expected_loss import expected_loss

PROBABILITIES = st.sampled_from([0.0, 1e-300, 1e-9, 0.01, 0.011, 0.3, 0.999, 1.0]) | st.floats(0.0, 1.0)
LAWS = ((0.45, 0.0, 0.0), (0.5, 0.25, 0.4))


@st.composite
def books(draw):
    obligors = draw(st.lists(st.tuples(PROBABILITIES, st.floats(0.0, 1e6)), min_size=1, max_size=12))
    probability, exposures = np.array(sorted(obligors)).T
    one_cell = draw(st.booleans())
    loadings = draw(st.sampled_from([[0.0, 0.0], [0.3, 0.6], [-0.5, 0.1], [0.6, 0.8 - 1e-9]]))
    n_cells = 1 if one_cell else probability.size
    return loan_book(
        probability,
        exposures,
        np.tile([loadings], (n_cells, 1)).reshape(n_cells, 2),
        cells=[0, probability.size] if one_cell else None,
        laws=LAWS,
        law=np.arange(probability.size) % 2,
        dof=draw(st.sampled_from([math.inf, 3.0])),
    )


@settings(max_examples=40, deadline=None)
@given(books())
def test_losses_and_moments_lie_between_nothing_and_everything(model):
    losses = simulate(model, 40)
    owed = model.exposures.sum() * (1 + 1e-12)
    assert (losses >= 0).all()
    assert (losses <= owed).all()
    factors = draw_systematic(2, block=0, n_factors=2, n_paths=40)
    mixing = draw_mixing(2, block=0, n_paths=40, dof=model.dof)
    p = conditional_default_probabilities(model, factors, mixing)
    assert ((p >= 0) & (p <= 1)).all()
    cumulants = conditional_moments(model, factors, mixing)
    assert (cumulants[0] >= 0).all()
    assert (cumulants[0] <= owed).all()
    # Rounding may leave a certain loss a variance of some last places of its square.
    assert (cumulants[1] >= -1e-15 * owed**2).all()
    expected = expected_loss(model)
    assert (expected >= 0).all()
    assert (expected <= model.exposures * (1 + 1e-12)).all()


@settings(max_examples=25, deadline=None)
@given(books(), st.integers(1, 39))
def test_cutting_a_block_changes_no_bit(model, cut):
    prepared = prepare_draws(model)
    factors = draw_systematic(2, block=0, n_factors=2, n_paths=40)
    mixing = draw_mixing(2, block=0, n_paths=40, dof=model.dof)
    whole = draw_losses(prepared, factors, mixing, streams(model))
    generators = streams(model)
    parts = [
        draw_losses(prepared, factors[:, rows], None if mixing is None else mixing[rows], generators)
        for rows in (slice(0, cut), slice(cut, 40))
    ]
    assert (np.concatenate(parts, axis=1) == whole).all()
