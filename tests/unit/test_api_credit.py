"""The loan book on the Python surface: what it refuses, and what it takes for granted."""

from __future__ import annotations

import pyarrow as pa
import pytest

import acceleray as ar
from acceleray.errors import InputDataError
from acceleray.risk.credit_measures import credit_table, obligors_table


def book(**columns):
    rows = {
        "obligor_id": ["one", "two", "three", "four"],
        "segment": ["a"] * 4,
        "ead": [1.0, 2.0, 3.0, 4.0],
        "default_prob": [0.01, 0.02, 0.03, 0.04],
        "lgd": [0.5] * 4,
    }
    return ar.CreditBook.read(pa.table(rows | columns))


def losses(loans, *, correlation=None, **given):
    sectors = given.pop("sector_correlation", {})
    model = ar.GaussianCopula(seed=1, correlation=correlation or {"a": 0.2}, sector_correlation=sectors)
    return ar.credit_losses(loans, model, n_paths=100, levels=(0.99,), **given)


def test_a_segment_must_not_be_named_like_the_whole_book():
    with pytest.raises(InputDataError, match=r"segment must be a name of its own.*whole book.*'\*'"):
        losses(book(segment=["*", "a", "a", "a"]), correlation={"a": 0.2, "*": 0.1})


def test_correlations_of_nobody_are_refused_with_the_closest_name():
    sectors = ["energy", "energy", "retail", "retail"]
    with pytest.raises(InputDataError, match="no obligor has the sector 'enery'; did you mean 'energy'"):
        losses(book(sector=sectors), sector_correlation={"enery": 0.1})
    with pytest.raises(InputDataError, match="no obligor has the segment 'zz'"):
        losses(book(), correlation={"a": 0.2, "zz": 0.1})


def test_a_single_currency_is_that_of_the_losses_and_several_need_rates():
    plain = losses(book())
    assert losses(book(currency=["EUR"] * 4)).es(0.99).value == plain.es(0.99).value
    assert losses(book(currency=["EUR"] * 4), fx={"EUR": 2.0}).es(0.99).value == 2.0 * plain.es(0.99).value
    several = book(currency=["EUR", "EUR", "USD", "USD"])
    with pytest.raises(InputDataError, match="no exchange rate for its currency") as raised:
        losses(several)
    assert "give credit_losses fx" in str(raised.value.hint)
    assert losses(several, fx={"EUR": 1.0, "USD": 1.0}).es(0.99).value == plain.es(0.99).value


def test_market_moves_are_refused_where_there_is_no_market(tmp_path):
    file = tmp_path / "scenarios.yaml"
    file.write_text(
        "- name: storm\n  book: both\n  shocks:\n"
        "    - select: {kind: equity}\n      move: {scale: 0.7}\n"
        "    - select: {segment: a}\n      lgd: {add: 0.1}\n"
    )
    with pytest.raises(InputDataError, match="'storm' moves market factors, and there is no market"):
        losses(book(), scenarios=file)


def test_a_single_segment_has_the_figures_of_the_whole_book():
    found = losses(book())
    rows = credit_table(found, levels=(0.99,), interval_level=0.95).to_pylist()
    by_segment = [
        {(row["measure"], row["level"]): row["value"] for row in rows if row["segment"] == name}
        for name in ("*", "a")
    ]
    for key, value in by_segment[0].items():
        assert by_segment[1][key] == value
    assert by_segment[1]["ES_contribution", 0.99] == pytest.approx(found.es(0.99).value, rel=1e-12)
    parts = [
        row["value"]
        for row in obligors_table(found, levels=(0.99,)).to_pylist()
        if row["measure"] == "ES_contribution"
    ]
    assert len(parts) == 5
    assert sum(parts) == pytest.approx(found.es(0.99).value, rel=1e-12)
