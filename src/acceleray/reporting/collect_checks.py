"""Collect the facts about early warning and data, and put the whole page's facts together."""

from __future__ import annotations

import datetime as dt
import math
from collections import Counter
from collections.abc import Sequence
from typing import Any

import numpy as np
import pyarrow as pa

from acceleray.config.models import Settings
from acceleray.config.scenarios import Scenario
from acceleray.errors import LineageError
from acceleray.reporting import collect, collect_book, collect_credit
from acceleray.reporting import facts as f
from acceleray.reporting.collect import Tables, rows
from acceleray.reporting.facts_credit import Credit

__all__ = ["FLAGGED", "RUN_KEYS", "build_facts"]

# Buckets that put a name on the analysts' list, highest first.
FLAGGED = ("high", "watch")
_ROLL_UP = "*"

RUN_KEYS = (
    "run_id",
    "name",
    "as_of",
    "base_currency",
    "target",
    "started_at",
    "published_at",
    "bell_at",
    "bell_zone",
    "deadline_at",
    "historical_night",
    "state",
    "warnings",
    "stages",
    "tables",
    "settings_id",
    "code_version",
    "lock_sha256",
    "seeds",
    "mlflow_run_id",
    "tracking_uri",
    "machine",
    "overhead",
)


def build_facts(
    tables: Tables, settings: Settings, night: dict[str, Any], scenarios: Sequence[Scenario] = ()
) -> f.Facts:
    """Put together everything the page states.

    Parameters
    ----------
    tables : mapping of str to pyarrow.Table
        The tables the report stage reads; of ``result.pnl`` the headline method at the shortest horizon.
    settings : Settings
        The night's settings.
    night : dict
        Facts of the run as the pipeline prepared them (`RUN_KEYS`).
    scenarios : sequence of Scenario
        Those of the night, in the order of their file.

    Raises
    ------
    LineageError
        If the run's own facts are incomplete.
    """
    missing = [key for key in RUN_KEYS if key not in night]
    if missing:
        raise LineageError(f"run record: the report needs {', '.join(missing)}")
    data = _data(tables, settings)
    coverage = _coverage(tables, data)
    reasons = _partial_reasons(coverage)
    partial = bool(reasons) or night["state"] == "PARTIAL"
    credit = collect_credit.credit(tables, settings, scenarios)
    stress = collect.stress(tables)
    early = _early_warning(tables, settings)
    found_limits = collect.limits(tables["check.limits"])
    return f.Facts(
        fund=night["name"],
        as_of=night["as_of"],
        base_currency=night["base_currency"],
        interval_level=settings.simulate.interval_level,
        state="PARTIAL" if partial else "COMPLETE",
        partial_reasons=tuple(reasons or (["the run stopped early"] if partial else [])),
        warnings=tuple(night["warnings"]),
        coverage=coverage,
        headline=tuple(_headline(tables, settings, credit, stress, early)),
        limits=found_limits,
        limit_counts=dict(Counter(limit.state for limit in found_limits)),
        pnl=collect_book.explain(tables, night["as_of"]),
        drivers=collect.drivers(tables, settings),
        sensitivities=collect_book.sensitivities(tables),
        active=collect_book.active(tables, settings),
        capital=collect_book.capital(tables, settings),
        methods=collect.methods(tables, settings),
        distribution=collect.distribution(tables, settings),
        stress=stress,
        backtest=collect.backtest(tables, settings),
        credit=credit,
        early_warning=early,
        data=data,
        run={**{key: night[key] for key in RUN_KEYS}, **_clock(night)},
    )


def _clock(night: dict[str, Any]) -> dict[str, Any]:
    published = dt.datetime.fromisoformat(night["published_at"])

    def until(instant: str) -> float:
        return (dt.datetime.fromisoformat(instant) - published).total_seconds()

    early = until(night["deadline_at"])
    sla = "historical night" if night["historical_night"] else "met" if early >= 0 else "missed"
    return {
        "seconds": -until(night["started_at"]),
        "seconds_to_deadline": early,
        "seconds_to_bell": until(night["bell_at"]),
        "sla": sla,
    }


