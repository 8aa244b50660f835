import pyarrow as pa
import pytest

from acceleray.domain.book import ROOT, Book
from acceleray.errors import InputDataError, SchemaError

INSTRUMENTS = pa.table({"instrument_id": ["B", "A"], "kind": ["equity"] * 2, "currency": ["USD"] * 2})


def positions(*rows):
    names = ("portfolio_id", "instrument_id", "quantity")
    return pa.table({name: [row[i] for row in rows] for i, name in enumerate(names)})


def book():
    rows = ("Eq/US/Value", "A", 1.0), ("Eq/US", "B", 2.0), ("Rates", "A", -3.0), ("Eq/USA", "A", 4.0)
    return Book.from_tables(positions(*rows), INSTRUMENTS)


def test_rows_come_in_key_order_and_absent_columns_are_null():
    found = book()
    assert found.portfolio_ids == ("Eq/US", "Eq/US/Value", "Eq/USA", "Rates")
    assert found.quantities.tolist() == [2.0, 1.0, 4.0, -3.0]
    assert found.instruments["instrument_id"].to_pylist() == ["A", "B"]
    assert found.instruments["strike"].null_count == 2


def test_every_prefix_is_a_node():
    found = book()
    assert found.nodes == (ROOT, "Eq", "Eq/US", "Eq/US/Value", "Eq/USA", "Rates")
    assert found.members(ROOT).tolist() == [0, 1, 2, 3]
    # "Eq/USA" begins with the letters of "Eq/US" but does not lie below it.
    assert found.members("Eq/US").tolist() == [0, 1]
    assert found.members("Eq").tolist() == [0, 1, 2]
    with pytest.raises(KeyError):
        found.members("Eq/")


def test_children_cover_a_node():
    found = book()
    assert found.children(ROOT) == ("Eq", "Rates")
    assert found.children("Eq") == ("Eq/US", "Eq/USA")
    # The node's own positions stand beside those below it.
    assert found.children("Eq/US") == ("Eq/US", "Eq/US/Value")
    assert found.children("Rates") == ()


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ([("P", "A", 1.0), ("P", "A", 2.0)], "more than one row for P A"),
        ([("P", "X", 1.0)], "unknown instrument X"),
        ([("P", "A", float("nan"))], "quantity was not finite in P A"),
        ([("Fund/P", "A", 1.0)], "name of the whole book"),
    ],
)
def test_what_does_not_belong_together_is_refused(rows, message):
    with pytest.raises(InputDataError, match=message):
        Book.from_tables(positions(*rows), INSTRUMENTS)


def test_a_missing_column_is_named():
    with pytest.raises(SchemaError, match="quantity"):
        Book.from_tables(positions(("P", "A", 1.0)).drop(["quantity"]), INSTRUMENTS)
