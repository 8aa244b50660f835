"""Published and closed-form values. Case names are those of the project's reference cases."""

from __future__ import annotations

import numpy as np
import pytest

from acceleray.numerics.backtest import christoffersen, kupiec, traffic_light

# Case `traffic-light`: BCBS and the binomial law, 250 days at 1%; cumulative probability of 0..10 exceptions.
CUMULATIVE = (
    0.081059,
    0.285752,
    0.543169,
    0.758117,
    0.892188,
    0.958817,
    0.986299,
    0.995975,
    0.998943,
    0.99975,
    0.999946,
)
ZONES = ("green",) * 5 + ("yellow",) * 5 + ("red",)
MULTIPLIERS = (1.5, 1.5, 1.5, 1.5, 1.5, 1.7, 1.76, 1.83, 1.88, 1.92, 2.0)


@pytest.mark.parametrize("exceptions", range(11))
def test_traffic_light(exceptions: int) -> None:
    light = traffic_light(exceptions=exceptions, days=250, level=0.99)
    # The published digits.
    assert light.cumulative_probability == pytest.approx(CUMULATIVE[exceptions], abs=1e-6)
    assert light.zone == ZONES[exceptions]
    assert light.multiplier == MULTIPLIERS[exceptions]


# Case `kupiec`: closed form.
@pytest.mark.parametrize(("exceptions", "statistic"), [(6, 3.555355), (0, 5.025168)])
def test_kupiec(exceptions: int, statistic: float) -> None:
    # The published digits.
    assert kupiec(exceptions=exceptions, days=250, level=0.99).statistic == pytest.approx(statistic, abs=1e-6)


@pytest.mark.parametrize(
    ("days", "level", "accepted"), [(250, 0.99, (1, 6)), (1000, 0.99, (5, 16)), (255, 0.95, (7, 20))]
)
def test_kupiec_acceptance_sets(days: int, level: float, accepted: tuple[int, int]) -> None:
    found = [k for k in range(days + 1) if kupiec(exceptions=k, days=days, level=level).p_value >= 0.05]
    assert (found[0], found[-1]) == accepted
    assert len(found) == accepted[1] - accepted[0] + 1


def _hits(*runs: tuple[int, int]) -> np.ndarray:
    return np.concatenate([np.full(length, bool(value)) for value, length in runs])


# Case `christoffersen`: closed form, counts (n00, n01, n10, n11).
@pytest.mark.parametrize(
    ("hits", "counts", "statistic"),
    [
        # Eight single exceptions and, at the end, a run of three: 9 ways in, 8 out, 2 within.
        (
            _hits(*[(0, 28), (1, 1)] * 8, (0, 16), (1, 3)),
            (231, 9, 8, 2),
            3.459478084,
        ),
        (_hits(*[(0, 40), (1, 1)] * 5, (0, 45)), (239, 5, 5, 0), 0.204932377),
    ],
)
def test_christoffersen(hits: np.ndarray, counts: tuple[int, ...], statistic: float) -> None:
    before, after = hits[:-1], hits[1:]
    found = tuple(int(((before == b) & (after == a)).sum()) for b in (False, True) for a in (False, True))
    assert found == counts
    # The published digits.
    assert christoffersen(hits).statistic == pytest.approx(statistic, abs=1e-8)
