"""The whole credit simulation in one process: figures, bookkeeping, and what must not change them."""

from __future__ import annotations

import math

import numpy as np
import pyarrow as pa
import pytest
from scipy.special import ndtri

from acceleray.config.models import CreditSettings, Scenario, SimulateSettings
from acceleray.domain.tables import contract
from acceleray.errors import InputDataError, MissingDataError
from acceleray.numerics.irb import asrf_default_rate, irb_capital_rate
from acceleray.numerics.tail import expected_shortfall, value_at_risk
from acceleray.risk.credit import credit_losses
from acceleray.risk.credit_measures import credit_table

SCHEMA = contract("raw.obligors").schema
LEVELS = (0.95, 0.99, 0.999)
CORRELATION = {"retail": 0.08, "sme": 0.14, "corporate": 0.2}
SETTINGS = SimulateSettings(
    seed=5,
    credit=CreditSettings(
        n_paths=2300, block_size=500, correlation=CORRELATION, levels=LEVELS, method="plain"
    ),
)
BASE = Scenario(name="base", book="credit")


def filled(columns: dict[str, object]) -> pa.Table:
    count = len(columns["obligor_id"])
    arrays = [
        pa.array(columns[field.name], field.type) if field.name in columns else pa.nulls(count, field.type)
        for field in SCHEMA
    ]
    return pa.table(arrays, schema=SCHEMA)


def make_book(n: int = 600, seed: int = 1) -> pa.Table:
    rng = np.random.default_rng(seed)
    segment = rng.choice(["retail", "sme", "corporate"], n, p=[0.6, 0.3, 0.1])
    return filled(
        {
            "obligor_id": [f"o{i:05d}" for i in range(n)],
            "segment": segment,
            "ead": np.round(rng.lognormal(8, 1, n), 2),
            "default_prob": rng.choice([0.001, 0.004, 0.02, 0.03, 0.1], n),
            "lgd": rng.choice([0.0, 0.25, 0.45, 1.0], n),
            "asset_class": segment,
            "maturity_years": rng.integers(1, 6, n).astype(float),
            "sales": rng.uniform(1, 60, n),
        }
    )


def credit_scenario(name: str, **change: object) -> Scenario:
    shock = {"select": {"segment": "*"}} | change
    return Scenario.model_validate({"name": name, "book": "credit", "shocks": [shock]})


RECESSION = credit_scenario("recession", default_prob={"scale": 1.8}, lgd={"add": 0.07})
BOOK = make_book()


def simulate_credit(obligors, scenarios, settings):
    losses = credit_losses(obligors, scenarios, settings)
    confidence = settings.interval_level
    return credit_table(losses, levels=settings.credit.levels, interval_level=confidence)


RESULT = simulate_credit(BOOK, [BASE, RECESSION], SETTINGS)


def find(result: pa.Table, measure: str, *, segment="*", scenario="base", level=0.0) -> dict[str, object]:
    (row,) = (
        row
        for row in result.to_pylist()
        if (row["segment"], row["scenario"], row["measure"], row["level"])
        == (segment, scenario, measure, level)
    )
    return row


def paths(table: pa.Table, scenarios=(BASE,), *, settings=SETTINGS) -> np.ndarray:
    """Losses by scenario, path and segment."""
    return credit_losses(table, scenarios, settings).plain.transpose(0, 2, 1)


def replace(table: pa.Table, column: str, values: object) -> pa.Table:
    index = table.schema.get_field_index(column)
    return table.set_column(
        index, table.schema.field(index), pa.array(values, table.schema.field(index).type)
    )


class TestTable:
    def test_it_is_the_contracted_one_in_key_order(self):
        table = contract("result.credit")
        assert RESULT.schema == table.schema
        keys = [tuple(row[column] for column in table.key) for row in RESULT.to_pylist()]
        assert keys == sorted(set(keys))

    def test_every_portfolio_has_every_measure(self):
        for scenario in ("base", "recession"):
            for segment in ("corporate", "retail", "sme", "*"):
                found = {
                    (row["measure"], row["level"])
                    for row in RESULT.to_pylist()
                    if (row["segment"], row["scenario"]) == (segment, scenario)
                }
                tail = {"VaR", "ES", "economic_capital", "asrf_var"}
                tail |= set() if segment == "*" else {"ES_contribution"}
                assert found == {(measure, level) for measure in tail for level in LEVELS} | {
                    ("expected_loss", 0.0),
                    ("expected_loss_simulated", 0.0),
                    ("irb_capital", 0.999),
                }

    def test_sampled_rows_count_their_paths_and_exact_rows_have_none(self):
        for row in RESULT.to_pylist():
            exact = row["measure"] in {"expected_loss", "asrf_var", "irb_capital"}
            assert row["n_paths"] == (None if exact else 2300)
            assert row["ci_note"]
            if exact:
                assert row["ci_low"] is None
                assert row["ci_high"] is None
                assert "no sampling" in row["ci_note"]


