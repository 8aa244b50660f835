"""The 21-factor book of Glasserman and Li (2005), by a rule that shares nothing with the package.

Along a direction of the factors that every obligor depends on in the same sense, the loss only rises. Draw
the obligors' own risks and the factors' other coordinates; then the loss exceeds x beyond one point t* of
that direction, and P(L > x) is the mean of Phi(t*). No obligor is approximated, no default is random.
"""

import numpy as np
import pytest
from scipy.special import ndtr, ndtri
from scipy.stats import qmc
from tests.loss_books import glasserman_li
from tests.unit.numerics.test_loss_curve import at, scrambles

from acceleray.numerics.loss_curve import aim

LOSSES = np.array([10_000.0, 14_000.0, 18_000.0, 22_000.0, 30_000.0, 40_000.0])
# Value and standard error: this rule with 64 scrambles of 32,768 points.
LONG_RUN = np.array(
    [
        [1.12196651e-02, 8.5e-07],
        [6.23546209e-03, 5.8e-07],
        [3.57977162e-03, 2.9e-07],
        [2.05748058e-03, 1.2e-07],
        [6.16146805e-04, 5.7e-08],
        [7.35329818e-05, 8.1e-09],
    ]
)


def scramble(generator, n_points):
    number = np.arange(1, 1001)
    with np.errstate(divide="ignore"):
        thresholds = ndtri(np.clip(0.01 * (1.0 + np.sin(16.0 * np.pi * number / 1000)), 0.0, 1.0))
    sizes = np.linspace(1.0, 100.0, 1000)
    loadings = np.zeros((1000, 21))
    loadings[:, 0] = 0.8
    loadings[number - 1, 1 + (number - 1) // 100] = 0.4
    loadings[number - 1, 11 + (number - 1) // 10 % 10] = 0.4
    direction = sizes @ loadings
    direction /= np.linalg.norm(direction)
    others = np.linalg.qr(np.column_stack([direction, np.eye(21)[:, :20]]))[0][:, 1:]
    uniforms = qmc.Sobol(20, scramble=True, rng=generator).random(n_points)
    across = ndtri(np.clip(uniforms, 1e-16, 1.0 - 1e-16)) @ (loadings @ others).T
    own = generator.standard_normal((n_points, 1000))
    # Obligor k defaults where the coordinate is below this.
    turns = (thresholds - across - 0.2 * own) / (loadings @ direction)
    order = np.argsort(-turns, axis=1)
    lost = np.cumsum(sizes[order], axis=1)
    rows = np.arange(n_points)
    places = [order[rows, (lost <= loss).sum(axis=1)] for loss in LOSSES]
    return np.array([ndtr(turns[rows, place]).mean() for place in places])


def test_a_short_run_of_the_rule_meets_the_long_one():
    found = np.array([scramble(np.random.default_rng([3, number]), 1024) for number in range(8)])
    errors = np.hypot(found.std(axis=0, ddof=1) / np.sqrt(8.0), LONG_RUN[:, 1])
    # Student's t with seven degrees of freedom is beyond 5.4 once in a thousand times.
    assert (np.abs(found.mean(axis=0) - LONG_RUN[:, 0]) < 5.4 * errors).all()


@pytest.mark.parametrize(("tail_prob", "chosen"), [(0.002, [0, 1, 2, 3]), (1e-4, [4, 5])])
def test_the_loss_curve_meets_the_rule_near_where_it_is_aimed(tail_prob, chosen):
    model = glasserman_li()
    losses = LOSSES[chosen]
    values = np.array(
        [sums.above for sums in scrambles(model, at(aim(model, tail_prob), losses.tolist()), 256, 16)]
    ) * (2.0**-46 / 256)
    errors = np.hypot(values.std(axis=0, ddof=1) / 4.0, LONG_RUN[chosen, 1])
    assert (np.abs(values.mean(axis=0) - LONG_RUN[chosen, 0]) < 4.0 * errors).all()
