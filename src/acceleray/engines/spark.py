"""Start and stop Spark, and carry tables between Spark and the lake.

Spark writes Parquet files into a table's folder and the driver commits them to the Delta log; Spark reads the
files that the log names. No jar is needed and no row passes through the driver's Python.
"""

from __future__ import annotations

import errno
import os
import re
import subprocess
import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from acceleray.config.models import TargetSettings
from acceleray.domain.tables import contract
from acceleray.engines.java import find_java
from acceleray.errors import AccelerayError, EngineError, EngineUnavailableError, SchemaError, StorageError
from acceleray.lake.delta import Commit
from acceleray.lake.night import NightTables

if TYPE_CHECKING:
    from pyspark.sql import DataFrame, SparkSession
    from pyspark.sql.types import StructType

__all__ = [
    "LOG_NAME",
    "read_table",
    "spark_schema",
    "spark_type",
    "start",
    "stop",
    "translated",
    "write_table",
]

LOG_NAME = "spark.log"
_STOP_SECONDS = 20
_JAVA_OPTIONS = "-Duser.timezone=UTC -Dfile.encoding=UTF-8"


def start(target: TargetSettings, *, app_name: str, log_directory: Path) -> SparkSession:
    """Start a Spark session on the target.

    Everything the Java process prints goes to ``spark.log`` in `log_directory`.

    Parameters
    ----------
    target : TargetSettings
        Master, memory and the number of shuffle partitions.
    app_name : str
        Shown by Spark; the run_id is a good choice.
    log_directory : Path
        Made if it does not exist.

    Raises
    ------
    EngineUnavailableError
        If pyspark or Java is missing, or the session does not come up.
    """
    if find_spec("pyspark") is None:
        raise EngineUnavailableError(
            "Spark is not installed",
            hint="Run: pip install 'acceleray[spark]' (pyspark 4.2 and a Java runtime).",
        )
    from py4j.protocol import Py4JError
    from pyspark import SparkConf, SparkContext
    from pyspark.errors import PySparkException
    from pyspark.java_gateway import launch_gateway
    from pyspark.sql import SparkSession

    if SparkContext._active_spark_context is not None:
        raise EngineError("Spark is already running in this process", hint="Stop that session first.")
    local = target.spark_master.startswith("local")
    java = find_java()
    log_directory.mkdir(parents=True, exist_ok=True)
    log = log_directory / LOG_NAME
    conf = SparkConf(loadDefaults=False)
    for name, value in _settings(target, app_name, log_directory.absolute(), local=local).items():
        conf.set(name, value)
    variables = {"JAVA_HOME": str(java.home), "PYSPARK_PYTHON": sys.executable}
    if local:
        import pyspark

        # A SPARK_HOME of another version would start that version's Java against this Python.
        variables |= {"SPARK_HOME": str(Path(pyspark.__file__).parent), "SPARK_LOCAL_IP": "127.0.0.1"}
    try:
        with _environment(variables), log.open("ab") as sink:
            gateway = launch_gateway(conf, {"stdout": sink, "stderr": subprocess.STDOUT})
            context = SparkContext(conf=conf, gateway=gateway)
        return SparkSession(context)
    except (PySparkException, Py4JError, OSError) as error:
        _end_java()
        raise EngineUnavailableError(
            f"Spark did not start on {target.spark_master} with Java {java.version} ({java.origin}): "
            f"{_first_line(error)}",
            hint=f"The reason is at the end of {log}.",
        ) from error


def stop(spark: SparkSession) -> None:
    """Stop the session and its Java process, so that the memory is free for what comes next."""
    spark.stop()
    _end_java()


def read_table(spark: SparkSession, tables: NightTables, name: str) -> DataFrame:
    """Read a table at the version this night uses; of a ledger, this run's rows, without ``run_id``."""
    schema = spark_schema(contract(name).schema)
    files = tables.files(name)
    if not files:
        return spark.createDataFrame([], schema)
    with translated(f"reading {name}"):
        return spark.read.schema(schema).parquet(*[_literal(file) for file in files])


def write_table(df: DataFrame, tables: NightTables, name: str) -> Commit:
    """Write a frame's partitions as Parquet below the table and commit them, once per run.

    Columns are cast to the contract's types and put in its order. If this run has committed the table
    already, nothing is computed and the earlier commit is returned.

    Raises
    ------
    SchemaError
        If the frame lacks a column of the contract or has another one.
    EngineError, StorageError
        If Spark fails, or the disk does.
    """
    from pyspark.sql import functions as F  # noqa: N812 (the name every Spark reader knows)

    if tables.is_written(name):
        return tables.commit(name, [])
    schema = contract(name).schema
    missing = sorted(set(schema.names) - set(df.columns))
    unknown = sorted(set(df.columns) - set(schema.names))
    if missing or unknown:
        raise SchemaError(f"{name}: missing columns {missing}, unknown columns {unknown}")
    folder = tables.staging(name)
    with translated(f"writing {name}"):
        frame = df.select(*[F.col(f"`{f.name}`").cast(spark_type(f.type)).alias(f.name) for f in schema])
        frame.write.mode("append").parquet(str(folder))
    for checksum in folder.glob(".*.crc"):
        checksum.unlink()
    return tables.commit(name, sorted(folder.glob("part-*.parquet")))


