import pytest

from acceleray.errors import EngineError, InputDataError
from acceleray.pipeline.engines import as_engine_error


def test_vendor_errors_are_translated_with_what_to_do():
    from ray.exceptions import RaySystemError

    found = as_engine_error(RaySystemError("the raylet died\nand more"), "train", "ray")
    assert isinstance(found, EngineError)
    assert "train: Ray failed: RaySystemError" in found.message
    assert "\n" not in found.message
    assert "retry" in (found.hint or "")


@pytest.mark.parametrize("error", [ConnectionRefusedError("refused"), EOFError()])
def test_a_dead_java_process_is_an_engine_failure(error):
    found = as_engine_error(error, "ingest", "spark")
    assert found is not None
    assert "Spark failed" in found.message
    assert as_engine_error(error, "report", "local") is None


@pytest.mark.parametrize("error", [ValueError("x"), InputDataError("y")])
def test_other_errors_stay_what_they_are(error):
    assert as_engine_error(error, "simulate", "ray") is None
