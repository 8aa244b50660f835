"""Importance sampling of the 21-factor book of Glasserman & Li (2005), section 6.

The probabilities are those of the project's reference cases. The paper's variance ratios are 33, 53, 83, 125,
278 and 977 for a sample aimed at the same loss; a quarter of our paths stays plain, which costs a quarter.
"""

import numpy as np
import pytest
from benchmarks.credit_importance import GLASSERMAN_LI, exceedances, generator, glasserman_li_book

from acceleray.numerics.credit_importance import aim_importance, draw_importance

N_PATHS = 20_000
EXPECTED_LOSS = 485.28901188
THRESHOLDS = np.array(list(GLASSERMAN_LI))
PROBABILITIES = np.array([value for value, _ in GLASSERMAN_LI.values()])
# Variance of plain indicators over ours, path for path: mean less five standard deviations of eight seeds of
# 20,000 paths, for one run that serves all losses and the body, and for runs aimed at one loss each.
LEAST_OF_ONE_RUN = (9.0, 20.0, 29.0, 45.0, 135.0, 750.0)
LEAST_ALONE = {10_000.0: 20.0, 22_000.0: 95.0, 40_000.0: 1550.0}


@pytest.fixture(scope="module")
def model():
    return glasserman_li_book()


def test_one_run_gives_the_whole_curve(model):
    aim = aim_importance(model, generator(21))
    found, variance, _ = exceedances(model, aim, THRESHOLDS, n_paths=N_PATHS, seed=22)
    errors = np.sqrt(variance / N_PATHS + np.array([error for _, error in GLASSERMAN_LI.values()]) ** 2)
    assert (np.abs(found - PROBABILITIES) < 4.0 * errors).all()
    assert (PROBABILITIES * (1.0 - PROBABILITIES) / variance > LEAST_OF_ONE_RUN).all()


@pytest.mark.parametrize("threshold", LEAST_ALONE)
def test_a_run_aimed_at_one_loss_reaches_the_papers_ratio(model, threshold):
    aim = aim_importance(model, generator(0), losses=(threshold,))
    (found,), (variance,), _ = exceedances(model, aim, np.array([threshold]), n_paths=N_PATHS, seed=23)
    p, error = GLASSERMAN_LI[threshold]
    assert abs(found - p) < 4.0 * np.sqrt(variance / N_PATHS + error**2)
    assert p * (1.0 - p) / variance > LEAST_ALONE[threshold]


def test_the_expected_loss_comes_with_it(model):
    aim = aim_importance(model, generator(21))
    (losses,), weights = draw_importance(model, aim, N_PATHS, generator(24))
    terms = (weights * losses).reshape(-1, 8).mean(axis=1)
    assert abs(terms.mean() - EXPECTED_LOSS) < 4.0 * terms.std(ddof=1) / np.sqrt(terms.size)
