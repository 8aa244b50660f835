"""What a default costs: the laws of the loss given default.

The loss given default is fixed, or Beta distributed with a mean and a standard deviation. With a correlation
``r`` it moves with the obligor's systematic score ``s`` (`LossModel.systematic_scores`; low is bad): the
standard normal

    u = r s + sqrt(1 - r^2) eta

is mapped to the Beta quantile of ``Phi(-u)``, so that a bad year costs more per default too. The stated mean
is the mean over all years; given default it is higher where ``r > 0``.

The quantile, and what depends on the score, are smooth functions of one variable. They are tabulated once per
distinct law as polynomials on equal pieces of [-16, 16], with as many pieces as bring the measured error down
to `TOLERANCE`, an absolute error of a fraction in [0, 1]. Beyond 16 standard deviations they stay constant.
Tables cost some milliseconds per distinct law and are kept; a book of many obligors should share laws.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from typing import TypeAlias

import numpy as np
import numpy.typing as npt
from scipy.special import betaincinv, ndtr

from acceleray.errors import NumericalError
from acceleray.numerics.read_only import freeze_arrays
from acceleray.numerics.recovery_loops import REACH, TERMS, lgd_values, table_values, window_moments

__all__ = [
    "TOLERANCE",
    "FunctionTable",
    "MomentTables",
    "QuantileTables",
    "Recoveries",
    "beta_parameters",
    "draw",
    "moment_tables",
    "moments",
    "outcomes",
    "quantile_tables",
    "table_at",
    "tabulate_functions",
]

FloatArray: TypeAlias = npt.NDArray[np.float64]
IntArray: TypeAlias = npt.NDArray[np.int64]

TOLERANCE = 1e-12
# Pieces of [-16, 16] to begin with and to end with: where a law is all but two atoms, its quantile is all but
# a step, and the tables stop at an error that matters on an interval of u shorter than 0.004.
FEWEST_PIECES = 128
MOST_PIECES = 8192
# Above it for both parameters the Beta law is so close to a normal one that Cornish and Fisher's expansion is
# exact to rounding, and SciPy's iteration need not be.
NEARLY_NORMAL = 1e8


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Recoveries:
    """The distinct laws of the loss given default of a book.

    Parameters
    ----------
    mean : ndarray of shape (n_laws,)
        Fractions in [0, 1].
    std : ndarray of shape (n_laws,)
        Standard deviations, ``0 <= std^2 < mean (1 - mean)`` or 0; zero is a fixed loss given default.
    correlation : ndarray of shape (n_laws,)
        ``r``, in [0, 1); no effect where `std` is 0.

    Raises
    ------
    NumericalError
        If a value is out of range, or the three differ in length.
    """

    mean: FloatArray
    std: FloatArray
    correlation: FloatArray

    def __post_init__(self) -> None:
        if not self.mean.shape == self.std.shape == self.correlation.shape or self.mean.ndim != 1:
            raise NumericalError("mean, std and correlation of recoveries must be vectors of one length")
        # Written so that NaN fails too.
        if not ((self.mean >= 0.0) & (self.mean <= 1.0)).all():
            raise NumericalError("every mean loss given default must lie in [0, 1]")
        spread = self.mean * (1.0 - self.mean)
        if not ((self.std == 0.0) | ((self.std > 0.0) & (self.std * self.std < spread))).all():
            raise NumericalError(
                "every std of the loss given default must be 0 or below sqrt(mean (1 - mean))"
            )
        if not ((self.correlation >= 0.0) & (self.correlation < 1.0)).all():
            raise NumericalError("every correlation of the loss given default must lie in [0, 1)")
        freeze_arrays(self)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class QuantileTables:
    """The laws of a book in the form that compiled loops read. Build it with `quantile_tables`.

    Parameters
    ----------
    mean, own : ndarray of shape (n_laws,)
        Mean, and ``sqrt(1 - r^2)``.
    correlation : ndarray of shape (n_laws,)
        ``r``.
    first, pieces : ndarray of int64, shape (n_laws,)
        First row of each law in `coefficients`, -1 for a fixed law, and its number of rows.
    coefficients : ndarray of shape (n_rows, 8)
        Powers of the place in a piece, from -1 to 1, of the loss given default as a function of ``u``.
    error : float
        Largest error measured between the nodes.
    """

    mean: FloatArray
    own: FloatArray
    correlation: FloatArray
    first: IntArray
    pieces: IntArray
    coefficients: FloatArray
    error: float

    def __post_init__(self) -> None:
        freeze_arrays(self)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class MomentTables:
    """Raw moments of each law given the score, for compiled loops. Build it with `moment_tables`.

    Parameters
    ----------
    constant : ndarray of shape (n_laws, 4)
        Moments that do not depend on the score; used where `first` is -1.
    first, pieces : ndarray of int64, shape (n_laws,)
        First row of each law in `coefficients`, -1 where the score does not matter, and its number of rows.
    coefficients : ndarray of shape (4, n_rows, 8)
        Powers of the place in a piece, from -1 to 1, of each moment as a function of the score.
    error : float
        Largest error measured between the nodes.
    """

    constant: FloatArray
    first: IntArray
    pieces: IntArray
    coefficients: FloatArray
    error: float

    def __post_init__(self) -> None:
        freeze_arrays(self)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class FunctionTable:
    """Functions on [-16, 16]: coefficients of shape (n_functions, n_pieces, 8), and the measured error."""

    coefficients: FloatArray
    error: float


def beta_parameters(laws: Recoveries) -> tuple[FloatArray, FloatArray]:
    """Return the two parameters of each Beta law; infinite where the loss given default is fixed.

    Returns
    -------
    alpha, beta : ndarray of shape (n_laws,)
        ``alpha = mean (mean (1 - mean) / std^2 - 1)``, and ``beta`` with ``1 - mean`` in front.
    """
    spread = laws.mean * (1.0 - laws.mean)
    total = np.full(laws.mean.shape, np.inf)
    np.divide(spread, laws.std**2, out=total, where=laws.std > 0.0)
    # A std within rounding of the largest one must not turn a parameter to zero.
    total = np.maximum(total - 1.0, np.finfo(np.float64).eps)
    # A law without spread can have a mean of 0, and 0 times infinity is no number.
    random = np.isfinite(total)
    alpha, beta = np.full(total.shape, np.inf), np.full(total.shape, np.inf)
    np.multiply(laws.mean, total, out=alpha, where=random)
    np.multiply(1.0 - laws.mean, total, out=beta, where=random)
    return alpha, beta


def quantile_tables(laws: Recoveries) -> QuantileTables:
    """Tabulate the loss given default of each law as a function of ``u``."""
    tables = [
        _quantile_table(float(mean), float(std)) if std > 0.0 else None
        for mean, std in zip(laws.mean, laws.std, strict=True)
    ]
    first, pieces, coefficients = _stacked(tables, 1)
    return QuantileTables(
        mean=laws.mean,
        own=np.sqrt(1.0 - laws.correlation**2),
        correlation=laws.correlation,
        first=first,
        pieces=pieces,
        coefficients=coefficients[0],
        error=max((table.error for table in tables if table), default=0.0),
    )


def moment_tables(laws: Recoveries) -> MomentTables:
    """Tabulate the first four raw moments of each law as functions of the systematic score."""
    tables = [
        _score_table(float(mean), float(std), float(r), 0) if std > 0.0 and r > 0.0 else None
        for mean, std, r in zip(laws.mean, laws.std, laws.correlation, strict=True)
    ]
    first, pieces, coefficients = _stacked(tables, 4)
    return MomentTables(
        constant=_unconditional_moments(laws),
        first=first,
        pieces=pieces,
        coefficients=coefficients,
        error=max((table.error for table in tables if table), default=0.0),
    )


def draw(laws: Recoveries, law: IntArray, score: FloatArray, eta: FloatArray) -> FloatArray:
    """Return the loss given default of obligors that defaulted.

    Parameters
    ----------
    laws : Recoveries
        The laws of the book.
    law : ndarray of int64, shape (n_defaults,)
        Law of each obligor.
    score : ndarray of shape (n_defaults,)
        Its systematic score on that path; low is bad.
    eta : ndarray of shape (n_defaults,)
        Its own standard normal; not used by fixed laws.

    Returns
    -------
    ndarray of shape (n_defaults,)
        Fractions in [0, 1].

    Raises
    ------
    NumericalError
        If a score or normal is not finite.

    Examples
    --------
    >>> laws = Recoveries(mean=np.array([0.5]), std=np.array([0.2]), correlation=np.array([0.3]))
    >>> draw(laws, np.array([0, 0]), np.array([0.0, -3.0]), np.array([0.0, 0.0])).round(6).tolist()
    [0.5, 0.697356]
    """
    if not (np.isfinite(score).all() and np.isfinite(eta).all()):
        raise NumericalError("every score and normal of a loss given default must be finite")
    tables = quantile_tables(laws)
    found = np.empty(law.shape)
    lgd_values(
        law,
        np.ascontiguousarray(score, dtype=np.float64),
        np.ascontiguousarray(eta, dtype=np.float64),
        tables.mean,
        tables.correlation,
        tables.own,
        tables.first,
        tables.pieces,
        tables.coefficients,
        found,
    )
    return found


def moments(laws: Recoveries, score: FloatArray) -> FloatArray:
    """Return ``E[LGD^j | s]`` for ``j`` from 1 to 4.

    Parameters
    ----------
    laws : Recoveries
        The laws of the book.
    score : ndarray of shape (n_scores,)
        Systematic scores.

    Returns
    -------
    ndarray of shape (4, n_laws, n_scores)
        Raw moments: of the Beta law itself without correlation, from tables with it.
    """
    constant = _unconditional_moments(laws)
    found = np.empty((4, laws.mean.size, score.size))
    for law, (mean, std, r) in enumerate(zip(laws.mean, laws.std, laws.correlation, strict=True)):
        if std > 0.0 and r > 0.0:
            found[:, law] = table_at(_score_table(float(mean), float(std), float(r), 0), score)
        else:
            found[:, law] = constant[law][:, None]
    return found


def outcomes(laws: Recoveries, score: FloatArray, *, n_nodes: int = 4) -> tuple[FloatArray, FloatArray]:
    """Return a few outcomes of the loss given default with the right moments, for generating functions.

    They are the Gauss rule of the conditional law: its first ``2 n_nodes - 1`` moments are exact, and so the
    moment generating function at ``t`` to a term of order ``t^(2 n_nodes) / (2 n_nodes)!``.

    Parameters
    ----------
    laws : Recoveries
        The laws of the book.
    score : ndarray of shape (n_scores,)
        Systematic scores.
    n_nodes : int
        Outcomes per law, at least 2.

    Returns
    -------
    values, weights : ndarray of shape (n_nodes, n_laws, n_scores)
        Outcomes in [0, 1], ascending, and their probabilities. Fixed laws repeat their mean.
    """
    if n_nodes < 2:
        raise NumericalError(f"n_nodes must be at least 2, was {n_nodes}")
    shape = (n_nodes, laws.mean.size, score.size)
    values, weights = np.empty(shape), np.empty(shape)
    alpha, beta = beta_parameters(laws)
    for law, (mean, std, r) in enumerate(zip(laws.mean, laws.std, laws.correlation, strict=True)):
        if std == 0.0:
            values[:, law], weights[:, law] = mean, 1.0 / n_nodes
            continue
        if r == 0.0:
            recursion = _beta_recursion(alpha[law], beta[law], n_nodes)[:, None]
        else:
            recursion = table_at(_score_table(float(mean), float(std), float(r), n_nodes), score)
        # Golub and Welsch: eigenvalues are the nodes, squared first components their weights.
        matrix = np.zeros((recursion.shape[1], n_nodes, n_nodes))
        index = np.arange(n_nodes)
        matrix[:, index, index] = recursion[:n_nodes].T
        below = np.maximum(recursion[n_nodes:], 0.0).T
        matrix[:, index[1:], index[:-1]] = below
        nodes, vectors = np.linalg.eigh(matrix)
        values[:, law] = np.clip(nodes, 0.0, 1.0).T
        weights[:, law] = (vectors[:, 0, :] ** 2).T
    return values, weights


def _unconditional_moments(laws: Recoveries) -> FloatArray:
    alpha, beta = beta_parameters(laws)
    found = np.empty((laws.mean.size, 4))
    total = alpha + beta
    fixed = np.isinf(total)
    product = np.ones(laws.mean.size)
    for j in range(4):
        # alpha / (alpha + beta) is the mean itself; the others step from it.
        grown = np.divide(alpha + j, total + j, out=laws.mean.copy(), where=~fixed & (j > 0))
        product = product * grown
        found[:, j] = product
    return found


def _beta_recursion(alpha: float, beta: float, n_nodes: int) -> FloatArray:
    """Diagonal and off-diagonal of the Jacobi matrix of the Beta law on [0, 1]."""
    # Jacobi polynomials on [-1, 1] have the weight (1 - x)^p (1 + x)^q, and [0, 1] is half of it.
    p, q = beta - 1.0, alpha - 1.0
    n = np.arange(1.0, n_nodes)
    total = 2.0 * n + p + q
    first = (q - p) / (p + q + 2.0)
    rest = (q * q - p * p) / (total * (total + 2.0))
    square = 4.0 * n * (n + p) * (n + q) * (n + p + q) / (total**2 * (total + 1.0) * (total - 1.0))
    # Its factors (1 + p + q) cancel at n = 1, where both can vanish.
    square[0] = 4.0 * (1.0 + p) * (1.0 + q) / ((2.0 + p + q) ** 2 * (3.0 + p + q))
    return np.concatenate([[0.5 + 0.5 * first], 0.5 + 0.5 * rest, 0.5 * np.sqrt(square)])


def _quantile(mean: float, std: float, u: FloatArray) -> FloatArray:
    """Return the Beta quantile of Phi(-u), from the nearer tail."""
    law = Recoveries(mean=np.array([mean]), std=np.array([std]), correlation=np.zeros(1))
    alpha, beta = (float(value[0]) for value in beta_parameters(law))
    if min(alpha, beta) > NEARLY_NORMAL:
        total = alpha + beta
        skewness = 2.0 * (beta - alpha) / (total + 2.0) * math.sqrt((total + 1.0) / alpha / beta)
        excess = 6.0 * ((alpha - beta) / (total + 2.0) * (alpha - beta) / alpha / beta * (total + 1.0) - 1.0)
        excess /= total + 3.0
        w = -u
        shape = w + skewness / 6.0 * (w * w - 1.0) + excess / 24.0 * (w**3 - 3.0 * w)
        shape -= skewness * skewness / 36.0 * (2.0 * w**3 - 5.0 * w)
        return np.clip(mean + std * shape, 0.0, 1.0)
    tail = ndtr(-np.abs(u))
    below = u > 0.0
    found = np.empty(u.shape)
    found[below] = betaincinv(alpha, beta, tail[below])
    found[~below] = 1.0 - betaincinv(beta, alpha, tail[~below])
    return found


@lru_cache(maxsize=512)
def _quantile_table(mean: float, std: float) -> FunctionTable:
    return tabulate_functions(lambda u: _quantile(mean, std, u)[None], FEWEST_PIECES, MOST_PIECES)


@lru_cache(maxsize=512)
def _score_table(mean: float, std: float, correlation: float, n_nodes: int) -> FunctionTable:
    """Moments given the score (`n_nodes` 0), or the Jacobi matrix of the conditional law."""
    own = math.sqrt((1.0 - correlation) * (1.0 + correlation))
    quantile = _quantile_table(mean, std)
    pieces = quantile.coefficients.shape[1]
    # Gauss-Legendre on pieces no longer than the standard deviation of u given s, so that it is exact to
    # rounding for the density as it is for the quantile.
    pieces = max(pieces, math.ceil(2.0 * REACH / own))
    half = REACH / pieces
    beyond = math.ceil(4.5 * own / half)
    nodes, gauss = np.polynomial.legendre.leggauss(TERMS)
    u = ((2.0 * np.arange(-beyond, pieces + beyond)[:, None] + 1.0 + nodes) * half - REACH).ravel()
    weight = np.tile(gauss * half / (own * math.sqrt(2.0 * math.pi)), pieces + 2 * beyond)
    lgd = table_at(quantile, u)[0]

    def at(scores: FloatArray) -> FloatArray:
        found = np.empty((4 if n_nodes == 0 else 2 * n_nodes - 1, scores.size))
        centres = np.clip(correlation * scores, -REACH, REACH)
        starts, stops = np.searchsorted(u, (centres - 9.0 * own, centres + 9.0 * own))
        if n_nodes == 0:
            window_moments(u, weight, lgd, centres, starts, stops, 1.0 / own, found)
            return found
        for index, centre in enumerate(centres):
            near = slice(starts[index], stops[index])
            mass = weight[near] * np.exp(-0.5 * ((u[near] - centre) / own) ** 2)
            found[:, index] = _recursion(lgd[near], mass / mass.sum(), n_nodes)
        return found

    # A Jacobi matrix of a law that is all but two atoms has entries of no weight that never become smooth.
    return tabulate_functions(
        at, FEWEST_PIECES // 2, FEWEST_PIECES * 8 if n_nodes == 0 else FEWEST_PIECES // 2
    )


def _recursion(values: FloatArray, mass: FloatArray, n_nodes: int) -> FloatArray:
    """Stieltjes' procedure: the Jacobi matrix of a discrete law."""
    diagonal, beside = np.zeros(n_nodes), np.zeros(n_nodes - 1)
    last, now = np.zeros_like(values), np.ones_like(values)
    for k in range(n_nodes):
        diagonal[k] = (mass * values * now * now).sum()
        following = (values - diagonal[k]) * now - (beside[k - 1] * last if k else 0.0)
        length = math.sqrt(float((mass * following * following).sum()))
        if k == n_nodes - 1:
            break
        if length < 1e-12:
            # Fewer distinct outcomes than nodes: the rest repeat the last without weight.
            diagonal[k + 1 :] = diagonal[k]
            break
        beside[k] = length
        last, now = now, following / length
    return np.concatenate([diagonal, beside])


