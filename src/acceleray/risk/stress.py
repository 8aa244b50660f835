"""Named stresses as shocked levels: hypothetical shocks and replayed windows."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable
from dataclasses import dataclass
from fnmatch import fnmatchcase

import numpy as np
import numpy.typing as npt

from acceleray.config import models
from acceleray.domain.market import Factor, Market
from acceleray.domain.scenario import Move, Shock, Stress, StressScenario
from acceleray.errors import InputDataError, UsageError
from acceleray.numerics.moves import apply_moves, horizon_moves

__all__ = ["StressLevels", "stress_from_settings", "stress_levels"]

FloatArray = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class StressLevels:
    """Levels under every stress.

    Parameters
    ----------
    shocked : ndarray of shape (n_scenarios, n_factors)
        One row per scenario.
    proxied_share : tuple of float
        Per scenario, the share of the absolute moves of the book's factors that came from a proxy.
    """

    shocked: FloatArray
    proxied_share: tuple[float, ...]


def stress_from_settings(scenarios: Iterable[models.Scenario]) -> Stress:
    """Take the scenarios of ``scenarios.yaml`` that reach the market book, with their market shocks.

    Raises
    ------
    UsageError
        If a market scenario shocks credit parameters or selects by segment, or a name repeats.
    """
    taken = []
    for scenario in scenarios:
        if not scenario.reaches_market:
            continue
        shocks = []
        for shock in scenario.shocks:
            if scenario.reaches_credit and not shock.select.is_market:
                continue
            if shock.move is None or not shock.select.is_market:
                raise UsageError(
                    f"scenarios: {scenario.name!r} is a market scenario but shocks credit parameters",
                    hint="Put credit shocks into a scenario with book: credit or both.",
                )
            ((move, size),) = shock.move.items()
            shocks.append(
                Shock(
                    move=Move(move),
                    size=size,
                    factor_id=shock.select.id,
                    kind=shock.select.kind,
                    curve=shock.select.curve,
                    currency=shock.select.currency,
                )
            )
        window = None if scenario.from_ is None or scenario.to is None else (scenario.from_, scenario.to)
        taken.append(StressScenario(name=scenario.name, shocks=tuple(shocks), window=window))
    names = [scenario.name for scenario in taken]
    if len(set(names)) != len(names):
        twice = next(name for name in names if names.count(name) > 1)
        raise UsageError(f"scenarios: the name {twice!r} is used more than once")
    return Stress(scenarios=tuple(taken))


def stress_levels(
    stress: Stress, market: Market, columns: npt.NDArray[np.int64] | None = None
) -> StressLevels:
    """Compute the levels of every factor under each stress.

    Parameters
    ----------
    columns : ndarray of int64, optional
        Factors that matter, by default all that have a level: only these must have data, or a proxy, in
        a replayed window. The others stay where they are when they have none.

    Raises
    ------
    InputDataError
        If a shock selects no factor, a window lies outside the data, or a factor has neither data nor proxy.
    """
    needed = np.isfinite(market.base)
    if columns is not None:
        needed &= np.isin(np.arange(needed.size), columns)
    rows, shares = [], []
    for scenario in stress.scenarios:
        level, share = market.base, 0.0
        if scenario.window is not None:
            level, share = _replay(scenario.name, scenario.window, market, needed)
        for shock in scenario.shocks:
            level = _shocked(scenario.name, shock, market, level)
        rows.append(level)
        shares.append(share)
    shocked = np.array(rows) if rows else np.empty((0, len(market.factors)))
    return StressLevels(shocked=shocked, proxied_share=tuple(shares))


def _shocked(name: str, shock: Shock, market: Market, level: FloatArray) -> FloatArray:
    chosen = np.array([_selects(shock, factor) for factor in market.factors], dtype=bool)
    if not chosen.any():
        given = {
            key: value
            for key, value in (
                ("id", shock.factor_id),
                ("kind", shock.kind),
                ("curve", shock.curve),
                ("currency", shock.currency),
            )
            if value is not None
        }
        raise InputDataError(
            f"scenarios: {name!r} has a shock that selects no factor: select {given}",
            hint=f"Known factors: {', '.join(market.factor_ids[:40])}",
        )
    moved = {
        Move.SCALE: level * shock.size,
        Move.ADD: level + shock.size,
        Move.SET: np.full_like(level, shock.size),
    }[shock.move]
    positive = np.array([factor.kind.is_positive for factor in market.factors], dtype=bool)
    bad = chosen & positive & ~(moved > 0) & np.isfinite(level)
    if bad.any():
        factor_id = market.factor_ids[int(np.argmax(bad))]
        raise InputDataError(f"scenarios: {name!r} takes {factor_id!r} to {moved[bad][0]}, must be positive")
    return np.where(chosen, moved, level)


def _selects(shock: Shock, factor: Factor) -> bool:
    return (
        (shock.factor_id is None or fnmatchcase(factor.factor_id, shock.factor_id))
        and shock.kind in (None, factor.kind)
        and shock.curve in (None, factor.curve)
        and shock.currency in (None, factor.currency)
    )


def _replay(
    name: str,
    window: tuple[dt.date, dt.date],
    market: Market,
    needed: npt.NDArray[np.bool_],
) -> tuple[FloatArray, float]:
    first, last = window
    begin = int(np.searchsorted(market.dates, np.datetime64(first, "D"), side="right")) - 1
    end = int(np.searchsorted(market.dates, np.datetime64(last, "D"), side="right")) - 1
    if begin < 0 or end <= begin or last > market.as_of:
        raise InputDataError(
            f"scenarios: {name!r} replays {first} to {last}, "
            f"the market's data go from {market.dates[0]} to {market.as_of}"
        )
    own = horizon_moves(market.levels[[begin, end]], market.move_kinds)[0]
    own[market.fixed] = 0.0
    moves, proxied = np.array(own), np.zeros(own.size, dtype=bool)
    for column in np.nonzero(np.isnan(own))[0]:
        source = _proxy(market, int(column), own)
        if source is not None:
            moves[column], proxied[column] = own[source], True
        elif needed[column]:
            raise InputDataError(
                f"scenarios: {name!r} needs factor {market.factor_ids[column]!r} on {market.dates[begin]}, "
                f"where it has no data and no proxy that has any",
                hint="Give it a proxy of the same kind in the factors input.",
            )
    absolute = np.abs(np.where(needed, moves, 0.0))
    total = float(absolute.sum())
    share = float(absolute[proxied].sum()) / total if total > 0 else 0.0
    moves = np.where(np.isnan(moves), 0.0, moves)
    return apply_moves(market.base, moves[None, :], market.move_kinds)[0], share


def _proxy(market: Market, column: int, own: FloatArray) -> int | None:
    """Follow proxies to the first factor that has a move and moves in the same way."""
    seen, factor = {column}, market.factors[column]
    while factor.proxy is not None and factor.proxy in market.factor_ids:
        at = market.column(factor.proxy)
        if at in seen or market.move_kinds[at] != market.move_kinds[column]:
            return None
        if np.isfinite(own[at]):
            return at
        seen.add(at)
        factor = market.factors[at]
    return None
