"""What the morning page states, as plain values: no formatting, no positions of marks.

Every fact is a frozen dataclass; `acceleray.reporting.document` turns them into ``report.json``. Losses are
positive; amounts are in the base currency; levels and shares are fractions; dates and instants are ISO text.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from acceleray.reporting.estimate import Estimate
from acceleray.reporting.facts_book import Active, Capital, Explain, Greeks
from acceleray.reporting.facts_credit import Credit

__all__ = [
    "AgedSeries",
    "Backtest",
    "BacktestDay",
    "BacktestTest",
    "Bin",
    "CalibrationPoint",
    "Control",
    "Coverage",
    "DataQuality",
    "Distribution",
    "DriftFact",
    "Driver",
    "Drivers",
    "EarlyWarning",
    "Estimate",
    "Excluded",
    "Facts",
    "Headline",
    "HealthFact",
    "LimitFact",
    "MethodCell",
    "MethodRow",
    "ModelFact",
    "ModelMetric",
    "Part",
    "RejectedRow",
    "Stress",
    "StressCell",
    "StressScenario",
    "TailPoint",
    "WarnedName",
]


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """A small figure beside a headline figure: another method, a segment, a bucket."""

    label: str
    value: float | int | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Headline:
    """One of the figures at the top, and where it stands."""

    id: str
    kind: str  # "amount", "pnl" or "count"
    estimate: Estimate
    level: float | None = None
    horizon_days: int | None = None
    method: str | None = None
    subject: str | None = None
    scenario: str | None = None
    parts: tuple[Part, ...] = ()
    table: str = ""
    n_paths: int | None = None
    # Last days of the first and the last move of a window of the past, where the figure is that of one.
    window_from: str | None = None
    window_to: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Coverage:
    """How much of the book the figures stand for."""

    value: float | None
    positions_total: int
    positions_included: int
    rows_rejected: int
    excluded_value: float | None
    reason: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class LimitFact:
    """One limit as the monitor judged it."""

    portfolio_id: str
    type: str
    level: float | None
    horizon_days: int | None
    scenario: str | None
    unit: str
    state: str
    estimate: Estimate
    warning: float
    limit: float
    utilisation: float | None
    owner: str | None
    reason: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Driver:
    """A member's contribution to the risk of the fund."""

    member_id: str
    value: float
    std_error: float | None
    share: float | None = None
    standalone: float | None = None
    portfolios: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Drivers:
    """Contributions to the headline expected shortfall; they add up to `total`."""

    measure: str
    level: float
    horizon_days: int
    method: str
    total: Estimate
    portfolios: tuple[Driver, ...]
    residual: float
    standalone_total: float | None
    diversification: float | None
    diversification_share: float | None
    adding: tuple[Driver, ...]
    reducing: tuple[Driver, ...]
    others_count: int
    others_value: float


@dataclass(frozen=True, slots=True, kw_only=True)
class MethodCell:
    """One method's answer."""

    method: str
    horizon_days: int
    estimate: Estimate
    n_paths: int | None


