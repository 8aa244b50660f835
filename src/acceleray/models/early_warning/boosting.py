"""The candidate family: gradient-boosted trees in XGBoost's own JSON format."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from acceleray.errors import SchemaError
from acceleray.models.early_warning.dataset import INPUTS

__all__ = ["HYPERPARAMETERS", "BoostedTrees", "booster_parameters", "matrix"]

FloatArray = npt.NDArray[np.float64]

HYPERPARAMETERS: tuple[str, ...] = (
    "max_depth",
    "learning_rate",
    "min_child_weight",
    "reg_lambda",
    "subsample",
    "colsample_bytree",
)


def booster_parameters(hyperparameters: Mapping[str, float], *, seed: int) -> dict[str, Any]:
    """XGBoost's parameters for a configuration: histograms, one thread, seeded."""
    return {
        **{name: hyperparameters[name] for name in HYPERPARAMETERS},
        "max_depth": int(hyperparameters["max_depth"]),
        "objective": "binary:logistic",
        "tree_method": "hist",
        "nthread": 1,
        "seed": seed,
        "verbosity": 0,
    }


def matrix(values: FloatArray, labels: FloatArray | None = None) -> Any:
    """Make XGBoost's matrix from rows in the order of `INPUTS`."""
    import xgboost

    return xgboost.DMatrix(values, label=labels, feature_names=list(INPUTS), nthread=1)


class BoostedTrees:
    """A trained booster, read from its native JSON.

    Parameters
    ----------
    content : bytes
        What ``Booster.save_raw("json")`` gave.

    Raises
    ------
    SchemaError
        If the model was trained on other inputs than `INPUTS`.
    """

    family = "xgboost"

    def __init__(self, content: bytes) -> None:
        import xgboost

        names = tuple(json.loads(content)["learner"]["feature_names"])
        if names != INPUTS:
            raise SchemaError(
                f"The model was trained on inputs {', '.join(names)}; expected {', '.join(INPUTS)}",
                hint="Train a model on today's features.",
            )
        self._booster = xgboost.Booster()
        self._booster.load_model(bytearray(content))
        self._booster.set_param({"nthread": 1})

    def predict(self, values: FloatArray) -> FloatArray:
        """Probability of a breach per row; shape (n,)."""
        return np.asarray(self._booster.predict(matrix(values)), dtype=np.float64)

    def contributions(self, values: FloatArray) -> FloatArray:
        """Exact SHAP values in log-odds per input, shape (n, len(INPUTS)); they sum to margin less bias."""
        shap = self._booster.predict(matrix(values), pred_contribs=True)
        return np.asarray(shap[:, :-1], dtype=np.float64)
