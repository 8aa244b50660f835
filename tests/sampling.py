"""How often the costly experiments are repeated: a sample of each in `make test`, all of it in `make prove`.

What is asserted is the same either way: a bound that holds at every point holds for any sample of points, and
the slack of a frequency is computed from the repetitions that were made.
"""

from __future__ import annotations

import os

__all__ = ["sample"]


def sample(repetitions: int, *, of: int) -> int:
    """Return `repetitions`, or all `of` them where ``ACCELERAY_PROVE=full`` asks for the whole proof."""
    return of if os.environ.get("ACCELERAY_PROVE") == "full" else repetitions
