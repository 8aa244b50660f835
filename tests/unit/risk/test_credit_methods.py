"""The methods of the loan book against each other and against exact laws, and what chooses between them."""

from __future__ import annotations

import dataclasses
import math

import numpy as np
import pytest
from scipy.special import ndtr, ndtri
from scipy.stats import binom
from tests.unit.risk.test_credit import BASE, RECESSION, credit_scenario, filled

from acceleray.config.models import CreditSettings, Scenario, SimulateSettings
from acceleray.errors import InputDataError, NumericalError, UsageError
from acceleray.numerics.loss_curve import prepare
from acceleray.numerics.loss_curve_estimates import loss_curve
from acceleray.risk import credit_contributions
from acceleray.risk.credit import credit_losses
from acceleray.risk.credit_measures import credit_table, curve_table, obligors_table
from acceleray.risk.credit_methods import CURVE_LEVELS
from acceleray.risk.loss_estimates import WeightedEstimates

LEVELS = (0.95, 0.99)
FEW = {"n_paths": 8000, "scrambles": 8, "points": 32, "levels": LEVELS}


def settings(**credit):
    return SimulateSettings(seed=11, credit=CreditSettings(**(FEW | credit)))


def loans(n, *, loadings=None, equal=False, **columns):
    """A made-up book; with loadings its factors are those of the file."""
    rng = np.random.default_rng(3)
    table = {
        "obligor_id": [f"o{i:05d}" for i in range(n)],
        "segment": ["a" if i % 2 else "b" for i in range(n)],
        "ead": np.full(n, 100.0) if equal else np.round(rng.lognormal(5, 0.6, n), 2),
        "default_prob": np.full(n, 0.02) if equal else np.exp(rng.uniform(-6, -3, n)),
        "lgd": np.full(n, 0.5),
    }
    if loadings is not None:
        weights = rng.uniform(0.1, 0.3, (n, loadings))
        table["loadings"] = [[(f"f{j}", float(w)) for j, w in enumerate(row)] for row in weights]
    return filled(table | columns)


def agree(one, other):
    """Within four standard errors of both, from intervals at 95 %."""
    errors = [
        (each.ci_high - each.ci_low) / 3.92
        for each in (one, other)
        if each.ci_low is not None and each.ci_high is not None
    ]
    return abs(one.value - other.value) <= 4.0 * math.hypot(*errors)


@pytest.mark.parametrize("dof", [None, 5.0])
def test_all_methods_agree_on_a_book_of_several_factors(dof):
    book = loans(600, loadings=4)
    found = {
        method: credit_losses(book, [BASE, RECESSION], settings(method=method, dof=dof))
        for method in ("plain", "importance", "conditional")
    }
    for scenario in ("base", "recession"):
        for segment in ("*", "a"):
            where = {"scenario": scenario, "segment": segment}
            plain = found["plain"]
            loss = found["conditional"].var(0.99, **where).value
            for method in ("importance", "conditional"):
                assert found[method].method(**where)[0] == method
                for level in LEVELS:
                    assert agree(found[method].var(level, **where), plain.var(level, **where))
                    assert agree(found[method].es(level, **where), plain.es(level, **where))
                assert agree(found[method].exceedance(loss, **where), plain.exceedance(loss, **where))
            # Lines see far more than as many paths.
            width = {m: found[m].es(0.99, **where) for m in found}
            width = {m: each.ci_high - each.ci_low for m, each in width.items()}
            assert width["conditional"] < 0.2 * width["plain"]


def test_a_small_book_with_one_factor_is_exact_and_plain_paths_agree():
    book = loans(100, equal=True)
    correlation = {"a": 0.2, "b": 0.2}
    exact = credit_losses(book, [], settings(correlation=correlation))
    assert exact.method() == ("exact", "")
    plain = credit_losses(book, [], settings(correlation=correlation, method="plain"))
    for loss in (100.0, 500.0, 1000.0):
        assert agree(exact.exceedance(loss), plain.exceedance(loss))
    assert exact.var(0.99).value % 50.0 == pytest.approx(0.0, abs=1e-9)
    assert exact.found[next(iter(exact.found))].distance < 4.5


