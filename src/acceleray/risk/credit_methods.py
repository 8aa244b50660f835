"""Which method estimates the losses of which portfolio, and why; checked against plain paths.

Asked for ``auto``, a portfolio is computed exactly where its factors and its losses are few enough, by
conditional loss laws where no single obligor dominates it, by importance sampling where that is affordable
and its guard does not object, and by plain paths otherwise. What plain paths contradict is not reported:
plain paths take its place, and the note says so.
"""

from __future__ import annotations

import functools
import operator
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np
import numpy.typing as npt

from acceleray.errors import InputDataError, NumericalError
from acceleray.numerics.credit import PreparedModel
from acceleray.numerics.credit_exact import LossLaw
from acceleray.numerics.credit_importance import CYCLE, Aim
from acceleray.numerics.credit_importance_estimates import path_masses
from acceleray.numerics.credit_importance_guard import guard
from acceleray.numerics.expected_loss import expected_loss
from acceleray.numerics.loss_curve import PreparedBook, extended
from acceleray.numerics.loss_curve_estimates import loss_curve
from acceleray.numerics.loss_curve_suitability import Suitability, curve_conflict
from acceleray.risk.credit_blocks import (
    WHOLE,
    Portfolio,
    conditional_points,
    exact_portfolio,
    exact_tail,
    importance_paths,
    losses_of,
    prepare_conditional,
    prepare_importance,
    settled_portfolio,
    sum_of,
    unsuitable_exact,
)
from acceleray.risk.credit_contributions import LineLayout, TailShares, exact_shares, line_shares
from acceleray.risk.fan_out import fan_out
from acceleray.risk.loss_estimates import (
    CurveEstimates,
    ExactEstimates,
    LossEstimates,
    PlainEstimates,
    SettledEstimates,
    WeightedEstimates,
)
from acceleray.risk.method_distance import mean_distance, tail_distance
from acceleray.risk.path_contributions import DrawnPaths, importance_shares, plain_shares

if TYPE_CHECKING:
    from acceleray.config.models import SimulateSettings

__all__ = ["CURVE_LEVELS", "Found", "estimate_portfolios"]

FloatArray: TypeAlias = npt.NDArray[np.float64]

# Obligors times paths that importance sampling may take by itself: a minute or two of one core.
IMPORTANCE_BUDGET = 2e9
# Obligors times lines of one portfolio, some ten seconds of one core. Large books get fewer lines, which
# their intervals show: 128 lines know the 99.9 % loss of 100,000 obligors with ten factors to 0.05 %.
LINE_BUDGET = 1.5e7
# Standard errors by which a method may differ from plain paths, and paths beyond a loss that it takes to say.
MAX_DISTANCE = 4.5
MIN_BEYOND = 10.0

# Share by which rules and lattices may miss an expected loss; counts as a standard error.
MEAN_ROUNDING = 1e-3

# Where the loss distribution is written out: shares of years that end with no larger loss.
CURVE_LEVELS = (0.75, 0.9, 0.95, 0.975, 0.99, 0.995, 0.999, 0.9995)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Found:
    """The figures of a portfolio, and where they come from.

    Parameters
    ----------
    estimates : LossEstimates
        To be asked for figures.
    why : str
        Why this method and no better one; empty where the settings chose.
    distance : float or None
        Largest distance from plain paths, in standard errors of both; None where they cannot say, or are what
        is reported.
    segment_losses : ndarray of shape (n_segments, n_paths), optional
        Losses by segment of the paths that were weighted.
    split : callable, optional
        Splits the tail of the whole book among segments and obligors, by level; computed on demand.
    """

    estimates: LossEstimates
    why: str
    distance: float | None = None
    segment_losses: FloatArray | None = None
    split: Callable[[], Mapping[float, TailShares]] | None = None


