import dataclasses
import datetime as dt

import numpy as np
import pytest

from acceleray.config.models import Scenario
from acceleray.domain.scenario import Move, Shock, Stress, StressScenario
from acceleray.errors import InputDataError, UsageError
from acceleray.risk.latent_factors import mapped_moves
from acceleray.risk.stress import stress_from_settings, stress_levels


def levels(market, *scenarios, columns=None):
    return stress_levels(Stress(scenarios=scenarios), market, columns)


def shocks(name, *given):
    return StressScenario(name=name, shocks=given)


def test_shocks_scale_add_and_set_what_they_select(market):
    found = levels(
        market,
        shocks("spots", Shock(kind="spot", move=Move.SCALE, size=0.8)),
        shocks("curve", Shock(curve="USD", move=Move.ADD, size=0.01)),
        shocks("one", Shock(factor_id="VIX", move=Move.SET, size=0.6)),
        shocks("glob", Shock(factor_id="USD.*", kind="zero_rate", move=Move.SET, size=0.0)),
        shocks("fx", Shock(currency="EUR", move=Move.SCALE, size=1.1)),
        # The second shock acts on what the first left.
        shocks(
            "both",
            Shock(kind="spot", move=Move.SCALE, size=0.5),
            Shock(factor_id="OIL", move=Move.ADD, size=1.0),
        ),
    ).shocked
    base = {name: market.base[market.column(name)] for name in market.factor_ids}

    def row(index):
        return {name: found[index, market.column(name)] for name in market.factor_ids}

    assert row(0) == {**base, "SPX": base["SPX"] * 0.8, "OIL": base["OIL"] * 0.8}
    # Fixed factors do not move by themselves, but a shock may move them.
    assert row(1) == {**base, "USD.1Y": base["USD.1Y"] + 0.01, "USD.2Y": base["USD.2Y"] + 0.01}
    assert row(2) == {**base, "VIX": 0.6}
    assert row(3) == {**base, "USD.1Y": 0.0, "USD.2Y": 0.0}
    assert row(4) == {**base, "EURUSD": base["EURUSD"] * 1.1}
    assert row(5) == {**base, "SPX": base["SPX"] * 0.5, "OIL": base["OIL"] * 0.5 + 1.0}


def test_a_shock_on_nothing_names_itself(market):
    with pytest.raises(
        InputDataError, match=r"'typo' has a shock that selects no factor: select {'id': 'SPY'}"
    ):
        levels(market, shocks("typo", Shock(factor_id="SPY", move=Move.SCALE, size=0.8)))


def test_a_price_cannot_be_shocked_below_zero(market):
    with pytest.raises(InputDataError, match="takes 'OIL' to"):
        levels(market, shocks("oil", Shock(factor_id="OIL", move=Move.ADD, size=-1000.0)))


def test_a_window_replays_what_happened(market):
    begin, end = market.dates[100].item(), market.dates[110].item()
    found = levels(market, StressScenario(name="w", window=(begin, end)))
    spot, rate = market.column("SPX"), market.column("SPREAD")
    history = market.levels
    assert found.shocked[0, spot] == pytest.approx(
        history[-1, spot] * history[110, spot] / history[100, spot], rel=1e-14
    )
    assert found.shocked[0, rate] == pytest.approx(
        history[-1, rate] + history[110, rate] - history[100, rate], rel=1e-12
    )
    assert found.proxied_share == (0.0,)
    np.testing.assert_array_equal(found.shocked[0, market.fixed], market.base[market.fixed])


def young(market, **proxies):
    history = np.array(market.levels)
    history[:200, market.column("OIL")] = np.nan
    factors = tuple(
        dataclasses.replace(factor, proxy=proxies.get(factor.factor_id)) for factor in market.factors
    )
    return dataclasses.replace(market, levels=history, factors=factors)


