"""The features stage on a real Spark session over Delta tables."""

from __future__ import annotations

import datetime as dt
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pytest

from acceleray.config.models import FeaturesSettings, Settings
from acceleray.domain.calendar import sessions
from acceleray.domain.tables import contract
from acceleray.engines import spark as engine
from acceleray.errors import InputDataError, UsageError
from acceleray.lake.content import content_hash
from acceleray.lake.night import NightTables
from acceleray.stages import features
from acceleray.stages.context import StageContext

pytestmark = pytest.mark.engines

AS_OF = dt.date(2018, 12, 28)
# The monthly yields start two months before the first price, and with them the sessions.
SESSIONS = sessions("XNYS", dt.date(2017, 4, 1), AS_OF)
FIRST_PRICE = np.datetime64("2017-06-01")
DAYS = SESSIONS[SESSIONS >= FIRST_PRICE]
CUT = np.datetime64("2018-09-14")
HORIZON_DAYS = 5
SPOTS = ["EARLY", "INDEX", "LATE", "OIL"]
FEATURES = FeaturesSettings(
    horizon_days=HORIZON_DAYS,
    threshold_window_days=80,
    threshold_min_days=40,
    index_factor="INDEX",
    oil_factor="OIL",
    credit_spread_factors=("BAA", "AAA"),
    short_rate_factor="AAA",
)


def observations() -> pa.Table:
    """Four spot series of different starts and gaps, two monthly yields known a month late, one number."""
    parts = [
        _series("EARLY", DAYS, 1, spot=True),
        _series("INDEX", DAYS[5:], 2, spot=True),
        _series("LATE", DAYS[120:], 3, spot=True),
        # Oil misses a session now and then; the last value stays in use.
        _series("OIL", np.delete(DAYS, slice(7, None, 31)), 4, spot=True),
    ]
    months = np.arange("2017-04", "2019-01", dtype="datetime64[M]")
    for seed, name in enumerate(("AAA", "BAA"), 5):
        stamps = months.astype("datetime64[D]")
        published = (months + 1).astype("datetime64[D]")
        parts.append(_series(name, stamps, seed, spot=False, available_from=published))
    parts.append(_series("RATE", np.array([AS_OF], "datetime64[D]"), 7, spot=False))
    return pa.concat_tables(parts)


def _series(name: str, days, seed: int, *, spot: bool, available_from=None) -> pa.Table:
    draws = np.random.default_rng(seed).normal(0.0, 0.02, days.size)
    values = 100.0 * np.exp(np.cumsum(draws)) if spot else 0.03 + 0.01 * draws
    known = pa.nulls(days.size, pa.date32()) if available_from is None else pa.array(available_from)
    return pa.table(
        {"date": pa.array(days), "factor_id": [name] * days.size, "value": values, "available_from": known}
    )


def factors() -> pa.Table:
    kinds = {**dict.fromkeys(SPOTS, "spot"), **dict.fromkeys(("AAA", "BAA", "RATE"), "zero_rate")}
    columns: dict[str, Any] = {
        "factor_id": list(kinds),
        "kind": list(kinds.values()),
        "currency": ["USD"] * len(kinds),
        "fixed": [name == "RATE" for name in kinds],
    }
    schema = contract("raw.factors").schema
    empty = {
        name: pa.nulls(len(kinds), schema.field(name).type) for name in schema.names if name not in columns
    }
    return pa.table(columns | empty)


def night(
    spark, root: Path, run_id: str, market: pa.Table, feature_settings: FeaturesSettings = FEATURES
) -> StageContext:
    tables = NightTables(root=root / "lake", run_id=run_id)
    tables.write("raw.market", market)
    tables.write("raw.factors", factors())
    return StageContext(
        project=root,
        run_directory=root,
        settings=Settings(name="test", as_of=AS_OF, base_currency="USD", features=feature_settings),
        scenarios=(),
        limits=(),
        tables=tables,
        started_at=dt.datetime(2018, 12, 29, tzinfo=dt.UTC),
        progress=lambda line: None,
        tracking_uri="",
        spark=spark,
        record={},
    )


@pytest.fixture(scope="module")
def done(spark, tmp_path_factory) -> StageContext:
    context = night(spark, tmp_path_factory.mktemp("features"), "one", observations())
    features.run(context)
    return context


