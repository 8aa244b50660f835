import datetime as dt

import pyarrow as pa
import pytest

import acceleray as ar
from acceleray.errors import InputDataError, UsageError

FACTORS = pa.table(
    {
        "factor_id": ["USD", "XYZ"],
        "kind": ["zero_rate", "spot"],
        "curve": ["USD", None],
        "tenor_years": [1.0, None],
    }
)


def observed(day=dt.date(2024, 6, 28)):
    return pa.table({"date": [day, day], "factor_id": ["USD", "XYZ"], "value": [0.04, 100.0]})


def test_a_market_is_not_carried_into_the_future():
    # A long weekend is no later date; half a month without a price is.
    held = ar.Market.read(market=observed(), factors=FACTORS, as_of=dt.date(2024, 7, 2))
    assert held.as_of == dt.date(2024, 7, 2)
    with pytest.raises(InputDataError, match=r"as_of 2024-07-15 lies outside the data: .* is of 2024-06-28"):
        ar.Market.read(market=observed(), factors=FACTORS, as_of="2024-07-15")


@pytest.mark.parametrize("frequency", [1, 2, 3, 4, 6, 12])
def test_bonds_pay_as_often_as_they_say(frequency):
    instruments = pa.table(
        {
            "instrument_id": ["B"],
            "kind": ["bond"],
            "currency": ["USD"],
            "issue_date": [dt.date(2024, 6, 28)],
            "maturity": [dt.date(2025, 6, 28)],
            "coupon": [0.06],
            "frequency": [frequency],
            "face": [100.0],
            "day_count": ["ACT/ACT"],
            "discount_curve": ["USD"],
        }
    )
    positions = pa.table({"portfolio_id": ["P"], "instrument_id": ["B"], "quantity": [1.0]})
    book = ar.Book.read(positions=positions, instruments=instruments)
    market = ar.Market.read(market=observed(), factors=FACTORS, as_of="2024-06-28")
    # At a rate of zero a bond is worth what it pays: face and a year's coupons.
    free = pa.table({"scenario": ["free"], "factor_id": ["USD"], "value": [0.0]})
    gain = ar.revalue(book, market, ar.Given(table=free)).node()[0]
    (value,) = ar.revalue(book, market, ar.Given(table=free)).job.book.now.prices(market.base[:, None], 0, 1)
    assert value[0] + gain == pytest.approx(106.0, rel=1e-12)


ONE_FACTOR = pa.table({"factor_id": ["A"], "kind": ["spot"]})
TWO_LEVELS = pa.table({"date": ["2024-06-27", "2024-06-28"], "factor_id": ["A", "A"], "value": [1.0, 2.0]})


def test_as_of_is_a_date_or_the_text_of_one():
    for as_of in ("2024-06-28", dt.date(2024, 6, 28)):
        assert ar.Market.read(market=TWO_LEVELS, factors=ONE_FACTOR, as_of=as_of).as_of == dt.date(
            2024, 6, 28
        )
    with pytest.raises(UsageError, match=r"as_of: '28\.06\.2024' is not a date like 2018-12-28"):
        ar.Market.read(market=TWO_LEVELS, factors=ONE_FACTOR, as_of="28.06.2024")


def test_one_problem_is_one_problem():
    spoiled = TWO_LEVELS.set_column(2, "value", pa.array(["x", "2.0"]))
    with pytest.raises(InputDataError, match=r"^1 problem in the market input"):
        ar.Market.read(market=spoiled, factors=ONE_FACTOR, as_of="2024-06-28")
