"""Factor moves: how a level becomes another one."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from acceleray.domain.moves import MoveKind
from acceleray.errors import NumericalError
from acceleray.numerics.kernels import accumulate

__all__ = [
    "MoveKinds",
    "apply_moves",
    "correlated",
    "draw_t_mixing",
    "gaussian_moves",
    "historical_moves",
    "horizon_moves",
    "t_mixing",
]

FloatArray = npt.NDArray[np.float64]
# Codes of `MoveKind`. An array of bool that says where moves are logs is the same to the kernels.
MoveKinds = npt.NDArray[np.int8] | npt.NDArray[np.bool_]


def horizon_moves(levels: FloatArray, kinds: MoveKinds, horizon_days: int = 1) -> FloatArray:
    """Move of every factor over each overlapping window of `horizon_days`.

    Parameters
    ----------
    levels : ndarray of shape (n_dates, n_factors)
        NaN where a factor has no value yet.
    kinds : ndarray of int8, shape (n_factors,)
        `MoveKind` of every factor.
    horizon_days : int
        Sessions from first to last close.

    Returns
    -------
    ndarray of shape (n_dates - horizon_days, n_factors)
        Row i is the move that ends at ``levels[i + horizon_days]``; NaN where either end is.

    Raises
    ------
    NumericalError
        If a level that moves by logs or returns is not positive.
    """
    if horizon_days < 1:
        raise ValueError(f"horizon_days must be at least 1, was {horizon_days}")
    later, earlier = levels[horizon_days:], levels[:-horizon_days]
    _refuse_not_positive(levels, kinds)
    moves = later - earlier
    logs, returns = kinds == MoveKind.LOG, kinds == MoveKind.RELATIVE
    moves[:, logs] = np.log(later[:, logs] / earlier[:, logs])
    moves[:, returns] /= earlier[:, returns]
    return moves


def historical_moves(
    levels: FloatArray,
    kinds: MoveKinds,
    *,
    window_days: int,
    horizon_days: int = 1,
    overlapping: bool = True,
) -> tuple[FloatArray, npt.NDArray[np.int64]]:
    """Last `window_days` moves over `horizon_days`, newest last.

    Returns
    -------
    moves : ndarray of shape (n_scenarios, n_factors)
        NaN where the history of a factor does not reach back.
    ends : ndarray of int64, shape (n_scenarios,)
        Row of `levels` at which each move ends. Non-overlapping windows end at the last row and every
        `horizon_days` before it, as many as fit into `window_days`.

    Raises
    ------
    NumericalError
        If there are fewer dates than the windows need.
    """
    step = 1 if overlapping else horizon_days
    count = window_days if overlapping else window_days // horizon_days
    first_end = len(levels) - 1 - (count - 1) * step
    if count < 1 or first_end - horizon_days < 0:
        needed = (count - 1) * step + horizon_days + 1
        raise NumericalError(
            f"historical moves: {count} windows of {horizon_days} days need {needed} dates, "
            f"there were {len(levels)}"
        )
    ends = np.arange(first_end, len(levels), step, dtype=np.int64)
    moves = horizon_moves(levels[first_end - horizon_days :], kinds, horizon_days)[::step]
    return moves, ends


def apply_moves(base: FloatArray, moves: FloatArray, kinds: MoveKinds) -> FloatArray:
    """Shock `base` by `moves`; a factor whose move is NaN comes out as NaN.

    Parameters
    ----------
    base : ndarray of shape (n_factors,) or (n_scenarios, n_factors)
        Levels before the move.
    moves : ndarray of shape (n_scenarios, n_factors)
        Differences, log changes or returns.
    kinds : ndarray of int8, shape (n_factors,)
        `MoveKind` of every factor.

    Returns
    -------
    ndarray of shape (n_scenarios, n_factors)
        Shocked levels.
    """
    shocked = base + moves
    before = np.broadcast_to(base, shocked.shape)
    logs, returns = kinds == MoveKind.LOG, kinds == MoveKind.RELATIVE
    shocked[:, logs] = before[:, logs] * np.exp(moves[:, logs])
    shocked[:, returns] = before[:, returns] * (1.0 + moves[:, returns])
    return shocked


def gaussian_moves(generator: np.random.Generator, root: FloatArray, n_paths: int) -> FloatArray:
    """Draw normal moves with covariance ``root @ root.T`` and zero mean.

    Parameters
    ----------
    generator : numpy.random.Generator
        The block's own stream.
    root : ndarray of shape (n_factors, n_normals)
        Any square root of the covariance.
    n_paths : int
        Rows to draw.

    Returns
    -------
    ndarray of shape (n_paths, n_factors)

    """
    return correlated(generator.standard_normal((n_paths, root.shape[1])), root)


def correlated(normals: FloatArray, root: FloatArray) -> FloatArray:
    """Turn independent normals into moves with covariance ``root @ root.T``.

    Parameters
    ----------
    normals : ndarray of shape (n_paths, n_normals)
        Independent, of unit variance.
    root : ndarray of shape (n_factors, n_normals)
        Any square root of the covariance.

    Returns
    -------
    ndarray of shape (n_paths, n_factors)

    Notes
    -----
    The product is summed over the normals in their order, element by element: a BLAS product may split its
    sums by the number of threads or rows, and then the bits would depend on the machine.
    """
    # A Cholesky root is zero above its diagonal, and in the whole column of a fixed factor.
    factors, used = np.nonzero(root)
    moves = np.zeros((root.shape[0], normals.shape[0]))
    accumulate(np.ascontiguousarray(normals.T), used, root[factors, used], factors, moves)
    return np.ascontiguousarray(moves.T)


def draw_t_mixing(
    generator: np.random.Generator, dof: float, n_paths: int, *, unit_variance: bool
) -> FloatArray:
    """Draw the common factor that turns normal rows into Student-t rows, shape (n_paths, 1).

    Parameters
    ----------
    dof : float
        Degrees of freedom; above 2 when `unit_variance`.
    unit_variance : bool
        Keep the covariance of the normals; otherwise it becomes the dispersion matrix.
    """
    _check_dof(dof, unit_variance)
    return t_mixing(generator.chisquare(dof, size=(n_paths, 1)), dof, unit_variance=unit_variance)


def t_mixing(chi_square: FloatArray, dof: float, *, unit_variance: bool) -> FloatArray:
    """Turn chi-squares into factors that make normals Student-t; parameters are those of `draw_t_mixing`."""
    _check_dof(dof, unit_variance)
    numerator = dof - 2.0 if unit_variance else dof
    mixing: FloatArray = np.sqrt(numerator / chi_square)
    return mixing


def _check_dof(dof: float, unit_variance: bool) -> None:
    if dof <= (2.0 if unit_variance else 0.0):
        raise ValueError(f"dof must exceed {2 if unit_variance else 0}, was {dof}")


def _refuse_not_positive(levels: FloatArray, kinds: MoveKinds) -> None:
    ratios = kinds != MoveKind.ABSOLUTE
    bad = np.nonzero((levels[:, ratios] <= 0).any(axis=0))[0]
    if bad.size:
        column = np.nonzero(ratios)[0][bad[0]]
        raise NumericalError(
            f"log or relative moves: a level of factor column {column} was not positive",
            hint="A factor that can fall to zero moves by differences.",
        )
