"""The monitor stage on a real Spark session over Delta tables."""

from __future__ import annotations

import datetime as dt
import hashlib
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from acceleray.config.models import CalibrateSettings, Limit, MonitorSettings, Scenario, Settings
from acceleray.domain.calendar import sessions
from acceleray.domain.tables import FEATURES, contract
from acceleray.errors import InputDataError, UsageError
from acceleray.lake.content import content_hash
from acceleray.lake.night import NightTables
from acceleray.models.early_warning.baseline import BaseRate
from acceleray.models.early_warning.files import save_model
from acceleray.numerics.backtest import christoffersen, kupiec
from acceleray.numerics.drift import population_stability_index
from acceleray.stages import monitor
from acceleray.stages.context import StageContext

pytestmark = pytest.mark.engines

AS_OF = dt.date(2018, 12, 28)
DAYS = sessions("XNYS", dt.date(2017, 1, 3), AS_OF)
DATES = [day.item() for day in DAYS]
OUT_OF_TIME_DAYS, CURRENT_DAYS = 120, 60
TRAIN_FROM = DATES[20]
UNLABELLED = 30
FACTORS = ["AAPL", "KO", "SPX"]
SCENARIOS = (
    Scenario.model_validate({"name": "crash", "shocks": [{"select": {"id": "*"}, "move": {"scale": 0.8}}]}),
)
LIMITS = (
    Limit(portfolio_id="Fund", type="VaR", warning=100.0, limit=200.0),
    Limit(portfolio_id="Equity", type="stress", scenario="crash", warning=10.0, limit=50.0, owner="CIO"),
    Limit(portfolio_id="Equity", type="ES", warning=100.0, limit=200.0),
    Limit(portfolio_id="Equity", type="leverage", unit="share", warning=1.0, limit=1.5),
)


def rows_of(name: str, rows: list[dict[str, Any]]) -> pa.Table:
    return pa.Table.from_pylist(rows, schema=contract(name).schema)


def forecasts() -> pa.Table:
    generator = np.random.default_rng(1)
    rows = []
    for portfolio_id in ("Equity", "Fund"):
        for method in ("historical", "monte_carlo_t"):
            pnl = generator.standard_normal(250)
            for level, var in ((0.975, 1.96), (0.99, 2.33)):
                rows += [
                    {
                        "portfolio_id": portfolio_id,
                        "method": method,
                        "level": level,
                        "date": day,
                        "var": var,
                        "es": 1.2 * var,
                        "pnl": float(x),
                    }
                    for day, x in zip(DATES[-250:], pnl, strict=True)
                ]
    # A forecast that could not be made, and a portfolio without any.
    rows[7]["var"] = rows[7]["es"] = None
    rows += [
        {
            "portfolio_id": "New",
            "method": "historical",
            "level": 0.99,
            "date": day,
            "var": None,
            "es": None,
            "pnl": 0.0,
        }
        for day in DATES[-2:]
    ]
    return rows_of("result.forecasts", rows)


def panel() -> pa.Table:
    n = len(DATES)
    parts = []
    for seed, factor_id in enumerate([*FACTORS, "NOT_TRAINED"]):
        generator = np.random.default_rng(seed)
        columns: dict[str, Any] = {name: generator.standard_normal(n) for name in FEATURES}
        # One that drifts, one that is constant, one that is missing half of the time.
        columns["credit_spread"] = np.where(np.arange(n) < n - CURRENT_DAYS, columns["credit_spread"], 9.0)
        columns["short_rate"] = np.full(n, 0.02)
        half = np.arange(n) % 2 == 0
        columns["beta_120d"] = pa.array(columns["beta_120d"], mask=half)
        if factor_id == "NOT_TRAINED":
            columns["return_1d"] = columns["return_1d"] + 100.0
        # The first rows have no label yet, so the model never learned from them.
        labels = pa.array(np.zeros(n, dtype=np.int64), mask=np.arange(n) < UNLABELLED)
        columns |= {"factor_id": [factor_id] * n, "date": DATES, "label_long": labels}
        schema = contract("feature.panel").schema
        absent = {name: pa.nulls(n, schema.field(name).type) for name in schema.names if name not in columns}
        parts.append(pa.table(columns | absent).select(schema.names).cast(schema))
    return pa.concat_tables(parts)


