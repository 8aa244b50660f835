"""Monte-Carlo moves of all factors over a horizon, from pseudo-random streams or from Sobol points.

The covariance is of daily moves, and days are independent, so that of h days is h times as large. A draw over
h days is either the sum of h daily draws, or one draw with the covariance of h days. For normal moves both
have the same law; for Student-t moves the sum is closer to a normal. Returns (`MoveKind.RELATIVE`) are added
like the others: what compounding would add to a sum of ten daily returns of 1 % is 0.07 % at one standard
deviation.
"""

from __future__ import annotations

import math
from typing import Literal

import numpy as np
import numpy.typing as npt
import scipy

from acceleray.domain.moves import MoveKind
from acceleray.errors import NumericalError
from acceleray.numerics.moves import MoveKinds, correlated, draw_t_mixing, gaussian_moves, t_mixing
from acceleray.numerics.sobol import chi_squares

__all__ = ["Step", "martingale_drift", "quasi_dimensions", "quasi_moves", "random_moves"]

FloatArray = npt.NDArray[np.float64]
Step = Literal["daily", "horizon"]


def random_moves(
    generator: np.random.Generator,
    root: FloatArray,
    n_paths: int,
    *,
    horizon_days: int,
    step: Step,
    dof: float | None = None,
    unit_variance: bool = True,
) -> FloatArray:
    """Draw moves over a horizon from one stream.

    Parameters
    ----------
    generator : numpy.random.Generator
        The block's own stream. Of each draw the normals come first, then the chi-squares, so that normal and
        Student-t moves of one draw share their normals.
    root : ndarray of shape (n_factors, n_normals)
        Any square root of the covariance of daily moves.
    n_paths : int
        Rows to draw.
    horizon_days : int
        Business days.
    step : {"daily", "horizon"}
        Sum of daily draws, or one draw with the covariance of the horizon.
    dof : float, optional
        Degrees of freedom of Student-t moves; normal ones without.
    unit_variance : bool
        Whether t moves have the stated covariance; otherwise it is their dispersion matrix.

    Returns
    -------
    ndarray of shape (n_paths, n_factors)
        Of zero mean.
    """
    draws, scale = _draws(horizon_days, step)
    total = np.zeros((n_paths, root.shape[0]))
    for _ in range(draws):
        moves = gaussian_moves(generator, root, n_paths)
        if dof is not None:
            moves *= draw_t_mixing(generator, dof, n_paths, unit_variance=unit_variance)
        total += moves
    return total if scale == 1.0 else total * scale


def quasi_dimensions(n_components: int, *, horizon_days: int, step: Step) -> int:
    """Count the coordinates of a point from which `quasi_moves` makes one path."""
    return _draws(horizon_days, step)[0] + n_components


def quasi_moves(
    uniforms: FloatArray,
    root: FloatArray,
    *,
    horizon_days: int,
    step: Step,
    dof: float | None = None,
    unit_variance: bool = True,
) -> FloatArray:
    """Turn points of the unit cube into moves over a horizon, with the law of `random_moves`.

    Parameters
    ----------
    uniforms : ndarray of shape (n_paths, quasi_dimensions)
        Strictly between 0 and 1. The first coordinates make the chi-squares, one per draw, and are unused
        for normal moves; so normal and Student-t moves from the same points share their normals.
    root : ndarray of shape (n_factors, n_components)
        Square root of the covariance of daily moves, the components that matter most first.
    horizon_days, step, dof, unit_variance
        As in `random_moves`.

    Returns
    -------
    ndarray of shape (n_paths, n_factors)

    Notes
    -----
    Given the chi-squares W of its days, a sum of daily t moves is normal with covariance C times the sum of
    the squared mixing factors. One normal per component therefore stands for all days, exactly in law, and
    a point needs as many coordinates as days and components, not their product.
    """
    draws, scale = _draws(horizon_days, step)
    if uniforms.shape[1] != draws + root.shape[1]:
        raise ValueError(
            f"{draws} draws of {root.shape[1]} components take {draws + root.shape[1]} coordinates, "
            f"there were {uniforms.shape[1]}"
        )
    if dof is None:
        scales = np.full((uniforms.shape[0], 1), math.sqrt(draws) * scale)
    else:
        mixing = t_mixing(chi_squares(uniforms[:, :draws], dof), dof, unit_variance=unit_variance)
        squares = np.zeros((uniforms.shape[0], 1))
        for day in range(draws):
            squares[:, 0] += mixing[:, day] ** 2
        scales = np.sqrt(squares) * scale
    normals: FloatArray = scipy.special.ndtri(uniforms[:, draws:])
    total: FloatArray = correlated(normals, root) * scales
    return total


def martingale_drift(
    covariance: FloatArray, kinds: MoveKinds, *, horizon_days: int, dof: float | None = None
) -> FloatArray:
    """Compute what to add to moves of zero mean so that the expected level is today's.

    Parameters
    ----------
    covariance : ndarray of shape (n_factors, n_factors)
        Of daily moves.
    kinds : ndarray of int8, shape (n_factors,)
        `MoveKind` of every factor.
    horizon_days : int
        Business days.
    dof : float, optional
        Degrees of freedom of Student-t moves.

    Returns
    -------
    ndarray of shape (n_factors,)
        Minus half the variance over the horizon for log moves; zero for differences and returns, whose
        expected level is today's already.

    Raises
    ------
    NumericalError
        If Student-t moves are logs: the exponential of a Student-t number has no expectation, whatever its
        degrees of freedom, so no drift makes it today's level.
    """
    drift = np.zeros(covariance.shape[0])
    logs = kinds == MoveKind.LOG
    variances = np.diag(covariance)[logs]
    if dof is not None and (variances > 0).any():
        column = np.nonzero(logs)[0][np.argmax(variances > 0)]
        raise NumericalError(
            f"martingale drift: factor column {column} has Student-t log moves, whose expected level is "
            "infinite",
            hint="Use zero drift, normal moves, or relative moves for this kind of factor.",
        )
    drift[logs] = -0.5 * horizon_days * variances
    return drift


def _draws(horizon_days: int, step: Step) -> tuple[int, float]:
    """How many draws make a move, and by what their sum is multiplied."""
    if horizon_days < 1:
        raise ValueError(f"horizon_days must be at least 1, was {horizon_days}")
    return (horizon_days, 1.0) if step == "daily" else (1, math.sqrt(horizon_days))
