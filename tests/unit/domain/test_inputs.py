from __future__ import annotations

import pytest

from acceleray.domain.inputs import INPUTS, VALUE_RANGES, Range, Rule, check_columns, did_you_mean


@pytest.mark.parametrize("contract", INPUTS.values(), ids=lambda contract: contract.name)
def test_every_column_has_its_type_in_the_lake(contract):
    table = {field.name: field.type for field in contract.table.schema}
    for column in contract.columns:
        assert table.pop(column.name) == column.type
    # What is left is filled by the open columns, or (fixed) only by the settings.
    assert set(table) == {contract.open_column} - {""} | ({"fixed"} if contract.name == "factors" else set())
    assert set(contract.key) <= {column.name for column in contract.columns if column.required}
    for needed in contract.needs.values():
        assert set(needed) <= {column.name for column in contract.columns}


def test_every_rule_has_advice():
    assert all(rule.hint.endswith(".") for rule in Rule)


def test_every_factor_kind_has_a_range():
    (kind,) = (column for column in INPUTS["factors"].columns if column.name == "kind")
    assert set(VALUE_RANGES) == set(kind.choices)


def test_columns_are_compared_by_exact_name():
    names = ["portfolio_id", "Instrument_ID", "quantity", "quantity"]
    findings = check_columns(INPUTS["positions"], names, "positions.csv")
    assert [(finding.column, finding.line) for finding in findings] == [
        ("instrument_id", 1),
        ("Instrument_ID", 1),
        ("quantity", 1),
    ]
    assert "did you mean 'instrument_id'?" in findings[1].message
    assert "more than once" in findings[2].message
    assert str(findings[0]).startswith("positions.csv:1: instrument_id: the column is missing")


def test_open_columns_need_a_name_after_the_prefix():
    required = [column.name for column in INPUTS["instruments"].columns if column.required]
    assert not check_columns(INPUTS["instruments"], [*required, "attr_desk"], "i.csv")
    assert check_columns(INPUTS["instruments"], [*required, "attr_"], "i.csv")
    required = [column.name for column in INPUTS["obligors"].columns if column.required]
    assert not check_columns(INPUTS["obligors"], [*required, "loading_GDP"], "o.csv")
    assert check_columns(INPUTS["obligors"], [*required, "attr_desk"], "o.csv")


def test_suggestions_do_not_depend_on_order_and_stay_quick_with_many_names():
    assert did_you_mean("ab", ["ac", "aa"]) == did_you_mean("ab", ["aa", "ac"])
    many = [f"{letter}{number:05d}" for letter in "ABCDEFGHIJ" for number in range(2000)]
    assert did_you_mean("C0070", many).startswith("; did you mean 'C0")


def test_ranges_say_what_they_allow():
    assert str(Range(low=0.0, low_included=False)) == "more than 0"
    assert str(Range(low=0.0, high=1.0)) == "from 0 to 1"
    assert str(Range(low=0.0)) == "at least 0"
    assert str(Range()) == "between -1e+15 and 1e+15"
