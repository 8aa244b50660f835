"""When a trial stops, by rules that repeat, and Ray's own schedulers for those who need no repetition.

Ray's schedulers compare a trial with whatever arrived before it, so a busy machine finds another winner. The
rules here look at complete batches only. Successive halving (``asha``) and ``median_stopping`` judge a trial
by the batches before its own, while it runs. HyperBand and population based training compare the members of
one batch with each other: they wait at each rung until all of them are there.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np

from acceleray.errors import UsageError
from acceleray.models.tabular.family import Choice, Range, Real
from acceleray.models.tabular.trial import Report
from acceleray.numerics.streams import Purpose, stream

__all__ = [
    "SCHEDULERS",
    "HyperBand",
    "MedianStopping",
    "Meeting",
    "Population",
    "Rule",
    "Schedule",
    "SuccessiveHalving",
    "Turn",
    "perturbed",
    "ray_scheduler",
    "rungs",
    "schedule",
    "steps",
]

SCHEDULERS = ("none", "asha", "hyperband", "median_stopping", "pbt")

# Ray's defaults, so that both orders search alike.
_MEDIAN_TRIALS = 3
_QUANTILE = 0.25
_RESAMPLE_PROBABILITY = 0.25
_FACTORS = (0.8, 1.2)

Reports = Mapping[int, Report]
"""Reports of a trial by their rounds."""


def rungs(first: int, reduction_factor: int, last: int) -> tuple[int, ...]:
    """List the rounds ``first * reduction_factor ** k``, and `last`.

    Examples
    --------
    >>> rungs(15, 2, 120)
    (15, 30, 60, 120)
    """
    found = []
    step = first
    while step < last:
        found.append(step)
        step *= reduction_factor
    return (*found, last)


def steps(stride: int, rungs: Sequence[int]) -> tuple[int, ...]:
    """List the rounds after which a trial reports: every `stride` rounds, and at the rungs.

    Examples
    --------
    >>> steps(4, (5, 10))
    (4, 5, 8, 10)
    """
    return tuple(sorted({*range(stride, rungs[-1] + 1, stride), *rungs}))


class Rule(Protocol):
    """Judges a running trial by trials of complete earlier batches."""

    def goes_on(self, own: Reports, earlier: Sequence[Reports]) -> bool:
        """Whether a trial goes on after its last report; the answer depends on the arguments only."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class SuccessiveHalving:
    """Go on from a rung with a score among the best ``1 / reduction_factor`` there; equal scores go on.

    References
    ----------
    .. [1] Li et al. (2020), A system for massively parallel hyperparameter tuning, MLSys 2.
    """

    rungs: tuple[int, ...]
    reduction_factor: int

    def goes_on(self, own: Reports, earlier: Sequence[Reports]) -> bool:
        """As `Rule`."""
        now = max(own)
        scores = sorted((each[now].score for each in earlier if now in each), reverse=True)
        if now not in self.rungs or not scores:
            return True
        return own[now].score >= scores[math.ceil(len(scores) / self.reduction_factor) - 1]


@dataclass(frozen=True, slots=True, kw_only=True)
class MedianStopping:
    """Stop when the best score so far is below the median of what others averaged up to the same round.

    Parameters
    ----------
    grace : int
        Rounds that every trial gets.

    References
    ----------
    .. [1] Golovin et al. (2017), Google Vizier: a service for black-box optimization, KDD 23.
    """

    grace: int

    def goes_on(self, own: Reports, earlier: Sequence[Reports]) -> bool:
        """As `Rule`."""
        now = max(own)
        averages = []
        for each in earlier:
            until_now = [each[rounds].latest for rounds in sorted(each) if self.grace <= rounds <= now]
            if until_now:
                averages.append(float(np.mean(until_now)))
        if now < self.grace or len(averages) < _MEDIAN_TRIALS:
            return True
        return own[now].score >= float(np.median(averages))


@dataclass(frozen=True, slots=True, kw_only=True)
class Turn:
    """What follows when all members of a batch stand at a rung.

    Parameters
    ----------
    stopped : frozenset of int
        Trials that end here.
    copied : dict of int to (int, dict)
        Trials that go on from another one's checkpoint, with a configuration of their own.
    """

    stopped: frozenset[int] = frozenset()
    copied: Mapping[int, tuple[int, dict[str, float]]] = field(default_factory=dict)


