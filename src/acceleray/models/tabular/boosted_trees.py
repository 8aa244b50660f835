"""The family ``xgboost``: trees grown level by level on histograms, in XGBoost's own JSON."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt
import xgboost
from xgboost.core import XGBoostError

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

__all__ = ["FAMILY", "BoostedTrees", "BoostedTreesFamily", "BoostedTreesLearner"]

_INPUTS = "inputs_sha256"

_SPACE: Mapping[str, Range] = {
    "max_depth": Whole(low=2, high=8),
    "learning_rate": Real(low=0.01, high=0.3, log=True),
    "min_child_weight": Real(low=1.0, high=100.0, log=True),
    "reg_lambda": Real(low=0.1, high=100.0, log=True),
    "subsample": Real(low=0.5, high=1.0),
    "colsample_bytree": Real(low=0.5, high=1.0),
}
# XGBoost's own, stated so that a release that changes them does not change our models.
_DEFAULTS: Mapping[str, float] = {
    "max_depth": 6,
    "learning_rate": 0.3,
    "min_child_weight": 1.0,
    "reg_lambda": 1.0,
    "subsample": 1.0,
    "colsample_bytree": 1.0,
}


class BoostedTrees:
    """A trained booster.

    Parameters
    ----------
    booster : xgboost.Booster
        Trained on the inputs of `signature`.
    """

    def __init__(self, booster: Any, signature: Signature) -> None:
        self._booster = booster
        self._signature = signature

    def predict(self, values: FloatArray) -> npt.NDArray[np.float64]:
        """Probability of the event per row, shape (n,); a row's does not depend on the rows beside it."""
        values = check_values(values, self._signature)
        if not len(values):
            return np.empty(0)
        return np.asarray(self._booster.inplace_predict(values), dtype=np.float64)

    def contributions(self, values: FloatArray) -> npt.NDArray[np.float64]:
        """Exact SHAP values of the trees in log-odds, shape (n, n_features).

        Notes
        -----
        They sum to the margin less the bias (the mean margin over the training rows), within float32.
        """
        values = check_values(values, self._signature)
        if not len(values):
            return np.empty((0, len(self._signature.features)))
        shap = self._booster.predict(_plain_matrix(values, self._signature), pred_contribs=True)
        return np.asarray(shap[:, :-1], dtype=np.float64)


class BoostedTreesLearner:
    """A booster that is being trained."""

    def __init__(
        self,
        rows: Rows,
        signature: Signature,
        parameters: Mapping[str, Any],
        checkpoint: bytes | None,
    ) -> None:
        self._signature = signature
        self._judged: tuple[FloatArray, Any] | None = None
        try:
            # One byte per value instead of eight, and the same trees.
            self._matrix = xgboost.QuantileDMatrix(
                rows.values, label=rows.labels, nthread=parameters["nthread"], **_columns(signature)
            )
            self._booster = xgboost.Booster(dict(parameters), [self._matrix])
        except (XGBoostError, ValueError) as error:
            raise _translated(error) from error
        if checkpoint is None:
            self._booster.set_attr(**{_INPUTS: features_sha256(signature)})
        else:
            _read(self._booster, checkpoint, signature)
            self._booster.set_param(dict(parameters))
        try:
            self._state = self._booster.save_config()
        except XGBoostError as error:
            raise _translated(error) from error

    @property
    def rounds(self) -> int:
        """Boosting rounds behind it."""
        return int(self._booster.num_boosted_rounds())

    def advance(self, rounds: int) -> None:
        """Grow some more trees."""
        for _ in range(rounds):
            # The sampler of columns lives from round to round and is in no file. A new one per round, seeded
            # from the round's number, makes a break in training leave no trace.
            self._booster.load_config(self._state)
            self._booster.update(self._matrix, self.rounds)

    def predict(self, values: FloatArray) -> npt.NDArray[np.float64]:
        """Probability of the event per row, shape (n,).

        Read-only values (as from Ray's object store) are kept with their margins: asking again after a
        round costs one tree.
        """
        if values.flags.writeable or not len(values):
            return BoostedTrees(self._booster, self._signature).predict(values)
        if self._judged is None or self._judged[0] is not values:
            matrix = _plain_matrix(check_values(values, self._signature), self._signature)
            self._judged = (values, matrix)
        return np.asarray(self._booster.predict(self._judged[1]), dtype=np.float64)

    def content(self) -> bytes:
        """XGBoost's JSON: its reader refuses a damaged text, where damaged UBJSON ends the process."""
        return bytes(self._booster.save_raw("json"))


