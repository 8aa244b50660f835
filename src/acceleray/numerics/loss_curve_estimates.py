"""What a loss curve says: exceedance, VaR, ES and expected loss, with errors from independent scrambles."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy import special
from scipy.interpolate import CubicHermiteSpline, PchipInterpolator

from acceleray.errors import NumericalError
from acceleray.numerics.intervals import Estimate, check_confidence
from acceleray.numerics.loss_curve import BINARY_PLACES, CurveSums

__all__ = ["LossCurve", "loss_curve"]

FloatArray = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _Curve:
    """One curve on its grid, interpolated in logarithms; built from sums of one or all scrambles."""

    losses: FloatArray
    above: FloatArray
    excess: FloatArray

    def exceedance(self, loss: float) -> float:
        self._check(loss)
        return math.exp(float(self._log_above()(math.log(loss))))

    def var(self, level: float) -> float:
        target = math.log1p(-level)
        log_above = self._log_above()
        values = log_above(log_above.x)
        if not values[-1] <= target <= values[0]:
            raise NumericalError(
                f"the loss curve runs from {math.exp(values[0]):.3g} to {math.exp(values[-1]):.3g} "
                f"in exceedance and does not reach level {level}\n"
                "Hint: aim with another tail_prob or body_prob."
            )
        index = int(np.searchsorted(-values, -target))
        if values[index] == target:
            return math.exp(float(log_above.x[index]))
        low, high = float(log_above.x[index - 1]), float(log_above.x[index])
        # Bisection to the last bit: the interpolant falls between two neighbours.
        while True:
            middle = 0.5 * (low + high)
            if not low < middle < high:
                return math.exp(high)
            low, high = (middle, high) if float(log_above(middle)) > target else (low, middle)

    def es(self, level: float) -> float:
        loss = self.var(level)
        return loss + self.excess_at(loss) / (1.0 - level)

    def excess_at(self, loss: float) -> float:
        """``E[(L - loss)^+]``; its derivative by the loss is minus the exceedance, at every grid loss."""
        self._check(loss)
        logs = np.log(self.losses)
        excess = np.maximum(self.excess, 1e-300)
        curve = CubicHermiteSpline(logs, np.log(excess), -self.losses * self.above / excess)
        return math.exp(float(curve(math.log(loss))))

    def _log_above(self) -> PchipInterpolator:
        # A curve from few points may ripple by a rounding error where it is flat.
        falling = np.minimum.accumulate(np.maximum(self.above, 1e-300))
        return PchipInterpolator(np.log(self.losses), np.log(falling))

    def _check(self, loss: float) -> None:
        if not self.losses[0] <= loss <= self.losses[-1]:
            raise NumericalError(
                f"the loss curve runs from {self.losses[0]} to {self.losses[-1]}, asked was {loss}"
            )


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class LossCurve:
    """A loss curve with what its scrambles say about its error. Made by `loss_curve`.

    Parameters
    ----------
    losses : ndarray of shape (n_losses,)
        Ascending, in currency.
    above : ndarray of shape (n_replicates, n_losses)
        P(L > x) of each scramble.
    excess : ndarray of shape (n_replicates, n_losses)
        E[(L - x)^+] of each scramble, in currency.
    means : ndarray of shape (n_replicates,)
        E[L] of each scramble, in currency, by a coarser rule than the curve.
    scatter : ndarray of shape (2, n_losses)
        Standard deviation of P(L > x) and of E[(L - x)^+] from line to line, as a share of the mean.
    """

    losses: FloatArray
    above: FloatArray
    excess: FloatArray
    means: FloatArray
    scatter: FloatArray

    def reaches(self, level: float) -> bool:
        """Whether the curve of every scramble begins below a level and ends beyond it."""
        _check_level(level)
        target = 1.0 - level
        return bool((self.above[:, 0] >= target).all() and (self.above[:, -1] <= target).all())

    def exceedance(self, loss: float, *, confidence: float = 0.95) -> Estimate:
        """Return P(L > loss); `loss` must lie on the curve's grid, first to last."""
        return self._estimate(lambda curve: curve.exceedance(loss), confidence)

    def var(self, level: float, *, confidence: float = 0.95) -> Estimate:
        """Return the loss that is exceeded with probability ``1 - level``."""
        _check_level(level)
        return self._estimate(lambda curve: curve.var(level), confidence)

    def es(self, level: float, *, confidence: float = 0.95) -> Estimate:
        """Return the mean loss beyond the VaR at `level`."""
        _check_level(level)
        return self._estimate(lambda curve: curve.es(level), confidence)

    def expected_loss(self, *, confidence: float = 0.95) -> Estimate:
        """Return the expected loss as the lines see it: a check on the exact one, which needs no lines."""
        return self._interval(float(self.means.mean()), self.means, confidence)

    def _estimate(self, statistic: Callable[[_Curve], float], confidence: float) -> Estimate:
        pooled = _Curve(losses=self.losses, above=self.above.mean(axis=0), excess=self.excess.mean(axis=0))
        parts = [
            statistic(_Curve(losses=self.losses, above=above, excess=excess))
            for above, excess in zip(self.above, self.excess, strict=True)
        ]
        return self._interval(statistic(pooled), np.array(parts), confidence)

    def _interval(self, value: float, parts: FloatArray, confidence: float) -> Estimate:
        check_confidence(confidence)
        n = parts.size
        if n < 2:
            return Estimate(value=value, ci_low=None, ci_high=None, note="one scramble gives no interval")
        error = math.sqrt(float(((parts - value) ** 2).sum()) / (n * (n - 1)))
        reach = float(special.stdtrit(n - 1, 0.5 + 0.5 * confidence)) * error
        note = f"Student's t over {n} scrambles, standard error {error:.6g}"
        return Estimate(value=value, ci_low=value - reach, ci_high=value + reach, note=note)


def loss_curve(losses: FloatArray, scrambles: Sequence[CurveSums], *, unit: float) -> LossCurve:
    """Build a curve from the sums of its scrambles.

    Parameters
    ----------
    losses : ndarray of shape (n_losses,)
        Grid of the aim.
    scrambles : sequence of CurveSums
        One per independent scramble, of equal numbers of points; one alone gives no error.
    unit : float
        Unit of the prepared book.

    Returns
    -------
    LossCurve

    Raises
    ------
    NumericalError
        If there is no scramble, or they differ in length.
    """
    counts = {sums.n_points for sums in scrambles}
    if len(counts) != 1 or 0 in counts:
        raise NumericalError(f"scrambles must hold one and the same number of points, were {sorted(counts)}")
    scale = 2.0**-BINARY_PLACES / counts.pop()
    above = np.array([sums.above for sums in scrambles]) * scale
    excess = np.array([sums.excess for sums in scrambles]) * scale
    squares = np.sum([sums.squares for sums in scrambles], axis=0) / sum(sums.n_points for sums in scrambles)
    means = np.maximum(np.stack([above.mean(axis=0), excess.mean(axis=0)]), 2.0**-BINARY_PLACES)
    return LossCurve(
        losses=losses,
        above=above,
        excess=excess * unit,
        means=np.array([sums.mean for sums in scrambles]) * (scale * unit),
        scatter=np.sqrt(np.maximum(squares / means**2 - 1.0, 0.0)),
    )


def _check_level(level: float) -> None:
    if not 0.0 < level < 1.0:
        raise ValueError(f"level must lie in (0, 1), was {level}")
