"""What makes up the contract of an input: columns, ranges, and the rules that a row can break."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum

import pyarrow as pa

from acceleray.domain.table_contract import TableContract
from acceleray.domain.tables import CONTRACTS

__all__ = ["ColumnRule", "Finding", "InputContract", "Range", "Rule"]

# Above this an amount in any currency is a slip of the decimal point; below it, control totals add exactly.
_LARGEST = 1e15


class Rule(StrEnum):
    """Why a row is rejected or a setting refused; each has one piece of advice."""

    MISSING_COLUMN = "missing_column"
    UNKNOWN_COLUMN = "unknown_column"
    UNUSABLE_FILE = "unusable_file"
    EMPTY = "empty"
    MALFORMED = "malformed"
    MISSING = "missing"
    TYPE = "type"
    NOT_FINITE = "not_finite"
    PERCENT = "percent"
    RANGE = "range"
    CHOICE = "choice"
    NEEDED = "needed"
    DUPLICATE = "duplicate"
    UNKNOWN_REFERENCE = "unknown_reference"
    NO_FX = "no_fx"
    EXPIRED = "expired"
    AS_OF = "as_of"
    AGED = "aged"
    RESERVED = "reserved"
    CONFLICT = "conflict"
    WEIGHTS = "weights"
    LOADINGS = "loadings"
    SETTINGS = "settings"

    @property
    def hint(self) -> str:
        """What the reader can do about it."""
        return _HINTS[self]


_HINTS = {
    Rule.MISSING_COLUMN: "Add the column to the header; names are exact.",
    Rule.UNKNOWN_COLUMN: "Correct the name, or remove the column; your own columns start with attr_.",
    Rule.UNUSABLE_FILE: "Correct the path or the file under inputs: in acceleray.yaml.",
    Rule.EMPTY: "Deliver the file again, or point inputs: in acceleray.yaml to another one.",
    Rule.MALFORMED: "Give the row as many cells as the header has; quote cells that contain a comma.",
    Rule.MISSING: "Fill in the cell.",
    Rule.TYPE: "Write numbers with a decimal point and without separators, and dates as 2018-12-28.",
    Rule.NOT_FINITE: "Correct the value at its source, or leave the row out.",
    Rule.PERCENT: "Divide by 100: a rate of 4.25 % is written 0.0425.",
    Rule.RANGE: "Correct the value at its source.",
    Rule.CHOICE: "Use one of the allowed words; they are lower case.",
    Rule.NEEDED: "Fill in the column, or correct the kind.",
    Rule.DUPLICATE: "Keep one of the rows; no row of a repeated key is used.",
    Rule.UNKNOWN_REFERENCE: "Correct the name, or add the missing row to the other input.",
    Rule.NO_FX: "Add a factor of kind fx with that currency, in base currency for one unit, and its series.",
    Rule.EXPIRED: "Remove the position, or correct the date of the instrument.",
    Rule.AS_OF: "Set as_of to a date that the data covers, or deliver the market data up to it.",
    Rule.AGED: "Deliver newer data, or raise max_age_days; what depends on the factor is left out.",
    Rule.RESERVED: "Name portfolios by a path such as Equity/US/Value.",
    Rule.CONFLICT: "Fill in one of the columns and leave the other empty.",
    Rule.WEIGHTS: "Correct the weights; what they leave of one counts as cash, more than one is leverage.",
    Rule.LOADINGS: "Lower the loadings: the squared length of each row must be below 1.",
    Rule.SETTINGS: "Correct the entry in the named file.",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One thing that is wrong with the inputs.

    Parameters
    ----------
    code : int
        Exit code: 3 if the night cannot run, 4 if it will be PARTIAL.
    file, line, column, value
        Where, as far as there is a where; the header of a CSV file is line 1.
    message : str
        What was expected and what was found.
    hint : str
        What to do.
    """

    code: int
    file: str
    line: int | None = None
    column: str | None = None
    value: str | None = None
    message: str
    hint: str

    def __str__(self) -> str:
        where = self.file if self.line is None else f"{self.file}:{self.line}"
        return f"{where}: {'' if self.column in (None, '*') else f'{self.column}: '}{self.message}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Range:
    """Numbers that a cell may hold; a number above `percent_above` was probably meant as percent."""

    low: float = -_LARGEST
    high: float = _LARGEST
    low_included: bool = True
    percent_above: float | None = None

    def __str__(self) -> str:
        if self.high == _LARGEST:
            text = f"{'at least' if self.low_included else 'more than'} {self.low:g}"
            return text if self.low > -_LARGEST else f"between -{_LARGEST:g} and {_LARGEST:g}"
        return f"{'from' if self.low_included else 'more than'} {self.low:g} to {self.high:g}"


@dataclass(frozen=True, slots=True, kw_only=True)
class ColumnRule:
    """What a column of an input holds.

    Parameters
    ----------
    name : str
        Exact name in the header.
    type : pyarrow.DataType
        Type in the lake.
    required : bool
        Whether the column must be there and every cell filled.
    range : Range
        For numbers.
    choices : tuple of str
        Allowed words; empty for free text.
    pattern : str
        Regular expression that the whole text must match, with `pattern_text` saying it in words.
    """

    name: str
    type: pa.DataType
    required: bool = False
    range: Range = field(default_factory=Range)
    choices: tuple[str, ...] = ()
    pattern: str = ""
    pattern_text: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class InputContract:
    """What an input file must look like.

    Parameters
    ----------
    name : str
        ``positions``, ``instruments``, ``factors``, ``market``, ``portfolios``, ``benchmarks``, ``holdings``,
        ``obligors`` or ``pnl``.
    columns : tuple of ColumnRule
        Known columns.
    open_prefix : str
        Prefix of columns that the user may name freely; they become the map column `open_column`, of text or
        of numbers as the table has it.
    open_range : Range
        For numbers in them.
    needs : mapping of str to tuple of str
        Columns that a row of a kind must fill.
    amount_column : str or None
        Column whose control total is recorded.
    whole : str or None
        Column that names what the ``weight`` of a row is a share of; the weights of one name add up to at
        most one.
    layout : TableContract or None
        Layout of the accepted rows of an input that no stage ingests; others have a table in the lake.
    """

    name: str
    columns: tuple[ColumnRule, ...]
    open_prefix: str = ""
    open_column: str = ""
    open_range: Range = field(default_factory=Range)
    needs: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    amount_column: str | None = None
    whole: str | None = None
    layout: TableContract | None = None

    @property
    def table(self) -> TableContract:
        """The table that accepted rows go to."""
        return self.layout or CONTRACTS[f"raw.{self.name}"]

    @property
    def key(self) -> tuple[str, ...]:
        """Columns that may not repeat."""
        return self.table.key
