"""The one way in which loops are compiled: at the first call, kept on disk where there is a place for it.

Numba keeps machine code in the folder that ``NUMBA_CACHE_DIR`` names, beside the source, or in the user's
cache folder, whichever can be written first. Where none can, as in a locked-down container, it would refuse
to import the module; then each process compiles for itself.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from numba import njit

__all__ = ["compiled", "compiled_checked"]


def compiled(function: Callable[..., Any]) -> Any:
    """Compile a loop in which division by zero makes an infinity or NaN, as in NumPy."""
    return _kept(function, error_model="numpy")


def compiled_checked(function: Callable[..., Any]) -> Any:
    """Compile a loop in which division by zero raises, as in Python."""
    return _kept(function, error_model="python")


def _kept(function: Callable[..., Any], *, error_model: str) -> Any:
    try:
        return njit(error_model=error_model, nogil=True, cache=True)(function)
    except RuntimeError as error:
        if "no locator available" not in str(error):
            raise
        return njit(error_model=error_model, nogil=True)(function)
