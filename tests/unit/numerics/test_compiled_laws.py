import numpy as np
import pytest
from scipy import special, stats

from acceleray.numerics.compiled_laws import (
    chi_square_tail,
    chi_square_within,
    upper_tail,
    upper_tail_quantile,
)


def test_normal_tail_and_quantile_against_scipy():
    for x in (-8.0, -1.0, 0.0, 0.5, 3.0, 12.0, 35.0):
        # A few units in the last place of two different error functions.
        assert upper_tail(x) == pytest.approx(special.ndtr(-x), rel=1e-13)
    for p in np.concatenate([10.0 ** -np.arange(0.01, 300.0, 7.3), np.linspace(0.01, 0.99, 33)]):
        # AS 241 promises about 1e-16 relative; at the centre the quantile itself is near zero.
        assert upper_tail_quantile(p) == pytest.approx(-special.ndtri(p), rel=1e-13, abs=1e-14)
    assert upper_tail_quantile(0.0) == np.inf
    assert upper_tail_quantile(1.0) == -np.inf


@pytest.mark.parametrize("n", [1, 2, 3, 9, 10, 41])
def test_chi_square_against_scipy(n):
    for x in (0.0, 0.1, 1.0, 5.0, 30.0, 200.0):
        assert chi_square_tail(x, n) == pytest.approx(stats.chi2(n).sf(x), rel=1e-12)
    assert chi_square_tail(np.inf, n) == 0.0


@pytest.mark.parametrize(
    ("n", "start", "stop"), [(1, 0.0, 1.0), (4, 3.0, 3.1), (10, 20.0, np.inf), (9, 0.0, 5.0)]
)
def test_chi_square_inversion_splits_the_mass_of_an_interval(n, start, stop):
    law = stats.chi2(n)
    for share in (0.01, 0.5, 0.99):
        value = chi_square_within(start, stop, share, n)
        assert start <= value <= stop
        below = (law.sf(start) - law.sf(value)) / (law.sf(start) - law.sf(stop))
        # Cancellation of two tails that differ by a few percent.
        assert below == pytest.approx(share, abs=1e-10)
