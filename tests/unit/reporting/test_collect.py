"""Facts are what the tables say."""

import math

import numpy as np
import pytest
from tests import report_night

from acceleray.errors import LineageError, MissingDataError, NumericalError
from acceleray.reporting.collect_checks import RUN_KEYS, build_facts
from acceleray.reporting.document import facts_sha256, to_json


def facts(**changes):
    return build_facts(report_night.tables(**changes), report_night.settings(), report_night.night())


@pytest.fixture(scope="module")
def complete():
    return facts()


class TestMarketRisk:
    def test_the_distribution_and_the_measures_tell_the_same_var_and_es(self, complete):
        pnl = report_night.tables()["result.pnl"].to_pylist()
        losses = np.zeros(500)
        for row in pnl:
            losses[row["scenario"]] -= row["pnl"]
        ranked = np.sort(losses)
        var, es = complete.distribution.var.value, complete.distribution.es.value
        # 14 positions summed in another order: a few rounding errors of the largest term.
        assert abs(ranked[494] - var) < 1e-9 * var
        assert abs(ranked[-13:].mean() - es) < 1e-9 * es
        assert sum(x.count for x in complete.distribution.bins) == 500
        assert sum(x.tail_count for x in complete.distribution.bins) == 13
        assert abs(complete.distribution.worst[0].loss - ranked[-1]) < 1e-9 * ranked[-1]

    def test_bins_hold_what_lies_in_them(self, complete):
        for x in complete.distribution.worst:
            assert any(b.low <= x.loss < b.high and b.tail_count for b in complete.distribution.bins)

    def test_contributions_add_up(self, complete):
        found = complete.drivers
        assert abs(found.residual) < 1e-9 * found.total.value
        names = math.fsum(x.value for x in found.adding + found.reducing) + found.others_value
        assert abs(names - found.total.value) < 1e-9 * found.total.value
        assert found.diversification == pytest.approx(found.standalone_total - found.total.value, rel=1e-12)

    def test_stress_is_worst_first(self, complete):
        assert complete.stress.scenarios[0].scenario == "Equities down 20 %"
        assert [x.pnl for x in complete.stress.scenarios] == sorted(x.pnl for x in complete.stress.scenarios)

    def test_limits_are_breaches_then_warnings_then_by_utilisation(self, complete):
        assert [x.state for x in complete.limits] == [
            "breach",
            "warning",
            "warning",
            "inside",
            "indicative",
            "inside",
        ]
        assert complete.limit_counts == {"breach": 1, "warning": 2, "inside": 2, "indicative": 1}

    def test_exceptions_are_the_days_whose_loss_exceeds_the_forecast(self, complete):
        days = complete.backtest.days
        assert len(days) == 250
        assert sum(day.exception for day in days) == complete.backtest.headline.exceptions
        assert all(day.exception == (-day.pnl > day.var) for day in days)

    def test_without_the_root_node_there_is_no_report(self):
        tables = report_night.tables()
        tables["result.measures"] = tables["result.measures"].slice(0, 0)
        with pytest.raises(MissingDataError, match="Fund"):
            build_facts(tables, report_night.settings(), report_night.night())


