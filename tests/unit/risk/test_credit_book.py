"""Reading the book: one order for every permutation, and an error that names the row. Shocks by segment."""

from __future__ import annotations

import datetime as dt
import math

import numpy as np
import pyarrow as pa
import pytest

from acceleray.config.models import Scenario
from acceleray.domain.tables import contract
from acceleray.errors import InputDataError, MissingDataError
from acceleray.risk.credit_book import read_credit_book, stress_credit_book

SCHEMA = contract("raw.obligors").schema
CORRELATION = {"retail": 0.08, "sme": 0.14, "corporate": 0.2, "unused": 0.5}


def table(*rows: dict[str, object]) -> pa.Table:
    base = {"segment": "retail", "ead": 100.0, "default_prob": 0.01, "lgd": 0.45}
    return pa.Table.from_pylist([base | {"obligor_id": f"o{i}"} | row for i, row in enumerate(rows)], SCHEMA)


BOOK = table(
    {"segment": "sme", "default_prob": 0.6, "lgd": 0.4, "asset_class": "sme", "sales": 8.0},
    {"segment": "retail", "default_prob": 0.02, "lgd": 0.9},
    {"segment": "corporate", "default_prob": 0.03, "lgd": 0.5, "maturity_years": 2.0},
    {"segment": "retail", "default_prob": 0.01, "lgd": 0.2},
    {"segment": "sme", "default_prob": 0.1, "lgd": 0.95},
)


def scenario(*shocks: dict[str, object], name: str = "s") -> Scenario:
    return Scenario.model_validate({"name": name, "book": "credit", "shocks": shocks})


class TestReading:
    def test_obligors_lie_by_segment_and_ascend_in_default_probability(self):
        book = read_credit_book(BOOK, CORRELATION)
        assert book.segments == ("corporate", "retail", "sme")
        assert book.slices == (slice(0, 1), slice(1, 3), slice(3, 5))
        assert book.correlation == (0.2, 0.08, 0.14)
        assert book.default_prob.tolist() == [0.03, 0.01, 0.02, 0.1, 0.6]
        assert book.asset_class.tolist() == ["", "", "", "", "sme"]
        np.testing.assert_array_equal(book.sales, [math.nan] * 4 + [8.0])
        np.testing.assert_array_equal(book.maturity_years, [2.0] + [math.nan] * 4)

    def test_the_order_of_rows_does_not_matter(self):
        book = read_credit_book(BOOK, CORRELATION)
        shuffled = read_credit_book(BOOK.take([4, 2, 0, 3, 1]), CORRELATION)
        for field in ("ead", "default_prob", "lgd", "asset_class", "maturity_years", "sales"):
            np.testing.assert_array_equal(getattr(book, field), getattr(shuffled, field))

    def test_a_chunked_table_is_read_like_a_whole_one(self):
        chunked = pa.concat_tables([BOOK.slice(0, 2), BOOK.slice(2)])
        assert read_credit_book(chunked, CORRELATION).segments == ("corporate", "retail", "sme")

    def test_bounds_are_good_values(self):
        rows = [{"default_prob": p, "lgd": lgd, "ead": 0.0} for p in (0.0, 1e-300, 1.0) for lgd in (0.0, 1.0)]
        assert len(read_credit_book(table(*rows), CORRELATION).ead) == 6

    @pytest.mark.parametrize(
        ("column", "value"),
        [
            ("default_prob", -0.01),
            ("default_prob", 1.5),
            ("default_prob", math.nan),
            ("default_prob", None),
            ("lgd", 45.0),
            ("lgd", -0.1),
            ("lgd", math.nan),
            ("lgd", None),
            ("ead", -1.0),
            ("ead", math.inf),
            ("ead", math.nan),
            ("ead", None),
            ("segment", None),
            ("asset_class", "loan"),
            ("maturity_years", -1.0),
            ("maturity_years", math.inf),
            ("sales", -1.0),
        ],
    )
    def test_a_bad_value_is_named_with_its_obligor(self, column, value):
        with pytest.raises(InputDataError, match=rf"obligor 'o1': {column} must be .*was .*\(1 such"):
            read_credit_book(table({}, {column: value}, {}), CORRELATION)

    def test_a_segment_without_correlation(self):
        with pytest.raises(InputDataError, match="segment 'sme' of the credit book has no correlation"):
            read_credit_book(BOOK, {"retail": 0.1, "corporate": 0.1})

    @pytest.mark.parametrize("rho", [1.0, -0.1, math.nan])
    def test_a_correlation_out_of_range(self, rho):
        with pytest.raises(InputDataError, match=r"correlation\.retail must lie"):
            read_credit_book(BOOK, CORRELATION | {"retail": rho})

    def test_no_obligors(self):
        with pytest.raises(MissingDataError, match="no obligors"):
            read_credit_book(BOOK.slice(0, 0), CORRELATION)


