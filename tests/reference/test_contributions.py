"""Published and closed-form values. Case names are those of the project's reference cases."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import special, stats

from acceleray.numerics.contributions import (
    expected_shortfall_contributions,
    value_at_risk_contributions,
)
from acceleray.numerics.tail import expected_shortfall, value_at_risk

# Case `linear-euler`: four assets, linear and Gaussian, closed form.
WEIGHTS = np.array([1_000_000.0, -500_000.0, 2_000_000.0, 750_000.0])
VOLATILITIES = np.array([0.02, 0.015, 0.008, 0.03])
CORRELATIONS = np.array([[1, 0.3, 0.2, -0.1], [0.3, 1, 0.5, 0], [0.2, 0.5, 1, 0.25], [-0.1, 0, 0.25, 1]])
VAR_99, ES_975 = 81472.01065205246, 81873.17817510894
COMPONENT_VAR_99 = np.array([24843.48306879, -3238.28823423, 23249.24886116, 36617.56695633])
# A linear Gaussian book splits both measures in the same proportion.
COMPONENT_ES_975 = COMPONENT_VAR_99 * ES_975 / VAR_99


def test_linear_gaussian_book_without_noise() -> None:
    # Members at their conditional mean given the total, the total at the middle of 200,000 slices of
    # probability.
    n = 200_000
    total = special.ndtri((np.arange(n) + 0.5) / n) * VAR_99 / special.ndtri(0.99)
    members = np.outer(COMPONENT_VAR_99 / COMPONENT_VAR_99.sum(), total)
    values, _ = expected_shortfall_contributions(members, total, level=0.975)
    # Slices of 5e-6 hide 5e-6 * log(n) / 0.025 of the tail.
    assert values == pytest.approx(COMPONENT_ES_975, rel=1e-3)
    assert float(expected_shortfall(total, level=0.975)) == pytest.approx(ES_975, rel=1e-3)
    values, _, residual = value_at_risk_contributions(members, total, level=0.99)
    # The order statistic lies half a slice beside the quantile: 5e-6 / (2 * 0.0267 * 2.326) of it.
    assert values == pytest.approx(COMPONENT_VAR_99, rel=1e-4)
    assert abs(residual) < 1e-4 * VAR_99


def test_linear_gaussian_book_by_simulation() -> None:
    covariance = CORRELATIONS * np.outer(VOLATILITIES, VOLATILITIES)
    normals = np.random.Generator(np.random.Philox(key=11)).standard_normal((4, 100_000))
    members = -WEIGHTS[:, None] * (np.linalg.cholesky(covariance) @ normals)
    total = members.sum(axis=0)
    values, std_errors = expected_shortfall_contributions(members, total, level=0.975)
    assert (np.abs(values - COMPONENT_ES_975) <= 4 * std_errors).all()
    values, std_errors, residual = value_at_risk_contributions(members, total, level=0.99)
    # Scaling moves each value by its share of the residual.
    allowed = 4 * std_errors + abs(residual)
    assert (np.abs(values - COMPONENT_VAR_99) <= allowed).all()
    # And the errors are small enough for this to be a test: below 3% of the measure.
    assert std_errors.max() < 0.03 * VAR_99
    assert abs(residual) < 0.01 * VAR_99


# Case `superadditive` (McNeil, Frey & Embrechts): -5 with 0.991, 100 with 0.009, two independent copies.
def test_superadditive_book() -> None:
    # Exact joint law of the two as a million equally likely paths: 982081, 8919, 8919 and 81 of them.
    counts = [982_081, 8_919, 8_919, 81]
    members = np.stack(
        [np.repeat([-5.0, 100.0, -5.0, 100.0], counts), np.repeat([-5.0, -5.0, 100.0, 100.0], counts)]
    )
    total = members.sum(axis=0)
    alone = [float(value_at_risk(member, level=0.99)) for member in members]
    assert alone == [-5.0, -5.0]
    assert float(value_at_risk(total, level=0.99)) == 95.0
    values, _ = expected_shortfall_contributions(members, total, level=0.99)
    # The worst 10,000: 81 at 200 and 9,919 of the paths at 95. Rounding of 1e4 additions.
    exact = (81 * 200 + 9_919 * 95) / 10_000
    assert values == pytest.approx([exact / 2, exact / 2], rel=1e-12)
    values, _, _ = value_at_risk_contributions(members, total, level=0.99)
    assert values == pytest.approx([47.5, 47.5], rel=1e-9)


def test_components_are_the_closed_form_of_the_case() -> None:
    # The second witness of the expected numbers themselves: Euler's rule on the covariance matrix.
    covariance = CORRELATIONS * np.outer(VOLATILITIES, VOLATILITIES)
    deviation = np.sqrt(WEIGHTS @ covariance @ WEIGHTS)
    components = WEIGHTS * (covariance @ WEIGHTS) / deviation * stats.norm.ppf(0.99)
    # The published digits.
    assert components == pytest.approx(COMPONENT_VAR_99, rel=1e-9)
