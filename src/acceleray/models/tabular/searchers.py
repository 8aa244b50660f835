"""Who suggests configurations: grid, random, Optuna and HyperOpt, all as searchers of Ray Tune.

Each is seeded, and deterministic in what it is asked and told. `study.Study` asks and tells in an order that
repeats.
"""

from __future__ import annotations

import importlib.util
import itertools
import math
import warnings
from collections.abc import Mapping, Sequence
from typing import Any

from ray.tune.search import Searcher

from acceleray.errors import EngineUnavailableError, UsageError
from acceleray.models.tabular.family import Choice, Range, Real, Whole
from acceleray.models.tabular.schedulers import drawn_real
from acceleray.numerics.streams import Purpose, stream

__all__ = ["LEARNING", "SEARCHERS", "Grid", "Random", "in_range", "searcher"]

SEARCHERS = ("grid", "random", "tpe", "gaussian_process", "cma_es", "hyperopt")
LEARNING = ("tpe", "gaussian_process", "cma_es", "hyperopt")
"""Those whose suggestions depend on the scores of earlier trials."""

_LIBRARIES = {
    "tpe": ("optuna",),
    "gaussian_process": ("optuna", "torch"),
    "cma_es": ("optuna", "cmaes"),
    "hyperopt": ("hyperopt",),
}


class Grid(Searcher):
    """Suggest every combination of `points` values per hyperparameter, the last one changing fastest.

    Parameters
    ----------
    space : mapping of str to Range
    points : int
        Values of a range of numbers, both ends included, evenly spaced or evenly in the logarithm; a short
        range of whole numbers has fewer.
    """

    def __init__(self, space: Mapping[str, Range], *, points: int) -> None:
        super().__init__(metric="score", mode="max")
        self._names = tuple(space)
        self._points = list(itertools.product(*(_grid_values(space[name], points) for name in space)))
        self._asked = 0

    def __len__(self) -> int:
        return len(self._points)

    def suggest(self, trial_id: str) -> Any:  # noqa: ARG002 (Tune names the trial)
        """Suggest the next combination, or say that there is none."""
        if self._asked == len(self._points):
            return Searcher.FINISHED
        values = self._points[self._asked]
        self._asked += 1
        return dict(zip(self._names, values, strict=True))

    def on_trial_complete(
        self, trial_id: str, result: dict[str, Any] | None = None, error: bool = False
    ) -> None:
        """Learn nothing."""


class Random(Searcher):
    """Draw every configuration independently; the n-th one depends on the seed and n only."""

    def __init__(self, space: Mapping[str, Range], *, seed: int) -> None:
        super().__init__(metric="score", mode="max")
        self._space = dict(space)
        self._seed = seed
        self._asked = 0

    def suggest(self, trial_id: str) -> dict[str, float]:  # noqa: ARG002 (Tune names the trial)
        """Draw the next configuration."""
        generator = stream(self._seed, Purpose.RANDOM_SEARCH, self._asked)
        self._asked += 1
        found: dict[str, float] = {}
        for name in sorted(self._space):
            given = self._space[name]
            if isinstance(given, Real):
                found[name] = drawn_real(given, generator)
            elif isinstance(given, Choice):
                found[name] = given.options[int(generator.integers(len(given.options)))]
            elif given.log:
                # Half a step beyond each end, so that the ends are as likely as their neighbours.
                wide = Real(low=given.low - 0.5, high=given.high + 0.5, log=True)
                found[name] = in_range(given, round(drawn_real(wide, generator)))
            else:
                found[name] = int(generator.integers(given.low, given.high + 1))
        return {name: found[name] for name in self._space}

    def on_trial_complete(
        self, trial_id: str, result: dict[str, Any] | None = None, error: bool = False
    ) -> None:
        """Learn nothing."""


