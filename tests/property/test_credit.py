"""What holds for every small book: order does not matter, money scales, parts add up, bounds hold."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from acceleray.config.models import CreditSettings, SimulateSettings
from acceleray.domain.tables import contract
from acceleray.risk.credit import credit_losses
from acceleray.risk.credit_measures import credit_table

SETTINGS = SimulateSettings(
    seed=3,
    credit=CreditSettings(
        n_paths=60,
        block_size=25,
        correlation={"a": 0.0, "b": 0.3, "c": 0.9},
        levels=(0.9,),
        method="plain",
    ),
)
# A probability that underflows, the bounds, and values close enough to share a bin.
PROBABILITIES = st.sampled_from([0.0, 1e-300, 1e-9, 0.01, 0.011, 0.012, 0.3, 0.999, 1.0])
OBLIGORS = st.fixed_dictionaries(
    {
        "segment": st.sampled_from(["a", "b", "c"]),
        "ead": st.floats(0.0, 1e6),
        "default_prob": PROBABILITIES | st.floats(0.0, 1.0),
        "lgd": st.sampled_from([0.0, 0.45, 1.0]),
    }
)
BOOKS = st.lists(OBLIGORS, min_size=1, max_size=25)


def table(obligors):
    rows = [row | {"obligor_id": f"o{i:02d}"} for i, row in enumerate(obligors)]
    return pa.Table.from_pylist(rows, contract("raw.obligors").schema)


def paths(obligors):
    """Losses by path and segment."""
    return credit_losses(obligors, [], SETTINGS).plain[0].T


def simulate_credit(obligors):
    return credit_table(credit_losses(obligors, [], SETTINGS), levels=(0.9,), interval_level=0.95)


@settings(max_examples=25, deadline=None)
@given(st.data(), BOOKS)
def test_permuting_obligors_changes_nothing(data, obligors):
    book = table(obligors)
    order = data.draw(st.permutations(range(len(obligors))))
    assert simulate_credit(book.take(order)).equals(simulate_credit(book))


@settings(max_examples=25, deadline=None)
@given(BOOKS, st.integers(-10, 10))
def test_scaling_exposures_scales_losses(obligors, exponent):
    # By powers of two, where floating point is exact too, down to the smallest normal number: subnormal ones
    # lose bits.
    assume(all(row["ead"] == 0.0 or row["ead"] > 1e-300 for row in obligors))
    factor = 2.0**exponent
    scaled = [row | {"ead": row["ead"] * factor} for row in obligors]
    assert (paths(table(scaled)) == factor * paths(table(obligors))).all()


@settings(max_examples=25, deadline=None)
@given(BOOKS)
def test_losses_lie_between_the_certain_and_the_total(obligors):
    losses = paths(table(obligors)).sum(axis=1)
    owed = sum(row["ead"] * row["lgd"] for row in obligors)
    certain = sum(row["ead"] * row["lgd"] for row in obligors if row["default_prob"] == 1.0)
    # At most 25 summands, in another order.
    rounding = 1e-12 * owed
    assert (losses >= certain - rounding).all()
    assert (losses <= owed + rounding).all()


@settings(max_examples=25, deadline=None)
@given(BOOKS)
def test_the_book_is_the_sum_of_its_segments(obligors):
    book = table(obligors)
    whole = paths(book)
    for column, segment in enumerate(sorted({row["segment"] for row in obligors})):
        alone = paths(book.filter(pa.compute.equal(book["segment"], segment)))
        np.testing.assert_array_equal(alone[:, 0], whole[:, column])