def levels_of(context: StageContext, factor_id: str) -> pa.Table:
    return context.tables.read("market.levels").filter(pc.field("factor_id") == factor_id)


def test_the_declared_tables_are_the_contracts():
    assert {contract(name).stage for name in features.WRITES} == {"features"}
    assert {contract(name).stage for name in features.READS} == {"ingest"}
    assert features.ENGINE == "spark"


def test_levels_start_with_the_first_value_and_fill_every_session(done):
    assert levels_of(done, "EARLY")["date"].to_numpy().tolist() == DAYS.tolist()
    assert levels_of(done, "LATE")["date"].to_numpy().tolist() == DAYS[120:].tolist()
    oil = levels_of(done, "OIL").to_pydict()
    assert len(oil["date"]) == DAYS.size
    assert oil["value"][7] == oil["value"][6]
    assert oil["observed_on"][7] == oil["date"][6]
    assert oil["age_days"][7] == (oil["date"][7] - oil["date"][6]).days > 0


def test_a_monthly_average_is_used_only_once_it_was_known(done):
    rows = {row["date"]: row for row in levels_of(done, "AAA").to_pylist()}
    assert rows[dt.date(2018, 10, 31)]["observed_on"] == dt.date(2018, 9, 1)
    assert rows[dt.date(2018, 11, 1)]["observed_on"] == dt.date(2018, 10, 1)
    assert rows[dt.date(2018, 11, 1)]["age_days"] == 31
    assert max(row["observed_on"] for row in rows.values()) == dt.date(2018, 11, 1)


def test_a_fixed_factor_has_one_row_at_as_of(done):
    assert levels_of(done, "RATE").select(["date", "observed_on", "age_days"]).to_pylist() == [
        {"date": AS_OF, "observed_on": AS_OF, "age_days": 0}
    ]


def test_the_panel_has_one_row_per_spot_factor_and_session(done):
    panel = done.tables.read("feature.panel")
    counts = dict(
        zip(*panel.group_by("factor_id").aggregate([("date", "count")]).to_pydict().values(), strict=True)
    )
    assert counts == {"EARLY": DAYS.size, "INDEX": DAYS.size - 5, "LATE": DAYS.size - 120, "OIL": DAYS.size}
    assert done.record == {
        "first_session": str(SESSIONS[0]),
        "last_session": str(SESSIONS[-1]),
        "sessions": SESSIONS.size,
        "level_rows": done.tables.read("market.levels").num_rows,
        "panel_rows": panel.num_rows,
        "panel_factors": 4,
    }


def test_incomplete_windows_are_null_and_nothing_is_nan(done):
    panel = done.tables.read("feature.panel")
    for name in panel.column_names[2:]:
        column = panel[name]
        assert column.null_count < panel.num_rows, name
        if pa.types.is_floating(column.type):
            assert not pc.any(pc.is_nan(column.drop_null())).as_py(), name
    early = panel.filter(pc.field("factor_id") == "EARLY")
    nulls = {name: early[name].null_count for name in early.column_names}
    assert nulls["return_1d"] == 1
    assert nulls["volatility_20d"] == 20
    assert nulls["drawdown_250d"] == 249
    # The index starts five sessions later.
    assert nulls["beta_120d"] == 125
    assert nulls["adverse_long"] == nulls["adverse_short"] == HORIZON_DAYS
    assert nulls["threshold_long"] == 40 - 1 + HORIZON_DAYS
    assert nulls["label_long"] == nulls["threshold_long"] + HORIZON_DAYS


def test_spark_and_one_plain_process_agree_on_every_bit(done):
    plain = features.panel_in_one_process(done.tables.read("market.levels"), SPOTS, FEATURES, SESSIONS)
    key = contract("feature.panel").key
    assert content_hash(plain, key) == done.tables.commits["feature.panel"].content_hash
    levels = pa.concat_tables(
        features.factor_levels(
            observations().filter(pc.field("factor_id") == name),
            SESSIONS if name != "RATE" else np.array([AS_OF], "datetime64[D]"),
        )
        for name in factors()["factor_id"].to_pylist()
    )
    assert content_hash(levels, key) == done.tables.commits["market.levels"].content_hash


