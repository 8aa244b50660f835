"""What a scenario makes of the loan book: shocked parameters, a law of the latent factors, a loss model."""

from __future__ import annotations

from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING, TypeAlias

import numpy as np
import numpy.typing as npt

from acceleray.errors import InputDataError
from acceleray.numerics.credit_model import LossModel, default_thresholds
from acceleray.numerics.recovery import Recoveries
from acceleray.risk.credit_book import CreditBook
from acceleray.risk.latent_factors import LatentLaw, MarketStress

if TYPE_CHECKING:
    from acceleray.config.scenarios import Scenario, Shock

__all__ = ["CreditStress", "loss_model", "stress_credit_book"]

FloatArray: TypeAlias = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class CreditStress:
    """The loan book under one scenario, in the order of the book.

    Parameters
    ----------
    scenario : str
        Its name.
    default_prob, lgd : ndarray of shape (n_obligors,)
        Both in [0, 1]; the default probabilities of a cell still ascend. A stress of the latent factors is
        not in them.
    default_prob_limited, lgd_limited : ndarray of shape (n_segments,)
        How many obligors the shocks took outside [0, 1], where they were held at the bound.
    recoveries : Recoveries
        Laws of the loss given default, in the order of the book's.
    factors : LatentLaw
        Law of the latent factors.
    """

    scenario: str
    default_prob: FloatArray
    lgd: FloatArray
    default_prob_limited: npt.NDArray[np.int64]
    lgd_limited: npt.NDArray[np.int64]
    recoveries: Recoveries
    factors: LatentLaw


def stress_credit_book(
    book: CreditBook, scenario: Scenario, market: MarketStress | None = None
) -> CreditStress:
    """Apply the shocks of a scenario in their order; without shocks the result is the book as it is.

    Parameters
    ----------
    book : CreditBook
        The unstressed book.
    scenario : Scenario
        With ``book: credit`` or ``both``. A shock selects segments by a glob and scales or adds to
        ``default_prob`` or ``lgd``, or selects latent factors by a glob and sets or shifts them. Values
        outside [0, 1] are held at the bound once all shocks are applied, and counted. The market moves of a
        scenario of both books act first.
    market : MarketStress, optional
        The map and the moves, for a scenario of both books; without it such a scenario reaches the loan book
        by its own credit shocks alone.

    Returns
    -------
    CreditStress

    Raises
    ------
    InputDataError
        If a shock selects no segment or factor of the book, moves market factors in a scenario of the loan
        book alone, or scales by a negative number; if a scenario of the loan book alone replays a historical
        window; if a scenario of both books has nothing that acts on the loan book; or if one shocks the
        default probabilities of a segment and a factor that its obligors depend on, which would count the
        same twice.

    Notes
    -----
    A random loss given default keeps the precision ``a + b`` of its Beta law when its mean is shocked, so its
    standard deviation changes in proportion to ``sqrt(mean (1 - mean))``.
    """
    if scenario.book == "credit" and scenario.from_ is not None:
        raise InputDataError(
            f"credit scenario {scenario.name!r} names a historical window, which a loan book cannot replay",
            hint="With book: both the window's market moves act on the loan book.",
        )
    default_prob, mean = book.default_prob.copy(), book.recoveries.mean.copy()
    law_segment = _segments_of_laws(book)
    shocked = np.zeros(len(book.segments), dtype=np.bool_)
    factors = _after_market(book, scenario, market)
    for shock in scenario.shocks:
        if shock.select.is_market and shock.move is not None and scenario.book == "both":
            continue
        if shock.select.credit_factor is not None and shock.move is not None:
            factors = _move_factors(scenario.name, shock, factors)
            continue
        chosen = _segments(book, scenario.name, shock)
        shocked |= chosen & (shock.default_prob is not None)
        obligors = np.repeat(chosen, [rows.stop - rows.start for rows in book.slices])
        for values, where, change in (
            (default_prob, obligors, shock.default_prob),
            (mean, chosen[law_segment], shock.lgd),
        ):
            for kind, size in (change or {}).items():
                if kind == "scale" and size < 0.0:
                    raise InputDataError(f"scenario {scenario.name!r} scales by {size}, which is negative")
                values[where] = values[where] * size if kind == "scale" else values[where] + size
    _refuse_twice(book, scenario.name, shocked, factors)
    recoveries = _held(book.recoveries, mean)
    return CreditStress(
        scenario=scenario.name,
        default_prob=np.clip(default_prob, 0.0, 1.0),
        lgd=recoveries.mean[book.recovery],
        default_prob_limited=_count_outside(book, default_prob),
        lgd_limited=_count_outside(book, mean[book.recovery]),
        recoveries=recoveries,
        factors=factors,
    )


