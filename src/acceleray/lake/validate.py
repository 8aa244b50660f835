"""Check every row of an input against its contract, vectorised, on one batch at a time.

`examine_rows` types the cells and notes what is wrong with each row beside it; nothing is removed, so that
rows can still be compared with each other (`lake.references`) before `split` parts good from bad. The Spark
stage calls it in its workers and `check` in its own process: one judge, two ways to bring it the rows.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from acceleray.domain.book import ROOT
from acceleray.domain.inputs import VALUE_RANGES, ColumnRule, InputContract, Range, Rule
from acceleray.domain.tables import contract as table_contract
from acceleray.lake.inputs import FILE, LINE, MALFORMED

__all__ = [
    "LATER",
    "PROBLEM",
    "PROBLEMS",
    "Problems",
    "column_array",
    "examine_rows",
    "examined_schema",
    "split",
    "to_mask",
]

LATER, PROBLEMS = "_later", "_problems"
PROBLEM = pa.struct([(name, pa.string()) for name in ("rule", "column", "value", "reason")])
# Where the row as a whole is meant.
WHOLE_ROW = "*"

_NUMBER = r"^[+-]?([0-9]+(\.[0-9]*)?|\.[0-9]+)([eE][+-]?[0-9]+)?$"
_NOT_FINITE = r"^(?i)[+-]?(nan|inf|infinity)$"
_INTEGER = r"^[+-]?[0-9]{1,15}(\.0*)?$"
_DATE = r"^[0-9]{4}-[0-9]{2}-[0-9]{2}$"

Mask = npt.NDArray[np.bool_]


def examined_schema(contract: InputContract) -> pa.Schema:
    """Say what `examine_rows` returns: the table's columns, all nullable, and what is known about the row."""
    fields = [pa.field(column.name, column.type) for column in contract.table.schema]
    origin = [pa.field(FILE, pa.string()), pa.field(LINE, pa.int64()), pa.field(LATER, pa.bool_())]
    return pa.schema([*fields, *origin, pa.field(PROBLEMS, pa.list_(PROBLEM))])


class Problems:
    """What is wrong with the rows of a batch, gathered rule by rule."""

    def __init__(self, n_rows: int) -> None:
        self._n_rows = n_rows
        self._rows: list[npt.NDArray[np.int64]] = []
        self._parts: list[pa.Array] = []

    def add(self, where: Mask, rule: Rule, column: str, values: pa.Array, reason: str | pa.Array) -> None:
        """Note a problem of the rows where `where` holds; `values` and `reason` are full-length."""
        rows = np.flatnonzero(where)
        if not len(rows):
            return
        taken = pa.array(rows)
        reasons = _repeat(reason, len(rows)) if isinstance(reason, str) else reason.take(taken)
        struct = [_repeat(rule.value, len(rows)), _repeat(column, len(rows)), values.take(taken), reasons]
        self._rows.append(rows)
        self._parts.append(pa.StructArray.from_arrays(struct, fields=list(PROBLEM)))

    def as_lists(self, *, before: pa.Array | None = None, drop: Mask | None = None) -> pa.Array:
        """One list of problems per row, in the order in which they were added, after those in `before`."""
        rows, parts = list(self._rows), list(self._parts)
        if before is not None:
            rows.insert(0, pc.list_parent_indices(before).to_numpy())
            parts.insert(0, before.flatten())
        if not parts:
            return pa.ListArray.from_arrays(pa.array(np.zeros(self._n_rows + 1, np.int32)), _nothing())
        row = np.concatenate(rows)
        order = np.argsort(row, kind="stable")
        if drop is not None:
            order = order[~drop[row[order]]]
        counts = np.bincount(row[order], minlength=self._n_rows)
        offsets = np.concatenate([[0], np.cumsum(counts)]).astype(np.int32)
        problems = pa.concat_arrays(parts).take(pa.array(order))
        return pa.ListArray.from_arrays(pa.array(offsets), problems)


