"""What a run evaluates: sets of scenarios, each a move of every factor."""

from __future__ import annotations

import datetime as dt
import math
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Literal, get_args

import pyarrow as pa

from acceleray.errors import UsageError

__all__ = [
    "FilteredHistorical",
    "Given",
    "Historical",
    "MonteCarlo",
    "Move",
    "ScenarioSet",
    "Shock",
    "Stress",
    "StressScenario",
]


class Move(StrEnum):
    """How a shock changes a level."""

    SCALE = "scale"
    ADD = "add"
    SET = "set"


@dataclass(frozen=True, slots=True, kw_only=True)
class Shock:
    """One move of all factors that meet every given condition; `factor_id` may be a glob."""

    move: Move
    size: float
    factor_id: str | None = None
    kind: str | None = None
    curve: str | None = None
    currency: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class StressScenario:
    """A named stress: shocks applied in order to today's levels, or a past window whose moves are replayed.

    Parameters
    ----------
    name : str
        As it appears in results.
    shocks : tuple of Shock
        Later ones act on what earlier ones left.
    window : tuple of date, optional
        First and last close; the cumulative move between them is applied before the shocks.
    """

    name: str
    shocks: tuple[Shock, ...] = ()
    window: tuple[dt.date, dt.date] | None = None


def _require_whole(what: str, number: Any, at_least: int) -> None:
    """Refuse what is not a whole number, or too small a one: it would be cut off, or mean something else."""
    whole = hasattr(number, "__index__") and not isinstance(number, bool)
    if not whole or number < at_least:
        raise UsageError(f"{what}: expected a whole number from {at_least}, was {number!r}")


def _require_choice(what: str, word: Any, choices: Any) -> None:
    """Refuse a word that means nothing: it would be taken for the default."""
    if word not in get_args(choices):
        expected = " or ".join(map(repr, get_args(choices)))
        raise UsageError(f"{what}: expected {expected}, was {word!r}")


_Scale = Literal["covariance", "dispersion"]
_Sampler = Literal["random", "sobol", "importance"]
_Drift = Literal["zero", "martingale"]
_Step = Literal["daily", "horizon"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Historical:
    """The factor moves of the last `window_days` windows of `horizon_days`, all equally likely.

    Overlapping windows start on each day; otherwise each begins where the one before ended.
    """

    window_days: int = 500
    horizon_days: int = 1
    overlapping: bool = True

    def __post_init__(self) -> None:
        _require_whole("historical.horizon_days", self.horizon_days, 1)
        _require_whole(
            "historical.window_days", self.window_days, 1 if self.overlapping else self.horizon_days
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class FilteredHistorical:
    """Past moves divided by the volatility of their day and multiplied by tomorrow's.

    At one day each date of the window is used once and `n_paths` and `seed` play no part; over longer
    horizons whole residual dates are drawn and the variance recursion runs along each path.
    """

    window_days: int = 500
    horizon_days: int = 1
    n_paths: int = 10_000
    seed: int = 0

    def __post_init__(self) -> None:
        for name, least in (("window_days", 1), ("horizon_days", 1), ("n_paths", 1), ("seed", 0)):
            _require_whole(f"filtered_historical.{name}", getattr(self, name), least)


@dataclass(frozen=True, slots=True, kw_only=True)
class MonteCarlo:
    """Normal factor moves, or Student-t ones when `dof` is given.

    Parameters
    ----------
    n_paths : int
        Paths. A Sobol set rounds them up so that all its scrambles are of one length, importance sampling so
        that all its blocks are.
    horizon_days, seed : int
        Business days of each move; seed of the streams.
    dof : float, optional
        Degrees of freedom of Student-t moves.
    scale : {"covariance", "dispersion"}
        A t draw has the stated covariance; or that is taken as the dispersion matrix, so the draw is wider.
    sampler : {"random", "sobol", "importance"}
        Pseudo-random streams; or scrambled Sobol points, whose error bars come from independent scrambles; or
        weighted paths drawn where the book loses money, if a pilot says that this pays. The last needs one
        step over the horizon.
    aim : tuple of float
        Levels at which importance sampling should know the tail well.
    drift : {"zero", "martingale"}
        Moves of zero mean; or shifted so that the expected level is today's, which for Student-t log moves
        cannot be done.
    step : {"daily", "horizon"}
        Over several days, the sum of independent daily draws; or one draw with the covariance of all days.
        The same law for normal moves; one t draw has the fatter tail.
    """

    n_paths: int
    horizon_days: int = 1
    seed: int = 0
    dof: float | None = None
    scale: _Scale = "covariance"
    sampler: _Sampler = "random"
    drift: _Drift = "zero"
    step: _Step = "daily"
    aim: tuple[float, ...] = (0.99,)

    def __post_init__(self) -> None:
        for name, least in (("n_paths", 1), ("horizon_days", 1), ("seed", 0)):
            _require_whole(f"monte_carlo.{name}", getattr(self, name), least)
        for name, words in (("scale", _Scale), ("sampler", _Sampler), ("drift", _Drift), ("step", _Step)):
            _require_choice(f"monte_carlo.{name}", getattr(self, name), words)
        least_dof = 2.0 if self.scale == "covariance" else 0.0
        if self.dof is not None and not least_dof < self.dof < math.inf:
            raise UsageError(
                f"monte_carlo.dof: expected a finite number above {least_dof:g}, was {self.dof}",
                hint="Normal moves are those without dof; a law without variance has no covariance.",
            )
        if not self.aim or not all(0.0 < level < 1.0 for level in self.aim):
            raise UsageError(f"monte_carlo.aim: expected levels between 0 and 1, was {self.aim!r}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Stress:
    """Named stresses, without probabilities."""

    scenarios: tuple[StressScenario, ...]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Given:
    """Shocked levels from a table ``scenario, factor_id, value``; a factor left out stays where it is."""

    table: pa.Table


ScenarioSet = Historical | FilteredHistorical | MonteCarlo | Stress | Given
