"""Overnight portfolio risk and scoring: Spark for trusted data, Ray for fast decisions."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from acceleray.version import __version__ as __version__

if TYPE_CHECKING:
    from acceleray.api import *  # noqa: F403 - the surface is api.__all__


def __dir__() -> list[str]:
    return [*globals(), *importlib.import_module("acceleray.api").__all__]


def __getattr__(name: str) -> Any:
    # Importing acceleray costs nothing; the surface loads with its first use.
    api = importlib.import_module("acceleray.api")
    if name in api.__all__:
        return getattr(api, name)
    raise AttributeError(f"module 'acceleray' has no attribute {name!r}")