@dataclass(frozen=True, slots=True, kw_only=True)
class MethodRow:
    """One measure of one node by every method and horizon."""

    portfolio_id: str
    measure: str
    level: float
    cells: tuple[MethodCell, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Bin:
    """A bar of the histogram: losses from `low` up to, not including, `high`."""

    low: float
    high: float
    count: int
    tail_count: int


@dataclass(frozen=True, slots=True, kw_only=True)
class TailPoint:
    """One of the worst scenarios."""

    loss: float
    scenario: int
    date: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Distribution:
    """Simulated losses of the fund under the headline method."""

    method: str
    horizon_days: int
    n_paths: int
    bins: tuple[Bin, ...]
    tail_share: float
    var: Estimate
    var_level: float
    es: Estimate
    es_level: float
    worst: tuple[TailPoint, ...]
    dated_from: str | None
    dated_to: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class StressCell:
    """P&L of one portfolio in one scenario, and what a limit on it says."""

    portfolio_id: str
    pnl: float | None
    limit_state: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class StressScenario:
    """One scenario; `pnl` is the fund's, signed."""

    scenario: str
    pnl: float | None
    limit_state: str | None
    window_from: str | None
    window_to: str | None
    proxied_share: float | None
    cells: tuple[StressCell, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Stress:
    """All scenarios, worst first."""

    portfolios: tuple[str, ...]
    scenarios: tuple[StressScenario, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class BacktestDay:
    """P&L of one day against the VaR forecast for it."""

    date: str
    pnl: float
    var: float
    exception: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class BacktestTest:
    """Verdict on one method at one level."""

    method: str
    level: float
    days: int
    exceptions: int
    expected: float
    kupiec_p_value: float | None
    christoffersen_p_value: float | None
    zone: str | None
    note: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Backtest:
    """The headline method day by day, and every method's tests."""

    method: str
    level: float
    book: str
    wanted_days: int
    days: tuple[BacktestDay, ...]
    headline: BacktestTest | None
    tests: tuple[BacktestTest, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class WarnedName:
    """A scored position or portfolio."""

    rank: int | None
    portfolio_id: str
    instrument_id: str
    direction: str | None
    score: float | None
    bucket: str | None
    exposure: float | None
    reasons: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelFact:
    """A model as the gate left it."""

    model_id: str
    family: str
    role: str
    promoted: bool
    reason: str | None
    trained_from: str | None
    trained_to: str | None
    tested_from: str | None
    tested_to: str | None
    rows: int | None
    sha256: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelMetric:
    """One metric of one model, out of time."""

    model_id: str
    metric: str
    estimate: Estimate
    rows: int | None
    blocks: int | None


@dataclass(frozen=True, slots=True, kw_only=True)
class CalibrationPoint:
    """Predicted against observed share of one bin of scores."""

    predicted: float
    observed: float
    rows: int


@dataclass(frozen=True, slots=True, kw_only=True)
class HealthFact:
    """One finding about the scoring model, or what they recommend."""

    kind: str
    status: str
    estimate: Estimate
    note: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class EarlyWarning:
    """The queue and what its model is worth."""

    scored: int
    flagged: int
    distinct: int
    counts: tuple[Part, ...]
    names: tuple[WarnedName, ...]
    rollups: tuple[WarnedName, ...]
    model_id: str | None
    models: tuple[ModelFact, ...]
    metrics: tuple[ModelMetric, ...]
    calibration: tuple[CalibrationPoint, ...]
    health: tuple[HealthFact, ...]
    horizon_days: int
    threshold_quantile: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Excluded:
    """A position that no figure contains."""

    portfolio_id: str
    instrument_id: str
    reason: str | None
    market_value: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class RejectedRow:
    """A row that failed validation."""

    input: str
    file: str | None
    line: int | None
    column: str | None
    value: str | None
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class AgedSeries:
    """A factor whose last observation is older than the night."""

    factor_id: str
    observed_on: str
    age_days: int
    max_age_days: int | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Control:
    """What came in and what became of it."""

    input: str
    source: str | None
    rows_read: int
    rows_accepted: int
    rows_rejected: int
    rows_after_as_of: int
    amount_column: str | None
    amount_total: float | None
    last_date: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class DriftFact:
    """Population stability of one feature."""

    feature: str
    psi: float | None
    status: str
    note: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class DataQuality:
    """What the night was given."""

    excluded: tuple[Excluded, ...]
    rejected: tuple[RejectedRow, ...]
    aged: tuple[AgedSeries, ...]
    controls: tuple[Control, ...]
    drift: tuple[DriftFact, ...]
    drift_warning: float
    findings: tuple[dict[str, Any], ...]
    approximations: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Facts:
    """Everything on the page. A section that is None has no facts and is left out."""

    fund: str
    as_of: str
    base_currency: str
    interval_level: float
    state: str
    partial_reasons: tuple[str, ...]
    warnings: tuple[str, ...]
    coverage: Coverage
    headline: tuple[Headline, ...]
    limits: tuple[LimitFact, ...]
    limit_counts: dict[str, int]
    pnl: Explain
    drivers: Drivers | None
    sensitivities: Greeks | None
    active: Active | None
    capital: Capital | None
    methods: tuple[MethodRow, ...]
    distribution: Distribution | None
    stress: Stress | None
    backtest: Backtest | None
    credit: Credit | None
    early_warning: EarlyWarning | None
    data: DataQuality
    run: dict[str, Any] = field(default_factory=dict)
