"""Every way in which the settings of the loan book's dependence do not fit the book, with its name."""

from __future__ import annotations

import datetime as dt
from typing import Any

import pyarrow as pa
import pytest

from acceleray.config.models import Settings
from acceleray.domain.inputs import INPUTS, Finding
from acceleray.lake.credit_fitness import GROUP_SCHEMA, check_dependence, obligor_groups
from acceleray.lake.inputs import FILE, LINE, MALFORMED
from acceleray.lake.validate import examine_rows, split

GROUPS = [
    # segment, sector, country, has_loadings, obligor_id
    ("retail", None, "US", False, "R1"),
    ("sme", "energy", "US", False, "S1"),
    ("corporate", "energy", None, True, "C1"),
]
GOOD = {"correlation": {"retail": 0.1, "sme": 0.2}, "country_correlation": {"US": 0.1}}


def findings(credit: dict[str, Any], groups=GROUPS, columns=("loading_oil",), project=None) -> list[Finding]:
    settings = Settings.model_validate(
        {
            "name": "small",
            "as_of": dt.date(2018, 12, 28),
            "base_currency": "USD",
            "simulate": {"credit": credit},
        }
    )
    rows = [dict(zip(GROUP_SCHEMA.names, group, strict=True)) for group in groups]
    table = pa.Table.from_pylist(rows, schema=GROUP_SCHEMA)
    return check_dependence(settings, table, columns, project)


@pytest.fixture
def project(tmp_path):
    text = "simulate:\n  credit:\n    correlation:\n      retail: 0.1\n      retial: 0.2\n"
    (tmp_path / "acceleray.yaml").write_text(text)
    return tmp_path


def test_a_book_that_fits(project):
    assert findings(GOOD, project=project) == []
    assert findings({}, groups=[], project=project) == []


@pytest.mark.parametrize(
    ("credit", "setting", "value", "message"),
    [
        (
            {"correlation": {"retail": 0.1}},
            "correlation",
            "sme",
            "segment 'sme' has no correlation, nor has obligor 'S1' of it loadings",
        ),
        (
            GOOD | {"correlation": {"retail": 0.1, "sme": 0.2, "retial": 0.2}},
            "correlation",
            "retial",
            "no obligor has the segment 'retial'; did you mean 'retail'?",
        ),
        (
            GOOD | {"sector_correlation": {"enrgy": 0.1}},
            "sector_correlation",
            "enrgy",
            "no obligor has the sector 'enrgy'; did you mean 'energy'?",
        ),
        (
            GOOD | {"country_correlation": {"USA": 0.1}},
            "country_correlation",
            "USA",
            "no obligor has the country 'USA'; did you mean 'US'?",
        ),
        (
            GOOD | {"lgd_correlation": {"smes": 0.1}},
            "lgd_correlation",
            "smes",
            "no obligor has the segment 'smes'; did you mean 'sme'?",
        ),
        (
            GOOD | {"factor_correlation": {"oil": {"wrold": 0.5}}},
            "factor_correlation",
            "wrold",
            "unknown credit factor 'wrold'; did you mean 'world'?",
        ),
        (
            GOOD | {"sector_correlation": {"energy": 0.1}},
            "sector_correlation",
            "energy",
            "obligor 'C1' has loadings in the file and this correlation; keep one",
        ),
        (
            {"correlation": {"retail": 0.1, "sme": 0.2}, "country_correlation": {"US": 0.9}},
            "correlation",
            "retail",
            "correlation.retail 0.1 and country_correlation.US 0.9 would explain 1 of the variance of "
            "obligor 'R1', it must be below 1",
        ),
        (
            # 0.3 + 0.5 and twice 0.4 times the root of their product.
            {
                "correlation": {"retail": 0.3, "sme": 0.01},
                "country_correlation": {"US": 0.5},
                "factor_correlation": {"world": {"country:US": 0.4}},
            },
            "correlation",
            "retail",
            "would explain 1.10984 of the variance of obligor 'R1'",
        ),
        (
            GOOD | {"factor_correlation": {"oil": {"world": 0.9, "country:US": 0.9}}},
            "factor_correlation",
            "oil",
            "must be positive definite; lowest eigenvalue -0.273",
        ),
    ],
)
def test_what_does_not_fit(project, credit, setting, value, message):
    found = findings(credit, project=project)
    told = next(each for each in found if each.value == value)
    assert (told.code, told.file, told.column) == (3, "acceleray.yaml", f"simulate.credit.{setting}")
    assert message in told.message
    assert told.hint
    # A share that is too much may be too much for several obligors; each entry is named once.
    assert len({(each.column, each.value) for each in found}) == len(found)


