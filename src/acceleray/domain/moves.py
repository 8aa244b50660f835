"""How a factor's level becomes another one."""

from __future__ import annotations

from enum import IntEnum

__all__ = ["MoveKind"]


class MoveKind(IntEnum):
    """What the number of a move means; later level over, or less, the earlier one."""

    ABSOLUTE = 0
    """Difference of levels."""
    LOG = 1
    """Logarithm of their ratio: a level that starts positive stays positive."""
    RELATIVE = 2
    """Ratio less one, the simple return; at -1 and below it takes a level to zero and below."""
