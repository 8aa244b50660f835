"""Whether accepted inputs fit the question: the date asked for, the scenarios, the limits.

These checks need only small summaries (which factors there are, from when to when each is known), so the
Spark stage and the plain check share them.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from acceleray.config.models import Limit, Scenario, Selector, Settings
from acceleray.domain.book import ROOT
from acceleray.domain.inputs import INPUTS, Finding, Rule, did_you_mean
from acceleray.domain.tables import contract
from acceleray.lake.yaml_lines import YamlLines

__all__ = [
    "LONGEST_CLOSURE_DAYS",
    "SETTINGS_FILE",
    "check_dates",
    "check_limits",
    "check_market_map",
    "check_scenarios",
    "credit_factors",
    "settings_rows",
]

SETTINGS_FILE = "acceleray.yaml"
# No exchange closes for longer than this; if every price is older, as_of is not a date of this data.
LONGEST_CLOSURE_DAYS = 10


def settings_rows(settings: Settings) -> tuple[pa.Table, pa.Table]:
    """Turn curves and yields of the settings into fixed factors and their values as of the date.

    Returns
    -------
    factors, market : pyarrow.Table
        With the schemas of ``raw.factors`` and ``raw.market``.
    """
    factors: list[dict[str, Any]] = []
    market: list[dict[str, Any]] = []
    for curve, given in settings.curves.items():
        for tenor, rate in zip(given.tenors_years, given.zero_rates, strict=True):
            factor_id = f"{curve}:{tenor:g}y"
            factors.append(
                {"factor_id": factor_id, "kind": "zero_rate", "curve": curve, "tenor_years": tenor}
            )
            market.append({"factor_id": factor_id, "value": rate})
    for factor_id, yielded in settings.dividend_yields.items():
        factors.append({"factor_id": factor_id, "kind": "dividend_yield"})
        market.append({"factor_id": factor_id, "value": yielded.value})
    for row in factors:
        row["fixed"] = True
    for row in market:
        row["date"] = settings.as_of
    return (
        pa.Table.from_pylist(factors, schema=contract("raw.factors").schema),
        pa.Table.from_pylist(market, schema=contract("raw.market").schema),
    )


def check_dates(
    settings: Settings,
    factors: pa.Table,
    spans: pa.Table,
    delivered: tuple[dt.date, dt.date] | None,
) -> list[Finding]:
    """Compare the date asked for with the dates that the data has.

    Parameters
    ----------
    settings : Settings
        For `as_of` and the file names.
    factors : pyarrow.Table
        ``raw.factors``.
    spans : pyarrow.Table
        ``factor_id, first, last``: accepted observations that were known at `as_of`.
    delivered : pair of datetime.date or None
        First and last date of the whole market input, later rows included.
    """
    as_of, file = settings.as_of, settings.inputs.market
    last = dict(zip(spans["factor_id"].to_pylist(), spans["last"].to_pylist(), strict=True))
    rows = [row for row in factors.to_pylist() if not row["fixed"]]
    prices = [row["factor_id"] for row in rows if row["kind"] in {"spot", "fx"}]
    # A book of bonds has no daily prices; then any observation will do.
    deciding = prices or [row["factor_id"] for row in rows]
    known = [last[factor_id] for factor_id in deciding if factor_id in last]
    have = "no dates" if delivered is None else f"dates from {delivered[0]} to {delivered[1]}"

    def outside(detail: str) -> list[Finding]:
        return [
            Finding(
                code=3,
                file=file,
                column="date",
                value=str(as_of),
                message=f"as_of {as_of} lies outside the data, which has {have}: {detail}",
                hint=Rule.AS_OF.hint,
            )
        ]

    if deciding and not known:
        return outside("nothing is known on or before it")
    if prices and (as_of - max(known)).days > LONGEST_CLOSURE_DAYS:
        return outside(f"the newest price known then is of {max(known)}")
    return [finding for row in rows for finding in _age(settings, row, last.get(row["factor_id"]))]


def _age(settings: Settings, row: dict[str, Any], last: dt.date | None) -> list[Finding]:
    factor_id, oldest = row["factor_id"], row["max_age_days"]
    if last is None:
        message = f"factor {factor_id} has no observation known on {settings.as_of}"
    elif oldest is not None and (settings.as_of - last).days > oldest:
        age = f"{(settings.as_of - last).days} days before as_of; max_age_days is {oldest}"
        message = f"factor {factor_id} was last observed on {last}, {age}"
    else:
        return []
    return [
        Finding(
            code=4,
            file=settings.inputs.market,
            column="date",
            value=None if last is None else str(last),
            message=f"{message}; what depends on it is left out and the night is PARTIAL",
            hint=Rule.AGED.hint,
        )
    ]


def check_scenarios(
    settings: Settings,
    scenarios: Iterable[Scenario],
    factors: pa.Table,
    segments: Iterable[str] | None,
    project: Path,
    latent: Iterable[str] | None = None,
) -> list[Finding]:
    """Find scenarios that select no factor, or no segment or latent factor of the credit book.

    `segments` and `latent` (see `credit_factors`) are None if the credit book could not be read; then its
    scenarios are not judged.
    """
    rows = factors.select(["factor_id", "kind", "curve", "currency"]).to_pylist()
    known = None if segments is None else set(segments)
    latent_names = None if latent is None else set(latent)
    file = settings.scenarios or "scenarios.yaml"
    lines = YamlLines(project / file)
    findings = []
    for scenario in scenarios:
        for number, shock in enumerate(scenario.shocks):
            select = shock.select
            if select.credit_factor is not None:
                message = _latent_problem(select.credit_factor, latent_names)
            elif shock.move is None:
                message = _segment_problem(select, known)
            else:
                message = _factor_problem(select, rows)
            if message is None:
                continue
            chosen = select.model_dump(exclude_none=True)
            findings.append(
                Finding(
                    code=3,
                    file=file,
                    line=lines.of("name", scenario.name, *chosen.values()),
                    column=f"shocks[{number}].select",
                    value=", ".join(f"{key}: {value}" for key, value in chosen.items()),
                    message=f"scenario {scenario.name!r} {message}",
                    hint=Rule.SETTINGS.hint,
                )
            )
    return findings


def _factor_problem(select: Selector, rows: list[dict[str, Any]]) -> str | None:
    if select.segment is not None:
        return "moves market factors of a segment; a segment takes default_prob or lgd"
    wanted = {"kind": select.kind, "curve": select.curve, "currency": select.currency}
    for row in rows:
        if select.id is not None and not fnmatchcase(row["factor_id"], select.id):
            continue
        if all(value is None or row[name] == value for name, value in wanted.items()):
            return None
    for name, value in [("factor_id", select.id), *wanted.items()]:
        known = {row[name] for row in rows if row[name] is not None}
        if value is not None and not any(fnmatchcase(item, value) for item in known):
            return f"selects an unknown {name.removesuffix('_id')} {value!r}{did_you_mean(value, known)}"
    return "selects no factor: none meets all its conditions"


def _segment_problem(select: Selector, segments: set[str] | None) -> str | None:
    if segments is None or select.segment is None:
        return None
    if any(fnmatchcase(segment, select.segment) for segment in segments):
        return None
    return f"selects an unknown segment {select.segment!r}{did_you_mean(select.segment, segments)}"


def _latent_problem(pattern: str, latent: set[str] | None) -> str | None:
    if latent is None or any(fnmatchcase(name, pattern) for name in latent):
        return None
    return f"selects an unknown credit factor {pattern!r}{did_you_mean(pattern, latent)}"


def credit_factors(settings: Settings, columns: Iterable[str]) -> frozenset[str]:
    """Name the latent factors of the loan book: those of the settings and of the file's columns."""
    prefix = INPUTS["obligors"].open_prefix
    of_file = {name.removeprefix(prefix) for name in columns if name.startswith(prefix)}
    return settings.simulate.credit.factor_names | of_file


