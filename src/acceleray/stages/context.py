"""What a stage is given to work with."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from acceleray.config.models import Limit, Scenario, Settings
from acceleray.lake.night import NightTables

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

__all__ = ["StageContext"]


@dataclass(frozen=True, kw_only=True)
class StageContext:
    """One stage's view of the night.

    Parameters
    ----------
    project : Path
        The project directory; relative input paths start here.
    run_directory : Path
        ``runs/<run_id>`` of this night.
    settings, scenarios, limits
        Parsed and frozen.
    tables : NightTables
        Reads tables at the versions this night uses and commits what the stage writes.
    progress : callable
        Takes one short line about what is happening, for people.
    spark : SparkSession or None
        The live session for Spark stages. Ray stages find Ray already initialised.
    """

    project: Path
    run_directory: Path
    settings: Settings
    scenarios: tuple[Scenario, ...]
    limits: tuple[Limit, ...]
    tables: NightTables
    started_at: dt.datetime
    progress: Callable[[str], None]
    tracking_uri: str
    mlflow_run_id: str | None = None
    spark: SparkSession | None = None
    record: dict[str, Any] | None = None

    @property
    def as_of(self) -> dt.date:
        """The business date of the data."""
        return self.settings.as_of
