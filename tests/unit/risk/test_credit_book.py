"""Reading the book: one order for every permutation, cells of like obligors, errors that name an obligor."""

from __future__ import annotations

import math
from time import perf_counter

import numpy as np
import pyarrow as pa
import pytest

from acceleray.config.credit import CreditSettings
from acceleray.domain.tables import contract
from acceleray.errors import InputDataError, MissingDataError
from acceleray.risk.credit_book import CreditBook, read_credit_book

SCHEMA = contract("raw.obligors").schema
CORRELATION = {"retail": 0.08, "sme": 0.14, "corporate": 0.2, "unused": 0.5}
SETTINGS = CreditSettings(correlation=CORRELATION)


def table(*rows: dict[str, object]) -> pa.Table:
    base = {"segment": "retail", "ead": 100.0, "default_prob": 0.01, "lgd": 0.45}
    return pa.Table.from_pylist([base | {"obligor_id": f"o{i}"} | row for i, row in enumerate(rows)], SCHEMA)


def loaded(**loadings: float) -> dict[str, object]:
    return {"segment": "loaded", "loadings": list(loadings.items())}


BOOK = table(
    {"segment": "sme", "default_prob": 0.6, "lgd": 0.4, "asset_class": "sme", "sales": 8.0},
    {"segment": "retail", "default_prob": 0.02, "lgd": 0.9},
    {"segment": "corporate", "default_prob": 0.03, "lgd": 0.5, "maturity_years": 2.0},
    {"segment": "retail", "default_prob": 0.01, "lgd": 0.2},
    {"segment": "sme", "default_prob": 0.1, "lgd": 0.95},
)


def assert_same(one: CreditBook, other: CreditBook) -> None:
    assert (one.segments, one.factors.names) == (other.segments, other.factors.names)
    assert one.obligor_ids.equals(other.obligor_ids)
    for name in (
        "segment_cells",
        "cells",
        "loadings",
        "ead",
        "default_prob",
        "lgd",
        "recovery",
        "asset_class",
        "maturity_years",
        "sales",
    ):
        np.testing.assert_array_equal(getattr(one, name), getattr(other, name))
    for name in ("mean", "std", "correlation"):
        np.testing.assert_array_equal(getattr(one.recoveries, name), getattr(other.recoveries, name))


def random_book(n: int, *, seed: int = 3) -> pa.Table:
    """Half of the obligors with loadings of their own on ten factors, half from the settings."""
    rng = np.random.default_rng(seed)
    with_loadings = rng.random(n) < 0.5
    lengths = np.where(with_loadings, 10, 0)
    total = int(lengths.sum())
    names = pa.array([f"f{i}" for i in range(10)]).take(pa.array(np.arange(total) % 10))
    loadings = pa.MapArray.from_arrays(
        pa.array(np.concatenate([[0], np.cumsum(lengths)]).astype(np.int32)),
        names,
        pa.array(rng.uniform(-0.1, 0.3, total)),
    )
    columns = {
        "obligor_id": pa.array([f"o{i:07d}" for i in range(n)]),
        "segment": pa.array(np.where(with_loadings, "loaded", rng.choice(["retail", "sme", "corporate"], n))),
        "ead": pa.array(rng.lognormal(8, 1, n)),
        "default_prob": pa.array(rng.beta(1, 60, n)),
        "lgd": pa.array(rng.choice([0.25, 0.45, 0.6], n)),
        "lgd_std": pa.array(rng.choice([0.0, 0.1, 0.2], n)),
        "currency": pa.array(rng.choice(["USD", "EUR"], n)),
        "sector": pa.array(np.where(with_loadings, "none", rng.choice(["oil", "banks", "other"], n))),
        "country": pa.array(np.where(with_loadings, "none", rng.choice(["US", "DE", "FR"], n))),
        "loadings": loadings,
    }
    arrays = [columns[field.name] if field.name in columns else pa.nulls(n, field.type) for field in SCHEMA]
    return pa.table(arrays, schema=SCHEMA)


