"""Settings of named scenarios: what is shocked, by how much, and which book it reaches."""

from __future__ import annotations

import datetime as dt
from typing import Annotated, Literal

from pydantic import ConfigDict, Field, model_validator

from acceleray.config.fields import Strict

__all__ = ["Scenario", "Selector", "Shock"]


class Selector(Strict):
    """Which factors a shock moves; every given condition must hold. `id` may be a glob."""

    id: str | None = None
    """Factor id or a glob such as `SPX*`."""
    kind: str | None = None
    """Kind of factor."""
    curve: str | None = None
    """Curve of the factor."""
    currency: str | None = None
    """Currency of the factor."""
    segment: str | None = None
    """Segment of the loan book, or `*` for all; for scenarios that reach the loan book."""
    credit_factor: str | None = None
    """Latent factor of the loan book, or a glob such as `sector:*`; for scenarios that reach that book."""

    @model_validator(mode="after")
    def _something(self) -> Selector:
        market = [self.id, self.kind, self.curve, self.currency]
        if all(value is None for value in (*market, self.segment, self.credit_factor)):
            raise ValueError("select needs at least one of id, kind, curve, currency, segment, credit_factor")
        if self.credit_factor is not None and any(value is not None for value in (*market, self.segment)):
            raise ValueError("select takes credit_factor alone, without other conditions")
        return self

    @property
    def is_market(self) -> bool:
        """Whether market factors are selected."""
        return self.segment is None and self.credit_factor is None


class Shock(Strict):
    """One move of the selected factors, or of a segment's default probability or loss given default."""

    select: Selector
    """What is shocked."""
    move: dict[Literal["scale", "add", "set"], float] | None = None
    """`scale`, `add` or `set` the level of the selected factors, as `{scale: 0.8}`. A latent credit factor,
    in standard deviations of its year, is `set` to a value, or `add` shifts its mean; low is bad."""
    default_prob: dict[Literal["scale", "add"], float] | None = None
    """`scale` or `add` to the segment's default probabilities; held within [0, 1]."""
    lgd: dict[Literal["scale", "add"], float] | None = None
    """`scale` or `add` to the segment's losses given default; held within [0, 1]."""

    @model_validator(mode="after")
    def _one_move(self) -> Shock:
        given = [part for part in (self.move, self.default_prob, self.lgd) if part is not None]
        if not given or any(len(part) != 1 for part in given):
            raise ValueError(
                "a shock needs a move (or default_prob, lgd) with exactly one of scale, add, set"
            )
        if self.move is not None and (self.default_prob is not None or self.lgd is not None):
            raise ValueError("a shock moves market factors or credit parameters, not both")
        if self.select.credit_factor is not None and (self.move is None or "scale" in self.move):
            raise ValueError("a shock of a credit_factor needs a move with exactly one of add, set")
        return self


class Scenario(Strict):
    """A named stress: a list of shocks, or a historical window whose moves are replayed."""

    model_config = ConfigDict(populate_by_name=True)

    name: str
    """Name in the results; no two scenarios may share one."""
    shocks: tuple[Shock, ...] = ()
    """Applied in their order to today's levels, after the replayed window if there is one."""
    from_: Annotated[dt.date | None, Field(alias="from")] = None
    """First close of a past window whose move is replayed."""
    to: dt.date | None = None
    """Last close of that window."""
    book: Literal["market", "credit", "both"] = "market"
    """`market` scenarios revalue the book; `credit` scenarios redraw the loan book; `both` do both, and their
    market moves act on the loan book through `simulate.credit.market_map`."""

    @model_validator(mode="after")
    def _window_or_shocks(self) -> Scenario:
        if (self.from_ is None) != (self.to is None):
            raise ValueError("a historical window needs both from and to")
        if self.from_ is not None and self.to is not None and self.from_ >= self.to:
            raise ValueError("from must lie before to")
        if self.from_ is None and not self.shocks and self.book != "credit":
            raise ValueError("a scenario needs shocks, or from and to")
        if self.from_ is None and self.book == "both" and not any(s.select.is_market for s in self.shocks):
            raise ValueError("a scenario of both books needs a shock of market factors, or from and to")
        return self

    @property
    def reaches_market(self) -> bool:
        """Whether the market book is revalued."""
        return self.book != "credit"

    @property
    def reaches_credit(self) -> bool:
        """Whether the loan book is redrawn."""
        return self.book != "market"
