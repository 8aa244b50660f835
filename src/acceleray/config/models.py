"""Typed, frozen, strict settings of a project, its scenarios and its limits."""

from __future__ import annotations

import datetime as dt
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, Field, model_validator

from acceleray.config.credit import CreditSettings
from acceleray.config.fields import Level, Positive, Seed, Strict
from acceleray.config.scenarios import Scenario, Selector, Shock
from acceleray.domain.moves import MoveKind

__all__ = [
    "BellSettings",
    "CalibrateSettings",
    "CovarianceSettings",
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
    "StoppingSettings",
    "TargetSettings",
    "TrainSettings",
]

# The values of domain.market.FactorKind, whose module needs Arrow, which reading settings does not.
_FactorKind = Literal["spot", "fx", "zero_rate", "credit_spread", "implied_vol", "dividend_yield"]


# The names of risk.volatility_fits.MODELS.
_VolatilityModel = Literal["garch", "garch_t", "gjr_t"]


def _without_repeats(values: tuple[_VolatilityModel, ...]) -> tuple[_VolatilityModel, ...]:
    if len(set(values)) < len(values):
        raise ValueError("must not repeat")
    return values


def _increasing(values: tuple[int, ...]) -> tuple[int, ...]:
    if list(values) != sorted(set(values)):
        raise ValueError("must increase, without repeats")
    return values


class BellSettings(Strict):
    """The exchange whose next open is the deadline."""

    exchange: str = "XNYS"
    """Market identifier code of an exchange_calendars calendar; its sessions are also the days of the
    data."""
    lead_minutes: Annotated[int, Field(ge=0, le=1440)] = 120
    """Minutes before the bell by which the report is wanted."""


class CurveSettings(Strict):
    """A zero curve given as numbers: continuously compounded, ACT/365F, held fixed in every scenario."""

    source: str
    """Where the numbers are from; kept with the settings of every run."""
    tenors_years: tuple[Annotated[float, Field(gt=0.0)], ...]
    """Increasing times in years, ACT/365F."""
    zero_rates: tuple[Annotated[float, Field(gt=-0.2, lt=1.0)], ...]
    """Continuously compounded rates at those times, as fractions."""

    @model_validator(mode="after")
    def _same_length(self) -> CurveSettings:
        if not self.tenors_years or len(self.tenors_years) != len(self.zero_rates):
            raise ValueError(
                "tenors_years and zero_rates must be lists of the same length, at least one long"
            )
        if list(self.tenors_years) != sorted(set(self.tenors_years)):
            raise ValueError("tenors_years must increase")
        return self


class DividendYieldSettings(Strict):
    """A continuous dividend yield given as a number, held fixed in every scenario."""

    source: str
    """Where the number is from; kept with the settings of every run."""
    value: Annotated[float, Field(gt=-0.2, lt=1.0)]
    """Continuously compounded yield as a fraction."""


class InputsSettings(Strict):
    """Where each input comes from: a path relative to the project, or ``python:module.function``."""

    positions: str = "inputs/positions.csv"
    """What is held."""
    instruments: str = "inputs/instruments.csv"
    """What the held instruments are."""
    market: str = "inputs/market.csv"
    """History of every factor."""
    factors: str = "inputs/factors.csv"
    """What the factors are."""
    portfolios: str | None = None
    """Net asset value and benchmark of portfolios; without it the market value stands for the NAV."""
    benchmarks: str | None = None
    """Weights of the instruments of each benchmark."""
    holdings: str | None = None
    """What funds hold, to look through them; other funds move with their own factor."""
    obligors: str | None = None
    """The loan book; without it no credit figure is computed."""


class IngestSettings(Strict):
    """What to do with rows that fail validation.

    ``stop`` ends the night before any table changes; ``exclude`` keeps the rows in ``raw.rejected`` and goes
    on without them, and the night is PARTIAL.
    """

    on_bad_rows: Literal["stop", "exclude"] = "stop"
    """`stop` before any table changes (exit code 3), or `exclude` the rows and go on (PARTIAL, exit code
    4)."""


class FeaturesSettings(Strict):
    """The early-warning label and the reference series of the features."""

    horizon_days: Positive = 20
    """Sessions ahead whose worst close decides the label."""
    threshold_quantile: Level = 0.9
    """Quantile of past adverse moves that a label has to exceed."""
    threshold_window_days: Positive = 1000
    """Most past moves behind a threshold."""
    threshold_min_days: Positive = 500
    """Fewest past moves behind a threshold; not more than the window."""
    index_factor: str | None = None
    """Factor whose moves stand for the stock market in beta, correlation and state of the market."""
    oil_factor: str | None = None
    """Factor that stands for oil."""
    credit_spread_factors: tuple[str, str] | None = None
    """Riskier and safer yield whose difference is the credit spread."""
    short_rate_factor: str | None = None
    """Factor that stands for the short rate."""


