"""What the candidate has to beat: the base rate, and a logistic regression on trailing volatility."""

from __future__ import annotations

import json
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.special import expit

from acceleray.errors import CalibrationError, SchemaError
from acceleray.models.early_warning.dataset import INPUTS, LONG, REQUIRED, SHORT, Samples

__all__ = ["BaseRate", "Logistic", "fit_base_rate", "fit_logistic"]

FloatArray = npt.NDArray[np.float64]

# Trailing volatility only, and the side of the holder: the model that needs no machine learning.
LOGISTIC_INPUTS = (*REQUIRED, "direction")


@dataclass(frozen=True, slots=True, kw_only=True)
class BaseRate:
    """The frequency of breaches in the training rows, by side."""

    long: float
    short: float

    family = "base_rate"

    def predict(self, values: FloatArray) -> FloatArray:
        """Probability of a breach per row; shape (n,)."""
        return np.where(values[:, -1] > 0.0, self.long, self.short)

    def contributions(self, values: FloatArray) -> FloatArray:
        """No input matters."""
        return np.zeros_like(values)

    def to_json(self) -> bytes:
        """Encode as canonical JSON."""
        return _canonical({"family": self.family, "long": self.long, "short": self.short})

    @classmethod
    def from_json(cls, content: bytes) -> BaseRate:
        """Decode."""
        fields = json.loads(content)
        return cls(long=float(fields["long"]), short=float(fields["short"]))


@dataclass(frozen=True, slots=True, kw_only=True)
class Logistic:
    """``logit p = intercept + sum of coefficient * (x - mean) / scale``.

    Parameters
    ----------
    mean, scale, coefficients : tuple of float
        One per entry of `LOGISTIC_INPUTS`.
    intercept : float
        Log-odds at the mean.
    """

    mean: tuple[float, ...]
    scale: tuple[float, ...]
    coefficients: tuple[float, ...]
    intercept: float

    family = "logistic"

    def predict(self, values: FloatArray) -> FloatArray:
        """Probability of a breach per row; shape (n,)."""
        margin = np.full(values.shape[0], self.intercept)
        terms = self.contributions(values)
        # Column by column, not a matrix product: a row's bits must not depend on its batch.
        for name in LOGISTIC_INPUTS:
            margin += terms[:, INPUTS.index(name)]
        return np.asarray(expit(margin), dtype=np.float64)

    def contributions(self, values: FloatArray) -> FloatArray:
        """Coefficient times deviation from the training mean in log-odds; shape (n, len(INPUTS))."""
        terms = np.zeros_like(values)
        for name, mean, scale, coefficient in zip(
            LOGISTIC_INPUTS, self.mean, self.scale, self.coefficients, strict=True
        ):
            column = INPUTS.index(name)
            terms[:, column] = coefficient * (values[:, column] - mean) / scale
        return terms

    def to_json(self) -> bytes:
        """Encode as canonical JSON."""
        return _canonical(
            {
                "family": self.family,
                "inputs": LOGISTIC_INPUTS,
                "mean": self.mean,
                "scale": self.scale,
                "coefficients": self.coefficients,
                "intercept": self.intercept,
            }
        )

    @classmethod
    def from_json(cls, content: bytes) -> Logistic:
        """Decode.

        Raises
        ------
        SchemaError
            If the model was fitted on other inputs.
        """
        fields = json.loads(content)
        if tuple(fields["inputs"]) != LOGISTIC_INPUTS:
            raise SchemaError(
                f"The logistic model has inputs {', '.join(fields['inputs'])}; "
                f"expected {', '.join(LOGISTIC_INPUTS)}"
            )
        return cls(
            mean=tuple(fields["mean"]),
            scale=tuple(fields["scale"]),
            coefficients=tuple(fields["coefficients"]),
            intercept=float(fields["intercept"]),
        )


def fit_base_rate(samples: Samples) -> BaseRate:
    """Count breaches per side.

    Raises
    ------
    CalibrationError
        If a side has no rows.
    """
    rates = {}
    for side in (LONG, SHORT):
        labels = samples.labels[samples.directions == side]
        if labels.size == 0:
            raise CalibrationError(f"No training rows for direction {side:+.0f}")
        rates[side] = float(labels.mean())
    return BaseRate(long=rates[LONG], short=rates[SHORT])


def fit_logistic(samples: Samples) -> Logistic:
    """Fit the logistic regression with scikit-learn (ridge penalty of one standard deviation, one thread).

    Raises
    ------
    CalibrationError
        If the fit does not converge or only one class is present.
    """
    from sklearn.linear_model import LogisticRegression
    from threadpoolctl import threadpool_limits

    if np.unique(samples.labels).size < 2:
        raise CalibrationError("The logistic baseline needs breaches and non-breaches to learn from")
    columns = [INPUTS.index(name) for name in LOGISTIC_INPUTS]
    mean = samples.values[:, columns].mean(axis=0)
    scale = samples.values[:, columns].std(axis=0)
    if not (scale > 0.0).all():
        raise CalibrationError("A volatility input of the logistic baseline is constant")
    regression = LogisticRegression(max_iter=1000, tol=1e-8)
    with threadpool_limits(1):
        regression.fit((samples.values[:, columns] - mean) / scale, samples.labels)
    if int(regression.n_iter_[0]) >= 1000:
        raise CalibrationError("The logistic baseline did not converge in 1000 iterations")
    return Logistic(
        mean=tuple(mean.tolist()),
        scale=tuple(scale.tolist()),
        coefficients=tuple(regression.coef_[0].tolist()),
        intercept=float(regression.intercept_[0]),
    )


def _canonical(fields: dict[str, object]) -> bytes:
    return json.dumps(fields, sort_keys=True, separators=(",", ":"), allow_nan=False).encode()
