import numpy as np
import pytest

from acceleray.numerics.streams import Purpose, stream


def test_an_address_always_gives_the_same_numbers():
    first = stream(7, Purpose.MONTE_CARLO, 10, 3).standard_normal(5)
    np.testing.assert_array_equal(stream(7, Purpose.MONTE_CARLO, 10, 3).standard_normal(5), first)


@pytest.mark.parametrize(
    "other",
    [
        (8, Purpose.MONTE_CARLO, 10, 3),
        (7, Purpose.FILTERED_HISTORICAL, 10, 3),
        (7, Purpose.MONTE_CARLO, 1, 3),
        (7, Purpose.MONTE_CARLO, 10, 4),
    ],
)
def test_any_other_address_gives_others(other):
    first = stream(7, Purpose.MONTE_CARLO, 10, 3).standard_normal(5)
    assert not np.isin(stream(*other).standard_normal(5), first).any()


def test_published_addresses_never_change():
    # Regression: a new number here would change every published Monte-Carlo result.
    assert {purpose.name: int(purpose) for purpose in Purpose} == {
        "MONTE_CARLO": 1,
        "FILTERED_HISTORICAL": 2,
        "BACKTEST_MONTE_CARLO": 3,
        "BOOTSTRAP": 4,
        "CREDIT_FACTOR": 5,
        "CREDIT_DEFAULTS": 6,
        "IMPORTANCE_PILOT": 7,
        "IMPORTANCE": 8,
        "SOBOL_SCRAMBLE": 9,
        "BACKTEST_FILTERED": 20,
        "BACKTEST_SHORTFALL": 21,
        "OVERLAP_BOUNDS": 22,
        "TABULATION": 23,
        "CREDIT_IMPORTANCE_PILOT": 25,
        "CREDIT_IMPORTANCE": 26,
        "CREDIT_MIXING": 27,
        "CREDIT_CURVE": 28,
        "FOLDS": 40,
        "RANDOM_SEARCH": 41,
        "POPULATION": 42,
    }