def test_a_large_book_with_one_factor_is_integrated_and_near_its_granular_limit():
    n = 20_000
    book = loans(n)
    losses = credit_losses(book, [], settings(correlation={"a": 0.1, "b": 0.2}))
    method, why = losses.method()
    assert method == "conditional"
    assert why.startswith("not exact:")
    table = credit_table(losses, levels=LEVELS, interval_level=0.95).to_pylist()
    at = {(row["segment"], row["measure"], row["level"]): row["value"] for row in table}
    # Granularity adds of the order of 1 / n: some thousandths here.
    assert at["*", "VaR", 0.99] == pytest.approx(at["*", "asrf_var", 0.99], rel=5e-3)
    assert at["*", "VaR", 0.99] > at["*", "asrf_var", 0.99]
    assert "no sampling" in losses.var(0.99).note


def test_a_book_of_few_names_and_many_factors_is_not_left_to_the_curve():
    losses = credit_losses(loans(12, loadings=5), [], settings())
    method, why = losses.method()
    assert method in ("importance", "plain")
    assert "not exact: " in why
    assert "not conditional: " in why


def test_a_named_method_that_does_not_suit_is_refused():
    with pytest.raises(InputDataError, match="method 'exact' does not suit the whole book under scenario"):
        credit_losses(loans(50, loadings=5), [], settings(method="exact"))
    with pytest.raises(InputDataError, match=r"method 'conditional' does not suit .*few names make the tail"):
        credit_losses(loans(6, loadings=5), [], settings(method="conditional"))


def test_contributions_of_obligors_and_segments_add_up():
    losses = credit_losses(loans(600, loadings=4), [BASE, RECESSION], settings(method="conditional"))
    table = obligors_table(losses, levels=LEVELS, count=20).to_pylist()
    rows = credit_table(losses, levels=LEVELS, interval_level=0.95).to_pylist()
    for scenario in losses.scenarios:
        for level in LEVELS:
            for measure, figure in (("VaR_contribution", losses.var), ("ES_contribution", losses.es)):
                parts = [
                    row
                    for row in table
                    if (row["scenario"], row["measure"], row["level"]) == (scenario, measure, level)
                ]
                assert len(parts) == 21
                assert {row["segment"] for row in parts if not row["obligor_id"]} == {"*"}
                whole = figure(level, scenario=scenario).value
                assert math.fsum(row["value"] for row in parts) == pytest.approx(whole, rel=1e-12)
            segments = [
                row["value"]
                for row in rows
                if (row["scenario"], row["measure"], row["level"]) == (scenario, "ES_contribution", level)
            ]
            whole = losses.es(level, scenario=scenario).value
            assert math.fsum(segments) == pytest.approx(whole, rel=1e-12)


def test_obligors_of_a_large_book_add_up_to_their_segments_and_have_errors(monkeypatch):
    book = loans(600, loadings=4)
    full = credit_losses(book, [], settings(method="conditional"))
    monkeypatch.setattr(credit_contributions, "SHARES_BUDGET", 5000.0)
    losses = credit_losses(book, [], settings(method="conditional"))
    segments = {
        row["segment"]: row
        for row in credit_table(losses, levels=LEVELS, interval_level=0.95).to_pylist()
        if (row["measure"], row["level"]) == ("ES_contribution", 0.99)
    }
    rows = [
        [
            row
            for row in obligors_table(each, levels=LEVELS, count=count).to_pylist()
            if (row["measure"], row["level"]) == ("ES_contribution", 0.99) and row["obligor_id"]
        ]
        for each, count in ((losses, 600), (losses, 50), (full, 600))
    ]
    for name, segment in segments.items():
        own = math.fsum(row["value"] for row in rows[0] if row["segment"] == name)
        assert own == pytest.approx(segment["value"], rel=1e-12)
    assert all(row["std_error"] > 0.0 for row in rows[1])
    # Both visit the same lines for the obligors that matter: only who the others are is told by fewer.
    known = {row["obligor_id"]: row["value"] for row in rows[2]}
    for row in rows[1]:
        assert row["value"] == pytest.approx(known[row["obligor_id"]], rel=1e-5)