class CalibrateSettings(Strict):
    """Search for the early-warning model's hyperparameters, and the risk model's own parameters."""

    n_trials: Positive = 12
    """Configurations of the early-warning model that are tried."""
    batch_size: Positive = 4
    """Trials that run together; a trial is compared with earlier, complete batches only."""
    max_rounds: Positive = 120
    """Most boosting rounds of a trial."""
    first_rung_rounds: Positive = 15
    """Rounds after which a trial may be stopped for the first time."""
    reduction_factor: Annotated[int, Field(ge=2)] = 2
    """The best one in so many goes on at a rung, and rungs are that factor apart."""
    folds: Positive = 3
    """Walk-forward folds of the search."""
    embargo_days: Annotated[int, Field(ge=20)] = 20
    """Sessions kept free between a training label's window and the rows that judge it; at least
    `features.horizon_days` are kept."""
    sample_every_days: Positive = 5
    """Every n-th session is learned from; windows of neighbours overlap almost wholly."""
    train_factors: tuple[str, ...] = ()
    """Factors to learn from; all spot factors if empty."""
    train_from: dt.date | None = None
    """First date to learn from; the start of the history if absent."""
    out_of_time_days: Positive = 750
    """Length of the out-of-time test: the last so many labelled sessions."""
    seed: Seed = 7
    """Seed of the search and of the trials."""
    volatility_window_days: Positive = 1000
    """Most daily moves behind a volatility fit."""
    refit_every_days: Positive = 20
    """Sessions between two volatility fits, counted back from `as_of`."""
    volatility_models: Annotated[
        tuple[_VolatilityModel, ...], Field(min_length=1), AfterValidator(_without_repeats)
    ] = ("garch", "garch_t", "gjr_t")
    """Variance models in the order in which they are tried, factor by factor: GARCH(1,1) with normal and with
    Student-t residuals, and Student-t GJR-GARCH(1,1), which weighs falls and rises differently. The first
    whose residuals pass their tests is taken."""
    ewma_decay: Level = 0.94
    """Decay of the volatility where no model fits."""
    covariance_decay: Level = 0.97
    """Decay of the exponentially weighted covariance, tonight's and the backtest's."""


class TrainSettings(Strict):
    """Data-parallel training and the gate to champion."""

    n_workers: Positive = 2
    """Ranks of the data-parallel training; another number is another model."""
    seed: Seed = 7
    """Seed of training and of the bootstrap."""
    block_days: Positive = 20
    """Shortest block of sessions that the bootstrap draws."""
    bootstrap_samples: Positive = 1000
    """Resamples behind an interval."""
    registered_model: str = "early-warning"
    """Name in the MLflow registry."""
    approver: str | None = None
    """Who stands behind a promotion when the gate's evidence passes; without a name nothing is promoted."""


class CovarianceSettings(Strict):
    """How the covariance of daily moves is estimated and, where it must be, repaired."""

    method: Literal["ewma", "shrinkage"] = "ewma"
    """`ewma`: exponentially weighted by `calibrate.covariance_decay`; `shrinkage`: equally weighted, all
    correlations reduced by the factor of Ledoit and Wolf."""
    repair: Literal["clip", "higham"] = "clip"
    """For a matrix with a negative eigenvalue: `clip` it to zero, or take the nearest correlation matrix
    (`higham`). Variances stay."""


class StoppingSettings(Strict):
    """When a Monte-Carlo set may end before `n_paths`; the results say which rule ended it."""

    relative_error: Annotated[float | None, Field(gt=0.0, lt=1.0)] = None
    """Standard error of the measure over its value, as a fraction, that is small enough; null for none."""
    measure: Literal["VaR", "ES"] = "ES"
    """The measure of the whole book that is watched."""
    level: Level = 0.975
    """Its level."""
    seconds: Annotated[float | None, Field(gt=0.0)] = None
    """Seconds of simulation after which a set ends with the paths there are; null for none. A night
    stopped by the clock is replayed with its recorded number of paths."""


