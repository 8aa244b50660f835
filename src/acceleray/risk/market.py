"""The whole book under a set of scenarios: blocks in this process, or as Ray tasks, with the same bits."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from acceleray.domain.book import Book
from acceleray.domain.market import Market
from acceleray.domain.scenario import MonteCarlo, ScenarioSet
from acceleray.risk.blocks import Plan, block_pnl
from acceleray.risk.fan_out import fan_out
from acceleray.risk.parameters import RiskParameters
from acceleray.risk.plans import history_days, prepare
from acceleray.risk.resolve import resolve
from acceleray.risk.results import Pnl
from acceleray.risk.valuation import ResolvedBook

__all__ = ["BLOCK_SIZE", "cubes", "revalue"]

FloatArray = npt.NDArray[np.float64]

BLOCK_SIZE = 2048


def revalue(
    book: Book,
    market: Market,
    scenarios: ScenarioSet,
    *,
    n_workers: int = 1,
    block_size: int = BLOCK_SIZE,
    parameters: RiskParameters | None = None,
    base_currency: str | None = None,
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

    Returns
    -------
    Pnl
        Positions that could not be priced are in ``.excluded`` with the reason.

    Raises
    ------
    InputDataError
        If the market cannot supply what the scenarios need.
    """
    if isinstance(scenarios, MonteCarlo) and parameters is None:
        parameters = RiskParameters.exponential(market)
    resolution = resolve(
        book, market, base_currency=base_currency, history_days=history_days(scenarios, parameters)
    )
    plan, labels = prepare(
        scenarios, market, parameters, block_size=block_size, columns=resolution.priced.columns
    )
    if n_workers == 1:
        (cube,) = cubes(resolution.priced, market.base, [plan], distributed=False)
    else:
        from acceleray.engines.ray import session

        with session(cpus=n_workers):
            (cube,) = cubes(resolution.priced, market.base, [plan], distributed=True)
    return Pnl(resolution=resolution, labels=labels, cube=cube)


def cubes(
    book: ResolvedBook, base: FloatArray, plans: Sequence[Plan], *, distributed: bool
) -> list[FloatArray]:
    """Revalue a resolved book under several plans, one task per block of each.

    Parameters
    ----------
    base : ndarray of shape (n_factors,)
        Levels before the moves.
    distributed : bool
        As Ray tasks, or in this process.

    Returns
    -------
    list of ndarray
        Per plan, gains of shape (n_priced, n_scenarios), assembled in block order.
    """
    addresses = [(index, block) for index, plan in enumerate(plans) for block in range(len(plan.blocks))]
    parts = fan_out(
        block_pnl, (book, base, tuple(plans)), addresses, what="scenario block", distributed=distributed
    )
    results = []
    for index in range(len(plans)):
        mine = [part for (owner, _), part in zip(addresses, parts, strict=True) if owner == index]
        results.append(np.concatenate([np.empty((book.positions.size, 0)), *mine], axis=1))
    return results