def test_every_method_lists_obligors_that_add_up_and_agree():
    book = loans(60, equal=True)
    correlation = {"a": 0.2, "b": 0.2}
    listed = {}
    for method in ("exact", "plain", "importance"):
        losses = credit_losses(book, [], settings(method=method, correlation=correlation))
        rows = obligors_table(losses, levels=LEVELS, count=60).to_pylist()
        for measure, figure in (("VaR_contribution", losses.var), ("ES_contribution", losses.es)):
            own = [row for row in rows if (row["measure"], row["level"]) == (measure, 0.95)]
            assert {row["method"] for row in own} == {method}
            assert math.fsum(row["value"] for row in own) == pytest.approx(figure(0.95).value, rel=1e-9)
            listed[method, measure] = {row["obligor_id"]: row for row in own if row["obligor_id"]}
        segments = {
            row["segment"]: row["value"]
            for row in credit_table(losses, levels=LEVELS, interval_level=0.95).to_pylist()
            if (row["measure"], row["level"]) == ("ES_contribution", 0.95)
        }
        for name, value in segments.items():
            own = [r["value"] for r in listed[method, "ES_contribution"].values() if r["segment"] == name]
            assert math.fsum(own) == pytest.approx(value, rel=1e-9)
    exact = listed["exact", "ES_contribution"]
    assert len({row["value"] for row in exact.values()}) == 1
    assert all(row["std_error"] == 0.0 for row in exact.values())
    for method in ("plain", "importance"):
        own = listed[method, "ES_contribution"]
        distances = [(row["value"] - exact[name]["value"]) / row["std_error"] for name, row in own.items()]
        # Sixty standard normal errors, of which the ES that the paths share moves all a little.
        assert math.sqrt(np.mean(np.square(distances))) < 1.5


def test_exact_contributions_do_not_wait_for_a_plain_path_to_lose():
    book = loans(2, ead=[100.0, 7.0], default_prob=[0.0004, 0.0008], lgd=[1.0, 1.0])
    given = settings(n_paths=10, levels=(0.999,), correlation={"a": 0.2, "b": 0.2})
    losses = credit_losses(book, [], given)
    assert losses.method()[0] == "exact"
    assert not losses.paths().any()
    rows = credit_table(losses, levels=(0.999,), interval_level=0.95).to_pylist()
    parts = {row["segment"]: row["value"] for row in rows if row["measure"] == "ES_contribution"}
    # Of 1,000 years, 0.4 lose the 100 and next to none of them the 7 as well; the VaR is 7.
    assert parts["b"] == pytest.approx(40.0, rel=1e-6)
    assert parts["a"] == pytest.approx(losses.es(0.999).value - 40.0, rel=1e-6)


def test_shares_in_the_tail_are_those_of_plain_paths():
    book = loans(600, loadings=4)
    lines = credit_losses(book, [], settings(method="conditional"))
    paths = credit_losses(book, [], settings(method="plain", n_paths=40_000))
    kinds = [
        {
            row["segment"]: row
            for row in credit_table(each, levels=LEVELS, interval_level=0.95).to_pylist()
            if row["measure"] == "ES_contribution" and row["level"] == 0.95
        }
        for each in (lines, paths)
    ]
    for segment in ("a", "b"):
        one, other = (kind[segment] for kind in kinds)
        error = math.hypot(*((row["ci_high"] - row["ci_low"]) / 3.92 for row in (one, other)))
        assert abs(one["value"] - other["value"]) < 4.0 * error


def test_the_curve_is_written_at_every_level_and_rises():
    losses = credit_losses(loans(600, loadings=4), [], settings())
    rows = curve_table(losses).to_pylist()
    whole = [row for row in rows if row["segment"] == "*"]
    assert [row["probability"] for row in whole] == list(CURVE_LEVELS)
    assert np.all(np.diff([row["loss"] for row in whole]) > 0.0)
    assert {row["method"] for row in whole} == {"conditional"}


def test_a_move_of_a_latent_factor_is_felt_by_every_method():
    worse = Scenario.model_validate(
        {
            "name": "worse",
            "book": "credit",
            "shocks": [{"select": {"credit_factor": "world"}, "move": {"set": -2.0}}],
        }
    )
    book, correlation = loans(2000), {"a": 0.15, "b": 0.15}
    found = [
        credit_losses(book, [BASE, worse], settings(correlation=correlation, method=method))
        for method in ("plain", "auto", "importance")
    ]
    for each in found:
        assert each.expected_loss(scenario="worse").value > 2.0 * each.expected_loss().value
        mean = each.paths(scenario="worse").mean()
        error = each.paths(scenario="worse").std() / math.sqrt(8000)
        assert abs(mean - each.expected_loss(scenario="worse").value) < 4.0 * error
        assert agree(each.var(0.95, scenario="worse"), found[0].var(0.95, scenario="worse"))


def test_nothing_to_lose_is_zero_by_whatever_method():
    losses = credit_losses(loans(50, lgd=np.zeros(50)), [], settings(correlation={"a": 0.1, "b": 0.1}))
    assert losses.var(0.99).value == losses.es(0.99).value == 0.0