class TestStateAndCoverage:
    def test_a_whole_night_is_complete_with_warnings(self, complete):
        assert complete.state == "COMPLETE"
        assert complete.coverage.value == 1.0
        assert [x.factor_id for x in complete.data.aged] == ["BAA"]

    def test_an_excluded_position_and_a_rejected_row_make_it_partial(self):
        found = facts(partial=True)
        assert found.state == "PARTIAL"
        assert found.partial_reasons == ("positions excluded", "rows rejected")
        sizes = [abs(size) for *_, size in report_night._POSITIONS]
        assert found.coverage.value == pytest.approx(1 - 1.1e6 / sum(sizes), rel=1e-12)

    def test_coverage_is_unknown_when_an_excluded_position_has_no_value(self):
        tables = report_night.tables(partial=True)
        values = [
            row | ({"market_value": None} if row["status"] != "ok" else {})
            for row in tables["result.values"].to_pylist()
        ]
        tables["result.values"] = tables["result.values"].from_pylist(values, tables["result.values"].schema)
        found = build_facts(tables, report_night.settings(), report_night.night())
        assert found.coverage.value is None
        assert found.coverage.reason
        assert (found.coverage.positions_included, found.coverage.positions_total) == (13, 14)

    def test_a_night_that_stopped_early_is_partial_though_nothing_is_missing(self):
        found = build_facts(
            report_night.tables(), report_night.settings(), report_night.night(state="PARTIAL")
        )
        assert found.state == "PARTIAL"

    def test_prices_from_tables_are_named_with_the_largest_error(self):
        tables = report_night.tables()
        schema = tables["check.quality"].schema
        more = [
            {"kind": "approximate", "subject": f"Hedge/{name}", "severity": "note", "value": error}
            for name, error in (("PUT", 1.25), ("CALL", 1234.5))
        ]
        tables["check.quality"] = tables["check.quality"].from_pylist(
            [*tables["check.quality"].to_pylist(), *more], schema
        )
        found = build_facts(tables, report_night.settings(), report_night.night())
        assert found.data.approximations[-1] == (
            "2 position(s) are priced from tables under the scenarios; the error of a price is at most "
            "1,234.50 USD, of Hedge/CALL"
        )

    def test_sections_without_facts_are_absent(self):
        found = facts(empty=True)
        assert found.limits == ()
        assert [
            found.drivers,
            found.distribution,
            found.stress,
            found.backtest,
            found.credit,
            found.early_warning,
        ] == [None] * 6
        assert [tile.id for tile in found.headline] == ["var-short", "es-short", "var-long"]


class TestOtherBooks:
    def test_credit_is_the_whole_book_base_first_and_its_segments(self, complete):
        assert [x.scenario for x in complete.credit.scenarios] == [
            "base",
            "rate shock",
            "mild recession",
            "severe recession",
        ]
        assert [x.segment for x in complete.credit.segments] == ["SME", "corporate", "retail"]
        assert complete.credit.obligors == 2000
        assert complete.credit.level == 0.999

    def test_the_queue_leaves_out_roll_ups_and_counts_what_was_scored(self, complete):
        found = complete.early_warning
        assert found.scored == 12
        assert all(x.instrument_id != "*" for x in found.names)
        assert {x.bucket for x in found.names} <= {"high", "watch"}
        assert found.flagged == len(found.names) == sum(x.value for x in found.counts[:2])


class TestProvenance:
    @pytest.mark.parametrize("key", RUN_KEYS)
    def test_a_run_record_with_a_gap_is_refused(self, key):
        night = report_night.night()
        del night[key]
        with pytest.raises(LineageError, match=key):
            build_facts(report_night.tables(), report_night.settings(), night)

    def test_equal_nights_have_equal_hashes_whenever_they_ran(self, complete):
        later = build_facts(
            report_night.tables(), report_night.settings(), report_night.night(historical=True)
        )
        assert facts_sha256(to_json(complete)) == facts_sha256(to_json(later))
        assert facts_sha256(to_json(complete)) != facts_sha256(to_json(facts(partial=True)))

    def test_a_figure_that_is_not_finite_never_reaches_the_page(self):
        tables = report_night.tables()
        rows = tables["result.measures"].to_pylist()
        rows[0]["value"] = math.nan
        fund = next(row for row in rows if row["portfolio_id"] == "Fund")
        fund["value"] = math.nan
        tables["result.measures"] = tables["result.measures"].from_pylist(
            rows, tables["result.measures"].schema
        )
        with pytest.raises(NumericalError, match="finite"):
            to_json(build_facts(tables, report_night.settings(), report_night.night()))
