"""Conditional default probabilities against SciPy, cumulants against enumeration and a plain sum."""

from __future__ import annotations

import itertools
import math
from dataclasses import replace

import numpy as np
import pytest
from scipy.special import log_ndtr, ndtr
from tests.loss_books import loan_book

from acceleray.errors import NumericalError
from acceleray.numerics.conditional import conditional_default_probabilities, conditional_moments
from acceleray.numerics.recovery import moments

RNG = np.random.default_rng(5)
PROBABILITIES = np.array([0.0, 1e-300, 1e-9, 0.003, 0.02, 0.3, 0.9, 1.0])
LOADINGS = RNG.uniform(-0.5, 0.6, (8, 3))


def plain(model, factors, mixing=None):
    scale = 1.0 if mixing is None else np.sqrt(mixing / model.dof)
    cell = np.repeat(np.arange(model.n_cells), np.diff(model.cells))
    level = model.loadings[cell] @ factors + model.mean[cell, None]
    return (model.thresholds[:, None] * scale - level) / model.residual[cell, None]


@pytest.mark.parametrize("dof", [math.inf, 4.0])
def test_probabilities_are_scipys_far_into_the_tail(dof):
    model = replace(loan_book(PROBABILITIES, 1.0, LOADINGS, dof=dof), mean=np.linspace(-1, 1, 8))
    factors = 2.5 * RNG.standard_normal((3, 700))
    mixing = None if math.isinf(dof) else RNG.chisquare(dof, 700)
    found = conditional_default_probabilities(model, factors, mixing)
    distance = plain(model, factors, mixing)
    assert (found[0] == 0.0).all()
    assert (found[-1] == 1.0).all()
    inner = slice(1, -1)
    with np.errstate(divide="ignore"):
        error = np.log(found[inner]) - log_ndtr(distance[inner])
    # One rounding in the argument costs d^2 of it; below 1e-300 numbers lose bits.
    visible = distance[inner] > -37.0
    assert visible.mean() > 0.6
    assert (np.abs(error[visible]) < 1e-15 * (4 + 8 * distance[inner][visible] ** 2)).all()


def test_blocks_of_paths_change_no_bit():
    model = loan_book(PROBABILITIES, np.arange(8.0), LOADINGS, laws=((0.4, 0.2, 0.5),), dof=5.0)
    factors, mixing = RNG.standard_normal((3, 601)), RNG.chisquare(5.0, 601)
    for function in (conditional_default_probabilities, conditional_moments):
        whole = function(model, factors, mixing)
        for cuts in ([0, 1, 257, 601], [0, 255, 256, 300, 601]):
            parts = [function(model, factors[:, a:b], mixing[a:b]) for a, b in itertools.pairwise(cuts)]
            assert (np.concatenate(parts, axis=-1) == whole).all()


def test_cumulants_of_a_small_book_by_enumeration():
    model = loan_book([0.05, 0.2, 0.5, 0.7], [1.0, 2.0, 3.0, 5.0], LOADINGS[:4], laws=((0.6, 0.0, 0.0),))
    factors = RNG.standard_normal((3, 4))
    p = conditional_default_probabilities(model, factors)
    for path in range(4):
        mass, losses = [], []
        for who in itertools.product([0, 1], repeat=4):
            flags = np.array(who)
            mass.append(np.prod(np.where(flags == 1, p[:, path], 1 - p[:, path])))
            losses.append(0.6 * flags @ model.exposures)
        mass, losses = np.array(mass), np.array(losses)
        mean = mass @ losses
        central = [mass @ (losses - mean) ** j for j in (2, 3, 4)]
        exact = [mean, central[0], central[1], central[2] - 3 * central[0] ** 2]
        np.testing.assert_allclose(conditional_moments(model, factors)[:, 0, path], exact, rtol=1e-11)


def test_cumulants_with_random_recoveries_grades_and_segments():
    default_prob = [0.01, 0.01, 0.01, 0.03, 0.03, 0.2, 0.2, 0.4]
    law = [0, 1, 0, 2, 2, 1, 0, 2]
    model = loan_book(
        default_prob,
        np.arange(1.0, 9.0),
        LOADINGS[:3],
        cells=[0, 5, 7, 8],
        segments=[0, 2, 3],
        laws=((0.4, 0.2, 0.5), (0.5, 0.3, 0.0), (0.7, 0.0, 0.0)),
        law=law,
    )
    factors = RNG.standard_normal((3, 5))
    p = conditional_default_probabilities(model, factors)
    scores = model.systematic_scores(factors)
    exact = np.zeros((4, 2, 5))
    for obligor in range(8):
        cell = np.searchsorted(model.cells, obligor, side="right") - 1
        m = moments(model.recoveries, scores[cell])[:, law[obligor]]
        raw = p[obligor] * m * model.exposures[obligor] ** np.array([1, 2, 3, 4])[:, None]
        a, b, c, d = raw
        segment = 0 if cell < 2 else 1
        exact[0, segment] += a
        exact[1, segment] += b - a * a
        exact[2, segment] += c - 3 * a * b + 2 * a**3
        exact[3, segment] += d - 4 * a * c - 3 * b * b + 12 * a * a * b - 6 * a**4
    np.testing.assert_allclose(conditional_moments(model, factors), exact, rtol=1e-10)


def test_loadings_of_length_near_one_turn_into_a_step():
    model = loan_book([0.01], 1.0, [math.sqrt(1 - 1e-12)])
    z = float(model.thresholds[0])
    found = conditional_default_probabilities(model, np.array([[z - 0.01, z + 0.01]]))[0]
    assert found.tolist() == [1.0, 0.0]


def test_bad_input():
    gauss, student = loan_book([0.1], 1.0, [0.5]), loan_book([0.1], 1.0, [0.5], dof=4.0)
    good = np.zeros((1, 2))
    for function in (conditional_default_probabilities, conditional_moments):
        for model, factors, mixing, message in (
            (gauss, np.zeros((2, 2)), None, "rows"),
            (gauss, np.array([[0.0, math.nan]]), None, "finite"),
            (gauss, good, np.ones(2), "no mixing"),
            (student, good, None, "one mixing value"),
            (student, good, np.ones(3), "one mixing value"),
            (student, good, np.array([1.0, 0.0]), "positive"),
            (student, good, np.array([1.0, math.nan]), "positive"),
        ):
            with pytest.raises(NumericalError, match=message):
                function(model, factors, mixing)


def test_mean_over_the_factor_is_the_unconditional_probability():
    model = loan_book(PROBABILITIES, 1.0, [0.5])
    z = np.linspace(-10, 10, 2001)
    weights = np.exp(-z * z / 2) / math.sqrt(2 * math.pi) * (z[1] - z[0])
    mean = conditional_default_probabilities(model, z[None]) @ weights
    # The trapezoidal rule converges faster than any power; 1e-300 defaults beyond its ends.
    np.testing.assert_allclose(mean[2:], ndtr(model.thresholds[2:]), rtol=1e-12)
