"""Checks of the row-wise kernels: cheap beside the work, and before any of it."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from acceleray.errors import NumericalError
from acceleray.numerics import vector_loops

__all__ = [
    "ABSENT",
    "RowRanges",
    "check_constants",
    "check_contracts",
    "check_growth",
    "check_matrices",
    "check_not_negative",
    "check_rows",
    "check_shape",
]

FloatArray = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]
BoolArray = npt.NDArray[np.bool_]

# The row of a quantity that is not there: its level is zero.
ABSENT = -1
# Growth beyond e^700 is not a discount factor. Decay stops at e^-690, which is as good as nothing.
LARGEST_EXPONENT = 700.0


class RowRanges:
    """The least and the greatest value of rows, each row read once however many ask for it."""

    def __init__(self, levels: FloatArray) -> None:
        self._levels = levels
        # One more for the row -1, which is absent and zero.
        self._low = np.zeros(levels.shape[0] + 1)
        self._high = np.zeros(levels.shape[0] + 1)
        self._known = np.zeros(levels.shape[0] + 1, dtype=bool)
        self._known[ABSENT] = True

    def of(self, rows: IntArray) -> tuple[FloatArray, FloatArray]:
        """Least and greatest value of each of `rows`; zeros for the row -1."""
        wanted = np.zeros_like(self._known)
        wanted[rows] = True
        new = np.flatnonzero(wanted & ~self._known)
        self._low[new], self._high[new] = vector_loops.row_ranges(self._levels, new)
        self._known[new] = True
        return self._low[rows], self._high[rows]

    def require_finite(self, what: str) -> None:
        """Raise NumericalError if a row asked for so far holds NaN or infinity."""
        bad = ~(np.isfinite(self._low) & np.isfinite(self._high))
        if bad.any():
            row = int(np.flatnonzero(bad)[0])
            column = int(np.flatnonzero(~np.isfinite(self._levels[row]))[0])
            raise NumericalError(
                f"{what}: row {row} was not finite in scenario {column} ({self._levels[row, column]})"
            )


def check_matrices(**arrays: FloatArray) -> None:
    """Raise ValueError unless every array is a C-contiguous matrix of float64."""
    for name, array in arrays.items():
        if array.ndim != 2 or array.dtype != np.float64 or not array.flags.c_contiguous:
            raise ValueError(
                f"{name} must be a C-contiguous matrix of float64, was {array.ndim}-dimensional {array.dtype}"
            )


def check_shape(name: str, array: FloatArray, shape: tuple[int, ...]) -> None:
    """Raise ValueError unless the array has this shape."""
    if array.shape != shape:
        raise ValueError(f"{name} must have the shape {shape}, was {array.shape}")


def check_rows(name: str, rows: IntArray, length: int, array: FloatArray, least: int = 0) -> None:
    """Raise ValueError unless `rows` are `length` row numbers of `array`, or not below `least`."""
    if rows.dtype != np.int64 or rows.shape != (length,):
        raise ValueError(f"{name} must be int64 of shape ({length},), was {rows.dtype} of {rows.shape}")
    # The loops do not check their indices.
    if length and not least <= rows.min() <= rows.max() < array.shape[0]:
        raise ValueError(f"{name} must lie in [{least}, {array.shape[0]}), was [{rows.min()}, {rows.max()}]")


def check_constants(name: str, values: FloatArray, length: int) -> None:
    """Raise ValueError unless there are `length` doubles, NumericalError unless all are finite."""
    if values.dtype != np.float64 or values.shape != (length,):
        raise ValueError(f"{name} must be float64 of shape ({length},), was {values.dtype} of {values.shape}")
    if not np.isfinite(values).all():
        raise NumericalError(f"{name} was not finite")


def check_contracts(strike: FloatArray, is_call: BoolArray) -> None:
    """Raise NumericalError unless every strike is positive, ValueError if `is_call` does not fit."""
    if is_call.dtype != np.bool_ or is_call.shape != strike.shape:
        raise ValueError(f"is_call must be bool of {strike.shape}, was {is_call.dtype} of {is_call.shape}")
    if (strike <= 0.0).any():
        raise NumericalError(f"European option: strike was not positive ({strike.min()})")


def check_not_negative(name: str, lows: FloatArray) -> None:
    """Raise NumericalError if the least value of an option's input is negative."""
    bad = np.flatnonzero(lows < 0.0)
    if bad.size:
        raise NumericalError(f"option {bad[0]}: {name} was negative ({lows[bad[0]]})")


def check_growth(name: str, lows: FloatArray, years: FloatArray) -> None:
    """Raise NumericalError if a discount factor at the least rate is too large to be one."""
    bad = np.flatnonzero(-lows * years > LARGEST_EXPONENT)
    if bad.size:
        raise NumericalError(
            f"{name} {lows[bad[0]]} over {years[bad[0]]} years is out of range (entry {bad[0]})"
        )
