"""What scenarios make of the book: shocks by segment, stressed factors, and the model that methods take."""

from __future__ import annotations

import datetime as dt
import math

import numpy as np
import pyarrow as pa
import pytest
from scipy.special import ndtr, ndtri
from scipy.stats import multivariate_normal

from acceleray.config.credit import CreditSettings
from acceleray.config.models import Scenario
from acceleray.domain.tables import contract
from acceleray.errors import InputDataError
from acceleray.risk.credit_book import CreditBook, read_credit_book
from acceleray.risk.credit_models import CreditStress, loss_model, stress_credit_book
from acceleray.risk.latent_factors import MarketStress, map_market

SCHEMA = contract("raw.obligors").schema
SETTINGS = CreditSettings(correlation={"retail": 0.08, "sme": 0.14, "corporate": 0.2})


def table(*rows: dict[str, object]) -> pa.Table:
    base = {"segment": "retail", "ead": 100.0, "default_prob": 0.01, "lgd": 0.45}
    return pa.Table.from_pylist([base | {"obligor_id": f"o{i}"} | row for i, row in enumerate(rows)], SCHEMA)


BOOK = table(
    {"segment": "sme", "default_prob": 0.6, "lgd": 0.4},
    {"segment": "retail", "default_prob": 0.02, "lgd": 0.9},
    {"segment": "corporate", "default_prob": 0.03, "lgd": 0.5},
    {"segment": "retail", "default_prob": 0.01, "lgd": 0.2},
    {"segment": "sme", "default_prob": 0.1, "lgd": 0.95},
)


def scenario(*shocks: dict[str, object], name: str = "s", book: str = "credit") -> Scenario:
    return Scenario.model_validate({"name": name, "book": book, "shocks": shocks})


class TestSegments:
    book = read_credit_book(BOOK, SETTINGS)

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

    def test_a_random_loss_keeps_the_precision_of_its_law(self):
        book = read_credit_book(table({"lgd": 0.4, "lgd_std": 0.2}, {"lgd": 0.4}), SETTINGS)
        laws = stress_credit_book(
            book, scenario({"select": {"segment": "*"}, "lgd": {"add": 0.1}})
        ).recoveries
        np.testing.assert_allclose(laws.mean, 0.5, rtol=1e-15)
        fixed, spread = laws.std
        assert fixed == 0.0
        precision = 0.4 * 0.6 / 0.2**2 - 1.0
        assert 0.5 * 0.5 / spread**2 - 1.0 == pytest.approx(precision, rel=1e-14)
        certain = stress_credit_book(book, scenario({"select": {"segment": "*"}, "lgd": {"add": 0.7}}))
        assert certain.recoveries.std.tolist() == [0.0, 0.0]
        assert certain.lgd_limited.tolist() == [2]


RICH = read_credit_book(
    table(
        {"sector": "oil"},
        {"sector": "oil", "default_prob": 0.2},
        {"segment": "sme"},
        {"segment": "other", "loadings": [("oil price", 0.3), ("rates", -0.4)]},
    ),
    CreditSettings(
        correlation={"retail": 0.08, "sme": 0.14},
        sector_correlation={"oil": 0.1},
        factor_correlation={"oil price": {"sector:oil": 0.5}},
    ),
)
FACTORS = ("oil price", "rates", "sector:oil", "world")


