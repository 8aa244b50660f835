"""The family ``network``: a small feed-forward network in PyTorch, kept as safetensors."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
import torch.distributed
from safetensors import SafetensorError
from safetensors.torch import load, save
from torch.nn.functional import binary_cross_entropy_with_logits, linear, silu

from acceleray.errors import CalibrationError, SchemaError, UsageError
from acceleray.models.tabular.family import Family, Peers, Range, Real, Whole
from acceleray.models.tabular.inputs import (
    check_classes,
    check_rows,
    check_values,
    complete,
    features_sha256,
)
from acceleray.models.tabular.signature import FloatArray, Rows, Signature

__all__ = ["FAMILY", "Network", "NetworkFamily", "NetworkLearner"]

_SPACE: Mapping[str, Range] = {
    "n_layers": Whole(low=1, high=3),
    "n_hidden": Whole(low=16, high=256, log=True),
    "learning_rate": Real(low=1e-4, high=1e-2, log=True),
    "weight_decay": Real(low=1e-6, high=1e-1, log=True),
    "batch_size": Whole(low=128, high=4096, log=True),
}
_DEFAULTS: Mapping[str, float] = {
    "n_layers": 2,
    "n_hidden": 64,
    "learning_rate": 1e-3,
    "weight_decay": 1e-2,
    "batch_size": 1024,
}

# A row's sums are rounded alike only in products of one shape, so blocks are filled up to this many rows.
_BLOCK_ROWS = 1024
# Standard deviations; what lies farther out is taken for this.
_FARTHEST = np.float32(10.0)
# Gauss-Legendre nodes on the way from the mean row to a row.
_PATH_NODES = 32
# Purposes of random streams.
_START, _SHUFFLE = 0, 1
# AdamW's usual constants.
_FIRST_DECAY, _SECOND_DECAY, _SMALL = 0.9, 0.999, 1e-8

Tensors = dict[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _Scale:
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
class _File:
    """What the safetensors hold."""

    epochs: int
    steps: int
    weights: Tensors
    moments: Tensors
    """Running means of gradients, ``first.<weight>``, and of their squares, ``second.<weight>``."""
    scale: _Scale
    centre: npt.NDArray[np.float32]


class Network:
    """A trained network.

    Parameters
    ----------
    weights : mapping
        Tensors ``weight.<layer>`` (n_out, n_in) and ``bias.<layer>``, the last layer with one output.
    scale : _Scale
        Means and standard deviations of the training rows.
    centre : ndarray of shape (n_columns,)
        Mean input of the first layer over the training rows.
    """

    def __init__(
        self, weights: Tensors, scale: _Scale, centre: npt.NDArray[np.float32], signature: Signature
    ) -> None:
        self._weights = weights
        self._scale = scale
        self._centre = centre
        self._signature = signature

    def predict(self, values: FloatArray) -> npt.NDArray[np.float64]:
        """Probability of the event per row, shape (n,); computed on one thread in blocks of one shape."""
        values = check_values(values, self._signature)
        found = np.empty(len(values))
        with _one_thread(), torch.inference_mode():
            for first in range(0, len(values), _BLOCK_ROWS):
                block = self._scale.encode(values[first : first + _BLOCK_ROWS], self._signature)
                full = np.zeros((_BLOCK_ROWS, block.shape[1]), np.float32)
                full[: len(block)] = block
                odds = torch.sigmoid(_margins(self._weights, torch.from_numpy(full))).numpy()
                found[first : first + len(block)] = odds[: len(block)]
        return found

    def contributions(self, values: FloatArray) -> npt.NDArray[np.float64]:
        """Integrated gradients in log-odds from the mean training row to each row, shape (n, n_features).

        Notes
        -----
        An input gives its distance from the mean times the mean slope of the margin on the straight way
        between them; the columns of a category, or of a number and its gap, are summed. They sum to the
        margin less that of the mean row, up to the error of a Gauss-Legendre rule with 32 nodes in float64.

        References
        ----------
        .. [1] Sundararajan, Taly, Yan (2017), Axiomatic attribution for deep networks, ICML.
        """
        values = check_values(values, self._signature)
        nodes, shares = np.polynomial.legendre.leggauss(_PATH_NODES)
        weights = {name: tensor.double() for name, tensor in self._weights.items()}
        centre = torch.from_numpy(self._centre.astype(np.float64))
        widths = _widths(self._signature)
        starts = np.cumsum([0, *widths[:-1]])
        found = np.empty((len(values), len(widths)))
        with _one_thread():
            for first in range(0, len(values), _BLOCK_ROWS):
                block = self._scale.encode(values[first : first + _BLOCK_ROWS], self._signature)
                way = torch.from_numpy(block.astype(np.float64)) - centre
                slope = torch.zeros_like(way)
                for node, share in zip((nodes + 1.0) / 2.0, shares / 2.0, strict=True):
                    place = (centre + float(node) * way).requires_grad_()
                    (gradient,) = torch.autograd.grad(_margins(weights, place).sum(), place)
                    slope += float(share) * gradient
                found[first : first + len(block)] = np.add.reduceat((way * slope).numpy(), starts, axis=1)
        return found


class NetworkLearner:
    """A network that is being trained with AdamW; one round is an epoch.

    The order of rows in an epoch depends on seed, epoch and rank only. A step takes `batch_size` rows over
    all ranks and the average gradient over just those rows, also where ranks have unequal numbers of them
    (which is why this is not ``DistributedDataParallel``: it averages the averages of the ranks).
    """

    def __init__(
        self,
        rows: Rows,
        signature: Signature,
        configuration: Mapping[str, float],
        *,
        seed: int,
        checkpoint: bytes | None,
        peers: Peers,
    ) -> None:
        self._rows = rows
        self._signature = signature
        self._seed = seed
        self._peers = peers
        self._learning_rate = float(configuration["learning_rate"])
        self._weight_decay = float(configuration["weight_decay"])
        self._batch = -(-int(configuration["batch_size"]) // peers.size)
        self._n_steps = int(_over_ranks([-(-len(rows.labels) // self._batch)], peers, largest=True)[0])
        n_layers, n_hidden = int(configuration["n_layers"]), int(configuration["n_hidden"])
        sizes = [sum(_widths(signature)), *[n_hidden] * n_layers, 1]
        with _one_thread():
            if checkpoint is None:
                self._epochs, self._steps = 0, 0
                self._scale, self._centre, rate = _describe(rows, signature, peers)
                self._weights = _start(sizes, rate, seed)
                self._moments = {
                    f"{order}.{name}": torch.zeros_like(tensor)
                    for name, tensor in self._weights.items()
                    for order in ("first", "second")
                }
            else:
                file = _read(checkpoint, signature)
                self._epochs, self._steps = file.epochs, file.steps
                self._scale, self._centre = file.scale, file.centre
                self._weights, self._moments = file.weights, file.moments
                shapes = {name: tuple(tensor.shape) for name, tensor in self._weights.items()}
                if shapes != _shapes(sizes):
                    raise UsageError(
                        f"network: the checkpoint has other layers than n_layers {n_layers} and "
                        f"n_hidden {n_hidden}"
                    )
        for tensor in self._weights.values():
            tensor.requires_grad_()

    @property
    def rounds(self) -> int:
        """Epochs behind it."""
        return self._epochs

    def advance(self, rounds: int) -> None:
        """Learn for some more epochs.

        Raises
        ------
        CalibrationError
            If the weights ran away to infinity.
        """
        with _one_thread():
            for _ in range(rounds):
                self._epoch()
                self._epochs += 1
                if not all(bool(torch.isfinite(tensor).all()) for tensor in self._weights.values()):
                    raise CalibrationError(
                        f"network: the weights were infinite after epoch {self._epochs}",
                        hint="Lower learning_rate.",
                    )

    def predict(self, values: FloatArray) -> npt.NDArray[np.float64]:
        """Probability of the event per row, shape (n,)."""
        return Network(self._weights, self._scale, self._centre, self._signature).predict(values)

    def content(self) -> bytes:
        """Weights, scale and the optimiser's moments as safetensors."""
        return _write(
            _File(
                epochs=self._epochs,
                steps=self._steps,
                weights={name: tensor.detach() for name, tensor in self._weights.items()},
                moments=self._moments,
                scale=self._scale,
                centre=self._centre,
            ),
            self._signature,
        )

    def _epoch(self) -> None:
        random = np.random.default_rng([self._seed, _SHUFFLE, self._epochs, self._peers.rank])
        order = random.permutation(np.arange(len(self._rows.labels), dtype=np.int32))
        for step in range(self._n_steps):
            chosen = order[step * self._batch : (step + 1) * self._batch]
            inputs = torch.from_numpy(self._scale.encode(self._rows.values[chosen], self._signature))
            labels = torch.from_numpy(self._rows.labels[chosen])
            loss = binary_cross_entropy_with_logits(_margins(self._weights, inputs), labels, reduction="sum")
            gradients = torch.autograd.grad(loss, list(self._weights.values()))
            self._step(self._over_ranks(gradients, len(chosen)))

    def _over_ranks(self, gradients: Sequence[Any], n_rows: int) -> list[Any]:
        """Average gradient over the rows of all ranks in this step."""
        flat = torch.cat([*(each.ravel() for each in gradients), torch.tensor([float(n_rows)])])
        if self._peers.size > 1:
            torch.distributed.all_reduce(flat)
        parts = (flat[:-1] / flat[-1]).split([each.numel() for each in gradients])
        return [part.view_as(each) for part, each in zip(parts, gradients, strict=True)]

    def _step(self, gradients: Sequence[Any]) -> None:
        """Move the weights as AdamW does (Loshchilov, Hutter, 2019).

        PyTorch's own class imports a compiler first, which costs every worker seconds.
        """
        self._steps += 1
        with torch.no_grad():
            for (name, weight), gradient in zip(self._weights.items(), gradients, strict=True):
                first, second = self._moments[f"first.{name}"], self._moments[f"second.{name}"]
                first.lerp_(gradient, 1.0 - _FIRST_DECAY)
                second.mul_(_SECOND_DECAY).addcmul_(gradient, gradient, value=1.0 - _SECOND_DECAY)
                spread = (second / (1.0 - _SECOND_DECAY**self._steps)).sqrt_().add_(_SMALL)
                weight.mul_(1.0 - self._learning_rate * self._weight_decay)
                weight.sub_(first / spread * (self._learning_rate / (1.0 - _FIRST_DECAY**self._steps)))