class SimulateSettings(Strict):
    """Scenario sets, measures and the block of work."""

    seed: Seed = 20181228
    """Seed of Monte-Carlo, filtered historical, backtest and credit draws."""
    headline_method: Literal["historical", "filtered_historical", "monte_carlo_gaussian", "monte_carlo_t"] = (
        "historical"
    )
    """Method of limits, contributions and the first figures of the report."""
    window_days: Positive = 500
    """Past moves behind historical scenarios, behind the covariance, and behind each backtest forecast."""
    horizons_days: Annotated[tuple[Positive, ...], Field(min_length=1), AfterValidator(_increasing)] = (1, 10)
    """Horizons of the measures in business days."""
    n_paths: Positive = 10_000
    """Paths of Monte-Carlo, and of filtered historical beyond one day."""
    block_size: Positive = 2_048
    """Scenarios per task; random streams belong to blocks, so Monte-Carlo results depend on it."""
    var_level: Level = 0.99
    """Level of value at risk."""
    es_level: Level = 0.975
    """Level of expected shortfall."""
    interval_level: Level = 0.95
    """Confidence of the intervals."""
    moves: dict[_FactorKind, Literal["absolute", "log", "relative"]] = Field(default_factory=dict)
    """How factors move, by kind, where it is not the default: `log` for spot, fx and implied_vol, `absolute`
    for zero_rate, credit_spread and dividend_yield; `relative` is the simple return."""
    sampler: Literal["random", "sobol", "importance"] = "random"
    """Monte-Carlo from pseudo-random streams; from scrambled Sobol points, which round `n_paths` up; or by
    importance sampling of the whole book's tail where a pilot says that it pays. Over several days the last
    needs `step: horizon`."""
    drift: Literal["zero", "martingale"] = "zero"
    """Monte-Carlo moves of zero mean, or such that the expected level is today's; Student-t log moves, which
    have no such drift, keep zero mean and their note says so."""
    step: Literal["daily", "horizon"] = "daily"
    """Monte-Carlo over several days: the sum of daily draws, or one draw with the covariance of all days."""
    covariance: CovarianceSettings = CovarianceSettings()
    """The covariance behind Monte-Carlo."""
    stopping: StoppingSettings = StoppingSettings()
    """When Monte-Carlo ends early."""
    ageing: Literal["none", "calendar"] = "none"
    """`none`: moves are instantaneous. `calendar`: the book is revalued at the horizon date, so many sessions
    of `bell.exchange` later, with cash flows and expiries in between accounted for."""
    stressed_window_days: Positive | None = 250
    """Moves in the window of stressed expected shortfall: of the whole history, the one that is worst for the
    fund; null for no such figure. A history that is shorter than the window has none."""
    participation: Annotated[float, Field(gt=0.0, le=1.0)] = 0.2
    """Share of an instrument's average daily volume that is traded a day when a position is liquidated."""
    backtest_days: Positive = 250
    """Past sessions that are forecast."""
    on_failed_position: Literal["exclude", "stop"] = "exclude"
    """`exclude` a position that cannot be priced (PARTIAL), or `stop` the night (exit code 3)."""
    credit: CreditSettings = CreditSettings()
    """Settings of the loan book."""

    @property
    def move_kinds(self) -> dict[str, MoveKind]:
        """Kinds of factor that are told how to move, for `Market.with_moves`."""
        return {kind: MoveKind[name.upper()] for kind, name in self.moves.items()}


class ScoreSettings(Strict):
    """Buckets of the early-warning score, as multiples of the model's decision threshold."""

    n_actors: Positive = 2
    """Most actors of the scoring pool."""
    batch_rows: Positive = 4096
    """Rows per call of an actor."""
    high_multiple: Annotated[float, Field(gt=0)] = 2.0
    """A score from this multiple of the decision threshold on is `high`."""
    watch_multiple: Annotated[float, Field(gt=0)] = 1.0
    """A score from this multiple of the decision threshold on is `watch`."""


class MonitorSettings(Strict):
    """Drift and backtest thresholds."""

    drift_current_days: Positive = 60
    """Sessions of the current window; not more than `calibrate.out_of_time_days`."""
    drift_warning: Annotated[float, Field(gt=0)] = 0.1
    """Population stability index from which a feature is a warning."""
    drift_alert: Annotated[float, Field(gt=0)] = 0.25
    """Population stability index from which a feature, or the scoring model's scores, is an alert."""
    recent_days: Positive = 250
    """Labelled sessions of the recent past, in which event frequency and skill of the scoring model are
    compared with what they were; fewer than `calibrate.out_of_time_days`."""


class ReportSettings(Strict):
    """Texts that only the owner of the data can give."""

    approximations: tuple[str, ...] = ()
    """Sentences for the report's list of what is approximate."""
    credit_label: str = "Credit"
    """Heads everything about the loan book, so that a made-up book can be called what it is."""


