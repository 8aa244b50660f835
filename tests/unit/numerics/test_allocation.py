import numpy as np
import pytest
from scipy import stats

from acceleray.errors import NumericalError
from acceleray.numerics.allocation import design, fit_losses, pilot_ratio, pilot_shares, quadratic_law
from acceleray.numerics.delta_gamma import delta_gamma
from acceleray.numerics.stratified import allocate, draw_moves, stratify

MODEL = delta_gamma([3.0, 4.0], np.zeros((2, 2)), np.eye(2))
LEVELS = (0.99,)
LAW = quadratic_law(MODEL, smallest_tail=1e-3)
STRATA = stratify(MODEL, LAW.quantile(np.geomspace(0.5, 2e-3, 20)))
COUNTS = allocate(pilot_shares(STRATA.probability), 2000)
MOVES, QUADRATIC = draw_moves(MODEL, STRATA, COUNTS, np.random.default_rng(1))
NOISE = np.random.default_rng(2).normal(size=2000)


def fitted(losses):
    return fit_losses(losses, QUADRATIC, COUNTS, STRATA.edges, STRATA.probability, LEVELS)


def test_the_table_is_the_law_of_the_quadratic():
    tails = np.array([0.4, 0.1, 0.01, 0.002])
    # Interpolation between nodes a tenth of a standard deviation apart, wider ones further out.
    np.testing.assert_allclose(LAW.quantile(tails), 5.0 * stats.norm.isf(tails), rtol=0.02)
    np.testing.assert_allclose(LAW.tail(LAW.quantile(tails)), tails, rtol=1e-9)
    assert LAW.tail(-1e9) == 1.0
    assert LAW.tail(1e9) == 0.0


def test_the_table_says_when_it_cannot_be_made():
    bounded = delta_gamma([0.0], [[-2.0]], [[1.0]], constant=1.0)
    # Q cannot exceed 1 and its tail falls too steeply there for the table.
    with pytest.raises(NumericalError, match="law of the quadratic"):
        quadratic_law(bounded, smallest_tail=1e-6)


def test_lines_and_spreads_are_found():
    found = fitted(1.0 + 2.0 * QUADRATIC + 0.5 * NOISE)
    # A slope in a thin stratum is known badly; in the two outer ones it is known well.
    assert found.slope[0] == pytest.approx(2.0, abs=0.2)
    assert np.sqrt((found.deviation**2).mean()) == pytest.approx(0.5, rel=0.1)
    exact = 1.0 + np.sqrt(100.0 + 0.25) * stats.norm.isf(0.01)
    assert found.quantiles[0] == pytest.approx(exact, abs=4.0 * found.quantile_errors[0])


@pytest.mark.parametrize("spread", [0.1, 1.0, 3.0])
def test_shares_keep_the_defensive_part_and_the_prediction_comes_true(spread):
    losses = QUADRATIC + spread * NOISE
    found = design(LAW, fitted(losses), LEVELS, n_strata=64, defensive_share=0.1)
    assert found.shares.sum() == pytest.approx(1.0)
    final = stratify(MODEL, found.inner_edges)
    assert (found.shares >= 0.099 * final.probability).all()
    # The true variance of this design for a loss that is normal given Q.
    threshold = np.sqrt(25.0 + spread**2) * stats.norm.isf(0.01)
    counts = np.full(final.probability.size, 400)
    _, quadratic = draw_moves(MODEL, final, counts, np.random.default_rng(3))
    above = stats.norm.sf((threshold - quadratic) / spread).reshape(-1, 400).mean(axis=1)
    variance = (final.probability**2 * above * (1.0 - above) / found.shares).sum()
    # The pilot's own quantile and spread are a few percent off.
    assert found.ratios[0] == pytest.approx(0.0099 / variance, rel=0.6)


def test_a_loss_without_any_link_to_the_quadratic_gains_nothing():
    for losses in (NOISE, (NOISE > 2.0).astype(float), (NOISE > 2.5).astype(float)):
        found = fitted(losses)
        plan = design(LAW, found, LEVELS, n_strata=64, defensive_share=0.1)
        assert min(*plan.ratios, *pilot_ratio(found, COUNTS, plan)) < 1.5
