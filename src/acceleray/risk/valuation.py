"""A resolved book: plain arrays per kind of instrument, and its value under any factor levels.

Workers import this module, so it needs nothing but NumPy, SciPy and our own kernels.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from acceleray.errors import NumericalError
from acceleray.numerics.pricing import (
    bond_prices,
    european_deltas,
    european_prices,
    forward_prices,
    zero_rates,
)

__all__ = [
    "Bonds",
    "CurvePoints",
    "Forwards",
    "Levels",
    "Options",
    "ResolvedBook",
    "position_pnl",
    "position_values",
    "unit_exposures",
    "unit_prices",
]

FloatArray = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]

# A column that is not there: its level is zero.
ABSENT = -1


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class CurvePoints:
    """Where times fall on curves: columns of the points around each, and the weight of the right one."""

    left: IntArray
    right: IntArray
    weight: FloatArray

    def rates(self, levels: FloatArray) -> FloatArray:
        """Zero rates, shape (n_scenarios, n_times)."""
        return zero_rates(levels, self.left, self.right, self.weight)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Levels:
    """Instruments whose price is a factor's level: equities, indices, funds, futures on their own price."""

    rows: IntArray
    columns: IntArray


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Forwards:
    """Futures priced from a spot by cost of carry."""

    rows: IntArray
    columns: IntArray
    years: FloatArray
    curve: CurvePoints
    dividends: IntArray


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Bonds:
    """Fixed cash flows on a curve plus an optional spread."""

    rows: IntArray
    offsets: IntArray
    amounts: FloatArray
    times: FloatArray
    curve: CurvePoints
    spreads: IntArray


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Options:
    """European options on a spot."""

    rows: IntArray
    columns: IntArray
    strikes: FloatArray
    years: FloatArray
    is_call: npt.NDArray[np.bool_]
    vols: IntArray
    curve: CurvePoints
    dividends: IntArray


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class ResolvedBook:
    """Everything needed to value the priceable positions, free of names.

    Parameters
    ----------
    positions : ndarray of int64, shape (n_priced,)
        Which positions of the book these are, in key order.
    instrument_rows : ndarray of int64, shape (n_priced,)
        Row of each position's instrument below.
    quantities : ndarray of shape (n_priced,)
        Units held.
    multipliers : ndarray of shape (n_instruments,)
        Payoff units per contract.
    fx : ndarray of int64, shape (n_instruments,)
        Column of the exchange rate to the base currency, -1 for the base currency itself.
    is_future : ndarray of bool, shape (n_instruments,)
        Settled daily: no market value, and gains are converted at the rate of the day.
    cash : ndarray of int64
        Instruments worth one unit of their currency.
    levels, forwards, bonds, options
        The rest, by the way they are priced.
    columns : ndarray of int64
        Factors that any of them depends on, increasing.
    """

    positions: IntArray
    instrument_rows: IntArray
    quantities: FloatArray
    multipliers: FloatArray
    fx: IntArray
    is_future: npt.NDArray[np.bool_]
    cash: IntArray
    levels: Levels
    forwards: Forwards
    bonds: Bonds
    options: Options
    columns: IntArray


def unit_prices(book: ResolvedBook, levels: FloatArray) -> FloatArray:
    """Price every instrument in its own currency, before multiplier.

    Parameters
    ----------
    levels : ndarray of shape (n_scenarios, n_factors)
        The base case is one row.

    Returns
    -------
    ndarray of shape (n_scenarios, n_instruments)

    Raises
    ------
    NumericalError
        If a level that the book depends on is not finite.
    """
    used = np.isfinite(levels[:, book.columns])
    if not used.all():
        scenario, position = np.argwhere(~used)[0]
        raise NumericalError(
            f"valuation: the level of factor column {book.columns[position]} "
            f"was not finite in scenario {scenario} of its block"
        )
    prices = np.empty((len(levels), book.multipliers.size))
    prices[:, book.cash] = 1.0
    prices[:, book.levels.rows] = levels[:, book.levels.columns]
    forwards, bonds, options = book.forwards, book.bonds, book.options
    if forwards.rows.size:
        prices[:, forwards.rows] = forward_prices(
            levels[:, forwards.columns],
            forwards.curve.rates(levels),
            _or_zero(levels, forwards.dividends),
            forwards.years,
        )
    if bonds.rows.size:
        prices[:, bonds.rows] = bond_prices(
            bonds.amounts,
            bonds.times,
            bonds.curve.rates(levels),
            _or_zero(levels, bonds.spreads),
            bonds.offsets,
        )
    if options.rows.size:
        prices[:, options.rows] = european_prices(*_option_inputs(options, levels))
    return prices


def unit_exposures(book: ResolvedBook, levels: FloatArray) -> FloatArray:
    """Delta times level of the underlying per instrument, in its own currency and before multiplier.

    A bond and cash count with their price; shapes as in `unit_prices`.
    """
    exposures = unit_prices(book, levels)
    options = book.options
    if options.rows.size:
        delta = european_deltas(*_option_inputs(options, levels))
        exposures[:, options.rows] = delta * levels[:, options.columns]
    return exposures


def position_values(book: ResolvedBook, levels: FloatArray) -> FloatArray:
    """Market value of every position in base currency; zero for futures.

    Returns
    -------
    ndarray of shape (n_priced, n_scenarios)
    """
    values = unit_prices(book, levels) * book.multipliers * exchange_rates(book, levels)
    values[:, book.is_future] = 0.0
    return _by_position(book, values)


def position_pnl(book: ResolvedBook, shocked: FloatArray, base: FloatArray) -> FloatArray:
    """Gain of every position in base currency when levels go from `base` to `shocked`.

    Parameters
    ----------
    shocked : ndarray of shape (n_scenarios, n_factors)
        Levels after the move.
    base : ndarray of shape (1, n_factors) or (n_scenarios, n_factors)
        Levels before it.

    Returns
    -------
    ndarray of shape (n_priced, n_scenarios)
        A gain is positive. A future earns its price change, converted at the shocked exchange rate.
    """
    after, before = unit_prices(book, shocked), unit_prices(book, base)
    fx_after, fx_before = exchange_rates(book, shocked), exchange_rates(book, base)
    fx_before = np.where(book.is_future, fx_after, fx_before)
    return _by_position(book, book.multipliers * (after * fx_after - before * fx_before))


def exchange_rates(book: ResolvedBook, levels: FloatArray) -> FloatArray:
    """Return base currency per unit of each instrument's currency, shape (n_scenarios, n_instruments)."""
    return np.where(book.fx == ABSENT, 1.0, levels[:, book.fx])


def _by_position(book: ResolvedBook, per_instrument: FloatArray) -> FloatArray:
    # A short position in something that did not move is worth 0.0, not -0.0.
    return np.ascontiguousarray((per_instrument[:, book.instrument_rows] * book.quantities).T) + 0.0


def _or_zero(levels: FloatArray, columns: IntArray) -> FloatArray:
    return np.where(columns == ABSENT, 0.0, levels[:, columns])


def _option_inputs(
    options: Options, levels: FloatArray
) -> tuple[FloatArray, FloatArray, FloatArray, FloatArray, FloatArray, FloatArray, npt.NDArray[np.bool_]]:
    return (
        levels[:, options.columns],
        options.strikes,
        options.curve.rates(levels),
        _or_zero(levels, options.dividends),
        levels[:, options.vols],
        options.years,
        options.is_call,
    )
