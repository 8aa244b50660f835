"""Lattices of thresholds and tables of groups against the obligors themselves."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from scipy import special
from tests.unit.numerics.loan_books import mixed_loans

from acceleray.numerics import loss_groups
from acceleray.numerics.loss_curve import aim, curve_block, prepare
from acceleray.numerics.loss_groups import group_obligors, recovery_moments, sampled_model
from acceleray.numerics.recovery import Recoveries

LAWS = Recoveries(mean=np.array([0.4, 0.6]), std=np.array([0.25, 0.2]), correlation=np.array([0.0, 0.3]))


def test_a_lattice_keeps_the_cumulants_of_a_large_group() -> None:
    model = mixed_loans(3000, per_cell=1500)
    groups = group_obligors(model)
    assert groups.places.size < 100
    for score in (-2.0, -0.5, 0.3):
        for cell in range(2):
            own = slice(1500 * cell, 1500 * (cell + 1))
            p = special.ndtr((model.thresholds[own] - score) / model.residual[cell])
            sizes = model.exposures[own]
            places = slice(int(groups.starts[cell]), int(groups.starts[cell + 1]))
            q = special.ndtr(groups.places[places] - score / model.residual[cell])
            # Interpolation of the sixth order a quarter of a deviation apart errs by 3e-6 of an obligor; a
            # default's variance is up to three times as steep in the threshold.
            kept, exact = groups.sizes[places, 0] @ q, float(sizes @ p)
            assert kept == pytest.approx(exact, abs=3e-6 * sizes.sum())
            kept, exact = groups.sizes[places, 1] @ (q - q * q), float(sizes**2 @ (p - p * p))
            assert kept == pytest.approx(exact, abs=1e-5 * (sizes**2).sum())


@pytest.mark.parametrize("laws", [None, LAWS])
def test_tables_change_nothing_but_speed(laws: Recoveries | None, monkeypatch: pytest.MonkeyPatch) -> None:
    model = mixed_loans(per_cell=10, recoveries=laws)
    target = aim(model)
    points = np.random.default_rng(2).uniform(size=(8, target.n_dims))
    tabulated = curve_block(prepare(model, target), points).above
    monkeypatch.setattr(loss_groups, "TABLE_BYTES", 0)
    direct = curve_block(prepare(model, target), points).above
    # Rows a quarter of a deviation apart or closer.
    np.testing.assert_allclose(tabulated, direct, rtol=2e-5)


def test_moments_of_correlated_recoveries_average_to_those_of_the_beta_law() -> None:
    scores = np.linspace(-8.0, 8.0, 161)
    mass = np.exp(-0.5 * scores**2)
    averaged = (mass / mass.sum()) @ recovery_moments(LAWS, 1, scores)
    alike = dataclasses.replace(LAWS, correlation=np.zeros(2))
    np.testing.assert_allclose(averaged, recovery_moments(alike, 1, np.zeros(1))[0], rtol=1e-6)
    first, second = recovery_moments(alike, 1, np.zeros(1))[0, :2]
    assert first == pytest.approx(0.6, rel=1e-12)
    assert second == pytest.approx(0.6**2 + 0.2**2, rel=1e-12)
    # A bad year costs more per default.
    assert (
        recovery_moments(LAWS, 1, np.array([-2.0]))[0, 0] > recovery_moments(LAWS, 1, np.array([2.0]))[0, 0]
    )


def test_a_sampled_book_keeps_its_total_and_its_large_names() -> None:
    model = mixed_loans(5000)
    exposures = model.exposures.copy()
    exposures[17] = exposures.sum()
    model = dataclasses.replace(model, exposures=exposures)
    sample = sampled_model(model, 400)
    assert sample.n_cells <= 400
    assert sample.exposures.sum() == pytest.approx(exposures.sum(), rel=1e-12)
    # Half of the book stays half of it, to one of 400 shares.
    assert sample.exposures.max() == pytest.approx(exposures[17], abs=exposures.sum() / 400.0)
