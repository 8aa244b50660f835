"""Losses of a loan book under every scenario, to be asked for their measures."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from acceleray.domain.measures import Measure
from acceleray.errors import UsageError
from acceleray.numerics.credit_model import LossModel
from acceleray.numerics.intervals import Estimate
from acceleray.risk.credit_blocks import WHOLE, Portfolio
from acceleray.risk.credit_book import WHOLE_BOOK, CreditBook
from acceleray.risk.credit_methods import Found
from acceleray.risk.credit_models import CreditStress

__all__ = ["WHOLE_BOOK", "CreditLosses", "expected_of"]

FloatArray = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class CreditLosses:
    """One-year losses of a loan book, by scenario and segment; amounts in base currency, positive is a loss.

    Parameters
    ----------
    book : CreditBook
        The unstressed book.
    stresses : sequence of CreditStress
        One per scenario.
    models : sequence of LossModel
        The book under each scenario.
    expected : ndarray of shape (n_scenarios, n_obligors)
        Exact expected loss of every obligor.
    plain : ndarray of shape (n_scenarios, n_segments, n_paths)
        Losses of plain paths, whichever method the figures come from. All scenarios share their streams.
    found : mapping of Portfolio to Found
        Figures of every segment and of the whole book under every scenario.
    """

    book: CreditBook
    stresses: Sequence[CreditStress]
    models: Sequence[LossModel]
    expected: FloatArray
    plain: FloatArray
    found: Mapping[Portfolio, Found]

    @property
    def scenarios(self) -> tuple[str, ...]:
        """Names of the scenarios, in their order."""
        return tuple(stress.scenario for stress in self.stresses)

    @property
    def segments(self) -> tuple[str, ...]:
        """Names of the segments, in alphabetical order."""
        return self.book.segments

    def paths(self, *, segment: str = WHOLE_BOOK, scenario: str | None = None) -> FloatArray:
        """Losses of the plain paths of a segment, or of the whole book; shape (n_paths,).

        Raises
        ------
        UsageError
            If there is no such segment or scenario. Without a name, the first scenario is meant.
        """
        portfolio = self._portfolio(segment, scenario)
        by_segment = self.plain[portfolio.scenario]
        if portfolio.segment != WHOLE:
            return np.ascontiguousarray(by_segment[portfolio.segment])
        total = np.zeros(by_segment.shape[1])
        for losses in by_segment:
            total += losses
        return total

    def expected_loss(self, *, segment: str = WHOLE_BOOK, scenario: str | None = None) -> Measure:
        """Return the exact expected loss."""
        portfolio = self._portfolio(segment, scenario)
        value = expected_of(self, portfolio)
        return Measure(
            value=value, ci_low=value, ci_high=value, n_paths=0, method="exact", note="exact, no sampling"
        )

    def var(self, level: float = 0.999, *, segment: str = WHOLE_BOOK, scenario: str | None = None) -> Measure:
        """Estimate the value at risk; errors as for `paths`, and where `level` is not inside (0, 1)."""
        _check_level(level)
        found = self._found(segment, scenario)
        return _measure(found, found.estimates.var(level))

    def es(self, level: float = 0.999, *, segment: str = WHOLE_BOOK, scenario: str | None = None) -> Measure:
        """Estimate the expected shortfall; errors as for `var`."""
        _check_level(level)
        found = self._found(segment, scenario)
        return _measure(found, found.estimates.es(level))

    def exceedance(self, loss: float, *, segment: str = WHOLE_BOOK, scenario: str | None = None) -> Measure:
        """Estimate the probability of a loss above `loss`; errors as for `paths`, and if `loss` is NaN."""
        if math.isnan(loss):
            raise UsageError("loss: must be a number, was nan")
        found = self._found(segment, scenario)
        return _measure(found, found.estimates.exceedance(loss))

    def method(self, *, segment: str = WHOLE_BOOK, scenario: str | None = None) -> tuple[str, str]:
        """Return the method of the figures, and why it is no other; errors as for `paths`."""
        found = self._found(segment, scenario)
        return found.estimates.method, found.why

    def _found(self, segment: str, scenario: str | None) -> Found:
        return self.found[self._portfolio(segment, scenario)]

    def _portfolio(self, segment: str, scenario: str | None) -> Portfolio:
        number = _index(self.scenarios, scenario or self.scenarios[0], "scenario")
        if segment == WHOLE_BOOK:
            return Portfolio(scenario=number, segment=WHOLE)
        return Portfolio(scenario=number, segment=_index(self.segments, segment, "segment"))


def expected_of(losses: CreditLosses, portfolio: Portfolio) -> float:
    """Return the exact expected loss of a portfolio, in base currency."""
    rows = slice(None) if portfolio.segment == WHOLE else losses.book.slices[portfolio.segment]
    return float(np.sum(np.ascontiguousarray(losses.expected[portfolio.scenario, rows])))


def _check_level(level: float) -> None:
    # Written so that NaN fails too.
    if not 0.0 < level < 1.0:
        raise UsageError(
            f"level: must lie between 0 and 1, was {level}",
            hint="0.999 is the loss that one year in a thousand exceeds.",
        )


def _index(names: tuple[str, ...], name: str, what: str) -> int:
    if name not in names:
        raise UsageError(f"{what}: {name!r} is not in the book", hint=f"Known: {', '.join(names)}.")
    return names.index(name)


def _measure(found: Found, estimate: Estimate) -> Measure:
    return Measure(
        value=estimate.value,
        ci_low=estimate.ci_low,
        ci_high=estimate.ci_high,
        n_paths=found.estimates.n_paths or 0,
        method=found.estimates.method,
        note=estimate.note,
    )
