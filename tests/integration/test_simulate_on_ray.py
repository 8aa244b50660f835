"""The market side on Ray: the same bits as the plain process, whatever the number of CPUs."""

import datetime as dt

import numpy as np
import pyarrow as pa
import pytest

from acceleray.config.models import Scenario, Settings
from acceleray.domain.scenario import FilteredHistorical, MonteCarlo
from acceleray.domain.tables import contract
from acceleray.engines.ray import session
from acceleray.errors import NumericalError, TaskFailedError
from acceleray.lake.content import content_hash, sort_by_key
from acceleray.lake.night import NightTables
from acceleray.risk.calibration import calibrate_risk
from acceleray.risk.fan_out import fan_out
from acceleray.risk.forecasts import forecast_table
from acceleray.risk.market import revalue
from acceleray.risk.parameters import RiskParameters
from acceleray.risk.resolve import resolve
from acceleray.risk.sensitivities import sensitivities_of
from acceleray.stages import simulate
from acceleray.stages.context import StageContext
from tests.unit.risk.conftest import AS_OF, FACTORS_FULL, make_book, make_market

pytestmark = pytest.mark.engines

SETTINGS = Settings.model_validate(
    {
        "name": "test",
        "as_of": AS_OF,
        "base_currency": "USD",
        "simulate": {"window_days": 150, "backtest_days": 60, "n_paths": 1500, "block_size": 512},
        "calibrate": {"volatility_window_days": 300, "refit_every_days": 40},
    }
)
SCENARIOS = (
    Scenario.model_validate(
        {"name": "crash", "shocks": [{"select": {"kind": "spot"}, "move": {"scale": 0.8}}]}
    ),
    Scenario.model_validate({"name": "replay", "from": "2018-10-03", "to": "2018-11-05"}),
)


PORTFOLIOS = [
    {"portfolio_id": "Alpha", "nav": 1e5, "benchmark_id": "MIX"},
    {"portfolio_id": "Fund", "nav": 4e5, "benchmark_id": "MIX"},
    {"portfolio_id": "Rates", "benchmark_id": "CURVE"},
]
BENCHMARKS = [
    {"benchmark_id": "CURVE", "instrument_id": "OIL_FUT", "weight": 1.0},
    {"benchmark_id": "MIX", "instrument_id": "BOND", "weight": 0.4},
    {"benchmark_id": "MIX", "instrument_id": "FUND", "weight": 0.5},
]


def bad(kind):
    raise NumericalError("no price") if kind == "ours" else RuntimeError("broken")


def test_tasks_give_the_bits_of_the_plain_process(tmp_path):
    market, book = make_market(), make_book()
    sets = (
        MonteCarlo(n_paths=1500, horizon_days=3, seed=1, dof=5),
        FilteredHistorical(window_days=100, horizon_days=5, n_paths=1500, seed=2),
    )
    plain = [revalue(book, market, each, block_size=256).cube for each in sets]
    fits = calibrate_risk(market, SETTINGS, distributed=False)
    past = _forecast(book, market, fits, distributed=False)
    hashes = {}
    for cpus in (2, 1):
        with session(cpus=cpus):
            for each, expected in zip(sets, plain, strict=True):
                cube = revalue(book, market, each, block_size=256, n_workers=2).cube
                np.testing.assert_array_equal(cube, expected)
            for name, table in calibrate_risk(market, SETTINGS).items():
                assert content_hash(table, contract(name).key) == content_hash(fits[name], contract(name).key)
            assert _forecast(book, market, fits, distributed=True).equals(past)
            hashes[cpus] = _stage(tmp_path / str(cpus), market, book, fits)
            if cpus == 2:
                # An error of ours arrives as it was raised, any other names the task.
                with pytest.raises(NumericalError, match="no price"):
                    fan_out(bad, (), [("ours",)], what="call", distributed=True)
                with pytest.raises(TaskFailedError, match="call 0 failed: broken"):
                    fan_out(bad, (), [("theirs",)], what="call", distributed=True)
    assert hashes[1] == hashes[2]


def _forecast(book, market, fits, *, distributed):
    return forecast_table(
        resolve(book, market, history_days=210),
        market,
        RiskParameters.from_tables(market, *fits.values(), volatility_days=300, covariance_days=150),
        window_days=150,
        backtest_days=60,
        covariance_decay=0.97,
        seed=5,
        nodes=book.nodes,
        distributed=distributed,
    )