def examine_rows(
    rows: pa.Table,
    contract: InputContract,
    *,
    as_of: dt.date | None = None,
    factor_kinds: Mapping[str, str] | None = None,
    factor_correlation: Mapping[str, Mapping[str, float]] | None = None,
) -> pa.Table:
    """Type the cells of a batch and list each row's problems.

    Parameters
    ----------
    rows : pyarrow.Table
        As `lake.inputs` reads them: text or typed columns, `FILE`, `LINE`, `MALFORMED`. The columns have
        been compared with the contract before.
    contract : InputContract
        What to check.
    as_of : datetime.date, optional
        Rows with a later ``date`` or ``available_from`` are marked `LATER` and not judged; a floater or swap
        that has begun by then needs its ``last_fixing``.
    factor_kinds : mapping of str to str, optional
        Kind of each factor, which decides the range of its values in the market input.
    factor_correlation : mapping, optional
        Correlations of latent credit factors, each pair once, which decide how much of an obligor's variance
        its loadings explain; 0 where none is given.

    Returns
    -------
    pyarrow.Table
        With `examined_schema`, as many rows as came in. A cell that could not be read is null.
    """
    rows = rows.combine_chunks()
    count = rows.num_rows
    problems = Problems(count)
    malformed = column_array(rows, MALFORMED, count)
    live = ~to_mask(pc.is_valid(malformed))
    first = _as_text(column_array(rows, rows.column_names[0], count))
    problems.add(~live, Rule.MALFORMED, WHOLE_ROW, first, malformed)

    cells: dict[str, pa.Array] = {}
    texts: dict[str, pa.Array] = {}
    for column in contract.columns:
        raw = column_array(rows, column.name, count)
        texts[column.name] = text = _as_text(raw)
        filled = to_mask(pc.is_valid(text)) & live
        if column.required:
            problems.add(live & ~filled, Rule.MISSING, column.name, text, "the cell is empty")
        cells[column.name] = _examine_cells(problems, column, raw, text, filled)
    _examine_kinds(problems, contract, cells, texts, live)
    if contract.name == "factors":
        _examine_factors(problems, texts, live)
    if contract.name == "instruments":
        _examine_instruments(problems, cells, texts, live, as_of)
    if contract.name == "obligors":
        _examine_obligors(problems, cells, texts, live)
    if contract.name == "positions":
        _examine_portfolios(problems, texts["portfolio_id"], live)
    if contract.name == "market" and factor_kinds is not None:
        _examine_values(problems, cells, texts, factor_kinds)

    later = np.zeros(count, dtype=bool)
    if as_of is not None:
        for name in {"date", "available_from"} & cells.keys():
            later |= to_mask(pc.greater(cells[name], pa.scalar(as_of, pa.date32()))) & live
    if contract.open_column:
        cells[contract.open_column] = _examine_open_columns(problems, contract, rows, live)
    if contract.name == "obligors":
        _examine_loadings(problems, cells["loadings"], texts["obligor_id"], live, factor_correlation or {})
    if contract.name == "factors":
        # A factor of a file has a history; only what the settings give as a number is fixed.
        cells["fixed"] = pa.array(np.zeros(count, dtype=bool))
    columns = [cells.get(field.name, pa.nulls(count, field.type)) for field in contract.table.schema]
    columns += [column_array(rows, FILE, count), column_array(rows, LINE, count), pa.array(later)]
    columns.append(problems.as_lists(drop=later))
    return pa.table(columns, schema=examined_schema(contract))


def split(examined: pa.Table, contract: InputContract) -> tuple[pa.Table, pa.Table]:
    """Part examined rows into accepted and rejected; rows marked `LATER` are in neither.

    Returns
    -------
    accepted : pyarrow.Table
        With the contract's table schema plus `FILE` and `LINE`.
    rejected : pyarrow.Table
        One row per problem: ``input, file, line, column, value, reason`` and the ``rule``.
    """
    examined = examined.combine_chunks()
    problems = column_array(examined, PROBLEMS, examined.num_rows)
    good = pc.equal(pc.list_value_length(problems), 0)
    good = pc.and_(good, pc.invert(column_array(examined, LATER, examined.num_rows)))
    accepted = examined.filter(good).select([*contract.table.schema.names, FILE, LINE])
    parents = pc.list_parent_indices(problems)
    flat = problems.flatten()
    schema = table_contract("raw.rejected").schema
    named = {
        "input": _repeat(contract.name, len(flat)),
        "file": column_array(examined, FILE, examined.num_rows).take(parents),
        "line": column_array(examined, LINE, examined.num_rows).take(parents),
        **{name: pc.struct_field(flat, name) for name in ("column", "value", "reason", "rule")},
    }
    return accepted, pa.table(named).select([*schema.names, "rule"])


# ---- cells ------------------------------------------------------------------------------------------------


