import datetime as dt

import pyarrow as pa
import pytest

import acceleray as ar
from acceleray.errors import InputDataError, UsageError

FACTORS = pa.table({"factor_id": ["A"], "kind": ["spot"]})
LEVELS = pa.table({"date": ["2024-06-27", "2024-06-28"], "factor_id": ["A", "A"], "value": [1.0, 2.0]})


def test_as_of_is_a_date_or_the_text_of_one():
    for as_of in ("2024-06-28", dt.date(2024, 6, 28)):
        assert ar.Market.read(market=LEVELS, factors=FACTORS, as_of=as_of).as_of == dt.date(2024, 6, 28)
    with pytest.raises(UsageError, match=r"as_of: '28\.06\.2024' is not a date like 2018-12-28"):
        ar.Market.read(market=LEVELS, factors=FACTORS, as_of="28.06.2024")


def test_one_problem_is_one_problem():
    spoiled = LEVELS.set_column(2, "value", pa.array(["x", "2.0"]))
    with pytest.raises(InputDataError, match=r"^1 problem in the market input"):
        ar.Market.read(market=spoiled, factors=FACTORS, as_of="2024-06-28")
