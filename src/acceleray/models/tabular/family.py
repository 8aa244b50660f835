"""What every model family can do: learn round by round, write its native file, predict, and explain."""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from acceleray.errors import EngineUnavailableError, UsageError
from acceleray.models.tabular.signature import FloatArray, Rows, Signature

__all__ = ["FAMILIES", "Choice", "Family", "Learner", "Model", "Peers", "Real", "Whole", "family"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Real:
    """A hyperparameter in a range of real numbers."""

    low: float
    high: float
    log: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Whole:
    """A hyperparameter in a range of whole numbers, both ends included."""

    low: int
    high: int
    log: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Choice:
    """A hyperparameter that is one of some numbers."""

    options: tuple[float, ...]


Range = Real | Whole | Choice


@dataclass(frozen=True, slots=True, kw_only=True)
class Peers:
    """The other ranks of a data-parallel training.

    Parameters
    ----------
    rank, size : int
        Own number, and how many ranks there are.
    settings : mapping
        What the family's own network needs, such as LightGBM's list of machines.
    """

    rank: int
    size: int
    settings: Mapping[str, Any] = field(default_factory=dict)


class Learner(Protocol):
    """A model that is being trained; one round is a boosting round or an epoch."""

    @property
    def rounds(self) -> int:
        """Rounds behind it, those of the checkpoint it began with included."""
        ...

    def advance(self, rounds: int) -> None:
        """Learn for some more rounds."""
        ...

    def predict(self, values: FloatArray) -> npt.NDArray[np.float64]:
        """Probability of the event per row with the model as it stands, shape (n,)."""
        ...

    def content(self) -> bytes:
        """Bytes of the native file; `Family.begin` goes on from them and `Family.load` reads them."""
        ...


class Model(Protocol):
    """A trained model."""

    def predict(self, values: FloatArray) -> npt.NDArray[np.float64]:
        """Probability of the event per row, shape (n,)."""
        ...

    def contributions(self, values: FloatArray) -> npt.NDArray[np.float64]:
        """Give what each input adds to the log-odds, shape (n, n_features); the family names the method."""
        ...


class Family(Protocol):
    """A kind of model."""

    name: str
    suffix: str
    """Of the native file, with its dot."""

    @property
    def space(self) -> Mapping[str, Range]:
        """Hyperparameters with the ranges that a search goes through unless told otherwise."""
        ...

    def begin(
        self,
        rows: Rows,
        signature: Signature,
        configuration: Mapping[str, float],
        *,
        seed: int,
        threads: int = 1,
        checkpoint: bytes | None = None,
        peers: Peers | None = None,
    ) -> Learner:
        """Begin to learn, or go on from a checkpoint as if there had been no break.

        Raises
        ------
        UsageError
            If the configuration names a hyperparameter that the family does not have.
        MissingDataError
            If there are no rows, or all labels are the same.
        """
        ...

    def load(self, content: bytes, signature: Signature) -> Model:
        """Read a native file. Nothing is unpickled.

        Raises
        ------
        SchemaError
            If the bytes are no such model, or one with other inputs.
        """
        ...


# Imported on use: each brings a library that costs a worker seconds.
FAMILIES: Mapping[str, str] = {
    "xgboost": "acceleray.models.tabular.boosted_trees",
    "lightgbm": "acceleray.models.tabular.leafwise_trees",
    "network": "acceleray.models.tabular.network",
}
_EXTRAS = {"xgboost": "night", "lightgbm": "night", "network": "torch"}


def family(name: str) -> Family:
    """Find a family by name.

    Raises
    ------
    UsageError
        If there is none of that name.
    EngineUnavailableError
        If its library is not installed.
    """
    if name not in FAMILIES:
        raise UsageError(f"Model family {name!r} is not known; expected {', '.join(FAMILIES)}")
    try:
        found: Family = importlib.import_module(FAMILIES[name]).FAMILY
    except ModuleNotFoundError as error:
        raise EngineUnavailableError(
            f"The library of the model family {name} is not installed",
            hint=f"pip install 'acceleray[{_EXTRAS[name]}]'",
        ) from error
    return found
