"""Rounding a book's losses down and up encloses its law, whatever its exposures."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st
from tests.credit_books import book, enumerated

from acceleray.numerics.credit_exact import exact_law
from acceleray.numerics.tail import es, var

books = st.integers(1, 6).flatmap(
    lambda n: st.tuples(
        st.lists(st.floats(1e-4, 0.5), min_size=n, max_size=n),
        st.lists(st.floats(0.1, 50.0), min_size=n, max_size=n),
        st.floats(-0.8, 0.8),
        st.floats(0.3, 7.0),
    )
)


@settings(max_examples=40, deadline=None)
@given(books, st.sampled_from([0.8, 0.95, 0.99]), st.floats(-1.0, 120.0))
def test_the_bracket_holds_the_truth(drawn, level, loss):
    default_prob, exposures, loading, unit = drawn
    model = book(default_prob, exposures, [loading])
    losses, probabilities = enumerated(model)
    law = exact_law(model, unit=unit)
    # The enumeration integrates with an error of its own.
    slack = 1e-11
    found = law.exceedance(loss)
    beyond = probabilities[losses > loss].sum()
    assert found.low - slack <= beyond <= found.high + slack
    assert found.low <= found.value + slack
    assert found.value <= found.high + slack
    probabilities = probabilities / probabilities.sum()
    shortfall, exact = law.es(level), float(es(losses, level=level, weights=probabilities))
    margin = slack * (1.0 + losses.max()) / (1.0 - level)
    assert shortfall.low - margin <= exact <= shortfall.high + margin
    # The quantile is discontinuous: the bracket holds it at levels moved by the slack.
    at_risk = law.var(level)
    assert at_risk.low * (1.0 - 1e-9) <= float(var(losses, level=level + 1e-9, weights=probabilities))
    assert float(var(losses, level=level - 1e-9, weights=probabilities)) <= at_risk.high * (1.0 + 1e-9)
    mean = law.expected_loss
    assert mean.low <= losses @ probabilities + margin
    assert losses @ probabilities <= mean.high + margin
    # Splitting keeps the mean.
    assert abs(mean.value - losses @ probabilities) <= margin
