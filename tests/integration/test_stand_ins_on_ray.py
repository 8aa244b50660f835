"""Instruments without closed form on Ray: tables are tasks, the user's function travels, the bits stay."""

import datetime as dt

import numpy as np
import pyarrow as pa
import pytest

from acceleray.config.models import Scenario, Settings
from acceleray.domain.scenario import MonteCarlo
from acceleray.domain.tables import contract
from acceleray.engines.ray import session
from acceleray.lake.night import NightTables
from acceleray.risk.calibration import calibrate_risk
from acceleray.risk.market import revalue
from acceleray.stages import simulate
from acceleray.stages.context import StageContext
from tests.slow_book import EVERY_KIND, slow_book
from tests.unit.risk.conftest import AS_OF, FACTORS_FULL, make_market

pytest.importorskip("QuantLib")
pytestmark = pytest.mark.engines

SETTINGS = Settings.model_validate(
    {
        "name": "test",
        "as_of": AS_OF,
        "base_currency": "USD",
        "simulate": {
            "window_days": 100,
            "backtest_days": 10,
            "n_paths": 5000,
            "block_size": 1000,
            "horizons_days": [1],
        },
        "calibrate": {"volatility_window_days": 300, "refit_every_days": 40},
    }
)
CRASH = Scenario.model_validate(
    {"name": "crash", "shocks": [{"select": {"kind": "spot"}, "move": {"scale": 0.6}}]}
)


def test_tables_give_the_same_bits_for_any_number_of_workers(tmp_path):
    market, book = make_market(), slow_book(EVERY_KIND, tmp_path)
    paths = MonteCarlo(n_paths=10_000, seed=1)
    plain = revalue(book, market, paths, block_size=2500, n_workers=1)
    assert plain.excluded == ()
    fits = calibrate_risk(market, SETTINGS, distributed=False)
    with session(cpus=2):
        cube = revalue(book, market, paths, block_size=2500, n_workers=2).cube
        np.testing.assert_array_equal(cube, plain.cube)
        _stage(tmp_path / "night", market, book, fits)


def _stage(folder, market, book, fits):
    """Run the stage in a project of its own and look at what it says about its prices."""
    folder.mkdir()
    (folder / "asians.py").write_text((folder.parent / "asians.py").read_text())
    tables = NightTables(root=folder / "lake", run_id="night")
    factors = pa.Table.from_pylist(FACTORS_FULL, schema=contract("raw.factors").schema)
    tables.write("raw.positions", book.positions)
    tables.write("raw.instruments", book.instruments)
    tables.write("raw.factors", factors)
    for name in ("raw.portfolios", "raw.benchmarks", "raw.holdings"):
        tables.write(name, contract(name).schema.empty_table())
    tables.write("market.levels", _levels(market))
    for name, table in fits.items():
        tables.write(name, table)
    record = {}
    context = StageContext(
        project=folder,
        run_directory=folder,
        settings=SETTINGS,
        scenarios=(CRASH,),
        limits=(),
        tables=tables,
        started_at=dt.datetime(2018, 12, 31, tzinfo=dt.UTC),
        progress=lambda line: None,
        tracking_uri="",
        record=record,
    )
    simulate.run(context)
    assert record["positions_excluded"] == []
    told = {row["instrument_id"]: row for row in tables.read("result.tabulated").to_pylist()}
    assert sorted(told) == sorted(book.instrument_ids)
    # Historical, filtered and two Monte-Carlo sets, and a stress, of which only Monte Carlo shaped the boxes.
    for row in told.values():
        assert (row["method"], row["n_prices"]) == ("table", 100 + 100 + 5000 + 5000 + 1)
        assert 0 < row["max_error"] <= row["tolerance"]
        assert 201 <= row["n_exact"] < 250


def _levels(market):
    n_dates, n_factors = market.levels.shape
    dates = np.repeat(market.dates, n_factors)
    return pa.table(
        {
            "date": pa.array(dates),
            "factor_id": list(market.factor_ids) * n_dates,
            "value": market.levels.ravel(),
            "observed_on": pa.array(dates),
            "age_days": np.zeros(dates.size, dtype=np.int64),
        }
    )