def estimate_portfolios(
    models: tuple[PreparedModel, ...],
    portfolios: Sequence[Portfolio],
    plain: FloatArray,
    settings: SimulateSettings,
    *,
    segments: tuple[str, ...],
    distributed: bool,
) -> dict[Portfolio, Found]:
    """Estimate every portfolio by the method of the settings, or by the best that suits it.

    Parameters
    ----------
    models : tuple of PreparedModel
        One per scenario.
    portfolios : sequence of Portfolio
        What is wanted.
    plain : ndarray of shape (n_scenarios, n_segments, n_paths)
        Losses of plain paths.
    settings : SimulateSettings
        Seed, confidence, levels, and the sizes and method of the loan book.
    segments : tuple of str
        Names of the segments, to which the streams of the plain paths belong.
    distributed : bool
        As Ray tasks, or in this process.

    Raises
    ------
    InputDataError
        If the settings insist on a method that a portfolio does not suit.
    TaskFailedError
        If a task failed after Ray's retries.
    """
    run = _Run(models, plain, settings, segments, distributed)
    method = settings.credit.method
    if method == "plain":
        return {portfolio: run.plain(portfolio, "") for portfolio in portfolios}
    found: dict[Portfolio, Found] = {}
    reasons: dict[Portfolio, list[str]] = {portfolio: [] for portfolio in portfolios}
    for each in ("exact", "conditional"):
        if method not in ("auto", each):
            continue
        waiting = [portfolio for portfolio in portfolios if portfolio not in found]
        for portfolio, outcome in (run.exact if each == "exact" else run.conditional)(waiting).items():
            if isinstance(outcome, str):
                if method != "auto":
                    raise InputDataError(
                        f"simulate.credit.method {method!r} does not suit {run.name(portfolio)}: {outcome}",
                        hint="auto chooses a method for each portfolio.",
                    )
                reasons[portfolio].append(f"not {each}: {outcome}")
            else:
                why = "; ".join(part for part in (*reasons[portfolio], outcome.why) if part)
                found[portfolio] = run.checked(portfolio, outcome, why, method)
    waiting = [portfolio for portfolio in portfolios if portfolio not in found]
    if method == "auto":
        size = settings.credit.n_paths
        for portfolio in waiting:
            if portfolio.of(models).n_obligors * size > IMPORTANCE_BUDGET:
                reasons[portfolio].append(f"not importance: more than {IMPORTANCE_BUDGET:.0e} draws")
                found[portfolio] = run.plain(portfolio, "; ".join(reasons[portfolio]))
        waiting = [portfolio for portfolio in portfolios if portfolio not in found]
    for portfolio, weighted in zip(waiting, run.importance(waiting), strict=True):
        found[portfolio] = run.guarded(portfolio, weighted, "; ".join(reasons[portfolio]), method)
    return {portfolio: found[portfolio] for portfolio in portfolios}