def measures() -> pa.Table:
    common = {"level": 0.99, "horizon_days": 1, "method": "historical"}
    return rows_of(
        "result.measures",
        [
            {"portfolio_id": "Fund", "measure": "VaR", "value": 150.0, "ci_low": 140.0, **common},
            {"portfolio_id": "Equity", "measure": "VaR", "value": 90.0, **common},
        ],
    )


def stress() -> pa.Table:
    row = {"portfolio_id": "Equity", "scenario": "crash", "pnl": -60.0, "proxied_share": 0.0}
    return rows_of("result.stress", [row])


def sensitivities() -> pa.Table:
    return rows_of("result.sensitivities", [])


def portfolio() -> pa.Table:
    row = {"portfolio_id": "Equity", "measure": "gross_leverage", "member_id": "", "value": 1.7}
    return rows_of("result.portfolio", [row | {"unit": "share", "note": "over NAV"}])


def values() -> pa.Table:
    common = {"portfolio_id": "Equity/US", "quantity": 1.0}
    return rows_of(
        "result.values",
        [
            {**common, "instrument_id": "AAPL", "quantity": -3.0, "market_value": 10.0, "status": "ok"},
            {**common, "instrument_id": "OPT", "status": "failed", "reason": "no volatility"},
        ],
    )


def tabulated() -> pa.Table:
    common = {"n_nodes": 700, "tolerance": 0.3, "n_prices": 9000, "note": "table over the scenarios"}
    return rows_of(
        "result.tabulated",
        [
            {**common, "instrument_id": "AAPL", "method": "table", "max_error": 0.25, "n_exact": 12},
            {**common, "instrument_id": "HELD", "method": "table", "max_error": 0.1, "n_exact": 0},
            {**common, "instrument_id": "OPT", "method": "exact", "max_error": 0.0, "n_exact": 9000},
        ],
    )


def rejected() -> pa.Table:
    common = {"input": "market", "file": "market.csv", "reason": "price is not positive"}
    return rows_of(
        "raw.rejected",
        [
            {**common, "line": 9, "column": "value", "value": "-1"},
            {**common, "line": 5, "column": "value", "value": "0"},
        ],
    )


def controls() -> pa.Table:
    return rows_of("raw.controls", [{"input": "market", "rows_read": 1000, "rows_rejected": 2}])


def factors() -> pa.Table:
    rows = [
        {"factor_id": "AAPL", "max_age_days": 5, "fixed": False},
        {"factor_id": "AAA", "max_age_days": 60, "fixed": False},
        {"factor_id": "OIL", "max_age_days": 2, "fixed": False},
        {"factor_id": "UNLIMITED", "max_age_days": None, "fixed": None},
        {"factor_id": "GONE", "max_age_days": 5, "fixed": False},
        {"factor_id": "RATE", "max_age_days": None, "fixed": True},
    ]
    return rows_of("raw.factors", rows)


def levels() -> pa.Table:
    rows = []
    for factor_id, age in (("AAPL", 0), ("AAA", 57), ("OIL", 3), ("UNLIMITED", 400), ("RATE", 5000)):
        observed = AS_OF - dt.timedelta(days=age)
        rows.append(
            {
                "factor_id": factor_id,
                "date": AS_OF,
                "value": 1.0,
                "observed_on": observed,
                "age_days": age,
            }
        )
    # Known a week ago, and no more.
    rows.append(
        {"factor_id": "GONE", "date": DATES[-6], "value": 1.0, "observed_on": DATES[-6], "age_days": 0}
    )
    return rows_of("market.levels", rows)


MODEL = BaseRate(long=0.1, short=0.2).to_json()


def models() -> pa.Table:
    common = {"family": "base_rate", "sha256": hashlib.sha256(MODEL).hexdigest()}
    return rows_of(
        "params.models",
        [
            {**common, "model_id": "base_rate-1", "role": "champion", "scores": True},
            {**common, "model_id": "other", "role": "candidate", "scores": False},
        ],
    )


