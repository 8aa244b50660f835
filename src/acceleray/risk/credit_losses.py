"""Simulated credit losses, to be asked for their measures."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
import pyarrow as pa
from scipy.stats import norm

from acceleray.domain.measures import Measure
from acceleray.errors import UsageError
from acceleray.numerics.aggregation import tree_sum
from acceleray.numerics.tail import Estimate, estimate_expected_shortfall, estimate_value_at_risk
from acceleray.risk.credit import credit_scenarios, draw_credit_losses
from acceleray.risk.credit_book import read_credit_book
from acceleray.risk.credit_models import stress_credit_book

if TYPE_CHECKING:
    from acceleray.config.models import Scenario, SimulateSettings

__all__ = ["CreditLosses", "simulate_credit_losses"]

_CONFIDENCE = 0.95
_WHOLE_BOOK = "*"


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class CreditLosses:
    """One-year losses per scenario, path and segment.

    Parameters
    ----------
    scenarios, segments : tuple of str
        Names along the first and last axis.
    losses : ndarray of shape (n_scenarios, n_paths, n_segments)
        In base currency, positive.
    seed : int
        Seed of the simulation.
    """

    scenarios: tuple[str, ...]
    segments: tuple[str, ...]
    losses: npt.NDArray[np.float64]
    seed: int

    def paths(self, *, segment: str = _WHOLE_BOOK, scenario: str | None = None) -> npt.NDArray[np.float64]:
        """Losses per path of a segment, or of the whole book; shape (n_paths,).

        Raises
        ------
        UsageError
            If there is no such segment or scenario. Without a name, the first scenario is meant.
        """
        chosen = self.losses[_index(self.scenarios, scenario or self.scenarios[0], "scenario")]
        if segment == _WHOLE_BOOK:
            return tree_sum(np.ascontiguousarray(chosen.T), axis=0)
        return np.ascontiguousarray(chosen[:, _index(self.segments, segment, "segment")])

    def var(
        self, level: float = 0.999, *, segment: str = _WHOLE_BOOK, scenario: str | None = None
    ) -> Measure:
        """Estimate the value at risk."""
        paths = self.paths(segment=segment, scenario=scenario)
        found = estimate_value_at_risk(
            paths, level=level, confidence=_CONFIDENCE, overlap_days=1, seed=self.seed
        )
        return _measure(found, paths.size)

    def es(self, level: float = 0.999, *, segment: str = _WHOLE_BOOK, scenario: str | None = None) -> Measure:
        """Estimate the expected shortfall."""
        paths = self.paths(segment=segment, scenario=scenario)
        found = estimate_expected_shortfall(
            paths, level=level, confidence=_CONFIDENCE, overlap_days=1, seed=self.seed
        )
        return _measure(found, paths.size)

    def exceedance(self, loss: float, *, segment: str = _WHOLE_BOOK, scenario: str | None = None) -> Measure:
        """Estimate the probability of a loss above `loss`, with a Wilson interval."""
        paths = self.paths(segment=segment, scenario=scenario)
        n, hits = paths.size, int((paths > loss).sum())
        z = float(norm.ppf(0.5 + _CONFIDENCE / 2.0))
        share = hits / n
        centre = (share + z * z / (2 * n)) / (1 + z * z / n)
        half = z / (1 + z * z / n) * float(np.sqrt(share * (1 - share) / n + z * z / (4 * n * n)))
        return Measure(
            value=share,
            ci_low=max(0.0, centre - half),
            ci_high=min(1.0, centre + half),
            n_paths=n,
            method="gaussian_copula",
            note="share of paths; Wilson interval",
        )


def simulate_credit_losses(
    obligors: pa.Table, scenarios: Sequence[Scenario], settings: SimulateSettings
) -> CreditLosses:
    """Draw the losses of a loan book; parameters and errors as `risk.credit.simulate_credit`."""
    book = read_credit_book(obligors, settings.credit)
    chosen = credit_scenarios(scenarios)
    losses = draw_credit_losses(
        book,
        [stress_credit_book(book, scenario) for scenario in chosen],
        seed=settings.seed,
        n_paths=settings.credit.n_paths,
        block_size=settings.credit.block_size,
    )
    return CreditLosses(
        scenarios=tuple(scenario.name for scenario in chosen),
        segments=book.segments,
        losses=losses,
        seed=settings.seed,
    )


def _index(names: tuple[str, ...], name: str, what: str) -> int:
    if name not in names:
        raise UsageError(f"{what}: {name!r} is not in the book", hint=f"Known: {', '.join(names)}.")
    return names.index(name)


def _measure(estimate: Estimate, n_paths: int) -> Measure:
    return Measure(
        value=estimate.value,
        ci_low=estimate.ci_low,
        ci_high=estimate.ci_high,
        n_paths=n_paths,
        method="gaussian_copula",
        note=estimate.note,
    )