def check_market_map(
    settings: Settings, factors: pa.Table, latent: Iterable[str], project: Path
) -> list[Finding]:
    """Find entries of ``simulate.credit.market_map`` whose latent or market factor does not exist."""
    names = set(latent)
    moving = set(factors.filter(pc.invert(factors["fixed"]))["factor_id"].to_pylist())
    lines = YamlLines(project / SETTINGS_FILE)
    wrong: list[tuple[str, str, str]] = []
    for name, row in settings.simulate.credit.market_map.items():
        if name not in names:
            wrong.append((name, name, f"unknown credit factor {name!r}{did_you_mean(name, names)}"))
        for factor_id in row:
            if factor_id not in moving:
                near = did_you_mean(factor_id, moving)
                wrong.append((name, factor_id, f"{factor_id!r} is not a factor that moves{near}"))
    return [
        Finding(
            code=3,
            file=SETTINGS_FILE,
            line=lines.of_key("market_map", value),
            column=f"simulate.credit.market_map.{name}",
            value=value,
            message=message,
            hint=Rule.SETTINGS.hint,
        )
        for name, value, message in wrong
    ]


def check_limits(
    settings: Settings,
    limits: Iterable[Limit],
    portfolios: Iterable[str],
    scenarios: Iterable[Scenario],
    project: Path,
) -> list[Finding]:
    """Find limits on a portfolio that no position is in, or on a scenario that does not exist."""
    nodes = {ROOT} | {
        "/".join(parts[: i + 1]) for parts in (p.split("/") for p in portfolios) for i in range(len(parts))
    }
    names = {scenario.name for scenario in scenarios}
    file = settings.limits or "limits.yaml"
    lines = YamlLines(project / file)
    findings = []
    for limit in limits:
        checks = [("portfolio_id", limit.portfolio_id, nodes)]
        if limit.scenario is not None:
            checks.append(("scenario", limit.scenario, names))
        if limit.type in ("VaR", "ES"):
            simulate = settings.simulate
            usual = simulate.var_level if limit.type == "VaR" else simulate.es_level
            level = usual if limit.level is None else limit.level
            asked = f"{limit.type} {level:g} over {limit.horizon_days} days"
            computed = {f"{limit.type} {usual:g} over {days} days" for days in simulate.horizons_days}
            checks.append(("type", asked, computed))
        for column, value, known in checks:
            if value in known:
                continue
            findings.append(
                Finding(
                    code=3,
                    file=file,
                    line=lines.of(column, value),
                    column=column,
                    value=value,
                    message=f"unknown {column.removesuffix('_id')} {value!r}{did_you_mean(value, known)}",
                    hint=Rule.SETTINGS.hint,
                )
            )
    return findings
