"""The whole loss curve ``P(L > x)`` of a granular book, by integrating along lines through the factor space.

The factors are split as ``Z = Y + t d``: along the unit direction ``d``, in which the book's loss varies most
where it is large, the integral over ``t`` is done by quadrature, and only ``Y``, perpendicular to ``d``, is
left to scrambled Sobol points. The score of the mixing variable of a t copula is one factor more. Nothing is
weighted and nothing depends on where the curve is read: the direction decides how much scatter is left, not
what is estimated.

**One line.** Nodes ``t_i`` lie a step ``h`` apart. At each node the first six cumulants of the loss are sums
over obligors. The conditional law is replaced by a normal one times Hermite polynomials that has those six
cumulants (Edgeworth's series). Since the line's integral smooths the law with the density of the factor, the
error is of the order of the seventh cumulant in units of the loss's rise along the line, not the error of the
tail of each conditional law. For the same reason the base law may be wider than the true one: where the
conditional law is narrower than a node step, a base law as wide as the step with its second and higher
moments corrected makes the trapezoid rule exact to rounding without finer nodes.

References
----------
.. [1] Glasserman, Li (2005), Importance sampling for portfolio credit risk, Management Science 51(11).
.. [2] Kolassa (2006), Series approximation methods in statistics, 3rd ed., chapter 3.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt
from scipy import special

from acceleray.errors import NumericalError
from acceleray.numerics.conditional_cumulants import ORDER
from acceleray.numerics.credit_model import LossModel
from acceleray.numerics.loss_curve_derivatives import gradient_lines
from acceleray.numerics.loss_curve_loops import MIXING_FIRST, MIXING_STEP, curve_lines
from acceleray.numerics.loss_curve_types import Groups, Lines, Tables
from acceleray.numerics.loss_groups import group_obligors, sampled_model, tabulate
from acceleray.numerics.read_only import read_only, read_only_record
from acceleray.numerics.sobol import sobol_uniforms

__all__ = [
    "Aim",
    "CurveSums",
    "PreparedBook",
    "aim",
    "curve_block",
    "extended",
    "pilot_curve",
    "pilot_lines",
    "prepare",
    "turned",
]

FloatArray = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]

# Node step as a share of how far a line goes while an obligor's conditional score moves by a standard
# deviation, ``b / a'd``, and its bounds. Measured on the book of [1]_: bias below 1e-4 of any probability.
NODE_SHARE, FINEST_STEP, WIDEST_STEP = 0.42, 0.02, 0.16
# With one factor a single line is all there is, and no other one averages its errors out.
LONELY_STEP = 0.5
# Standard deviation of the base law in node steps: the trapezoid rule then errs by exp(-2 pi^2) = 3e-9 of
# the density, and by 4e-6 with the corrections of the moments.
SMOOTHING = 1.0
FARTHEST_NODE = 8.0
NODE_MULTIPLE = 32

# What a line adds to a sum is rounded to this many binary places, so that sums are exact in any order.
BINARY_PLACES = 46
MAX_POINTS = 2 ** (62 - BINARY_PLACES)

N_LOSSES = 96
# Losses that `extended` may add.
MOST_FURTHER = 1000
PILOT_POINTS = (32, 64, 128)
PILOT_CELLS = 2000
PILOT_SEED = 4


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Aim:
    """Where the lines run and where the curve is tabulated. Made by `aim`.

    Parameters
    ----------
    direction : ndarray of shape (n_scores,)
        Unit vector ``d`` along the lines, towards large losses; one score per factor, and last that of the
        mixing variable under a t copula.
    basis : ndarray of shape (n_scores, n_scores - 1)
        Orthonormal vectors perpendicular to `direction`; along the first the result varies most.
    losses : ndarray of shape (n_losses,)
        Ascending losses at which the curve is tabulated, in currency.
    tail_loss : float
        Loss at which the direction was chosen.
    farthest : float
        Largest node on a line.
    """

    direction: FloatArray
    basis: FloatArray
    losses: FloatArray
    tail_loss: float
    farthest: float

    @property
    def n_dims(self) -> int:
        """Coordinates of a point that `curve_block` takes."""
        return int(self.basis.shape[1])


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class PreparedBook:
    """A model and its aim, tabulated for `curve_block`. Made by `prepare`, once per worker and scenario."""

    groups: Groups
    tables: Tables
    lines: Lines
    losses: FloatArray
    unit: float


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class CurveSums:
    """Sums over lines, in units of ``2**-46``: integers, so that any order of adding gives the same bits.

    Parameters
    ----------
    above : ndarray of int64, shape (n_losses,)
        Sum of P(L > x).
    excess : ndarray of int64, shape (n_losses,)
        Sum of E[(L - x)^+] as a share of the largest possible loss.
    mean : int
        Sum of E[L], as such a share.
    n_points : int
        Lines in the sums.
    squares : ndarray of shape (2, n_losses)
        Sums of the squares of both by line, not in fixed point: for what the lines differ by, whose last bits
        do not matter.
    """

    above: IntArray
    excess: IntArray
    mean: int
    n_points: int
    squares: FloatArray

    def __add__(self, other: CurveSums) -> CurveSums:
        """Add the sums of other lines of the same scramble."""
        if self.n_points + other.n_points > MAX_POINTS:
            raise NumericalError(f"a scramble holds at most {MAX_POINTS} points")
        return CurveSums(
            above=self.above + other.above,
            excess=self.excess + other.excess,
            mean=self.mean + other.mean,
            n_points=self.n_points + other.n_points,
            squares=self.squares + other.squares,
        )


def aim(model: LossModel, tail_prob: float = 0.001, *, body_prob: float = 0.2) -> Aim:
    """Choose the direction of the lines, the order of the other dimensions and the grid of losses.

    Parameters
    ----------
    model : LossModel
        The book.
    tail_prob : float
        Exceedance probability at which the lines shall leave least scatter.
    body_prob : float
        Exceedance probability at which the grid of losses begins, above `tail_prob`. It ends where a
        hundredth of `tail_prob` is left.

    Returns
    -------
    Aim

    Raises
    ------
    NumericalError
        If a probability is out of range or the book cannot lose anything.

    Notes
    -----
    The direction is ``E[Z | L > x]`` scaled to length one, which is the mean gradient of ``P(L > x | Z)`` by
    Stein's lemma: of all directions it is the one after whose integration the result has no linear part left
    in any other. The basis holds the principal directions of the gradients that remain. Both come from a few
    Sobol lines along a first guess, and a second round.
    """
    if not 0.0 < tail_prob < body_prob < 1.0:
        raise NumericalError(f"need 0 < tail_prob < body_prob < 1, were {tail_prob} and {body_prob}")
    if model.n_cells > PILOT_CELLS and (model.exposures * model.recoveries.mean[model.recovery] > 0.0).any():
        model = sampled_model(model, PILOT_CELLS)
    groups = group_obligors(model)
    total = float(groups.sizes[:, 0].sum())
    if not total > 0.0:
        raise NumericalError(
            "the book cannot lose anything: no obligor has exposure, loss given default and risk"
        )
    farthest = min(float(-special.ndtri(1e-6 * tail_prob)), FARTHEST_NODE)
    direction = _first_direction(model, groups)
    basis = _complement(direction)
    losses = np.geomspace(1e-5 * total, total, 400)
    found = Aim(direction=direction, basis=basis, losses=losses, tail_loss=math.nan, farthest=farthest)
    for n_points in PILOT_POINTS:
        book = _prepared(model, groups, found)
        scores = _pilot_scores(n_points, found.n_dims)
        above = _curve(book, scores)[0].mean(axis=0)
        tail_loss = _first_below(losses, above, tail_prob)
        gradient = np.empty((scores.shape[0], direction.size))
        gradient_lines(
            book.groups,
            book.tables,
            book.lines,
            scores,
            tail_loss,
            np.ascontiguousarray(model.loadings),
            np.empty(scores.shape[0]),
            gradient,
        )
        mean = gradient.mean(axis=0)
        length = float(np.linalg.norm(mean))
        if length > 0.0:
            direction = mean / length
            basis = _complement(direction, gradient)
        high = _first_below(losses, above, 0.01 * tail_prob)
        # A book that is certain to lose, or hardly ever does, has no body and no tail.
        low = min(_first_below(losses, above, body_prob), 0.9 * high)
        grid = np.geomspace(low, high, N_LOSSES)
        found = Aim(direction=direction, basis=basis, losses=losses, tail_loss=tail_loss, farthest=farthest)
    return Aim(direction=direction, basis=basis, losses=grid, tail_loss=tail_loss, farthest=farthest)


def prepare(model: LossModel, aim: Aim) -> PreparedBook:
    """Group and tabulate a book for any number of blocks of points.

    Parameters
    ----------
    model : LossModel
        The book.
    aim : Aim
        From `aim`, for this model or one of the same shape.

    Returns
    -------
    PreparedBook
    """
    return _prepared(model, group_obligors(model), aim)


def extended(book: PreparedBook) -> PreparedBook:
    """Return the book with its grid of losses carried on, as densely, to the largest possible loss.

    For a pilot that has underrated the tail: the curve then ends before the level that was wanted.
    """
    last = float(book.losses[-1])
    step = math.log(float(book.losses[-1] / book.losses[-2]))
    further = min(math.ceil(math.log(book.unit / last) / step), MOST_FURTHER) if last < book.unit else 0
    if further <= 0:
        return book
    losses = np.r_[book.losses, np.geomspace(last, book.unit, further + 1)[1:]]
    return replace(book, losses=read_only(losses))


def curve_block(book: PreparedBook, points: FloatArray) -> CurveSums:
    """Integrate along the lines of a block of points.

    Parameters
    ----------
    book : PreparedBook
        From `prepare`.
    points : ndarray of shape (n_points, n_dims)
        Uniform points inside the unit cube, of one scramble.

    Returns
    -------
    CurveSums
        Independent of how a scramble is cut into blocks, to the bit.

    Raises
    ------
    NumericalError
        If the points have the wrong shape or do not lie inside the cube.
    """
    n_dims = book.lines.across.shape[1]
    if points.ndim != 2 or points.shape[1] != n_dims:
        raise NumericalError(f"points must have shape (n_points, {n_dims}), was {points.shape}")
    # Written so that NaN fails too.
    if not ((points > 0.0) & (points < 1.0)).all():
        raise NumericalError("every point must lie inside the unit cube")
    above, excess, means = _curve(book, np.ascontiguousarray(special.ndtri(points)))
    return CurveSums(
        above=_fixed_point(above).sum(axis=0),
        excess=_fixed_point(excess).sum(axis=0),
        mean=int(_fixed_point(means).sum()),
        n_points=points.shape[0],
        squares=np.stack([(above**2).sum(axis=0), (excess**2).sum(axis=0)]),
    )


def pilot_lines(model: LossModel, aim: Aim, *, n_points: int = 64) -> tuple[FloatArray, FloatArray]:
    """Return P(L > x) and E[(L - x)^+] of a few fixed lines on the aim's grid, the latter as a share.

    Parameters
    ----------
    model : LossModel
        The book; of one with very many cells a smaller one that loses much the same is looked at.
    aim : Aim
        Its lines and losses.
    n_points : int
        Lines, a power of two; with one factor there is one.

    Returns
    -------
    tuple of two ndarrays of shape (n_lines, n_losses)
    """
    if model.n_cells > PILOT_CELLS:
        model = sampled_model(model, PILOT_CELLS)
    above, excess, _means = _curve(prepare(model, aim), _pilot_scores(n_points, aim.n_dims))
    return above, excess


def turned(aim: Aim, direction: FloatArray) -> Aim:
    """Return the aim with its lines turned to another unit direction, of shape (n_scores,)."""
    return replace(aim, direction=direction, basis=_complement(direction))


def pilot_curve(
    model: LossModel, aim: Aim, *, order: int = ORDER, halvings: int = 0, n_points: int = 64
) -> FloatArray:
    """Return P(L > x) on the aim's grid from a few fixed lines, with a chosen number of cumulants.

    For comparing expansions on the same lines, where no sampling error comes between them.

    Parameters
    ----------
    model : LossModel
        The book.
    aim : Aim
        Its lines and losses.
    order : int
        Cumulants used, 4 or 6.
    halvings : int
        How often the node step is halved.
    n_points : int
        Lines, a power of two; with one factor there is one.

    Returns
    -------
    ndarray of shape (n_losses,)
    """
    groups = group_obligors(model)
    book = _prepared(model, groups, aim, order=order)
    if halvings > 0:
        finer = float(book.lines.nodes[1] - book.lines.nodes[0]) / 2**halvings
        book = _prepared(model, groups, aim, order=order, node_step=finer)
    above: FloatArray = _curve(book, _pilot_scores(n_points, aim.n_dims))[0].mean(axis=0)
    return above


def _curve(book: PreparedBook, scores: FloatArray) -> tuple[FloatArray, FloatArray, FloatArray]:
    """Return P(L > x) and E[(L - x)^+] by line and loss, and E[L] by line, as shares of the unit."""
    shape = (scores.shape[0], book.losses.size)
    above, excess, means = np.empty(shape), np.empty(shape), np.empty(shape[0])
    curve_lines(book.groups, book.tables, book.lines, scores, book.losses, book.unit, above, excess, means)
    if not (np.isfinite(above).all() and np.isfinite(excess).all() and np.isfinite(means).all()):
        raise NumericalError("a line's loss curve is not finite")
    return above, excess, means


def _fixed_point(values: FloatArray) -> IntArray:
    return np.rint(values * 2.0**BINARY_PLACES).astype(np.int64)


def _prepared(
    model: LossModel,
    groups: Groups,
    aim: Aim,
    *,
    node_step: float | None = None,
    order: int = ORDER,
    smoothing: float = SMOOTHING,
) -> PreparedBook:
    n_factors = model.n_factors
    mixed = not math.isinf(model.dof)
    slope = model.loadings @ aim.direction[:n_factors]
    if node_step is None:
        node_step = _node_step(groups, slope) * (1.0 if aim.n_dims else LONELY_STEP)
    last, first = math.ceil(aim.farthest / node_step), math.floor(-FARTHEST_NODE / node_step)
    # Whole vectors, of every node and of each fourth.
    n_nodes = -(-(last - first + 1) // NODE_MULTIPLE) * NODE_MULTIPLE
    nodes: FloatArray = np.arange(last + 1.0 - n_nodes, last + 1.0) * node_step
    weights = node_step * np.exp(-0.5 * nodes**2) / math.sqrt(2.0 * math.pi)
    # The last node stands for what lies beyond it.
    weights[-1] += special.ndtr(-nodes[-1] - 0.5 * node_step)
    unit = float(groups.sizes[:, 0].sum())
    lines = Lines(
        mean=model.mean,
        across=np.ascontiguousarray(model.loadings @ aim.basis[:n_factors]),
        slope=slope,
        mixing=aim.basis[-1].copy() if mixed else np.empty(0),
        mixing_slope=float(aim.direction[-1]) if mixed else 0.0,
        mixing_table=_mixing_table(model.dof) if mixed else np.empty(0),
        nodes=nodes,
        weights=weights,
        order=order,
        smoothing=smoothing,
        floor=1e-9 * unit,
    )
    tables = tabulate(
        groups, model.mean, np.linalg.norm(model.loadings, axis=1), slope, 0.0 if mixed else node_step
    )
    return PreparedBook(
        groups=groups,
        tables=tables,
        lines=read_only_record(lines),
        losses=read_only(aim.losses),
        unit=unit,
    )


def _node_step(groups: Groups, slope: FloatArray) -> float:
    """Step that is fine enough for nine tenths of the book by size."""
    sizes = np.add.reduceat(groups.sizes[:, 0], groups.starts[:-1])
    reach = groups.residual / np.maximum(np.abs(slope[groups.cell]), 1e-6)
    order = np.argsort(reach, kind="stable")
    index = int(np.searchsorted(np.cumsum(sizes[order]), 0.1 * sizes.sum()))
    return min(max(NODE_SHARE * float(reach[order[min(index, order.size - 1)]]), FINEST_STEP), WIDEST_STEP)


def _mixing_table(dof: float) -> FloatArray:
    """``sqrt(W / nu)`` over its normal score."""
    scores = MIXING_FIRST + MIXING_STEP * np.arange(round(-2.0 * MIXING_FIRST / MIXING_STEP) + 1)
    low = special.gammaincinv(0.5 * dof, special.ndtr(np.minimum(scores, 0.0)))
    high = special.gammainccinv(0.5 * dof, special.ndtr(-np.maximum(scores, 0.0)))
    root: FloatArray = np.sqrt(2.0 * np.where(scores < 0.0, low, high) / dof)
    return root


def _first_direction(model: LossModel, groups: Groups) -> FloatArray:
    """Against the loadings, weighted by what stands at risk at each cell's place in the tail."""
    n_scores = model.n_factors + (not math.isinf(model.dof))
    risk = special.ndtr(groups.places + 1.5)
    by_group = np.add.reduceat(groups.sizes[:, 0] * risk, groups.starts[:-1])
    by_cell = np.bincount(groups.cell, by_group, minlength=model.n_cells)
    direction = np.zeros(n_scores)
    direction[: model.n_factors] = -by_cell @ model.loadings
    length = float(np.linalg.norm(direction))
    if not length > 0.0:
        direction[0] = -1.0
        length = 1.0
    direction /= length
    if n_scores > model.n_factors:
        # A small mixing variable and a low factor do equal harm to begin with.
        direction *= math.sqrt(0.5)
        direction[-1] = -math.sqrt(0.5)
    return direction