def test_observations_after_a_date_replaced_by_noise_change_no_bit_up_to_it(done, spark, tmp_path):
    market = observations()
    known = pc.fill_null(market["available_from"], market["date"]).to_numpy()
    known = np.maximum(known, market["date"].to_numpy())
    noise = np.exp(np.random.default_rng(9).normal(0.0, 3.0, market.num_rows))
    values = np.where(known > CUT, noise, market["value"].to_numpy())
    noisy = night(spark, tmp_path, "noisy", market.set_column(2, "value", pa.array(values)))
    features.run(noisy)
    assert _until(done, "market.levels", CUT) == _until(noisy, "market.levels", CUT)
    labels = ["adverse_long", "adverse_short", "label_long", "label_short"]
    assert _until(done, "feature.panel", CUT, without=labels) == _until(
        noisy, "feature.panel", CUT, without=labels
    )
    complete = DAYS[np.searchsorted(DAYS, CUT) - HORIZON_DAYS]
    assert _until(done, "feature.panel", complete) == _until(noisy, "feature.panel", complete)
    next_day = DAYS[np.searchsorted(DAYS, complete) + 1]
    assert _until(done, "feature.panel", next_day) != _until(noisy, "feature.panel", next_day)


def _until(context: StageContext, name: str, last: np.datetime64, without: list[str] | None = None) -> str:
    table = context.tables.read(name).drop_columns(without or [])
    kept = table.filter(pc.field("date") <= pa.scalar(last.astype(dt.date), pa.date32()))
    assert kept.num_rows > 0
    return content_hash(kept, contract(name).key)


def test_a_crash_between_the_tables_is_finished_by_running_again(done, spark, tmp_path, monkeypatch):
    context = night(spark, tmp_path, "crash", observations())
    write = engine.write_table

    def write_levels_only(df, tables, name):
        if name == "feature.panel":
            raise KeyboardInterrupt
        return write(df, tables, name)

    with monkeypatch.context() as patched:
        patched.setattr(engine, "write_table", write_levels_only)
        with pytest.raises(KeyboardInterrupt):
            features.run(context)
    assert context.tables.is_written("market.levels")
    assert not context.tables.is_written("feature.panel")
    before = context.tables.commits["market.levels"]
    features.run(context)
    assert context.tables.commits["market.levels"] == before
    for name in features.WRITES:
        assert context.tables.commits[name].content_hash == done.tables.commits[name].content_hash


def test_without_reference_factors_their_columns_are_null(spark, tmp_path):
    alone = FEATURES.model_copy(
        update=dict.fromkeys(("index_factor", "oil_factor", "credit_spread_factors", "short_rate_factor"))
    )
    context = night(spark, tmp_path, "alone", observations(), alone)
    features.run(context)
    panel = context.tables.read("feature.panel")
    for name in ("beta_120d", "index_return_20d", "oil_volatility_20d", "credit_spread", "short_rate"):
        assert panel[name].null_count == panel.num_rows
    assert panel["volatility_60d"].null_count < panel.num_rows


def test_an_unknown_reference_factor_is_named(spark, tmp_path):
    wrong = FEATURES.model_copy(update={"oil_factor": "WTI"})
    context = night(spark, tmp_path, "wrong", observations(), wrong)
    with pytest.raises(UsageError, match="'WTI'"):
        features.run(context)
    assert not context.tables.is_written("feature.panel")


def test_a_spot_that_is_not_positive_is_named(spark, tmp_path):
    market = observations()
    values = market["value"].to_numpy().copy()
    row = int(np.flatnonzero(pc.equal(market["factor_id"], "OIL").to_numpy())[50])
    values[row] = -37.63
    context = night(spark, tmp_path, "negative", market.set_column(2, "value", pa.array(values)))
    with pytest.raises(InputDataError, match=f"factor OIL on {market['date'][row]}.*was -37.63"):
        features.run(context)


def test_a_threshold_that_can_never_exist_is_refused_before_any_work(spark, tmp_path):
    wrong = FEATURES.model_copy(update={"threshold_min_days": 81})
    context = night(spark, tmp_path, "never", observations(), wrong)
    with pytest.raises(UsageError, match="threshold_min_days"):
        features.run(context)
    assert not context.tables.is_written("market.levels")
