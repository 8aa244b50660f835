"""What tests of several pieces share. Engines are started once for the whole run."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias

import pytest

from tests import nights

# Bits are compared between processes, so arrays are reduced by one thread everywhere.
os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

Night: TypeAlias = tuple[Path, subprocess.CompletedProcess[str]]

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


@pytest.fixture(scope="session")
def small_night(tmp_path_factory: pytest.TempPathFactory) -> Night:
    """A whole night on the project that `acceleray init` writes: its directory, and how the command ended."""
    project = nights.starter(tmp_path_factory.mktemp("small") / "fund")
    return project, nights.acceleray("run", "-C", str(project), "--json")


@pytest.fixture(scope="session")
def sample_night(tmp_path_factory: pytest.TempPathFactory) -> Night:
    """A whole night on the sample project, in a copy of it."""
    project = tmp_path_factory.mktemp("sample") / "sp500"
    shutil.copytree(
        Path(__file__).parents[1] / "examples" / "sp500",
        project,
        ignore=shutil.ignore_patterns("lake", "runs", "__pycache__"),
    )
    return project, nights.acceleray("run", "-C", str(project))
