"""Give the slow families of a book tables over what its scenarios span, and say how good they are.

A table costs some ten thousand prices. It is built where the scenarios of a run ask for more than that, over
the range that they span; what lies outside of it, and whatever no table converged for, is priced exactly.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from acceleray.domain.tables import contract
from acceleray.errors import NumericalError
from acceleray.risk.american import AmericanTable, build_american
from acceleray.risk.blocks import Job, Table
from acceleray.risk.families import ABSENT
from acceleray.risk.fan_out import fan_out
from acceleray.risk.tabulated_families import Americans, Product, Products, ProductTable
from acceleray.risk.tabulation import Tabulated, tabulate
from acceleray.risk.valuation import Instruments, LookThrough, ResolvedBook

__all__ = ["MARGIN_SAMPLED", "Demand", "approximations", "stand_ins", "with_stand_ins"]

FloatArray = npt.NDArray[np.float64]
Range = tuple[FloatArray, FloatArray]
Slow = Americans | Products

# Fewer prices than this are cheaper than a table: one of an American option takes 5,000 to 50,000.
FEW_PRICES = 10_000
# Sets with fewer scenarios, such as named stresses, are extreme and would only widen the boxes of others.
FEW_SCENARIOS = 200
# Share of the sampled range by which a box is widened at each end: scenarios that are all known need room
# for rounding only; of random ones the first block was looked at.
MARGIN_KNOWN, MARGIN_SAMPLED = 0.01, 0.3
# The second attempt covers this share of each input's sample on either side.
_CENTRAL = (0.01, 0.99)
# In units of an American option's strike, and of the largest value that a product was seen to have.
_TOLERANCE_AMERICAN = 1e-5
# With both rate and yield moving the boundary's kink lies across two axes, and 1e-5 takes 75,000 prices in a
# narrow box and is out of reach in a wide one.
_TOLERANCE_BOTH_MOVE = 1e-4
_TOLERANCE_PRODUCT = 1e-4
_MAX_NODES = 20_000
_MAX_FACTORS = 4
_N_SCALE = 64
_SEED = 20181228


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Demand:
    """What a run will ask of a book.

    Parameters
    ----------
    book : ResolvedBook
        Whose instruments at the horizon are priced.
    levels : ndarray of shape (n_sampled, n_factors)
        Scenarios that show the range.
    n_scenarios : int
        How many there will be.
    margin : float
        Share of the sampled range by which boxes are widened at each end.
    """

    book: ResolvedBook
    levels: FloatArray
    n_scenarios: int
    margin: float


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Box:
    """A table to be built: for American options of one kind, or for a product."""

    wide: Range
    central: Range
    years: float = 0.0
    is_call: bool = False
    on_future: bool = False
    product: Product | None = None


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _Wanted:
    """One table's boxes so far, and the prices that it would save."""

    box: Box
    n_prices: int

    def __add__(self, other: _Wanted) -> _Wanted:
        box = replace(
            self.box,
            wide=_union(self.box.wide, other.box.wide),
            central=_union(self.box.central, other.box.central),
        )
        return _Wanted(box=box, n_prices=self.n_prices + other.n_prices)


def stand_ins(jobs: Sequence[Job], base: FloatArray, *, distributed: bool) -> list[Job]:
    """Give the books of several jobs the tables that pay; jobs share them.

    Parameters
    ----------
    jobs : sequence of Job
        Of one run.
    base : ndarray of shape (n_factors,)
        Levels before the moves; every box contains them.
    distributed : bool
        Build the tables as Ray tasks, or in this process.

    Returns
    -------
    list of Job
        The same jobs; only ``book.then`` may have changed. Neither workers nor their order change a bit.
    """
    demands = [_demand(job, base) for job in jobs if _has_slow(job.book)]
    books = iter(with_stand_ins(demands, distributed=distributed))
    return [replace(job, book=next(books)) if _has_slow(job.book) else job for job in jobs]


def with_stand_ins(demands: Sequence[Demand], *, distributed: bool) -> list[ResolvedBook]:
    """Build what the demands need and return their books with tables."""
    wanted: dict[tuple[Any, ...], _Wanted] = {}
    for demand in demands:
        if demand.n_scenarios < FEW_SCENARIOS or not _has_slow(demand.book):
            continue
        levels = np.ascontiguousarray(demand.levels.T)
        for family in _slow(demand.book.then):
            for row in range(family.count):
                asked = _wanted(family, row, levels, demand)
                key = family.shared(row)
                if asked is not None:
                    wanted[key] = wanted[key] + asked if key in wanted else asked
    chosen = {key: each.box for key, each in wanted.items() if each.n_prices >= FEW_PRICES}
    built = fan_out(
        _build, (), [(box,) for box in chosen.values()], what="price table", distributed=distributed
    )
    found = dict(zip(chosen, built, strict=True))

    def give(family: Slow) -> Slow:
        few = f"priced exactly: fewer than {FEW_PRICES:,} prices were needed"
        return _given(family, [found.get(family.shared(row), (None, few)) for row in range(family.count)])

    return [
        demand.book
        if demand.n_scenarios < FEW_SCENARIOS
        else replace(demand.book, then=_changed(demand.book.then, give))
        for demand in demands
    ]