def loss_model(book: CreditBook, stress: CreditStress, *, dof: float | None = None) -> LossModel:
    """Return the book under a scenario as every method takes it.

    Parameters
    ----------
    book : CreditBook
        The unstressed book.
    stress : CreditStress
        The scenario.
    dof : float, optional
        Degrees of freedom of a t copula; Gaussian without.

    Returns
    -------
    LossModel
        Obligors, cells and segments in the order of the book, whatever the scenario. Its factors are
        independent and as many as the book's: ``F = mean + root xi``, so a cell with weights ``a`` has the
        mean ``a' mean`` and the loadings ``root' a``. The own risk of an obligor is that of the base case.

    Notes
    -----
    Factors of a stress are those of the normal law behind the copula: under a t copula the common mixing
    variable keeps its law.
    """
    freedom = np.inf if dof is None else dof
    # Computed once per distinct probability, and made to ascend with it to the last bit.
    distinct, number = np.unique(stress.default_prob, return_inverse=True)
    thresholds = np.maximum.accumulate(default_thresholds(distinct, dof=freedom))[number]
    variance = book.systematic_variance
    return LossModel(
        thresholds=thresholds,
        exposures=book.ead,
        recovery=book.recovery,
        recoveries=stress.recoveries,
        cells=book.cells,
        loadings=np.ascontiguousarray(book.loadings @ stress.factors.root),
        residual=np.sqrt(1.0 - variance),
        mean=book.loadings @ stress.factors.mean,
        systematic=np.sqrt(variance),
        segments=book.segment_cells,
        dof=freedom,
    )


def _after_market(book: CreditBook, scenario: Scenario, market: MarketStress | None) -> LatentLaw:
    """Law of the latent factors once the market has moved."""
    if scenario.book != "both":
        return book.factors
    moves = None if market is None else market.moves[scenario.name]
    if market is None or moves is None or not moves.any():
        if all(shock.select.is_market for shock in scenario.shocks):
            known = "has no entry" if market is None else f"has {', '.join(market.map.market)}"
            raise InputDataError(
                f"scenario {scenario.name!r} of both books has nothing that acts on the loan book: it moves "
                f"no market factor of simulate.credit.market_map, which {known}, and has no credit shock"
            )
        return book.factors
    return market.map.condition(book.factors, moves)


def _move_factors(scenario: str, shock: Shock, factors: LatentLaw) -> LatentLaw:
    pattern, move = shock.select.credit_factor or "", shock.move or {}
    chosen = np.array(
        [number for number, name in enumerate(factors.names) if fnmatchcase(name, pattern)], dtype=np.int64
    )
    if not chosen.size:
        raise InputDataError(
            f"scenario {scenario!r} selects credit_factor {pattern!r}, which matches none of the credit "
            f"book's: {', '.join(factors.names)}"
        )
    ((kind, size),) = move.items()
    return factors.set_to(chosen, size) if kind == "set" else factors.shifted(chosen, size)


def _segments(book: CreditBook, scenario: str, shock: Shock) -> npt.NDArray[np.bool_]:
    selector = shock.select.segment
    if shock.move is not None or selector is None or len(shock.select.model_fields_set) > 1:
        raise InputDataError(
            f"a shock of credit scenario {scenario!r} must select by segment alone and shock "
            f"default_prob or lgd, was {shock.model_dump(exclude_none=True)}"
        )
    chosen = np.array([fnmatchcase(segment, selector) for segment in book.segments])
    if not chosen.any():
        raise InputDataError(
            f"scenario {scenario!r} selects segment {selector!r}, which matches none of the credit "
            f"book's: {', '.join(book.segments)}"
        )
    return chosen


def _refuse_twice(
    book: CreditBook, scenario: str, shocked: npt.NDArray[np.bool_], factors: LatentLaw
) -> None:
    moved = np.flatnonzero(factors.moved_from(book.factors))
    for number in np.flatnonzero(shocked).tolist():
        cells = slice(book.segment_cells[number], book.segment_cells[number + 1])
        used = moved[(book.loadings[cells][:, moved] != 0.0).any(axis=0)]
        if used.size:
            raise InputDataError(
                f"scenario {scenario!r} shocks default_prob of segment {book.segments[number]!r} and the "
                f"factor {factors.names[used[0]]!r} that its obligors depend on, which counts a stress twice",
                hint="Shock one of them; lgd may be shocked beside a factor.",
            )


def _segments_of_laws(book: CreditBook) -> npt.NDArray[np.int64]:
    """Segment of each law of the loss given default."""
    found = np.zeros(book.recoveries.mean.size, dtype=np.int64)
    for number, rows in enumerate(book.slices):
        found[book.recovery[rows]] = number
    return found


def _held(before: Recoveries, mean: FloatArray) -> Recoveries:
    """Hold means within [0, 1] and give random losses the spread of the same precision around them."""
    held = np.clip(mean, 0.0, 1.0)
    room = before.mean * (1.0 - before.mean)
    grown = np.divide(held * (1.0 - held), room, out=np.ones_like(held), where=before.std > 0.0)
    std = np.where(held == before.mean, before.std, before.std * np.sqrt(grown))
    return Recoveries(mean=held, std=std, correlation=before.correlation)


def _count_outside(book: CreditBook, values: FloatArray) -> npt.NDArray[np.int64]:
    outside = (values < 0.0) | (values > 1.0)
    return np.array([np.count_nonzero(outside[rows]) for rows in book.slices], dtype=np.int64)