def test_a_proxy_stands_in_and_its_share_is_told(market):
    replayed = young(market, OIL="SPX")
    window = (market.dates[100].item(), market.dates[110].item())
    found = levels(replayed, StressScenario(name="w", window=window))
    spot, oil = market.column("SPX"), market.column("OIL")
    ratio = market.levels[110, spot] / market.levels[100, spot]
    assert found.shocked[0, oil] == pytest.approx(market.base[oil] * ratio, rel=1e-14)
    only = levels(replayed, StressScenario(name="w", window=window), columns=np.array([oil, spot]))
    # Two equal moves, one of them borrowed.
    assert only.proxied_share == pytest.approx((0.5,))


def test_no_data_and_no_proxy_names_the_factor(market):
    window = (market.dates[100].item(), market.dates[110].item())
    scenario = StressScenario(name="w", window=window)
    with pytest.raises(InputDataError, match="'w' needs factor 'OIL'"):
        levels(young(market), scenario)
    # A proxy that moves in another way cannot stand in.
    with pytest.raises(InputDataError, match="needs factor 'OIL'"):
        levels(young(market, OIL="AAA"), scenario)
    # A factor that the book does not depend on may stay where it is.
    found = levels(young(market), scenario, columns=np.array([market.column("SPX")]))
    assert found.shocked[0, market.column("OIL")] == market.base[market.column("OIL")]


@pytest.mark.parametrize(
    "window", [(dt.date(1990, 1, 1), dt.date(1990, 2, 1)), (dt.date(2018, 12, 3), dt.date(2019, 1, 3))]
)
def test_a_window_outside_the_data_is_refused(window, market):
    with pytest.raises(InputDataError, match="'w' replays"):
        levels(market, StressScenario(name="w", window=window))


def test_market_scenarios_are_taken_from_the_settings():
    scenarios = [
        Scenario.model_validate(each)
        for each in (
            {"name": "down", "shocks": [{"select": {"kind": "spot"}, "move": {"scale": 0.8}}]},
            {"name": "w", "from": "2018-10-03", "to": "2018-12-24"},
            {"name": "loans", "book": "credit"},
        )
    ]
    found = stress_from_settings(scenarios)
    assert [each.name for each in found.scenarios] == ["down", "w"]
    assert found.scenarios[0].shocks == (Shock(kind="spot", move=Move.SCALE, size=0.8),)
    assert found.scenarios[1].window == (dt.date(2018, 10, 3), dt.date(2018, 12, 24))
    with pytest.raises(UsageError, match="'down' is used more than once"):
        stress_from_settings([scenarios[0], scenarios[0]])


def test_a_credit_shock_in_a_market_scenario_is_refused():
    scenario = Scenario.model_validate(
        {"name": "x", "shocks": [{"select": {"segment": "retail"}, "default_prob": {"scale": 2.0}}]}
    )
    with pytest.raises(UsageError, match="'x' is a market scenario but shocks credit parameters"):
        stress_from_settings([scenario])


def test_a_scenario_of_both_books_brings_its_market_shocks():
    both = Scenario.model_validate(
        {
            "name": "crash",
            "book": "both",
            "shocks": [
                {"select": {"segment": "*"}, "lgd": {"add": 0.1}},
                {"select": {"id": "SPX"}, "move": {"scale": 0.7}},
                {"select": {"credit_factor": "world"}, "move": {"set": -2.0}},
            ],
        }
    )
    (found,) = stress_from_settings([both]).scenarios
    assert found.shocks == (Shock(factor_id="SPX", move=Move.SCALE, size=0.7),)
    alone = both.model_copy(update={"book": "market"})
    with pytest.raises(UsageError, match="'crash' is a market scenario but shocks credit parameters"):
        stress_from_settings([alone])


def test_moves_of_mapped_factors_are_those_of_the_stress(market):
    window = Scenario.model_validate(
        {
            "name": "replay",
            "book": "both",
            "from": market.dates[-6].astype(dt.date),
            "to": market.dates[-1].astype(dt.date),
        }
    )
    columns = np.array([market.column("OIL"), market.column("SPX")])
    stress = stress_from_settings([window])
    shocked = stress_levels(stress, market, columns).shocked
    moves = mapped_moves(market, shocked, [window], columns)["replay"]
    expected = np.log(market.levels[-1, columns] / market.levels[-6, columns])
    np.testing.assert_allclose(moves, expected, rtol=1e-12)
