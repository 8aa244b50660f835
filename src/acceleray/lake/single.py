"""Read and validate one input on its own, for people who have tables instead of a project."""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from acceleray.domain.inputs import FILE_INPUTS, INPUTS, Finding, InputContract, check_columns
from acceleray.errors import InputDataError, SchemaError
from acceleray.lake.check import findings_of
from acceleray.lake.functions import to_arrow
from acceleray.lake.inputs import LINE, InputSource, open_source
from acceleray.lake.references import examine_keys, examine_weights
from acceleray.lake.validate import examine_rows, examined_schema, split

__all__ = ["read_moves", "read_valid"]

_SHOWN = 5


def read_valid(
    name: str,
    source: Any,
    *,
    as_of: dt.date | None = None,
    factor_kinds: Mapping[str, str] | None = None,
) -> pa.Table:
    """Read one input and validate its rows and keys.

    Parameters
    ----------
    name : str
        One of the inputs: positions, instruments, market, factors, portfolios, benchmarks, holdings,
        obligors, pnl.
    source : path, or Arrow, pandas or Polars table
        The data.
    as_of : datetime.date, optional
        Rows dated or known later are left out.
    factor_kinds : mapping of str to str, optional
        Kind of each factor, which decides the range of its values in a market table.

    Returns
    -------
    pyarrow.Table
        In the layout of the input's raw table.

    Raises
    ------
    InputDataError
        Naming where and what, if any row is wrong.
    """
    contract = FILE_INPUTS[name] if name in FILE_INPUTS else INPUTS[name]
    opened = _open(name, source)
    _refuse(name, check_columns(contract, opened.columns, opened.source))
    parts = [
        examine_rows(rows, contract, as_of=as_of, factor_kinds=factor_kinds) for rows in opened.batches()
    ]
    examined = pa.concat_tables([examined_schema(contract).empty_table(), *parts]).combine_chunks()
    examined = examine_weights(examine_keys(examined, contract), contract)
    accepted, rejected = split(examined, contract)
    _refuse(name, [_with_key(finding, examined, contract) for finding in findings_of(rejected)])
    if not accepted.num_rows:
        raise InputDataError(f"{opened.source}: no row of the {name} input is usable")
    return accepted.select(contract.table.schema.names)


def read_moves(source: Any) -> pa.Table:
    """Read shocked levels: scenario, factor_id, value.

    Raises
    ------
    SchemaError
        If a column is missing or has the wrong type.
    """
    opened = _open("moves", source)
    wanted = pa.schema({"scenario": pa.string(), "factor_id": pa.string(), "value": pa.float64()})
    missing = [field for field in wanted.names if field not in opened.columns]
    if missing:
        raise SchemaError(f"{opened.source}: missing columns {', '.join(missing)}")
    rows = pa.concat_tables([batch.select(wanted.names) for batch in opened.batches()])
    try:
        return rows.cast(wanted)
    except pa.ArrowInvalid as error:
        raise SchemaError(f"{opened.source}: {error}") from error


def _open(name: str, source: Any) -> InputSource:
    if isinstance(source, str | Path):
        path = Path(source)
        return open_source(path.name, path.parent)
    label = f"{name} table"
    table = to_arrow(label, source)
    return InputSource(
        source=label, path=None, columns=tuple(table.column_names), fingerprint="", table=table
    )


def _with_key(finding: Finding, examined: pa.Table, contract: InputContract) -> Finding:
    """Say which factor or position a line is of: in a table of one's own, lines are no names."""
    if finding.line is None or finding.column in contract.key:
        return finding
    rows = examined.filter(pc.equal(examined[LINE], finding.line)).select(contract.key).to_pylist()
    if len(rows) != 1 or None in rows[0].values():
        return finding
    return replace(finding, message=f"{finding.message} ({', '.join(map(str, rows[0].values()))})")


def _refuse(name: str, findings: list[Finding]) -> None:
    if not findings:
        return
    shown = "\n".join(str(finding) for finding in findings[:_SHOWN])
    more = f"\nand {len(findings) - _SHOWN} more" if len(findings) > _SHOWN else ""
    problems = "1 problem" if len(findings) == 1 else f"{len(findings)} problems"
    raise InputDataError(f"{problems} in the {name} input:\n{shown}{more}", hint=findings[0].hint)