INPUTS = {
    "params.models": models,
    "result.forecasts": forecasts,
    "result.measures": measures,
    "result.stress": stress,
    "result.portfolio": portfolio,
    "result.sensitivities": sensitivities,
    "result.values": values,
    "result.tabulated": tabulated,
    "feature.panel": panel,
    "raw.controls": controls,
    "raw.rejected": rejected,
    "raw.factors": factors,
    "market.levels": levels,
}


def night(
    spark, root: Path, run_id: str, *, limits=LIMITS, calibrate=None, **instead: pa.Table
) -> StageContext:
    tables = NightTables(root=root / "lake", run_id=run_id)
    for name, make in INPUTS.items():
        given = instead.get(name.replace(".", "_"))
        tables.write(name, make() if given is None else given)
    save_model(tables.root, MODEL)
    settings = Settings(
        name="test",
        as_of=AS_OF,
        base_currency="USD",
        calibrate=calibrate
        or CalibrateSettings(
            train_from=TRAIN_FROM, out_of_time_days=OUT_OF_TIME_DAYS, train_factors=tuple(FACTORS)
        ),
        monitor=MonitorSettings(recent_days=50),
    )
    return StageContext(
        project=root,
        run_directory=root,
        settings=settings,
        scenarios=SCENARIOS,
        limits=limits,
        tables=tables,
        started_at=dt.datetime(2018, 12, 29, tzinfo=dt.UTC),
        progress=lambda line: None,
        tracking_uri="",
        spark=spark,
        record={},
    )


@pytest.fixture(scope="module")
def done(spark, tmp_path_factory) -> StageContext:
    context = night(spark, tmp_path_factory.mktemp("monitor"), "one")
    monitor.run(context)
    return context


def found(context: StageContext, name: str) -> list[dict[str, Any]]:
    return context.tables.read(name).to_pylist()


def test_the_declared_tables_are_the_contracts() -> None:
    assert {contract(name).stage for name in monitor.WRITES} == {"monitor"}
    assert set(monitor.READS) == set(INPUTS)


def test_backtests_are_what_a_plain_loop_gives(done) -> None:
    rows = {(row["portfolio_id"], row["method"], row["level"]): row for row in found(done, "check.backtest")}
    assert len(rows) == 9
    groups: dict[tuple, list[dict]] = {}
    for row in found(done, "result.forecasts"):
        groups.setdefault((row["portfolio_id"], row["method"], row["level"]), []).append(row)
    for key, days in groups.items():
        hits = np.array([-day["pnl"] > day["var"] for day in days if day["var"] is not None], dtype=bool)
        row = rows[key]
        assert (row["days"], row["exceptions"], row["book"]) == (hits.size, hits.sum(), "today's static book")
        coverage = kupiec(exceptions=int(hits.sum()), days=hits.size, level=key[2])
        assert (row["kupiec_statistic"], row["kupiec_p_value"]) == (coverage.statistic, coverage.p_value)
        assert row["christoffersen_p_value"] == christoffersen(hits).p_value
        assert row["expected"] == hits.size * (1.0 - key[2])


def test_days_without_forecast_are_gaps_and_a_portfolio_without_any_is_said_so(done) -> None:
    rows = {(row["portfolio_id"], row["method"], row["level"]): row for row in found(done, "check.backtest")}
    gap = rows["Equity", "historical", 0.975]
    assert gap["days"] == 249
    assert "1 of 250 days have no forecast or no P&L" in gap["note"]
    none = rows["New", "historical", 0.99]
    assert (none["days"], none["zone"], none["kupiec_p_value"]) == (0, None, None)
    assert none["note"] == "no days to test; 2 of 2 days have no forecast or no P&L"


