"""Settings of the loan book and of the scenarios that reach it: what they refuse, and what they mean."""

from __future__ import annotations

import pytest
from pydantic import ValidationError

from acceleray.config.credit import CreditSettings
from acceleray.config.models import Scenario, SimulateSettings

SPX = {"select": {"id": "SPX"}, "move": {"scale": 0.7}}


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"dof": 2.0}, "greater than 2"),
        ({"correlation": {"retail": 1.1}}, "less than 1"),
        ({"correlation": {"retail": 1.0}}, "correlation.retail"),
        ({"correlation": {"retail": -0.1}}, "greater than or equal to 0"),
        ({"country_correlation": {"US": 1.0}}, "country_correlation.US"),
        ({"sector_correlation": {"oil": -0.1}}, "greater than or equal to 0"),
        ({"lgd_correlation": {"retail": 1.0}}, "less than 1"),
        ({"factor_correlation": {"a": {"b": 1.0}}}, "less than 1"),
        ({"factor_correlation": {"a": {"a": 0.5}}}, "'a' is paired with itself"),
        ({"factor_correlation": {"a": {"b": 0.5}, "b": {"a": 0.5}}}, "'b' and 'a' are given twice"),
        ({"market_map": {"world": {"SPX": -1.0}}}, "greater than -1"),
        ({"market_map": {"world": {}}}, "'world' names no market factor"),
        ({"method": "magic"}, "'auto', 'plain', 'importance', 'conditional' or 'exact'"),
        ({"scrambles": 1}, "greater than or equal to 2"),
    ],
)
def test_settings_that_make_no_sense(given, message):
    with pytest.raises(ValidationError, match=message):
        CreditSettings.model_validate(given)


def test_names_of_the_factors_that_the_settings_make():
    settings = CreditSettings(
        correlation={"retail": 0.1}, sector_correlation={"oil": 0.1}, country_correlation={"US": 0.1}
    )
    assert settings.factor_names == {"world", "sector:oil", "country:US"}
    assert CreditSettings().factor_names == frozenset()
    assert SimulateSettings().credit == CreditSettings()


@pytest.mark.parametrize(
    ("shock", "message"),
    [
        ({"select": {"credit_factor": "world"}, "move": {"scale": 2.0}}, "exactly one of add, set"),
        ({"select": {"credit_factor": "world"}, "lgd": {"add": 0.1}}, "exactly one of add, set"),
        (
            {"select": {"credit_factor": "world", "segment": "*"}, "move": {"set": -2.0}},
            "credit_factor alone",
        ),
        ({"select": {"credit_factor": "world", "id": "SPX"}, "move": {"set": -2.0}}, "credit_factor alone"),
        ({"select": {}, "move": {"set": -2.0}}, "at least one of .* credit_factor"),
    ],
)
def test_shocks_of_latent_factors_that_make_no_sense(shock, message):
    with pytest.raises(ValidationError, match=message):
        Scenario.model_validate({"name": "s", "book": "credit", "shocks": [shock]})


def test_which_book_a_scenario_reaches():
    reached = {
        book: (found.reaches_market, found.reaches_credit)
        for book in ("market", "credit", "both")
        for found in [Scenario.model_validate({"name": "s", "book": book, "shocks": [SPX]})]
    }
    assert reached == {"market": (True, False), "credit": (False, True), "both": (True, True)}


def test_a_scenario_of_both_books_moves_the_market():
    lgd = {"select": {"segment": "*"}, "lgd": {"add": 0.1}}
    with pytest.raises(
        ValidationError, match="of both books needs a shock of market factors, or from and to"
    ):
        Scenario.model_validate({"name": "s", "book": "both", "shocks": [lgd]})
    with pytest.raises(ValidationError, match="needs shocks, or from and to"):
        Scenario.model_validate({"name": "s", "book": "both"})
    window = {"name": "s", "book": "both", "from": "2008-09-01", "to": "2008-10-01", "shocks": [lgd]}
    assert Scenario.model_validate(window).reaches_credit
