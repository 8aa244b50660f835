from __future__ import annotations

import datetime as dt

import numpy as np
import pyarrow as pa
import pytest

from acceleray.lake.content import content_hash, has_repeated_key, sort_by_key

_KEY = ("name", "day")


def _table(n: int = 60) -> pa.Table:
    rng = np.random.default_rng(5)
    names = np.char.add("näme", (np.arange(n) // 4).astype(str))
    days = [dt.date(2018, 1, 1) + dt.timedelta(days=i % 4) for i in range(n)]
    values = pa.array(rng.normal(size=n), mask=np.arange(n) % 7 == 0)
    attributes = [[("k", str(i)), ("a", "x")] if i % 3 else None for i in range(n)]
    return pa.table(
        {
            "name": names.tolist(),
            "day": days,
            "value": values,
            "text": [None if i % 5 == 0 else "t" * (i % 3) for i in range(n)],
            "flag": [None if i % 6 == 0 else i % 2 == 0 for i in range(n)],
            "attributes": pa.array(attributes, pa.map_(pa.string(), pa.string())),
        }
    )


def test_hash_ignores_row_order_chunks_and_slices():
    table = _table()
    expected = content_hash(table, _KEY)
    shuffled = table.take(np.random.default_rng(1).permutation(table.num_rows))
    assert content_hash(shuffled, _KEY) == expected
    pieces = [shuffled.slice(0, 1), shuffled.slice(1, 0), shuffled.slice(1, 30), shuffled.slice(31)]
    assert content_hash(pa.concat_tables(pieces), _KEY) == expected
    doubled = pa.concat_tables([table, table]).combine_chunks()
    assert content_hash(doubled.slice(table.num_rows), _KEY) == expected


def test_hash_ignores_dictionary_encoding_and_what_lies_under_a_null():
    table = _table()
    encoded = table.set_column(0, "name", table["name"].dictionary_encode())
    encoded = encoded.set_column(3, "text", table["text"].combine_chunks().dictionary_encode())
    assert content_hash(encoded, _KEY) == content_hash(table, _KEY)
    values = table["value"].combine_chunks()
    under = values.buffers()[1].to_pybytes()
    other = bytearray(under)
    other[0:8] = np.float64(123.0).tobytes()  # row 0 is null
    changed = pa.Array.from_buffers(
        pa.float64(), len(values), [values.buffers()[0], pa.py_buffer(bytes(other))]
    )
    assert content_hash(table.set_column(2, "value", changed), _KEY) == content_hash(table, _KEY)


@pytest.mark.parametrize(
    ("before", "after"),
    [
        (1.0, np.nextafter(1.0, 2.0)),
        (0.0, -0.0),
        (np.nan, None),
        (0.0, None),
        ("ab", "ba"),
        ("", None),
        (True, False),
        (dt.date(2018, 1, 1), dt.date(2018, 1, 2)),
        (1, 2),
    ],
)
def test_hash_sees_every_bit(before, after):
    kind = pa.array([before]).type
    one, other = (
        pa.table({"k": ["x", "y"], "v": pa.array([value, before], kind)}) for value in (before, after)
    )
    assert content_hash(one, ("k",)) != content_hash(other, ("k",))


def test_hash_sees_names_types_and_where_text_ends():
    table = pa.table({"k": ["a", "bc"]})
    assert content_hash(table, ("k",)) != content_hash(pa.table({"k": ["ab", "c"]}), ("k",))
    assert content_hash(table, ("k",)) != content_hash(table.rename_columns(["j"]), ("j",))
    ints = pa.table({"k": [1, 2]})
    floats = pa.table({"k": [1.0, 2.0]})
    assert content_hash(ints, ("k",)) != content_hash(floats, ("k",))


def test_maps_are_compared_by_their_entries():
    kind = pa.map_(pa.string(), pa.string())
    one = pa.table({"k": ["x"], "m": pa.array([[("a", "1"), ("b", "2")]], kind)})
    same = pa.table({"k": ["x"], "m": pa.array([[("b", "2"), ("a", "1")]], kind)})
    other = pa.table({"k": ["x"], "m": pa.array([[("a", "1"), ("b", "3")]], kind)})
    assert content_hash(one, ("k",)) == content_hash(same, ("k",))
    assert content_hash(one, ("k",)) != content_hash(other, ("k",))


def test_sorting_is_the_same_with_repeated_keys_and_null_keys():
    rows = [("b", 1.0), ("a", 2.0), (None, 0.0), ("b", -1.0), ("a", 2.0)]
    table = pa.table({"k": [k for k, _ in rows], "v": [v for _, v in rows]})
    expected = [("a", 2.0), ("a", 2.0), ("b", -1.0), ("b", 1.0), (None, 0.0)]
    for seed in range(5):
        shuffled = table.take(np.random.default_rng(seed).permutation(len(rows)))
        ordered = sort_by_key(shuffled, ("k",))
        assert list(zip(*ordered.to_pydict().values(), strict=True)) == expected
    assert has_repeated_key(sort_by_key(table, ("k",)), ("k",))


def test_empty_tables_and_sorted_tables_cost_nothing():
    empty = _table(0)
    assert content_hash(empty, _KEY) == content_hash(empty.slice(0), _KEY)
    table = sort_by_key(_table(), _KEY)
    assert sort_by_key(table, _KEY) is table
    assert not has_repeated_key(table, _KEY)


def _loadings(*rows: list[tuple[str, float | None]] | None) -> pa.Table:
    maps = pa.array(rows, pa.map_(pa.string(), pa.float64()))
    return pa.table({"id": pa.array(range(len(rows)), pa.int64()), "loadings": maps})


def test_maps_of_numbers_count_by_their_entries():
    rows = ([("oil", 0.5), ("rates", -0.25)], [], None, [("oil", 0.5)], [("rates", None)])
    whole = content_hash(_loadings(*rows), ("id",))
    swapped = _loadings([("rates", -0.25), ("oil", 0.5)], *rows[1:])
    pieces = pa.concat_tables([swapped.slice(0, 2), swapped.slice(2)])
    assert content_hash(pieces, ("id",)) == whole
    assert content_hash(_loadings(*rows[:1]), ("id",)) == content_hash(swapped.slice(0, 1), ("id",))
    for number, other in (
        (0, [("oil", 0.5), ("rates", 0.25)]),
        (0, [("oil", 0.5), ("rate", -0.25)]),
        (1, None),
        (1, [("oil", 0.5)]),
        (4, [("rates", 0.0)]),
    ):
        changed = [*rows[:number], other, *rows[number + 1 :]]
        assert content_hash(_loadings(*changed), ("id",)) != whole
    # The same entries, one row further on.
    moved = content_hash(_loadings([("oil", 0.5)], [("rates", -0.25)], *rows[2:]), ("id",))
    assert moved != whole