class Meeting(Protocol):
    """Compares the members of one batch with each other."""

    def turn(self, batch: int, rung: int, members: Mapping[int, Report]) -> Turn:
        """Decide when all members stand at a rung; the answer depends on the arguments only."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class HyperBand:
    """Halve a bracket at each of its rungs.

    References
    ----------
    .. [1] Li et al. (2018), Hyperband: a novel bandit-based approach to hyperparameter optimization, JMLR 18.
    """

    reduction_factor: int

    def turn(self, batch: int, rung: int, members: Mapping[int, Report]) -> Turn:
        """As `Meeting`; of equal scores the earlier trial goes on."""
        del batch, rung
        kept = max(1, len(members) // self.reduction_factor)
        ranked = sorted(members, key=lambda number: (-members[number].score, number))
        return Turn(stopped=frozenset(ranked[kept:]))


@dataclass(frozen=True, slots=True, kw_only=True)
class Population:
    """Let the worst quarter of a batch go on from the best quarter's checkpoints, slightly changed.

    Only real numbers change: whole numbers and choices may give a model its shape, which a checkpoint fixes.

    References
    ----------
    .. [1] Jaderberg et al. (2017), Population based training of neural networks, arXiv:1711.09846.
    """

    space: Mapping[str, Range]
    seed: int

    def turn(self, batch: int, rung: int, members: Mapping[int, Report]) -> Turn:
        """As `Meeting`."""
        if len(members) < 2:
            return Turn()
        ranked = sorted(members, key=lambda number: (-members[number].latest, number))
        size = max(1, int(len(ranked) * _QUANTILE))
        copied = {}
        for number in ranked[-size:]:
            generator = stream(self.seed, Purpose.POPULATION, batch, rung, number)
            source = ranked[int(generator.integers(size))]
            configuration = members[source].lineage[-1][1]
            copied[number] = (source, perturbed(configuration, self.space, generator))
        return Turn(copied=copied)


def perturbed(
    configuration: Mapping[str, float], space: Mapping[str, Range], generator: np.random.Generator
) -> dict[str, float]:
    """Draw each real hyperparameter anew with probability 1/4, else move it by a fifth; stay in its range."""
    changed = dict(configuration)
    for name in sorted(space):
        given = space[name]
        if not isinstance(given, Real):
            continue
        if generator.random() < _RESAMPLE_PROBABILITY:
            changed[name] = drawn_real(given, generator)
        else:
            moved = configuration[name] * _FACTORS[int(generator.integers(2))]
            changed[name] = min(max(moved, given.low), given.high)
    return changed


def drawn_real(given: Real, generator: np.random.Generator) -> float:
    """Draw from a range of real numbers, evenly or evenly in the logarithm."""
    share = float(generator.random())
    if given.log:
        value = math.exp(math.log(given.low) + share * (math.log(given.high) - math.log(given.low)))
    else:
        value = given.low + share * (given.high - given.low)
    return min(max(value, given.low), given.high)


@dataclass(frozen=True, slots=True, kw_only=True)
class Schedule:
    """Batches of trials, rungs, and what decides at them.

    Parameters
    ----------
    sizes : tuple of int
        Trials of each batch.
    rungs : tuple of int
        Rounds after which a trial leaves a checkpoint; the last is the longest a trial runs.
    batch_rungs : tuple of tuple of int
        Those at which the members of each batch meet.
    rule : Rule, optional
        Judges running trials.
    meeting : Meeting, optional
        Compares the members of a batch.
    """

    sizes: tuple[int, ...]
    rungs: tuple[int, ...]
    batch_rungs: tuple[tuple[int, ...], ...]
    rule: Rule | None = None
    meeting: Meeting | None = None


def schedule(
    name: str,
    *,
    n_trials: int,
    batch_size: int,
    first_rung: int,
    reduction_factor: int,
    max_rounds: int,
    space: Mapping[str, Range],
    seed: int,
) -> Schedule:
    """Lay out a search that repeats.

    Parameters
    ----------
    name : str
        One of `SCHEDULERS`.
    batch_size : int
        Trials per batch. HyperBand's batches are its brackets, whose sizes follow from the rungs.

    Raises
    ------
    UsageError
        If a population has no real hyperparameter to change.
    """
    all_rungs = rungs(first_rung, reduction_factor, max_rounds)
    if name == "hyperband":
        sizes, batch_rungs = _brackets(all_rungs, reduction_factor, n_trials)
        return Schedule(
            sizes=sizes,
            rungs=all_rungs,
            batch_rungs=batch_rungs,
            meeting=HyperBand(reduction_factor=reduction_factor),
        )
    sizes = tuple(min(batch_size, n_trials - begun) for begun in range(0, n_trials, batch_size))
    if name == "pbt":
        _need_real(space)
        all_rungs = (*range(first_rung, max_rounds, first_rung), max_rounds)
        meeting = Population(space=space, seed=seed)
        return Schedule(sizes=sizes, rungs=all_rungs, batch_rungs=(all_rungs,) * len(sizes), meeting=meeting)
    rule: Rule | None = None
    if name == "asha":
        rule = SuccessiveHalving(rungs=all_rungs, reduction_factor=reduction_factor)
    elif name == "median_stopping":
        rule = MedianStopping(grace=first_rung)
    return Schedule(sizes=sizes, rungs=all_rungs, batch_rungs=(all_rungs,) * len(sizes), rule=rule)


def ray_scheduler(
    name: str,
    *,
    first_rung: int,
    reduction_factor: int,
    max_rounds: int,
    space: Mapping[str, Range],
) -> Any:
    """Make Ray's own scheduler; what it stops depends on who reports first."""
    from ray import tune
    from ray.tune import schedulers

    given: dict[str, Any] = {"time_attr": "rounds", "mode": "max"}
    if name == "asha":
        return schedulers.AsyncHyperBandScheduler(
            **given,
            metric="score",
            max_t=max_rounds,
            grace_period=min(first_rung, max_rounds),
            reduction_factor=reduction_factor,
        )
    if name == "hyperband":
        return schedulers.HyperBandScheduler(
            **given, metric="score", max_t=max_rounds, reduction_factor=reduction_factor
        )
    if name == "median_stopping":
        return schedulers.MedianStoppingRule(
            **given, metric="latest", grace_period=first_rung, min_samples_required=_MEDIAN_TRIALS
        )
    if name == "pbt":
        _need_real(space)
        reals = {key: each for key, each in space.items() if isinstance(each, Real)}

        def within(config: dict[str, Any]) -> dict[str, Any]:
            configuration = config["job"]["configuration"]
            for key, each in reals.items():
                configuration[key] = min(max(configuration[key], each.low), each.high)
            return config

        domains = {
            key: (tune.loguniform if each.log else tune.uniform)(each.low, each.high)
            for key, each in reals.items()
        }
        return schedulers.PopulationBasedTraining(
            **given,
            metric="latest",
            perturbation_interval=first_rung,
            quantile_fraction=_QUANTILE,
            resample_probability=_RESAMPLE_PROBABILITY,
            perturbation_factors=_FACTORS,
            hyperparam_mutations={"job": {"configuration": domains}},
            custom_explore_fn=within,
        )
    return schedulers.FIFOScheduler()


def _brackets(
    all_rungs: tuple[int, ...], reduction_factor: int, n_trials: int
) -> tuple[tuple[int, ...], tuple[tuple[int, ...], ...]]:
    sizes: list[int] = []
    batch_rungs: list[tuple[int, ...]] = []
    while sum(sizes) < n_trials:
        # The bracket that begins at a later rung is smaller and halved less often; the last one runs in full.
        later = len(sizes) % len(all_rungs)
        halvings = len(all_rungs) - 1 - later
        size = math.ceil(len(all_rungs) / (halvings + 1) * reduction_factor**halvings)
        sizes.append(min(size, n_trials - sum(sizes)))
        batch_rungs.append(all_rungs[later:])
    return tuple(sizes), tuple(batch_rungs)


def _need_real(space: Mapping[str, Range]) -> None:
    if not any(isinstance(each, Real) for each in space.values()):
        kinds = ", ".join(
            f"{name} is a {'choice' if isinstance(each, Choice) else 'whole number'}"
            for name, each in space.items()
        )
        raise UsageError(f"search.scheduler: pbt changes real hyperparameters, there was none: {kinds}")
