import numpy as np
import pytest
from numpy.polynomial import chebyshev as numpy_chebyshev

from acceleray.errors import NumericalError
from acceleray.numerics.chebyshev import axis_nodes, coefficients_1d, fit, grid

BOX = [np.array([0.0, 1.0, 2.0]), np.array([-1.0, 1.0]), np.array([3.0, 3.0])]
COUNTS = [12, 16, 1]


def smooth(points):
    return np.exp(points[0]) * np.sin(2.0 * points[1]) * points[2] + np.abs(points[0] - 1.0)


def scattered(n):
    points = np.random.default_rng(1).uniform(0.0, 1.0, (3, n))
    points[0] *= 2.0
    points[1] = 2.0 * points[1] - 1.0
    points[2] = 3.0
    return points


def test_a_polynomial_is_found_again():
    wanted = np.array([0.5, -1.0, 0.25, 2.0])
    values = numpy_chebyshev.chebval(axis_nodes(np.array([-1.0, 1.0]), 6), wanted)
    # Six sums of numbers of size one.
    np.testing.assert_allclose(coefficients_1d(values), [*wanted, 0.0, 0.0], atol=1e-14)


def test_two_pieces_around_a_kink_converge_like_a_smooth_function():
    found = fit(smooth(grid(BOX, COUNTS)), BOX, COUNTS)
    points = scattered(2000)
    # exp to degree 11 on a piece of width 1: e**2 * 3 * 0.25**12 / 12! is 1e-14, sin to 15 less than 1e-12.
    np.testing.assert_allclose(found.evaluate(points), smooth(points), atol=1e-11)


def test_corners_belong_to_the_box():
    found = fit(smooth(grid(BOX, COUNTS)), BOX, COUNTS)
    corners = np.array([[0.0, 2.0, 1.0], [-1.0, 1.0, 0.0], [3.0, 3.0, 3.0]])
    np.testing.assert_allclose(found.evaluate(corners), smooth(corners), atol=1e-11)
    assert found.low.tolist() == [0.0, -1.0, 3.0]
    assert found.high.tolist() == [2.0, 1.0, 3.0]


def test_what_is_left_out_changes_no_more_than_its_sum():
    values = smooth(grid(BOX, COUNTS))
    whole, part = fit(values, BOX, COUNTS), fit(values, BOX, COUNTS, drop=1e-4)
    points = scattered(2000)
    assert 0.0 < part.dropped <= 1e-4
    assert part.coefficients.size < whole.coefficients.size / 2
    assert np.abs(part.evaluate(points) - whole.evaluate(points)).max() <= part.dropped


def test_the_bits_of_a_point_do_not_depend_on_its_place():
    found = fit(smooth(grid(BOX, COUNTS)), BOX, COUNTS)
    points = scattered(257)
    together = found.evaluate(points)
    order = np.random.default_rng(2).permutation(257)
    assert np.array_equal(found.evaluate(points[:, order]), together[order])
    for i in (0, 100, 256):
        assert found.evaluate(points[:, i : i + 1])[0] == together[i]


@pytest.mark.parametrize("n_dims", [1, 2, 4])
def test_dimensions(n_dims):
    edges, counts = [np.array([-1.0, 1.0])] * n_dims, [3, 5, 4, 6][:n_dims]
    found = fit(grid(edges, counts).prod(axis=0) + 1.0, edges, counts)
    points = np.random.default_rng(3).uniform(-1, 1, (n_dims, 50))
    np.testing.assert_allclose(found.evaluate(points), points.prod(axis=0) + 1.0, atol=1e-13)


def test_a_function_that_is_zero():
    edges = [np.array([0.0, 1.0])] * 2
    assert fit(np.zeros(9), edges, [3, 3], drop=1.0).evaluate(np.full((2, 4), 0.5)).tolist() == [0.0] * 4


def test_nothing_is_extrapolated():
    found = fit(smooth(grid(BOX, COUNTS)), BOX, COUNTS)
    with pytest.raises(NumericalError, match=r"1 of 2 points were outside the box, first point 1 with 2\.5"):
        found.evaluate(np.array([[1.0, 2.5], [0.0, 0.0], [3.0, 3.0]]))
    with pytest.raises(NumericalError, match="not finite"):
        found.evaluate(np.array([[np.nan], [0.0], [3.0]]))
    with pytest.raises(NumericalError, match="not finite"):
        fit(np.array([1.0, np.inf]), [np.array([0.0, 1.0])], [2])
