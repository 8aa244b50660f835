"""Contributions add up, and are what the conditional law of the other obligors says."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy import special, stats
from tests.unit.numerics.loan_books import glasserman_li, mixed_loans, total_loss

from acceleray.errors import NumericalError
from acceleray.numerics.credit_model import LossModel, default_thresholds
from acceleray.numerics.loss_curve import aim, curve_block, prepare
from acceleray.numerics.loss_curve_contributions import contribution_shares, contributions_block
from acceleray.numerics.loss_curve_estimates import loss_curve
from acceleray.numerics.recovery import Recoveries

LAWS = Recoveries(mean=np.array([0.4, 0.6]), std=np.array([0.25, 0.0]), correlation=np.array([0.3, 0.0]))


@pytest.mark.parametrize("model", [glasserman_li(), mixed_loans(recoveries=LAWS), mixed_loans(dof=5.0)])
def test_contributions_add_to_var_and_es(model: LossModel) -> None:
    target = aim(model)
    book = prepare(model, target)
    points = np.random.default_rng(5).uniform(size=(16, target.n_dims))
    curve = loss_curve(target.losses, [curve_block(book, points)], unit=book.unit)
    var, es = curve.var(0.99).value, curve.es(0.99).value
    sums = contributions_block(model, book, points, var)
    scale = 2.0**-50 / 16
    # E[X_k; L > x] adds to E[L; L > x] on the same lines: what is left is the order of the expansion.
    assert float(sums.beyond.sum()) * scale * book.unit == pytest.approx(0.01 * es, rel=2e-3)
    density = -(curve.exceedance(var * 1.001).value - curve.exceedance(var / 1.001).value) / (0.002 * var)
    # The difference quotient is good to 1e-3.
    assert float(sums.at.sum()) * scale == pytest.approx(var * density, rel=5e-3)
    at, beyond = contribution_shares(sums)
    assert at.sum() == pytest.approx(1.0, abs=1e-12)
    assert beyond.sum() == pytest.approx(1.0, abs=1e-12)
    assert (beyond >= 0.0).all()


def test_two_kinds_of_loans_share_as_convolution_says() -> None:
    # 300 loans of size 1 and 40 of size 3, one factor: the exact law is a convolution of two binomials.
    counts, sizes, p, rho = (300, 40), (1.0, 3.0), (0.01, 0.02), 0.2
    model = LossModel(
        thresholds=np.sort(default_thresholds(np.repeat(p, counts))),
        exposures=np.repeat(sizes, counts),
        recovery=np.zeros(340, dtype=np.int64),
        recoveries=total_loss(),
        cells=np.array([0, 340]),
        loadings=np.array([[math.sqrt(rho)]]),
        residual=np.array([math.sqrt(1.0 - rho)]),
        mean=np.zeros(1),
        systematic=np.array([math.sqrt(rho)]),
        segments=np.array([0, 1]),
    )
    loss = 40
    sums = contributions_block(model, prepare(model, aim(model)), np.zeros((1, 0)), loss + 0.5)
    _at, beyond = contribution_shares(sums)
    total = second = 0.0
    for z in np.linspace(-8.0, 8.0, 801):
        q = special.ndtr((special.ndtri(p) - math.sqrt(rho) * z) / math.sqrt(1.0 - rho))
        small = stats.binom.pmf(np.arange(301), 300, q[0])
        large = stats.binom.pmf(np.arange(41), 40, q[1])
        lost = np.arange(301)[:, None] + 3.0 * np.arange(41)
        mass = small[:, None] * large * math.exp(-0.5 * z * z) * (lost > loss)
        total += float((mass * lost).sum())
        second += float((mass * 3.0 * np.arange(41)).sum())
    # The lattice of step 1 and the smoothing along one line.
    assert float(beyond[0, 300:].sum()) == pytest.approx(second / total, rel=1e-3)


def test_segments_and_chosen_obligors_are_parts_of_all() -> None:
    model = mixed_loans(per_cell=10, recoveries=LAWS)
    target = aim(model)
    book = prepare(model, target)
    points = np.random.default_rng(5).uniform(size=(4, target.n_dims))
    every = contributions_block(model, book, points, (20.0, 40.0))
    chosen = np.array([0, 3, model.n_obligors - 1])
    some = contributions_block(model, book, points, (20.0, 40.0), chosen=chosen)
    np.testing.assert_array_equal(some.at, every.at[:, chosen])
    np.testing.assert_array_equal(some.beyond, every.beyond[:, chosen])
    np.testing.assert_array_equal(some.segments_beyond, every.segments_beyond)
    starts = model.cells[model.segments[:-1]]
    # Cumulants add up; the segments take theirs from tables, which are good to some 1e-6 of one obligor.
    for parts, whole in ((every.at, every.segments_at), (every.beyond, every.segments_beyond)):
        np.testing.assert_allclose(np.add.reduceat(parts, starts, axis=1), whole, rtol=1e-4)


def test_cuts_do_not_change_bits() -> None:
    model = mixed_loans(per_cell=10)
    target = aim(model)
    book = prepare(model, target)
    points = np.random.default_rng(5).uniform(size=(9, target.n_dims))
    whole = contributions_block(model, book, points, 20.0)
    parts = contributions_block(model, book, points[4:], 20.0) + contributions_block(
        model, book, points[:4], 20.0
    )
    np.testing.assert_array_equal(parts.at, whole.at)
    np.testing.assert_array_equal(parts.beyond, whole.beyond)


def test_a_loss_out_of_reach_is_refused() -> None:
    model = mixed_loans(per_cell=10)
    target = aim(model)
    book = prepare(model, target)
    points = np.full((1, target.n_dims), 0.5)
    with pytest.raises(NumericalError, match="positive"):
        contributions_block(model, book, points, 0.0)
    with pytest.raises(NumericalError, match="no line reaches"):
        contribution_shares(contributions_block(model, book, points, 1e9))
