"""Losses of the whole loan book: read, stressed, drawn as Ray tasks, and estimated by the method that suits.

Without Ray the same functions run task by task in this process, which is the plain witness of the
distributed result.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, TypeAlias

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from acceleray.errors import InputDataError
from acceleray.numerics.credit import PreparedModel, prepare_draws
from acceleray.numerics.expected_loss import expected_loss
from acceleray.risk.credit_blocks import WHOLE, Portfolio, plain_paths
from acceleray.risk.credit_book import CreditBook, read_credit_book
from acceleray.risk.credit_losses import CreditLosses
from acceleray.risk.credit_methods import estimate_portfolios
from acceleray.risk.credit_models import CreditStress, loss_model, stress_credit_book
from acceleray.risk.fan_out import fan_out
from acceleray.risk.joint_stress import market_stress

if TYPE_CHECKING:
    from acceleray.config.models import Scenario, SimulateSettings
    from acceleray.domain.market import Market

__all__ = ["credit_losses", "credit_scenarios", "draw_plain_paths", "losses_of"]

FloatArray: TypeAlias = npt.NDArray[np.float64]


def credit_losses(
    obligors: pa.Table,
    scenarios: Sequence[Scenario],
    settings: SimulateSettings,
    *,
    fx: Mapping[str, float] | None = None,
    market: Market | None = None,
    covariance: FloatArray | None = None,
) -> CreditLosses:
    """Estimate the losses of a loan book under every credit scenario.

    Parameters
    ----------
    obligors : pyarrow.Table
        Columns of ``raw.obligors``, in any row order; at least one row.
    scenarios : sequence of Scenario
        Those with ``book: credit`` or ``both`` are run, the others are not ours. Without any, an unshocked
        ``base`` is.
    settings : SimulateSettings
        Seed, interval level, and the section ``credit``.
    fx : mapping of str to float, optional
        Base currency units for one unit of each currency of the book.
    market : Market, optional
        Today's levels, for scenarios of both books.
    covariance : ndarray of shape (n_market, n_market), optional
        Of daily market moves, for the map from market factors to latent ones.

    Returns
    -------
    CreditLosses

    Raises
    ------
    InputDataError
        If the book, a scenario or the method cannot be used; see `read_credit_book`, `stress_credit_book`
        and `estimate_portfolios`.
    TaskFailedError
        If a task failed after Ray's retries.
    """
    book = read_credit_book(obligors, settings.credit, fx=fx)
    felt = None
    if market is not None and covariance is not None:
        felt = market_stress(book.factors, market, covariance, scenarios, settings.credit)
    stresses = [stress_credit_book(book, scenario, felt) for scenario in credit_scenarios(scenarios)]
    return losses_of(book, stresses, settings)


def losses_of(book: CreditBook, stresses: Sequence[CreditStress], settings: SimulateSettings) -> CreditLosses:
    """Estimate the losses of a book that is read, under stresses that are applied; as `credit_losses`."""
    # An instance of Ray that nobody has imported is not initialised.
    ray = sys.modules.get("ray")
    distributed = ray is not None and ray.is_initialized()
    models = tuple(prepare_draws(loss_model(book, stress, dof=settings.credit.dof)) for stress in stresses)
    plain = draw_plain_paths(
        models,
        book.segments,
        seed=settings.seed,
        n_paths=settings.credit.n_paths,
        block_size=settings.credit.block_size,
        distributed=distributed,
    )
    # A single segment is the whole book, and has its figures.
    parts = range(len(book.segments)) if len(book.segments) > 1 else ()
    portfolios = [
        Portfolio(scenario=scenario, segment=segment)
        for scenario in range(len(models))
        for segment in (WHOLE, *parts)
    ]
    found = estimate_portfolios(
        models, portfolios, plain, settings, segments=book.segments, distributed=distributed
    )
    if not parts:
        for whole in portfolios:
            found[replace(whole, segment=0)] = found[whole]
    return CreditLosses(
        book=book,
        stresses=tuple(stresses),
        models=[each.model for each in models],
        expected=np.array([expected_loss(model.model) for model in models]),
        plain=plain,
        found=found,
    )


def draw_plain_paths(
    models: tuple[PreparedModel, ...],
    segments: tuple[str, ...],
    *,
    seed: int,
    n_paths: int,
    block_size: int,
    distributed: bool,
) -> FloatArray:
    """Draw the losses of every scenario, segment and path.

    Parameters
    ----------
    models : tuple of PreparedModel
        One per scenario.
    segments : tuple of str
        Names of the segments.
    seed : int
        Seed of the simulation.
    n_paths, block_size : int
        The last block is the shorter one. The block size is part of what the numbers depend on; the number of
        workers is not.
    distributed : bool
        As Ray tasks, or in this process.

    Returns
    -------
    ndarray of shape (n_scenarios, n_segments, n_paths)
        Losses in base currency.

    Raises
    ------
    TaskFailedError
        If a block failed after Ray's retries.
    """
    sizes = [min(block_size, n_paths - first) for first in range(0, n_paths, block_size)]
    blocks = fan_out(
        plain_paths,
        shared=[models, segments, seed],
        calls=list(enumerate(sizes)),
        what="block of the credit simulation",
        distributed=distributed,
    )
    return np.concatenate(blocks, axis=2)


def credit_scenarios(scenarios: Sequence[Scenario]) -> list[Scenario]:
    """Pick the scenarios of the loan book; an unshocked base when there are none."""
    from acceleray.config.models import Scenario

    chosen = [scenario for scenario in scenarios if scenario.reaches_credit]
    names = [scenario.name for scenario in chosen]
    for name in names:
        if names.count(name) > 1:
            raise InputDataError(f"{names.count(name)} credit scenarios are named {name!r}")
    return chosen or [Scenario(name="base", book="credit")]
