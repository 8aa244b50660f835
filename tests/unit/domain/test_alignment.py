import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from acceleray.domain.alignment import as_of_align
from acceleray.errors import NumericalError


def days(*texts: str) -> np.ndarray:
    return np.array(texts, dtype="datetime64[D]")


def plain(stamps, known, values, sessions):
    """The slow witness: look at every observation on every session."""
    out = []
    for session in sessions:
        seen = [
            (stamp, value)
            for stamp, published, value in zip(stamps, known, values, strict=True)
            if stamp <= session and (np.isnat(published) or published <= session)
        ]
        out.append(max(seen) if seen else None)
    return out


@given(
    st.lists(
        st.tuples(st.integers(0, 40), st.none() | st.integers(-5, 60)), max_size=12, unique_by=lambda p: p[0]
    ),
    st.lists(st.integers(-3, 70), max_size=15),
)
def test_equals_the_plain_witness(observations, sessions):
    start = np.datetime64("2018-01-01")
    stamps = np.array([start + d for d, _ in observations], dtype="datetime64[D]")
    known = np.array(
        [np.datetime64("NaT") if a is None else start + a for _, a in observations], dtype="datetime64[D]"
    )
    values = np.arange(len(observations), dtype=float) + 0.5
    asked = np.array([start + s for s in sessions], dtype="datetime64[D]")
    level, stamp, age = as_of_align(stamps, known, values, asked)
    for i, expected in enumerate(plain(stamps, known, values, asked)):
        if expected is None:
            assert np.isnan(level[i])
            assert np.isnat(stamp[i])
            assert age[i] == -1
        else:
            assert (stamp[i], level[i]) == expected
            assert age[i] == (asked[i] - stamp[i]).astype(int)


def test_nothing_later_changes_what_was_known():
    rng = np.random.default_rng(3)
    stamps = np.datetime64("2018-01-01") + np.arange(100)
    known = stamps + rng.integers(0, 30, 100)
    values = rng.normal(size=100)
    sessions = stamps
    cut = 60
    before = as_of_align(stamps, known, values, sessions)
    noisy = np.where(np.maximum(known, stamps) > stamps[cut], rng.normal(size=100) * 1e6, values)
    after = as_of_align(stamps, known, noisy, sessions)
    for a, b in zip(before, after, strict=True):
        np.testing.assert_array_equal(a[: cut + 1], b[: cut + 1])


def test_refuses_a_value_that_is_not_finite():
    with pytest.raises(NumericalError, match="2018-01-02"):
        as_of_align(days("2018-01-01", "2018-01-02"), None, np.array([1.0, np.inf]), days("2018-01-03"))


def test_refuses_a_repeated_date():
    with pytest.raises(ValueError, match="repeat"):
        as_of_align(days("2018-01-01", "2018-01-01"), None, np.array([1.0, 2.0]), days("2018-01-03"))
