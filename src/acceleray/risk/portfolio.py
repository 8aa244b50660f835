"""Figures of a portfolio relative to its capital and its benchmark: the rows of ``result.portfolio``.

Shares are fractions of the net asset value (NAV): the given one, else the market value of the positions.
Every row says how it is defined, or why there is no value.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from acceleray.config.models import SimulateSettings
from acceleray.domain.market import FactorKind, Market
from acceleray.domain.tables import contract
from acceleray.risk.active import Active, active_rows
from acceleray.risk.portfolio_rows import Capital, Row, no_interval
from acceleray.risk.results import Pnl
from acceleray.risk.valuation import ResolvedBook, position_pnl

__all__ = ["portfolio_table"]

FloatArray = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]

# Relative move of an exchange rate, up and down, whose mean effect is the exposure: exact for whatever is
# linear in the rate.
_BUMP = 1e-4

_NAMED = 5


def portfolio_table(
    pnl: Pnl,
    market: Market,
    values: pa.Table,
    portfolios: pa.Table,
    nodes: Sequence[str],
    settings: SimulateSettings,
    active: Active | None = None,
) -> pa.Table:
    """Measure every node against its capital and, where it has one, its benchmark.

    Parameters
    ----------
    pnl : Pnl
        The book under the headline scenarios.
    values : pyarrow.Table
        ``result.values`` of the book.
    portfolios : pyarrow.Table
        ``raw.portfolios``.
    nodes : sequence of str
        Nodes with a priced position.
    settings : SimulateSettings
        Levels and participation.
    active : Active, optional
        Benchmarks under the same scenarios; absent if no portfolio names one.

    Returns
    -------
    pyarrow.Table
        ``result.portfolio``.
    """
    given = {row["portfolio_id"]: row for row in portfolios.to_pylist()}
    holdings = _Holdings(pnl, market, values)
    rows: list[dict[str, Any]] = []
    for node in nodes:
        own = holdings.below(node)
        nav = given.get(node, {}).get("nav")
        capital = Capital(
            nav=own.market_value if nav is None else nav,
            note="as given" if nav is not None else "the market value, because no NAV is given",
        )
        found = [
            *_capital_rows(own, capital),
            *_tail_rows(pnl, node, capital, settings),
            *_leverage_rows(own, capital),
            *_liquidity_rows(own, settings.participation),
            *_fx_rows(own),
            *_issuer_rows(own, capital),
        ]
        benchmark_id = given.get(node, {}).get("benchmark_id")
        if benchmark_id is not None and active is not None:
            found += active_rows(pnl, node, capital, benchmark_id, active, settings)
        left_out = own.left_out
        for row in found:
            note = f"{row.note}; {left_out} positions are left out" if left_out else row.note
            rows.append({"portfolio_id": node, **row.as_dict(), "note": note})
    return pa.Table.from_pylist(rows, schema=contract("result.portfolio").schema)


class _Holdings:
    """Values, exposures and descriptions of all priced positions."""

    def __init__(self, pnl: Pnl, market: Market, values: pa.Table) -> None:
        self.resolution = pnl.resolution
        self.priced: ResolvedBook = pnl.resolution.priced
        self.market = market
        positions = pa.array(self.priced.positions)
        # In key order, as the book's positions are.
        self.market_values = np.asarray(values["market_value"].take(positions), dtype=np.float64)
        self.exposures = np.asarray(values["exposure"].take(positions), dtype=np.float64)
        rows = self.resolution.book.instrument_rows
        self.instruments = [rows[name] for name in self.resolution.instrument_ids]
        self.hedges = np.array([self._is_hedge(row) for row in self.instruments], dtype=bool)

    @cached_property
    def fx_exposures(self) -> dict[str, FloatArray]:
        """Per currency, what each position gains when it doubles, at today's slope."""
        base = self.market.base
        columns = [c for c in self.priced.columns if self.market.factors[c].kind is FactorKind.FX]
        if not columns:
            return {}
        shocked = np.tile(base, (2 * len(columns), 1))
        for index, column in enumerate(columns):
            shocked[2 * index, column] *= 1.0 + _BUMP
            shocked[2 * index + 1, column] *= 1.0 - _BUMP
        gains = position_pnl(self.priced, shocked, base[None, :])
        found: dict[str, FloatArray] = {}
        for index, column in enumerate(columns):
            currency = str(self.market.factors[column].currency)
            slope = (gains[:, 2 * index] - gains[:, 2 * index + 1]) / (2.0 * _BUMP)
            found[currency] = found.get(currency, 0.0) + slope
        return dict(sorted(found.items()))

    def _is_hedge(self, row: Mapping[str, Any]) -> bool:
        """Tell whether an instrument counts as a currency hedge: cash, an FX forward or an FX future."""
        if row["kind"] in ("cash", "fx_forward"):
            return True
        if row["kind"] != "future":
            return False
        factor = self.market.factors[self.market.factor_ids.index(row["factor_id"])]
        return factor.kind is FactorKind.FX

    def below(self, node: str) -> _Node:
        members = self.resolution.book.members(node)
        rows = np.flatnonzero(np.isin(self.priced.positions, members))
        return _Node(holdings=self, rows=rows, left_out=len(members) - len(rows))


