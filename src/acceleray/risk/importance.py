"""Monte-Carlo scenarios drawn where the book loses money, as a plan whose blocks any worker can draw alone.

`prepare_importance` looks at the book's delta-gamma loss and at a pilot of full revaluations, and decides for
stratified importance sampling or, with a reason, for plain paths. Workers import this module.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from acceleray.errors import NumericalError
from acceleray.numerics.allocation import (
    PILOT_BODY,
    design,
    fit_losses,
    pilot_ratio,
    pilot_shares,
    quadratic_law,
)
from acceleray.numerics.delta_gamma import delta_gamma, tilt
from acceleray.numerics.moves import apply_moves
from acceleray.numerics.stratified import allocate, draw_moves, stratify
from acceleray.numerics.streams import Purpose, stream
from acceleray.risk.blocks import Blocks, Drawn, Stratified

__all__ = ["Diagnosis", "Importance", "Stratified", "prepare_importance"]

FloatArray = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]

# A pilot costs at most this share of the paths, so that plain sampling after it loses less than a tenth.
_PILOT_SHARE = 0.09
_MIN_PILOT, _LONG_PILOT = 400, 8192
# Losses of one call, so that a long pilot of a large book stays small in memory.
_CALL = 8192
# Paths of a long pilot for each one expected beyond the furthest level: what it has then not met is rare
# enough for the defensive paths.
_PILOT_PER_EXCEEDANCE = 40.0
# A loss beyond the level of which this many were expected in the pilot's body will have been met.
_MET = 3.5
_MAX_DEFENSIVE = 0.5
_PILOT_STRATA = 24
_MAX_STRATA = 96
# Paths per stratum and block below which rounding would spoil the allocation.
_MIN_PER_STRATUM = 8
# The predicted gain, after the cost of rejected proposals, below which plain paths are drawn. Where the loss
# has rare jumps that the quadratic does not know, a pilot that met few of them predicts up to two in error;
# books that the quadratic does describe gain tens.
_MIN_GAIN = 4.0
# Cost of one rejected proposal as a share of a plain path with its revaluation: normals of one path.
_PROPOSAL_COST = 0.5


@dataclass(frozen=True, slots=True, kw_only=True)
class Diagnosis:
    """How a set was drawn, and why.

    Parameters
    ----------
    method : str
        ``importance`` or ``plain``.
    reason : str or None
        Why plain paths were drawn although importance sampling was asked for.
    theta : float or None
        Tilt at the stratum furthest out.
    variance_ratios : tuple of float
        For every level, the predicted variance of the plain tail probability over that of this set, path for
        path; the smaller one of two predictions. Empty if there was no pilot.
    proposals_per_path : float
        How many proposals it takes to keep one.
    n_pilot : int
        Full revaluations spent before the set begins.
    """

    method: str
    reason: str | None
    theta: float | None
    variance_ratios: tuple[float, ...]
    proposals_per_path: float
    n_pilot: int


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Importance:
    """A weighted scenario set in blocks that stand alone.

    Parameters
    ----------
    plan : Stratified or Drawn
        What the blocks draw from.
    diagnosis : Diagnosis
        How that was decided.
    """

    plan: Stratified | Drawn
    diagnosis: Diagnosis

    @property
    def blocks(self) -> Blocks:
        """How the scenarios are cut; importance sampling rounds them up to whole blocks."""
        return self.plan.blocks

    def levels(self, block: int) -> FloatArray:
        """Shocked levels of a block, shape (n_in_block, n_factors)."""
        return self.plan.levels(block)

    def weights(self, block: int) -> FloatArray:
        """Probability that each path of a block stands for, shape (n_in_block,).

        Notes
        -----
        The weights of all scenarios add up to one (up to rounding), and those of every block of a stratified
        set to one over the number of blocks, not only on average. The first B of N blocks are an unbiased
        sample as well; their weights times N / B add up to one. Plain paths weigh one over their number.
        """
        if not 0 <= block < len(self.blocks):
            raise IndexError(f"block must lie in [0, {len(self.blocks)}), was {block}")
        if isinstance(self.plan, Stratified):
            return self.plan.block_weights()
        first, stop = self.plan.blocks.bounds(block)
        return np.full(stop - first, 1.0 / self.plan.blocks.n_scenarios)


def prepare_importance(
    plain: Drawn,
    loss: Callable[[FloatArray], FloatArray],
    gradient: FloatArray,
    hessian: FloatArray,
    *,
    levels: tuple[float, ...],
    defensive_share: float = 0.1,
) -> Importance:
    """Prepare scenarios that know the tail of one book, or plain ones if that would not pay.

    Parameters
    ----------
    plain : Drawn
        The pseudo-random set that would be drawn otherwise, and is if importance sampling does not pay: its
        law, number of paths and blocks are those asked for, without the pilot. It must be one step over its
        horizon. A stratified set rounds the paths up to whole blocks.
    loss : callable
        Full revaluation of the target book: shocked levels of shape (n_scenarios, n_factors) to losses of
        shape (n_scenarios,). Called for the base and for the pilot.
    gradient, hessian : ndarray of shape (n_factors,) and (n_factors, n_factors)
        Derivatives of the loss with respect to the moves at no move.
    levels : tuple of float
        Levels to be known well; one design serves them all.
    defensive_share : float
        Least share of the paths that goes to the strata in proportion to their probability; it is raised, to
        one half at most, where the pilot is too short to have met every loss that matters. No weight exceeds
        ``1 / (defensive_share * n_paths)`` by more than rounding, and no figure of any other book has more
        than ``1 / defensive_share`` times the variance of plain sampling.

    Returns
    -------
    Importance

    Raises
    ------
    NumericalError
        If the pilot's losses or the derivatives are not finite.
    ValueError
        If a level or share is out of range, or `plain` is a sum of daily draws or not pseudo-random.
    """
    _check(plain, levels, defensive_share)
    n_paths, block_size = plain.blocks.n_scenarios, plain.blocks.size
    seed, horizon_days, dof = plain.seed, plain.horizon_days, plain.dof
    root = plain.root * math.sqrt(horizon_days)
    blocks = Blocks(n_scenarios=-(-n_paths // block_size) * block_size, size=block_size)
    furthest = 1.0 - max(levels)
    n_pilot = min(int(_PILOT_SHARE * n_paths), max(_LONG_PILOT, int(_PILOT_PER_EXCEEDANCE / furthest)))
    if n_pilot < _MIN_PILOT:
        return _plain(plain, f"{n_paths} paths do not pay for a pilot of {_MIN_PILOT}")
    n_strata = min(_MAX_STRATA, block_size // _MIN_PER_STRATUM)
    if n_strata < 4:
        return _plain(plain, f"blocks of {block_size} paths are too short for strata")
    if not (np.isfinite(gradient).all() and np.isfinite(hessian).all()):
        raise NumericalError("importance sampling: the derivatives of the loss were not all finite")
    start = float(_losses(loss, plain.base[None, :])[0])
    try:
        model = delta_gamma(
            gradient, hessian, root, constant=start, dof=dof, unit_variance=plain.unit_variance
        )
        law = quadratic_law(model, smallest_tail=0.1 * furthest)
        tails = np.geomspace(0.5, 0.2 * furthest, _PILOT_STRATA - 1)
        strata = stratify(model, np.unique(law.quantile(tails)))
    except NumericalError as error:
        return _plain(plain, error.message)
    # Losses that have nothing to do with Q have up to this probability when the pilot may well miss them.
    unseen = _MET / (PILOT_BODY * n_pilot)
    defensive = max(defensive_share, min(unseen / furthest, _MAX_DEFENSIVE))
    counts = allocate(pilot_shares(strata.probability), n_pilot)
    generator = stream(seed, Purpose.IMPORTANCE_PILOT, horizon_days, 0)
    moves, quadratic = draw_moves(model, strata, counts, generator)
    losses = _losses(loss, apply_moves(plain.base, moves + plain.drift, plain.move_kinds))
    if np.ptp(losses) == 0.0:
        return _plain(plain, f"the losses of the pilot were all {losses[0]:g}", (), n_pilot)
    fitted = fit_losses(losses, quadratic, counts, strata.edges, strata.probability, levels)
    found = design(law, fitted, levels, n_strata=n_strata, defensive_share=defensive)
    ratios = tuple(
        float(min(pair)) for pair in zip(found.ratios, pilot_ratio(fitted, counts, found), strict=True)
    )
    try:
        strata = stratify(model, found.inner_edges)
    except (NumericalError, ValueError) as error:
        return _plain(plain, f"the strata could not be cut: {error}", ratios, n_pilot)
    counts = allocate(found.shares, block_size)
    proposals = float((counts / strata.acceptance).sum() / block_size)
    gain = min(ratios) / (1.0 + _PROPOSAL_COST * (proposals - 1.0))
    if not gain >= _MIN_GAIN:
        reason = (
            f"predicted variance ratios {', '.join(f'{ratio:.3g}' for ratio in ratios)} "
            f"at {proposals:.3g} proposals a path do not pay"
        )
        return _plain(plain, reason, ratios, n_pilot)
    plan = Stratified(
        blocks=blocks,
        base=plain.base,
        move_kinds=plain.move_kinds,
        drift=plain.drift,
        model=model,
        strata=strata,
        counts=counts,
        horizon_days=horizon_days,
        seed=seed,
    )
    theta = float(tilt(model, found.inner_edges[-1:]).theta[0])
    return Importance(
        plan=plan,
        diagnosis=Diagnosis(
            method="importance",
            reason=None,
            theta=theta,
            variance_ratios=ratios,
            proposals_per_path=proposals,
            n_pilot=n_pilot,
        ),
    )


def _plain(plan: Drawn, reason: str, ratios: tuple[float, ...] = (), n_pilot: int = 0) -> Importance:
    return Importance(
        plan=plan,
        diagnosis=Diagnosis(
            method="plain",
            reason=reason,
            theta=None,
            variance_ratios=ratios,
            proposals_per_path=1.0,
            n_pilot=n_pilot,
        ),
    )


def _losses(loss: Callable[[FloatArray], FloatArray], shocked: FloatArray) -> FloatArray:
    parts = np.array_split(shocked, -(-len(shocked) // _CALL))
    found = np.concatenate([np.asarray(loss(part), dtype=np.float64) for part in parts])
    if found.shape != shocked.shape[:1]:
        raise ValueError(f"loss must return one value per scenario, had shape {found.shape}")
    if not np.isfinite(found).all():
        raise NumericalError("importance sampling: a loss of the pilot was not finite")
    return found


def _check(plain: Drawn, levels: tuple[float, ...], defensive_share: float) -> None:
    if not levels or not all(0.5 <= level < 1.0 for level in levels):
        raise ValueError(f"levels must lie in [0.5, 1), were {levels}")
    if not 0.0 < defensive_share <= 1.0:
        raise ValueError(f"defensive_share must lie in (0, 1], was {defensive_share}")
    if plain.replicates is not None or (plain.horizon_days > 1 and plain.step != "horizon"):
        raise ValueError("importance sampling needs pseudo-random moves in one step over the horizon")
