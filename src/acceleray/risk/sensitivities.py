"""First and second derivatives of a book's value, by bumping levels and revaluing.

The bumped levels are one more table of scenarios: they take the path of every other scenario set, through the
same pricing code, so that every kind of instrument is covered and one worker or many give the same bits.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import combinations
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from acceleray.domain.book import ROOT, Book
from acceleray.domain.market import FactorKind, Market
from acceleray.domain.moves import MoveKind
from acceleray.domain.tables import contract
from acceleray.errors import UsageError
from acceleray.numerics.aggregation import tree_sum
from acceleray.risk.blocks import Blocks, Job, Table
from acceleray.risk.resolve import Resolution, aged, resolve
from acceleray.risk.revaluation import BLOCK_SIZE, revaluations
from acceleray.risk.valuation import Instruments, LookThrough, ResolvedBook

__all__ = [
    "MEASURES",
    "PERCENT",
    "Derivatives",
    "Quadratic",
    "Sensitivities",
    "Unit",
    "as_moves",
    "derivatives",
    "interactions",
    "sensitivities",
    "sensitivities_of",
]

FloatArray = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]
BoolArray = npt.NDArray[np.bool_]

# Shorter of the two steps of the differences: relative for levels that move in logs, absolute (a basis point)
# for rates. Cut-off grows with its fourth power, rounding with one over its square in second derivatives.
_RELATIVE_STEP = 5e-4
_RATE_STEP = 1e-4

# Moves by which dependence is found: wide, so that it does not drown in rounding.
_RELATIVE_PROBE = 0.01
_RATE_PROBE = 0.001

# A second difference below so many roundings of the values it was taken from is none.
_ROUNDINGS = 64 * float(np.finfo(np.float64).eps)

# Instruments probed at a time.
_PROBED = 512


@dataclass(frozen=True, slots=True, kw_only=True)
class Unit:
    """What a first-order measure is called, and the rise of the factor that it counts for."""

    measure: str
    size: float
    text: str


MEASURES: dict[FactorKind, Unit] = {
    FactorKind.SPOT: Unit(measure="delta", size=1.0, text="+1 of level"),
    FactorKind.FX: Unit(measure="delta", size=1.0, text="+1 of level"),
    FactorKind.IMPLIED_VOL: Unit(measure="vega", size=0.01, text="+0.01 of vol"),
    FactorKind.ZERO_RATE: Unit(measure="dv01", size=1e-4, text="+1 bp"),
    FactorKind.CREDIT_SPREAD: Unit(measure="cs01", size=1e-4, text="+1 bp"),
    FactorKind.DIVIDEND_YIELD: Unit(measure="dividend01", size=1e-4, text="+1 bp"),
}

# Prices differ in level, so what a rise by one means: their derivatives are also told for one per cent.
PERCENT = Unit(measure="delta_percent", size=0.01, text="+1 %")


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Quadratic:
    """Second-order expansion of a gain: ``gradient @ x + x @ hessian @ x / 2``.

    Parameters
    ----------
    gradient : ndarray of shape (n_factors,)
        In the market's factor order; zero where nothing depends on a factor.
    hessian : ndarray of shape (n_factors, n_factors)
        Symmetric.
    """

    gradient: FloatArray
    hessian: FloatArray


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Derivatives:
    """Derivatives of the value of some owners with respect to factor levels.

    Parameters
    ----------
    columns : ndarray of int64, shape (n_columns,)
        Factors that the book depends on, increasing.
    pairs : ndarray of int64, shape (n_pairs, 2)
        Different factors that some instrument depends on together, as columns of the market.
    first, second : ndarray of shape (n_owners, n_columns)
        First and second derivative by each factor, in base currency per unit of level.
    cross : ndarray of shape (n_owners, n_pairs)
        Mixed derivative of each pair.
    """

    columns: IntArray
    pairs: IntArray
    first: FloatArray
    second: FloatArray
    cross: FloatArray

    def quadratic(self, rows: Sequence[int] | IntArray, n_factors: int) -> Quadratic:
        """Add owners up, in a fixed tree."""
        own = np.asarray(rows, dtype=np.int64)
        gradient, hessian = np.zeros(n_factors), np.zeros((n_factors, n_factors))
        gradient[self.columns] = tree_sum(self.first[own], axis=0)
        hessian[self.columns, self.columns] = tree_sum(self.second[own], axis=0)
        left, right = self.pairs.T
        hessian[left, right] = hessian[right, left] = tree_sum(self.cross[own], axis=0)
        return Quadratic(gradient=gradient, hessian=hessian)


@dataclass(frozen=True, kw_only=True, eq=False)
class Sensitivities:
    """How the value of a book changes with each factor and with time.

    Parameters
    ----------
    resolution : Resolution
        The book.
    market : Market
        Where the levels stand.
    values : Derivatives
        By portfolio, or by position.
    theta : ndarray of shape (n_owners,)
        Gain over one calendar day at unchanged levels, cash flows included.
    owners : tuple of (str, str or None)
        Portfolio of each owner, and the instrument where owners are positions.
    """

    resolution: Resolution
    market: Market
    values: Derivatives
    theta: FloatArray
    owners: tuple[tuple[str, str | None], ...]

    def by_levels(self, portfolio_id: str = ROOT) -> Quadratic:
        """Expand a node's gain in changes of level.

        Raises
        ------
        UsageError
            If no priced position lies below a node of that name.
        """
        return self.values.quadratic(self.rows(portfolio_id), len(self.market.factors))

    def by_moves(self, portfolio_id: str = ROOT) -> Quadratic:
        """Expand a node's gain in moves: log changes or differences, as each factor's kind says.

        A factor that never moves has no derivatives here. Those of the loss are minus these.
        """
        return as_moves(self.by_levels(portfolio_id), self.market)

    def rows(self, portfolio_id: str = ROOT) -> IntArray:
        """Owners below a node."""
        prefix = f"{portfolio_id}/"
        found = [
            row
            for row, (name, _) in enumerate(self.owners)
            if portfolio_id == ROOT or name == portfolio_id or name.startswith(prefix)
        ]
        if not found:
            nodes = self.resolution.book.nodes
            raise UsageError(
                f"portfolio_id: no priced position below {portfolio_id!r}",
                hint=f"Nodes are {', '.join(nodes[:30])}.",
            )
        return np.array(found, dtype=np.int64)

    def table(self, nodes: Sequence[str]) -> pa.Table:
        """Write nodes as rows of ``result.sensitivities``; what is zero is left out."""
        schema = contract("result.sensitivities").schema
        parts = [schema.empty_table()]
        for node in nodes:
            rows = self.rows(node)
            days = float(tree_sum(self.theta[rows]))
            found = self._described(self.values.quadratic(rows, len(self.market.factors)), days)
            parts.append(_table([{"portfolio_id": node, **row} for row in found], schema))
        return pa.concat_tables(parts)

    def positions(self, portfolio_id: str = ROOT) -> pa.Table:
        """Write positions below a node as rows: those of `table`, with ``instrument_id``.

        Raises
        ------
        UsageError
            If they were not computed by position.
        """
        layout = contract("result.sensitivities").schema
        schema = layout.insert(1, pa.field("instrument_id", pa.string()))
        parts = [schema.empty_table()]
        for row in self.rows(portfolio_id):
            owner, instrument = self.owners[row]
            if instrument is None:
                raise UsageError("positions: sensitivities were computed by portfolio")
            quadratic = self.values.quadratic([row], len(self.market.factors))
            found = self._described(quadratic, float(self.theta[row]))
            named = [{"portfolio_id": owner, "instrument_id": instrument, **each} for each in found]
            parts.append(_table(named, schema))
        return pa.concat_tables(parts)

    def _described(self, quadratic: Quadratic, days: float) -> list[dict[str, Any]]:
        names = self.market.factor_ids
        units = [MEASURES[factor.kind] for factor in self.market.factors]
        rows: list[tuple[str, str, str, float, str]] = []
        percents = PERCENT.size * self.market.base
        for i in np.flatnonzero(quadratic.gradient):
            unit = units[i]
            rows.append((unit.measure, names[i], "", quadratic.gradient[i] * unit.size, unit.text))
            if unit.measure == "delta":
                rows.append(
                    (PERCENT.measure, names[i], "", quadratic.gradient[i] * percents[i], PERCENT.text)
                )
        for i, j in zip(*np.nonzero(np.triu(quadratic.hessian)), strict=True):
            size, text = units[i].size * units[j].size, f"{units[i].text} × {units[j].text}"
            value = quadratic.hessian[i, j] * size
            if i == j:
                rows.append(("gamma", names[i], "", value, text))
                if units[i].measure == "delta":
                    value, text = (
                        quadratic.hessian[i, i] * percents[i] ** 2,
                        f"{PERCENT.text} × {PERCENT.text}",
                    )
                    rows.append(("gamma_percent", names[i], "", value, text))
            else:
                rows.append(("cross_gamma", names[i], names[j], value, text))
        if days != 0.0:
            rows.append(("theta", "", "", days, "+1 calendar day"))
        return [
            {
                "measure": measure,
                "factor_id": factor_id,
                "other_factor_id": other,
                "value": float(value),
                "unit": text,
                "currency": self.resolution.base_currency,
            }
            for measure, factor_id, other, value, text in sorted(rows)
        ]


def sensitivities(
    book: Book,
    market: Market,
    *,
    portfolio_id: str = ROOT,
    by_position: bool = False,
    base_currency: str | None = None,
) -> pa.Table:
    """Compute delta, gamma, vega, DV01, CS01 and theta of a node by factor.

    Parameters
    ----------
    book, market
        What is held, and where the levels stand.
    portfolio_id : str
        A node of the hierarchy.
    by_position : bool
        One set of rows per position below the node, with its ``instrument_id``.
    base_currency : str, optional
        By default the only instrument currency that has no exchange rate.

    Returns
    -------
    pyarrow.Table
        In the layout of ``result.sensitivities``. Each value is the change of value in base currency when the
        factor rises by the unit; a positive one is a gain. Zeros are left out.

    Raises
    ------
    UsageError
        If no priced position lies below a node of that name.
    """
    resolution = resolve(book, market, base_currency=base_currency)
    found = sensitivities_of(resolution, market, by_position=by_position, distributed=False)
    return found.positions(portfolio_id) if by_position else found.table([portfolio_id])


def sensitivities_of(
    resolution: Resolution, market: Market, *, by_position: bool = False, distributed: bool
) -> Sensitivities:
    """Compute the sensitivities of a resolved book.

    Parameters
    ----------
    by_position : bool
        Per position, in key order, else per portfolio.
    distributed : bool
        As Ray tasks, or in this process; the bits are the same.
    """
    book = resolution.priced
    values = derivatives(book, market, by_position=by_position, distributed=distributed)
    tomorrow = aged(resolution, market, market.as_of + dt.timedelta(days=1))
    (gains,) = _gains(tomorrow, market.base, market.base[None, :], by_position, distributed)
    owners: list[tuple[str, str | None]] = [(name, None) for name in resolution.portfolio_ids]
    if by_position:
        portfolios, instruments = resolution.book.portfolio_ids, resolution.book.instrument_ids
        owners = [(portfolios[i], instruments[i]) for i in book.positions]
    return Sensitivities(
        resolution=resolution, market=market, values=values, theta=gains, owners=tuple(owners)
    )


def derivatives(
    book: ResolvedBook, market: Market, *, by_position: bool = False, distributed: bool = False
) -> Derivatives:
    """Differentiate the value of a book at the market's levels.

    Parameters
    ----------
    book : ResolvedBook
        Its instruments at the horizon are differentiated: those at `as_of` where it has not been aged.

    Notes
    -----
    Central differences of the gain g, from steps h and 2h, so that the error is of fourth order. With
    ``odd(h) = g(h) - g(-h)`` and ``even(h) = g(h) + g(-h)``, where g(0) = 0:

    * first: ``(8 odd(h) - odd(2h)) / 12h``;
    * second: ``(16 even(h) - even(2h)) / 12h²``;
    * mixed: ``(16 m(1) - m(2)) / 24hk`` with ``m(t) = even(th, tk) - even(th, 0) - even(0, tk)``.

    A second difference within the rounding of the values it comes from is zero.
    """
    book = replace(book, now=book.then)
    base, columns = market.base, book.columns
    depends, pairs = interactions(book.then, market, columns)
    place = np.full(base.size, -1, dtype=np.int64)
    place[columns] = np.arange(columns.size)
    left, right = place[pairs.T]
    steps = _sizes(market, _RELATIVE_STEP, _RATE_STEP)[columns]
    n, m = columns.size, len(pairs)
    # One row per direction: every factor alone, then every pair together.
    directions = np.zeros((n + m, base.size))
    directions[np.arange(n), columns] = steps
    directions[n + np.arange(m), columns[left]] = steps[left]
    directions[n + np.arange(m), columns[right]] = steps[right]
    shocked = np.concatenate([base + times * directions for times in (1.0, -1.0, 2.0, -2.0)])
    gains = _gains(book, base, shocked, by_position, distributed)
    up, down, up_twice, down_twice = (np.ascontiguousarray(part.T) for part in np.split(gains, 4))
    odd, odd_twice = (up - down)[:, :n], (up_twice - down_twice)[:, :n]
    even, even_twice = up + down, up_twice + down_twice
    noise = _ROUNDINGS * _gross(book, market, depends, by_position)
    bend = 16.0 * even[:, :n] - even_twice[:, :n]
    mixed = even[:, n:] - even[:, left] - even[:, right]
    mixed_twice = even_twice[:, n:] - even_twice[:, left] - even_twice[:, right]
    none = np.abs(mixed) <= np.minimum(noise[:, left], noise[:, right])
    return Derivatives(
        columns=columns,
        pairs=pairs,
        first=(8.0 * odd - odd_twice) / (12.0 * steps),
        second=np.where(np.abs(even[:, :n]) <= noise, 0.0, bend) / (12.0 * steps**2),
        cross=np.where(none, 0.0, 16.0 * mixed - mixed_twice) / (24.0 * steps[left] * steps[right]),
    )


def as_moves(quadratic: Quadratic, market: Market) -> Quadratic:
    """Turn an expansion in levels into one in moves; see `Sensitivities.by_moves`."""
    slope = np.where(market.move_kinds == MoveKind.ABSOLUTE, 1.0, market.base)
    slope = np.where(market.fixed | ~np.isfinite(slope), 0.0, slope)
    gradient = quadratic.gradient * slope
    hessian = quadratic.hessian * np.outer(slope, slope)
    logs = np.flatnonzero(market.move_kinds == MoveKind.LOG)
    # The second derivative of S exp(x) by x is its first.
    hessian[logs, logs] += gradient[logs]
    return Quadratic(gradient=gradient, hessian=hessian)


def interactions(instruments: Instruments, market: Market, columns: IntArray) -> tuple[BoolArray, IntArray]:
    """Find the factors that each instrument depends on, and the pairs that can have a mixed derivative.

    Returns
    -------
    depends : ndarray of bool, shape (n_instruments, n_columns)
    pairs : ndarray of int64, shape (n_pairs, 2)
        As columns of the market, the smaller first, sorted.

    Notes
    -----
    Found by moving one factor at a time and looking whether the price changes, so that it holds for every
    family. It is done from a place beside the base levels, because at these a product with a factor that is
    zero, such as a swap at its par rate, would hide the other one.
    """
    beside = market.base + _sizes(market, _RELATIVE_PROBE, _RATE_PROBE) * (
        0.3 + 0.4 * np.modf(np.arange(market.base.size) * 0.6180339887)[0]
    )
    depends = _depends(instruments, market, columns, beside)
    patterns = _patterns(instruments, depends, market, columns, beside)
    found = {pair for pattern in patterns for pair in combinations(columns[np.flatnonzero(pattern)], 2)}
    pairs = np.array(sorted((int(a), int(b)) for a, b in found), dtype=np.int64).reshape(-1, 2)
    return depends, pairs


def _depends(instruments: Instruments, market: Market, columns: IntArray, beside: FloatArray) -> BoolArray:
    probes = np.tile(beside[:, None], (1, columns.size + 1))
    probes[columns, np.arange(columns.size)] += _sizes(market, _RELATIVE_PROBE, _RATE_PROBE)[columns]
    depends = np.zeros((instruments.count, columns.size), dtype=bool)
    for first in range(0, instruments.count, _PROBED):
        stop = min(first + _PROBED, instruments.count)
        prices = instruments.prices(probes, first, stop)
        depends[first:stop] = prices[:, :-1] != prices[:, -1:]
    # A value of zero in another currency does not move with the exchange rate, but its derivative does.
    depends |= instruments.fx[:, None] == columns
    return depends


def _patterns(
    instruments: Instruments,
    depends: BoolArray,
    market: Market,
    columns: IntArray,
    beside: FloatArray,
) -> BoolArray:
    """List sets of factors within which mixed derivatives can be, shape (n_patterns, n_columns)."""
    patterns = [depends]
    for family, start, own in instruments.parts(0, instruments.count):
        if isinstance(family, LookThrough):
            # A fund adds its holdings up: what two of them depend on separately does not interact.
            held = _depends(family.held, market, columns, beside)
            lines = held[family.holding] | (family.fx[family.fund][:, None] == columns)
            patterns[0] = np.delete(patterns[0], slice(start, start + own.stop), axis=0)
            patterns.append(lines)
    return np.unique(np.concatenate(patterns), axis=0)


def _gross(book: ResolvedBook, market: Market, depends: BoolArray, by_position: bool) -> FloatArray:
    """Amounts that the gains of each owner under a bump were rounded to, shape (n_owners, n_columns).

    The value of an instrument may be a small difference of large legs: what its rises with levels would add
    up to counts too.
    """
    count = book.now.count
    base = market.base[:, None]
    value = (book.now.prices(base, 0, count) * book.now.rates(base, 0, count))[:, 0]
    largest = np.abs(value)
    for column in book.columns[_is_positive(market)[book.columns]]:
        shifted = base.copy()
        shifted[column] *= 1.0 + _RELATIVE_PROBE
        moved = (book.now.prices(shifted, 0, count) * book.now.rates(shifted, 0, count))[:, 0]
        largest = np.maximum(largest, np.abs(moved - value) / _RELATIVE_PROBE)
    per_unit = largest * np.abs(book.now.multipliers)
    held = per_unit[book.instrument_rows] * np.abs(book.quantities)
    if by_position:
        return np.asarray(held[:, None] * depends[book.instrument_rows])
    gross = np.zeros((book.n_portfolios, depends.shape[1]))
    for column in range(depends.shape[1]):
        own = depends[book.instrument_rows, column]
        gross[:, column] = np.bincount(book.portfolios[own], held[own], minlength=book.n_portfolios)
    return gross


def _gains(
    book: ResolvedBook, base: FloatArray, shocked: FloatArray, by_position: bool, distributed: bool
) -> FloatArray:
    """Gain of every owner under every row, shape (n_rows, n_owners)."""
    plan = Table(blocks=Blocks(n_scenarios=len(shocked), size=BLOCK_SIZE), shocked=shocked)
    (gains,) = revaluations(
        [Job(book=book, plan=plan)], base, keep_positions=by_position, distributed=distributed
    )
    found = gains.by_position if by_position else gains.by_portfolio
    return np.ascontiguousarray(np.asarray(found).T)


def _sizes(market: Market, relative: float, absolute: float) -> FloatArray:
    """Step of every factor by its kind, shape (n_factors,)."""
    sizes: FloatArray = np.where(_is_positive(market), market.base * relative, absolute)
    return sizes


def _is_positive(market: Market) -> BoolArray:
    return np.array([factor.kind.is_positive for factor in market.factors], dtype=bool)


def _table(rows: list[dict[str, Any]], schema: pa.Schema) -> pa.Table:
    return pa.Table.from_pylist(rows, schema=schema)
