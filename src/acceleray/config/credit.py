"""Settings of the loan book: who defaults together, what the market says about it, and the method."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, model_validator

from acceleray.config.fields import Level, Positive, Strict
from acceleray.domain.credit_factors import COUNTRY_PREFIX, SECTOR_PREFIX, WORLD

__all__ = ["CreditSettings"]

_Correlation = Annotated[float, Field(gt=-1.0, lt=1.0)]
_Share = Annotated[float, Field(ge=0.0, lt=1.0)]


class CreditSettings(Strict):
    """A factor model of default: latent factors, of which a low value is bad, and an own risk per obligor.

    An obligor has `loading_<factor>` columns in the file, or the correlations below, never both. The factors
    that the correlations make are called `world`, `sector:<name>` and `country:<name>`.
    """

    method: Literal["auto", "plain", "importance", "conditional", "exact"] = "auto"
    """`plain` Monte-Carlo; `importance` sampling of the tail; `conditional` loss distributions given the
    factors, which are drawn quasi-randomly; `exact` integration where the factors are few; `auto` chooses by
    the shape of the book, and the results say what."""
    n_paths: Positive = 4000
    """Paths per credit scenario, of the methods that draw defaults."""
    block_size: Positive = 500
    """Paths per task; random streams belong to blocks, so results depend on it."""
    scrambles: Annotated[int, Field(ge=2)] = 16
    """Independent scrambles of the factor points, whose spread is the error of the conditional method."""
    points: Positive = 128
    """Factor points per scramble, rounded up to a power of two; very large books take fewer."""
    dof: Annotated[float | None, Field(gt=2.0)] = None
    """Degrees of freedom of a Student-t copula, one mixing variable for the whole book; null for Gaussian."""
    correlation: dict[str, _Share] = Field(default_factory=dict)
    """Asset correlation of each segment through the factor `world`: the share of an obligor's variance that
    the whole book has in common. Every segment without loadings in the file needs one."""
    sector_correlation: dict[str, _Share] = Field(default_factory=dict)
    """Further share of variance that the obligors of a sector have in common, by sector."""
    country_correlation: dict[str, _Share] = Field(default_factory=dict)
    """Further share of variance that the obligors of a country have in common, by country. The shares of an
    obligor add up to less than 1."""
    factor_correlation: dict[str, dict[str, _Correlation]] = Field(default_factory=dict)
    """Correlations between latent factors, as `{oil: {world: 0.5}}`, each pair once; 0 where none is given.
    The matrix must be positive definite."""
    lgd_correlation: dict[str, _Share] = Field(default_factory=dict)
    """Correlation, by segment, of the loss given default with the obligor's systematic score, for obligors
    with an `lgd_std`; 0 where none is given. A bad year then costs more per default too."""
    market_map: dict[str, dict[str, _Correlation]] = Field(default_factory=dict)
    """What the market says about latent factors: correlation of each latent factor with the one-year moves of
    market factors, as `{world: {SP500: 0.6, WTI: 0.1}}`. For scenarios with `book: both`."""
    levels: Annotated[tuple[Level, ...], Field(min_length=1)] = (0.95, 0.99, 0.999)
    """Levels of VaR, ES and economic capital."""

    @model_validator(mode="after")
    def _pairs_once(self) -> CreditSettings:
        seen: set[frozenset[str]] = set()
        for name, row in self.factor_correlation.items():
            for other in row:
                pair = frozenset((name, other))
                if name == other:
                    raise ValueError(f"factor_correlation: {name!r} is paired with itself")
                if pair in seen:
                    raise ValueError(f"factor_correlation: {name!r} and {other!r} are given twice")
                seen.add(pair)
        for name, row in self.market_map.items():
            if not row:
                raise ValueError(f"market_map: {name!r} names no market factor")
        return self

    @property
    def factor_names(self) -> frozenset[str]:
        """Latent factors that the correlations make, whether an obligor depends on them or not."""
        sectors = (SECTOR_PREFIX + name for name in self.sector_correlation)
        countries = (COUNTRY_PREFIX + name for name in self.country_correlation)
        world = (WORLD,) if self.correlation else ()
        return frozenset((*world, *sectors, *countries))
