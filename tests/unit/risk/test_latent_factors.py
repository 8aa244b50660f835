"""Laws of the latent factors under a stress, against regression on many draws and formulas by hand."""

from __future__ import annotations

import datetime as dt
import math

import numpy as np
import pyarrow as pa
import pytest

from acceleray.config.models import Scenario
from acceleray.domain.market import Market
from acceleray.errors import InputDataError
from acceleray.risk.latent_factors import LatentLaw, MarketMap, independent_law, map_market, mapped_moves

NONE: frozenset[str] = frozenset()
BASE = independent_law(["oil", "world"], {}, known=NONE)
CORRELATED = independent_law(["banks", "oil", "world"], {"oil": {"world": 0.5}}, known=NONE)
FACTORS = ("SPX", "VIX", "WTI", "YIELD")
VOLATILITY = np.array([0.16, 0.9, 0.35, 0.01])
CORRELATION = np.array(
    [[1.0, -0.7, 0.4, 0.1], [-0.7, 1.0, -0.2, 0.0], [0.4, -0.2, 1.0, 0.2], [0.1, 0.0, 0.2, 1.0]]
)
COVARIANCE = CORRELATION * np.outer(VOLATILITY, VOLATILITY)


def mapped(given, base=BASE, covariance=COVARIANCE, known=NONE) -> MarketMap:
    return map_market(given, base, known=known, factor_ids=FACTORS, covariance_annual=covariance)


def at(*numbers: int) -> np.ndarray:
    return np.array(numbers, dtype=np.int64)


class TestLaw:
    def test_the_base_is_standard_normal(self):
        assert BASE.mean.tolist() == [0.0, 0.0]
        assert BASE.covariance.tolist() == BASE.root.tolist() == [[1.0, 0.0], [0.0, 1.0]]

    def test_a_factor_that_is_set_has_no_variance_and_pulls_the_others(self):
        law = CORRELATED.set_to(at(2), -2.0)
        np.testing.assert_allclose(law.mean, [0.0, -1.0, -2.0], atol=1e-15)
        np.testing.assert_allclose(
            law.covariance, [[1.0, 0.0, 0.0], [0.0, 0.75, 0.0], [0.0, 0.0, 0.0]], atol=1e-15
        )
        assert law.moved_from(CORRELATED).tolist() == [False, True, True]
        np.testing.assert_allclose(law.root @ law.root.T, law.covariance, atol=1e-15)

    def test_setting_one_after_the_other_is_setting_both(self):
        one = CORRELATED.set_to(at(2), -2.0).set_to(at(1), -2.0)
        both = CORRELATED.set_to(at(1, 2), -2.0)
        np.testing.assert_allclose(one.mean, both.mean, atol=1e-14)
        np.testing.assert_allclose(one.covariance, both.covariance, atol=1e-14)

    def test_a_shift_keeps_the_spread_and_shifts_what_is_in_common(self):
        law = CORRELATED.shifted(at(2), -1.0)
        np.testing.assert_allclose(law.mean, [0.0, -0.5, -1.0], atol=1e-15)
        assert law.covariance is CORRELATED.covariance
        assert law.moved_from(CORRELATED).tolist() == [False, True, True]

    def test_shifts_of_several_factors_are_each_their_own(self):
        law = CORRELATED.shifted(at(1, 2), -1.0)
        np.testing.assert_allclose(law.mean, [0.0, -1.0, -1.0], atol=1e-15)

    def test_a_factor_that_was_set_is_shifted_alone(self):
        law = CORRELATED.set_to(at(2), -2.0).shifted(at(2), -1.0)
        np.testing.assert_allclose(law.mean, [0.0, -1.0, -3.0], atol=1e-15)

    def test_independent_factors_are_left_to_the_bit(self):
        law = BASE.set_to(at(1), -2.5)
        assert law.mean.tolist() == [0.0, -2.5]
        assert law.covariance.tolist() == [[1.0, 0.0], [0.0, 0.0]]


