"""Moves of factors that stand in for others before these begin."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from acceleray.domain.market import Market

__all__ = ["with_proxies"]

FloatArray = npt.NDArray[np.float64]


def with_proxies(own: FloatArray, market: Market) -> FloatArray:
    """Fill moves before a factor begins with those of its proxy, if that moves in the same way.

    Parameters
    ----------
    own : ndarray of shape (n_moves, n_factors)
        Moves of every factor, NaN where there is none.

    Returns
    -------
    ndarray of shape (n_moves, n_factors)
        NaN where neither the factor nor its proxy, nor the proxy's proxy, has a move.
    """
    moves = np.array(own)
    column_of = {name: column for column, name in enumerate(market.factor_ids)}
    for column in np.flatnonzero(np.isnan(own).any(axis=0)):
        seen, at = {int(column)}, int(column)
        while np.isnan(moves[:, column]).any():
            name = market.factors[at].proxy
            if name is None or column_of.get(name, at) in seen:
                break
            at = column_of[name]
            if market.move_kinds[at] != market.move_kinds[column]:
                break
            seen.add(at)
            gaps = np.isnan(moves[:, column])
            moves[gaps, column] = own[gaps, at]
    return moves
