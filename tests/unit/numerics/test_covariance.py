import numpy as np
import pytest
from sklearn import covariance as sklearn_covariance

from acceleray.errors import NumericalError
from acceleray.numerics.covariance import (
    cholesky_root,
    clip_eigenvalues,
    estimate_covariance,
    ewma_covariance,
    shrunk_covariance,
)


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


def test_a_move_that_is_not_finite_is_refused_by_column():
    for estimate in (lambda x: ewma_covariance(x, decay=0.9), shrunk_covariance):
        with pytest.raises(NumericalError, match="finite, column 1 was not"):
            estimate(np.array([[1.0, np.nan]]))
        with pytest.raises(NumericalError, match="at least one move"):
            estimate(np.empty((0, 2)))


def test_a_covariance_that_is_not_finite_is_refused_by_column():
    matrix = np.eye(3)
    matrix[2, :2] = matrix[:2, 2] = matrix[2, 2] = np.nan
    for kernel in (cholesky_root, clip_eigenvalues):
        with pytest.raises(NumericalError, match="not finite in column 2"):
            kernel(matrix)


@pytest.mark.parametrize(("n", "p"), [(500, 8), (60, 30), (20, 40)])
def test_shrinkage_agrees_with_scikit_learn_on_standardised_moves(n, p):
    rng = np.random.default_rng(4)
    common = rng.standard_t(5, size=(n, 1))
    moves = (common + rng.standard_t(5, size=(n, p))) * np.geomspace(1e-4, 1.0, p)
    found, intensity = shrunk_covariance(moves)
    deviations = np.sqrt((moves**2).mean(axis=0))
    expected, expected_intensity = sklearn_covariance.ledoit_wolf(moves / deviations, assume_centered=True)
    assert 0 < intensity < 1
    # The same formula with sums in another order.
    assert intensity == pytest.approx(expected_intensity, rel=1e-11)
    np.testing.assert_allclose(found / np.outer(deviations, deviations), expected, atol=1e-13)
    np.testing.assert_array_equal(found, found.T)
    assert np.linalg.eigvalsh(found / np.outer(deviations, deviations))[0] > 0


def test_shrinkage_knows_neither_unit_nor_sign():
    moves = np.random.default_rng(4).normal(size=(50, 5))
    scale = np.array([1.0, -1.0, 1e-4, 2.0, -3.0])
    found, intensity = shrunk_covariance(moves * scale)
    expected, same = shrunk_covariance(moves)
    assert intensity == pytest.approx(same, rel=1e-12)
    np.testing.assert_allclose(found, expected * np.outer(scale, scale), rtol=1e-11)


def test_shrinkage_of_factors_that_stand_still_or_alone():
    assert shrunk_covariance(np.zeros((5, 2)))[0].tolist() == [[0.0, 0.0], [0.0, 0.0]]
    found, intensity = shrunk_covariance(np.array([[0.0, 2.0], [0.0, -2.0]]))
    assert found.tolist() == [[0.0, 0.0], [0.0, 4.0]]
    assert intensity == 0.0


def test_the_method_of_the_settings():
    moves = np.random.default_rng(4).normal(size=(50, 5))
    np.testing.assert_array_equal(
        estimate_covariance(moves, method="ewma", decay=0.9)[0], ewma_covariance(moves, decay=0.9)
    )
    assert estimate_covariance(moves, method="shrinkage", decay=0.9)[1] == shrunk_covariance(moves)[1]


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