class TestMap:
    def test_one_factor_by_hand(self):
        law = mapped({"world": {"SPX": 0.6}}).condition(BASE, np.array([math.log(0.7)]))
        np.testing.assert_allclose(law.mean, [0.0, 0.6 * math.log(0.7) / 0.16], rtol=1e-15)
        np.testing.assert_allclose(law.covariance, [[1.0, 0.0], [0.0, 1.0 - 0.36]], rtol=1e-15)

    def test_stated_correlations_are_those_of_the_joint_law(self):
        found = mapped({"world": {"SPX": 0.6, "WTI": 0.3}, "oil": {"WTI": 0.5}})
        assert found.market == ("SPX", "WTI")
        assert found.columns.tolist() == [0, 2]
        implied = found.weights @ found.correlation
        np.testing.assert_allclose(implied[1], [0.6, 0.3], rtol=1e-14)
        # Of SPX the oil factor knows only what WTI says.
        np.testing.assert_allclose(implied[0], [0.5 * 0.4, 0.5], rtol=1e-14)

    @pytest.mark.parametrize("moved", [(True, True, True), (True, False, False), (False, True, True)])
    def test_the_law_is_the_conditional_one(self, moved):
        """Against Schur complements of the joint covariance of factors and market, written down in full."""
        given = {"world": {"SPX": 0.5, "VIX": -0.5}, "oil": {"WTI": 0.5}}
        base = independent_law(["oil", "world"], {"oil": {"world": 0.4}}, known=NONE)
        found = mapped(given, base)
        own = np.sqrt(np.diag(COVARIANCE))[:3]
        assert found.market == ("SPX", "VIX", "WTI")
        r = CORRELATION[:3, :3]
        world = np.linalg.inv(r[:2, :2]) @ [0.5, -0.5]
        weights = np.array([[0.0, 0.0, 0.5], [*world, 0.0]])
        joint = np.block([[base.covariance, weights @ r], [r @ weights.T, r]])
        assert np.linalg.eigvalsh(joint)[0] > 0.0
        moves = np.where(moved, [-0.3, 0.8, -0.5], 0.0)
        chosen = 2 + np.flatnonzero(moved)
        inverse = np.linalg.inv(joint[np.ix_(chosen, chosen)])
        regression = joint[:2, chosen] @ inverse
        law = found.condition(base, moves)
        np.testing.assert_allclose(law.mean, regression @ (moves / own)[list(moved)], rtol=1e-12)
        np.testing.assert_allclose(
            law.covariance, base.covariance - regression @ joint[chosen, :2], rtol=1e-12, atol=1e-14
        )

    def test_the_law_is_that_of_many_draws_near_the_moves(self):
        """A regression on draws of factor and market knows nothing of the formula."""
        given = {"world": {"SPX": 0.5, "WTI": 0.3}}
        found = mapped(given)
        rng = np.random.default_rng(4)
        market = rng.standard_normal((200_000, 4)) @ np.linalg.cholesky(COVARIANCE).T
        weights = np.linalg.solve(CORRELATION[np.ix_([0, 2], [0, 2])], [0.5, 0.3])
        explained = weights @ [0.5, 0.3]
        world = (market[:, [0, 2]] / VOLATILITY[[0, 2]]) @ weights
        world += math.sqrt(1.0 - explained) * rng.standard_normal(200_000)
        # WTI is left alone, so the draws say what it does on average: SPX alone is regressed on.
        fitted = np.polyfit(market[:, 0], world, 1)
        law = found.condition(BASE, np.array([-0.3, 0.0]))
        spread = np.std(world - np.polyval(fitted, market[:, 0]))
        # Standard errors of slope x 0.3 and of the spread at 200,000 draws: 0.004 and 0.0014; four of them.
        assert law.mean[1] == pytest.approx(np.polyval(fitted, -0.3), abs=0.016)
        assert math.sqrt(law.covariance[1, 1]) == pytest.approx(spread, abs=0.006)

    def test_without_a_move_nothing_happens(self):
        assert mapped({"world": {"SPX": 0.6}}).condition(BASE, np.zeros(1)) is BASE

    def test_an_unmapped_factor_follows_its_correlated_one(self):
        base = independent_law(["oil", "world"], {"oil": {"world": 0.5}}, known=NONE)
        law = mapped({"world": {"SPX": 0.6}}, base).condition(base, np.array([-0.32]))
        # The remainder of `world` is what `oil` has in common with it; the market says nothing of `oil`.
        np.testing.assert_allclose(law.mean, [0.0, -1.2], rtol=1e-15)

    def test_a_factor_of_the_settings_that_the_book_is_without(self):
        found = mapped({"sector:steel": {"WTI": 0.5}}, known=frozenset({"sector:steel"}))
        assert not found.weights.any()


