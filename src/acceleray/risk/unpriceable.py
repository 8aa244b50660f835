"""The error that becomes the recorded reason of a position that is left out."""

from __future__ import annotations

__all__ = ["UnpriceableError"]


class UnpriceableError(Exception):
    """Why an instrument cannot be priced."""
