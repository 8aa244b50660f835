"""What a portfolio does beyond its benchmark, under the headline scenarios.

The active position is the portfolio's less the benchmark's, scaled to the portfolio's NAV. What the
benchmark's weights leave of one, and what the portfolio leaves of its NAV, is cash in base currency.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.special import ndtri, stdtrit

from acceleray.config.models import SimulateSettings
from acceleray.errors import NumericalError
from acceleray.risk.benchmarks import Benchmarks
from acceleray.risk.contributions import Members, components
from acceleray.risk.estimates import TailMeasure, estimated, estimated_deviation
from acceleray.risk.portfolio_rows import Capital, Row
from acceleray.risk.results import Pnl

__all__ = ["Active", "active_rows"]

FloatArray = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]

_BUSINESS_DAYS_PER_YEAR = 252

# What adding up gains in another order may change, as a share of the sum of all sizes.
_SUM_ERROR = 1e-12

_MEASURES = (
    ("tracking_error", "share"),
    ("tracking_error_horizon", "share"),
    ("active_VaR", "amount"),
    ("active_ES", "amount"),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Active:
    """Benchmarks, and their gains under the scenarios of the book.

    Parameters
    ----------
    benchmarks : Benchmarks
        What they hold.
    pnl : Pnl or None
        Gains per unit of capital under the book's own plan, maybe for more scenarios than the book has; None
        if no benchmark has a constituent that can be priced.
    """

    benchmarks: Benchmarks
    pnl: Pnl | None


def active_rows(
    pnl: Pnl,
    node: str,
    capital: Capital,
    benchmark_id: str,
    active: Active,
    settings: SimulateSettings,
) -> Iterator[Row]:
    """Measure tracking error, active VaR and active ES, with contributions by instrument."""
    missing = active.benchmarks.missing.get(benchmark_id, "")
    problem = f"no value: benchmark {benchmark_id!r}: {missing}" if missing else capital.problem
    if problem or active.pnl is None:
        for name, unit in _MEASURES:
            yield Row(name, None, unit, problem)
        return
    theirs = active.benchmarks.number(benchmark_id)
    gains = pnl.node(node) - capital.nav * active.pnl.by_portfolio[theirs, : pnl.n_paths]
    yield from _tracking_rows(pnl, gains, capital, benchmark_id, settings)
    positions = active.benchmarks.positions(benchmark_id)
    members = _members(pnl, node, capital.nav, positions, active.pnl)
    about = f"against {benchmark_id} scaled to the NAV ({capital.note})"
    yield from _tail_rows(pnl, gains, members, about, "VaR", settings.var_level, settings.interval_level)
    yield from _tail_rows(pnl, gains, members, about, "ES", settings.es_level, settings.interval_level)


def _tracking_rows(
    pnl: Pnl, gains: FloatArray, capital: Capital, benchmark_id: str, settings: SimulateSettings
) -> Iterator[Row]:
    found = estimated_deviation(gains, pnl.labels, confidence=settings.interval_level)
    days = pnl.labels.horizon_days
    yearly = math.sqrt(_BUSINESS_DAYS_PER_YEAR / days)
    about = f"standard deviation over {days} days against {benchmark_id}, {pnl.labels.method}"
    for name, factor, how in (
        ("tracking_error", yearly, f"annualised: times the square root of {_BUSINESS_DAYS_PER_YEAR}/{days}"),
        ("tracking_error_horizon", 1.0, "not annualised"),
    ):
        low, high = (None if bound is None else bound * factor for bound in (found.ci_low, found.ci_high))
        note = f"{about}, {how}; interval {found.note}"
        yield capital.share(name, found.value * factor, note, low, high)


def _tail_rows(
    pnl: Pnl,
    gains: FloatArray,
    members: Members,
    about: str,
    measure: TailMeasure,
    level: float,
    confidence: float,
) -> Iterator[Row]:
    name, labels = f"active_{measure}", pnl.labels
    found = estimated(-gains, labels, measure=measure, level=level, confidence=confidence)
    note = f"{level:g} over {labels.horizon_days} days, {labels.method}, {about}; interval {found.note}"
    yield Row(name, found.value, "amount", note, found.ci_low, found.ci_high)
    try:
        split = components(members, -gains, labels, measure=measure, level=level)
    except NumericalError as error:
        for member in members.names:
            yield Row(name, None, "amount", f"no value: {error.message}", member_id=member)
        return
    how = "average over the tail" if measure == "ES" else "average around the quantile, scaled to add up"
    how = f"{how}; {split.note}"
    errors = np.full(len(members.names), np.nan) if split.std_errors is None else split.std_errors
    # Few sections know their scatter less well than many independent paths.
    tail = 0.5 + confidence / 2
    half = errors * (stdtrit(split.n_sections - 1, tail) if split.n_sections else ndtri(tail))
    for member, value, width in zip(members.names, split.values, half, strict=True):
        low, high = (None, None) if math.isnan(width) else (float(value - width), float(value + width))
        yield Row(name, float(value), "amount", how, low, high, member)


def _members(pnl: Pnl, node: str, nav: float, theirs: IntArray, beside: Pnl) -> Members:
    """Active positions by instrument, whose gains are computed for the scenarios that are asked for."""
    rows = pnl.rows(node)
    own_names, their_names = _instruments(pnl, rows), _instruments(beside, theirs)
    names = sorted({*own_names, *their_names})
    number = {name: index for index, name in enumerate(names)}
    own = np.array([number[name] for name in own_names], dtype=np.int64)
    their = np.array([number[name] for name in their_names], dtype=np.int64)

    def sums(chosen: IntArray, scenarios: IntArray) -> FloatArray:
        found = np.zeros((len(names), scenarios.size))
        np.add.at(found, own, _gains(pnl, rows, scenarios))
        np.add.at(found, their, -nav * _gains(beside, theirs, scenarios))
        return found[chosen]

    largest = float(np.abs(pnl.by_portfolio).sum(axis=0).max()) + nav
    return Members(names=names, exposures=np.zeros(len(names)), sums=sums, sum_error=_SUM_ERROR * largest)


def _gains(pnl: Pnl, rows: IntArray, scenarios: IntArray) -> FloatArray:
    if pnl.by_position is None:
        return pnl.position_gains(scenarios)[rows]
    return pnl.by_position[np.ix_(rows, scenarios)]


def _instruments(pnl: Pnl, rows: IntArray) -> list[str]:
    resolution = pnl.resolution
    return [resolution.instrument_ids[i] for i in resolution.priced.instrument_rows[rows]]
