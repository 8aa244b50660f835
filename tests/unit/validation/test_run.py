import subprocess
import sys
from dataclasses import replace

from acceleray.errors import NumericalError
from acceleray.validation import run
from acceleray.validation.case import Verdict, load_cases


def test_cases_are_computed_in_order_and_timed():
    told = []
    results = run.compute(load_cases(("asrf", "kupiec")), told.append)
    assert told == ["asrf", "kupiec"] == [result.case.case_id for result in results]
    assert all(result.verdict is Verdict.PASS and result.seconds > 0.0 for result in results)


def test_a_case_that_our_code_refuses_has_failed(monkeypatch):
    def refuse(inputs):
        raise NumericalError("a price was not finite")

    monkeypatch.setattr(run, "FAMILIES", {**run.FAMILIES, "granular_limit": refuse})
    (result,) = run.compute(load_cases(("asrf",)), lambda name: None)
    assert {check.verdict for check in result.checks} == {Verdict.FAIL}
    assert {check.reason for check in result.checks} == {"a price was not finite"}


def test_american_options_without_quantlib_are_not_covered(monkeypatch):
    monkeypatch.setattr("acceleray.validation.prices.importlib.util.find_spec", lambda name: None)
    (result,) = run.compute(load_cases(("american-put",)), lambda name: None)
    assert {check.verdict for check in result.checks} == {Verdict.NOT_COVERED}
    assert "pip install 'acceleray[quantlib]'" in result.checks[0].reason


def test_the_tolerance_of_a_check_goes_before_that_of_its_case():
    (case,) = load_cases(("traffic-light",))
    name = "3: cumulative probability"
    near = case.expected[name] + 9e-6
    (result,) = run.compute([replace(case, expected={name: near})], lambda name: None)
    assert result.verdict is Verdict.PASS
    (result,) = run.compute([replace(case, expected={name: near}, tolerances={})], lambda name: None)
    assert result.verdict is Verdict.FAIL


def test_no_engine_is_loaded():
    # One case of each kind that goes through the book, and one of credit.
    code = (
        "import sys\n"
        "from acceleray.validation.case import load_cases\n"
        "from acceleray.validation.run import compute\n"
        "compute(load_cases(('european-options', 'straddle', 'glasserman-li-21')), lambda name: None)\n"
        "print(*sorted({'ray', 'pyspark', 'mlflow', 'deltalake'} & set(sys.modules)))"
    )
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout.split() == []