class NetworkFamily:
    """Feed-forward network with one to three hidden layers."""

    name = "network"
    suffix = ".safetensors"

    @property
    def space(self) -> Mapping[str, Range]:
        """Hyperparameters; `batch_size` is in rows per step over all ranks."""
        return _SPACE

    def begin(
        self,
        rows: Rows,
        signature: Signature,
        configuration: Mapping[str, float],
        *,
        seed: int,
        threads: int = 1,  # noqa: ARG002  # of the contract; always one, or the file would depend on it
        checkpoint: bytes | None = None,
        peers: Peers | None = None,
    ) -> NetworkLearner:
        """Begin to learn, or go on from a checkpoint of the same rows as if there had been no break.

        With peers, every rank calls this after ``torch.distributed`` was set up (gloo), which Ray's
        ``TorchTrainer`` does. Whatever `threads` says, one is used.

        Raises
        ------
        UsageError
            If a hyperparameter is not known or out of bounds, or the checkpoint has other layers.
        SchemaError
            If rows or checkpoint do not fit the signature.
        MissingDataError
            If there are no rows, or all labels are the same, over all ranks.
        """
        filled = complete(configuration, family=self.name, space=_SPACE, defaults=_DEFAULTS)
        for name, value in filled.items():
            if value < 0.0 or (value == 0.0 and name != "weight_decay"):
                raise UsageError(f"network: {name} was {value}; expected a positive number")
        check_rows(rows, signature)
        peers = peers or Peers(rank=0, size=1)
        counts = _over_ranks([rows.labels.size, int(np.count_nonzero(rows.labels))], peers)
        check_classes(counts[0], counts[1], signature)
        return NetworkLearner(rows, signature, filled, seed=seed, checkpoint=checkpoint, peers=peers)

    def load(self, content: bytes, signature: Signature) -> Network:
        """Read safetensors.

        Raises
        ------
        SchemaError
            If it is no network, or one of inputs with other names, order, kinds or categories.
        """
        file = _read(content, signature)
        return Network(file.weights, file.scale, file.centre, signature)