def test_an_unknown_segment_is_named():
    losses = credit_losses(loans(10), [], settings(correlation={"a": 0.1, "b": 0.1}))
    with pytest.raises(UsageError, match="segment: 'c' is not in the book"):
        losses.var(0.99, segment="c")


def test_obligors_of_the_tail_carry_what_the_scenario_makes_of_them():
    losses = credit_losses(loans(600, loadings=4), [BASE, RECESSION], settings(method="conditional"))
    place = {str(name): number for number, name in enumerate(losses.book.obligor_ids)}
    rows = obligors_table(losses, levels=LEVELS, count=20).to_pylist()
    stresses = {stress.scenario: stress for stress in losses.stresses}
    for row in rows:
        if row["obligor_id"]:
            at, stress = place[row["obligor_id"]], stresses[row["scenario"]]
            expected = (losses.book.ead[at], stress.default_prob[at], stress.lgd[at])
            assert (row["ead"], row["default_prob"], row["lgd"]) == expected
    listed = [row["ead"] for row in rows if (row["scenario"], row["measure"], row["level"]) == LISTED]
    assert len(listed) == 21
    assert math.fsum(listed) == pytest.approx(losses.book.ead.sum(), rel=1e-12)


LISTED = ("base", "ES_contribution", 0.99)


def test_methods_that_draw_say_how_many_paths_their_tail_is_worth():
    book = loans(600, loadings=4)
    worth = {}
    for method in ("plain", "importance", "conditional"):
        losses = credit_losses(book, [BASE], settings(method=method))
        rows = credit_table(losses, levels=LEVELS, interval_level=0.95).to_pylist()
        worth[method] = {
            row["level"]: row["tail_paths"] for row in rows if (row["segment"], row["measure"]) == ("*", "ES")
        }
    assert worth["plain"] == {0.95: pytest.approx(400.0), 0.99: pytest.approx(80.0)}
    # Weighted paths are aimed at the tail, and cannot be worth more than all there are.
    assert worth["plain"][0.99] < worth["importance"][0.99] <= FEW["n_paths"]
    assert worth["conditional"] == {0.95: None, 0.99: None}


def test_contributions_from_weighted_paths_have_intervals_where_their_tail_is_worth_it():
    losses = credit_losses(
        loans(60, loadings=4), [], settings(method="importance", n_paths=2016, levels=(0.999,))
    )
    assert losses.method()[0] == "importance"
    rows = credit_table(losses, levels=(0.999,), interval_level=0.95).to_pylist()
    parts = [row for row in rows if row["measure"] == "ES_contribution"]
    assert {row["method"] for row in parts} == {"importance"}
    # Of as many plain paths two would lie beyond the level, too few for an interval.
    assert all(row["ci_low"] < row["value"] < row["ci_high"] for row in parts)


def test_defaulted_loans_lose_what_they_owe_by_auto():
    columns = loans(320, loadings=4).to_pydict()
    gone = set(columns["obligor_id"][:20])
    book = loans(
        320,
        loadings=4,
        segment=["gone" if name in gone else "a" for name in columns["obligor_id"]],
        default_prob=[1.0 if name in gone else 0.02 for name in columns["obligor_id"]],
    )
    losses = credit_losses(book, [], settings())
    owed = 0.5 * math.fsum(columns["ead"][:20])
    assert losses.method(segment="gone")[0] == "exact"
    for figure in (losses.var(0.99, segment="gone"), losses.es(0.95, segment="gone")):
        assert figure.ci_low == figure.value == figure.ci_high == pytest.approx(owed, rel=1e-12)
        assert "no sampling: the loss is" in figure.note
    assert agree(losses.var(0.95), credit_losses(book, [], settings(method="plain")).var(0.95))


@pytest.mark.parametrize("chance", [1.0, 1.0 - 1e-9, 1e-30, 1e-300])
def test_certain_books_pass_auto(chance):
    book = loans(200, loadings=4, default_prob=np.full(200, chance))
    losses = credit_losses(book, [], settings())
    total = 0.5 * math.fsum(book.to_pydict()["ead"])
    expected = total if chance > 0.5 else 0.0
    assert losses.var(0.99).value == pytest.approx(expected, rel=1e-12)
    assert losses.es(0.99).value == pytest.approx(expected, rel=1e-12, abs=1e-20)
    assert curve_table(losses).num_rows > 0


