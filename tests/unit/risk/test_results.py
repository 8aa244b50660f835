import datetime as dt

import numpy as np
import pyarrow as pa
import pytest

from acceleray.domain.book import Book
from acceleray.domain.scenario import Historical, MonteCarlo, Move, Shock, Stress, StressScenario
from acceleray.errors import InputDataError, UsageError
from acceleray.numerics.tail import expected_shortfall, value_at_risk
from acceleray.risk import cube
from acceleray.risk.market import revalue

from .conftest import INSTRUMENTS, make_book


@pytest.fixture(scope="module")
def pnl(book, market):
    return revalue(book, market, Historical(window_days=300, horizon_days=1))


def test_rows_of_the_cube(pnl):
    rows = pnl.positions()
    assert rows.column_names == ["portfolio_id", "instrument_id", "scenario", "pnl"]
    assert rows.num_rows == 8 * 300
    third = rows.slice(2 * 300 + 7, 1).to_pylist()[0]
    assert third == {
        "portfolio_id": "Alpha/Short",
        "instrument_id": "SPX_FUT",
        "scenario": 7,
        "pnl": pnl.cube[2, 7],
    }


def test_nodes_add_up(pnl):
    parts = [pnl.node(name) for name in ("Alpha", "Hedge", "Rates", "World")]
    total = pnl.node()
    np.testing.assert_allclose(sum(parts), total, atol=1e-12 * np.abs(pnl.cube).max())
    np.testing.assert_allclose(pnl.node("Alpha"), pnl.node("Alpha/Long") + pnl.node("Alpha/Short"), atol=1e-9)
    with pytest.raises(UsageError, match="'Beta' is not in the book"):
        pnl.node("Beta")


def test_measures_are_those_of_the_losses(pnl):
    losses = -pnl.node("Alpha")
    var, es = pnl.var(0.99, "Alpha"), pnl.es(0.975, "Alpha")
    assert var.value == value_at_risk(losses, level=0.99)
    assert es.value == expected_shortfall(losses, level=0.975)
    assert (var.n_paths, var.method) == (300, "historical")
    assert var.ci_low <= var.value
    # 99 % from 300 days has no upper bound, and the note says so.
    assert var.ci_high is None
    assert var.note


def test_contributions_add_up_for_every_cut(pnl):
    total = pnl.es(0.975).value
    for by, count in (("instrument_id", 8), ("portfolio_id", 4)):
        split = pnl.contributions("ES", 0.975, by)
        assert split.num_rows == count
        assert sum(split["value"].to_pylist()) == pytest.approx(total, rel=1e-9)
    children = pnl.contributions("ES", 0.975, "portfolio_id", "Alpha")["member_id"].to_pylist()
    assert children == ["Alpha/Long", "Alpha/Short"]


def test_a_node_with_positions_of_its_own_is_its_own_member(market):
    book = make_book([("A", "FUND", 1.0), ("A/B", "OIL_FUT", 1.0)])
    pnl = revalue(book, market, Historical(window_days=100))
    split = pnl.contributions("ES", 0.9, "portfolio_id", "A")
    assert split["member_id"].to_pylist() == ["A", "A/B"]
    assert sum(split["value"].to_pylist()) == pytest.approx(pnl.es(0.9, "A").value, rel=1e-9)


def test_stresses_have_names_and_no_probabilities(book, market):
    scenario = StressScenario(name="crash", shocks=(Shock(kind="spot", move=Move.SCALE, size=0.8),))
    pnl = revalue(book, market, Stress(scenarios=(scenario,)))
    assert set(pnl.positions()["scenario"].to_pylist()) == {"crash"}
    for measure in (pnl.var, pnl.es, pnl.contributions):
        with pytest.raises(UsageError, match="no probabilities"):
            measure()


