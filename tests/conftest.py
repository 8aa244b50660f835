"""What tests of several pieces share. Engines are started once for the whole run."""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest

# Bits are compared between processes, so arrays are reduced by one thread everywhere.
os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

if TYPE_CHECKING:
    from pyspark.sql import SparkSession


@pytest.fixture(scope="session")
def spark(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SparkSession]:
    """The one Spark session of the test run; tests that take it carry the `engines` mark."""
    from acceleray.config.models import TargetSettings
    from acceleray.engines import spark as engine

    session = engine.start(
        TargetSettings(spark_master="local[2]", spark_memory="1g", spark_shuffle_partitions=2),
        app_name="acceleray-tests",
        log_directory=tmp_path_factory.mktemp("spark-logs"),
    )
    yield session
    engine.stop(session)
