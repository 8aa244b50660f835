import subprocess
import sys

import pytest

ENGINES = ("ray", "pyspark", "mlflow", "pandas", "xgboost", "numba", "scipy")


@pytest.mark.parametrize("module", ["acceleray", "acceleray.cli.app"])
def test_importing_the_surface_loads_no_engine(module):
    code = f"import {module}, sys; print(*sorted(set({ENGINES!r}) & set(sys.modules)))"
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout.split() == []
