"""Values of cash flows on zero curves: one row per factor or instrument, one column per scenario.

Zero rates are continuously compounded fractions, linear between the tenors of a curve and flat outside; times
are years by ACT/365F.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import numpy.typing as npt

from acceleray.errors import NumericalError
from acceleray.numerics.aggregation import tree_sum

__all__ = ["RatePoints", "fixed_values", "floating_values", "rate_points"]

FloatArray = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class RatePoints:
    """Times, and where each falls on its curve.

    Parameters
    ----------
    times : ndarray of shape (n_times,)
        Years, not negative.
    left, right : ndarray of int64, shape (n_times,)
        Factors of the curve's points before and after; equal where the curve is flat.
    weight : ndarray of shape (n_times,)
        Weight of the right point, in [0, 1].
    """

    times: FloatArray
    left: IntArray
    right: IntArray
    weight: FloatArray

    def exponents(self, levels: FloatArray, part: slice) -> FloatArray:
        """Zero rate times time for some of the times: minus the log of the discount factor.

        Parameters
        ----------
        levels : ndarray of shape (n_factors, n_scenarios)
            Levels of all factors.
        part : slice
            Which times.

        Returns
        -------
        ndarray of shape (n_times of the part, n_scenarios)
        """
        weight = self.weight[part, None]
        rates = (1.0 - weight) * levels[self.left[part]] + weight * levels[self.right[part]]
        exponents: FloatArray = rates * self.times[part, None]
        return exponents

    def part(self, part: slice) -> RatePoints:
        """Take some of the times, without copying."""
        return RatePoints(
            times=self.times[part], left=self.left[part], right=self.right[part], weight=self.weight[part]
        )

    def columns(self) -> IntArray:
        """Factors that any of the times needs."""
        return np.concatenate([self.left, self.right])


def rate_points(tenors_years: FloatArray, columns: IntArray, times: FloatArray) -> RatePoints:
    """Place times on a curve.

    Parameters
    ----------
    tenors_years : ndarray of shape (n_tenors,)
        Tenors of the curve, increasing.
    columns : ndarray of int64, shape (n_tenors,)
        Factor of each tenor.
    times : ndarray of shape (n_times,)
        Years.

    Raises
    ------
    NumericalError
        If a time is not finite or negative.

    Examples
    --------
    >>> points = rate_points(np.array([1.0, 2.0]), np.array([7, 8]), np.array([0.5, 1.25, 3.0]))
    >>> points.left.tolist(), points.right.tolist(), points.weight.tolist()
    ([7, 7, 8], [7, 8, 8], [0.0, 0.25, 0.0])
    """
    times = np.asarray(times, dtype=np.float64)
    if not np.isfinite(times).all() or np.any(times < 0):
        raise NumericalError("rates: a time was negative or not finite")
    right = np.clip(np.searchsorted(tenors_years, times), 0, tenors_years.size - 1)
    left = np.where(tenors_years[right] > times, np.maximum(right - 1, 0), right)
    gap = tenors_years[right] - tenors_years[left]
    weight = np.where(gap > 0, (times - tenors_years[left]) / np.where(gap > 0, gap, 1.0), 0.0)
    return RatePoints(times=times, left=columns[left], right=columns[right], weight=weight)


def fixed_values(
    levels: FloatArray,
    *,
    pay: RatePoints,
    amounts: FloatArray,
    offsets: IntArray,
    discount_spreads: FloatArray | None = None,
) -> FloatArray:
    """Discount fixed amounts.

    Parameters
    ----------
    levels : ndarray of shape (n_factors, n_scenarios)
        Levels of all factors.
    pay : RatePoints
        Payments on their discount curves, one instrument after another.
    amounts : ndarray of shape (n_flows,)
        What is received; negative is paid.
    offsets : ndarray of int64, shape (n_instruments + 1,)
        Where each instrument's flows begin.
    discount_spreads : ndarray of shape (n_instruments, n_scenarios), optional
        Added to every zero rate of the instrument.

    Returns
    -------
    ndarray of shape (n_instruments, n_scenarios)

    Raises
    ------
    NumericalError
        If an input or a value is not finite.
    """
    _require_finite(pay=pay.times, amounts=amounts, discount_spreads=discount_spreads)
    values = np.empty((offsets.size - 1, levels.shape[1]))
    with np.errstate(over="ignore", invalid="ignore"):
        for instrument, part in enumerate(_parts(offsets)):
            discounts = _discounts(levels, pay, part, discount_spreads, instrument)
            values[instrument] = tree_sum(amounts[part, None] * discounts)
    return _finite(values)


def floating_values(
    levels: FloatArray,
    *,
    pay: RatePoints,
    start: RatePoints,
    end: RatePoints,
    accruals: FloatArray,
    notionals: FloatArray,
    spreads: FloatArray,
    fixed_rates: FloatArray,
    offsets: IntArray,
    discount_spreads: FloatArray | None = None,
) -> FloatArray:
    """Discount floating coupons that are projected from a curve of their own.

    Parameters
    ----------
    levels : ndarray of shape (n_factors, n_scenarios)
        Levels of all factors.
    pay : RatePoints
        Payments on the discount curves, one instrument after another.
    start, end : RatePoints
        Period of each coupon on its projection curve.
    accruals : ndarray of shape (n_flows,)
        Share of a year of each coupon.
    notionals : ndarray of shape (n_flows,)
        Negative if the coupon is paid.
    spreads : ndarray of shape (n_flows,)
        Added to the floating rate, a fraction a year.
    fixed_rates : ndarray of shape (n_flows,)
        Rate of a coupon that is fixed already; NaN projects it.
    offsets : ndarray of int64, shape (n_instruments + 1,)
        Where each instrument's coupons begin.
    discount_spreads : ndarray of shape (n_instruments, n_scenarios), optional
        Added to every zero rate of the instrument when discounting.

    Returns
    -------
    ndarray of shape (n_instruments, n_scenarios)

    Raises
    ------
    NumericalError
        If an input other than a missing fixing, or a value, is not finite.

    Notes
    -----
    The sum of D(pay) × notional × (P(start) / P(end) - 1 + spread × accrual), where D discounts and P
    projects; a fixed coupon has rate × accrual in place of P(start) / P(end) - 1.

    References
    ----------
    .. [1] Ametrano, Bianchetti (2013), Everything you always wanted to know about multiple interest rate
       curve bootstrapping but were afraid to ask, section 2.
    """
    _require_finite(
        pay=pay.times,
        start=start.times,
        end=end.times,
        accruals=accruals,
        notionals=notionals,
        spreads=spreads,
        fixed_rates=fixed_rates[~np.isnan(fixed_rates)],
        discount_spreads=discount_spreads,
    )
    values = np.empty((offsets.size - 1, levels.shape[1]))
    projected = np.isnan(fixed_rates)
    known = np.where(projected, 0.0, fixed_rates) + spreads
    with np.errstate(over="ignore", invalid="ignore"):
        for instrument, part in enumerate(_parts(offsets)):
            # expm1 keeps the digits of a small rate over a short period.
            growth = _finite(end.exponents(levels, part) - start.exponents(levels, part))
            forward = np.where(projected[part, None], np.expm1(growth), 0.0)
            coupons = notionals[part, None] * (forward + (known * accruals)[part, None])
            values[instrument] = tree_sum(
                coupons * _discounts(levels, pay, part, discount_spreads, instrument)
            )
    return _finite(values)


def _parts(offsets: IntArray) -> list[slice]:
    return [slice(begin, end) for begin, end in pairwise(offsets.tolist())]


def _discounts(
    levels: FloatArray, pay: RatePoints, part: slice, spreads: FloatArray | None, instrument: int
) -> FloatArray:
    exponents = pay.exponents(levels, part)
    if spreads is not None:
        exponents = exponents + spreads[instrument] * pay.times[part, None]
    # An infinite rate would discount to a finite zero.
    discounts: FloatArray = np.exp(-_finite(exponents))
    return discounts


def _finite(values: FloatArray) -> FloatArray:
    if not np.isfinite(values).all():
        raise NumericalError("rates: a level or a value was not finite")
    return values


def _require_finite(**inputs: FloatArray | None) -> None:
    for name, values in inputs.items():
        if values is not None and not np.isfinite(values).all():
            raise NumericalError(f"rates: {name} was not finite")
