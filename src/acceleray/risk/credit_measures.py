"""From credit losses per path to the rows of ``result.credit``: exact figures beside simulated ones."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import TypeAlias

import numpy as np
import numpy.typing as npt
import pyarrow as pa
from scipy.special import ndtri

from acceleray.domain.tables import contract
from acceleray.numerics.contributions import expected_shortfall_contributions
from acceleray.numerics.intervals import MIN_TAIL_PATHS
from acceleray.numerics.irb import IRB_LEVEL, asrf_default_rate, irb_capital_rate
from acceleray.numerics.order_statistics import paths_beyond
from acceleray.numerics.tail import Estimate, estimate_expected_shortfall, estimate_value_at_risk
from acceleray.risk.credit_book import CreditBook
from acceleray.risk.credit_models import CreditStress

__all__ = ["WHOLE_BOOK", "measure_credit_losses"]

FloatArray: TypeAlias = npt.NDArray[np.float64]

# The segment of rows about the whole book.
WHOLE_BOOK = "*"

EXACT = "exact, no sampling"
NO_LEVEL = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Figure:
    """One row of ``result.credit`` without its segment and scenario; without `n_paths` it is not sampled."""

    measure: str
    level: float
    value: float | None
    ci_low: float | None = None
    ci_high: float | None = None
    ci_note: str = EXACT
    n_paths: int | None = None


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
    rows: list[dict[str, object]] = []
    for stress, by_segment in zip(stresses, losses, strict=True):
        for member, name in enumerate(book.segments):
            figures = _figures(book, stress, by_segment, [member], levels, interval_level, seed)
            rows.extend({"segment": name, "scenario": stress.scenario} | asdict(row) for row in figures)
        everyone = range(len(book.segments))
        figures = _figures(book, stress, by_segment, everyone, levels, interval_level, seed)
        rows.extend({"segment": WHOLE_BOOK, "scenario": stress.scenario} | asdict(row) for row in figures)
        for level in levels:
            parts = _contributions(by_segment, level, interval_level)
            rows.extend(
                {"segment": name, "scenario": stress.scenario} | asdict(row)
                for name, row in zip(book.segments, parts, strict=True)
            )
    table = contract("result.credit")
    rows.sort(key=lambda row: tuple(row[column] for column in table.key))
    return pa.Table.from_pylist(rows, schema=table.schema)


def _figures(
    book: CreditBook,
    stress: CreditStress,
    by_segment: FloatArray,
    members: Sequence[int],
    levels: Sequence[float],
    interval_level: float,
    seed: int,
) -> Iterator[Figure]:
    """All measures of the segments `members` taken together."""
    obligors = slice(book.slices[members[0]].start, book.slices[members[-1]].stop)
    paths = _sum_of(by_segment, members)
    expected = math.fsum(book.ead[obligors] * stress.default_prob[obligors] * stress.lgd[obligors])
    yield Figure(
        measure="expected_loss", level=NO_LEVEL, value=expected, ci_note=_expected_loss_note(stress, members)
    )
    yield _simulated_expected_loss(paths, interval_level)
    for level in levels:
        yield from _tail_figures(paths, expected, level, interval_level, seed)
        yield _granular_limit(book, stress, members, level)
    yield _irb_capital(book, stress, obligors)


def _sum_of(by_segment: FloatArray, members: Sequence[int]) -> FloatArray:
    """Add columns up in one order; a sum over an axis may regroup them."""
    total = np.zeros(by_segment.shape[0])
    for member in members:
        total += by_segment[:, member]
    return total


def _expected_loss_note(stress: CreditStress, members: Sequence[int]) -> str:
    note = EXACT
    for column, counts in (("default_prob", stress.default_prob_limited), ("lgd", stress.lgd_limited)):
        limited = sum(int(counts[member]) for member in members)
        if limited:
            note += f"; {column} held within [0, 1] for {limited} obligors"
    return note


def _simulated_expected_loss(paths: FloatArray, interval_level: float) -> Figure:
    n = len(paths)
    error = float(paths.std(ddof=1)) / math.sqrt(n) if n > 1 else 0.0
    estimate = _normal_interval(float(paths.mean()), error, interval_level)
    return _sampled("expected_loss_simulated", NO_LEVEL, estimate, n)


def _normal_interval(value: float, standard_error: float, interval_level: float) -> Estimate:
    # Equal paths do not prove that the loss is certain, only that this sample cannot tell.
    if standard_error == 0.0:
        return Estimate(value=value, ci_low=None, ci_high=None, note="no interval: the paths are all equal")
    half_width = float(ndtri(0.5 + interval_level / 2.0)) * standard_error
    return Estimate(
        value=value,
        ci_low=value - half_width,
        ci_high=value + half_width,
        note="normal, from the standard error",
    )


def _sampled(measure: str, level: float, estimate: Estimate, n_paths: int, less: float = 0.0) -> Figure:
    return Figure(
        measure=measure,
        level=level,
        value=estimate.value - less,
        ci_low=None if estimate.ci_low is None else estimate.ci_low - less,
        ci_high=None if estimate.ci_high is None else estimate.ci_high - less,
        ci_note=estimate.note,
        n_paths=n_paths,
    )


def _tail_figures(
    paths: FloatArray, expected: float, level: float, interval_level: float, seed: int
) -> Iterator[Figure]:
    n = len(paths)
    # Paths are independent: no observation overlaps another.
    value_at_risk = estimate_value_at_risk(
        paths, level=level, confidence=interval_level, overlap_days=1, seed=seed
    )
    yield _sampled("VaR", level, value_at_risk, n)
    yield _sampled("economic_capital", level, value_at_risk, n, less=expected)
    shortfall = estimate_expected_shortfall(
        paths, level=level, confidence=interval_level, overlap_days=1, seed=seed
    )
    yield _sampled("ES", level, shortfall, n)


def _contributions(by_segment: FloatArray, level: float, interval_level: float) -> Iterator[Figure]:
    """Each segment's part of the whole book's ES: its mean loss in the tail of the whole."""
    n_paths, n_segments = by_segment.shape
    total = _sum_of(by_segment, range(n_segments))
    values, errors = expected_shortfall_contributions(by_segment.T, total, level=level)
    beyond = paths_beyond(n_paths, level)
    for value, error in zip(values.tolist(), errors.tolist(), strict=True):
        if beyond < MIN_TAIL_PATHS:
            note = f"no interval: only {beyond:.3g} of {n_paths} paths lie beyond the level"
            estimate = Estimate(value=value, ci_low=None, ci_high=None, note=note)
        else:
            estimate = _normal_interval(value, error, interval_level)
        yield _sampled("ES_contribution", level, estimate, n_paths)


def _granular_limit(book: CreditBook, stress: CreditStress, members: Sequence[int], level: float) -> Figure:
    terms: list[float] = []
    for member in members:
        rows = book.slices[member]
        rate = asrf_default_rate(stress.default_prob[rows], correlation=book.correlation[member], level=level)
        terms.append(math.fsum(book.ead[rows] * stress.lgd[rows] * rate))
    note = "exact for infinitely many obligors, no sampling"
    return Figure(measure="asrf_var", level=level, value=math.fsum(terms), ci_note=note)


def _irb_capital(book: CreditBook, stress: CreditStress, obligors: slice) -> Figure:
    classes = book.asset_class[obligors]
    maturity_years, sales = book.maturity_years[obligors], book.sales[obligors]
    small = classes == "sme"
    wholesale = small | (classes == "corporate")
    missing = {
        "asset_class": classes == "",
        "maturity_years": wholesale & np.isnan(maturity_years),
        "sales": small & np.isnan(sales),
    }
    reasons = [f"{rows.sum()} obligors without {column}" for column, rows in missing.items() if rows.any()]
    if reasons:
        note = f"not applicable: {', '.join(reasons)}"
        return Figure(measure="irb_capital", level=IRB_LEVEL, value=None, ci_note=note)
    terms: list[float] = []
    for asset_class in np.unique(classes):
        chosen = classes == asset_class
        rate = irb_capital_rate(
            stress.default_prob[obligors][chosen],
            stress.lgd[obligors][chosen],
            asset_class=str(asset_class),
            maturity_years=maturity_years[chosen],
            sales=sales[chosen],
        )
        terms.append(math.fsum(book.ead[obligors][chosen] * rate))
    note = "Basel formula on the scenario's default_prob and lgd, no sampling"
    return Figure(measure="irb_capital", level=IRB_LEVEL, value=math.fsum(terms), ci_note=note)
