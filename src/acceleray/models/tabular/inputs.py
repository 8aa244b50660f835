"""What a family is given, checked before its library sees it: hyperparameters and rows."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Mapping

import numpy as np

from acceleray.errors import MissingDataError, SchemaError, UsageError
from acceleray.models.tabular.family import Choice, Range, Whole
from acceleray.models.tabular.signature import FloatArray, Rows, Signature

__all__ = ["check_classes", "check_rows", "check_values", "complete", "features_sha256"]


def complete(
    configuration: Mapping[str, float],
    *,
    family: str,
    space: Mapping[str, Range],
    defaults: Mapping[str, float],
) -> dict[str, float]:
    """Fill a configuration with defaults; whole numbers become ``int``.

    The ranges of a space are those of a search, not limits: a value outside them is allowed.

    Raises
    ------
    UsageError
        If a name is not known, or a value is not finite, not whole or not one of its choices.
    """
    unknown = sorted(set(configuration) - set(space))
    if unknown:
        raise UsageError(
            f"{family}: hyperparameter {unknown[0]!r} is not known; expected {', '.join(sorted(space))}"
        )
    filled: dict[str, float] = {}
    for name, kind in space.items():
        value = configuration.get(name, defaults[name])
        if not math.isfinite(value):
            raise UsageError(f"{family}: {name} was {value}; expected a finite number")
        if isinstance(kind, Choice) and value not in kind.options:
            raise UsageError(f"{family}: {name} was {value}; expected one of {kind.options}")
        if isinstance(kind, Whole):
            if value != int(value):
                raise UsageError(f"{family}: {name} was {value}; expected a whole number")
            value = int(value)
        filled[name] = value
    return filled


def check_values(values: FloatArray, signature: Signature) -> FloatArray:
    """Matrix of the inputs as float32, row by row in memory.

    Raises
    ------
    SchemaError
        If it has another number of columns than the signature.
    """
    if values.ndim != 2 or values.shape[1] != len(signature.features):
        raise SchemaError(
            f"The matrix was of shape {values.shape}; the model has {len(signature.features)} inputs"
        )
    return np.ascontiguousarray(values, dtype=np.float32)


def check_rows(rows: Rows, signature: Signature) -> None:
    """Check shapes, values and labels of rows to learn from.

    Raises
    ------
    SchemaError
        If the shapes do not fit, a value is infinite, or a label is neither 0 nor 1.
    """
    if rows.values.ndim != 2 or rows.values.shape != (rows.labels.size, len(signature.features)):
        raise SchemaError(
            f"Rows to learn from: {rows.values.shape} values and {rows.labels.size} labels for "
            f"{len(signature.features)} inputs"
        )
    # The largest and smallest value tell without a mask of the matrix's size; NaN is passed over.
    extremes = [bound.reduce(rows.values, axis=0, initial=np.float32(0.0)) for bound in (np.fmax, np.fmin)]
    infinite = np.isinf(extremes).any(axis=0)
    if infinite.any():
        raise SchemaError(f"Column {signature.names[int(np.argmax(infinite))]} has infinite values")
    wrong = ~((rows.labels == 0.0) | (rows.labels == 1.0))
    if wrong.any():
        first = int(np.flatnonzero(wrong)[0])
        raise SchemaError(
            f"Label {signature.label} was {rows.labels[first]} in row {first}, and neither 0 nor 1 in "
            f"{int(wrong.sum())} of {rows.labels.size} rows",
            hint="Leave rows without a label out of training.",
        )


def check_classes(n_rows: float, n_events: float, signature: Signature) -> None:
    """Check that there is something to learn; under peers the numbers are those of all ranks.

    Raises
    ------
    MissingDataError
        If there are no rows, or all labels are the same.
    """
    if n_rows == 0:
        raise MissingDataError("There were no rows to learn from")
    if n_events in (0, n_rows):
        only = int(n_events == n_rows)
        raise MissingDataError(
            f"Label {signature.label} was {only} in all {int(n_rows)} rows; a model needs both classes",
            hint="Choose a longer period or another fold.",
        )


def features_sha256(signature: Signature) -> str:
    """Hash of names, order and categories of the inputs; native files carry it."""
    fields = [[each.name, list(each.categories)] for each in signature.features]
    return hashlib.sha256(json.dumps(fields, separators=(",", ":")).encode()).hexdigest()
