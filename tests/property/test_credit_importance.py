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
        if math.isfinite(dof) and row["measure"].startswith("VaR"):
            # Quantiles of a lattice err by whole steps, and so do their bounds, which cover more.
            continue
        assert row["coverage"] <= 0.975, row
        # The mean is unbiased: four standard errors. The others have a bias of the order of 1 / n_paths.
        allowed = 4.0 / math.sqrt(REPETITIONS) if row["measure"] == "EL" else 0.35
        assert abs(row["bias"]) < allowed * row["rmse"], row
