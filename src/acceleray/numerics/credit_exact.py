"""The loss law of a loan book without simulation: quadrature over the factors of an exact conditional law.

For books with few factors and few lattice points this is the method of choice: it is deterministic, knows
the whole law at once, and bounds its own error. It is also the witness for every other method.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
import numpy.typing as npt
from scipy.special import ndtr

from acceleray.errors import NumericalError
from acceleray.numerics.conditional_law import add_laws, transformed_law
from acceleray.numerics.credit_model import LossModel
from acceleray.numerics.discrete_tail import (
    NearTies,
    exceedances,
    lattice_shortfall,
    lattice_var,
    near_ties,
)
from acceleray.numerics.factor_quadrature import (
    Axis,
    Nodes,
    normal_axis,
    scale_axis,
    tensor_nodes,
    tensor_size,
)
from acceleray.numerics.loss_lattice import MAX_POINTS, LatticeBook, Rounding, Severities, lattice_book

__all__ = [
    "MAX_AXES",
    "Bracket",
    "LossLaw",
    "coarse_axes",
    "conditional_distances",
    "exact_law",
    "suits_exact",
]

FloatArray: TypeAlias = npt.NDArray[np.float64]

# Directions that the loadings may span, without the common scale of a t copula; unlike obligors.
MAX_AXES = 3
MAX_GROUPS = 100_000
# Additions of the recursion that one second of one core is good for, for readers of budgets.
ADDITIONS_PER_SECOND = 1e9
DEFAULT_BUDGET = 60.0 * ADDITIONS_PER_SECOND
# A transform costs as much as so many additions of the recursion for each point and group, and two groups
# more; each step of a law that is made anew as much as so many.
_TRANSFORM_COST, _LAW_COST = 20.0, 60.0
# A conditional law is so many standard deviations wide before its probabilities are negligible, and a Poisson
# law of a small mean so many losses.
_WIDTH, _FEW = 27.0, 40.0
# Rounding of a tail probability, absolute: of any law, and for each group of a recursion or each obligor of a
# transform.
_METHODS = ("recursion", "transform")
_ROUNDING, _ROUNDING_EACH = 1e-14, 1e-15
# Numbers held at a time for probabilities of default.
_HELD = 1 << 21
_FIRST_STEP, _LAST_STEP = 0.5, 1e-4
_FEWEST_NODES = 20
# Finest step of an axis: a million nodes. Loadings of almost 1 would take any memory.
_FINEST_STEP = 2e-5
# States at which a book is looked at along an axis.
_STATES = 61


@dataclass(frozen=True, slots=True)
class Bracket:
    """A figure between bounds that rounding of losses and numerical error cannot leave.

    Parameters
    ----------
    value : float
        Central value.
    low, high : float
        Bounds.
    """

    value: float
    low: float
    high: float


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class LossLaw:
    """Probability of every loss of a book.

    Parameters
    ----------
    unit : float
        Amount of one lattice step.
    exact : bool
        Whether every loss is a multiple of the unit; then the three laws are one.
    lower, central, upper : ndarray of shape (n_points,)
        Probabilities of the losses 0, 1, ... units when each loss is rounded down, split so that its mean
        remains, and rounded up. The last point of each is the loss when everybody defaults.
    error : float
        Largest error of a tail probability of any of the three laws, from quadrature and rounding.
    stop_loss_error : float
        Largest error of an expected excess ``E[(L - x)+]``, in currency.
    method : str
        ``"recursion"`` or ``"transform"``.
    n_nodes : int
        Nodes of the last quadrature, those of negligible weight too.
    """

    unit: float
    exact: bool
    lower: FloatArray
    central: FloatArray
    upper: FloatArray
    error: float
    stop_loss_error: float
    method: str
    n_nodes: int

    @property
    def losses(self) -> FloatArray:
        """Losses of the lattice points, in currency."""
        return np.asarray(self.unit * np.arange(self.central.size), dtype=np.float64)

    @property
    def expected_loss(self) -> Bracket:
        """Mean of the law, in currency."""
        low, value, high = (
            self.unit * float(exceedances(law)[1:][::-1].sum())
            for law in (self.lower, self.central, self.upper)
        )
        return Bracket(value, max(low - self.stop_loss_error, 0.0), high + self.stop_loss_error)

    def exceedance(self, loss: float) -> Bracket:
        """Return ``P(L > loss)``; losses within a share of 1e-9 of a lattice point count as that point."""
        if not math.isfinite(loss):
            raise NumericalError(f"loss must be finite, was {loss}")
        steps = loss / self.unit
        slack = 1e-9 * max(abs(steps), 1.0)
        # Without a lattice a loss beside a point is not at it: each bound takes the side that is safe.
        sides = (slack, slack, slack if self.exact else -slack)
        low, value, high = (
            _beyond(law, math.floor(steps + side))
            for law, side in zip((self.lower, self.central, self.upper), sides, strict=True)
        )
        return Bracket(value, max(low - self.error, 0.0), min(high + self.error, 1.0))

    def var(self, level: float) -> Bracket:
        """Return the value at risk, in currency: the smallest loss ``x`` with ``P(L > x) <= 1 - level``."""
        tail = _tail(level)
        low = lattice_var(exceedances(self.lower), tail + self.error)
        value = lattice_var(exceedances(self.central), tail)
        high = lattice_var(exceedances(self.upper), max(tail - self.error, 0.0))
        return Bracket(self.unit * value, self.unit * low, self.unit * high)

    def es(self, level: float) -> Bracket:
        """Return the expected shortfall, in currency: the average loss in the worst ``1 - level`` share."""
        tail = _tail(level)
        low, value, high = (
            self.unit * lattice_shortfall(exceedances(law), tail)
            for law in (self.lower, self.central, self.upper)
        )
        # Minimising v + E[(L - v)+] / tail over v carries the error of the excess over, and no more.
        margin = self.stop_loss_error / tail
        return Bracket(value, low - margin, high + margin)

    def near_ties(self, level: float) -> NearTies:
        """Return the losses of the central law that its error cannot tell from the value at risk."""
        attained = self.central > 0.0
        below = np.maximum.accumulate(1.0 - exceedances(self.central)[1:][attained])
        # At this confidence one standard error is one error bound.
        return near_ties(
            self.losses[attained],
            below,
            level=level,
            standard_error=self.error,
            confidence=float(2.0 * ndtr(1.0) - 1.0),
            errors="error bounds",
        )


def exact_law(
    model: LossModel,
    *,
    unit: float | None = None,
    tolerance: float = 1e-10,
    budget: float = DEFAULT_BUDGET,
    method: str | None = None,
) -> LossLaw:
    """Compute the loss law of a book by quadrature over its factors.

    Parameters
    ----------
    model : LossModel
        The book under one scenario; ask `suits_exact` first.
    unit : float, optional
        Lattice step in currency; see `lattice_book`.
    tolerance : float
        Largest error of a tail probability that the quadrature may leave.
    budget : float
        Additions that may be spent, `ADDITIONS_PER_SECOND` of them for a second.
    method : str, optional
        ``"recursion"`` or ``"transform"`` for the conditional law; the cheaper one by default.

    Returns
    -------
    LossLaw

    Raises
    ------
    NumericalError
        If the book does not suit, the tolerance is not reached within the budget, or an argument is out of
        range.

    Notes
    -----
    The step of each axis is halved until every tail probability agrees with the rule on every second node to
    within the tolerance. That distance is the error of the coarser rule; the finer one, which is returned, is
    better by orders of magnitude where the rule converges exponentially, so that the stated error is a bound.

    References
    ----------
    .. [1] Andersen, Sidenius, Basu (2003), All your hedges in one basket, Risk 16(11): the recursion.
    .. [2] Trefethen, Weideman (2014), The exponentially convergent trapezoidal rule, SIAM Review 56(3).
    """
    if not tolerance > 0.0:
        raise NumericalError(f"tolerance must be positive, was {tolerance}")
    if method not in (None, *_METHODS):
        raise NumericalError(f"method must be one of {', '.join(_METHODS)}, was {method!r}")
    book = lattice_book(model, unit=unit)
    reason = _unsuitable(book)
    if reason is not None:
        raise NumericalError(f"no exact law: {reason}")
    cost, cheaper = _cost_per_node(book, model.dof)
    chosen = cheaper if method is None else method
    steps = _first_steps(book, model.dof)
    n_laws, spent = 1 if book.exact else 3, 0.0
    while True:
        if min(steps, default=1.0) < _FINEST_STEP:
            raise NumericalError(
                f"no exact law: an own risk of {float(book.residual.min()):.3g} takes more than a million "
                "nodes along a factor"
            )
        axes = _axes(book, model.dof, steps)
        spent += cost * tensor_size(axes)
        if spent + (n_laws - 1) * cost * tensor_size(axes) > budget:
            raise NumericalError(
                f"no exact law within the budget: {spent:.3g} of {budget:.3g} additions are not enough for a "
                f"tolerance of {tolerance:g}",
                hint="Take a larger unit, tolerance or budget, or another method.",
            )
        central = _Integral(book, model.dof, axes, Rounding.SPLIT, chosen)
        errors = central.axis_errors
        if sum(errors) <= tolerance:
            break
        share = tolerance / len(errors)
        steps = [0.5 * step if error > share else step for step, error in zip(steps, errors, strict=True)]
    laws = [central] * 3
    if not book.exact:
        down, up = (_Integral(book, model.dof, axes, side, chosen) for side in (Rounding.DOWN, Rounding.UP))
        laws = [down, central, up]
    n_steps = book.counts.size if chosen == "recursion" else int(book.counts.sum())
    rounding = _ROUNDING + _ROUNDING_EACH * n_steps
    return LossLaw(
        unit=book.unit,
        exact=book.exact,
        lower=laws[0].law,
        central=laws[1].law,
        upper=laws[2].law,
        error=max(sum(each.axis_errors) + each.mass_error for each in laws) + rounding,
        stop_loss_error=book.unit
        * max(sum(each.excess_errors) + (each.mass_error + rounding) * each.law.size for each in laws),
        method=chosen,
        n_nodes=tensor_size(axes),
    )


def suits_exact(model: LossModel, budget: float = DEFAULT_BUDGET, *, unit: float | None = None) -> str | None:
    """Say why the exact law of a book is out of reach, or return None if it is not.

    Parameters
    ----------
    model : LossModel
        The book under one scenario.
    budget : float
        Additions that may be spent, `ADDITIONS_PER_SECOND` of them for a second.
    unit : float, optional
        As for `exact_law`.
    """
    if model.n_cells > MAX_GROUPS:
        return f"the book has {model.n_cells} cells, more than {MAX_GROUPS}"
    book = lattice_book(model, unit=unit)
    reason = _unsuitable(book)
    if reason is not None:
        return reason
    cost, _ = _cost_per_node(book, model.dof)
    if _FEWEST_NODES * cost > budget:
        return f"one state of the factors needs {cost:.2g} additions of {budget:.2g}"
    axes = _axes(book, model.dof, _first_steps(book, model.dof))
    # The first rule is fine enough by design; one refinement of every axis is allowed for.
    needed = (1 if book.exact else 3) * cost * tensor_size(axes) * 2.0 ** len(axes)
    if needed > budget:
        return (
            f"{tensor_size(axes)} nodes and more over {len(axes)} axes, on {book.n_points} lattice points, "
            f"need about {needed:.2g} additions, more than {budget:.2g}"
        )
    return None


class _Integral:
    """A law integrated over the factors, with the distances of the coarser rules."""

    def __init__(
        self, book: LatticeBook, dof: float, axes: list[Axis], rounding: Rounding, method: str
    ) -> None:
        totals = np.zeros((1 + len(axes), book.n_points))
        block = max(_HELD // max(book.counts.size, 1), 1)
        fixed = None if book.correlated else book.severities(rounding, np.zeros(book.residual.size))
        for nodes in tensor_nodes(axes, block=block):
            distance, scores = conditional_distances(book, dof, nodes)
            if fixed is not None:
                _accumulate(totals, book, distance, nodes.weights, fixed, method)
                continue
            for node in range(distance.shape[0]):
                one = slice(node, node + 1)
                severities = book.severities(rounding, scores[node])
                _accumulate(totals, book, distance[one], nodes.weights[one], severities, method)
        fine = exceedances(totals[0])
        self.law: FloatArray = totals[0]
        self.mass_error = abs(float(fine[0]) - 1.0)
        self.axis_errors: list[float] = []
        self.excess_errors: list[float] = []
        for coarse in totals[1:]:
            # The coarse rule need not give the whole a probability of one; that is part of its error.
            differences = exceedances(coarse) - fine
            self.axis_errors.append(float(np.abs(differences).max()))
            self.excess_errors.append(float(np.abs(np.cumsum(differences[::-1])).max()))


def _accumulate(
    totals: FloatArray,
    book: LatticeBook,
    distance: FloatArray,
    weights: FloatArray,
    severities: Severities,
    method: str,
) -> None:
    probability, complement = ndtr(distance), ndtr(-distance)
    if method == "recursion":
        add_laws(totals, probability, complement, weights, book.counts, book.severity, severities)
        return
    for node in range(distance.shape[0]):
        law = transformed_law(
            probability[node], book.counts, book.severity, severities, n_points=totals.shape[1]
        )
        totals += weights[node][:, None] * law


def conditional_distances(book: LatticeBook, dof: float, nodes: Nodes) -> tuple[FloatArray, FloatArray]:
    """Return the distances to default by node and group, and the systematic scores by node and class."""
    level = nodes.values[:, : book.n_axes] @ book.loadings.T + book.mean
    scale = nodes.values[:, -1:] if math.isfinite(dof) else np.ones((nodes.values.shape[0], 1))
    distance = (book.thresholds * scale - level[:, book.class_of]) / book.residual[book.class_of]
    scores = np.divide(level, book.systematic, out=np.zeros_like(level), where=book.systematic > 0.0)
    return distance, scores


def _axes(book: LatticeBook, dof: float, steps: list[float]) -> list[Axis]:
    axes = [normal_axis(step) for step in steps[: book.n_axes]]
    return axes if math.isinf(dof) else [*axes, scale_axis(dof, steps[-1])]


def coarse_axes(book: LatticeBook, dof: float) -> list[Axis]:
    """Return rules as coarse as averages over a tail may have: steps as wide as the conditional law is."""
    return _axes(book, dof, [min(2.0 * step, _FIRST_STEP) for step in _first_steps(book, dof)])


def _first_steps(book: LatticeBook, dof: float) -> list[float]:
    """Choose steps half as wide as the conditional law is, in good and bad years along each axis."""
    n_axes = book.n_axes + int(math.isfinite(dof))
    steps = []
    for axis in range(n_axes):
        along, mean, deviation = _moments(book, dof, axis)
        slope = np.abs(np.gradient(mean, along))
        with np.errstate(divide="ignore", invalid="ignore"):
            widths = np.where(slope > 1e-12 * slope.max(), deviation / slope, np.inf)
        step = _FIRST_STEP
        while step > 0.5 * float(widths.min()) and step > _LAST_STEP:
            step *= 0.5
        steps.append(step)
    return steps


def _moments(book: LatticeBook, dof: float, axis: int) -> tuple[FloatArray, FloatArray, FloatArray]:
    """Return mean and deviation of the conditional loss, in steps, at states along an axis."""
    n_axes = book.n_axes + int(math.isfinite(dof))
    along = np.linspace(-6.0, 6.0, _STATES)
    values = np.zeros((_STATES, n_axes))
    if math.isfinite(dof):
        values[:, -1] = 1.0
    if n_axes:
        # log sqrt(W / nu) has a deviation of about 1 / sqrt(2 nu).
        values[:, axis] = along if axis < book.n_axes else np.exp(along / math.sqrt(2.0 * dof))
    distance, _ = conditional_distances(book, dof, Nodes(values=values, weights=np.ones((_STATES, 1))))
    sizes = (book.positions * _mean_share(book))[book.severity]
    p, q = ndtr(distance), ndtr(-distance)
    mean, variance = p @ (book.counts * sizes), (p * q) @ (book.counts * sizes**2)
    return along, mean, np.sqrt(variance)


def _mean_share(book: LatticeBook) -> FloatArray:
    return np.where(
        np.isnan(book.shape[:, 0]), 1.0, book.shape[:, 0] / np.maximum(book.shape.sum(axis=1), 1e-300)
    )


def _cost_per_node(book: LatticeBook, dof: float) -> tuple[float, str]:
    """Return additions per node of the cheaper method, and which it is."""
    if book.counts.size == 0:
        return 1.0, "recursion"
    binomial = np.minimum(book.counts + 1.0, 0.5 * _WIDTH * np.sqrt(book.counts) + 2.0)
    random = ~np.isnan(book.shape[:, 0])
    whole = book.positions == np.round(book.positions)
    widths = np.where(random, book.positions + 2.0, np.where(whole | book.exact, 1.0, 2.0))[book.severity]
    # Where the loss is one number of steps a group is added at once, elsewhere obligor by obligor.
    passes = np.where(widths == 1.0, binomial, widths + 1.0)
    times = np.where(widths == 1.0, 1.0, book.counts)
    # How much of the lattice a conditional law fills, on average over the states.
    _, _, deviation = _moments(book, dof, 0)
    reach = np.minimum(_WIDTH * deviation + _FEW * float(book.positions.max()), book.n_points)
    # The first addition starts from a point, the others find a law that has grown by half on average.
    first = float(passes.max())
    recursion = first + (0.5 * (float(passes @ times) - first) + 1.0) * float(reach.mean())
    transform = _TRANSFORM_COST * (book.counts.size + 2.0) * book.n_points
    if book.correlated:
        # The laws of the losses are made anew at every node.
        recursion += _LAW_COST * float(book.positions.sum())
        transform += _LAW_COST * float(book.positions.sum())
    return (recursion, "recursion") if recursion <= transform else (transform, "transform")


def _unsuitable(book: LatticeBook) -> str | None:
    if book.n_axes > MAX_AXES:
        return f"the loadings span {book.n_axes} directions, quadrature takes at most {MAX_AXES}"
    if book.counts.size > MAX_GROUPS:
        return f"the book has {book.counts.size} unlike obligors, more than {MAX_GROUPS}"
    if book.n_points > MAX_POINTS:
        return f"the lattice has {book.n_points} points, more than {MAX_POINTS}"
    return None


def _beyond(law: FloatArray, steps: int) -> float:
    if steps < 0:
        return 1.0
    return float(exceedances(law)[min(steps, law.size - 1) + 1])


def _tail(level: float) -> float:
    if not 0.0 < level < 1.0:
        raise NumericalError(f"level must lie in (0, 1), was {level}")
    return 1.0 - level
