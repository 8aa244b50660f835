import numpy as np
import pytest

from acceleray.errors import NumericalError
from acceleray.numerics.covariance import cholesky_root
from acceleray.numerics.repair import nearest_correlation, repair_covariance

BROKEN = np.array([[1.0, 0.9, -0.9], [0.9, 1.0, 0.9], [-0.9, 0.9, 1.0]])


def test_the_example_of_the_paper():
    # Higham (2002), section 4: the nearest correlation matrix to four digits.
    found, iterations = nearest_correlation(np.array([[1.0, 1.0, 0.0], [1.0, 1.0, 1.0], [0.0, 1.0, 1.0]]))
    expected = [[1.0, 0.7607, 0.1573], [0.7607, 1.0, 0.7607], [0.1573, 0.7607, 1.0]]
    np.testing.assert_allclose(found, expected, atol=5e-5)
    assert 1 < iterations < 100


def test_nothing_valid_lies_nearer():
    rng = np.random.default_rng(3)
    noise = rng.normal(size=(6, 6)) * 0.6
    matrix = np.clip(noise + noise.T, -1.0, 1.0)
    np.fill_diagonal(matrix, 1.0)
    nearest, _ = nearest_correlation(matrix)
    distance = np.linalg.norm(nearest - matrix)
    # The obtuse angle that characterises a projection onto a convex set, with 200 members of the set.
    for _ in range(200):
        draw = rng.normal(size=(6, rng.integers(1, 7)))
        other = draw @ draw.T
        other /= np.sqrt(np.outer(np.diag(other), np.diag(other)))
        assert np.sum((matrix - nearest) * (other - nearest)) <= 1e-8 * distance


@pytest.mark.parametrize("method", ["clip", "higham"])
def test_variances_stay_and_the_report_says_what_changed(method):
    deviations = np.array([2e-4, 1e-2, 0.0, 3.0])
    matrix = np.zeros((4, 4))
    moving = [0, 1, 3]
    matrix[np.ix_(moving, moving)] = BROKEN * np.outer(deviations[moving], deviations[moving])
    repaired, report = repair_covariance(matrix, method=method)
    np.testing.assert_array_equal(np.diag(repaired), np.diag(matrix))
    np.testing.assert_array_equal(repaired, repaired.T)
    assert report.method == method
    assert report.lowest_eigenvalue == pytest.approx(-0.8)
    # By symmetry every correlation falls from 0.9 to 0.5, the nearest at which the matrix is singular.
    assert report.largest_change == pytest.approx(0.4, abs=1e-9)
    assert (report.iterations > 0) == (method == "higham")
    cholesky_root(repaired)


def test_a_singular_matrix_is_left_alone():
    matrix = np.outer([1.0, 2.0, 0.0], [1.0, 2.0, 0.0])
    repaired, report = repair_covariance(matrix, method="higham")
    assert repaired is matrix
    assert (report.method, report.largest_change, report.iterations) == ("none", 0.0, 0)


def test_what_cannot_be_repaired_is_refused_by_column():
    broken = np.eye(3)
    broken[1, 1] = np.nan
    with pytest.raises(NumericalError, match="not finite in column 1"):
        repair_covariance(broken, method="clip")
    broken = np.eye(3)
    broken[2, 2] = -1.0
    with pytest.raises(NumericalError, match="column 2 has variance -1"):
        repair_covariance(broken, method="clip")
    with pytest.raises(NumericalError, match="had not met after 1 iterations"):
        nearest_correlation(BROKEN, max_iterations=1)
