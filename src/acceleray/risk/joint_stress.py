"""Scenarios of both books: the market moves that the loan book feels through its latent factors."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from acceleray.domain.market import Market
from acceleray.risk.latent_factors import (
    SESSIONS_PER_YEAR,
    LatentLaw,
    MarketStress,
    map_market,
    mapped_moves,
)
from acceleray.risk.stress import stress_from_settings, stress_levels

if TYPE_CHECKING:
    from acceleray.config.models import CreditSettings, Scenario

__all__ = ["market_stress"]


def market_stress(
    base: LatentLaw,
    market: Market,
    covariance: npt.NDArray[np.float64],
    scenarios: Sequence[Scenario],
    settings: CreditSettings,
) -> MarketStress | None:
    """Measure what the scenarios of both books do to the market factors of the map.

    Parameters
    ----------
    base : LatentLaw
        The latent factors of the loan book in the base case.
    market : Market
        Today's levels.
    covariance : ndarray of shape (n_market, n_market)
        Of daily moves, in the unit of each factor's moves.
    scenarios : sequence of Scenario
        All of the project.
    settings : CreditSettings
        With the map.

    Returns
    -------
    MarketStress or None
        None without a map, or without a scenario of both books.

    Raises
    ------
    InputDataError
        If the map cannot be used; see `map_market`.
    """
    if not settings.market_map or not any(scenario.book == "both" for scenario in scenarios):
        return None
    found = map_market(
        settings.market_map,
        base,
        known=settings.factor_names,
        factor_ids=market.factor_ids,
        covariance_annual=SESSIONS_PER_YEAR * covariance,
    )
    reaching = [scenario for scenario in scenarios if scenario.reaches_market]
    levels = stress_levels(stress_from_settings(reaching), market, found.columns).shocked
    return MarketStress(map=found, moves=mapped_moves(market, levels, scenarios, found.columns))