def test_a_stress_that_makes_every_default_certain_passes_auto():
    worst = credit_scenario("worst", default_prob={"scale": 5000.0})
    book = loans(200, loadings=4)
    losses = credit_losses(book, [BASE, worst], settings())
    total = 0.5 * math.fsum(book.to_pydict()["ead"])
    assert losses.var(0.95, scenario="worst").value == pytest.approx(total, rel=1e-12)
    assert losses.es(0.99, scenario="worst").value == pytest.approx(total, rel=1e-12)


def test_all_but_one_in_default_and_minute_amounts_find_a_method():
    chances = np.ones(100)
    chances[7] = 0.01
    for book in (
        loans(100, loadings=4, default_prob=chances),
        loans(100, loadings=4, ead=np.linspace(1e-300, 2e-300, 100)),
    ):
        losses = credit_losses(book, [], settings(n_paths=2000))
        assert losses.method()[0] in ("importance", "plain")
        assert "not conditional: " in losses.method()[1]
        assert 0.0 <= losses.var(0.95).value <= losses.es(0.99).value


def test_a_curve_that_ends_too_low_is_carried_on(monkeypatch):
    book = loans(600, loadings=4)
    whole = credit_losses(book, [], settings(method="conditional"))

    def short(model, target):
        return prepare(model, dataclasses.replace(target, losses=target.losses[:40]))

    monkeypatch.setattr("acceleray.risk.credit_blocks.prepare", short)
    carried = credit_losses(book, [], settings(method="conditional"))
    assert carried.var(0.99).value == pytest.approx(whole.var(0.99).value, rel=1e-5)
    assert carried.es(0.99).value == pytest.approx(whole.es(0.99).value, rel=1e-5)


def test_a_failure_of_the_curve_is_a_reason(monkeypatch):
    book = loans(600, loadings=4)
    for where in ("aim", "suits", "prepare", "curve_block"):
        with monkeypatch.context() as patch:
            patch.setattr(f"acceleray.risk.credit_blocks.{where}", fail)
            losses = credit_losses(book, [], settings(n_paths=2000))
            assert "not conditional: out of order" in losses.method()[1]


def test_a_tail_that_no_line_can_split_is_split_along_plain_paths(monkeypatch):
    losses = credit_losses(loans(600, loadings=4), [], settings(n_paths=2000))
    assert losses.method()[0] == "conditional"
    monkeypatch.setattr("acceleray.risk.credit_blocks.contributions_block", fail)
    rows = obligors_table(losses, levels=LEVELS).to_pylist()
    assert {row["method"] for row in rows} == {"plain"}


def fail(*_arguments, **_options):
    raise NumericalError("out of order")


def countries_apart(n):
    """Book and exact law of five countries without a common factor; the law by convolution."""
    sizes, chances, loading = (1, 2, 3, 1, 4), (0.01, 0.02, 0.005, 0.01, 0.003), math.sqrt(0.2)
    columns = {
        "obligor_id": [f"o{i:05d}" for i in range(5 * n)],
        "segment": ["a"] * (5 * n),
        "ead": np.repeat(np.array(sizes, float), n),
        "default_prob": np.repeat(chances, n),
        "lgd": np.ones(5 * n),
        "loadings": [[(f"c{i // n}", loading)] for i in range(5 * n)],
    }
    z = np.linspace(-8.5, 8.5, 241)
    weights = np.exp(-0.5 * z * z) / np.exp(-0.5 * z * z).sum()
    law = np.ones(1)
    for size, chance in zip(sizes, chances, strict=True):
        given = ndtr((ndtri(chance) - loading * z) / math.sqrt(0.8))
        own = np.zeros(n * size + 1)
        own[::size] = weights @ binom.pmf(np.arange(n + 1), n, given[:, None])
        law = np.convolve(law, own)
    return filled(columns), law


def test_a_tail_of_several_directions_is_left_to_paths_whose_intervals_hold_it():
    book, law = countries_apart(300)
    beyond = 1.0 - np.cumsum(law)
    held, methods = np.zeros(2, dtype=int), set()
    for seed in range(10):
        losses = credit_losses(
            book,
            [],
            SimulateSettings(seed=seed, credit=CreditSettings(n_paths=1000, levels=(0.95, 0.99))),
        )
        methods.add(losses.method()[0])
        var = int(np.argmax(beyond <= 0.01))
        shortfall = var + law @ np.maximum(np.arange(law.size) - var, 0.0) / 0.01
        for number, (found, truth) in enumerate(
            ((losses.var(0.99), var), (losses.es(0.99), shortfall)),
        ):
            held[number] += found.ci_low <= truth <= found.ci_high
    assert "conditional" not in methods
    # Of ten intervals of 95 % fewer than eight hold the truth once in ninety times.
    assert (held >= 8).all()


