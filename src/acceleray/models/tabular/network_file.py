"""The file of a network: weights, the scale of its inputs and the state of its training as safetensors."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from safetensors import SafetensorError
from safetensors.torch import load, save

from acceleray.errors import SchemaError
from acceleray.models.tabular.inputs import features_sha256
from acceleray.models.tabular.signature import FloatArray, Signature

__all__ = ["NetworkFile", "Scale", "Tensors", "read", "shapes", "widths", "write"]

# Standard deviations; what lies farther out is taken for this.
_FARTHEST = np.float32(10.0)

Tensors = dict[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Scale:
    """How rows become inputs of the first layer.

    A number gives its distance from the mean in standard deviations (0 if it is missing) and whether it is
    missing; a category one column per name and one for missing.
    """

    means: npt.NDArray[np.float32]
    deviations: npt.NDArray[np.float32]

    def encode(self, values: FloatArray, signature: Signature) -> FloatArray:
        """Make the inputs of the first layer, shape (n, n_columns)."""
        parts = []
        for position, feature in enumerate(signature.features):
            column = values[:, position]
            missing = np.isnan(column)
            if feature.is_category:
                n_names = len(feature.categories)
                codes = np.where(missing, np.float32(n_names), column).astype(np.intp)
                parts.append(np.eye(n_names + 1, dtype=np.float32)[codes])
            else:
                scaled = (column - self.means[position]) / self.deviations[position]
                scaled = np.clip(np.where(missing, np.float32(0.0), scaled), -_FARTHEST, _FARTHEST)
                parts.append(np.stack([scaled, missing.astype(np.float32)], axis=1))
        return np.concatenate(parts, axis=1)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class NetworkFile:
    """What the safetensors hold."""

    epochs: int
    steps: int
    weights: Tensors
    moments: Tensors
    """Running means of gradients, ``first.<weight>``, and of their squares, ``second.<weight>``."""
    scale: Scale
    centre: npt.NDArray[np.float32]


def widths(signature: Signature) -> list[int]:
    """Columns of the first layer that each input becomes."""
    return [len(each.categories) + 1 if each.is_category else 2 for each in signature.features]


def shapes(sizes: Sequence[int]) -> dict[str, tuple[int, ...]]:
    """Weights of a network by name, from the widths of its layers."""
    found: dict[str, tuple[int, ...]] = {}
    for layer, (n_in, n_out) in enumerate(pairwise(sizes)):
        found |= {f"weight.{layer}": (n_out, n_in), f"bias.{layer}": (n_out,)}
    return found


def write(file: NetworkFile, signature: Signature) -> bytes:
    """Bytes of the safetensors; the same content gives the same bytes."""
    facts = {
        "epochs": file.epochs,
        "steps": file.steps,
        "inputs": list(signature.names),
        "inputs_sha256": features_sha256(signature),
    }
    numbers = {"means": file.scale.means, "deviations": file.scale.deviations, "centre": file.centre}
    tensors = {name: torch.from_numpy(each) for name, each in numbers.items()}
    # One entry: safetensors does not promise an order of several.
    return bytes(save({**file.weights, **file.moments, **tensors}, {"acceleray": json.dumps(facts)}))


def read(content: bytes, signature: Signature) -> NetworkFile:
    """Read safetensors and check that they are a network of these inputs.

    Raises
    ------
    SchemaError
        If they are not.
    """
    try:
        state = load(content)
        # Eight bytes tell the length of a header in JSON; the library gives its own entries for files only.
        header = json.loads(content[8 : 8 + int.from_bytes(content[:8], "little")])
        facts = json.loads(header["__metadata__"]["acceleray"])
        epochs, steps = int(facts["epochs"]), int(facts["steps"])
        names, inputs = list(facts["inputs"]), facts["inputs_sha256"]
        means, deviations, centre = (state.pop(name).numpy() for name in ("means", "deviations", "centre"))
        n_columns, *n_hidden = (
            tensor.shape[1] for name, tensor in sorted(state.items()) if name.startswith("weight.")
        )
    except (SafetensorError, ValueError, KeyError, TypeError, IndexError) as error:
        raise SchemaError(f"The model file is not safetensors of a network: {error!r}") from error
    if names != list(signature.names):
        raise SchemaError(
            f"The model was trained on inputs {', '.join(names)}; expected {', '.join(signature.names)}",
            hint="Names and order must be those of training.",
        )
    if inputs != features_sha256(signature):
        raise SchemaError(
            "The model was trained on inputs of the same names with other kinds or categories",
            hint="Load it with the signature it was trained with.",
        )
    weights = {name: each for name, each in state.items() if name.startswith(("weight.", "bias."))}
    found = {name: tuple(tensor.shape) for name, tensor in weights.items()}
    if {
        f"{order}.{name}" for name in weights for order in ("first", "second")
    } != state.keys() - weights.keys():
        raise SchemaError("The model file lacks the state of its training, or holds something else")
    if n_columns != sum(widths(signature)) or found != shapes([n_columns, *n_hidden, 1]):
        raise SchemaError(f"The layers of the network do not fit together: {found}")
    if not all(bool(torch.isfinite(tensor).all()) for tensor in weights.values()):
        raise SchemaError("The network has weights that are no finite numbers")
    moments = {name: each for name, each in state.items() if name not in weights}
    scale = Scale(means=means, deviations=deviations)
    return NetworkFile(
        epochs=epochs, steps=steps, weights=weights, moments=moments, scale=scale, centre=centre
    )