def test_what_was_left_out_is_told(market):
    pnl = revalue(
        make_book(FUND={"factor_id": "NDX"}), market, Historical(window_days=100), base_currency="USD"
    )
    assert pnl.excluded == (("Alpha/Long", "FUND", "missing factor_id: unknown factor 'NDX'"),)
    assert pnl.cube.shape == (7, 100)
    with pytest.raises(UsageError, match="'VaR' or 'ES', was 'TVaR'"):
        pnl.contributions("TVaR")
    with pytest.raises(UsageError, match="cut by 'sector'"):
        pnl.contributions(by="sector")


@pytest.fixture(scope="module")
def labelled_book():
    issuers = {"BOND": "ACME", "FUND": "FUNDCO", "OIL_FUT": "EXCHANGE", "SPX_FUT": "EXCHANGE"}
    rows = make_book().instruments.to_pylist()
    for row in rows:
        row["issuer_id"] = issuers.get(row["instrument_id"])
        row["attributes"] = [("sector", "energy" if "OIL" in row["instrument_id"] else "index")]
    book = make_book()
    return Book.from_tables(book.positions, pa.Table.from_pylist(rows, schema=book.instruments.schema))


@pytest.fixture(scope="module")
def kept(labelled_book, market):
    return revalue(labelled_book, market, Historical(window_days=300), block_size=64)


@pytest.fixture(scope="module")
def summed(labelled_book, market):
    """The same gains, but for those of positions, which are computed again when needed."""
    return revalue(labelled_book, market, Historical(window_days=300), block_size=64, keep_positions=False)


CUTS = [
    ({"portfolio_id": "Alpha"}, ["FUND", "OIL_FUT", "SPX_FUT"]),
    ({"portfolio_id": ["Alpha/*", "World"]}, ["CASH_EUR", "FUND", "OIL_FUT", "SPX_FUT", "SPX_FUT_EUR"]),
    ({"instrument_id": "SPX*"}, ["SPX_FUT", "SPX_FUT_EUR"]),
    ({"kind": ["option", "bond"]}, ["BOND", "CALL", "PUT"]),
    ({"kind": "future", "currency": "USD"}, ["OIL_FUT", "SPX_FUT"]),
    ({"issuer_id": "EX*"}, ["OIL_FUT", "SPX_FUT"]),
    ({"factor_id": "OIL"}, ["OIL_FUT"]),
    ({"attr_sector": "energy"}, ["OIL_FUT"]),
    ({"portfolio_id": "Fund"}, sorted(row["instrument_id"] for row in INSTRUMENTS)),
    ({"kind": "cash", "currency": "USD"}, []),
]


@pytest.mark.parametrize(("where", "names"), CUTS)
def test_a_cut_is_the_sum_of_its_positions(kept, summed, where, names):
    rows = [row for row, name in enumerate(kept.resolution.book.instrument_ids) if name in names]
    expected = kept.cube[rows].sum(axis=0)
    cut = kept.select(**where)
    # Eight positions in another order.
    np.testing.assert_allclose(cut.node(), expected, atol=1e-12 * np.abs(kept.cube).sum(axis=0).max())
    again = summed.select(**where)
    assert again.by_position is None
    # Signed zeros aside, kept gains and gains computed again are the same bits.
    np.testing.assert_array_equal(cut.node(), again.node())
    assert cut.var(0.95).value == value_at_risk(-cut.node(), level=0.95)
    assert sorted(set(cut.positions()["instrument_id"].to_pylist())) == names


def test_cuts_of_cuts_and_their_nodes(kept):
    cut = kept.select(kind="future").select(portfolio_id="Alpha")
    np.testing.assert_array_equal(cut.node(), kept.select(kind="future", portfolio_id="Alpha").node())
    np.testing.assert_array_equal(cut.node("Alpha"), cut.node())
    assert not cut.node("World").any()
    assert kept.select(kind="cash", currency="USD").es().value == 0.0


