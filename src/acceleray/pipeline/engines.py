"""The engines of one night: started when the first stage needs them, timed, stopped at the end."""

from __future__ import annotations

import os
import time
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING

from acceleray.config.models import TargetSettings
from acceleray.errors import EngineError

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

__all__ = ["Engines", "as_engine_error"]


_VENDORS = {"ray": "Ray", "py4j": "Spark", "pyspark": "Spark"}


def as_engine_error(error: Exception, stage: str, engine: str) -> EngineError | None:
    """Translate an engine's own error, once; None for an error that is not an engine's."""
    vendor = _VENDORS.get(type(error).__module__.split(".", 1)[0])
    if vendor is None and engine == "spark" and isinstance(error, ConnectionError | EOFError):
        vendor = "Spark"
    if vendor is None:
        return None
    first_line = (str(error).strip().splitlines() or [""])[0][:200]
    return EngineError(
        f"{stage}: {vendor} failed: {type(error).__name__}: {first_line}",
        hint="`acceleray retry` goes on from here; the engine's logs are in the run's logs folder.",
    )


class Engines:
    """Spark and Ray for one night.

    Parameters
    ----------
    target : TargetSettings
        Where and how large.
    log_directory : Path
        Where the engines' own logs go.
    """

    def __init__(self, target: TargetSettings, log_directory: Path) -> None:
        self._target = target
        self._logs = log_directory
        self._stack = ExitStack()
        self._ray_stack = ExitStack()
        self._spark: SparkSession | None = None
        self._ray_is_up = False

    @property
    def cpus(self) -> int:
        """CPUs that Ray may use."""
        return self._target.cpus or os.cpu_count() or 1

    def require(self, engine: str) -> float:
        """Make an engine ready and return the seconds that took."""
        started = time.perf_counter()
        if engine == "spark" and self._spark is None:
            # Starting Java forks this process, which Ray's threads do not always survive. A night starts
            # Spark first; a retry may need it last, when Ray has done its part.
            self._ray_stack.close()
            self._ray_is_up = False
            from acceleray.engines import spark

            self._spark = spark.start(self._target, app_name="acceleray", log_directory=self._logs)
            self._stack.callback(spark.stop, self._spark)
        if engine == "ray" and not self._ray_is_up:
            from acceleray.engines import ray

            self._ray_stack.enter_context(
                ray.session(
                    cpus=self.cpus,
                    log_directory=self._logs,
                    object_store_bytes=self._target.ray_object_store_bytes,
                )
            )
            self._ray_is_up = True
        return time.perf_counter() - started

    @property
    def spark(self) -> SparkSession | None:
        """The Spark session, if a stage has needed it."""
        return self._spark

    def __enter__(self) -> Engines:
        self._logs.mkdir(parents=True, exist_ok=True)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._ray_stack.close()
        self._stack.close()
