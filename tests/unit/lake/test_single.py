import datetime as dt

import pytest

from acceleray.errors import InputDataError
from acceleray.lake.single import read_valid

HEADER = "date,portfolio_id,actual,hypothetical\n"


def written(tmp_path, text):
    path = tmp_path / "pnl.csv"
    path.write_text(HEADER + text)
    return path


def test_reported_gains_are_read(tmp_path):
    path = written(tmp_path, "2024-06-28,Fund,-1.5,2\n2024-06-27,Equity/US,0,1e6\n")
    table = read_valid("pnl", path)
    assert table.column_names == ["date", "portfolio_id", "actual", "hypothetical"]
    assert table.to_pylist()[0] == {
        "date": dt.date(2024, 6, 28),
        "portfolio_id": "Fund",
        "actual": -1.5,
        "hypothetical": 2.0,
    }


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("2024-06-28,Fund,1,x\n", "pnl.csv:2: hypothetical: 'x' is not a number"),
        ("2024-06-28,Fund,,1\n", "pnl.csv:2: actual"),
        ("2024-06-28,/Fund,1,1\n", "pnl.csv:2: portfolio_id"),
        ("28.6.2024,Fund,1,1\n", "pnl.csv:2: date"),
        ("2024-06-28,Fund,1,1\n2024-06-28,Fund,2,2\n", "the same date and portfolio_id as in line 3"),
        ("", "no row of the pnl input"),
    ],
)
def test_a_bad_row_is_named_by_its_line(tmp_path, text, said):
    with pytest.raises(InputDataError, match=said.replace("(", "\\(")):
        read_valid("pnl", written(tmp_path, text))


def test_a_bad_value_is_named_by_its_factor(tmp_path):
    path = tmp_path / "market.csv"
    path.write_text("date,factor_id,value\n2024-06-28,AAA,\n2024-06-28,BBB,-1\n2024-06-28,CCC,1\n")
    with pytest.raises(InputDataError) as refused:
        read_valid("market", path, factor_kinds={"AAA": "spot", "BBB": "spot", "CCC": "spot"})
    assert "market.csv:2: value: the cell is empty (AAA, 2024-06-28)" in refused.value.message
    assert "market.csv:3: value: '-1' must be more than 0 (BBB, 2024-06-28)" in refused.value.message
