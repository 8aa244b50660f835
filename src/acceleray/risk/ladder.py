"""Send items up a ladder of ever costlier tasks, each only as far as its own results require.

The graph of tasks grows while it runs: which item goes on to the next rung is known only when its result is
there. Rungs are not waves; a batch of the next one leaves as soon as enough items have come back for it.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from typing import Any, Generic, TypeVar

from acceleray.risk.fan_out import TASKS_PER_CPU, task_result

__all__ = ["Queue", "climb"]

Item = TypeVar("Item")
Result = TypeVar("Result")


class Queue(Generic[Item]):
    """Items that wait at the rungs of a ladder, handed out in batches.

    Parameters
    ----------
    n_rungs : int
        Rungs of the ladder.
    cost : callable
        Expected seconds of one item at a rung.
    task_seconds : float
        A batch of at least that cost is full.
    """

    def __init__(self, n_rungs: int, cost: Callable[[int, Item], float], task_seconds: float) -> None:
        self._waiting: list[deque[tuple[int, Item]]] = [deque() for _ in range(n_rungs)]
        self._cost = cost
        self._task_seconds = task_seconds

    def add(self, rung: int, number: int, item: Item) -> None:
        """Let an item wait at a rung; its number comes back with it."""
        self._waiting[rung].append((number, item))

    def full(self) -> tuple[int, list[tuple[int, Item]]] | None:
        """Take a full batch, from the highest rung that has one: it is the one that has waited for others.

        Returns
        -------
        rung, batch : int, list of (number, item)
            None where no rung has enough.
        """
        for rung in range(len(self._waiting) - 1, -1, -1):
            if self._total(rung) >= self._task_seconds:
                return rung, self._take(rung, self._task_seconds)
        return None

    def share(self, n_shares: int) -> tuple[int, list[tuple[int, Item]]] | None:
        """Take one of `n_shares` even parts of what waits at the lowest rung: that has the longest way to go.

        Returns
        -------
        rung, batch : int, list of (number, item)
            None where nothing waits.
        """
        for rung in range(len(self._waiting)):
            if self._waiting[rung]:
                return rung, self._take(rung, self._total(rung) / n_shares)
        return None

    def _total(self, rung: int) -> float:
        total = 0.0
        for _, item in self._waiting[rung]:
            total += self._cost(rung, item)
            if total >= self._task_seconds:
                break
        return total

    def _take(self, rung: int, seconds: float) -> list[tuple[int, Item]]:
        batch: list[tuple[int, Item]] = []
        taken = 0.0
        while self._waiting[rung] and (not batch or taken < seconds):
            batch.append(self._waiting[rung].popleft())
            taken += self._cost(rung, batch[-1][1])
        return batch


def climb(
    function: Callable[..., Sequence[Result]],
    shared: Sequence[Any],
    items: Sequence[Item],
    *,
    n_rungs: int,
    onward: Callable[[int, Item, Result], Item | None],
    cost: Callable[[int, Item], float],
    task_seconds: float,
    what: str,
    distributed: bool,
) -> list[list[tuple[Item, Result]]]:
    """Send each item up the rungs until it need not go on.

    Parameters
    ----------
    function : callable
        ``function(*shared, rung, batch)`` returns one result per item of a batch, which must not depend on
        the other items. Module-level, in a module that is cheap to import.
    shared : sequence
        Leading arguments; put into Ray's object store once.
    items : sequence
        What begins at rung 0.
    onward : callable
        ``onward(rung, item, result)`` is the item for the next rung, or None at the end of its way. Not asked
        at the last rung.
    cost : callable
        Expected seconds of an item at a rung. Only the sizes of batches depend on it.
    task_seconds : float
        Expected seconds of a batch, so that what a task costs does not count.
    what : str
        What one batch is, for messages.
    distributed : bool
        As tasks of the Ray instance that is up, or item by item in this process.

    Returns
    -------
    list of list of (item, result)
        Per item, one entry per rung that it came to. The same for any number of CPUs and any order in which
        batches finish: an item's way depends on its own results alone.

    Raises
    ------
    TaskFailedError
        If a task failed after Ray's retries: it repeats a batch whose worker died. An error of ours is
        raised as it is.
    """
    ways: list[list[tuple[Item, Result]]] = [[] for _ in items]

    def arrive(rung: int, number: int, item: Item, result: Result) -> Item | None:
        ways[number].append((item, result))
        return onward(rung, item, result) if rung + 1 < n_rungs else None

    if not distributed:
        for number, first in enumerate(items):
            rung, item = 0, first
            while True:
                (result,) = function(*shared, rung, (item,))
                further = arrive(rung, number, item, result)
                if further is None:
                    break
                rung, item = rung + 1, further
        return ways

    import ray

    from acceleray.engines.ray import cpus

    task = ray.remote(function)
    references = [ray.put(value) for value in shared]
    n_cpus = cpus()
    queue: Queue[Item] = Queue(n_rungs, cost, task_seconds)
    for number, first in enumerate(items):
        queue.add(0, number, first)
    in_flight: dict[Any, tuple[int, list[tuple[int, Item]]]] = {}
    try:
        while True:
            while len(in_flight) < TASKS_PER_CPU * n_cpus:
                # What is less than a full batch waits for company, unless a CPU would stand idle.
                idle = n_cpus - len(in_flight)
                ready = queue.full() or (queue.share(idle) if idle > 0 else None)
                if ready is None:
                    break
                rung, batch = ready
                in_flight[task.remote(*references, rung, tuple(item for _, item in batch))] = ready
            if not in_flight:
                return ways
            (finished,), _ = ray.wait(list(in_flight), num_returns=1)
            rung, batch = in_flight.pop(finished)
            results = task_result(finished, f"{what} at rung {rung}")
            for (number, item), result in zip(batch, results, strict=True):
                further = arrive(rung, number, item, result)
                if further is not None:
                    queue.add(rung + 1, number, further)
    finally:
        for unfinished in in_flight:
            ray.cancel(unfinished)