class TestFigures:
    def test_tail_measures_are_those_of_the_paths(self):
        losses = paths(BOOK)[0]
        for segment, sample in (("*", losses.sum(axis=1)), ("retail", losses[:, 1])):
            for level in LEVELS:
                var = find(RESULT, "VaR", segment=segment, level=level)
                # Three summands may be added in another order here.
                assert var["value"] == pytest.approx(float(value_at_risk(sample, level=level)), rel=1e-14)
                shortfall = find(RESULT, "ES", segment=segment, level=level)
                assert shortfall["value"] == pytest.approx(
                    float(expected_shortfall(sample, level=level)), rel=1e-13
                )
                assert shortfall["value"] >= var["value"]
                capital = find(RESULT, "economic_capital", segment=segment, level=level)
                expected = find(RESULT, "expected_loss", segment=segment)["value"]
                assert capital["value"] == var["value"] - expected
                assert capital["ci_low"] == var["ci_low"] - expected
                assert capital["ci_note"] == var["ci_note"]

    def test_expected_loss_is_exact_and_its_interval_holds_it(self):
        for segment in ("*", "corporate", "retail", "sme"):
            chosen = [row for row in BOOK.to_pylist() if segment in ("*", row["segment"])]
            exact = math.fsum(row["ead"] * row["default_prob"] * row["lgd"] for row in chosen)
            found = find(RESULT, "expected_loss", segment=segment)
            # Each product may be rounded in another order.
            assert found["value"] == pytest.approx(exact, rel=1e-14)
            assert found["ci_note"] == "exact, no sampling"
            simulated = find(RESULT, "expected_loss_simulated", segment=segment)
            error = (simulated["ci_high"] - simulated["ci_low"]) / 2 / ndtri(0.975)
            assert abs(simulated["value"] - exact) < 4 * error

    def test_granular_limit_and_capital_add_up_obligor_by_obligor(self):
        limit = capital = 0.0
        for row in BOOK.to_pylist():
            rate = asrf_default_rate(row["default_prob"], correlation=CORRELATION[row["segment"]], level=0.99)
            limit += row["ead"] * row["lgd"] * float(rate)
            capital += row["ead"] * float(
                irb_capital_rate(
                    row["default_prob"],
                    row["lgd"],
                    asset_class=row["segment"],
                    maturity_years=row["maturity_years"],
                    sales=row["sales"],
                )
            )
        # 600 summands added one after the other.
        assert find(RESULT, "asrf_var", level=0.99)["value"] == pytest.approx(limit, rel=1e-12)
        assert find(RESULT, "irb_capital", level=0.999)["value"] == pytest.approx(capital, rel=1e-12)

    def test_contributions_add_up_to_the_shortfall_of_the_book(self):
        for scenario in ("base", "recession"):
            for level in LEVELS:
                parts = [
                    find(RESULT, "ES_contribution", segment=segment, scenario=scenario, level=level)["value"]
                    for segment in ("corporate", "retail", "sme")
                ]
                whole = find(RESULT, "ES", scenario=scenario, level=level)["value"]
                assert math.fsum(parts) == pytest.approx(whole, rel=1e-12)

    def test_contributions_have_intervals_where_the_shortfall_has_one(self):
        for row in RESULT.to_pylist():
            if row["measure"] == "ES_contribution":
                whole = find(RESULT, "ES", scenario=row["scenario"], level=row["level"])
                assert (row["ci_low"] is None) == (whole["ci_low"] is None) == (row["level"] == 0.999)
                if row["level"] != 0.999:
                    assert row["ci_low"] < row["value"] < row["ci_high"]

    def test_a_harsher_scenario_loses_more(self):
        for measure, level in (("expected_loss", 0.0), ("VaR", 0.99), ("ES", 0.999), ("asrf_var", 0.95)):
            recession = find(RESULT, measure, scenario="recession", level=level)
            assert recession["value"] > find(RESULT, measure, level=level)["value"]


class TestInvariance:
    def test_a_segment_alone_has_the_losses_it_has_in_the_book(self):
        retail = BOOK.filter(pa.compute.equal(BOOK["segment"], "retail"))
        assert (paths(retail)[0, :, 0] == paths(BOOK)[0, :, 1]).all()

    def test_a_scenario_does_not_depend_on_its_neighbours(self):
        alone = simulate_credit(BOOK, [RECESSION], SETTINGS)
        together = RESULT.filter(pa.compute.equal(RESULT["scenario"], "recession"))
        assert alone.equals(together)

    def test_a_segment_that_is_not_shocked_loses_the_same(self):
        shock = Scenario.model_validate(
            {
                "name": "sme only",
                "book": "credit",
                "shocks": [{"select": {"segment": "sme"}, "default_prob": {"scale": 3}}],
            }
        )
        base, shocked = paths(BOOK, [BASE, shock])
        assert (base[:, :2] == shocked[:, :2]).all()
        assert shocked[:, 2].sum() > base[:, 2].sum()

    def test_whole_blocks_are_the_beginning_of_a_longer_run(self):
        longer = SETTINGS.model_copy(update={"credit": SETTINGS.credit.model_copy(update={"n_paths": 4000})})
        assert (paths(BOOK, settings=longer)[:, :2000] == paths(BOOK)[:, :2000]).all()

    def test_another_seed_gives_other_losses(self):
        other = SETTINGS.model_copy(update={"seed": 6})
        assert (paths(BOOK, settings=other) != paths(BOOK)).any()


