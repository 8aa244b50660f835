import numpy as np
import pytest

from acceleray.domain.moves import MoveKind
from acceleray.errors import NumericalError
from acceleray.numerics.moves import (
    apply_moves,
    draw_t_mixing,
    gaussian_moves,
    historical_moves,
    horizon_moves,
)
from acceleray.numerics.streams import Purpose, stream

LOGS = np.array([MoveKind.LOG, MoveKind.ABSOLUTE], dtype=np.int8)
LEVELS = np.column_stack([100.0 * 1.1 ** np.arange(8), 0.01 * np.arange(8)])


def test_logs_for_prices_and_differences_for_rates():
    moves = horizon_moves(LEVELS, LOGS, 2)
    assert moves.shape == (6, 2)
    np.testing.assert_allclose(moves[:, 0], 2 * np.log(1.1), rtol=1e-12)
    np.testing.assert_allclose(moves[:, 1], 0.02, rtol=1e-12)


def test_applying_a_move_undoes_taking_it():
    moves = horizon_moves(LEVELS, LOGS, 3)
    np.testing.assert_allclose(apply_moves(LEVELS[:-3], moves, LOGS), LEVELS[3:], rtol=1e-14, atol=1e-17)


def test_returns_are_simple():
    returns = np.array([MoveKind.RELATIVE, MoveKind.ABSOLUTE], dtype=np.int8)
    moves = horizon_moves(LEVELS, returns, 2)
    np.testing.assert_allclose(moves[:, 0], 1.1**2 - 1, rtol=1e-12)
    np.testing.assert_allclose(apply_moves(LEVELS[:-2], moves, returns), LEVELS[2:], rtol=1e-14, atol=1e-17)
    assert apply_moves(np.array([100.0, 0.0]), np.array([[-1.0, 0.0]]), returns).tolist() == [[0.0, 0.0]]


def test_kinds_are_codes_of_every_published_result():
    # A bool that says where moves are logs is the same to the kernels.
    assert {kind.name: int(kind) for kind in MoveKind} == {"ABSOLUTE": 0, "LOG": 1, "RELATIVE": 2}
    logs = LOGS.astype(bool)
    np.testing.assert_array_equal(horizon_moves(LEVELS, logs), horizon_moves(LEVELS, LOGS))
    np.testing.assert_array_equal(apply_moves(LEVELS[0], LEVELS, logs), apply_moves(LEVELS[0], LEVELS, LOGS))


def test_the_last_window_ends_today():
    moves, ends = historical_moves(LEVELS, LOGS, window_days=4, horizon_days=2)
    assert ends.tolist() == [4, 5, 6, 7]
    np.testing.assert_array_equal(moves, horizon_moves(LEVELS, LOGS, 2)[-4:])


def test_windows_that_do_not_overlap():
    moves, ends = historical_moves(LEVELS, LOGS, window_days=6, horizon_days=2, overlapping=False)
    assert ends.tolist() == [3, 5, 7]
    np.testing.assert_array_equal(moves, horizon_moves(LEVELS, LOGS, 2)[[1, 3, 5]])


def test_a_window_longer_than_the_history_is_refused():
    assert len(historical_moves(LEVELS, LOGS, window_days=7)[1]) == 7
    with pytest.raises(NumericalError, match="8 windows of 1 days need 9 dates, there were 8"):
        historical_moves(LEVELS, LOGS, window_days=8)


def test_a_price_that_is_not_positive_has_no_log():
    with pytest.raises(NumericalError, match="column 0 was not positive"):
        horizon_moves(np.array([[1.0, 0.0], [0.0, 0.0]]), LOGS)


def test_missing_history_stays_missing():
    levels = np.array([[np.nan, 0.0], [1.0, 0.1], [2.0, 0.3]])
    moves = horizon_moves(levels, LOGS)
    assert np.isnan(moves[0, 0])
    assert np.isfinite(moves[1]).all()


def test_normal_moves_are_the_root_times_the_normals():
    root = np.array([[0.02, 0.0, 0.0], [0.01, 0.03, 0.0], [0.0, 0.0, 0.0]])
    moves = gaussian_moves(stream(1, Purpose.MONTE_CARLO, 0), root, 50)
    normals = stream(1, Purpose.MONTE_CARLO, 0).standard_normal((50, 3))
    np.testing.assert_allclose(moves, normals @ root.T, atol=1e-16)


def test_student_moves_have_the_stated_variance_or_dispersion():
    n, dof = 200_000, 6.0
    for unit_variance, variance in ((True, 1.0), (False, dof / (dof - 2))):
        mixing = draw_t_mixing(stream(2, Purpose.MONTE_CARLO, 0), dof, n, unit_variance=unit_variance)
        # E[mixing**2] is the variance of the draw; its own standard error by the sample.
        squares = mixing[:, 0] ** 2
        assert squares.mean() == pytest.approx(variance, abs=5 * squares.std() / np.sqrt(n))


def test_a_variance_that_does_not_exist_is_refused():
    with pytest.raises(ValueError, match="dof must exceed 2"):
        draw_t_mixing(stream(2, Purpose.MONTE_CARLO, 0), 2.0, 10, unit_variance=True)
