"""Families without a closed form: QuantLib prices them one by one, or a table stands in for it.

Workers import this module; QuantLib itself is imported by the first price that needs it. A family prices
exactly until `stand_ins.with_stand_ins` gives it tables: their boxes need the scenarios.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from acceleray.numerics.american import reduce_to_puts
from acceleray.risk.american import AmericanTable
from acceleray.risk.families import ClosedForm, Options, Underlyings
from acceleray.risk.quantlib_prices import ProductFunction, american_option, product_price
from acceleray.risk.tabulation import PriceFunction, Tabulated

__all__ = ["Americans", "Family", "Product", "ProductTable", "Products"]

FloatArray = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]
BoolArray = npt.NDArray[np.bool_]

# QuantLib needs a positive vol; a residual below zero can take a scenario's to zero.
_LEAST_VOL = 1e-4
# Share of the spot by which it is moved up and down for a delta: QuantLib's own error of 4e-7 of the strike
# then costs 1e-4 of the delta.
_BUMP = 2e-3


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Americans:
    """American options on a spot with a yield or foreign rate, or on a future.

    Parameters
    ----------
    options : Options
        The same contracts, as if they were European.
    instrument_ids : tuple of str
        One per option.
    tables : tuple of (AmericanTable or None)
        What stands in for QuantLib, shared by options on the same factors; None prices exactly.
    notes : tuple of str
        Per option, on what box the table stands or why there is none.
    """

    options: Options
    instrument_ids: tuple[str, ...]
    tables: tuple[AmericanTable | None, ...]
    notes: tuple[str, ...]

    @classmethod
    def exact(cls, options: Options, instrument_ids: tuple[str, ...]) -> Americans:
        """Without tables."""
        n = options.count
        return cls(options=options, instrument_ids=instrument_ids, tables=(None,) * n, notes=("",) * n)

    @property
    def count(self) -> int:
        """Number of instruments."""
        return self.options.count

    @property
    def underlyings(self) -> Underlyings:
        """What they are written on."""
        return self.options.underlyings

    def prices(self, levels: FloatArray, first: int, stop: int) -> FloatArray:
        """Premium; no scenario's depends on the others."""
        spots, rates, yields, vols = self.inputs(levels, first, stop)
        prices = np.empty((stop - first, levels.shape[1]))
        for i, row in enumerate(range(first, stop)):
            table = self.tables[row]
            if table is None:
                prices[i] = self._exact(row)(np.stack([spots[i], vols[i], rates[i], yields[i]]))
            else:
                prices[i] = table.value(
                    spots[i],
                    vols[i],
                    rates[i],
                    yields[i],
                    strike=float(self.options.strikes[row]),
                    years=float(self.options.years[row]),
                ).prices
        return prices

    def deltas(self, levels: FloatArray, first: int, stop: int) -> FloatArray:
        """Change of the premium per unit of the underlying, by a central difference of exact prices."""
        spots, rates, yields, vols = self.inputs(levels, first, stop)
        deltas = np.empty((stop - first, levels.shape[1]))
        for i, row in enumerate(range(first, stop)):
            price = self._exact(row)
            up, down = (
                price(np.stack([spots[i] * factor, vols[i], rates[i], yields[i]]))
                for factor in (1.0 + _BUMP, 1.0 - _BUMP)
            )
            deltas[i] = (up - down) / (2.0 * _BUMP * spots[i])
        return deltas

    def columns(self) -> IntArray:
        """Columns that any of them needs."""
        return self.options.columns()

    def inputs(
        self, levels: FloatArray, first: int, stop: int
    ) -> tuple[FloatArray, FloatArray, FloatArray, FloatArray]:
        """Spot, rate, yield and vol of each, shape (stop - first, n_scenarios)."""
        spots, _, rates, yields, vols, _, _ = self.options.inputs(levels, slice(first, stop))
        return spots, rates, yields, np.maximum(vols, _LEAST_VOL)

    def states(self, levels: FloatArray, row: int) -> FloatArray:
        """Log-moneyness, vol, rate and yield of one option, as a table's box has them; (4, n_scenarios)."""
        spots, rates, yields, vols = self.inputs(levels, row, row + 1)
        return np.stack([np.log(spots[0] / self.options.strikes[row]), vols[0], rates[0], yields[0]])

    def shared(self, row: int) -> tuple[Any, ...]:
        """Key of the options that can share a table: all that is not strike or vol."""
        options = self.options
        curves = [options.curve, *([options.foreign] if options.has_foreign[row] else [])]
        return (
            int(options.underlyings.factors[row]),
            int(options.underlyings.divisors[row]),
            float(options.years[row]),
            bool(options.is_call[row]),
            bool(options.on_future[row]),
            int(options.dividends[row]),
            *((int(c.left[row]), int(c.right[row]), float(c.weight[row])) for c in curves),
        )

    def n_outside(self, levels: FloatArray, row: int) -> int:
        """Count scenarios that QuantLib prices."""
        table, years = self.tables[row], float(self.options.years[row])
        if years == 0.0:
            return 0
        if table is None:
            return int(levels.shape[1])
        spots, rates, yields, vols = (each[0] for each in self.inputs(levels, row, row + 1))
        puts, _ = reduce_to_puts(
            spots,
            vols,
            rates,
            yields,
            strike=float(self.options.strikes[row]),
            years=years,
            is_call=table.is_call,
        )
        return int(levels.shape[1] - table.within(puts).sum())

    def _exact(self, row: int) -> PriceFunction:
        return american_option(
            strike=float(self.options.strikes[row]),
            years=float(self.options.years[row]),
            is_call=bool(self.options.is_call[row]),
            instrument_id=self.instrument_ids[row],
        )


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class ProductTable:
    """Stands in for a product's price over those of its factors that move.

    Parameters
    ----------
    tabulated : Tabulated
        Over the moving factors.
    is_moving : ndarray of bool, shape (n_factors,)
        Which of the product's factors these are.
    held : ndarray of shape (n_factors,)
        Levels of the others; elsewhere the table does not hold.
    """

    tabulated: Tabulated
    is_moving: BoolArray
    held: FloatArray

    def within(self, levels: FloatArray) -> BoolArray:
        """Tell which scenarios the table covers, from levels of shape (n_factors, n_scenarios)."""
        fixed = ~self.is_moving
        inside: BoolArray = self.tabulated.within(levels[self.is_moving])
        inside &= (levels[fixed] == self.held[fixed, None]).all(axis=0)
        return inside


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Product:
    """A product that a function of the user describes to QuantLib.

    Parameters
    ----------
    instrument_id : str
        Named in errors.
    function : callable
        As `product_price` takes it.
    as_of : date
        QuantLib's evaluation date.
    factors : ndarray of int64, shape (n_factors,)
        Columns that it depends on.
    factor_ids : tuple of str
        Their names.
    row : mapping
        What the function is handed.
    table : ProductTable or None
        What stands in for the price; None prices exactly.
    note : str
        On what box the table stands or why there is none.
    """

    instrument_id: str
    function: ProductFunction
    as_of: dt.date
    factors: IntArray
    factor_ids: tuple[str, ...]
    row: Mapping[str, Any]
    table: ProductTable | None = None
    note: str = ""

    def price(self) -> PriceFunction:
        """Exact price of levels of shape (n_factors, n_scenarios)."""
        return product_price(
            self.function,
            as_of=self.as_of,
            factor_ids=self.factor_ids,
            instrument=self.row,
            instrument_id=self.instrument_id,
        )

    def values(self, levels: FloatArray) -> FloatArray:
        """Value in all scenarios from the levels of all factors, shape (n_scenarios,)."""
        own = levels[self.factors]
        if self.table is None:
            return self.price()(own)
        inside = self.table.within(own)
        values = np.empty(own.shape[1])
        values[inside] = self.table.tabulated.evaluate(own[self.table.is_moving][:, inside])
        if not inside.all():
            values[~inside] = self.price()(own[:, ~inside])
        return values


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Products:
    """Products in QuantLib's terms."""

    items: tuple[Product, ...]

    @property
    def count(self) -> int:
        """Number of instruments."""
        return len(self.items)

    @property
    def instrument_ids(self) -> tuple[str, ...]:
        """One per product."""
        return tuple(item.instrument_id for item in self.items)

    @property
    def notes(self) -> tuple[str, ...]:
        """One per product."""
        return tuple(item.note for item in self.items)

    def prices(self, levels: FloatArray, first: int, stop: int) -> FloatArray:
        """Value of each; no scenario's depends on the others."""
        return np.stack([item.values(levels) for item in self.items[first:stop]])

    def columns(self) -> IntArray:
        """Columns that any of them needs."""
        return np.concatenate([item.factors for item in self.items])

    def states(self, levels: FloatArray, row: int) -> FloatArray:
        """Levels of one product's factors, as a table's box has them."""
        found: FloatArray = levels[self.items[row].factors]
        return found

    def shared(self, row: int) -> tuple[Any, ...]:
        """Key of a table: each product has its own, at each date."""
        return (self.items[row].instrument_id, self.items[row].as_of)

    def n_outside(self, levels: FloatArray, row: int) -> int:
        """Count scenarios that QuantLib prices."""
        table = self.items[row].table
        if table is None:
            return int(levels.shape[1])
        return int(levels.shape[1] - table.within(self.states(levels, row)).sum())


Family = ClosedForm | Americans | Products