def test_the_line_of_the_entry(project):
    (found,) = findings(GOOD | {"correlation": {"retail": 0.1, "sme": 0.2, "retial": 0.2}}, project=project)
    assert found.line == 5


def obligors(rows: list[dict[str, Any]], **facts: Any) -> pa.Table:
    columns = ["obligor_id", "segment", "ead", "default_prob", "lgd", "country", "loading_oil", "loading_gas"]
    good = {"ead": "1", "default_prob": "0.01", "lgd": "0.4"}
    table = pa.table(
        {name: pa.array([(good | row).get(name) for row in rows], pa.string()) for name in columns}
        | {
            FILE: pa.array(["obligors.csv"] * len(rows)),
            LINE: pa.array(range(2, 2 + len(rows)), pa.int64()),
            MALFORMED: pa.nulls(len(rows), pa.string()),
        }
    )
    return examine_rows(table, INPUTS["obligors"], **facts)


@pytest.mark.parametrize(
    ("correlation", "rejected"),
    [
        # 0.36 + 0.64 is all of the variance; 0.35 + 0.35 is not until the factors move together.
        ({}, {"B": "1"}),
        ({"gas": {"oil": 0.5}}, {"B": "1.48", "C": "1.05"}),
        ({"gas": {"oil": -0.5}}, {}),
        ({"gas": {"world": 0.5}}, {"B": "1"}),
    ],
)
def test_loadings_that_leave_an_obligor_no_risk_of_its_own(correlation, rejected):
    root = str(0.35**0.5)
    rows = [
        {"obligor_id": "A", "segment": "a", "loading_oil": "0.5"},
        {"obligor_id": "B", "segment": "a", "loading_oil": "0.6", "loading_gas": "0.8"},
        {"obligor_id": "C", "segment": "a", "loading_oil": root, "loading_gas": root},
        {"obligor_id": "D", "segment": "a"},
    ]
    problems = split(obligors(rows, factor_correlation=correlation), INPUTS["obligors"])[1].to_pylist()
    assert {row["value"]: row["reason"] for row in problems} == {
        name: f"has loadings that explain {share} of its variance, which must be below 1"
        for name, share in rejected.items()
    }
    assert {row["column"] for row in problems} <= {"loading_*"}


def test_a_loading_out_of_range_is_reported_once():
    rows = [{"obligor_id": "A", "segment": "a", "loading_oil": "1.2"}]
    problems = split(obligors(rows), INPUTS["obligors"])[1].to_pylist()
    assert [row["column"] for row in problems] == ["loading_oil"]


@pytest.mark.parametrize("lgd", ["-0.1", "1.01", "45", "nan"])
def test_a_loss_given_default_outside_its_range(lgd):
    rows = [{"obligor_id": "A", "segment": "a", "lgd": lgd}]
    problems = split(obligors(rows), INPUTS["obligors"])[1].to_pylist()
    assert [(row["column"], row["value"], row["line"]) for row in problems] == [("lgd", lgd, 2)]


def test_groups_name_one_obligor_each():
    rows = [
        {"obligor_id": "C", "segment": "a", "country": "US"},
        {"obligor_id": "B", "segment": "a", "country": "US"},
        {"obligor_id": "A", "segment": "a", "country": "US", "loading_oil": "0.1"},
        {"obligor_id": "D", "segment": None},
    ]
    found = obligor_groups(obligors(rows)).sort_by("obligor_id").to_pylist()
    assert [(row["obligor_id"], row["has_loadings"], row["country"]) for row in found] == [
        ("A", True, "US"),
        ("B", False, "US"),
    ]
