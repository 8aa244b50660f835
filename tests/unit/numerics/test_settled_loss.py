"""Books that are all but certain to lose one amount, against enumeration."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from tests.credit_books import book, enumerated

from acceleray.errors import NumericalError
from acceleray.numerics.settled_loss import settled_law

SIZES = np.array([3.0, 5.0, 7.0, 11.0])


def law_of(chances, **options):
    return settled_law(book(chances, SIZES, [0.5], **options), highest=0.999)


def test_what_has_defaulted_is_lost():
    law = law_of([1.0, 1.0, 0.0, 1.0])
    for found in (law.var(0.999), law.es(0.75), law.expected_loss):
        assert found.low == found.value == found.high == 19.0
    assert law.exceedance(18.0).low == 1.0
    assert law.exceedance(19.0).high == 0.0
    assert law.exceedance(-1.0).value == 1.0


@pytest.mark.parametrize("chances", [[1.0 - 1e-4, 1.0, 1e-4, 2e-4], [1e-30, 1e-300, 0.0, 1e-5], [0.9999] * 4])
def test_bounds_hold_the_enumerated_law(chances):
    model = book(chances, SIZES, [0.5])
    law = settled_law(model, highest=0.999)
    losses, odds = enumerated(model)
    for level in (0.75, 0.95, 0.999):
        order = np.argsort(losses)
        # The last sum may fall short of one by rounding.
        place = min(int(np.searchsorted(np.cumsum(odds[order]), level)), odds.size - 1)
        var = losses[order][place]
        shortfall = var + odds @ np.maximum(losses - var, 0.0) / (1.0 - level)
        assert law.var(level).low == law.var(level).high == var
        # Quadrature of the enumeration: twelve digits.
        assert law.es(level).low - 1e-9 <= shortfall <= law.es(level).high + 1e-9
    for loss in (0.0, 10.0, 20.0, 25.9):
        beyond = odds[losses > loss].sum()
        assert law.exceedance(loss).low - 1e-12 <= beyond <= law.exceedance(loss).high + 1e-12


def test_a_level_beyond_what_is_certain_gets_bounds():
    law = law_of([1.0, 1e-4, 1e-4, 1e-4])
    assert (law.var(0.9999).low, law.var(0.9999).high) == (3.0, 26.0)
    assert law.es(0.9999).low <= law.es(0.9999).high <= 26.0
    with pytest.raises(NumericalError, match="level must lie"):
        law.var(1.0)


def test_other_books_have_no_such_law():
    assert law_of([0.01, 1.0, 1.0, 1.0]) is None
    assert law_of([0.5, 1.0, 1.0, 1.0]) is None
    assert law_of([1.0] * 4, lgd=(0.5, 0.2, 0.0)) is None
    # A stress of the factors may make default certain, or undo it.
    model = book([0.01] * 4, SIZES, [0.5])
    assert settled_law(dataclasses.replace(model, mean=np.full(4, -40.0)), highest=0.999).loss == 26.0
    assert settled_law(dataclasses.replace(model, mean=np.full(4, 40.0)), highest=0.999).loss == 0.0
