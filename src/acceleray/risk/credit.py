"""Credit losses of the whole loan book: blocks of paths fanned out as Ray tasks.

A block of paths is one task that draws every scenario. All scenarios share the same random streams in each
block on purpose (common random numbers): path ``k`` is the same state of the economy in all of them, and a
segment that a scenario leaves alone has the same losses in it as in the base, to the bit. So differences
between scenarios are much sharper than the scenarios themselves. (Where a shock changes the probabilities of
a segment, its idiosyncratic draws start alike but do not stay in step.)

Without Ray the same function runs block by block in this process, which is the plain witness of the
distributed result.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeAlias

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from acceleray.errors import InputDataError
from acceleray.numerics.credit import (
    PreparedSegment,
    default_generator,
    draw_default_losses,
    draw_factors,
    prepare_segment,
)
from acceleray.risk.credit_book import CreditBook, read_credit_book
from acceleray.risk.credit_measures import measure_credit_losses
from acceleray.risk.credit_models import CreditStress, stress_credit_book
from acceleray.risk.fan_out import fan_out

if TYPE_CHECKING:
    from acceleray.config.models import Scenario, SimulateSettings

__all__ = ["credit_scenarios", "draw_credit_losses", "simulate_block", "simulate_credit"]

FloatArray: TypeAlias = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True, kw_only=True)
class PreparedBook:
    """What every task needs, put into the object store once: all segments under all scenarios."""

    names: tuple[str, ...]
    segments: tuple[tuple[PreparedSegment, ...], ...]


def simulate_credit(
    obligors: pa.Table,
    scenarios: Sequence[Scenario],
    settings: SimulateSettings,
    *,
    fx: Mapping[str, float] | None = None,
) -> pa.Table:
    """Simulate the loan book under every credit scenario and measure it.

    Parameters
    ----------
    obligors : pyarrow.Table
        Columns of ``raw.obligors``, in any row order; at least one row.
    scenarios : sequence of Scenario
        Those with ``book: credit`` or ``both`` are run, the others are not ours. Without any, an unshocked
        ``base`` is.
    settings : SimulateSettings
        Seed, interval level, and the section ``credit``: paths, block size, correlations, levels.
    fx : mapping of str to float, optional
        Base currency units for one unit of each currency of the book.

    Returns
    -------
    pyarrow.Table
        Rows of ``result.credit`` in key order. Segment ``"*"`` is the whole book.

    Raises
    ------
    InputDataError
        If the book or a scenario cannot be used; see `read_credit_book` and `stress_credit_book`.
    TaskFailedError
        If a block failed after Ray's retries.
    """
    book = read_credit_book(obligors, settings.credit, fx=fx)
    if settings.credit.dof is not None:
        raise InputDataError("simulate.credit.dof is set, but this sampler draws from a Gaussian copula")
    stresses = [stress_credit_book(book, scenario) for scenario in credit_scenarios(scenarios)]
    losses = draw_credit_losses(
        book,
        stresses,
        seed=settings.seed,
        n_paths=settings.credit.n_paths,
        block_size=settings.credit.block_size,
    )
    return measure_credit_losses(
        book,
        stresses,
        losses,
        levels=settings.credit.levels,
        interval_level=settings.interval_level,
        seed=settings.seed,
    )


def draw_credit_losses(
    book: CreditBook, stresses: Sequence[CreditStress], *, seed: int, n_paths: int, block_size: int
) -> FloatArray:
    """Draw the losses of every scenario, path and segment, as Ray tasks if Ray is up.

    Parameters
    ----------
    book : CreditBook
        Its order and correlations.
    stresses : sequence of CreditStress
        One per scenario.
    seed : int
        Seed of the simulation.
    n_paths, block_size : int
        The last block is the shorter one. The block size is part of what the numbers depend on; the number of
        workers is not.

    Returns
    -------
    ndarray of shape (n_scenarios, n_paths, n_segments)
        Losses in base currency. Their sum over the last axis is the loss of the book.

    Raises
    ------
    InputDataError
        If the book has several factors, stressed factors or random losses given default.
    TaskFailedError
        If a block failed after Ray's retries.
    """
    if any(stress.factors is not book.factors for stress in stresses) or book.recoveries.std.any():
        raise InputDataError("this sampler knows neither stressed factors nor random losses given default")
    prepared = PreparedBook(
        names=book.segments,
        segments=tuple(
            tuple(
                prepare_segment(
                    stress.default_prob[rows], book.ead[rows] * stress.lgd[rows], correlation=correlation
                )
                for rows, correlation in zip(book.slices, book.correlation, strict=True)
            )
            for stress in stresses
        ),
    )
    sizes = [min(block_size, n_paths - first) for first in range(0, n_paths, block_size)]
    # An instance of Ray that nobody has imported is not initialised.
    ray = sys.modules.get("ray")
    blocks = fan_out(
        simulate_block,
        shared=[prepared, seed],
        calls=list(enumerate(sizes)),
        what="block of the credit simulation",
        distributed=ray is not None and ray.is_initialized(),
    )
    return np.concatenate(blocks, axis=1)


def simulate_block(book: PreparedBook, seed: int, block: int, n_paths: int) -> FloatArray:
    """Draw one block of paths for all scenarios; the unit of distributed work.

    Parameters
    ----------
    book : PreparedBook
        All segments under all scenarios.
    seed, block : int
        Address of the random streams.
    n_paths : int
        Paths in this block.

    Returns
    -------
    ndarray of shape (n_scenarios, n_paths, n_segments)
        Losses in base currency.
    """
    factors = draw_factors(seed, block=block, n_paths=n_paths)
    losses = np.empty((len(book.segments), n_paths, len(book.names)))
    for scenario, segments in enumerate(book.segments):
        for column, (name, segment) in enumerate(zip(book.names, segments, strict=True)):
            generator = default_generator(seed, block=block, segment=name)
            losses[scenario, :, column] = draw_default_losses(segment, factors, generator)
    return losses


def credit_scenarios(scenarios: Sequence[Scenario]) -> list[Scenario]:
    """Pick the scenarios of the loan book; an unshocked base when there are none."""
    from acceleray.config.models import Scenario

    chosen = [scenario for scenario in scenarios if scenario.reaches_credit]
    names = [scenario.name for scenario in chosen]
    for name in names:
        if names.count(name) > 1:
            raise InputDataError(f"{names.count(name)} credit scenarios are named {name!r}")
    return chosen or [Scenario(name="base", book="credit")]