def _widths(signature: Signature) -> list[int]:
    return [len(each.categories) + 1 if each.is_category else 2 for each in signature.features]


def _shapes(sizes: Sequence[int]) -> dict[str, tuple[int, ...]]:
    shapes: dict[str, tuple[int, ...]] = {}
    for layer, (n_in, n_out) in enumerate(pairwise(sizes)):
        shapes |= {f"weight.{layer}": (n_out, n_in), f"bias.{layer}": (n_out,)}
    return shapes


def _start(sizes: Sequence[int], rate: float, seed: int) -> Tensors:
    random = np.random.default_rng([seed, _START])
    weights: Tensors = {}
    for name, shape in _shapes(sizes).items():
        drawn = np.zeros(shape)
        if name.startswith("weight."):
            # Keeps the spread of values from layer to layer (He et al., 2015).
            bound = np.sqrt(6.0 / shape[1])
            drawn = random.uniform(-bound, bound, shape)
        weights[name] = torch.from_numpy(drawn.astype(np.float32))
    # A network that knows nothing says the base rate: the first epochs need not learn it.
    last = len(sizes) - 2
    weights[f"weight.{last}"] *= 0.1
    weights[f"bias.{last}"] += float(np.log(rate / (1.0 - rate)))
    return weights


def _margins(weights: Tensors, inputs: Any) -> Any:
    last = len(weights) // 2 - 1
    for layer in range(last):
        inputs = silu(linear(inputs, weights[f"weight.{layer}"], weights[f"bias.{layer}"]))
    return linear(inputs, weights[f"weight.{last}"], weights[f"bias.{last}"]).squeeze(1)