def _headline(
    tables: Tables,
    settings: Settings,
    credit: Credit | None,
    stress: f.Stress | None,
    early: f.EarlyWarning | None,
) -> list[f.Headline]:
    tiles = collect.headline_measures(tables, settings)
    stressed = collect_book.stressed(tables)
    if stressed is not None:
        # Beside the headline ES, in the place of the longest horizon, which the methods table shows too.
        tiles[2:] = [stressed]
    if credit is not None:
        tiles.append(
            f.Headline(
                id="expected-credit-loss",
                kind="amount",
                estimate=credit.scenarios[0].expected_loss,
                parts=tuple(f.Part(label=x.segment, value=x.expected_loss.value) for x in credit.segments),
                subject=credit.label,
                scenario=credit.reference,
                table="result.credit",
            )
        )
    if stress is not None:
        worst, *others = stress.scenarios
        tiles.append(
            f.Headline(
                id="worst-stress",
                kind="pnl",
                estimate=f.Estimate(value=worst.pnl, note="one full revaluation, no sampling"),
                subject=worst.scenario,
                parts=tuple(f.Part(label=x.scenario, value=x.pnl) for x in others[:2]),
                table="result.stress",
            )
        )
    if early is not None:
        tiles.append(
            f.Headline(
                id="early-warning",
                kind="count",
                estimate=f.Estimate(value=early.flagged, note=f"of {early.scored} positions scored"),
                horizon_days=early.horizon_days,
                parts=early.counts,
                table="result.scores",
            )
        )
    return tiles


def _coverage(tables: Tables, data: f.DataQuality) -> f.Coverage:
    values = list(rows(tables["result.values"], status="ok"))
    total = tables["result.values"].num_rows
    included = math.fsum(abs(row["market_value"]) for row in values)
    known = [x.market_value for x in data.excluded]
    excluded = None if None in known else math.fsum(abs(value) for value in known if value is not None)
    share: float | None = 1.0
    reason = None
    if excluded is None:
        share, reason = None, "a position without a price has no market value"
    elif excluded:
        share = included / (included + excluded)
    return f.Coverage(
        value=share,
        positions_total=total,
        positions_included=len(values),
        rows_rejected=tables["raw.rejected"].num_rows,
        excluded_value=excluded,
        reason=reason,
    )


def _partial_reasons(coverage: f.Coverage) -> list[str]:
    reasons = []
    if coverage.positions_included < coverage.positions_total:
        reasons.append("positions excluded")
    if coverage.rows_rejected:
        reasons.append("rows rejected")
    return reasons


def _early_warning(tables: Tables, settings: Settings) -> f.EarlyWarning | None:
    scored = [_name(row) for row in rows(tables["result.scores"])]
    names = [name for name in scored if name.instrument_id != _ROLL_UP]
    if not names:
        return None
    names.sort(key=lambda x: (x.rank is None, x.rank or 0, -(x.score or 0.0), x.instrument_id))
    flagged = [name for name in names if name.bucket in FLAGGED]
    counts = Counter(name.bucket for name in names)
    rest = sorted(str(bucket) for bucket in counts if bucket not in FLAGGED)
    models = tuple(
        f.ModelFact(**{key: row[key] for key in f.ModelFact.__dataclass_fields__})
        for row in rows(tables["params.models"])
    )
    model_id = next((row["model_id"] for row in rows(tables["result.scores"]) if row["model_id"]), None)
    return f.EarlyWarning(
        scored=sum(name.score is not None for name in names),
        flagged=len(flagged),
        distinct=len({name.instrument_id for name in flagged}),
        counts=tuple(f.Part(label=bucket, value=counts[bucket]) for bucket in (*FLAGGED, *rest)),
        names=tuple(flagged or names[:3]),
        rollups=tuple(name for name in scored if name.instrument_id == _ROLL_UP),
        model_id=model_id,
        models=models,
        metrics=tuple(
            f.ModelMetric(
                model_id=row["model_id"],
                metric=row["metric"],
                estimate=f.Estimate(
                    value=row["value"], ci_low=row["ci_low"], ci_high=row["ci_high"], note=row["note"]
                ),
                rows=row["rows"],
                blocks=row["blocks"],
            )
            for row in rows(tables["check.models"])
        ),
        calibration=tuple(
            f.CalibrationPoint(predicted=row["predicted"], observed=row["observed"], rows=row["rows"])
            for row in rows(tables["check.calibration"], model_id=model_id)
            if row["rows"]
        ),
        health=tuple(
            f.HealthFact(
                kind=row["kind"],
                status=row["status"],
                estimate=f.Estimate(
                    value=row["value"], ci_low=row["ci_low"], ci_high=row["ci_high"], note=None
                ),
                note=row["note"],
            )
            for row in rows(tables["check.health"])
        ),
        horizon_days=settings.features.horizon_days,
        threshold_quantile=settings.features.threshold_quantile,
    )