MIXED = CreditSettings(
    correlation=CORRELATION,
    sector_correlation={"oil": 0.1, "banks": 0.05},
    country_correlation={"US": 0.02, "DE": 0.03, "FR": 0.02},
)
FX = {"USD": 1.0, "EUR": 1.25}


class TestReading:
    def test_obligors_lie_by_segment_and_ascend_in_default_probability(self):
        book = read_credit_book(BOOK, SETTINGS)
        assert book.segments == ("corporate", "retail", "sme")
        assert book.slices == (slice(0, 1), slice(1, 3), slice(3, 5))
        assert book.obligor_ids.to_pylist() == ["o2", "o3", "o1", "o4", "o0"]
        assert book.factors.names == ("world",)
        np.testing.assert_allclose(book.systematic_variance, (0.2, 0.08, 0.14), rtol=1e-15)
        assert book.default_prob.tolist() == [0.03, 0.01, 0.02, 0.1, 0.6]
        assert book.asset_class.tolist() == ["", "", "", "", "sme"]
        np.testing.assert_array_equal(book.sales, [math.nan] * 4 + [8.0])
        np.testing.assert_array_equal(book.maturity_years, [2.0] + [math.nan] * 4)

    def test_the_order_of_rows_does_not_matter(self):
        book = read_credit_book(BOOK, SETTINGS)
        assert_same(book, read_credit_book(BOOK.take([4, 2, 0, 3, 1]), SETTINGS))

    def test_the_order_of_rows_does_not_matter_for_a_book_with_everything(self):
        rows = random_book(400)
        order = np.random.default_rng(9).permutation(rows.num_rows)
        shuffled = read_credit_book(rows.take(pa.array(order)), MIXED, fx=FX)
        assert_same(read_credit_book(rows, MIXED, fx=FX), shuffled)

    def test_a_chunked_table_is_read_like_a_whole_one(self):
        rows = random_book(50)
        chunked = pa.concat_tables([rows.slice(0, 20), rows.slice(20)])
        assert_same(read_credit_book(rows, MIXED, fx=FX), read_credit_book(chunked, MIXED, fx=FX))

    def test_bounds_are_good_values(self):
        rows = [{"default_prob": p, "lgd": lgd, "ead": 0.0} for p in (0.0, 1e-300, 1.0) for lgd in (0.0, 1.0)]
        assert len(read_credit_book(table(*rows), SETTINGS).ead) == 6

    def test_no_obligors(self):
        with pytest.raises(MissingDataError, match="no obligors"):
            read_credit_book(BOOK.slice(0, 0), SETTINGS)

    def test_exposures_are_converted(self):
        rows = table({"currency": "EUR"}, {"currency": "USD"}, {})
        assert read_credit_book(rows, SETTINGS, fx=FX).ead.tolist() == [125.0, 100.0, 100.0]

    def test_laws_of_the_loss_given_default_are_shared_within_a_segment(self):
        rows = table(
            {"lgd_std": 0.2},
            {},
            {"lgd_std": 0.2, "default_prob": 0.5},
            {"lgd_std": 0.2, "segment": "sme"},
            {"lgd_std": 0.0},
        )
        settings = CreditSettings(correlation=CORRELATION, lgd_correlation={"sme": 0.3, "absent": 0.1})
        book = read_credit_book(rows, settings)
        laws = book.recoveries
        assert laws.mean.size == 3
        of = dict(zip(book.obligor_ids.to_pylist(), book.recovery.tolist(), strict=True))
        assert of["o0"] == of["o2"]
        assert of["o1"] == of["o4"]
        assert [laws.std[of[name]] for name in ("o0", "o1", "o3")] == [0.2, 0.0, 0.2]
        assert [laws.correlation[of[name]] for name in ("o0", "o3")] == [0.0, 0.3]

    # A stopwatch with room for a slow machine: a tenth of the million that takes seconds.
    def test_a_large_book_is_read_without_a_loop_over_its_rows(self):
        rows = random_book(100_000)
        begin = perf_counter()
        book = read_credit_book(rows, MIXED, fx=FX)
        assert perf_counter() - begin < 5.0
        assert book.default_prob.size == 100_000
        assert np.all(np.diff(book.default_prob)[np.setdiff1d(np.arange(99_999), book.cells[1:] - 1)] >= 0)


