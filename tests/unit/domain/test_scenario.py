import pytest

from acceleray.domain.scenario import FilteredHistorical, Historical, MonteCarlo
from acceleray.errors import UsageError


@pytest.mark.parametrize(
    ("name", "word", "near"),
    [
        ("sampler", "Sobol", "did you mean 'sobol'?"),
        ("drift", "none", ""),
        ("step", "horizons", "did you mean 'horizon'?"),
        ("scale", "correlation", ""),
    ],
)
def test_a_word_that_is_not_known_is_refused(name, word, near):
    with pytest.raises(UsageError, match=f"MonteCarlo: {name} was '{word}'") as caught:
        MonteCarlo(n_paths=100, **{name: word})
    assert near in str(caught.value)
    assert caught.value.hint.startswith("Use one of ")


@pytest.mark.parametrize(
    "make",
    [
        lambda: Historical(window_days=0),
        lambda: Historical(horizon_days=-1),
        lambda: FilteredHistorical(n_paths=0),
        lambda: MonteCarlo(n_paths=0),
    ],
)
def test_counts_are_at_least_one(make):
    with pytest.raises(UsageError, match="must be at least 1, was "):
        make()
