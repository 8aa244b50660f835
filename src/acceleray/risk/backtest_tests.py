"""Judge stored forecasts: one row per portfolio, method, level and horizon, and methods against each other.

Everything here is arithmetic on forecasts that were made already, in this process.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import combinations
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from acceleray.numerics.backtest import (
    ExceptionBounds,
    LikelihoodRatio,
    attribution_test,
    capital_multiplier,
    christoffersen,
    conditional_coverage,
    desk_passes,
    diebold_mariano,
    joint_score,
    kupiec,
    lower_p_value,
    overlapping_exceptions,
    plus_factor,
    quantile_score,
    shortfall_statistics,
    traffic_light,
)
from acceleray.numerics.backtest_shortfall import ShortfallSums
from acceleray.numerics.streams import Purpose, stream

__all__ = ["Series", "attribution_rows", "comparison_rows", "overlap_bounds", "verdict_row"]

FloatArray = npt.NDArray[np.float64]

# A bound moves by at most one exception between 10,000 and 100,000 backtests.
_N_SAMPLES = 10_000
_SHORTFALL = ("z1", "z2", "z_ridge")


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Series:
    """The forecasts of one portfolio, method, level and horizon, and what happened.

    Parameters
    ----------
    dates : ndarray of datetime64[D], shape (n_days,)
        Last day of each forecast's horizon.
    var, es : ndarray of shape (n_days,)
        Positive for a loss.
    pnl : ndarray of shape (n_days,)
        Gain over the horizon.
    draws : ShortfallSums or None
        Sums of the ES tests over days drawn from the forecasts themselves.
    """

    portfolio_id: str
    method: str
    level: float
    horizon_days: int
    dates: npt.NDArray[np.datetime64]
    var: FloatArray
    es: FloatArray
    pnl: FloatArray
    draws: ShortfallSums | None

    @property
    def hits(self) -> npt.NDArray[np.bool_]:
        """Which days were exceptions."""
        return -self.pnl > self.var


def overlap_bounds(
    *, windows: int, horizon_days: int, level: float, dof: float, seed: int
) -> dict[str, ExceptionBounds]:
    """Simulate how many exceptions overlapping windows may have, for normal and for Student-t days.

    Returns
    -------
    dict of str to ExceptionBounds
        ``normal`` and ``student_t``.
    """
    address = windows, horizon_days, round(level * 1e9)
    return {
        law: overlapping_exceptions(
            stream(seed, Purpose.OVERLAP_BOUNDS, *address, index),
            windows=windows,
            horizon_days=horizon_days,
            level=level,
            n_samples=_N_SAMPLES,
            dof=given,
        )
        for index, (law, given) in enumerate((("normal", None), ("student_t", dof)))
    }


def verdict_row(series: Series, bounds: dict[str, ExceptionBounds] | None) -> dict[str, Any]:
    """Apply every test that fits to one series.

    Parameters
    ----------
    series : Series
        At least one day.
    bounds : dict of str to ExceptionBounds or None
        Of `overlap_bounds` for horizons beyond one day; the tests for independent days are then left out.

    Returns
    -------
    dict
        One flat row; a test that cannot be made is None, and `note` says why.
    """
    hits, level = series.hits, series.level
    days, exceptions = int(hits.size), int(hits.sum())
    notes: list[str] = []
    row: dict[str, Any] = {
        "portfolio_id": series.portfolio_id,
        "method": series.method,
        "level": level,
        "horizon_days": series.horizon_days,
        "days": days,
        "exceptions": exceptions,
        "expected": days * (1.0 - level),
        "zone": None,
        "cumulative_probability": None,
        "multiplier": None,
        "plus_factor": None,
    }
    if series.horizon_days == 1:
        light = traffic_light(exceptions=exceptions, days=days, level=level)
        row |= {
            "zone": light.zone,
            "cumulative_probability": light.cumulative_probability,
            "multiplier": light.multiplier,
            "plus_factor": light.plus_factor,
        }
        if days != 250 and round(level, 12) == 0.99:
            notes.append(f"multipliers are defined for 250 days, there are {days}")
        row |= _ratio("kupiec", kupiec(exceptions=exceptions, days=days, level=level), notes)
        row |= _ratio("christoffersen", christoffersen(hits), notes)
        joint = conditional_coverage(hits, level=level)
        # It is undefined exactly when the test of independence is.
        row |= _ratio("conditional_coverage", joint, [])
    else:
        empty = LikelihoodRatio(statistic=None, p_value=None)
        for name in ("kupiec", "christoffersen", "conditional_coverage"):
            row |= _ratio(name, empty, notes)
        notes.append("overlapping windows are not independent: see the simulated bounds")
    for law in ("normal", "student_t"):
        found = None if bounds is None else bounds[law]
        row |= {
            f"bounds_{law}_low": None if found is None else found.low,
            f"bounds_{law}_high": None if found is None else found.high,
            f"bounds_{law}_p_value": None if found is None else found.p_value(exceptions),
        }
    row |= _shortfall(series, exceptions, notes)
    losses = -series.pnl
    row["quantile_score"] = float(quantile_score(losses, var=series.var, level=level).mean())
    positive = bool((series.es > 0).all())
    row["fz0_score"] = (
        float(joint_score(losses, var=series.var, es=series.es, level=level).mean()) if positive else None
    )
    if not positive:
        notes.append(f"ES was not positive on {int((series.es <= 0).sum())} days: no test or score of ES")
    return row | {"note": "; ".join(notes) or None}


def comparison_rows(group: list[Series]) -> Iterator[dict[str, Any]]:
    """Compare every pair of methods on the same portfolio, level and horizon by both scores.

    Yields
    ------
    dict
        `difference` is the mean score of `method` less that of `other`: negative if `method` was better.
    """
    for one, other in combinations(group, 2):
        losses, level = -one.pnl, one.level
        scores = {
            "quantile": [quantile_score(losses, var=each.var, level=level) for each in (one, other)],
        }
        if (one.es > 0).all() and (other.es > 0).all():
            scores["fz0"] = [
                joint_score(losses, var=each.var, es=each.es, level=level) for each in (one, other)
            ]
        for name, (first, second) in scores.items():
            if first.size < 2:
                continue
            found = diebold_mariano(first, second, horizon_days=one.horizon_days)
            yield {
                "portfolio_id": one.portfolio_id,
                "level": level,
                "horizon_days": one.horizon_days,
                "score": name,
                "method": one.method,
                "other": other.method,
                "difference": found.difference,
                "statistic": found.statistic,
                "p_value": found.p_value,
                "lags": found.lags,
            }


def attribution_rows(
    pnl: pa.Table, series: list[Series]
) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """Put reported gains beside the risk model's: the attribution test, and the desk's backtest.

    Parameters
    ----------
    pnl : pyarrow.Table
        Rows of the ``pnl`` input.
    series : list of Series
        One-day forecasts; the gains are those of the book's revaluation.

    Returns
    -------
    attribution, desks : list of dict
        Per portfolio; and per portfolio, method and level. A session between a portfolio's first and last
        reported day that has no row is missing, and counts as an exception in the desk's backtest.
    """
    attribution: dict[str, dict[str, Any]] = {}
    desks = []
    for each in series:
        mine = pnl.filter(pc.equal(pnl["portfolio_id"], each.portfolio_id)).sort_by("date")
        days = mine["date"].to_numpy().astype("datetime64[D]")
        within = (
            (each.dates >= days[0]) & (each.dates <= days[-1])
            if days.size
            else np.zeros(each.dates.size, bool)
        )
        known = within & np.isin(each.dates, days)
        if not known.any():
            continue
        at = np.searchsorted(days, each.dates[known])
        hypothetical = mine["hypothetical"].to_numpy()[at]
        actual = mine["actual"].to_numpy()[at]
        missing = int(within.sum() - known.sum())
        if each.portfolio_id not in attribution:
            found = attribution_test(hypothetical, each.pnl[known])
            count = int(known.sum())
            attribution[each.portfolio_id] = {
                "portfolio_id": each.portfolio_id,
                "days": count,
                "missing": missing,
                "spearman": found.spearman,
                "ks": found.ks,
                "zone": found.zone,
                "note": None if count == 250 else f"the zones are made for 250 days, there are {count}",
            }
        var = each.var[known]
        over = {"actual": -actual > var, "hypothetical": -hypothetical > var}
        outliers = int((over["actual"] | over["hypothetical"]).sum()) + missing
        overall = max(int(hits.sum()) for hits in over.values()) + missing
        regulatory = within.sum() == 250 and round(each.level, 12) == 0.99
        desks.append(
            {
                "portfolio_id": each.portfolio_id,
                "method": each.method,
                "level": each.level,
                "days": int(within.sum()),
                "missing": missing,
                "exceptions_actual": int(over["actual"].sum()),
                "exceptions_hypothetical": int(over["hypothetical"].sum()),
                "desk_exceptions": outliers,
                "desk_passes": desk_passes(exceptions=outliers, level=each.level),
                "multiplier": capital_multiplier(overall) if regulatory else None,
                "plus_factor": plus_factor(overall) if regulatory else None,
            }
        )
    return list(attribution.values()), desks


def _ratio(name: str, found: LikelihoodRatio, notes: list[str]) -> dict[str, Any]:
    if found.note:
        notes.append(found.note)
    return {f"{name}_statistic": found.statistic, f"{name}_p_value": found.p_value}


def _shortfall(series: Series, exceptions: int, notes: list[str]) -> dict[str, Any]:
    row: dict[str, Any] = {f"{name}{end}": None for name in _SHORTFALL for end in ("", "_p_value")}
    if (series.es <= 0).any():
        return row
    found = shortfall_statistics(-series.pnl, var=series.var, es=series.es, level=series.level)
    null = None if series.draws is None else series.draws.statistics(series.level)
    for name in _SHORTFALL:
        value = float(getattr(found, name))
        if np.isnan(value):
            continue
        row[name] = value
        if null is not None:
            row[f"{name}_p_value"] = lower_p_value(value, getattr(null, name))
    if exceptions == 0:
        notes.append("no exception: the size of exceptions cannot be tested")
    return row