@dataclass(frozen=True, kw_only=True, eq=False)
class _Node:
    """The priced positions below a node; the same instrument in several portfolios is netted."""

    holdings: _Holdings
    rows: IntArray
    left_out: int

    @property
    def market_value(self) -> float:
        return math.fsum(self.holdings.market_values[self.rows])

    def net(self, per_position: FloatArray) -> FloatArray:
        """Add positions up by instrument, shape (n_instruments,)."""
        priced = self.holdings.priced
        held = priced.instrument_rows[self.rows]
        sums = np.zeros(priced.now.count)
        np.add.at(sums, held, per_position[self.rows])
        return sums

    @cached_property
    def held(self) -> IntArray:
        """Instruments held below the node, increasing."""
        return np.unique(self.holdings.priced.instrument_rows[self.rows])

    @cached_property
    def exposures(self) -> FloatArray:
        return self.net(self.holdings.exposures)

    def instrument(self, number: int) -> Mapping[str, Any]:
        return self.holdings.instruments[number]


# ---- capital, tail and leverage ---------------------------------------------------------------------------


def _capital_rows(own: _Node, capital: Capital) -> Iterator[Row]:
    yield Row("market_value", own.market_value, "amount", no_interval("sum of the positions"))
    yield Row("nav", capital.nav, "amount", no_interval(capital.note))


def _tail_rows(pnl: Pnl, node: str, capital: Capital, settings: SimulateSettings) -> Iterator[Row]:
    confidence = settings.interval_level
    for name, level, found in (
        ("VaR", settings.var_level, pnl.var(settings.var_level, node, confidence=confidence)),
        ("ES", settings.es_level, pnl.es(settings.es_level, node, confidence=confidence)),
    ):
        note = f"{level:g} over {pnl.labels.horizon_days} days, {found.method}; interval {found.note}"
        yield capital.share(name, found.value, note, found.ci_low, found.ci_high)


def _leverage_rows(own: _Node, capital: Capital) -> Iterator[Row]:
    base_currency = own.holdings.resolution.base_currency
    kinds = [own.instrument(n) for n in own.held]
    counted = [
        n
        for n, row in zip(own.held, kinds, strict=True)
        if row["kind"] != "cash" or row["currency"] != base_currency
    ]
    exposures = own.exposures[counted]
    gross, net = math.fsum(np.abs(exposures)), math.fsum(exposures)
    how = "delta exposure netted by instrument, without cash in base currency"
    if any(row["kind"] in ("swap", "floater", "bond") for row in kinds):
        how += "; bonds and swaps count with their value"
    yield Row("gross_exposure", gross, "amount", no_interval(f"sum of absolute {how}"))
    yield Row("net_exposure", net, "amount", no_interval(f"sum of {how}"))
    yield capital.share("gross_leverage", gross, no_interval(f"absolute {how}, over NAV"))
    yield capital.share("net_leverage", net, no_interval(f"{how}, over NAV"))