class TestCells:
    def test_sector_and_country_add_shares_to_the_segment(self):
        rows = table(
            {"sector": "oil", "country": "US"},
            {"sector": "other", "country": "US"},
            {"sector": "oil", "country": "US", "default_prob": 0.001},
            {},
            {"segment": "sme", "sector": "oil", "country": "US"},
        )
        settings = CreditSettings(
            correlation=CORRELATION,
            sector_correlation={"oil": 0.1, "absent": 0.3},
            country_correlation={"US": 0.05},
        )
        book = read_credit_book(rows, settings)
        assert book.factors.names == ("country:US", "sector:oil", "world")
        assert book.segment_cells.tolist() == [0, 3, 4]
        found = {
            tuple(book.obligor_ids[first:stop].to_pylist()): tuple(book.loadings[cell])
            for cell, (first, stop) in enumerate(zip(book.cells[:-1], book.cells[1:], strict=True))
        }
        us, oil = math.sqrt(0.05), math.sqrt(0.1)
        assert found == {
            ("o2", "o0"): (us, oil, math.sqrt(0.08)),
            ("o1",): (us, 0.0, math.sqrt(0.08)),
            ("o3",): (0.0, 0.0, math.sqrt(0.08)),
            ("o4",): (us, oil, math.sqrt(0.14)),
        }

    def test_loadings_of_the_file(self):
        rows = table(
            loaded(world=0.5, oil=0.2), loaded(world=0.5), loaded(oil=0.2, world=0.5), {}, loaded(oil=0.0)
        )
        book = read_credit_book(rows, SETTINGS)
        assert book.factors.names == ("oil", "world")
        at = dict(
            zip(book.obligor_ids.to_pylist(), np.repeat(np.arange(4), np.diff(book.cells)), strict=True)
        )
        assert at["o0"] == at["o2"]
        assert book.loadings[at["o0"]].tolist() == [0.2, 0.5]
        assert book.loadings[at["o1"]].tolist() == [0.0, 0.5]
        # The factor `world` of the settings is the one of that column.
        assert book.loadings[at["o3"]].tolist() == [0.0, math.sqrt(0.08)]
        assert book.loadings[at["o4"]].tolist() == [0.0, 0.0]

    def test_correlated_factors(self):
        settings = CreditSettings(factor_correlation={"oil": {"world": 0.5}})
        book = read_credit_book(table(loaded(world=0.6, oil=0.3)), settings)
        np.testing.assert_array_equal(book.factors.covariance, [[1.0, 0.5], [0.5, 1.0]])
        # 0.36 + 0.09 + 2 x 0.5 x 0.18
        np.testing.assert_allclose(book.systematic_variance, [0.63], rtol=1e-15)


