"""Typed, frozen, strict settings of a project, its scenarios and its limits."""

from __future__ import annotations

import datetime as dt
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

__all__ = [
    "BellSettings",
    "CalibrateSettings",
    "CreditSettings",
    "CurveSettings",
    "DividendYieldSettings",
    "FeaturesSettings",
    "IngestSettings",
    "InputsSettings",
    "Limit",
    "MonitorSettings",
    "ReportSettings",
    "Scenario",
    "ScoreSettings",
    "Selector",
    "Settings",
    "Shock",
    "SimulateSettings",
    "TargetSettings",
    "TrainSettings",
]

Fraction = Annotated[float, Field(ge=0.0, le=1.0)]
Level = Annotated[float, Field(gt=0.0, lt=1.0)]
Positive = Annotated[int, Field(ge=1)]


class _Model(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class BellSettings(_Model):
    """The exchange whose next open is the deadline."""

    exchange: str = "XNYS"
    lead_minutes: Annotated[int, Field(ge=0, le=1440)] = 120


class CurveSettings(_Model):
    """A zero curve given as numbers: continuously compounded, ACT/365F, held fixed in every scenario."""

    source: str
    tenors_years: tuple[Annotated[float, Field(gt=0.0)], ...]
    zero_rates: tuple[Annotated[float, Field(gt=-0.2, lt=1.0)], ...]

    @model_validator(mode="after")
    def _same_length(self) -> CurveSettings:
        if not self.tenors_years or len(self.tenors_years) != len(self.zero_rates):
            raise ValueError(
                "tenors_years and zero_rates must be lists of the same length, at least one long"
            )
        if list(self.tenors_years) != sorted(set(self.tenors_years)):
            raise ValueError("tenors_years must increase")
        return self


class DividendYieldSettings(_Model):
    """A continuous dividend yield given as a number, held fixed in every scenario."""

    source: str
    value: Annotated[float, Field(gt=-0.2, lt=1.0)]


class InputsSettings(_Model):
    """Where each input comes from: a path relative to the project, or ``python:module.function``."""

    positions: str = "inputs/positions.csv"
    instruments: str = "inputs/instruments.csv"
    market: str = "inputs/market.csv"
    factors: str = "inputs/factors.csv"
    obligors: str | None = None


class IngestSettings(_Model):
    """What to do with rows that fail validation.

    ``stop`` ends the night before any table changes; ``exclude`` keeps the rows in ``raw.rejected`` and goes
    on without them, and the night is PARTIAL.
    """

    on_bad_rows: Literal["stop", "exclude"] = "stop"


class FeaturesSettings(_Model):
    """The early-warning label and the reference series of the features."""

    horizon_days: Positive = 20
    threshold_quantile: Level = 0.9
    threshold_window_days: Positive = 1000
    threshold_min_days: Positive = 500
    index_factor: str | None = None
    oil_factor: str | None = None
    credit_spread_factors: tuple[str, str] | None = None
    short_rate_factor: str | None = None


class CalibrateSettings(_Model):
    """Search for the early-warning model's hyperparameters, and the risk model's own parameters."""

    n_trials: Positive = 12
    batch_size: Positive = 4
    max_rounds: Positive = 120
    first_rung_rounds: Positive = 15
    reduction_factor: Annotated[int, Field(ge=2)] = 2
    folds: Positive = 3
    # Sessions kept free between a training label's window and the rows that judge it.
    embargo_days: Annotated[int, Field(ge=20)] = 20
    sample_every_days: Positive = 5
    train_factors: tuple[str, ...] = ()
    train_from: dt.date | None = None
    out_of_time_days: Positive = 750
    seed: int = 7
    volatility_window_days: Positive = 1000
    refit_every_days: Positive = 20
    ewma_decay: Level = 0.94
    covariance_decay: Level = 0.97


class TrainSettings(_Model):
    """Data-parallel training and the gate to champion."""

    n_workers: Positive = 2
    seed: int = 7
    block_days: Positive = 20
    bootstrap_samples: Positive = 1000
    registered_model: str = "early-warning"
    # Who stands behind a promotion when the gate's evidence passes; without a name nothing is promoted.
    approver: str | None = None


class CreditSettings(_Model):
    """One-factor Gaussian copula."""

    n_paths: Positive = 4000
    block_size: Positive = 500
    correlation: dict[str, Fraction] = Field(default_factory=dict)
    levels: tuple[Level, ...] = (0.95, 0.99, 0.999)


class SimulateSettings(_Model):
    """Scenario sets, measures and the block of work."""

    seed: int = 20181228
    headline_method: Literal["historical", "filtered_historical", "monte_carlo_gaussian", "monte_carlo_t"] = (
        "historical"
    )
    window_days: Positive = 500
    horizons_days: tuple[Positive, ...] = (1, 10)
    n_paths: Positive = 10_000
    block_size: Positive = 2_048
    var_level: Level = 0.99
    es_level: Level = 0.975
    interval_level: Level = 0.95
    ageing: Literal["none"] = "none"
    backtest_days: Positive = 250
    on_failed_position: Literal["exclude", "stop"] = "exclude"
    credit: CreditSettings = CreditSettings()


class ScoreSettings(_Model):
    """Buckets of the early-warning score, as multiples of the model's decision threshold."""

    n_actors: Positive = 2
    batch_rows: Positive = 4096
    high_multiple: Annotated[float, Field(gt=0)] = 2.0
    watch_multiple: Annotated[float, Field(gt=0)] = 1.0


class MonitorSettings(_Model):
    """Drift and backtest thresholds."""

    drift_current_days: Positive = 60
    drift_warning: Annotated[float, Field(gt=0)] = 0.1
    drift_alert: Annotated[float, Field(gt=0)] = 0.25


class ReportSettings(_Model):
    """Texts that only the owner of the data can give."""

    approximations: tuple[str, ...] = ()
    # Heads everything about the loan book, so that a made-up book can be called what it is.
    credit_label: str = "Credit"


class TargetSettings(_Model):
    """Where the night runs. It changes where, never what."""

    cpus: Positive | None = None
    spark_master: str = "local[2]"
    spark_memory: str = "1g"
    spark_shuffle_partitions: Positive = 4
    ray_object_store_bytes: Positive = 300_000_000


class Settings(_Model):
    """The whole of acceleray.yaml."""

    name: str
    as_of: dt.date
    base_currency: Annotated[str, Field(pattern=r"^[A-Z]{3}$")]
    bell: BellSettings = BellSettings()
    inputs: InputsSettings = InputsSettings()
    curves: dict[str, CurveSettings] = Field(default_factory=dict)
    dividend_yields: dict[str, DividendYieldSettings] = Field(default_factory=dict)
    scenarios: str | None = "scenarios.yaml"
    limits: str | None = "limits.yaml"
    ingest: IngestSettings = IngestSettings()
    features: FeaturesSettings = FeaturesSettings()
    calibrate: CalibrateSettings = CalibrateSettings()
    train: TrainSettings = TrainSettings()
    simulate: SimulateSettings = SimulateSettings()
    score: ScoreSettings = ScoreSettings()
    monitor: MonitorSettings = MonitorSettings()
    report: ReportSettings = ReportSettings()
    targets: dict[str, TargetSettings] = Field(default_factory=lambda: {"laptop": TargetSettings()})


class Selector(_Model):
    """Which factors a shock moves; every given condition must hold. `id` may be a glob."""

    id: str | None = None
    kind: str | None = None
    curve: str | None = None
    currency: str | None = None
    segment: str | None = None

    @model_validator(mode="after")
    def _something(self) -> Selector:
        if all(value is None for value in (self.id, self.kind, self.curve, self.currency, self.segment)):
            raise ValueError("select needs at least one of id, kind, curve, currency, segment")
        return self


class Shock(_Model):
    """One move of the selected factors, or of a segment's default probability or loss given default."""

    select: Selector
    move: dict[Literal["scale", "add", "set"], float] | None = None
    default_prob: dict[Literal["scale", "add"], float] | None = None
    lgd: dict[Literal["scale", "add"], float] | None = None

    @model_validator(mode="after")
    def _one_move(self) -> Shock:
        given = [part for part in (self.move, self.default_prob, self.lgd) if part is not None]
        if not given or any(len(part) != 1 for part in given):
            raise ValueError(
                "a shock needs a move (or default_prob, lgd) with exactly one of scale, add, set"
            )
        if self.move is not None and (self.default_prob is not None or self.lgd is not None):
            raise ValueError("a shock moves market factors or credit parameters, not both")
        return self


class Scenario(_Model):
    """A named stress: a list of shocks, or a historical window whose moves are replayed."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False, populate_by_name=True)

    name: str
    shocks: tuple[Shock, ...] = ()
    from_: Annotated[dt.date | None, Field(alias="from")] = None
    to: dt.date | None = None
    # "market" scenarios revalue the book; "credit" scenarios redraw the loan book.
    book: Literal["market", "credit"] = "market"

    @model_validator(mode="after")
    def _window_or_shocks(self) -> Scenario:
        if (self.from_ is None) != (self.to is None):
            raise ValueError("a historical window needs both from and to")
        if self.from_ is not None and self.to is not None and self.from_ >= self.to:
            raise ValueError("from must lie before to")
        if self.from_ is None and not self.shocks and self.book == "market":
            raise ValueError("a scenario needs shocks, or from and to")
        return self


class Limit(_Model):
    """A warning and a limit for one measure of one portfolio."""

    portfolio_id: str
    type: Literal["VaR", "ES", "stress"]
    unit: Literal["amount"] = "amount"
    level: Level | None = None
    horizon_days: Positive = 1
    scenario: str | None = None
    warning: Annotated[float, Field(gt=0)]
    limit: Annotated[float, Field(gt=0)]
    hard: bool = False
    owner: str | None = None
    waived_until: dt.date | None = None

    @model_validator(mode="after")
    def _consistent(self) -> Limit:
        if self.warning > self.limit:
            raise ValueError("warning must not exceed limit")
        if (self.type == "stress") != (self.scenario is not None):
            raise ValueError("scenario goes with type stress, and only with it")
        return self


def canonical(model: BaseModel) -> dict[str, Any]:
    """Return the settings as plain JSON values, the same for the same meaning."""
    return model.model_dump(mode="json", by_alias=True)
