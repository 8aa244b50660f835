"""Thresholds: quantiles of the normal and Student's law, down to the smallest probabilities."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy.special import ndtr, stdtr

from acceleray.numerics.credit_model import default_thresholds

SMALL = np.array([5e-324, 1e-308, 1e-300, 1e-250, 1e-200, 1e-100, 1e-50, 1e-20, 1e-9, 0.01, 0.4])


@pytest.mark.parametrize("dof", [2.001, 2.5, 3.0, 4.0, 7.7, 15.0, 100.0, 1e6])
def test_thresholds_of_tiny_probabilities_ascend_and_are_quantiles(dof):
    found = default_thresholds(SMALL, dof=dof)
    assert (found < 0).all()
    assert (np.diff(found) > 0).all()
    # SciPy's own quantiles are good to 1e-9, and its tails down to thresholds of some -1e150.
    fair = (SMALL >= 1e-308) & (found > -1e150)
    np.testing.assert_allclose(stdtr(dof, found[fair]), SMALL[fair], rtol=1e-9)


def test_the_ends():
    for dof in (math.inf, 3.0):
        assert default_thresholds([0.0, 1.0], dof=dof).tolist() == [-math.inf, math.inf]
        assert default_thresholds(0.02, dof=dof).shape == ()
    np.testing.assert_allclose(ndtr(default_thresholds(SMALL[1:])), SMALL[1:], rtol=1e-10)
