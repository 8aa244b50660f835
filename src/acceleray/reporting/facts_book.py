"""Facts about the book as a whole: why its value changed, what moves it, and what it is measured against."""

from __future__ import annotations

from dataclasses import dataclass

from acceleray.reporting.estimate import Estimate

__all__ = [
    "Active",
    "ActivePortfolio",
    "Capital",
    "Contributor",
    "CurrencyExposure",
    "Explain",
    "ExplainTerm",
    "Greek",
    "Greeks",
    "PortfolioFigures",
    "Sensitivity",
]


@dataclass(frozen=True, slots=True, kw_only=True)
class ExplainTerm:
    """Part of the change in value since the earlier night."""

    term: str
    value: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Explain:
    """Why the value of the fund changed between two nights.

    `terms` are in the page's order and add up to `total`; `residual_share` is the size of the residual over
    that of the total, None where the total is zero. Without an earlier night there is only a reason.
    """

    portfolio_id: str
    from_date: str | None
    to_date: str
    terms: tuple[ExplainTerm, ...]
    total: float | None
    residual_share: float | None
    reason: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Sensitivity:
    """Gain of the fund if one factor rises by the unit of its group."""

    factor_id: str
    value: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Greek:
    """One kind of sensitivity: its largest factors, the rest, and all of them together.

    `total` is the gain if all factors rise at once; None for second derivatives, whose cross terms it lacks.
    """

    measure: str
    unit: str
    factors: tuple[Sensitivity, ...]
    others_count: int
    others_value: float
    total: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Greeks:
    """Sensitivities of the fund by kind; `theta` is the gain of one calendar day at unchanged levels."""

    portfolio_id: str
    kinds: tuple[Greek, ...]
    theta: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Contributor:
    """An instrument and what it adds to a figure of its portfolio."""

    instrument_id: str
    estimate: Estimate


@dataclass(frozen=True, slots=True, kw_only=True)
class ActivePortfolio:
    """A portfolio against its benchmark; tracking error is annual, a share of NAV."""

    portfolio_id: str
    benchmark_id: str
    tracking_error: Estimate
    limit: float | None
    limit_state: str | None
    active_var: Estimate
    active_es: Estimate
    largest: Contributor | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Active:
    """All portfolios with a benchmark."""

    var_level: float
    es_level: float
    horizon_days: int
    portfolios: tuple[ActivePortfolio, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class PortfolioFigures:
    """A portfolio against its capital: shares are of the NAV, days are those to liquidate."""

    portfolio_id: str
    nav: Estimate
    var: Estimate
    es: Estimate
    gross_leverage: Estimate
    net_leverage: Estimate
    days_largest: Estimate
    days_mean: Estimate


@dataclass(frozen=True, slots=True, kw_only=True)
class CurrencyExposure:
    """Exposure of the fund to a currency, before and after what counts as a hedge."""

    currency: str
    before: Estimate
    after: Estimate


@dataclass(frozen=True, slots=True, kw_only=True)
class Capital:
    """The fund and its children against their capital, and the fund's currencies."""

    var_level: float
    es_level: float
    horizon_days: int
    portfolios: tuple[PortfolioFigures, ...]
    currencies: tuple[CurrencyExposure, ...]
