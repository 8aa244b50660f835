"""Active risk and capital in every state."""

from tests import report_night

from acceleray.reporting.collect_checks import build_facts
from acceleray.reporting.document import to_json
from acceleray.reporting.figures import Cursor
from acceleray.reporting.view_portfolio import active, capital


def facts(**variant):
    tables = report_night.tables(**variant)
    return to_json(build_facts(tables, report_night.settings(), report_night.night()))


def text(rich):
    return "".join(map(str, rich)).replace("\u202f", " ")


class TestActive:
    def test_the_finding_is_the_funds_tracking_error(self):
        view = active(Cursor(facts()))
        assert text(view["finding"]) == "Fund tracking error 2.31 % against POLICY"
        fund, growth = view["rows"]
        assert text(fund["interval"]) == "2.22 – 2.40"
        assert text(growth["largest"]) == "AAPL +23.1k"
        assert view["notes"] == []

    def test_without_a_benchmark_of_the_fund_the_widest_portfolio_is_named(self):
        document = facts()
        document["active"]["portfolios"] = document["active"]["portfolios"][1:]
        view = active(Cursor(document))
        assert text(view["finding"]) == "Equity/US/Growth tracking error 4.62 % against GROWTH"

    def test_a_limit_is_a_tick_and_a_word(self):
        document = facts()
        document["active"]["portfolios"][0] |= {"limit": 0.025, "limit_state": "warning"}
        view = active(Cursor(document))
        assert text(view["finding"]).endswith(", limit 2.50 %, warning")
        assert view["has_limit"]
        assert view["rows"][0]["at_limit"] > view["rows"][0]["at"]
        assert view["rows"][1]["limit"] is None

    def test_what_cannot_be_computed_is_na_with_its_reason(self):
        view = active(Cursor(facts(partial=True)))
        growth = view["rows"][1]
        assert str(growth["te"]) == "n/a"
        assert growth["at"] is growth["band"] is growth["largest"] is None
        assert view["notes"] == [("a", "benchmark 'GROWTH': constituent 'X': no price")]
        assert {growth[key] for key in ("mark",)} == {growth["var"]["mark"]} == {"a"}
        assert text(view["finding"]).endswith("; 1 of 2 n/a")

    def test_nothing_computed_at_all(self):
        document = facts(partial=True)
        document["active"]["portfolios"] = document["active"]["portfolios"][1:]
        assert text(active(Cursor(document))["finding"]) == "no tracking error could be computed"

    def test_a_wide_interval_takes_a_decimal_away(self):
        document = facts()
        document["active"]["portfolios"][0]["tracking_error"] |= {"ci_low": 0.020, "ci_high": 0.027}
        assert [text([row["te"]]) for row in active(Cursor(document))["rows"]] == ["2.3 %", "4.6 %"]

    def test_no_benchmark_no_section(self):
        assert active(Cursor(facts(empty=True))) is None


class TestCapital:
    def test_shares_multiples_days_and_currencies(self):
        view = capital(Cursor(facts()))
        shown = [str(cell["value"]).replace("\u202f", " ") for cell in view["rows"][0]["cells"]]
        assert shown == ["12.00", "1.54 %", "1.71 %", "1.42×", "−0.31×", "3.2", "0.8"]
        assert text(view["finding"]) == "VaR 99 %, 1 day is 1.54 % of NAV, gross exposure 1.42× NAV"
        assert [(x["currency"], str(x["before"]), str(x["after"])) for x in view["currencies"]] == [
            ("EUR", "+410.0", "+35.0"),
            ("JPY", "0.0", "−220.0"),
        ]

    def test_each_definition_and_reason_is_written_once(self):
        view = capital(Cursor(facts()))
        notes = dict(view["notes"])
        assert notes["a"] == "NAV: as given"
        assert notes["c"] == "Days: nothing held has an adv"
        credit = next(row for row in view["rows"] if row["portfolio"] == "Credit")
        assert [cell["mark"] for cell in credit["cells"]] == ["a", "", "", "", "", "c", "c"]

    def test_a_nav_that_is_not_positive_has_no_shares(self):
        document = facts(partial=True)
        overlay = capital(Cursor(document))["rows"][-1]
        assert [str(cell["value"]) for cell in overlay["cells"]] == ["−0.04", *["n/a"] * 6]
        document["capital"]["portfolios"] = document["capital"]["portfolios"][-1:]
        assert text(capital(Cursor(document))["finding"]) == (
            "VaR 99 %, 1 day has no share: the NAV is -40000 (as given)"
        )

    def test_without_a_currency_there_is_no_exposure_table(self):
        document = facts()
        document["capital"]["currencies"] = []
        assert capital(Cursor(document))["currencies"] == []

    def test_no_facts_no_section(self):
        assert capital(Cursor(facts(empty=True))) is None
