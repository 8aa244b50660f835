import numpy as np
import pytest

from acceleray.numerics.order_statistics import expected_shortfall
from acceleray.numerics.rolling import rolling_expected_shortfall


def test_every_window_is_measured_as_if_alone():
    losses = np.random.default_rng(1).standard_t(4, 1_500)
    found = rolling_expected_shortfall(losses, level=0.975, window=250)
    assert found.shape == (1_251,)
    for first in (0, 7, 1_023, 1_024, 1_250):
        assert found[first] == expected_shortfall(losses[first : first + 250], level=0.975)


@pytest.mark.parametrize("window", [0, 11])
def test_a_window_must_fit(window):
    with pytest.raises(ValueError, match="between 1 and 10"):
        rolling_expected_shortfall(np.zeros(10), level=0.9, window=window)
