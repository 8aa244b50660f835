"""Split a tail measure over the factors that moved, through first- and second-order terms."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from acceleray.domain.book import ROOT
from acceleray.domain.market import Market
from acceleray.domain.moves import MoveKind
from acceleray.errors import UsageError
from acceleray.numerics.order_statistics import tail_masses
from acceleray.risk.results import Pnl
from acceleray.risk.sensitivities import as_moves, derivatives
from acceleray.risk.valuation import position_pnl

__all__ = ["AGEING", "NON_LINEAR", "factor_contributions"]

FloatArray = npt.NDArray[np.float64]

# Lines that are no factor: what a passing of time alone does, and what the expansion leaves.
AGEING = "(ageing)"
NON_LINEAR = "(non-linear)"


def factor_contributions(
    pnl: Pnl,
    market: Market,
    *,
    level: float = 0.975,
    portfolio_id: str = ROOT,
    distributed: bool = False,
) -> pa.Table:
    """Split a node's expected shortfall over the factors so that the lines add up.

    Parameters
    ----------
    pnl : Pnl
        Gains under scenarios that have probabilities.
    market : Market
        The one they start from.
    level : float
        Confidence level as a fraction.
    portfolio_id : str
        A node of the hierarchy.
    distributed : bool
        Differentiate as Ray tasks, or in this process; the bits are the same.

    Returns
    -------
    pyarrow.Table
        factor_id, first_order, second_order, value: losses, positive adds to the expected shortfall. A factor
        gets its first-order term, its own second-order term and half of each mixed one, averaged over the
        tail. ``(ageing)`` is what the horizon's days alone do, ``(non-linear)`` everything that an expansion
        of second order does not see. Values add up to the node's expected shortfall. Lines of zero are left
        out, but for the last.

    Raises
    ------
    UsageError
        If the scenarios have no probabilities, or there is no such node.
    """
    if pnl.labels.method == "stress":
        raise UsageError("named stresses have no probabilities, so there is no ES of them")
    losses = -pnl.node(portfolio_id)
    masses = tail_masses(losses, level=level)
    tail = np.flatnonzero(masses)
    weights = masses[tail]
    rows = pnl.rows(portfolio_id)
    portfolios = np.unique(pnl.job.book.portfolios[rows])
    found = derivatives(pnl.job.book, market, distributed=distributed)
    quadratic = as_moves(found.quadratic(portfolios, market.base.size), market)
    moves = _moves(pnl, market, tail, found.columns)
    first, second = np.zeros(market.base.size), np.zeros(market.base.size)
    # Element by element and in order, so that the bits depend on nothing else.
    for column in found.columns:
        first[column] = -quadratic.gradient[column] * (weights * moves[:, column]).sum()
        for other in np.flatnonzero(quadratic.hessian[column]):
            product = (weights * moves[:, column] * moves[:, other]).sum()
            second[column] -= 0.5 * quadratic.hessian[column, other] * product
    ageing = -float(position_pnl(pnl.job.book, market.base[None], market.base[None])[rows].sum())
    lines = [
        (market.factor_ids[column], float(first[column]), float(second[column]))
        for column in found.columns
        if first[column] or second[column]
    ]
    if ageing:
        lines.append((AGEING, ageing, 0.0))
    total = float((weights * losses[tail]).sum())
    rest = total - sum(one + two for _, one, two in lines)
    return pa.table(
        {
            "factor_id": pa.array([*(line[0] for line in lines), NON_LINEAR], pa.string()),
            "first_order": pa.array([*(line[1] for line in lines), 0.0], pa.float64()),
            "second_order": pa.array([*(line[2] for line in lines), 0.0], pa.float64()),
            "value": pa.array([*(line[1] + line[2] for line in lines), rest], pa.float64()),
        }
    )


def _moves(
    pnl: Pnl, market: Market, scenarios: npt.NDArray[np.int64], columns: npt.NDArray[np.int64]
) -> FloatArray:
    """Move of every factor that counts in some scenarios, shape (n_chosen, n_factors)."""
    blocks, plan = pnl.job.plan.blocks, pnl.job.plan
    owners = scenarios // blocks.size
    shocked = np.concatenate(
        [
            plan.levels(int(block))[scenarios[owners == block] - blocks.bounds(int(block))[0]]
            for block in np.unique(owners)
        ]
    )
    moves = np.zeros(shocked.shape)
    for column in columns:
        now, then, kind = market.base[column], shocked[:, column], market.move_kinds[column]
        if kind == MoveKind.LOG:
            moves[:, column] = np.log(then / now)
        else:
            moves[:, column] = then / now - 1.0 if kind == MoveKind.RELATIVE else then - now
    return moves
