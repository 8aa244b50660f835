"""Published and closed-form values. Case names are those of the project's reference cases."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import special, stats

from acceleray.numerics import tail

# Case `standard-errors`: closed form, sqrt(n) times the standard error for N(0, 1).
STANDARD_ERRORS = {0.975: 3.199252981, 0.99: 4.588362362, 0.999: 12.015345269}
# Case `normal-vs-t4`: closed form, standard deviation 126.49110640673517.
SCALE = 126.49110640673517
NORMAL_VS_T4 = {
    # level: VaR normal, VaR t4, ES normal, ES t4
    0.9: (162.1, 137.13, 221.99, 223.55),
    0.95: (208.06, 190.68, 260.91, 286.47),
    0.975: (247.92, 248.33, 295.71, 357.19),
    0.99: (294.26, 335.14, 337.13, 466.94),
    0.995: (325.82, 411.8, 365.81, 565.71),
}


@pytest.mark.parametrize(
    ("n", "level", "ranks"),
    [(10_000, 0.99, (9880, 9920)), (100_000, 0.999, (99_880, 99_920)), (250, 0.99, (244, None))],
)
def test_order_statistic_ranks(n: int, level: float, ranks: tuple[int, int | None]) -> None:
    low, high = tail.value_at_risk_ranks(n, level=level, confidence=0.95)
    assert (low, high) == ranks


@pytest.mark.parametrize("level", STANDARD_ERRORS)
def test_shortfall_standard_error_of_a_normal_sample(level: float) -> None:
    # A sample without noise: one point in the middle of each of a million slices of probability.
    n = 1_000_000
    losses = special.ndtri((np.arange(n) + 0.5) / n)
    found = tail.expected_shortfall_std_error(losses, level=level) * np.sqrt(n)
    # The slices cut off what lies beyond the last point: 2e-4 of the tail's variance at 99.9%.
    assert found == pytest.approx(STANDARD_ERRORS[level], rel=1e-3)


@pytest.mark.parametrize("level", NORMAL_VS_T4)
def test_normal_and_t4(level: float) -> None:
    n = 1_000_000
    middle = (np.arange(n) + 0.5) / n
    var_normal, var_t, es_normal, es_t = NORMAL_VS_T4[level]
    normal = SCALE * special.ndtri(middle)
    # A t4 with this standard deviation: its own is sqrt(2).
    student = SCALE / np.sqrt(2.0) * stats.t.ppf(middle, 4)
    # 0.005 is the rounding of the published digits; slices of 1e-6 add at most 1e-2 of a unit beyond 99.5%.
    assert tail.var(normal, level=level) == pytest.approx(var_normal, abs=0.01)
    assert tail.var(student, level=level) == pytest.approx(var_t, abs=0.01)
    assert tail.es(normal, level=level) == pytest.approx(es_normal, abs=0.01)
    # The last slice of a t4 hides (1e-6) ** (3/4) / (1 - level) of its scale.
    assert tail.es(student, level=level) == pytest.approx(es_t, abs=0.01 + 1e-5 * SCALE / (1 - level))


# Case `superadditive` (McNeil, Frey & Embrechts): -5 with 0.991, 100 with 0.009, two independent copies.
def test_value_at_risk_can_be_superadditive_and_shortfall_cannot() -> None:
    one, chances = np.array([-5.0, 100.0]), np.array([0.991, 0.009])
    both = (one[:, None] + one[None, :]).ravel()
    joint = (chances[:, None] * chances[None, :]).ravel()
    assert tail.var(one, level=0.99, weights=chances) == -5.0
    assert tail.var(both, level=0.99, weights=joint) == 95.0
    # Rounding of 1 - 0.99.
    assert tail.es(one, level=0.99, weights=chances) == pytest.approx(89.49999999999999, rel=1e-13)
    assert tail.es(both, level=0.99, weights=joint) <= 2 * 89.49999999999999
    # The same law as equally likely paths.
    paths = np.repeat(one, [991, 9])
    assert tail.var(paths, level=0.99) == -5.0
    assert tail.es(paths, level=0.99) == pytest.approx(89.49999999999999, rel=1e-13)