def test_drift_is_what_the_kernel_gives_on_the_documented_windows(done) -> None:
    rows = {row["feature"]: row for row in found(done, "check.drift")}
    assert list(rows) == sorted(FEATURES)
    table = panel().filter(pa.array(np.isin(panel()["factor_id"].to_numpy(zero_copy_only=False), FACTORS)))
    day = table["date"].to_numpy()
    reference = (day >= np.datetime64(TRAIN_FROM)) & (day <= DAYS[-OUT_OF_TIME_DAYS - 1])
    reference &= day >= DAYS[UNLABELLED]
    current = day >= DAYS[-CURRENT_DAYS]
    for feature in FEATURES:
        column = table[feature].to_numpy()
        index = population_stability_index(column[reference], column[current])
        row = rows[feature]
        assert row["psi"] == index.value
        assert (row["rows_reference"], row["rows_current"]) == (reference.sum(), current.sum())
    assert current.sum() == CURRENT_DAYS * len(FACTORS)
    assert rows["credit_spread"]["status"] == "alert"
    assert rows["return_1d"]["status"] == "ok"
    assert (rows["short_rate"]["psi"], rows["short_rate"]["note"]) == (0.0, "the reference is constant")
    assert rows["beta_120d"]["note"] == "90 of 180 current values are missing"


def test_the_scoring_model_is_looked_after(done) -> None:
    rows = {row["kind"]: row for row in found(done, "check.health")}
    assert set(rows) == {"features", "scores", "events", "skill", "recommendation"}
    assert {row["model_id"] for row in rows.values()} == {"base_rate-1"}
    # The feature that drifted is what the drift check says, and it is reason enough.
    drift = {row["feature"]: row for row in found(done, "check.drift")}
    assert (rows["features"]["status"], rows["features"]["value"]) == ("alert", drift["credit_spread"]["psi"])
    assert rows["features"]["note"].startswith("credit_spread drifted most")
    # A constant score does not drift; no label is an event, so that there is no skill to lose.
    assert (rows["scores"]["status"], rows["scores"]["value"]) == ("ok", 0.0)
    assert (rows["events"]["status"], rows["events"]["value"]) == ("ok", 0.0)
    assert rows["skill"]["status"] == "not_computed"
    assert (rows["recommendation"]["status"], rows["recommendation"]["note"]) == (
        "retrain",
        "alert: features; not computed: skill",
    )


def test_quality_names_every_finding_once(done) -> None:
    rows = {(row["kind"], row["subject"]): row for row in found(done, "check.quality")}
    assert {key: (row["severity"], row["value"]) for key, row in rows.items()} == {
        ("rejected", "market: price is not positive"): ("error", 2.0),
        ("aged", "AAA"): ("warning", 57.0),
        ("aged", "UNLIMITED"): ("warning", 400.0),
        ("stale", "OIL"): ("error", 3.0),
        ("stale", "GONE"): ("error", None),
        ("excluded", "Equity/US/OPT"): ("error", None),
        ("approximate", "Equity/US/AAPL"): ("note", 0.75),
    }
    assert rows["rejected", "market: price is not positive"]["detail"] == (
        "2 of 1000 rows; the first is market.csv line 5, column value, value '0'"
    )
    assert rows["aged", "AAA"]["detail"] == (
        "the value of 2018-11-01 is in use on 2018-12-28: 57 days old, at most 60 are allowed"
    )
    assert rows["stale", "GONE"]["detail"] == "no observation is known on 2018-12-28"
    assert rows["excluded", "Equity/US/OPT"]["detail"] == "failed: no volatility"
    assert rows["approximate", "Equity/US/AAPL"]["detail"] == (
        "interpolated from 700 prices; 12 of 9,000 scenarios lay outside and were priced exactly; "
        "table over the scenarios"
    )


def test_limits_meet_their_figures(done) -> None:
    rows = {(row["portfolio_id"], row["type"]): row for row in found(done, "check.limits")}
    assert rows["Fund", "VaR"]["state"] == "warning"
    assert rows["Fund", "VaR"]["ci_low"] == 140.0
    assert (rows["Equity", "stress"]["state"], rows["Equity", "stress"]["utilisation"]) == ("breach", 1.2)
    assert rows["Equity", "ES"]["state"] == "not_computed"
    leverage = rows["Equity", "leverage"]
    assert (leverage["value"], leverage["unit"], leverage["state"]) == (1.7, "share", "breach")


