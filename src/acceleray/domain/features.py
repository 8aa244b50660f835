"""The columns that the early-warning model may use."""

from __future__ import annotations

__all__ = ["FEATURES"]

# What the early-warning model sees of a factor on a date. Everything is known at that day's close.
FEATURES: tuple[str, ...] = (
    "return_1d",
    "return_5d",
    "return_20d",
    "return_60d",
    "volatility_20d",
    "volatility_60d",
    "volatility_250d",
    "volatility_ratio",
    "drawdown_250d",
    "rally_250d",
    "momentum_250d",
    "beta_120d",
    "correlation_120d",
    "idiosyncratic_volatility_120d",
    "index_return_20d",
    "index_volatility_20d",
    "index_drawdown_250d",
    "oil_return_20d",
    "oil_volatility_20d",
    "credit_spread",
    "credit_spread_change_3m",
    "short_rate",
)
