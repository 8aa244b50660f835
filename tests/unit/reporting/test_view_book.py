"""P&L explain and sensitivities in every state."""

from tests import report_night

from acceleray.reporting.collect_checks import build_facts
from acceleray.reporting.document import to_json
from acceleray.reporting.figures import Cursor
from acceleray.reporting.view_book import pnl, sensitivities


def facts(**variant):
    tables = report_night.tables(**variant)
    state = "PARTIAL" if variant.get("partial") else "COMPLETE"
    return to_json(build_facts(tables, report_night.settings(), report_night.night(state=state)))


def text(rich):
    return "".join(map(str, rich)).replace("\u202f", " ")


class TestPnl:
    def test_the_finding_names_the_total_the_largest_part_and_the_residual(self):
        view = pnl(Cursor(facts()))
        assert text(view["finding"]) == (
            "−84.8k in value since 27 Dec 2018; largest part: delta −91.3k; residual 3 %"
        )
        assert not view["large"]

    def test_a_large_residual_is_said_in_the_finding(self):
        view = pnl(Cursor(facts(partial=True)))
        assert text(view["finding"]).endswith("residual 14 %, above 10 %")
        assert view["large"]
        assert view["partial"]

    def test_shown_parts_add_up_to_the_shown_total(self):
        view = pnl(Cursor(facts()))
        tenths = [round(10 * float(str(row["value"]).replace("−", "-"))) for row in view["rows"]]
        assert sum(tenths) == round(10 * float(str(view["total"]["value"]).replace("−", "-"))) == -848

    def test_losses_are_blue_gains_grey_and_bars_float(self):
        rows = {row["name"]: row["step"] for row in pnl(Cursor(facts()))["rows"]}
        assert (rows["Delta"].kind, rows["Rates"].kind) == ("risk", "gain")
        assert rows["Carry and theta"].x == rows["Delta"].zero
        assert rows["Residual"].link is not None

    def test_fx_keeps_its_capitals_as_the_largest_part(self):
        document = facts()
        for term in document["pnl"]["terms"]:
            term["value"] = -84_850.0 if term["term"] == "fx" else 0.0
        assert "; largest part: FX −84.8k" in text(pnl(Cursor(document))["finding"])

    def test_a_total_of_zero_has_no_share(self):
        document = facts()
        document["pnl"] |= {"total": 0.0, "residual_share": None}
        for term in document["pnl"]["terms"]:
            term["value"] = 0.0
        view = pnl(Cursor(document))
        assert text(view["finding"]) == "0 in value since 27 Dec 2018"

    def test_the_first_night_is_one_sentence(self):
        view = pnl(Cursor(facts(empty=True)))
        assert view["reason"] == "No earlier night has been published to compare with."
        assert view["rows"] == []

    def test_cash_that_left_the_value_is_explained_where_there_is_some(self):
        document = facts()
        assert not pnl(Cursor(document))["settled"]
        document["pnl"]["terms"].insert(-2, {"term": "settled", "value": 0.1})
        assert pnl(Cursor(document))["settled"]


class TestSensitivities:
    def test_the_finding_says_what_one_unit_of_everything_does(self):
        view = sensitivities(Cursor(facts()))
        assert text(view["finding"]) == (
            "All prices and FX +1 %: +55.0k; all vols +1 point: +7.6k; all rates +1 bp: −5.3k; "
            "all spreads +1 bp: −0.9k; one calendar day: −5.3k"
        )

    def test_every_kind_states_its_unit(self):
        kinds = sensitivities(Cursor(facts()))["kinds"]
        assert [(x["name"], x["unit"].replace("\u202f", " "), x["money"]) for x in kinds] == [
            ("Delta", "per +1 % of level", "thousand USD"),
            ("Gamma", "change of delta per +1 %", "thousand USD"),
            ("Vega", "per +1 vol point", "thousand USD"),
            ("DV01", "per +1 bp of rate", "thousand USD"),
            ("CS01", "per +1 bp of spread", "USD"),
        ]

    def test_the_rest_is_one_line_and_all_together_another(self):
        delta, gamma, vega, *_ = sensitivities(Cursor(facts()))["kinds"]
        assert text(delta["others"]["name"]) == "other 4"
        assert str(delta["others"]["value"]) == "+10.0"
        assert str(delta["total"]) == "+55.0"
        assert vega["others"] is None
        # Of one factor there is nothing to add up, and of second derivatives no sum that means something.
        assert gamma["total"] is None

    def test_no_facts_no_section(self):
        assert sensitivities(Cursor(facts(empty=True))) is None

    def test_a_night_of_theta_alone_has_a_finding(self):
        document = facts()
        document["sensitivities"]["kinds"] = []
        view = sensitivities(Cursor(document))
        assert text(view["finding"]) == "One calendar day: −5.3k"