class _Run:
    """One estimation: what all its steps share."""

    def __init__(
        self,
        models: tuple[PreparedModel, ...],
        plain: FloatArray,
        settings: SimulateSettings,
        segments: tuple[str, ...],
        distributed: bool,
    ) -> None:
        self._models = models
        self._paths = plain
        self._settings = settings
        self._segments = segments
        self._aims: tuple[tuple[Portfolio, ...], tuple[Aim, ...]] = ((), ())
        self._distributed = distributed
        self._lowest = min(*CURVE_LEVELS, *settings.credit.levels)

    def name(self, portfolio: Portfolio) -> str:
        """Name a portfolio for people."""
        part = "the whole book" if portfolio.segment == WHOLE else f"segment {portfolio.segment}"
        return f"{part} under scenario {portfolio.scenario}"

    def plain(self, portfolio: Portfolio, why: str) -> Found:
        """Take the plain paths."""
        estimates = self._plain_estimates(portfolio)
        return Found(estimates=estimates, why=why, split=self._plain_split(portfolio))

    def _plain_estimates(self, portfolio: Portfolio) -> PlainEstimates:
        return PlainEstimates(
            losses=losses_of(self._paths[portfolio.scenario], portfolio),
            confidence=self._settings.interval_level,
            seed=self._settings.seed,
        )

    def _plain_split(self, portfolio: Portfolio) -> Callable[[], Mapping[float, TailShares]] | None:
        if portfolio.segment != WHOLE:
            return None
        losses = losses_of(self._paths[portfolio.scenario], portfolio)
        drawn = self._drawn(portfolio, losses, None, self._settings.credit.block_size)
        return functools.cache(functools.partial(plain_shares, self._fan_out, self._segments, drawn))

    def _drawn(
        self, portfolio: Portfolio, losses: FloatArray, masses: FloatArray | None, block_size: int
    ) -> DrawnPaths:
        return DrawnPaths(
            models=self._models,
            portfolio=portfolio,
            seed=self._settings.seed,
            losses=losses,
            masses=masses,
            block_size=block_size,
            levels=self._settings.credit.levels,
        )

    def exact(self, portfolios: Sequence[Portfolio]) -> dict[Portfolio, Found | str]:
        """Compute whole loss laws, or say why they are out of reach."""
        calls = [(each,) for each in portfolios]
        reasons = self._fan_out(unsuitable_exact, [self._models], calls, "choice of a method")
        suited = [each for each, reason in zip(portfolios, reasons, strict=True) if reason is None]
        laws = self._fan_out(exact_portfolio, [self._models], [(each,) for each in suited], "exact loss law")
        outcomes: dict[Portfolio, Found | str] = dict(zip(portfolios, reasons, strict=True))
        for portfolio, law in zip(suited, laws, strict=True):
            if isinstance(law, str):
                outcomes[portfolio] = law
                continue
            split = None
            if portfolio.segment == WHOLE:
                split = functools.cache(functools.partial(self._split_exact, portfolio, law))
            outcomes[portfolio] = Found(estimates=ExactEstimates(law=law), why="", split=split)
        highest = max(*CURVE_LEVELS, *self._settings.credit.levels)
        failed = [each for each in portfolios if isinstance(outcomes[each], str)]
        settled = self._fan_out(
            settled_portfolio, [self._models], [(each, highest) for each in failed], "look for certain losses"
        )
        for portfolio, found in zip(failed, settled, strict=True):
            if found is not None:
                why = "all but certain to lose one amount"
                outcomes[portfolio] = Found(
                    estimates=SettledEstimates(law=found), why=why, split=self._plain_split(portfolio)
                )
        return outcomes

    def _split_exact(self, portfolio: Portfolio, law: LossLaw) -> Mapping[float, TailShares]:
        levels = self._settings.credit.levels
        (amounts,) = self._fan_out(
            exact_tail, [self._models], [(portfolio, law, levels)], "exact contributions"
        )
        return exact_shares(portfolio.of(self._models), amounts, levels)

    def conditional(self, portfolios: Sequence[Portfolio]) -> dict[Portfolio, Found | str]:
        """Integrate conditional loss laws along lines, or say why they do not suit."""
        levels, lowest = self._settings.credit.levels, self._lowest
        prepared = self._fan_out(
            prepare_conditional,
            [self._models],
            [(each, 1.0 - max(levels), 1.0 - 0.9 * lowest) for each in portfolios],
            "aim at a loss curve",
        )
        outcomes: dict[Portfolio, Found | str] = {}
        suited: list[Portfolio] = []
        books: tuple[PreparedBook, ...] = ()
        readings: list[Suitability] = []
        for portfolio, found in zip(portfolios, prepared, strict=True):
            if isinstance(found, str):
                outcomes[portfolio] = found
            else:
                suited.append(portfolio)
                books += (found[0],)
                readings.append(found[1])
        numbers = range(len(suited))
        curves = self._curves(suited, books, readings, numbers)
        # The pilot that chose the losses saw few lines, and may have ended too low: once more, to the top.
        short = [
            number
            for number, curve in zip(numbers, curves, strict=True)
            if isinstance(curve, CurveEstimates) and not curve.curve.reaches(max(levels))
        ]
        if short:
            books = tuple(extended(book) if number in short else book for number, book in enumerate(books))
            again = self._curves(suited, books, readings, short)
            for number, curve in zip(short, again, strict=True):
                curves[number] = curve
        for number, (portfolio, curve) in enumerate(zip(suited, curves, strict=True)):
            if isinstance(curve, str):
                outcomes[portfolio] = curve
                continue
            # An expansion that fails shows it here at the latest; the reason is worth more than the error.
            try:
                outcomes[portfolio] = self._read(portfolio, number, books, curve)
            except NumericalError as error:
                outcomes[portfolio] = error.message
        return outcomes

    def _read(
        self, portfolio: Portfolio, number: int, books: tuple[PreparedBook, ...], curve: CurveEstimates
    ) -> Found | str:
        """Read every level off a curve, or say what it does not know."""
        most = float(curve.curve.above.mean(axis=0)[0])
        # Written so that NaN fails too.
        if not most >= 1.0 - self._lowest:
            return f"only {most:.3g} of the years lose as much as the curve begins with"
        levels = self._settings.credit.levels
        exact = float(np.sum(expected_loss(portfolio.of(self._models))))
        conflict = curve_conflict(curve.curve, levels, exact)
        if conflict is not None:
            return conflict
        for level in levels:
            curve.curve.var(level)
        split = None
        if portfolio.segment == WHOLE:
            split = functools.cache(functools.partial(self._split, portfolio, number, books, curve))
        return Found(estimates=curve, why="", split=split)

    def _curves(
        self,
        portfolios: Sequence[Portfolio],
        books: tuple[PreparedBook, ...],
        readings: Sequence[Suitability],
        numbers: Sequence[int],
    ) -> list[CurveEstimates | str]:
        """Find the curves of some of the books, or say why there is none."""
        calls: list[tuple[int, int, int, int]] = []
        for number in numbers:
            size, blocks = self._layout(portfolios[number], books[number])
            calls += [(number, portfolios[number].address, block, size) for block in range(blocks)]
        scrambles = self._settings.credit.scrambles
        sums = self._fan_out(
            conditional_points, [books, self._settings.seed, scrambles], calls, "block of the loss curve"
        )
        estimates: list[CurveEstimates | str] = []
        for number in numbers:
            own = [each for each, call in zip(sums, calls, strict=True) if call[0] == number]
            failed = [each for each in own if isinstance(each, str)]
            if failed:
                estimates.append(failed[0])
                continue
            # Block b belongs to scramble b modulo their number.
            whole = [
                functools.reduce(operator.add, own[first::scrambles])
                for first in range(min(scrambles, len(own)))
            ]
            estimates.append(
                CurveEstimates(
                    curve=loss_curve(books[number].losses, whole, unit=books[number].unit),
                    n_paths=sum(each.n_points for each in whole),
                    confidence=self._settings.interval_level,
                    plain=self._plain_estimates(portfolios[number]),
                    largest=portfolios[number].of(self._models).largest_loss,
                    reading=readings[number],
                )
            )
        return estimates

    def _layout(self, portfolio: Portfolio, book: PreparedBook) -> tuple[int, int]:
        """Lines of a block, and blocks; one factor leaves nothing to draw, a single line is the integral."""
        credit = self._settings.credit
        if book.lines.across.shape[1] == 0:
            return 1, 1
        model = portfolio.of(self._models)
        # Cells of many obligors are tabulated, and cost as much as a few dozen.
        per_line = min(model.n_obligors, _TABULATED * model.n_cells)
        affordable = int(LINE_BUDGET / (per_line * credit.scrambles))
        points = max(min(1 << (credit.points - 1).bit_length(), affordable), _FEWEST_POINTS)
        points = 1 << (points.bit_length() - 1)
        size = min(_LINES, points)
        return size, credit.scrambles * (points // size)

    def _split(
        self, portfolio: Portfolio, number: int, books: tuple[PreparedBook, ...], curve: CurveEstimates
    ) -> Mapping[float, TailShares]:
        """Split the tail of the whole book along its lines; along plain paths, said so, where no line can."""
        size, blocks = self._layout(portfolio, books[number])
        model, credit = portfolio.of(self._models), self._settings.credit
        cost = float(min(model.n_obligors, _TABULATED * model.n_cells))
        try:
            return line_shares(
                self._fan_out,
                [self._models, books, self._settings.seed, credit.scrambles],
                portfolio,
                number,
                model,
                LineLayout(size=size, blocks=blocks, scrambles=credit.scrambles, cost=cost),
                {level: curve.curve.var(level).value for level in credit.levels},
            )
        except NumericalError:
            drawn = self._plain_split(portfolio)
            if drawn is None:
                raise
            return drawn()

    def importance(self, portfolios: Sequence[Portfolio]) -> list[tuple[FloatArray, FloatArray]]:
        """Draw weighted paths; losses by segment and weights of each portfolio."""
        credit, seed = self._settings.credit, self._settings.seed
        furthest = 0.5 * (1.0 - max(credit.levels))
        probabilities = (*sorted((1.0 - level for level in credit.levels), reverse=True)[:-1], furthest)
        aims = self._fan_out(
            prepare_importance,
            [self._models, seed],
            [(each, probabilities) for each in portfolios],
            "aim of importance sampling",
        )
        self._aims = (tuple(portfolios), tuple(aims))
        size = self._cycles
        blocks = range(-(-credit.n_paths // size))
        drawn = self._fan_out(
            importance_paths,
            [self._models, tuple(aims), seed],
            [(number, each, block, size) for number, each in enumerate(portfolios) for block in blocks],
            "block of weighted paths",
        )
        found = []
        for number in range(len(portfolios)):
            own = drawn[number * len(blocks) : (number + 1) * len(blocks)]
            found.append(
                (
                    np.concatenate([losses for losses, _ in own], axis=1),
                    np.concatenate([weights for _, weights in own]),
                )
            )
        return found

    @property
    def _cycles(self) -> int:
        """Paths of a block of weighted ones: whole cycles."""
        return -(-self._settings.credit.block_size // CYCLE) * CYCLE

    def guarded(
        self, portfolio: Portfolio, drawn: tuple[FloatArray, FloatArray], why: str, method: str
    ) -> Found:
        """Take weighted paths, unless their guard says that plain ones would do as well or disagree."""
        by_segment, weights = drawn
        losses = sum_of(by_segment)
        reason = guard(
            losses,
            weights,
            levels=self._settings.credit.levels,
            plain_losses=losses_of(self._paths[portfolio.scenario], portfolio),
        )
        if reason is not None:
            return self.plain(
                portfolio, "; ".join(part for part in (why, f"not importance: {reason}") if part)
            )
        estimates = WeightedEstimates(
            losses=losses, weights=weights, confidence=self._settings.interval_level
        )
        split = None
        if portfolio.segment == WHOLE:
            drawn_paths = self._drawn(portfolio, losses, path_masses(weights), self._cycles)
            known, aims = self._aims
            split = functools.cache(
                functools.partial(importance_shares, self._fan_out, aims, known.index(portfolio), drawn_paths)
            )
        found = Found(estimates=estimates, why="", segment_losses=by_segment, split=split)
        return self.checked(portfolio, found, why, method)

    def checked(self, portfolio: Portfolio, found: Found, why: str, method: str) -> Found:
        """Compare with the exact expected loss, and with plain paths wherever they reach."""
        losses = losses_of(self._paths[portfolio.scenario], portfolio)
        exact = float(np.sum(expected_loss(portfolio.of(self._models))))
        distance = mean_distance(found.estimates, exact)
        said = (
            f"the exact expected loss contradicts {found.estimates.method} by {distance:.1f} standard errors"
        )
        seen = tail_distance(found.estimates, losses, (CURVE_LEVELS[0], *self._settings.credit.levels))
        if distance <= MAX_DISTANCE and seen is not None:
            distance = seen
            said = f"plain paths contradict {found.estimates.method} by {distance:.1f} standard errors"
        if not distance <= MAX_DISTANCE:
            why = f"{why}; {said}" if why else said
            if method == "auto":
                return self.plain(portfolio, why)
        return replace(found, why=why, distance=None if seen is None else distance)

    def _fan_out(
        self, function: Any, shared: Sequence[Any], calls: Sequence[tuple[Any, ...]], what: str
    ) -> list[Any]:
        return fan_out(function, shared, calls, what=what, distributed=self._distributed)


# Lines of a task, a power of two.
_LINES = 256
# Points of a scramble at least, and obligors that cost as much as a tabulated cell.
_FEWEST_POINTS = 2
_TABULATED = 40
