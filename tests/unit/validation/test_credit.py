"""The book of Glasserman and Li, entered as a loss model."""

import numpy as np
import pytest
from scipy.special import ndtr

from acceleray.validation.credit import factor_model


def test_the_book_of_21_factors_is_the_published_one():
    model = factor_model(1000)
    assert (model.n_obligors, model.n_cells, model.n_factors) == (1000, 100, 21)
    assert model.exposures.sum() == pytest.approx(50500.0)
    assert ndtr(model.thresholds) @ model.exposures == pytest.approx(485.28901188, rel=1e-10)
    np.testing.assert_allclose(model.residual, 0.2, rtol=1e-12)
    # Market, industry and region in common; industry or region in common; neither.
    correlations = model.loadings @ model.loadings.T
    assert (
        correlations[0, 0],
        correlations[0, 1],
        correlations[0, 10],
        correlations[0, 11],
    ) == pytest.approx((0.96, 0.8, 0.8, 0.64))
