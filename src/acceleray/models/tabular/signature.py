"""What a model expects of a row: names, kinds and categories, checked before the first row is scored."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from acceleray.errors import SchemaError

__all__ = ["Feature", "Rows", "Signature"]

FloatArray = npt.NDArray[np.float32]


@dataclass(frozen=True, slots=True, kw_only=True)
class Feature:
    """One input.

    Parameters
    ----------
    name : str
        Column.
    categories : tuple of str
        Values of a category, in the order of their codes; empty for a number.
    """

    name: str
    categories: tuple[str, ...] = ()

    @property
    def is_category(self) -> bool:
        """Whether the column holds names instead of numbers."""
        return bool(self.categories)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Rows:
    """Rows as a model sees them.

    Parameters
    ----------
    values : ndarray of float32, shape (n, n_features)
        Numbers, and codes of categories; NaN where a value is not known.
    labels : ndarray of float32, shape (n,)
        1.0 for an event, else 0.0.
    """

    values: FloatArray
    labels: FloatArray

    def take(self, chosen: npt.NDArray[Any]) -> Rows:
        """Rows under a mask or at positions."""
        return Rows(values=self.values[chosen], labels=self.labels[chosen])


@dataclass(frozen=True, slots=True, kw_only=True)
class Signature:
    """Inputs in their order, and the label.

    Parameters
    ----------
    features : tuple of Feature
        Each name once.
    label : str
        Column with two values, 0 and 1 or false and true.
    unseen : {'error', 'missing'}
        A category that the model was not trained on stops the batch, or counts as not known.
    """

    features: tuple[Feature, ...]
    label: str
    unseen: Literal["error", "missing"] = "error"

    @property
    def names(self) -> tuple[str, ...]:
        """Columns of the inputs."""
        return tuple(feature.name for feature in self.features)

    @classmethod
    def of(cls, table: pa.Table, *, label: str, features: Sequence[str] | None = None) -> Signature:
        """Describe the columns of a table; every column but the label if no features are named.

        Raises
        ------
        SchemaError
            If a column is missing, or neither a number, a truth value nor a name.
        """
        names = [name for name in table.column_names if name != label] if features is None else list(features)
        found = []
        for name in (*names, label):
            if name not in table.column_names:
                raise SchemaError(f"Column {name} is missing")
        for name in names:
            column = table[name]
            if _is_name(column.type):
                known = pc.unique(column.cast(pa.string())).drop_null().to_pylist()
                found.append(Feature(name=name, categories=tuple(sorted(known))))
            elif _is_number(column.type):
                found.append(Feature(name=name))
            else:
                raise SchemaError(f"Column {name} is of type {column.type}: neither a number nor a name")
        return cls(features=tuple(found), label=label)

    def encode(self, table: pa.Table | pa.RecordBatch) -> FloatArray:
        """Turn the columns of the inputs into a matrix, shape (n, n_features).

        Raises
        ------
        SchemaError
            If a column is missing or of another kind, a number is infinite, or a category is new and `unseen`
            says ``error``; with its name.
        """
        values = np.empty((table.num_rows, len(self.features)), dtype=np.float32)
        for position, feature in enumerate(self.features):
            values[:, position] = self._codes(table, feature)
        return values

    def rows(self, table: pa.Table | pa.RecordBatch) -> Rows:
        """Turn inputs and label into rows.

        Raises
        ------
        SchemaError
            As `encode`; also if a label is null or neither 0 nor 1.
        """
        if self.label not in table.schema.names:
            raise SchemaError(f"Label {self.label} is missing")
        column = table[self.label]
        if not _is_number(column.type):
            raise SchemaError(f"Label {self.label} is of type {column.type}: expected 0 and 1")
        labels = np.asarray(column.cast(pa.float32()).to_numpy(zero_copy_only=False), dtype=np.float32)
        wrong = ~((labels == 0.0) | (labels == 1.0))
        if column.null_count or wrong.any():
            raise SchemaError(
                f"Label {self.label}: {int(wrong.sum())} of {labels.size} values were neither 0 nor 1",
                hint="Leave rows without a label out of training.",
            )
        return Rows(values=self.encode(table), labels=labels)

    def to_dict(self) -> dict[str, Any]:
        """Fields for a manifest."""
        return {
            "features": [{"name": each.name, "categories": list(each.categories)} for each in self.features],
            "label": self.label,
            "unseen": self.unseen,
        }

    @classmethod
    def from_dict(cls, fields: Mapping[str, Any]) -> Signature:
        """Read what `to_dict` wrote."""
        features = tuple(
            Feature(name=each["name"], categories=tuple(each["categories"])) for each in fields["features"]
        )
        return cls(features=features, label=fields["label"], unseen=fields["unseen"])

    def _codes(self, table: pa.Table | pa.RecordBatch, feature: Feature) -> npt.NDArray[Any]:
        if feature.name not in table.schema.names:
            raise SchemaError(f"Column {feature.name} is missing", hint="The model was trained with it.")
        column = table[feature.name]
        if not feature.is_category:
            if not _is_number(column.type):
                raise SchemaError(f"Column {feature.name} is of type {column.type}; the model needs numbers")
            # Arrow's safe cast refuses whole numbers beyond 2^24, which float32 rounds like any other.
            numbers = column.cast(pa.float32(), safe=False).to_numpy(zero_copy_only=False)
            if np.isinf(numbers).any():
                raise SchemaError(f"Column {feature.name} has infinite values")
            return np.asarray(numbers)
        if not _is_name(column.type):
            raise SchemaError(f"Column {feature.name} is of type {column.type}; the model needs names")
        names = column.cast(pa.string())
        codes = pc.index_in(names, value_set=pa.array(feature.categories, pa.string()))
        new = pc.and_(pc.is_null(codes), pc.is_valid(names))
        if self.unseen == "error" and pc.any(new, min_count=0).as_py():
            example = names.filter(new)[0].as_py()
            raise SchemaError(
                f"Column {feature.name} has the category {example!r}, which the model has not seen",
                hint="Train again with it, or let the signature count new categories as missing.",
            )
        return np.asarray(codes.cast(pa.float32()).to_numpy(zero_copy_only=False))


def _is_number(kind: pa.DataType) -> bool:
    return bool(
        pa.types.is_floating(kind)
        or pa.types.is_integer(kind)
        or pa.types.is_boolean(kind)
        or pa.types.is_decimal(kind)
    )


def _is_name(kind: pa.DataType) -> bool:
    value = kind.value_type if pa.types.is_dictionary(kind) else kind
    return bool(pa.types.is_string(value) or pa.types.is_large_string(value))
