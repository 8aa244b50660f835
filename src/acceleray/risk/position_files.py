"""Slices of the cube of gains, written by the workers that computed them.

Workers import this module, so it needs nothing but NumPy, Arrow and our own contracts.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq

from acceleray.domain.tables import contract

__all__ = ["PositionFiles"]

FloatArray = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]

# Rows of a row group: enough for the readers, few enough for the memory of a worker.
_GROUP_ROWS = 500_000


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class PositionFiles:
    """Where the gains of positions under one scenario set go, in the layout of ``result.pnl``.

    Parameters
    ----------
    folder : str
        Exists, and every worker can write to it.
    method : str
        Of the scenario set.
    horizon_days : int
        Of the scenario set.
    portfolio_ids, instrument_ids : pyarrow.Array
        Of each priced position, in key order.
    """

    folder: str
    method: str
    horizon_days: int
    portfolio_ids: pa.Array
    instrument_ids: pa.Array

    def path(self, block: int, sections: tuple[int, int]) -> Path:
        """File of one slice; a task that runs again replaces it by the same rows."""
        name = f"{self.method}-{self.horizon_days}-{block:06d}-{sections[0]:06d}.parquet"
        return Path(self.folder) / name

    def paths(self, n_blocks: int) -> list[Path]:
        """Files of the first blocks, in the order of blocks and shards."""
        prefix = f"{self.method}-{self.horizon_days}-"
        found = sorted(Path(self.folder).glob(f"{prefix}*.parquet"))
        return [path for path in found if int(path.name[len(prefix) :][:6]) < n_blocks]

    def write(
        self,
        block: int,
        sections: tuple[int, int],
        *,
        positions: IntArray,
        first_scenario: int,
        gains: FloatArray,
    ) -> None:
        """Write a slice.

        Parameters
        ----------
        positions : ndarray of int64, shape (n_positions,)
            Numbers of the priced positions, in any order.
        first_scenario : int
            Number of the block's first scenario.
        gains : ndarray of shape (n_positions, n_in_block)
            In the order of `positions`.
        """
        schema = contract("result.pnl").schema
        order = np.argsort(positions, kind="stable")
        n_in_block = gains.shape[1]
        scenarios = np.arange(first_scenario, first_scenario + n_in_block)
        step = max(_GROUP_ROWS // max(n_in_block, 1), 1)
        target = self.path(block, sections)
        # Another attempt at the same task may still be writing: each has a file of its own until it is whole.
        attempt = target.with_suffix(f".{os.getpid()}.tmp")
        with pq.ParquetWriter(attempt, schema, compression="zstd", write_page_checksum=True) as writer:
            for start in range(0, order.size, step):
                rows = order[start : start + step]
                each = pa.array(np.repeat(positions[rows], n_in_block))
                count = len(each)
                table = pa.table(
                    {
                        "method": pa.repeat(self.method, count),
                        "horizon_days": pa.repeat(pa.scalar(self.horizon_days, pa.int64()), count),
                        "portfolio_id": self.portfolio_ids.take(each),
                        "instrument_id": self.instrument_ids.take(each),
                        "scenario": np.tile(scenarios, rows.size),
                        "pnl": gains[rows].ravel(),
                    },
                    schema=schema,
                )
                writer.write_table(table)
        attempt.replace(target)
