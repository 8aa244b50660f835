"""Which books the loss curve refuses, and why."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from tests.unit.numerics.loan_books import (
    five_countries,
    glasserman_li,
    like_loans,
    mixed_loans,
    with_a_rare_group,
)

from acceleray.numerics.credit_model import LossModel
from acceleray.numerics.expected_loss import expected_loss
from acceleray.numerics.loss_curve import aim, curve_block, prepare
from acceleray.numerics.loss_curve_estimates import loss_curve
from acceleray.numerics.loss_curve_suitability import (
    curve_conflict,
    expansion_error,
    lattice_step,
    line_scatter,
    share_elsewhere,
    step_error,
    suits,
)


def with_large_name(share: float) -> LossModel:
    model = mixed_loans()
    exposures = model.exposures.copy()
    exposures[0] = share / (1.0 - share) * exposures[1:].sum()
    return dataclasses.replace(model, exposures=exposures)


@pytest.mark.parametrize("model", [glasserman_li(), mixed_loans(), like_loans(100_000, 0.01, 0.2)])
def test_granular_books_pass(model: LossModel) -> None:
    assert suits(model, aim(model)).reason is None


@pytest.mark.parametrize("model", [with_large_name(0.2), mixed_loans(12)])
def test_few_names_are_named(model: LossModel) -> None:
    assert "few names" in str(suits(model, aim(model)).reason)


def test_a_coarse_lattice_is_named() -> None:
    model = like_loans(100, 0.05, 0.05)
    assert "multiples of 1," in str(suits(model, aim(model)).reason)


@pytest.mark.parametrize("model", [five_countries(), with_a_rare_group()])
def test_several_directions_of_the_tail_are_named(model: LossModel) -> None:
    target = aim(model, body_prob=0.325)
    assert "several directions" in str(suits(model, target).reason)
    # The pilot's lines agree with each other all the same: they do not know what they have missed.
    assert line_scatter(model, target) < 1.5
    assert share_elsewhere(model, target) > 0.05


def test_one_direction_holds_the_tail_of_books_with_a_common_factor() -> None:
    for model in (glasserman_li(), mixed_loans()):
        assert share_elsewhere(model, aim(model)) < 1e-4
        assert line_scatter(model, aim(model)) < 0.3


def test_a_run_of_lines_that_differ_too_much_is_named() -> None:
    model = five_countries()
    book = prepare(model, aim(model, body_prob=0.325))
    points = np.random.default_rng(2).uniform(size=(4, 512, 4))
    curve = loss_curve(book.losses, [curve_block(book, each) for each in points], unit=book.unit)
    assert "several directions" in str(curve_conflict(curve, (0.95, 0.999), expected_loss(model).sum()))


def test_a_curve_that_contradicts_itself_or_the_mean_is_named() -> None:
    model = mixed_loans()
    book = prepare(model, aim(model, body_prob=0.325))
    points = np.random.default_rng(2).uniform(size=(8, 64, 2))
    curve = loss_curve(book.losses, [curve_block(book, each) for each in points], unit=book.unit)
    mean = float(expected_loss(model).sum())
    levels = (0.95, 0.999)
    assert curve_conflict(curve, levels, mean) is None
    for wrong, what in (
        ({"means": 1.1 * curve.means}, "expected loss"),
        ({"means": np.nan * curve.means}, "expected loss"),
        ({"above": 1.1 * curve.above}, "excess and exceedance"),
        ({"excess": 3.0 * curve.excess}, "excess and exceedance"),
        ({"scatter": np.nan * curve.scatter}, "several directions"),
    ):
        assert what in str(curve_conflict(dataclasses.replace(curve, **wrong), levels, mean))


def test_the_error_grows_with_the_largest_name() -> None:
    errors = [
        expansion_error(model, aim(model))
        for model in (mixed_loans(), with_large_name(0.05), with_large_name(0.2))
    ]
    assert errors[0] < errors[1] < errors[2]


def test_the_nodes_are_dense_enough() -> None:
    # One line of a book of like loans, and the mean of a pilot's.
    assert step_error(like_loans(1000, 0.01, 0.2), aim(like_loans(1000, 0.01, 0.2))) < 1e-4
    assert step_error(glasserman_li(), aim(glasserman_li())) < 5e-4


def test_lattice_steps() -> None:
    model = like_loans(4, 0.01, 0.2)
    for sizes, step in (
        ([2.0, 4.0, 6.0, 8.0], 2.0),
        ([0.3, 0.7, 0.1, 1.1], 0.1),
        ([1.0, np.pi, 1.0, 1.0], 0.0),
    ):
        found = lattice_step(dataclasses.replace(model, exposures=np.array(sizes)))
        assert found == pytest.approx(step, rel=1e-9)