def test_the_run_record_counts_what_was_found(done) -> None:
    assert done.record["limits"] == {"breach": 2, "not_computed": 1, "warning": 1}
    assert done.record["quality"] == {"aged": 2, "approximate": 1, "excluded": 1, "rejected": 1, "stale": 2}
    assert sum(done.record["drift"].values()) == len(FEATURES)


def test_a_crash_between_two_tables_recomputes_only_what_is_missing(
    spark, done, tmp_path, monkeypatch
) -> None:
    context = night(spark, tmp_path, "crash")

    def crash(_: StageContext) -> pa.Table:
        raise RuntimeError("killed")

    with monkeypatch.context() as broken:
        broken.setattr(monitor, "_backtest", crash)
        with pytest.raises(RuntimeError, match="killed"):
            monitor.run(context)
    assert [context.tables.is_written(name) for name in monitor.WRITES] == [
        False,
        False,
        False,
        True,
        True,
    ]
    lines: list[str] = []
    monitor.run(replace(context, progress=lines.append))
    assert lines == ["computing check.backtest", "computing check.drift", "computing check.health"]
    for name in monitor.WRITES:
        key = contract(name).key
        assert content_hash(context.tables.read(name), key) == content_hash(done.tables.read(name), key)


def test_a_second_run_commits_nothing_and_another_night_gives_the_same_rows(spark, done, tmp_path) -> None:
    versions = {name: done.tables.version(name) for name in monitor.WRITES}
    monitor.run(done)
    assert {name: done.tables.version(name) for name in monitor.WRITES} == versions
    # Other files, another order of rows within them.
    generator = np.random.default_rng(9)
    shuffled = {
        name.replace(".", "_"): table.take(generator.permutation(table.num_rows))
        for name in ("result.forecasts", "feature.panel")
        for table in [INPUTS[name]()]
    }
    again = night(spark, tmp_path, "two", **shuffled)
    monitor.run(again)
    for name in monitor.WRITES:
        key = contract(name).key
        assert content_hash(again.tables.read(name), key) == content_hash(done.tables.read(name), key)


def test_a_clean_night_has_no_findings_and_a_short_one_no_reference(spark, tmp_path) -> None:
    context = night(
        spark,
        tmp_path,
        "short",
        limits=(),
        calibrate=CalibrateSettings(out_of_time_days=10_000),
        raw_rejected=rows_of("raw.rejected", []),
        result_values=values().slice(0, 1),
        result_tabulated=rows_of("result.tabulated", []),
        raw_factors=factors().slice(0, 1),
        result_forecasts=rows_of("result.forecasts", []),
    )
    monitor.run(context)
    for name in ("check.limits", "check.quality", "check.backtest"):
        assert found(context, name) == []
    rows = found(context, "check.drift")
    assert {row["status"] for row in rows} == {"not_computed"}
    assert {row["feature"]: row["note"] for row in rows}["return_1d"] == "the reference sample is empty"


def test_a_limit_on_an_unknown_portfolio_stops_the_stage(spark, tmp_path) -> None:
    limits = (Limit(portfolio_id="Equities", type="VaR", warning=1.0, limit=2.0),)
    context = night(spark, tmp_path, "typo", limits=limits)
    with pytest.raises(InputDataError, match=r"limits\.yaml: a limit names an unknown portfolio: 'Equities'"):
        monitor.run(context)
    assert not any(context.tables.is_written(name) for name in monitor.WRITES)


def test_the_recent_past_must_leave_some_of_the_test(spark, tmp_path) -> None:
    context = night(spark, tmp_path, "recent", calibrate=CalibrateSettings(out_of_time_days=60))
    context = replace(
        context, settings=context.settings.model_copy(update={"monitor": MonitorSettings(recent_days=60)})
    )
    with pytest.raises(UsageError, match=r"monitor\.recent_days: 60 labelled sessions"):
        monitor.run(context)


def test_the_current_window_must_not_reach_into_the_reference(spark, tmp_path) -> None:
    context = night(spark, tmp_path, "overlap", calibrate=CalibrateSettings(out_of_time_days=59))
    with pytest.raises(UsageError, match=r"monitor\.drift_current_days: 60 sessions"):
        monitor.run(context)
