"""From credit losses per path to the rows of ``result.credit``: exact figures beside simulated ones."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import TypeAlias, TypedDict

import numpy as np
import numpy.typing as npt
import pyarrow as pa
from scipy.special import ndtri

from acceleray.domain.tables import contract
from acceleray.numerics.contributions import expected_shortfall_contributions
from acceleray.numerics.irb import IRB_LEVEL, asrf_default_rate, irb_capital_rate
from acceleray.numerics.tail import estimate_expected_shortfall, estimate_value_at_risk
from acceleray.risk.credit_book import CreditBook, CreditStress

__all__ = ["WHOLE_BOOK", "measure_credit_losses"]

FloatArray: TypeAlias = npt.NDArray[np.float64]

# The segment of rows about the whole book.
WHOLE_BOOK = "*"

EXACT = "exact, no sampling"
NO_LEVEL = 0.0


class Row(TypedDict):
    """One row of ``result.credit`` without its segment and scenario."""

    measure: str
    level: float
    value: float | None
    ci_low: float | None
    ci_high: float | None
    ci_note: str | None
    n_paths: int | None


def measure_credit_losses(
    book: CreditBook,
    stresses: Sequence[CreditStress],
    losses: FloatArray,
    *,
    levels: Sequence[float],
    interval_level: float,
    seed: int,
) -> pa.Table:
    """Measure every segment and the whole book under every scenario.

    Parameters
    ----------
    book : CreditBook
        The unstressed book.
    stresses : sequence of CreditStress
        One per scenario.
    losses : ndarray of shape (n_scenarios, n_paths, n_segments)
        Simulated losses in base currency, in the order of `stresses` and ``book.segments``.
    levels : sequence of float
        Levels of VaR, ES, economic capital and the granular limit.
    interval_level : float
        Confidence of the intervals. They cover sampling error only.
    seed : int
        For intervals that resample.

    Returns
    -------
    pyarrow.Table
        Rows of ``result.credit`` in key order. ``economic_capital`` is VaR less the exact expected loss;
        ``asrf_var`` is the VaR of a book with the same probabilities and infinitely many obligors;
        ``irb_capital`` is the Basel formula on the scenario's own parameters; ``ES_contribution`` rows of the
        segments add up to the ES of the whole book.
    """
    everything = slice(0, len(book.ead))
    rows: list[dict[str, object]] = []
    for stress, by_segment in zip(stresses, losses, strict=True):
        portfolios = [
            *((name, [i], book.slices[i]) for i, name in enumerate(book.segments)),
            (WHOLE_BOOK, list(range(len(book.segments))), everything),
        ]
        for name, members, obligors in portfolios:
            key = {"segment": name, "scenario": stress.scenario}
            # Summed segment by segment in one order: a matrix sum may regroup.
            paths = np.zeros(by_segment.shape[0])
            for member in members:
                paths += by_segment[:, member]
            expected = math.fsum(book.ead[obligors] * stress.default_prob[obligors] * stress.lgd[obligors])
            rows.append(key | dict(_expected_loss(stress, members, expected)))
            rows.append(key | dict(_simulated_expected_loss(paths, interval_level)))
            for level in levels:
                rows.extend(
                    key | dict(row) for row in _tail_rows(paths, expected, level, interval_level, seed)
                )
                rows.append(key | dict(_granular_limit(book, stress, members, level)))
            rows.append(key | dict(_irb_capital(book, stress, obligors)))
        for level in levels:
            for name, row in _contributions(book, by_segment, level, interval_level):
                rows.append({"segment": name, "scenario": stress.scenario} | dict(row))
    table = contract("result.credit")
    rows.sort(key=lambda row: tuple(row[column] for column in table.key))  # type: ignore[type-var]  # str or float
    return pa.Table.from_pylist(rows, schema=table.schema)


def _exact(measure: str, level: float, value: float | None, note: str = EXACT) -> Row:
    return Row(
        measure=measure, level=level, value=value, ci_low=None, ci_high=None, ci_note=note, n_paths=None
    )


def _expected_loss(stress: CreditStress, members: Sequence[int], expected: float) -> Row:
    note = EXACT
    for column, counts in (("default_prob", stress.default_prob_limited), ("lgd", stress.lgd_limited)):
        limited = int(sum(counts[member] for member in members))
        if limited:
            note += f"; {column} held within [0, 1] for {limited} obligors"
    return _exact("expected_loss", NO_LEVEL, expected, note)


def _simulated_expected_loss(paths: FloatArray, interval_level: float) -> Row:
    mean = float(paths.mean())
    row = _exact("expected_loss_simulated", NO_LEVEL, mean, "one path has no standard error")
    row["n_paths"] = len(paths)
    if len(paths) > 1:
        error = float(paths.std(ddof=1)) / math.sqrt(len(paths))
        _add_interval(row, error, interval_level)
    return row


def _add_interval(row: Row, standard_error: float, interval_level: float) -> None:
    if row["value"] is None:
        raise ValueError("a row without a value has no interval")
    half_width = float(ndtri(0.5 + interval_level / 2.0)) * standard_error
    row["ci_low"], row["ci_high"] = row["value"] - half_width, row["value"] + half_width
    row["ci_note"] = "normal, from the standard error"


def _tail_rows(
    paths: FloatArray, expected: float, level: float, interval_level: float, seed: int
) -> Iterator[Row]:
    # Paths are independent: no observation overlaps another.
    options = {"level": level, "confidence": interval_level, "overlap_days": 1, "seed": seed}
    value_at_risk = estimate_value_at_risk(paths, **options)
    shortfall = estimate_expected_shortfall(paths, **options)
    for measure, estimate, offset in (
        ("VaR", value_at_risk, 0.0),
        ("ES", shortfall, 0.0),
        ("economic_capital", value_at_risk, expected),
    ):
        yield Row(
            measure=measure,
            level=level,
            value=estimate.value - offset,
            ci_low=None if estimate.ci_low is None else estimate.ci_low - offset,
            ci_high=None if estimate.ci_high is None else estimate.ci_high - offset,
            ci_note=estimate.note,
            n_paths=len(paths),
        )


def _granular_limit(book: CreditBook, stress: CreditStress, members: Sequence[int], level: float) -> Row:
    terms: list[float] = []
    for member in members:
        rows = book.slices[member]
        rate = asrf_default_rate(stress.default_prob[rows], correlation=book.correlation[member], level=level)
        terms.append(math.fsum(book.ead[rows] * stress.lgd[rows] * rate))
    return _exact("asrf_var", level, math.fsum(terms), "exact for infinitely many obligors, no sampling")


def _irb_capital(book: CreditBook, stress: CreditStress, obligors: slice) -> Row:
    classes = book.asset_class[obligors]
    wholesale, small = np.isin(classes, ["corporate", "sme"]), classes == "sme"
    reasons = [
        f"{int(missing.sum())} obligors without {what}"
        for what, missing in (
            ("asset_class", classes == ""),
            ("maturity_years", wholesale & np.isnan(book.maturity_years[obligors])),
            ("sales", small & np.isnan(book.sales[obligors])),
        )
        if missing.any()
    ]
    if reasons:
        return _exact("irb_capital", IRB_LEVEL, None, "not applicable: " + ", ".join(reasons))
    terms: list[float] = []
    for asset_class in np.unique(classes):
        chosen = classes == asset_class
        rate = irb_capital_rate(
            stress.default_prob[obligors][chosen],
            stress.lgd[obligors][chosen],
            asset_class=str(asset_class),
            maturity_years=book.maturity_years[obligors][chosen],
            sales=book.sales[obligors][chosen],
        )
        terms.append(math.fsum(book.ead[obligors][chosen] * rate))
    note = "Basel formula on the scenario's default_prob and lgd, no sampling"
    return _exact("irb_capital", IRB_LEVEL, math.fsum(terms), note)


def _contributions(
    book: CreditBook, by_segment: FloatArray, level: float, interval_level: float
) -> Iterator[tuple[str, Row]]:
    """Each segment's part of the whole book's ES: its mean loss in the tail of the whole."""
    contributions = expected_shortfall_contributions(by_segment.T, level=level)
    for name, value, error in zip(book.segments, contributions.values, contributions.std_errors, strict=True):
        row = _exact("ES_contribution", level, float(value), "no standard error")
        row["n_paths"] = by_segment.shape[0]
        if math.isfinite(error):
            _add_interval(row, float(error), interval_level)
        yield name, row