def _describe(
    rows: Rows, signature: Signature, peers: Peers
) -> tuple[_Scale, npt.NDArray[np.float32], float]:
    """Scale, mean input of the first layer and share of events over the rows of all ranks."""
    n_features = len(signature.features)
    count, total = np.zeros(n_features), np.zeros(n_features)
    for block in _blocks(rows.values):
        count += (~np.isnan(block)).sum(axis=0)
        total += np.nansum(block, axis=0, dtype=np.float64)
    count, total = np.split(_over_ranks([*count, *total], peers), 2)
    # A column without a value is 0 wherever it is read.
    count = np.maximum(count, 1.0)
    means = total / count
    squares = np.zeros(n_features)
    for block in _blocks(rows.values):
        squares += np.nansum((block - means) ** 2, axis=0)
    deviations = np.sqrt(_over_ranks(squares, peers) / count)
    scale = _Scale(
        means=means.astype(np.float32),
        deviations=np.where(deviations > 0.0, deviations, 1.0).astype(np.float32),
    )
    centre = np.zeros(sum(_widths(signature)))
    for block in _blocks(rows.values):
        centre += scale.encode(block, signature).sum(axis=0, dtype=np.float64)
    n_rows, n_events, *centre_sum = _over_ranks(
        [rows.labels.size, int(np.count_nonzero(rows.labels)), *centre], peers
    )
    return scale, (np.array(centre_sum) / n_rows).astype(np.float32), float(n_events / n_rows)


def _blocks(values: FloatArray) -> Iterator[FloatArray]:
    for first in range(0, len(values), 65_536):
        yield values[first : first + 65_536]


def _over_ranks(
    numbers: Sequence[float] | npt.NDArray[Any], peers: Peers, *, largest: bool = False
) -> npt.NDArray[np.float64]:
    """Sum, or largest, of each number over the ranks."""
    own = np.array(numbers, dtype=np.float64)
    if peers.size > 1:
        operation = torch.distributed.ReduceOp.MAX if largest else torch.distributed.ReduceOp.SUM
        torch.distributed.all_reduce(torch.from_numpy(own), operation)
    return own


def _write(file: _File, signature: Signature) -> bytes:
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


def _read(content: bytes, signature: Signature) -> _File:
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
    if n_columns != sum(_widths(signature)) or found != _shapes([n_columns, *n_hidden, 1]):
        raise SchemaError(f"The layers of the network do not fit together: {found}")
    if not all(bool(torch.isfinite(tensor).all()) for tensor in weights.values()):
        raise SchemaError("The network has weights that are no finite numbers")
    moments = {name: each for name, each in state.items() if name not in weights}
    scale = _Scale(means=means, deviations=deviations)
    return _File(epochs=epochs, steps=steps, weights=weights, moments=moments, scale=scale, centre=centre)


@contextmanager
def _one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


FAMILY: Family = NetworkFamily()