def _examine_portfolios(problems: Problems, text: pa.Array, live: Mask) -> None:
    root = to_mask(pc.match_substring_regex(text, f"^{ROOT}(/|$)")) & live
    reason = f"{ROOT!r} is the name of the whole book; leave it out of the path"
    problems.add(root, Rule.RESERVED, "portfolio_id", text, reason)


def _examine_cells(
    problems: Problems, column: ColumnRule, raw: pa.Array, text: pa.Array, filled: Mask
) -> pa.Array:
    if column.type == pa.float64():
        return _examine_numbers(problems, column, raw, text, filled)
    if column.type == pa.date32():
        cells = raw if raw.type == pa.date32() else _dates(text)
        unread = filled & ~to_mask(pc.is_valid(cells))
        problems.add(unread, Rule.TYPE, column.name, text, "is not a date like 2018-12-28")
        return cells
    if column.type == pa.int64():
        cells = _integers(text)
        unread = filled & ~to_mask(pc.is_valid(cells))
        problems.add(unread, Rule.TYPE, column.name, text, "is not a whole number")
        if not column.choices:
            numbers = cells.cast(pa.float64())
            _examine_range(problems, column.name, numbers, text, filled & ~unread, column.range)
            return cells
        text = cells.cast(pa.string())
        filled = filled & ~unread
    else:
        cells = text
    if column.choices:
        known = to_mask(pc.is_in(text, value_set=pa.array(column.choices, pa.string())))
        reason = f"is not one of {', '.join(column.choices)}"
        problems.add(filled & ~known, Rule.CHOICE, column.name, text, reason)
    if column.pattern:
        fits = to_mask(pc.match_substring_regex(text, column.pattern))
        problems.add(filled & ~fits, Rule.CHOICE, column.name, text, f"is not {column.pattern_text}")
    return cells


def _examine_numbers(
    problems: Problems, column: ColumnRule, raw: pa.Array, text: pa.Array, filled: Mask
) -> pa.Array:
    if pa.types.is_floating(raw.type) or pa.types.is_integer(raw.type):
        numbers = raw.cast(pa.float64(), safe=False)
        words = np.zeros(len(raw), dtype=bool)
    else:
        matches = pc.match_substring_regex(text, _NUMBER)
        numbers = pc.if_else(matches, text, None).cast(pa.float64())
        words = to_mask(pc.match_substring_regex(text, _NOT_FINITE))
    read = to_mask(pc.is_valid(numbers))
    infinite = read & ~to_mask(pc.is_finite(numbers))
    problems.add(
        filled & (infinite | words),
        Rule.NOT_FINITE,
        column.name,
        text,
        "is not a finite number",
    )
    problems.add(filled & ~read & ~words, Rule.TYPE, column.name, text, "is not a number")
    _examine_range(problems, column.name, numbers, text, filled & read & ~infinite, column.range)
    return numbers


def _examine_range(
    problems: Problems, name: str, numbers: pa.Array, text: pa.Array, where: Mask, allowed: Range
) -> None:
    values = np.where(where, pc.fill_null(numbers, 0.0).to_numpy(zero_copy_only=False), np.nan)
    if allowed.percent_above is not None:
        percent = where & (values > allowed.percent_above)
        reason = f"is percent where a fraction is meant (above {allowed.percent_above:g})"
        problems.add(percent, Rule.PERCENT, name, text, reason)
        where = where & ~percent
    low = values < allowed.low if allowed.low_included else values <= allowed.low
    problems.add(where & (low | (values > allowed.high)), Rule.RANGE, name, text, f"must be {allowed}")


def _examine_kinds(
    problems: Problems,
    contract: InputContract,
    cells: Mapping[str, pa.Array],
    texts: Mapping[str, pa.Array],
    live: Mask,
) -> None:
    for kind, needed in contract.needs.items():
        of_kind = live & to_mask(pc.equal(cells["kind"], kind))
        for name in needed:
            empty = of_kind & ~to_mask(pc.is_valid(texts[name]))
            problems.add(empty, Rule.NEEDED, name, texts[name], f"the cell is empty and kind {kind} needs it")