def tabulate_functions(function: Callable[[FloatArray], FloatArray], fewest: int, most: int) -> FunctionTable:
    """Interpolate by polynomials of degree 7 at Chebyshev nodes, on twice the pieces until they fit.

    Parameters
    ----------
    function : callable
        From points in [-16, 16] to values of shape (n_functions, n_points).
    fewest, most : int
        Pieces to begin with and at most.

    Returns
    -------
    FunctionTable
        With the error measured between the nodes, `TOLERANCE` or less unless `most` pieces did not do.
    """
    places = np.cos((2.0 * np.arange(TERMS) + 1.0) * math.pi / (2 * TERMS))
    to_powers = np.linalg.inv(np.vander(places, TERMS, increasing=True))
    # Where the error of the interpolation is about largest: the middle of a piece and its ends.
    checks = np.array([0.0, -1.0])
    pieces = fewest
    while True:
        half = REACH / pieces
        middle = (2.0 * np.arange(pieces) + 1.0) * half - REACH
        values = function((middle[:, None] + half * places).ravel())
        values = values.reshape(values.shape[0], pieces, TERMS)
        coefficients = np.zeros_like(values)
        # Term by term and not by BLAS, whose bits may depend on the machine's cores.
        for place in range(TERMS):
            coefficients += values[:, :, place, None] * to_powers[:, place]
        table = FunctionTable(coefficients=np.ascontiguousarray(coefficients), error=0.0)
        points = (middle[:, None] + half * checks).ravel()
        error = float(np.abs(table_at(table, points) - function(points)).max())
        if error <= TOLERANCE or 2 * pieces > most:
            return FunctionTable(coefficients=table.coefficients, error=error)
        pieces *= 2


def table_at(table: FunctionTable, points: FloatArray) -> FloatArray:
    """Return the tabulated functions at points, shape (n_functions, n_points); constant beyond the table."""
    found = np.empty((table.coefficients.shape[0], points.size))
    table_values(table.coefficients, np.ascontiguousarray(points, dtype=np.float64), found)
    return found


def _stacked(tables: list[FunctionTable | None], n_functions: int) -> tuple[IntArray, IntArray, FloatArray]:
    pieces = np.array([table.coefficients.shape[1] if table else 0 for table in tables], dtype=np.int64)
    first = np.where(pieces > 0, np.cumsum(pieces) - pieces, -1)
    kept = [table.coefficients for table in tables if table]
    # Compiled loops need a row to look at even when no law has a table.
    return first, pieces, np.concatenate([*kept, np.zeros((n_functions, 1, TERMS))], axis=1)
