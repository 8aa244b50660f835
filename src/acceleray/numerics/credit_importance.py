"""Credit losses drawn where they hurt: two-step importance sampling of a loan book.

The factors come from a mixture: a plain share, and for every aimed loss a normal law moved to where such a
loss most likely comes from (under a t copula with the mixing variable scaled down as well). Given the factors
of a component aimed at ``x``, default probabilities are twisted to

    q_k = p_k e^(theta c_k) / (1 + p_k (e^(theta c_k) - 1)),    theta >= 0 with E_q[sum c_k D_k] = x,

without a twist where the mean reaches ``x`` by itself. The weight of a path is that of the whole mixture, as
if any component could have drawn it (the balance heuristic), so that no weight exceeds one over the plain
share. The loss given default is drawn from its own law: its randomness enters no weight.

References
----------
.. [1] Glasserman, Li (2005), Importance sampling for portfolio credit risk, Management Science 51(11).
.. [2] Bassamboo, Juneja, Zeevi (2008), Portfolio credit risk with extremal dependence, Operations Research
   56(3).
.. [3] Veach, Guibas (1995), Optimally combining sampling techniques, SIGGRAPH 95; Owen, Zhou (2000), Safe and
   effective importance sampling, JASA 95(449).
"""

from __future__ import annotations

import math
from typing import TypeAlias

import numpy as np
import numpy.typing as npt

from acceleray.errors import NumericalError
from acceleray.numerics.credit_importance_draw import (
    CYCLE,
    TABLE_GRID,
    Aim,
    LossBook,
    draw_importance,
    plain_aim,
    quantile_tables,
)
from acceleray.numerics.credit_importance_loops import bound_and_gradient
from acceleray.numerics.credit_model import LossModel

__all__ = ["CYCLE", "PLAIN_PER_CYCLE", "Aim", "aim_importance", "draw_importance", "plain_aim"]

FloatArray: TypeAlias = npt.NDArray[np.float64]

PLAIN_PER_CYCLE = 2
# Directions from which the most likely factors are sought, and how much less likely a further one may be.
MAX_STARTS = 6
MAX_MODES = 2
MODE_SLACK = 3.0
MODE_DISTANCE = 0.7
# A quantile is trusted with so many paths beyond it; until then the pilot aims nearer.
PILOT_BEYOND = 25
PILOT_ROUNDS = 3


