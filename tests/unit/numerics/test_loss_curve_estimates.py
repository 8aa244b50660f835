"""Reading a known curve, and the error bars of scrambles."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy import special

from acceleray.errors import NumericalError
from acceleray.numerics.loss_curve import CurveSums
from acceleray.numerics.loss_curve_estimates import loss_curve

LOSSES = np.geomspace(1.0, 40.0, 96)


def exponential_sums(scale: float, n_points: int = 4) -> CurveSums:
    """Sums of an exponential law with mean `scale`; the unit is 100."""
    above = np.exp(-LOSSES / scale)
    ones = 2.0**46 * n_points
    return CurveSums(
        above=np.rint(above * ones).astype(np.int64),
        excess=np.rint(scale * above / 100.0 * ones).astype(np.int64),
        mean=round(scale / 100.0 * ones),
        n_points=n_points,
        squares=n_points * np.stack([above**2, (scale * above / 100.0) ** 2]),
    )


def test_an_exponential_curve_is_read_exactly() -> None:
    curve = loss_curve(LOSSES, [exponential_sums(4.0)] * 2, unit=100.0)
    # Cubics in log coordinates, four hundredths apart: 1e-6.
    assert curve.var(0.99).value == pytest.approx(4.0 * math.log(100.0), rel=1e-5)
    assert curve.es(0.99).value == pytest.approx(4.0 * math.log(100.0) + 4.0, rel=1e-5)
    assert curve.exceedance(10.0).value == pytest.approx(math.exp(-2.5), rel=1e-5)
    assert curve.expected_loss().value == pytest.approx(4.0, rel=1e-12)
    assert curve.var(0.99).ci_low == curve.var(0.99).value


def test_intervals_are_students_around_the_pooled_curve() -> None:
    scales = np.array([3.8, 3.9, 4.0, 4.1, 4.2])
    curve = loss_curve(LOSSES, [exponential_sums(scale) for scale in scales], unit=100.0)
    found = curve.exceedance(8.0, confidence=0.9)
    parts = np.exp(-8.0 / scales)
    error = parts.std(ddof=1) / math.sqrt(5.0)
    assert found.value == pytest.approx(parts.mean(), rel=1e-5)
    assert found.ci_high is not None
    assert found.ci_high - found.value == pytest.approx(special.stdtrit(4, 0.95) * error, rel=1e-3)


def test_a_ripple_does_not_make_the_curve_rise() -> None:
    sums = exponential_sums(4.0)
    sums.above[40] = sums.above[39] + 5
    curve = loss_curve(LOSSES, [sums], unit=100.0)
    values = [curve.exceedance(float(loss)).value for loss in np.geomspace(1.0, 40.0, 500)]
    assert (np.diff(values) <= 0.0).all()


def test_what_the_curve_does_not_cover_is_refused() -> None:
    curve = loss_curve(LOSSES, [exponential_sums(4.0)], unit=100.0)
    with pytest.raises(NumericalError, match="does not reach level"):
        curve.var(0.1)
    with pytest.raises(NumericalError, match="runs from"):
        curve.exceedance(50.0)
    with pytest.raises(NumericalError, match="same number of points"):
        loss_curve(LOSSES, [exponential_sums(4.0), exponential_sums(4.0, 8)], unit=100.0)
    with pytest.raises(NumericalError, match="same number of points"):
        loss_curve(LOSSES, [], unit=100.0)
