import numpy as np
import pyarrow as pa
import pytest
from tests.panels import last_day, make_panel, make_values

from acceleray.domain.tables import FEATURES
from acceleray.errors import SchemaError
from acceleray.models.early_warning.baseline import fit_logistic
from acceleray.models.early_warning.dataset import INPUTS, session_axis, stack
from acceleray.models.early_warning.files import model_path, save_model
from acceleray.models.early_warning.reasons import in_words
from acceleray.models.early_warning.scoring import (
    Buckets,
    Scorer,
    check_inputs,
    rank_and_roll_up,
    rows_to_score,
)

BUCKETS = Buckets(high=0.4, watch=0.2)


@pytest.fixture(scope="module")
def panel():
    return make_panel(n_factors=3, n_sessions=300)


@pytest.fixture(scope="module")
def values(panel):
    return make_values(panel)


def replaced(table, name, column):
    return table.set_column(table.column_names.index(name), table.schema.field(name), column)


def test_positions_meet_tonights_features_and_their_side(panel, values):
    rows, why_not = rows_to_score(values, panel)
    assert why_not == {("Income", "BOND"): "no spot-like underlying"}
    assert rows.num_rows == values.num_rows - 1
    tonight = {row["factor_id"]: row for row in panel.to_pylist() if row["date"] == last_day(panel)}
    factor = {(v["portfolio_id"], v["instrument_id"]): v["factor_id"] for v in values.to_pylist()}
    for row in rows.to_pylist():
        source = tonight[factor[row["portfolio_id"], row["instrument_id"]]]
        assert [row[name] for name in FEATURES] == [source[name] for name in FEATURES]
        assert row["direction"] == (1.0 if row["portfolio_id"] == "Equity/Long" else -1.0)


@pytest.mark.parametrize(
    ("column", "value", "reason"),
    [
        ("exposure", None, "no value tonight"),
        ("exposure", 0.0, "no exposure"),
        ("factor_id", "USD_10Y", "no spot-like underlying"),
        ("factor_id", None, "no spot-like underlying"),
    ],
)
def test_what_cannot_be_scored_says_why(panel, values, column, value, reason):
    changed = [value, *values[column].to_pylist()[1:]]
    field = values.schema.field(column)
    _, why_not = rows_to_score(replaced(values, column, pa.array(changed, field.type)), panel)
    assert reason in why_not["Equity/Long", "I-F0"]


def test_a_factor_without_tonights_history_is_not_scored(panel, values):
    short = panel.filter(
        pa.array([row["factor_id"] != "F0" or row["date"] < last_day(panel) for row in panel.to_pylist()])
    )
    _, why_not = rows_to_score(values, short)
    assert "history of F0" in why_not["Equity/Short", "I-F0"]


@pytest.mark.parametrize(
    "spoil",
    [
        lambda rows: rows.drop_columns(["beta_120d"]),
        lambda rows: rows.rename_columns({"beta_120d": "beta"}),
        lambda rows: rows.select(sorted(rows.column_names)),
        lambda rows: replaced(rows, "direction", pa.nulls(rows.num_rows, pa.float64())),
        lambda rows: replaced(rows, "volatility_20d", pa.array([np.nan] * rows.num_rows)),
        lambda rows: replaced(rows, "credit_spread", pa.array([np.inf] * rows.num_rows)),
        lambda rows: rows.cast(
            pa.schema([(f.name, pa.float32() if f.type == pa.float64() else f.type) for f in rows.schema])
        ),
    ],
)
def test_rows_of_another_shape_are_refused(panel, values, spoil):
    rows, _ = rows_to_score(values, panel)
    check_inputs(rows)
    with pytest.raises(SchemaError, match="Rows to score"):
        check_inputs(spoil(rows))


def test_scores_are_ranked_bucketed_and_rolled_up(panel, values, tmp_path):
    rows, why_not = rows_to_score(values, panel)
    samples = stack(panel, session_axis(panel))
    sha256 = save_model(tmp_path, fit_logistic(samples).to_json())
    scored = Scorer(str(model_path(tmp_path, sha256)), sha256)(rows)
    result = rank_and_roll_up(values, scored, why_not, buckets=BUCKETS, model_id="m").to_pylist()
    by_key = {(row["portfolio_id"], row["instrument_id"]): row for row in result}

    positions = [row for row in result if row["instrument_id"] != "*"]
    ranked = sorted((row for row in positions if row["rank"]), key=lambda row: row["rank"])
    assert [row["rank"] for row in ranked] == list(range(1, 7))
    weights = [abs(row["exposure"]) * row["score"] for row in ranked]
    assert weights == sorted(weights, reverse=True)

    bond = by_key["Income", "BOND"]
    assert (bond["score"], bond["rank"], bond["bucket"]) == (None, None, "not scored")
    assert {portfolio for portfolio, instrument in by_key if instrument == "*"} == {
        "Equity",
        "Equity/Long",
        "Equity/Short",
        "Fund",
        "Income",
    }
    shorts = [row for row in ranked if row["portfolio_id"] == "Equity/Short"]
    total = sum(abs(row["exposure"]) for row in shorts)
    mean = sum(abs(row["exposure"]) * row["score"] for row in shorts) / total
    # Three terms in another order.
    assert by_key["Equity/Short", "*"]["score"] == pytest.approx(mean, rel=1e-14)
    assert by_key["Equity/Short", "*"]["exposure"] == total
    assert by_key["Fund", "*"]["reasons"].startswith("6 of 7 positions scored")
    assert by_key["Income", "*"]["score"] is None
    assert {row["direction"] for row in shorts} == {"short"}


@pytest.mark.parametrize(
    ("score", "bucket"),
    [(0.4, "high"), (0.39, "watch"), (0.2, "watch"), (0.19, "normal"), (None, "not scored")],
)
def test_buckets(score, bucket):
    assert BUCKETS.of(score) == bucket


def test_reasons_are_the_three_largest_in_words():
    values = np.zeros((2, len(INPUTS)))
    contributions = np.zeros((2, len(INPUTS)))
    for name, value, contribution in [
        ("volatility_20d", 0.031, 0.5),
        ("index_return_20d", -0.0912, -0.7),
        ("beta_120d", 1.234, 0.1),
        ("credit_spread", np.nan, 0.2),
        ("direction", 1.0, 9.0),
    ]:
        values[0, INPUTS.index(name)] = value
        contributions[0, INPUTS.index(name)] = contribution
    assert in_words(values, contributions) == [
        "20-day index return −9.1 %, lowers; 20-day volatility 3.1 % a day, raises; "
        "credit spread not known, raises",
        "no feature: the base rate of its side",
    ]