def aim_importance(
    model: LossModel,
    generator: np.random.Generator,
    *,
    tail_probs: tuple[float, ...] = (0.05, 0.01, 0.0005),
    losses: tuple[float, ...] | None = None,
    n_pilot: int = 2000,
) -> Aim:
    """Find from where the book loses as much as it does with small probability.

    Parameters
    ----------
    model : LossModel
        The book.
    generator : numpy.random.Generator
        Stream of the pilot; not used with `losses`.
    tail_probs : tuple of float
        Probabilities in (0, 0.5) of the losses to aim at, at most six. The furthest should lie somewhat
        beyond the highest level to be reported, for the sake of its expected shortfall.
    losses : tuple of float, optional
        The losses to aim at themselves, in currency, instead of their probabilities.
    n_pilot : int
        Paths of each of three pilot rounds.

    Returns
    -------
    Aim
        The plain one if the book cannot lose anything at these probabilities.

    Raises
    ------
    NumericalError
        If an aimed loss is not finite or negative.
    ValueError
        If the number of levels or a probability is out of range.

    Notes
    -----
    A component's shift maximises ``-theta x + psi(theta, z, w) - |z|^2 / 2 + (nu log w - w) / 2``, with psi
    the cumulant generating function of the conditional loss and theta its saddlepoint, over the factors and
    over ``log w``: the log density of the factors times Chernoff's bound. It is sought from the direction in
    which the whole book suffers, and from those of its largest segments; a second summit that is nearly as
    high gets a component of its own.
    """
    if losses is not None:
        if not all(math.isfinite(loss) and loss >= 0.0 for loss in losses):
            raise NumericalError(f"losses to aim at must be finite and not negative, were {losses}")
        return _aim_at(model, np.unique([loss for loss in losses if loss > 0.0]), MAX_STARTS)
    if not all(0.0 < probability < 0.5 for probability in tail_probs):
        raise ValueError(f"tail_probs must lie in (0, 0.5), were {tail_probs}")
    wanted = np.sort(np.asarray(tail_probs, dtype=np.float64))[::-1]
    n_pilot = -(-n_pilot // CYCLE) * CYCLE
    aim = plain_aim(model)
    for turn in range(PILOT_ROUNDS):
        drawn, weights = draw_importance(model, aim, n_pilot, generator)
        targets = _quantiles(drawn.sum(axis=0), weights, wanted)
        # The pilot's own aims need not know every summit.
        n_starts = MAX_STARTS if turn == PILOT_ROUNDS - 1 else 1
        aim = _aim_at(model, np.unique(targets[targets > 0.0]), n_starts)
        if aim.is_plain:
            break
    return aim


def _quantiles(losses: FloatArray, weights: FloatArray, tail_probs: FloatArray) -> FloatArray:
    """Losses exceeded with these probabilities; nearer ones where the sample does not reach that far."""
    order = np.argsort(-losses, kind="stable")
    beyond = np.cumsum(weights[order]) / losses.size
    places = np.searchsorted(beyond, tail_probs)
    # Further out than the last few paths the estimate is noise.
    nearest = min(PILOT_BEYOND, losses.size - 1)
    found = losses[order][np.clip(places, nearest, losses.size - 1)]
    # A book that rarely loses at all: aim at the least that it can lose, and see further in the next round.
    least = float(np.min(losses, where=losses > 0.0, initial=np.inf))
    return np.where((found == 0.0) & (places < nearest) & math.isfinite(least), least, found)


def _aim_at(model: LossModel, targets: FloatArray, n_starts: int) -> Aim:
    """Aim at losses in currency, ascending and positive."""
    room = CYCLE - PLAIN_PER_CYCLE
    if targets.size > room:
        raise ValueError(f"at most {room} losses can be aimed at, were {targets.size}")
    if targets.size == 0:
        return plain_aim(model)
    book = LossBook.of(model)
    if book.active.size == 0:
        return plain_aim(model)
    shifts, scales, levels, sizes = [np.zeros(model.n_factors)], [1.0], [-1], []
    modes_each = max(1, min(MAX_MODES, room // targets.size))
    for level, target in enumerate(targets):
        summits, costs = _summits(model, book, float(target), n_starts)
        full = np.zeros(model.n_obligors)
        full[book.active] = costs
        sizes.append(full)
        for shift, scale in summits[:modes_each]:
            shifts.append(shift)
            scales.append(scale)
            levels.append(level)
    # The further out, the earlier a component gets what is left over when the places do not divide.
    aimed = np.arange(1, len(levels))[::-1]
    pattern = np.concatenate([np.zeros(PLAIN_PER_CYCLE, dtype=np.int64), np.resize(aimed, room)])
    return Aim(
        pattern=pattern,
        shifts=np.array(shifts),
        scales=np.array(scales),
        level=np.array(levels),
        targets=targets,
        sizes=np.array(sizes),
    )


def _summits(
    model: LossModel, book: LossBook, target: float, n_starts: int
) -> tuple[list[tuple[FloatArray, float]], FloatArray]:
    """Most likely factors of a loss, best first, with the scale of W, and the mean costs there."""
    best = _mean_costs(model, book, None)
    found: list[tuple[float, FloatArray, float]] = []
    # With losses given default that follow the factors, costs and summit are found in turn.
    rounds = 1 if not (model.recoveries.correlation * model.recoveries.std > 0.0).any() else 3
    for turn in range(rounds):
        costs = best
        starts = _directions(model, book, costs)[:n_starts] if turn == 0 else [found[0][1]]
        tried = [_climb(model, book, costs, target, start) for start in starts]
        found = sorted(tried if turn == 0 else tried + found[1:], key=lambda summit: -summit[0])
        if rounds > 1:
            best = _mean_costs(model, book, found[0][1])
    kept: list[tuple[float, FloatArray, float]] = []
    for height, shift, scale in found:
        near = any(float(np.sum((shift - other) ** 2)) < MODE_DISTANCE**2 for _, other, _ in kept)
        if not near and height > found[0][0] - MODE_SLACK:
            kept.append((height, shift, scale))
    return [(shift, scale) for _, shift, scale in kept], best


def _directions(model: LossModel, book: LossBook, costs: FloatArray) -> list[FloatArray]:
    """Return unit directions in which the book and its largest segments suffer."""
    pulls = np.zeros((model.n_segments, model.n_factors))
    weights = np.bincount(book.cell_of, weights=costs, minlength=model.n_cells)
    segment_of_cell = np.repeat(np.arange(model.n_segments), np.diff(model.segments))
    np.add.at(pulls, segment_of_cell, -weights[:, None] * model.loadings)
    largest = np.argsort(-np.linalg.norm(pulls, axis=1), kind="stable")[: MAX_STARTS - 1]
    raw = [pulls.sum(axis=0), *(pulls[number] for number in largest)]
    if model.n_factors == 1:
        raw = raw[:1]
    lengths = [float(np.linalg.norm(vector)) for vector in raw]
    kept = [vector / length for vector, length in zip(raw, lengths, strict=True) if length > 0.0]
    return kept or [np.zeros(model.n_factors)]


def _climb(
    model: LossModel, book: LossBook, costs: FloatArray, target: float, start: FloatArray
) -> tuple[float, FloatArray, float]:
    """Height, factors and scale of W at the top of the log density of the factors given the loss."""
    # Only an aim needs it, and its import takes long for a worker that draws.
    from scipy.optimize import minimize

    unit = float(costs.max())
    sizes, aimed, has_mixing = costs / unit, target / unit, math.isfinite(model.dof)
    inverse, loadings = 1.0 / model.residual, np.ascontiguousarray(model.loadings)
    gradient = np.empty(model.n_factors)

    def bound(factors: FloatArray, log_w: float) -> tuple[float, float, float]:
        root = math.exp(0.5 * log_w) / math.sqrt(model.dof) if has_mixing else 1.0
        value, by_root, expected = bound_and_gradient(
            book.thresholds,
            book.cell_of,
            loadings,
            model.mean,
            inverse,
            sizes,
            aimed,
            factors,
            root,
            gradient,
        )
        return float(value), float(by_root), float(expected)

    centre = math.log(model.dof) if has_mixing else 0.0

    def depth(point: FloatArray) -> tuple[float, FloatArray]:
        factors, log_w = point[: model.n_factors], float(point[-1]) if has_mixing else 0.0
        value, by_root, _ = bound(factors, log_w)
        slopes = factors - gradient
        total = 0.5 * float(factors @ factors) - value
        if has_mixing:
            w = math.exp(log_w)
            total += 0.5 * (w - model.dof - model.dof * (log_w - centre))
            slopes = np.append(slopes, 0.5 * (w - model.dof) - 0.5 * by_root)
        return total, slopes

    low, high = 0.0, 10.0
    origin = start if float(np.linalg.norm(start)) > 0.0 else np.zeros(model.n_factors)
    length = float(np.linalg.norm(origin)) or 1.0
    for _ in range(12):
        middle = 0.5 * (low + high)
        if bound(origin / length * middle, centre)[2] < aimed:
            low = middle
        else:
            high = middle
    first = origin / length * high
    bounds = [(-38.0, 38.0)] * model.n_factors
    if has_mixing:
        first, bounds = np.append(first, centre), [*bounds, (centre - 40.0, centre + 3.0)]
    found = minimize(depth, first, jac=True, method="L-BFGS-B", bounds=bounds, options={"maxiter": 200})
    # A summit that the search did not quite reach is as unbiased as any; nothing needs to have converged.
    shift = np.asarray(found.x[: model.n_factors], dtype=np.float64)
    scale = min(math.exp(float(found.x[-1]) - centre), 1.0) if has_mixing else 1.0
    return -float(found.fun), shift, scale


def _mean_costs(model: LossModel, book: LossBook, factors: FloatArray | None) -> FloatArray:
    """Mean loss of each obligor's default at given factors; with the stated mean where they are unknown."""
    laws = model.recoveries
    shares = laws.mean[book.law_of].copy()
    moving = (laws.correlation * laws.std > 0.0)[book.law_of]
    if factors is not None and moving.any():
        tables, rows = quantile_tables(laws)
        scores = model.systematic_scores(factors[:, None])[book.cell_of, 0]
        nodes, node_weights = np.polynomial.hermite_e.hermegauss(9)
        for law in np.unique(book.law_of[moving]):
            mine = book.law_of == law
            slope = float(laws.correlation[law])
            at = slope * scores[mine, None] + math.sqrt(1.0 - slope * slope) * nodes
            shares[mine] = np.interp(at, TABLE_GRID, tables[rows[law]]) @ node_weights / node_weights.sum()
    return model.exposures[book.active] * shares
