import datetime as dt

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.unit.risk.conftest import AS_OF, INSTRUMENTS, START, make_book
from tests.unit.risk.test_explain import market_of

from acceleray.risk.explain import TERMS, explain
from acceleray.risk.resolve import resolve
from acceleray.risk.sensitivities import sensitivities_of
from acceleray.risk.valuation import position_pnl

NAMES = [row["instrument_id"] for row in INSTRUMENTS]
LOGS = {"SPX", "EURUSD", "OIL", "VIX"}

books = st.dictionaries(
    st.tuples(st.sampled_from(["A", "A/B", "C"]), st.sampled_from(NAMES)),
    st.floats(-50, 50, allow_nan=False).filter(lambda quantity: abs(quantity) > 1e-3),
    min_size=1,
    max_size=8,
)
moves = st.fixed_dictionaries({name: st.floats(-0.1, 0.1) for name in START})


def book_of(held):
    return make_book([(*key, quantity) for key, quantity in sorted(held.items())])


def shocked(move):
    return {
        name: START[name] * np.exp(move[name]) if name in LOGS else START[name] + 0.05 * move[name]
        for name in START
    }


@given(old=books, new=books, move=moves, days=st.integers(1, 40))
@settings(max_examples=25, deadline=None)
def test_terms_add_up_whatever_is_held(old, new, move, days):
    before = (book_of(old), market_of(AS_OF, START))
    after = (book_of(new), market_of(AS_OF + dt.timedelta(days=days), shocked(move)))
    found = explain(before, after, base_currency="USD")
    size = max(np.abs(values).max() for values in found.values.values()) + 1e6
    for values in found.values.values():
        assert abs(values[:-1].sum() - values[-1]) < 1e-11 * size
    tops = [values for node, values in found.values.items() if node in ("A", "C")]
    assert np.abs(sum(tops) - found.values["Fund"]).max() < 1e-11 * size
    assert len(found.table()) == len(found.values) * len(TERMS)


@given(held=books, move=moves)
@settings(max_examples=25, deadline=None)
def test_small_moves_are_met_to_third_order(held, move):
    market = market_of(AS_OF, START)
    resolution = resolve(book_of(held), market, base_currency="USD")
    quadratic = sensitivities_of(resolution, market, distributed=False).by_levels()
    gross = sum(abs(q) for q in held.values()) * 1e5
    change = 0.1 * (np.array([shocked(move)[name] for name in market.factor_ids]) - market.base)
    gain = position_pnl(resolution.priced, market.base[None] + change, market.base[None]).sum()
    expansion = quadratic.gradient @ change + change @ quadratic.hessian @ change / 2
    # Moves of at most 1 % and 5 bp: a millionth of what is held (contracts of up to 2.5e5), times third
    # derivatives of some tens.
    assert abs(gain - expansion) < 1e-4 * gross
