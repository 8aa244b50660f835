"""Arrays that nobody may write to, as those of a shared object store are.

Numba compiles a loop anew for arrays that cannot be written to. What travels between processes is made
read-only where it is born, so that every process runs the same machine code, compiled once and kept.
"""

from __future__ import annotations

from dataclasses import fields
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt

__all__ = ["freeze_arrays", "read_only", "read_only_record"]

Scalar = TypeVar("Scalar", bound=np.generic)
Record = TypeVar("Record", bound=tuple[Any, ...])


def read_only(array: npt.NDArray[Scalar]) -> npt.NDArray[Scalar]:
    """Return a view that cannot be written to; the array itself stays as it is."""
    view = array.view()
    view.flags.writeable = False
    return view


def read_only_record(record: Record) -> Record:
    """Return a named tuple with read-only views in place of its arrays."""
    parts = (read_only(part) if isinstance(part, np.ndarray) else part for part in record)
    return type(record)(*parts)


def freeze_arrays(instance: Any) -> None:
    """Put read-only views in place of the arrays of a frozen dataclass that is being built."""
    for field in fields(instance):
        value = getattr(instance, field.name)
        if isinstance(value, np.ndarray):
            object.__setattr__(instance, field.name, read_only(value))
