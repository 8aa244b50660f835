"""From the losses of a loan book to its tables: exact figures beside estimated ones."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import TypeAlias

import numpy as np
import numpy.typing as npt
import pyarrow as pa
from scipy.special import ndtr, ndtri, stdtrit

from acceleray.domain.tables import contract
from acceleray.numerics.contributions import expected_shortfall_contributions
from acceleray.numerics.credit_importance_estimates import path_masses
from acceleray.numerics.credit_model import LossModel
from acceleray.numerics.intervals import MIN_TAIL_PATHS, Estimate
from acceleray.numerics.irb import IRB_LEVEL, irb_capital_rate
from acceleray.numerics.order_statistics import paths_beyond
from acceleray.risk.credit_blocks import WHOLE, Portfolio
from acceleray.risk.credit_book import CreditBook
from acceleray.risk.credit_contributions import TailShares
from acceleray.risk.credit_losses import WHOLE_BOOK, CreditLosses, expected_of
from acceleray.risk.credit_methods import CURVE_LEVELS, Found
from acceleray.risk.credit_models import CreditStress
from acceleray.risk.loss_estimates import PlainEstimates, WeightedEstimates

__all__ = ["credit_table", "curve_table", "obligors_table"]

FloatArray: TypeAlias = npt.NDArray[np.float64]

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
    tail_paths: float | None = None
    method: str = "exact"


def credit_table(losses: CreditLosses, *, levels: Sequence[float], interval_level: float) -> pa.Table:
    """Measure every segment and the whole book under every scenario.

    Parameters
    ----------
    losses : CreditLosses
        The losses.
    levels : sequence of float
        Levels of VaR, ES, economic capital and the granular limit.
    interval_level : float
        Confidence of the intervals of ES contributions; it is that of all others. They cover sampling error
        only.

    Returns
    -------
    pyarrow.Table
        Rows of ``result.credit`` in key order; segment ``"*"`` is the whole book. ``economic_capital`` is VaR
        less the exact expected loss; ``expected_loss_simulated`` is the mean of the plain paths; ``asrf_var``
        is the VaR of a book of infinitely many obligors whose factors all move as one; ``irb_capital`` is the
        Basel formula on the scenario's own parameters; ``ES_contribution`` rows of the segments add up to the
        ES of the whole book.
    """
    rows: list[dict[str, object]] = []
    for portfolio, found in losses.found.items():
        name = WHOLE_BOOK if portfolio.segment == WHOLE else losses.segments[portfolio.segment]
        scenario = losses.scenarios[portfolio.scenario]
        figures = _figures(losses, portfolio, found, levels, interval_level)
        rows.extend({"segment": name, "scenario": scenario} | asdict(row) for row in figures)
        if portfolio.segment != WHOLE:
            continue
        for level in levels:
            parts = _contributions(losses, portfolio, found, level, interval_level)
            rows.extend(
                {"segment": segment, "scenario": scenario} | asdict(row)
                for segment, row in zip(losses.segments, parts, strict=True)
            )
    table = contract("result.credit")
    rows.sort(key=lambda row: tuple(row[column] for column in table.key))
    return pa.Table.from_pylist(rows, schema=table.schema)


def curve_table(losses: CreditLosses) -> pa.Table:
    """Write out the loss distribution of every segment and of the whole book under every scenario.

    Returns
    -------
    pyarrow.Table
        Rows of ``result.credit_curve`` in key order: the loss that is not exceeded with each probability.
    """
    rows: list[dict[str, object]] = []
    for portfolio, found in losses.found.items():
        for level in CURVE_LEVELS:
            estimate = found.estimates.var(level)
            rows.append(
                {
                    "segment": WHOLE_BOOK
                    if portfolio.segment == WHOLE
                    else losses.segments[portfolio.segment],
                    "scenario": losses.scenarios[portfolio.scenario],
                    "probability": level,
                    "loss": estimate.value,
                    "ci_low": estimate.ci_low,
                    "ci_high": estimate.ci_high,
                    "ci_note": estimate.note,
                    "method": found.estimates.method,
                    "why": found.why,
                    "distance": found.distance,
                }
            )
    table = contract("result.credit_curve")
    rows.sort(key=lambda row: tuple(row[column] for column in table.key))
    return pa.Table.from_pylist(rows, schema=table.schema)


def obligors_table(losses: CreditLosses, *, levels: Sequence[float], count: int = 50) -> pa.Table:
    """List the obligors that make most of the tail of the whole book, whatever the method.

    Parameters
    ----------
    losses : CreditLosses
        The losses.
    levels : sequence of float
        Levels of VaR and ES.
    count : int
        Obligors per scenario, measure and level; the others are one row with an empty ``obligor_id``.

    Returns
    -------
    pyarrow.Table
        Rows of ``result.credit_obligors`` in key order; those of a scenario, measure and level add up to the
        measure of the whole book.
    """
    rows: list[dict[str, object]] = []
    names = np.repeat(np.array(losses.segments), [part.stop - part.start for part in losses.book.slices])
    for portfolio, found in losses.found.items():
        # A single segment shares the figures of the whole book; their rows are wanted once.
        if portfolio.segment != WHOLE or found.split is None:
            continue
        split = found.split()
        stress, ead = losses.stresses[portfolio.scenario], losses.book.ead
        for level in levels:
            shares = split[level]
            for measure, parts, whole in (
                ("VaR_contribution", shares.value_at_risk, found.estimates.var(level).value),
                ("ES_contribution", shares.shortfall, found.estimates.es(level).value),
            ):
                share, errors = parts.obligors, parts.obligor_errors
                # The order of the book decides between equal shares.
                largest = np.argsort(-share, kind="stable")[:count]
                about = {
                    "scenario": stress.scenario,
                    "measure": measure,
                    "level": level,
                    "method": shares.method,
                }
                for place in largest.tolist():
                    obligor = losses.book.obligor_ids[place].as_py()
                    rows.append(
                        about
                        | {"obligor_id": obligor, "segment": str(names[place]), "value": whole * share[place]}
                        | {
                            "ead": float(ead[place]),
                            "default_prob": float(stress.default_prob[place]),
                            "lgd": float(stress.lgd[place]),
                            "std_error": _known(whole * errors[place]),
                        }
                    )
                rest = whole * (1.0 - math.fsum(share[largest]))
                others = math.fsum(np.delete(ead, largest))
                rows.append(about | {"obligor_id": "", "segment": WHOLE_BOOK, "value": rest, "ead": others})
    table = contract("result.credit_obligors")
    rows.sort(key=lambda row: tuple(row[column] for column in table.key))
    return pa.Table.from_pylist(rows, schema=table.schema)


def _figures(
    losses: CreditLosses, portfolio: Portfolio, found: Found, levels: Sequence[float], interval_level: float
) -> Iterator[Figure]:
    """All measures of a portfolio."""
    stress, model = losses.stresses[portfolio.scenario], losses.models[portfolio.scenario]
    members = range(len(losses.segments)) if portfolio.segment == WHOLE else [portfolio.segment]
    expected = expected_of(losses, portfolio)
    yield Figure(
        measure="expected_loss", level=NO_LEVEL, value=expected, ci_note=_expected_loss_note(stress, members)
    )
    name = WHOLE_BOOK if portfolio.segment == WHOLE else losses.segments[portfolio.segment]
    paths = losses.paths(segment=name, scenario=stress.scenario)
    plain = PlainEstimates(losses=paths, confidence=interval_level, seed=0)
    yield _sampled("expected_loss_simulated", NO_LEVEL, plain.expected_loss(), "plain", plain.n_paths)
    estimates = found.estimates
    for level in levels:
        value_at_risk, shortfall = estimates.var(level), estimates.es(level)
        about = estimates.method, estimates.n_paths
        beyond = estimates.tail_paths(level)
        yield _sampled("VaR", level, value_at_risk, *about, tail_paths=beyond)
        yield _sampled("economic_capital", level, value_at_risk, *about, tail_paths=beyond, less=expected)
        yield _sampled("ES", level, shortfall, *about, tail_paths=beyond)
        yield _granular_limit(losses.book, model, members, level)
    obligors = slice(losses.book.slices[members[0]].start, losses.book.slices[members[-1]].stop)
    yield _irb_capital(losses.book, stress, obligors)


def _expected_loss_note(stress: CreditStress, members: Sequence[int]) -> str:
    note = EXACT
    for column, counts in (("default_prob", stress.default_prob_limited), ("lgd", stress.lgd_limited)):
        limited = sum(int(counts[member]) for member in members)
        if limited:
            note += f"; {column} held within [0, 1] for {limited} obligors"
    return note


def _sampled(
    measure: str,
    level: float,
    estimate: Estimate,
    method: str,
    n_paths: int | None,
    *,
    tail_paths: float | None = None,
    less: float = 0.0,
) -> Figure:
    return Figure(
        measure=measure,
        level=level,
        value=estimate.value - less,
        ci_low=None if estimate.ci_low is None else estimate.ci_low - less,
        ci_high=None if estimate.ci_high is None else estimate.ci_high - less,
        ci_note=estimate.note,
        n_paths=n_paths,
        tail_paths=tail_paths,
        method=method,
    )


def _contributions(
    losses: CreditLosses, portfolio: Portfolio, found: Found, level: float, interval_level: float
) -> Iterator[Figure]:
    """Each segment's part of the whole book's ES: its mean loss in the tail of the whole."""
    if found.split is not None and found.estimates.method in ("exact", "conditional"):
        yield from _shared(found, found.split()[level], level, interval_level)
        return
    by_segment, masses, method = losses.plain[portfolio.scenario], None, "plain"
    beyond = paths_beyond(by_segment.shape[1], level)
    if isinstance(found.estimates, WeightedEstimates) and found.segment_losses is not None:
        by_segment, method = found.segment_losses, "importance"
        masses = path_masses(found.estimates.weights)
        # Weighted paths crowd in the tail: what they are worth there counts, not the share of plain ones.
        beyond = found.estimates.tail_paths(level)
    n_paths = by_segment.shape[1]
    total = np.zeros(n_paths)
    for segment in by_segment:
        total += segment
    values, errors = expected_shortfall_contributions(by_segment, total, level=level, weights=masses)
    half = float(ndtri(0.5 + interval_level / 2.0)) * errors
    for value, reach in zip(values.tolist(), half.tolist(), strict=True):
        low: float | None = value - reach
        high: float | None = value + reach
        note = "normal, from the standard error"
        if beyond < MIN_TAIL_PATHS or reach == 0.0:
            low = high = None
            note = "no interval: the paths are all equal"
            if beyond < MIN_TAIL_PATHS:
                note = f"no interval: only {beyond:.3g} of {n_paths} paths lie beyond the level"
        estimate = Estimate(value=value, ci_low=low, ci_high=high, note=note)
        yield _sampled("ES_contribution", level, estimate, method, n_paths)


def _shared(found: Found, shares: TailShares, level: float, interval_level: float) -> Iterator[Figure]:
    """Shares of the segments, as parts of the ES that they add up to."""
    whole = found.estimates.es(level).value
    quantile = float(stdtrit(shares.freedom, 0.5 + interval_level / 2.0))
    if math.isinf(shares.freedom):
        quantile = float(ndtri(0.5 + interval_level / 2.0))
    parts = shares.shortfall
    for share, error in zip(parts.segments.tolist(), parts.segment_errors.tolist(), strict=True):
        low = high = None
        if error > 0.0:
            low, high = (share - quantile * error) * whole, (share + quantile * error) * whole
        estimate = Estimate(value=share * whole, ci_low=low, ci_high=high, note=shares.note)
        yield _sampled("ES_contribution", level, estimate, shares.method, shares.n_paths)


def _known(value: float) -> float | None:
    return None if math.isnan(value) else float(value)


def _granular_limit(book: CreditBook, model: LossModel, members: Sequence[int], level: float) -> Figure:
    """Loss of infinitely many obligors when the one factor that all others stand for is at its level."""
    if not math.isinf(model.dof):
        note = "not applicable: the mixing variable of a t copula is a second factor"
        return Figure(measure="asrf_var", level=level, value=None, ci_note=note)
    if (model.recoveries.correlation[model.recoveries.std > 0.0] > 0.0).any():
        note = "not applicable: the loss given default moves with the factors"
        return Figure(measure="asrf_var", level=level, value=None, ci_note=note)
    length = np.linalg.norm(model.loadings, axis=1)
    size = np.diff(model.cells)
    distance = float(ndtri(level)) * length - model.mean
    rate = ndtr((model.thresholds + np.repeat(distance, size)) / np.repeat(model.residual, size))
    rows = slice(book.slices[members[0]].start, book.slices[members[-1]].stop)
    lost = model.exposures[rows] * model.recoveries.mean[model.recovery[rows]] * rate[rows]
    note = "exact for infinitely many obligors, no sampling"
    if model.n_factors > 1:
        note += "; all factors taken as one"
    return Figure(measure="asrf_var", level=level, value=math.fsum(lost), ci_note=note)


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