def searcher(
    name: str, space: Mapping[str, Range], *, seed: int, n_startup: int, grid_points: int, n_trials: int
) -> Searcher:
    """Make a searcher by name; it maximises ``score``.

    Parameters
    ----------
    name : str
        One of `SEARCHERS`.
    n_startup : int
        Trials that a searcher which learns draws at random first.
    grid_points : int
        As `Grid`.
    n_trials : int
        Most trials.

    Raises
    ------
    UsageError
        If there is none of that name, or the grid has more points than there are trials.
    EngineUnavailableError
        If its library is not installed.
    """
    if name == "grid":
        grid = Grid(space, points=grid_points)
        if len(grid) > n_trials:
            raise UsageError(
                f"search.n_trials: the grid has {len(grid)} points, there were {n_trials} trials",
                hint="Raise n_trials, lower grid_points, or narrow the space.",
            )
        return grid
    if name == "random":
        return Random(space, seed=seed)
    if name not in _LIBRARIES:
        raise UsageError(f"search.searcher: {name!r} is not known; expected {', '.join(SEARCHERS)}")
    for library in _LIBRARIES[name]:
        if importlib.util.find_spec(library) is None:
            raise EngineUnavailableError(
                f"search.searcher: {name} needs {library}, which is not installed",
                hint=f"pip install {library}",
            )
    if name == "hyperopt":
        return _hyperopt(space, seed=seed, n_startup=n_startup)
    return _optuna(name, space, seed=seed, n_startup=n_startup)


def in_range(given: Range, value: float) -> float:
    """Bring a suggestion to the type and into the range of its hyperparameter."""
    if isinstance(given, Choice):
        return min(given.options, key=lambda option: abs(option - value))
    inside = min(max(value, given.low), given.high)
    return int(inside) if isinstance(given, Whole) else float(inside)


def _optuna(name: str, space: Mapping[str, Range], *, seed: int, n_startup: int) -> Searcher:
    import optuna
    from ray.tune.search.optuna import OptunaSearch

    optuna.logging.set_verbosity(optuna.logging.WARNING)
    samplers = optuna.samplers
    with warnings.catch_warnings():
        # Optuna marks options that it may rename.
        warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
        if name == "tpe":
            sampler = samplers.TPESampler(seed=seed, n_startup_trials=n_startup)
        elif name == "gaussian_process":
            sampler = samplers.GPSampler(seed=seed, n_startup_trials=n_startup, deterministic_objective=True)
        else:
            # It moves numbers only; choices are drawn at random.
            sampler = samplers.CmaEsSampler(
                seed=seed,
                n_startup_trials=n_startup,
                independent_sampler=samplers.RandomSampler(seed=seed),
                warn_independent_sampling=False,
            )
    distributions: dict[str, Any] = {}
    for key, given in space.items():
        if isinstance(given, Real):
            distributions[key] = optuna.distributions.FloatDistribution(given.low, given.high, log=given.log)
        elif isinstance(given, Whole):
            distributions[key] = optuna.distributions.IntDistribution(given.low, given.high, log=given.log)
        else:
            distributions[key] = optuna.distributions.CategoricalDistribution(given.options)
    return OptunaSearch(space=distributions, metric="score", mode="max", sampler=sampler)


def _hyperopt(space: Mapping[str, Range], *, seed: int, n_startup: int) -> Searcher:
    from hyperopt import hp
    from hyperopt.pyll import scope
    from ray.tune.search.hyperopt import HyperOptSearch

    expressions: dict[str, Any] = {}
    for key, given in space.items():
        if isinstance(given, Choice):
            expressions[key] = hp.choice(key, list(given.options))
        elif given.low == given.high:
            # HyperOpt takes no range of one value.
            expressions[key] = hp.choice(key, [given.low])
        elif isinstance(given, Whole):
            expressions[key] = (
                scope.int(hp.qloguniform(key, math.log(given.low), math.log(given.high), 1.0))
                if given.log
                else hp.uniformint(key, given.low, given.high)
            )
        elif given.log:
            expressions[key] = hp.loguniform(key, math.log(given.low), math.log(given.high))
        else:
            expressions[key] = hp.uniform(key, given.low, given.high)
    return HyperOptSearch(
        space=expressions, metric="score", mode="max", n_initial_points=n_startup, random_state_seed=seed
    )


def _grid_values(given: Range, points: int) -> Sequence[float]:
    if isinstance(given, Choice):
        return given.options
    if points == 1 or given.low == given.high:
        return (given.low,)
    shares = [number / (points - 1) for number in range(points)]
    if given.log:
        values = [given.low * (given.high / given.low) ** share for share in shares]
    else:
        values = [given.low + share * (given.high - given.low) for share in shares]
    inside = [in_range(given, round(value) if isinstance(given, Whole) else value) for value in values]
    return tuple(dict.fromkeys(inside))
