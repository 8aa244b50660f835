"""Compare rows with each other: repeated keys, and names that the other inputs must know."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from decimal import ROUND_HALF_UP, Decimal

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from acceleray.domain.book import ROOT
from acceleray.domain.business_days import calendar_names
from acceleray.domain.inputs import InputContract, Rule, did_you_mean
from acceleray.lake.inputs import LINE
from acceleray.lake.validate import LATER, PROBLEMS, Problems, column_array, to_mask

__all__ = [
    "LARGEST_WEIGHT",
    "MOST_WEIGHT",
    "OWN_ROW",
    "Reference",
    "examine_keys",
    "examine_references",
    "examine_weights",
    "excess_reason",
    "factor_references",
    "free_factors",
    "fund_references",
    "holder_references",
    "instrument_references",
    "key_column",
    "market_references",
    "obligor_references",
    "portfolio_references",
    "repeat_reason",
]

_SUGGESTED = 50

# How the reason ends when a name is known, but only from a row that was rejected.
OWN_ROW = "its own row was rejected"

# Weights are added exactly at nine decimals; published ones are rounded, hence the tolerance.
WEIGHT_UNIT = Decimal("1e-9")
MOST_WEIGHT = Decimal("1.0001")
LARGEST_WEIGHT = 10.0


@dataclass(frozen=True, kw_only=True)
class Reference:
    """What a column may name.

    Parameters
    ----------
    column : str
        The column that names something.
    known : collection of str or None
        Names that exist and were accepted; None if any name will do.
    expected : str
        What the name should be, to follow "is not".
    taken : collection of str
        Names that may not be used here because the settings have them.
    rejected : collection of str
        Names that exist but whose own row was rejected.
    ended : mapping of str to datetime.date
        Names that existed until a date.
    rule : Rule
        What is broken by an unknown name.
    is_list : bool
        A cell holds several names, separated by spaces.
    """

    column: str
    known: frozenset[str] | None
    expected: str
    taken: frozenset[str] = frozenset()
    rejected: frozenset[str] = frozenset()
    ended: Mapping[str, dt.date] = field(default_factory=dict)
    rule: Rule = Rule.UNKNOWN_REFERENCE
    is_list: bool = False

    def judge(self, names: Iterable[str]) -> dict[str, tuple[Rule, str]]:
        """Say what is wrong with each name; good names are left out."""
        wrong = sorted(name for name in set(names) if self._is_wrong(name))
        # So many unknown names mean that the wrong file was delivered; suggestions would be slow and useless.
        suggest = len(wrong) <= _SUGGESTED
        return {name: self._verdict(name, suggest=suggest) for name in wrong}

    def _is_wrong(self, name: str) -> bool:
        if self.is_list:
            return self._stranger(name) is not None
        if name in self.ended or name in self.taken:
            return True
        return self.known is not None and name not in self.known

    def _stranger(self, cell: str) -> str | None:
        """First unknown name of a list."""
        known = self.known
        return None if known is None else next((part for part in cell.split() if part not in known), None)

    def _verdict(self, name: str, *, suggest: bool) -> tuple[Rule, str]:
        if self.is_list:
            part = self._stranger(name) or name
            near = did_you_mean(part, self.known or ()) if suggest else ""
            return self.rule, f"names {part!r}, which is not {self.expected}{near}"
        if name in self.ended:
            return Rule.EXPIRED, f"ended on {self.ended[name]}, not after as_of"
        if name in self.taken:
            return Rule.DUPLICATE, "is given by the settings too"
        if name in self.rejected:
            return self.rule, f"is not {self.expected}: {OWN_ROW}"
        return self.rule, f"is not {self.expected}{did_you_mean(name, self.known or ()) if suggest else ''}"


def key_column(contract: InputContract) -> str:
    """Name the column under which a repeated key is reported: the last of the key."""
    return contract.key[-1]


def repeat_reason(contract: InputContract) -> str:
    """Say that a key is repeated; the number of the other line follows."""
    return f"the same {' and '.join(contract.key)} as in line "


def examine_keys(examined: pa.Table, contract: InputContract) -> pa.Table:
    """Note a problem on every row whose key another row has too.

    The reason names the first line of the key, or on that line the last one.
    """
    count = examined.num_rows
    columns = [column_array(examined, name, count) for name in contract.key]
    judged = ~to_mask(column_array(examined, LATER, count))
    for column in columns:
        judged &= to_mask(pc.is_valid(column))
    rows = np.flatnonzero(judged)
    if not len(rows):
        return examined
    codes = np.zeros(len(rows), dtype=np.int64)
    for column in columns:
        encoded = column.take(pa.array(rows)).dictionary_encode()
        codes = codes * (len(encoded.dictionary) + 1) + encoded.indices.to_numpy()
        codes = np.unique(codes, return_inverse=True)[1]
    lines = column_array(examined, LINE, count).to_numpy()[rows]
    first = np.full(codes.max() + 1, np.iinfo(np.int64).max)
    last = np.zeros(codes.max() + 1, dtype=np.int64)
    np.minimum.at(first, codes, lines)
    np.maximum.at(last, codes, lines)
    repeated = first[codes] != last[codes]
    if not repeated.any():
        return examined
    where = np.zeros(count, dtype=bool)
    where[rows[repeated]] = True
    other = np.zeros(count, dtype=np.int64)
    other[rows] = np.where(lines == first[codes], last[codes], first[codes])
    texts = [column.cast(pa.string()) for column in columns]
    values = pc.binary_join_element_wise(*texts, ", ")
    reasons = pc.binary_join_element_wise(repeat_reason(contract), pa.array(other).cast(pa.string()), "")
    problems = Problems(count)
    problems.add(where, Rule.DUPLICATE, key_column(contract), values, reasons)
    return _with_problems(examined, problems)


def excess_reason() -> str:
    """Say that weights exceed one; their sum follows."""
    return "has weights that add up to more than 1: "


def examine_weights(examined: pa.Table, contract: InputContract) -> pa.Table:
    """Note a problem on every row of a benchmark or fund whose weights add up to more than one.

    The sum is exact, so that it does not depend on the order of the rows.
    """
    if contract.whole is None:
        return examined
    names, weights = (examined[name].to_pylist() for name in (contract.whole, "weight"))
    totals: dict[str, Decimal] = {}
    for name, weight in zip(names, weights, strict=True):
        # Beyond the range of a weight the row has a problem of its own.
        if name is not None and weight is not None and abs(weight) <= LARGEST_WEIGHT:
            rounded = Decimal(repr(weight)).quantize(WEIGHT_UNIT, ROUND_HALF_UP)
            totals[name] = totals.get(name, Decimal(0)) + rounded
    excess = {name: str(total) for name, total in totals.items() if total > MOST_WEIGHT}
    count = examined.num_rows
    where = np.array([name in excess for name in names], dtype=bool)
    reasons = pa.array([excess_reason() + excess.get(name, "") for name in names], pa.string())
    problems = Problems(count)
    whole = column_array(examined, contract.whole, count)
    problems.add(where, Rule.WEIGHTS, contract.whole, whole, reasons)
    return _with_problems(examined, problems)


def examine_references(examined: pa.Table, references: Iterable[Reference]) -> pa.Table:
    """Note a problem on every row that names something the other inputs do not have."""
    count = examined.num_rows
    problems = Problems(count)
    judged = ~to_mask(column_array(examined, LATER, count))
    for reference in references:
        column = column_array(examined, reference.column, count)
        wrong = reference.judge(name for name in pc.unique(column).to_pylist() if name is not None)
        if not wrong:
            continue
        found = pc.index_in(column, value_set=pa.array(list(wrong), pa.string()))
        for rule in sorted({rule for rule, _ in wrong.values()}):
            reasons = pa.array([text if of == rule else None for of, text in wrong.values()], pa.string())
            reason = reasons.take(found)
            problems.add(judged & to_mask(pc.is_valid(reason)), rule, reference.column, column, reason)
    return _with_problems(examined, problems)


def free_factors(fixed: pa.Table) -> list[Reference]:
    """Say that a factor of the file may not be one that the settings give as a number."""
    taken = frozenset(fixed.column("factor_id").to_pylist())
    return [Reference(column="factor_id", known=None, taken=taken, expected="free")]


def factor_references(factors: pa.Table, rejected: Iterable[str]) -> list[Reference]:
    """Say what a row of the factors input may name; `factors` includes those of the settings."""
    ids = frozenset(factors.column("factor_id").to_pylist())
    return [
        Reference(column="proxy", known=ids, rejected=frozenset(rejected), expected="a factor of factors")
    ]


def market_references(factors: pa.Table, rejected: Iterable[str]) -> list[Reference]:
    """Say what a row of the market input may name: factors that have a history."""
    moving = factors.filter(pc.invert(factors.column("fixed")))
    ids = frozenset(moving.column("factor_id").to_pylist())
    return [
        Reference(column="factor_id", known=ids, rejected=frozenset(rejected), expected="a factor of factors")
    ]


def instrument_references(factors: pa.Table, rejected: Iterable[str], base_currency: str) -> list[Reference]:
    """Say what a row of the instruments input may name."""
    rows = factors.select(["factor_id", "kind", "currency", "curve", "surface"]).to_pylist()
    refused = frozenset(rejected)

    def ids(wanted: Callable[[str], bool]) -> frozenset[str]:
        return frozenset(row["factor_id"] for row in rows if wanted(row["kind"]))

    def factor(column: str, kind: str) -> Reference:
        known = ids(lambda found: found == kind)
        return Reference(column=column, known=known, rejected=refused, expected=f"a factor of kind {kind}")

    curves = frozenset(
        row["curve"] for row in rows if row["curve"] is not None and row["kind"] == "zero_rate"
    )
    surfaces = frozenset(row["surface"] for row in rows if row["surface"] is not None)

    def curve(column: str) -> Reference:
        return Reference(column=column, known=curves, expected="a curve of factors or of the settings")

    return [
        _currency_reference(factors, base_currency),
        Reference(
            column="factor_id",
            known=ids(lambda _: True),
            rejected=refused,
            expected="a factor of factors",
        ),
        factor("vol_factor", "implied_vol"),
        factor("dividend_yield", "dividend_yield"),
        factor("spread_factor", "credit_spread"),
        curve("discount_curve"),
        curve("foreign_curve"),
        curve("projection_curve"),
        Reference(column="surface", known=surfaces, expected="a surface of factors"),
        Reference(
            column="depends_on", known=ids(lambda _: True), is_list=True, expected="a factor of factors"
        ),
        Reference(column="calendar", known=calendar_names(), expected="an exchange calendar"),
    ]


def obligor_references(factors: pa.Table, base_currency: str) -> list[Reference]:
    """Say what a row of the obligors input may name."""
    return [_currency_reference(factors, base_currency)]


def _currency_reference(factors: pa.Table, base_currency: str) -> Reference:
    rows = factors.select(["kind", "currency"]).to_pylist()
    currencies = {row["currency"] for row in rows if row["kind"] == "fx" and row["currency"] is not None}
    return Reference(
        column="currency",
        known=frozenset(currencies | {base_currency}),
        expected=f"the base currency {base_currency} and has no fx factor",
        rule=Rule.NO_FX,
    )


def holder_references(
    known: Iterable[str], rejected: Iterable[str], ended: Mapping[str, dt.date]
) -> list[Reference]:
    """Say which instruments a position, a benchmark or a fund may hold."""
    return [
        Reference(
            column="instrument_id",
            known=frozenset(known),
            rejected=frozenset(rejected),
            ended=ended,
            expected="an instrument of instruments",
        )
    ]


def fund_references(funds: Iterable[str], rejected: Iterable[str]) -> list[Reference]:
    """Say what a row of the holdings input may say holds something."""
    return [
        Reference(
            column="fund_id",
            known=frozenset(funds),
            rejected=frozenset(rejected),
            expected="an instrument of kind fund",
        )
    ]


def portfolio_references(portfolios: Iterable[str], benchmarks: Iterable[str] | None) -> list[Reference]:
    """Say what a row of the portfolios input may name.

    Parameters
    ----------
    portfolios : iterable of str
        Those of the positions; their prefixes and ``Fund`` are nodes too.
    benchmarks : iterable of str, optional
        Absent if their input cannot be read; then they are not judged.
    """
    nodes = {ROOT}
    for name in portfolios:
        parts = name.split("/")
        nodes.update("/".join(parts[: i + 1]) for i in range(len(parts)))
    return [
        Reference(
            column="portfolio_id",
            known=frozenset(nodes),
            expected=f"{ROOT} or a portfolio that positions are in or below",
        ),
        Reference(
            column="benchmark_id",
            known=None if benchmarks is None else frozenset(benchmarks),
            expected="a benchmark of benchmarks",
        ),
    ]


def _with_problems(examined: pa.Table, problems: Problems) -> pa.Table:
    before = column_array(examined, PROBLEMS, examined.num_rows)
    place = examined.column_names.index(PROBLEMS)
    return examined.set_column(place, examined.schema.field(place), problems.as_lists(before=before))
