"""Facts about the book as a whole are what the tables say."""

import dataclasses
import math

import pytest
from tests import book_night, report_night

from acceleray.domain.tables import contract
from acceleray.reporting import collect_book
from acceleray.reporting.collect_checks import build_facts
from acceleray.reporting.document import to_json


def with_rows(name, rows, **variant):
    tables = report_night.tables(**variant)
    schema = contract(name).schema
    tables[name] = schema.empty_table().from_pylist(rows, schema=schema)
    return tables


class TestExplain:
    def test_terms_are_in_the_order_of_the_page_and_add_up(self):
        found = collect_book.explain(report_night.tables(), "2018-12-28")
        assert [term.term for term in found.terms] == [
            "theta",
            "delta",
            "gamma",
            "cross_gamma",
            "vega",
            "rates",
            "spreads",
            "fx",
            "new_trades",
            "residual",
        ]
        # The total of ten terms, added in another order.
        assert math.fsum(term.value for term in found.terms) == pytest.approx(found.total, rel=1e-14)
        assert (found.from_date, found.to_date, found.reason) == ("2018-12-27", "2018-12-28", None)
        assert found.residual_share == pytest.approx(2_400.0 / abs(found.total), rel=1e-15)

    def test_terms_without_a_line_of_their_own_appear_where_they_are_not_zero(self):
        rows = book_night.explain(residual=0.0)
        for row in rows:
            row["value"] += {"settled": 700.0, "calibration": -50.0, "dividends": 9.0}.get(row["term"], 0.0)
        found = collect_book.explain(with_rows("result.explain", rows), "2018-12-28")
        names = [term.term for term in found.terms]
        assert [name for name in names if name in ("settled", "calibration", "dividends")] == [
            "dividends",
            "calibration",
            "settled",
        ]
        assert names[-1] == "residual"

    def test_the_first_night_has_a_reason_and_no_terms(self):
        found = collect_book.explain(report_night.tables(empty=True), "2018-12-28")
        assert found.terms == ()
        assert found.total is None
        assert found.reason == "no earlier night has been published to compare with"

    def test_a_total_of_zero_has_no_share(self):
        rows = [row | {"value": 0.0} for row in book_night.explain(residual=0.0)]
        assert collect_book.explain(with_rows("result.explain", rows), "2018-12-28").residual_share is None


class TestSensitivities:
    def test_the_largest_lead_and_the_rest_is_folded(self):
        found = collect_book.sensitivities(report_night.tables())
        kinds = {kind.measure: kind for kind in found.kinds}
        assert list(kinds) == ["delta_percent", "gamma_percent", "vega", "dv01", "cs01"]
        delta = kinds["delta_percent"]
        assert [x.factor_id for x in delta.factors] == ["AAPL", "MSFT", "SP500", "JPM", "AMD"]
        assert delta.others_count == 4
        assert (
            math.fsum([*(x.value for x in delta.factors), delta.others_value])
            == delta.total
            == sum(
                row["value"]
                for row in book_night.sensitivities()
                if row["measure"] == "delta_percent" and row["portfolio_id"] == "Fund"
            )
        )
        assert kinds["vega"].others_count == 0
        assert found.theta == -5_300.0

    def test_second_derivatives_have_no_total_because_their_cross_terms_are_not_in_it(self):
        kinds = collect_book.sensitivities(report_night.tables()).kinds
        assert [kind.measure for kind in kinds if kind.total is None] == ["gamma_percent"]

    def test_a_rest_of_one_is_named(self):
        rows = [row for row in book_night.sensitivities() if row["factor_id"] != "USD_1Y"]
        found = collect_book.sensitivities(with_rows("result.sensitivities", rows))
        (dv01,) = (kind for kind in found.kinds if kind.measure == "dv01")
        assert (len(dv01.factors), dv01.others_count) == (6, 0)

    def test_an_empty_table_is_no_section(self):
        assert collect_book.sensitivities(report_night.tables(empty=True)) is None


