"""Overnight portfolio risk and scoring: Spark for trusted data, Ray for fast decisions."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from acceleray.api import *  # noqa: F403 - the surface is api.__all__

__version__ = "0.1.0"


def __getattr__(name: str) -> Any:
    # Importing acceleray costs nothing; the surface loads with its first use.
    api = importlib.import_module("acceleray.api")
    if name in api.__all__:
        return getattr(api, name)
    raise AttributeError(f"module 'acceleray' has no attribute {name!r}")
