"""Tables that stand in for QuantLib's American options, shared by all strikes of a box.

A table covers puts of strike one over a box of log-moneyness, total deviation, rate and yield (see
`acceleray.numerics.american`), so options of one expiry and type on the same curves share it whatever
their strikes, and options of other expiries too where the box allows. Building one is independent work.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from acceleray.errors import NumericalError
from acceleray.numerics.american import evaluate_puts, has_two_boundaries, reduce_to_puts
from acceleray.numerics.chebyshev import Chebyshev, fit, grid
from acceleray.numerics.pricing import european_prices
from acceleray.risk.quantlib_prices import put_prices
from acceleray.risk.tabulation import N_CHECKED, PriceFunction, Value, interpolant, reported_error, scattered

__all__ = ["AmericanTable", "build_american"]

FloatArray = npt.NDArray[np.float64]
BoolArray = npt.NDArray[np.bool_]

# A boundary this many deviations or more below the box is smoothly moved up to there, because one that
# falls to zero, as it does with the rate, is no polynomial, and nobody will ask for prices near it.
_FLOOR = 2.5
_SMOOTHING = 0.5
# Deviations above the boundary that can matter: beyond, the premium is some 1e-12 of the strike.
_MAX_SPAN = 7.0
_N_SPAN = 500
# The boundary stands where the time value is this share of the tolerance, below which it counts as none.
_LEVEL_SHARE = 0.15
_PREMIUM_SHARE = 0.8
# Nodes over deviation, rate and yield, and how exactly each is found, in deviations: a boundary that is off
# by d costs about rate * d**2.
_BOUNDARY_COUNTS = (8, 10, 8)
_ACCURACY = 0.002
# The rate is tabulated by its logarithm over so large a factor, below it by itself.
_RATE_RANGE = 30.0


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class AmericanTable:
    """American calls or puts of any strike over a box: arrays only, so that it can be pickled and shared.

    Parameters
    ----------
    is_call, on_future : bool
        What the options are.
    low, high : ndarray of shape (4,)
        Box of the puts they reduce to: log-moneyness, total deviation, rate and yield times years.
    boundary, premium : Chebyshev
        As `evaluate_puts` takes them.
    span, rate_unit : float
        Likewise.
    max_error : float
        Reported bound of the error inside the box in units of the strike: `SAFETY` times the largest
        difference from QuantLib on `n_checked` independent points, a third of them around the boundary.
    tolerance : float
        What was asked for, in units of the strike.
    n_checked, n_nodes : int
        Points where the error was measured, and nodes over all attempts; one of the boundary takes some 14
        prices.
    shortfall : str or None
        Why the tolerance was not reached. Such a table should not be used: where an interpolant has not
        converged, `max_error` is only what the sample showed.
    """

    is_call: bool
    on_future: bool
    low: FloatArray
    high: FloatArray
    boundary: Chebyshev
    premium: Chebyshev
    span: float
    rate_unit: float
    max_error: float
    tolerance: float
    n_checked: int
    n_nodes: int
    shortfall: str | None

    def value(
        self,
        spot: FloatArray,
        vol_annual: FloatArray,
        rate: FloatArray,
        dividend_yield: FloatArray,
        *,
        strike: float,
        years: float,
    ) -> Value:
        """Price one option on all scenarios: from the table, or by QuantLib outside of it.

        Parameters
        ----------
        spot, vol_annual, rate, dividend_yield : ndarray of shape (n_scenarios,)
            Of a future, its price; the yield is then the rate.
        strike, years : float
            Positive strike; at zero years the option is worth its intrinsic value.

        Returns
        -------
        Value
            Per unit; the bits of a scenario do not depend on the others.

        Raises
        ------
        NumericalError
            If a level is not finite or not positive where it must be, or QuantLib fails.
        """
        if years == 0.0:
            if not np.isfinite(spot).all():
                raise NumericalError("American option: spot was not finite")
            sign = 1.0 if self.is_call else -1.0
            return Value(prices=np.maximum(sign * (spot - strike), 0.0), n_exact=0)
        puts, scale = reduce_to_puts(
            spot, vol_annual, rate, dividend_yield, strike=strike, years=years, is_call=self.is_call
        )
        inside = self.within(puts)
        prices = np.empty(spot.size)
        prices[inside] = evaluate_puts(
            puts[:, inside],
            self.boundary,
            self.premium,
            span=self.span,
            rate_unit=self.rate_unit,
            on_future=self.on_future,
        )
        if not inside.all():
            prices[~inside] = put_prices(puts[:, ~inside])
        return Value(prices=scale * prices, n_exact=int((~inside).sum()))

    def within(self, puts: FloatArray) -> BoolArray:
        """Tell which scenarios the table covers: in the box, and not with two exercise boundaries.

        Parameters
        ----------
        puts : ndarray of shape (4, n_scenarios)
            From `reduce_to_puts`.
        """
        inside: BoolArray = np.all((puts >= self.low[:, None]) & (puts <= self.high[:, None]), axis=0)
        if self.on_future:
            inside &= puts[2] == puts[3]
        inside &= ~has_two_boundaries(puts)
        return inside


def build_american(
    low: Sequence[float],
    high: Sequence[float],
    *,
    years: float,
    is_call: bool,
    on_future: bool = False,
    tolerance: float = 1e-5,
    max_nodes: int = 20_000,
    seed: int,
) -> AmericanTable:
    """Build the table for all options of one type and expiry on the same factors.

    Parameters
    ----------
    low, high : sequence of 4 floats
        Smallest and largest ``log(spot / strike)`` over all strikes, vol, rate and dividend yield (or foreign
        rate); the last is not looked at on a future. Equal ends hold a factor fixed.
    years : float
        Time to expiry, positive.
    is_call, on_future : bool
        What the options are.
    tolerance : float
        Largest error wanted, in units of the strike.
    max_nodes : int
        QuantLib prices that one interpolant may need.
    seed : int
        Of the points where the error is measured.

    Returns
    -------
    AmericanTable
        With ``shortfall`` saying so if `max_nodes` did not suffice.

    Raises
    ------
    UsageError
        If QuantLib is not installed.
    NumericalError
        If the box is not one or QuantLib fails in it.

    Notes
    -----
    The value is smooth but for the exercise boundary, so the boundary is tabulated first, as the log of
    the spot where the time value reaches a small level, and the premium over the European price as a function
    of the distance from it. A rate that is not positive needs no premium, or has two boundaries and is left
    to QuantLib.
    """
    bottom, top = _put_box(low, high, years=years, is_call=is_call, on_future=on_future)
    # A call is the spot times a put, so an error of the put weighs spot / strike.
    unit = math.exp(-bottom[0]) if is_call else 1.0
    wanted = tolerance / unit
    # What the two interpolants miss adds up: when the sum is too much, both are made finer once.
    tables, points, error, n_nodes = None, np.empty((4, 0)), np.inf, 0
    for finer in (1, 2):
        made = _tables(bottom, top, on_future, wanted / finer, finer, max_nodes, seed)
        checked = _checked_points(bottom, top, made, on_future, seed)
        found = made.evaluate(checked, on_future)
        differences = np.abs(found - put_prices(checked))
        if is_call:
            differences *= np.exp(-checked[0])
        n_nodes += made.n_nodes
        if reported_error(differences) < error:
            tables, points, error = made, checked, reported_error(differences)
        if error <= tolerance:
            break
    if tables is None:
        raise NumericalError("American table: the error was not finite")
    shortfall = None
    if error > tolerance:
        shortfall = (
            f"American table could not reach {tolerance:.3g} of the strike with {max_nodes} nodes: error was "
            f"{error:.3g}"
        )
    return AmericanTable(
        is_call=is_call,
        on_future=on_future,
        low=bottom,
        high=top,
        boundary=tables.boundary,
        premium=tables.premium,
        span=tables.span,
        rate_unit=tables.rate_unit,
        max_error=error,
        tolerance=tolerance,
        n_checked=points.shape[1],
        n_nodes=n_nodes,
        shortfall=shortfall,
    )


def _put_box(
    low: Sequence[float], high: Sequence[float], *, years: float, is_call: bool, on_future: bool
) -> tuple[FloatArray, FloatArray]:
    if not years > 0.0:
        raise NumericalError(f"American table: expected positive years, was {years}")
    corners = []
    for moneyness, vol, rate, dividend in (low, high):
        spot = np.array([math.exp(moneyness)])
        puts, _ = reduce_to_puts(
            spot,
            np.array([vol]),
            np.array([rate]),
            np.array([rate if on_future else dividend]),
            strike=1.0,
            years=years,
            is_call=is_call,
        )
        puts[0] = -moneyness if is_call else moneyness
        corners.append(puts[:, 0])
    if not all(a <= b for a, b in zip(low, high, strict=True)):
        raise NumericalError(f"American table: expected low <= high, was {low} and {high}")
    return np.minimum(*corners), np.maximum(*corners)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _Tables:
    boundary: Chebyshev
    premium: Chebyshev
    span: float
    rate_unit: float
    n_nodes: int

    def evaluate(self, puts: FloatArray, on_future: bool) -> FloatArray:
        return evaluate_puts(
            puts,
            self.boundary,
            self.premium,
            span=self.span,
            rate_unit=self.rate_unit,
            on_future=on_future,
        )

    def state(self, puts: FloatArray, on_future: bool) -> FloatArray:
        """Return the coordinates of the boundary."""
        last = puts[3] - puts[2] if on_future else puts[3]
        return np.stack([puts[1], np.log1p(puts[2] / self.rate_unit), last])


def _tables(
    low: FloatArray,
    high: FloatArray,
    on_future: bool,
    tolerance: float,
    finer: int,
    max_nodes: int,
    seed: int,
) -> _Tables:
    """Tabulate the boundary and the premium where the rate is not negative."""
    first, last = low[1:].copy(), high[1:].copy()
    if on_future:
        first[2] = last[2] = 0.0
    first[1] = max(first[1], 0.0)
    if last[1] <= 0.0:
        last[2] = min(last[2], 0.0)
    if last[1] < 0.0 or (last[1] == 0.0 and first[2] >= 0.0):
        nothing = [fit(np.zeros(1), [np.zeros(2)] * n_dims, [1] * n_dims) for n_dims in (3, 4)]
        return _Tables(boundary=nothing[0], premium=nothing[1], span=_MAX_SPAN, rate_unit=1.0, n_nodes=0)
    rate_unit = max(last[1], tolerance) / _RATE_RANGE
    first[1], last[1] = np.log1p(first[1] / rate_unit), np.log1p(last[1] / rate_unit)

    def puts_at(moneyness: FloatArray, points: FloatArray) -> FloatArray:
        rate = rate_unit * np.expm1(points[1])
        return np.stack([moneyness, points[0], rate, rate + points[2] if on_future else points[2]])

    def boundary_at(points: FloatArray) -> FloatArray:
        def time_value(place: FloatArray) -> FloatArray:
            puts = puts_at(place * points[0], points)
            over: FloatArray = put_prices(puts) - (1.0 - np.exp(puts[0]))
            return over

        floor = low[0] / points[0] - _FLOOR
        place = _bisected(time_value, floor - 10.0 * _SMOOTHING, level=_LEVEL_SHARE * tolerance)
        smooth: FloatArray = floor + _SMOOTHING * np.logaddexp(0.0, (place - floor) / _SMOOTHING)
        return smooth

    # The premium is a function of the distance from the boundary, and would inherit every ripple of it: so
    # few nodes, and what they miss is part of the error that is measured in the end.
    counts = [
        1 if a == b else n + n * (finer - 1) // 2
        for a, b, n in zip(first, last, _BOUNDARY_COUNTS, strict=True)
    ]
    edges = [np.array(ends) for ends in zip(first, last, strict=True)]
    # Towards expiry the boundary goes to the smaller of 1 and rate / yield.
    kinks: list[list[float]] = [[], [], []]
    if first[1] == last[1] and not on_future:
        kinks[2] = [float(high[2])]
    elif first[2] == last[2] > 0.0:
        kinks[1] = [math.log1p(last[2] / rate_unit)]
    for axis in (1, 2):
        kinks[axis] = [kink for kink in kinks[axis] if first[axis] < kink < last[axis]]
        edges[axis] = np.array([first[axis], *kinks[axis], last[axis]])
    boundary = fit(boundary_at(grid(edges, counts)), edges, counts)
    spread = scattered(first, last, _N_SPAN, seed, 2)
    above = float((high[0] / spread[0] - boundary.evaluate(spread)).max())
    span = min(_MAX_SPAN, max(1.1 * above, 1.0))

    def premium_at(points: FloatArray) -> FloatArray:
        place = boundary.evaluate(points[1:]) + span * points[0]
        puts = puts_at(place * points[1], points[1:])
        one = np.ones(puts.shape[1])
        european = european_prices(np.exp(puts[0]), one, puts[2], puts[3], puts[1], one, one < 0.0)
        premium: FloatArray = put_prices(puts) - european
        return premium

    premium, _, n_premium = interpolant(
        premium_at,
        np.array([0.0, *first]),
        np.array([1.0, *last]),
        tolerance=_PREMIUM_SHARE * tolerance,
        max_nodes=max_nodes,
        seed=seed,
        breaks=[[], *kinks],
    )
    return _Tables(
        boundary=boundary,
        premium=premium,
        span=span,
        rate_unit=rate_unit,
        n_nodes=boundary.n_nodes + n_premium,
    )


def _bisected(function: PriceFunction, low: FloatArray, *, level: float) -> FloatArray:
    """Bisect increasing functions, one per element, for a level between `low` and 0, or the nearer end."""
    low, high = low.copy(), np.zeros(low.size)
    for _ in range(math.ceil(math.log2(max(float((high - low).max()) / _ACCURACY, 2.0)))):
        middle = 0.5 * (low + high)
        above = function(middle) >= level
        high = np.where(above, middle, high)
        low = np.where(above, low, middle)
    place: FloatArray = 0.5 * (low + high)
    return place


def _checked_points(
    low: FloatArray, high: FloatArray, tables: _Tables, on_future: bool, seed: int
) -> FloatArray:
    """Draw `N_CHECKED` independent points in the box and half as many around the exercise boundary."""
    points = scattered(low, high, 4 * N_CHECKED, seed, 3)
    if on_future:
        points[3] = points[2]
    points = points[:, ~has_two_boundaries(points)]
    if points.shape[1] < N_CHECKED:
        raise NumericalError(
            "American table: most of the box has two exercise boundaries (a yield below a negative rate)",
            hint="Such options are priced one by one.",
        )
    near = points[:, N_CHECKED : N_CHECKED + N_CHECKED // 2]
    near = near[:, near[2] > 0.0]
    if near.size:
        # The place in the box serves as the random number: distances spread over -1.5 to 1.5 deviations.
        width = max(high[0] - low[0], np.finfo(np.float64).tiny)
        distance = 3.0 * (near[0] - low[0]) / width - 1.5
        near[0] = (tables.boundary.evaluate(tables.state(near, on_future)) + distance) * near[1]
        near = near[:, (near[0] >= low[0]) & (near[0] <= high[0])]
    return np.concatenate([points[:, :N_CHECKED], near], axis=1)
