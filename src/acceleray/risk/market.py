"""The whole book under a set of scenarios: blocks in this process, or as Ray tasks, with the same bits."""

from __future__ import annotations

import datetime as dt
from contextlib import AbstractContextManager, nullcontext
from dataclasses import replace
from typing import Literal

import numpy as np
import numpy.typing as npt

from acceleray.domain.book import Book
from acceleray.domain.calendar import business_day_after
from acceleray.domain.market import Market
from acceleray.domain.scenario import MonteCarlo, ScenarioSet
from acceleray.errors import UsageError
from acceleray.numerics.stopping import StoppingRule
from acceleray.risk.aimed import aimed
from acceleray.risk.blocks import Job
from acceleray.risk.parameters import RiskParameters
from acceleray.risk.plans import Labels, history_days, prepare
from acceleray.risk.resolve import Resolution, aged, resolve
from acceleray.risk.results import Pnl
from acceleray.risk.revaluation import BLOCK_SIZE, Gains, revaluations
from acceleray.risk.stand_ins import stand_ins
from acceleray.risk.valuation import ResolvedBook

__all__ = ["book_at", "measured", "revalue", "workers"]

FloatArray = npt.NDArray[np.float64]


def revalue(
    book: Book,
    market: Market,
    scenarios: ScenarioSet,
    *,
    n_workers: int = 1,
    block_size: int = BLOCK_SIZE,
    parameters: RiskParameters | None = None,
    base_currency: str | None = None,
    ageing: Literal["none", "calendar"] = "none",
    calendar: str = "XNYS",
    keep_positions: bool | None = None,
    stopping: StoppingRule | None = None,
) -> Pnl:
    """Revalue a book under a scenario set.

    Parameters
    ----------
    book, market
        What is held, and where the market stands.
    scenarios : Historical, FilteredHistorical, MonteCarlo, Stress or Given
        What happens to it.
    n_workers : int
        1 runs here; more run as Ray tasks, on the Ray that is up or on one started for this call. The bits
        do not depend on it.
    block_size : int
        Scenarios per task. Random streams belong to blocks, so Monte-Carlo results depend on it.
    parameters : RiskParameters, optional
        Calibrated ones; by default exponentially weighted from the market's own history.
    base_currency : str, optional
        By default the only instrument currency that has no exchange rate.
    ageing : {"none", "calendar"}
        Moves are instantaneous, or the book is revalued at the horizon date: `horizon_days` business days
        after `as_of`, with cash flows and expiries in between accounted for.
    calendar : str
        Exchange whose sessions are business days.
    keep_positions : bool, optional
        Keep the gain of every position in memory; by default if they fit into `KEEP_BYTES`. Otherwise they
        are computed again for the scenarios that a question needs.
    stopping : StoppingRule, optional
        Lets a Monte-Carlo set end before its last block. The set's own `n_paths` is the most that is drawn.

    Returns
    -------
    Pnl
        Positions that could not be priced are in ``.excluded`` with the reason.

    Raises
    ------
    UsageError
        If an argument is out of range.
    InputDataError
        If the market cannot supply what the scenarios need.
    NumericalError
        If a scenario takes a factor, or a position's gain, beyond what has a value; it is named.
    """
    if not isinstance(scenarios, ScenarioSet):
        raise UsageError(
            f"scenarios: expected a scenario set, was {type(scenarios).__name__}",
            hint="Pass Historical, FilteredHistorical, MonteCarlo, or what Stress.read or Given.read gives.",
        )
    if ageing not in ("none", "calendar"):
        raise UsageError(f"ageing: expected 'none' or 'calendar', was {ageing!r}")
    for what, number in (("n_workers", n_workers), ("block_size", block_size)):
        if number < 1:
            raise UsageError(f"{what}: expected at least 1, was {number}")
    if isinstance(scenarios, MonteCarlo) and parameters is None:
        parameters = RiskParameters.exponential(market)
    resolution = resolve(
        book, market, base_currency=base_currency, history_days=history_days(scenarios, parameters)
    )
    plan, labels = prepare(
        scenarios, market, parameters, block_size=block_size, columns=resolution.priced.columns
    )
    horizon = labels.horizon_days if ageing == "calendar" else 0
    job = Job(book=book_at(resolution, market, horizon, calendar), plan=plan)
    rules = {} if stopping is None else {0: stopping}
    with workers(n_workers):
        (job,) = stand_ins([job], market.base, distributed=n_workers > 1)
        if isinstance(scenarios, MonteCarlo) and scenarios.sampler == "importance":
            job, labels = aimed(job, labels, market, scenarios.aim, distributed=n_workers > 1)
        (gains,) = revaluations(
            [job], market.base, keep_positions=keep_positions, stopping=rules, distributed=n_workers > 1
        )
    return measured(resolution, labels, job, gains, market.base)


def measured(resolution: Resolution, labels: Labels, job: Job, gains: Gains, base: FloatArray) -> Pnl:
    """Put gains and what they stand for together; of a job that stopped early, the part that there is."""
    if gains.stopped is not None:
        count = gains.by_portfolio.shape[1]
        weights = None
        if labels.weights is not None:
            # Every block is a sample of its own, with weights that add up to one over the number of blocks.
            weights = labels.weights[:count] * (labels.blocks.n_scenarios / count)
        labels = replace(
            labels,
            blocks=replace(labels.blocks, n_scenarios=count),
            weights=weights,
            note=f"{labels.note}; stopped by {gains.stopped}",
        )
    return Pnl(
        resolution=resolution,
        labels=labels,
        by_portfolio=gains.by_portfolio,
        by_position=gains.by_position,
        job=job,
        base=base,
    )


def workers(n_workers: int) -> AbstractContextManager[None]:
    """Ray with so many CPUs, or the one that is up; for one worker nothing but this process."""
    if n_workers == 1:
        return nullcontext()
    from acceleray.engines.ray import session

    return session(cpus=n_workers)


def book_at(resolution: Resolution, market: Market, horizon_days: int, calendar: str) -> ResolvedBook:
    """Return the book as it stands `horizon_days` business days after `as_of`; at zero days as it is."""
    if horizon_days == 0:
        return resolution.priced
    date: dt.date = business_day_after(calendar, market.as_of, horizon_days)
    return aged(resolution, market, date)