@pytest.mark.parametrize(
    ("where", "message"),
    [
        ({"sector": "energy"}, "cut by 'sector'; did you mean 'attr_sector'"),
        ({"kind": "optoin"}, "kind: nothing in the book is called 'optoin'; did you mean 'option'"),
        (
            {"portfolio_id": "Alfa"},
            "portfolio_id: nothing in the book is called 'Alfa'; did you mean 'Alpha'",
        ),
        ({"instrument_id": "Z*"}, r"nothing in the book is called 'Z\*'"),
    ],
)
def test_unknown_names_are_refused(kept, where, message):
    with pytest.raises(UsageError, match=message):
        kept.select(**where)


@pytest.mark.parametrize("measure", ["ES", "VaR"])
@pytest.mark.parametrize(
    "by", ["instrument_id", "portfolio_id", "issuer_id", "currency", "kind", "factor_id", "attr_sector"]
)
def test_contributions_add_up_by_anything_with_and_without_kept_positions(kept, summed, measure, by):
    total = (kept.es(0.95) if measure == "ES" else kept.var(0.95)).value
    split = kept.contributions(measure, 0.95, by)
    assert sum(split["value"].to_pylist()) == pytest.approx(total, rel=1e-9)
    assert all(error >= 0.0 for error in split["std_error"].to_pylist())
    assert split.equals(summed.contributions(measure, 0.95, by))


def test_members_without_a_label_are_one_member(kept):
    names = kept.contributions(by="issuer_id")["member_id"].to_pylist()
    assert names == ["(none)", "ACME", "EXCHANGE", "FUNDCO"]


def test_only_tail_scenarios_are_revalued_again(summed, monkeypatch):
    asked = []
    original = cube.group_gains

    def spy(base, job, scenarios):
        asked.append(scenarios.size)
        return original(base, job, scenarios)

    monkeypatch.setattr(cube, "group_gains", spy)
    summed.contributions("ES", 0.975)
    # 7.5 tail scenarios of 300, and those around the quantile.
    assert 0 < sum(asked) < 60


@pytest.mark.parametrize("measure", ["ES", "VaR"])
def test_decomposition_is_the_algebra_of_its_definitions(kept, summed, measure):
    level = 0.95
    of = expected_shortfall if measure == "ES" else value_at_risk
    table = kept.decomposition(measure, level, "portfolio_id")
    assert table.equals(summed.decomposition(measure, level, "portfolio_id"))
    losses, rows = -kept.node(), table.to_pylist()
    assert sum(row["component"] for row in rows) == pytest.approx(float(of(losses, level=level)), rel=1e-9)
    for row in rows:
        own = -kept.node(row["member_id"])
        rounding = 1e-9 * np.abs(losses).max()
        assert row["standalone"] == pytest.approx(float(of(own, level=level)), abs=rounding)
        without = float(of(losses - own, level=level))
        assert row["incremental"] == pytest.approx(float(of(losses, level=level)) - without, abs=rounding)
        assert row["marginal"] == pytest.approx(row["component"] / row["exposure"], rel=1e-12)
        assert "standalone: " in row["note"]
    exposure = {row["member_id"]: row["exposure"] for row in rows}
    # A bond's market value; the euros of World with the notional of its future.
    assert exposure["Rates"] > 0
    fx, spx = 1.15, 2500.0
    assert exposure["World"] == pytest.approx(50_000 * fx + 2 * 10 * spx * fx, rel=1e-12)


def test_the_scenarios_behind_a_figure(kept):
    es = kept.behind("ES", 0.975, "Alpha")
    weights = np.array(es["weight"])
    assert weights.sum() == pytest.approx(1.0, abs=1e-12)
    assert weights @ np.array(es["loss"]) == pytest.approx(kept.es(0.975, "Alpha").value, rel=1e-12)
    losses = -kept.node("Alpha")
    scenarios = es["scenario"].to_pylist()
    assert scenarios[0] == int(np.argmax(losses))
    assert es["date"].to_pylist()[0] == kept.labels.dates[scenarios[0]].item()
    var = kept.behind("VaR", 0.99)
    assert np.array(var["weight"]).sum() == pytest.approx(1.0, abs=1e-12)
    # The average around the quantile misses it by less than the losses around it differ.
    around = np.array(var["loss"])
    assert around.min() <= kept.var(0.99).value <= around.max()


