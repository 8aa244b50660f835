"""Whether the loan book and the settings of its dependence fit each other.

A night would notice the same when it reads the book (`risk.credit_book`), hours later. Loadings of single
rows are judged with the rows (`lake.validate`); here the settings are, against small summaries: which
combinations of segment, sector and country there are, and which factors.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Collection, Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from acceleray.config.credit import CreditSettings
from acceleray.config.models import Settings
from acceleray.domain.credit_factors import COUNTRY_PREFIX, SECTOR_PREFIX, WORLD
from acceleray.domain.inputs import INPUTS, Finding, Rule, did_you_mean
from acceleray.lake.fitness import SETTINGS_FILE, credit_factors
from acceleray.lake.yaml_lines import YamlLines

__all__ = ["GROUP_SCHEMA", "check_dependence", "names_of_nobody", "obligor_groups"]

GROUP_SCHEMA = pa.schema(
    [
        ("segment", pa.string()),
        ("sector", pa.string()),
        ("country", pa.string()),
        ("has_loadings", pa.bool_()),
        ("obligor_id", pa.string()),
    ]
)

# As of `risk.latent_factors`: below this an eigenvalue of a correlation matrix counts as zero.
_SMALLEST_EIGENVALUE = 1e-10
# Setting, column of the obligors that its names are of, and prefix of the factors that it makes.
_SETTINGS = (
    ("correlation", "segment", ""),
    ("sector_correlation", "sector", SECTOR_PREFIX),
    ("country_correlation", "country", COUNTRY_PREFIX),
)


def obligor_groups(examined: pa.Table) -> pa.Table:
    """List the combinations of segment, sector, country and source of dependence, with one obligor of each.

    Parameters
    ----------
    examined : pyarrow.Table
        From `validate.examine_rows`. Rejected rows count too, so that one mistake is not reported twice.

    Returns
    -------
    pyarrow.Table
        With `GROUP_SCHEMA`; `obligor_id` is the first in alphabetical order.
    """
    has_loadings = pc.fill_null(pc.greater(_lengths(examined["loadings"]), 0), False)
    rows = examined.select(["segment", "sector", "country", "obligor_id"])
    rows = rows.append_column("has_loadings", has_loadings).filter(pc.is_valid(rows["segment"]))
    keys = ["segment", "sector", "country", "has_loadings"]
    found = rows.group_by(keys).aggregate([("obligor_id", "min")])
    return found.rename_columns({"obligor_id_min": "obligor_id"}).select(GROUP_SCHEMA.names)


def check_dependence(
    settings: Settings, groups: pa.Table, columns: Iterable[str], project: Path
) -> list[Finding]:
    """Find what ``simulate.credit`` says of nobody in the loan book, leaves unsaid, or says too much of.

    Parameters
    ----------
    settings : Settings
        With ``simulate.credit``.
    groups : pyarrow.Table
        From `obligor_groups`; nothing is judged without a row.
    columns : iterable of str
        Columns of the obligors input, whose loadings name factors.
    project : Path
        For the line of an entry in the settings.

    Returns
    -------
    list of Finding
        Of code 3: a segment without correlation or loadings, an obligor with both, correlations that add up
        to 1 or more, names that no obligor has, unknown factors, and a matrix that is no correlation matrix.
    """
    if not groups.num_rows:
        return []
    credit = settings.simulate.credit
    lines = YamlLines(project / SETTINGS_FILE)
    rows = sorted(groups.to_pylist(), key=lambda row: str(row["obligor_id"]))

    def finding(setting: str, value: str, message: str, hint: str = Rule.SETTINGS.hint) -> Finding:
        return Finding(
            code=3,
            file=SETTINGS_FILE,
            line=lines.of_key(setting, value),
            column=f"simulate.credit.{setting}",
            value=value,
            message=message,
            hint=hint,
        )

    names = {column: {row[column] for row in rows} for _, column, _ in _SETTINGS}
    wrong = [finding(*each) for each in names_of_nobody(credit, names)]
    known = credit_factors(settings, columns)
    mentioned = dict.fromkeys(itertools.chain(*((a, *row) for a, row in credit.factor_correlation.items())))
    wrong += [
        finding("factor_correlation", name, f"unknown credit factor {name!r}{did_you_mean(name, known)}")
        for name in mentioned
        if name not in known
    ]
    silent = {row["segment"]: row for row in reversed(rows) if _is_silent(row, credit)}
    for name, row in sorted(silent.items()):
        message = f"segment {name!r} has no correlation, nor has obligor {row['obligor_id']!r} of it loadings"
        hint = f"Add simulate.credit.correlation.{name}, at least 0 and less than 1, or loading_ columns."
        wrong.append(finding("correlation", name, message, hint))
    wrong += [
        finding(setting, value, message)
        for setting, value, message in _distinct(_overdone(row, credit) for row in rows)
    ]
    lowest = _lowest_eigenvalue(credit, rows, columns)
    if lowest < _SMALLEST_EIGENVALUE:
        said = f"the correlations of the factors must be positive definite; lowest eigenvalue {lowest:.3g}"
        wrong.append(finding("factor_correlation", next(iter(credit.factor_correlation)), said))
    return wrong


def names_of_nobody(
    credit: CreditSettings, names: Mapping[str, Collection[str | None]]
) -> list[tuple[str, str, str]]:
    """Find names in the settings that no obligor has.

    Parameters
    ----------
    credit : CreditSettings
        The dependence.
    names : mapping of str to collection of str or None
        The names that there are, by column: segment, sector and country.

    Returns
    -------
    list of tuple
        Setting, name, and what is wrong with it.
    """
    known = {column: {name for name in values if name is not None} for column, values in names.items()}
    return [
        (setting, name, f"no obligor has the {column} {name!r}{did_you_mean(name, known[column])}")
        for setting, column in (*(each[:2] for each in _SETTINGS), ("lgd_correlation", "segment"))
        for name in getattr(credit, setting)
        if name not in known[column]
    ]


def _is_silent(row: Mapping[str, Any], credit: CreditSettings) -> bool:
    return not row["has_loadings"] and row["segment"] not in credit.correlation


def _shares(row: Mapping[str, Any], credit: CreditSettings) -> dict[tuple[str, str, str], float]:
    """Shares of variance that the settings give an obligor, by setting, name in it, and factor."""
    found = {}
    for setting, column, prefix in _SETTINGS:
        given, name = getattr(credit, setting), row[column]
        if name in given:
            found[setting, name, prefix + name if prefix else WORLD] = given[name]
    return found


def _overdone(row: Mapping[str, Any], credit: CreditSettings) -> tuple[str, str, str] | None:
    """Say whether a group has two sources of dependence, or correlations of 1 or more together."""
    shares, obligor = _shares(row, credit), row["obligor_id"]
    if not shares:
        return None
    setting, name, _ = next(iter(shares))
    if row["has_loadings"]:
        return setting, name, f"obligor {obligor!r} has loadings in the file and this correlation; keep one"
    total = sum(shares.values()) + sum(
        2.0 * math.sqrt(one * other) * _between(credit, first[2], second[2])
        for (first, one), (second, other) in itertools.combinations(shares.items(), 2)
    )
    if total < 1.0:
        return None
    said = " and ".join(f"{setting}.{name} {share:g}" for (setting, name, _), share in shares.items())
    return (
        setting,
        name,
        f"{said} would explain {total:.6g} of the variance of obligor {obligor!r}, it must be below 1",
    )


def _between(credit: CreditSettings, one: str, other: str) -> float:
    pairs = credit.factor_correlation
    return pairs.get(one, {}).get(other, pairs.get(other, {}).get(one, 0.0))


def _lowest_eigenvalue(
    credit: CreditSettings, rows: Iterable[Mapping[str, Any]], columns: Iterable[str]
) -> float:
    """Return the lowest eigenvalue of the correlations of the factors that the book depends on."""
    prefix = INPUTS["obligors"].open_prefix
    factors = {name.removeprefix(prefix) for name in columns if name.startswith(prefix)}
    factors |= {factor for row in rows if not row["has_loadings"] for _, _, factor in _shares(row, credit)}
    # Those that are correlated with nothing have an eigenvalue of one.
    mentioned = {name for one, row in credit.factor_correlation.items() for name in (one, *row)}
    names = sorted(factors & mentioned)
    if len(names) < 2:
        return 1.0
    matrix = np.array([[1.0 if a == b else _between(credit, a, b) for a in names] for b in names])
    return float(np.linalg.eigvalsh(matrix)[0])


def _distinct(found: Iterable[tuple[str, str, str] | None]) -> list[tuple[str, str, str]]:
    """Keep the first message on each entry of the settings."""
    first: dict[tuple[str, str], tuple[str, str, str]] = {}
    for each in found:
        if each is not None:
            first.setdefault(each[:2], each)
    return list(first.values())


def _lengths(maps: pa.ChunkedArray) -> pa.ChunkedArray:
    """Entries of each map."""
    lengths = [np.diff(chunk.offsets.to_numpy()) for chunk in maps.chunks]
    return pa.chunked_array([pa.array(each, pa.int32()) for each in lengths] or [pa.array([], pa.int32())])
