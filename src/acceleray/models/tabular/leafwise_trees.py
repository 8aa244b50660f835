"""The family ``lightgbm``: trees grown leaf by leaf, in LightGBM's own text."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from typing import Any
from urllib.parse import quote, unquote

import lightgbm
import numpy as np
import numpy.typing as npt
from lightgbm.basic import LightGBMError

from acceleray.errors import SchemaError, UsageError
from acceleray.models.tabular.family import Family, Peers, Range, Real, Whole
from acceleray.models.tabular.inputs import (
    check_classes,
    check_rows,
    check_values,
    complete,
    features_sha256,
)
from acceleray.models.tabular.signature import FloatArray, Rows, Signature

__all__ = ["FAMILY", "LeafwiseTrees", "LeafwiseTreesFamily", "LeafwiseTreesLearner"]

_SPACE: Mapping[str, Range] = {
    "num_leaves": Whole(low=4, high=128, log=True),
    "learning_rate": Real(low=0.01, high=0.3, log=True),
    "min_data_in_leaf": Whole(low=5, high=500, log=True),
    "lambda_l2": Real(low=0.001, high=100.0, log=True),
    "bagging_fraction": Real(low=0.5, high=1.0),
    "feature_fraction": Real(low=0.5, high=1.0),
}
# LightGBM's own, stated so that a release that changes them does not change our models.
_DEFAULTS: Mapping[str, float] = {
    "num_leaves": 31,
    "learning_rate": 0.1,
    "min_data_in_leaf": 20,
    "lambda_l2": 0.0,
    "bagging_fraction": 1.0,
    "feature_fraction": 1.0,
}

# LightGBM ends its text with the parameters: threads, ports and machines among them. What made the model is
# in the manifest, and the same model has to be the same bytes wherever it was trained.
_PARAMETERS = re.compile(r"\nparameters:\n.*?\nend of parameters\n", re.DOTALL)
_TRAILER = re.compile(rb"rounds:([0-9]+)\ninputs_sha256:([0-9a-f]{64})\ntext_sha256:([0-9a-f]{64})\n\Z")


class LeafwiseTrees:
    """A trained booster.

    Parameters
    ----------
    booster : lightgbm.Booster
        Trained on the inputs of `signature`.
    threads : int
        Used to predict; they change no bit.
    """

    def __init__(self, booster: Any, signature: Signature, threads: int = 1) -> None:
        self._booster = booster
        self._signature = signature
        self._threads = threads

    def predict(self, values: FloatArray) -> npt.NDArray[np.float64]:
        """Probability of the event per row, shape (n,); a row's does not depend on the rows beside it."""
        values = check_values(values, self._signature)
        if not len(values):
            return np.empty(0)
        return np.asarray(self._booster.predict(values, num_threads=self._threads))

    def contributions(self, values: FloatArray) -> npt.NDArray[np.float64]:
        """Exact SHAP values of the trees in log-odds, shape (n, n_features).

        Notes
        -----
        They sum to the margin less the bias (the mean margin over the training rows).
        """
        values = check_values(values, self._signature)
        if not len(values):
            return np.empty((0, len(self._signature.features)))
        shap = self._booster.predict(values, pred_contrib=True, num_threads=self._threads)
        return np.asarray(shap)[:, :-1]


class LeafwiseTreesLearner:
    """A booster that is being trained; a round in which no leaf can be split counts, and adds no tree."""

    def __init__(
        self,
        rows: Rows,
        signature: Signature,
        parameters: Mapping[str, Any],
        checkpoint: bytes | None,
    ) -> None:
        self._signature = signature
        self._parameters = dict(parameters)
        self._checkpoint = checkpoint
        self._data = lightgbm.Dataset(
            rows.values,
            label=rows.labels,
            feature_name=_names(signature),
            categorical_feature=[
                position for position, each in enumerate(signature.features) if each.is_category
            ],
            params=self._parameters,
        )
        # A checkpoint becomes part of the booster that trains only in the first round after it.
        self._training = checkpoint is None
        try:
            self._booster, self._rounds = (
                (lightgbm.Booster(self._parameters, self._data), 0)
                if checkpoint is None
                else _read(checkpoint, signature)
            )
        except LightGBMError as error:
            raise UsageError(f"lightgbm: {error}") from error

    @property
    def rounds(self) -> int:
        """Boosting rounds behind it."""
        return self._rounds

    def advance(self, rounds: int) -> None:
        """Grow some more trees."""
        for _ in range(rounds):
            try:
                self._grow()
            except LightGBMError as error:
                raise UsageError(f"lightgbm: {error}") from error
            self._rounds += 1

    def predict(self, values: FloatArray) -> npt.NDArray[np.float64]:
        """Probability of the event per row, shape (n,)."""
        threads = self._parameters["num_threads"]
        return LeafwiseTrees(self._booster, self._signature, threads).predict(values)

    def content(self) -> bytes:
        """LightGBM's text without its parameters; lines of ours tell rounds and hashes of inputs and text."""
        if not self._training and self._checkpoint is not None:
            return self._checkpoint
        text = _PARAMETERS.sub("\n", self._booster.model_to_string(num_iteration=-1))
        body = f"{text}rounds:{self._rounds}\ninputs_sha256:{features_sha256(self._signature)}\n".encode()
        return body + f"text_sha256:{hashlib.sha256(body).hexdigest()}\n".encode()

    def _grow(self) -> None:
        if self._training:
            self._seed(self._booster)
            self._booster.update()
            return

        def seed(environment: Any) -> None:
            self._seed(environment.model)

        seed.before_iteration = True  # type: ignore[attr-defined]  # how LightGBM tells its callbacks apart
        self._booster = lightgbm.train(
            self._parameters,
            self._data,
            num_boost_round=1,
            init_model=self._booster,
            keep_training_booster=True,
            callbacks=[seed],
        )
        self._training = True

    def _seed(self, booster: Any) -> None:
        # Random states live from round to round and are in no file. New ones per round, from its number, let
        # a break in training leave no trace.
        rows, columns = np.random.SeedSequence([self._parameters["seed"], self._rounds]).generate_state(2)
        fresh: dict[str, Any] = {"feature_fraction_seed": int(columns) >> 1}
        if self._parameters["bagging_freq"]:
            # LightGBM takes up a seed for the rows only with a share other than that of the round before.
            # Going through a share of 1 and back did not repeat.
            share = self._parameters["bagging_fraction"] * (1.0 - 1e-9 * (1 + self._rounds % 2))
            fresh |= {"bagging_fraction": share, "bagging_seed": int(rows) >> 1}
        booster.reset_parameter(fresh)


