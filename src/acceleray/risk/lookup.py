"""Look names of factors, curves and surfaces up once, and say why one cannot be used."""

from __future__ import annotations

import datetime as dt
import math
from collections.abc import Callable, Mapping
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt

from acceleray.domain.market import Curve, FactorKind, Market
from acceleray.errors import InputDataError
from acceleray.numerics.rates import RatePoints, rate_points
from acceleray.risk.families import ABSENT
from acceleray.risk.unpriceable import UnpriceableError

__all__ = ["SPOTS", "Lookup", "Point", "need", "positive"]

FloatArray = npt.NDArray[np.float64]

SPOTS = (FactorKind.SPOT, FactorKind.FX)

_DAYS_PER_YEAR = 365.0

# Columns of the curve points around a time, and the weight of the right one.
Point = tuple[int, int, float]


class Lookup:
    """Columns of a market by name.

    Parameters
    ----------
    market : Market
        Where the levels stand.
    base_currency : str
        Needs no exchange rate.
    history_days : int
        Daily moves that every moving factor must have behind it.
    value_date : date, optional
        Date at which instruments are valued, `as_of` or later; times run from it.
    functions : mapping of str to callable, optional
        What instruments of kind quantlib name.
    """

    def __init__(
        self,
        market: Market,
        base_currency: str,
        history_days: int,
        value_date: dt.date | None = None,
        functions: Mapping[str, Callable[..., Any]] | None = None,
    ) -> None:
        self.market = market
        self.base_currency = base_currency
        self._history_days = history_days
        self.value_date = value_date or market.as_of
        self.functions = functions or {}
        self._column_of = {name: column for column, name in enumerate(market.factor_ids)}
        self._curves: dict[str, Curve | None] = {}
        self._surfaces: dict[str, dict[float, dict[float, int]]] = {}
        self._fx: dict[str, list[int]] = {}
        for column, factor in enumerate(market.factors):
            if factor.kind is FactorKind.FX and factor.currency is not None:
                self._fx.setdefault(factor.currency, []).append(column)
        if history_days >= market.dates.size:
            raise InputDataError(
                f"market: {history_days} daily moves need {history_days + 1} dates, "
                f"there are {market.dates.size}"
            )
        self._begin = market.dates.size - 1 - history_days

    @cached_property
    def today(self) -> Lookup:
        """The same look-up for a valuation at `as_of`."""
        if self.value_date == self.market.as_of:
            return self
        return Lookup(self.market, self.base_currency, self._history_days, functions=self.functions)

    def exchange_rate(self, currency: str) -> int:
        """Column of a currency's rate to the base currency; absent for the base currency itself."""
        if currency == self.base_currency:
            return ABSENT
        columns = self._fx.get(currency, [])
        if len(columns) != 1:
            raise UnpriceableError(
                f"{len(columns)} fx factors for currency {currency}, must be one; base currency is "
                f"{self.base_currency}"
            )
        return self.usable(columns[0])

    def factor(self, row: Mapping[str, Any], role: str, kinds: tuple[FactorKind, ...] | None) -> int:
        """Column of the factor that a row names in one of its columns."""
        return self.named(need(row, role), role, kinds)

    def named(self, name: str, role: str, kinds: tuple[FactorKind, ...] | None) -> int:
        """Column of a factor; `role` is what it is wanted for."""
        column = self._column_of.get(name)
        if column is None:
            raise UnpriceableError(f"missing {role}: unknown factor {name!r}")
        found = self.market.factors[column].kind
        if kinds is not None and found not in kinds:
            raise UnpriceableError(f"{role}: factor {name!r} is a {found}, expected {kinds[0]}")
        return self.usable(column)

    def optional(self, row: Mapping[str, Any], role: str, kind: FactorKind) -> int:
        """Column of a factor that a row may leave out."""
        return ABSENT if row[role] is None else self.factor(row, role, (kind,))

    def underlying(self, row: Mapping[str, Any]) -> tuple[int, int]:
        """Column of the underlying's factor, and of the rate that takes it to the instrument's currency.

        Exchange rates are in base currency per unit; an instrument in another currency sees a cross rate.
        """
        column = self.factor(row, "factor_id", SPOTS)
        factor = self.market.factors[column]
        if factor.kind is not FactorKind.FX:
            return column, ABSENT
        if factor.currency == row["currency"]:
            raise UnpriceableError(
                f"factor_id: {factor.factor_id!r} is the rate of {factor.currency}, "
                "the instrument's own currency"
            )
        return column, self.exchange_rate(row["currency"])

    def usable(self, column: int) -> int:
        """Make sure that a factor has a level, young enough, and the history that scenarios need."""
        factor, history = self.market.factors[column], self.market.levels[:, column]
        if not np.isfinite(history[-1]):
            raise UnpriceableError(f"factor {factor.factor_id!r} has no value at {self.market.as_of}")
        age = self.market.age_days[column]
        if factor.max_age_days is not None and age > factor.max_age_days:
            raise UnpriceableError(
                f"stale: factor {factor.factor_id!r} was {age} days old, at most {factor.max_age_days}"
            )
        if not factor.fixed and not np.isfinite(history[self._begin]):
            first = self.market.dates[np.argmax(np.isfinite(history))]
            raise UnpriceableError(
                f"factor {factor.factor_id!r} begins on {first}, "
                f"the scenarios need {self.market.dates[self._begin]}"
            )
        return column

    def point(self, row: Mapping[str, Any], role: str, years: float) -> Point:
        """Where one time falls on the curve that a row names."""
        curve = self._curve(need(row, role))
        left, right, weight = _around(curve.tenors_years, years)
        return int(curve.columns[left]), int(curve.columns[right]), weight

    def points(self, row: Mapping[str, Any], role: str, times: FloatArray) -> RatePoints:
        """Where many times fall on the curve that a row names."""
        curve = self._curve(need(row, role))
        return rate_points(curve.tenors_years, curve.columns, times)

    def vol(self, row: Mapping[str, Any], years: float) -> tuple[list[int], list[float]]:
        """Return columns and weights of an option's implied vol: one factor, or four points of a surface.

        The surface is sticky by strike: the option keeps its place on it, found from its strike over the
        spot at `as_of`, when the spot moves. It is linear in moneyness and in time, flat outside.
        """
        if row["surface"] is None:
            return [self.factor(row, "vol_factor", (FactorKind.IMPLIED_VOL,))] * 4, [1.0, 0.0, 0.0, 0.0]
        if row["vol_factor"] is not None:
            raise UnpriceableError("both vol_factor and surface are given")
        column, divisor = self.underlying(row)
        spot = self.market.base[column] / (1.0 if divisor == ABSENT else self.market.base[divisor])
        grid = self._surface(row["surface"])
        tenors = np.array(sorted(grid))
        left, right, late = _around(tenors, years)
        columns: list[int] = []
        weights: list[float] = []
        for tenor, share in ((tenors[left], 1.0 - late), (tenors[right], late)):
            smile = grid[float(tenor)]
            strikes = np.array(sorted(smile))
            low, high, upper = _around(strikes, positive(row, "strike") / spot)
            columns += [smile[float(strikes[low])], smile[float(strikes[high])]]
            weights += [share * (1.0 - upper), share * upper]
        return columns, weights

    def years(self, row: Mapping[str, Any], column: str) -> float:
        """Years from the value date to a date of the row; zero for one between `as_of` and that date."""
        day: dt.date = need(row, column)
        if day < self.market.as_of:
            raise UnpriceableError(f"expired on {day}")
        return max((day - self.value_date).days, 0) / _DAYS_PER_YEAR

    def _curve(self, name: str) -> Curve:
        if name not in self._curves:
            self._curves[name] = self.market.curve(name)
        curve = self._curves[name]
        if curve is None:
            raise UnpriceableError(f"missing curve {name!r}")
        for column in curve.columns:
            self.usable(int(column))
        return curve

    def _surface(self, name: str) -> dict[float, dict[float, int]]:
        """Columns of a surface by tenor and moneyness."""
        if name not in self._surfaces:
            self._surfaces[name] = self._collect_surface(name)
        return self._surfaces[name]

    def _collect_surface(self, name: str) -> dict[float, dict[float, int]]:
        grid: dict[float, dict[float, int]] = {}
        for column, factor in enumerate(self.market.factors):
            if factor.surface != name:
                continue
            if factor.kind is not FactorKind.IMPLIED_VOL:
                raise UnpriceableError(
                    f"surface {name!r}: factor {factor.factor_id!r} is a {factor.kind}, expected implied_vol"
                )
            if factor.moneyness is None or factor.tenor_years is None:
                raise UnpriceableError(
                    f"surface {name!r}: factor {factor.factor_id!r} needs moneyness and tenor_years"
                )
            smile = grid.setdefault(factor.tenor_years, {})
            if factor.moneyness in smile:
                raise UnpriceableError(
                    f"surface {name!r} has two points at moneyness {factor.moneyness:g}, "
                    f"{factor.tenor_years:g} years"
                )
            smile[factor.moneyness] = self.usable(column)
        if not grid:
            raise UnpriceableError(f"missing surface {name!r}")
        return grid


def need(row: Mapping[str, Any], column: str) -> Any:
    """Value of a column that this row must fill."""
    if row[column] is None:
        raise UnpriceableError(f"missing {column}")
    return row[column]


def positive(row: Mapping[str, Any], column: str) -> float:
    """Value of a column that must be a positive number."""
    value = float(need(row, column))
    if not (math.isfinite(value) and value > 0):
        raise UnpriceableError(f"{column} was {value}, must be positive")
    return value


def _around(grid: FloatArray, at: float) -> tuple[int, int, float]:
    """Points of an increasing grid around a place, and the weight of the right one; flat outside."""
    right = int(np.clip(np.searchsorted(grid, at), 0, grid.size - 1))
    left = max(right - 1, 0) if grid[right] > at else right
    gap = grid[right] - grid[left]
    weight = float((at - grid[left]) / gap) if gap > 0 else 0.0
    return left, right, max(weight, 0.0)
