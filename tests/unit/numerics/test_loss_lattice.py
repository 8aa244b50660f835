"""The lattice: units found and not found, groups, and laws of the loss given default on it."""

import numpy as np
import pytest
from scipy import stats
from tests.credit_books import book, equal_book

from acceleray.errors import NumericalError
from acceleray.numerics.loss_lattice import CHOSEN_POINTS, Rounding, find_unit, lattice_book


@pytest.mark.parametrize(
    ("losses", "unit"),
    [
        ([4.5, 6.0, 0.0, 7.5], 1.5),
        ([7.0], 7.0),
        ([0.0, 0.0], 1.0),
        # Neither 0.1 nor 0.45 is a binary fraction.
        (0.45 * np.array([100.1, 250.3, 17.7]), 0.045),
        (np.arange(1.0, 101.0) * 1e9, 1e9),
        (np.arange(1.0, 101.0) * 1e-9, 1e-9),
        # Ratios without a common measure.
        ([1.0, np.sqrt(2.0)], None),
        ([1.0, np.pi, np.e], None),
        # A cent on a book of a hundred million is one, but of too many points.
        ([1e8, 1e8 + 0.01], None),
    ],
)
def test_units(losses, unit):
    found = find_unit(np.asarray(losses))
    assert found is None if unit is None else found == pytest.approx(unit, rel=1e-9)


def test_like_obligors_are_counted_together_in_any_order():
    rng = np.random.default_rng(1)
    rows = np.array([[0.01, 2.0], [0.01, 2.0], [0.02, 2.0], [0.01, 3.0], [0.01, 0.0], [0.01, 2.0]])
    books = []
    for _ in range(3):
        rng.shuffle(rows)
        books.append(lattice_book(book(rows[:, 0], rows[:, 1], [0.3, 0.4])))
    for found in books:
        assert sorted(found.counts.tolist()) == [1, 1, 3]
        # One direction is enough for loadings that are all alike.
        assert (found.unit, found.exact, found.n_axes, found.n_points) == (1.0, True, 1, 12)
        for name in ("counts", "thresholds", "severity", "positions", "loadings"):
            assert (getattr(found, name) == getattr(books[0], name)).all()


def test_a_million_equal_obligors_are_one_group():
    found = lattice_book(equal_book(10**6, 0.01, 0.2))
    assert (found.counts.tolist(), found.n_points) == ([10**6], 10**6 + 1)


def test_losses_between_points_are_rounded_and_split():
    found = lattice_book(book([0.1, 0.2], [2.25, 3.0], [0.5]), unit=1.0)
    assert not found.exact
    laws = {side: found.severities(side, np.zeros(2)) for side in Rounding}
    assert (laws[Rounding.DOWN].offsets.tolist(), laws[Rounding.UP].offsets.tolist()) == ([2, 3], [3, 3])
    split = laws[Rounding.SPLIT]
    assert split.weights.tolist() == [0.75, 0.25, 1.0]
    assert split.largest.tolist() == [3, 3]


def test_without_a_lattice_a_unit_is_chosen():
    found = lattice_book(book([0.1, 0.2], [1.0, np.sqrt(2.0)], [0.5]))
    assert (found.exact, found.unit) == (False, (1.0 + np.sqrt(2.0)) / CHOSEN_POINTS)


@pytest.mark.parametrize("unit", [0.0, -1.0, np.nan, np.inf])
def test_bad_unit(unit):
    with pytest.raises(NumericalError, match="unit"):
        lattice_book(book([0.1], [1.0], [0.5]), unit=unit)


@pytest.mark.parametrize(("mean", "std"), [(0.45, 0.2), (0.1, 0.25), (0.9, 0.05)])
def test_beta_losses_keep_their_mean_and_are_enclosed(mean, std):
    found = lattice_book(book([0.1], [37.3], [0.5], lgd=(mean, std, 0.0)), unit=0.5)
    precision = mean * (1.0 - mean) / std**2 - 1.0
    law = stats.beta(mean * precision, (1.0 - mean) * precision, scale=37.3)
    cumulative = {}
    for side in Rounding:
        severities = found.severities(side, np.zeros(1))
        assert severities.weights.sum() == pytest.approx(1.0, abs=1e-14)
        steps = 0.5 * (severities.offsets[0] + np.arange(severities.weights.size))
        cumulative[side] = np.cumsum(severities.weights)
        if side is Rounding.SPLIT:
            # Four Gauss points per unit; the density has a pole at an end of the second law.
            assert severities.weights @ steps == pytest.approx(37.3 * mean, rel=2e-3 if std == 0.25 else 1e-7)
    exact = law.cdf(steps)
    assert (cumulative[Rounding.DOWN] >= exact - 1e-14).all()
    assert (cumulative[Rounding.UP] <= exact + 1e-14).all()


def test_correlated_losses_are_those_of_the_stated_map():
    found = lattice_book(book([0.1], [10.0], [0.5], lgd=(0.4, 0.2, 0.6)), unit=0.1)
    assert found.correlated
    eta = stats.norm.ppf((np.arange(200_000) + 0.5) / 200_000)
    precision = 0.4 * 0.6 / 0.2**2 - 1.0
    for score in (-2.0, 0.0, 1.5):
        uniform = stats.norm.cdf(-(0.6 * score + 0.8 * eta))
        direct = 10.0 * stats.beta.ppf(uniform, 0.4 * precision, 0.6 * precision).mean()
        law = found.severities(Rounding.SPLIT, np.array([score]))
        # The direct mean is a midpoint rule of 200,000 slices.
        assert law.weights @ (0.1 * np.arange(law.weights.size)) == pytest.approx(direct, rel=1e-5)
