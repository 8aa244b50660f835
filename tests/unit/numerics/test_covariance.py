import numpy as np
import pytest

from acceleray.errors import NumericalError
from acceleray.numerics.covariance import cholesky_root, clip_eigenvalues, ewma_covariance


def test_weights_decay_into_the_past():
    moves = np.random.default_rng(0).normal(size=(40, 5))
    weights = 0.9 ** np.arange(39, -1, -1)
    expected = (moves * (weights / weights.sum())[:, None]).T @ moves
    found = ewma_covariance(moves, decay=0.9)
    np.testing.assert_allclose(found, expected, rtol=1e-12, atol=1e-15)
    np.testing.assert_array_equal(found, found.T)


def test_a_factor_does_not_depend_on_the_others():
    moves = np.random.default_rng(0).normal(size=(40, 5))
    np.testing.assert_array_equal(
        ewma_covariance(moves, decay=0.97)[:3, :3], ewma_covariance(moves[:, :3], decay=0.97)
    )


def test_a_move_that_is_not_finite_is_refused():
    with pytest.raises(NumericalError, match="finite"):
        ewma_covariance(np.array([[1.0, np.nan]]), decay=0.9)


def test_the_root_squares_to_the_matrix():
    draw = np.random.default_rng(1).normal(size=(8, 6))
    matrix = draw.T @ draw
    root = cholesky_root(matrix)
    np.testing.assert_allclose(root, np.linalg.cholesky(matrix), rtol=1e-9, atol=1e-12)


def test_a_singular_matrix_has_a_root():
    draw = np.random.default_rng(2).normal(size=(3, 6))
    matrix = draw.T @ draw
    root = cholesky_root(matrix)
    assert (np.diag(root) > 0).sum() == 3
    np.testing.assert_allclose(root @ root.T, matrix, atol=1e-10 * np.abs(matrix).max())


def test_a_factor_that_never_moves_has_a_zero_row():
    root = cholesky_root(np.array([[4.0, 0.0, 2.0], [0.0, 0.0, 0.0], [2.0, 0.0, 5.0]]))
    np.testing.assert_array_equal(root, [[2.0, 0.0, 0.0], [0.0, 0.0, 0.0], [1.0, 0.0, 2.0]])


def test_an_indefinite_matrix_is_refused_and_can_be_repaired():
    matrix = np.array([[1.0, 0.9, -0.9], [0.9, 1.0, 0.9], [-0.9, 0.9, 1.0]]) * 4.0
    with pytest.raises(NumericalError, match="not positive semidefinite"):
        cholesky_root(matrix)
    repaired, lowest = clip_eigenvalues(matrix)
    assert lowest == pytest.approx(-0.8)
    np.testing.assert_allclose(np.diag(repaired), 4.0, rtol=1e-12)
    assert np.linalg.eigvalsh(repaired)[0] > -1e-12
    cholesky_root(repaired)


def test_a_good_matrix_is_left_alone():
    matrix = np.array([[1.0, 0.5], [0.5, 1.0]])
    assert clip_eigenvalues(matrix)[0] is matrix