class TestFactors:
    def test_a_factor_is_set(self):
        shock = {"select": {"credit_factor": "world"}, "move": {"set": -2.5}}
        law = stress_credit_book(RICH, scenario(shock)).factors
        assert law.names == FACTORS
        assert law.mean.tolist() == [0.0, 0.0, 0.0, -2.5]
        assert law.covariance[3].tolist() == [0.0] * 4

    def test_a_glob_shifts_several_and_shocks_apply_in_their_order(self):
        shocks = (
            {"select": {"credit_factor": "sector:*"}, "move": {"set": -1.0}},
            {"select": {"credit_factor": "*"}, "move": {"add": -0.5}},
        )
        law = stress_credit_book(RICH, scenario(*shocks)).factors
        # The price of oil had been pulled down by half of the sector's value.
        np.testing.assert_allclose(law.mean, [-1.0, -0.5, -1.5, -0.5], atol=1e-15)

    def test_an_unknown_factor(self):
        shock = {"select": {"credit_factor": "wrold"}, "move": {"set": -2.5}}
        with pytest.raises(
            InputDataError, match=r"selects credit_factor 'wrold', which matches none .* world"
        ):
            stress_credit_book(RICH, scenario(shock))

    def test_a_factor_and_the_default_probabilities_of_its_obligors(self):
        factor = {"select": {"credit_factor": "sector:oil"}, "move": {"add": -1.0}}
        prob = {"select": {"segment": "retail"}, "default_prob": {"scale": 2.0}}
        message = "'both' shocks default_prob of segment 'retail' and the factor 'sector:oil'"
        for shocks in ((factor, prob), (prob, factor)):
            with pytest.raises(InputDataError, match=message):
                stress_credit_book(RICH, scenario(*shocks, name="both"))
        # The factor that the stressed one pulls along counts too; one that stays does not, nor does lgd.
        other = {"select": {"segment": "other"}, "default_prob": {"scale": 2.0}}
        with pytest.raises(InputDataError, match="the factor 'oil price'"):
            stress_credit_book(RICH, scenario(factor, other))
        sme = {"select": {"segment": "sme"}, "default_prob": {"scale": 2.0}}
        lgd = {"select": {"segment": "retail"}, "lgd": {"add": 0.1}}
        stress = stress_credit_book(RICH, scenario(factor, sme, lgd))
        assert stress.default_prob[RICH.slices[2]].tolist() == [0.02]


MARKET = MarketStress(
    map=map_market(
        {"world": {"SPX": 0.6}},
        RICH.factors,
        known=frozenset(),
        factor_ids=("SPX", "WTI"),
        covariance_annual=np.array([[0.04, 0.0], [0.0, 0.09]]),
    ),
    moves={"crash": np.array([-0.4]), "oil": np.array([0.0])},
)
SPX = {"select": {"id": "SPX"}, "move": {"add": -30.0}}


class TestBothBooks:
    def test_market_moves_act_through_the_map(self):
        stress = stress_credit_book(RICH, scenario(SPX, name="crash", book="both"), MARKET)
        np.testing.assert_allclose(stress.factors.mean, [0.0, 0.0, 0.0, -1.2], rtol=1e-15)
        np.testing.assert_allclose(stress.factors.covariance[3], [0.0, 0.0, 0.0, 0.64], rtol=1e-15)

    def test_credit_shocks_come_on_top(self):
        lgd = {"select": {"segment": "*"}, "lgd": {"add": 0.05}}
        rates = {"select": {"credit_factor": "rates"}, "move": {"set": 1.0}}
        stress = stress_credit_book(RICH, scenario(SPX, lgd, rates, name="crash", book="both"), MARKET)
        np.testing.assert_allclose(stress.factors.mean, [0.0, 1.0, 0.0, -1.2], rtol=1e-15)
        np.testing.assert_allclose(stress.lgd, 0.5, rtol=1e-15)

    def test_a_window_acts_through_its_moves(self):
        window = Scenario.model_validate(
            {"name": "crash", "book": "both", "from": dt.date(2008, 9, 1), "to": dt.date(2008, 10, 1)}
        )
        assert stress_credit_book(RICH, window, MARKET).factors.mean[3] == pytest.approx(-1.2, rel=1e-15)

    def test_market_moves_and_default_probabilities_count_twice(self):
        prob = {"select": {"segment": "sme"}, "default_prob": {"scale": 2.0}}
        with pytest.raises(InputDataError, match="default_prob of segment 'sme' and the factor 'world'"):
            stress_credit_book(RICH, scenario(SPX, prob, name="crash", book="both"), MARKET)

    def test_a_scenario_that_says_nothing_about_the_loan_book(self):
        with pytest.raises(InputDataError, match=r"'oil' of both books has nothing .* which has SPX"):
            stress_credit_book(RICH, scenario(SPX, name="oil", book="both"), MARKET)
        with pytest.raises(InputDataError, match=r"'crash' of both books has nothing .* has no entry"):
            stress_credit_book(RICH, scenario(SPX, name="crash", book="both"))

    def test_without_a_map_credit_shocks_act_alone(self):
        lgd = {"select": {"segment": "*"}, "lgd": {"add": 0.05}}
        stress = stress_credit_book(RICH, scenario(SPX, lgd, book="both"))
        assert stress.factors is RICH.factors
        np.testing.assert_allclose(stress.lgd, 0.5, rtol=1e-15)

    def test_a_credit_parameter_of_market_factors(self):
        shock = {"select": {"kind": "spot"}, "lgd": {"add": 0.1}}
        with pytest.raises(InputDataError, match="must select by segment alone"):
            stress_credit_book(RICH, scenario(SPX, shock, name="crash", book="both"), MARKET)


