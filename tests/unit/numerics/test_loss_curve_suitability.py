"""Which books the loss curve refuses, and why."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from tests.unit.numerics.loan_books import glasserman_li, like_loans, mixed_loans

from acceleray.numerics.credit_model import LossModel
from acceleray.numerics.loss_curve import aim
from acceleray.numerics.loss_curve_suitability import expansion_error, lattice_step, step_error, suits


def with_large_name(share: float) -> LossModel:
    model = mixed_loans()
    exposures = model.exposures.copy()
    exposures[0] = share / (1.0 - share) * exposures[1:].sum()
    return dataclasses.replace(model, exposures=exposures)


@pytest.mark.parametrize("model", [glasserman_li(), mixed_loans(), like_loans(100_000, 0.01, 0.2)])
def test_granular_books_pass(model: LossModel) -> None:
    assert suits(model, aim(model)) is None


@pytest.mark.parametrize("model", [with_large_name(0.2), mixed_loans(12)])
def test_few_names_are_named(model: LossModel) -> None:
    assert "few names" in str(suits(model, aim(model)))


def test_a_coarse_lattice_is_named() -> None:
    model = like_loans(100, 0.05, 0.05)
    assert "multiples of 1," in str(suits(model, aim(model)))


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
