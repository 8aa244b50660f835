"""What holds for every book and stress: order does not matter, models are sound, worse factors lose more."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.special import ndtr

from acceleray.config.credit import CreditSettings
from acceleray.config.models import Scenario
from acceleray.domain.tables import contract
from acceleray.risk.credit_book import CreditBook, read_credit_book
from acceleray.risk.credit_models import loss_model, stress_credit_book

SETTINGS = CreditSettings(
    correlation={"a": 0.0, "b": 0.3},
    sector_correlation={"oil": 0.2},
    country_correlation={"US": 0.1, "DE": 0.05},
    factor_correlation={"rates": {"world": -0.5}, "oil": {"rates": 0.6}},
)
COMMON = {
    "ead": st.floats(0.0, 1e6),
    "default_prob": st.sampled_from([0.0, 1e-300, 0.01, 0.3, 1.0]) | st.floats(0.0, 1.0),
    "lgd": st.sampled_from([0.0, 0.45, 1.0]),
}
OBLIGORS = st.one_of(
    st.fixed_dictionaries(
        {
            **COMMON,
            "segment": st.sampled_from(["a", "b"]),
            "sector": st.sampled_from([None, "oil", "other"]),
            "country": st.sampled_from([None, "US", "DE"]),
        }
    ),
    st.fixed_dictionaries(
        {
            **COMMON,
            "segment": st.sampled_from(["c", "d"]),
            "loadings": st.dictionaries(
                st.sampled_from(["rates", "oil", "world"]), st.sampled_from([-0.3, 0.0, 0.2, 0.4]), min_size=1
            ).map(lambda found: list(found.items())),
        }
    ),
)
BOOKS = st.lists(OBLIGORS, min_size=1, max_size=20)


# Someone depends on every factor that the settings correlate.
ALWAYS = {
    "ead": 1.0,
    "default_prob": 0.1,
    "lgd": 0.5,
    "segment": "e",
    "loadings": [("oil", 0.1), ("rates", 0.2)],
}


def table(obligors) -> pa.Table:
    rows = [row | {"obligor_id": f"o{i:02d}"} for i, row in enumerate([*obligors, ALWAYS])]
    return pa.Table.from_pylist(rows, contract("raw.obligors").schema)


def model_of(book: CreditBook, *shocks):
    scenario = Scenario.model_validate({"name": "s", "book": "credit", "shocks": shocks})
    return loss_model(book, stress_credit_book(book, scenario))


@settings(max_examples=40, deadline=None)
@given(st.data(), BOOKS)
def test_permuting_obligors_changes_nothing(data, obligors):
    rows = table(obligors)
    order = data.draw(st.permutations(range(rows.num_rows)))
    one, other = (read_credit_book(each, SETTINGS) for each in (rows, rows.take(order)))
    assert one.obligor_ids.equals(other.obligor_ids)
    for name in ("cells", "segment_cells", "loadings", "ead", "default_prob", "lgd", "recovery"):
        np.testing.assert_array_equal(getattr(one, name), getattr(other, name))


@settings(max_examples=40, deadline=None)
@given(BOOKS)
def test_asset_values_have_the_variance_one(obligors):
    model = model_of(read_credit_book(table(obligors), SETTINGS))
    total = (model.loadings**2).sum(axis=1) + model.residual**2
    # Sums of at most five squares near one.
    np.testing.assert_allclose(total, 1.0, rtol=1e-14)


@settings(max_examples=40, deadline=None)
@given(BOOKS, st.sampled_from([-3.0, -1.0, 0.5]))
def test_a_factor_that_is_set_gives_conditional_probabilities(obligors, value):
    """Against the bivariate normal law of asset value and factor alone."""
    book = read_credit_book(table(obligors), SETTINGS)
    base = model_of(book)
    name = book.factors.names[0]
    hit = model_of(book, {"select": {"credit_factor": name}, "move": {"set": value}})
    # Correlation of a cell's asset value with the factor that is set.
    correlation = book.loadings @ book.factors.covariance[:, 0]
    mean = np.repeat(hit.mean, np.diff(book.cells))
    spread = np.repeat(np.sqrt((hit.loadings**2).sum(axis=1) + hit.residual**2), np.diff(book.cells))
    own = np.repeat(correlation, np.diff(book.cells))
    expected = ndtr((base.thresholds - own * value) / np.sqrt(1.0 - own**2))
    np.testing.assert_allclose(ndtr((hit.thresholds - mean) / spread), expected, rtol=1e-9, atol=1e-300)