class TestErrors:
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
            ("lgd_std", -0.1),
            ("lgd_std", math.inf),
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
            read_credit_book(table({}, {column: value}, {}), SETTINGS)

    def test_a_spread_that_no_law_with_that_mean_has(self):
        # sqrt(0.2 x 0.8) = 0.4
        message = r"obligor 'o1': lgd_std must be below sqrt\(lgd \* \(1 - lgd\)\) = 0.4, was 0.41"
        with pytest.raises(InputDataError, match=message):
            read_credit_book(table({}, {"lgd": 0.2, "lgd_std": 0.41}), SETTINGS)

    @pytest.mark.parametrize("fx", [None, {"EUR": 1.25}, {"CHF": math.nan}])
    def test_a_currency_without_exchange_rate(self, fx):
        with pytest.raises(InputDataError, match=r"obligor 'o1': .* exchange rate for its currency CHF"):
            read_credit_book(table({}, {"currency": "CHF"}), SETTINGS, fx=fx)

    def test_a_repeated_obligor(self):
        rows = table({}, {"obligor_id": "same"}, {"obligor_id": "same"})
        with pytest.raises(InputDataError, match=r"obligor 'same' appears more than once \(1 rows too many"):
            read_credit_book(rows, SETTINGS)

    def test_an_obligor_without_id(self):
        nameless = BOOK.set_column(
            0, pa.field("obligor_id", pa.string()), pa.array(["a", None, "b", "c", "d"])
        )
        with pytest.raises(InputDataError, match="1 obligors have no obligor_id"):
            read_credit_book(nameless, SETTINGS)

    def test_neither_correlation_nor_loadings(self):
        settings = CreditSettings(correlation={"retail": 0.1, "corporate": 0.1})
        message = r"obligor 'o0': its segment 'sme' has no correlation, nor has it loadings \(2 such"
        with pytest.raises(InputDataError, match=message):
            read_credit_book(BOOK, settings)

    @pytest.mark.parametrize(
        ("setting", "values"),
        [
            ("correlation", {"loaded": 0.1}),
            ("sector_correlation", {"oil": 0.1}),
            ("country_correlation", {"US": 0.1}),
        ],
    )
    def test_both_correlation_and_loadings(self, setting, values):
        rows = table(loaded(world=0.5) | {"sector": "oil", "country": "US"})
        name = next(iter(values))
        with pytest.raises(
            InputDataError, match=rf"obligor 'o0': has loadings .* simulate.credit.{setting}.{name}"
        ):
            read_credit_book(rows, CreditSettings.model_validate({setting: values}))

    @pytest.mark.parametrize("value", [1.01, -1.5, math.nan, math.inf, None])
    def test_a_loading_out_of_range(self, value):
        rows = table(loaded(world=0.5), loaded(oil=value))
        with pytest.raises(
            InputDataError, match=r"obligor 'o1': loading_oil must be a number in \[-1, 1\], was"
        ):
            read_credit_book(rows, SETTINGS)

    def test_loadings_as_long_as_one(self):
        rows = table(loaded(world=0.5), loaded(world=0.6, oil=0.8), loaded(world=-0.6, oil=0.8))
        with pytest.raises(InputDataError, match=r"obligor 'o[12]': .*to explain 1 of it \(2 such"):
            read_credit_book(rows, SETTINGS)

    def test_shares_that_add_up_to_one(self):
        settings = CreditSettings(correlation={"retail": 0.75}, sector_correlation={"oil": 0.5})
        with pytest.raises(InputDataError, match=r"obligor 'o1': .*to explain 1.25 of it \(1 such"):
            read_credit_book(table({}, {"sector": "oil"}), settings)
        whole = CreditSettings(correlation={"retail": 0.5}, sector_correlation={"oil": 0.5})
        with pytest.raises(InputDataError, match=r"obligor 'o0': .*to explain 1 of it"):
            read_credit_book(table({"sector": "oil"}), whole)

    def test_correlated_factors_count_their_correlation(self):
        settings = CreditSettings(factor_correlation={"oil": {"world": 0.125}})
        # 2 x 0.49 x (1 + 0.125)
        with pytest.raises(InputDataError, match=r"to explain 1\.1025 of it"):
            read_credit_book(table(loaded(world=0.7, oil=0.7), loaded(world=0.1)), settings)

    def test_an_unknown_factor_in_the_correlation_of_factors(self):
        settings = CreditSettings(factor_correlation={"oil": {"wrold": 0.9}})
        with pytest.raises(InputDataError, match="factor_correlation: the loan book has no factor 'wrold'"):
            read_credit_book(table(loaded(world=0.7, oil=0.1)), settings)

    def test_correlations_that_no_factors_can_have(self):
        settings = CreditSettings(factor_correlation={"a": {"b": 0.9, "c": 0.9}, "b": {"c": -0.9}})
        with pytest.raises(
            InputDataError, match=r"factor_correlation must be positive definite, .* was -0.8"
        ):
            read_credit_book(table(loaded(a=0.1, b=0.1, c=0.1)), settings)