def test_losses_and_levels_outside_the_curve_are_answered_by_paths():
    book = loans(600, loadings=4)
    lines = credit_losses(book, [], settings())
    paths = credit_losses(book, [], settings(method="plain"))
    assert lines.method()[0] == "conditional"
    total = 0.5 * math.fsum(book.to_pydict()["ead"])
    for loss, chance in ((-1.0, 1.0), (total, 0.0), (1e300, 0.0), (math.inf, 0.0), (-math.inf, 1.0)):
        found = lines.exceedance(loss)
        assert found.ci_low == found.value == found.ci_high == chance
    for loss in (0.0, 1e-3, 0.999 * total):
        assert lines.exceedance(loss).value == paths.exceedance(loss).value
        assert "plain paths: the loss curve runs from" in lines.exceedance(loss).note
    for level in (0.01, 0.2, 0.9999999):
        assert lines.var(level).value == paths.var(level).value
        assert lines.es(level).value == paths.es(level).value
        assert "plain paths: the loss curve runs from" in lines.es(level).note


@pytest.mark.parametrize("method", ["auto", "plain", "importance", "conditional"])
def test_questions_without_an_answer_are_refused_alike(method):
    losses = credit_losses(loans(600, loadings=4), [], settings(method=method, n_paths=2000))
    for level in (0.0, 1.0, -0.5, math.nan):
        for figure in (losses.var, losses.es):
            with pytest.raises(UsageError, match="level: must lie between 0 and 1"):
                figure(level)
    with pytest.raises(UsageError, match="loss: must be a number"):
        losses.exceedance(math.nan)


@pytest.mark.parametrize("wrong", ["mean", "tail"])
def test_a_wrong_curve_is_noticed(monkeypatch, wrong):
    # As if nothing in the curve itself showed it.
    monkeypatch.setattr("acceleray.risk.credit_methods.curve_conflict", lambda *_: None)

    def spoilt(*arguments, **options):
        curve = loss_curve(*arguments, **options)
        if wrong == "mean":
            return dataclasses.replace(curve, means=1.1 * curve.means)
        return dataclasses.replace(curve, excess=3.0 * curve.excess)

    monkeypatch.setattr("acceleray.risk.credit_methods.loss_curve", spoilt)
    losses = credit_losses(loans(600, loadings=4), [], settings())
    assert losses.method()[0] == "plain"
    assert "contradict" in losses.method()[1]


def test_near_ties_of_weighted_paths_are_named():
    weights = np.ones(800)
    losses = np.where(np.arange(800) % 8 == 0, 2.0, 1.0)
    # An eighth loses 2, but for a few cycles that lose it twice.
    losses[1:81:8] = 2.0
    found = WeightedEstimates(losses=losses, weights=weights, confidence=0.95).var(0.86)
    assert found.value == 1.0
    assert "near-tie: VaR 0.86 is 1" in found.note
    assert "2 cannot be excluded" in found.note
    far = WeightedEstimates(losses=losses, weights=weights, confidence=0.95).var(0.5)
    assert "near-tie" not in far.note


def test_no_level_is_no_setting():
    with pytest.raises(ValueError, match="levels"):
        CreditSettings(levels=())


def test_a_curve_of_whole_losses_holds_the_step_of_the_law():
    n, chance, correlation = 20_000, 0.02, 0.1
    book = loans(n, equal=True, segment=["a"] * n, ead=np.ones(n), lgd=np.ones(n))
    losses = credit_losses(book, [], settings(method="conditional", correlation={"a": correlation}))
    z = np.linspace(-8.5, 8.5, 801)
    weights = np.exp(-0.5 * z * z) / np.exp(-0.5 * z * z).sum()
    given = ndtr((ndtri(chance) - math.sqrt(correlation) * z) / math.sqrt(1.0 - correlation))
    for level in LEVELS:
        found = losses.var(level)
        truth = int(found.value) - 20
        while weights @ binom.sf(truth, n, given) > 1.0 - level:
            truth += 1
        assert found.ci_low <= truth <= found.ci_high
        assert 1.0 <= found.ci_high - found.ci_low < 10.0
        assert "losses in steps of 1" in found.note
        assert "the VaR is a multiple of 1" in found.note
        assert str(truth) in found.note
