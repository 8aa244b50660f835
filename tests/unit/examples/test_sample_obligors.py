"""The synthetic credit book of the sample: contracted columns, its recipe, and the same bytes every time."""

from __future__ import annotations

import hashlib
import importlib
import sys
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pytest

from acceleray.domain.tables import contract
from acceleray.numerics.irb import IRB_CLASSES

PROJECT = Path(__file__).parents[3] / "examples" / "sp500"


@pytest.fixture(scope="module")
def sample():
    sys.path.insert(0, str(PROJECT))
    try:
        yield importlib.import_module("obligors")
    finally:
        sys.path.remove(str(PROJECT))
        sys.modules.pop("obligors", None)


@pytest.fixture(scope="module")
def book(sample) -> pa.Table:
    return sample.obligors()


def test_it_has_the_columns_of_the_contract_and_its_size(book):
    columns = contract("raw.obligors").schema
    optional = {"lgd_std", "currency", "sector", "country", "loadings"}
    assert book.schema.equals(
        pa.schema([field.with_nullable(True) for field in columns if field.name not in optional])
    )
    assert book.num_rows == 200_000
    assert len(pc.unique(book["obligor_id"])) == 200_000
    counts = {row["values"]: row["counts"] for row in pc.value_counts(book["segment"]).to_pylist()}
    assert counts == {"retail": 170_000, "SME": 25_000, "corporate": 5_000}


def test_every_row_says_that_it_is_synthetic(book):
    assert pc.all(pc.starts_with(book["obligor_id"], "synthetic-")).as_py()


def test_values_follow_the_recipe(sample, book):
    grade_of = dict(zip(book["default_prob"].to_pylist(), book["rating"].to_pylist(), strict=True))
    assert grade_of == {p: grade for grade, p in sample.GRADES.items()}
    assert set(book["asset_class"].to_pylist()) == set(IRB_CLASSES)
    for name, segment in sample.SEGMENTS.items():
        rows = book.filter(pc.equal(book["segment"], name))
        ead = rows["ead"].to_numpy()
        # The sample median of a lognormal of n draws is off by 1.25 sd / sqrt(n) in logs.
        error = 1.2533 * segment.log_sd_ead / np.sqrt(len(ead))
        assert abs(np.log(np.median(ead) / segment.median_ead)) < 4 * error
        assert (ead == np.round(ead)).all()
        assert ead.min() >= 1.0
        assert rows["sales"].null_count == (len(ead) if name == "retail" else 0)
        assert rows["maturity_years"].null_count == (len(ead) if name == "retail" else 0)
        for asset_class, (share, lgd) in segment.classes.items():
            members = rows.filter(pc.equal(rows["asset_class"], asset_class))
            assert set(members["lgd"].to_pylist()) == {lgd}
            assert abs(members.num_rows / len(ead) - share) <= 4 * np.sqrt(share * (1 - share) / len(ead))
        grades = pc.index_in(rows["rating"], pa.array(list(sample.GRADES))).to_numpy()
        shares = np.array(segment.grade_shares)
        observed = np.bincount(grades, minlength=len(shares)) / len(ead)
        assert (np.abs(observed - shares) < 4 * np.sqrt(shares * (1 - shares) / len(ead))).all()


def test_it_is_the_same_book_every_time(sample, book):
    assert sample.obligors().equals(book)
    # A snapshot: whoever changes the recipe on purpose changes it here.
    digest = hashlib.sha256()
    for name in book.column_names:
        digest.update(repr(book[name].to_pylist()).encode())
    assert digest.hexdigest()[:16] == "c4e5cb35777eefae"
