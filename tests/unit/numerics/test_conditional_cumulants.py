"""The loops that add up cumulants, against probabilities enumerated and moments summed."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import special
from tests.unit.numerics.loan_books import mixed_loans

from acceleray.numerics.conditional_cumulants import ROW, line_cumulants
from acceleray.numerics.loss_groups import group_obligors, recovery_moments, tabulate
from acceleray.numerics.recovery import Recoveries

BETA = Recoveries(mean=np.array([0.4]), std=np.array([0.25]), correlation=np.array([0.3]))


def cumulants_of_moments(m: np.ndarray) -> list[float]:
    """Cumulants 1 to 6 from raw moments 1 to 6, by the recursion over binomials."""
    found: list[float] = []
    for n in range(1, 7):
        rest = sum(special.comb(n - 1, j - 1) * found[j - 1] * m[n - j - 1] for j in range(1, n))
        found.append(float(m[n - 1] - rest))
    return found


@pytest.mark.parametrize("recoveries", [None, BETA])
def test_cumulants_of_a_line_are_sums_over_obligors(recoveries: Recoveries | None) -> None:
    model = mixed_loans(20, recoveries=recoveries)
    groups = group_obligors(model)
    slope = -np.sqrt((model.loadings**2).sum(axis=1))
    nodes = np.arange(-4.0, 4.0, 0.125)
    level = np.linspace(-0.3, 0.3, model.n_cells)
    tables = tabulate(groups, model.mean, -slope, slope, 0.0)
    sums = np.empty((nodes.size, ROW))
    line_cumulants(
        groups, tables, slope, level, nodes, np.ones(nodes.size), True, 1, np.empty((15, nodes.size)), sums
    )
    for node in (0, 40, 63):
        total = np.zeros(6)
        for k in range(20):
            score = level[k] + slope[k] * nodes[node]
            p = special.ndtr((model.thresholds[k] - score) / model.residual[k])
            moments = p * model.exposures[k] ** np.arange(1, 7)
            if recoveries is not None:
                moments *= recovery_moments(BETA, 0, np.array([score / model.systematic[k]]))[0]
            total += cumulants_of_moments(moments)
        # Higher cumulants cancel more; where default is unlikely they are near equal powers of small numbers.
        np.testing.assert_allclose(sums[node, :6], total, rtol=2e-6, atol=1e-12)
