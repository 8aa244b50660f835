"""Gains that the workers write: the cube, row by row, whatever the shards."""

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from acceleray.domain.scenario import Historical
from acceleray.domain.tables import contract
from acceleray.risk import revaluation, valuation
from acceleray.risk.blocks import Job, block_gains
from acceleray.risk.plans import prepare
from acceleray.risk.position_files import PositionFiles
from acceleray.risk.resolve import resolve
from acceleray.risk.revaluation import revaluations


@pytest.fixture
def job(book, market, tmp_path):
    found = resolve(book, market)
    plan, _ = prepare(Historical(window_days=100), market, None, block_size=40)
    priced = pa.array(found.priced.positions)
    files = PositionFiles(
        folder=str(tmp_path),
        method="historical",
        horizon_days=1,
        portfolio_ids=book.positions["portfolio_id"].combine_chunks().take(priced),
        instrument_ids=book.positions["instrument_id"].combine_chunks().take(priced),
    )
    return Job(book=found.priced, plan=plan, files=files)


def read(folder):
    table = pa.concat_tables([pq.read_table(path) for path in sorted(folder.glob("*.parquet"))])
    return table.sort_by([(name, "ascending") for name in contract("result.pnl").key])


def test_the_files_are_the_cube(job, book, market, tmp_path):
    (gains,) = revaluations([job], market.base, keep_positions=True, distributed=False)
    table = read(tmp_path)
    assert table.schema.equals(contract("result.pnl").schema)
    np.testing.assert_array_equal(table["pnl"].to_numpy(), gains.by_position.ravel())
    assert table["scenario"].to_pylist()[:101] == [*range(100), 0]
    owners = [name for i, name in enumerate(book.portfolio_ids) if i in job.book.positions]
    assert table["portfolio_id"].to_pylist()[::100] == owners


def test_shards_change_no_bit(job, market, tmp_path, monkeypatch):
    (whole,) = revaluations([job], market.base, keep_positions=True, distributed=False)
    rows = read(tmp_path)
    for path in tmp_path.iterdir():
        path.unlink()
    # Two instruments a section, and a budget that one section fills.
    monkeypatch.setattr(valuation, "SECTION", 2)
    (sections,) = revaluations([job], market.base, keep_positions=True, distributed=False)
    monkeypatch.setattr(revaluation, "_SHARD_BYTES", 1)
    for path in tmp_path.iterdir():
        path.unlink()
    (cut,) = revaluations([job], market.base, keep_positions=True, distributed=False)
    assert len(list(tmp_path.iterdir())) == 3 * job.book.n_sections > 3
    np.testing.assert_array_equal(cut.by_portfolio, sections.by_portfolio)
    np.testing.assert_array_equal(cut.by_position, whole.by_position)
    assert read(tmp_path).equals(rows)


def test_a_task_that_runs_again_replaces_its_file(job, market, tmp_path):
    for _ in range(2):
        block_gains(market.base, (job,), 0, 1, (0, 1), False)
    (path,) = tmp_path.iterdir()
    assert path == job.files.path(1, (0, 1))
