"""Facts about the loan book, whatever its scenarios are called."""

import math

import pyarrow as pa
import pytest
from tests import report_night
from tests.unit.risk.test_credit_methods import loans

from acceleray.config.models import CreditSettings, Scenario, SimulateSettings
from acceleray.domain.tables import contract
from acceleray.reporting.collect_checks import build_facts
from acceleray.reporting.collect_credit import credit, reference_scenario
from acceleray.reporting.document import to_json
from acceleray.reporting.page import render_page
from acceleray.risk.credit import credit_losses
from acceleray.risk.credit_blocks import WHOLE, Portfolio
from acceleray.risk.credit_measures import credit_table, curve_table, obligors_table

WORSE = {"select": {"segment": "*"}, "default_prob": {"scale": 2.0}}
CRASH = {"select": {"kind": "spot"}, "move": {"scale": 0.7}}


def scenario(name, *shocks, book="credit"):
    return Scenario.model_validate({"name": name, "book": book, "shocks": shocks})


def night(scenarios):
    """Tables of a night whose loan book has the given scenarios, by size of loss."""
    tables = report_night.tables()
    for name, rows in report_night.credit_tables(scenarios).items():
        tables[name] = pa.Table.from_pylist(rows, schema=contract(name).schema)
    return tables


@pytest.fixture(scope="module")
def found():
    return credit(report_night.tables(), report_night.settings())


class TestReference:
    def test_it_is_the_first_of_the_file_that_changes_nothing(self):
        file = [scenario("bad", WORSE), scenario("as is"), scenario("again"), scenario("worse", WORSE)]
        assert reference_scenario(["again", "as is", "bad", "worse"], file) == "as is"

    def test_where_each_changes_something_it_is_the_first_of_the_file(self):
        file = [scenario("worse", WORSE), scenario("bad", WORSE)]
        assert reference_scenario(["bad", "worse"], file) == "worse"

    def test_scenarios_of_the_market_are_passed_over(self):
        file = [scenario("a crash", CRASH, book="market"), scenario("bad", WORSE)]
        assert reference_scenario(["bad"], file) == "bad"

    def test_the_base_that_is_run_without_a_file_is_found(self):
        assert reference_scenario(["base"], []) == "base"

    def test_scenarios_of_other_names_make_a_page(self):
        tables = night({"adverse": 2.5, "today": 1.0, "both_fall": 1.8})
        file = [scenario("adverse", WORSE), scenario("today"), scenario("both_fall", CRASH, book="both")]
        document = to_json(build_facts(tables, report_night.settings(), report_night.night(), file))
        assert document["credit"]["reference"] == "today"
        cases = document["credit"]["scenarios"]
        assert [x["scenario"] for x in cases] == ["today", "both_fall", "adverse"]
        assert [x["market_too"] for x in cases] == [False, True, False]
        assert {x["scenario"] for x in document["credit"]["segments"]} == {"today"}
        tile = next(x for x in document["headline"] if x["id"] == "expected-credit-loss")
        assert tile["scenario"] == "today"
        assert tile["estimate"]["value"] == cases[0]["expected_loss"]["value"]
        page = render_page(document)
        assert "1 year, today" in page
        assert "“Both fall” also revalues the market book" in page
        assert "segment *, scenario today, measure expected_loss" in page

    def test_one_shocked_scenario_alone_makes_a_page(self):
        file = [scenario("adverse", WORSE)]
        document = to_json(
            build_facts(night({"adverse": 2.5}), report_night.settings(), report_night.night(), file)
        )
        assert document["credit"]["reference"] == "adverse"
        assert "over 1 year is" in render_page(document)


class TestFigures:
    def test_every_level_of_the_settings_is_there_in_ascending_order(self, found):
        for case in (*found.scenarios, *found.segments):
            assert [x.level for x in case.levels] == [0.95, 0.99, 0.999]
            assert None not in [x.var.value for x in case.levels] + [x.es.value for x in case.levels]

    def test_capital_is_var_less_expected_loss(self, found):
        for case in found.scenarios:
            for at in case.levels:
                assert at.economic_capital.value == pytest.approx(
                    at.var.value - case.expected_loss.value, rel=1e-12
                )

    def test_contributions_of_the_segments_add_up_to_the_es(self, found):
        for number, at in enumerate(found.scenarios[0].levels):
            assert at.contribution is None
            parts = [x.levels[number].contribution.value for x in found.segments]
            assert math.fsum(parts) == pytest.approx(at.es.value, rel=1e-12)

    def test_basel_capital_is_taken_at_its_own_level(self):
        settings = report_night.settings(simulate={"credit": {"levels": [0.95, 0.99]}})
        found = credit(report_night.tables(), settings)
        assert found.level == 0.99
        assert found.scenarios[0].irb_capital.value == 6.9e6

    def test_the_method_its_reason_and_its_checks_come_along(self, found):
        base, severe = found.scenarios[0], found.scenarios[-1]
        assert (base.method, base.n_paths, base.distance) == ("conditional", 2048, 0.84)
        assert base.why == "not exact: 12 factors"
        assert base.levels[-1].tail_paths is None
        assert (severe.method, severe.distance) == ("plain", None)
        assert "not conditional" in severe.why
        assert severe.levels[-1].tail_paths == pytest.approx(4.0)


class TestTail:
    def test_names_and_others_add_up(self, found):
        tail, whole = found.tail, found.scenarios[0].levels[-1]
        assert len(tail.names) == 10
        assert [x.es for x in tail.names] == sorted((x.es for x in tail.names), reverse=True)
        assert math.fsum([*(x.es for x in tail.names), tail.others_es]) == pytest.approx(whole.es.value)
        assert math.fsum([*(x.var for x in tail.names), tail.others_var]) == pytest.approx(whole.var.value)
        assert tail.names[0].es_share == pytest.approx(0.012)

    def test_a_method_that_does_not_split_the_tail_has_none(self):
        tables = report_night.tables()
        tables["result.credit_obligors"] = tables["result.credit_obligors"].slice(0, 0)
        assert credit(tables, report_night.settings()).tail is None


def test_what_a_real_simulation_writes_arrives():
    file = [scenario("adverse", WORSE), scenario("today")]
    levels = (0.95, 0.99)
    chosen = CreditSettings(n_paths=2000, scrambles=4, points=8, levels=levels)
    losses = credit_losses(loans(300, loadings=3), file, SimulateSettings(seed=11, credit=chosen))
    tables = report_night.tables() | {
        "result.credit": credit_table(losses, levels=levels, interval_level=0.95),
        "result.credit_curve": curve_table(losses),
        "result.credit_obligors": obligors_table(losses, levels=levels),
    }
    settings = report_night.settings(simulate={"credit": {"levels": list(levels)}})
    found = credit(tables, settings, file)
    assert [x.scenario for x in found.scenarios] == ["today", "adverse"]
    for case in found.scenarios:
        assert (case.method, case.why) == losses.method(scenario=case.scenario)
        assert case.levels[-1].var.value == losses.var(0.99, scenario=case.scenario).value
        assert case.levels[-1].es.ci_low == losses.es(0.99, scenario=case.scenario).ci_low
        whole = Portfolio(scenario=losses.scenarios.index(case.scenario), segment=WHOLE)
        assert case.distance == losses.found[whole].distance
    assert losses.method(scenario="today")[0] == "conditional"
    book = {str(name): number for number, name in enumerate(losses.book.obligor_ids)}
    for name in found.tail.names:
        assert name.ead == losses.book.ead[book[name.obligor_id]]
        assert name.default_prob == losses.book.default_prob[book[name.obligor_id]]
