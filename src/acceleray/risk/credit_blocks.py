"""The units of distributed work on the loan book: module-level functions that Ray workers run.

A portfolio is the whole book (`WHOLE`) or one of its segments, by number.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
import numpy.typing as npt

from acceleray.errors import NumericalError
from acceleray.numerics.credit import (
    Defaults,
    PreparedModel,
    default_generator,
    draw_defaults,
    draw_losses,
    draw_mixing,
    draw_systematic,
)
from acceleray.numerics.credit_exact import LossLaw, exact_law, suits_exact
from acceleray.numerics.credit_exact_contributions import exact_contributions
from acceleray.numerics.credit_importance import Aim as ImportanceAim
from acceleray.numerics.credit_importance import aim_importance, draw_importance
from acceleray.numerics.credit_model import LossModel
from acceleray.numerics.expected_loss import expected_loss
from acceleray.numerics.loss_curve import CurveSums, PreparedBook, aim, curve_block, prepare
from acceleray.numerics.loss_curve_contributions import ContributionSums, contributions_block
from acceleray.numerics.loss_curve_suitability import Suitability, suits
from acceleray.numerics.settled_loss import SettledLaw, settled_law
from acceleray.numerics.sobol import sobol_uniforms
from acceleray.numerics.streams import Purpose, stream

__all__ = [
    "WHOLE",
    "Portfolio",
    "conditional_points",
    "contribution_points",
    "exact_portfolio",
    "exact_tail",
    "importance_members",
    "importance_paths",
    "losses_of",
    "plain_members",
    "plain_obligor_sums",
    "plain_paths",
    "prepare_conditional",
    "prepare_importance",
    "settled_portfolio",
    "sum_of",
    "unsuitable_exact",
]

FloatArray: TypeAlias = npt.NDArray[np.float64]
IntArray: TypeAlias = npt.NDArray[np.int64]

WHOLE = -1

# Cost of the exact law that a night spends on one portfolio, in additions: about five seconds.
EXACT_BUDGET = 5e9


@dataclass(frozen=True, slots=True)
class Portfolio:
    """A part of the book under a scenario: numbers of both."""

    scenario: int
    segment: int

    def of(self, models: tuple[PreparedModel, ...]) -> LossModel:
        """Return the model of the portfolio."""
        model = models[self.scenario].model
        return model if self.segment == WHOLE else model.segment(self.segment)

    @property
    def address(self) -> int:
        """Part of the address of its random streams; the same under every scenario."""
        return self.segment + 1


def plain_paths(
    models: tuple[PreparedModel, ...], names: tuple[str, ...], seed: int, block: int, n_paths: int
) -> FloatArray:
    """Draw one block of plain paths under all scenarios.

    Parameters
    ----------
    models : tuple of PreparedModel
        One per scenario.
    names : tuple of str
        Segments, whose streams are their own.
    seed, block : int
        Address of the random streams.
    n_paths : int
        Paths in this block.

    Returns
    -------
    ndarray of shape (n_scenarios, n_segments, n_paths)
        Losses in base currency.

    Notes
    -----
    All scenarios share their streams on purpose (common random numbers): path ``k`` is the same state of the
    economy in all of them, and a segment that a scenario leaves alone has the same losses in it to the bit.
    """
    first = models[0].model
    factors = draw_systematic(seed, block=block, n_factors=first.n_factors, n_paths=n_paths)
    mixing = draw_mixing(seed, block=block, n_paths=n_paths, dof=first.dof)
    losses = np.empty((len(models), first.n_segments, n_paths))
    for number, model in enumerate(models):
        generators = [default_generator(seed, block=block, segment=name) for name in names]
        losses[number] = draw_losses(model, factors, mixing, generators)
    return losses


def unsuitable_exact(models: tuple[PreparedModel, ...], portfolio: Portfolio) -> str | None:
    """Say why the exact law of a portfolio is out of reach; None if it is not."""
    return suits_exact(portfolio.of(models), EXACT_BUDGET)


def exact_portfolio(models: tuple[PreparedModel, ...], portfolio: Portfolio) -> LossLaw | str:
    """Compute the loss law of a portfolio that suits, or say why it failed; see `unsuitable_exact`."""
    try:
        return exact_law(portfolio.of(models))
    except NumericalError as error:
        return error.message


def settled_portfolio(
    models: tuple[PreparedModel, ...], portfolio: Portfolio, highest: float
) -> SettledLaw | None:
    """Bound the losses of a portfolio that is all but certain to lose one amount; None of any other."""
    return settled_law(portfolio.of(models), highest=highest)


def exact_tail(
    models: tuple[PreparedModel, ...], portfolio: Portfolio, law: LossLaw, levels: tuple[float, ...]
) -> tuple[FloatArray, FloatArray]:
    """Split VaR and ES of an exact law among the obligors; see `exact_contributions`."""
    return exact_contributions(portfolio.of(models), law, levels)


def prepare_conditional(
    models: tuple[PreparedModel, ...], portfolio: Portfolio, tail_prob: float, body_prob: float
) -> tuple[PreparedBook, Suitability] | str:
    """Choose the lines of a portfolio and tabulate it, or say why another method should be taken.

    With how well its losses can be read off a smooth curve.
    """
    model = portfolio.of(models)
    if not (expected_loss(model) > 0.0).any():
        return "it cannot lose anything"
    try:
        chosen = aim(model, tail_prob, body_prob=body_prob)
        found = suits(model, chosen)
        return found.reason or (prepare(model, chosen), found)
    except NumericalError as error:
        return error.message


def conditional_points(
    books: tuple[PreparedBook, ...],
    seed: int,
    replicates: int,
    book: int,
    address: int,
    block: int,
    block_size: int,
) -> CurveSums | str:
    """Integrate along one block of lines, or say why that failed.

    Block ``b`` belongs to scramble ``b % replicates``.
    """
    try:
        return curve_block(books[book], _points(books[book], seed, replicates, address, block, block_size))
    except NumericalError as error:
        return error.message


def contribution_points(
    models: tuple[PreparedModel, ...],
    books: tuple[PreparedBook, ...],
    seed: int,
    replicates: int,
    book: int,
    portfolio: Portfolio,
    block: int,
    block_size: int,
    n_lines: int,
    losses: tuple[float, ...],
    chosen: IntArray | None,
) -> ContributionSums:
    """Add up what segments and (chosen) obligors lose in tails, along the first lines of a block."""
    points = _points(books[book], seed, replicates, portfolio.address, block, block_size)[:n_lines]
    return contributions_block(portfolio.of(models), books[book], points, losses, chosen=chosen)


def _points(
    book: PreparedBook, seed: int, replicates: int, address: int, block: int, block_size: int
) -> FloatArray:
    n_dims = book.lines.across.shape[1]
    if not n_dims:
        return np.empty((block_size, 0))
    return sobol_uniforms(
        seed,
        int(Purpose.CREDIT_CURVE),
        address,
        block=block,
        block_size=block_size,
        n_paths=block_size,
        n_dims=n_dims,
        replicates=replicates,
    )


def prepare_importance(
    models: tuple[PreparedModel, ...], seed: int, portfolio: Portfolio, tail_probs: tuple[float, ...]
) -> ImportanceAim:
    """Aim at the losses of a portfolio with the given probabilities."""
    generator = stream(seed, Purpose.CREDIT_IMPORTANCE_PILOT, portfolio.address)
    return aim_importance(portfolio.of(models), generator, tail_probs=tail_probs)


def importance_paths(
    models: tuple[PreparedModel, ...],
    aims: tuple[ImportanceAim, ...],
    seed: int,
    number: int,
    portfolio: Portfolio,
    block: int,
    n_paths: int,
) -> tuple[FloatArray, FloatArray]:
    """Draw one block of weighted losses of a portfolio; see `credit_importance.draw_importance`."""
    generator = stream(seed, Purpose.CREDIT_IMPORTANCE, portfolio.address, block)
    return draw_importance(portfolio.of(models), aims[number], n_paths, generator)


def importance_members(
    models: tuple[PreparedModel, ...],
    aims: tuple[ImportanceAim, ...],
    seed: int,
    number: int,
    portfolio: Portfolio,
    block: int,
    n_paths: int,
    groups: IntArray,
    paths: IntArray,
) -> FloatArray:
    """Draw a block of weighted paths again and return the losses of groups of obligors on some of them."""
    generator = stream(seed, Purpose.CREDIT_IMPORTANCE, portfolio.address, block)
    losses, _ = draw_importance(portfolio.of(models), aims[number], n_paths, generator, groups=groups)
    return np.ascontiguousarray(losses[:, paths])


def plain_members(
    models: tuple[PreparedModel, ...],
    names: tuple[str, ...],
    seed: int,
    scenario: int,
    block: int,
    n_paths: int,
    paths: IntArray,
    groups: IntArray,
) -> FloatArray:
    """Draw some plain paths of a block again and return the losses of groups of obligors on them."""
    defaults = _plain_defaults(models, names, seed, scenario, block, n_paths, paths)
    n_groups = int(groups.max()) + 1
    cells = groups[defaults.obligor] * paths.size + np.searchsorted(paths, defaults.path)
    sums = np.bincount(cells, weights=defaults.loss, minlength=n_groups * paths.size)
    return np.ascontiguousarray(sums.reshape(n_groups, paths.size))


def plain_obligor_sums(
    models: tuple[PreparedModel, ...],
    names: tuple[str, ...],
    seed: int,
    scenario: int,
    block: int,
    n_paths: int,
    paths: IntArray,
    weights: FloatArray,
) -> FloatArray:
    """Draw some plain paths of a block again and add up what each obligor loses, by rows of path weights."""
    defaults = _plain_defaults(models, names, seed, scenario, block, n_paths, paths)
    column = np.searchsorted(paths, defaults.path)
    n_obligors = models[scenario].model.n_obligors
    return np.array(
        [
            np.bincount(defaults.obligor, weights=defaults.loss * row[column], minlength=n_obligors)
            for row in weights
        ]
    )


def _plain_defaults(
    models: tuple[PreparedModel, ...],
    names: tuple[str, ...],
    seed: int,
    scenario: int,
    block: int,
    n_paths: int,
    paths: IntArray,
) -> Defaults:
    """Return who defaults on some paths of a block, whose streams are those of `plain_paths`."""
    prepared = models[scenario]
    factors = draw_systematic(seed, block=block, n_factors=prepared.model.n_factors, n_paths=n_paths)
    mixing = draw_mixing(seed, block=block, n_paths=n_paths, dof=prepared.model.dof)
    generators = [default_generator(seed, block=block, segment=name) for name in names]
    return draw_defaults(prepared, factors, mixing, generators, paths)


def losses_of(by_segment: FloatArray, portfolio: Portfolio) -> FloatArray:
    """Losses of a portfolio, from those of the segments."""
    return sum_of(by_segment) if portfolio.segment == WHOLE else by_segment[portfolio.segment]


def sum_of(by_segment: FloatArray) -> FloatArray:
    """Add segments up in one order; a sum over an axis may regroup them."""
    total = np.zeros(by_segment.shape[1])
    for losses in by_segment:
        total += losses
    return total