def spark_schema(schema: pa.Schema) -> StructType:
    """Spark's schema for an Arrow schema of the table contracts; every column may be null."""
    from pyspark.sql.types import StructField, StructType

    return StructType([StructField(field.name, spark_type(field.type)) for field in schema])


def spark_type(kind: pa.DataType) -> Any:
    """Spark's type for an Arrow type of the table contracts."""
    from pyspark.sql import types as T  # noqa: N812 (the name every Spark reader knows)

    if pa.types.is_map(kind):
        return T.MapType(spark_type(kind.key_type), spark_type(kind.item_type))
    if pa.types.is_list(kind):
        return T.ArrayType(spark_type(kind.value_type))
    if pa.types.is_struct(kind):
        return T.StructType([T.StructField(field.name, spark_type(field.type)) for field in kind])
    return {
        pa.string(): T.StringType(),
        pa.float64(): T.DoubleType(),
        pa.date32(): T.DateType(),
        pa.int64(): T.LongType(),
        pa.bool_(): T.BooleanType(),
    }[kind]


@contextmanager
def translated(action: str) -> Iterator[None]:
    """Turn whatever Spark raises inside the block into one of our errors; `action` says what was going on.

    Raises
    ------
    StorageError
        If the disk is full.
    EngineError
        For everything else, with Spark's error as the cause.
    """
    from py4j.protocol import Py4JError
    from pyspark.errors import PySparkException

    try:
        yield
    except AccelerayError:
        raise
    except (PySparkException, Py4JError) as error:
        if os.strerror(errno.ENOSPC) in str(error):
            raise StorageError(f"the disk is full while {action}", hint="Free space and retry.") from error
        raise EngineError(f"Spark failed while {action}: {_first_line(error)}") from error


def _settings(target: TargetSettings, app_name: str, log_directory: Path, *, local: bool) -> dict[str, str]:
    settings = {
        "spark.master": target.spark_master,
        "spark.app.name": app_name,
        "spark.submit.deployMode": "client",
        "spark.driver.memory": target.spark_memory,
        "spark.ui.enabled": "false",
        "spark.ui.showConsoleProgress": "false",
        "spark.log.level": "WARN",
        "spark.driver.extraJavaOptions": _JAVA_OPTIONS,
        "spark.executor.extraJavaOptions": _JAVA_OPTIONS,
        "spark.sql.session.timeZone": "UTC",
        "spark.sql.ansi.enabled": "true",
        "spark.sql.catalogImplementation": "in-memory",
        "spark.sql.execution.arrow.pyspark.enabled": "true",
        "spark.sql.parquet.compression.codec": "zstd",
        "spark.sql.shuffle.partitions": str(target.spark_shuffle_partitions),
        "spark.sql.warehouse.dir": (log_directory / "spark-warehouse").as_uri(),
        "spark.hadoop.mapreduce.fileoutputcommitter.marksuccessfuljobs": "false",
        # Workers do array arithmetic; a second level of threads would oversubscribe and change bits.
        "spark.executorEnv.OMP_NUM_THREADS": "1",
        "spark.executorEnv.OPENBLAS_NUM_THREADS": "1",
        "spark.executorEnv.PYTHONHASHSEED": "0",
    }
    if local:
        settings |= {
            "spark.driver.host": "127.0.0.1",
            "spark.driver.bindAddress": "127.0.0.1",
            # The first compiler only: a night's jobs are short, and the second one took half of all processor
            # time (30 s against 17 s for starting and ingesting the sample's inputs).
            "spark.driver.extraJavaOptions": f"{_JAVA_OPTIONS} -XX:TieredStopAtLevel=1",
            # Workers find acceleray where the driver has it, also when it is run from a source tree.
            "spark.executorEnv.PYTHONPATH": str(Path(__file__).absolute().parents[2]),
        }
    return settings


@contextmanager
def _environment(variables: dict[str, str]) -> Iterator[None]:
    before = {name: os.environ.get(name) for name in variables}
    os.environ.update(variables)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value


def _end_java() -> None:
    from py4j.protocol import Py4JError
    from pyspark import SparkContext
    from pyspark.sql import SparkSession

    gateway = SparkContext._gateway
    SparkContext._gateway = SparkContext._jvm = None
    SparkSession._instantiatedSession = None
    if gateway is None:
        return
    with suppress(Py4JError, OSError):  # the process may be gone already, which is what is wanted
        gateway.shutdown()
    process = gateway.proc
    if process is None:
        return
    # Java ends when this pipe closes.
    process.stdin.close()
    try:
        process.wait(_STOP_SECONDS)
    except subprocess.TimeoutExpired:
        warnings.warn(f"Spark's Java process {process.pid} had to be killed", RuntimeWarning, stacklevel=2)
        process.kill()
        process.wait()


def _literal(path: str) -> str:
    # Spark expands wildcards in the paths it reads; a project folder may well be called "[draft] fund".
    return re.sub(r"([\\*?\[\]{}])", r"\\\1", path)


def _first_line(error: BaseException) -> str:
    return next((line.strip() for line in str(error).splitlines() if line.strip()), type(error).__name__)