def approximations(jobs: Sequence[Job], base: FloatArray, *, distributed: bool) -> pa.Table:
    """Say for every instrument without closed form how it was priced and how far off its prices may be.

    Parameters
    ----------
    jobs : sequence of Job
        As they were run; of a job that stopped early, with the scenarios that there are.

    Returns
    -------
    pyarrow.Table
        Rows of ``result.tabulated``. Errors are per contract, in base currency.
    """
    slow = [job for job in jobs if _has_slow(job.book)]
    calls = [(index, block) for index, job in enumerate(slow) for block in range(len(job.plan.blocks))]
    counts = fan_out(count_outside, (tuple(slow),), calls, what="count", distributed=distributed)
    rows: dict[str, dict[str, Any]] = {}
    for (index, block), outside in zip(calls, counts, strict=True):
        job = slow[index]
        begin, end = job.plan.blocks.bounds(block)
        for place, (family, row, unit) in enumerate(_priced(job.book.then, base)):
            name = family.instrument_ids[row]
            own = _row(family, row, unit)
            seen = rows.setdefault(name, own)
            if own["max_error"] > seen["max_error"] or (seen["method"] == "exact" != own["method"]):
                seen.update(own, n_prices=seen["n_prices"], n_exact=seen["n_exact"])
            seen["n_prices"] += end - begin
            seen["n_exact"] += int(outside[place])
    schema = contract("result.tabulated").schema
    return pa.Table.from_pylist([rows[name] for name in sorted(rows)], schema=schema)


def count_outside(jobs: tuple[Job, ...], job: int, block: int) -> list[int]:
    """Count what QuantLib prices in a block of scenarios, per slow instrument; a unit of distributed work."""
    book = jobs[job].book
    levels = np.ascontiguousarray(jobs[job].plan.levels(block).T)
    return [family.n_outside(levels, row) for family in _slow(book.then) for row in range(family.count)]


def _demand(job: Job, base: FloatArray) -> Demand:
    plan = job.plan
    known = isinstance(plan, Table)
    sampled = plan.shocked if isinstance(plan, Table) else plan.levels(0)
    return Demand(
        book=job.book,
        levels=np.concatenate([base[None, :], sampled]),
        n_scenarios=plan.blocks.n_scenarios,
        margin=MARGIN_KNOWN if known else MARGIN_SAMPLED,
    )


def _wanted(family: Slow, row: int, levels: FloatArray, demand: Demand) -> _Wanted | None:
    """Range of one instrument's inputs; None for an option at its expiry."""
    more: dict[str, Any] = {}
    if isinstance(family, Americans):
        options = family.options
        if options.years[row] == 0.0:
            return None
        more = {
            "years": float(options.years[row]),
            "is_call": bool(options.is_call[row]),
            "on_future": bool(options.on_future[row]),
        }
    else:
        more = {"product": family.items[row]}
    states = family.states(levels, row)
    box = Box(
        wide=_widened(states, demand.margin),
        # The base is in the first column.
        central=(
            np.minimum(np.quantile(states, _CENTRAL[0], axis=1, method="lower"), states[:, 0]),
            np.maximum(np.quantile(states, _CENTRAL[1], axis=1, method="higher"), states[:, 0]),
        ),
        **more,
    )
    return _Wanted(box=box, n_prices=demand.n_scenarios)


def _union(one: Range, other: Range) -> Range:
    return np.minimum(one[0], other[0]), np.maximum(one[1], other[1])


def _widened(states: FloatArray, margin: float) -> Range:
    """Range with a margin; what does not move keeps equal ends, and what is positive stays so."""
    low, high = states.min(axis=1), states.max(axis=1)
    room = margin * (high - low)
    return np.where(low > 0.0, np.maximum(low - room, 0.5 * low), low - room), high + room


def _build(box: Box) -> tuple[AmericanTable | ProductTable | None, str]:
    """Build a table over the wide box, else over the central one; None with the reason if neither holds."""
    reasons = []
    for (low, high), part in ((box.wide, ""), (box.central, "the central 98 % of ")):
        try:
            table, shortfall = _table(box, low, high)
        except NumericalError as error:
            table, shortfall = None, error.message
        if shortfall is None:
            return table, f"table over {part}the scenarios: {_described(box, low, high)}"
        reasons.append(shortfall)
    return None, f"priced exactly: {'; then '.join(dict.fromkeys(reasons))}"


