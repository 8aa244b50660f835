"""Instruments grouped by the way they are priced: plain arrays, and prices under any factor levels.

Levels are factor-major here, shape (n_factors, n_scenarios), so that the inner loops run over scenarios.
Every family prices a range of its own rows: ``prices(levels, first, stop)`` has shape
``(stop - first, n_scenarios)``, in the instrument's own currency and before multiplier.

Workers import this module, so it needs nothing but NumPy, SciPy and our own kernels.
"""

from __future__ import annotations

from dataclasses import dataclass, fields

import numpy as np
import numpy.typing as npt

from acceleray.numerics.kernels import EuropeanOptions, european_values, flow_values
from acceleray.numerics.pricing import european_deltas, european_prices, forward_prices, zero_rates
from acceleray.numerics.rates import RatePoints, floating_values

__all__ = [
    "ABSENT",
    "Carry",
    "Cash",
    "ClosedForm",
    "CurvePoints",
    "FixedFlows",
    "FloatingFlows",
    "FxForwards",
    "Linear",
    "Options",
    "PlainOptions",
    "Underlyings",
    "Vols",
]

FloatArray = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]
BoolArray = npt.NDArray[np.bool_]

# A column that is not there.
ABSENT = -1


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class CurvePoints:
    """Where times fall on curves: columns of the points around each, and the weight of the right one."""

    left: IntArray
    right: IntArray
    weight: FloatArray

    def rates(self, levels: FloatArray, part: slice) -> FloatArray:
        """Zero rates, shape (n_times, n_scenarios)."""
        return zero_rates(levels, self.left[part], self.right[part], self.weight[part])

    def columns(self) -> IntArray:
        """Columns that any point needs."""
        return np.concatenate([self.left, self.right])


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Underlyings:
    """Level of an underlying in the instrument's currency.

    An exchange rate is quoted in base currency; seen from another currency it is divided by that one's.
    """

    factors: IntArray
    divisors: IntArray

    def levels(self, levels: FloatArray, part: slice) -> FloatArray:
        """Shape (n_instruments, n_scenarios)."""
        own, divisors = levels[self.factors[part]], self.divisors[part]
        cross = np.flatnonzero(divisors != ABSENT)
        own[cross] /= levels[divisors[cross]]
        return own

    def columns(self) -> IntArray:
        """Columns that any of them needs."""
        return np.concatenate([self.factors, self.divisors])


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Vols:
    """Implied vols: a weighted mean of up to four factors, plus a residual that meets a market price.

    Parameters
    ----------
    factors : ndarray of int64, shape (n_options, 4)
        Columns; points of no weight repeat another one.
    weights : ndarray of shape (n_options, 4)
        Adding up to one: bilinear between the points of a surface.
    residuals : ndarray of shape (n_options,)
        Added to every scenario's vol.
    """

    factors: IntArray
    weights: FloatArray
    residuals: FloatArray

    def levels(self, levels: FloatArray, part: slice) -> FloatArray:
        """Shape (n_options, n_scenarios)."""
        vols = self.weights[part, 0, None] * levels[self.factors[part, 0]]
        for point in range(1, self.factors.shape[1]):
            used = np.flatnonzero(self.weights[part, point])
            vols[used] += self.weights[part, point][used, None] * levels[self.factors[part, point][used]]
        # A residual below zero must not take a falling vol through zero.
        return np.maximum(vols + self.residuals[part, None], 0.0)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Cash:
    """Worth one unit of its currency."""

    count: int

    def prices(self, levels: FloatArray, first: int, stop: int) -> FloatArray:
        """Ones."""
        return np.ones((stop - first, levels.shape[1]))

    def columns(self) -> IntArray:
        """None."""
        return np.empty(0, dtype=np.int64)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Linear:
    """Priced by a factor's level: equities, indices, funds, futures on their own price.

    `scales` is one, or market price over level where an instrument moves with a factor that is not its own
    price.
    """

    underlyings: Underlyings
    scales: FloatArray

    @property
    def count(self) -> int:
        """Number of instruments."""
        return int(self.scales.size)

    def prices(self, levels: FloatArray, first: int, stop: int) -> FloatArray:
        """Level times scale."""
        part = slice(first, stop)
        return self.underlyings.levels(levels, part) * self.scales[part, None]

    def columns(self) -> IntArray:
        """Columns that any of them needs."""
        return self.underlyings.columns()


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Carry:
    """Futures priced from a spot by cost of carry: ``S exp((r - q) T)``."""

    underlyings: Underlyings
    years: FloatArray
    curve: CurvePoints
    dividends: IntArray

    @property
    def count(self) -> int:
        """Number of instruments."""
        return int(self.years.size)

    def prices(self, levels: FloatArray, first: int, stop: int) -> FloatArray:
        """Price of the future."""
        part = slice(first, stop)
        return forward_prices(
            self.underlyings.levels(levels, part),
            self.curve.rates(levels, part),
            levels_or_zero(levels, self.dividends[part]),
            self.years[part, None],
        )

    def columns(self) -> IntArray:
        """Columns that any of them needs."""
        return np.concatenate([self.underlyings.columns(), self.curve.columns(), self.dividends])


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class FxForwards:
    """One unit of foreign currency against `strikes` units of the instrument's: ``S Df(T) - K Dd(T)``."""

    underlyings: Underlyings
    strikes: FloatArray
    years: FloatArray
    domestic: CurvePoints
    foreign: CurvePoints

    @property
    def count(self) -> int:
        """Number of instruments."""
        return int(self.years.size)

    def prices(self, levels: FloatArray, first: int, stop: int) -> FloatArray:
        """Value of receiving the foreign currency and paying the strike."""
        part = slice(first, stop)
        years = self.years[part, None]
        received = self.underlyings.levels(levels, part) * np.exp(-self.foreign.rates(levels, part) * years)
        paid = self.strikes[part, None] * np.exp(-self.domestic.rates(levels, part) * years)
        return np.asarray(received - paid)

    def deltas(self, levels: FloatArray, first: int, stop: int) -> FloatArray:
        """Change of the value per unit of the exchange rate."""
        part = slice(first, stop)
        deltas: FloatArray = np.exp(-self.foreign.rates(levels, part) * self.years[part, None])
        return deltas

    def columns(self) -> IntArray:
        """Columns that any of them needs."""
        return np.concatenate([self.underlyings.columns(), self.domestic.columns(), self.foreign.columns()])


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class FixedFlows:
    """Fixed cash flows on a curve plus an optional spread: bonds, and the fixed part of floaters and swaps.

    Parameters
    ----------
    offsets : ndarray of int64, shape (n_bonds + 1,)
        Where each bond's flows begin.
    amounts, times : ndarray of shape (n_flows,)
        In the bond's currency, and years until each; a flow received since `as_of` has time zero.
    curve : CurvePoints
        Of every flow.
    spreads : ndarray of int64, shape (n_bonds,)
        Column of the spread, or -1.
    residuals : ndarray of shape (n_bonds,)
        Spread that meets a market price.
    """

    offsets: IntArray
    amounts: FloatArray
    times: FloatArray
    curve: CurvePoints
    spreads: IntArray
    residuals: FloatArray

    @property
    def count(self) -> int:
        """Number of instruments."""
        return int(self.spreads.size)

    def prices(self, levels: FloatArray, first: int, stop: int) -> FloatArray:
        """Value today of what is still to be paid: with accrued interest, which a quote leaves out."""
        flows = slice(int(self.offsets[first]), int(self.offsets[stop]))
        return flow_values(
            levels,
            self.curve.left[flows],
            self.curve.right[flows],
            self.curve.weight[flows],
            self.times[flows],
            self.amounts[flows],
            self.offsets[first : stop + 1] - flows.start,
            self.spreads[first:stop],
            self.residuals[first:stop],
            np.empty((stop - first, levels.shape[1])),
        )

    def discount_spreads(self, levels: FloatArray, first: int, stop: int) -> FloatArray:
        """Spread over the curve, with the residual, shape (stop - first, n_scenarios)."""
        return levels_or_zero(levels, self.spreads[first:stop]) + self.residuals[first:stop, None]

    def columns(self) -> IntArray:
        """Columns that any of them needs."""
        return np.concatenate([self.curve.columns(), self.spreads])


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class FloatingFlows:
    """Fixed flows and floating coupons: floaters and swaps.

    Parameters
    ----------
    fixed : FixedFlows
        Their fixed part, with the spread and residual that discount the floating part too.
    offsets : ndarray of int64, shape (n_instruments + 1,)
        Where each one's coupons begin.
    pay : RatePoints
        Of every coupon on its discount curve.
    start, end : RatePoints
        Period of every coupon on its projection curve.
    accruals, notionals, margins, fixed_rates : ndarray of shape (n_coupons,)
        As in `numerics.rates.floating_values`; NaN projects a rate.
    """

    fixed: FixedFlows
    offsets: IntArray
    pay: RatePoints
    start: RatePoints
    end: RatePoints
    accruals: FloatArray
    notionals: FloatArray
    margins: FloatArray
    fixed_rates: FloatArray

    @property
    def count(self) -> int:
        """Number of instruments."""
        return self.fixed.count

    def prices(self, levels: FloatArray, first: int, stop: int) -> FloatArray:
        """Value today of what is still to be paid."""
        coupons = slice(int(self.offsets[first]), int(self.offsets[stop]))
        floating = floating_values(
            levels,
            pay=self.pay.part(coupons),
            start=self.start.part(coupons),
            end=self.end.part(coupons),
            accruals=self.accruals[coupons],
            notionals=self.notionals[coupons],
            spreads=self.margins[coupons],
            fixed_rates=self.fixed_rates[coupons],
            offsets=self.offsets[first : stop + 1] - coupons.start,
            discount_spreads=self.fixed.discount_spreads(levels, first, stop),
        )
        return self.fixed.prices(levels, first, stop) + floating

    def columns(self) -> IntArray:
        """Columns that any of them needs."""
        points = (self.pay, self.start, self.end)
        return np.concatenate([self.fixed.columns(), *(each.columns() for each in points)])


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Options:
    """European options by Black and Scholes; on a spot with a yield or foreign rate, or on a future.

    Parameters
    ----------
    dividends : ndarray of int64, shape (n_options,)
        Column of the dividend yield, or -1.
    foreign : CurvePoints
        Curve of the foreign currency; where `has_foreign` is False it is not looked at.
    on_future : ndarray of bool, shape (n_options,)
        The underlying's level is the future's price: it has no drift (Black 1976).
    """

    underlyings: Underlyings
    strikes: FloatArray
    years: FloatArray
    is_call: BoolArray
    vols: Vols
    curve: CurvePoints
    dividends: IntArray
    foreign: CurvePoints
    has_foreign: BoolArray
    on_future: BoolArray

    @property
    def count(self) -> int:
        """Number of instruments."""
        return int(self.strikes.size)

    def prices(self, levels: FloatArray, first: int, stop: int) -> FloatArray:
        """Premium."""
        return european_prices(*self.inputs(levels, slice(first, stop)))

    def deltas(self, levels: FloatArray, first: int, stop: int) -> FloatArray:
        """Change of the premium per unit of the underlying."""
        return european_deltas(*self.inputs(levels, slice(first, stop)))

    def columns(self) -> IntArray:
        """Columns that any of them needs."""
        return np.concatenate(
            [
                self.underlyings.columns(),
                self.vols.factors.ravel(),
                self.curve.columns(),
                self.dividends,
                self.foreign.left[self.has_foreign],
                self.foreign.right[self.has_foreign],
            ]
        )

    def inputs(
        self, levels: FloatArray, part: slice
    ) -> tuple[FloatArray, FloatArray, FloatArray, FloatArray, FloatArray, FloatArray, BoolArray]:
        """Spot, strike, rate, yield, vol, years and type: a row per option, a column per scenario or one."""
        rates = self.curve.rates(levels, part)
        yields = levels_or_zero(levels, self.dividends[part])
        foreign, on_future = np.flatnonzero(self.has_foreign[part]), self.on_future[part]
        if foreign.size:
            yields[foreign] = self.foreign.rates(levels, part)[foreign]
        yields[on_future] = rates[on_future]
        return (
            self.underlyings.levels(levels, part),
            self.strikes[part, None],
            rates,
            yields,
            self.vols.levels(levels, part),
            self.years[part, None],
            self.is_call[part, None],
        )


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class PlainOptions:
    """European options that depend on single factors only: on a spot, one vol, a curve and perhaps a yield.

    The same prices as `options` up to rounding, several times as fast.

    Parameters
    ----------
    contracts : EuropeanOptions
        For the kernel.
    options : Options
        The same ones.
    """

    contracts: EuropeanOptions
    options: Options

    @property
    def count(self) -> int:
        """Number of instruments."""
        return self.options.count

    @property
    def underlyings(self) -> Underlyings:
        """What they are written on."""
        return self.options.underlyings

    def prices(self, levels: FloatArray, first: int, stop: int) -> FloatArray:
        """Premium."""
        part = {
            field.name: getattr(self.contracts, field.name)[first:stop] for field in fields(EuropeanOptions)
        }
        return european_values(levels, EuropeanOptions(**part), np.empty((stop - first, levels.shape[1])))

    def deltas(self, levels: FloatArray, first: int, stop: int) -> FloatArray:
        """Change of the premium per unit of the underlying."""
        return self.options.deltas(levels, first, stop)

    def columns(self) -> IntArray:
        """Columns that any of them needs."""
        return self.options.columns()


ClosedForm = Cash | Linear | Carry | FxForwards | FixedFlows | FloatingFlows | PlainOptions | Options


def levels_or_zero(levels: FloatArray, columns: IntArray) -> FloatArray:
    """Levels of columns that may be absent, shape (n_columns, n_scenarios)."""
    found: FloatArray = np.where((columns == ABSENT)[:, None], 0.0, levels[columns])
    return found