def _name(row: dict[str, Any]) -> f.WarnedName:
    return f.WarnedName(
        rank=row["rank"],
        portfolio_id=row["portfolio_id"],
        instrument_id=row["instrument_id"],
        direction=row["direction"],
        score=row["score"],
        bucket=row["bucket"],
        exposure=row["exposure"],
        reasons=tuple(part.strip() for part in (row["reasons"] or "").split(";") if part.strip()),
    )


def _data(tables: Tables, settings: Settings) -> f.DataQuality:
    return f.DataQuality(
        excluded=tuple(
            f.Excluded(
                portfolio_id=row["portfolio_id"],
                instrument_id=row["instrument_id"],
                reason=row["reason"],
                market_value=row["market_value"],
            )
            for row in rows(tables["result.values"])
            if row["status"] != "ok"
        ),
        rejected=tuple(
            f.RejectedRow(**{key: row[key] for key in f.RejectedRow.__dataclass_fields__})
            for row in rows(tables["raw.rejected"])
        ),
        aged=_aged(tables),
        controls=tuple(
            f.Control(**{key: row[key] for key in f.Control.__dataclass_fields__})
            for row in rows(tables["raw.controls"])
        ),
        drift=tuple(
            sorted(
                (
                    f.DriftFact(**{key: row[key] for key in f.DriftFact.__dataclass_fields__})
                    for row in rows(tables["check.drift"])
                ),
                key=lambda x: (x.psi is None, -(x.psi or 0.0), x.feature),
            )
        ),
        drift_warning=settings.monitor.drift_warning,
        findings=tuple(rows(tables["check.quality"])),
        approximations=(
            *settings.report.approximations,
            *_typed_in(settings),
            *_interpolated(tables, settings.base_currency),
        ),
    )


def _aged(tables: Tables) -> tuple[f.AgedSeries, ...]:
    """Last level of each factor, where it was observed before the last session."""
    levels = tables["market.levels"].sort_by([("factor_id", "ascending"), ("date", "ascending")])
    ids = levels["factor_id"].to_numpy(zero_copy_only=False)
    is_last = np.append(ids[1:] != ids[:-1], np.ones(min(1, len(ids)), dtype=bool))
    last = {row["factor_id"]: row for row in rows(levels.filter(pa.array(is_last)))}
    allowed = {
        row["factor_id"]: row["max_age_days"] for row in rows(tables["raw.factors"]) if not row["fixed"]
    }
    aged = [
        f.AgedSeries(
            factor_id=factor,
            observed_on=row["observed_on"],
            age_days=row["age_days"],
            max_age_days=allowed[factor],
        )
        for factor, row in last.items()
        if factor in allowed and row["observed_on"] is not None and row["age_days"]
    ]
    return tuple(sorted(aged, key=lambda x: (-x.age_days, x.factor_id)))


def _interpolated(tables: Tables, currency: str) -> list[str]:
    """Say how many positions are priced from tables, and which of them may be off by most."""
    found = [row for row in rows(tables["check.quality"]) if row["kind"] == "approximate"]
    if not found:
        return []
    worst = max(found, key=lambda row: (row["value"], row["subject"]))
    return [
        f"{len(found)} position(s) are priced from tables under the scenarios; the error of a price is at "
        f"most {worst['value']:,.2f} {currency}, of {worst['subject']}"
    ]


def _typed_in(settings: Settings) -> list[str]:
    """Name the market values that come from the settings, each with its source."""
    curves = [
        f"Curve {name} is typed in and does not move: {c.source}" for name, c in settings.curves.items()
    ]
    yields = [
        f"{name} is typed in and does not move: {found.source}"
        for name, found in settings.dividend_yields.items()
    ]
    return curves + yields