# ---- liquidity --------------------------------------------------------------------------------------------


def _liquidity_rows(own: _Node, participation: float) -> Iterator[Row]:
    quantities = own.net(own.holdings.priced.quantities)
    days: dict[int, float] = {}
    unknown: list[str] = []
    for number in own.held:
        row = own.instrument(number)
        if row["kind"] == "cash" or quantities[number] == 0.0:
            continue
        if row["adv"] is None:
            unknown.append(row["instrument_id"])
        else:
            days[int(number)] = abs(float(quantities[number])) / (participation * row["adv"])
    how = f"trading {participation:g} of the average daily volume, cash left out"
    if unknown:
        how += f"; {len(unknown)} instruments without adv are not in it"
    named = _listed(unknown) if unknown else "every instrument has an adv"
    yield Row("instruments_without_adv", float(len(unknown)), "count", no_interval(named))
    if not days:
        reason = no_interval(f"no value: nothing held has an adv; {how}")
        yield Row("days_to_liquidate_largest", None, "days", reason)
        yield Row("days_to_liquidate_mean", None, "days", reason)
        return
    slowest = max(days, key=lambda number: (days[number], number))
    name = own.instrument(slowest)["instrument_id"]
    yield Row("days_to_liquidate_largest", days[slowest], "days", no_interval(f"{name}: {how}"))
    weights = {number: abs(float(own.exposures[number])) for number in days}
    total = math.fsum(weights.values())
    mean = math.fsum(weights[n] * days[n] for n in days) / total if total > 0 else None
    note = "weighted by absolute exposure" if mean is not None else "no value: no exposure to weight by"
    yield Row("days_to_liquidate_mean", mean, "days", no_interval(f"{note}, {how}"))


def _listed(names: Sequence[str]) -> str:
    more = f" and {len(names) - _NAMED} more" if len(names) > _NAMED else ""
    return ", ".join(sorted(names)[:_NAMED]) + more


# ---- currencies and issuers -------------------------------------------------------------------------------


def _fx_rows(own: _Node) -> Iterator[Row]:
    priced = own.holdings.priced
    is_hedge = own.holdings.hedges[priced.instrument_rows[own.rows]]
    how = "gain if the currency doubled, at today's slope"
    for currency, exposures in own.holdings.fx_exposures.items():
        below = exposures[own.rows]
        if not below.any():
            continue
        before, after = math.fsum(below[~is_hedge]), math.fsum(below)
        rule = f"{how}; cash, FX forwards and FX futures are the hedges"
        yield Row("fx_exposure_before_hedges", before, "amount", no_interval(rule), member_id=currency)
        yield Row("fx_exposure_after_hedges", after, "amount", no_interval(rule), member_id=currency)


def _issuer_rows(own: _Node, capital: Capital) -> Iterator[Row]:
    by_issuer: dict[str, list[float]] = {}
    unknown: list[str] = []
    for number in own.held:
        row = own.instrument(number)
        if row["issuer_id"] is not None:
            by_issuer.setdefault(row["issuer_id"], []).append(float(own.exposures[number]))
        elif row["kind"] != "cash":
            unknown.append(row["instrument_id"])
    named = _listed(unknown) if unknown else "every instrument has an issuer_id"
    yield Row("instruments_without_issuer", float(len(unknown)), "count", no_interval(named))
    missing = f"; {len(unknown)} instruments without issuer_id are not in it" if unknown else ""
    if not by_issuer:
        yield Row("issuer_largest", None, "share", no_interval(f"no value: no issuer is known{missing}"))
        return
    sums = {name: math.fsum(parts) for name, parts in by_issuer.items()}
    largest = max(sorted(sums), key=lambda name: abs(sums[name]))
    how = f"{largest}: absolute net delta exposure, funds not looked through{missing}"
    yield capital.share("issuer_largest", abs(sums[largest]), no_interval(how))
