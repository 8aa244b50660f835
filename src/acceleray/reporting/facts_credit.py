"""Facts about the loan book: losses of one year, how they were found, and who makes their tail."""

from __future__ import annotations

from dataclasses import dataclass

from acceleray.reporting.estimate import Estimate

__all__ = ["Credit", "CreditCase", "CreditLevel", "CreditObligor", "CreditTail"]


@dataclass(frozen=True, slots=True, kw_only=True)
class CreditLevel:
    """The tail beyond one level.

    `economic_capital` is VaR less expected loss; `asrf` is the VaR of a book of infinitely many obligors.
    `contribution` is a segment's part of the book's ES; of the book itself it is None. `tail_paths` are the
    equally likely paths that would know the tail as well; None where no defaults are drawn.
    """

    level: float
    var: Estimate
    es: Estimate
    economic_capital: Estimate
    asrf: Estimate
    contribution: Estimate | None
    tail_paths: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class CreditCase:
    """Losses of the loan book, or of one segment, in one scenario; `levels` in ascending order.

    `irb_capital` is the Basel formula, to be compared with economic capital at its own level, 99.9 %.
    `simulated_loss` is the mean of plain paths beside the exact expected loss. `why` says why `method` and no
    earlier choice, empty for the first; `distance` is the largest distance of the method's tail from that of
    plain paths, in standard errors of both, None where these cannot say or are themselves the method.
    `market_too` holds for a scenario that the market book is revalued under as well.
    """

    segment: str
    scenario: str
    expected_loss: Estimate
    simulated_loss: Estimate
    irb_capital: Estimate
    levels: tuple[CreditLevel, ...]
    method: str | None
    n_paths: int | None
    why: str
    distance: float | None
    market_too: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class CreditObligor:
    """An obligor's part of the tail of the book; a part is None where it is not among the largest listed."""

    obligor_id: str
    segment: str
    ead: float
    default_prob: float
    lgd: float
    var: float | None
    var_share: float | None
    es: float | None
    es_share: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class CreditTail:
    """The obligors that make most of VaR and ES of the reference scenario, and the remainder.

    `names` are in descending order of their part of ES, then of VaR. The remainders are all that the names do
    not state, so that names and remainder add up.
    """

    level: float
    names: tuple[CreditObligor, ...]
    others_var: float
    others_es: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Credit:
    """The loan book; without `dof` its copula is Gaussian.

    `reference` is the scenario that segments and obligors are shown for: the first of the file that changes
    nothing, or the first. `method` is what the settings ask for. Without `tail`, the method of the reference
    scenario does not split the tail by obligor.
    """

    label: str
    horizon: str
    level: float
    reference: str
    method: str
    dof: float | None
    obligors: int | None
    ead: float | None
    scenarios: tuple[CreditCase, ...]
    segments: tuple[CreditCase, ...]
    tail: CreditTail | None
