"""Run many calls of one function, here or as Ray tasks, with the same results in the same order."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any, TypeVar

from acceleray.errors import AccelerayError, TaskFailedError

__all__ = ["TASKS_PER_CPU", "as_they_finish", "fan_out", "task_result"]

# Enough to keep every CPU busy while results travel, few enough not to fill the object store.
TASKS_PER_CPU = 2

Result = TypeVar("Result")


def fan_out(
    function: Callable[..., Result],
    shared: Sequence[Any],
    calls: Sequence[tuple[Any, ...]],
    *,
    what: str,
    distributed: bool,
) -> list[Result]:
    """Call ``function(*shared, *call)`` for every call.

    Parameters
    ----------
    function : callable
        Module-level, in a module that is cheap to import.
    shared : sequence
        Leading arguments; put into Ray's object store once.
    calls : sequence of tuple
        Remaining arguments of each call, small.
    what : str
        What one call is, for messages.
    distributed : bool
        As tasks of the Ray instance that is up, or one after another in this process.

    Returns
    -------
    list
        Results in the order of `calls`, whichever finished first.

    Raises
    ------
    TaskFailedError
        If a task failed after Ray's retries. An error of ours is raised as it is.
    """
    results: list[Any] = [None] * len(calls)
    for index, result in as_they_finish(function, shared, calls, what=what, distributed=distributed):
        results[index] = result
    return results


def as_they_finish(
    function: Callable[..., Result],
    shared: Sequence[Any],
    calls: Sequence[tuple[Any, ...]],
    *,
    what: str,
    distributed: bool,
    wanted: Callable[[int], bool] = lambda _: True,
) -> Iterator[tuple[int, Result]]:
    """Yield number and result of each call as it finishes; parameters and errors as for `fan_out`.

    At most `TASKS_PER_CPU` tasks per CPU are in flight, begun in the order of `calls`. A caller that leaves
    early cancels those that are still out; a call that is no longer `wanted` when its turn comes is left out.
    What a caller keeps of a result should be copied: the result
    itself is a view into the object store.
    """
    if not distributed:
        for index, call in enumerate(calls):
            if wanted(index):
                yield index, function(*shared, *call)
        return
    import ray

    from acceleray.engines.ray import cpus

    task = ray.remote(function)
    references = [ray.put(value) for value in shared]
    limit = TASKS_PER_CPU * cpus()
    waiting = list(range(len(calls)))[::-1]
    in_flight: dict[Any, int] = {}
    try:
        while waiting or in_flight:
            while waiting and len(in_flight) < limit:
                index = waiting.pop()
                if not wanted(index):
                    continue
                in_flight[task.remote(*references, *calls[index])] = index
            if not in_flight:
                return
            (finished,), _ = ray.wait(list(in_flight), num_returns=1)
            index = in_flight.pop(finished)
            yield index, task_result(finished, f"{what} {index}")
    finally:
        for unfinished in in_flight:
            ray.cancel(unfinished)


def task_result(finished: Any, what: str) -> Any:
    """Fetch the result of a finished task.

    Raises
    ------
    TaskFailedError
        If the task failed or was lost after Ray's retries. An error of ours is raised as it is.
    """
    import ray

    try:
        return ray.get(finished)
    except ray.exceptions.RayTaskError as error:
        if isinstance(error.cause, AccelerayError):
            raise error.cause from error
        raise TaskFailedError(f"{what} failed: {error.cause}") from error
    except ray.exceptions.RayError as error:
        raise TaskFailedError(f"{what} was lost: {error}") from error
