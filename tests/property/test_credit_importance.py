"""Coverage of the intervals of weighted credit losses: a small version of benchmarks/credit_importance.py."""

import math

import pytest
from benchmarks.credit_importance import coverage, exact_law, exact_measures, one_factor_book

REPETITIONS = 500


@pytest.mark.parametrize("dof", [math.inf, 4.0])
def test_every_interval_covers_as_often_as_it_says(dof):
    """A coverage of 95 % has a standard error of 1 % here; the full experiment has 2,000 repetitions."""
    # The mixing variable multiplies the work of the exact law: coarser losses for the t copula.
    model = one_factor_book(dof=dof, fine=math.isinf(dof))
    truth = exact_measures(exact_law(model))
    rows = coverage(model, truth, repetitions=REPETITIONS, n_paths=2400, seed=11, n_aims=20)
    assert len(rows) == 7
    for row in rows:
        assert row["missing_bounds"] == 0.0, row
        assert row["coverage"] >= 0.93, row
        # The bounds of a quantile of a lattice are losses of the lattice, and cover more.
        if math.isinf(dof) or not row["measure"].startswith("VaR"):
            assert row["coverage"] <= 0.975, row
        assert abs(row["bias"]) < 0.35 * row["rmse"], row
