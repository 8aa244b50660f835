"""What a method knows about the losses of one portfolio of loans: the same questions, whatever the method."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Protocol, TypeAlias

import numpy as np
import numpy.typing as npt
from scipy.special import ndtri

from acceleray.numerics.credit_exact import Bracket, LossLaw
from acceleray.numerics.credit_importance_estimates import (
    importance_exceedance,
    importance_expected_loss,
    importance_expected_shortfall,
    importance_value_at_risk,
    path_masses,
    tail_size,
)
from acceleray.numerics.discrete_tail import near_ties_of_sample
from acceleray.numerics.loss_curve_estimates import LossCurve
from acceleray.numerics.loss_curve_suitability import Suitability
from acceleray.numerics.order_statistics import paths_beyond, value_at_risk
from acceleray.numerics.settled_loss import SettledLaw
from acceleray.numerics.tail import Estimate, estimate_expected_shortfall, estimate_value_at_risk

__all__ = [
    "CurveEstimates",
    "ExactEstimates",
    "LossEstimates",
    "PlainEstimates",
    "SettledEstimates",
    "WeightedEstimates",
]

FloatArray: TypeAlias = npt.NDArray[np.float64]


class LossEstimates(Protocol):
    """Loss figures of one portfolio under one scenario, with intervals; amounts in base currency."""

    @property
    def method(self) -> str:
        """Name of the method, as in the settings."""
        ...

    @property
    def n_paths(self) -> int | None:
        """Paths, or lines through the factor space, behind the figures; None where nothing is sampled."""
        ...

    def tail_paths(self, level: float) -> float | None:
        """Count the equal paths that would know the tail as well; None where no defaults are drawn."""
        ...

    def expected_loss(self) -> Estimate:
        """Estimate the mean loss."""
        ...

    def var(self, level: float) -> Estimate:
        """Estimate the value at risk."""
        ...

    def es(self, level: float) -> Estimate:
        """Estimate the expected shortfall."""
        ...

    def exceedance(self, loss: float) -> Estimate:
        """Estimate the probability of a loss above `loss`."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class PlainEstimates:
    """Equally likely paths.

    Parameters
    ----------
    losses : ndarray of shape (n_paths,)
        In currency.
    confidence : float
        Of the intervals.
    seed : int
        For intervals that resample.
    """

    losses: FloatArray
    confidence: float
    seed: int
    method: str = "plain"

    @property
    def n_paths(self) -> int:
        """Number of paths."""
        return int(self.losses.size)

    def tail_paths(self, level: float) -> float:
        """Count the paths beyond the level."""
        return paths_beyond(self.losses.size, level)

    def expected_loss(self) -> Estimate:
        """Estimate the mean loss, with a normal interval."""
        n = self.losses.size
        value = float(self.losses.mean())
        error = float(self.losses.std(ddof=1)) / math.sqrt(n) if n > 1 else 0.0
        # Equal paths do not prove that the loss is certain, only that this sample cannot tell.
        if error == 0.0:
            return Estimate(
                value=value, ci_low=None, ci_high=None, note="no interval: the paths are all equal"
            )
        half = float(ndtri(0.5 + self.confidence / 2.0)) * error
        return Estimate(
            value=value, ci_low=value - half, ci_high=value + half, note="normal, from the standard error"
        )

    def var(self, level: float) -> Estimate:
        """Estimate the value at risk by order statistics; near-ties of a discrete loss are named."""
        found = estimate_value_at_risk(
            self.losses, level=level, confidence=self.confidence, overlap_days=1, seed=self.seed
        )
        ties = near_ties_of_sample(self.losses, level=level, confidence=self.confidence)
        return _noted(found, ties.note)

    def es(self, level: float) -> Estimate:
        """Estimate the expected shortfall."""
        return estimate_expected_shortfall(
            self.losses, level=level, confidence=self.confidence, overlap_days=1, seed=self.seed
        )

    def exceedance(self, loss: float) -> Estimate:
        """Estimate the probability of a loss above `loss`, with Wilson's interval."""
        n, hits = self.losses.size, int((self.losses > loss).sum())
        z = float(ndtri(0.5 + self.confidence / 2.0))
        share = hits / n
        centre = (share + z * z / (2 * n)) / (1 + z * z / n)
        half = z / (1 + z * z / n) * math.sqrt(share * (1 - share) / n + z * z / (4 * n * n))
        return Estimate(
            value=share,
            ci_low=max(0.0, centre - half),
            ci_high=min(1.0, centre + half),
            note="share of paths; Wilson interval",
        )


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class WeightedEstimates:
    """Paths of importance sampling.

    Parameters
    ----------
    losses, weights : ndarray of shape (n_paths,)
        Loss in currency and likelihood ratio of each path; whole cycles of `credit_importance`.
    confidence : float
        Of the intervals.
    """

    losses: FloatArray
    weights: FloatArray
    confidence: float
    method: str = "importance"

    @property
    def n_paths(self) -> int:
        """Number of paths."""
        return int(self.losses.size)

    def tail_paths(self, level: float) -> float:
        """Return Kish's effective size of the tail."""
        masses = path_masses(self.weights)
        quantile = float(value_at_risk(self.losses, level=level, weights=masses))
        return tail_size(self.losses, masses, quantile, level)

    def expected_loss(self) -> Estimate:
        """Estimate the mean loss."""
        return importance_expected_loss(self.losses, self.weights, confidence=self.confidence)

    def var(self, level: float) -> Estimate:
        """Estimate the value at risk; near-ties of a discrete loss are named."""
        found = importance_value_at_risk(self.losses, self.weights, level=level, confidence=self.confidence)
        # At a step of the law the share beyond either side of it decides.
        below = float(np.max(self.losses, where=self.losses < found.value, initial=-math.inf))
        errors = [
            importance_exceedance(
                self.losses, self.weights, threshold=loss, confidence=self.confidence
            ).std_error
            for loss in (below, found.value)
        ]
        known = [error for error in errors if error is not None]
        if not known:
            return found
        ties = near_ties_of_sample(
            self.losses,
            level=level,
            confidence=self.confidence,
            weights=path_masses(self.weights),
            standard_error=max(known),
        )
        return _noted(found, ties.note)

    def es(self, level: float) -> Estimate:
        """Estimate the expected shortfall."""
        return importance_expected_shortfall(
            self.losses, self.weights, level=level, confidence=self.confidence
        )

    def exceedance(self, loss: float) -> Estimate:
        """Estimate the probability of a loss above `loss`."""
        return importance_exceedance(self.losses, self.weights, threshold=loss, confidence=self.confidence)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class ExactEstimates:
    """The whole loss law by quadrature over the factors; bounds are those of rounding and quadrature.

    Parameters
    ----------
    law : LossLaw
        From `credit_exact.exact_law`.
    """

    law: LossLaw
    method: str = "exact"
    n_paths: None = None

    def tail_paths(self, level: float) -> None:
        """Return None: no default is drawn."""

    def expected_loss(self) -> Estimate:
        """Return the mean loss."""
        return self._estimate(self.law.expected_loss)

    def var(self, level: float) -> Estimate:
        """Return the value at risk; near-ties of a discrete loss are named."""
        return _noted(self._estimate(self.law.var(level)), self.law.near_ties(level).note)

    def es(self, level: float) -> Estimate:
        """Return the expected shortfall."""
        return self._estimate(self.law.es(level))

    def exceedance(self, loss: float) -> Estimate:
        """Return the probability of a loss above `loss`."""
        return self._estimate(self.law.exceedance(loss))

    def _estimate(self, found: Bracket) -> Estimate:
        lattice = f"losses in steps of {self.law.unit:.6g}"
        note = f"no sampling: quadrature, {lattice}"
        if not self.law.exact:
            note = f"no sampling: quadrature; bounds from rounding {lattice} down and up"
        return Estimate(value=found.value, ci_low=found.low, ci_high=found.high, note=note)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class SettledEstimates:
    """A book that is all but certain to lose one amount; bounds from the chance that it does not.

    Parameters
    ----------
    law : SettledLaw
        From `settled_loss.settled_law`.
    """

    law: SettledLaw
    method: str = "exact"
    n_paths: None = None

    def tail_paths(self, level: float) -> None:
        """Return None: no default is drawn."""

    def expected_loss(self) -> Estimate:
        """Return the mean loss."""
        return self._estimate(self.law.expected_loss)

    def var(self, level: float) -> Estimate:
        """Return the value at risk."""
        return self._estimate(self.law.var(level))

    def es(self, level: float) -> Estimate:
        """Return the expected shortfall."""
        return self._estimate(self.law.es(level))

    def exceedance(self, loss: float) -> Estimate:
        """Return the probability of a loss above `loss`."""
        return self._estimate(self.law.exceedance(loss))

    def _estimate(self, found: Bracket) -> Estimate:
        odds = self.law.less + self.law.more
        note = f"no sampling: the loss is {self.law.loss:.6g} but for a chance of at most {odds:.3g}"
        return Estimate(value=found.value, ci_low=found.low, ci_high=found.high, note=note)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class CurveEstimates:
    """The loss curve by lines through the factor space.

    Parameters
    ----------
    curve : LossCurve
        Of all scrambles.
    n_paths : int
        Number of lines.
    confidence : float
        Of the intervals.
    plain : PlainEstimates
        Paths of the same portfolio, for losses and levels outside the curve.
    largest : float
        Loss if everybody defaults, in currency.
    reading : Suitability
        The step of the losses and the expansion's own error, by which intervals are wider than the scatter.
    """

    curve: LossCurve
    n_paths: int
    confidence: float
    plain: PlainEstimates
    largest: float
    reading: Suitability
    method: str = "conditional"

    def tail_paths(self, level: float) -> None:
        """Return None: no default is drawn."""

    def expected_loss(self) -> Estimate:
        """Estimate the mean loss."""
        return self._estimate(self.curve.expected_loss(confidence=self.confidence))

    def var(self, level: float) -> Estimate:
        """Estimate the value at risk; by the plain paths at a level that the curve does not reach."""
        if not self.curve.reaches(level):
            return _noted(self.plain.var(level), self._beyond)
        found = self.curve.var(level, confidence=self.confidence)
        hazard, step = self._hazard(found.value), self.reading.step
        wider = self._estimate(found, 0.5 * step + self.reading.change / hazard)
        if wider.ci_low is None or wider.ci_high is None or step == 0.0:
            return wider
        first, last = math.ceil(wider.ci_low / step - 1e-9), math.floor(wider.ci_high / step + 1e-9)
        if last <= first:
            return _noted(wider, f"the VaR is a multiple of {step:.6g}, which {first * step:.10g} is")
        tie = f"near-tie: the VaR is a multiple of {step:.6g}, {first * step:.10g} to {last * step:.10g}"
        return _noted(wider, f"{tie} cannot be excluded")

    def es(self, level: float) -> Estimate:
        """Estimate the expected shortfall; by the plain paths at a level that the curve does not reach."""
        if not self.curve.reaches(level):
            return _noted(self.plain.es(level), self._beyond)
        found = self.curve.es(level, confidence=self.confidence)
        loss = self.curve.var(level, confidence=self.confidence).value
        # At the VaR the error of the loss itself is of second order: a stair's share of the curve's bend.
        bend = 0.125 * self.reading.step**2 * self._hazard(loss)
        return self._estimate(found, bend + self.reading.change * (found.value - loss))

    def exceedance(self, loss: float) -> Estimate:
        """Estimate the probability of a loss above `loss`; by the plain paths where the curve has no losses.

        One below zero and zero from the largest possible loss on.
        """
        if loss < 0.0 or loss >= self.largest:
            value = 1.0 if loss < 0.0 else 0.0
            return Estimate(
                value=value,
                ci_low=value,
                ci_high=value,
                note="certain: no loss is negative or above all exposure",
            )
        if not self.curve.losses[0] <= loss <= self.curve.losses[-1]:
            return _noted(self.plain.exceedance(loss), self._beyond)
        found = self.curve.exceedance(loss, confidence=self.confidence)
        share = 0.5 * self.reading.step * self._hazard(loss) + self.reading.change
        wider = self._estimate(found, share * found.value)
        if wider.ci_low is None or wider.ci_high is None:
            return wider
        return replace(wider, ci_low=max(wider.ci_low, 0.0), ci_high=min(wider.ci_high, 1.0))

    @property
    def _beyond(self) -> str:
        losses = self.curve.losses
        return f"plain paths: the loss curve runs from {losses[0]:.6g} to {losses[-1]:.6g} only"

    def _hazard(self, loss: float) -> float:
        """Return ``-d log P(L > x) / dx`` at a loss of the curve."""
        losses = self.curve.losses
        low, high = max(0.995 * loss, float(losses[0])), min(1.005 * loss, float(losses[-1]))
        above = [self.curve.exceedance(each).value for each in (low, high)]
        # A flat curve says nothing about its losses: as if it fell by a factor e over all of them.
        return max(math.log(above[0] / above[1]) / (high - low), 1.0 / self.largest)

    def _estimate(self, found: Estimate, reach: float = 0.0) -> Estimate:
        """Widen an interval by the error of reading it off; a single line has that error alone."""
        if self.n_paths > 1:
            if found.ci_low is None or found.ci_high is None or reach == 0.0:
                return found
            note = f"{found.note}, and {reach:.3g} for steps and expansion"
            return Estimate(
                value=found.value, ci_low=found.ci_low - reach, ci_high=found.ci_high + reach, note=note
            )
        note = "integrated, no sampling"
        if self.reading.step == 0.0 or reach == 0.0:
            return Estimate(value=found.value, ci_low=None, ci_high=None, note=note)
        note = f"{note}; bounds from losses in steps of {self.reading.step:.6g} and from the expansion"
        return Estimate(value=found.value, ci_low=found.value - reach, ci_high=found.value + reach, note=note)


def _noted(estimate: Estimate, note: str) -> Estimate:
    if not note:
        return estimate
    return Estimate(
        value=estimate.value,
        ci_low=estimate.ci_low,
        ci_high=estimate.ci_high,
        note=f"{estimate.note}; {note}",
    )
