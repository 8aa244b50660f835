import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from acceleray.errors import MissingDataError
from acceleray.models.early_warning.folds import split_sessions


@given(
    n=st.integers(50, 3000),
    first=st.integers(0, 200),
    test_sessions=st.integers(20, 400),
    n_folds=st.integers(1, 5),
    horizon=st.integers(1, 40),
    embargo=st.integers(20, 60),
    every=st.integers(1, 10),
)
def test_no_training_label_touches_what_judges(n, first, test_sessions, n_folds, horizon, embargo, every):
    try:
        split = split_sessions(
            np.arange(n),
            first=first,
            test_sessions=test_sessions,
            n_folds=n_folds,
            horizon=horizon,
            embargo=embargo,
            every=every,
        )
    except MissingDataError:
        return
    assert len(split.folds) == n_folds
    for fold in (*split.folds, split.threshold, split.test):
        learns = split.sampled[fold.trains(split.sampled)]
        assert learns.size > 0
        assert learns.min() >= first
        # The last label is complete, and the embargo over, before the first judged session.
        assert learns.max() + horizon + embargo < fold.judge_from
    # Slices come one after the other, the test is last and as long as asked for.
    parts = [*split.folds, split.threshold, split.test]
    for earlier, later in itertools.pairwise(parts):
        assert earlier.judge_to < later.judge_from
    assert split.test.judge_to - split.test.judge_from + 1 == test_sessions
    assert (np.diff(split.sampled) == every).all()


def test_later_sessions_do_not_move_sampled_ones():
    def split(n):
        return split_sessions(
            np.arange(n), first=0, test_sessions=100, n_folds=2, horizon=20, embargo=20, every=5
        )

    short, long = split(900), split(913)
    assert set(short.sampled) <= set(long.sampled)


def test_a_history_that_is_too_short_is_refused():
    with pytest.raises(MissingDataError, match="too few"):
        split_sessions(np.arange(200), first=0, test_sessions=100, n_folds=3, horizon=20, embargo=20, every=5)
