"""Random streams that belong to a block of work, never to the worker that happens to do it."""

from __future__ import annotations

from enum import IntEnum

import numpy as np

__all__ = ["Purpose", "stream"]


class Purpose(IntEnum):
    """First part of a stream's address. The numbers are part of every published result: never reuse one."""

    MONTE_CARLO = 1
    FILTERED_HISTORICAL = 2
    BACKTEST_MONTE_CARLO = 3
    BOOTSTRAP = 4
    CREDIT_FACTOR = 5
    CREDIT_DEFAULTS = 6
    IMPORTANCE_PILOT = 7
    IMPORTANCE = 8
    SOBOL_SCRAMBLE = 9
    BACKTEST_FILTERED = 20
    BACKTEST_SHORTFALL = 21
    OVERLAP_BOUNDS = 22
    TABULATION = 23
    CREDIT_IMPORTANCE_PILOT = 25
    CREDIT_IMPORTANCE = 26
    CREDIT_MIXING = 27
    CREDIT_CURVE = 28
    FOLDS = 40
    RANDOM_SEARCH = 41
    POPULATION = 42


def stream(seed: int, purpose: Purpose, *address: int) -> np.random.Generator:
    """Return the generator of one block.

    Parameters
    ----------
    seed : int
        The run's seed.
    purpose : Purpose
        What the numbers are for.
    *address : int
        Where the block lies, for example ``(horizon_days, block)``; non-negative.

    Returns
    -------
    numpy.random.Generator
        Philox, seeded by ``SeedSequence(seed, spawn_key=(purpose, *address))``.

    Examples
    --------
    >>> a = stream(7, Purpose.MONTE_CARLO, 1, 0).standard_normal()
    >>> a == stream(7, Purpose.MONTE_CARLO, 1, 0).standard_normal()
    True
    """
    sequence = np.random.SeedSequence(entropy=seed, spawn_key=(int(purpose), *address))
    return np.random.Generator(np.random.Philox(sequence))