def _examine_factors(problems: Problems, texts: Mapping[str, pa.Array], live: Mask) -> None:
    """Note half-described points: of a curve without tenor, of a surface without tenor or moneyness."""
    curve, tenor, surface, moneyness = (
        to_mask(pc.is_valid(texts[name])) & live for name in ("curve", "tenor_years", "surface", "moneyness")
    )
    together = "the cell is empty; curve and tenor_years go together"
    on_surface = "the cell is empty; surface, moneyness and tenor_years go together"
    for name, lonely, reason in (
        ("tenor_years", curve & ~tenor, together),
        ("curve", tenor & ~curve & ~surface & ~moneyness, together),
        ("tenor_years", surface & ~tenor, on_surface),
        ("moneyness", surface & ~moneyness, on_surface),
        ("surface", moneyness & ~surface, on_surface),
    ):
        problems.add(lonely, Rule.NEEDED, name, texts[name], reason)
    for name, kind in (("curve", "zero_rate"), ("surface", "implied_vol")):
        other = live & ~to_mask(pc.equal(texts["kind"], kind)) & to_mask(pc.is_valid(texts["kind"]))
        wrong = other & to_mask(pc.is_valid(texts[name]))
        problems.add(wrong, Rule.CHOICE, name, texts[name], f"is for factors of kind {kind}")


def _examine_instruments(
    problems: Problems,
    cells: Mapping[str, pa.Array],
    texts: Mapping[str, pa.Array],
    live: Mask,
    as_of: dt.date | None,
) -> None:
    wrong = live & to_mask(pc.less_equal(cells["maturity"], cells["issue_date"]))
    problems.add(wrong, Rule.RANGE, "maturity", texts["maturity"], "must be after issue_date")
    option = live & to_mask(pc.equal(cells["kind"], "option"))
    factor, surface = (to_mask(pc.is_valid(texts[name])) for name in ("vol_factor", "surface"))
    neither = "the cell is empty and kind option needs it, or a surface"
    problems.add(option & ~factor & ~surface, Rule.NEEDED, "vol_factor", texts["vol_factor"], neither)
    both = "is given beside vol_factor"
    problems.add(option & factor & surface, Rule.CONFLICT, "surface", texts["surface"], both)
    if as_of is None:
        return
    floating = live & to_mask(pc.is_in(cells["kind"], value_set=pa.array(["floater", "swap"])))
    running = to_mask(pc.less_equal(cells["issue_date"], pa.scalar(as_of, pa.date32())))
    running &= to_mask(pc.greater(cells["maturity"], pa.scalar(as_of, pa.date32())))
    # A running coupon that is ex belongs to the seller and needs no rate; its dates are not worked out here.
    running &= ~to_mask(pc.greater(cells["ex_coupon_days"], 0))
    unknown = floating & running & ~to_mask(pc.is_valid(texts["last_fixing"]))
    reason = "the cell is empty and a coupon is running, whose rate is the last fixing"
    problems.add(unknown, Rule.NEEDED, "last_fixing", texts["last_fixing"], reason)


def _examine_obligors(
    problems: Problems, cells: Mapping[str, pa.Array], texts: Mapping[str, pa.Array], live: Mask
) -> None:
    """Note a spread of the loss given default that no law on [0, 1] with that mean can have."""
    mean, std = (
        pc.fill_null(cells[name], np.nan).to_numpy(zero_copy_only=False) for name in ("lgd", "lgd_std")
    )
    # Cells out of their own range have been reported already.
    judged = live & (mean >= 0.0) & (mean <= 1.0) & (std > 0.0) & (std <= 0.5)
    wide = judged & (std * std >= mean * (1.0 - mean))
    reason = "must be below sqrt(lgd * (1 - lgd)), as of a spread-out loss given default of that mean"
    problems.add(wide, Rule.RANGE, "lgd_std", texts["lgd_std"], reason)


def _examine_loadings(
    problems: Problems,
    loadings: pa.MapArray,
    obligor: pa.Array,
    live: Mask,
    correlation: Mapping[str, Mapping[str, float]],
) -> None:
    """Note obligors whose factors would explain all of their variance, which leaves no risk of their own."""
    keys, count = loadings.keys.dictionary_encode(), len(obligor)
    names = keys.dictionary.to_pylist()
    values = loadings.items.to_numpy(zero_copy_only=False)
    row = np.repeat(np.arange(count), np.diff(loadings.offsets.to_numpy()))
    weights = np.zeros((len(names), count))
    weights[keys.indices.to_numpy(), row] = values
    explained = (weights * weights).sum(axis=0)
    at = {name: number for number, name in enumerate(names)}
    for name, entries in correlation.items():
        for other, value in entries.items():
            if name in at and other in at:
                explained += 2.0 * value * weights[at[name]] * weights[at[other]]
    # Single loadings out of their own range have been reported already.
    judged = live & (np.abs(weights) <= 1.0).all(axis=0)
    whole = judged & ~(explained < 1.0)
    reasons = np.full(count, "", dtype=object)
    reasons[whole] = [
        f"has loadings that explain {share:.6g} of its variance, which must be below 1"
        for share in explained[whole]
    ]
    problems.add(whole, Rule.LOADINGS, "loading_*", obligor, pa.array(reasons, pa.string()))