def _complement(direction: FloatArray, gradients: FloatArray | None = None) -> FloatArray:
    """Orthonormal basis of what is perpendicular to `direction`, along the gradients' principal axes."""
    rest = np.linalg.qr(np.column_stack([direction, np.eye(direction.size)]))[0][:, 1 : direction.size]
    if gradients is None or rest.shape[1] == 0:
        return np.ascontiguousarray(rest)
    projected = gradients @ rest
    _values, vectors = np.linalg.eigh(projected.T @ projected)
    return np.ascontiguousarray(rest @ vectors[:, ::-1])


def _pilot_scores(n_points: int, n_dims: int) -> FloatArray:
    if n_dims == 0:
        return np.zeros((1, 0))
    uniforms = sobol_uniforms(
        PILOT_SEED, block=0, block_size=n_points, n_paths=n_points, n_dims=n_dims, replicates=1
    )
    return np.ascontiguousarray(special.ndtri(uniforms))


def _first_below(losses: FloatArray, above: FloatArray, probability: float) -> float:
    """Loss where a curve first falls to a probability, interpolated in logarithms."""
    # From the top: a lumpy body may ripple.
    falling = np.maximum.accumulate(np.maximum(above, 1e-300)[::-1])[::-1]
    index = int(np.searchsorted(-falling, -probability))
    if index == 0 or index == losses.size:
        return float(losses[min(index, losses.size - 1)])
    left, right = math.log(falling[index - 1]), math.log(falling[index])
    share = (left - math.log(probability)) / (left - right) if left > right else 1.0
    return float(losses[index - 1] * (losses[index] / losses[index - 1]) ** share)