class TargetSettings(Strict):
    """Where the night runs. It changes where, never what."""

    cpus: Positive | None = None
    """CPUs that Ray may use; all of the machine's if absent."""
    spark_master: str = "local[2]"
    """Spark master."""
    spark_memory: str = "1g"
    """Memory of Spark's driver."""
    spark_shuffle_partitions: Positive = 4
    """Partitions of a Spark shuffle."""
    ray_object_store_bytes: Positive = 300_000_000
    """Size of Ray's object store."""


class Settings(Strict):
    """The whole of acceleray.yaml."""

    name: str
    """Name of the project; heads the report."""
    as_of: dt.date
    """Business date of the data. Later rows are counted and left out."""
    base_currency: Annotated[str, Field(pattern=r"^[A-Z]{3}$")]
    """Currency of every amount in the results, as a three-letter code."""
    bell: BellSettings = BellSettings()
    """The deadline."""
    inputs: InputsSettings = InputsSettings()
    """Where the data are."""
    curves: dict[str, CurveSettings] = Field(default_factory=dict)
    """Discount curves given as numbers, by name."""
    dividend_yields: dict[str, DividendYieldSettings] = Field(default_factory=dict)
    """Dividend yields given as numbers, by factor id."""
    scenarios: str | None = "scenarios.yaml"
    """File of the scenario list, or null for none."""
    limits: str | None = "limits.yaml"
    """File of the limits, or null for none."""
    ingest: IngestSettings = IngestSettings()
    """The ingest stage."""
    features: FeaturesSettings = FeaturesSettings()
    """The features stage."""
    calibrate: CalibrateSettings = CalibrateSettings()
    """The calibrate stage."""
    train: TrainSettings = TrainSettings()
    """The train stage."""
    simulate: SimulateSettings = SimulateSettings()
    """The simulate stage."""
    score: ScoreSettings = ScoreSettings()
    """The score stage."""
    monitor: MonitorSettings = MonitorSettings()
    """The monitor stage."""
    report: ReportSettings = ReportSettings()
    """The report stage."""
    targets: dict[str, TargetSettings] = Field(default_factory=lambda: {"laptop": TargetSettings()})
    """Where a night can run, by name; not part of `settings_id`."""


# Limits whose unit is not an amount or its share of NAV.
_LIMIT_UNITS = {
    "tracking_error": ("share",),
    "leverage": ("share",),
    "issuer": ("share",),
    "liquidity": ("days",),
}


class Limit(Strict):
    """A warning and a limit for one measure of one portfolio."""

    portfolio_id: str
    """A node of the hierarchy; `Fund` is the whole book."""
    type: Literal["VaR", "ES", "stress", "DV01", "vega", "tracking_error", "leverage", "issuer", "liquidity"]
    """Which figure is limited. VaR and ES are those of `simulate.headline_method`, DV01 and vega the sizes of
    the sums over all rates and vols; the tracking error is annualised, leverage is gross, issuer is the
    largest one, liquidity is the slowest instrument's."""
    unit: Literal["amount", "share", "days"] = "amount"
    """Unit of warning and limit: an `amount` in base currency or a `share` of NAV; `share` for
    tracking_error, leverage and issuer, `days` for liquidity."""
    level: Level | None = None
    """Level of VaR or ES; by default that of `simulate`."""
    horizon_days: Positive = 1
    """Horizon of VaR or ES; one of `simulate.horizons_days`."""
    scenario: str | None = None
    """Name of the market scenario of a stress limit."""
    warning: Annotated[float, Field(gt=0)]
    """Figure above which the state is `warning`."""
    limit: Annotated[float, Field(gt=0)]
    """Figure above which the state is `breach`."""
    hard: bool = False
    """Noted beside a breach."""
    owner: str | None = None
    """Whom a breach concerns."""
    waived_until: dt.date | None = None
    """Last day of a waiver; noted beside the state, which it does not change."""

    @model_validator(mode="after")
    def _consistent(self) -> Limit:
        if self.warning > self.limit:
            raise ValueError("warning must not exceed limit")
        if (self.type == "stress") != (self.scenario is not None):
            raise ValueError("scenario goes with type stress, and only with it")
        units = _LIMIT_UNITS.get(self.type, ("amount", "share"))
        if self.unit not in units:
            raise ValueError(f"unit of type {self.type} must be {' or '.join(units)}, was {self.unit}")
        return self


def canonical(model: BaseModel) -> dict[str, Any]:
    """Return the settings as plain JSON values, the same for the same meaning."""
    return model.model_dump(mode="json", by_alias=True)
