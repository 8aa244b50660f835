from __future__ import annotations

import numpy as np
import pytest

from acceleray.numerics import tail

LOSSES = np.random.default_rng(5).standard_normal(1000)


@pytest.mark.parametrize(
    ("estimate", "independent", "overlapping"),
    [
        (
            tail.estimate_value_at_risk,
            tail.value_at_risk_interval,
            tail.overlapping_value_at_risk_interval,
        ),
        (
            tail.estimate_expected_shortfall,
            tail.expected_shortfall_interval,
            tail.overlapping_expected_shortfall_interval,
        ),
    ],
)
def test_the_overlap_chooses_the_interval(estimate, independent, overlapping) -> None:
    arguments = {"level": 0.9, "confidence": 0.95}
    assert estimate(LOSSES, overlap_days=1, seed=1, **arguments) == independent(LOSSES, **arguments)
    assert estimate(LOSSES, overlap_days=5, seed=1, **arguments) == overlapping(
        LOSSES, overlap_days=5, seed=1, **arguments
    )


def test_short_names_are_the_measures() -> None:
    assert tail.var is tail.value_at_risk
    assert tail.es is tail.expected_shortfall
