"""When a simulation has enough paths: a pure rule on the contiguous prefix of its blocks.

Blocks arrive in any order, and stopping at whichever arrived first would let the machine choose the sample.
The rule looks at blocks 0 to k - 1 for growing k, at lengths fixed in advance, and stops at the first k that
satisfies it, even when more blocks are there already. Only the clock can make two runs stop at different
lengths; a replay stops at the recorded one (``StoppingRule(max_paths=recorded)``).

An error bar looked at again and again is small by chance sooner than it is small in truth, and its interval
then covers less than it says. Four things keep that within a point or two (docs/methods/scenarios.md has
the measurement): no look before `MIN_SECTIONS` blocks and `MIN_BEYOND` paths beyond the level, about eight
looks while the sample doubles, and two looks in a row that agree.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt

from acceleray.numerics.intervals import expected_shortfall_std_error
from acceleray.numerics.order_statistics import expected_shortfall, paths_beyond, value_at_risk
from acceleray.numerics.sectioning import sectioned_std_error

__all__ = ["MIN_BEYOND", "MIN_SECTIONS", "Decision", "StoppingRule", "contiguous_prefix", "decide"]

FloatArray = npt.NDArray[np.float64]

MIN_SECTIONS = 10
MIN_BEYOND = 50.0


@dataclass(frozen=True, slots=True, kw_only=True)
class StoppingRule:
    """When to stop; whatever comes first.

    Parameters
    ----------
    max_paths : int
        Paths that are enough in any case.
    relative_error : float, optional
        Standard error of the measure over its absolute value, as a fraction, that is small enough.
    measure : {"VaR", "ES"}
        The measure that is watched.
    level : float
        Its level as a fraction.
    seconds : float, optional
        Time after which the paths that are there have to do.
    """

    max_paths: int
    relative_error: float | None = None
    measure: Literal["VaR", "ES"] = "VaR"
    level: float = 0.99
    seconds: float | None = None

    def __post_init__(self) -> None:
        if self.max_paths < 1 or not 0 < self.level < 1:
            raise ValueError(f"max_paths was {self.max_paths} and level {self.level}")
        if self.measure not in ("VaR", "ES"):
            raise ValueError(f"measure must be 'VaR' or 'ES', was {self.measure!r}")
        for name in ("relative_error", "seconds"):
            value = getattr(self, name)
            if value is not None and not value > 0:
                raise ValueError(f"{name} must be positive, was {value}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Decision:
    """Whether to stop, and where.

    Parameters
    ----------
    stop : bool
        Whether the first `n_blocks` blocks are the result.
    n_blocks, n_paths : int
        Length of the prefix that was judged last; the one to use when `stop`.
    reason : str
        In words, for the results; while going on, what is still missing.
    relative_error : float or None
        At that length, where it was looked at.
    """

    stop: bool
    n_blocks: int
    n_paths: int
    reason: str
    relative_error: float | None = None


def contiguous_prefix(done: Iterable[int]) -> int:
    """Count the blocks 0, 1, 2, … that are done before the first that is not.

    Examples
    --------
    >>> contiguous_prefix([4, 0, 2, 1])
    3
    """
    found = set(done)
    length = 0
    while length in found:
        length += 1
    return length


def decide(
    rule: StoppingRule,
    losses: Sequence[FloatArray],
    *,
    checked: int = 0,
    elapsed_s: float = 0.0,
    weights: Sequence[FloatArray] | None = None,
    replicates: int | None = None,
) -> Decision:
    """Judge the prefix of blocks that is there.

    Parameters
    ----------
    losses : sequence of ndarray of shape (n_in_block,)
        Loss of the whole book per path, of blocks 0 to k - 1.
    checked : int
        Prefix lengths up to this one were judged before and did not stop.
    elapsed_s : float
        Seconds since the simulation began; the caller reads the clock.
    weights : sequence of ndarray, optional
        Likelihood ratio of each path under importance sampling, in blocks like `losses`.
    replicates : int, optional
        Of a Sobol set: it is looked at, and may stop, after whole rounds of its replicates only.

    Returns
    -------
    Decision
        At the first length after `checked` that satisfies the rule, or at the whole prefix.

    Notes
    -----
    The standard error is that of the quantile by the spacing of order statistics, ``sqrt(p (1 - p) / n)``
    over the density there, or the large-sample one of the shortfall, for independent paths of equal weight.
    Weighted paths are cut into `MIN_SECTIONS` or more sections of whole blocks, Sobol paths into their
    replicates, and the scatter of those decides.
    """
    sizes = np.cumsum([block.size for block in losses], dtype=np.int64)
    step = 1 if replicates is None else replicates
    error: float | None = None
    for length in range(checked + 1, len(losses) + 1):
        n_paths = int(sizes[length - 1])
        if n_paths >= rule.max_paths:
            return Decision(stop=True, n_blocks=length, n_paths=n_paths, reason=f"all {n_paths} paths")
        if rule.relative_error is not None and _is_look(length, step):
            error = _relative_error(rule, losses, weights, length, replicates)
            before = _look_before(length, step)
            if (
                error is not None
                and error <= rule.relative_error
                and before is not None
                and (earlier := _relative_error(rule, losses, weights, before, replicates)) is not None
                and earlier <= rule.relative_error
            ):
                return Decision(
                    stop=True,
                    n_blocks=length,
                    n_paths=n_paths,
                    relative_error=error,
                    reason=f"relative standard error of {rule.measure} at {rule.level:g} was {error:.3g}, "
                    f"at most {rule.relative_error:g} was asked for, after {n_paths} paths",
                )
    # The clock may cut a round of replicates short nowhere: their estimates would not be comparable.
    usable = len(losses) - len(losses) % step
    n_paths = int(sizes[usable - 1]) if usable else 0
    if rule.seconds is not None and elapsed_s >= rule.seconds and usable:
        return Decision(
            stop=True,
            n_blocks=usable,
            n_paths=n_paths,
            relative_error=error,
            reason=f"the clock: {elapsed_s:.1f} s had passed, {rule.seconds:g} s were allowed, "
            f"after {n_paths} paths",
        )
    return Decision(
        stop=False,
        n_blocks=len(losses),
        n_paths=int(sizes[-1]) if len(losses) else 0,
        relative_error=error,
        reason="not enough paths yet",
    )


def _is_look(length: int, step: int) -> bool:
    """Say whether to look after so many blocks: at every round first, later eight times per doubling."""
    rounds, rest = divmod(length, step)
    if rest or rounds == 0:
        return False
    return rounds % (1 << max(rounds.bit_length() - 4, 0)) == 0


def _look_before(length: int, step: int) -> int | None:
    return next((each for each in range(length - step, 0, -step) if _is_look(each, step)), None)


def _relative_error(
    rule: StoppingRule,
    losses: Sequence[FloatArray],
    weights: Sequence[FloatArray] | None,
    length: int,
    replicates: int | None,
) -> float | None:
    """Relative standard error from the first `length` blocks; None where there are too few to tell."""
    blocks = losses[:length]
    n_paths = sum(block.size for block in blocks)
    measure = value_at_risk if rule.measure == "VaR" else expected_shortfall
    if weights is None and replicates is None:
        if length < MIN_SECTIONS or paths_beyond(n_paths, rule.level) < MIN_BEYOND:
            return None
        paths = np.concatenate(list(blocks))
        value = float(measure(paths, level=rule.level))
        std_error: float | None = (
            _quantile_std_error(paths, rule.level)
            if rule.measure == "VaR"
            else expected_shortfall_std_error(paths, level=rule.level)
        )
    else:
        sections = _sections(blocks, None if weights is None else weights[:length], replicates)
        if len(sections) < MIN_SECTIONS:
            return None
        if weights is None and paths_beyond(n_paths, rule.level) < MIN_BEYOND:
            return None

        def statistic(rows: FloatArray) -> float:
            ratios = rows[:, 1]
            total = float(ratios.sum())
            return float(measure(rows[:, 0], level=rule.level, weights=ratios / total))

        value, std_error = sectioned_std_error(sections, statistic)
    if std_error is None or value == 0.0:
        return None
    return std_error / abs(value)


def _sections(
    blocks: Sequence[FloatArray], weights: Sequence[FloatArray] | None, replicates: int | None
) -> list[FloatArray]:
    """Rows of loss and weight: one section per replicate, or of neighbouring blocks."""
    ratios = [np.ones(block.size) for block in blocks] if weights is None else list(weights)
    rows = [np.column_stack(pair) for pair in zip(blocks, ratios, strict=True)]
    if replicates is not None:
        return [np.concatenate(rows[first::replicates]) for first in range(min(replicates, len(rows)))]
    each = max(len(rows) // MIN_SECTIONS, 1)
    whole = len(rows) // each * each
    return [np.concatenate(rows[first : first + each]) for first in range(0, whole, each)]


def _quantile_std_error(losses: FloatArray, level: float) -> float:
    """Half the distance of the losses one standard deviation of rank to either side of the quantile."""
    spread = math.sqrt(losses.size * level * (1.0 - level))
    centre = losses.size * level
    low = max(math.floor(centre - spread), 1)
    high = min(math.ceil(centre + spread), losses.size)
    picked = np.partition(losses, (low - 1, high - 1))
    return float(picked[high - 1] - picked[low - 1]) * spread / (high - low)