class TestEdges:
    def test_certain_default_of_everyone(self):
        certain = replace(BOOK, "default_prob", [1.0] * 600)
        result = simulate_credit(certain, [], SETTINGS)
        expected = find(result, "expected_loss")["value"]
        for measure in ("VaR", "ES", "asrf_var"):
            # Each path adds the same losses one after the other.
            assert find(result, measure, level=0.999)["value"] == pytest.approx(expected, rel=1e-12)
        assert find(result, "irb_capital", level=0.999)["value"] == 0.0

    @pytest.mark.parametrize("change", [{"default_prob": 0.0}, {"lgd": 0.0}, {"ead": 0.0}])
    def test_nothing_to_lose(self, change):
        ((column, value),) = change.items()
        result = simulate_credit(replace(BOOK, column, [value] * 600), [], SETTINGS)
        for measure, level in (("expected_loss", 0.0), ("VaR", 0.99), ("ES", 0.99), ("asrf_var", 0.99)):
            assert find(result, measure, level=level)["value"] == 0.0

    def test_one_obligor(self):
        result = simulate_credit(BOOK.slice(0, 1), [], SETTINGS)
        segment = BOOK["segment"][0].as_py()
        assert set(result["segment"].to_pylist()) == {"*", segment}
        for measure in ("expected_loss", "VaR", "ES", "irb_capital"):
            level = {"expected_loss": 0.0, "irb_capital": 0.999}.get(measure, 0.99)
            whole = find(result, measure, level=level)
            assert whole["value"] == find(result, measure, segment=segment, level=level)["value"]

    def test_identical_obligors_are_separate_ones(self):
        again = replace(BOOK, "obligor_id", [f"again{i:05d}" for i in range(BOOK.num_rows)])
        twice = pa.concat_tables([BOOK, again])
        result = simulate_credit(twice, [], SETTINGS)
        one = find(RESULT, "expected_loss")["value"]
        assert find(result, "expected_loss")["value"] == pytest.approx(2 * one, rel=1e-14)
        # Twice the names diversify: less than twice the tail.
        assert find(result, "VaR", level=0.99)["value"] < 2 * find(RESULT, "VaR", level=0.99)["value"]

    def test_one_path_has_a_loss_and_no_interval(self):
        credit = SETTINGS.credit.model_copy(update={"n_paths": 1, "levels": (0.95,)})
        result = simulate_credit(BOOK, [], SETTINGS.model_copy(update={"credit": credit}))
        row = find(result, "expected_loss_simulated")
        assert row["ci_low"] is None
        assert row["ci_note"] == "no interval: the paths are all equal"

    def test_a_book_without_asset_classes_has_no_irb_capital(self):
        result = simulate_credit(replace(BOOK, "asset_class", [None] * 600), [], SETTINGS)
        row = find(result, "irb_capital", level=0.999)
        assert row["value"] is None
        assert row["ci_note"] == "not applicable: 600 obligors without asset_class"

    @pytest.mark.parametrize("column", ["maturity_years", "sales"])
    def test_a_missing_term_stops_the_capital_of_those_it_concerns(self, column):
        result = simulate_credit(replace(BOOK, column, [None] * 600), [], SETTINGS)
        missing = find(result, "irb_capital", segment="sme", level=0.999)
        assert missing["value"] is None
        assert f"without {column}" in missing["ci_note"]
        retail = find(result, "irb_capital", segment="retail", level=0.999)
        assert retail["value"] == find(RESULT, "irb_capital", segment="retail", level=0.999)["value"]


class TestScenarios:
    def test_without_credit_scenarios_the_base_runs_alone(self):
        market = Scenario.model_validate(
            {"name": "crash", "shocks": [{"select": {"kind": "spot"}, "move": {"scale": 0.7}}]}
        )
        result = simulate_credit(BOOK, [market], SETTINGS)
        assert result.equals(RESULT.filter(pa.compute.equal(RESULT["scenario"], "base")))

    def test_limited_values_are_counted_in_the_note(self):
        harsh = credit_scenario("harsh", default_prob={"scale": 20.0}, lgd={"add": 0.1})
        result = simulate_credit(BOOK, [harsh], SETTINGS)
        rows = BOOK.to_pylist()
        n_prob = sum(row["default_prob"] * 20 > 1 for row in rows)
        n_lgd = sum(row["lgd"] == 1.0 for row in rows)
        assert find(result, "expected_loss", scenario="harsh")["ci_note"] == (
            f"exact, no sampling; default_prob held within [0, 1] for {n_prob} obligors; "
            f"lgd held within [0, 1] for {n_lgd} obligors"
        )

    def test_two_scenarios_of_one_name(self):
        with pytest.raises(InputDataError, match="2 credit scenarios are named 'base'"):
            simulate_credit(BOOK, [BASE, BASE], SETTINGS)

    def test_an_empty_book(self):
        with pytest.raises(MissingDataError):
            simulate_credit(BOOK.slice(0, 0), [], SETTINGS)