class TestMapErrors:
    @pytest.mark.parametrize(
        ("given", "message"),
        [
            ({"wrold": {"SPX": 0.5}}, "market_map: the loan book has no factor 'wrold'"),
            ({"world": {"SPY": 0.5}}, r"market_map\.world: there is no market factor 'SPY'"),
            (
                {"world": {"SPX": 0.9, "VIX": 0.2}},
                r"market_map\.world: its market factors would explain 2\.16.* below 1",
            ),
            ({"world": {"SPX": 0.8}, "oil": {"SPX": 0.8}}, "more in common through the market"),
        ],
    )
    def test_maps_that_cannot_be(self, given, message):
        with pytest.raises(InputDataError, match=message):
            mapped(given)

    def test_a_market_factor_that_does_not_move(self):
        still = COVARIANCE.copy()
        still[0], still[:, 0] = 0.0, 0.0
        with pytest.raises(InputDataError, match="market factor 'SPX' has no volatility"):
            mapped({"world": {"SPX": 0.5}}, covariance=still)

    def test_market_factors_that_move_as_one(self):
        twins = COVARIANCE.copy()
        twins[1], twins[:, 1] = twins[0], twins[:, 0]
        twins[1, 1] = twins[0, 0]
        with pytest.raises(InputDataError, match="the moves of SPX, VIX are not independent enough"):
            mapped({"world": {"SPX": 0.5, "VIX": 0.5}}, covariance=twins)


def test_moves_are_in_the_unit_of_each_factor():
    rows = [
        (dt.date(2018, 12, day), name, value)
        for day in (27, 28)
        for name, value in (("RATE", 0.02), ("SPX", 100.0), ("WTI", 50.0))
    ]
    market = Market.from_observations(
        pa.table(
            {
                "date": [row[0] for row in rows],
                "factor_id": [row[1] for row in rows],
                "value": [row[2] for row in rows],
            }
        ),
        pa.table({"factor_id": ["RATE", "SPX", "WTI"], "kind": ["zero_rate", "spot", "spot"]}),
        dt.date(2018, 12, 28),
    )
    shock = [{"select": {"id": "SPX"}, "move": {"scale": 0.7}}]
    scenarios = [
        Scenario.model_validate({"name": "m", "shocks": shock}),
        Scenario(name="c", book="credit"),
        Scenario.model_validate({"name": "b", "book": "both", "shocks": shock}),
    ]
    shocked = np.array([[0.0, 1.0, 1.0], [0.01, 70.0, 50.0]])
    moves = mapped_moves(market, shocked, scenarios, at(0, 1, 2))
    assert set(moves) == {"b"}
    np.testing.assert_allclose(moves["b"], [-0.01, math.log(0.7), 0.0], rtol=1e-14)


def test_a_law_is_what_its_root_draws():
    law = LatentLaw(names=("a", "b"), mean=np.zeros(2), covariance=np.array([[0.25, 0.1], [0.1, 0.04]]))
    np.testing.assert_allclose(law.root @ law.root.T, law.covariance, rtol=1e-15)