class TestStress:
    book = read_credit_book(BOOK, CORRELATION)

    def test_no_shock_leaves_the_book_as_it_is(self):
        base = stress_credit_book(self.book, scenario(name="base"))
        assert base.default_prob.tolist() == self.book.default_prob.tolist()
        assert base.lgd.tolist() == self.book.lgd.tolist()
        assert not base.default_prob_limited.any()
        assert not base.lgd_limited.any()

    def test_shocks_apply_to_their_segments_in_order_and_are_limited_once_at_the_end(self):
        stress = stress_credit_book(
            self.book,
            scenario(
                {"select": {"segment": "*"}, "default_prob": {"scale": 2.0}},
                {"select": {"segment": "s*"}, "default_prob": {"add": -0.1}, "lgd": {"add": 0.07}},
                {"select": {"segment": "retail"}, "lgd": {"scale": 1.2}},
            ),
        )
        np.testing.assert_allclose(stress.default_prob, [0.06, 0.02, 0.04, 0.1, 1.0], rtol=1e-15)
        np.testing.assert_allclose(stress.lgd, [0.5, 0.24, 1.0, 1.0, 0.47], rtol=1e-15)
        assert stress.default_prob_limited.tolist() == [0, 0, 1]
        assert stress.lgd_limited.tolist() == [0, 1, 1]

    def test_a_probability_does_not_fall_below_zero(self):
        shock = {"select": {"segment": "retail"}, "default_prob": {"add": -0.015}}
        stress = stress_credit_book(self.book, scenario(shock))
        np.testing.assert_allclose(stress.default_prob[1:3], [0.0, 0.005], rtol=1e-13)
        assert stress.default_prob_limited.tolist() == [0, 1, 0]

    def test_a_selector_that_matches_nothing_is_named_with_its_scenario(self):
        shock = {"select": {"segment": "Retail*"}, "lgd": {"add": 0.1}}
        with pytest.raises(InputDataError, match=r"scenario 'slump' selects segment 'Retail\*'"):
            stress_credit_book(self.book, scenario(shock, name="slump"))

    @pytest.mark.parametrize(
        ("shock", "message"),
        [
            ({"select": {"segment": "*"}, "move": {"scale": 0.7}}, "must select by segment alone"),
            ({"select": {"kind": "spot"}, "lgd": {"add": 0.1}}, "must select by segment alone"),
            ({"select": {"segment": "*", "id": "SPX"}, "lgd": {"add": 0.1}}, "must select by segment alone"),
            ({"select": {"segment": "*"}, "default_prob": {"scale": -1.0}}, "negative"),
        ],
    )
    def test_a_shock_that_is_not_for_credit(self, shock, message):
        with pytest.raises(InputDataError, match=message):
            stress_credit_book(self.book, scenario(shock))

    def test_a_historical_window(self):
        window = Scenario.model_validate(
            {"name": "w", "book": "credit", "from": dt.date(2008, 9, 1), "to": dt.date(2008, 10, 1)}
        )
        with pytest.raises(InputDataError, match="cannot replay"):
            stress_credit_book(self.book, window)
