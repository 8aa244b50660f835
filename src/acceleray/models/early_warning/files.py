"""Model files: native JSON named by its SHA-256, checked before a byte of it is believed."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Protocol

import numpy as np
import numpy.typing as npt

from acceleray.errors import MissingDataError, SchemaError, StorageError
from acceleray.lake.files import write_atomic
from acceleray.models.early_warning.baseline import BaseRate, Logistic
from acceleray.models.early_warning.boosting import BoostedTrees

__all__ = ["Model", "load_model", "model_path", "parse_model", "read_checked", "save_model"]


class Model(Protocol):
    """What every family can do."""

    family: str

    def predict(self, values: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
        """Probability of a breach per row."""
        ...

    def contributions(self, values: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
        """Contribution of each input in log-odds."""
        ...


def model_path(lake: Path, sha256: str) -> Path:
    """Where a model lives."""
    return lake / "models" / "early-warning" / f"{sha256}.json"


def save_model(lake: Path, content: bytes) -> str:
    """Write a model file, flushed to disk, and return its SHA-256; the same content is written once.

    Raises
    ------
    StorageError
        If it cannot be written.
    """
    sha256 = hashlib.sha256(content).hexdigest()
    path = model_path(lake, sha256)
    if not path.exists() or hashlib.sha256(path.read_bytes()).hexdigest() != sha256:
        write_atomic(path, content)
    return sha256


def load_model(path: Path, sha256: str) -> Model:
    """Read a model file whose hash is on record. Nothing is unpickled.

    Raises
    ------
    MissingDataError, StorageError
        As `read_checked`.
    SchemaError
        If it is of no known family, or was trained on other inputs.
    """
    return parse_model(read_checked(path, sha256))


def read_checked(path: Path, sha256: str) -> bytes:
    """Read a model file and compare its hash with the record.

    Raises
    ------
    MissingDataError
        If the file is gone.
    StorageError
        If its content does not have the recorded hash.
    """
    try:
        content = path.read_bytes()
    except FileNotFoundError as error:
        raise MissingDataError(
            f"{path}: the model file is gone", hint="Restore it from a backup, or train again."
        ) from error
    found = hashlib.sha256(content).hexdigest()
    if found != sha256:
        raise StorageError(
            f"{path}: SHA-256 was {found}, the record says {sha256}",
            hint="The file was changed after training. Restore it, or train again.",
        )
    return content


def parse_model(content: bytes) -> Model:
    """Build the model from the bytes of its file."""
    try:
        fields = json.loads(content)
        family = "xgboost" if "learner" in fields else fields.get("family")
    except (UnicodeDecodeError, json.JSONDecodeError, TypeError, AttributeError) as error:
        raise SchemaError(f"The model file is not JSON of a known family: {error}") from error
    if family == "xgboost":
        return BoostedTrees(content)
    if family == "logistic":
        return Logistic.from_json(content)
    if family == "base_rate":
        return BaseRate.from_json(content)
    raise SchemaError(f"The model family was {family!r}; expected xgboost, logistic or base_rate")
