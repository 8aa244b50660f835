import datetime as dt

import numpy as np
import pyarrow as pa
import pytest

from acceleray.domain.book import Book
from acceleray.domain.market import Market
from acceleray.domain.scenario import Historical
from acceleray.errors import InputDataError, UsageError
from acceleray.numerics.tail import expected_shortfall
from acceleray.risk.market import revalue
from acceleray.risk.stressed import stressed_es

from .conftest import N_DATES

DAYS = np.busday_offset(np.datetime64("2018-12-28"), np.arange(-119, 1))


def simple_market(late_proxy: str | None):
    """A, calm but for days 20 to 39, and B, which begins on day 60."""
    rng = np.random.default_rng(3)
    scale = np.where((np.arange(120) >= 20) & (np.arange(120) < 40), 0.05, 0.005)
    paths = {
        "A": 100.0 * np.exp(np.cumsum(scale * rng.standard_normal(120))),
        "B": 50.0 * np.exp(np.cumsum(0.01 * rng.standard_normal(120))),
    }
    rows = [
        (day, name, float(level))
        for name, path in paths.items()
        for index, (day, level) in enumerate(zip(DAYS.tolist(), path, strict=True))
        if name == "A" or index >= 60
    ]
    observations = pa.table(
        {
            "date": pa.array([row[0] for row in rows], pa.date32()),
            "factor_id": [row[1] for row in rows],
            "value": [row[2] for row in rows],
        }
    )
    factors = pa.table({"factor_id": ["A", "B"], "kind": ["spot"] * 2, "proxy": [None, late_proxy]})
    return Market.from_observations(observations, factors, dt.date(2018, 12, 28))


def simple_book():
    return Book.from_tables(
        pa.table({"portfolio_id": ["P", "Q"], "instrument_id": ["A", "B"], "quantity": [10.0, 4.0]}),
        pa.table(
            {
                "instrument_id": ["A", "B"],
                "kind": ["equity"] * 2,
                "currency": ["USD"] * 2,
                "factor_id": ["A", "B"],
            }
        ),
    )


def moves(market, column):
    return np.diff(np.log(market.levels[:, column]))


def test_the_worst_window_is_that_of_a_plain_loop():
    market = simple_market(None)
    found = stressed_es(simple_book(), market, level=0.9, window_days=30)
    a, b = (np.nan_to_num(moves(market, column)) for column in (0, 1))
    base = market.base
    losses = -(10.0 * base[0] * np.expm1(a) + 4.0 * base[1] * np.expm1(b))
    each = [float(expected_shortfall(losses[i : i + 30], level=0.9)) for i in range(len(losses) - 29)]
    first = int(np.argmax(each))
    assert found.measure.value == pytest.approx(max(each), rel=1e-12)
    assert found.window == (DAYS[first + 1].item(), DAYS[first + 30].item())
    assert (found.n_windows, found.measure.n_paths, found.measure.method) == (90, 30, "stressed_historical")
    # It holds the turbulent days, before B began.
    assert first < 40
    assert found.absent == (("Q", "B"),)
    assert (found.proxied_share, found.missing_share) == (0.0, 0.5)
    # The morning page takes the window from the note.
    assert f"{found.window[0]} to {found.window[1]}" in found.measure.note
    assert "1 positions without a past" in found.measure.note


def test_a_proxy_stands_in_where_there_is_no_past():
    market = simple_market("A")
    found = stressed_es(simple_book(), market, level=0.9, window_days=30, on_failed="stop")
    a, b = moves(market, 0), moves(market, 1)
    b = np.where(np.isnan(b), a, b)
    losses = -(10.0 * market.base[0] * np.expm1(a) + 4.0 * market.base[1] * np.expm1(b))
    each = [float(expected_shortfall(losses[i : i + 30], level=0.9)) for i in range(len(losses) - 29)]
    assert found.measure.value == pytest.approx(max(each), rel=1e-12)
    assert (found.proxied_share, found.missing_share, found.absent) == (0.5, 0.0, ())


def test_a_position_without_a_past_stops_where_the_settings_say_so():
    with pytest.raises(InputDataError, match=r"1 positions of 'Fund' have no past moves.*Q B"):
        stressed_es(simple_book(), simple_market(None), window_days=30, on_failed="stop")


def test_a_node_has_its_own_worst_window():
    market = simple_market(None)
    own = stressed_es(simple_book(), market, level=0.9, window_days=30, portfolio_id="Q")
    assert own.window[0] > DAYS[59].item()
    assert own.absent == ()
    with pytest.raises(UsageError, match="'R' is not in the book"):
        stressed_es(simple_book(), market, window_days=30, portfolio_id="R")
    with pytest.raises(InputDataError, match="121 dates"):
        stressed_es(simple_book(), market, window_days=120)


def test_with_the_whole_history_as_window_it_is_the_historical_figure(book, market):
    stressed = stressed_es(book, market, window_days=N_DATES - 1)
    plain = revalue(book, market, Historical(window_days=N_DATES - 1)).es(0.975)
    assert stressed.measure.value == pytest.approx(plain.value, rel=1e-12)
    assert stressed.measure.ci_low == pytest.approx(plain.ci_low, rel=1e-9)


def test_a_node_that_cannot_be_priced_has_no_figure():
    book, market = simple_book(), simple_market(None)
    rows = book.instruments.to_pylist()
    lost = Book.from_tables(book.positions, pa.Table.from_pylist([rows[0], {**rows[1], "factor_id": "C"}]))
    with pytest.raises(InputDataError, match=r"no position of 'Q' could be priced; 'B': .*'C'"):
        stressed_es(lost, market, level=0.9, window_days=30, portfolio_id="Q")