class LeafwiseTreesFamily:
    """LightGBM, deterministic."""

    name = "lightgbm"
    suffix = ".txt"

    @property
    def space(self) -> Mapping[str, Range]:
        """Hyperparameters, under LightGBM's names."""
        return _SPACE

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
    ) -> LeafwiseTreesLearner:
        """Begin to learn, or go on from a checkpoint of the same rows as if there had been no break.

        With peers, every rank calls this at about the same time with LightGBM's network parameters
        (``machines``, ``local_listen_port``, ``num_machines``) in `Peers.settings`. A rank may
        have one class only: whoever starts the ranks checks the labels of all.

        Raises
        ------
        UsageError
            If a hyperparameter is not known or out of LightGBM's bounds.
        SchemaError
            If rows or checkpoint do not fit the signature.
        MissingDataError
            If there are no rows, or all labels are the same.
        """
        filled = complete(configuration, family=self.name, space=_SPACE, defaults=_DEFAULTS)
        check_rows(rows, signature)
        parameters: dict[str, Any] = {
            **filled,
            "bagging_freq": 1 if filled["bagging_fraction"] < 1.0 else 0,
            "objective": "binary",
            "metric": "None",
            "max_bin": 255,
            "seed": seed,
            "deterministic": True,
            "force_row_wise": True,
            "num_threads": threads,
            "verbosity": -1,
        }
        if peers is None or peers.size == 1:
            check_classes(rows.labels.size, int(np.count_nonzero(rows.labels)), signature)
        else:
            parameters |= {"tree_learner": "data", "pre_partition": True, **peers.settings}
        return LeafwiseTreesLearner(rows, signature, parameters, checkpoint)

    def load(self, content: bytes, signature: Signature) -> LeafwiseTrees:
        """Read a booster's text.

        Raises
        ------
        SchemaError
            If it is no booster, was changed, or has inputs with other names, order, kinds or categories.
        """
        return LeafwiseTrees(_read(content, signature)[0], signature)


def _names(signature: Signature) -> list[str]:
    # LightGBM refuses some characters and replaces spaces.
    return [quote(name, safe="") for name in signature.names]


def _read(content: bytes, signature: Signature) -> tuple[Any, int]:
    trailer = _TRAILER.search(content)
    if trailer is None:
        raise SchemaError("The model file is not LightGBM's text as this family writes it")
    # LightGBM's reader trusts its text and may end the process over a damaged one.
    found = hashlib.sha256(content[: trailer.start(3) - len("text_sha256:")]).hexdigest()
    if found != trailer[3].decode():
        raise SchemaError(f"The model file was changed: SHA-256 of its text was {found}")
    try:
        booster = lightgbm.Booster(model_str=content.decode())
    except (LightGBMError, UnicodeDecodeError) as error:
        raise SchemaError(f"The model file is not LightGBM's text: {error}") from error
    names = booster.feature_name()
    if names != _names(signature):
        raise SchemaError(
            f"The model was trained on inputs {', '.join(map(unquote, names))}; "
            f"expected {', '.join(signature.names)}",
            hint="Names and order must be those of training.",
        )
    if trailer[2].decode() != features_sha256(signature):
        raise SchemaError(
            "The model was trained on inputs of the same names with other kinds or categories",
            hint="Load it with the signature it was trained with.",
        )
    return booster, int(trailer[1])


FAMILY: Family = LeafwiseTreesFamily()
