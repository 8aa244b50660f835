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

from acceleray.config.models import SimulateSettings
from acceleray.errors import NumericalError
from acceleray.numerics.contributions import value_at_risk_contributions
from acceleray.numerics.dispersion import estimate_standard_deviation
from acceleray.numerics.tail import Estimate, estimate_expected_shortfall, estimate_value_at_risk, tail_masses
from acceleray.risk.benchmarks import Benchmarks
from acceleray.risk.portfolio_rows import Capital, Row
from acceleray.risk.results import Pnl

__all__ = ["Active", "active_rows"]

FloatArray = npt.NDArray[np.float64]

_BUSINESS_DAYS_PER_YEAR = 252

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
    problem = active.benchmarks.missing.get(benchmark_id, "")
    problem = f"no value: benchmark {benchmark_id!r}: {problem}" if problem else capital.problem
    if problem or active.pnl is None:
        for name, unit in _MEASURES:
            yield Row(name, None, unit, problem)
        return
    number = active.benchmarks.number(benchmark_id)
    gains = pnl.node(node) - capital.nav * active.pnl.by_portfolio[number, : pnl.n_paths]
    yield from _tracking_rows(pnl, gains, capital, benchmark_id, settings)
    losses, labels = -gains, pnl.labels
    about = f"against {benchmark_id} scaled to the NAV ({capital.note}); {labels.method}"
    split = _Split(pnl, node, capital, active.benchmarks.positions(benchmark_id), active.pnl)
    var = estimate_value_at_risk(
        losses,
        level=settings.var_level,
        confidence=settings.interval_level,
        overlap_days=labels.overlap_days,
        seed=labels.seed,
    )
    yield _amount("active_VaR", var, f"{settings.var_level:g} over {labels.horizon_days} days, {about}")
    yield from _var_parts(pnl, losses, split, settings.var_level)
    es = estimate_expected_shortfall(
        losses,
        level=settings.es_level,
        confidence=settings.interval_level,
        overlap_days=labels.overlap_days,
        seed=labels.seed,
    )
    yield _amount("active_ES", es, f"{settings.es_level:g} over {labels.horizon_days} days, {about}")
    masses = tail_masses(losses, level=settings.es_level)
    tail = np.flatnonzero(masses)
    parts = -np.ascontiguousarray(split(tail) * masses[tail]).sum(axis=1)
    how = "average over the tail scenarios; the parts add up; no interval is computed for a part"
    for name, part in zip(split.names, parts, strict=True):
        yield Row("active_ES", float(part), "amount", how, member_id=name)


def _tracking_rows(
    pnl: Pnl, gains: FloatArray, capital: Capital, benchmark_id: str, settings: SimulateSettings
) -> Iterator[Row]:
    labels = pnl.labels
    found = estimate_standard_deviation(gains, confidence=settings.interval_level)
    low, high, note = found.ci_low, found.ci_high, f"interval {found.note}"
    if labels.overlap_days > 1 or labels.replicates is not None:
        low, high, note = None, None, "no interval: the paths are not independent"
    days = labels.horizon_days
    yearly = math.sqrt(_BUSINESS_DAYS_PER_YEAR / days)
    about = f"standard deviation over {days} days against {benchmark_id}, {labels.method}"
    scaled = f"annualised: times the square root of {_BUSINESS_DAYS_PER_YEAR}/{days}"
    yearly_low, yearly_high = (None if bound is None else bound * yearly for bound in (low, high))
    yield capital.share(
        "tracking_error", found.value * yearly, f"{about}, {scaled}; {note}", yearly_low, yearly_high
    )
    yield capital.share("tracking_error_horizon", found.value, f"{about}, not annualised; {note}", low, high)


def _amount(name: str, found: Estimate, about: str) -> Row:
    return Row(name, found.value, "amount", f"{about}; interval {found.note}", found.ci_low, found.ci_high)


class _Split:
    """Active gains by instrument in chosen scenarios."""

    def __init__(
        self, pnl: Pnl, node: str, capital: Capital, theirs: npt.NDArray[np.int64], beside: Pnl
    ) -> None:
        self._pnl, self._beside, self._nav = pnl, beside, capital.nav
        self._rows, self._theirs = pnl.rows(node), theirs
        own = _instruments(pnl, self._rows)
        their = _instruments(beside, self._theirs)
        self.names = sorted({*own, *their})
        number = {name: index for index, name in enumerate(self.names)}
        self._own = np.array([number[name] for name in own], dtype=np.int64)
        self._their = np.array([number[name] for name in their], dtype=np.int64)

    def __call__(self, scenarios: npt.NDArray[np.int64]) -> FloatArray:
        """Shape (n_instruments, n_chosen)."""
        found = np.zeros((len(self.names), scenarios.size))
        np.add.at(found, self._own, _gains(self._pnl, self._rows, scenarios))
        np.add.at(found, self._their, -self._nav * _gains(self._beside, self._theirs, scenarios))
        return found


def _gains(pnl: Pnl, rows: npt.NDArray[np.int64], scenarios: npt.NDArray[np.int64]) -> FloatArray:
    if pnl.by_position is None:
        return pnl.position_gains(scenarios)[rows]
    return pnl.by_position[np.ix_(rows, scenarios)]


def _instruments(pnl: Pnl, rows: npt.NDArray[np.int64]) -> list[str]:
    resolution = pnl.resolution
    return [resolution.instrument_ids[i] for i in resolution.priced.instrument_rows[rows]]


def _var_parts(pnl: Pnl, losses: FloatArray, split: _Split, level: float) -> Iterator[Row]:
    how = "average around the quantile, scaled to add up; no interval is computed for a part"
    parts: list[float | None] = [None] * len(split.names)
    if pnl.by_position is None:
        # All paths carry weight in a quantile's average; the gains of all positions are not in memory.
        how = (
            "no value: the gains of single positions were too many to keep; the parts of active_ES are there"
        )
    else:
        try:
            found = value_at_risk_contributions(-split(np.arange(losses.size)), losses, level=level)[0]
            parts = [float(part) for part in found]
        except NumericalError as error:
            how = f"no value: {error.message}"
    for name, part in zip(split.names, parts, strict=True):
        yield Row("active_VaR", part, "amount", how, member_id=name)