def test_sobol_sets_get_their_interval_from_their_randomisations(book, market):
    pnl = revalue(book, market, MonteCarlo(n_paths=2048, seed=3, sampler="sobol"), block_size=64)
    assert pnl.labels.replicates is not None
    for found in (pnl.var(0.95), pnl.es(0.95)):
        assert f"{pnl.labels.replicates} independent sections" in found.note
        assert found.ci_low < found.value < found.ci_high


@pytest.mark.parametrize(
    "ask", [lambda pnl: pnl.var(99), lambda pnl: pnl.es(97.5), lambda pnl: pnl.behind(level=0)]
)
def test_a_level_is_a_fraction(pnl, ask):
    with pytest.raises(UsageError, match="level: must be more than 0 and less than 1") as caught:
        ask(pnl)
    assert "0.99" in caught.value.hint


def test_a_confidence_is_a_fraction(pnl):
    with pytest.raises(UsageError, match="confidence: must be more than 0 and less than 1, was 95"):
        pnl.var(0.99, confidence=95)


def test_shown_in_a_line(pnl, book, market):
    assert repr(pnl) == "<Pnl: 8 positions in 5 portfolios, 300 scenarios of historical, USD, 0 excluded>"
    assert repr(book) == f"<Book: 8 positions, {book.instruments.num_rows} instruments>"
    assert repr(market).startswith(f"<Market: {len(market.factors)} factors on ")


def test_words_that_are_not_known_are_refused(book, market):
    with pytest.raises(UsageError, match="base_currency: 'usd' is not a three-letter code"):
        revalue(book, market, Historical(window_days=300), base_currency="usd")
    with pytest.raises(UsageError, match="ageing: expected 'none' or 'calendar', was 'Calendar'"):
        revalue(book, market, Historical(window_days=300), ageing="Calendar")


def test_a_node_of_which_nothing_was_priced_has_no_measure(market):
    over = {"expiry": dt.date(2018, 12, 3)}
    pnl = revalue(make_book(CALL=over, PUT=over), market, Historical(window_days=300))
    for ask in (pnl.var, pnl.es, pnl.behind, pnl.contributions, pnl.decomposition):
        with pytest.raises(
            InputDataError, match="no position of 'Hedge' could be priced; 'CALL': expired on"
        ):
            ask(portfolio_id="Hedge")
    assert pnl.es().value > 0.0
    # A cut may be empty.
    assert pnl.select(portfolio_id="Hedge").var().value == 0.0


def test_what_is_no_scenario_set_is_refused(book, market):
    with pytest.raises(UsageError, match="scenarios: expected a scenario set, was str"):
        revalue(book, market, "historical")


@pytest.mark.parametrize(
    ("scenarios", "measure", "level", "said"),
    [
        (Historical(window_days=300), "ES", 0.975, "large-sample standard errors of independent paths"),
        (Historical(window_days=300), "ES", 0.99, "no standard error: only 3 of 300 paths"),
        (Historical(window_days=50), "VaR", 0.99, "no standard error: only 0.5 of 50 paths"),
        (Historical(window_days=300, horizon_days=10), "ES", 0.975, "no standard error: the paths depend"),
        (Historical(window_days=350, horizon_days=5), "ES", 0.9, "over 8 independent sections of 43 paths"),
        (MonteCarlo(n_paths=1600, sampler="sobol"), "VaR", 0.95, "over 16 independent sections of 128 paths"),
    ],
)
def test_a_standard_error_is_that_of_its_paths_or_null_with_the_reason(
    scenarios, measure, level, said, book, market
):
    split = revalue(book, market, scenarios).contributions(measure, level).to_pydict()
    assert said in split["note"][0]
    is_null = said.startswith("no ")
    assert all((error is None) is is_null for error in split["std_error"])
