"""Functions of the project that instruments name."""

import pickle
import sys

import pyarrow as pa

from acceleray.lake.functions import product_functions


def _instruments(**functions):
    return pa.table({"kind": list(functions), "function": list(functions.values())})


def test_product_functions_travel_by_name_and_keep_what_cannot_be_pickled(tmp_path):
    (tmp_path / "mine.py").write_text(
        "import threading\nLOCK = threading.Lock()\ndef f(*a): return (LOCK, a)\n"
    )
    found = product_functions(_instruments(quantlib="mine.f", option="mine.g"), tmp_path)
    assert list(found) == ["mine.f"]
    travelled = pickle.loads(pickle.dumps(found["mine.f"]))
    assert travelled(1, 2) == found["mine.f"](1, 2)
    assert "mine" not in sys.modules


def test_an_edited_product_function_is_read_again(tmp_path):
    for answer in (1, 2):
        # Another size, so that no stale bytecode fits.
        (tmp_path / "mine.py").write_text(f"def f(): return {answer}\n" + "#" * answer)
        assert product_functions(_instruments(quantlib="mine.f"), tmp_path)["mine.f"]() == answer
