from __future__ import annotations

import numpy as np
import pytest

from acceleray.errors import NumericalError
from acceleray.numerics.backtest_shortfall import (
    lower_p_value,
    shortfall_null,
    shortfall_statistics,
    shortfall_sums,
)
from acceleray.numerics.tail_laws import normal_tail, student_tail

LEVEL = 0.975


def losses(n: int, days: int = 250) -> np.ndarray:
    return np.random.default_rng(1).standard_normal((n, days))


def plain(loss: np.ndarray, var: float, es: float) -> tuple[float, float, float]:
    """The papers' formulas, in P&L, one day after the other."""
    alpha, days = 1 - LEVEL, len(loss)
    z1 = z2 = ridge = count = 0.0
    for x in -loss:
        if x + var < 0:
            z1 += x / es
            z2 += x / (days * alpha * es)
            count += 1
        ridge += (es - var - max(-(x + var), 0.0) / alpha) / es
    return z1 / count + 1, z2 + 1, ridge / days


def test_the_statistics_are_those_of_the_papers() -> None:
    tail = normal_tail(LEVEL)
    (sample,) = losses(1)
    found = shortfall_statistics(sample, var=tail.var, es=tail.es, level=LEVEL)
    # Sums of 250 terms in another order.
    assert (float(found.z1), float(found.z2), float(found.z_ridge)) == pytest.approx(
        plain(sample, tail.var, tail.es), abs=1e-13
    )


def test_right_forecasts_give_zero_on_average() -> None:
    tail = normal_tail(LEVEL)
    found = shortfall_statistics(losses(20_000), var=tail.var, es=tail.es, level=LEVEL)
    for values in (found.z1, found.z2, found.z_ridge):
        values = values[~np.isnan(values)]
        assert abs(values.mean()) < 4 * values.std() / np.sqrt(values.size)


def test_forecasts_that_are_too_small_give_negative_statistics() -> None:
    tail = normal_tail(LEVEL)
    found = shortfall_statistics(losses(2_000), var=0.8 * tail.var, es=0.8 * tail.es, level=LEVEL)
    assert max(found.z2.mean(), found.z_ridge.mean()) < -0.2
    assert np.nanmean(found.z1) < 0


def test_a_wrong_var_moves_the_ridge_in_second_order_and_downwards_only() -> None:
    # E[Z ridge] = 1 - RU(v) / ES with RU(v) = v + E(loss - v)+ / alpha, for normal losses in closed form.
    tail = normal_tail(LEVEL)
    sample = losses(8_000)
    for shift in (-0.3, 0.3):
        v = tail.var + shift
        density = np.exp(-0.5 * v**2) / np.sqrt(2 * np.pi)
        from scipy.special import ndtr

        uryasev = v + (density - v * ndtr(-v)) / (1 - LEVEL)
        found = shortfall_statistics(sample, var=v, es=tail.es, level=LEVEL)
        error = found.z_ridge.std() / np.sqrt(found.z_ridge.size)
        assert found.z_ridge.mean() == pytest.approx(1 - uryasev / tail.es, abs=4 * error)
        assert found.z_ridge.mean() < 0
        # Z2 is moved the more, and either way.
        assert abs(found.z2.mean()) > 3 * abs(found.z_ridge.mean())
        assert np.sign(found.z2.mean()) == np.sign(shift)


def test_sums_of_parts_are_the_sums_of_the_whole() -> None:
    tail = normal_tail(LEVEL)
    sample = losses(5)
    parts = [
        shortfall_sums(part, var=tail.var, es=tail.es, level=LEVEL)
        for part in (sample[:, :100], sample[:, 100:])
    ]
    joined = (parts[0] + parts[1]).statistics(LEVEL)
    whole = shortfall_statistics(sample, var=tail.var, es=tail.es, level=LEVEL)
    np.testing.assert_allclose(joined.z2, whole.z2, atol=1e-13)
    np.testing.assert_allclose(joined.z_ridge, whole.z_ridge, atol=1e-13)


def test_no_exception_no_z1() -> None:
    found = shortfall_statistics([0.0, 0.1], var=1.0, es=2.0, level=LEVEL)
    assert np.isnan(found.z1)
    assert float(found.z2) == 1.0


def test_the_null_does_not_depend_on_scale_and_is_repeatable() -> None:
    drawn = [
        shortfall_null(np.random.default_rng(3), days=50, level=0.95, n_samples=300, dof=dof)
        for dof in (None, None, 5.0)
    ]
    np.testing.assert_array_equal(drawn[0].z2, drawn[1].z2)
    assert not np.array_equal(drawn[0].z2, drawn[2].z2)
    assert drawn[0].z2.shape == (300,)


def test_p_values() -> None:
    null = np.array([-2.0, -1.0, 0.0, 1.0, np.nan])
    assert lower_p_value(-1.0, null) == 3 / 5
    assert lower_p_value(-9.0, null) == 1 / 5
    with pytest.raises(NumericalError, match="0 draws"):
        lower_p_value(0.0, np.array([np.nan]))


def test_p_values_of_right_forecasts_are_uniform() -> None:
    tail = normal_tail(LEVEL)
    seen = shortfall_statistics(losses(1_000), var=tail.var, es=tail.es, level=LEVEL)
    null = shortfall_null(np.random.default_rng(5), days=250, level=LEVEL, n_samples=4_000)
    for name in ("z2", "z_ridge"):
        rejected = np.mean([lower_p_value(x, getattr(null, name)) < 0.05 for x in getattr(seen, name)])
        # Binomial error of 1,000 backtests and of the draws' own quantile.
        assert rejected == pytest.approx(0.05, abs=4 * np.sqrt(0.05 * 0.95 * (1 / 1_000 + 1 / 4_000)))


def test_what_cannot_be_judged_is_refused() -> None:
    for bad in ({"losses": [np.nan]}, {"var": [np.inf]}, {"es": [0.0]}):
        arguments = {"losses": [0.0], "var": [1.0], "es": [2.0], "level": LEVEL} | bad
        with pytest.raises(NumericalError):
            shortfall_statistics(arguments.pop("losses"), **arguments)
    with pytest.raises(ValueError, match="level"):
        shortfall_statistics([0.0], var=[1.0], es=[2.0], level=97.5)
    with pytest.raises(ValueError, match="at least one day"):
        shortfall_statistics([], var=1.0, es=2.0, level=LEVEL)


@pytest.mark.parametrize("dof", [None, 3.0, 10.0])
def test_closed_form_tails(dof: float | None) -> None:
    from scipy import integrate, stats

    law = stats.norm() if dof is None else stats.t(dof)
    tail = normal_tail(0.99) if dof is None else student_tail(0.99, dof)
    assert tail.var == pytest.approx(law.ppf(0.99), rel=1e-9)
    expected, error = integrate.quad(lambda x: x * law.pdf(x), tail.var, np.inf)
    assert tail.es == pytest.approx(expected / 0.01, abs=100 * error + 1e-9)
    with pytest.raises(ValueError, match="exceed 1"):
        student_tail(0.99, 1.0)