def _examine_values(
    problems: Problems,
    cells: Mapping[str, pa.Array],
    texts: Mapping[str, pa.Array],
    factor_kinds: Mapping[str, str],
) -> None:
    codes = pc.index_in(cells["factor_id"], value_set=pa.array(list(factor_kinds), pa.string()))
    kinds = pa.array(list(factor_kinds.values()), pa.string()).take(codes)
    finite = to_mask(pc.is_finite(cells["value"]))
    for kind, allowed in VALUE_RANGES.items():
        of_kind = finite & to_mask(pc.equal(kinds, kind))
        _examine_range(problems, "value", cells["value"], texts["value"], of_kind, allowed)


# ---- text to types ----------------------------------------------------------------------------------------


def _as_text(array: pa.Array) -> pa.Array:
    """Trimmed text, null where there is none."""
    if array.type != pa.string():
        return array.cast(pa.string())
    text = pc.utf8_trim_whitespace(array)
    return pc.if_else(pc.equal(text, ""), None, text)


def _dates(text: pa.Array) -> pa.Array:
    shaped = pc.if_else(pc.match_substring_regex(text, _DATE), text, None)
    moments = pc.strptime(shaped, format="%Y-%m-%d", unit="s", error_is_null=True)
    dates = moments.cast(pa.date32())
    # strptime turns 30 February into 2 March; a date must read back as it was written.
    return pc.if_else(pc.equal(dates.cast(pa.string()), text), dates, None)


def _integers(text: pa.Array) -> pa.Array:
    shaped = pc.if_else(pc.match_substring_regex(text, _INTEGER), text, None)
    # A column that once held a gap is often written as 2.0.
    return pc.replace_substring_regex(shaped, r"\.0*$", "").cast(pa.int64())


def _examine_open_columns(
    problems: Problems, contract: InputContract, rows: pa.Table, live: Mask
) -> pa.Array:
    """One map per row from the rest of the column's name to its cell; empty cells are left out."""
    count, prefix = rows.num_rows, contract.open_prefix
    item_type = contract.table.schema.field(contract.open_column).type.item_type
    names = sorted(name for name in rows.column_names if name.startswith(prefix))
    cells = []
    for name in names:
        raw = column_array(rows, name, count)
        text = _as_text(raw)
        column = ColumnRule(name=name, type=item_type, range=contract.open_range)
        cells.append(_examine_cells(problems, column, raw, text, to_mask(pc.is_valid(text)) & live))
    if not names or not count:
        return pa.MapArray.from_arrays(
            pa.array(np.zeros(count + 1, np.int32)), pa.array([], pa.string()), pa.array([], item_type)
        )
    filled = np.column_stack([to_mask(pc.is_valid(each)) for each in cells])
    row, column_number = np.nonzero(filled)
    offsets = np.concatenate([[0], np.cumsum(filled.sum(axis=1))]).astype(np.int32)
    keys = pa.array([name.removeprefix(prefix) for name in names]).take(pa.array(column_number))
    items = pa.concat_arrays(cells).take(pa.array(column_number * count + row))
    return pa.MapArray.from_arrays(pa.array(offsets), keys, items)


def column_array(table: pa.Table, name: str, count: int) -> pa.Array:
    """Return a column in one piece; nulls if there is no such column."""
    if name not in table.column_names:
        return pa.nulls(count, pa.string())
    column = table.column(name)
    return (
        column.chunk(0)
        if column.num_chunks == 1
        else pa.concat_arrays(column.chunks or [pa.array([], column.type)])
    )


def to_mask(condition: pa.Array) -> Mask:
    """Return a condition as booleans, false where it is null."""
    mask: Mask = pc.fill_null(condition, False).to_numpy(zero_copy_only=False)
    return mask


def _repeat(text: str, count: int) -> pa.Array:
    return pa.array([text], pa.string()).take(pa.array(np.zeros(count, dtype=np.int64)))


def _nothing() -> pa.Array:
    return pa.array([], PROBLEM)