def _stage(folder, market, book, fits):
    """Run the stage on a lake of its own, check what it wrote, and return the content hashes."""
    tables = NightTables(root=folder / "lake", run_id="night")
    inputs = {
        "raw.positions": book.positions,
        "raw.instruments": book.instruments,
        "raw.factors": pa.Table.from_pylist(FACTORS_FULL, schema=contract("raw.factors").schema),
        "raw.portfolios": _table("raw.portfolios", PORTFOLIOS),
        "raw.benchmarks": _table("raw.benchmarks", BENCHMARKS),
        "raw.holdings": _table("raw.holdings", []),
        "market.levels": _levels(market),
        **fits,
    }
    for name, table in inputs.items():
        tables.write(name, table)
    record, lines = {}, []
    context = StageContext(
        project=folder,
        run_directory=folder,
        settings=SETTINGS,
        scenarios=SCENARIOS,
        limits=(),
        tables=tables,
        started_at=dt.datetime(2018, 12, 31, tzinfo=dt.UTC),
        progress=lines.append,
        tracking_uri="",
        record=record,
    )
    simulate.run(context)
    written = {name: tables.read(name) for name in simulate.WRITES}
    counts = {name: table.num_rows for name, table in written.items()}
    n_nodes, n_positions = len(book.nodes), len(book.portfolio_ids)
    # Two historical sets and one filtered one of the window, and five of n_paths.
    n_scenarios = 3 * 150 + 5 * 1500
    assert counts["result.values"] == n_positions
    assert counts["result.pnl"] == n_positions * n_scenarios
    assert counts["result.scenarios"] == n_scenarios
    # VaR and ES of every set, and the stressed ES.
    assert counts["result.measures"] == n_nodes * (8 * 2 + 1)
    assert counts["result.stress"] == n_nodes * len(SCENARIOS)
    assert counts["result.forecasts"] == n_nodes * 4 * 2 * 60
    assert counts["result.credit"] == 0
    assert set(written["result.sensitivities"]["portfolio_id"].to_pylist()) == set(book.nodes)
    # No night was published before this one.
    assert counts["result.explain"] == 0
    plain = sensitivities_of(resolve(book, market, history_days=210), market, distributed=False)
    assert written["result.sensitivities"].equals(
        sort_by_key(plain.table(book.nodes), contract("result.sensitivities").key)
    )
    assert record["positions"] == n_positions
    assert record["positions_excluded"] == []
    # The figures follow from the stored paths.
    for row in written["result.measures"].to_pylist():
        if (row["portfolio_id"], row["measure"], row["method"]) == ("Fund", "VaR", "monte_carlo_t"):
            pnl = written["result.pnl"].to_pandas()
            mine = pnl[(pnl.method == "monte_carlo_t") & (pnl.horizon_days == row["horizon_days"])]
            losses = -mine.groupby("scenario").pnl.sum().to_numpy()
            assert row["value"] == pytest.approx(np.sort(losses)[1485 - 1], rel=1e-9)
    _check_portfolio_figures(written, record)
    # Once more, as after a crash: nothing is computed or written again.
    lines.clear()
    simulate.run(context)
    assert lines == []
    return {name: content_hash(table, contract(name).key) for name, table in written.items()}


def _check_portfolio_figures(written, record):
    """Recompute the figures against NAV and benchmark from the published paths and levels."""
    found = {
        (row["portfolio_id"], row["measure"], row["member_id"]): row
        for row in written["result.portfolio"].to_pylist()
    }
    headline = {
        (row["portfolio_id"], row["measure"]): row
        for row in written["result.measures"].to_pylist()
        if (row["method"], row["horizon_days"]) == ("historical", 1)
    }
    for name in ("VaR", "ES"):
        share, amount = found["Fund", name, ""], headline["Fund", name]
        assert share["value"] == amount["value"] / 4e5
        assert share["unit"] == "share"
    pnl = written["result.pnl"].to_pandas()
    paths = pnl[(pnl.method == "historical") & (pnl.horizon_days == 1)]
    fund = paths.groupby("scenario").pnl.sum()
    values = {row["instrument_id"]: row for row in written["result.values"].to_pylist()}
    benchmark = 0.0
    for name, weight in (("BOND", 0.4), ("FUND", 0.5)):
        own = paths[paths.instrument_id == name].set_index("scenario").pnl
        benchmark = benchmark + weight * own / values[name]["market_value"]
    active = (fund - 4e5 * benchmark).to_numpy()
    row = found["Fund", "tracking_error", ""]
    assert row["value"] == pytest.approx(active.std(ddof=1) / 4e5 * np.sqrt(252), rel=1e-9)
    assert row["ci_low"] < row["value"] < row["ci_high"]
    # The 99 % quantile of 150 paths is the 149th.
    total = found["Fund", "active_VaR", ""]["value"]
    assert total == pytest.approx(np.sort(-active)[149 - 1], rel=1e-9)
    for name in ("active_VaR", "active_ES"):
        parts = [r["value"] for key, r in found.items() if key[:2] == ("Fund", name) and key[2]]
        assert sum(parts) == pytest.approx(found["Fund", name, ""]["value"], rel=1e-9)
    # A benchmark that cannot be computed says so.
    assert record["benchmarks_missing"].keys() == {"CURVE"}
    assert found["Rates", "active_ES", ""]["value"] is None
    assert "of which there is no share" in found["Rates", "active_ES", ""]["note"]
    assert ("World", "tracking_error", "") not in found
    # No benchmark is in any other figure.
    assert {key[0] for key in headline} == {key[0] for key in found}


def _table(name, rows):
    return pa.Table.from_pylist(rows, schema=contract(name).schema)


def _levels(market):
    rows = [
        (day, name, level)
        for i, day in enumerate(market.dates.tolist())
        for factor, name, level in zip(market.factors, market.factor_ids, market.levels[i], strict=True)
        if not factor.fixed or day == AS_OF
    ]
    return pa.table(
        {
            "date": pa.array([row[0] for row in rows], pa.date32()),
            "factor_id": [row[1] for row in rows],
            "value": [row[2] for row in rows],
            "observed_on": pa.array([row[0] for row in rows], pa.date32()),
            "age_days": np.zeros(len(rows), dtype=np.int64),
        }
    )
