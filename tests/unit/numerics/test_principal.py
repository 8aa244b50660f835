import numpy as np
import pytest

from acceleray.errors import NumericalError
from acceleray.numerics.principal import principal_root, symmetric_eigen


def spread(n, rank, seed=0):
    draw = np.random.default_rng(seed).normal(size=(rank, n)) * np.geomspace(1e-4, 1.0, n)
    return draw.T @ draw


@pytest.mark.parametrize(("n", "rank"), [(1, 1), (6, 9), (30, 12)])
def test_eigenvalues_agree_with_lapack(n, rank):
    matrix = spread(n, rank)
    values, vectors = symmetric_eigen(matrix)
    # Backward stable algorithms: errors are a few roundings of the largest eigenvalue per row.
    slack = 1e-14 * n * values[0]
    np.testing.assert_allclose(values, np.linalg.eigvalsh(matrix)[::-1], atol=slack)
    np.testing.assert_allclose((vectors * values) @ vectors.T, matrix, atol=slack)
    np.testing.assert_allclose(vectors.T @ vectors, np.eye(n), atol=1e-14 * n)


def test_signs_and_ties_are_settled():
    # Every vector is an eigenvector of the identity; the answer is the same as for a scaled one.
    np.testing.assert_array_equal(symmetric_eigen(3.0 * np.eye(4))[1], np.eye(4))
    values, vectors = symmetric_eigen(np.array([[2.0, -1.0], [-1.0, 2.0]]))
    np.testing.assert_allclose(values, [3.0, 1.0], rtol=1e-15)
    np.testing.assert_allclose(vectors, np.array([[1.0, 1.0], [-1.0, 1.0]]) / np.sqrt(2.0), rtol=1e-15)


@pytest.mark.parametrize("gradient", [None, np.linspace(-1.0, 2.0, 10)])
def test_the_root_squares_to_the_covariance(gradient):
    for rank in (4, 25):
        matrix = spread(10, rank)
        root = principal_root(matrix, gradient=gradient)
        assert root.shape == (10, min(rank, 10))
        scale = np.sqrt(np.outer(np.diag(matrix), np.diag(matrix)))
        # In units of correlations, where rounding of ten terms and what counts as zero, 1e-11, may show.
        np.testing.assert_allclose(root @ root.T / scale, matrix / scale, atol=1e-10)


def test_the_first_column_carries_all_of_the_linear_gain():
    matrix, gradient = spread(10, 25), np.linspace(-1.0, 2.0, 10)
    gains = gradient @ principal_root(matrix, gradient=gradient)
    assert gains[0] ** 2 == pytest.approx(gradient @ matrix @ gradient, rel=1e-12)
    np.testing.assert_allclose(gains[1:], 0.0, atol=1e-6 * gains[0])


def test_components_come_in_order_and_ignore_units():
    matrix = spread(8, 20)
    scale = np.geomspace(1e3, 1e-3, 8)
    one = principal_root(matrix) / np.sqrt(np.diag(matrix))[:, None]
    assert (np.diff((one**2).sum(axis=0)) < 0).all()
    two = principal_root(matrix * np.outer(scale, scale))
    np.testing.assert_allclose(two / (np.sqrt(np.diag(matrix)) * scale)[:, None], one, atol=1e-10)


def test_a_factor_that_never_moves_and_a_gradient_without_risk():
    matrix = np.array([[4.0, 0.0], [0.0, 0.0]])
    assert principal_root(matrix).tolist() == [[2.0], [0.0]]
    assert principal_root(matrix, gradient=np.array([0.0, 5.0])).tolist() == [[2.0], [0.0]]
    assert principal_root(np.zeros((2, 2))).shape == (2, 0)


def test_bad_matrices_are_refused():
    with pytest.raises(NumericalError, match="not positive semidefinite"):
        principal_root(np.array([[1.0, 2.0], [2.0, 1.0]]))
    with pytest.raises(NumericalError, match="gradient: column 1"):
        principal_root(np.eye(2), gradient=np.array([0.0, np.inf]))