def stressed(book: CreditBook, *shocks: dict[str, object]) -> CreditStress:
    return stress_credit_book(book, scenario(*shocks))


class TestLossModel:
    def test_the_base_case(self):
        model = loss_model(RICH, stressed(RICH))
        assert (model.n_obligors, model.n_cells, model.n_segments, model.n_factors) == (4, 3, 3, 4)
        np.testing.assert_allclose(model.thresholds, ndtri(RICH.default_prob), rtol=1e-15)
        assert not model.mean.any()
        np.testing.assert_allclose(model.systematic**2 + model.residual**2, 1.0, rtol=1e-15)
        np.testing.assert_allclose(np.linalg.norm(model.loadings, axis=1), model.systematic, rtol=1e-15)
        np.testing.assert_allclose(model.systematic**2, [0.25, 0.18, 0.14], rtol=1e-15)
        assert math.isinf(model.dof)

    def test_correlated_factors_become_independent_ones(self):
        # Asset correlations between cells are what the correlated factors say.
        model = loss_model(RICH, stressed(RICH))
        found = model.loadings @ model.loadings.T
        sector = math.sqrt(0.1)
        # 0.3 of the price of oil and the sector have the correlation 0.5.
        np.testing.assert_allclose(found[0, 1], 0.3 * 0.5 * sector, rtol=1e-14)

    def test_a_stress_leaves_own_risk_and_order_alone(self):
        shock = {"select": {"credit_factor": "world"}, "move": {"set": -2.5}}
        base, hit = loss_model(RICH, stressed(RICH)), loss_model(RICH, stressed(RICH, shock))
        for name in ("thresholds", "residual", "systematic", "cells", "segments", "exposures", "recovery"):
            np.testing.assert_array_equal(getattr(base, name), getattr(hit, name))
        np.testing.assert_allclose(
            hit.mean, [0.0, -2.5 * math.sqrt(0.08), -2.5 * math.sqrt(0.14)], rtol=1e-15
        )
        np.testing.assert_array_equal(base.loadings[:, :3], hit.loadings[:, :3])
        assert not hit.loadings[:, 3].any()

    def test_stressed_probabilities_are_conditional_ones(self):
        """Average over the stressed factors, against the joint law of asset value and market."""
        stress = stress_credit_book(RICH, scenario(SPX, name="crash", book="both"), MARKET)
        model = loss_model(RICH, stress)
        spread = np.sqrt((model.loadings**2).sum(axis=1) + model.residual**2)
        found = ndtr((model.thresholds[3] - model.mean[2]) / spread[2])
        # Asset value and standardised move of SPX: correlation sqrt(0.14) x 0.6; the move was -2.
        correlation = math.sqrt(0.14) * 0.6
        near = [
            multivariate_normal(cov=[[1.0, correlation], [correlation, 1.0]]).cdf([ndtri(0.01), move])
            for move in (-2.0 + 1e-4, -2.0 - 1e-4)
        ]
        expected = (near[0] - near[1]) / (ndtr(-2.0 + 1e-4) - ndtr(-2.0 - 1e-4))
        # A difference quotient over 2e-4, of integrals good to 1e-8 relative to a density of 0.05.
        assert found == pytest.approx(expected, rel=5e-3)
        # More than twice the unconditional 1 %.
        assert found > 0.02

    def test_a_t_copula_has_thresholds_of_its_own_law(self):
        model = loss_model(RICH, stressed(RICH), dof=4.0)
        assert model.dof == 4.0
        # The 1 % quantile of Student's t with 4 degrees of freedom, from any table.
        assert model.thresholds[1] == pytest.approx(-3.7469, abs=5e-5)

    def test_thresholds_ascend_in_every_cell_of_close_probabilities(self):
        close = 0.01 + np.arange(3000) * 1e-17
        rows = table(*({"default_prob": float(p)} for p in close))
        loss_model(read_credit_book(rows, SETTINGS), stressed(read_credit_book(rows, SETTINGS)), dof=3.0)

    def test_capped_probabilities_are_certain_defaults(self):
        shock = {"select": {"segment": "retail"}, "default_prob": {"scale": 5.0}}
        model = loss_model(RICH, stressed(RICH, shock))
        assert model.thresholds[2] == math.inf
