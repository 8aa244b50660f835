"""Spark starts quietly, on the system's Java or on the one that pip installs, and gives its memory back."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from acceleray.engines import java, spark

pytestmark = pytest.mark.engines

_NIGHT = """
import sys
from pathlib import Path
from acceleray.config.models import TargetSettings
from acceleray.engines import spark as engine
session = engine.start(TargetSettings(spark_master="local[1]"), app_name="t", log_directory=Path(sys.argv[1]))
rows = session.range(3).mapInArrow(lambda batches: batches, "id long").collect()
java = session.sparkContext._jvm.System.getProperty("java.specification.version")
process = session.sparkContext._gateway.proc
engine.stop(session)
print(java, sorted(row.id for row in rows), process.poll() is not None)
"""


def _without_java(tmp_path: Path) -> dict[str, str]:
    """The environment of a machine without Java: a path with everything else that Spark's scripts call."""
    tools = tmp_path / "bin"
    tools.mkdir()
    for folder in ("/bin", "/usr/bin"):
        for tool in ("bash", "sh", "dirname", "basename", "ps", "cat", "uname", "env", "grep", "sed", "head"):
            if Path(folder, tool).exists() and not (tools / tool).exists():
                (tools / tool).symlink_to(Path(folder, tool))
    kept = {name: value for name, value in os.environ.items() if name not in {"JAVA_HOME", "PATH"}}
    return kept | {"PATH": str(tools), "XDG_CACHE_HOME": str(tmp_path / "cache dir")}


def test_without_a_system_java_the_bundled_one_runs_python_workers_quietly(tmp_path):
    environment = _without_java(tmp_path)
    command = [sys.executable, "-W", "error", "-c", _NIGHT, str(tmp_path / "logs")]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=180)
    assert done.stderr == ""
    version, rest = done.stdout.split(maxsplit=1)
    assert int(version) >= java.OLDEST_JAVA
    assert rest == "[0, 1, 2] True\n"
    assert "log4j" in (tmp_path / "logs" / spark.LOG_NAME).read_text()
    assert (tmp_path / "cache dir" / "acceleray").is_dir()


_REFUSED = """
import sys
from pathlib import Path
from acceleray.config.models import TargetSettings
from acceleray.engines import spark as engine
from acceleray.errors import EngineUnavailableError
try:
    engine.start(TargetSettings(), app_name="t", log_directory=Path(sys.argv[1]))
except EngineUnavailableError as error:
    print(error.exit_code, error)
"""


def test_a_java_that_ends_at_once_is_an_engine_that_is_not_available(tmp_path):
    # It answers the question for its version and then fails to run anything.
    home = tmp_path / "java"
    (home / "bin").mkdir(parents=True)
    (home / "bin" / "java").write_text(
        "#!/bin/sh\n"
        f'[ "$2" = -version ] || {{ echo "no memory" >&2; exit 1; }}\n'
        f"echo '    java.home = {home}' >&2\n"
        "echo '    java.specification.version = 17' >&2\n"
    )
    (home / "bin" / "java").chmod(0o755)
    command = [sys.executable, "-c", _REFUSED, str(tmp_path / "logs")]
    environment = os.environ | {"JAVA_HOME": str(home)}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=120)
    assert done.stderr == ""
    assert done.stdout.startswith("69 Spark did not start on local[2] with Java 17 (JAVA_HOME)")
    assert f"Hint: The reason is at the end of {tmp_path / 'logs' / spark.LOG_NAME}" in done.stdout
    assert "no memory" in (tmp_path / "logs" / spark.LOG_NAME).read_text()
