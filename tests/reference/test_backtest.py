"""Published and closed-form values. Case names are those of the project's reference cases."""

from __future__ import annotations

import numpy as np
import pytest

from acceleray.numerics.backtest import (
    attribution_test,
    christoffersen,
    desk_passes,
    kupiec,
    shortfall_null,
    traffic_light,
)

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
PLUS_FACTORS = (0.0, 0.0, 0.0, 0.0, 0.0, 0.4, 0.5, 0.65, 0.75, 0.85, 1.0)
MULTIPLIERS = (1.5, 1.5, 1.5, 1.5, 1.5, 1.7, 1.76, 1.83, 1.88, 1.92, 2.0)


@pytest.mark.parametrize("exceptions", range(11))
def test_traffic_light(exceptions: int) -> None:
    light = traffic_light(exceptions=exceptions, days=250, level=0.99)
    # The published digits.
    assert light.cumulative_probability == pytest.approx(CUMULATIVE[exceptions], abs=1e-6)
    assert light.zone == ZONES[exceptions]
    assert light.multiplier == MULTIPLIERS[exceptions]
    assert light.plus_factor == PLUS_FACTORS[exceptions]


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


# Case `acerbi-szekely-z2`: Acerbi and Szekely (2014), re-simulated for normal losses.
def test_critical_value_of_acerbi_and_szekely() -> None:
    drawn = shortfall_null(np.random.default_rng(2014), days=250, level=0.975, n_samples=60_000)
    # The published digits; the quantile of 60,000 draws has a standard error of about 0.004.
    assert np.quantile(drawn.z2, 0.05) == pytest.approx(-0.70, abs=0.01)


# Case `pla`: MAR32. Equally spaced gains shifted by k of 250 steps are k / 250 apart, in perfect order.
@pytest.mark.parametrize(("shift", "zone"), [(22, "green"), (23, "amber"), (30, "amber"), (31, "red")])
def test_attribution_zones(shift: int, zone: str) -> None:
    gains = np.arange(250.0)
    assert attribution_test(gains, gains + shift).zone == zone


@pytest.mark.parametrize(("level", "most"), [(0.99, 12), (0.975, 30)])
def test_desk_backtest(level: float, most: int) -> None:
    assert desk_passes(exceptions=most, level=level) is True
    assert desk_passes(exceptions=most + 1, level=level) is False
