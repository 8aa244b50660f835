import numpy as np
import pytest

from acceleray.numerics.delta_gamma import delta_gamma
from acceleray.numerics.stratified import draw_moves, stratify


def test_one_linear_axis_needs_no_rejection_but_the_margin():
    model = delta_gamma([3.0, 4.0], np.zeros((2, 2)), np.eye(2))
    # With nothing left to the other axes every proposal weighs the same: 2 % is the margin of the search.
    np.testing.assert_allclose(stratify(model, [1.0, 5.0, 9.0]).acceptance, 1.0 / 1.02, rtol=1e-9)


def test_equal_curvatures_without_slope_need_no_rejection_either():
    model = delta_gamma(np.zeros(5), np.eye(5), np.eye(5))
    np.testing.assert_allclose(stratify(model, [3.0, 5.0, 9.0]).acceptance, 1.0 / 1.02, rtol=1e-9)


@pytest.mark.parametrize("dof", [None, 4.0])
def test_the_kept_share_of_proposals_is_the_stated_one(dof):
    """No weight may exceed its cap: then fewer would be kept than stated, and the draws would be biased."""
    hessian = np.diag([1.0, 0.5, -0.5])
    model = delta_gamma([2.0, 1.0, 1.0], hessian, np.eye(3), dof=dof)
    strata = stratify(model, model.mean + model.deviation * np.array([0.5, 1.5, 1.7, 3.0]))
    wanted = 4000
    for k in range(strata.probability.size):
        counts = np.zeros(strata.probability.size, dtype=np.int64)
        counts[k] = wanted
        generator = Counting(np.random.default_rng(k))
        draw_moves(model, strata, counts, generator)
        # Proposals are drawn in lots; the first lot is the expected number, two deviations and 16 more.
        expected = wanted / strata.acceptance[k]
        assert generator.rows <= expected + 6.0 * np.sqrt(expected / strata.acceptance[k]) + 200.0


class Counting:
    """Counts the rows of uniforms that were drawn: one for every proposal."""

    def __init__(self, generator):
        self.generator = generator
        self.rows = 0

    def random(self, size):
        self.rows += size[0]
        return self.generator.random(size)

    def __getattr__(self, name):
        return getattr(self.generator, name)
