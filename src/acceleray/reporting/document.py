"""Facts as the content of ``report.json``."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import math
from typing import Any

from acceleray.errors import NumericalError
from acceleray.reporting.facts import Facts

__all__ = ["facts_sha256", "to_json"]


def to_json(facts: Facts) -> dict[str, Any]:
    """Turn facts into JSON values.

    Raises
    ------
    NumericalError
        If a figure is NaN or infinite: the page never shows one.
    """
    plain = json.loads(json.dumps(dataclasses.asdict(facts), allow_nan=True))
    _refuse_nonfinite(plain, "")
    return {"format": 1, **plain}


def facts_sha256(document: dict[str, Any]) -> str:
    """Hash what the page states, without when and where it was made: equal nights have equal hashes."""
    stated = {key: value for key, value in document.items() if key != "run"}
    text = json.dumps(stated, sort_keys=True, separators=(",", ":"), allow_nan=False)
    return hashlib.sha256(text.encode()).hexdigest()


def _refuse_nonfinite(value: Any, pointer: str) -> None:
    if isinstance(value, float) and not math.isfinite(value):
        raise NumericalError(f"report fact {pointer}: expected a finite number, was {value}")
    if isinstance(value, dict):
        for key, inner in value.items():
            _refuse_nonfinite(inner, f"{pointer}/{key}")
    elif isinstance(value, list):
        for index, inner in enumerate(value):
            _refuse_nonfinite(inner, f"{pointer}/{index}")
