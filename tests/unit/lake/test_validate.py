from __future__ import annotations

import datetime as dt
from fractions import Fraction
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from acceleray.domain.inputs import INPUTS
from acceleray.lake.check import control_total
from acceleray.lake.inputs import FILE, LINE, MALFORMED
from acceleray.lake.references import Reference, examine_keys, examine_references
from acceleray.lake.validate import LATER, PROBLEMS, examine_rows, examined_schema, split

_MARKET = INPUTS["market"]


def _rows(**columns: Any) -> pa.Table:
    table = pa.table(columns)
    count = table.num_rows
    return (
        table.append_column(FILE, pa.array(["f.csv"] * count))
        .append_column(LINE, pa.array(range(2, count + 2), pa.int64()))
        .append_column(MALFORMED, pa.nulls(count, pa.string()))
    )


def _market(values: pa.Array | list[Any], **options: Any) -> pa.Table:
    count = len(values)
    days = [str(dt.date(2018, 1, 1) + dt.timedelta(days=i)) for i in range(count)]
    return examine_rows(_rows(date=days, factor_id=["A"] * count, value=values), _MARKET, **options)


def _reasons(examined: pa.Table) -> list[list[str]]:
    return [[problem["reason"] for problem in row] for row in examined[PROBLEMS].to_pylist()]


def test_text_and_typed_cells_are_judged_alike():
    numbers = [1.5, 2.0, float("nan"), float("inf"), 1e16]
    by_type = _market(pa.array(numbers))
    by_text = _market(["1.5", " 2.0 ", "NaN", "inf", "1e16"])
    assert _reasons(by_type) == _reasons(by_text)
    assert by_type.schema == by_text.schema == examined_schema(_MARKET)
    assert split(by_type, _MARKET)[0]["value"].to_pylist() == [1.5, 2.0]
    assert split(by_text, _MARKET)[0]["value"].to_pylist() == [1.5, 2.0]


@given(st.floats(allow_nan=False, allow_infinity=False, min_value=-1e15, max_value=1e15))
def test_every_number_is_read_back_to_the_bit(number):
    examined = _market([repr(number)])
    assert _reasons(examined) == [[]]
    assert np.float64(examined["value"][0].as_py()).tobytes() == np.float64(number).tobytes()


@pytest.mark.parametrize("text", ["1_000", "1,5", "0x10", "1e", "--1", "1 2", "one", "5%", "+", ".", "1d"])
def test_what_only_looks_like_a_number_is_rejected(text):
    assert _reasons(_market([text])) == [["is not a number"]]


@pytest.mark.parametrize("text", ["1", "-1", "+1", "1.", ".5", "1e3", "1E-3", "-0.0"])
def test_plain_number_notations_are_read(text):
    assert _market([text])["value"].to_pylist() == [float(text)]


@pytest.mark.parametrize("text", ["2018-02-30", "2018-2-3", "20180203", "03.02.2018", "2018-02-03T00:00"])
def test_dates_are_iso_and_exist(text):
    rows = _rows(date=[text], factor_id=["A"], value=["1"])
    assert _reasons(examine_rows(rows, _MARKET)) == [["is not a date like 2018-12-28"]]


def test_rows_of_the_future_are_marked_and_not_judged():
    rows = _rows(
        date=["2018-12-28", "2018-12-28", "2018-12-29", "2018-12-29"],
        factor_id=["A", "B", "A", None],
        value=["1", "2", "3", "nonsense"],
        available_from=[None, "2019-01-02", None, ""],
    )
    examined = examine_rows(rows, _MARKET, as_of=dt.date(2018, 12, 28))
    assert examined[LATER].to_pylist() == [False, True, True, True]
    assert _reasons(examined) == [[], [], [], []]
    accepted, rejected = split(examined, _MARKET)
    assert (accepted.num_rows, rejected.num_rows) == (1, 0)


def test_the_range_of_a_value_follows_the_kind_of_its_factor():
    kinds = {"P": "spot", "R": "zero_rate", "V": "implied_vol"}
    cases = [("P", 0.0, 1), ("P", 3.0, 0), ("R", 1.2, 1), ("R", -0.01, 0), ("R", -0.3, 1)]
    cases += [("V", 1.2, 0), ("V", 20.0, 1), ("V", 0.0, 1), ("unknown", -1.0, 0)]
    rows = _rows(
        date=["2018-12-28"] * len(cases),
        factor_id=[name for name, _, _ in cases],
        value=[value for _, value, _ in cases],
    )
    examined = examine_rows(rows, _MARKET, factor_kinds=kinds)
    assert [len(found) for found in _reasons(examined)] == [count for _, _, count in cases]


def test_a_row_lists_all_its_problems_in_order():
    rows = _rows(portfolio_id=["a//b", "P", "P"], instrument_id=["", "X", "X"], quantity=["x", "1", "2"])
    contract = INPUTS["positions"]
    examined = examine_keys(examine_rows(rows, contract), contract)
    reference = Reference(column="instrument_id", known=frozenset({"XY"}), expected="known")
    examined = examine_references(examined, [reference])
    repeated = "the same portfolio_id and instrument_id as in line "
    assert _reasons(examined) == [
        ["is not a path such as Equity/US without empty parts", "the cell is empty", "is not a number"],
        [repeated + "4", "is not known; did you mean 'XY'?"],
        [repeated + "3", "is not known; did you mean 'XY'?"],
    ]
    accepted, rejected = split(examined, contract)
    assert accepted.num_rows == 0
    assert rejected["line"].to_pylist() == [2, 2, 2, 3, 3, 4, 4]
    assert rejected["column"].to_pylist()[:3] == ["portfolio_id", "instrument_id", "quantity"]


def test_open_columns_become_one_map_without_the_empty_cells():
    rows = _rows(
        instrument_id=["A", "B"],
        kind=["cash", "cash"],
        currency=["USD", "USD"],
        attr_sector=["IT", ""],
        attr_desk=[7, None],
    )
    examined = examine_rows(rows, INPUTS["instruments"])
    assert examined["attributes"].to_pylist() == [[("desk", "7"), ("sector", "IT")], []]


def test_no_rows_are_no_problem():
    rows = _rows(
        date=pa.array([], pa.string()), factor_id=pa.array([], pa.string()), value=pa.array([], pa.string())
    )
    examined = examine_keys(examine_rows(rows, _MARKET, as_of=dt.date(2018, 1, 1)), _MARKET)
    assert examined.num_rows == 0
    assert split(examined, _MARKET)[1].num_rows == 0


def test_control_totals_do_not_depend_on_order():
    rng = np.random.default_rng(3)
    values = (rng.normal(size=2000) * 10.0 ** rng.integers(-6, 12, size=2000)).tolist()
    total = control_total(values)
    assert control_total(reversed(values)) == total
    # Rounding each amount to 1e-9 moves the total by at most half of that per row, besides one last rounding.
    exact = float(sum(map(Fraction, values)))
    assert abs(total - exact) <= 2000 * 0.5e-9 + abs(exact) * 2**-52
