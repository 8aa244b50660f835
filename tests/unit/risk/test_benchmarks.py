import numpy as np
import pyarrow as pa
import pytest

from acceleray.domain.tables import contract
from acceleray.risk.benchmarks import resolve_benchmarks
from acceleray.risk.valuation import position_values

from .conftest import make_book


def weights(*rows):
    names = ("benchmark_id", "instrument_id", "weight")
    rows = [dict(zip(names, row, strict=True)) for row in sorted(rows)]
    return pa.Table.from_pylist(rows, schema=contract("raw.benchmarks").schema)


def resolved(market, book, *rows, wanted=None):
    return resolve_benchmarks(
        weights(*rows),
        {row[0] for row in rows} if wanted is None else wanted,
        book,
        market,
        base_currency="USD",
        history_days=10,
    )


def test_a_benchmark_is_worth_its_weights(market, book):
    rows = [("A", "FUND", 0.6), ("A", "CASH_EUR", 0.3), ("B", "BOND", 1.0), ("Fund", "FUND", -0.2)]
    found = resolved(market, book, *rows)
    assert found.missing == {}
    values = position_values(found.resolution.priced, market.base[None, :])[:, 0]
    assert values == pytest.approx([0.3, 0.6, 1.0, -0.2], rel=1e-15)
    assert [found.number(name) for name in ("A", "B", "Fund")] == [0, 1, 2]
    assert found.positions("A").tolist() == [0, 1]


def test_one_bad_constituent_takes_the_benchmark_with_it_and_no_other(market):
    book = make_book(BOND={"coupon": None})
    rows = [("A", "BOND", 0.5), ("A", "FUND", 0.5), ("B", "SPX_FUT", 1.0), ("C", "FUND", 1.0)]
    found = resolved(market, book, *rows, wanted={"A", "B", "C", "D"})
    assert found.missing == {
        "A": "constituent 'BOND': missing coupon",
        "B": "constituent 'SPX_FUT' is a future worth 0, of which there is no share",
        "D": "it has no weights",
    }
    assert np.isfinite(found.resolution.priced.quantities).all()


def test_only_wanted_benchmarks_are_looked_up(market, book):
    found = resolved(market, book, ("A", "FUND", 1.0), ("B", "NOT_THERE", 1.0), wanted={"A"})
    assert found.resolution.portfolio_ids == ("benchmark/A",)
