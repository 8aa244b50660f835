"""The cases that come with the package, computed as `acceleray validate` does, some on fewer paths."""

from __future__ import annotations

from dataclasses import replace

import pytest

from acceleray.validation.case import Verdict, load_cases
from acceleray.validation.run import compute

CASES = load_cases()


def shortened(case):
    """Take a tenth of the paths, a quarter where strata need them, and the American options of one expiry."""
    inputs, expected = dict(case.inputs), dict(case.expected)
    if "n_paths" in inputs:
        inputs["n_paths"] //= 4 if inputs.get("sampling") == "importance" else 10
    if case.family == "american_options":
        contracts = inputs["contracts"]
        first = next(iter(contracts.values()))["years"]
        inputs["contracts"] = {name: each for name, each in contracts.items() if each["years"] == first}
        expected = {name: value for name, value in expected.items() if name in inputs["contracts"]}
    return replace(case, inputs=inputs, expected=expected)


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.case_id)
def test_the_case_passes(case):
    if case.family == "american_options":
        pytest.importorskip("QuantLib")
    (result,) = compute([shortened(case)], lambda name: None)
    wrong = [check for check in result.checks if check.verdict is Verdict.FAIL]
    assert wrong == []
    assert [check.name for check in result.checks if check.verdict is Verdict.NOT_COVERED] == []
    assert len(result.checks) == len(shortened(case).expected) > 0


@pytest.mark.parametrize(
    ("case_id", "name", "wrong"),
    [
        # Each expected value is off by little more than its tolerance.
        ("european-options", "call", 10.450583572185565 + 2e-12),
        ("straddle", "VaR 0.99", 4.1084 - 2e-4),
        ("short-options-a1-importance", "P(loss > 200)", 0.0065442 * 1.02),
        ("linear-euler", "VaR 0.99", 81472.01 * 1.05),
        ("liquidity-cascade", "ES", 170.88007490635061 + 2e-9),
        ("exchangeable-1000-exact", "VaR 0.999", 148),
        ("exchangeable-1000-exact", "P(loss >= 100)", 0.004415267855 + 2e-9),
        ("exchangeable-1000", "P(loss >= 100)", 0.004415267855 * 1.3),
        ("basel-irb", "corporate, PD 0.01", 92.3168 + 0.02),
        ("traffic-light", "5: zone", "green"),
        ("kupiec-table", "510 days at 0.99: most", 11),
        ("standard-errors", "95 % interval of 250 paths at 0.99: high rank", 251),
        ("pla", "12 exceptions at 0.99: passes", False),
    ],
)
def test_a_wrong_expected_value_fails(case_id, name, wrong):
    (case,) = load_cases((case_id,))
    assert case.expected[name] != wrong
    case = replace(shortened(case), expected={name: wrong})
    (result,) = compute([case], lambda name: None)
    assert result.verdict is Verdict.FAIL
