"""Read and check all inputs in one process: `acceleray check`, and the plain witness of `ingest`."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from decimal import ROUND_HALF_UP, Decimal
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from acceleray.config.models import Limit, Scenario, Settings
from acceleray.domain.inputs import INPUTS, Finding, InputContract, Rule, check_columns
from acceleray.domain.tables import contract as table_contract
from acceleray.errors import InputDataError
from acceleray.lake.content import sort_by_key
from acceleray.lake.credit_fitness import check_dependence, obligor_groups
from acceleray.lake.fitness import (
    check_dates,
    check_limits,
    check_market_map,
    check_scenarios,
    credit_factors,
    settings_rows,
)
from acceleray.lake.functions import product_functions
from acceleray.lake.inputs import FILE, LINE, InputSource, open_source
from acceleray.lake.references import (
    OWN_ROW,
    examine_keys,
    examine_references,
    examine_weights,
    factor_references,
    free_factors,
    fund_references,
    holder_references,
    instrument_references,
    market_references,
    obligor_references,
    portfolio_references,
)
from acceleray.lake.validate import LATER, PROBLEMS, examine_rows, examined_schema, split

__all__ = [
    "CheckedInputs",
    "check_inputs",
    "check_rows",
    "control_total",
    "findings_of",
    "load_inputs",
    "open_inputs",
]

# A million findings help nobody; the first of each input and the count do.
_SHOWN_PER_INPUT = 100

_CAUSE = "Correct that row of the other input; this one then follows."


@dataclass(frozen=True, kw_only=True)
class CheckedInputs:
    """Inputs as validation leaves them.

    Parameters
    ----------
    tables : dict of str to pyarrow.Table
        Accepted rows by table name, ``raw.positions`` and so on, in key order; the same rows that `ingest`
        commits.
    findings : tuple of Finding
        Everything that is wrong, worst first.
    """

    tables: dict[str, pa.Table]
    findings: tuple[Finding, ...]

    @property
    def exit_code(self) -> int:
        """Code of the worst finding: 3 before 4, 0 if there is none."""
        return min((finding.code for finding in self.findings), default=0)


def check_inputs(
    settings: Settings,
    project: Path,
    scenarios: Sequence[Scenario] = (),
    limits: Sequence[Limit] = (),
) -> list[Finding]:
    """Check the inputs, and that scenarios and limits fit them, without Spark.

    Parameters
    ----------
    settings : Settings
        Which inputs, and `as_of`.
    project : Path
        Where they are.
    scenarios, limits
        As parsed from the files that the settings name.

    Returns
    -------
    list of Finding
        Empty if all is well; code 3 if the night cannot run, code 4 if it would be PARTIAL.
    """
    checked = load_inputs(settings, project, scenarios, limits)
    findings = [*checked.findings, *_check_functions(settings, checked.tables["raw.instruments"], project)]
    return sorted(findings, key=lambda finding: finding.code)


def _check_functions(settings: Settings, instruments: pa.Table, project: Path) -> list[Finding]:
    """Find functions of products that cannot be imported; a night would notice when it simulates."""
    findings = []
    products = instruments.filter(pc.equal(instruments["kind"], "quantlib"))
    for name in pc.unique(products["function"]).to_pylist():
        try:
            product_functions(products.filter(pc.equal(products["function"], name)), project)
        except InputDataError as error:
            findings.append(
                Finding(
                    code=3,
                    file=settings.inputs.instruments,
                    column="function",
                    value=name,
                    message=error.message,
                    hint=error.hint or "Correct the column function of the instruments.",
                )
            )
    return findings


def load_inputs(
    settings: Settings,
    project: Path,
    scenarios: Sequence[Scenario] = (),
    limits: Sequence[Limit] = (),
) -> CheckedInputs:
    """Read, check and type all inputs.

    A file that cannot be read, or whose columns are wrong, is a finding and then counts as empty; what refers
    to it is not judged.
    """
    sources, findings = open_inputs(settings, project)
    fixed_factors, fixed_market = settings_rows(settings)
    unreadable = {name for name in INPUTS if name not in sources}
    judged: dict[str, pa.Table] = {}

    def examine(name: str, **facts: Any) -> pa.Table:
        contract = INPUTS[name]
        if name not in sources:
            return examined_schema(contract).empty_table()
        parts = [examine_rows(rows, contract, **facts) for rows in sources[name].batches()]
        examined = pa.concat_tables([examined_schema(contract).empty_table(), *parts]).combine_chunks()
        return examine_weights(examine_keys(examined, contract), contract)

    # Factors first: they say what a market value may be and what an instrument may name.
    examined = examine("factors")
    names = pa.concat_tables([_accepted(examined, "factors"), fixed_factors])
    judged["factors"] = examine_references(
        examined, [*free_factors(fixed_factors), *factor_references(names, ())]
    )
    factors = pa.concat_tables([_accepted(judged["factors"], "factors"), fixed_factors])
    refused = _refused(judged["factors"], "factor_id")
    kinds = dict(zip(factors["factor_id"].to_pylist(), factors["kind"].to_pylist(), strict=True))

    judged["market"] = examine("market", as_of=settings.as_of, factor_kinds=kinds)
    judged["instruments"] = examine("instruments", as_of=settings.as_of)
    if "factors" not in unreadable:
        judged["market"] = examine_references(judged["market"], market_references(factors, refused))
        references = instrument_references(factors, refused, settings.base_currency)
        judged["instruments"] = examine_references(judged["instruments"], references)
    for name in ("positions", "benchmarks", "portfolios", "holdings"):
        judged[name] = examine(name)
    pairs = settings.simulate.credit.factor_correlation
    judged["obligors"] = examine("obligors", factor_correlation=pairs)
    if "factors" not in unreadable:
        references = obligor_references(factors, settings.base_currency)
        judged["obligors"] = examine_references(judged["obligors"], references)
    if "instruments" not in unreadable:
        instruments = _accepted(judged["instruments"], "instruments")
        rejected_ids = _refused(judged["instruments"], "instrument_id")
        held = holder_references(
            instruments["instrument_id"].to_pylist(),
            rejected_ids,
            ended_instruments(instruments, settings.as_of),
        )
        funds = instruments.filter(pc.equal(instruments["kind"], "fund"))["instrument_id"].to_pylist()
        judged["positions"] = examine_references(judged["positions"], held)
        judged["benchmarks"] = examine_references(judged["benchmarks"], held)
        judged["holdings"] = examine_references(
            judged["holdings"], [*held, *fund_references(funds, rejected_ids)]
        )
    if "positions" not in unreadable:
        # Names on rejected rows count as known: one mistake should not be reported twice.
        unread = settings.inputs.benchmarks is not None and "benchmarks" in unreadable
        benchmarks = None if unread else _names(judged["benchmarks"], "benchmark_id")
        nodes = portfolio_references(_names(judged["positions"], "portfolio_id"), benchmarks)
        judged["portfolios"] = examine_references(judged["portfolios"], nodes)

    accepted = {name: _accepted(judged[name], name) for name in judged}
    rejected = pa.concat_tables([split(judged[name], INPUTS[name])[1] for name in INPUTS])
    findings += check_rows(sources, {name: table.num_rows for name, table in accepted.items()})
    findings += findings_of(rejected)
    if not {"factors", "market"} & unreadable:
        findings += check_dates(settings, factors, spans_of(accepted["market"]), _delivered(judged["market"]))
    # Names on rejected rows count as known here: one mistake should not be reported twice.
    if "factors" not in unreadable:
        unknown = settings.inputs.obligors is not None and "obligors" in unreadable
        segments = None if unknown else _names(judged["obligors"], "segment")
        latent = None
        if not unknown:
            columns = sources["obligors"].columns if "obligors" in sources else ()
            latent = credit_factors(settings, columns)
            findings += check_market_map(settings, factors, latent, project)
            findings += check_dependence(settings, obligor_groups(judged["obligors"]), columns, project)
        findings += check_scenarios(settings, scenarios, factors, segments, project, latent)
    if not {"positions", "instruments"} & unreadable:
        portfolios = _names(judged["positions"], "portfolio_id")
        findings += check_limits(settings, limits, portfolios, scenarios, project)

    tables = {f"raw.{name}": table for name, table in accepted.items()}
    tables["raw.factors"] = factors
    tables["raw.market"] = pa.concat_tables([accepted["market"], fixed_market])
    tables["raw.rejected"] = rejected.select(table_contract("raw.rejected").schema.names)
    controls = [control_row(name, sources[name].source, judged[name]) for name in INPUTS if name in sources]
    tables["raw.controls"] = pa.Table.from_pylist(
        [*controls, settings_control(settings, fixed_factors)], schema=table_contract("raw.controls").schema
    )
    return CheckedInputs(
        tables={name: sort_by_key(tables[name], table_contract(name).key) for name in sorted(tables)},
        findings=tuple(sorted(findings, key=lambda finding: finding.code)),
    )


def open_inputs(settings: Settings, project: Path) -> tuple[dict[str, InputSource], list[Finding]]:
    """Open the inputs that the settings name, in the order in which they are checked.

    Returns
    -------
    sources : dict of str to InputSource
        Those that can be read and have the right columns.
    findings : list of Finding
        What is wrong with the others.
    """
    sources, findings = {}, []
    for name, contract in INPUTS.items():
        source = getattr(settings.inputs, name)
        if source is None:
            continue
        try:
            opened = open_source(source, project)
        except InputDataError as error:
            hint = error.hint or Rule.UNUSABLE_FILE.hint
            # Raised for a reader without findings, the message begins with its place.
            line = 1 if error.message.startswith(f"{source}:1: ") else None
            message = error.message.removeprefix(source if line is None else f"{source}:1").removeprefix(": ")
            findings.append(Finding(code=3, file=source, line=line, message=message, hint=hint))
            continue
        wrong = check_columns(contract, opened.columns, source)
        findings += wrong
        if not wrong:
            sources[name] = opened
    return sources, findings


def check_rows(sources: Mapping[str, InputSource], counts: Mapping[str, int]) -> list[Finding]:
    """Find inputs without an accepted row, which is more than a night can leave out."""
    return [
        Finding(
            code=3,
            file=source.source,
            line=2,
            message=f"the {name} input has no row that can be used",
            hint=Rule.EMPTY.hint,
        )
        for name, source in sources.items()
        if counts[name] == 0
    ]


def findings_of(rejected: pa.Table) -> list[Finding]:
    """Turn rejected rows (`validate.split`) into findings, a bounded number per input."""
    findings = []
    for name in pc.unique(rejected["input"]).to_pylist():
        rows = rejected.filter(pc.equal(rejected["input"], name)).sort_by([("line", "ascending")])
        for row in rows.slice(0, _SHOWN_PER_INPUT).to_pylist():
            shown = "" if row["value"] is None else f"{row['value']!r} "
            findings.append(
                Finding(
                    code=3,
                    file=row["file"],
                    line=row["line"],
                    column=row["column"],
                    value=row["value"],
                    message=f"{shown}{row['reason']}",
                    hint=_CAUSE if row["reason"].endswith(OWN_ROW) else Rule(row["rule"]).hint,
                )
            )
        if rows.num_rows > _SHOWN_PER_INPUT:
            findings.append(
                Finding(
                    code=3,
                    file=rows["file"][0].as_py(),
                    message=f"{rows.num_rows - _SHOWN_PER_INPUT} more problems in the {name} input",
                    hint="Correct the first ones; the others often have the same cause.",
                )
            )
    return findings


def ended_instruments(instruments: pa.Table, as_of: dt.date) -> dict[str, dt.date]:
    """Instruments whose expiry or maturity is not after `as_of`, with that date."""
    ends = pc.coalesce(instruments["expiry"], instruments["maturity"])
    over = pc.fill_null(pc.less_equal(ends, pa.scalar(as_of, pa.date32())), False)
    ids = instruments["instrument_id"].filter(over).to_pylist()
    return dict(zip(ids, ends.filter(over).to_pylist(), strict=True))


def spans_of(market: pa.Table) -> pa.Table:
    """First and last accepted date of each factor: ``factor_id, first, last``."""
    grouped = market.group_by("factor_id").aggregate([("date", "min"), ("date", "max")])
    return grouped.rename_columns({"date_min": "first", "date_max": "last"})


def control_total(values: Iterable[float]) -> float:
    """Sum amounts exactly at nine decimals, so that the total does not depend on the order of the rows."""
    unit = Decimal("1e-9")
    return float(sum((Decimal(repr(v)).quantize(unit, ROUND_HALF_UP) for v in values), Decimal(0)))


def control_row(name: str, source: str, judged: pa.Table) -> dict[str, Any]:
    """Count an input and add up its amount: a row of ``raw.controls``."""
    contract = INPUTS[name]
    accepted = _accepted(judged, name)
    later = int(pc.sum(judged[LATER]).as_py() or 0)
    amount = contract.amount_column
    return {
        "input": name,
        "source": source,
        "rows_read": judged.num_rows,
        "rows_accepted": accepted.num_rows,
        "rows_rejected": judged.num_rows - accepted.num_rows - later,
        "rows_after_as_of": later,
        "amount_column": amount,
        "amount_total": None if amount is None else control_total(accepted[amount].to_pylist()),
        "last_date": pc.max(accepted["date"]).as_py() if name == "market" else None,
    }


def settings_control(settings: Settings, fixed_factors: pa.Table) -> dict[str, Any]:
    """Count the factors that the settings give as numbers: a row of ``raw.controls``."""
    count = fixed_factors.num_rows
    return {
        "input": "settings",
        "source": "acceleray.yaml",
        "rows_read": count,
        "rows_accepted": count,
        "rows_rejected": 0,
        "rows_after_as_of": 0,
        "last_date": settings.as_of if count else None,
    }


def _accepted(examined: pa.Table, name: str) -> pa.Table:
    contract: InputContract = INPUTS[name]
    return split(examined, contract)[0].drop_columns([FILE, LINE]).cast(contract.table.schema)


def _names(examined: pa.Table, column: str) -> list[str]:
    return [name for name in pc.unique(examined[column]).to_pylist() if name is not None]


def _refused(examined: pa.Table, column: str) -> list[str]:
    bad = pc.greater(pc.list_value_length(examined[PROBLEMS]), 0)
    return [name for name in examined[column].filter(bad).to_pylist() if name is not None]


def _delivered(market: pa.Table) -> tuple[dt.date, dt.date] | None:
    ends = pc.min_max(market["date"]).as_py()
    return None if ends["min"] is None else (ends["min"], ends["max"])