class BoostedTreesFamily:
    """XGBoost on histograms."""

    name = "xgboost"
    suffix = ".json"

    @property
    def space(self) -> Mapping[str, Range]:
        """Hyperparameters, under XGBoost's names."""
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
    ) -> BoostedTreesLearner:
        """Begin to learn, or go on from a checkpoint of the same rows as if there had been no break.

        With peers, every rank calls this inside XGBoost's collective, which Ray's ``XGBoostTrainer`` sets up.

        Raises
        ------
        UsageError
            If a hyperparameter is not known or out of XGBoost's bounds.
        SchemaError
            If rows or checkpoint do not fit the signature.
        MissingDataError
            If there are no rows, or all labels are the same, over all ranks.
        """
        filled = complete(configuration, family=self.name, space=_SPACE, defaults=_DEFAULTS)
        check_rows(rows, signature)
        counts = np.array([rows.labels.size, np.count_nonzero(rows.labels)], dtype=np.float64)
        if peers is not None and peers.size > 1:
            counts = xgboost.collective.allreduce(counts, xgboost.collective.Op.SUM)
        check_classes(counts[0], counts[1], signature)
        parameters = {
            **filled,
            "objective": "binary:logistic",
            "tree_method": "hist",
            "max_bin": 256,
            "nthread": threads,
            "seed": seed,
            "seed_per_iteration": True,
            "verbosity": 0,
        }
        return BoostedTreesLearner(rows, signature, parameters, checkpoint)

    def load(self, content: bytes, signature: Signature) -> BoostedTrees:
        """Read a booster's JSON.

        Raises
        ------
        SchemaError
            If it is no booster, or one of inputs with other names, order, kinds or categories.
        """
        booster = xgboost.Booster({"nthread": 1})
        _read(booster, content, signature)
        return BoostedTrees(booster, signature)


def _columns(signature: Signature) -> dict[str, Any]:
    return {
        "feature_names": list(signature.names),
        "feature_types": ["c" if each.is_category else "q" for each in signature.features],
        "enable_categorical": True,
    }


def _plain_matrix(values: FloatArray, signature: Signature) -> Any:
    return xgboost.DMatrix(values, nthread=1, **_columns(signature))


def _read(booster: Any, content: bytes, signature: Signature) -> None:
    try:
        if not content.startswith(b'{"'):
            raise SchemaError("The model file is not XGBoost's JSON")
        booster.load_model(bytearray(content))
        expected = _columns(signature)
        names, kinds, inputs = booster.feature_names, booster.feature_types, booster.attr(_INPUTS)
    except (XGBoostError, UnicodeDecodeError, ValueError) as error:
        raise SchemaError(f"The model file is not XGBoost's JSON: {_first_line(error)}") from error
    if names != expected["feature_names"]:
        raise SchemaError(
            f"The model was trained on inputs {', '.join(names or [])}; "
            f"expected {', '.join(signature.names)}",
            hint="Names and order must be those of training.",
        )
    if kinds != expected["feature_types"] or inputs != features_sha256(signature):
        raise SchemaError(
            "The model was trained on inputs of the same names with other kinds or categories",
            hint="Load it with the signature it was trained with.",
        )


def _translated(error: Exception) -> Exception:
    return UsageError(f"xgboost: {_first_line(error)}")


def _first_line(error: Exception) -> str:
    lines = [line for line in str(error).splitlines() if line.strip()]
    return lines[0] if lines else type(error).__name__


FAMILY: Family = BoostedTreesFamily()