def _table(
    box: Box, low: FloatArray, high: FloatArray
) -> tuple[AmericanTable | ProductTable | None, str | None]:
    """Build over one box; a table with a shortfall must not be used."""
    if box.product is not None:
        return _product_table(box.product, low, high)
    both_move = not box.on_future and bool((low[2:] < high[2:]).all())
    table = build_american(
        low.tolist(),
        high.tolist(),
        years=box.years,
        is_call=box.is_call,
        on_future=box.on_future,
        tolerance=_TOLERANCE_BOTH_MOVE if both_move else _TOLERANCE_AMERICAN,
        max_nodes=_MAX_NODES,
        seed=_SEED,
    )
    return table, table.shortfall


def _product_table(
    product: Product, low: FloatArray, high: FloatArray
) -> tuple[ProductTable | None, str | None]:
    is_moving = low < high
    if not is_moving.any() or is_moving.sum() > _MAX_FACTORS:
        return None, f"{is_moving.sum()} factors move, a table is for 1 to {_MAX_FACTORS}"
    exact = product.price()

    def price(moving: FloatArray) -> FloatArray:
        levels = np.tile(low[:, None], (1, moving.shape[1]))
        levels[is_moving] = moving
        return exact(levels)

    # Not all products are worth much today, a swap for one: the scale is the largest of a few values.
    places = np.random.default_rng(_SEED).random((int(is_moving.sum()), _N_SCALE))
    sample = price(low[is_moving, None] + places * (high - low)[is_moving, None])
    table = tabulate(
        price,
        low[is_moving],
        high[is_moving],
        tolerance=_TOLERANCE_PRODUCT * float(np.abs(sample).max()),
        max_nodes=_MAX_NODES,
        seed=_SEED,
    )
    return ProductTable(tabulated=table, is_moving=is_moving, held=low), table.shortfall


def _described(box: Box, low: FloatArray, high: FloatArray) -> str:
    names = ("log(spot / strike)", "vol", "rate", "yield") if box.product is None else box.product.factor_ids
    return ", ".join(
        f"{name} {a:.4g}" if a == b else f"{name} {a:.4g} to {b:.4g}"
        for name, a, b in zip(names, low, high, strict=True)
    )


def _given(family: Slow, tables: list[tuple[Any, str]]) -> Slow:
    if isinstance(family, Americans):
        found, notes = zip(*tables, strict=True)
        return replace(family, tables=found, notes=notes)
    items = (
        replace(item, table=table, note=note)
        for item, (table, note) in zip(family.items, tables, strict=True)
    )
    return replace(family, items=tuple(items))


def _has_slow(book: ResolvedBook) -> bool:
    return any(True for _ in _slow(book.then))


def _slow(instruments: Instruments) -> Iterator[Slow]:
    """Families that a table may stand in for, those inside funds too."""
    for family in instruments.families:
        if isinstance(family, Americans | Products):
            yield family
        elif isinstance(family, LookThrough):
            yield from _slow(family.held)


def _changed(instruments: Instruments, change: Callable[[Slow], Slow]) -> Instruments:
    families = tuple(
        change(family)
        if isinstance(family, Americans | Products)
        else replace(family, held=_changed(family.held, change))
        if isinstance(family, LookThrough)
        else family
        for family in instruments.families
    )
    return replace(instruments, families=families)


def _priced(instruments: Instruments, base: FloatArray) -> Iterator[tuple[Slow, int, float]]:
    """Slow instruments in the order of `_slow`, with the base currency that a unit of price is worth."""
    for family, start, own in instruments.parts(0, instruments.count):
        if isinstance(family, LookThrough):
            yield from _priced(family.held, base)
        elif isinstance(family, Americans | Products):
            for row in range(own.start, own.stop):
                fx = instruments.fx[start + row]
                rate = 1.0 if fx == ABSENT else float(base[fx])
                yield family, row, float(instruments.multipliers[start + row]) * rate


def _row(family: Slow, row: int, unit: float) -> dict[str, Any]:
    table: AmericanTable | Tabulated | None
    if isinstance(family, Americans):
        table, scale = family.tables[row], float(family.options.strikes[row]) * unit
    else:
        held = family.items[row].table
        table, scale = None if held is None else held.tabulated, unit
    return {
        "instrument_id": family.instrument_ids[row],
        "method": "exact" if table is None else "table",
        "n_nodes": 0 if table is None else table.n_nodes,
        "max_error": 0.0 if table is None else table.max_error * scale,
        "tolerance": 0.0 if table is None else table.tolerance * scale,
        "n_prices": 0,
        "n_exact": 0,
        "note": family.notes[row] or "priced exactly: the scenarios are few",
    }
