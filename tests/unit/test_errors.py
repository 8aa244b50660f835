import pickle

import pytest

from acceleray import errors

CLASSES = [getattr(errors, name) for name in errors.__all__]


@pytest.mark.parametrize("kind", CLASSES)
def test_errors_cross_process_boundaries(kind):
    error = pickle.loads(pickle.dumps(kind("it failed", hint="do that")))
    assert type(error) is kind
    assert (error.message, error.hint, str(error)) == ("it failed", "do that", "it failed\nHint: do that")
    assert str(kind("it failed")) == "it failed"


def test_exit_codes_are_the_documented_ones():
    codes = {kind.__name__: kind.exit_code for kind in CLASSES}
    assert codes == {
        "AccelerayError": 1,
        "CalibrationError": 1,
        "EngineError": 1,
        "EngineUnavailableError": 69,
        "InputDataError": 3,
        "LineageError": 1,
        "LockedError": 75,
        "MissingDataError": 3,
        "NumericalError": 1,
        "SchemaError": 3,
        "StaleDataError": 3,
        "StorageError": 74,
        "TaskFailedError": 1,
        "UsageError": 2,
    }