class TestActive:
    def test_every_portfolio_with_a_benchmark_the_fund_first(self):
        found = collect_book.active(report_night.tables(), report_night.settings())
        assert [(x.portfolio_id, x.benchmark_id) for x in found.portfolios] == [
            ("Fund", "POLICY"),
            ("Equity/US/Growth", "GROWTH"),
        ]
        fund = found.portfolios[0]
        assert fund.tracking_error.value == 0.0231
        assert fund.active_var.ci_high == 43_500.0
        assert (fund.largest.instrument_id, fund.largest.estimate.value) == ("AAPL", pytest.approx(28_700.0))
        assert fund.limit is None

    def test_a_limit_on_tracking_error_stands_beside_it(self):
        rows = report_night.tables()["check.limits"].to_pylist()
        limit = rows[0] | {"type": "tracking_error", "unit": "share", "level": 0.0, "horizon_days": 0}
        rows.append(limit | {"limit": 0.025, "warning": 0.02, "state": "warning", "value": 0.0231})
        found = collect_book.active(with_rows("check.limits", rows), report_night.settings())
        assert (found.portfolios[0].limit, found.portfolios[0].limit_state) == (0.025, "warning")

    def test_a_benchmark_that_cannot_be_priced_gives_its_reason(self):
        found = collect_book.active(report_night.tables(partial=True), report_night.settings())
        growth = found.portfolios[1]
        assert growth.tracking_error.value is None
        assert growth.tracking_error.note == "benchmark 'GROWTH': constituent 'X': no price"
        assert growth.largest is None

    def test_a_portfolio_that_was_not_measured_says_so(self):
        tables = with_rows("result.portfolio", [])
        found = collect_book.active(tables, report_night.settings())
        assert found.portfolios[0].tracking_error.note == "not computed: no position in it has a price"

    def test_without_a_benchmark_there_is_no_section(self):
        assert collect_book.active(report_night.tables(empty=True), report_night.settings()) is None


class TestCapital:
    def test_the_fund_and_its_children(self):
        found = collect_book.capital(report_night.tables(), report_night.settings())
        assert [x.portfolio_id for x in found.portfolios] == ["Fund", "Credit", "ETF", "Equity", "Overlay"]
        fund = found.portfolios[0]
        assert (fund.nav.value, fund.nav.note) == (12_000_000.0, "as given")
        assert fund.gross_leverage.value == 1.42
        assert fund.var.ci_low < fund.var.value < fund.var.ci_high
        assert [(x.currency, x.before.value, x.after.value) for x in found.currencies] == [
            ("EUR", 410_000.0, 35_000.0),
            ("JPY", 0.0, -220_000.0),
        ]

    def test_what_is_missing_has_only_its_reason(self):
        found = collect_book.capital(report_night.tables(partial=True), report_night.settings())
        overlay = found.portfolios[-1]
        assert overlay.days_mean.value is None
        assert overlay.days_mean.note.startswith("nothing held has an adv; ")
        assert overlay.var.note == "the NAV is -40000 (as given)"

    def test_an_empty_table_is_no_section(self):
        assert collect_book.capital(report_night.tables(empty=True), report_night.settings()) is None


class TestStressedEs:
    def test_it_takes_the_place_beside_the_headline_es(self):
        facts = build_facts(report_night.tables(), report_night.settings(), report_night.night())
        assert [tile.id for tile in facts.headline[:4]] == [
            "var-short",
            "es-short",
            "es-stressed",
            "expected-credit-loss",
        ]
        tile = facts.headline[2]
        assert (tile.window_from, tile.window_to) == ("2007-12-03", "2008-11-28")
        assert tile.estimate.value == pytest.approx(2.2 * facts.headline[1].estimate.value, rel=1e-15)
        assert tile.parts[0].label == "Equity"

    def test_without_it_the_longest_horizon_keeps_its_tile(self):
        facts = build_facts(report_night.tables(empty=True), report_night.settings(), report_night.night())
        assert [tile.id for tile in facts.headline] == ["var-short", "es-short", "var-long"]


def test_the_json_holds_the_same_facts():
    facts = build_facts(report_night.tables(), report_night.settings(), report_night.night())
    document = to_json(facts)
    for key in ("pnl", "sensitivities", "active", "capital"):
        assert set(document[key]) == {field.name for field in dataclasses.fields(getattr(facts, key))}
    assert document["pnl"]["terms"][1] == {"term": "delta", "value": -91_300.0}
    assert document["capital"]["currencies"][0]["after"]["value"] == 35_000.0
