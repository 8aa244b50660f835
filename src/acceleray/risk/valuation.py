"""A resolved book: its instruments by family, and its value and gains under any factor levels.

Workers import this module, so it needs nothing but NumPy, SciPy and our own kernels.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import accumulate as running

import numpy as np
import numpy.typing as npt

from acceleray.errors import NumericalError
from acceleray.numerics.aggregation import TreeSum
from acceleray.numerics.kernels import accumulate
from acceleray.risk.families import ABSENT, FxForwards, Options, PlainOptions
from acceleray.risk.tabulated_families import Americans, Family

__all__ = [
    "SECTION",
    "Instruments",
    "LookThrough",
    "Names",
    "ResolvedBook",
    "portfolio_gains",
    "position_pnl",
    "position_values",
    "positions_of",
    "unit_exposures",
    "unit_prices",
]

FloatArray = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]

# Gains are added position by position inside a section of so many instruments, and sections in a fixed tree.
# The number is part of the definition of every sum: results do not depend on how sections are spread.
SECTION = 4096

# Instruments priced at a time, so that their prices stay in the processor's cache.
_CHUNK = 128


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Instruments:
    """Instruments in rows, one family after the other.

    Parameters
    ----------
    families : tuple of Family
        In the order of their rows.
    multipliers : ndarray of shape (n_instruments,)
        Payoff units per contract.
    fx : ndarray of int64, shape (n_instruments,)
        Column of the exchange rate to the base currency, -1 for the base currency itself.
    is_future : ndarray of bool, shape (n_instruments,)
        Settled daily: no market value, and gains are converted at the rate of the day.
    """

    families: tuple[Family | LookThrough, ...]
    multipliers: FloatArray
    fx: IntArray
    is_future: npt.NDArray[np.bool_]

    @property
    def count(self) -> int:
        """Number of instruments."""
        return int(self.multipliers.size)

    def parts(self, first: int, stop: int) -> Iterator[tuple[Family | LookThrough, int, slice]]:
        """Families that own rows of a range: each with its first row, and the rows as a slice of its own."""
        starts = running((family.count for family in self.families), initial=0)
        for family, start in zip(self.families, starts, strict=False):
            low, high = max(first, start), min(stop, start + family.count)
            if low < high:
                yield family, start, slice(low - start, high - start)

    def prices(self, levels: FloatArray, first: int, stop: int) -> FloatArray:
        """Price rows in their own currency, before multiplier.

        Parameters
        ----------
        levels : ndarray of shape (n_factors, n_scenarios)
            Factor-major.

        Returns
        -------
        ndarray of shape (stop - first, n_scenarios)
        """
        prices = np.empty((stop - first, levels.shape[1]))
        for family, start, own in self.parts(first, stop):
            rows = slice(start + own.start - first, start + own.stop - first)
            prices[rows] = family.prices(levels, own.start, own.stop)
        return prices

    def rates(self, levels: FloatArray, first: int, stop: int) -> FloatArray:
        """Return base currency per unit of each row's currency, shape (stop - first, n_scenarios)."""
        columns = self.fx[first:stop]
        rates: FloatArray = np.where((columns == ABSENT)[:, None], 1.0, levels[columns])
        return rates

    def columns(self) -> IntArray:
        """Factors that any instrument depends on, increasing."""
        used = np.unique(np.concatenate([self.fx, *(family.columns() for family in self.families)]))
        present: IntArray = used[used != ABSENT]
        return present


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class LookThrough:
    """Funds whose price follows what they hold.

    A fund is worth its level at `as_of`. From there it moves with the weighted relative moves of its
    holdings, each converted to the fund's currency; what the weights leave is cash.

    Parameters
    ----------
    held : Instruments
        What any of the funds holds.
    held_values : ndarray of shape (n_held,)
        Value of one contract of each at `as_of`, in base currency.
    fund, holding : ndarray of int64, shape (n_lines,)
        Fund and held instrument of each line, sorted by fund.
    weights : ndarray of shape (n_lines,)
        Share of the fund's value.
    levels : ndarray of shape (n_funds,)
        Price of each fund at `as_of`.
    fx : ndarray of int64, shape (n_funds,)
        Column of the fund currency's exchange rate, or -1.
    fx_base : ndarray of shape (n_funds,)
        That rate at `as_of`.
    """

    held: Instruments
    held_values: FloatArray
    fund: IntArray
    holding: IntArray
    weights: FloatArray
    levels: FloatArray
    fx: IntArray
    fx_base: FloatArray

    @property
    def count(self) -> int:
        """Number of funds."""
        return int(self.levels.size)

    def prices(self, levels: FloatArray, first: int, stop: int) -> FloatArray:
        """Price of each fund in its own currency."""
        prices = np.ones((stop - first, levels.shape[1]))
        for fund in range(first, stop):
            column = self.fx[fund]
            rate = self.fx_base[fund] if column == ABSENT else levels[column]
            for line in range(*np.searchsorted(self.fund, (fund, fund + 1))):
                row = int(self.holding[line])
                value = self.held.prices(levels, row, row + 1) * self.held.rates(levels, row, row + 1)
                value *= self.held.multipliers[row]
                relative = value[0] / self.held_values[row] * (self.fx_base[fund] / rate)
                prices[fund - first] += self.weights[line] * (relative - 1.0)
            prices[fund - first] *= self.levels[fund]
        return prices

    def columns(self) -> IntArray:
        """Columns that any of them needs."""
        return np.concatenate([self.held.columns(), self.fx])


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Names:
    """What columns and rows are called, so that an error in a worker says which factor and instrument.

    Parameters
    ----------
    factor_ids : ndarray of str, shape (n_factors,)
        An array and not a tuple: workers then map it instead of rebuilding it for every task.
    above_zero, from_zero : ndarray of bool, shape (n_factors,)
        Exchange rates, which must stay positive; implied vols, which must not fall below zero.
    instrument_ids : ndarray of str, shape (n_instruments,)
        By row.
    """

    factor_ids: npt.NDArray[np.str_]
    above_zero: npt.NDArray[np.bool_]
    from_zero: npt.NDArray[np.bool_]
    instrument_ids: npt.NDArray[np.str_]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class ResolvedBook:
    """Everything needed to value the priceable positions, free of names.

    Parameters
    ----------
    positions : ndarray of int64, shape (n_priced,)
        Which positions of the book these are, in key order.
    instrument_rows : ndarray of int64, shape (n_priced,)
        Row of each position's instrument.
    quantities : ndarray of shape (n_priced,)
        Units held.
    portfolios : ndarray of int64, shape (n_priced,)
        Portfolio of each position, numbered in key order.
    n_portfolios : int
        How many portfolios have a priced position.
    now : Instruments
        As they stand at `as_of`.
    then : Instruments
        The same rows at the horizon; the same object where moves are instantaneous.
    columns : ndarray of int64
        Factors that any of them depends on, increasing.
    names : Names
        For messages.
    """

    positions: IntArray
    instrument_rows: IntArray
    quantities: FloatArray
    portfolios: IntArray
    n_portfolios: int
    now: Instruments
    then: Instruments
    columns: IntArray
    names: Names

    @property
    def n_sections(self) -> int:
        """Number of sections of instruments."""
        return -(-self.now.count // SECTION)


def unit_prices(book: ResolvedBook, levels: FloatArray) -> FloatArray:
    """Price every instrument at `as_of` in its own currency, before multiplier.

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
    major = _factor_major(book, levels)
    return book.now.prices(major, 0, book.now.count).T


def unit_exposures(book: ResolvedBook, levels: FloatArray) -> FloatArray:
    """Delta times level of the underlying per instrument, in its own currency and before multiplier.

    A bond, a swap, a product in QuantLib's terms and cash count with their price; shapes as in `unit_prices`.
    """
    major = _factor_major(book, levels)
    exposures = book.now.prices(major, 0, book.now.count)
    for family, start, own in book.now.parts(0, book.now.count):
        if isinstance(family, FxForwards | PlainOptions | Options | Americans):
            spot = family.underlyings.levels(major, own)
            exposures[start : start + own.stop] = family.deltas(major, own.start, own.stop) * spot
    return exposures.T


def position_values(book: ResolvedBook, levels: FloatArray) -> FloatArray:
    """Market value of every position at `as_of` in base currency; zero for futures.

    Returns
    -------
    ndarray of shape (n_priced, n_scenarios)
    """
    major = _factor_major(book, levels)
    values = book.now.prices(major, 0, book.now.count) * book.now.rates(major, 0, book.now.count)
    values *= book.now.multipliers[:, None]
    values[book.now.is_future] = 0.0
    return _by_position(values[book.instrument_rows], book.quantities)


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
    everything = (0, book.n_sections)
    cube = np.empty((book.positions.size, len(shocked)))
    portfolio_gains(book, shocked, base, everything, into=cube)
    by_key = np.empty_like(cube)
    by_key[positions_of(book, everything)] = cube
    return by_key


def portfolio_gains(
    book: ResolvedBook,
    shocked: FloatArray,
    base: FloatArray,
    sections: tuple[int, int],
    *,
    into: FloatArray | None = None,
) -> FloatArray:
    """Gain of every portfolio from the instruments of some sections.

    Parameters
    ----------
    shocked, base
        As for `position_pnl`.
    sections : tuple of int
        First section, and the one after the last.
    into : ndarray of shape (n_positions_in_sections, n_scenarios), optional
        Takes the gains of the positions too, in the order of `positions_of`.

    Returns
    -------
    ndarray of shape (n_portfolios, n_scenarios)
        Without the positions whose instruments lie in other sections.

    Raises
    ------
    NumericalError
        Naming the factor whose level has no meaning, or the instrument that has no finite gain.
    """
    after, before = _factor_major(book, shocked), _factor_major(book, base)
    order = positions_of(book, sections)
    rows = book.instrument_rows[order]
    total = TreeSum((book.n_portfolios, len(shocked)))
    for section in range(*sections):
        partial = np.zeros((book.n_portfolios, len(shocked)))
        begin, end = section * SECTION, min((section + 1) * SECTION, book.now.count)
        for first in range(begin, end, _CHUNK):
            stop = min(first + _CHUNK, end)
            own = slice(*np.searchsorted(rows, (first, stop)))
            if own.start == own.stop:
                continue
            gains = _named_gains(book, after, before, first, stop)
            held = order[own]
            try:
                accumulate(gains, rows[own] - first, book.quantities[held], book.portfolios[held], partial)
            except NumericalError as error:
                raise _infinite(book, gains, first, error) from error
            if into is not None:
                into[own] = _by_position(gains[rows[own] - first], book.quantities[held])
        total.add(partial)
    return total.result()


def positions_of(book: ResolvedBook, sections: tuple[int, int]) -> IntArray:
    """Priced positions whose instruments lie in some sections, by instrument row, then in key order."""
    order = np.argsort(book.instrument_rows, kind="stable")
    bounds = np.searchsorted(book.instrument_rows[order], np.array(sections) * SECTION)
    return order[bounds[0] : bounds[1]]


def _named_gains(
    book: ResolvedBook, after: FloatArray, before: FloatArray, first: int, stop: int
) -> FloatArray:
    """Gains of some rows; what a kernel refuses is said of its instrument."""
    try:
        # What overflows is refused when it is added up.
        with np.errstate(over="ignore", invalid="ignore"):
            return _unit_gains(book, after, before, first, stop)
    except NumericalError as error:
        if stop - first > 1:
            for row in range(first, stop):
                _named_gains(book, after, before, row, row + 1)
        raise _blamed(book, after, before, first, error) from error


def _blamed(
    book: ResolvedBook, after: FloatArray, before: FloatArray, row: int, error: NumericalError
) -> NumericalError:
    """Say which instrument has no price, in which scenario, and which level is to blame for it."""
    name = str(book.names.instrument_ids[row])
    for scenario in range(after.shape[1]):
        levels = after[:, [scenario]]
        if _has_price(book, levels, row):
            continue
        said = f"instrument {name!r} in scenario {scenario} of its block: {error.message}"
        for column in book.columns[levels[book.columns, 0] <= 0.0]:
            mended = levels.copy()
            mended[column] = before[column, 0]
            if _has_price(book, mended, row):
                said += f"; factor {str(book.names.factor_ids[column])!r} was {levels[column, 0]:g}"
                break
        return NumericalError(said, hint=error.hint)
    return NumericalError(f"instrument {name!r}: {error.message}", hint=error.hint)


def _has_price(book: ResolvedBook, levels: FloatArray, row: int) -> bool:
    try:
        book.then.prices(levels, row, row + 1)
    except NumericalError:
        return False
    return True


def _infinite(book: ResolvedBook, gains: FloatArray, first: int, error: NumericalError) -> NumericalError:
    """Say which instrument has a gain that cannot be added up."""
    bad = np.argwhere(~np.isfinite(gains))
    if not bad.size:
        return error
    row, scenario = bad[0]
    return NumericalError(
        f"instrument {str(book.names.instrument_ids[first + row])!r} in scenario {scenario} of its block: "
        f"its gain was {gains[row, scenario]:g}"
    )


def _unit_gains(
    book: ResolvedBook, after: FloatArray, before: FloatArray, first: int, stop: int
) -> FloatArray:
    gains = book.then.prices(after, first, stop)
    earlier = book.now.prices(before, first, stop)
    fx, is_future = book.now.fx[first:stop], book.now.is_future[first:stop]
    # Most rows are in the base currency and need no conversion; the arrays are large, so nothing is copied.
    foreign = np.flatnonzero(fx != ABSENT)
    if foreign.size:
        rates_after, rates_before = after[fx[foreign]], before[fx[foreign]]
        gains[foreign] *= rates_after
        earlier = np.array(np.broadcast_to(earlier, np.broadcast_shapes(earlier.shape, gains.shape)))
        earlier[foreign] *= np.where(is_future[foreign, None], rates_after, rates_before)
    gains -= earlier
    multipliers = book.now.multipliers[first:stop]
    if (multipliers != 1.0).any():
        gains *= multipliers[:, None]
    return gains


def _by_position(per_unit: FloatArray, quantities: FloatArray) -> FloatArray:
    # A short position in something that did not move is worth 0.0, not -0.0.
    return per_unit * quantities[:, None] + 0.0


def _factor_major(book: ResolvedBook, levels: FloatArray) -> FloatArray:
    columns, names = book.columns, book.names
    used = levels[:, columns]
    bad = ~np.isfinite(used)
    bad |= (used <= 0.0) & names.above_zero[columns]
    bad |= (used < 0.0) & names.from_zero[columns]
    if bad.any():
        scenario, position = np.argwhere(bad)[0]
        column = columns[position]
        wanted = "positive" if names.above_zero[column] else "finite"
        wanted = "zero or positive" if names.from_zero[column] else wanted
        raise NumericalError(
            f"valuation: factor {str(names.factor_ids[column])!r} was {levels[scenario, column]:g} "
            f"in scenario {scenario} of its block, must be {wanted}"
        )
    return np.ascontiguousarray(levels.T)
